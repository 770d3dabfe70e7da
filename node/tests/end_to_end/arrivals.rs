//! The node's port 25: what the world may bring, to whom, and what is found out of who brings it.

use crate::clients::{Imap, Lines, body, by_pop3, header, inbox, mail, send};
use crate::names::Names;
use crate::node::{Node, befriend, eventually};
use crate::postfix::{Postfix, free_port};

/// Who may send from this machine, and what becomes of what others claim.
const TEXTS: &[(&str, &str)] = &[
    ("far.test", "v=spf1 ip4:127.0.0.1 -all"),
    ("mx.far.test", "v=spf1 ip4:127.0.0.1 -all"),
    ("_dmarc.far.test", "v=DMARC1; p=reject"),
    ("strict.test", "v=spf1 -all"),
    ("_dmarc.strict.test", "v=DMARC1; p=reject"),
    ("doubtful.test", "v=spf1 -all"),
    ("_dmarc.doubtful.test", "v=DMARC1; p=quarantine"),
];

/// Anna at `near.test`, with its mail server; more lines for the section.
fn anna(more: &str) -> (Node, u16) {
    let port = free_port();
    let names = Names::start(TEXTS);
    let mut anna = Node::with_accounts(&["anna"]);
    anna.configure(&format!(
        "[gateway]\ndomains = [\"near.test\"]\nmx = \"127.0.0.1:{port}\"\ndns = [\"{}\"]\nretry_seconds = 1\n{more}\n",
        names.address
    ));
    anna.start();
    (anna, port)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A session with the port, greeted.
fn knock(port: u16) -> Lines {
    let mut smtp = Lines::connect(&format!("127.0.0.1:{port}"));
    assert!(smtp.reply().starts_with("220 "));
    let hello = smtp.talk("EHLO mx.far.test");
    assert!(hello.contains("STARTTLS") && !hello.contains("AUTH"), "{hello}");
    smtp
}

/// One mail; gives the last answer that was heard.
fn bring(port: u16, from: &str, to: &str, mail: &str) -> String {
    let mut smtp = knock(port);
    for line in [format!("MAIL FROM:<{from}>"), format!("RCPT TO:<{to}>"), "DATA".into()] {
        let reply = smtp.talk(&line);
        if !reply.starts_with('2') && !reply.starts_with('3') {
            return reply;
        }
    }
    smtp.send(mail.as_bytes());
    smtp.send(b".\r\n");
    smtp.reply()
}

fn from(author: &str, subject: &str) -> String {
    format!(
        "From: {author}\r\nTo: anna@near.test\r\nSubject: {subject}\r\nX-Kith-Route: forged\r\nAuthentication-Results: kith.alt; kith=pass\r\n\r\nhello\r\n"
    )
}

#[test]
fn mail_comes_in_with_what_was_found_of_its_sender() {
    let (anna, port) = anna("greylist_seconds = 0");
    let reply = bring(port, "carol@far.test", "Anna+shop@Near.Test", &from("Carol <carol@far.test>", "good"));
    assert!(reply.starts_with("250 "), "{reply}");
    let got = &inbox(&anna, "anna", 1)[0];
    assert_eq!(text(body(got)), "hello\r\n");
    assert_eq!(header(got, "From"), "Carol <carol@far.test>");
    assert_eq!(header(got, "Return-Path"), "<carol@far.test>");
    let results = header(got, "Authentication-Results");
    for wanted in ["mail.near.test;", "spf=pass smtp.mailfrom=carol@far.test", "dkim=none", "dmarc=pass"] {
        assert!(results.contains(wanted), "{wanted}: {results}");
    }
    assert!(!text(got).contains("forged") && !text(got).contains("kith=pass"), "{}", text(got));
    assert!(text(got).contains("Received: from mx.far.test"), "{}", text(got));
    // Nobody's: said at once.
    let reply = bring(port, "carol@far.test", "nobody@near.test", &from("carol@far.test", "x"));
    assert!(reply.starts_with("550 5.1.1"), "{reply}");
    // The null sender brings reports; postmaster is somebody.
    assert!(bring(port, "", "postmaster@near.test", &from("MAILER-DAEMON@far.test", "report")).starts_with("250 "));
    inbox(&anna, "anna", 2);
}

#[test]
fn nobody_relays_here_and_nobody_comes_in_under_anothers_name() {
    let (anna, port) = anna("greylist_seconds = 0");
    let reply = bring(port, "carol@far.test", "dave@elsewhere.test", &from("carol@far.test", "x"));
    assert!(reply.starts_with("550 5.7.1"), "{reply}");
    let reply = bring(port, "x@strict.test", "anna@near.test", &from("ceo@strict.test", "pay"));
    assert!(reply.starts_with("550 5.7.1") && reply.contains("DMARC"), "{reply}");
    let reply = bring(port, "carol@far.test", "anna@near.test", &from("Mum <mum@near.test>", "it is me"));
    assert!(reply.starts_with("550 5.7.1"), "{reply}");
    let reply = bring(port, "carol@far.test", "anna@near.test", "Subject: nobody\r\n\r\nx\r\n");
    assert!(reply.starts_with("550 5.6.0"), "{reply}");
    let circle = format!("{}{}", "Received: from a by b; now\r\n".repeat(60), from("carol@far.test", "round"));
    let reply = bring(port, "carol@far.test", "anna@near.test", &circle);
    assert!(reply.starts_with("554 5.4.6"), "{reply}");
    assert_eq!(by_pop3(&anna, "anna").len(), 0);
    // What its own domain doubts is put where one looks at it with suspicion.
    let reply = bring(port, "x@doubtful.test", "anna@near.test", &from("x@doubtful.test", "doubt"));
    assert!(reply.starts_with("250 "), "{reply}");
    let mut imap = Imap::login(&anna, "anna");
    assert_eq!((imap.select("Junk"), imap.select("INBOX")), (1, 0));
}

#[test]
fn strangers_come_again_and_those_one_has_written_to_need_not() {
    let (mut anna, port) = anna("greylist_seconds = 2");
    let try_once = || bring(port, "carol@far.test", "anna@near.test", &from("carol@far.test", "again"));
    let reply = try_once();
    assert!(reply.starts_with("451 4.7.1"), "{reply}");
    anna.kill();
    anna.start();
    assert!(try_once().starts_with("451 "));
    eventually("it is taken", || try_once().starts_with("250 ").then_some(()));
    assert_eq!(inbox(&anna, "anna", 1).len(), 1);
    assert!(try_once().starts_with("250 "), "known from now on");
}

/// A mail to both worlds; whoever gets it on the other side answers everybody, and everybody gets the answer, whichever world they are in.
#[test]
fn an_answer_to_all_reaches_both_worlds() {
    let mx = free_port();
    let Some(postfix) = Postfix::start(mx, "") else { return };
    let names = Names::start(TEXTS);
    let mut anna = Node::with_accounts(&["anna"]);
    anna.configure(&format!(
        "[gateway]\ndomains = [\"near.test\"]\nmx = \"127.0.0.1:{mx}\"\ndns = [\"{}\"]\ngreylist_seconds = 0\nretry_seconds = 1\n[gateway.provider.anna]\naddress = \"anna@near.test\"\nsmtp = \"127.0.0.1:{}\"\nsmtp_tls = \"none\"\n",
        names.address, postfix.port
    ));
    anna.start();
    let mut bob = Node::with_accounts(&["bob"]);
    bob.knows(&anna);
    bob.start();
    befriend(&anna, "anna", &bob, "bob");
    bob.ask(&["gateway", "use", "anna"]);
    let both = b"From: anna@kith.alt\r\nTo: bob@kith.alt, carol@far.test\r\nSubject: both\r\n\r\nx\r\n";
    send(&anna, "anna", &["bob@kith.alt", "carol@far.test"], both);
    let got = postfix.mailbox("carol", 1).remove(0);
    let (author, to) = (header(&got, "From"), header(&got, "To"));
    assert_eq!(author, "anna@near.test");
    let key = bob.address("bob").split('@').next().unwrap().to_owned();
    assert_eq!(to, format!("{key}@near.test, carol@far.test"));
    // Carol answers all of them, through her own mail server.
    let mut smtp = Lines::connect(&format!("127.0.0.1:{}", postfix.port));
    smtp.reply();
    smtp.talk("EHLO carol");
    let answer = format!("From: Carol <carol@far.test>\r\nTo: {author}, {to}\r\nSubject: Re: both\r\n\r\nyes\r\n.\r\n");
    for line in ["MAIL FROM:<carol@far.test>".to_owned(), format!("RCPT TO:<{author}>"), format!("RCPT TO:<{key}@near.test>")] {
        assert!(smtp.talk(&line).starts_with("250 "));
    }
    smtp.talk("DATA");
    smtp.send(answer.as_bytes());
    assert!(smtp.reply().starts_with("250 "));
    let answered = |mails: Vec<Vec<u8>>| mails.into_iter().find(|mail| header(mail, "Subject") == "Re: both");
    let at_anna = eventually("anna's", || answered(by_pop3(&anna, "anna")));
    let at_bob = eventually("bob's", || answered(by_pop3(&bob, "bob")));
    for got in [&at_anna, &at_bob] {
        assert_eq!(header(got, "From"), "Carol <carol@far.test>");
        assert_eq!(text(body(got)), "yes\r\n");
        let results = header(got, "Authentication-Results");
        assert!(results.contains("spf=pass") && results.contains("dmarc=pass"), "{results}");
    }
    assert_eq!(header(&at_bob, "X-Kith-Gateway"), anna.address("anna"), "whose word it is");
    // Whose gateway one does not use does not speak for others.
    bob.ask(&["gateway", "use", "anna", "--undo"]);
    let mut smtp = Lines::connect(&format!("127.0.0.1:{mx}"));
    smtp.reply();
    smtp.talk("EHLO mx.far.test");
    smtp.talk("MAIL FROM:<carol@far.test>");
    assert!(smtp.talk(&format!("RCPT TO:<{key}@near.test>")).starts_with("250 "));
    smtp.talk("DATA");
    smtp.send(from("carol@far.test", "later").as_bytes());
    smtp.send(b".\r\n");
    assert!(smtp.reply().starts_with("250 "));
    let got = eventually("bob's", || by_pop3(&bob, "bob").into_iter().find(|mail| header(mail, "Subject") == "later"));
    assert_eq!(header(&got, "From"), anna.address("anna"));
    assert_eq!(header(&got, "X-Kith-Claimed-From"), "carol@far.test");
    // Nothing of it is left in the clear where it was handed over.
    for node in [&anna, &bob] {
        eventually("nothing waits", || (node.waiting() == 0).then_some(()));
    }
}

/// P1 across the gateway: what the other server heard `250` for is there, once, however often the node is killed.
#[test]
fn what_was_taken_is_there_once_after_any_kill() {
    let (mut anna, port) = anna("greylist_seconds = 0");
    let mut taken = Vec::new();
    for round in 0..4 {
        for number in 0..6 {
            let subject = format!("{round}/{number}");
            if bring(port, "carol@far.test", "anna@near.test", &from("carol@far.test", &subject)).starts_with("250 ") {
                taken.push(subject);
            }
        }
        anna.kill();
        anna.start();
    }
    let subjects: Vec<String> = by_pop3(&anna, "anna").iter().map(|mail| header(mail, "Subject")).collect();
    assert_eq!(subjects, taken);
    assert_eq!(taken.len(), 24);
}

#[test]
fn an_address_that_is_given_to_somebody_leads_to_them_until_it_is_taken_away() {
    let (anna, port) = anna("greylist_seconds = 0");
    anna.ask(&["gateway", "map", "shop@near.test", "anna", "--note", "the shop"]);
    anna.ask(&["gateway", "map", "@near.test", "anna"]);
    for to in ["shop@near.test", "whatever@near.test"] {
        assert!(bring(port, "carol@far.test", to, &from("carol@far.test", to)).starts_with("250 "), "{to}");
    }
    inbox(&anna, "anna", 2);
    let table = anna.ask(&["gateway", "export"]);
    assert!(table.contains("the shop") && table.contains("@near.test"), "{table}");
    for pattern in ["shop@near.test", "@near.test"] {
        anna.ask(&["gateway", "unmap", pattern]);
    }
    let reply = bring(port, "carol@far.test", "shop@near.test", &from("carol@far.test", "x"));
    assert!(reply.starts_with("550 5.1.1"), "{reply}");
    anna.ask_with(&table, &["gateway", "import", "-"]);
    assert!(bring(port, "carol@far.test", "shop@near.test", &from("carol@far.test", "x")).starts_with("250 "));
    // One may write as what one was given.
    let mut smtp = crate::clients::submission(&anna, "anna");
    assert!(smtp.talk("MAIL FROM:<shop@near.test>").starts_with("250 "));
    let mail = text(&mail("anna", "x", b"x\r\n")).replace("anna@kith.alt", "shop@near.test");
    assert!(smtp.talk("RCPT TO:<anna@kith.alt>").starts_with("250 "));
    smtp.talk("DATA");
    smtp.send(mail.as_bytes());
    smtp.send(b".\r\n");
    assert!(smtp.reply().starts_with("250 "));
}
