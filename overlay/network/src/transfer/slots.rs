//! How many streams peers may have open to us.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use libp2p::PeerId;

/// Counts streams, in all and by peer.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    taken: Arc<Mutex<BTreeMap<PeerId, usize>>>,
    all: usize,
    per_peer: usize,
}

/// The right to one stream, given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    taken: Arc<Mutex<BTreeMap<PeerId, usize>>>,
    peer: PeerId,
}

impl Slots {
    pub(crate) fn new(all: usize, per_peer: usize) -> Self {
        Self { taken: Arc::default(), all, per_peer }
    }

    /// A slot for a stream of the peer; `None` when there are as many as may be.
    pub(crate) fn take(&self, peer: PeerId) -> Option<Slot> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_peer = taken.get(&peer).copied().unwrap_or(0);
        if of_peer >= self.per_peer || taken.values().sum::<usize>() >= self.all {
            return None;
        }
        taken.insert(peer, of_peer + 1);
        Some(Slot { taken: self.taken.clone(), peer })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_bounded_and_come_back() {
        let slots = Slots::new(3, 2);
        let (a, b) = (PeerId::random(), PeerId::random());
        let first = slots.take(a).unwrap();
        let _second = slots.take(a).unwrap();
        assert!(slots.take(a).is_none());
        let _third = slots.take(b).unwrap();
        assert!(slots.take(b).is_none());
        drop(first);
        assert!(slots.take(b).is_some());
    }
}
