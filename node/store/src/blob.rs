//! Messages' bytes: immutable, named by their BLAKE3 hash, stored once.

use std::io::{Read, Seek, Write};

/// `BLAKE3(bytes)`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BlobHash(pub [u8; 32]);

/// Bytes being written that nothing mentions yet. Memory use is bounded (64 KiB); the rest goes to a temporary file. Dropped: gone.
pub struct Stage {}

/// Complete, synced bytes waiting to be mentioned by a transaction. Cheap to clone. When the last clone is dropped without having been mentioned, a sweep removes the file.
#[derive(Clone, Debug)]
pub struct Staged {
    /// The name.
    pub hash: BlobHash,
    /// Bytes.
    pub size: u64,
}

/// Reads a stored message; bounded memory whatever its size.
pub struct BlobReader {}

impl Write for Stage {
    fn write(&mut self, _buf: &[u8]) -> std::io::Result<usize> {
        todo!()
    }
    fn flush(&mut self) -> std::io::Result<()> {
        todo!()
    }
}

impl Stage {
    /// Bytes written so far.
    pub fn size(&self) -> u64 {
        todo!()
    }
    /// Completes the bytes. Disk full comes out here (or from `write`) as [`crate::StoreError::DiskFull`] (`ErrorKind::StorageFull`).
    pub fn finish(self) -> Result<Staged, crate::StoreError> {
        todo!()
    }
}

impl BlobReader {
    /// Total bytes.
    pub fn size(&self) -> u64 {
        todo!()
    }
}

impl Read for BlobReader {
    fn read(&mut self, _buf: &mut [u8]) -> std::io::Result<usize> {
        todo!()
    }
}

impl Seek for BlobReader {
    fn seek(&mut self, _pos: std::io::SeekFrom) -> std::io::Result<u64> {
        todo!()
    }
}

impl crate::Store {
    /// Starts writing a message.
    pub fn stage(&self) -> Result<Stage, crate::StoreError> {
        todo!()
    }

    /// Opens a stored (or staged) message. `NotFound` where there is none.
    pub fn blob(&self, _hash: &BlobHash) -> Result<BlobReader, crate::StoreError> {
        todo!()
    }

    /// The whole message in memory; `Invalid` if it is larger than `limit` bytes.
    pub fn blob_bytes(&self, _hash: &BlobHash, _limit: u64) -> Result<Vec<u8>, crate::StoreError> {
        todo!()
    }
}
