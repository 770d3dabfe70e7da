//! What comes in from others, honest or not.

use kith_protocol::event::{Counter, Event, LetterKind, OpenProblem};
use kith_protocol::ids::MailId;
use rand::RngExt;

use crate::world::{Content, HOUR, MINUTE, STRANGER, World};

#[test]
fn forged_receipts_have_no_effect() {
    let mut world = World::acquainted(2, 20);
    world.crash(1);
    for _ in 0..10 {
        world.submit(0, 1);
    }
    world.run(MINUTE);
    let waiting = world.nodes[0].disk.entries.len();
    let forgeries = 100_000;
    for round in 0..forgeries {
        let mail = &world.mails[round % 10];
        // From somebody else about a mail that waits, or from the right person about a mail that does not exist.
        let (from, named) = if world.rng.random() { (2 + round % 4, mail.mid) } else { (1, MailId(world.rng.random())) };
        let mid = MailId(world.rng.random());
        let forged = world.forge(Content { from, to: 0, mid, kind: LetterKind::Receipt(vec![named]), opens: Ok(()) });
        world.inject(forged, 0);
        world.run(200);
    }
    assert_eq!(world.nodes[0].disk.entries.len(), waiting);
    assert!(world.nodes[0].disk.fates.is_empty());
    assert_eq!(world.nodes[0].counters[&Counter::BogusReceipt], u32::try_from(forgeries).unwrap());
}

#[test]
fn what_comes_again_is_filed_once() {
    let mut world = World::acquainted(2, 21);
    world.run(MINUTE);
    for _ in 0..20 {
        world.submit(0, 1);
    }
    world.run(MINUTE);
    world.check_all_delivered();
    let sent: Vec<_> = world.envelopes.iter().map(|(envelope, content)| (*envelope, content.to)).collect();
    for round in 0..10 {
        for (envelope, to) in &sent {
            world.inject(*envelope, *to);
        }
        world.run(HOUR);
        if round == 5 {
            // Nothing is remembered in memory: the store's own memory decides.
            world.crash(1);
            world.boot(1);
        }
    }
    assert_eq!(world.nodes[1].disk.known.len(), 20);
    world.check_all_delivered();
}

#[test]
fn an_envelope_that_opens_to_nothing_is_counted_and_not_filed() {
    for problem in [OpenProblem::NotForUs, OpenProblem::Malformed, OpenProblem::WrongSender] {
        let mut world = World::acquainted(2, 22);
        for _ in 0..10 {
            let mid = MailId(world.rng.random());
            let forged = world.forge(Content { from: 0, to: 1, mid, kind: LetterKind::Mail, opens: Err(problem) });
            world.inject(forged, 1);
            world.run(1000);
        }
        assert!(world.nodes[1].disk.known.is_empty());
        assert_eq!(world.nodes[1].counters[&Counter::Dropped(problem)], 10);
        assert!(world.nodes[1].dropped.is_empty(), "ten mistakes are forgiven");
    }
}

#[test]
fn a_peer_that_goes_on_sending_nonsense_is_dropped() {
    let mut world = World::acquainted(2, 23);
    for _ in 0..20 {
        let mid = MailId(world.rng.random());
        let forged = world.forge(Content { from: 0, to: 1, mid, kind: LetterKind::Mail, opens: Err(OpenProblem::NotForUs) });
        world.inject(forged, 1);
        world.run(1000);
    }
    assert_eq!(world.nodes[1].dropped, [STRANGER]);
}

#[test]
fn a_full_disk_keeps_nothing_and_recovers_by_itself() {
    let mut world = World::acquainted(2, 24);
    world.run(MINUTE);
    world.nodes[1].disk_full = true;
    world.submit(0, 1);
    world.run(HOUR);
    assert!(!world.is_filed(&world.mails[0]) && world.fates(0, world.mails[0].entry).is_empty());
    world.nodes[1].disk_full = false;
    world.run(HOUR);
    world.check_all_delivered();
}

#[test]
fn a_full_disk_at_the_sender_offers_nothing_and_recovers_by_itself() {
    let mut world = World::acquainted(2, 25);
    world.run(MINUTE);
    world.nodes[0].disk_full = true;
    world.submit(0, 1);
    world.run(HOUR);
    assert_eq!(world.nodes[0].offers, 0);
    world.nodes[0].disk_full = false;
    world.run(5 * MINUTE);
    world.check_all_delivered();
}

#[test]
fn a_thousand_mails_at_once_arrive_within_the_bounds() {
    let mut world = World::acquainted(2, 26);
    world.run(MINUTE);
    for _ in 0..1000 {
        world.submit(0, 1);
    }
    world.run(5 * MINUTE);
    world.check_all_delivered();
}

#[test]
fn a_removed_account_takes_no_more_mail() {
    let mut world = World::acquainted(2, 27);
    world.run(MINUTE);
    world.tell(1, 0, Event::AccountRemoved(kith_protocol::ids::AccountId(1)));
    world.submit(0, 1);
    world.run(HOUR);
    assert!(!world.is_filed(&world.mails[0]));
    assert!(world.nodes[1].counters[&Counter::OfferRefused] > 0);
}
