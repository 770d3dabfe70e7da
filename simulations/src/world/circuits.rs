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
