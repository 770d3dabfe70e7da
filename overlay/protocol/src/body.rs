//! The inside of an envelope: a letter in chunks, each under its own nonce, so that none can be cut off, moved, repeated or added.
//!
//! STREAM (Hoang, Reyhanitabar, Rogaway, Vizár 2015) as age v1 uses it: ChaCha20-Poly1305 with an 11-byte big-endian counter and a last-chunk
//! flag as the nonce. Memory use is one chunk, whatever the length.

use std::io::{self, Read, Write};

use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit};
use zeroize::Zeroizing;

use crate::contexts;
use crate::envelope::{CHUNK_BYTES, COMMIT_BYTES, NONCE_BYTES, TAG_BYTES};

/// The keys of a body, from its file key and nonce.
pub(crate) struct BodyKeys {
    cipher: ChaCha20Poly1305,
    /// What the envelope shows, so that it opens under one file key only.
    pub(crate) commit: [u8; COMMIT_BYTES],
}

impl BodyKeys {
    pub(crate) fn derive(file_key: &[u8; 32], nonce: &[u8; NONCE_BYTES]) -> Self {
        let key = contexts::derive(contexts::BODY, &[file_key, nonce]);
        let commit = contexts::derive(contexts::COMMIT, &[file_key, nonce]);
        Self { cipher: ChaCha20Poly1305::new((&*key).into()), commit: *commit }
    }
}

/// The nonce of chunk `counter`.
fn chunk_nonce(counter: u64, last: bool) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&counter.to_be_bytes());
    nonce[11] = u8::from(last);
    nonce
}

/// Room for a chunk of a letter of so many bytes: clearing it costs as much as sealing, and most letters are short.
fn chunk_for(letter: u64) -> Zeroizing<Vec<u8>> {
    let bytes = usize::try_from(letter).map_or(CHUNK_BYTES, |letter| letter.clamp(1, CHUNK_BYTES));
    Zeroizing::new(vec![0; bytes])
}

/// Seals what is written to it, chunk by chunk. [`ChunkWriter::finish`] must be called: it writes the last chunk.
pub(crate) struct ChunkWriter<'a, W> {
    keys: &'a BodyKeys,
    out: W,
    counter: u64,
    chunk: Zeroizing<Vec<u8>>,
    filled: usize,
}

impl<'a, W: Write> ChunkWriter<'a, W> {
    /// For a letter of so many bytes, no more and no less.
    pub(crate) fn new(keys: &'a BodyKeys, out: W, letter: u64) -> Self {
        Self { keys, out, counter: 0, chunk: chunk_for(letter), filled: 0 }
    }

    /// The free rest of the current chunk, at most `limit` bytes and at least one: to be filled, then told by [`ChunkWriter::advance`].
    pub(crate) fn space(&mut self, limit: u64) -> io::Result<&mut [u8]> {
        let whole = self.chunk.len();
        if self.filled == whole {
            self.seal(false)?;
        }
        let end = usize::try_from(limit).map_or(whole, |limit| whole.min(self.filled.saturating_add(limit)));
        Ok(&mut self.chunk[self.filled..end])
    }

    /// `count` bytes of the last [`ChunkWriter::space`] were filled.
    pub(crate) fn advance(&mut self, count: usize) {
        self.filled = self.chunk.len().min(self.filled + count);
    }

    /// Adds bytes.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let space = self.space(bytes.len() as u64)?;
            let (now, later) = bytes.split_at(space.len());
            space.copy_from_slice(now);
            self.advance(now.len());
            bytes = later;
        }
        Ok(())
    }

    /// Adds zeros.
    pub(crate) fn write_zeros(&mut self, mut count: u64) -> io::Result<()> {
        while count > 0 {
            let space = self.space(count)?;
            space.fill(0);
            let filled = space.len();
            self.advance(filled);
            count -= filled as u64;
        }
        Ok(())
    }

    /// Seals the last chunk and gives the writer back.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.seal(true)?;
        Ok(self.out)
    }

    fn seal(&mut self, last: bool) -> io::Result<()> {
        let nonce = chunk_nonce(self.counter, last);
        let chunk = &mut self.chunk[..self.filled];
        let tag = self
            .keys
            .cipher
            .encrypt_inout_detached(&nonce.into(), &[], InOutBuf::from(&mut *chunk))
            .map_err(|_| io::Error::other("a chunk is too long to seal"))?;
        self.out.write_all(chunk)?;
        self.out.write_all(&tag)?;
        self.filled = 0;
        self.counter += 1;
        Ok(())
    }
}

/// Why a body did not open.
#[derive(Debug)]
pub(crate) enum ChunkError {
    /// A tag is wrong, or bytes are missing.
    Altered,
    /// Reading failed.
    Read(io::Error),
}

/// Opens a body of `letter` bytes chunk by chunk.
pub(crate) struct ChunkReader<'a, R> {
    keys: &'a BodyKeys,
    from: R,
    counter: u64,
    left: u64,
    chunk: Zeroizing<Vec<u8>>,
}

impl<'a, R: Read> ChunkReader<'a, R> {
    pub(crate) fn new(keys: &'a BodyKeys, from: R, letter: u64) -> Self {
        Self { keys, from, counter: 0, left: letter, chunk: chunk_for(letter) }
    }

    /// Bytes of the letter that are still to come.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// The next chunk, verified; `None` after the last one.
    pub(crate) fn next_chunk(&mut self) -> Result<Option<&[u8]>, ChunkError> {
        if self.left == 0 {
            return Ok(None);
        }
        let length = CHUNK_BYTES.min(usize::try_from(self.left).unwrap_or(CHUNK_BYTES));
        let last = self.left == length as u64;
        let chunk = &mut self.chunk[..length];
        let mut tag = [0; TAG_BYTES];
        self.from.read_exact(chunk).and_then(|()| self.from.read_exact(&mut tag)).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ChunkError::Altered,
            _ => ChunkError::Read(error),
        })?;
        let nonce = chunk_nonce(self.counter, last);
        self.keys
            .cipher
            .decrypt_inout_detached(&nonce.into(), &[], InOutBuf::from(&mut *chunk), &tag.into())
            .map_err(|_| ChunkError::Altered)?;
        self.counter += 1;
        self.left -= length as u64;
        Ok(Some(chunk))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: usize = CHUNK_BYTES + TAG_BYTES;

    fn keys() -> BodyKeys {
        BodyKeys::derive(&[1; 32], &[2; NONCE_BYTES])
    }

    fn sealed(letter: &[u8]) -> Vec<u8> {
        let keys = keys();
        let mut writer = ChunkWriter::new(&keys, Vec::new(), letter.len() as u64);
        writer.write(letter).unwrap();
        writer.finish().unwrap()
    }

    fn opened(body: &[u8], length: usize) -> Option<Vec<u8>> {
        let keys = keys();
        let mut reader = ChunkReader::new(&keys, body, length as u64);
        let mut letter = Vec::new();
        while let Some(chunk) = reader.next_chunk().ok()? {
            letter.extend_from_slice(chunk);
        }
        Some(letter)
    }

    fn letter(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i % 251) as u8).collect()
    }

    #[test]
    fn letters_come_back_at_every_edge_of_a_chunk() {
        for length in [1, 15, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 7] {
            let body = sealed(&letter(length));
            assert_eq!(body.len(), length + length.div_ceil(CHUNK_BYTES) * TAG_BYTES);
            assert_eq!(opened(&body, length), Some(letter(length)));
        }
    }

    #[test]
    fn chunks_cannot_be_cut_off_added_repeated_or_moved() {
        let length = 3 * CHUNK_BYTES;
        let body = sealed(&letter(length));
        assert_eq!(opened(&body[..2 * CHUNK], 2 * CHUNK_BYTES), None, "cut off");
        let longer = [body.as_slice(), &body[2 * CHUNK..]].concat();
        assert_eq!(opened(&longer, 4 * CHUNK_BYTES), None, "repeated at the end");
        let mut swapped = body.clone();
        swapped[..2 * CHUNK].rotate_left(CHUNK);
        assert_eq!(opened(&swapped, length), None, "moved");
        let doubled = [&body[..CHUNK], &body[..CHUNK], &body[2 * CHUNK..]].concat();
        assert_eq!(opened(&doubled, length), None, "repeated");
        assert_eq!(opened(&body[..body.len() - 1], length), None, "short");
        assert_eq!(opened(&body, length), Some(letter(length)));
    }

    #[test]
    fn another_file_key_has_another_commitment() {
        assert_ne!(keys().commit, BodyKeys::derive(&[3; 32], &[2; NONCE_BYTES]).commit);
        assert_ne!(keys().commit, BodyKeys::derive(&[1; 32], &[3; NONCE_BYTES]).commit);
    }
}
