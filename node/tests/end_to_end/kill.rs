//! kill -9 at bad moments: after `250` a mail is never lost, and never doubled.

use rand::RngExt as _;

use crate::clients::{header, inbox, mail, send, send_in, submission};
use crate::node::{eventually, pair};

#[test]
fn a_sender_killed_right_after_250_delivers_exactly_once() {
    let (bob, mut anna) = pair("bob", "anna");
    send(&anna, "anna", &["bob@kith.alt"], &mail("anna", "accepted", b"1\r\n"));
    anna.kill();
    anna.start();
    assert_eq!(header(&inbox(&bob, "bob", 1)[0], "Subject"), "accepted");
    eventually("receipt", || (anna.waiting() == 0).then_some(()));
    inbox(&bob, "bob", 1);
}

/// Kills one of the two at random moments under load; every mail that had its `250` must arrive once.
fn kill_loop(rounds: u32) {
    let (mut bob, mut anna) = pair("bob", "anna");
    let mut accepted = 0;
    for round in 0..rounds {
        let mut smtp = submission(&anna, "anna");
        let last = rand::rng().random_range(1..6);
        for number in 0..last {
            let reply = send_in(&mut smtp, "anna", &["bob@kith.alt"], "", &mail("anna", &format!("{round}-{number}"), b"x\r\n"));
            assert!(reply.starts_with("250 "), "{reply}");
            accepted += 1;
        }
        std::thread::sleep(std::time::Duration::from_millis(rand::rng().random_range(0..60)));
        if round % 2 == 0 {
            anna.kill();
            anna.start();
        } else {
            bob.kill();
            bob.start();
            anna.knows(&bob);
            anna.kill();
            anna.start();
        }
    }
    let mut subjects: Vec<String> = inbox(&bob, "bob", accepted).iter().map(|mail| header(mail, "Subject")).collect();
    subjects.sort();
    subjects.dedup();
    assert_eq!(subjects.len(), accepted);
    eventually("receipts", || (anna.waiting() == 0).then_some(()));
}

#[test]
fn twenty_kills_under_load_lose_and_double_nothing() {
    kill_loop(20);
}

#[test]
#[ignore = "the long form of twenty_kills_under_load_lose_and_double_nothing"]
fn a_thousand_kills_under_load_lose_and_double_nothing() {
    kill_loop(1000);
}
