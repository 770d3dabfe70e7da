//! Each rule, by a mail that it is about.

use super::super::verdict::{Arc, Dkim, Dmarc, Iprev, Spf};
use super::*;

fn verdict(header: &str) -> Verdict {
    Verdict {
        author: Author::of(header.as_bytes()),
        spf: Spf { outcome: Outcome::None, domain: String::new() },
        dkim: Vec::new(),
        dmarc: Dmarc { outcome: Outcome::None, request: Request::None, domain: "example.org".into() },
        arc: Arc { outcome: Outcome::None, sealer: String::new() },
        iprev: Iprev { outcome: Outcome::None, name: String::new() },
    }
}

fn signed(domain: &str) -> Dkim {
    Dkim { outcome: Outcome::Pass, domain: domain.into(), selector: "s".into(), beginning: String::new(), reason: String::new() }
}

fn decide(header: &str, reverse_path: &str, verdict: &Verdict) -> Judgement {
    let domains = ["kith.test".to_owned()];
    let house = House { domains: &domains };
    let settings = Settings { trusted_forwarders: vec!["lists.example".into()], ..Settings::default() };
    judge(&settings, &house, &Mail { header: header.as_bytes(), reverse_path, recipients: &["mum@kith.test"], verdict })
}

const HEADER: &str = "From: anna@example.org\r\n";

#[test]
fn a_mail_that_nobody_says_anything_about_is_accepted() {
    assert_eq!(decide(HEADER, "anna@example.org", &verdict(HEADER)), Judgement::Accept);
    assert_eq!(decide(HEADER, "", &verdict(HEADER)), Judgement::Accept);
}

#[test]
fn a_mail_that_claims_to_be_from_here_is_refused_unless_we_vouch_for_it() {
    for header in ["From: mum@kith.test\r\n", "From: mum@sub.Kith.Test\r\n", "From: a@example.org, mum@kith.test\r\n"] {
        assert!(matches!(decide(header, "x@example.org", &verdict(header)), Judgement::Refuse(Refused::Spoofed(_))), "{header}");
    }
    assert_eq!(decide(HEADER, "mum@kith.test", &verdict(HEADER)), Judgement::Refuse(Refused::Spoofed("kith.test".into())));
    assert_eq!(decide(HEADER, "mum@notkith.test", &verdict(HEADER)), Judgement::Accept);
    let header = "From: mum@kith.test\r\n";
    let other = Verdict { dkim: vec![signed("evil.example")], ..verdict(header) };
    assert!(matches!(decide(header, "", &other), Judgement::Refuse(Refused::Spoofed(_))));
    let ours = Verdict { dkim: vec![signed("kith.test")], ..verdict(header) };
    assert_eq!(decide(header, "bounce@lists.example", &ours), Judgement::Accept, "back from a mailing list");
}

#[test]
fn what_a_domain_asks_for_is_done() {
    let with = |outcome, request| Verdict { dmarc: Dmarc { outcome, request, domain: "example.org".into() }, ..verdict(HEADER) };
    let decide = |verdict| decide(HEADER, "a@b.example", &verdict);
    assert_eq!(decide(with(Outcome::Fail, Request::Reject)), Judgement::Refuse(Refused::Dmarc("example.org".into())));
    assert_eq!(decide(with(Outcome::Fail, Request::Quarantine)), Judgement::Junk(Doubt::Quarantine));
    assert_eq!(decide(with(Outcome::Fail, Request::None)), Judgement::Accept);
    assert_eq!(decide(with(Outcome::Pass, Request::Reject)), Judgement::Accept);
    assert_eq!(decide(with(Outcome::TempError, Request::None)), Judgement::Refuse(Refused::Later("example.org".into())));
    let sealed = |sealer: &str| Arc { outcome: Outcome::Pass, sealer: sealer.into() };
    assert_eq!(decide(Verdict { arc: sealed("lists.example"), ..with(Outcome::Fail, Request::Reject) }), Judgement::Accept);
    let foreign = Verdict { arc: sealed("evil.example"), ..with(Outcome::Fail, Request::Reject) };
    assert!(matches!(decide(foreign), Judgement::Refuse(Refused::Dmarc(_))));
    assert_eq!(Refused::Dmarc(String::new()).codes(), (550, "5.7.1"));
}

#[test]
fn a_mail_without_one_author_is_refused_or_doubted() {
    for header in ["To: x\r\n", "From: a@b.example\r\nFrom: a@b.example\r\n", "From: x\r\n"] {
        assert_eq!(decide(header, "", &verdict(header)), Judgement::Refuse(Refused::Author), "{header}");
    }
    let header = "From: a@b.example, c@d.example\r\n";
    assert_eq!(decide(header, "", &verdict(header)), Judgement::Junk(Doubt::SeveralAuthors));
    let vouched = Verdict { dkim: vec![signed("d.example")], ..verdict(header) };
    assert_eq!(decide(header, "", &vouched), Judgement::Accept);
}

#[test]
fn what_its_own_envelope_disowns_is_junk_unless_somebody_signed_it() {
    let spf = Spf { outcome: Outcome::Fail, domain: "b.example".into() };
    let disowned = Verdict { spf: spf.clone(), ..verdict(HEADER) };
    assert_eq!(decide(HEADER, "a@b.example", &disowned), Judgement::Junk(Doubt::Disowned));
    let signed = Verdict { spf, dkim: vec![signed("x.example")], ..verdict(HEADER) };
    assert_eq!(decide(HEADER, "a@b.example", &signed), Judgement::Accept);
}

#[test]
fn circles_end() {
    let header = format!("Delivered-To: mum@kith.test\r\n{HEADER}");
    assert_eq!(decide(&header, "", &verdict(HEADER)), Judgement::Refuse(Refused::Loop(Loop::Delivered)));
}
