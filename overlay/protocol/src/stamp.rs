//! One-time stamps: how a relay tells a mailbox's contacts from strangers without learning who they are.
//!
//! Whoever is given a seed (in a letter) can make stamps for every relay and week; the owner of the seed tells the relay the *marks* of all stamps of all
//! contacts, mixed with those of nobody. A stamp admits one letter. Stamps of one contact have nothing in common that a relay could see, and a contact is
//! shut out by leaving its marks away.

use rand_core::Rng;
use serde::{Deserialize, Serialize};

use crate::contexts;
use crate::ids::PeerId;
use crate::secret::Secret;

/// Bytes of a stamp, and of its mark.
pub const STAMP_BYTES: usize = 16;
/// Marks of one week that are told to a relay, at most: beyond, contacts go the way of strangers.
pub const MARKS_MAX: usize = 32 * 1024;
/// Weeks that marks are told for: this one and those to come, since the owner may be away.
pub const WEEKS_AHEAD: u32 = 6;
/// Seeds that nobody has yet, so that a new contact does not show in the marks.
pub const SPARE_SEEDS: usize = 8;
/// Weeks and relays for which a sender remembers how many stamps it has used.
const COUNTERS_MAX: usize = 64;

/// Admits one letter to one relay in one week.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stamp(#[serde(with = "serde_bytes")] pub [u8; STAMP_BYTES]);

impl core::fmt::Debug for Stamp {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Stamp(…)")
    }
}

impl Stamp {
    /// What the relay knows of the stamp.
    #[must_use]
    pub fn mark(&self) -> [u8; STAMP_BYTES] {
        shortened(&blake3::hash(&self.0))
    }
}

fn shortened(hash: &blake3::Hash) -> [u8; STAMP_BYTES] {
    let mut short = [0; STAMP_BYTES];
    short.copy_from_slice(&hash.as_bytes()[..STAMP_BYTES]);
    short
}

/// Stamp number `number` of a week, for a relay, from a seed.
#[must_use]
pub fn stamp(seed: &Secret, relay: &PeerId, week: u32, number: u32) -> Stamp {
    let key = contexts::derive(contexts::STAMP_KEY, &[seed.expose()]);
    let mut hasher = blake3::Hasher::new_keyed(&key);
    hasher.update(contexts::STAMP).update(relay.as_bytes()).update(&week.to_le_bytes()).update(&number.to_le_bytes());
    Stamp(shortened(&hasher.finalize()))
}

/// The marks of a week for a relay: of all stamps of these seeds, ascending, filled up with random ones to a power of two.
#[must_use]
pub fn marks<'a>(
    seeds: impl Iterator<Item = &'a Secret>,
    quota: u16,
    relay: &PeerId,
    week: u32,
    rng: &mut impl Rng,
) -> Vec<[u8; STAMP_BYTES]> {
    let of_seed = |seed: &'a Secret| (0..u32::from(quota)).map(move |number| stamp(seed, relay, week, number).mark());
    let mut marks: Vec<_> = seeds.flat_map(of_seed).take(MARKS_MAX).collect();
    marks.resize_with(marks.len().max(1).next_power_of_two(), || {
        let mut filling = [0; STAMP_BYTES];
        rng.fill_bytes(&mut filling);
        filling
    });
    marks.sort_unstable();
    marks.dedup();
    marks
}

/// How many stamps of which relay and week a sender has used.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Used(Vec<Counter>);

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Counter {
    relay: PeerId,
    week: u32,
    next: u32,
}

impl Used {
    /// Nothing was used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes over what another copy of this memory has used meanwhile.
    pub fn merge(&mut self, other: &Self) {
        for theirs in &other.0 {
            let room = self.0.len() < COUNTERS_MAX;
            match self.0.iter_mut().find(|ours| ours.relay == theirs.relay && ours.week == theirs.week) {
                Some(ours) => ours.next = ours.next.max(theirs.next),
                None if room => self.0.push(theirs.clone()),
                None => {}
            }
        }
    }

    /// Takes the next stamp; `None` when all of this week are used. It counts as used from now on, whatever becomes of the letter.
    pub fn take(&mut self, seed: &Secret, quota: u16, relay: &PeerId, week: u32) -> Option<Stamp> {
        self.0.retain(|counter| counter.week.saturating_add(1) >= week);
        let index = self.0.iter().position(|counter| counter.relay == *relay && counter.week == week).or_else(|| {
            (self.0.len() < COUNTERS_MAX).then(|| {
                self.0.push(Counter { relay: *relay, week, next: 0 });
                self.0.len() - 1
            })
        })?;
        let counter = self.0.get_mut(index)?;
        if counter.next >= u32::from(quota) {
            return None;
        }
        let taken = stamp(seed, relay, week, counter.next);
        counter.next += 1;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const RELAY: PeerId = PeerId([7; 32]);

    fn seeds(count: u64) -> Vec<Secret> {
        (0..count).map(|number| Secret::generate(&mut ChaCha8Rng::seed_from_u64(number))).collect()
    }

    #[test]
    fn every_stamp_of_every_contact_is_marked_and_only_for_its_relay_and_week() {
        let seeds = seeds(5);
        let marks = marks(seeds.iter(), 10, &RELAY, 3, &mut ChaCha8Rng::seed_from_u64(9));
        assert_eq!(marks.len(), 64);
        let is_marked = |stamp: &Stamp| marks.binary_search(&stamp.mark()).is_ok();
        for seed in &seeds {
            assert!((0..10).all(|number| is_marked(&stamp(seed, &RELAY, 3, number))));
            assert!(!is_marked(&stamp(seed, &RELAY, 3, 10)));
            assert!(!is_marked(&stamp(seed, &RELAY, 4, 0)));
            assert!(!is_marked(&stamp(seed, &PeerId([8; 32]), 3, 0)));
        }
    }

    #[test]
    fn a_sender_uses_each_stamp_once_and_no_more_than_its_quota() {
        let (mut used, seed) = (Used::default(), seeds(1).remove(0));
        let mut taken: Vec<Stamp> = (0..4).map(|_| used.take(&seed, 4, &RELAY, 3).unwrap()).collect();
        assert_eq!(used.take(&seed, 4, &RELAY, 3), None);
        taken.sort_unstable();
        taken.dedup();
        assert_eq!(taken.len(), 4);
        assert!(used.take(&seed, 4, &RELAY, 4).is_some() && used.take(&seed, 4, &PeerId([1; 32]), 3).is_some());
    }

    #[test]
    fn stamps_are_these_bytes() {
        let seed = Secret::new([1; 32]);
        assert_eq!(hex::encode(stamp(&seed, &RELAY, 2968, 5).0), "17eea059655e8c0b8a547b80c4403886");
        assert_eq!(hex::encode(stamp(&seed, &RELAY, 2968, 5).mark()), "b21700ed9c50b71c32f8d7c61d4212b9");
    }

    proptest! {
        #[test]
        fn memory_of_a_sender_is_bounded(takes in proptest::collection::vec((any::<u8>(), 0_u32..5), 0..300)) {
            let (mut used, seed) = (Used::default(), seeds(1).remove(0));
            for (relay, week) in takes {
                used.take(&seed, 3, &PeerId([relay; 32]), week);
                prop_assert!(used.0.len() <= COUNTERS_MAX);
            }
        }
    }
}
