//! Reading a message, after its bytes were checked against its name.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use super::BlobHash;
use crate::StoreError;
use crate::disk::File;
use crate::store::Core;

/// Reads a stored message; bounded memory whatever its size.
pub struct BlobReader {
    size: u64,
    position: u64,
    source: Source,
}

/// A small message that was read, and not yet checked against its name: who reads ahead leaves that to who needs it.
pub struct Unchecked {
    pub(super) hash: BlobHash,
    pub(super) size: u64,
    pub(super) bytes: Arc<[u8]>,
}

impl Unchecked {
    /// Checks it.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn check(self) -> Result<BlobReader, StoreError> {
        BlobReader::of_checked(&self.hash, self.size, self.bytes)
    }
}

enum Source {
    Bytes(Arc<[u8]>),
    File(File),
}

/// When a file counts as whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// When it was hashed once since the start.
    SinceStart,
    /// When it is hashed now.
    Nothing,
}

/// Files are hashed in pieces of this size.
const PIECE_BYTES: usize = 65_536;

impl BlobReader {
    /// Total bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Another reader of the same bytes, from their beginning, where they are in memory: nothing is read or hashed again. `None` for a file.
    pub fn again(&self) -> Option<Self> {
        match &self.source {
            Source::Bytes(bytes) => Some(Self::of_bytes(Arc::clone(bytes))),
            Source::File(_) => None,
        }
    }

    /// Appends the next `count` bytes, fewer only at the end; says how many.
    ///
    /// # Errors
    /// What the disk says.
    pub fn append_to(&mut self, out: &mut Vec<u8>, count: usize) -> io::Result<usize> {
        let before = out.len();
        if let Source::Bytes(bytes) = &self.source {
            let rest = usize::try_from(self.position).ok().and_then(|start| bytes.get(start..)).unwrap_or_default();
            out.extend_from_slice(rest.get(..count).unwrap_or(rest));
            self.position += (out.len() - before) as u64;
            return Ok(out.len() - before);
        }
        let left = usize::try_from(self.size.saturating_sub(self.position)).unwrap_or(usize::MAX);
        out.resize(before + count.min(left), 0);
        self.read_exact(out.get_mut(before..).unwrap_or_default())?;
        Ok(out.len() - before)
    }

    /// Bytes that are in memory and were hashed there.
    pub(super) fn of_bytes(bytes: Arc<[u8]>) -> Self {
        Self { size: bytes.len() as u64, position: 0, source: Source::Bytes(bytes) }
    }

    /// Bytes from redb: hashed anew.
    pub(crate) fn of_checked(hash: &BlobHash, size: u64, bytes: Arc<[u8]>) -> Result<Self, StoreError> {
        if bytes.len() as u64 != size || blake3::hash(&bytes).as_bytes() != &hash.0 {
            return Err(StoreError::damaged("a message is not what was stored"));
        }
        Ok(Self::of_bytes(bytes))
    }

    /// A file: hashed at its first use since the start.
    pub(crate) fn of_file(core: &Core, hash: &BlobHash, size: Option<u64>, trust: Trust) -> Result<Self, StoreError> {
        let file = core.disk.open(&hash.path()).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::damaged("a message's file is missing"),
            _ => StoreError::of_io(&error),
        })?;
        let len = file.len().map_err(|error| StoreError::of_io(&error))?;
        if size.is_some_and(|size| size != len) {
            return Err(StoreError::damaged("a message's file has the wrong size"));
        }
        let reader = Self { size: len, position: 0, source: Source::File(file) };
        if trust == Trust::Nothing || !core.staged.is_whole(hash) {
            reader.check(hash)?;
            core.staged.note_whole(*hash);
        }
        Ok(reader)
    }

    fn check(&self, hash: &BlobHash) -> Result<(), StoreError> {
        let mut hasher = blake3::Hasher::new();
        let mut piece = vec![0; PIECE_BYTES];
        let mut position = 0;
        while position < self.size {
            let count = self.read_at(position, &mut piece).map_err(|error| StoreError::of_io(&error))?;
            if count == 0 {
                break;
            }
            hasher.update(piece.get(..count).unwrap_or_default());
            position += count as u64;
        }
        if hasher.finalize().as_bytes() == &hash.0 {
            Ok(())
        } else {
            Err(StoreError::damaged("a message is not what was stored"))
        }
    }

    fn read_at(&self, position: u64, out: &mut [u8]) -> io::Result<usize> {
        match &self.source {
            Source::File(file) => file.read_at(position, out),
            Source::Bytes(bytes) => {
                let rest = usize::try_from(position).ok().and_then(|start| bytes.get(start..)).unwrap_or_default();
                let count = rest.len().min(out.len());
                out[..count].copy_from_slice(&rest[..count]);
                Ok(count)
            }
        }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.read_at(self.position, buf)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for BlobReader {
    fn seek(&mut self, pos: SeekFrom) -> io::Result<u64> {
        let target = match pos {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(delta) => self.size.checked_add_signed(delta),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl std::fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlobReader({} bytes at {})", self.size, self.position)
    }
}
