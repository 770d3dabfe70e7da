//! A mail host that does what a test tells it, and remembers what it was told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What to do about a line.
pub(crate) enum Do {
    /// Answer with this, CRLF added.
    Say(String),
    /// Answer nothing, ever, and keep the connection.
    Hang,
    /// Close.
    Cut,
    /// Send bytes that are no answer, and go on.
    Raw(Vec<u8>),
}

pub(crate) fn say(text: &str) -> Option<Do> {
    Some(Do::Say(text.to_owned()))
}

/// Decides about a line of the connection with this number, from 0. `GREETING` comes before the first, `TEXT` when half of a text is there, `.` after a text. None: the usual.
pub(crate) type Conduct = Arc<dyn Fn(usize, &str) -> Option<Do> + Send + Sync>;

pub(crate) fn conduct(decide: impl Fn(usize, &str) -> Option<Do> + Send + Sync + 'static) -> Conduct {
    Arc::new(decide)
}

/// How TLS is had.
#[derive(Clone)]
pub(crate) enum Tls {
    No,
    Offered(Arc<ServerConfig>),
    First(Arc<ServerConfig>),
}

#[derive(Default, Clone, Debug)]
pub(crate) struct Log {
    /// Lines of each connection.
    pub(crate) connections: Vec<Vec<String>>,
    /// Texts as they came, with their dots.
    pub(crate) mails: Vec<Vec<u8>>,
}

#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<Log>>,
}

impl Host {
    /// On any port of 127.0.0.1.
    pub(crate) async fn start(offers: &[&str], tls: Tls, conduct: Conduct) -> Host {
        Host::start_at("127.0.0.1:0".parse().unwrap(), offers, tls, conduct).await
    }

    pub(crate) async fn start_at(address: SocketAddr, offers: &[&str], tls: Tls, conduct: Conduct) -> Host {
        let listener = TcpListener::bind(address).await.unwrap();
        let host = Host { address: listener.local_addr().unwrap(), log: Arc::default() };
        let (log, offers) = (host.log.clone(), offers.iter().map(|offer| (*offer).to_owned()).collect::<Vec<_>>());
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let number = {
                    let mut log = log.lock().unwrap();
                    log.connections.push(Vec::new());
                    log.connections.len() - 1
                };
                let talk = Talk { number, log: log.clone(), offers: offers.clone(), tls: tls.clone(), conduct: conduct.clone() };
                tokio::spawn(async move {
                    let _ = tcp.set_nodelay(true);
                    match &talk.tls {
                        Tls::First(config) => {
                            let acceptor = TlsAcceptor::from(config.clone());
                            if let Ok(stream) = acceptor.accept(tcp).await {
                                talk.run(stream, true, true).await;
                            }
                        }
                        Tls::No | Tls::Offered(_) => {
                            if let Some(tcp) = talk.run(tcp, true, false).await
                                && let Tls::Offered(config) = &talk.tls
                                && let Ok(stream) = TlsAcceptor::from(config.clone()).accept(tcp).await
                            {
                                talk.run(stream, false, true).await;
                            }
                        }
                    }
                });
            }
        });
        host
    }

    pub(crate) fn log(&self) -> Log {
        self.log.lock().unwrap().clone()
    }

    /// How often a line that begins so was said, over all connections.
    pub(crate) fn heard(&self, start: &str) -> usize {
        self.log().connections.iter().flatten().filter(|line| line.starts_with(start)).count()
    }
}

struct Talk {
    number: usize,
    log: Arc<Mutex<Log>>,
    offers: Vec<String>,
    tls: Tls,
    conduct: Conduct,
}

impl Talk {
    /// Speaks SMTP; gives the stream back when TLS is to begin.
    async fn run<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S, greet: bool, secure: bool) -> Option<S> {
        let mut stream = BufReader::new(stream);
        if greet && !self.act(&mut stream, "GREETING", "220 far.test ESMTP").await {
            return None;
        }
        loop {
            let line = self.line(&mut stream).await?;
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            let usual = match verb.as_str() {
                "EHLO" => {
                    let mut lines = vec!["far.test".to_owned()];
                    lines.extend(self.offers.iter().cloned());
                    if matches!(self.tls, Tls::Offered(_)) && !secure {
                        lines.push("STARTTLS".to_owned());
                    }
                    let last = lines.len() - 1;
                    lines
                        .iter()
                        .enumerate()
                        .map(|(at, line)| format!("250{}{line}", if at == last { " " } else { "-" }))
                        .collect::<Vec<_>>()
                        .join("\r\n")
                }
                "STARTTLS" => "220 go".to_owned(),
                "DATA" => "354 go".to_owned(),
                "QUIT" => "221 bye".to_owned(),
                "AUTH" => "235 2.7.0 in".to_owned(),
                _ => "250 2.0.0 fine".to_owned(),
            };
            let data = verb == "DATA" && (self.conduct)(self.number, &line).is_none();
            if !self.act(&mut stream, &line, &usual).await || verb == "QUIT" {
                return None;
            }
            if verb == "STARTTLS" && !secure {
                return Some(stream.into_inner());
            }
            if data {
                let mut text = Vec::new();
                while !text.ends_with(b"\r\n.\r\n") && text != b".\r\n" {
                    if text.len() > 100 && matches!((self.conduct)(self.number, "TEXT"), Some(Do::Cut)) {
                        return None;
                    }
                    if text.len() > 100 && matches!((self.conduct)(self.number, "TEXT"), Some(Do::Hang)) {
                        std::future::pending::<()>().await;
                    }
                    if stream.read_until(b'\n', &mut text).await.ok()? == 0 {
                        return None;
                    }
                }
                self.log.lock().unwrap().mails.push(text);
                if !self.act(&mut stream, ".", "250 2.0.0 taken").await {
                    return None;
                }
            }
        }
    }

    async fn line<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut BufReader<S>) -> Option<String> {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line).await.ok()? == 0 {
            return None;
        }
        assert!(line.ends_with(b"\r\n"), "a line ends in CRLF: {line:?}");
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        self.log.lock().unwrap().connections[self.number].push(line.clone());
        Some(line)
    }

    async fn act<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut BufReader<S>, line: &str, usual: &str) -> bool {
        match (self.conduct)(self.number, line) {
            None => stream.write_all(format!("{usual}\r\n").as_bytes()).await.is_ok() && stream.flush().await.is_ok(),
            Some(Do::Say(text)) => {
                stream.write_all(format!("{text}\r\n").as_bytes()).await.is_ok() && stream.flush().await.is_ok()
            }
            Some(Do::Raw(bytes)) => stream.write_all(&bytes).await.is_ok() && stream.flush().await.is_ok(),
            Some(Do::Hang) => std::future::pending().await,
            Some(Do::Cut) => false,
        }
    }
}
