//! Gists: what a reader worked out of a message, kept so that it need not be worked out again.
//!
//! The store does not look into them: whoever reads mail makes them, puts its own version in front, and takes what it does not know for missing.
//! No row is written with a message, and nobody waits for one: they come many at a time, on the way of other commits where there are any.
//! What is lost before that, or damaged, is worked out again.

use std::ops::Range;

use kith_protocol::ids::AccountId;
use redb::{ReadOnlyTable, ReadableTable};

use crate::folder::Message;
use crate::schema::{GISTS, LOG};
use crate::store::Reader;
use crate::{Store, StoreError, Transaction};

/// Bytes of a gist at most; of a message with a larger one none is kept.
pub const GIST_BYTES_MAX: usize = 4096;

/// Rows between the first and the last that are asked for, for each of these, up to which it is cheaper to read through them all than to look
/// each up.
const SPARSE_MAX: u64 = 4;

/// CRC-32.
const CHECK_BYTES: usize = 4;

/// What a gist is of. The numbers are in the keys of rows, and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Gist {
    /// The parts of a message, as they are told.
    Structure = 1,
    /// What a message is sorted and threaded by.
    Keys = 2,
    /// The fields of its header that lists show beyond those of an excerpt.
    Listing = 3,
}

impl Gist {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Structure, Self::Keys, Self::Listing];

    fn of(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == code)
    }
}

/// One to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewGist {
    /// Whose message.
    pub account: AccountId,
    /// What it is of.
    pub kind: Gist,
    /// The message's `record`.
    pub record: u64,
    /// At most [`GIST_BYTES_MAX`].
    pub bytes: Box<[u8]>,
}

/// Gists of some messages, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gists {
    bytes: Vec<u8>,
    found: Vec<Option<Range<usize>>>,
}

impl Gists {
    /// That of the n-th message; `None` where none is kept.
    #[must_use]
    pub fn find(&self, index: usize) -> Option<&[u8]> {
        self.found.get(index)?.clone().and_then(|range| self.bytes.get(range))
    }

    fn push(&mut self, gist: Option<&[u8]>) {
        self.found.push(gist.map(|gist| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(gist);
            start..self.bytes.len()
        }));
    }
}

type Key = (u32, u8, u64);

/// A gist with the checksum of its key and its bytes: against damage, like those of other rows, but one that costs next to nothing, since
/// lists read a row of every message.
pub(crate) fn encode(key: Key, gist: &[u8]) -> Vec<u8> {
    [gist, &check(key, gist)].concat()
}

/// `None` for a row that is damaged.
fn decode(key: Key, row: &[u8]) -> Option<&[u8]> {
    let (gist, stamped) = row.split_last_chunk::<CHECK_BYTES>()?;
    (*stamped == check(key, gist)).then_some(gist)
}

fn check((account, kind, record): Key, gist: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&account.to_le_bytes());
    hasher.update(&[kind]);
    hasher.update(&record.to_le_bytes());
    hasher.update(gist);
    hasher.finalize().to_le_bytes()
}

/// Whether a row can be read, and is of a kind that there is.
pub(crate) fn is_sound(key: Key, row: &[u8]) -> bool {
    Gist::of(key.1).is_some() && decode(key, row).is_some_and(|gist| gist.len() <= GIST_BYTES_MAX)
}

impl Reader {
    fn gists(&self, account: AccountId, kind: Gist, messages: &[Message]) -> Result<Gists, StoreError> {
        let table: ReadOnlyTable<Key, &[u8]> = self.table(GISTS)?;
        let mut gists = Gists { bytes: Vec::new(), found: Vec::with_capacity(messages.len()) };
        let records = || messages.iter().map(|message| message.record);
        let (Some(first), Some(last)) = (records().min(), records().max()) else { return Ok(gists) };
        let key = |record| (account.0, kind as u8, record);
        if last - first < SPARSE_MAX * messages.len() as u64 && records().is_sorted() {
            let mut rows = table.range(key(first)..=key(last))?;
            let mut next = rows.next().transpose()?;
            for record in records() {
                while next.as_ref().is_some_and(|(key, _)| key.value().2 < record) {
                    next = rows.next().transpose()?;
                }
                let row = next.as_ref().filter(|(key, _)| key.value().2 == record);
                gists.push(row.and_then(|(_, row)| decode(key(record), row.value())));
            }
            return Ok(gists);
        }
        for record in records() {
            let row = table.get(key(record))?;
            gists.push(row.as_ref().and_then(|row| decode(key(record), row.value())));
        }
        Ok(gists)
    }
}

impl Store {
    /// What is kept of these messages. A damaged row counts as missing.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn gists(&self, account: AccountId, kind: Gist, messages: &[Message]) -> Result<Gists, StoreError> {
        self.read(|reader| reader.gists(account, kind, messages))
    }

    /// Has these kept, sooner or later: waits for nothing, and forgets them where the writer has too much to do or there is no room.
    pub fn keep_gists(&self, gists: Vec<NewGist>) {
        self.write_later(move |transaction| transaction.put_gists(&gists));
    }
}

impl Transaction<'_> {
    /// Keeps gists of messages that are there still.
    fn put_gists(&mut self, gists: &[NewGist]) -> Result<(), StoreError> {
        self.need_room()?;
        let log = self.view(LOG)?;
        let mut table = self.table(GISTS)?;
        for gist in gists.iter().filter(|gist| gist.bytes.len() <= GIST_BYTES_MAX) {
            if log.get((gist.account.0, gist.record))?.is_some() {
                let key = (gist.account.0, gist.kind as u8, gist.record);
                table.insert(key, encode(key, &gist.bytes).as_slice())?;
            }
        }
        Ok(())
    }

    /// Forgets those of messages that go.
    pub(crate) fn forget_gists(&mut self, account: AccountId, records: &[u64]) -> Result<(), StoreError> {
        let mut table = self.table(GISTS)?;
        for kind in Gist::ALL {
            for record in records {
                table.remove((account.0, kind as u8, *record))?;
            }
        }
        Ok(())
    }

    /// Forgets all of an account's.
    pub(crate) fn clear_gists(&mut self, account: AccountId) -> Result<(), StoreError> {
        let all = (account.0, 0, 0)..=(account.0, u8::MAX, u64::MAX);
        Ok(self.table(GISTS)?.retain_in(all, |_, _| false)?)
    }
}

#[cfg(test)]
mod tests {
    use redb::ReadableTableMetadata as _;

    use super::*;
    use crate::disk::SimulatedDisk;
    use crate::folder::{Flags, FolderId, Uid, Use};
    use crate::mailbox::Filing;
    use crate::repair::repair_on;
    use crate::testing::{address, check, options, staged};
    use crate::verify::Place;
    use crate::{Disk, testing};

    fn file(store: &Store, account: AccountId, bytes: &[u8]) -> Message {
        let filing = Filing { blob: staged(store, bytes), flags: Flags::default(), internal_date: 7, internal_zone: 0 };
        store.write(move |transaction| transaction.deliver(account, Use::Inbox, &filing)).unwrap()
    }

    fn gist(account: AccountId, message: &Message, kind: Gist, bytes: &[u8]) -> NewGist {
        NewGist { account, kind, record: message.record, bytes: bytes.into() }
    }

    /// Keeps them and waits: the writer does one thing after the other.
    fn keep(store: &Store, gists: Vec<NewGist>) {
        store.keep_gists(gists);
        store.write(|_| Ok(())).unwrap();
    }

    fn rows(store: &Store) -> u64 {
        store.read(|reader| Ok(reader.table(GISTS)?.len()?)).unwrap()
    }

    fn inbox(store: &Store, account: AccountId) -> FolderId {
        store.folder_by_name(account, "INBOX").unwrap().unwrap().id
    }

    #[test]
    fn gists_are_found_in_any_order_and_by_their_kind() {
        let (store, account) = testing::store();
        let mut messages: Vec<_> = (0_u8..9).map(|n| file(&store, account, &[n])).collect();
        let some = [1, 2, 5, 8].map(|n| gist(account, &messages[n], Gist::Keys, &[1, u8::try_from(n).unwrap()]));
        keep(&store, some.to_vec());
        keep(&store, vec![gist(account, &messages[3], Gist::Structure, b"parts")]);
        for _ in 0..2 {
            let gists = store.gists(account, Gist::Keys, &messages).unwrap();
            for (index, message) in messages.iter().enumerate() {
                let kept = some.iter().find(|gist| gist.record == message.record).map(|gist| &*gist.bytes);
                assert_eq!(gists.find(index), kept);
            }
            messages.rotate_left(4);
        }
        assert_eq!(store.gists(account, Gist::Structure, &messages[..0]).unwrap(), Gists::default());
        assert_eq!(store.gists(account, Gist::Listing, &messages).unwrap().find(3), None);
        check(&store);
    }

    #[test]
    fn gists_go_with_the_last_copy_and_with_the_account() {
        let (store, account) = testing::store();
        let messages = [file(&store, account, b"a"), file(&store, account, b"b")];
        let archive = store.folder_by_name(account, "Archive").unwrap().unwrap().id;
        let range = |uid| vec![(Uid(uid), Uid(uid))];
        keep(&store, Gist::ALL.iter().flat_map(|kind| messages.iter().map(|m| gist(account, m, *kind, b"x"))).collect());
        assert_eq!(rows(&store), 6);
        store.copy(account, inbox(&store, account), range(1), archive).unwrap();
        store.remove(account, inbox(&store, account), range(1)).unwrap();
        assert_eq!(rows(&store), 6);
        store.remove(account, archive, range(1)).unwrap();
        assert_eq!(rows(&store), 3);
        // Somebody has read a message that is gone meanwhile: nothing is left behind.
        keep(&store, vec![gist(account, &messages[0], Gist::Keys, b"late")]);
        assert_eq!(rows(&store), 3);
        check(&store);
        store.remove_account(account).unwrap();
        assert_eq!(rows(&store), 0);
        check(&store);
    }

    #[test]
    fn a_gist_that_is_too_large_is_not_kept() {
        let (store, account) = testing::store();
        let message = file(&store, account, b"a");
        keep(&store, vec![gist(account, &message, Gist::Keys, &[b'x'; GIST_BYTES_MAX + 1])]);
        assert_eq!(rows(&store), 0);
        keep(&store, vec![gist(account, &message, Gist::Keys, &[b'x'; GIST_BYTES_MAX])]);
        assert_eq!(rows(&store), 1);
        check(&store);
    }

    #[test]
    fn damaged_rows_are_told_by_verify_served_by_nobody_and_forgotten_by_repair() {
        let disk = Disk::Simulated(SimulatedDisk::default());
        let store = Store::open_on(disk.clone(), options()).unwrap();
        let account = store.add_account("alice", address(1), b"a long password").unwrap().id;
        let message = file(&store, account, b"Subject: a\r\n\r\n");
        let right = (account.0, Gist::Keys as u8, message.record);
        let strange = (account.0, 77, message.record);
        let lonely = (account.0, Gist::Keys as u8, 1_000);
        for (key, row) in [
            (right, vec![1, 2, 3]),
            (right, encode(lonely, b"x")),
            (strange, encode(strange, b"x")),
            (lonely, encode(lonely, b"x")),
        ] {
            store.write(move |transaction| Ok(transaction.table(GISTS)?.insert(key, row.as_slice()).map(drop)?)).unwrap();
            let report = store.verify(&mut |_| {}).unwrap();
            assert!(report.problems.iter().any(|problem| problem.place == Place::View), "{report:#?}");
            assert_eq!(store.gists(account, Gist::Keys, std::slice::from_ref(&message)).unwrap().find(0), None);
            if key != right {
                store.write(move |transaction| Ok(transaction.table(GISTS)?.remove(key).map(drop)?)).unwrap();
            }
        }
        store.close();
        assert!(repair_on(&disk, options(), &mut |_| {}).unwrap().report.is_sound());
        let store = Store::open_on(disk, options()).unwrap();
        assert_eq!(rows(&store), 0);
        check(&store);
    }
}
