//! Fetching by IMAP (RFC 3501, RFC 9051): what is new behind a position, one mail at a time, and waiting for more with IDLE (RFC 2177).

mod login;
pub mod response;
mod waiting;

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

pub use waiting::Woken;

use super::wire::{ANSWER, SILENCE, Wire, shown};
use super::{Account, Afterwards, Begin, FetchError, Security};
use crate::secret::joined;
use response::{Fetch, Response, Status, fetch_of, literal_of, quoted, utf7};

/// Mails that one [`Session::list`] tells of; the next one tells of more.
pub const LISTED_MAX: usize = 50_000;
/// Responses to one command, before the server makes no sense.
const RESPONSES_MAX: usize = 2_000_000;
/// Longest literal outside of mails, bytes.
const LITERAL_BYTES_MAX: u64 = 64 * 1024;
/// Debts of a position; older ones are forgiven, and the mails stay there.
const OWED_MAX: usize = 1000;
/// Where there is no IDLE: so often is looked.
const POLL: Duration = Duration::from_secs(5 * 60);

/// How far a folder has been fetched: the row that is stored with each mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The folder's name.
    pub folder: String,
    /// RFC 3501 §2.3.1.1: what the UIDs are worth.
    pub uid_validity: u32,
    /// The last one that is here.
    pub last_uid: u32,
    /// Mails that are here, and still to be deleted, flagged or moved there.
    pub owed: Vec<u32>,
}

/// A mail on the far side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its UID.
    pub uid: u32,
    /// Bytes, as the server says.
    pub size: u64,
    /// It was read there.
    pub seen: bool,
}

/// What opening a folder told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Where to go on: the stored position, or a new one.
    pub position: Position,
    /// The server has numbered the folder anew: it is fetched from the beginning, and what is here already must be known by its content.
    pub renumbered: bool,
}

/// A connection that is logged in.
#[derive(Debug)]
pub struct Session {
    wire: Wire,
    tag: u32,
    capabilities: BTreeSet<String>,
    open: Option<String>,
    size_limit: u64,
    afterwards: Afterwards,
    begin: Begin,
    poll: Duration,
}

impl Session {
    /// Reaches the server and logs in.
    ///
    /// # Errors
    /// Typed: unreachable, no TLS, wrong credentials, not now.
    pub async fn connect(account: &Account) -> Result<Self, FetchError> {
        Self::connect_within(account, SILENCE, POLL).await
    }

    /// As [`Session::connect`], with other patience: longest silence, and time between looks where there is no IDLE.
    ///
    /// # Errors
    /// As there.
    pub async fn connect_within(account: &Account, silence: Duration, poll: Duration) -> Result<Self, FetchError> {
        let wire = Wire::connect(account, silence).await?;
        let mut session = Self {
            wire,
            tag: 0,
            capabilities: BTreeSet::new(),
            open: None,
            size_limit: account.size_limit,
            afterwards: account.afterwards.clone(),
            begin: account.begin,
            poll,
        };
        let greeting = session.wire.line().await?;
        match Response::parse(&greeting) {
            Response::Status(Status::Ok, _) => {}
            Response::Bye(said) | Response::Status(_, said) => return Err(session.later(&said)),
            // Logged in before we said who we are: nobody that we know.
            _ => return Err(session.wire.nonsense("its greeting")),
        }
        if account.security == Security::Starttls {
            session.command("STARTTLS").await.map_err(|error| match error {
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
        session.ask_capabilities().await?;
        Ok(session)
    }

    /// Opens a folder, with the stored position if there is one, and settles what it owes.
    ///
    /// # Errors
    /// The folder is not there; as always.
    pub async fn open(&mut self, folder: &str, stored: Option<&Position>) -> Result<Opened, FetchError> {
        let (mut validity, mut next) = (None, None);
        let command = format!("SELECT {}", quoted(&utf7(folder)));
        self.run(&command, |line| {
            validity = validity.or(response::code(line, "UIDVALIDITY"));
            next = next.or(response::code(line, "UIDNEXT"));
        })
        .await?;
        self.open = Some(folder.to_owned());
        let Some(uid_validity) = validity else { return Err(self.wire.nonsense("a folder without UIDVALIDITY")) };
        if let Some(stored) = stored.filter(|stored| stored.uid_validity == uid_validity) {
            let mut position = stored.clone();
            self.settle(&mut position).await?;
            return Ok(Opened { position, renumbered: false });
        }
        let last_uid = match (self.begin, stored, next) {
            (Begin::New, None, Some(next)) => next.saturating_sub(1),
            _ => 0,
        };
        let position = Position { folder: folder.to_owned(), uid_validity, last_uid, owed: Vec::new() };
        Ok(Opened { position, renumbered: stored.is_some() })
    }

    /// What is new behind a position, by UID; at most [`LISTED_MAX`], the first ones.
    ///
    /// # Errors
    /// As always.
    pub async fn list(&mut self, position: &Position) -> Result<Vec<Listed>, FetchError> {
        let mut found = std::collections::BTreeMap::new();
        let last = position.last_uid;
        let Some(first) = last.checked_add(1) else { return Ok(Vec::new()) };
        let command = format!("UID FETCH {first}:* (UID RFC822.SIZE FLAGS)");
        self.run(&command, |line| {
            let Some(Fetch { uid: Some(uid), size, seen, .. }) = fetch_of(line) else { return };
            // `*` is the last one there is, even where that is an old one.
            if uid > last {
                found.insert(uid, Listed { uid, size: size.unwrap_or(0), seen });
                if found.len() > LISTED_MAX {
                    found.pop_last();
                }
            }
        })
        .await?;
        Ok(found.into_values().collect())
    }

    /// The position to store together with this mail.
    #[must_use]
    pub fn after(&self, position: &Position, mail: &Listed) -> Position {
        let mut after = self.past(position, mail);
        if self.afterwards != Afterwards::Keep {
            let excess = (after.owed.len() + 1).saturating_sub(OWED_MAX);
            after.owed.drain(..excess);
            after.owed.push(mail.uid);
        }
        after
    }

    /// The position to store where this mail is passed over (too large): it stays as it is on the far side.
    #[must_use]
    pub fn past(&self, position: &Position, mail: &Listed) -> Position {
        Position { last_uid: mail.uid, ..position.clone() }
    }

    /// Streams a mail into `sink`; its size. `None` where it is gone meanwhile. It is not marked as read.
    ///
    /// # Errors
    /// [`FetchError::TooLarge`]: where the server said so before, the session goes on; else not. As always.
    pub async fn body(&mut self, mail: &Listed, sink: &mut (dyn Write + Send)) -> Result<Option<u64>, FetchError> {
        if mail.size > self.size_limit {
            return Err(FetchError::TooLarge { size: mail.size });
        }
        let tag = self.start(&format!("UID FETCH {} (UID BODY.PEEK[])", mail.uid)).await?;
        let mut taken = None;
        for _ in 0..RESPONSES_MAX {
            let mut line = self.wire.line().await?;
            while let Some(size) = literal_of(&line) {
                let is_ours = taken.is_none() && response::ends_with_body(&line) && fetch_of(&line).is_some();
                if is_ours {
                    if size > self.size_limit {
                        return Err(FetchError::TooLarge { size });
                    }
                    self.wire.copy(size, sink).await?;
                    taken = Some(size);
                } else {
                    self.skip(size).await?;
                }
                line.truncate(line.iter().rposition(|byte| *byte == b'{').unwrap_or(0));
                line.extend_from_slice(b"\"\"");
                line.extend(self.wire.line().await?);
                if line.len() > super::wire::LINE_BYTES_MAX {
                    return Err(self.wire.nonsense("a response without end"));
                }
            }
            match (Response::parse(&line), taken) {
                (Response::Tagged(answered, status, said), _) if answered == tag => {
                    return self.outcome(status, &said).map(|()| taken);
                }
                (Response::Bye(said), _) => return Err(self.later(&said)),
                // A mail without a literal: a quoted one, which short mails may come as.
                (Response::Untagged, None) => {
                    if let Some(text) = response::quoted_body(&line) {
                        sink.write_all(&text).map_err(FetchError::Disk)?;
                        taken = Some(text.len() as u64);
                    }
                }
                _ => {}
            }
        }
        Err(self.wire.nonsense("responses without end"))
    }

    /// Does to the mails that a position owes what the settings say, and takes them off it. Only after it is committed here; again is harmless.
    ///
    /// # Errors
    /// As always. The debt remains in the stored position.
    pub async fn settle(&mut self, position: &mut Position) -> Result<(), FetchError> {
        while let Some(uid) = position.owed.last().copied() {
            match self.afterwards.clone() {
                Afterwards::Keep => {}
                Afterwards::Seen => self.command(&format!("UID STORE {uid} +FLAGS.SILENT (\\Seen)")).await?,
                Afterwards::Delete => self.delete(uid).await?,
                Afterwards::Move(folder) => self.move_to(uid, &folder).await?,
            }
            position.owed.pop();
        }
        Ok(())
    }

    async fn move_to(&mut self, uid: u32, folder: &str) -> Result<(), FetchError> {
        let folder = quoted(&utf7(folder));
        if self.can("MOVE") {
            return self.command(&format!("UID MOVE {uid} {folder}")).await;
        }
        self.command(&format!("UID COPY {uid} {folder}")).await?;
        self.delete(uid).await
    }

    /// Says goodbye.
    pub async fn log_out(mut self) {
        let _gone = self.command("LOGOUT").await;
    }

    /// Whether the server can do this.
    #[must_use]
    pub fn can(&self, capability: &str) -> bool {
        self.capabilities.contains(capability)
    }

    async fn delete(&mut self, uid: u32) -> Result<(), FetchError> {
        self.command(&format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)")).await?;
        // Without UIDPLUS it would take with it what others marked: it stays marked.
        if self.can("UIDPLUS") { self.command(&format!("UID EXPUNGE {uid}")).await } else { Ok(()) }
    }

    async fn command(&mut self, command: &str) -> Result<(), FetchError> {
        self.run(command, |_| {}).await
    }

    /// Says a command, and shows every untagged response (literals as `""`).
    async fn run(&mut self, command: &str, mut hear: impl FnMut(&[u8])) -> Result<(), FetchError> {
        let tag = self.start(command).await?;
        let start = Instant::now();
        for _ in 0..RESPONSES_MAX {
            if start.elapsed() > ANSWER {
                return Err(self.wire.late());
            }
            let mut line = self.wire.line().await?;
            while let Some(size) = literal_of(&line) {
                self.skip(size).await?;
                line.truncate(line.iter().rposition(|byte| *byte == b'{').unwrap_or(0));
                line.extend_from_slice(b"\"\"");
                line.extend(self.wire.line().await?);
                if line.len() > super::wire::LINE_BYTES_MAX {
                    return Err(self.wire.nonsense("a response without end"));
                }
            }
            match Response::parse(&line) {
                Response::Tagged(answered, status, said) if answered == tag => return self.outcome(status, &said),
                Response::Bye(_) if command == "LOGOUT" => {}
                Response::Bye(said) => return Err(self.later(&said)),
                _ => hear(&line),
            }
        }
        Err(self.wire.nonsense("responses without end"))
    }

    async fn start(&mut self, command: &str) -> Result<String, FetchError> {
        self.tag = self.tag.wrapping_add(1);
        let tag = format!("k{}", self.tag);
        let line = joined(&[&tag, " ", command, "\r\n"]);
        self.wire.send(line.as_bytes()).await?;
        Ok(tag)
    }

    async fn skip(&mut self, size: u64) -> Result<(), FetchError> {
        if size > LITERAL_BYTES_MAX {
            return Err(self.wire.nonsense("a literal that nobody asked for"));
        }
        self.wire.copy(size, &mut std::io::sink()).await
    }

    fn outcome(&self, status: Status, said: &[u8]) -> Result<(), FetchError> {
        match status {
            Status::Ok => Ok(()),
            Status::No | Status::Bad => Err(FetchError::Refused { host: self.wire.host().to_owned(), said: shown(said) }),
        }
    }

    fn later(&self, said: &[u8]) -> FetchError {
        FetchError::Later { host: self.wire.host().to_owned(), said: shown(said) }
    }
}
