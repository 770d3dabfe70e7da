//! Volunteers: whoever was found is remembered, so that who comes back for seconds has what they keep; senders look for them no more often than is of use.

use kith_protocol::event::Event;
use kith_protocol::ids::EntryId;

use crate::world::{DAY, HOUR, MINUTE, SECOND, World, peer};

const ANNA: usize = 0;
const BOB: usize = 1;

/// Two people who know each other and nobody else, and four volunteers whom nobody knows.
fn with_volunteers(seed: u64) -> World {
    let mut world = World::new(7, seed);
    world.volunteers = vec![3, 4, 5, 6];
    world.introduce();
    for node in 0..7 {
        let known = |address: &_| node < 2 && (0..2).any(|other| *address == crate::world::address(other));
        world.nodes[node].disk.cards.retain(|address, _| known(address));
    }
    (world.config.volunteer_bytes, world.config.volunteer_effort) = (1 << 20, 0);
    (0..7).for_each(|node| world.boot(node));
    world.run(MINUTE);
    world
}

#[test]
fn who_comes_back_has_what_volunteers_keep_before_a_search_can_find_them() {
    for seed in 0..20 {
        let mut world = with_volunteers(seed);
        world.crash(BOB);
        let entry = world.submit(ANNA, BOB);
        world.run(MINUTE);
        assert_eq!(world.copies(ANNA, entry).len(), 3, "seed {seed}");
        world.crash(ANNA);
        world.run(8 * DAY);
        // The directory finds nobody, as it does in the first seconds, and nobody else is there.
        world.volunteers.clear();
        world.boot(BOB);
        world.run(2 * SECOND);
        assert!(world.is_filed(&world.mails[0]), "seed {seed}");
    }
}

#[test]
fn volunteers_are_written_down_when_others_are_found_and_at_no_other_time() {
    let mut world = with_volunteers(1);
    let written = |world: &World| world.nodes[BOB].searches_written;
    assert_eq!(written(&world), 1);
    world.run(6 * HOUR);
    world.volunteers.reverse();
    world.run(6 * HOUR);
    world.crash(BOB);
    world.boot(BOB);
    world.volunteers.pop();
    world.run(6 * HOUR);
    assert_eq!(written(&world), 1, "the same ones in another order, after a start, and without one that is off");
    world.volunteers.push(2);
    world.run(6 * HOUR);
    assert_eq!(written(&world), 2);
    assert_eq!(world.nodes[BOB].disk.volunteers.len(), 5);
    assert!(world.nodes[BOB].disk.volunteers.contains(&peer(2)));
}

/// Anna writes as many letters to Bob, who is not there.
fn writes_to_bob(world: &mut World, letters: usize) -> Vec<EntryId> {
    world.crash(BOB);
    (0..letters).map(|_| world.submit(ANNA, BOB)).collect()
}

fn kept_thrice(world: &World, letters: &[EntryId]) -> bool {
    letters.iter().all(|entry| world.copies(ANNA, *entry).len() == 3)
}

#[test]
fn letters_to_one_person_share_a_search_for_volunteers() {
    for seed in 0..20 {
        let mut world = with_volunteers(seed);
        let mut letters = writes_to_bob(&mut world, 10);
        world.run(MINUTE);
        letters.extend((0..10).map(|_| world.submit(ANNA, BOB)));
        world.run(MINUTE);
        assert!(kept_thrice(&world, &letters), "seed {seed}");
        assert_eq!(world.nodes[ANNA].searches, 1, "seed {seed}");
    }
}

#[test]
fn where_nobody_keeps_letters_for_strangers_senders_look_for_them_less_and_less_often() {
    for seed in 0..20 {
        let mut world = with_volunteers(seed);
        let volunteers = std::mem::take(&mut world.volunteers);
        let letters = writes_to_bob(&mut world, 10);
        world.run(DAY);
        assert!((4..=12).contains(&world.nodes[ANNA].searches), "seed {seed}: {}", world.nodes[ANNA].searches);
        // Somebody does, at last.
        world.volunteers = volunteers;
        world.run(6 * HOUR);
        assert!(kept_thrice(&world, &letters), "seed {seed}");
    }
}

#[test]
fn in_another_network_or_when_a_person_asks_volunteers_are_looked_for_at_once() {
    for asks in [false, true] {
        let mut world = with_volunteers(1);
        let volunteers = std::mem::take(&mut world.volunteers);
        let letters = writes_to_bob(&mut world, 1);
        world.run(DAY);
        world.volunteers = volunteers;
        world.tell(ANNA, 0, if asks { Event::RetryAsked(letters[0]) } else { Event::NetworkChanged });
        world.run(MINUTE);
        assert!(kept_thrice(&world, &letters), "asked: {asks}");
    }
}
