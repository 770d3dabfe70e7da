//! The journal: what was committed and is not in the database file yet.
//!
//! The database writes whole pages, up its trees, and syncs twice: much for one mail. So a group of jobs is committed by appending the rows that it
//! changed to the file `journal` with one sync, and the database keeps its pages in memory, where readers see them. Every few megabytes, and when it is
//! quiet, one commit of the database takes in all of it (a *turn*), and the journal begins anew at its front, over blocks that it has already.
//!
//! A turn writes a fresh key into the database: a record counts only under the key that the database has, so that what is left of an older turn means
//! nothing, and nobody who only writes mail can make bytes that look like a record. A record holds rows as they are put and removed, so that replaying
//! is the same however much of it the database has already. Records begin at multiples of [`PAGE_BYTES`], and each is synced before the next is written:
//! one that does not stand while a later one does was not torn by a power cut but damaged.
//!
//! Where the journal cannot be used (nearly full disk, too much in one group), the database commits by itself, and that is a turn.

use std::cell::RefCell;
use std::io;
use std::time::{Duration, Instant};

use redb::{AccessGuard, Key, ReadableTable, StorageError, Table, TableDefinition, TableHandle as _, Value, WriteTransaction};

use crate::StoreError;
use crate::disk::{Disk, File, is_full};
use crate::schema::{self, meta};

/// Its name in the home.
pub(crate) const JOURNAL: &str = "journal";
/// Bytes of the journal at most: what a start after a crash replays, and what the database's buffer holds meanwhile.
const JOURNAL_BYTES_MAX: u64 = 4 << 20;
/// Of a small disk the journal takes this share at most.
const DISK_SHARE: u64 = 64;
/// Records begin at multiples of this.
const PAGE_BYTES: u64 = 4096;
/// What is written stays in the journal alone for no longer than this while more is written.
const AGE_MAX: Duration = Duration::from_secs(30);
/// When nothing was written for so long, the database takes in what there is.
const QUIET: Duration = Duration::from_secs(5);

/// At the beginning of a record.
const MAGIC: [u8; 4] = *b"kthj";
/// Magic, bytes of rows (4), number of the record within its turn (8), checksum (32).
const HEADER_BYTES: usize = 48;

/// The key of a turn, as the database keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TurnKey([u64; 2]);

impl TurnKey {
    fn fresh() -> Result<Self, StoreError> {
        let broken = |error: getrandom::Error| StoreError::Broken(error.to_string());
        Ok(Self([getrandom::u64().map_err(broken)?, getrandom::u64().map_err(broken)?]))
    }

    /// What the database has; `None` in a store that never had a journal.
    ///
    /// # Errors
    /// [`StoreError::Damaged`]: with a wrong key everything in the journal would seem to be old.
    pub(crate) fn read(table: &impl ReadableTable<&'static str, u64>) -> Result<Option<Self>, StoreError> {
        let part = |name| Ok::<_, StoreError>(table.get(name)?.map(|row| row.value()));
        match (part(meta::JOURNAL)?, part(meta::JOURNAL_MORE)?, part(meta::JOURNAL_CHECK)?) {
            (None, None, None) => Ok(None),
            (Some(first), Some(second), Some(check)) if Self([first, second]).check() == check => Ok(Some(Self([first, second]))),
            _ => Err(StoreError::damaged("the key of the journal")),
        }
    }

    /// What a flipped bit in it is noticed by.
    fn check(&self) -> u64 {
        let hash = blake3::hash(self.0.map(u64::to_le_bytes).as_flattened());
        hash.as_bytes().first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
    }

    /// Puts a fresh key into the database: what the journal holds counts no more once this is committed.
    pub(crate) fn renew(database: &WriteTransaction) -> Result<Self, StoreError> {
        let key = Self::fresh()?;
        let mut table = database.open_table(schema::META)?;
        table.insert(meta::JOURNAL, key.0[0])?;
        table.insert(meta::JOURNAL_MORE, key.0[1])?;
        table.insert(meta::JOURNAL_CHECK, key.check())?;
        Ok(key)
    }

    fn checksum(&self, number: u64, rows: &[u8]) -> [u8; 32] {
        let mut key = [0; 32];
        for (place, part) in key.chunks_exact_mut(8).zip(self.0) {
            place.copy_from_slice(&part.to_le_bytes());
        }
        let mut hasher = blake3::Hasher::new_keyed(&key);
        hasher.update(&number.to_le_bytes()).update(rows);
        *hasher.finalize().as_bytes()
    }
}

/// Commits the database with all that it holds in memory: the journal begins anew.
///
/// # Errors
/// What the database says; the journal still counts, unless the database has the new key all the same ([`Journal::follow`]).
pub(crate) fn turn(mut database: WriteTransaction, journal: &mut Journal) -> Result<(), StoreError> {
    let key = TurnKey::renew(&database)?;
    database.set_quick_repair(true);
    database.commit()?;
    journal.turned(key);
    Ok(())
}

/// Rows that a transaction puts and removes, in order, as bytes.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// With room for the header in front.
    bytes: Vec<u8>,
    /// More than a journal takes: not recorded.
    too_many: bool,
}

impl Changes {
    /// Nothing was changed.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && !self.too_many
    }

    fn note(&mut self, table: &str, key: &[u8], value: Option<&[u8]>) {
        let bytes = self.bytes.len() + table.len() + key.len() + value.map_or(0, <[u8]>::len);
        if self.too_many || bytes as u64 > JOURNAL_BYTES_MAX {
            (self.too_many, self.bytes) = (true, Vec::new());
            return;
        }
        if self.bytes.is_empty() {
            self.bytes.resize(HEADER_BYTES, 0);
        }
        // Names of tables are short, and lengths below 4 MiB.
        self.bytes.push(u8::try_from(table.len()).unwrap_or(u8::MAX));
        self.bytes.extend_from_slice(table.as_bytes());
        self.part(key);
        self.bytes.push(u8::from(value.is_some()));
        if let Some(value) = value {
            self.part(value);
        }
    }

    fn part(&mut self, part: &[u8]) {
        self.bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.bytes.extend_from_slice(part);
    }
}

/// A table of a writing transaction, for reading alone.
pub(crate) struct View<'a, K: Key + 'static, V: Value + 'static>(pub(crate) Table<'a, K, V>);

impl<'a, K: Key + 'static, V: Value + 'static> std::ops::Deref for View<'a, K, V> {
    type Target = Table<'a, K, V>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// A table open for writing, whose changes are noted. Reading goes through to the table.
pub(crate) struct Rows<'a, K: Key + 'static, V: Value + 'static> {
    pub(crate) table: Table<'a, K, V>,
    pub(crate) definition: TableDefinition<'static, K, V>,
    pub(crate) changes: &'a RefCell<Changes>,
}

impl<'a, K: Key + 'static, V: Value + 'static> std::ops::Deref for Rows<'a, K, V> {
    type Target = Table<'a, K, V>;

    fn deref(&self) -> &Self::Target {
        &self.table
    }
}

impl<K: Key + 'static, V: Value + 'static> Rows<'_, K, V> {
    /// As of the table; gives what was there.
    pub(crate) fn insert<'k, 'v>(
        &mut self,
        key: impl std::borrow::Borrow<K::SelfType<'k>>,
        value: impl std::borrow::Borrow<V::SelfType<'v>>,
    ) -> Result<Option<AccessGuard<'_, V>>, StorageError> {
        let (key, value) = (key.borrow(), value.borrow());
        self.changes.borrow_mut().note(self.definition.name(), K::as_bytes(key).as_ref(), Some(V::as_bytes(value).as_ref()));
        self.table.insert(key, value)
    }

    /// As of the table; gives what was there.
    pub(crate) fn remove<'k>(
        &mut self,
        key: impl std::borrow::Borrow<K::SelfType<'k>>,
    ) -> Result<Option<AccessGuard<'_, V>>, StorageError> {
        let key = key.borrow();
        self.changes.borrow_mut().note(self.definition.name(), K::as_bytes(key).as_ref(), None);
        self.table.remove(key)
    }

    /// As of the table: removes what `keep` is false for.
    pub(crate) fn retain<F: for<'f> FnMut(K::SelfType<'f>, V::SelfType<'f>) -> bool>(
        &mut self,
        mut keep: F,
    ) -> Result<(), StorageError> {
        let (definition, changes) = (self.definition, self.changes);
        self.table.retain(|key, value| {
            let bytes = K::as_bytes(&key).as_ref().to_vec();
            let kept = keep(key, value);
            if !kept {
                changes.borrow_mut().note(definition.name(), &bytes, None);
            }
            kept
        })
    }

    /// As of the table: removes what is in the range and `keep` is false for.
    pub(crate) fn retain_in<'k, KR, F: for<'f> FnMut(K::SelfType<'f>, V::SelfType<'f>) -> bool>(
        &mut self,
        range: impl std::ops::RangeBounds<KR> + 'k,
        mut keep: F,
    ) -> Result<(), StorageError>
    where
        KR: std::borrow::Borrow<K::SelfType<'k>> + 'k,
    {
        let (definition, changes) = (self.definition, self.changes);
        self.table.retain_in(range, |key, value| {
            let bytes = K::as_bytes(&key).as_ref().to_vec();
            let kept = keep(key, value);
            if !kept {
                changes.borrow_mut().note(definition.name(), &bytes, None);
            }
            kept
        })
    }
}

/// What became of an attempt to append.
pub(crate) enum Appended {
    /// It is durable.
    Durable,
    /// It does not fit, or may not be: the database has to commit.
    No,
}

/// The writer's end of the file.
#[derive(Debug)]
pub(crate) struct Journal {
    /// `None`: the database commits by itself.
    file: Option<File>,
    key: TurnKey,
    number: u64,
    position: u64,
    limit: u64,
    /// Clocks count; not so on a simulated disk, where the same is to happen every time.
    timed: bool,
    /// When the first record of this turn was written.
    since: Option<Instant>,
    /// Where the last record begins.
    last: u64,
}

impl Journal {
    /// The journal of a home whose database has this key, behind the records that it holds: those are to be replayed.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where a record is missing; what the disk says.
    pub(crate) fn open(disk: &Disk, key: TurnKey) -> Result<Self, StoreError> {
        let io = |error: io::Error| StoreError::of_io(&error);
        let limit = disk.space().map_or(0, |space| JOURNAL_BYTES_MAX.min(space.total / DISK_SHARE)) / PAGE_BYTES * PAGE_BYTES;
        let mut journal = Self { file: None, key, number: 0, position: 0, limit, timed: disk.is_real(), since: None, last: 0 };
        journal.file = if disk.exists(JOURNAL).map_err(io)? {
            let file = disk.open(JOURNAL).map_err(io)?;
            let found = Found::read(&file, key)?;
            if found.gap {
                return Err(StoreError::damaged("a record of the journal"));
            }
            (journal.number, journal.position) = (found.records.len() as u64, found.end);
            journal.since = journal.holds().then(Instant::now);
            Some(file)
        } else {
            // A disk that is full has no journal until the next start.
            match disk.create(JOURNAL).and_then(|file| disk.sync_dir("").map(|()| file)) {
                Ok(file) => Some(file),
                Err(error) if is_full(&error) => None,
                Err(error) => return Err(io(error)),
            }
        };
        Ok(journal)
    }

    /// None, for a file that is not the home's database yet.
    pub(crate) fn none() -> Result<Self, StoreError> {
        Ok(Self { file: None, key: TurnKey::fresh()?, number: 0, position: 0, limit: 0, timed: false, since: None, last: 0 })
    }

    /// Whether there is something that the database file has not got.
    pub(crate) fn holds(&self) -> bool {
        self.number > 0
    }

    /// How long to wait for more before the database takes in what is there; `None` where there is nothing.
    pub(crate) fn patience(&self) -> Option<Duration> {
        (self.timed && self.holds()).then_some(QUIET)
    }

    /// Whether the database should take it in now although more is being written.
    fn is_old(&self) -> bool {
        self.timed && self.since.is_some_and(|since| since.elapsed() >= AGE_MAX)
    }

    /// Appends what a transaction changed and syncs.
    ///
    /// # Errors
    /// A write or a sync failed: nothing can be promised any more.
    pub(crate) fn append(&mut self, changes: Changes) -> io::Result<Appended> {
        let Changes { mut bytes, too_many } = changes;
        let Some(file) = &self.file else { return Ok(Appended::No) };
        if too_many || self.is_old() || self.position + bytes.len() as u64 > self.limit {
            return Ok(Appended::No);
        }
        let Some((header, rows)) = bytes.split_at_mut_checked(HEADER_BYTES) else { return Ok(Appended::No) };
        let check = self.key.checksum(self.number, rows);
        let length = u32::try_from(rows.len()).unwrap_or(u32::MAX).to_le_bytes();
        let parts = MAGIC.into_iter().chain(length).chain(self.number.to_le_bytes()).chain(check);
        header.iter_mut().zip(parts).for_each(|(place, byte)| *place = byte);
        match file.write_all_at(self.position, &bytes) {
            Ok(()) => file.sync()?,
            // Whatever of it was written: the database's commit makes it count for nothing.
            Err(error) if is_full(&error) => return Ok(Appended::No),
            Err(error) => return Err(error),
        }
        self.last = self.position;
        self.number += 1;
        self.position = (self.position + bytes.len() as u64).next_multiple_of(PAGE_BYTES);
        self.since.get_or_insert_with(Instant::now);
        Ok(Appended::Durable)
    }

    /// Takes the last record back: the database could not follow.
    ///
    /// # Errors
    /// It could not be taken back: nothing can be promised any more.
    pub(crate) fn take_back(&mut self) -> io::Result<()> {
        if let Some(file) = &self.file {
            file.write_all_at(self.last, &[0; HEADER_BYTES])?;
            file.sync()?;
            self.number = self.number.saturating_sub(1);
            self.position = self.last;
        }
        Ok(())
    }

    /// Believes the database as to its key: a turn that failed at the very end has happened all the same.
    pub(crate) fn follow(&mut self, key: Option<TurnKey>) {
        if let Some(key) = key.filter(|key| *key != self.key) {
            self.turned(key);
        }
    }

    /// The database has everything, under this key.
    pub(crate) fn turned(&mut self, key: TurnKey) {
        *self = Self {
            file: self.file.take(),
            key,
            number: 0,
            position: 0,
            limit: self.limit,
            timed: self.timed,
            since: None,
            last: 0,
        };
    }

    /// Puts what it holds into a transaction once more.
    ///
    /// # Errors
    /// [`StoreError::Damaged`]; what the disk or the database says.
    pub(crate) fn replay(&self, database: &WriteTransaction) -> Result<(), StoreError> {
        let Some(file) = &self.file else { return Ok(()) };
        let found = Found::read(file, self.key)?;
        if found.gap || (found.records.len() as u64) < self.number {
            return Err(StoreError::damaged("a record of the journal"));
        }
        // A record that was never answered for is not part of it.
        found.records.iter().take(usize::try_from(self.number).unwrap_or(usize::MAX)).try_for_each(|rows| put(database, rows))
    }
}

/// What a journal says under a key.
pub(crate) struct Found {
    /// Rows of each record, in order.
    records: Vec<Vec<u8>>,
    /// A record is missing before one that is there.
    pub(crate) gap: bool,
    /// Where the next record begins.
    end: u64,
}

impl Found {
    /// Reads the journal of a home; nothing where there is none.
    pub(crate) fn of(disk: &Disk, key: TurnKey) -> Result<Self, StoreError> {
        match disk.open(JOURNAL) {
            Ok(file) => Self::read(&file, key),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self { records: Vec::new(), gap: false, end: 0 }),
            Err(error) => Err(StoreError::of_io(&error)),
        }
    }

    fn read(file: &File, key: TurnKey) -> Result<Self, StoreError> {
        let io = |error: io::Error| StoreError::of_io(&error);
        let length = file.len().map_err(io)?.min(JOURNAL_BYTES_MAX + PAGE_BYTES);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        file.read_exact_at(0, &mut bytes).map_err(io)?;
        let mut found = Self { records: Vec::new(), gap: false, end: 0 };
        let (mut position, mut next) = (0, 0);
        while position < bytes.len() {
            let from = bytes.get(position..).unwrap_or_default();
            let Some((number, rows)) = record(from, key).filter(|(number, _)| *number >= next) else {
                // Looked for on every page: after a power cut there is none behind the one that was torn.
                position += PAGE_BYTES as usize;
                continue;
            };
            found.gap |= number > next;
            next = number + 1;
            position += (HEADER_BYTES + rows.len()).next_multiple_of(PAGE_BYTES as usize);
            found.end = position as u64;
            found.records.push(rows.to_vec());
        }
        Ok(found)
    }

    /// Puts the rows into a transaction.
    ///
    /// # Errors
    /// [`StoreError::Damaged`]; what the database says.
    pub(crate) fn put(&self, database: &WriteTransaction) -> Result<(), StoreError> {
        self.records.iter().try_for_each(|rows| put(database, rows))
    }
}

/// The record at the front of these bytes: its number and its rows.
fn record(bytes: &[u8], key: TurnKey) -> Option<(u64, &[u8])> {
    let (magic, rest) = bytes.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (number, rest) = rest.split_first_chunk::<8>()?;
    let (check, rest) = rest.split_first_chunk::<32>()?;
    let rows = rest.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    let number = u64::from_le_bytes(*number);
    (*magic == MAGIC && *check == key.checksum(number, rows)).then_some((number, rows))
}

fn put(database: &WriteTransaction, mut rows: &[u8]) -> Result<(), StoreError> {
    let damaged = || StoreError::damaged("a record of the journal");
    while !rows.is_empty() {
        let (table, key, value);
        (table, key, value, rows) = row(rows).ok_or_else(damaged)?;
        if !schema::put(database, table, key, value)? {
            return Err(damaged());
        }
    }
    Ok(())
}

/// Table, key, value where the row is put, and what follows.
type Row<'a> = (&'a [u8], &'a [u8], Option<&'a [u8]>, &'a [u8]);

fn row(bytes: &[u8]) -> Option<Row<'_>> {
    let (length, bytes) = bytes.split_first()?;
    let (table, bytes) = bytes.split_at_checked(usize::from(*length))?;
    let (key, bytes) = part(bytes)?;
    let (kind, bytes) = bytes.split_first()?;
    match kind {
        0 => Some((table, key, None, bytes)),
        1 => part(bytes).map(|(value, bytes)| (table, key, Some(value), bytes)),
        _ => None,
    }
}

fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, bytes) = bytes.split_first_chunk::<4>()?;
    bytes.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_read_back(table in "[a-z]{1,20}", key: Vec<u8>, value: Option<Vec<u8>>, more: Vec<u8>) {
            let mut changes = Changes::default();
            changes.note(&table, &key, value.as_deref());
            let mut bytes = changes.bytes[HEADER_BYTES..].to_vec();
            bytes.extend_from_slice(&more);
            prop_assert_eq!(row(&bytes), Some((table.as_bytes(), &key[..], value.as_deref(), &more[..])));
        }

        #[test]
        fn decoders_take_any_bytes(bytes: Vec<u8>) {
            let _ = row(&bytes);
            prop_assert_eq!(record(&bytes, TurnKey([1, 2])), None);
        }

        #[test]
        fn record_counts_under_its_own_key_alone(rows: Vec<u8>, number: u64, key: [u64; 2], other: [u64; 2]) {
            let check = TurnKey(key).checksum(number, &rows);
            let length = u32::try_from(rows.len()).unwrap().to_le_bytes();
            let bytes: Vec<u8> = [&MAGIC[..], &length, &number.to_le_bytes(), &check, &rows].concat();
            prop_assert_eq!(record(&bytes, TurnKey(key)), Some((number, &rows[..])));
            prop_assert!(key == other || record(&bytes, TurnKey(other)).is_none());
        }
    }

    #[test]
    fn more_than_a_journal_takes_is_not_recorded() {
        let mut changes = Changes::default();
        for _ in 0..70 {
            changes.note("bodies", &[0; 8], Some(&[0; 65_000]));
        }
        assert!(changes.too_many && changes.bytes.is_empty() && !changes.is_empty());
    }
}
