//! Who can reach whom, what the directory says, and who keeps letters for anybody.

use std::collections::{BTreeMap, BTreeSet};

use crate::stream::{Purpose, Stream};

/// Nodes that a search for volunteers finds: so many are nearest to a key.
pub(super) const NEAREST: usize = 8;

/// The networks between the homes.
#[derive(Clone, Debug, Default)]
pub(super) struct Network {
    seed: u64,
    /// Behind a router that nobody can call through; empty: nobody is.
    behind: Vec<bool>,
    /// The share of the pairs of two such homes whose routers can be opened from both sides at once (70 ± 7 %, arXiv 2510.27500).
    punch: f64,
    /// On which side of a partition a node is; empty: there is none.
    sides: Vec<u8>,
    /// The share of all questions to the directory that find nothing.
    pub(super) silent: f64,
    /// Whose cards nobody finds.
    pub(super) hidden: BTreeSet<u32>,
    /// Volunteers that are on, by their place in the directory.
    volunteers: BTreeMap<u64, u32>,
}

impl Network {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, punch: 1.0, ..Self::default() }
    }

    /// These nodes are behind routers; so many pairs of them reach each other all the same.
    pub(super) fn behind(&mut self, behind: Vec<bool>, punch: f64) {
        (self.behind, self.punch) = (behind, punch);
    }

    pub(super) fn split(&mut self, sides: Vec<u8>) {
        self.sides = sides;
    }

    /// A partition lies between these two.
    pub(super) fn parts(&self, one: u32, other: u32) -> bool {
        let side = |node: u32| self.sides.get(node as usize).copied().unwrap_or(0);
        side(one) != side(other)
    }

    /// Nobody can call this node.
    pub(super) fn is_behind(&self, node: u32) -> bool {
        self.behind.get(node as usize).copied().unwrap_or(false)
    }

    /// Whether packets go from one to the other, now.
    pub(super) fn reaches(&self, one: u32, other: u32) -> bool {
        if self.parts(one, other) {
            return false;
        }
        if !self.is_behind(one) || !self.is_behind(other) {
            return true;
        }
        // The same two routers behave the same way every time.
        let (low, high) = (one.min(other), one.max(other));
        let seed = self.seed ^ (u64::from(high) << 32 | u64::from(low));
        Stream::new(seed, low, Purpose::Choice).chance(self.punch)
    }

    /// Where in the directory a node is, or the key of its address.
    fn place(&self, of: u32) -> u64 {
        Stream::new(self.seed, of, Purpose::Directory).word()
    }

    /// A volunteer has come, or is gone.
    pub(super) fn volunteer(&mut self, node: u32, on: bool) {
        let place = self.place(node);
        if on {
            self.volunteers.insert(place, node);
        } else {
            self.volunteers.remove(&place);
        }
    }

    /// The volunteers nearest to somebody's key that are on, nearest first. Distance is along a ring: that of the directory orders others, as many.
    pub(super) fn nearest(&self, of: u32) -> Vec<u32> {
        let key = self.place(of);
        let after = self.volunteers.range(key..).chain(self.volunteers.range(..key)).take(NEAREST);
        let before = self.volunteers.range(..key).rev().chain(self.volunteers.range(key..).rev()).take(NEAREST);
        let distance = |place: u64| place.wrapping_sub(key).min(key.wrapping_sub(place));
        let found: BTreeSet<(u64, u32)> = after.chain(before).map(|(place, node)| (distance(*place), *node)).collect();
        found.into_iter().map(|(_, node)| node).filter(|node| *node != of).take(NEAREST).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routers_are_opened_for_the_share_of_pairs_that_was_asked_for_and_always_the_same() {
        let mut network = Network::new(5);
        network.behind(vec![true; 200], 0.7);
        let pairs: Vec<(u32, u32)> = (0..200).flat_map(|one| (one + 1..200).map(move |other| (one, other))).collect();
        let open = pairs.iter().filter(|(one, other)| network.reaches(*one, *other)).count() as f64 / pairs.len() as f64;
        assert!((open - 0.7).abs() < 0.02, "{open}");
        assert!(pairs.iter().all(|(one, other)| network.reaches(*one, *other) == network.reaches(*other, *one)));
    }

    #[test]
    fn who_can_be_called_is_reached_by_everybody_but_through_no_partition() {
        let mut network = Network::new(5);
        network.behind(vec![true, false, true], 0.0);
        assert!(network.reaches(0, 1) && network.reaches(1, 2) && !network.reaches(0, 2));
        network.split(vec![0, 1, 0]);
        assert!(!network.reaches(0, 1));
    }

    #[test]
    fn the_nearest_volunteers_are_found_whatever_side_they_are_on() {
        let mut network = Network::new(9);
        (0..100).for_each(|node| network.volunteer(node, true));
        let key = network.place(7);
        let distance = |node: &u32| {
            let place = network.place(*node);
            place.wrapping_sub(key).min(key.wrapping_sub(place))
        };
        let mut expected: Vec<u32> = (0..100).filter(|node| *node != 7).collect();
        expected.sort_by_key(distance);
        assert_eq!(network.nearest(7), expected[..network.nearest(7).len()]);
        assert!(network.nearest(7).len() >= NEAREST - 1);
        (0..100).for_each(|node| network.volunteer(node, false));
        assert!(network.nearest(7).is_empty());
    }
}
