//! Messages' bytes: immutable, named by their BLAKE3 hash, stored once.
//!
//! Small messages live in redb, committed together with what mentions them; large ones in files `blobs/xx/<hash>`, written, synced
//! and renamed into place before the transaction that mentions them. A crash in between leaves a file that nothing mentions:
//! [`crate::Store::sweep`] removes it. Bytes are hashed again before they are handed out, so that damage is never served.

mod reader;
mod stage;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::ReadableTable;

pub(crate) use reader::Trust;
pub use reader::{BlobReader, Unchecked};
pub use stage::{Stage, Staged};

use crate::schema::{BLOBS, BLOBS_DIR, BODIES, meta};
use crate::store::Core;
use crate::{Store, StoreError, Transaction};

/// Messages of at most this many bytes live in redb: with their key just under 64 KiB, since redb gives a large value a run of pages
/// that is a power of two.
pub const INLINE_BYTES_MAX: u64 = 65_000;
/// How many large messages are remembered as read and found whole since the start.
const WHOLE_MAX: usize = 256;

/// `BLAKE3(bytes)`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BlobHash(pub [u8; 32]);

impl BlobHash {
    /// Where the file of a large message lies.
    pub(crate) fn path(&self) -> String {
        format!("{}/{}", self.folder(), hex::encode(self.0))
    }

    /// The folder of that file.
    pub(crate) fn folder(&self) -> String {
        format!("{BLOBS_DIR}/{}", hex::encode(self.0.get(..1).unwrap_or_default()))
    }
}

/// What is staged and not dropped yet, and what was found whole. A staged file is never removed: the lock orders removal
/// against staging.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    staged: Mutex<BTreeMap<BlobHash, Waiting>>,
    whole: Mutex<VecDeque<BlobHash>>,
}

#[derive(Debug)]
struct Waiting {
    holders: usize,
    /// The bytes, where they are small.
    bytes: Option<Arc<[u8]>>,
}

impl Registry {
    fn staged(&self) -> MutexGuard<'_, BTreeMap<BlobHash, Waiting>> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn whole(&self) -> MutexGuard<'_, VecDeque<BlobHash>> {
        self.whole.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self, hash: BlobHash, bytes: Option<&Arc<[u8]>>) {
        let mut staged = self.staged();
        let waiting = staged.entry(hash).or_insert_with(|| Waiting { holders: 0, bytes: bytes.cloned() });
        waiting.holders += 1;
    }

    fn release(&self, hash: &BlobHash) {
        let mut staged = self.staged();
        if let Some(waiting) = staged.get_mut(hash) {
            waiting.holders -= 1;
            if waiting.holders == 0 {
                staged.remove(hash);
            }
        }
    }

    fn bytes(&self, hash: &BlobHash) -> Option<Arc<[u8]>> {
        self.staged().get(hash).and_then(|waiting| waiting.bytes.clone())
    }

    fn is_whole(&self, hash: &BlobHash) -> bool {
        self.whole().contains(hash)
    }

    fn note_whole(&self, hash: BlobHash) {
        let mut whole = self.whole();
        if whole.len() >= WHOLE_MAX {
            whole.pop_front();
        }
        whole.push_back(hash);
    }
}

impl Core {
    /// Whether the last commit mentions it nowhere.
    pub(crate) fn is_unmentioned(&self, hash: &BlobHash) -> Result<bool, StoreError> {
        self.read(|reader| Ok(reader.table(BLOBS)?.get(hash.0)?.is_none()))
    }

    /// The blob files that there are.
    pub(crate) fn blob_files(&self) -> Result<Vec<BlobHash>, StoreError> {
        let list = |path: &str| self.disk.list(path).map_err(|error| StoreError::of_io(&error));
        let mut files = Vec::new();
        for folder in list(BLOBS_DIR)? {
            files.extend(list(&format!("{BLOBS_DIR}/{folder}"))?.iter().filter_map(|name| hash_of(name)));
        }
        Ok(files)
    }

    /// Removes a blob file unless something mentions or stages it. Failing to is harmless: a sweep tries again.
    pub(crate) fn remove_unmentioned(&self, hash: &BlobHash) -> bool {
        // The database is held before the registry is locked, everywhere.
        let Ok(held) = self.hold() else { return false };
        // Locked throughout, so that nobody stages the same bytes between the look and the removal. Whoever mentions a staged
        // file holds it until its commit: not staged here and not mentioned in a view taken afterwards means never.
        let staged = self.staged.staged();
        if staged.contains_key(hash) {
            return false;
        }
        if held.read(|reader| Ok(reader.table(BLOBS)?.get(hash.0)?.is_some())) != Ok(false) {
            return false;
        }
        self.staged.whole().retain(|whole| whole != hash);
        match self.disk.remove(&hash.path()) {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, "a file that nothing mentions could not be removed");
                false
            }
        }
    }
}

impl Store {
    /// Starts writing a message.
    ///
    /// # Errors
    /// [`StoreError::Broken`] when the handle is dead.
    pub fn stage(&self) -> Result<Stage, StoreError> {
        drop(self.core().hold()?);
        Ok(Stage::new(self.core_shared()))
    }

    /// Takes a regular file over and stages its bytes: afterwards it is gone from where it was. A large one on the home's file system is
    /// moved and not copied, so nobody may write to it any more. Hashed on the way, in bounded memory.
    ///
    /// # Errors
    /// `NotFound`; as [`Stage::finish`]: the file may be gone then too.
    pub fn stage_file(&self, path: &Path) -> Result<Staged, StoreError> {
        self.stage()?.take(path)
    }

    /// Opens a stored (or staged) message, after checking it against its name. `NotFound` where there is none.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Damaged`] where the bytes are not what was stored.
    pub fn blob(&self, hash: &BlobHash) -> Result<BlobReader, StoreError> {
        if let Some(bytes) = self.core().staged.bytes(hash) {
            return Ok(BlobReader::of_bytes(bytes));
        }
        let found = self.read(|reader| {
            let Some(row) = reader.table(BLOBS)?.get(hash.0)? else { return Ok(None) };
            let (_, size, body) = row.value();
            if body == 0 {
                return Ok(Some((size, None)));
            }
            let body = reader.table(BODIES)?.get(body)?.ok_or_else(|| StoreError::damaged("a message's body is missing"))?;
            Ok(Some((size, Some(Arc::<[u8]>::from(body.value())))))
        })?;
        match found {
            Some((size, Some(bytes))) => BlobReader::of_checked(hash, size, bytes),
            Some((size, None)) => BlobReader::of_file(self.core(), hash, Some(size), Trust::SinceStart),
            None if self.core().staged.staged().contains_key(hash) => {
                BlobReader::of_file(self.core(), hash, None, Trust::SinceStart)
            }
            None => Err(StoreError::NotFound("the message")),
        }
    }

    /// Reads these messages with one look into the database. `None` for what has to be opened by itself: those of more than [`INLINE_BYTES_MAX`] bytes,
    /// and those that are missing. The others are in memory: ask for few at a time.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn small_blobs(&self, hashes: &[BlobHash]) -> Result<Vec<Option<Unchecked>>, StoreError> {
        self.read(|reader| {
            let (blobs, bodies) = (reader.table(BLOBS)?, reader.table(BODIES)?);
            let small = |hash: &BlobHash| {
                let Some((_, size, body)) = blobs.get(hash.0)?.map(|row| row.value()).filter(|(_, _, body)| *body != 0) else {
                    return Ok(None);
                };
                Ok(bodies.get(body)?.map(|body| Unchecked { hash: *hash, size, bytes: body.value().into() }))
            };
            hashes.iter().map(small).collect()
        })
    }

    /// The whole message in memory; `Invalid` if it is larger than `limit` bytes.
    ///
    /// # Errors
    /// As [`Store::blob`].
    pub fn blob_bytes(&self, hash: &BlobHash, limit: u64) -> Result<Vec<u8>, StoreError> {
        use std::io::Read;
        let mut reader = self.blob(hash)?;
        if reader.size() > limit {
            return Err(StoreError::Invalid(format!("the message has {} bytes, more than {limit}", reader.size())));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(reader.size()).unwrap_or(0));
        reader.read_to_end(&mut bytes).map_err(|error| StoreError::of_io(&error))?;
        Ok(bytes)
    }

    /// Removes blob files that nothing mentions or stages, left by a crash or by mails given up; returns how many. Safe on a running store.
    ///
    /// # Errors
    /// [`StoreError`] where the folders cannot be listed.
    pub fn sweep(&self) -> Result<u64, StoreError> {
        let files = self.core().blob_files()?;
        Ok(files.iter().map(|hash| u64::from(self.core().remove_unmentioned(hash))).sum())
    }
}

/// The hash that a file of `blobs/` is named by; `None` for a stranger's file.
fn hash_of(name: &str) -> Option<BlobHash> {
    let mut hash = [0; 32];
    hex::decode_to_slice(name, &mut hash).ok()?;
    Some(BlobHash(hash))
}

impl Transaction<'_> {
    /// Counts one more mention of a staged message and stores its bytes where this is the first.
    pub(crate) fn mention(&mut self, staged: &Staged) -> Result<(), StoreError> {
        let known = self.view(BLOBS)?.get(staged.hash.0)?.map(|row| row.value());
        let row = match (known, staged.bytes()) {
            (Some((mentions, size, body)), _) => (mentions + 1, size, body),
            (None, None) => (1, staged.size, 0),
            (None, Some(bytes)) => {
                let number = self.next_number(meta::BODY)?;
                self.table(BODIES)?.insert(number, bytes)?;
                (1, staged.size, number)
            }
        };
        self.table(BLOBS)?.insert(staged.hash.0, row)?;
        Ok(())
    }

    /// Counts one more mention of a stored message; `NotFound` where nothing mentions it any more.
    pub(crate) fn mention_stored(&mut self, hash: &BlobHash) -> Result<(), StoreError> {
        let known = self.view(BLOBS)?.get(hash.0)?.map(|row| row.value());
        let (mentions, size, body) = known.ok_or(StoreError::NotFound("the message"))?;
        self.table(BLOBS)?.insert(hash.0, (mentions + 1, size, body))?;
        Ok(())
    }

    /// Takes one mention back; with the last one the bytes go.
    pub(crate) fn unmention(&mut self, hash: &BlobHash) -> Result<(), StoreError> {
        let mut blobs = self.table(BLOBS)?;
        let known = blobs.get(hash.0)?.map(|row| row.value());
        let (mentions, size, body) = known.ok_or_else(|| StoreError::damaged("a mentioned message is missing"))?;
        if mentions > 1 {
            blobs.insert(hash.0, (mentions - 1, size, body))?;
            return Ok(());
        }
        blobs.remove(hash.0)?;
        drop(blobs);
        if body == 0 {
            self.forget_file(*hash);
        } else {
            self.table(BODIES)?.remove(body)?;
        }
        Ok(())
    }
}
