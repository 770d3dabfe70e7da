//! A connection to somebody else's server: TLS, deadlines, bounded lines, streamed bodies.

use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::{Account, FetchError, Security};

/// Reaching the server and shaking hands.
const CONNECT: Duration = Duration::from_secs(30);
/// Longest silence of the server in the middle of something.
pub(super) const SILENCE: Duration = Duration::from_secs(90);
/// A whole answer that is no mail, however many lines it has.
pub(super) const ANSWER: Duration = Duration::from_secs(30 * 60);
/// What a mail must come with, bytes a second on average, after a first [`SILENCE`].
const PACE_BYTES: u64 = 256;
/// Longest line, bytes.
pub(super) const LINE_BYTES_MAX: usize = 64 * 1024;
/// Read at once, bytes.
const PIECE_BYTES: usize = 16 * 1024;
/// What is shown of a server's words, letters.
const SAID_MAX: usize = 200;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// The connection.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    host: String,
    buffer: Vec<u8>,
    /// Of the buffer, what is used up.
    used: usize,
    silence: Duration,
    tls: Arc<ClientConfig>,
    encrypted: bool,
}

impl core::fmt::Debug for Wire {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Wire").field("host", &self.host).field("encrypted", &self.encrypted).finish_non_exhaustive()
    }
}

impl Wire {
    /// Reaches the account's server; TLS is on where it begins with the first byte. `silence` as [`SILENCE`].
    ///
    /// # Errors
    /// It cannot be reached, TLS fails, or it would be in the clear to another machine.
    pub(super) async fn connect(account: &Account, silence: Duration) -> Result<Self, FetchError> {
        let host = account.host.clone();
        let tls = Arc::new(trust(account)?);
        let reach = TcpStream::connect((host.as_str(), account.port()));
        let stream = match timeout(CONNECT.min(silence), reach).await {
            Err(_) => return Err(FetchError::Silent(host)),
            Ok(Err(error)) => return Err(FetchError::Unreachable { host, why: error.to_string() }),
            Ok(Ok(stream)) => stream,
        };
        let here = stream.peer_addr().is_ok_and(|peer| IpAddr::to_canonical(&peer.ip()).is_loopback());
        if account.security == Security::None && !here {
            return Err(FetchError::NoTls(host));
        }
        // Sending without delay is a wish.
        let _wish = stream.set_nodelay(true);
        let mut wire = Self { stream: Box::new(stream), host, buffer: Vec::new(), used: 0, silence, tls, encrypted: false };
        if account.security == Security::Tls {
            wire.start_tls().await?;
        }
        Ok(wire)
    }

    /// The server.
    #[must_use]
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Shakes hands. Whatever the server sent in the clear behind its consent would be somebody else's (RFC 3501 §6.2.1), and ends it.
    ///
    /// # Errors
    /// TLS fails.
    pub(super) async fn start_tls(&mut self) -> Result<(), FetchError> {
        if self.used < self.buffer.len() {
            return Err(self.nonsense("words between STARTTLS and TLS"));
        }
        let failed = |why: String| FetchError::Tls { host: self.host.clone(), why };
        let name = ServerName::try_from(self.host.clone()).map_err(|error| failed(error.to_string()))?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let gone: Box<dyn Stream> = Box::new(tokio::io::empty());
        let stream = std::mem::replace(&mut self.stream, gone);
        self.stream = match timeout(CONNECT.min(self.silence), connector.connect(name, stream)).await {
            Err(_) => return Err(FetchError::Silent(self.host.clone())),
            Ok(Err(error)) => return Err(FetchError::Tls { host: self.host.clone(), why: error.to_string() }),
            Ok(Ok(stream)) => Box::new(stream),
        };
        self.encrypted = true;
        Ok(())
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// The connection breaks, or nobody takes it.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        let send = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        match timeout(self.silence, send).await {
            Err(_) => Err(FetchError::Silent(self.host.clone())),
            Ok(Err(error)) => Err(self.broken(&error)),
            Ok(Ok(())) => Ok(()),
        }
    }

    /// The next line without its end; at most [`LINE_BYTES_MAX`].
    ///
    /// # Errors
    /// Silence, the end, a line that is too long.
    pub(super) async fn line(&mut self) -> Result<Vec<u8>, FetchError> {
        self.line_within(self.silence).await
    }

    /// As [`Wire::line`], with another patience for the whole line: a server that trickles is one that hangs. Cancel-safe.
    ///
    /// # Errors
    /// As there.
    pub(super) async fn line_within(&mut self, patience: Duration) -> Result<Vec<u8>, FetchError> {
        let mut looked_at = 0;
        let end = Instant::now() + patience;
        loop {
            let waiting = self.buffer.get(self.used..).unwrap_or_default();
            if let Some(at) = waiting.iter().skip(looked_at).position(|byte| *byte == b'\n') {
                let at = looked_at + at;
                let line = waiting.get(..at).unwrap_or_default();
                let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
                self.used += at + 1;
                return Ok(line);
            }
            looked_at = waiting.len();
            if looked_at > LINE_BYTES_MAX {
                return Err(self.nonsense("a line without end"));
            }
            self.fill(end.saturating_duration_since(Instant::now())).await?;
        }
    }

    /// Some bytes, at most `max` of them.
    ///
    /// # Errors
    /// Silence, the end.
    pub(super) async fn some(&mut self, max: u64) -> Result<Vec<u8>, FetchError> {
        if self.used >= self.buffer.len() {
            self.fill(self.silence).await?;
        }
        let waiting = self.buffer.get(self.used..).unwrap_or_default();
        let count = waiting.len().min(usize::try_from(max).unwrap_or(usize::MAX));
        let some = waiting.get(..count).unwrap_or_default().to_vec();
        self.used += count;
        Ok(some)
    }

    /// Copies so many bytes into `sink`; a sink that fails ends it.
    ///
    /// # Errors
    /// Silence, the end, the sink.
    pub(super) async fn copy(&mut self, mut count: u64, sink: &mut (dyn Write + Send)) -> Result<(), FetchError> {
        let start = Instant::now();
        let whole = count;
        while count > 0 {
            let piece = self.some(count).await?;
            count -= piece.len() as u64;
            self.keeps_up(start, whole - count)?;
            sink.write_all(&piece).map_err(FetchError::Disk)?;
        }
        Ok(())
    }

    /// Whether so many bytes since `start` are as many as a mail must come with.
    ///
    /// # Errors
    /// The server trickles, which is as good as silence.
    pub(super) fn keeps_up(&self, start: Instant, bytes: u64) -> Result<(), FetchError> {
        let earned = self.silence + Duration::from_secs(bytes / PACE_BYTES);
        if start.elapsed() <= earned { Ok(()) } else { Err(FetchError::Silent(self.host.clone())) }
    }

    /// An answer that takes longer than [`ANSWER`].
    #[must_use]
    pub(super) fn late(&self) -> FetchError {
        FetchError::Silent(self.host.clone())
    }

    async fn fill(&mut self, patience: Duration) -> Result<(), FetchError> {
        self.buffer.drain(..self.used);
        self.used = 0;
        self.buffer.reserve(PIECE_BYTES);
        match timeout(patience, self.stream.read_buf(&mut self.buffer)).await {
            Err(_) => Err(FetchError::Silent(self.host.clone())),
            Ok(Ok(0)) => Err(FetchError::Unreachable { host: self.host.clone(), why: "it closed the connection".to_owned() }),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.broken(&error)),
        }
    }

    fn broken(&self, error: &std::io::Error) -> FetchError {
        FetchError::Unreachable { host: self.host.clone(), why: error.to_string() }
    }

    /// The server makes no sense.
    #[must_use]
    pub(super) fn nonsense(&self, what: &'static str) -> FetchError {
        FetchError::Nonsense { host: self.host.clone(), what }
    }
}

/// What a server said, as it can be shown: printable, one line, cut.
#[must_use]
pub(super) fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    // Marks of direction would let it show as something else.
    let is_odd = |letter: char| letter.is_control() || matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().take(SAID_MAX).map(|letter| if is_odd(letter) { '?' } else { letter }).collect()
}

fn trust(account: &Account) -> Result<ClientConfig, FetchError> {
    let failed = |why: String| FetchError::Tls { host: account.host.clone(), why };
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = &account.authority {
        let certificates = CertificateDer::pem_file_iter(path).map_err(|error| failed(format!("{}: {error}", path.display())))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| failed(format!("{}: {error}", path.display())))?;
            roots.add(certificate).map_err(|error| failed(error.to_string()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| failed(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
