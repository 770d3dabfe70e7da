//! What a sender asked to be told (RFC 3461) is told, and nothing else: from the mail program's words to the report in the inbox.

use crate::clients::{Imap, Lines, inbox, mail, submission};
use crate::node::{Node, eventually, pair};

/// Sends a mail whose envelope asks for reports; the final reply.
fn send_asking(smtp: &mut Lines, from: &str, recipients: &[&str], subject: &str) {
    let reply = smtp.talk(&format!("MAIL FROM:{from}"));
    assert!(reply.starts_with("250 "), "{reply}");
    for recipient in recipients {
        let reply = smtp.talk(&format!("RCPT TO:{recipient}"));
        assert!(reply.starts_with("250 "), "{recipient}: {reply}");
    }
    // In chunks, as RFC 3030 has it.
    let text = mail("anna", subject, b"the body\r\n");
    let (first, last) = text.split_at(40);
    smtp.send(format!("BDAT {}\r\n", first.len()).as_bytes());
    smtp.send(first);
    assert!(smtp.reply().starts_with("250 "));
    smtp.send(format!("BDAT {} LAST\r\n", last.len()).as_bytes());
    smtp.send(last);
    let reply = smtp.reply();
    assert!(reply.starts_with("250 "), "{reply}");
}

/// The reports in an inbox, once there are so many.
fn reports(node: &Node, name: &str, count: usize) -> Vec<String> {
    inbox(node, name, count)
        .into_iter()
        .map(|mail| String::from_utf8(mail).unwrap())
        .filter(|mail| mail.contains("delivery-status"))
        .collect()
}

#[test]
fn who_asks_is_told_that_the_mail_arrived_with_their_own_names_for_it() {
    let (anna, bob) = pair("anna", "bob");
    anna.ask_with("secret\n", &["account", "add", "carol", "--password-stdin"]);
    let mut smtp = submission(&anna, "anna");
    assert!(smtp.talk("EHLO pc").contains("DSN"));
    send_asking(
        &mut smtp,
        "<anna@kith.alt> RET=HDRS ENVID=order+2B17",
        &[
            "<bob@kith.alt> NOTIFY=SUCCESS ORCPT=rfc822;Bob+2Bx@example.org",
            "<carol@kith.alt> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;carol@example.org",
        ],
        "asked",
    );
    send_asking(&mut smtp, "<anna@kith.alt>", &["<bob@kith.alt>", "<carol@kith.alt> NOTIFY=NEVER"], "not asked");
    // A read receipt: nobody is told anything of it.
    send_asking(&mut smtp, "<>", &["<bob@kith.alt> NOTIFY=SUCCESS", "<carol@kith.alt> NOTIFY=SUCCESS"], "from nobody");
    inbox(&bob, "bob", 3);
    inbox(&anna, "carol", 3);
    let told = reports(&anna, "anna", 2);
    assert_eq!(told.len(), 2);
    for (name, orcpt) in [("bob", "rfc822;Bob+x@example.org"), ("carol", "rfc822;carol@example.org")] {
        let report = told.iter().find(|report| report.contains(&format!("Delivered: your mail to {name}@kith.alt"))).unwrap();
        let status: Vec<&str> = report.lines().collect();
        for wanted in
            ["Original-Envelope-Id: order+17", &format!("Original-Recipient: {orcpt}"), "Action: delivered", "Status: 2.0.0"]
        {
            assert!(status.contains(&wanted), "{wanted}: {report}");
        }
        assert!(report.contains("Subject: asked") && !report.contains("the body"), "headers alone: {report}");
    }
}

#[test]
fn a_failure_brings_back_as_much_as_was_asked_for_and_nothing_where_nothing_was() {
    let mut anna = Node::with_accounts(&["anna"]);
    anna.configure("delay_notice_seconds = 1\nexpiry_seconds = 4\nretry_seconds = 1");
    anna.start();
    let friend = Node::with_accounts(&["bob"]);
    anna.ask(&["contact", "add", "bob", &friend.address("bob")]);
    let mut smtp = submission(&anna, "anna");
    send_asking(&mut smtp, "<anna@kith.alt> RET=FULL ENVID=1", &["<bob@kith.alt> NOTIFY=FAILURE"], "whole");
    send_asking(&mut smtp, "<anna@kith.alt> RET=HDRS ENVID=2", &["<bob@kith.alt> NOTIFY=FAILURE"], "headers");
    send_asking(&mut smtp, "<anna@kith.alt> ENVID=3", &["<bob@kith.alt> NOTIFY=NEVER"], "never");
    send_asking(&mut smtp, "<anna@kith.alt> ENVID=4", &["<bob@kith.alt> NOTIFY=SUCCESS"], "success alone");
    send_asking(&mut smtp, "<anna@kith.alt> ENVID=5", &["<bob@kith.alt> NOTIFY=DELAY"], "delay alone");
    send_asking(&mut smtp, "<>", &["<bob@kith.alt>"], "from nobody");
    eventually("everything has its fate", || (anna.waiting() == 0).then_some(()));
    let told = reports(&anna, "anna", 3);
    let of = |envid: &str| {
        told.iter().filter(|report| report.contains(&format!("Original-Envelope-Id: {envid}\r\n"))).collect::<Vec<_>>()
    };
    assert!(of("1")[0].contains("Action: failed") && of("1")[0].contains("the body"));
    assert!(of("2")[0].contains("Action: failed") && !of("2")[0].contains("the body"));
    assert!(of("5")[0].contains("Action: delayed"));
    assert_eq!([of("1").len(), of("2").len(), of("3").len(), of("4").len(), of("5").len()], [1, 1, 0, 0, 1]);
    let mut imap = Imap::login(&anna, "anna");
    assert_eq!(imap.select("INBOX"), 3);
}
