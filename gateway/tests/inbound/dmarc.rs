//! DMARC as Mail::DMARC judges it, Debian's Perl module, over the same DNS and with signatures that dkimpy made.

use std::net::Ipv4Addr;
use std::process::Command;

use kith_gateway::inbound::verdict::{Outcome, Request, Verdict};

use crate::dns::Dns;
use crate::verdicts::{HERE, key, look, python};

/// Signs with a key's file for a domain.
const SIGN: &str = "
import sys, dkim
mail = sys.stdin.buffer.read()
key = open(sys.argv[1], 'rb').read()
sys.stdout.buffer.write(dkim.sign(mail, b'sel', sys.argv[2].encode(), key) + mail)
";

/// Says `pass` or `fail`, and what is to be done; or `none`.
const JUDGE: &str = r#"
use strict; use warnings; use Mail::DMARC::PurePerl; use Net::DNS::Resolver;
my ($port, $from, $path, $spf, $signer, $dkim) = @ARGV;
my $dmarc = Mail::DMARC::PurePerl->new;
$dmarc->set_resolver(Net::DNS::Resolver->new(nameservers => ['127.0.0.1'], port => $port, dnsrch => 0, udp_timeout => 5));
$dmarc->source_ip('192.0.2.7'); $dmarc->envelope_to('example.com'); $dmarc->envelope_from($path); $dmarc->header_from($from);
$dmarc->spf([{ domain => $path, scope => 'mfrom', result => $spf }]);
$dmarc->dkim($signer eq '' ? [] : [{ domain => $signer, selector => 'sel', result => $dkim, human_result => $dkim }]);
my $result = $dmarc->validate;
print $result->published ? join(' ', $result->result, $result->disposition) : 'none';
"#;

/// What is published, by whom; whom the mail is from, by the envelope and by itself; who signs it.
const CASES: [(&str, &str, &str, &str); 15] = [
    ("v=DMARC1; p=reject", "example.org", "example.org", ""),
    ("v=DMARC1; p=reject", "example.org", "example.net", ""),
    ("v=DMARC1; p=quarantine", "example.org", "example.net", "example.org"),
    ("v=DMARC1; p=quarantine", "example.org", "example.net", "example.net"),
    ("v=DMARC1; p=none", "example.org", "example.net", ""),
    // Hosts of the same owner: enough, unless the owner says that it is not.
    ("v=DMARC1; p=reject", "example.org", "bounces.example.org", ""),
    ("v=DMARC1; p=reject; aspf=s", "example.org", "bounces.example.org", ""),
    ("v=DMARC1; p=reject; aspf=s", "example.org", "example.org", ""),
    ("v=DMARC1; p=reject", "example.org", "example.net", "mail.example.org"),
    ("v=DMARC1; p=reject; adkim=s", "example.org", "example.net", "mail.example.org"),
    ("v=DMARC1; p=reject; adkim=s", "example.org", "example.net", "example.org"),
    // From a host below: what the owner says of those, or of all.
    ("v=DMARC1; p=reject; sp=quarantine", "news.example.org", "example.net", ""),
    ("v=DMARC1; p=none; sp=reject", "news.example.org", "example.net", ""),
    ("v=DMARC1; p=reject", "news.example.org", "example.net", ""),
    ("v=DMARC1; p=reject", "news.example.org", "example.org", ""),
];

fn said(verdict: &Verdict) -> String {
    let request = match verdict.dmarc.request {
        Request::None => "none",
        Request::Quarantine => "quarantine",
        Request::Reject => "reject",
    };
    match verdict.dmarc.outcome {
        Outcome::Pass => "pass none".to_owned(),
        Outcome::Fail => format!("fail {request}"),
        other => other.word().to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dmarc_is_judged_as_mail_dmarc_judges_it() {
    if !Command::new("perl").args(["-MMail::DMARC::PurePerl", "-e", "1"]).output().is_ok_and(|output| output.status.success()) {
        eprintln!("perl's Mail::DMARC is not installed: skipped");
        return;
    }
    let Some((file, record)) = key("rsa") else { return };
    for (published, from, path, signer) in CASES {
        let dns = Dns::start().await;
        dns.txt("_dmarc.example.org", published);
        for name in ["example.org", "news.example.org", "mail.example.org", "bounces.example.org", "example.net"] {
            dns.a(name, Ipv4Addr::new(192, 0, 2, 9));
            dns.txt(name, "v=spf1 ip4:192.0.2.7 -all");
            dns.txt(&format!("sel._domainkey.{name}"), &record);
        }
        let mail =
            format!("From: Anna <anna@{from}>\r\nTo: mum@kith.test\r\nSubject: hi\r\nMessage-ID: <1@{from}>\r\n\r\nHello\r\n");
        let mail = match signer {
            "" => mail.into_bytes(),
            _ => match python(SIGN, mail.as_bytes(), &[file.path().to_str().unwrap(), signer]) {
                Some(signed) => signed,
                None => return,
            },
        };
        let verdict = look(&dns, &mail, &format!("bounce@{path}")).await;
        let dkim = verdict.dkim.first().map_or("none", |dkim| dkim.outcome.word());
        assert!(HERE.is_ipv4() && (signer.is_empty() || dkim == "pass"), "{verdict:?}");
        let port = dns.address().port().to_string();
        let arguments = [&port, from, path, verdict.spf.outcome.word(), signer, dkim];
        let judged = Command::new("perl").args(["-e", JUDGE]).args(arguments).output().unwrap();
        let theirs = String::from_utf8_lossy(&judged.stdout).into_owned();
        assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stderr));
        assert_eq!(said(&verdict), theirs, "{published:?}, from {from}, by {path}, signed by {signer:?}: {verdict:?}");
    }
}
