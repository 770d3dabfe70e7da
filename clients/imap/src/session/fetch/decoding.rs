//! A part on its way to the client without its transfer encoding (RFC 3516), in chunks: neither side of the decoder is held as a whole.

use std::io::{self, Read, Seek, SeekFrom};

use crate::structure::Span;
use crate::transfer::{Decoder, Transfer};

/// Encoded bytes that are read at a time.
const CHUNK_BYTES: u64 = 16 * 1024;

/// A part's bytes as they lie there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Encoded {
    pub(super) span: Span,
    pub(super) transfer: Transfer,
}

/// Decodes a part from its n-th byte on, so many bytes at most.
pub(super) struct Decoding<R> {
    reader: R,
    /// Encoded bytes to come.
    left: u64,
    decoder: Option<Decoder>,
    skip: u64,
    take: u64,
}

impl<R: Read + Seek> Decoding<R> {
    pub(super) fn new(mut reader: R, encoded: Encoded, skip: u64, take: u64) -> io::Result<Self> {
        reader.seek(SeekFrom::Start(encoded.span.start))?;
        Ok(Self { reader, left: encoded.span.len(), decoder: Some(Decoder::new(encoded.transfer)), skip, take })
    }

    /// Appends some bytes, perhaps none; `false` when there are no more.
    pub(super) fn next(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        if self.take == 0 {
            return Ok(false);
        }
        let start = out.len();
        if self.left == 0 {
            let Some(decoder) = self.decoder.take() else { return Ok(false) };
            decoder.finish(out);
        } else if let Some(decoder) = &mut self.decoder {
            let size = self.left.min(CHUNK_BYTES);
            let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
            self.reader.read_exact(&mut bytes)?;
            self.left -= size;
            decoder.push(&bytes, out);
        }
        let decoded = (out.len() - start) as u64;
        let skipped = self.skip.min(decoded);
        self.skip -= skipped;
        let skipped = usize::try_from(skipped).unwrap_or_default();
        out.drain(start..start + skipped);
        let taken = self.take.min((out.len() - start) as u64);
        self.take -= taken;
        out.truncate(start + usize::try_from(taken).unwrap_or_default());
        Ok(true)
    }
}
