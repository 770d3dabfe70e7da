//! One mail, several recipients: each has a fate of its own; and what a host offers decides what it is sent.

use kith_gateway::outbound::content::Content;
use kith_gateway::outbound::fate::{Enhanced, Fate, HopState, Protection, Reports, Why};
use kith_gateway::outbound::mail::{Mail, Notify, Recipient, Returned};
use kith_gateway::outbound::smarthost::{Security, Smarthost};
use kith_gateway::outbound::trust::Roots;
use kith_gateway::outbound::{Hop, Outbound};

use crate::support::host::{Conduct, Do, Host, Tls, conduct, say};
use crate::support::{address, content, mail, no_dns, sender, settings};

pub(crate) fn smarthost(host: &Host) -> Smarthost {
    Smarthost {
        host: host.address.ip().to_string(),
        port: Some(host.address.port()),
        security: Security::None,
        user: None,
        password: None,
        token: None,
        allow_clear: false,
        mails_per_minute: None,
    }
}

pub(crate) fn plain_sender() -> Outbound {
    sender(settings(), &no_dns(), Roots::web())
}

fn usual() -> Conduct {
    conduct(|_, _| None)
}

const ALL: [&str; 5] = ["PIPELINING", "SIZE 1000000", "8BITMIME", "SMTPUTF8", "DSN"];

fn mixed() -> Conduct {
    conduct(|_, line| match line {
        line if line.starts_with("RCPT TO:<no@") => say("550 5.1.1 no such user"),
        line if line.starts_with("RCPT TO:<wait@") => say("450-4.2.0 greylisted,\r\n450 4.2.0 come back"),
        _ => None,
    })
}

#[tokio::test]
async fn each_recipient_has_a_fate_of_its_own_with_and_without_pipelining() {
    for offers in [&ALL[..], &[]] {
        let host = Host::start(offers, Tls::No, mixed()).await;
        let outbound = plain_sender();
        let hop = smarthost(&host);
        let outcome =
            outbound.send(Hop::Smarthost(&hop), &mail(&["no@far.test", "wait@far.test", "yes@far.test", "also@far.test"])).await;
        assert_eq!(outcome.hop, HopState::Fine);
        let [Fate::Failed(no), Fate::Later(wait), Fate::Delivered { answer, reports, protection, .. }, Fate::Delivered { .. }] =
            &outcome.fates[..]
        else {
            panic!("{outcome:?}");
        };
        assert_eq!((no.why.clone(), no.status(5)), (Why::Refused, Enhanced(5, 1, 1)));
        assert_eq!(wait.answer.as_ref().map(|answer| answer.text.as_str()), Some("4.2.0 greylisted, come back"));
        assert_eq!((answer.code, *protection), (250, Protection::Clear));
        assert_eq!(*reports, if offers.is_empty() { Reports::NotOffered } else { Reports::PassedOn });
        assert_eq!(host.log().mails.len(), 1);
    }
}

#[tokio::test]
async fn if_nobody_is_taken_no_text_is_sent_and_the_connection_serves_the_next_mail() {
    for offers in [&ALL[..], &[]] {
        let host = Host::start(offers, Tls::No, mixed()).await;
        let (outbound, hop) = (plain_sender(), smarthost(&host));
        let outcome = outbound.send(Hop::Smarthost(&hop), &mail(&["no@far.test"])).await;
        assert!(matches!(outcome.fates[..], [Fate::Failed(_)]));
        assert_eq!(host.heard("DATA"), 0);
        let outcome = outbound.send(Hop::Smarthost(&hop), &mail(&["yes@far.test"])).await;
        assert!(matches!(outcome.fates[..], [Fate::Delivered { .. }]), "{outcome:?}");
        let log = host.log();
        assert_eq!((log.connections.len(), log.mails.len(), host.heard("RSET")), (1, 1, 1));
        outbound.close().await;
        assert_eq!(host.heard("QUIT"), 1);
    }
}

#[tokio::test]
async fn a_refused_sender_or_text_is_everybodys_fate() {
    for (line, answer, temporary) in [
        ("MAIL", "550 5.7.1 not you", false),
        ("MAIL", "451 4.3.0 not now", true),
        ("DATA", "554 5.5.1 no", false),
        ("DATA", "451 4.3.0 not now", true),
        (".", "554 5.6.0 not this", false),
        (".", "452 4.3.1 full", true),
    ] {
        let host =
            Host::start(&ALL, Tls::No, conduct(move |_, said| if said.starts_with(line) { say(answer) } else { None })).await;
        let (outbound, hop) = (plain_sender(), smarthost(&host));
        let outcome = outbound.send(Hop::Smarthost(&hop), &mail(&["a@far.test", "b@far.test"])).await;
        let fits = |fate: &Fate| matches!((fate, temporary), (Fate::Later(_), true) | (Fate::Failed(_), false));
        assert!(outcome.fates.len() == 2 && outcome.fates.iter().all(fits), "{line} {answer}: {outcome:?}");
        assert_eq!(outcome.hop, if temporary { HopState::Trouble } else { HopState::Fine }, "{line} {answer}");
    }
}

#[tokio::test]
async fn dots_and_line_ends_leave_as_they_should_and_nothing_can_be_smuggled() {
    let host = Host::start(&ALL, Tls::No, usual()).await;
    let (outbound, hop) = (plain_sender(), smarthost(&host));
    let text = "a\n.\nMAIL FROM:<evil@far.test>\r.\r\n..\r\n.end\r\nlast";
    let mail = Mail::new(None, vec![address("b@far.test").into()], content(text));
    let outcome = outbound.send(Hop::Smarthost(&hop), &mail).await;
    assert!(matches!(outcome.fates[..], [Fate::Delivered { .. }]));
    let log = host.log();
    let raw = String::from_utf8(log.mails[0].clone()).unwrap();
    assert!(raw.ends_with("\r\n\r\na\r\n..\r\nMAIL FROM:<evil@far.test>\r\n..\r\n...\r\n..end\r\nlast\r\n.\r\n"), "{raw:?}");
    assert_eq!(host.heard("MAIL FROM:<>"), 1, "a report has no sender");
    assert_eq!(log.connections[0].len(), 4, "EHLO, MAIL, RCPT, DATA: {:?}", log.connections);
}

#[tokio::test]
async fn what_the_host_cannot_take_is_told_before_a_word_of_the_envelope() {
    let eight_bit = content("bücher\r\n");
    let utf8 = Content::new("From: a@home.test\r\nSubject: ü\r\n\r\nx\r\n".as_bytes()).unwrap();
    for (offers, content, why) in [
        (vec!["SIZE 10", "8BITMIME"], content("x\r\n"), "TooLarge"),
        (vec!["SIZE 1000"], eight_bit.clone(), "No8Bit"),
        (vec!["8BITMIME"], utf8.clone(), "NoUtf8"),
    ] {
        let host = Host::start(&offers, Tls::No, usual()).await;
        let (outbound, hop) = (plain_sender(), smarthost(&host));
        let outcome = outbound.send(Hop::Smarthost(&hop), &Mail { content, ..mail(&["a@far.test", "b@far.test"]) }).await;
        assert!(
            outcome
                .fates
                .iter()
                .all(|fate| matches!(fate, Fate::Failed(trouble) if format!("{:?}", trouble.why).starts_with(why))),
            "{outcome:?}"
        );
        assert_eq!(host.heard("MAIL"), 0);
    }
    for (content, parameters) in [(eight_bit, "BODY=8BITMIME"), (utf8, "BODY=8BITMIME SMTPUTF8")] {
        let host = Host::start(&ALL, Tls::No, usual()).await;
        let (outbound, hop) = (plain_sender(), smarthost(&host));
        let size = content.bytes().len();
        let outcome = outbound.send(Hop::Smarthost(&hop), &Mail { content, ..mail(&["a@far.test"]) }).await;
        assert!(matches!(outcome.fates[..], [Fate::Delivered { .. }]));
        assert_eq!(host.heard(&format!("MAIL FROM:<anna@home.test> SIZE={size} {parameters}")), 1, "{:?}", host.log());
    }
}

#[tokio::test]
async fn an_address_beyond_ascii_fails_alone_where_it_is_not_understood() {
    let host = Host::start(&["8BITMIME"], Tls::No, usual()).await;
    let (outbound, hop) = (plain_sender(), smarthost(&host));
    let outcome = outbound.send(Hop::Smarthost(&hop), &mail(&["jürgen@far.test", "b@bücher.test"])).await;
    assert!(
        matches!(&outcome.fates[..], [Fate::Failed(trouble), Fate::Delivered { .. }] if trouble.why == Why::NoUtf8),
        "{outcome:?}"
    );
    assert_eq!(host.heard("RCPT TO:<b@xn--bcher-kva.test>"), 1);
    let host = Host::start(&ALL, Tls::No, usual()).await;
    let hop = smarthost(&host);
    let outcome = outbound.send(Hop::Smarthost(&hop), &mail(&["jürgen@far.test"])).await;
    assert!(matches!(outcome.fates[..], [Fate::Delivered { .. }]));
    assert_eq!(
        host.log().connections[0].iter().filter(|line| line.starts_with("MAIL") && line.ends_with(" SMTPUTF8")).count(),
        1
    );
}

#[tokio::test]
async fn what_the_sender_wants_to_hear_is_passed_on_where_it_is_understood() {
    let to = Recipient {
        address: address("b@far.test"),
        notify: Some(Notify { success: true, failure: true, delay: false }),
        original: Some("rfc822;b+x=y@list.test".into()),
    };
    let quiet =
        Recipient { notify: Some(Notify::default()), original: Some("bad\r\nvalue;".into()), ..address("c@far.test").into() };
    let wanted =
        Mail { recipients: vec![to, quiet], returned: Some(Returned::Header), envelope_id: Some("id 1+2".into()), ..mail(&[]) };
    for offers in [&ALL[..], &[]] {
        let host = Host::start(offers, Tls::No, usual()).await;
        let (outbound, hop) = (plain_sender(), smarthost(&host));
        let outcome = outbound.send(Hop::Smarthost(&hop), &wanted).await;
        assert!(outcome.fates.iter().all(|fate| matches!(fate, Fate::Delivered { .. })), "{outcome:?}");
        let lines = host.log().connections.concat().join("\n");
        if offers.is_empty() {
            assert!(!lines.contains("NOTIFY") && !lines.contains("RET="));
        } else {
            assert!(lines.contains(" RET=HDRS ENVID=id+201+2B2"), "{lines}");
            assert!(lines.contains("RCPT TO:<b@far.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b+2Bx+3Dy@list.test"), "{lines}");
            assert!(lines.contains("RCPT TO:<c@far.test> NOTIFY=NEVER\n"), "{lines}");
        }
    }
}

#[tokio::test]
async fn a_host_that_wants_few_recipients_at_once_gets_them_in_turns() {
    for (offers, refusal) in [(&ALL[..], "452 4.5.3 too many"), (&[], "452 too many"), (&ALL[..], "552 5.5.3 too many")] {
        let taken = std::sync::Mutex::new(0);
        let three_at_once = conduct(move |_, line| {
            let mut taken = taken.lock().unwrap();
            match line {
                line if line.starts_with("MAIL") => *taken = 0,
                line if line.starts_with("RCPT") => *taken += 1,
                _ => return None,
            }
            if *taken > 3 { say(refusal) } else { None }
        });
        let host = Host::start(offers, Tls::No, three_at_once).await;
        let (outbound, hop) = (plain_sender(), smarthost(&host));
        let to: Vec<String> = (0..8).map(|number| format!("r{number}@far.test")).collect();
        let outcome = outbound.send(Hop::Smarthost(&hop), &mail(&to.iter().map(String::as_str).collect::<Vec<_>>())).await;
        assert!(outcome.fates.iter().all(|fate| matches!(fate, Fate::Delivered { .. })), "{outcome:?}");
        assert_eq!((host.log().mails.len(), host.log().connections.len()), (3, 1));
    }
}

#[tokio::test]
async fn many_recipients_go_in_transactions_that_every_host_takes() {
    let host = Host::start(&ALL, Tls::No, usual()).await;
    let (outbound, hop) = (plain_sender(), smarthost(&host));
    let to: Vec<String> = (0..250).map(|number| format!("r{number}@far.test")).collect();
    let outcome = outbound.send(Hop::Smarthost(&hop), &mail(&to.iter().map(String::as_str).collect::<Vec<_>>())).await;
    assert!(outcome.fates.iter().all(|fate| matches!(fate, Fate::Delivered { .. })));
    assert_eq!((host.log().mails.len(), host.heard("RCPT")), (3, 250));
}

#[tokio::test]
async fn a_connection_takes_many_mails_and_no_more_than_it_should() {
    let host = Host::start(&ALL, Tls::No, usual()).await;
    let mut settings = settings();
    settings.mails_per_connection = 5;
    let (outbound, hop) = (sender(settings, &no_dns(), Roots::web()), smarthost(&host));
    for _ in 0..12 {
        let outcome = outbound.send(Hop::Smarthost(&hop), &mail(&["b@far.test"])).await;
        assert!(matches!(outcome.fates[..], [Fate::Delivered { .. }]));
    }
    assert_eq!((host.log().connections.len(), host.log().mails.len()), (3, 12));
}

#[tokio::test]
async fn a_connection_that_went_away_while_it_waited_costs_nothing() {
    for offers in [&ALL[..], &[]] {
        for goodbye in [None, Some("421 4.4.2 idle too long")] {
            let mails = std::sync::atomic::AtomicUsize::new(0);
            let conduct = conduct(move |number, line| {
                let gone =
                    number == 0 && line.starts_with("MAIL") && mails.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 1;
                gone.then(|| goodbye.map_or(Do::Cut, |words| Do::Say(words.to_owned())))
            });
            let host = Host::start(offers, Tls::No, conduct).await;
            let (outbound, hop) = (plain_sender(), smarthost(&host));
            for _ in 0..3 {
                let outcome = outbound.send(Hop::Smarthost(&hop), &mail(&["b@far.test"])).await;
                assert!(matches!(outcome.fates[..], [Fate::Delivered { .. }]), "{goodbye:?} {outcome:?}");
            }
            assert_eq!((host.log().connections.len(), host.log().mails.len(), host.heard("RSET")), (2, 3, 0));
        }
    }
}

#[tokio::test]
async fn a_connection_that_waited_is_asked_before_it_is_used() {
    let host = Host::start(&ALL, Tls::No, conduct(|number, line| (number == 0 && line == "RSET").then_some(Do::Cut))).await;
    let (outbound, hop) = (plain_sender(), smarthost(&host));
    for _ in 0..2 {
        let outcome = outbound.send(Hop::Smarthost(&hop), &mail(&["b@far.test"])).await;
        assert!(matches!(outcome.fates[..], [Fate::Delivered { .. }]), "{outcome:?}");
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    }
    assert_eq!((host.log().connections.len(), host.log().mails.len(), host.heard("RSET")), (2, 2, 1));
}

#[tokio::test]
async fn a_connection_that_waits_too_long_is_closed_with_a_goodbye() {
    let host = Host::start(&ALL, Tls::No, usual()).await;
    let mut settings = settings();
    settings.times.idle = std::time::Duration::from_millis(100);
    let (outbound, hop) = (sender(settings, &no_dns(), Roots::web()), smarthost(&host));
    outbound.send(Hop::Smarthost(&hop), &mail(&["b@far.test"])).await;
    for _ in 0..100 {
        if host.heard("QUIT") == 1 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("no goodbye");
}

#[tokio::test]
async fn destinations_are_spared_as_settings_say() {
    let host =
        Host::start(&ALL, Tls::No, conduct(|_, line| if line == "GREETING" { say("421 4.3.2 later") } else { None })).await;
    let mut settings = settings();
    settings.limits.rest_first_ms = 60_000;
    settings.limits.rest_longest_ms = 60_000;
    let (outbound, hop) = (sender(settings, &no_dns(), Roots::web()), smarthost(&host));
    let outcome = outbound.send(Hop::Smarthost(&hop), &mail(&["b@far.test"])).await;
    assert_eq!(outcome.hop, HopState::Trouble);
    let outcome = outbound.send(Hop::Smarthost(&hop), &mail(&["b@far.test"])).await;
    assert!(matches!(outcome.hop, HopState::Resting { wait } if wait.as_secs() > 50), "{outcome:?}");
    assert!(matches!(&outcome.fates[..], [Fate::Later(trouble)] if trouble.why == Why::Resting));
    assert_eq!(host.log().connections.len(), 1, "nobody knocked again");
    outbound.forgive(Hop::Smarthost(&hop));
    let outcome = outbound.send(Hop::Smarthost(&hop), &mail(&["b@far.test"])).await;
    assert_eq!(outcome.hop, HopState::Trouble);
}

#[tokio::test]
async fn no_more_connections_at_once_than_allowed() {
    let host = Host::start(&ALL, Tls::No, usual()).await;
    let mut settings = settings();
    settings.limits.connections = 2;
    let (outbound, hop) = (sender(settings, &no_dns(), Roots::web()), smarthost(&host));
    let mut sending = Vec::new();
    for _ in 0..20 {
        let (outbound, hop) = (outbound.clone(), hop.clone());
        sending.push(tokio::spawn(async move { outbound.send(Hop::Smarthost(&hop), &mail(&["b@far.test"])).await }));
    }
    for one in sending {
        assert!(matches!(one.await.unwrap().fates[..], [Fate::Delivered { .. }]));
    }
    assert!(host.log().connections.len() <= 2 && host.log().mails.len() == 20, "{}", host.log().connections.len());
}

#[tokio::test]
async fn a_mail_to_nobody_bothers_nobody() {
    let host = Host::start(&ALL, Tls::No, usual()).await;
    let (outbound, hop) = (plain_sender(), smarthost(&host));
    let outcome = outbound.send(Hop::Smarthost(&hop), &mail(&[])).await;
    assert!(outcome.fates.is_empty() && outcome.hop == HopState::Fine && host.log().connections.is_empty());
}
