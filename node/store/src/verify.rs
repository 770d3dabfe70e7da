//! `kith verify`: every view and every invariant computed anew, every message hashed.
//!
//! Reads one commit and changes nothing; the store may be in use. An account's views are held in memory while they are compared,
//! some 200 bytes a message.

mod hosting;
mod mailbox;
mod people;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use redb::{ReadableTable, ReadableTableMetadata};

use crate::blob::{BlobHash, BlobReader};
use crate::disk::Disk;
use crate::header::Excerpt;
use crate::routes::{ROUTE, Route};
use crate::schema::{BLOBS, BODIES, LETTERS, LETTERS_BY_AGE, LOG, LOG_END, META, ROUTES, meta};
use crate::store::Reader;
use crate::{OpenError, Options, Store, StoreError, row};

/// Problems that a report lists; more are only counted.
pub const PROBLEMS_MAX: usize = 1000;

/// What does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// A sentence.
    pub text: String,
}

/// Which part of the store a problem concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// An account's log.
    Log,
    /// A view of a log: `kith repair` rebuilds it.
    View,
    /// The bytes of messages.
    Blob,
    /// The queue.
    Queue,
    /// What is kept about accounts, contacts, letters.
    People,
    /// What is kept for others.
    Hosting,
    /// Pages of the database that cannot be read.
    Database,
}

/// What was checked, and what does not hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Mailboxes.
    pub accounts: u64,
    /// Log entries.
    pub entries: u64,
    /// Folders.
    pub folders: u64,
    /// Messages in folders.
    pub messages: u64,
    /// Entries of the queue.
    pub queued: u64,
    /// Letters kept for others.
    pub held: u64,
    /// Distinct messages whose bytes were hashed.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blob files that nothing mentions: harmless, a sweep removes them.
    pub unmentioned: u64,
    /// What does not hold, at most [`PROBLEMS_MAX`].
    pub problems: Vec<Problem>,
    /// Problems beyond those.
    pub problems_more: u64,
}

/// How far a check has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Log entries and messages done.
    pub done: u64,
    /// Of so many.
    pub total: u64,
}

impl Report {
    /// Whether everything holds.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    pub(crate) fn problem(&mut self, place: Place, text: impl Into<String>) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { place, text: text.into() });
        } else {
            self.problems_more += 1;
        }
    }

    /// A check that could not go on is a problem, unless the disk itself fails.
    fn absorb(&mut self, outcome: Result<(), StoreError>) -> Result<(), StoreError> {
        match outcome {
            Err(StoreError::Damaged(what)) => {
                self.problem(Place::Database, what);
                Ok(())
            }
            other => other,
        }
    }
}

/// Opens a home's store, checks it, and closes it.
///
/// # Errors
/// [`OpenError`] where it cannot be opened; that it is damaged is among them.
pub fn verify(home: &Path, options: Options, progress: &mut dyn FnMut(Progress)) -> Result<Report, OpenError> {
    let store = Store::open_on(Disk::real(home), options)?;
    store.verify(progress).map_err(|error| OpenError::Io { home: home.to_path_buf(), error: error.to_string() })
}

/// How often each message is mentioned.
pub(crate) type Mentions = BTreeMap<[u8; 32], u64>;

struct Check<'a> {
    store: &'a Store,
    report: Report,
    mentions: Mentions,
    /// What excerpts say, as a hash, by message.
    excerpts: BTreeMap<[u8; 32], [u8; 32]>,
    /// Blob files that are damaged or missing: looked at again afterwards, since they may have been removed meanwhile.
    doubtful: Vec<(BlobHash, String)>,
    done: u64,
    total: u64,
    progress: &'a mut dyn FnMut(Progress),
}

impl Store {
    /// Computes every view anew from the log, compares, and hashes every message.
    ///
    /// # Errors
    /// Only where the disk or the handle fails; damage is in the report.
    pub fn verify(&self, progress: &mut dyn FnMut(Progress)) -> Result<Report, StoreError> {
        let mut check = Check {
            store: self,
            report: Report::default(),
            mentions: Mentions::new(),
            excerpts: BTreeMap::new(),
            doubtful: Vec::new(),
            done: 0,
            total: 0,
            progress,
        };
        let outcome = self.read(|reader| check.run(reader));
        check.report.absorb(outcome)?;
        for (hash, what) in std::mem::take(&mut check.doubtful) {
            if self.core().is_unmentioned(&hash) != Ok(true) {
                check.report.problem(Place::Blob, format!("message {}: {what}", hex::encode(hash.0)));
            }
        }
        Ok(check.report)
    }
}

/// The accounts that have a mailbox.
pub(crate) fn mailboxes(reader: &Reader) -> Result<BTreeSet<u32>, StoreError> {
    let mut accounts = BTreeSet::new();
    for row in reader.table(LOG_END)?.iter()? {
        accounts.insert(row?.0.value());
    }
    // A row of the log without its end is damage, and none of its account's messages may be overlooked.
    let log = reader.table(LOG)?;
    let mut from = 0;
    while let Some(row) = log.range((from, 0)..)?.next() {
        let account = row?.0.value().0;
        accounts.insert(account);
        let Some(next) = account.checked_add(1) else { break };
        from = next;
    }
    Ok(accounts)
}

impl Check<'_> {
    fn run(&mut self, reader: &Reader) -> Result<(), StoreError> {
        self.total = reader.table(LOG)?.len()? + reader.table(BLOBS)?.len()?;
        for account in mailboxes(reader)? {
            let outcome = self.mailbox(reader, account);
            self.report.absorb(outcome)?;
            self.report.accounts += 1;
        }
        let people = [
            Self::accounts,
            Self::contacts,
            Self::secrets,
            Self::letters,
            Self::relays,
            Self::strangers,
            Self::seen,
            Self::routes,
        ];
        // What mentions messages comes before the messages.
        let messages = [Self::queue, Self::legacy, Self::hosting, Self::blobs, Self::bodies, Self::files];
        for step in people.into_iter().chain(messages) {
            let outcome = step(self, reader);
            self.report.absorb(outcome)?;
        }
        Ok(())
    }

    fn step(&mut self, count: u64) {
        self.done += count;
        (self.progress)(Progress { done: self.done, total: self.total });
    }

    fn letters(&mut self, reader: &Reader) -> Result<(), StoreError> {
        let by_age = reader.table(LETTERS_BY_AGE)?;
        let letters = reader.table(LETTERS)?;
        for row in letters.iter()? {
            let (key, age) = row?;
            let (account, from, mid) = key.value();
            if by_age.get((age.value(), account, from, mid))?.is_none() {
                self.report.problem(Place::People, "a letter that came is not listed by age");
            }
        }
        if letters.len()? != by_age.len()? {
            self.report.problem(Place::People, "more letters are listed by age than came");
        }
        Ok(())
    }

    fn blobs(&mut self, reader: &Reader) -> Result<(), StoreError> {
        let bodies = reader.table(BODIES)?;
        for row in reader.table(BLOBS)?.iter()? {
            let (hash, row) = row?;
            let (hash, (mentions, size, body)) = (BlobHash(hash.value()), row.value());
            self.step(1);
            self.report.blobs += 1;
            self.report.bytes += size;
            let name = hex::encode(hash.0);
            let expected = self.mentions.remove(&hash.0).unwrap_or(0);
            if mentions != expected {
                self.report.problem(Place::View, format!("message {name} counts {mentions} mentions where there are {expected}"));
            }
            let whole = if body == 0 {
                BlobReader::of_file(self.store.core(), &hash, Some(size), crate::blob::Trust::Nothing)
            } else {
                match bodies.get(body)? {
                    Some(bytes) => BlobReader::of_checked(&hash, size, bytes.value().into()),
                    None => Err(StoreError::damaged("a message's body is missing")),
                }
            };
            match whole {
                Ok(reader) => self.excerpt(&hash, reader)?,
                Err(StoreError::Damaged(what)) => self.doubtful.push((hash, what)),
                Err(error) => return Err(error),
            }
        }
        for hash in std::mem::take(&mut self.mentions).into_keys() {
            self.report.problem(Place::Blob, format!("message {} is mentioned and not there", hex::encode(hash)));
        }
        Ok(())
    }

    fn routes(&mut self, reader: &Reader) -> Result<(), StoreError> {
        for found in reader.table(ROUTES)?.iter()? {
            let (pattern, value) = found?;
            if row::decode::<Route>(value.value(), ROUTE).is_err() {
                self.report.problem(Place::People, format!("the gateway's row for {} cannot be read", pattern.value()));
            }
        }
        Ok(())
    }

    /// Compares what is kept of a message's header with the message.
    fn excerpt(&mut self, hash: &BlobHash, mut message: BlobReader) -> Result<(), StoreError> {
        let Some(kept) = self.excerpts.remove(&hash.0) else { return Ok(()) };
        let excerpt = Excerpt::read(&mut message).map_err(|error| StoreError::of_io(&error))?;
        if blake3::hash(&excerpt.encode()).as_bytes() != &kept {
            let text = format!("the excerpt of message {} does not say what its header says", hex::encode(hash.0));
            self.report.problem(Place::View, text);
        }
        Ok(())
    }

    fn bodies(&mut self, reader: &Reader) -> Result<(), StoreError> {
        let mut used = BTreeSet::new();
        for row in reader.table(BLOBS)?.iter()? {
            let (_, _, body) = row?.1.value();
            if body != 0 && !used.insert(body) {
                self.report.problem(Place::Blob, "two messages share a body");
            }
        }
        let last = reader.table(META)?.get(meta::BODY)?.map_or(0, |row| row.value());
        for row in reader.table(BODIES)?.iter()? {
            let number = row?.0.value();
            if !used.remove(&number) {
                self.report.problem(Place::Blob, "a body belongs to no message");
            }
            if number > last {
                self.report.problem(Place::View, "a body has a number that was not given yet");
            }
        }
        Ok(())
    }

    fn files(&mut self, reader: &Reader) -> Result<(), StoreError> {
        let blobs = reader.table(BLOBS)?;
        for hash in self.store.core().blob_files()? {
            if !matches!(blobs.get(hash.0)?.map(|row| row.value()), Some((_, _, 0))) {
                self.report.unmentioned += 1;
            }
        }
        Ok(())
    }
}
