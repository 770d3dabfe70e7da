//! The whole way in: the MX of `kith-smtp` with a policy made of this crate's decisions, a DNS server, and real senders.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../inbound/dns.rs"]
#[expect(dead_code, reason = "more than this needs")]
mod dns;
#[path = "../../../clients/connection/tests/support/home.rs"]
#[expect(dead_code, reason = "nobody logs in here, and the disk is whole")]
mod home;
mod house;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use house::House;
use kith_gateway::inbound::judge::{Doubt, Judgement};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Says all lines but those of the mail one by one, and hears what is answered to each.
async fn talk(house: &House, lines: &[&str]) -> Vec<String> {
    let mut stream = TcpStream::connect(house.address()).await.unwrap();
    let mut heard = vec![hear(&mut stream).await];
    for line in lines {
        stream.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        heard.push(hear(&mut stream).await);
    }
    heard
}

async fn hear(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let complete = said.ends_with(b"\r\n") && {
            let text = String::from_utf8_lossy(&said).into_owned();
            text.lines().last().is_some_and(|last| last.as_bytes().get(3) == Some(&b' '))
        };
        if complete {
            return String::from_utf8(said).unwrap();
        }
        let read = tokio::time::timeout(Duration::from_secs(30), stream.read(&mut buffer)).await.unwrap().unwrap();
        if read == 0 {
            return String::from_utf8(said).unwrap();
        }
        said.extend_from_slice(&buffer[..read]);
    }
}

const MAIL: &str =
    "From: Anna <anna@example.org>\r\nSubject: hi\r\nAuthentication-Results: mx.kith.test; dmarc=pass\r\n\r\nHello\r\n.";

async fn send(house: &House, from: &str, mail: &str) -> String {
    let from = format!("MAIL FROM:<{from}>");
    let heard = talk(house, &["EHLO mail.example.org", &from, "RCPT TO:<mum@kith.test>", "DATA", mail]).await;
    heard.last().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stranger_waits_and_then_comes_in_with_what_was_found_out_about_it() {
    let house = House::start().await;
    house.dns.txt("example.org", "v=spf1 ip4:127.0.0.1 -all");
    house.dns.txt("_dmarc.example.org", "v=DMARC1; p=reject");
    let start = ["EHLO mail.example.org", "MAIL FROM:<anna@example.org>", "RCPT TO:<mum@kith.test>"];
    let heard = talk(&house, &start).await;
    assert!(heard[3].starts_with("451 4.7.1 "), "{heard:?}");
    house.pass(299);
    assert!(talk(&house, &start).await[3].starts_with("451 4.7.1 "));
    house.pass(1);
    let said = send(&house, "anna@example.org", MAIL).await;
    assert!(said.starts_with("250 2.6.0 "), "{said}");
    let (judgement, mail) = house.taken().pop().unwrap();
    assert_eq!(judgement, Judgement::Accept);
    let expected = "Authentication-Results: mx.kith.test;\r\n\tspf=pass smtp.mailfrom=anna@example.org;\r\n\tdkim=none;\r\n\
        \tdmarc=pass policy.dmarc=reject header.from=example.org;\r\n\tiprev=";
    assert!(mail.starts_with(expected), "{mail}");
    assert_eq!(mail.matches("Authentication-Results:").count(), 1, "what claimed to be ours is gone: {mail}");
    assert!(mail.contains("\r\nReceived: from mail.example.org ([127.0.0.1])\r\n\tby mx.kith.test with ESMTP id "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn forged_mail_is_refused_or_doubted_while_its_sender_is_there() {
    let house = House::start().await;
    house.open();
    house.dns.txt("_dmarc.bank.example", "v=DMARC1; p=reject");
    house.dns.txt("_dmarc.shop.example", "v=DMARC1; p=quarantine");
    house.dns.trouble("_dmarc.slow.example", dns::Trouble::Fails);
    let from = |address: &str| format!("From: {address}\r\n\r\nx\r\n.");
    for (mail, expected) in [
        (from("boss@bank.example"), "550 5.7.1 "),
        (from("mum@kith.test"), "550 5.7.1 "),
        (from("a@slow.example"), "451 4.7.5 "),
        ("Subject: no author\r\n\r\nx\r\n.".to_owned(), "550 5.6.0 "),
        (format!("X-Kith-Gateway: our-mark\r\n{}", from("a@b.example")), "554 5.4.6 "),
        (format!("{}{}", "Received: from a by b; now\r\n".repeat(51), from("a@b.example")), "554 5.4.6 "),
    ] {
        let said = send(&house, "x@evil.example", &mail).await;
        assert!(said.starts_with(expected), "{mail}: {said}");
    }
    assert!(house.taken().is_empty());
    assert!(send(&house, "x@evil.example", &from("a@shop.example")).await.starts_with("250 "));
    assert_eq!(house.taken().pop().unwrap().0, Judgement::Junk(Doubt::Quarantine));
    assert!(send(&house, "", &from("mailer-daemon@other.example")).await.starts_with("250 "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_searches_for_addresses_is_not_heard_for_a_while() {
    let house = House::start().await;
    house.open();
    for round in 0..8 {
        let mut lines = vec!["EHLO x".to_owned(), "MAIL FROM:<a@b.example>".to_owned()];
        lines.extend((0..9).map(|number| format!("RCPT TO:<name{round}{number}@kith.test>")));
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        if talk(&house, &lines[..1]).await[0].starts_with("421 ") {
            assert!(round >= 5, "{round}");
            house.pass(3600);
            assert!(talk(&house, &[]).await[0].starts_with("220 "));
            return;
        }
        talk(&house, &lines).await;
    }
    panic!("nobody stopped it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_dkimpy_signs_and_swaks_brings_is_known_as_genuine() {
    const SIGN: &str = "
import sys, dkim
mail = sys.stdin.buffer.read()
sys.stdout.buffer.write(dkim.sign(mail, b'sel', b'example.org', open(sys.argv[1], 'rb').read(), canonicalize=(b'relaxed', b'relaxed')) + mail)
";
    let house = House::start().await;
    house.open();
    let key = tempfile::NamedTempFile::new().unwrap();
    let path = key.path().to_str().unwrap();
    let made =
        Command::new("openssl").args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", path]).output();
    let public = Command::new("openssl").args(["pkey", "-in", path, "-pubout", "-outform", "DER"]).output();
    let (Ok(_), Ok(public)) = (made, public) else {
        eprintln!("openssl is not installed: skipped");
        return;
    };
    use base64::Engine;
    let public = base64::engine::general_purpose::STANDARD.encode(public.stdout);
    house.dns.txt("sel._domainkey.example.org", &format!("v=DKIM1; k=rsa; p={public}"));
    house.dns.txt("_dmarc.example.org", "v=DMARC1; p=reject");
    let mut signer =
        Command::new("/usr/bin/python3").args(["-c", SIGN, path]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    signer.stdin.take().unwrap().write_all(b"From: anna@example.org\r\nSubject: hi\r\n\r\n.\r\n..\r\nHello\r\n").unwrap();
    let signed = signer.wait_with_output().unwrap();
    if !signed.status.success() {
        eprintln!("python3-dkim is not installed: skipped");
        return;
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &signed.stdout).unwrap();
    let port = house.address().port().to_string();
    let mut command = Command::new("swaks");
    command.args(["--server", "127.0.0.1", "--port", &port, "--helo", "mail.example.org", "--from", "bounce@lists.example"]);
    command.args(["--to", "mum@kith.test", "-tls", "--data"]).arg(format!("@{}", file.path().display()));
    let Ok(output) = tokio::task::spawn_blocking(move || command.output()).await.unwrap() else {
        eprintln!("swaks is not installed: skipped");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let (judgement, mail) = house.taken().pop().unwrap();
    assert_eq!(judgement, Judgement::Accept);
    assert!(mail.contains("dkim=pass header.d=example.org header.s=sel") && mail.contains("dmarc=pass"), "{mail}");
    assert!(mail.contains(" with ESMTPS id "));
}
