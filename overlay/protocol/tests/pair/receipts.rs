//! Receipts that are due together: one letter for all of them, and none is forgotten whatever becomes of it.

use kith_protocol::event::LetterKind;
use kith_protocol::limits::RECEIPT_MAILS_MAX;

use crate::world::{MINUTE, SECOND, World};

const ANNA: usize = 0;
const BOB: usize = 1;

/// How many mails each receipt confirms that Bob ever sealed.
fn receipts(world: &World) -> Vec<usize> {
    let of_bob = world.envelopes.values().filter(|content| content.from == BOB);
    let named = of_bob.filter_map(|content| match &content.kind {
        LetterKind::Receipt(mails) => Some(mails.len()),
        _ => None,
    });
    named.collect()
}

fn all_filed(world: &World) -> bool {
    world.mails.iter().all(|mail| world.is_filed(mail))
}

#[test]
fn what_comes_at_once_is_confirmed_by_few_letters() {
    for seed in 0..20 {
        let mut world = World::acquainted(2, seed);
        world.run(10 * SECOND);
        for _ in 0..30 {
            world.submit(ANNA, BOB);
        }
        world.run(30 * SECOND);
        world.check_all_delivered();
        let named = receipts(&world);
        assert_eq!(named.iter().sum::<usize>(), 30, "each is confirmed once, seed {seed}");
        assert!(named.len() <= 6, "{named:?}, seed {seed}");
    }
}

#[test]
fn one_mail_is_confirmed_at_once_and_alone() {
    let mut world = World::acquainted(2, 3);
    world.run(10 * SECOND);
    world.submit(ANNA, BOB);
    world.run(2 * SECOND);
    world.check_all_delivered();
    assert_eq!(receipts(&world), [1]);
}

#[test]
fn a_letter_confirms_no_more_than_it_may() {
    let mut world = World::acquainted(2, 4);
    world.config.receipt_gather_ms = 20 * SECOND;
    world.crash(BOB);
    world.boot(BOB);
    world.run(10 * SECOND);
    for _ in 0..3 * RECEIPT_MAILS_MAX {
        world.submit(ANNA, BOB);
    }
    world.run(5 * MINUTE);
    world.check_all_delivered();
    let named = receipts(&world);
    assert_eq!(named.iter().sum::<usize>(), 3 * RECEIPT_MAILS_MAX);
    assert!(named.contains(&RECEIPT_MAILS_MAX) && named.iter().all(|count| *count <= RECEIPT_MAILS_MAX), "{named:?}");
}

#[test]
fn receipts_that_a_crash_left_behind_go_together() {
    for seed in 0..20 {
        let mut world = World::acquainted(2, seed);
        world.config.receipt_gather_ms = MINUTE;
        world.crash(BOB);
        world.boot(BOB);
        world.run(10 * SECOND);
        for _ in 0..10 {
            world.submit(ANNA, BOB);
        }
        world.run(20 * SECOND);
        // The first went at once.
        let before = receipts(&world);
        assert!(all_filed(&world) && before.iter().sum::<usize>() < 10, "{before:?}, seed {seed}");
        world.crash(BOB);
        world.boot(BOB);
        world.run(MINUTE);
        world.check_all_delivered();
        assert_eq!(receipts(&world).iter().sum::<usize>(), 10, "seed {seed}");
        assert_eq!(receipts(&world).len(), before.len() + 1, "seed {seed}");
    }
}

#[test]
fn a_letter_that_cannot_be_kept_loses_no_receipt() {
    for seed in 0..20 {
        let mut world = World::acquainted(2, seed);
        world.config.receipt_gather_ms = 20 * SECOND;
        world.crash(BOB);
        world.boot(BOB);
        world.run(10 * SECOND);
        for _ in 0..10 {
            world.submit(ANNA, BOB);
        }
        world.run(15 * SECOND);
        assert!(all_filed(&world), "seed {seed}");
        world.nodes[BOB].disk_full = true;
        world.run(10 * MINUTE);
        assert!(world.mails.iter().any(|mail| world.fates(ANNA, mail.entry).is_empty()), "seed {seed}");
        world.nodes[BOB].disk_full = false;
        world.run(10 * MINUTE);
        world.check_all_delivered();
    }
}

#[test]
fn a_crash_at_any_moment_of_it_loses_no_receipt() {
    for seed in 0..60 {
        let mut world = World::acquainted(2, seed);
        world.run(10 * SECOND);
        for _ in 0..10 {
            world.submit(ANNA, BOB);
        }
        // Filing, gathering, sealing and committing take half a second or so.
        world.run(100 + 10 * seed);
        world.crash(BOB);
        world.boot(BOB);
        world.run(20 * MINUTE);
        world.check_all_delivered();
    }
}
