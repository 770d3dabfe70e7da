//! Relays at work: for people who are never on together, and for one whom nobody can connect to.

use std::time::{Duration, Instant};

use crate::household::Household;
use crate::network::Network;

/// How soon a mail is with somebody who is online, by way of a relay.
const SOON: Duration = Duration::from_secs(10);

#[test]
fn mail_and_receipt_arrive_between_people_who_are_never_up_together() {
    let network = Network::new();
    let mut household = Household::with_bob_away(&network, &["carol"]);
    household.anna.send(&household.bob, "while you were away", b"!\r\n");
    household.anna.wait_for_copies(1);
    household.anna.stop();

    household.bob.start();
    household.bob.wait_for_mails(1);
    assert!(household.bob.has_subject(1, "while you were away"));
    household.wait_for_receipt_with_keeper();
    household.bob.stop();

    household.anna.start();
    household.anna.wait_for_receipts();
}

#[test]
fn who_cannot_be_connected_to_gets_mail_through_the_relay_within_seconds() {
    let network = Network::new();
    let mut household = Household::new(&network, &["carol"]);
    household.introduce();
    // Anna hides too: else Bob could have connected to her, and the letter would go that way.
    for node in [&mut household.anna, &mut household.bob] {
        node.stop();
        node.hide();
        node.start();
    }
    let sent = Instant::now();
    household.anna.send(&household.bob, "from outside", b"!\r\n");
    household.bob.wait_for_mails(1);
    let elapsed = sent.elapsed();
    eprintln!("arrived after {} ms", elapsed.as_millis());
    assert!(elapsed < SOON, "it took {elapsed:?}");
    assert!(household.bob.has_subject(1, "from outside"));
    household.anna.wait_for_receipts();
    assert_eq!(household.bob.arrived(), 1);
}
