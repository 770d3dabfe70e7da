//! What happens when: a line for what is now, a ring of buckets for what is near, a heap for what is far. A heap alone grows with the logarithm of everything that waits.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Width of a bucket, in ms; a power of two.
const BUCKET_MS: u64 = 16;
/// Buckets of the ring: more than two hours, so that hourly timers are in it.
const BUCKETS: usize = 1 << 19;

#[derive(Debug)]
struct Item<T> {
    at: u64,
    order: u64,
    what: T,
}

impl<T> PartialEq for Item<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl<T> Eq for Item<T> {}

impl<T> PartialOrd for Item<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Item<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// No place of the store.
const NONE: u32 = u32::MAX;

/// A place of the store: what waits there, or nothing, and the next place of the same bucket, or of those that are free.
#[derive(Debug)]
struct Slot<T> {
    item: Option<Item<T>>,
    next: u32,
}

/// A calendar of things to come, in ms. Ties go in the order in which they were put in.
#[derive(Debug)]
pub struct Calendar<T> {
    /// The first place of each bucket.
    ring: Vec<u32>,
    /// What is in the ring, wherever there was room: buckets are chains through it, so that none of them grows and shrinks.
    store: Vec<Slot<T>>,
    /// The first free place.
    free: u32,
    /// Which buckets of the ring have something, a bit each: nights are empty.
    filled: Vec<u64>,
    /// The bucket that is being emptied, latest first.
    current: Vec<Item<T>>,
    /// Its number since the beginning.
    bucket: u64,
    /// What was put in for the moment that is now, after all that was there: a town that is shut down at one moment says so to everybody at that moment.
    soon: VecDeque<Item<T>>,
    /// The time of what happened last.
    now: u64,
    far: BinaryHeap<Reverse<Item<T>>>,
    near: usize,
    order: u64,
}

impl<T> Default for Calendar<T> {
    fn default() -> Self {
        Self {
            ring: vec![NONE; BUCKETS],
            store: Vec::new(),
            free: NONE,
            filled: vec![0; BUCKETS / 64],
            current: Vec::new(),
            bucket: 0,
            soon: VecDeque::new(),
            now: 0,
            far: BinaryHeap::new(),
            near: 0,
            order: 0,
        }
    }
}

impl<T> Calendar<T> {
    /// How much is still to come.
    #[must_use]
    pub fn len(&self) -> usize {
        self.current.len() + self.soon.len() + self.near + self.far.len()
    }

    /// Nothing is to come.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts something in; what is past already happens next.
    pub fn put(&mut self, at: u64, what: T) {
        self.order += 1;
        let item = Item { at, order: self.order, what };
        let bucket = at / BUCKET_MS;
        if at == self.now && bucket == self.bucket && self.soon.back().is_none_or(|last| last.at == at) {
            self.soon.push_back(item);
        } else if bucket <= self.bucket {
            let place = self.current.partition_point(|other| *other > item);
            self.current.insert(place, item);
        } else if bucket - self.bucket < BUCKETS as u64 {
            self.fill(bucket, item);
        } else {
            self.far.push(Reverse(item));
        }
    }

    /// The next thing and its time, if that is not after `end`.
    pub fn take(&mut self, end: u64) -> Option<(u64, T)> {
        loop {
            let (last, soon) = (self.current.last(), self.soon.front());
            if let Some(first) = last.into_iter().chain(soon).min() {
                if first.at > end {
                    return None;
                }
                self.now = first.at;
                let is_soon = soon == Some(first);
                let item = if is_soon { self.soon.pop_front() } else { self.current.pop() };
                return item.map(|item| (item.at, item.what));
            }
            let next = if self.near > 0 { self.next_filled() } else { self.far.peek()?.0.at / BUCKET_MS };
            if next * BUCKET_MS > end {
                return None;
            }
            self.turn(next);
        }
    }

    fn fill(&mut self, bucket: u64, item: Item<T>) {
        let place = (bucket % BUCKETS as u64) as usize;
        let slot = Slot { item: Some(item), next: self.ring[place] };
        self.ring[place] = if self.free == NONE {
            self.store.push(slot);
            u32::try_from(self.store.len() - 1).unwrap_or(NONE)
        } else {
            let found = self.free;
            self.free = self.store[found as usize].next;
            self.store[found as usize] = slot;
            found
        };
        self.filled[place / 64] |= 1 << (place % 64);
        self.near += 1;
    }

    /// The first bucket after the current one that has something; there is one.
    fn next_filled(&self) -> u64 {
        let from = (self.bucket + 1) as usize % BUCKETS;
        let first = self.filled[from / 64] & (u64::MAX << (from % 64));
        let words = BUCKETS / 64;
        let after = (1..=words).map(|step| (from / 64 + step) % words).map(|word| (word, self.filled[word]));
        let (word, bits) =
            std::iter::once((from / 64, first)).chain(after).find(|(_, bits)| *bits != 0).unwrap_or((from / 64, 1));
        let place = word * 64 + bits.trailing_zeros() as usize;
        self.bucket + 1 + ((place + BUCKETS - from) % BUCKETS) as u64
    }

    /// Makes this bucket the current one.
    fn turn(&mut self, bucket: u64) {
        self.bucket = bucket;
        while let Some(Reverse(item)) = self.far.peek()
            && item.at / BUCKET_MS < bucket + BUCKETS as u64
        {
            let Some(Reverse(item)) = self.far.pop() else { break };
            self.fill(item.at / BUCKET_MS, item);
        }
        let place = (bucket % BUCKETS as u64) as usize;
        self.filled[place / 64] &= !(1 << (place % 64));
        let mut next = std::mem::replace(&mut self.ring[place], NONE);
        while let Some(slot) = self.store.get_mut(next as usize) {
            self.current.extend(slot.item.take());
            let here = std::mem::replace(&mut next, slot.next);
            slot.next = self.free;
            self.free = here;
            self.near -= 1;
        }
        self.current.sort_unstable_by(|a, b| b.cmp(a));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn everything_comes_once_in_the_order_of_time_and_then_of_arrival(times in proptest::collection::vec(0_u64..5_000_000, 1..300)) {
            let mut calendar = Calendar::default();
            for (number, at) in times.iter().enumerate() {
                calendar.put(*at, number);
            }
            let mut expected: Vec<(u64, usize)> = times.iter().copied().zip(0..).collect();
            expected.sort_unstable();
            let mut seen = Vec::new();
            while let Some(next) = calendar.take(u64::MAX) {
                seen.push(next);
            }
            prop_assert_eq!(seen, expected);
            prop_assert!(calendar.is_empty());
        }

        #[test]
        fn what_is_put_in_meanwhile_has_its_place(steps in proptest::collection::vec((prop_oneof![Just(0), 0_u64..40, 0_u64..2_000_000], any::<bool>()), 1..300)) {
            let (mut calendar, mut now, mut model) = (Calendar::default(), 0, std::collections::BTreeSet::new());
            for (number, (wait, take)) in steps.into_iter().enumerate() {
                if take {
                    let next = calendar.take(u64::MAX);
                    prop_assert_eq!(next, model.pop_first());
                    now = next.map_or(now, |(at, _)| at);
                } else {
                    calendar.put(now + wait, number);
                    model.insert((now + wait, number));
                }
            }
        }
    }

    /// Sorted in, each of them would move all the others.
    #[test]
    fn what_is_put_in_for_now_moves_nothing() {
        let mut calendar = Calendar::default();
        (0..3).for_each(|number| calendar.put(100, number));
        assert_eq!(calendar.take(u64::MAX), Some((100, 0)));
        (3..1000).for_each(|number| calendar.put(100, number));
        assert_eq!((calendar.current.len(), calendar.soon.len()), (2, 997));
        assert!((1..1000).all(|number| calendar.take(u64::MAX) == Some((100, number))));
    }

    #[test]
    fn nothing_comes_before_its_time() {
        let mut calendar = Calendar::default();
        calendar.put(10_000_000, "far");
        assert_eq!(calendar.take(9_999_999), None);
        calendar.put(5, "near");
        assert_eq!(calendar.take(u64::MAX), Some((5, "near")));
        assert_eq!(calendar.take(u64::MAX), Some((10_000_000, "far")));
    }
}
