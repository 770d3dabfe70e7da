//! One accepted connection: reading and writing under deadlines, starting TLS, closing so that the last answer arrives.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::admission::Ticket;
use crate::pace::{Pace, Timing, Waiting};
use crate::shutdown::Shutdown;

/// Read at once while the client is free to be silent, bytes: what an idle connection holds.
const READ_BYTES_IDLE: usize = 4 * 1024;
/// Read at once in the middle of a literal or mail of somebody who has logged in, bytes.
const READ_BYTES: usize = 64 * 1024;
/// So much, or all that there is, has [`Timing::stall`] to go out.
const WRITE_BYTES: usize = 16 * 1024;
/// How long, and over how many bytes, a closed connection is read on so that the last answer is not lost to a reset.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;
/// How long the last words to a client that must leave for a newcomer may take.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The client was silent or too slow for too long.
    #[error("the client was too slow")]
    TimedOut,
    /// The node is stopping.
    #[error("the node is stopping")]
    ShuttingDown,
    /// Somebody else needs the place and this client has not logged in.
    #[error("the place was needed for somebody else")]
    Evicted,
    /// The password that the client logged in with was withdrawn or changed.
    #[error("the password was withdrawn")]
    Revoked,
    /// The TLS handshake failed.
    #[error("the TLS handshake failed")]
    Handshake(#[source] io::Error),
    /// There is no TLS to start, or it has been started.
    #[error("TLS cannot be started here")]
    NoTls,
    /// The network failed, or the client is gone.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
}

/// A client's connection.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    peer: SocketAddr,
    local: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    ticket: Ticket,
    shutdown: Shutdown,
    timing: Timing,
    pace: Pace,
    logged_in: bool,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// A handshake failed: there is nothing to talk to any more.
    Gone,
}

impl core::fmt::Debug for Stream {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Tls(_) => "Tls",
            Self::Gone => "Gone",
        })
    }
}

impl Connection {
    pub(crate) fn new(
        stream: TcpStream,
        peer: SocketAddr,
        ticket: Ticket,
        tls: Option<Arc<ServerConfig>>,
        shutdown: Shutdown,
        timing: Timing,
    ) -> io::Result<Self> {
        let local = stream.local_addr()?;
        stream.set_nodelay(true)?;
        let pace = Pace::new(timing, Instant::now());
        Ok(Self { stream: Stream::Plain(stream), peer, local, tls, ticket, shutdown, timing, pace, logged_in: false })
    }

    /// The client's end.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Both ends are on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.peer.ip().to_canonical().is_loopback() && self.local.ip().to_canonical().is_loopback()
    }

    /// TLS is on.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// A password may be taken here: under TLS, or when it does not leave the machine.
    #[must_use]
    pub fn may_log_in(&self) -> bool {
        self.is_encrypted() || self.is_loopback()
    }

    /// STARTTLS is worth offering.
    #[must_use]
    pub fn can_start_tls(&self) -> bool {
        self.tls.is_some() && matches!(self.stream, Stream::Plain(_))
    }

    /// The client has logged in: longer silences are fine, and the place is its own.
    pub fn logged_in(&mut self) {
        self.ticket.logged_in();
        self.pace.logged_in();
        self.logged_in = true;
    }

    /// The session said something unasked; the client's permitted silence starts anew.
    pub fn touch(&mut self) {
        self.pace.touch(Instant::now());
    }

    /// Reads some bytes to the end of `input`; 0 means that the client has closed. Cancel-safe. When the node is stopping, a connection that waits for
    /// a command ends; one that is midway goes on until the server's grace is over.
    ///
    /// # Errors
    /// Time out, shutdown, eviction, a broken connection: end the session.
    pub async fn read(&mut self, input: &mut BytesMut, waiting: Waiting) -> Result<usize, ConnectionError> {
        let deadline = self.pace.deadline(waiting);
        if waiting == Waiting::Rest && self.logged_in {
            input.reserve(READ_BYTES);
        } else if input.is_empty() && input.capacity() > READ_BYTES_IDLE {
            *input = BytesMut::with_capacity(READ_BYTES_IDLE);
        } else {
            input.reserve(READ_BYTES_IDLE);
        }
        let before = input.len();
        let read = async {
            match &mut self.stream {
                Stream::Plain(stream) => stream.read_buf(input).await,
                Stream::Tls(stream) => stream.read_buf(input).await,
                Stream::Gone => Ok(0),
            }
        };
        let outcome = tokio::select! {
            biased;
            () = self.ticket.evicted(), if !self.logged_in => return Err(ConnectionError::Evicted),
            () = self.shutdown.requested(), if waiting == Waiting::Command => return Err(ConnectionError::ShuttingDown),
            outcome = timeout_at(deadline.into(), read) => outcome,
        };
        match outcome {
            Err(_) => Err(ConnectionError::TimedOut),
            Ok(Ok(_)) => {
                let bytes = input.len() - before;
                self.pace.received(bytes, Instant::now());
                Ok(bytes)
            }
            // Many programs leave TLS without a word.
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            Ok(Err(error)) => Err(ConnectionError::Broken(error)),
        }
    }

    /// Writes all of it and flushes. After an eviction there is a moment for last words.
    ///
    /// # Errors
    /// The client does not take it, or is gone: end the session.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), ConnectionError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            // As much as the client takes goes at once; so much has to within its time.
            let least = rest.len().min(WRITE_BYTES);
            let write = async {
                let mut gone = 0;
                while gone < least {
                    let left = rest.get(gone..).unwrap_or_default();
                    let count = match &mut self.stream {
                        Stream::Plain(stream) => stream.write(left).await?,
                        Stream::Tls(stream) => stream.write(left).await?,
                        Stream::Gone => return Err(io::ErrorKind::NotConnected.into()),
                    };
                    if count == 0 {
                        return Err(io::ErrorKind::WriteZero.into());
                    }
                    gone += count;
                }
                if let Stream::Tls(stream) = &mut self.stream {
                    stream.flush().await?;
                }
                Ok(gone)
            };
            let stays = !self.logged_in && !self.ticket.is_evicted();
            let patience = if self.ticket.is_evicted() { LAST_WORDS } else { self.timing.stall };
            let gone = tokio::select! {
                outcome = timeout(patience, write) => match outcome {
                    Err(_) => return Err(ConnectionError::TimedOut),
                    Ok(outcome) => outcome.map_err(ConnectionError::Broken)?,
                },
                () = self.ticket.evicted(), if stays => return Err(ConnectionError::Evicted),
            };
            rest = rest.get(gone..).unwrap_or_default();
        }
        self.touch();
        Ok(())
    }

    /// Awaits `work`, unless this connection must leave for a newcomer meanwhile.
    ///
    /// # Errors
    /// [`ConnectionError::Evicted`]: end the session.
    pub async fn while_admitted<T>(&self, work: impl Future<Output = T>) -> Result<T, ConnectionError> {
        tokio::select! {
            outcome = work => Ok(outcome),
            () = self.ticket.evicted(), if !self.logged_in => Err(ConnectionError::Evicted),
        }
    }

    /// Shakes hands as a TLS server. Whatever the client sent in the clear before must have been thrown away by the caller (RFC 3207 §4.2).
    ///
    /// # Errors
    /// No TLS here, or the handshake failed or took too long; in the latter cases the connection is gone.
    pub async fn start_tls(&mut self) -> Result<(), ConnectionError> {
        if !self.can_start_tls() {
            return Err(ConnectionError::NoTls);
        }
        let Some(tls) = self.tls.clone() else { return Err(ConnectionError::NoTls) };
        let Stream::Plain(stream) = std::mem::replace(&mut self.stream, Stream::Gone) else { return Err(ConnectionError::NoTls) };
        let handshake = timeout(self.timing.handshake, TlsAcceptor::from(tls).accept(stream));
        let stream = match self.while_admitted(handshake).await? {
            Err(_) => return Err(ConnectionError::TimedOut),
            Ok(outcome) => outcome.map_err(ConnectionError::Handshake)?,
        };
        self.stream = Stream::Tls(Box::new(stream));
        self.touch();
        Ok(())
    }

    /// Closes: TLS's `close_notify`, then TCP's end, then reads on for a moment unless somebody else needs the place.
    pub async fn close(mut self) {
        let farewell = async {
            let mut sink = BytesMut::with_capacity(READ_BYTES_IDLE);
            let mut total = 0;
            let shut = match &mut self.stream {
                Stream::Plain(stream) => stream.shutdown().await,
                Stream::Tls(stream) => stream.shutdown().await,
                Stream::Gone => return,
            };
            let mut ended = shut.is_err();
            while !ended && total < LINGER_BYTES {
                sink.clear();
                let read = match &mut self.stream {
                    Stream::Plain(stream) => stream.read_buf(&mut sink).await,
                    Stream::Tls(stream) => stream.get_mut().0.read_buf(&mut sink).await,
                    Stream::Gone => Ok(0),
                };
                total += sink.len();
                ended = !matches!(read, Ok(bytes) if bytes > 0);
            }
        };
        let patience = if self.ticket.is_evicted() { LAST_WORDS } else { LINGER };
        tokio::select! {
            // What the client does after our last word is its own affair.
            _slow = timeout(patience, farewell) => {}
            () = self.ticket.evicted(), if patience == LINGER => {}
        }
    }
}
