//! Fetching by POP3 (RFC 1939): what is there and not known by its UIDL, one mail at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::wire::{ANSWER, SILENCE, Wire, shown};
use super::{Account, Afterwards, Begin, FetchError, Login, Security};
use crate::secret::{Secret, encoded, joined, plain, xoauth2};

/// Mails of a mailbox that are looked at; a larger one must be emptied by other means.
pub const MAILS_MAX: usize = 100_000;
/// RFC 1939 §7: longest UIDL, bytes.
const UIDL_BYTES_MAX: usize = 70;
/// Lines of a list without end.
const LINES_MAX: usize = 1000;

/// What has been fetched: the row that is stored with each mail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// UIDLs of mails that are here, and still there.
    pub here: BTreeSet<String>,
    /// UIDLs of mails that were passed over: from before the first look, or too large. They are never deleted.
    pub left: BTreeSet<String>,
    /// The mailbox has been looked at before.
    pub begun: bool,
}

/// A mail on the far side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its number in this session.
    pub number: u32,
    /// What it is called for ever.
    pub uidl: String,
    /// Bytes, as the server says.
    pub size: u64,
}

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// New ones, in the mailbox's order.
    pub new: Vec<Listed>,
    /// The position without what is gone there.
    pub position: Position,
}

/// A connection that is logged in.
#[derive(Debug)]
pub struct Session {
    wire: Wire,
    capabilities: BTreeSet<String>,
    size_limit: u64,
    delete: bool,
    begin: Begin,
}

impl Session {
    /// Reaches the server and logs in.
    ///
    /// # Errors
    /// Typed: unreachable, no TLS, wrong credentials, not now (the mailbox is locked by somebody else).
    pub async fn connect(account: &Account) -> Result<Self, FetchError> {
        Self::connect_within(account, SILENCE).await
    }

    /// As [`Session::connect`], with another longest silence.
    ///
    /// # Errors
    /// As there.
    pub async fn connect_within(account: &Account, silence: Duration) -> Result<Self, FetchError> {
        let wire = Wire::connect(account, silence).await?;
        let delete = account.afterwards == Afterwards::Delete;
        let (size_limit, begin) = (account.size_limit, account.begin);
        let mut session = Self { wire, capabilities: BTreeSet::new(), size_limit, delete, begin };
        session.answer().await?;
        if account.security == Security::Starttls {
            session.command("STLS").await.map_err(|error| match error {
                FetchError::Refused { host, .. } => FetchError::NoTls(host),
                other => other,
            })?;
            session.wire.start_tls().await?;
        }
        session.ask_capabilities().await?;
        let secret = account.secret.read().await?;
        match session.log_in(account, &secret).await {
            Err(refused @ FetchError::Credentials { .. }) => match account.another(&secret).await? {
                Some(other) => session.log_in(account, &other).await?,
                None => return Err(refused),
            },
            other => other?,
        }
        Ok(session)
    }

    /// What is new behind a position. Where mails are deleted, those that are here already are deleted now.
    ///
    /// # Errors
    /// The server has no UIDL, or more mails than [`MAILS_MAX`]; as always.
    pub async fn list(&mut self, stored: &Position) -> Result<Listing, FetchError> {
        let mut sizes = BTreeMap::new();
        for (number, size) in self.numbered("LIST").await? {
            sizes.insert(number, size.split(' ').next().and_then(|size| size.parse().ok()).unwrap_or(0));
        }
        let (mut new, mut here, mut left) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        for (number, uidl) in self.numbered("UIDL").await? {
            if uidl.is_empty() || uidl.len() > UIDL_BYTES_MAX || !uidl.bytes().all(|byte| matches!(byte, b'!'..=b'~')) {
                return Err(self.wire.nonsense("a UIDL that is none"));
            }
            if stored.here.contains(&uidl) {
                here.insert(uidl);
                if self.delete {
                    self.command(&format!("DELE {number}")).await?;
                }
            } else if stored.left.contains(&uidl) || !stored.begun && self.begin == Begin::New {
                left.insert(uidl);
            } else {
                new.push(Listed { number, uidl, size: sizes.get(&number).copied().unwrap_or(0) });
            }
        }
        Ok(Listing { new, position: Position { here, left, begun: true } })
    }

    /// The position to store together with this mail.
    #[must_use]
    pub fn after(&self, position: &Position, mail: &Listed) -> Position {
        let mut position = position.clone();
        position.here.insert(mail.uidl.clone());
        position
    }

    /// The position to store where this mail is passed over (too large): it stays on the far side.
    #[must_use]
    pub fn past(&self, position: &Position, mail: &Listed) -> Position {
        let mut position = position.clone();
        position.left.insert(mail.uidl.clone());
        position
    }

    /// Streams a mail into `sink`; its size.
    ///
    /// # Errors
    /// [`FetchError::TooLarge`]: where the server said so before, the session goes on; else not. As always.
    pub async fn body(&mut self, mail: &Listed, sink: &mut (dyn Write + Send)) -> Result<u64, FetchError> {
        if mail.size > self.size_limit {
            return Err(FetchError::TooLarge { size: mail.size });
        }
        self.command(&format!("RETR {}", mail.number)).await?;
        let (mut total, mut state) = (0_u64, Stuffing::LineStart);
        let mut plain = Vec::new();
        let start = Instant::now();
        loop {
            // By single bytes at the end, so that nothing behind it is taken.
            let piece = self.wire.some(4096).await?;
            plain.clear();
            let mut used = 0;
            for byte in &piece {
                used += 1;
                state = state.next(*byte, &mut plain);
                if state == Stuffing::End {
                    break;
                }
            }
            total += plain.len() as u64;
            self.wire.keeps_up(start, total)?;
            if total > self.size_limit {
                return Err(FetchError::TooLarge { size: total });
            }
            sink.write_all(&plain).map_err(FetchError::Disk)?;
            if state == Stuffing::End {
                return if used == piece.len() { Ok(total) } else { Err(self.wire.nonsense("words behind a mail")) };
            }
        }
    }

    /// Deletes a mail on the far side where the settings say so; it is gone when the session has ended by [`Session::quit`]. Only after it is committed here.
    ///
    /// # Errors
    /// As always: it is tried again by the next [`Session::list`].
    pub async fn settle(&mut self, mail: &Listed) -> Result<(), FetchError> {
        if self.delete { self.command(&format!("DELE {}", mail.number)).await } else { Ok(()) }
    }

    /// Ends the session: what was deleted is gone now.
    ///
    /// # Errors
    /// It may not be gone.
    pub async fn quit(mut self) -> Result<(), FetchError> {
        self.command("QUIT").await
    }

    async fn log_in(&mut self, account: &Account, secret: &Secret) -> Result<(), FetchError> {
        let outcome = match account.login {
            Login::Xoauth2 => {
                let text = xoauth2(&account.user, secret);
                self.authenticate("XOAUTH2", &text).await
            }
            Login::Password if self.capabilities.contains("USER") || self.capabilities.is_empty() => {
                let user = account.user.replace(['\r', '\n'], "");
                match self.command(&format!("USER {user}")).await {
                    Ok(()) => {
                        self.wire.send(joined(&["PASS ", secret.text(), "\r\n"]).as_bytes()).await?;
                        self.answer().await
                    }
                    refused => refused,
                }
            }
            Login::Password => {
                let text = plain(&account.user, secret);
                self.authenticate("PLAIN", &text).await
            }
        };
        outcome.map_err(|error| match error {
            FetchError::Refused { host, said } if is_for_now(&said) => FetchError::Later { host, said },
            FetchError::Refused { host, said } => FetchError::Credentials { host, login: account.login, said },
            other => other,
        })
    }

    async fn authenticate(&mut self, mechanism: &str, response: &str) -> Result<(), FetchError> {
        self.wire.send(format!("AUTH {mechanism}\r\n").as_bytes()).await?;
        let line = self.wire.line().await?;
        if !line.starts_with(b"+ ") && line != b"+" {
            return self.judge(&line);
        }
        self.wire.send(joined(&[&encoded(response), "\r\n"]).as_bytes()).await?;
        let line = self.wire.line().await?;
        if line.starts_with(b"+ ") {
            // XOAUTH2 tells why in a challenge that wants an empty answer.
            self.wire.send(b"\r\n").await?;
            return self.answer().await;
        }
        self.judge(&line)
    }

    async fn ask_capabilities(&mut self) -> Result<(), FetchError> {
        match self.command("CAPA").await {
            Err(FetchError::Refused { .. }) => return Ok(()),
            outcome => outcome?,
        }
        for _ in 0..LINES_MAX {
            let line = self.wire.line().await?;
            if line == b"." {
                return Ok(());
            }
            let line = String::from_utf8_lossy(&line).to_ascii_uppercase();
            self.capabilities.extend(line.split(' ').next().map(str::to_owned));
        }
        Err(self.wire.nonsense("a list without end"))
    }

    /// A list of numbers, each with something.
    async fn numbered(&mut self, command: &str) -> Result<Vec<(u32, String)>, FetchError> {
        self.command(command).await?;
        let mut all = Vec::new();
        let start = Instant::now();
        while all.len() <= MAILS_MAX {
            if start.elapsed() > ANSWER {
                return Err(self.wire.late());
            }
            let line = self.wire.line().await?;
            if line == b"." {
                return Ok(all);
            }
            let line = String::from_utf8_lossy(&line);
            let (number, rest) = line.split_once(' ').unwrap_or((&line, ""));
            let Ok(number) = number.parse() else { return Err(self.wire.nonsense("a list of no numbers")) };
            all.push((number, rest.trim().chars().take(UIDL_BYTES_MAX + 1).collect()));
        }
        Err(self.wire.nonsense("a list without end"))
    }

    async fn command(&mut self, command: &str) -> Result<(), FetchError> {
        self.wire.send(format!("{command}\r\n").as_bytes()).await?;
        self.answer().await
    }

    async fn answer(&mut self) -> Result<(), FetchError> {
        let line = self.wire.line().await?;
        self.judge(&line)
    }

    fn judge(&self, line: &[u8]) -> Result<(), FetchError> {
        let is = |word: &[u8]| line.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
        if is(b"+OK") {
            Ok(())
        } else if is(b"-ERR") {
            let said = shown(line.get(5..).unwrap_or_default());
            Err(FetchError::Refused { host: self.wire.host().to_owned(), said })
        } else {
            Err(self.wire.nonsense("neither +OK nor -ERR"))
        }
    }
}

/// RFC 2449 §8.1.1, RFC 3206: the mailbox is locked, or the server has a problem.
fn is_for_now(said: &str) -> bool {
    let said = said.to_ascii_uppercase();
    said.contains("[IN-USE]") || said.contains("[SYS/TEMP]") || said.contains("[LOGIN-DELAY]")
}

/// Where the end of a mail is (RFC 1939 §3): lenient with lone LFs, which some servers send; nothing else is behind a mail here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stuffing {
    LineStart,
    Dot,
    DotCr,
    Text,
    End,
}

impl Stuffing {
    fn next(self, byte: u8, plain: &mut Vec<u8>) -> Self {
        match (self, byte) {
            (Self::LineStart, b'.') => Self::Dot,
            (Self::Dot, b'\r') => Self::DotCr,
            (Self::DotCr, b'\n') => Self::End,
            (Self::DotCr, byte) => {
                plain.push(b'\r');
                Self::Text.next(byte, plain)
            }
            (_, byte) => {
                plain.push(byte);
                if byte == b'\n' { Self::LineStart } else { Self::Text }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_taken_away_and_the_end_is_found() {
        let decode = |bytes: &[u8]| {
            let (mut state, mut plain) = (Stuffing::LineStart, Vec::new());
            for byte in bytes {
                state = state.next(*byte, &mut plain);
            }
            (plain, state == Stuffing::End)
        };
        assert_eq!(decode(b"a\r\n..b\r\n.\r\n"), (b"a\r\n.b\r\n".to_vec(), true));
        assert_eq!(decode(b".\r\n"), (Vec::new(), true));
        assert_eq!(decode(b"a.\r\n.x\r\n"), (b"a.\r\nx\r\n".to_vec(), false));
        assert_eq!(decode(b".\rx"), (b"\rx".to_vec(), false));
    }
}
