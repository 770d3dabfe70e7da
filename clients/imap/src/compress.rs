//! COMPRESS=DEFLATE (RFC 4978): both directions through DEFLATE (RFC 1951), without a wrapper.
//!
//! Whatever is handed over is flushed (a sync flush), so that no answer waits in the compressor for the next one. Per session this takes
//! about 400 KB, which is why it begins only when it is asked for.

use bytes::BytesMut;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::limits::INPUT_BYTES;

/// Bytes of what came in, unpacked, that are held at most: a command must fit, and a bomb must not.
const UNPACKED_BYTES_MAX: usize = 2 * INPUT_BYTES;
/// Bytes that are unpacked, or packed, at a time.
const CHUNK_BYTES: usize = 16 * 1024;

/// The two streams of a session.
pub(crate) struct Compressor {
    outgoing: Compress,
    incoming: Decompress,
    /// Unpacked and not yet looked at.
    pub(crate) unpacked: BytesMut,
}

/// What came in is not DEFLATE, or has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the compressed stream cannot be read")]
pub(crate) struct Unreadable;

impl Compressor {
    pub(crate) fn new() -> Self {
        Self { outgoing: Compress::new(Compression::fast(), false), incoming: Decompress::new(false), unpacked: BytesMut::new() }
    }

    /// Unpacks as much of the input as there is room for.
    pub(crate) fn unpack(&mut self, input: &mut BytesMut) -> Result<(), Unreadable> {
        let mut piece = vec![0; CHUNK_BYTES];
        loop {
            let room = UNPACKED_BYTES_MAX.saturating_sub(self.unpacked.len()).min(CHUNK_BYTES);
            let Some(space) = piece.get_mut(..room).filter(|space| !space.is_empty()) else { return Ok(()) };
            let before = (self.incoming.total_in(), self.incoming.total_out());
            let status = self.incoming.decompress(input, space, FlushDecompress::None).map_err(|_| Unreadable)?;
            let taken = count(self.incoming.total_in(), before.0);
            let given = count(self.incoming.total_out(), before.1);
            drop(input.split_to(taken.min(input.len())));
            self.unpacked.extend_from_slice(piece.get(..given).unwrap_or_default());
            match status {
                Status::StreamEnd => return Err(Unreadable),
                // Nothing moves although there is room: more input is needed, or what is there cannot be right.
                _ if taken == 0 && given == 0 => return if input.is_empty() { Ok(()) } else { Err(Unreadable) },
                Status::Ok | Status::BufError => {}
            }
        }
    }

    /// Packs an answer so that all of it can be unpacked at once.
    pub(crate) fn pack(&mut self, answer: &[u8], output: &mut BytesMut) {
        let mut piece = vec![0; CHUNK_BYTES];
        let mut rest = answer;
        loop {
            let before = (self.outgoing.total_in(), self.outgoing.total_out());
            // It fails only when it is used after its end, which is never asked for.
            let packed = self.outgoing.compress(rest, &mut piece, FlushCompress::Sync);
            let given = count(self.outgoing.total_out(), before.1);
            output.extend_from_slice(piece.get(..given).unwrap_or_default());
            rest = rest.get(count(self.outgoing.total_in(), before.0)..).unwrap_or_default();
            // A piece that is not full means that there is no more: the flush is complete.
            if packed.is_err() || rest.is_empty() && given < CHUNK_BYTES {
                return;
            }
        }
    }
}

fn count(after: u64, before: u64) -> usize {
    usize::try_from(after.saturating_sub(before)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_answer_is_whole_when_it_is_handed_over(answers: Vec<Vec<u8>>, repeat in 1_usize..4000) {
            let (mut ours, mut theirs) = (Compressor::new(), Compressor::new());
            for answer in answers {
                let answer = answer.repeat(repeat.min(200_000 / answer.len().max(1)));
                let mut wire = BytesMut::new();
                ours.pack(&answer, &mut wire);
                let mut got = Vec::new();
                loop {
                    theirs.unpack(&mut wire).unwrap();
                    if theirs.unpacked.is_empty() {
                        break;
                    }
                    got.extend_from_slice(&theirs.unpacked.split());
                }
                prop_assert!(wire.is_empty());
                prop_assert_eq!(got, answer);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let mut compressor = Compressor::new();
            let _ = compressor.unpack(&mut BytesMut::from(&*bytes));
        }
    }

    #[test]
    fn a_bomb_is_unpacked_a_little_at_a_time() {
        let mut wire = BytesMut::new();
        Compressor::new().pack(&vec![b'x'; 10_000_000], &mut wire);
        assert!(wire.len() < 100_000);
        let mut compressor = Compressor::new();
        compressor.unpack(&mut wire).unwrap();
        assert!(compressor.unpacked.len() <= UNPACKED_BYTES_MAX);
    }
}
