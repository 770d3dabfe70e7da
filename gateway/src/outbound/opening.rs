//! Opening a conversation: TCP, the greeting, EHLO (or HELO), STARTTLS and the handshake. What comes out is ready for MAIL or AUTH.
//!
//! Done here and not by lettre, since whose certificate is believed is decided here, and since nothing that was said before TLS may count after it (RFC 3207 §4.2).

use std::net::SocketAddr;
use std::time::Duration;

use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use rustls_pki_types::{CertificateDer, ServerName};
use std::collections::VecDeque;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::fate::{Answer, Phase, Protection, Trouble, Why};
use super::offer::Offer;
use super::times::Times;
use super::trust::{Roots, Trust, client};
use super::wire::{Gauge, Stream, Tidy, Wire};
use crate::domain::Place;

/// Lines of one answer that are read before TLS.
const LINES_MAX: usize = 128;

/// What TLS is to be.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Wish {
    /// None, whatever is offered.
    Clear,
    /// If it is offered.
    IfOffered,
    /// By STARTTLS, or no mail.
    StartTls(Trust),
    /// From the first byte (RFC 8314 §3.3).
    FromTheFirstByte(Trust),
}

/// A conversation that has begun.
pub(crate) struct Opened {
    pub(crate) connection: AsyncSmtpConnection,
    pub(crate) gauge: Gauge,
    pub(crate) offer: Offer,
    pub(crate) protection: Protection,
}

/// Why none began. All of it may be otherwise next time.
#[derive(Debug)]
pub(crate) struct NotOpened {
    pub(crate) trouble: Trouble,
    /// Whether TLS failed where mail may go without it.
    pub(crate) tls_failed: bool,
}

/// Whom to speak with, and how to introduce ourselves.
pub(crate) struct Peer<'a> {
    pub(crate) address: SocketAddr,
    /// Its name, for TLS and reports.
    pub(crate) host: &'a str,
    pub(crate) hello: &'a Place,
}

/// Opens a conversation.
pub(crate) async fn open(peer: &Peer<'_>, wish: &Wish, times: &Times, roots: &Roots) -> Result<Opened, NotOpened> {
    let mut opening = Opening { peer, times, roots, raw: Vec::new() };
    opening.run(wish).await
}

/// Talks with a host until TLS is there, whatever it shows, and gives the certificates that it has shown, its own first.
pub(crate) async fn certificates(
    peer: &Peer<'_>,
    times: &Times,
    roots: &Roots,
) -> Result<Vec<CertificateDer<'static>>, NotOpened> {
    let mut opening = Opening { peer, times, roots, raw: Vec::new() };
    let tcp = opening.connect().await?;
    let mut stream = Stream::Clear(tcp);
    let greeting = opening.answer(&mut stream, times.greeting, Phase::Greeting).await?;
    opening.positive(&greeting)?;
    if !opening.hello(&mut stream).await?.starttls {
        return Err(opening.failed(Why::NoTls));
    }
    let ready = opening.say(&mut stream, "STARTTLS\r\n", times.tls, Phase::Tls).await?;
    let mut stream = match stream {
        Stream::Clear(tcp) if ready.code == 220 => opening.secure(tcp, &Trust::Anybody).await?.0,
        Stream::Clear(_) | Stream::Tls(_) => return Err(opening.said(Why::NoTls, ready)),
    };
    let shown = match &stream {
        Stream::Tls(tls) => {
            tls.get_ref().1.peer_certificates().unwrap_or_default().iter().map(|one| one.clone().into_owned()).collect()
        }
        Stream::Clear(_) => Vec::new(),
    };
    // A goodbye that is not heard costs nobody anything.
    let _said = opening.say(&mut stream, "QUIT\r\n", times.quit, Phase::Greeting).await;
    Ok(shown)
}

struct Opening<'a> {
    peer: &'a Peer<'a>,
    times: &'a Times,
    roots: &'a Roots,
    /// The bytes of the last answer.
    raw: Vec<u8>,
}

impl Opening<'_> {
    async fn run(&mut self, wish: &Wish) -> Result<Opened, NotOpened> {
        let tcp = self.connect().await?;
        let (mut stream, mut protection) = match wish {
            Wish::FromTheFirstByte(trust) => self.secure(tcp, trust).await?,
            Wish::Clear | Wish::IfOffered | Wish::StartTls(_) => (Stream::Clear(tcp), Protection::Clear),
        };
        let greeting = self.answer(&mut stream, self.times.greeting, Phase::Greeting).await?;
        self.positive(&greeting)?;
        let mut played = self.raw.clone();
        let mut offer = self.hello(&mut stream).await?;
        let trust = match wish {
            Wish::Clear | Wish::FromTheFirstByte(_) => None,
            Wish::IfOffered => offer.starttls.then_some(&Trust::Anybody),
            Wish::StartTls(_) if !offer.starttls => return Err(self.failed(Why::NoTls)),
            Wish::StartTls(trust) => Some(trust),
        };
        if let Some(trust) = trust {
            let ready = self.say(&mut stream, "STARTTLS\r\n", self.times.tls, Phase::Tls).await;
            let optional = matches!(wish, Wish::IfOffered);
            let upgraded = match (ready, stream) {
                (Ok(answer), Stream::Clear(tcp)) if answer.code == 220 => self.secure(tcp, trust).await,
                (Ok(answer), _) => Err(self.said(Why::NoTls, answer)),
                (Err(error), _) => Err(error),
            };
            (stream, protection) = upgraded.map_err(|error| NotOpened { tls_failed: optional, ..error })?;
            offer = self.hello(&mut stream).await?;
        }
        played.extend_from_slice(&self.raw);
        let (wire, gauge) = Wire::new(stream, &played);
        let hello = ClientId::Domain(self.peer.hello.to_string());
        match AsyncSmtpConnection::connect_with_transport(Box::new(wire), &hello).await {
            Ok(connection) => Ok(Opened { connection, gauge, offer, protection }),
            Err(_) => Err(self.failed(Why::Nonsense(Phase::Hello))),
        }
    }

    async fn connect(&self) -> Result<TcpStream, NotOpened> {
        let tcp = match timeout(self.times.connect, TcpStream::connect(self.peer.address)).await {
            Ok(Ok(tcp)) => tcp,
            Ok(Err(error)) => return Err(self.failed(Why::Unreachable(crate::printable(&error.to_string(), 200)))),
            Err(_) => return Err(self.failed(Why::Unreachable("no answer in time".to_owned()))),
        };
        // Commands are small and waited for.
        let _ = tcp.set_nodelay(true);
        Ok(tcp)
    }

    /// EHLO; HELO with hosts that know no other (RFC 5321 §3.2).
    async fn hello(&mut self, stream: &mut Stream) -> Result<Offer, NotOpened> {
        let (name, time) = (self.peer.hello, self.times.hello);
        let mut answer = self.say(stream, &format!("EHLO {name}\r\n"), time, Phase::Hello).await?;
        if matches!(answer.code, 500 | 501 | 502 | 504 | 550) {
            answer = self.say(stream, &format!("HELO {name}\r\n"), time, Phase::Hello).await?;
        }
        self.positive(&answer)?;
        let text = String::from_utf8_lossy(&self.raw).into_owned();
        Ok(Offer::read(text.lines().map(|line| line.get(4..).unwrap_or_default())))
    }

    async fn secure(&self, tcp: TcpStream, trust: &Trust) -> Result<(Stream, Protection), NotOpened> {
        let tls = |why: String| self.failed(Why::Tls(why));
        let (config, proved) = client(trust, self.roots).map_err(|error| tls(error.to_string()))?;
        let name =
            ServerName::try_from(self.peer.host.to_owned()).or_else(|_| ServerName::try_from(self.peer.address.ip().to_string()));
        let name = name.map_err(|_| tls("the host has no name for a certificate".to_owned()))?;
        match timeout(self.times.tls, TlsConnector::from(config).connect(name, tcp)).await {
            Ok(Ok(stream)) => Ok((Stream::Tls(Box::new(stream)), proved.protection())),
            Ok(Err(error)) => Err(tls(crate::printable(&error.to_string(), 200))),
            Err(_) => Err(self.failed(Why::Hung(Phase::Tls))),
        }
    }

    async fn say(&mut self, stream: &mut Stream, line: &str, time: Duration, phase: Phase) -> Result<Answer, NotOpened> {
        let said = async {
            stream.write_all(line.as_bytes()).await?;
            stream.flush().await
        };
        match timeout(time, said).await {
            Ok(Ok(())) => self.answer(stream, time, phase).await,
            Ok(Err(_)) => Err(self.failed(Why::Lost(phase))),
            Err(_) => Err(self.failed(Why::Hung(phase))),
        }
    }

    /// One answer, and not a byte more: whoever speaks before being asked either is no mail host, or somebody puts words into its mouth before TLS (CVE-2011-0411).
    async fn answer(&mut self, stream: &mut Stream, time: Duration, phase: Phase) -> Result<Answer, NotOpened> {
        self.raw.clear();
        let reading = async {
            let (mut tidy, mut out) = (Tidy::default(), VecDeque::new());
            let mut space = [0u8; 2048];
            loop {
                let read = stream.read(&mut space).await.map_err(|_| Why::Lost(phase))?;
                if read == 0 {
                    return Err(Why::Lost(phase));
                }
                tidy.pass(space.get(..read).unwrap_or_default(), &mut out).map_err(|_| Why::Nonsense(phase))?;
                match complete(out.make_contiguous()) {
                    Progress::More => {}
                    Progress::Whole => return Ok(out),
                    Progress::Nonsense => return Err(Why::Nonsense(phase)),
                }
            }
        };
        let out = match timeout(time, reading).await {
            Ok(Ok(out)) => out,
            Ok(Err(why)) => return Err(self.failed(why)),
            Err(_) => return Err(self.failed(Why::Hung(phase))),
        };
        self.raw = out.into();
        let response: Response = String::from_utf8_lossy(&self.raw).parse().map_err(|_| self.failed(Why::Nonsense(phase)))?;
        let text = response.message().collect::<Vec<_>>().join(" ");
        Ok(Answer::new(response.code().into(), &text))
    }

    fn positive(&self, answer: &Answer) -> Result<(), NotOpened> {
        if answer.is_positive() { Ok(()) } else { Err(self.said(Why::Refused, answer.clone())) }
    }

    fn failed(&self, why: Why) -> NotOpened {
        NotOpened { trouble: Trouble::at(self.peer.host, why), tls_failed: false }
    }

    fn said(&self, why: Why, answer: Answer) -> NotOpened {
        NotOpened { trouble: Trouble::said(self.peer.host, why, answer), tls_failed: false }
    }
}

#[derive(PartialEq, Eq, Debug)]
enum Progress {
    More,
    Whole,
    Nonsense,
}

/// Whether tidied bytes are one whole answer.
fn complete(bytes: &[u8]) -> Progress {
    let mut lines = 0;
    let mut rest = bytes;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, after) = rest.split_at(end + 1);
        lines += 1;
        let code = line.get(..3).is_some_and(|code| code.iter().all(u8::is_ascii_digit));
        match line.get(3) {
            Some(b'-') if code && lines < LINES_MAX => rest = after,
            Some(b' ') if code => return if after.is_empty() { Progress::Whole } else { Progress::Nonsense },
            _ => return Progress::Nonsense,
        }
    }
    Progress::More
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_at_its_last_line_and_has_nothing_after_it() {
        for (bytes, progress) in [
            ("", Progress::More),
            ("220 mx", Progress::More),
            ("220 mx\r\n", Progress::Whole),
            ("250-mx\r\n", Progress::More),
            ("250-mx\r\n250 SIZE\r\n", Progress::Whole),
            ("220 go\r\n250 injected\r\n", Progress::Nonsense),
            ("220 go\r\nx", Progress::Nonsense),
            ("hello\r\n", Progress::Nonsense),
            ("22\r\n", Progress::Nonsense),
        ] {
            assert_eq!(complete(bytes.as_bytes()), progress, "{bytes:?}");
        }
        assert_eq!(complete("250-x\r\n".repeat(LINES_MAX + 1).as_bytes()), Progress::Nonsense);
    }
}
