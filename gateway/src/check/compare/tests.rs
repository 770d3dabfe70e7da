//! A domain as it should be, and one thing after the other as it should not.

use std::collections::BTreeMap;

use super::*;
use crate::check::shown::{Dane, Shown};

const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

fn wanted() -> Wanted {
    Wanted {
        domain: "kith.test".into(),
        host: "mx.kith.test".into(),
        addresses: vec![IP],
        keys: vec![Key { selector: "k1".into(), record: "v=DKIM1; k=ed25519; p=AAAA".into() }],
        spf: Vec::new(),
        direct: true,
        reports_to: Some("postmaster@kith.test".into()),
        submission: Some(("mx.kith.test".into(), 465)),
        imap: None,
        autoconfig: true,
        policy: None,
        ports: Vec::new(),
        mail_port: Some(25),
    }
}

fn texts_of(all: &[(&str, &str)]) -> BTreeMap<String, Answer<Vec<String>>> {
    all.iter().map(|(name, text)| ((*name).to_owned(), Answer::Found(vec![(*text).to_owned()]))).collect()
}

fn published() -> Published {
    Published {
        mx: Answer::Found(vec![(10, "MX.kith.test".into())]),
        txt: texts_of(&[
            ("kith.test", "v=spf1 mx -all"),
            ("_dmarc.kith.test", "v=DMARC1; p=reject"),
            ("k1._domainkey.kith.test", "v=DKIM1;k=ed25519; p=AA AA"),
            ("_mta-sts.kith.test", "v=STSv1; id=20260101"),
            ("_smtp._tls.kith.test", "v=TLSRPTv1; rua=mailto:a@b.example"),
        ]),
        addresses: [("mx.kith.test", IP), ("autoconfig.kith.test", IP)]
            .map(|(name, ip)| (name.to_owned(), Answer::Found(vec![ip])))
            .into(),
        names: [(IP, Answer::Found(vec!["mx.kith.test".to_owned()]))].into(),
        srv: [("_submissions._tcp.kith.test".to_owned(), Answer::Found(vec![("mx.kith.test".to_owned(), 465)]))].into(),
        policy: Answer::Found("version: STSv1\r\nmode: enforce\r\nmx: *.kith.test\r\nmax_age: 86400\r\n".into()),
        ports: BTreeMap::new(),
        shown: Answer::Found(shown()),
        spf: [(IP, Outcome::Pass)].into(),
    }
}

fn shown() -> Shown {
    Shown { names: vec!["mx.kith.test".into()], ends_s: 1_800_000_000, left_s: 5_000_000, doubt: None, dane: Dane::Silent }
}

fn item(report: &Report, what: &str) -> Item {
    report.items.iter().find(|item| item.what == what).cloned().unwrap_or_else(|| panic!("no {what}"))
}

#[test]
fn a_domain_as_it_should_be_is_ready_and_well_spoken_of() {
    let report = compare(&wanted(), &published());
    assert!(
        report.is_ready() && report.items.iter().all(|item| item.state == State::Ok && item.enter.is_empty()),
        "{}",
        report.text()
    );
    assert!(report.opinions.iter().all(|opinion| opinion.good == Some(true)), "{}", report.text());
    assert_eq!(report.items.len(), 12);
}

#[test]
fn a_domain_that_says_nothing_gets_every_line_to_enter() {
    let names = published().txt.into_keys();
    let nothing = Published {
        mx: Answer::Nothing,
        txt: names.map(|name| (name, Answer::Nothing)).collect(),
        addresses: [("mx.kith.test".to_owned(), Answer::Nothing), ("autoconfig.kith.test".to_owned(), Answer::Nothing)].into(),
        names: [(IP, Answer::Nothing)].into(),
        srv: [("_submissions._tcp.kith.test".to_owned(), Answer::Nothing)].into(),
        policy: Answer::Nothing,
        ports: BTreeMap::new(),
        shown: Answer::Nothing,
        spf: [(IP, Outcome::None)].into(),
    };
    let report = compare(&wanted(), &nothing);
    assert!(!report.is_ready() && report.items.iter().all(|item| item.state == State::Missing), "{}", report.text());
    let entered: Vec<String> = report.items.iter().flat_map(|item| item.enter.clone()).collect();
    for line in [
        "kith.test. IN MX 10 mx.kith.test.",
        "mx.kith.test. IN A 192.0.2.7",
        "kith.test. IN TXT \"v=spf1 ip4:192.0.2.7 -all\"",
        "k1._domainkey.kith.test. IN TXT \"v=DKIM1; k=ed25519; p=AAAA\"",
        "_dmarc.kith.test. IN TXT \"v=DMARC1; p=quarantine; rua=mailto:postmaster@kith.test\"",
        "_submissions._tcp.kith.test. IN SRV 0 1 465 mx.kith.test.",
    ] {
        assert!(entered.iter().any(|one| one == line), "{line} is not in {entered:#?}");
        assert!(report.text().contains(line));
    }
    assert!(report.opinions.iter().all(|opinion| opinion.good == Some(false)), "{}", report.text());
}

#[test]
fn what_is_different_is_told_with_what_to_do() {
    let check = |change: &dyn Fn(&mut Published), what: &str, wanted: &Wanted| {
        let mut published = published();
        change(&mut published);
        let item = item(&compare(wanted, &published), what);
        assert_eq!(item.state, State::Different, "{what}: {item:?}");
        item
    };
    let set = |name: &'static str, texts: &'static [&'static str]| {
        move |published: &mut Published| {
            let all = texts.iter().map(|text| (*text).to_owned()).collect();
            published.txt.insert(name.to_owned(), Answer::Found(all));
        }
    };
    let ours = wanted();
    check(&|published| published.mx = Answer::Found(vec![(10, "other.example".into())]), "MX", &ours);
    check(&set("kith.test", &["v=spf1 -all", "v=spf1 mx -all"]), "SPF", &ours);
    let refused = check(&|published| published.spf = [(IP, Outcome::Fail)].into(), "SPF", &ours);
    assert_eq!(refused.enter, ["kith.test. IN TXT \"v=spf1 ip4:192.0.2.7 mx -all\""], "what is there stays");
    let by_provider = Wanted { spf: vec!["include:provider.example".into()], direct: false, ..wanted() };
    let lacks = check(&|_| {}, "SPF", &by_provider);
    assert_eq!(lacks.enter, ["kith.test. IN TXT \"v=spf1 include:provider.example mx -all\""]);
    check(&set("k1._domainkey.kith.test", &["v=DKIM1; k=ed25519; p=BBBB"]), "DKIM", &ours);
    check(&set("k1._domainkey.kith.test", &["v=DKIM1; k=rsa; p=AAAA"]), "DKIM", &ours);
    check(&set("k1._domainkey.kith.test", &["v=DKIM1; k=ed25519; p="]), "DKIM", &ours);
    check(&set("_dmarc.kith.test", &["v=DMARC1; rua=mailto:x"]), "DMARC", &ours);
    check(&set("_dmarc.kith.test", &["v=DMARC1; p=none", "v=DMARC1; p=none"]), "DMARC", &ours);
    check(&set("_mta-sts.kith.test", &["v=STSv1; id=a-b"]), "MTA-STS", &ours);
    check(
        &|published| published.policy = Answer::Found("version: STSv1\nmode: enforce\nmx: a.example\nmax_age: 1\n".into()),
        "MTA-STS policy",
        &ours,
    );
    let no_policy = check(&|published| published.policy = Answer::Found("<html>".into()), "MTA-STS policy", &ours);
    assert_eq!(no_policy.sentence, "It counts as none: it has a line that is no key, colon and value.");
    check(&|published| drop(published.names.insert(IP, Answer::Found(vec!["dsl-7.example".into()]))), "PTR", &ours);
}

#[test]
fn a_dns_that_does_not_answer_is_not_known_and_nothing_is_to_be_entered() {
    let mut published = published();
    published.mx = Answer::Later("no answer in time".into());
    for answer in published.txt.values_mut() {
        *answer = Answer::Later("x".into());
    }
    published.spf = [(IP, Outcome::TempError)].into();
    let report = compare(&wanted(), &published);
    assert_eq!((item(&report, "MX").state, item(&report, "DKIM").state), (State::Unknown, State::Unknown));
    assert!(!report.is_ready() && item(&report, "SPF").enter.is_empty());
    assert!(report.opinions.iter().any(|opinion| opinion.what == "DMARC" && opinion.good.is_none()), "{}", report.text());
}

#[test]
fn long_keys_are_cut_as_zone_files_want_them_and_terminals_obey_nobody() {
    let line = txt_line("a.example", &"x".repeat(600));
    assert_eq!(line.matches('"').count(), 6);
    let mut published = published();
    published.txt.insert("_dmarc.kith.test".into(), Answer::Found(vec!["v=DMARC1; \u{1b}[2J".into()]));
    assert!(!compare(&wanted(), &published).text().contains('\u{1b}'));
}

#[test]
fn the_policy_that_this_node_serves_is_what_must_be_found_and_its_id_is_told() {
    let own = crate::outbound::sts::Policy {
        mode: crate::outbound::sts::Mode::Testing,
        mx: vec!["mx.kith.test".into()],
        max_age_s: 604_800,
    };
    assert_eq!(crate::outbound::sts::Policy::read(&own.text()), Ok(own.clone()));
    let wanted = Wanted { policy: Some(own.clone()), ..wanted() };
    let report = compare(&wanted, &published());
    // The record and the file are those of somebody else's policy; the host is not there.
    assert_eq!(item(&report, "MTA-STS").enter, [format!("_mta-sts.kith.test. IN TXT \"v=STSv1; id={}\"", own.own_id())]);
    assert!(
        item(&report, "MTA-STS policy").sentence.contains("another policy") && item(&report, "MTA-STS policy").enter.is_empty()
    );
    assert_eq!(item(&report, "MTA-STS host").state, State::Unknown);
    let mut published = published();
    published.policy = Answer::Found(own.text());
    let record = Answer::Found(vec![format!("v=STSv1; id={};", own.own_id())]);
    published.txt.insert("_mta-sts.kith.test".into(), record);
    published.addresses.insert("mta-sts.kith.test".into(), Answer::Found(vec![IP]));
    let report = compare(&wanted, &published);
    assert!(report.items.iter().all(|item| item.state == State::Ok), "{}", report.text());
    assert_ne!(own.own_id(), crate::outbound::sts::Policy { max_age_s: 1, ..own.clone() }.own_id());
    published.addresses.insert("mta-sts.kith.test".into(), Answer::Nothing);
    assert_eq!(item(&compare(&wanted, &published), "MTA-STS host").enter, ["mta-sts.kith.test. IN CNAME mx.kith.test."]);
}

#[test]
fn reports_of_tls_go_to_one_address_or_several_and_each_must_be_one() {
    for (text, state) in [
        ("v=TLSRPTv1;rua=mailto:a@b.example,https://c.example/x", State::Ok),
        ("v=TLSRPTv1; rua=mailto:a@b.example, mailto:d@e.example", State::Ok),
        ("v=TLSRPTv1; rua=mailto:a@b.example,http://c.example/x", State::Different),
        ("v=TLSRPTv1; rua=a@b.example", State::Different),
        ("v=TLSRPTv1; rua=mailto:a", State::Different),
        ("v=TLSRPTv1; rua=https:///x", State::Different),
        ("v=TLSRPTv1;", State::Different),
        ("v=TLSRPTv2; rua=mailto:a@b.example", State::Missing),
    ] {
        let mut published = published();
        published.txt.insert("_smtp._tls.kith.test".into(), Answer::Found(vec![text.to_owned()]));
        assert_eq!(item(&compare(&wanted(), &published), "TLS-RPT").state, state, "{text}");
    }
}

#[test]
fn a_port_that_does_not_answer_from_here_is_not_called_closed() {
    let wanted = Wanted { ports: vec![("mx.kith.test".into(), 25), ("mx.kith.test".into(), 443)], ..wanted() };
    let mut published = published();
    published.ports.insert(("mx.kith.test".into(), 25), Answer::Found(IP));
    published.ports.insert(("mx.kith.test".into(), 443), Answer::Later("192.0.2.7: Connection refused".into()));
    let report = compare(&wanted, &published);
    assert_eq!((item(&report, "port 25").state, item(&report, "port 443").state), (State::Ok, State::Unknown));
    assert!(item(&report, "port 443").sentence.contains("Connection refused") && report.is_ready(), "{}", report.text());
}

#[test]
fn what_is_shown_at_port_25_is_held_against_what_senders_were_told() {
    let told = |doubt: Option<&str>, left_s: i64, mode: &str| {
        let mut published = published();
        published.shown = Answer::Found(Shown { doubt: doubt.map(str::to_owned), left_s, ..shown() });
        published.policy = match mode {
            "" => Answer::Nothing,
            mode => Answer::Found(format!("version: STSv1\r\nmode: {mode}\r\nmx: mx.kith.test\r\nmax_age: 86400\r\n")),
        };
        let report = compare(&wanted(), &published);
        let item = item(&report, "TLS");
        assert_eq!(item.name, "mx.kith.test:25");
        (item.state, item.sentence, report.is_ready())
    };
    let doubt = Some("it is for a.test and not for mx.kith.test");
    let day = 24 * 3600;
    for (doubt, left_s, mode, state, words, ready) in [
        (None, 30 * day, "enforce", State::Ok, "good until 2027-01-15", true),
        (None, 3 * day, "", State::Different, "ends on 2027-01-15", true),
        (None, 3 * day, "enforce", State::Different, "ends on 2027-01-15", false),
        (
            doubt,
            day,
            "enforce",
            State::Different,
            "bring no mail, since they do not believe its certificate: it is for a.test",
            false,
        ),
        (doubt, day, "testing", State::Different, "report its certificate", true),
        (doubt, day, "none", State::Ok, "comes encrypted", true),
        (doubt, day, "", State::Ok, "comes encrypted", true),
    ] {
        let told = told(doubt, left_s, mode);
        assert!(told.0 == state && told.1.contains(words) && told.2 == ready, "{doubt:?} {left_s} {mode}: {told:?}");
    }
    let mut published = published();
    published.shown = Answer::Nothing;
    let report = compare(&wanted(), &published);
    assert!(item(&report, "TLS").state == State::Missing && !report.is_ready(), "{}", report.text());
    let away = Wanted { mail_port: None, ..wanted() };
    assert!(compare(&away, &published).items.iter().all(|item| item.what != "TLS"));
}

#[test]
fn keys_that_the_dns_names_are_told_only_where_it_names_some() {
    for (dane, state, words, ready) in [
        (Dane::Fits, State::Ok, "find the key", true),
        (Dane::Unsigned, State::Different, "count for nothing", true),
        (Dane::Differs("x".into()), State::Different, "bring no mail: x", false),
        (Dane::Unknown("y".into()), State::Unknown, "y", true),
    ] {
        let mut published = published();
        published.shown = Answer::Found(Shown { dane: dane.clone(), ..shown() });
        let report = compare(&wanted(), &published);
        let item = item(&report, "DANE");
        assert_eq!((item.state, item.name.as_str(), report.is_ready()), (state, "_25._tcp.mx.kith.test", ready), "{dane:?}");
        assert!(item.sentence.contains(words), "{}", item.sentence);
    }
    assert!(compare(&wanted(), &published()).items.iter().all(|item| item.what != "DANE"));
}

#[test]
fn a_machine_whose_address_is_not_known_and_a_provider_are_not_shut_out_by_the_line_for_spf() {
    let nothing = Published { txt: texts_of(&[]), ..published() };
    let nothing =
        Published { txt: [("kith.test".to_owned(), Answer::Nothing)].into_iter().chain(nothing.txt).collect(), ..nothing };
    let unknown = Wanted { addresses: Vec::new(), ..wanted() };
    assert_eq!(item(&compare(&unknown, &nothing), "SPF").enter, ["kith.test. IN TXT \"v=spf1 mx -all\""]);
    let provider = Wanted { direct: false, ..unknown };
    let told = item(&compare(&provider, &nothing), "SPF");
    assert!(told.enter.is_empty() && told.sentence.contains("include:PROVIDER"), "{told:?}");
}
