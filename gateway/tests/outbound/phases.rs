//! A far side that hangs, cuts off or talks nonsense, at each step: a typed fate in bounded time, and never "delivered".

use std::time::{Duration, Instant};

use kith_gateway::domain::{Domain, Place};
use kith_gateway::outbound::fate::{Fate, HopState, Phase, Why};
use kith_gateway::outbound::mail::Mail;
use kith_gateway::outbound::trust::Roots;
use kith_gateway::outbound::{Hop, Outbound, OutboundSettings};

use crate::fates::smarthost;
use crate::ports::free_port;
use crate::support::dns::Names;
use crate::support::host::{Do, Host, Tls, conduct};
use crate::support::{at, content, mail, no_dns, quick, sender, settings};

const STEPS: [(&str, Phase); 6] = [
    ("GREETING", Phase::Greeting),
    ("EHLO", Phase::Hello),
    ("MAIL", Phase::Mail),
    ("RCPT", Phase::Recipients),
    ("DATA", Phase::Data),
    ("TEXT", Phase::Text),
];

fn hurried() -> OutboundSettings {
    OutboundSettings { times: quick(), ..settings() }
}

fn plain_sender() -> Outbound {
    sender(hurried(), &no_dns(), Roots::web())
}

/// A mail larger than what sockets buffer, so that a host that stops reading is noticed.
fn large() -> Mail {
    Mail { content: content(&"0123456789abcdef\r\n".repeat(600_000)), ..mail(&["b@far.test", "c@far.test"]) }
}

async fn fates(step: &'static str, what: fn() -> Do, offers: &[&str], mail: &Mail) -> (Vec<Fate>, Host) {
    let host = Host::start(offers, Tls::No, conduct(move |_, line| line.starts_with(step).then(what))).await;
    let (outbound, hop) = (plain_sender(), smarthost(&host));
    let start = Instant::now();
    let outcome = outbound.send(Hop::Smarthost(&hop), mail).await;
    assert!(start.elapsed() < Duration::from_secs(10), "{step}: {:?}", start.elapsed());
    assert_eq!(outcome.hop, HopState::Trouble, "{step}: {outcome:?}");
    (outcome.fates, host)
}

#[tokio::test]
async fn a_host_that_hangs_is_left_in_time() {
    for (step, phase) in STEPS {
        let (fates, _) = fates(step, || Do::Hang, &[], &large()).await;
        let all = fates.iter().all(|fate| matches!(fate, Fate::Later(trouble) if trouble.why == Why::Hung(phase)));
        assert!(fates.len() == 2 && all, "{step}: {fates:?}");
    }
}

#[tokio::test]
async fn a_host_that_cuts_off_has_taken_nothing() {
    for (step, phase) in STEPS {
        let (fates, _) = fates(step, || Do::Cut, &[], &large()).await;
        let all = fates.iter().all(|fate| matches!(fate, Fate::Later(trouble) if trouble.why == Why::Lost(phase)));
        assert!(fates.len() == 2 && all, "{step}: {fates:?}");
    }
}

#[tokio::test]
async fn a_host_that_talks_nonsense_has_taken_nothing() {
    for (step, phase) in STEPS.into_iter().filter(|(step, _)| *step != "TEXT") {
        for nonsense in [&b"hello there\r\n"[..], b"\xff\xfe\x00\r\n", b"250-a\r\n550 b\r\n"] {
            let (fates, _) = {
                let host =
                    Host::start(&[], Tls::No, conduct(move |_, line| line.starts_with(step).then(|| Do::Raw(nonsense.to_vec()))))
                        .await;
                let (outbound, hop) = (plain_sender(), smarthost(&host));
                (outbound.send(Hop::Smarthost(&hop), &mail(&["b@far.test"])).await.fates, host)
            };
            let fits = matches!(&fates[..], [Fate::Later(trouble)] if matches!(trouble.why, Why::Nonsense(at) | Why::Hung(at) if at == phase));
            assert!(fits, "{step} {nonsense:?}: {fates:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_without_end_is_no_answer() {
    for step in ["GREETING", "MAIL", "."] {
        let host =
            Host::start(&[], Tls::No, conduct(move |_, line| (line.starts_with(step)).then(|| Do::Raw(vec![b'2'; 2_000_000]))))
                .await;
        let (outbound, hop) = (plain_sender(), smarthost(&host));
        let outcome = outbound.send(Hop::Smarthost(&hop), &mail(&["b@far.test"])).await;
        assert!(!matches!(outcome.fates[..], [Fate::Delivered { .. }]), "{step}: {outcome:?}");
    }
}

#[tokio::test]
async fn once_the_last_dot_has_left_silence_means_that_nobody_knows() {
    for what in [|| Do::Hang, || Do::Cut] as [fn() -> Do; 2] {
        let (fates, host) = fates(".", what, &["PIPELINING"], &mail(&["b@far.test", "c@far.test"])).await;
        assert!(fates.len() == 2 && fates.iter().all(|fate| matches!(fate, Fate::Unknown { .. })), "{fates:?}");
        assert_eq!(host.log().mails.len(), 1);
    }
}

#[tokio::test]
async fn a_recipient_that_was_refused_stays_refused_when_the_rest_is_unknown() {
    let host = Host::start(
        &["PIPELINING"],
        Tls::No,
        conduct(|_, line| match line {
            line if line.starts_with("RCPT TO:<no@") => Some(Do::Say("550 5.1.1 no".into())),
            "." => Some(Do::Cut),
            _ => None,
        }),
    )
    .await;
    let (outbound, hop) = (plain_sender(), smarthost(&host));
    let outcome = outbound.send(Hop::Smarthost(&hop), &mail(&["no@far.test", "b@far.test"])).await;
    assert!(matches!(outcome.fates[..], [Fate::Failed(_), Fate::Unknown { .. }]), "{outcome:?}");
}

#[tokio::test]
async fn what_a_host_says_as_it_hangs_up_in_the_text_counts() {
    let host = Host::start(
        &[],
        Tls::No,
        conduct(|_, line| (line == "MAIL FROM:<anna@home.test>").then(|| Do::Say("421 4.3.2 going down".into()))),
    )
    .await;
    let (outbound, hop) = (plain_sender(), smarthost(&host));
    let outcome = outbound.send(Hop::Smarthost(&hop), &mail(&["b@far.test"])).await;
    assert!(
        matches!(&outcome.fates[..], [Fate::Later(trouble)] if trouble.answer.as_ref().is_some_and(|answer| answer.code == 421)),
        "{outcome:?}"
    );
    assert_eq!(host.heard("RCPT"), 0, "{:?}", host.log());
}

#[tokio::test]
async fn hosts_that_know_helo_alone_get_their_mail() {
    let host = Host::start(
        &[],
        Tls::No,
        conduct(|_, line| match line {
            line if line.starts_with("EHLO") => Some(Do::Say("502 5.5.1 what?".into())),
            line if line.starts_with("HELO") => Some(Do::Say("250 far.test".into())),
            line if line.starts_with("RCPT") => Some(Do::Say("250".into())),
            _ => None,
        }),
    )
    .await;
    let (outbound, hop) = (plain_sender(), smarthost(&host));
    let outcome = outbound.send(Hop::Smarthost(&hop), &mail(&["b@far.test"])).await;
    assert!(matches!(outcome.fates[..], [Fate::Delivered { .. }]), "{outcome:?}");
    assert_eq!(host.heard("MAIL FROM:<anna@home.test>"), 1);
}

#[tokio::test]
async fn a_greylisted_mail_arrives_at_the_second_attempt() {
    let first = std::sync::atomic::AtomicBool::new(true);
    let host = Host::start(
        &["PIPELINING"],
        Tls::No,
        conduct(move |_, line| {
            (line.starts_with("RCPT") && first.swap(false, std::sync::atomic::Ordering::Relaxed))
                .then(|| Do::Say("451 4.7.1 greylisted".into()))
        }),
    )
    .await;
    let (outbound, hop) = (plain_sender(), smarthost(&host));
    let outcome = outbound.send(Hop::Smarthost(&hop), &mail(&["b@far.test"])).await;
    assert!(matches!(outcome.fates[..], [Fate::Later(_)]) && outcome.hop == HopState::Fine, "{outcome:?}");
    let outcome = outbound.send(Hop::Smarthost(&hop), &mail(&["b@far.test"])).await;
    assert!(matches!(outcome.fates[..], [Fate::Delivered { .. }]), "{outcome:?}");
}

#[tokio::test]
async fn a_host_that_drips_its_answers_is_left_when_the_mails_time_is_over() {
    let slow = conduct(|_, line| {
        if line.starts_with("RCPT") {
            std::thread::sleep(Duration::from_millis(100));
        }
        None
    });
    let host = Host::start(&[], Tls::No, slow).await;
    let mut settings = hurried();
    settings.times.mail_in_all = Duration::from_millis(500);
    let (outbound, hop) = (sender(settings, &no_dns(), Roots::web()), smarthost(&host));
    let to: Vec<String> = (0..90).map(|number| format!("r{number}@far.test")).collect();
    let start = Instant::now();
    let outcome = outbound.send(Hop::Smarthost(&hop), &mail(&to.iter().map(String::as_str).collect::<Vec<_>>())).await;
    assert!(start.elapsed() < Duration::from_secs(3));
    let late = |fate: &Fate| matches!(fate, Fate::Later(trouble) if matches!(trouble.why, Why::TookTooLong | Why::Hung(Phase::Recipients)));
    assert!(outcome.fates.len() == 90 && outcome.fates.iter().all(late), "{:?}", outcome.fates.first());
    assert_eq!(host.heard("DATA"), 0);
}

#[tokio::test]
async fn the_search_for_a_host_that_talks_ends() {
    let hosts: String = (1..=5)
        .map(|number| {
            format!("slow.test. 60 IN MX {number} h{number}.slow.test.\nh{number}.slow.test. 60 IN A 127.0.1.{number}\n")
        })
        .collect();
    let (names, port) = (Names::start("", &hosts).await, free_port());
    for number in 1..=5 {
        Host::start_at(
            at(&format!("127.0.1.{number}"), port),
            &[],
            Tls::No,
            conduct(|_, line| (line == "GREETING").then_some(Do::Hang)),
        )
        .await;
    }
    let mut settings = OutboundSettings { port, ..hurried() };
    settings.times.search = Duration::from_millis(700);
    let start = Instant::now();
    let outcome = sender(settings, &names.dns, Roots::web())
        .send(Hop::Place(&Place::Domain(Domain::parse("slow.test").unwrap())), &mail(&["x@slow.test"]))
        .await;
    assert!(
        matches!(&outcome.fates[..], [Fate::Later(trouble)] if matches!(trouble.why, Why::TookTooLong | Why::Hung(Phase::Greeting))),
        "{outcome:?}"
    );
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_attempt_that_is_called_off_leaves_its_place_to_the_next() {
    let host = Host::start(&[], Tls::No, conduct(|number, line| (number == 0 && line == "DATA").then_some(Do::Hang))).await;
    let mut settings = settings();
    settings.limits.connections = 1;
    let (outbound, hop) = (sender(settings, &no_dns(), Roots::web()), smarthost(&host));
    let one = mail(&["b@far.test"]);
    assert!(tokio::time::timeout(Duration::from_millis(500), outbound.send(Hop::Smarthost(&hop), &one)).await.is_err());
    let outcome = outbound.send(Hop::Smarthost(&hop), &one).await;
    assert!(matches!(outcome.fates[..], [Fate::Delivered { .. }]), "{outcome:?}");
    assert_eq!(host.log().mails.len(), 1);
}
