//! One of the two is off, late, or never there.

use crate::clients::{by_pop3, header, inbox, mail, send};
use crate::node::{Node, befriend, eventually, pair};

#[test]
fn a_recipient_who_is_away_gets_the_mail_when_back() {
    let (anna, mut bob) = pair("anna", "bob");
    send(&anna, "anna", &["bob@kith.alt"], &mail("anna", "while there", b"1\r\n"));
    inbox(&bob, "bob", 1);
    eventually("the first receipt", || (anna.waiting() == 0).then_some(()));
    bob.stop();
    send(&anna, "anna", &["bob@kith.alt"], &mail("anna", "while away", b"2\r\n"));
    assert_eq!(anna.waiting(), 1);
    bob.start();
    assert_eq!(header(&inbox(&bob, "bob", 2)[1], "Subject"), "while away");
    eventually("receipt", || (anna.waiting() == 0).then_some(()));
}

#[test]
fn the_outbox_survives_a_restart_of_the_sender() {
    let (mut bob, mut anna) = pair("bob", "anna");
    bob.stop();
    send(&anna, "anna", &["bob@kith.alt"], &mail("anna", "patience", b"1\r\n"));
    anna.stop();
    bob.start();
    anna.knows(&bob);
    anna.start();
    inbox(&bob, "bob", 1);
    eventually("receipt", || (anna.waiting() == 0).then_some(()));
}

#[test]
fn who_never_comes_back_is_reported_late_and_then_failed() {
    let friend = Node::with_accounts(&["bob"]);
    let anna = {
        let mut anna = Node::with_accounts(&["anna"]);
        anna.configure("delay_notice_seconds = 2\nexpiry_seconds = 5\nretry_seconds = 1");
        anna.start();
        anna
    };
    befriend(&anna, "anna", &friend, "bob");
    send(&anna, "anna", &["bob@kith.alt"], &mail("anna", "hello?", b"are you there\r\n"));
    let reports = inbox_later(&anna, 2);
    assert!(header(&reports[0], "Subject").starts_with("Not delivered yet"), "{}", header(&reports[0], "Subject"));
    assert!(header(&reports[1], "Subject").starts_with("Not delivered:"), "{}", header(&reports[1], "Subject"));
    let failure = String::from_utf8_lossy(&reports[1]).into_owned();
    for part in ["report-type", "delivery-status", "Action: failed", "Final-Recipient: rfc822; ", "Subject: hello?"] {
        assert!(failure.contains(part), "{part} is missing:\n{failure}");
    }
    assert_eq!(anna.waiting(), 0);
}

fn inbox_later(node: &Node, count: usize) -> Vec<Vec<u8>> {
    eventually("reports", || {
        let mails = by_pop3(node, "anna");
        (mails.len() >= count).then_some(mails)
    })
}

#[test]
fn a_withdrawn_mail_is_not_delivered() {
    let (anna, mut bob) = pair("anna", "bob");
    bob.stop();
    send(&anna, "anna", &["bob@kith.alt"], &mail("anna", "a mistake", b"forget it\r\n"));
    let id = anna.json(&["queue", "list"])["entries"][0]["id"].as_u64().unwrap().to_string();
    anna.ask(&["queue", "cancel", &id]);
    assert_eq!(anna.waiting(), 0);
    bob.start();
    send(&anna, "anna", &["bob@kith.alt"], &mail("anna", "meant", b"this\r\n"));
    assert_eq!(header(&inbox(&bob, "bob", 1)[0], "Subject"), "meant");
}
