//! A domain's records, asked for over a DNS server of our own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../inbound/dns.rs"]
#[expect(dead_code, reason = "more than this needs")]
mod dns;

use std::net::IpAddr;

use dns::{Dns, Trouble};
use kith_gateway::check::{Key, Live, State, Wanted, compare, gather};
use kith_gateway::inbound::verify;

const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

fn wanted() -> Wanted {
    Wanted {
        domain: "Kith.test".into(),
        host: "mx.kith.test".into(),
        addresses: vec![IP],
        keys: vec![Key { selector: "k1".into(), record: format!("v=DKIM1; k=rsa; p={}", "A".repeat(400)) }],
        spf: Vec::new(),
        direct: true,
        reports_to: None,
        submission: Some(("mx.kith.test".into(), 465)),
        imap: None,
        autoconfig: true,
        policy: None,
        ports: Vec::new(),
        mail_port: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_is_found_and_what_is_not_is_told() {
    let dns = Dns::start().await;
    dns.mx("kith.test", 10, "mx.kith.test");
    dns.a("mx.kith.test", [192, 0, 2, 7].into());
    dns.txt("kith.test", "google-site-verification=x");
    dns.txt("kith.test", "v=spf1 mx -all");
    dns.txt("k1._domainkey.kith.test", &wanted().keys[0].record);
    dns.txt("_dmarc.kith.test", "v=DMARC1; p=reject");
    dns.ptr(IP, "mx.kith.test");
    dns.srv("_submissions._tcp.kith.test", 465, "mx.kith.test");
    let lookup = Live::new(verify::resolver(&[dns.address()]).unwrap(), "mx.kith.test");
    let report = compare(&wanted(), &gather(&lookup, &wanted()).await);
    assert!(report.is_ready(), "{}", report.text());
    let missing: Vec<_> = report.items.iter().filter(|item| item.state == State::Missing).map(|item| item.what).collect();
    assert_eq!(missing, ["MTA-STS", "MTA-STS policy", "TLS-RPT", "autoconfig"], "{}", report.text());
    assert!(report.opinions.iter().all(|opinion| opinion.good == Some(true)), "{}", report.text());
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((json["items"][0]["what"].as_str(), json["items"][0]["state"].as_str()), (Some("MX"), Some("ok")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dns_that_fails_is_not_taken_for_one_that_says_no() {
    let dns = Dns::start().await;
    for name in ["kith.test", "_dmarc.kith.test", "mx.kith.test", "7.2.0.192.in-addr.arpa"] {
        dns.trouble(name, Trouble::Fails);
    }
    let lookup = Live::new(verify::resolver(&[dns.address()]).unwrap(), "mx.kith.test");
    let report = compare(&wanted(), &gather(&lookup, &wanted()).await);
    for what in ["MX", "SPF", "DMARC", "address", "PTR"] {
        let item = report.items.iter().find(|item| item.what == what).unwrap();
        assert_eq!(item.state, State::Unknown, "{}", report.text());
    }
    let dkim = report.items.iter().find(|item| item.what == "DKIM").unwrap();
    assert_eq!((dkim.state, dkim.enter.len()), (State::Missing, 1));
}
