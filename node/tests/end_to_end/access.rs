//! Who gets in: passwords for each program, the authority that stays, no password in the clear on the network, guesses counted.

use std::net::{IpAddr, UdpSocket};
use std::time::Instant;

use crate::clients::{Lines, base64, mail, send};
use crate::node::{Node, eventually};

/// An IMAP connection with this password; the answer to the login.
fn try_imap(node: &Node, name: &str, password: &str) -> (Lines, String) {
    let mut imap = Lines::connect(&node.port("imap"));
    assert!(imap.hear().starts_with("* OK"));
    imap.say(&format!("a LOGIN {name} \"{password}\""));
    let answer = imap.hear();
    (imap, answer)
}

/// This machine's address on a network, where it has one.
fn lan_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[test]
fn each_program_has_a_password_that_can_be_withdrawn_alone_and_at_once() {
    let node = Node::started(&["anna"]);
    let made = node.json(&["account", "password", "add", "phone"]);
    let password = made["password"].as_str().unwrap();
    assert_eq!(made["program"], "phone");
    let listed = node.json(&["account", "password", "list"]);
    assert_eq!(listed["passwords"][1]["program"], "phone");
    assert!(listed["passwords"][1]["used"].is_null());
    assert!(!listed.to_string().contains(password), "shown once");
    let (mut phone, answer) = try_imap(&node, "anna", password);
    assert!(answer.starts_with("a OK"), "{answer}");
    let (mut laptop, answer) = try_imap(&node, "anna", "secret");
    assert!(answer.starts_with("a OK"), "{answer}");
    assert!(node.json(&["account", "password", "list"])["passwords"][1]["used"].is_u64());
    assert!(node.ask(&["account", "password", "list"]).contains("phone"));
    phone.say("b SELECT INBOX");
    while !phone.hear().starts_with("b OK") {}
    phone.say("c IDLE");
    assert!(phone.hear().starts_with('+'));

    let (code, _, error) = node.try_with(b"", &["account", "password", "add", "phone"]);
    assert_eq!(code, 1, "{error}");
    node.ask(&["account", "password", "remove", "phone", "--account", "anna"]);
    assert_eq!(phone.hear(), "", "the idling program is shut out");
    let (_, answer) = try_imap(&node, "anna", password);
    assert!(answer.starts_with("a NO"), "{answer}");
    laptop.say("b NOOP");
    assert!(laptop.hear().starts_with("b OK"), "the other program goes on");
    let (code, _, error) = node.try_with(b"", &["account", "password", "remove", "phone"]);
    assert_eq!(code, 1, "{error}");
    // Without a terminal and without --password-stdin a password is made and shown.
    let (code, _, shown) = node.try_with(b"", &["account", "passwd", "anna"]);
    assert_eq!(code, 0, "{shown}");
    let password = shown.split("only now): ").nth(1).unwrap().split_whitespace().next().unwrap();
    assert_eq!(laptop.hear(), "", "the changed password shuts out too");
    let (mut last, answer) = try_imap(&node, "anna", password);
    assert!(answer.starts_with("a OK"), "{answer}");
    node.ask(&["account", "remove", "anna", "--yes"]);
    assert_eq!(last.hear(), "", "and so does the end of the account");
}

#[test]
fn the_authority_stays_through_restarts_and_its_fingerprint_is_shown() {
    let mut node = Node::started(&["anna"]);
    let shown = node.json(&["status"])["certificate"].as_str().unwrap().to_owned();
    assert_eq!(shown.len(), 95);
    for _ in 0..2 {
        node.stop();
        assert_eq!(node.json(&["status"])["certificate"], *shown, "also while the node does not run");
        node.start();
        assert_eq!(node.json(&["status"])["certificate"], *shown);
    }
    assert!(node.ask(&["status"]).contains(&shown));
    // A lost authority is not replaced: programs would be told to trust a stranger.
    node.stop();
    let authority = node.home().join("tls/authority.pem");
    let aside = node.home().join("tls/aside.pem");
    std::fs::rename(&authority, &aside).unwrap();
    let (code, _, error) = node.try_with(b"", &["run", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0"]);
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("authority.pem") && error.contains("backup"), "{error}");
    std::fs::rename(&aside, &authority).unwrap();
    node.start();
    assert_eq!(node.json(&["status"])["certificate"], *shown);
}

#[test]
fn no_password_is_taken_in_the_clear_from_another_address_than_the_loopback() {
    let Some(address) = lan_address() else {
        eprintln!("this machine is on no network: skipped");
        return;
    };
    let mut node = Node::with_accounts(&["anna"]);
    node.on_all_interfaces();
    node.start();
    let port = |name: &str| format!("{address}:{}", node.port(name).rsplit_once(':').unwrap().1);
    let plain = base64(b"\0anna\0secret");
    let mut smtp = Lines::connect(&port("smtp"));
    smtp.reply();
    let offered = smtp.talk("EHLO pc");
    assert!(offered.contains("STARTTLS") && !offered.contains("AUTH"), "{offered}");
    assert!(smtp.talk(&format!("AUTH PLAIN {plain}")).starts_with("538 "));
    assert!(smtp.talk("MAIL FROM:<anna@kith.alt>").starts_with("530 "));
    let mut pop = Lines::connect(&port("pop3"));
    pop.hear();
    for line in ["USER anna", &format!("AUTH PLAIN {plain}")] {
        pop.say(line);
        let answer = pop.hear();
        assert!(answer.starts_with("-ERR"), "{answer}");
    }
    let mut imap = Lines::connect(&port("imap"));
    let greeting = imap.hear();
    assert!(greeting.contains("LOGINDISABLED") && greeting.contains("STARTTLS"), "{greeting}");
    imap.say("a LOGIN anna secret");
    let answer = imap.hear();
    assert!(answer.starts_with("a NO") || answer.starts_with("a BAD"), "{answer}");
    assert_eq!(node.json(&["status"])["logins"], 0);
}

#[test]
fn failed_logins_are_slowed_and_counted_and_leave_no_password_in_the_log() {
    let mut node = Node::with_accounts(&["anna"]);
    node.log("debug");
    node.start();
    let begun = Instant::now();
    for number in 0..4 {
        let (_, answer) = try_imap(&node, "anna", &format!("wrong-guess-{number}"));
        assert!(answer.starts_with("a NO"), "{answer}");
    }
    assert!(begun.elapsed().as_millis() > 3_000, "0.5 s, 1 s and 2 s: {:?}", begun.elapsed());
    send(&node, "anna", &["anna@kith.alt"], &mail("anna", "x", b"y\r\n"));
    let status = node.json(&["status"]);
    assert_eq!((status["failed_logins"].as_u64(), status["logins"].as_u64()), (Some(4), Some(1)));
    let log = eventually("the log", || {
        let log = std::fs::read_to_string(node.home().join("log")).unwrap();
        (log.matches("login failed").count() == 4).then_some(log)
    });
    for secret in ["wrong-guess", "secret", &base64(b"\0anna\0secret")] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}
