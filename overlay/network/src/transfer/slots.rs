//! How many streams peers may have open to us, so that those who come in numbers leave room for everybody else.
//!
//! Favoured peers, those that people here know, have a share that nobody else gets. In the rest, as soon as half of it is taken, whoever has
//! some already has to wait: a few who take what they can get do not keep out somebody who writes for the first time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use libp2p::PeerId;

use crate::config::Limits;

/// Streams that one of the others may have when half of their share is taken.
const FEW: usize = 2;

/// Counts streams, in all and by peer.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    taken: Arc<Mutex<Taken>>,
    all: usize,
    /// Of them, for favoured peers alone.
    favoured: usize,
    per_peer: usize,
}

#[derive(Debug, Default)]
struct Taken {
    by_peer: BTreeMap<PeerId, usize>,
    /// By those who are not favoured.
    by_others: usize,
    all: usize,
}

/// The right to one stream, given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    taken: Arc<Mutex<Taken>>,
    peer: PeerId,
    favoured: bool,
}

impl Slots {
    pub(crate) fn new(limits: &Limits) -> Self {
        let Limits { inbound_streams: all, inbound_streams_favoured: favoured, inbound_streams_per_peer: per_peer, .. } = *limits;
        Self { taken: Arc::default(), all, favoured, per_peer }
    }

    /// A slot for a stream of the peer; `None` when there are as many as may be.
    pub(crate) fn take(&self, peer: PeerId, favoured: bool) -> Option<Slot> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_peer = taken.by_peer.get(&peer).copied().unwrap_or(0);
        let share = self.all.saturating_sub(self.favoured);
        let crowded = taken.by_others >= share.div_ceil(2) && of_peer >= FEW;
        let full = taken.all >= self.all || of_peer >= self.per_peer;
        if full || !favoured && (crowded || taken.by_others >= share) {
            return None;
        }
        taken.by_peer.insert(peer, of_peer + 1);
        taken.all += 1;
        taken.by_others += usize::from(!favoured);
        Some(Slot { taken: self.taken.clone(), peer, favoured })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        taken.by_others -= usize::from(!self.favoured);
        if let Some(count) = taken.by_peer.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                taken.by_peer.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(all: usize, favoured: usize, per_peer: usize) -> Slots {
        let limits = Limits {
            inbound_streams: all,
            inbound_streams_favoured: favoured,
            inbound_streams_per_peer: per_peer,
            ..Limits::default()
        };
        Slots::new(&limits)
    }

    #[test]
    fn slots_are_bounded_and_come_back() {
        let slots = slots(3, 0, 2);
        let (a, b) = (PeerId::random(), PeerId::random());
        let first = slots.take(a, true).unwrap();
        let _second = slots.take(a, true).unwrap();
        assert!(slots.take(a, true).is_none());
        let _third = slots.take(b, true).unwrap();
        assert!(slots.take(b, true).is_none());
        drop(first);
        assert!(slots.take(b, true).is_some());
    }

    #[test]
    fn those_who_take_all_they_can_get_leave_room_for_the_known_and_for_the_new() {
        let slots = slots(96, 32, 24);
        let crowd: Vec<PeerId> = (0..8).map(|_| PeerId::random()).collect();
        let mut theirs: Vec<Slot> = (0..100).flat_map(|_| &crowd).filter_map(|peer| slots.take(*peer, false)).collect();
        assert!((32..64).contains(&theirs.len()), "{}", theirs.len());
        let new = slots.take(PeerId::random(), false);
        assert!(new.is_some(), "who writes for the first time is let in");
        // However many they are, what is set aside stays free.
        theirs.extend((0..1000).filter_map(|_| slots.take(PeerId::random(), false)));
        assert_eq!(theirs.len(), 63);
        let known = PeerId::random();
        assert_eq!((0..30).filter_map(|_| slots.take(known, true).map(std::mem::forget)).count(), 24);
        drop(theirs);
        let taken = slots.taken.lock().unwrap();
        assert_eq!((taken.by_others, taken.all), (1, 25));
    }
}
