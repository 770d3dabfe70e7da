//! Parsed structures that all sessions share: the last used ones, within a budget of bytes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use kith_store::blob::BlobHash;

use crate::limits::STRUCTURE_CACHE_BYTES;
use crate::structure::Structure;

/// What an entry takes beside the structure.
const ENTRY_BYTES: usize = 160;

/// Structures by their message's hash.
#[derive(Debug, Default)]
pub(crate) struct Structures(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    by_hash: HashMap<BlobHash, (Arc<Structure>, u64)>,
    /// Oldest use first.
    by_use: BTreeMap<u64, BlobHash>,
    bytes: usize,
    clock: u64,
}

impl Structures {
    /// The structure, if it is at hand.
    pub(crate) fn find(&self, hash: &BlobHash) -> Option<Arc<Structure>> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.clock += 1;
        let now = entries.clock;
        let (structure, used) = entries.by_hash.get_mut(hash)?;
        let structure = Arc::clone(structure);
        let before = std::mem::replace(used, now);
        entries.by_use.remove(&before);
        entries.by_use.insert(now, *hash);
        Some(structure)
    }

    /// Keeps a structure, in place of those that were not used for the longest time.
    pub(crate) fn keep(&self, hash: BlobHash, structure: &Arc<Structure>) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let cost = structure.cost + ENTRY_BYTES;
        if cost > STRUCTURE_CACHE_BYTES / 4 || entries.by_hash.contains_key(&hash) {
            return;
        }
        entries.clock += 1;
        let now = entries.clock;
        entries.bytes += cost;
        entries.by_hash.insert(hash, (Arc::clone(structure), now));
        entries.by_use.insert(now, hash);
        while entries.bytes > STRUCTURE_CACHE_BYTES {
            let Some((_, oldest)) = entries.by_use.pop_first() else { return };
            if let Some((structure, _)) = entries.by_hash.remove(&oldest) {
                entries.bytes = entries.bytes.saturating_sub(structure.cost + ENTRY_BYTES);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_used_structure_makes_room() {
        let cache = Structures::default();
        let structure = Arc::new(Structure { parts: Vec::new(), cost: STRUCTURE_CACHE_BYTES / 5 });
        let hash = |n: u8| BlobHash([n; 32]);
        for n in 0..4 {
            cache.keep(hash(n), &structure);
        }
        assert!(cache.find(&hash(0)).is_some());
        cache.keep(hash(9), &structure);
        assert!(cache.find(&hash(1)).is_none());
        assert!(cache.find(&hash(0)).is_some() && cache.find(&hash(9)).is_some());
    }
}
