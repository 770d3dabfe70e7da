//! What bad input gets: a clear error, and nothing is lost.

use crate::clients::{Lines, base64, inbox, mail, send_in, submission};
use crate::node::{Node, befriend, pair};

#[test]
fn a_wrong_password_is_refused_everywhere_and_slowed() {
    let node = Node::started(&["anna"]);
    let mut smtp = Lines::connect(&node.port("smtp"));
    smtp.reply();
    smtp.talk("EHLO x");
    assert!(smtp.talk(&format!("AUTH PLAIN {}", base64(b"\0anna\0wrong"))).starts_with("535 "));
    assert!(smtp.talk("MAIL FROM:<anna@kith.alt>").starts_with("530 "));

    let mut pop = Lines::connect(&node.port("pop3"));
    pop.hear();
    pop.say("USER anna");
    pop.hear();
    pop.say("PASS wrong");
    assert!(pop.hear().starts_with("-ERR"));

    let mut imap = Lines::connect(&node.port("imap"));
    imap.hear();
    imap.say("a LOGIN anna wrong");
    assert!(imap.hear().starts_with("a NO"));

    let begun = std::time::Instant::now();
    let mut again = Lines::connect(&node.port("smtp"));
    again.reply();
    again.talk("EHLO x");
    for _ in 0..2 {
        again.talk(&format!("AUTH PLAIN {}", base64(b"\0anna\0wrong")));
    }
    assert!(begun.elapsed().as_millis() > 500, "guessing is not slowed");
}

#[test]
fn recipients_that_cannot_work_are_refused_while_the_sender_is_there() {
    let node = Node::started(&["anna"]);
    let own = node.address("anna");
    let mistyped = format!("{}{}", if own.starts_with('q') { "p" } else { "q" }, &own[1..]);
    let mut smtp = submission(&node, "anna");
    smtp.talk("MAIL FROM:<anna@kith.alt>");
    let reply = smtp.talk(&format!("RCPT TO:<{mistyped}>"));
    assert!(reply.starts_with("550 5.1.1 "), "{reply}");
    let reply = smtp.talk("RCPT TO:<nobody@kith.alt>");
    assert!(reply.starts_with("550 5.1.1 ") && reply.contains("kith contact add"), "{reply}");
    let reply = smtp.talk("RCPT TO:<someone@example.org>");
    assert!(reply.starts_with("550 5.1.") && reply.contains("--email"), "{reply}");
    let reply = smtp.talk("RCPT TO:<anna@kith.alt>");
    assert!(reply.starts_with("250 "), "the others still work: {reply}");
}

#[test]
fn nobody_writes_in_anothers_name() {
    let node = Node::started(&["anna", "ben"]);
    let mut smtp = submission(&node, "anna");
    assert!(smtp.talk("MAIL FROM:<ben@kith.alt>").starts_with("550 5.7.1 "));
    let forged = mail("ben", "forged", b"x\r\n");
    let reply = send_in(&mut smtp, "anna", &["anna@kith.alt"], "", &forged);
    assert!(reply.starts_with("550 5.7.1 "), "{reply}");
    inbox(&node, "anna", 0);
}

#[test]
fn too_large_is_said_with_the_limit_before_and_after_the_bytes_come() {
    let mut node = Node::with_accounts(&["anna"]);
    node.configure("size_limit_mib = 1");
    node.start();
    let mut smtp = submission(&node, "anna");
    let reply = smtp.talk("MAIL FROM:<anna@kith.alt> SIZE=2000000");
    assert!(reply.starts_with("552 5.3.4 ") && reply.contains("1048576"), "{reply}");
    let large = mail("anna", "large", "0123456789abcdef\r\n".repeat(100_000).as_bytes());
    let reply = send_in(&mut smtp, "anna", &["anna@kith.alt"], "", &large);
    assert!(reply.starts_with("552 5.3.4 "), "{reply}");
    let reply = send_in(&mut smtp, "anna", &["anna@kith.alt"], "", &mail("anna", "small", b"x\r\n"));
    assert!(reply.starts_with("250 "), "{reply}");
    inbox(&node, "anna", 1);
}

#[test]
fn smuggled_ends_and_bare_line_feeds_are_refused() {
    let node = Node::started(&["anna"]);
    for smuggled in ["\n.\n", "\n.\r\n", "\r.\r", "\r\n.\n", "\r\n.\r"] {
        let mut smtp = submission(&node, "anna");
        smtp.talk("MAIL FROM:<anna@kith.alt>");
        smtp.talk("RCPT TO:<anna@kith.alt>");
        smtp.talk("DATA");
        let text = format!(
            "From: <anna@kith.alt>\r\nSubject: a\r\n\r\nfirst{smuggled}MAIL FROM:<anna@kith.alt>\r\nRCPT TO:<anna@kith.alt>\r\n.\r\n"
        );
        smtp.send(text.as_bytes());
        let reply = smtp.reply();
        assert!(reply.starts_with('5'), "{smuggled:?}: {reply}");
        assert!(smtp.talk("NOOP").starts_with("250 "), "the session is in step");
    }
    inbox(&node, "anna", 0);
}

#[test]
fn an_unparsable_mail_is_carried_all_the_same() {
    let (anna, bob) = pair("anna", "bob");
    let strange =
        b"From: <anna@kith.alt>\r\nContent-Type: multipart/mixed; boundary=never\r\n: no name\r\n\xff\xfe\r\n\r\n--nev\0er\r\n"
            .to_vec();
    let reply = send_in(&mut submission(&anna, "anna"), "anna", &["bob@kith.alt"], "", &strange);
    assert!(reply.starts_with("250 "), "{reply}");
    let arrived = inbox(&bob, "bob", 1).remove(0);
    assert!(arrived.ends_with(b"\xff\xfe\r\n\r\n--nev\0er\r\n"));
}

#[test]
fn a_second_node_on_the_same_home_says_so_and_exits_1() {
    let node = Node::started(&["anna"]);
    let (code, _, error) =
        node.try_with(b"", &["run", "--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0", "--imap", "127.0.0.1:0"]);
    assert_eq!(code, 1);
    assert!(error.contains("runs on"), "{error}");
}

#[test]
fn a_node_that_is_nobody_to_us_cannot_read_what_is_for_another() {
    let (anna, bob) = pair("anna", "bob");
    let mut eve = Node::with_accounts(&["eve"]);
    eve.knows(&anna);
    eve.start();
    befriend(&anna, "anna", &eve, "eve");
    let reply = send_in(&mut submission(&anna, "anna"), "anna", &["bob@kith.alt"], "", &mail("anna", "secret", b"canary\r\n"));
    assert!(reply.starts_with("250 "));
    inbox(&bob, "bob", 1);
    inbox(&eve, "eve", 0);
}

#[test]
fn a_damaged_store_says_what_is_wrong_and_what_to_do_and_can_be_repaired() {
    let node = Node::with_accounts(&["anna"]);
    let database = node.home().join("store.redb");
    let whole = std::fs::read(&database).unwrap();
    std::fs::write(&database, &whole[..whole.len() / 3]).unwrap();
    let (code, _, error) =
        node.try_with(b"", &["run", "--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0", "--imap", "127.0.0.1:0"]);
    assert_eq!(code, 1);
    assert!(error.contains("damaged") && error.contains("kith repair"), "{error}");
    assert_eq!(std::fs::read(&database).unwrap(), &whole[..whole.len() / 3], "nothing was changed");
    std::fs::write(&database, &whole).unwrap();
    let (code, _, error) = node.try_with(b"", &["repair"]);
    assert_eq!(code, 0, "{error}");
    assert!(node.address("anna").ends_with("@kith.alt"));
}
