//! What breaks while a letter lies with a relay: the relay, its disk, or the sender.

use crate::household::Household;
use crate::network::Network;

#[test]
fn mail_left_with_two_relays_arrives_when_one_of_them_is_killed() {
    let network = Network::new();
    let mut household = Household::with_bob_away(&network, &["carol", "dave"]);
    household.anna.send(&household.bob, "twice kept", b"!\r\n");
    household.anna.wait_for_copies(2);
    household.anna.stop();
    household.keepers[0].kill();

    household.bob.start();
    household.bob.wait_for_mails(1);
    assert!(household.bob.has_subject(1, "twice kept"));

    household.keepers[0].start();
    household.anna.start();
    household.anna.wait_for_receipts();
    assert_eq!(household.bob.arrived(), 1, "each mail exactly once");
}

#[test]
fn mail_arrives_once_though_the_sender_is_killed_right_after_leaving_it() {
    let network = Network::new();
    let mut household = Household::with_bob_away(&network, &["carol"]);
    household.anna.send(&household.bob, "last words", b"!\r\n");
    household.anna.wait_for_copies(1);
    household.anna.kill();

    household.bob.start();
    household.bob.wait_for_mails(1);
    assert!(household.bob.has_subject(1, "last words"));

    household.anna.start();
    household.anna.wait_for_receipts();
    assert_eq!(household.bob.arrived(), 1, "each mail exactly once");
}

#[test]
fn mail_is_not_lost_when_the_relay_comes_back_with_an_older_disk() {
    let network = Network::new();
    let mut household = Household::with_bob_away(&network, &["carol"]);
    household.keepers[0].stop();
    let before = household.keepers[0].disk();
    household.keepers[0].start();

    household.anna.send(&household.bob, "forgotten", b"!\r\n");
    household.anna.wait_for_copies(1);
    household.anna.stop();
    household.keepers[0].stop();
    household.keepers[0].put_back(&before);
    household.keepers[0].start();

    household.bob.start();
    household.anna.start();
    household.bob.wait_for_mails(1);
    assert!(household.bob.has_subject(1, "forgotten"));
    household.anna.wait_for_receipts();
    assert_eq!(household.bob.arrived(), 1, "each mail exactly once");
}
