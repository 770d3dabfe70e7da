//! Two mail programs on one folder: each learns of what the other does, when the rules allow it to be said.

use crate::clients::{Imap, inbox, mail, send};
use crate::node::Node;

fn has(answers: &[Vec<u8>], wanted: &str) -> bool {
    answers.iter().any(|answer| String::from_utf8_lossy(answer) == wanted)
}

#[test]
fn an_expunge_is_said_to_the_other_session_when_it_may_be() {
    let node = Node::started(&["anna"]);
    for subject in ["one", "two", "three"] {
        send(&node, "anna", &["anna@kith.alt"], &mail("anna", subject, b"x\r\n"));
    }
    inbox(&node, "anna", 3);
    let (mut first, mut second) = (Imap::login(&node, "anna"), Imap::login(&node, "anna"));
    first.select("INBOX");
    second.select("INBOX");
    second.ok("STORE 1 +FLAGS (\\Deleted)");
    second.ok("EXPUNGE");
    let answers = first.ok("FETCH 2:3 (FLAGS)");
    assert!(!has(&answers, "* 1 EXPUNGE"), "numbers must not change during FETCH");
    assert!(has(&first.ok("NOOP"), "* 1 EXPUNGE"));
    assert_eq!(first.bodies().len(), 2);
    send(&node, "anna", &["anna@kith.alt"], &mail("anna", "four", b"x\r\n"));
    assert!(has(&first.ok("NOOP"), "* 3 EXISTS") && has(&second.ok("NOOP"), "* 3 EXISTS"));
    let uids: Vec<String> =
        first.ok("UID SEARCH ALL").iter().map(|answer| String::from_utf8_lossy(answer).into_owned()).collect();
    assert_eq!(uids, ["* SEARCH 2 3 4"], "a UID is never given twice");
}

#[test]
fn flags_set_in_one_session_are_told_in_the_other() {
    let node = Node::started(&["anna"]);
    send(&node, "anna", &["anna@kith.alt"], &mail("anna", "one", b"x\r\n"));
    inbox(&node, "anna", 1);
    let (mut first, mut second) = (Imap::login(&node, "anna"), Imap::login(&node, "anna"));
    first.select("INBOX");
    second.select("INBOX");
    second.ok("STORE 1 +FLAGS ($Forwarded \\Answered)");
    let told = first.ok("NOOP");
    assert!(told.iter().any(|answer| String::from_utf8_lossy(answer).contains("$Forwarded")));
}

#[test]
fn uid_validity_and_uids_survive_a_restart() {
    let mut node = Node::started(&["anna"]);
    send(&node, "anna", &["anna@kith.alt"], &mail("anna", "one", b"x\r\n"));
    inbox(&node, "anna", 1);
    let status = |node: &Node| {
        let mut imap = Imap::login(node, "anna");
        String::from_utf8_lossy(&imap.ok("STATUS INBOX (UIDNEXT UIDVALIDITY)")[0]).into_owned()
    };
    let before = status(&node);
    node.kill();
    node.start();
    assert_eq!(status(&node), before);
}
