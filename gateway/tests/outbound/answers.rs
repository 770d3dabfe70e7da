//! What the DNS says, and how it is understood.

use std::time::{Duration, Instant};

use kith_gateway::dns::mx::{NoRoute, route};
use kith_gateway::dns::{Dns, DnsFailure, DnsSettings, Signatures};
use kith_gateway::domain::Domain;

use crate::support::dns::{Damage, Names, silent};

const SIGNED: &str = "signed. 60 IN MX 10 mx.signed.\nmx.signed. 60 IN A 127.0.0.1\nmx.signed. 60 IN AAAA ::1\n_25._tcp.mx.signed. 60 IN TLSA 3 1 1 \
    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\nalias.signed. 60 IN CNAME mx.signed.\nsigned. 60 IN TXT \"one \" \"two\"";
const CLEAR: &str = "plain.test. 60 IN MX 20 b.plain.test.\nplain.test. 60 IN MX 10 a.plain.test.\na.plain.test. 60 IN A 127.0.0.2\nnull.test. 60 IN MX 0 .\nonly-a.test. 60 IN A 127.0.0.3\nalias.test. 60 IN CNAME plain.test.";

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

#[tokio::test]
async fn what_signatures_vouch_for_is_secure_and_nothing_else_is() {
    let names = Names::start(SIGNED, CLEAR).await;
    let dns = &names.dns;
    let signed = dns.exchanges(&domain("signed")).await.unwrap();
    assert!(signed.secure && signed.value[0].host == "mx.signed");
    let addresses = dns.addresses("mx.signed").await.unwrap();
    assert!(addresses.secure);
    assert_eq!(addresses.value.addresses.len(), 2);
    let tlsa = dns.tlsa("mx.signed", 25).await.unwrap();
    assert!(tlsa.secure);
    assert_eq!((tlsa.value[0].usage, tlsa.value[0].selector, tlsa.value[0].matching, tlsa.value[0].data.len()), (3, 1, 1, 32));
    assert_eq!(dns.texts("signed").await.unwrap().value, ["one two"]);
    let alias = dns.addresses("alias.signed").await.unwrap();
    assert!(alias.secure);
    assert_eq!(alias.value.alias_of.as_deref(), Some("mx.signed"));
    assert_eq!(dns.tlsa("alias.signed", 25).await, Err(DnsFailure::NoName { secure: true }));
    assert_eq!(dns.texts("mx.signed").await, Err(DnsFailure::NoRecord { secure: true }));

    let plain = dns.exchanges(&domain("plain.test")).await.unwrap();
    assert!(!plain.secure && plain.value.len() == 2);
    assert!(!dns.addresses("a.plain.test").await.unwrap().secure);
    assert_eq!(dns.addresses("nobody.test").await, Err(DnsFailure::NoName { secure: false }));
    assert_eq!(dns.texts("a.plain.test").await, Err(DnsFailure::NoRecord { secure: false }));
    assert_eq!(dns.signatures_arrive().await, Ok(true));

    let unchecked = names.unchecked();
    assert!(!unchecked.exchanges(&domain("signed")).await.unwrap().secure);
    assert_eq!(unchecked.addresses("nobody.signed").await, Err(DnsFailure::NoName { secure: false }));
}

#[tokio::test]
async fn a_zone_signed_by_somebody_else_is_bogus_and_never_believed() {
    let names = Names::start_with(SIGNED, CLEAR, Damage::ForeignKey).await;
    assert_eq!(names.dns.exchanges(&domain("signed")).await, Err(DnsFailure::Bogus));
    assert_eq!(names.dns.addresses("mx.signed").await, Err(DnsFailure::Bogus));
    assert!(names.dns.exchanges(&domain("nobody.signed")).await.is_err_and(|failure| failure.is_temporary()));
    assert_eq!(names.dns.signatures_arrive().await, Ok(false));
}

#[tokio::test]
async fn mx_records_give_a_route() {
    let names = Names::start(SIGNED, CLEAR).await;
    let mut random = rand::rng();
    let mut ask = async |name: &str| route(&names.dns, &domain(name), &[], &mut random).await;
    let plain = ask("plain.test").await.unwrap();
    assert_eq!(
        (plain.hosts, plain.secure, plain.explicit),
        (vec!["a.plain.test".to_owned(), "b.plain.test".to_owned()], false, true)
    );
    assert!(ask("signed").await.unwrap().secure);
    assert_eq!(ask("alias.test").await.unwrap().hosts[0], "a.plain.test");
    let only_a = ask("only-a.test").await.unwrap();
    assert_eq!((only_a.hosts, only_a.explicit), (vec!["only-a.test".to_owned()], false));
    assert_eq!(ask("null.test").await, Err(NoRoute::NullMx));
    assert_eq!(ask("nobody.test").await, Err(NoRoute::NoDomain(DnsFailure::NoName { secure: false })));
}

#[tokio::test]
async fn a_dns_that_hangs_is_a_typed_answer_in_bounded_time() {
    let dns = Dns::new(&DnsSettings { servers: vec![silent().await], ..DnsSettings::default() })
        .unwrap()
        .with_question_time(Duration::from_secs(1));
    let start = Instant::now();
    assert!(matches!(dns.exchanges(&domain("plain.test")).await, Err(DnsFailure::Later(_))));
    assert!(matches!(dns.addresses("plain.test").await, Err(DnsFailure::Later(_))));
    assert!(matches!(dns.signatures_arrive().await, Err(DnsFailure::Later(_))));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn settings_of_the_dns_are_checked() {
    let read = |text: &str| toml_like(text);
    assert!(read(r#"{"servers": ["127.0.0.1:5353"], "dnssec": false}"#).is_ok());
    assert!(read(r#"{"server": []}"#).is_err());
    let many = DnsSettings { servers: vec!["127.0.0.1:53".parse().unwrap(); 9], ..DnsSettings::default() };
    assert!(Dns::new(&many).is_err());
    let keys = DnsSettings {
        servers: vec!["127.0.0.1:53".parse().unwrap()],
        trust_anchor: Some("/nowhere/at/all".into()),
        ..DnsSettings::default()
    };
    assert!(Dns::new(&keys).is_err());
}

fn toml_like(text: &str) -> Result<DnsSettings, serde_json::Error> {
    serde_json::from_str(text)
}

#[tokio::test]
async fn aliases_that_go_round_and_crowds_of_records_are_bounded() {
    let mut crowd: String = (0..200).map(|number| format!("crowd.test. 60 IN A 192.0.2.{number}\ncrowd.test. 60 IN MX {number} h{number}.test.\ncrowd.test. 60 IN TXT \"t{number}\"\n")).collect();
    crowd += "round.test. 60 IN CNAME about.test.\nabout.test. 60 IN CNAME round.test.";
    let names = Names::start("", &crowd).await;
    let start = Instant::now();
    assert!(names.dns.addresses("round.test").await.is_err());
    assert!(start.elapsed() < Duration::from_secs(6));
    assert!(names.dns.addresses("crowd.test").await.unwrap().value.addresses.len() <= 8);
    assert_eq!(names.dns.texts("crowd.test").await.unwrap().value.len(), 32);
    let crowd = route(&names.dns, &domain("crowd.test"), &[], &mut rand::rng()).await.unwrap();
    assert_eq!(crowd.hosts.len(), 5);
}

#[tokio::test]
async fn a_router_that_takes_signatures_off_is_noticed_and_does_not_stop_the_mail() {
    let stripped = Names::start_with(SIGNED, CLEAR, Damage::Stripped).await;
    assert!(stripped.dns.exchanges(&domain("signed")).await.is_err_and(|failure| failure.is_temporary()), "checked, it is bogus");
    let (dns, signatures) = Dns::for_this_network(&stripped.settings).await.unwrap();
    assert_eq!(signatures, Signatures::Stripped);
    assert!(!dns.exchanges(&domain("signed")).await.unwrap().secure);
    let whole = Names::start(SIGNED, CLEAR).await;
    let (dns, signatures) = Dns::for_this_network(&whole.settings).await.unwrap();
    assert_eq!(signatures, Signatures::Checked);
    assert!(dns.exchanges(&domain("signed")).await.unwrap().secure);
    let off = DnsSettings { dnssec: false, ..whole.settings.clone() };
    assert_eq!(Dns::for_this_network(&off).await.unwrap().1, Signatures::Off);
}
