//! The stream that lettre's connection speaks on: a connection that was opened and secured in `outbound/opening.rs`.
//!
//! lettre begins with the greeting and EHLO, which have been said by then (they decide about TLS): both answers are played to it again, and its EHLO goes nowhere.
//! What a host answers is tidied on the way, since lettre reads lines without a bound, takes no code without words (RFC 5321 §4.2 has them), and no bytes beyond UTF-8.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// The longest line of an answer that is passed on; the rest of it is dropped. RFC 5321 §4.5.3.1.5 has 512.
const LINE_BYTES_MAX: usize = 900;
/// The longest answer, from the last byte that we said: a host that says more is cut off.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// A connection, in clear or not.
#[derive(Debug)]
pub(crate) enum Stream {
    /// TCP alone.
    Clear(TcpStream),
    /// TLS over it.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Clear(tcp) => tcp,
            Stream::Tls(tls) => tls.get_ref().0,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Clear(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Stream::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Clear(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Stream::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Clear(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Clear(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

/// Tells from outside whether everything that was said has left and an answer is waited for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gauge(Arc<AtomicBool>);

impl Gauge {
    /// Whether the last thing that lettre did was to wait for an answer: all that it said before was given to the network.
    pub(crate) fn waits_for_answer(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, waits: bool) {
        self.0.store(waits, Ordering::Relaxed);
    }
}

/// [`Stream`], for lettre.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Stream,
    tidy: Tidy,
    ready: VecDeque<u8>,
    swallow_line: bool,
    gauge: Gauge,
}

impl Wire {
    /// `played` are the greeting and the answer to EHLO, whole lines.
    pub(crate) fn new(stream: Stream, played: &[u8]) -> (Wire, Gauge) {
        let mut tidy = Tidy::default();
        let mut ready = VecDeque::new();
        // What was read here already is bounded.
        let _ = tidy.pass(played, &mut ready);
        tidy.asked();
        let gauge = Gauge::default();
        (Wire { stream, tidy, ready, swallow_line: true, gauge: gauge.clone() }, gauge)
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        wire.gauge.set(true);
        while wire.ready.is_empty() {
            let mut space = [0u8; 4096];
            let mut read = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut wire.stream).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                // Nobody goes in the middle of a conversation: as an error it is told apart from a bad answer.
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            wire.tidy.pass(read.filled(), &mut wire.ready)?;
        }
        let (front, _) = wire.ready.as_slices();
        let taken = front.len().min(buf.remaining());
        buf.put_slice(front.get(..taken).unwrap_or_default());
        wire.ready.drain(..taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        if wire.swallow_line {
            let taken = match buf.iter().position(|byte| *byte == b'\n') {
                Some(at) => {
                    wire.swallow_line = false;
                    at + 1
                }
                None => buf.len(),
            };
            return Poll::Ready(Ok(taken));
        }
        wire.gauge.set(false);
        wire.tidy.asked();
        Pin::new(&mut wire.stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl AsyncTokioStream for Wire {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.tcp().peer_addr()
    }
}

/// Makes of whatever a host answers lines that can be read: ASCII, `code` `-` or space, words, CRLF. Pure.
#[derive(Debug, Default)]
pub(crate) struct Tidy {
    column: usize,
    total: usize,
}

impl Tidy {
    /// Something was said: a new answer begins to count.
    pub(crate) fn asked(&mut self) {
        self.total = 0;
    }

    /// Passes bytes of an answer on.
    ///
    /// # Errors
    /// When the answer gets longer than any answer should.
    pub(crate) fn pass(&mut self, bytes: &[u8], out: &mut VecDeque<u8>) -> io::Result<()> {
        self.total += bytes.len();
        if self.total > ANSWER_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is too long"));
        }
        for byte in bytes {
            match byte {
                b'\n' => {
                    if self.column == 3 {
                        out.push_back(b' ');
                    }
                    out.extend(b"\r\n");
                    self.column = 0;
                }
                // Written with its LF; alone it means nothing.
                b'\r' => {}
                byte => {
                    if self.column < LINE_BYTES_MAX {
                        let shown = byte.is_ascii_graphic() || *byte == b' ';
                        out.push_back(if shown { *byte } else { b'?' });
                    }
                    self.column += 1;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lettre::transport::smtp::response::Response;
    use proptest::prelude::*;

    use super::*;

    fn tidied(bytes: &[u8]) -> Vec<u8> {
        let (mut tidy, mut out) = (Tidy::default(), VecDeque::new());
        tidy.pass(bytes, &mut out).unwrap();
        out.into()
    }

    #[test]
    fn codes_without_words_and_bare_line_ends_are_answers_too() {
        for (input, code, words) in
            [("250\r\n", 250, ""), ("250 fine\n", 250, "fine"), ("550 n\u{fc}cht\r\n", 550, "n??cht"), ("250\n", 250, "")]
        {
            let text = String::from_utf8(tidied(input.as_bytes())).unwrap();
            let response: Response = text.parse().unwrap();
            assert!(response.has_code(code), "{input:?}");
            assert_eq!(response.first_line(), Some(words), "{input:?}");
        }
    }

    #[test]
    fn an_answer_without_end_is_cut_off() {
        let (mut tidy, mut out) = (Tidy::default(), VecDeque::new());
        let passed = (0..1_000).take_while(|_| tidy.pass(&[b'x'; 1_000], &mut out).is_ok()).count();
        assert!(passed <= 262 && out.len() <= LINE_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn whatever_a_host_says_comes_out_as_ascii_lines_of_bounded_length(bytes in prop::collection::vec(any::<u8>(), 0..3_000)) {
            let out = tidied(&bytes);
            prop_assert!(out.iter().all(|byte| byte.is_ascii_graphic() || b" \r\n".contains(byte)));
            prop_assert!(out.split(|byte| *byte == b'\n').all(|line| line.len() <= LINE_BYTES_MAX + 1));
        }
    }
}
