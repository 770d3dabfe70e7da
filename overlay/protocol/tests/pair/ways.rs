//! Peers that can be reached through others only: what is too large for that is not offered before there is a direct way.

use kith_protocol::event::{Event, OfferOutcome, Problem};

use crate::world::{HOUR, MINUTE, SECOND, World, pair, peer};

const ANNA: usize = 0;
const BOB: usize = 1;
const RELAY: usize = 2;

impl World {
    /// What becomes of an offer that does not get to the other side.
    pub(super) fn stopped(&mut self, node: usize, other: usize) -> Option<OfferOutcome> {
        if !self.connected.contains(&pair(node, other)) || self.chance(self.loss) {
            return Some(OfferOutcome::Broken);
        }
        let offers = self.narrow.get_mut(&pair(node, other))?;
        *offers += 1;
        Some(OfferOutcome::NoDirectWay)
    }

    /// There is a direct way between these two now. How many offers there were before.
    fn widen(&mut self, one: usize, other: usize) -> u32 {
        self.tell(one, 0, Event::DirectWay(peer(other)));
        self.tell(other, 0, Event::DirectWay(peer(one)));
        self.narrow.remove(&pair(one, other)).unwrap_or(0)
    }

    /// The connections of these two end every five minutes, as those through others do, and are made again.
    fn reconnect(&mut self, one: usize, other: usize, ms: u64) {
        for _ in 0..ms / (5 * MINUTE) {
            self.run(5 * MINUTE - SECOND);
            self.part(one, other);
            self.run(SECOND);
            self.connect(one, other);
        }
    }
}

/// These two are connected for six hours, and not directly: the mail is hardly offered. Then they are, and it is there at once.
fn waits_for_a_direct_way(world: &mut World, one: usize, other: usize) {
    world.reconnect(one, other, 6 * HOUR);
    assert!(!world.is_filed(&world.mails[0]), "seed {}", world.seed);
    let offers = world.widen(one, other);
    assert!((1..=7).contains(&offers), "{offers} offers in six hours, seed {}", world.seed);
    world.run(5 * SECOND);
    assert!(world.is_filed(&world.mails[0]), "at once, seed {}", world.seed);
}

/// Anna, Bob, and a relay of his; all are there.
fn with_a_relay(seed: u64) -> World {
    let mut world = World::new(3, seed);
    world.relays[BOB] = vec![RELAY];
    world.introduce();
    (0..3).for_each(|node| world.boot(node));
    world.run(MINUTE);
    world
}

#[test]
fn a_letter_that_is_too_large_for_the_way_goes_when_there_is_another_one_and_is_hardly_offered_before() {
    for seed in 0..20 {
        let mut world = World::acquainted(2, seed);
        world.narrow.insert(pair(ANNA, BOB), 0);
        let entry = world.submit(ANNA, BOB);
        world.run(MINUTE);
        assert_eq!(world.nodes[ANNA].disk.entries[&entry].progress.last_problem, Some(Problem::NoDirectWay), "seed {seed}");
        waits_for_a_direct_way(&mut world, ANNA, BOB);
    }
}

#[test]
fn what_a_relay_keeps_goes_to_its_owner_when_there_is_a_direct_way_and_is_hardly_offered_before() {
    for seed in 0..20 {
        let mut world = with_a_relay(seed);
        world.crash(BOB);
        world.submit(ANNA, BOB);
        world.run(MINUTE);
        world.crash(ANNA);
        world.narrow.insert(pair(BOB, RELAY), 0);
        world.boot(BOB);
        waits_for_a_direct_way(&mut world, BOB, RELAY);
    }
}

#[test]
fn who_cannot_have_it_directly_has_it_by_way_of_a_relay_at_once() {
    for seed in 0..20 {
        let mut world = with_a_relay(seed);
        world.narrow.insert(pair(ANNA, BOB), 0);
        world.submit(ANNA, BOB);
        world.run(MINUTE);
        assert!(world.is_filed(&world.mails[0]), "seed {seed}");
    }
}
