//! Who may write: strangers work and wait for a person, contacts come straight in, and who is shut out stays out.

use crate::clients::{Imap, header, inbox, mail, send};
use crate::node::{Node, eventually};

/// Anna, whom Bob has never heard of, and Bob, who asks strangers for a little work.
fn strangers() -> (Node, Node) {
    let mut bob = Node::with_accounts(&["bob"]);
    bob.configure("stranger_effort = 20");
    bob.start();
    let mut anna = Node::with_accounts(&["anna"]);
    anna.knows(&bob);
    anna.start();
    anna.ask(&["contact", "add", "bob", &bob.address("bob")]);
    (anna, bob)
}

fn waiting(node: &Node) -> u64 {
    let list = node.json(&["contact", "requests"]);
    list["requests"].as_array().unwrap().iter().map(|request| request["mails"].as_u64().unwrap()).sum()
}

#[test]
fn a_strangers_mail_waits_until_it_is_accepted_and_only_then_is_confirmed() {
    let (anna, bob) = strangers();
    send(&anna, "anna", &["bob@kith.alt"], &mail("anna", "do you remember me", b"?\r\n"));
    eventually("the request", || (waiting(&bob) == 1).then_some(()));
    let mut imap = Imap::login(&bob, "bob");
    assert_eq!(imap.select("INBOX"), 0);
    assert_eq!(imap.select("Requests"), 1);
    assert_eq!(anna.waiting(), 1, "nobody is told that the address is anybody's");
    bob.ask(&["contact", "accept", &anna.address("anna")]);
    assert_eq!(header(&inbox(&bob, "bob", 1)[0], "Subject"), "do you remember me");
    eventually("the receipt", || (anna.waiting() == 0).then_some(()));
    assert_eq!(waiting(&bob), 0);
    // From now on her mail comes straight in.
    send(&anna, "anna", &["bob@kith.alt"], &mail("anna", "good", b"!\r\n"));
    inbox(&bob, "bob", 2);
    eventually("the second receipt", || (anna.waiting() == 0).then_some(()));
}

#[test]
fn whoever_one_writes_to_may_answer() {
    let (anna, bob) = strangers();
    send(&anna, "anna", &["bob@kith.alt"], &mail("anna", "question", b"?\r\n"));
    eventually("the request", || (waiting(&bob) == 1).then_some(()));
    // Bob answers without adding anybody: Anna wrote first, so his answer is no stranger's.
    let address = anna.address("anna");
    send(&bob, "bob", &[&address], &mail("bob", "answer", b"!\r\n"));
    assert_eq!(header(&inbox(&anna, "anna", 1)[0], "Subject"), "answer");
}

#[test]
fn who_is_shut_out_gets_no_mail_through_and_can_be_let_in_again() {
    let (anna, bob) = strangers();
    bob.ask(&["contact", "add", "anna", &anna.address("anna")]);
    send(&anna, "anna", &["bob@kith.alt"], &mail("anna", "one", b"1\r\n"));
    inbox(&bob, "bob", 1);
    eventually("receipt", || (anna.waiting() == 0).then_some(()));
    bob.ask(&["contact", "block", "anna"]);
    send(&anna, "anna", &["bob@kith.alt"], &mail("anna", "two", b"2\r\n"));
    eventually("Bob's node has dropped it", || (bob.json(&["status"])["dropped"].as_u64() == Some(1)).then_some(()));
    assert_eq!((waiting(&bob), anna.waiting()), (0, 1));
    assert_eq!(Imap::login(&bob, "bob").select("INBOX"), 1);
    bob.ask(&["contact", "block", "anna", "--undo"]);
    send(&anna, "anna", &["bob@kith.alt"], &mail("anna", "three", b"3\r\n"));
    assert_eq!(header(&inbox(&bob, "bob", 2)[1], "Subject"), "three");
}

#[test]
fn a_closed_node_takes_mail_from_contacts_alone_and_says_so() {
    let mut bob = Node::with_accounts(&["bob"]);
    bob.configure("strangers = \"closed\"");
    bob.start();
    let mut anna = Node::with_accounts(&["anna"]);
    anna.knows(&bob);
    anna.start();
    anna.ask(&["contact", "add", "bob", &bob.address("bob")]);
    send(&anna, "anna", &["bob@kith.alt"], &mail("anna", "hello", b"!\r\n"));
    eventually("the reason", || {
        let list = anna.json(&["queue", "list"]);
        list["entries"][0]["state"].as_str().is_some_and(|state| state.contains("contacts only")).then_some(())
    });
    bob.ask(&["contact", "add", "anna", &anna.address("anna")]);
    anna.ask(&["queue", "retry"]);
    inbox(&bob, "bob", 1);
}
