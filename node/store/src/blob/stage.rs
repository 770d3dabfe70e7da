//! Writing a message: in memory while it is small, then to a file in `staging/`, hashed on the way.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{BlobHash, INLINE_BYTES_MAX};
use crate::StoreError;
use crate::disk::File;
use crate::header::{Excerpt, Head};
use crate::schema::{BLOBS_DIR, STAGING_DIR};
use crate::store::Core;

/// Bytes being written that nothing mentions yet. Memory use is bounded (128 KiB); the rest goes to a temporary file. Dropped: gone.
pub struct Stage {
    core: Arc<Core>,
    hasher: blake3::Hasher,
    head: Head,
    size: u64,
    /// The whole message while it is small, afterwards what the file does not have yet.
    buffer: Vec<u8>,
    file: Option<Temporary>,
}

/// A file in `staging/`, removed when dropped.
struct Temporary {
    core: Arc<Core>,
    path: String,
    file: File,
    written: u64,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Gone already once it has its final name; what else is left is removed at the next start.
        drop(self.core.disk.remove(&self.path));
    }
}

/// Complete bytes waiting to be mentioned by a transaction: in memory and committed with it where they are few, otherwise a synced
/// file. Cheap to clone. When the last clone is dropped without having been mentioned, a sweep removes the file.
#[derive(Clone)]
pub struct Staged {
    /// The name.
    pub hash: BlobHash,
    /// Bytes.
    pub size: u64,
    held: Arc<Holding>,
}

struct Holding {
    core: Arc<Core>,
    hash: BlobHash,
    bytes: Option<Arc<[u8]>>,
    excerpt: Excerpt,
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.core.staged.release(&self.hash);
    }
}

impl std::fmt::Debug for Staged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Staged({} bytes)", self.size)
    }
}

impl Staged {
    /// The bytes, where they are few enough to live in redb.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        self.held.bytes.as_deref()
    }

    /// Done with it: where this is the last clone and nothing mentions the bytes, their file goes now and not with the next sweep.
    pub fn forget(self) {
        let (core, hash, has_file) = (Arc::clone(&self.held.core), self.hash, self.held.bytes.is_none());
        drop(self);
        if has_file {
            core.remove_unmentioned(&hash);
        }
    }

    /// What is kept of its header.
    pub(crate) fn excerpt(&self) -> &Excerpt {
        &self.held.excerpt
    }
}

/// Copies to a file go in pieces of this size.
const WRITE_BYTES: usize = 65_536;

impl Write for Stage {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let count = buf.len().min(WRITE_BYTES);
        let piece = buf.get(..count).unwrap_or_default();
        if self.buffer.len() + piece.len() > WRITE_BYTES {
            self.spill()?;
        }
        self.hasher.update(piece);
        self.head.feed(piece);
        self.buffer.extend_from_slice(piece);
        self.size += piece.len() as u64;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stage {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core, hasher: blake3::Hasher::new(), head: Head::default(), size: 0, buffer: Vec::new(), file: None }
    }

    /// Bytes written so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What the bytes written so far would be called, so that those which are there already need not be finished.
    pub fn hash(&self) -> BlobHash {
        BlobHash(*self.hasher.finalize().as_bytes())
    }

    /// Moves what is buffered to the file.
    fn spill(&mut self) -> io::Result<()> {
        let temporary = match self.file.take() {
            Some(temporary) => temporary,
            None => {
                let path = format!("{STAGING_DIR}/{}", self.core.next_staging.fetch_add(1, Ordering::Relaxed));
                let file = self.core.disk.create(&path)?;
                Temporary { core: Arc::clone(&self.core), path, file, written: 0 }
            }
        };
        let temporary = self.file.insert(temporary);
        temporary.file.write_all_at(temporary.written, &self.buffer)?;
        temporary.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Completes the bytes with those of a whole file, which goes.
    pub(super) fn take(mut self, path: &Path) -> Result<Staged, StoreError> {
        let io = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::NotFound("the file"),
            _ => StoreError::of_io(&error),
        };
        let found = std::fs::symlink_metadata(path).map_err(io)?;
        if !found.is_file() {
            return Err(StoreError::NotFound("the file"));
        }
        let adopted = found.len() > INLINE_BYTES_MAX && self.adopt(path).map_err(io)?;
        if adopted {
            return self.finish();
        }
        io::copy(&mut std::fs::File::open(path).map_err(io)?, &mut self).map_err(io)?;
        let staged = self.finish()?;
        std::fs::remove_file(path).map_err(io)?;
        Ok(staged)
    }

    /// Moves a file into `staging/`; `false` where it must be copied.
    fn adopt(&mut self, from: &Path) -> io::Result<bool> {
        let path = format!("{STAGING_DIR}/{}", self.core.next_staging.fetch_add(1, Ordering::Relaxed));
        if !self.core.disk.adopt(from, &path)? {
            return Ok(false);
        }
        let file = self.core.disk.open(&path)?;
        let temporary = self.file.insert(Temporary { core: Arc::clone(&self.core), path, file, written: 0 });
        let mut piece = vec![0; WRITE_BYTES];
        loop {
            let count = temporary.file.read_at(self.size, &mut piece)?;
            if count == 0 {
                break;
            }
            let read = piece.get(..count).unwrap_or_default();
            self.hasher.update(read);
            self.head.feed(read);
            self.size += count as u64;
        }
        temporary.written = self.size;
        Ok(true)
    }

    /// Completes the bytes. Disk full comes out here (or from `write`) as [`StoreError::DiskFull`] (`ErrorKind::StorageFull`).
    ///
    /// # Errors
    /// [`StoreError::DiskFull`]; [`StoreError::Broken`] where the file cannot be written or synced.
    pub fn finish(self) -> Result<Staged, StoreError> {
        self.complete(INLINE_BYTES_MAX)
    }

    /// As [`Stage::finish`], but in a file of their own however few they are: nothing of them stays behind in the database when they go.
    ///
    /// # Errors
    /// As [`Stage::finish`].
    pub fn finish_apart(self) -> Result<Staged, StoreError> {
        self.complete(0)
    }

    fn complete(mut self, inline_max: u64) -> Result<Staged, StoreError> {
        let hash = self.hash();
        if self.size <= inline_max && self.file.is_none() {
            let bytes = Arc::<[u8]>::from(std::mem::take(&mut self.buffer));
            return Ok(self.hold(hash, Some(bytes)));
        }
        self.spill().map_err(|error| StoreError::of_io(&error))?;
        let staged = self.hold(hash, None);
        if let Some(temporary) = self.file.take() {
            temporary.settle(&hash).map_err(|error| StoreError::of_io(&error))?;
        }
        Ok(staged)
    }

    /// From here on the file of that name is not removed.
    fn hold(&mut self, hash: BlobHash, bytes: Option<Arc<[u8]>>) -> Staged {
        let excerpt = std::mem::take(&mut self.head).finish();
        self.core.staged.hold(hash, bytes.as_ref());
        Staged { hash, size: self.size, held: Arc::new(Holding { core: Arc::clone(&self.core), hash, bytes, excerpt }) }
    }
}

impl Temporary {
    /// Syncs the file and gives it its final, durable name. The same bytes may have it already; then this replaces them by themselves.
    fn settle(self, hash: &BlobHash) -> io::Result<()> {
        let disk = &self.core.disk;
        self.file.sync()?;
        if disk.make_dir(&hash.folder())? {
            disk.sync_dir(BLOBS_DIR)?;
        }
        disk.rename(&self.path, &hash.path())?;
        disk.sync_dir(&hash.folder())
    }
}
