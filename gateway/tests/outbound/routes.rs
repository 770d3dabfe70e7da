//! To a domain's own hosts, by its MX records.

use std::time::{Duration, Instant};

use kith_gateway::dns::mx::NoRoute;
use kith_gateway::dns::{Dns, DnsSettings};
use kith_gateway::domain::{Domain, Place};
use kith_gateway::outbound::fate::{Enhanced, Fate, HopState, Protection, Why};
use kith_gateway::outbound::trust::Roots;
use kith_gateway::outbound::{DirectTls, Hop, LocalAddresses, OutboundSettings};

use crate::ports::free_port;
use crate::support::dns::{Names, silent};
use crate::support::host::{Host, Tls, conduct, say};
use crate::support::{Authority, at, mail, sender, settings};

const ZONE: &str = "far.test. 60 IN MX 10 a.far.test.\nfar.test. 60 IN MX 20 b.far.test.\nfar.test. 60 IN MX 30 c.far.test.\n\
    a.far.test. 60 IN A 127.0.0.2\nb.far.test. 60 IN A 127.0.0.3\nnull.test. 60 IN MX 0 .\nonly-a.test. 60 IN A 127.0.0.2\n\
    lost.test. 60 IN MX 10 nowhere.test.\nempty.test. 60 IN TXT \"x\"";

fn to(domain: &str) -> Place {
    Place::Domain(Domain::parse(domain).unwrap())
}

fn on_port(port: u16) -> OutboundSettings {
    OutboundSettings { port, ..settings() }
}

#[tokio::test]
async fn the_next_host_is_tried_when_the_first_is_away_or_in_trouble() {
    let names = Names::start("", ZONE).await;
    for trouble in [None, Some("GREETING"), Some("MAIL")] {
        let port = free_port();
        if let Some(step) = trouble {
            Host::start_at(
                at("127.0.0.2", port),
                &[],
                Tls::No,
                conduct(move |_, line| if line.starts_with(step) { say("421 4.3.2 busy") } else { None }),
            )
            .await;
        }
        let second = Host::start_at(at("127.0.0.3", port), &["PIPELINING"], Tls::No, conduct(|_, _| None)).await;
        let outbound = sender(on_port(port), &names.dns, Roots::web());
        let outcome = outbound.send(Hop::Place(&to("far.test")), &mail(&["x@far.test"])).await;
        assert!(matches!(&outcome.fates[..], [Fate::Delivered { host, .. }] if host == "b.far.test"), "{trouble:?}: {outcome:?}");
        assert_eq!((outcome.hop, second.log().mails.len()), (HopState::Fine, 1));
    }
}

#[tokio::test]
async fn a_final_word_of_the_first_host_is_final() {
    let (names, port) = (Names::start("", ZONE).await, free_port());
    Host::start_at(
        at("127.0.0.2", port),
        &[],
        Tls::No,
        conduct(|_, line| if line.starts_with("RCPT TO:<no") { say("550 5.1.1 no") } else { None }),
    )
    .await;
    let second = Host::start_at(at("127.0.0.3", port), &[], Tls::No, conduct(|_, _| None)).await;
    let outbound = sender(on_port(port), &names.dns, Roots::web());
    let outcome = outbound.send(Hop::Place(&to("far.test")), &mail(&["no@far.test", "yes@far.test"])).await;
    assert!(matches!(outcome.fates[..], [Fate::Failed(_), Fate::Delivered { .. }]), "{outcome:?}");
    assert!(second.log().connections.is_empty());
}

#[tokio::test]
async fn a_domain_without_mx_is_its_own_host_and_a_literal_too() {
    let (names, port) = (Names::start("", ZONE).await, free_port());
    let host = Host::start_at(at("127.0.0.2", port), &[], Tls::No, conduct(|_, _| None)).await;
    let outbound = sender(on_port(port), &names.dns, Roots::web());
    let outcome = outbound.send(Hop::Place(&to("only-a.test")), &mail(&["x@only-a.test"])).await;
    assert!(matches!(&outcome.fates[..], [Fate::Delivered { host, .. }] if host == "only-a.test"), "{outcome:?}");
    let outcome = outbound.send(Hop::Place(&Place::Literal("127.0.0.2".parse().unwrap())), &mail(&["x@[127.0.0.2]"])).await;
    assert!(matches!(&outcome.fates[..], [Fate::Delivered { host, .. }] if host == "[127.0.0.2]"), "{outcome:?}");
    assert_eq!(host.heard("RCPT TO:<x@[127.0.0.2]>"), 1);
}

#[tokio::test]
async fn domains_that_take_no_mail_fail_at_once() {
    let names = Names::start("", ZONE).await;
    let outbound = sender(on_port(free_port()), &names.dns, Roots::web());
    for (domain, status) in [
        ("null.test", Enhanced(5, 1, 10)),
        ("nobody.test", Enhanced(5, 1, 2)),
        ("lost.test", Enhanced(5, 1, 2)),
        ("empty.test", Enhanced(5, 1, 2)),
    ] {
        let outcome = outbound.send(Hop::Place(&to(domain)), &mail(&["x@far.test"])).await;
        assert!(matches!(&outcome.fates[..], [Fate::Failed(trouble)] if trouble.status(5) == status), "{domain}: {outcome:?}");
    }
    let ours = OutboundSettings { own: vec![Domain::parse("a.far.test").unwrap()], ..on_port(free_port()) };
    let outcome = sender(ours, &names.dns, Roots::web()).send(Hop::Place(&to("far.test")), &mail(&["x@far.test"])).await;
    assert!(
        matches!(&outcome.fates[..], [Fate::Failed(trouble)] if trouble.why == Why::NoRoute(NoRoute::Ourselves)),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn nobody_there_means_later() {
    let names = Names::start("", ZONE).await;
    let outbound = sender(on_port(free_port()), &names.dns, Roots::web());
    let outcome = outbound.send(Hop::Place(&to("far.test")), &mail(&["x@far.test"])).await;
    assert!(matches!(&outcome.fates[..], [Fate::Later(trouble)] if matches!(trouble.why, Why::Unreachable(_))), "{outcome:?}");
    assert_eq!(outcome.hop, HopState::Trouble);
}

#[tokio::test]
async fn a_dns_that_hangs_means_later_in_bounded_time() {
    let dns = Dns::new(&DnsSettings { servers: vec![silent().await], ..DnsSettings::default() })
        .unwrap()
        .with_question_time(Duration::from_secs(1));
    let start = Instant::now();
    let outcome = sender(on_port(25), &dns, Roots::web()).send(Hop::Place(&to("far.test")), &mail(&["x@far.test"])).await;
    assert!(
        matches!(&outcome.fates[..], [Fate::Later(trouble)] if matches!(trouble.why, Why::NoRoute(NoRoute::Later(_)))),
        "{outcome:?}"
    );
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_dns_that_sends_mail_into_the_house_is_not_followed() {
    let (names, port) = (Names::start("", ZONE).await, free_port());
    let host = Host::start_at(at("127.0.0.2", port), &[], Tls::No, conduct(|_, _| None)).await;
    let careful = OutboundSettings { local: LocalAddresses::Refused, ..on_port(port) };
    let outbound = sender(careful, &names.dns, Roots::web());
    let outcome = outbound.send(Hop::Place(&to("far.test")), &mail(&["x@far.test"])).await;
    assert!(matches!(&outcome.fates[..], [Fate::Later(trouble)] if trouble.why == Why::LocalAddress), "{outcome:?}");
    let outcome = outbound.send(Hop::Place(&Place::Literal("127.0.0.2".parse().unwrap())), &mail(&["x@[127.0.0.2]"])).await;
    assert!(matches!(outcome.fates[..], [Fate::Failed(_)]));
    assert!(host.log().connections.is_empty());
}

#[tokio::test]
async fn tls_is_used_where_it_is_offered_and_a_broken_one_is_as_good_as_none() {
    let names = Names::start("", ZONE).await;
    let certificate = Authority::new().issue(&["somebody.else"]).server;
    let good = free_port();
    Host::start_at(at("127.0.0.2", good), &[], Tls::Offered(certificate), conduct(|_, _| None)).await;
    let broken = free_port();
    let host = Host::start_at(
        at("127.0.0.2", broken),
        &["STARTTLS"],
        Tls::No,
        conduct(|_, line| if line == "STARTTLS" { say("454 4.7.0 out of order") } else { None }),
    )
    .await;
    for (port, protection) in [(good, Protection::Encrypted), (broken, Protection::Clear)] {
        let outbound = sender(on_port(port), &names.dns, Roots::web());
        let outcome = outbound.send(Hop::Place(&to("only-a.test")), &mail(&["x@only-a.test"])).await;
        assert!(matches!(&outcome.fates[..], [Fate::Delivered { protection: had, .. }] if *had == protection), "{outcome:?}");
    }
    assert_eq!(host.log().connections.len(), 2);
    let strict = OutboundSettings { tls: DirectTls::Always, ..on_port(broken) };
    let outcome = sender(strict, &names.dns, Roots::web()).send(Hop::Place(&to("only-a.test")), &mail(&["x@only-a.test"])).await;
    assert!(matches!(&outcome.fates[..], [Fate::Later(trouble)] if trouble.why == Why::NoTls), "{outcome:?}");
}
