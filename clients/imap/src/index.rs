//! Messages with their keys, by UID: what a SORT or THREAD has gathered, and, of folders that were gathered whole, what all sessions share.
//!
//! An index that is shared is that of its folder at one MODSEQ: whoever uses it first catches up with what has changed since.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use kith_store::account::AccountId;
use kith_store::folder::{FolderId, ModSeq};

use crate::keys::Keys;
use crate::limits::INDEX_CACHE_BYTES;
use crate::sorting::SortKey;

/// What is known of a message beside its keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) uid: u32,
    /// What the account's log calls it.
    pub(crate) record: u64,
    /// INTERNALDATE: Unix seconds.
    pub(crate) received: i64,
    /// Bytes.
    pub(crate) size: u64,
    /// Where its keys end; they begin where those before end.
    end: usize,
}

/// Messages, by UID.
#[derive(Debug, Default)]
pub(crate) struct Index {
    entries: Vec<Entry>,
    /// The keys of all of them.
    bytes: Vec<u8>,
    /// Some came without keys.
    lacks_keys: bool,
    /// Of each text, once somebody has sorted by it.
    ranks: [OnceLock<Vec<u32>>; 4],
}

impl Index {
    /// Takes in a message of a greater UID: (record, received, size), and its keys where they are wanted.
    pub(crate) fn push(&mut self, uid: u32, (record, received, size): (u64, i64, u64), keys: Option<&[u8]>) {
        self.lacks_keys |= keys.is_none();
        self.bytes.extend_from_slice(keys.unwrap_or_default());
        self.entries.push(Entry { uid, record, received, size, end: self.bytes.len() });
        self.ranks = Default::default();
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn entry(&self, place: usize) -> Entry {
        self.entries.get(place).copied().unwrap_or_default()
    }

    /// The place of the first message of this UID or a greater one.
    pub(crate) fn place(&self, uid: u32) -> usize {
        self.entries.partition_point(|entry| entry.uid < uid)
    }

    /// The keys of the message at a place, as they were written.
    pub(crate) fn written(&self, place: usize) -> &[u8] {
        let start = place.checked_sub(1).and_then(|before| self.entries.get(before)).map_or(0, |before| before.end);
        self.entries.get(place).and_then(|entry| self.bytes.get(start..entry.end)).unwrap_or_default()
    }

    /// The same, read.
    pub(crate) fn keys(&self, place: usize) -> Option<Keys<'_>> {
        Keys::read(self.written(place))
    }

    /// RFC 5256 §2.2: INTERNALDATE where there is no Date that makes sense. Unix seconds.
    pub(crate) fn sent(&self, place: usize) -> i64 {
        let sent = self.keys(place).and_then(|keys| keys.sent);
        sent.map_or_else(|| self.entry(place).received, |sent| sent.seconds)
    }

    /// Of each message a number that is in order as its text is: 0 for none, the same for the same. Nothing for keys that are no texts.
    pub(crate) fn ranks(&self, key: SortKey) -> &[u32] {
        let [subject, from, to, cc] = &self.ranks;
        let slot = match key {
            SortKey::Subject => subject,
            SortKey::From => from,
            SortKey::To => to,
            SortKey::Cc => cc,
            SortKey::Arrival | SortKey::Date | SortKey::Size => return &[],
        };
        slot.get_or_init(|| {
            ranked((0..self.len()).map(|place| self.keys(place).and_then(|keys| keys.text(key)).unwrap_or_default()))
        })
    }

    /// Those that satisfy, as an index of their own.
    pub(crate) fn retained(&self, keep: impl Fn(&Entry) -> bool) -> Self {
        let mut kept = Self::default();
        for (place, entry) in self.entries.iter().enumerate().filter(|(_, entry)| keep(entry)) {
            let keys = (!self.lacks_keys).then(|| self.written(place));
            kept.push(entry.uid, (entry.record, entry.received, entry.size), keys);
        }
        kept
    }

    /// About how much memory this takes, ranks included.
    fn cost(&self) -> usize {
        self.entries.len() * (size_of::<Entry>() + self.ranks.len() * size_of::<u32>()) + self.bytes.len()
    }
}

fn ranked<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Vec<u32> {
    let mut order: Vec<(&[u8], usize)> = texts.enumerate().map(|(place, text)| (text, place)).collect();
    order.sort_unstable();
    let mut ranks = vec![0; order.len()];
    let (mut rank, mut before): (u32, &[u8]) = (0, b"");
    for (text, place) in order {
        if text != before {
            (rank, before) = (rank.saturating_add(1), text);
        }
        if let Some(slot) = ranks.get_mut(place) {
            *slot = rank;
        }
    }
    ranks
}

/// A folder's index, and when it was that.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) mod_seq: ModSeq,
    pub(crate) index: Arc<Index>,
}

/// Indexes of whole folders, the last used ones within a budget of bytes.
#[derive(Debug, Default)]
pub(crate) struct Indexes(Mutex<HashMap<(AccountId, FolderId), (Shared, u64)>>);

impl Indexes {
    /// That of a folder, as it was when it was kept.
    pub(crate) fn find(&self, account: AccountId, folder: FolderId) -> Option<Shared> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = all.values().map(|(_, used)| *used).max().unwrap_or(0) + 1;
        let (shared, used) = all.get_mut(&(account, folder))?;
        *used = now;
        Some(shared.clone())
    }

    /// Keeps that of a folder, in place of those that were not used for the longest time. One that is too large, or that lacks keys, is not kept.
    pub(crate) fn keep(&self, account: AccountId, folder: FolderId, shared: Shared) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = all.values().map(|(_, used)| *used).max().unwrap_or(0) + 1;
        all.remove(&(account, folder));
        if shared.index.lacks_keys || shared.index.cost() > INDEX_CACHE_BYTES {
            return;
        }
        all.insert((account, folder), (shared, now));
        while all.values().map(|(shared, _)| shared.index.cost()).sum::<usize>() > INDEX_CACHE_BYTES {
            let Some(oldest) = all.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key) else { return };
            all.remove(&oldest);
        }
    }

    /// Forgets that of a folder.
    pub(crate) fn forget(&self, account: AccountId, folder: FolderId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(account, folder));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::of_header;

    fn index(count: u32, bytes: usize) -> Shared {
        let mut index = Index::default();
        for uid in 1..=count {
            index.push(uid, (uid.into(), 7, 1), Some(&vec![0; bytes]));
        }
        Shared { mod_seq: ModSeq(1), index: Arc::new(index) }
    }

    #[test]
    fn ranks_are_in_the_order_of_the_texts() {
        assert_eq!(ranked([&b"b"[..], b"", b"a", b"b", b"ab"].into_iter()), [3, 0, 1, 3, 2]);
        assert_eq!(ranked(std::iter::empty()), []);
    }

    #[test]
    fn what_is_retained_has_its_keys() {
        let mut index = Index::default();
        for uid in 1..9_u32 {
            let header = format!("Subject: {}\r\nDate: Mon, 7 Feb 1994 21:52:2{uid} -0800\r\n", 9 - uid);
            index.push(uid, (u64::from(uid) + 100, 3, 4), Some(&of_header(header.as_bytes())));
        }
        let kept = index.retained(|entry| entry.uid % 3 == 0);
        assert_eq!(kept.entries().iter().map(|entry| (entry.uid, entry.record)).collect::<Vec<_>>(), [(3, 103), (6, 106)]);
        assert_eq!((kept.written(0), kept.written(1)), (index.written(2), index.written(5)));
        assert_eq!(kept.ranks(SortKey::Subject), [2, 1]);
        assert_eq!((kept.sent(1) - kept.sent(0), kept.place(4), kept.place(7)), (3, 1, 2));
    }

    #[test]
    fn the_least_used_index_makes_room() {
        let (indexes, account) = (Indexes::default(), AccountId(1));
        let keep = |folder, shared| indexes.keep(account, FolderId(folder), shared);
        for folder in 0..3 {
            keep(folder, index(1, INDEX_CACHE_BYTES / 4));
        }
        assert!(indexes.find(account, FolderId(0)).is_some());
        keep(3, index(1, INDEX_CACHE_BYTES / 2));
        assert!(indexes.find(account, FolderId(1)).is_none() && indexes.find(account, FolderId(2)).is_none());
        assert!(indexes.find(account, FolderId(0)).is_some() && indexes.find(account, FolderId(3)).is_some());
        keep(4, index(1, INDEX_CACHE_BYTES));
        assert!(indexes.find(account, FolderId(4)).is_none());
        indexes.forget(account, FolderId(0));
        assert!(indexes.find(account, FolderId(0)).is_none());
    }

    #[test]
    fn an_index_without_keys_is_not_shared() {
        let mut index = Index::default();
        index.push(1, (1, 1, 1), None);
        let indexes = Indexes::default();
        indexes.keep(AccountId(1), FolderId(1), Shared { mod_seq: ModSeq(1), index: Arc::new(index) });
        assert!(indexes.find(AccountId(1), FolderId(1)).is_none());
    }
}
