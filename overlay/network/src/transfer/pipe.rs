//! A bounded pipe between a stream's task and the blocking thread that reads or writes the file.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes, BytesMut};
use tokio::sync::mpsc;

/// Bytes of one piece.
pub(super) const PIECE_BYTES: usize = 64 * 1024;
/// Pieces in flight: with the stream's own window, about 1 MiB.
pub(super) const PIECES_MAX: usize = 12;

/// The thread's end of a pipe from the network.
pub(super) struct Source {
    pieces: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Source {
    pub(super) fn new(pieces: mpsc::Receiver<Bytes>) -> Self {
        Self { pieces, current: Bytes::new() }
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

/// The thread's end of a pipe to the network. [`Write::flush`] it at the end.
pub(super) struct Sink {
    pieces: mpsc::Sender<Bytes>,
    current: BytesMut,
}

impl Sink {
    pub(super) fn new(pieces: mpsc::Sender<Bytes>) -> Self {
        Self { pieces, current: BytesMut::with_capacity(PIECE_BYTES) }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(PIECE_BYTES - self.current.len());
        self.current.extend_from_slice(&bytes[..length]);
        if self.current.len() == PIECE_BYTES {
            self.flush()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.current.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.current, BytesMut::with_capacity(PIECE_BYTES)).freeze();
        self.pieces.blocking_send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
