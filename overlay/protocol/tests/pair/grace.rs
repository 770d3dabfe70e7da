//! What was collected stays for a day, where there is not too much of it: what of it goes first, and what never goes early.

use kith_protocol::event::Counter;
use kith_protocol::ids::EnvelopeId;

use crate::world::{HOUR, MINUTE, SECOND, World};

const ANNA: usize = 0;
const BOB: usize = 1;
const CARL: usize = 2;
const RELAY: usize = 3;
/// Bytes of every envelope here.
const LETTER: u64 = 16_000;

/// Three people, and one relay for all of them that keeps so many bytes of what was collected.
fn with_relay(grace_copy_bytes: u64, seed: u64) -> World {
    let mut world = World::new(4, seed);
    for person in [ANNA, BOB, CARL] {
        world.relays[person] = vec![RELAY];
    }
    world.config.grace_copy_bytes = grace_copy_bytes;
    world.introduce();
    (0..4).for_each(|node| world.boot(node));
    world.run(MINUTE);
    world
}

/// Anna writes to Bob, who is away and collects it; the envelope.
fn collected(world: &mut World) -> EnvelopeId {
    world.crash(BOB);
    let before = held(world);
    world.submit(ANNA, BOB);
    world.run(10 * SECOND);
    let new = held(world).into_iter().find(|envelope| !before.contains(envelope)).expect("left with the relay");
    world.boot(BOB);
    world.run(20 * MINUTE);
    new
}

fn held(world: &World) -> Vec<EnvelopeId> {
    world.nodes[RELAY].disk.held.keys().copied().collect()
}

fn sorted(mut envelopes: Vec<EnvelopeId>) -> Vec<EnvelopeId> {
    envelopes.sort();
    envelopes
}

#[test]
fn what_was_collected_first_goes_first_and_what_waits_never_goes_early() {
    for seed in 0..10 {
        let mut world = with_relay(4 * LETTER, seed);
        world.crash(CARL);
        world.submit(ANNA, CARL);
        world.run(10 * SECOND);
        let waiting = held(&world);
        assert_eq!(waiting.len(), 1, "seed {seed}");
        let letters: Vec<EnvelopeId> = (0..9).map(|_| collected(&mut world)).collect();
        let kept = held(&world);
        assert!(kept.contains(&waiting[0]), "it waits for its owner, seed {seed}");
        let left = letters.iter().filter(|letter| kept.contains(letter)).count();
        assert!((3..=4).contains(&left), "{left} of what was collected, seed {seed}");
        assert!(letters[9 - left..].iter().all(|letter| kept.contains(letter)), "the last of all, seed {seed}");
        world.boot(CARL);
        world.run(MINUTE);
        world.check_all_delivered();
    }
}

#[test]
fn a_relay_that_starts_anew_knows_what_was_collected_first() {
    for seed in 0..10 {
        let mut world = with_relay(1 << 20, seed);
        let letters: Vec<EnvelopeId> = (0..6).map(|_| collected(&mut world)).collect();
        assert_eq!(held(&world), sorted(letters.clone()), "all of them stay, seed {seed}");
        world.crash(RELAY);
        world.config.grace_copy_bytes = 3 * LETTER;
        world.boot(RELAY);
        world.run(MINUTE);
        let left = held(&world);
        assert!((2..=3).contains(&left.len()), "seed {seed}");
        assert_eq!(left, sorted(letters[6 - left.len()..].to_vec()), "seed {seed}");
    }
}

/// Whoever left it asks after some minutes whether it is there.
#[test]
fn what_was_collected_stays_for_some_minutes_however_much_there_is() {
    let mut world = with_relay(0, 3);
    world.crash(BOB);
    world.submit(ANNA, BOB);
    world.run(10 * SECOND);
    world.boot(BOB);
    world.run(9 * MINUTE);
    assert_eq!(held(&world).len(), 1);
    world.run(2 * HOUR);
    assert_eq!(held(&world), []);
    world.check_all_delivered();
}

/// Nobody confirms a receipt: that it made room for others is no lie.
#[test]
fn a_receipt_that_was_collected_and_made_room_is_not_held_against_the_relay() {
    for seed in 0..10 {
        let mut world = with_relay(0, seed);
        world.crash(BOB);
        world.submit(ANNA, BOB);
        world.run(10 * SECOND);
        world.crash(ANNA);
        world.boot(BOB);
        // Not long enough to ask whether the receipt is there.
        world.run(45 * SECOND);
        world.crash(BOB);
        world.boot(ANNA);
        world.run(2 * HOUR);
        world.check_all_delivered();
        assert_eq!(held(&world), [], "all was collected and made room, seed {seed}");
        world.boot(BOB);
        world.run(HOUR);
        assert!(world.nodes[BOB].disk.entries.is_empty(), "the receipt is done, seed {seed}");
        assert_eq!(world.nodes[BOB].counters.get(&Counter::RelayLied), None, "seed {seed}");
    }
}
