//! Connections through a third node, for two that no packets go between: they last for minutes and bear small envelopes alone.
//!
//! Not modelled: how many circuits a node serves, and how many bytes one of them bears in all.

use super::{Happening, World};

/// A circuit lasts so long, in ms.
const LASTS_MS: u64 = 5 * 60_000;
/// The largest envelope that goes over one, in bytes.
const BYTES_MAX: u64 = 64 * 1024;
/// A larger one waits so long for a direct way, in ms, and is broken off.
pub(super) const DIRECT_WAIT_MS: u64 = 3000;

/// Two nodes, in the one order.
pub(super) fn pair(one: u32, other: u32) -> (u32, u32) {
    (one.min(other), one.max(other))
}

impl World {
    /// Whether `one` can connect to `other` through somebody whom both can call. Who cannot be called keeps circuits at nodes that can, among those that it is
    /// connected to.
    pub(super) fn is_served(&self, one: u32, other: u32) -> bool {
        let serves = |node: &u32| !self.network.is_behind(*node) && !self.network.parts(one, *node);
        !self.network.parts(one, other) && self.nodes[other as usize].peers.iter().any(serves)
    }

    pub(super) fn circuit_begins(&mut self, one: u32, other: u32) {
        let until = self.now + LASTS_MS;
        self.circuits.insert(pair(one, other), until);
        self.calendar.put(until, Happening::Circuit(one, other));
    }

    pub(super) fn circuit_ends(&mut self, one: u32, other: u32) {
        // It may have ended before, and another one begun.
        if self.circuits.get(&pair(one, other)) == Some(&self.now) {
            self.part(one, other);
        }
    }

    /// An envelope of so many bytes goes between two nodes that are connected only if they find another way.
    pub(super) fn is_too_large(&self, one: u32, other: u32, bytes: u64) -> bool {
        bytes > BYTES_MAX && self.circuits.contains_key(&pair(one, other))
    }
}

#[cfg(test)]
mod tests {
    use kith_protocol::delivery::Config;

    use super::*;

    const MINUTE: u64 = 60_000;
    const HOUR: u64 = 60 * MINUTE;

    /// Two homes behind routers that cannot be opened, one of which writes to the other; with somebody whom both can call, if they are to have one.
    fn behind_routers(bytes: u64, with_server: bool) -> World {
        let always = vec![(0, HOUR)];
        let server = if with_server { always.clone() } else { Vec::new() };
        let mut world = World::new(3, Config::default(), vec![always.clone(), always, server], vec![Vec::new(); 3]);
        world.behind(vec![true, true, false], 0.0);
        [(0, 1), (0, 2), (1, 2)].into_iter().for_each(|(one, other)| world.introduce(one, other));
        world.plan(20 * MINUTE, 0, 1, bytes);
        world.run(40 * MINUTE);
        world
    }

    fn arrives(bytes: u64, with_server: bool) -> bool {
        behind_routers(bytes, with_server).mails()[0].filed().is_some()
    }

    #[test]
    fn what_is_small_goes_by_way_of_a_third_node_and_what_is_large_does_not() {
        assert!(arrives(3_000, true));
        assert!(!arrives(200_000, true) && !arrives(3_000, false));
    }

    #[test]
    fn a_circuit_ends_after_five_minutes() {
        let mut world = behind_routers(3_000, true);
        assert!(world.circuits.is_empty() && !world.nodes[0].peers.contains(&1));
        assert!(world.connect(0, 1));
        world.run(40 * MINUTE + LASTS_MS - 1);
        assert!(world.nodes[0].peers.contains(&1));
        world.run(40 * MINUTE + LASTS_MS);
        assert!(!world.nodes[0].peers.contains(&1) && !world.nodes[1].peers.contains(&0));
    }

    /// A relay and the owner of what it keeps, both behind routers, and somebody who can be called; a mail comes while the owner is away.
    #[test]
    fn what_is_too_large_for_a_circuit_is_not_offered_again_and_again() {
        let day = 24 * HOUR;
        let always = vec![(0, 2 * day)];
        let (owner, relays) = (vec![(0, HOUR), (2 * HOUR, 2 * day)], vec![vec![1], Vec::new(), Vec::new(), Vec::new()]);
        let mut world = World::new(3, Config::default(), vec![owner, always.clone(), always.clone(), always], relays);
        world.behind(vec![true, true, false, false], 0.0);
        [(0, 1), (0, 2), (1, 2), (0, 3)].into_iter().for_each(|(one, other)| world.introduce(one, other));
        world.plan(90 * MINUTE, 3, 0, 200_000);
        // Who wrote it is off before the owner is back.
        world.befall(100 * MINUTE, super::super::Incident::Away(3, 2 * day));
        world.run(2 * day);
        assert!(world.mails()[0].filed().is_none());
        let offers = world.control().find(|(name, _)| name.contains("too large")).map_or(0, |(_, count)| count);
        assert!((1..=60).contains(&offers), "{offers} in 46 hours: once an hour, to be sure");
    }
}
