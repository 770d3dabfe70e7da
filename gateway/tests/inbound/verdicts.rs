//! Verdicts on real mails: signed by dkimpy and OpenDKIM, SPF as pyspf judges it, a DNS that fails, hangs and lies.

use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kith_gateway::inbound::author::Author;
use kith_gateway::inbound::results;
use kith_gateway::inbound::verdict::{Envelope, Outcome, Request, Verdict};
use kith_gateway::inbound::verify::{self, Verifier};

use crate::dns::{Dns, Trouble};

pub(crate) const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));
const MAIL: &str = "From: Anna <anna@example.org>\r\nTo: mum@kith.test\r\nSubject: hi\r\nDate: Wed, 18 Nov 2026 11:06:40 +0000\r\n\
    Message-ID: <1@example.org>\r\n\r\nHello,\r\n\r\nme\r\n\r\n";

fn verifier(dns: &Dns, patience: Duration) -> Verifier {
    Verifier::new(verify::resolver(&[dns.address()]).unwrap(), "mx.kith.test", patience)
}

pub(crate) async fn look(dns: &Dns, mail: &[u8], reverse_path: &str) -> Verdict {
    let envelope = Envelope { ip: HERE, helo: "mail.example.org", reverse_path };
    verifier(dns, Duration::from_secs(5)).verify(mail, &envelope).await
}

/// Runs Debian's Python, which has the packages; `None`, and says so, where a module is missing.
pub(crate) fn python(script: &str, input: &[u8], arguments: &[&str]) -> Option<Vec<u8>> {
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", script])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .inspect_err(|_| eprintln!("python3 is not installed: skipped"))
        .ok()?;
    // Where a package is missing it reads nothing.
    let _read = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    if complaint.contains("ModuleNotFoundError") {
        eprintln!("skipped: {complaint}");
        return None;
    }
    assert!(output.status.success(), "{complaint}");
    Some(output.stdout)
}

/// Pairs of keys by openssl: PEM, and the `p=` of the record.
pub(crate) fn key(kind: &str) -> Option<(tempfile::NamedTempFile, String)> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let arguments: &[&str] = match kind {
        "rsa" => &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", path],
        _ => &["genpkey", "-algorithm", "ED25519", "-out", path],
    };
    let made = Command::new("openssl").args(arguments).output();
    let made = made.inspect_err(|_| eprintln!("openssl is not installed: skipped")).ok()?;
    assert!(made.status.success());
    let public = Command::new("openssl").args(["pkey", "-in", path, "-pubout", "-outform", "DER"]).output().ok()?.stdout;
    let public = if kind == "rsa" { public } else { public[public.len() - 32..].to_vec() };
    let record = format!("v=DKIM1; k={kind}; p={}", base64(&public));
    Some((file, record))
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

const SIGN: &str = "
import sys, dkim
mail = sys.stdin.buffer.read()
key = open(sys.argv[1], 'rb').read()
if sys.argv[2] == 'ed25519':
    import base64, subprocess
    der = subprocess.run(['openssl', 'pkey', '-in', sys.argv[1], '-outform', 'DER'], stdout=subprocess.PIPE).stdout
    key = base64.b64encode(der[-32:])
canonicalize = tuple(sys.argv[3].encode().split(b'/'))
algorithm = b'ed25519-sha256' if sys.argv[2] == 'ed25519' else b'rsa-sha256'
sys.stdout.buffer.write(dkim.sign(mail, b'sel', b'example.org', key, canonicalize=canonicalize, signature_algorithm=algorithm) + mail)
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_dkimpy_signs_holds_and_what_is_changed_does_not() {
    let dns = Dns::start().await;
    dns.txt("_dmarc.example.org", "v=DMARC1; p=reject; adkim=s");
    for kind in ["rsa", "ed25519"] {
        let Some((file, record)) = key(kind) else { return };
        let dns = Dns::start().await;
        dns.txt("_dmarc.example.org", "v=DMARC1; p=reject; adkim=s");
        dns.txt("sel._domainkey.example.org", &record);
        for canonicalization in ["relaxed/relaxed", "simple/simple", "relaxed/simple"] {
            let path = file.path().to_str().unwrap();
            let Some(signed) = python(SIGN, MAIL.as_bytes(), &[path, kind, canonicalization]) else { return };
            let on_top = [b"Received: from x by y; now\r\n", signed.as_slice()].concat();
            let verdict = look(&dns, &on_top, "bounce@lists.example").await;
            assert_eq!(verdict.dkim.len(), 1, "{verdict:?}");
            assert_eq!(
                (verdict.dkim[0].outcome, verdict.dmarc.outcome),
                (Outcome::Pass, Outcome::Pass),
                "{kind} {canonicalization}"
            );
            assert!(verdict.vouches("example.org") && verdict.dkim[0].selector == "sel");
            let changed = String::from_utf8(signed).unwrap().replace("Hello", "Hullo");
            let verdict = look(&dns, changed.as_bytes(), "bounce@lists.example").await;
            assert_ne!(verdict.dkim[0].outcome, Outcome::Pass);
            assert_eq!((verdict.dmarc.outcome, verdict.dmarc.request), (Outcome::Fail, Request::Reject));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_opendkim_says_of_a_mail_we_say_too() {
    let dns = Dns::start().await;
    let Some((file, record)) = key("rsa") else { return };
    dns.txt("sel._domainkey.example.org", &record);
    let signer = Command::new("opendkim-testmsg")
        .args(["-d", "example.org", "-s", "sel", "-C", "-k", file.path().to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut signer) = signer else {
        eprintln!("opendkim-testmsg is not installed: skipped");
        return;
    };
    signer.stdin.take().unwrap().write_all(MAIL.as_bytes()).unwrap();
    let signed = signer.wait_with_output().unwrap();
    assert!(signed.status.success());
    let verdict = look(&dns, &signed.stdout, "").await;
    assert_eq!(verdict.dkim.first().map(|dkim| dkim.outcome), Some(Outcome::Pass), "{}", String::from_utf8_lossy(&signed.stdout));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arc_chains_that_dkimpy_seals_hold() {
    const SEAL: &str = "
import sys, dkim
mail = sys.stdin.buffer.read()
mail = b'Authentication-Results: lists.example; spf=pass smtp.mailfrom=example.org\\r\\n' + mail
key = open(sys.argv[1], 'rb').read()
sys.stdout.buffer.write(b''.join(dkim.arc_sign(mail, b'sel', b'lists.example', key, b'lists.example')) + mail)
";
    let dns = Dns::start().await;
    let Some((file, record)) = key("rsa") else { return };
    dns.txt("sel._domainkey.lists.example", &record);
    let Some(sealed) = python(SEAL, MAIL.as_bytes(), &[file.path().to_str().unwrap()]) else { return };
    let verdict = look(&dns, &sealed, "").await;
    assert_eq!((verdict.arc.outcome, verdict.arc.sealer.as_str()), (Outcome::Pass, "lists.example"), "{verdict:?}");
    let changed = String::from_utf8(sealed).unwrap().replace("spf=pass", "spf=fail");
    let verdict = look(&dns, changed.as_bytes(), "").await;
    assert_eq!(verdict.arc.outcome, Outcome::Fail);
}

/// Records, what they say for 192.0.2.7, and whether pyspf, which has no DNS of ours, can be asked: it is given the record.
const SPF: [(&str, Outcome); 10] = [
    ("v=spf1 ip4:192.0.2.0/24 -all", Outcome::Pass),
    ("v=spf1 ip4:198.51.100.0/24 -all", Outcome::Fail),
    ("v=spf1 ip4:198.51.100.0/24 ~all", Outcome::SoftFail),
    ("v=spf1 ?all", Outcome::Neutral),
    ("v=spf1", Outcome::Neutral),
    ("v=spf1 nonsense:x -all", Outcome::PermError),
    ("v=spf1 ip4:192.0.2.0/24 ip4:192.0.2.0/33 -all", Outcome::PermError),
    ("v=spf1 redirect=a.example redirect=b.example", Outcome::PermError),
    ("v=spf1 ip4:192.0.2.7/24//64 -all", Outcome::PermError),
    ("other", Outcome::None),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spf_is_judged_as_pyspf_judges_it() {
    const JUDGE: &str = "
import sys, spf
record = sys.argv[1]
def lookup(name, qtype, *rest, **more):
    return [((name, 'TXT'), (record.encode(),))] if qtype == 'TXT' else []
spf.DNSLookup = lookup
print(spf.check2('192.0.2.7', 'anna@example.org', 'mail.example.org')[0])
";
    let mut judged = 0;
    for (number, (record, expected)) in SPF.iter().enumerate() {
        let dns = Dns::start().await;
        dns.txt("example.org", record);
        let verdict = look(&dns, MAIL.as_bytes(), "anna@example.org").await;
        assert_eq!(verdict.spf.outcome, *expected, "{number} {record}");
        if let Some(theirs) = python(JUDGE, b"", &[record]) {
            assert_eq!(String::from_utf8(theirs).unwrap().trim(), expected.word(), "{record}");
            judged += 1;
        }
    }
    assert!(judged == 0 || judged == SPF.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spf_aligned_makes_dmarc_pass_and_reports_are_judged_by_their_host() {
    let dns = Dns::start().await;
    dns.txt("mail.example.org", "v=spf1 a -all");
    dns.a("mail.example.org", [192, 0, 2, 7].into());
    dns.txt("example.org", "v=spf1 a:mail.example.org -all");
    dns.txt("_dmarc.example.org", "v=DMARC1; p=quarantine");
    dns.ptr(HERE, "mail.example.org");
    let verdict = look(&dns, MAIL.as_bytes(), "anna@example.org").await;
    assert_eq!((verdict.spf.outcome, verdict.dmarc.outcome), (Outcome::Pass, Outcome::Pass));
    assert_eq!((verdict.iprev.outcome, verdict.iprev.name.as_str()), (Outcome::Pass, "mail.example.org"));
    let verdict = look(&dns, MAIL.as_bytes(), "").await;
    assert_eq!((verdict.spf.outcome, verdict.spf.domain.as_str()), (Outcome::Pass, "mail.example.org"));
    assert_eq!(verdict.dmarc.outcome, Outcome::Pass, "relaxed: a host of the author's domain");
    let verdict = look(&dns, MAIL.as_bytes(), "x@elsewhere.example").await;
    assert_eq!((verdict.dmarc.outcome, verdict.dmarc.request), (Outcome::Fail, Request::Quarantine));
    let envelope = Envelope { ip: HERE, helo: "mail.example.org", reverse_path: "x@elsewhere.example" };
    let field = results::field("mx.kith.test", &envelope, &verdict);
    assert!(field.contains("dmarc=fail policy.dmarc=quarantine header.from=example.org"), "{field}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dns_that_fails_or_hangs_is_no_verdict_and_takes_bounded_time() {
    for trouble in [Trouble::Fails, Trouble::Silent] {
        let dns = Dns::start().await;
        for name in ["example.org", "_dmarc.example.org", "sel._domainkey.example.org", "7.2.0.192.in-addr.arpa"] {
            dns.trouble(name, trouble);
        }
        let envelope = Envelope { ip: HERE, helo: "mail.example.org", reverse_path: "anna@example.org" };
        let start = Instant::now();
        let signature =
            "DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=sel; c=relaxed/relaxed; h=from; bh=dGVzdA==; b=dGVzdA==\r\n";
        let mail = format!("{signature}{MAIL}");
        let verdict = verifier(&dns, Duration::from_secs(2)).verify(mail.as_bytes(), &envelope).await;
        assert_eq!((verdict.spf.outcome, verdict.dmarc.outcome), (Outcome::TempError, Outcome::TempError), "{verdict:?}");
        assert_eq!(verdict.iprev.outcome, Outcome::TempError);
        assert!(start.elapsed() < Duration::from_secs(7), "{:?}", start.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_full_of_signatures_costs_no_more_than_others() {
    let dns = Dns::start().await;
    dns.txt("_dmarc.example.org", "v=DMARC1; p=reject");
    let signatures: String = (0..2000)
        .map(|number| {
            format!(
                "DKIM-Signature: v=1; a=rsa-sha256; d=d{number}.example; s=s; l={number}; h=from; bh=dGVzdA==; b=dGVzdA==\r\n"
            )
        })
        .collect();
    let mail = format!("{signatures}{MAIL}{}", "x\r\n".repeat(1_000_000));
    let start = Instant::now();
    let verdict = look(&dns, mail.as_bytes(), "anna@example.org").await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!((verdict.dkim.len(), verdict.dkim[0].outcome), (1, Outcome::PermError));
    assert_eq!((verdict.dmarc.outcome, verdict.dmarc.request), (Outcome::Fail, Request::Reject));
    assert!(dns.asked() < 40, "{}", dns.asked());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_lie_and_loop_end() {
    let dns = Dns::start().await;
    dns.txt("example.org", "v=spf1 include:example.org -all");
    dns.txt("_dmarc.example.org", "v=DMARC1; p=reject");
    dns.txt("_dmarc.example.org", "v=DMARC1; p=none");
    let verdict = look(&dns, MAIL.as_bytes(), "anna@example.org").await;
    assert_eq!(verdict.spf.outcome, Outcome::PermError);
    assert_eq!((verdict.dmarc.outcome, verdict.dmarc.request), (Outcome::None, Request::None), "two records are none (RFC 9989)");
    dns.mx("x.example", 10, "y.example");
    for junk in [&b""[..], b"\r\n", b"no header", &[0xff; 5000], b"From: a@b.example\r\nDKIM-Signature: =;=;=\r\n\r\n"] {
        look(&dns, junk, "\u{fffd}@\u{fffd}").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authors_are_read_the_same_by_whoever_reads_them_or_not_at_all() {
    let dns = Dns::start().await;
    for from in [
        "anna@example.org",
        "<anna@example.org>",
        "Anna <anna@Example.ORG>",
        "\"Anna, of (the) <house>\" <anna@example.org>",
        "=?UTF-8?Q?Anna_M=C3=BCller?= <anna@example.org>",
        "Anna M\u{fc}ller <anna@example.org>",
        "Anna (at home) <anna@example.org> (really)",
        "\"boss@bank.example\" <anna@example.org>",
        "anna@example.org, \"B\" <ben@example.org>",
        "Anna\r\n\t<anna@example.org>",
        "Friends: anna@example.org, ben@example.org;",
        "\"a b\"@example.org",
        "<@relay.example:anna@example.org>",
    ] {
        let mail = format!("From: {from}\r\nSubject: x\r\n\r\nx\r\n");
        let verdict = look(&dns, mail.as_bytes(), "").await;
        assert!(matches!(&verdict.author, Author::Of { domain, .. } if domain == "example.org"), "{from}: {:?}", verdict.author);
    }
    // Whatever these are read as, no domain vouches for them by itself.
    dns.txt("evil.example", "v=spf1 ip4:192.0.2.7 -all");
    dns.txt("_dmarc.evil.example", "v=DMARC1; p=reject");
    dns.txt("_dmarc.bank.example", "v=DMARC1; p=reject");
    for from in [
        "boss@bank.example <x@evil.example>",
        "<boss@bank.example>, <x@evil.example>",
        "<boss@bank.example><x@evil.example>",
        "boss@bank.example\0<x@evil.example>",
        "\"<x@evil.example>\" boss@bank.example",
        "x@evil.example (<boss@bank.example>",
        "=?utf-8?q?=22?= <boss@bank.example>, <x@evil.example>",
    ] {
        let mail = format!("From: {from}\r\nSubject: x\r\n\r\nx\r\n");
        let verdict = look(&dns, mail.as_bytes(), "x@evil.example").await;
        if let Author::Of { domain, .. } = &verdict.author {
            let is_genuine = verdict.dmarc.outcome == Outcome::Pass;
            assert_eq!(is_genuine, domain == "evil.example", "{from}: {verdict:?}");
        }
    }
}
