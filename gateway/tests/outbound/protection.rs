//! DANE and MTA-STS: what a domain publishes is kept, and a wrong certificate gets no mail.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kith_gateway::domain::{Domain, Place};
use kith_gateway::outbound::fate::{Fate, Outcome, Protection, Why};
use kith_gateway::outbound::trust::Roots;
use kith_gateway::outbound::{Hop, OutboundSettings};
use rustls::ServerConfig;
use sha2::{Digest, Sha256, Sha512};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::ports::free_port;
use crate::support::dns::{Damage, Names};
use crate::support::host::{Host, Tls, conduct, say};
use crate::support::{Authority, Shown, at, mail, sender, settings};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

async fn sent(names: &Names, port: u16, domain: &str, roots: Roots) -> Outcome {
    let outbound = sender(OutboundSettings { port, ..settings() }, &names.dns, roots);
    outbound.send(Hop::Place(&Place::Domain(Domain::parse(domain).unwrap())), &mail(&["x@signed"])).await
}

fn zone(port: u16, tlsa: &[String]) -> String {
    let mut zone = "signed. 60 IN MX 10 mx.signed.\nmx.signed. 60 IN A 127.0.0.2\nalias.signed. 60 IN MX 10 cname.signed.\ncname.signed. 60 IN CNAME mx.signed.\n".to_owned();
    for record in tlsa {
        let _ = writeln!(zone, "_{port}._tcp.mx.signed. 60 IN TLSA {record}");
    }
    zone
}

async fn mx(port: u16, shown: &Shown) -> Host {
    Host::start_at(at("127.0.0.2", port), &["PIPELINING"], Tls::Offered(shown.server.clone()), conduct(|_, _| None)).await
}

#[tokio::test]
async fn a_certificate_that_the_signed_dns_vouches_for_is_believed() {
    let authority = Authority::new();
    // The name plays no part with usage 3; with usage 2 it does.
    let (nameless, named) = (authority.issue(&["somebody.else"]), authority.issue(&["mx.signed"]));
    let for_domain = authority.issue(&["signed"]);
    for (shown, record) in [
        (&nameless, format!("3 1 1 {}", hex(&Sha256::digest(&nameless.spki)))),
        (&nameless, format!("3 1 2 {}", hex(&Sha512::digest(&nameless.spki)))),
        (&nameless, format!("3 0 1 {}", hex(&Sha256::digest(&nameless.der)))),
        (&nameless, format!("3 0 0 {}", hex(&nameless.der))),
        (&named, format!("2 0 1 {}", hex(&Sha256::digest(authority.der())))),
        (&named, format!("2 0 0 {}", hex(&authority.der()))),
        (&for_domain, format!("2 0 1 {}", hex(&Sha256::digest(authority.der())))),
    ] {
        let port = free_port();
        let names = Names::start(&zone(port, std::slice::from_ref(&record)), "").await;
        mx(port, shown).await;
        let outcome = sent(&names, port, "signed", Roots::web()).await;
        assert!(matches!(&outcome.fates[..], [Fate::Delivered { protection: Protection::Dane, .. }]), "{record}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_the_signed_dns_does_not_vouch_for_gets_no_mail_even_a_good_one() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (shown, foreign) = (authority.issue(&["mx.signed"]), authority.issue(&["other.name"]));
    for (shown, record) in [
        (&shown, format!("3 1 1 {}", hex(&Sha256::digest(b"another key")))),
        (&shown, format!("2 0 1 {}", hex(&Sha256::digest(other.der())))),
        (&foreign, format!("2 0 1 {}", hex(&Sha256::digest(authority.der())))),
    ] {
        let port = free_port();
        let names = Names::start(&zone(port, std::slice::from_ref(&record)), "").await;
        let host = mx(port, shown).await;
        let outcome = sent(&names, port, "signed", authority.roots()).await;
        assert!(
            matches!(&outcome.fates[..], [Fate::Later(trouble)] if matches!(trouble.why, Why::Tls(_))),
            "{record}: {outcome:?}"
        );
        assert_eq!((host.heard("MAIL"), host.log().connections.len()), (0, 1), "no second attempt in clear");
    }
}

#[tokio::test]
async fn where_dane_is_published_there_is_no_mail_in_clear() {
    let port = free_port();
    let names = Names::start(&zone(port, &[format!("3 1 1 {}", hex(&[7; 32]))]), "").await;
    let host = Host::start_at(at("127.0.0.2", port), &[], Tls::No, conduct(|_, _| None)).await;
    let outcome = sent(&names, port, "signed", Roots::web()).await;
    assert!(matches!(&outcome.fates[..], [Fate::Later(trouble)] if trouble.why == Why::NoTls), "{outcome:?}");
    assert_eq!(host.heard("MAIL"), 0);
}

#[tokio::test]
async fn records_that_cannot_be_used_ask_for_tls_and_no_more() {
    let port = free_port();
    let names = Names::start(&zone(port, &[format!("1 1 1 {}", hex(&[7; 32]))]), "").await;
    mx(port, &Authority::new().issue(&["x.y"])).await;
    let outcome = sent(&names, port, "signed", Roots::web()).await;
    assert!(matches!(&outcome.fates[..], [Fate::Delivered { protection: Protection::Encrypted, .. }]), "{outcome:?}");
}

#[tokio::test]
async fn an_alias_in_the_signed_dns_is_followed_to_the_records() {
    let (port, shown) = (free_port(), Authority::new().issue(&["x.y"]));
    let names = Names::start(&zone(port, &[format!("3 1 1 {}", hex(&Sha256::digest(&shown.spki)))]), "").await;
    mx(port, &shown).await;
    let outcome = sent(&names, port, "alias.signed", Roots::web()).await;
    assert!(matches!(&outcome.fates[..], [Fate::Delivered { protection: Protection::Dane, .. }]), "{outcome:?}");
}

#[tokio::test]
async fn records_without_signatures_mean_nothing_and_forged_ones_hold_the_mail() {
    let port = free_port();
    let clear = format!(
        "plain.test. 60 IN MX 10 mx.plain.test.\nmx.plain.test. 60 IN A 127.0.0.2\n_{port}._tcp.mx.plain.test. 60 IN TLSA 3 1 1 {}",
        hex(&[7; 32])
    );
    let names = Names::start("", &clear).await;
    let host = mx(port, &Authority::new().issue(&["x.y"])).await;
    let outcome = sent(&names, port, "plain.test", Roots::web()).await;
    assert!(matches!(&outcome.fates[..], [Fate::Delivered { protection: Protection::Encrypted, .. }]), "{outcome:?}");
    let forged = Names::start_with(&zone(port, &[format!("3 1 1 {}", hex(&[7; 32]))]), "", Damage::ForeignKey).await;
    let outcome = sent(&forged, port, "signed", Roots::web()).await;
    assert!(matches!(outcome.fates[..], [Fate::Later(_)]), "{outcome:?}");
    assert_eq!(host.log().mails.len(), 1);
}

/// A web server that says this of every policy; counts how often it was asked.
async fn policies(port: u16, server: Arc<ServerConfig>, response: &'static str) -> Arc<AtomicUsize> {
    let listener = TcpListener::bind(at("127.0.0.4", port)).await.unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = TlsAcceptor::from(server.clone());
            let count = count.clone();
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(tcp).await else { return };
                let mut request = vec![0; 2048];
                let read = tls.read(&mut request).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..read]).into_owned();
                assert!(
                    request.starts_with("GET /.well-known/mta-sts.txt HTTP/1.1\r\n")
                        && request.to_ascii_lowercase().contains("host: mta-sts.sts.test\r\n"),
                    "{request}"
                );
                count.fetch_add(1, Ordering::Relaxed);
                let _ = tls.write_all(response.as_bytes()).await;
                let _ = tls.shutdown().await;
            });
        }
    });
    asked
}

const STS: &str = "sts.test. 60 IN MX 10 mx.sts.test.\nmx.sts.test. 60 IN A 127.0.0.2\nmta-sts.sts.test. 60 IN A 127.0.0.4\n_mta-sts.sts.test. 60 IN TXT \"v=STSv1; id=1;\"";
const ENFORCE: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nversion: STSv1\r\n\r\n3d\r\nmode: enforce\r\nmx: *.sts.test\r\nmx: other.test\r\nmax_age: 86400\r\n0\r\n\r\n";
const OTHERS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nversion: STSv1\nmode: enforce\nmx: other.test\nmax_age: 86400\n";
const TESTING: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nversion: STSv1\nmode: testing\nmx: other.test\nmax_age: 86400\n";
const MOVED: &str = "HTTP/1.1 301 Moved\r\nLocation: https://mta-sts.sts.test/other\r\nContent-Length: 0\r\n\r\n";

struct Sts {
    names: Names,
    settings: OutboundSettings,
    host: Host,
    authority: Authority,
    asked: Arc<AtomicUsize>,
}

async fn sts(response: &'static str, mx_name: &str, policy_name: &str) -> Sts {
    let authority = Authority::new();
    let (port, policy_port) = (free_port(), free_port());
    let host = mx(port, &authority.issue(&[mx_name])).await;
    let asked = policies(policy_port, authority.issue(&[policy_name]).server, response).await;
    let settings = OutboundSettings { port, policy_port, ..settings() };
    Sts { names: Names::start("", STS).await, settings, host, authority, asked }
}

impl Sts {
    fn outbound(&self) -> kith_gateway::outbound::Outbound {
        sender(self.settings.clone(), &self.names.dns, self.authority.roots())
    }
}

async fn send(outbound: &kith_gateway::outbound::Outbound) -> Fate {
    outbound.send(Hop::Place(&Place::Domain(Domain::parse("sts.test").unwrap())), &mail(&["x@sts.test"])).await.fates.remove(0)
}

#[tokio::test]
async fn a_policy_that_is_kept_is_fetched_once_and_survives_a_restart() {
    let sts = sts(ENFORCE, "mx.sts.test", "mta-sts.sts.test").await;
    let outbound = sts.outbound();
    for _ in 0..3 {
        assert!(matches!(send(&outbound).await, Fate::Delivered { protection: Protection::MtaSts, .. }));
    }
    assert_eq!(sts.asked.load(Ordering::Relaxed), 1);
    let kept = serde_json::from_str(&serde_json::to_string(&outbound.policies()).unwrap()).unwrap();
    let again = kith_gateway::outbound::Outbound::new(sts.settings.clone(), sts.names.dns.clone(), sts.authority.roots(), kept);
    assert!(matches!(send(&again).await, Fate::Delivered { protection: Protection::MtaSts, .. }));
    assert_eq!(sts.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_policy_that_is_enforced_stops_wrong_certificates_and_wrong_hosts() {
    let wrong_name = sts(ENFORCE, "x.y", "mta-sts.sts.test").await;
    assert!(matches!(send(&wrong_name.outbound()).await, Fate::Later(trouble) if matches!(trouble.why, Why::Tls(_))));
    assert_eq!((wrong_name.host.heard("MAIL"), wrong_name.host.log().connections.len()), (0, 1));
    let wrong_host = sts(OTHERS, "mx.sts.test", "mta-sts.sts.test").await;
    assert!(matches!(send(&wrong_host.outbound()).await, Fate::Later(trouble) if trouble.why == Why::NotInPolicy));
    assert!(wrong_host.host.log().connections.is_empty());
}

#[tokio::test]
async fn a_policy_that_is_on_trial_or_cannot_be_had_stops_nothing() {
    for (response, policy_name) in [(TESTING, "mta-sts.sts.test"), (MOVED, "mta-sts.sts.test"), (ENFORCE, "somebody.else")] {
        let sts = sts(response, "x.y", policy_name).await;
        let outbound = sts.outbound();
        for _ in 0..2 {
            assert!(matches!(send(&outbound).await, Fate::Delivered { protection: Protection::Encrypted, .. }), "{response}");
        }
        assert!(sts.asked.load(Ordering::Relaxed) <= 1, "not asked for again at once");
    }
}

#[tokio::test]
async fn starttls_taken_away_by_somebody_on_the_way_does_not_help_against_a_policy() {
    let sts = sts(ENFORCE, "mx.sts.test", "mta-sts.sts.test").await;
    let port = free_port();
    let stripped = Host::start_at(
        at("127.0.0.2", port),
        &[],
        Tls::No,
        conduct(|_, line| if line == "STARTTLS" { say("502 5.5.1 what?") } else { None }),
    )
    .await;
    let outbound = sender(OutboundSettings { port, ..sts.settings.clone() }, &sts.names.dns, sts.authority.roots());
    assert!(matches!(send(&outbound).await, Fate::Later(trouble) if trouble.why == Why::NoTls));
    assert_eq!(stripped.heard("MAIL"), 0);
}
