//! A conversation with one client (RFC 3501 §3): bytes in, bytes out, synchronous calls on the store; no socket, no clock of its own.
//!
//! Whatever may be long (a FETCH, a search, news about many messages) is a job that stops whenever the output is large enough and goes on
//! at the next step: a slow reader holds one output buffer here and one on its way, never a folder.

mod access;
mod append;
mod bulk;
mod change;
mod fetch;
mod folders;
mod notify;
mod quota;
mod resync;
mod search;
mod select;
mod update;
mod wire;

use std::sync::Arc;

use bytes::BytesMut;
use event_listener::EventListener;
use kith_connection::{Exchange, Step, Waiting};
use kith_store::account::{Account, AccountId};
use kith_store::{Store, StoreError};

use crate::cache::Structures;
use crate::capability::{Names as Capabilities, Without};
use crate::command::{self, AppendStart, Command, Tagged};
use crate::compress::Compressor;
use crate::frame::{Announced, Frame, Framer};
use crate::gist::Waiting as WaitingGists;
use crate::index::Indexes;
use crate::limits::{BAD_COMMANDS_MAX, COMMAND_BYTES_BEFORE_LOGIN, DISCARD_BYTES_MAX, FAILED_LOGINS_MAX, OUTPUT_BYTES};
use crate::readahead::Readahead;
use crate::response::{Completion, put};
use crate::token::Cursor;
use crate::utf7::Names;

/// What all sessions of a server share.
pub struct Shared {
    pub(crate) store: Store,
    pub(crate) structures: Structures,
    pub(crate) indexes: Indexes,
    pub(crate) gists: WaitingGists,
    pub(crate) readahead: Readahead,
    without: Without,
}

impl Shared {
    /// Serves the mailboxes of this store, without some capabilities to some accounts.
    #[must_use]
    pub fn new(store: Store, without: Without) -> Arc<Self> {
        Arc::new(Self {
            store,
            structures: Structures::default(),
            indexes: Indexes::default(),
            gists: WaitingGists::default(),
            readahead: Readahead::default(),
            without,
        })
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

/// What the connection lets a client do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// A password may be taken: under TLS, or on the loopback.
    pub may_log_in: bool,
    /// STARTTLS is possible and has not happened.
    pub can_start_tls: bool,
}

/// A session from its greeting to its end.
pub struct Session {
    shared: Arc<Shared>,
    link: Link,
    /// Unix seconds.
    now: fn() -> i64,
    framer: Framer,
    /// Not yet handed over.
    out: Vec<u8>,
    /// Bytes of `out` after which the session pauses.
    room: usize,
    doing: Doing,
    account: Option<Account>,
    selected: Option<select::Selected>,
    /// What the client wants to hear of unasked.
    watch: Option<notify::Watch>,
    enabled: Enabled,
    /// Capabilities that the account goes without.
    without: Capabilities,
    compression: Compression,
    /// It was asked for.
    compressed: bool,
    bad_commands: u32,
    failed_logins: u32,
    ended: bool,
    listener: Option<EventListener>,
}

/// What the client has switched on (RFC 5161), by ENABLE or by using it.
#[derive(Clone, Copy, Debug, Default)]
struct Enabled {
    /// It knows of MODSEQ (RFC 7162 §3.1).
    condstore: bool,
    /// It knows VANISHED instead of EXPUNGE (RFC 7162 §3.2).
    qresync: bool,
    /// It takes UTF-8 everywhere (RFC 6855).
    utf8: bool,
    /// It speaks IMAP4rev2 (RFC 9051): UTF-8, ESEARCH instead of SEARCH, no `\Recent`.
    rev2: bool,
}

/// Whether what goes over the wire is compressed (RFC 4978).
enum Compression {
    Off,
    /// From the next byte on, once the answer is handed over.
    Starting,
    On(Box<Compressor>),
}

/// What the session is in the middle of.
#[derive(Default)]
enum Doing {
    #[default]
    Nothing,
    Authenticating {
        tag: String,
        exchange: Exchange,
    },
    LoggingIn {
        tag: String,
    },
    Appending(Box<append::Upload>),
    /// The message is complete, its line is not.
    Appended(Box<append::Upload>),
    Idling {
        tag: String,
    },
    Fetching(Box<fetch::FetchJob>),
    Searching(Box<search::SearchJob>),
    Storing(Box<change::StoreJob>),
    Copying(Box<bulk::CopyJob>),
    Removing(Box<bulk::RemovalJob>),
    Finishing(Box<update::Finishing>),
}

/// How a command went on: done, or to be gone on with.
type Outcome = Result<Doing, Refused>;

/// A command that is not carried out: the line that says so.
struct Refused(Completion);

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self(refusal(&error))
    }
}

impl From<Completion> for Refused {
    fn from(completion: Completion) -> Self {
        Self(completion)
    }
}

impl From<crate::utf7::InvalidName> for Refused {
    fn from(error: crate::utf7::InvalidName) -> Self {
        Self(Completion::no("CANNOT", error.to_string()))
    }
}

/// What a client is told when the store refuses. Inner details stay in the log.
fn refusal(error: &StoreError) -> Completion {
    match error {
        StoreError::DiskFull => Completion::no("OVERQUOTA", "The disk is full; delete something or free space and try again"),
        StoreError::NotFound(what) => Completion::no("NONEXISTENT", format!("This {what} does not exist")),
        StoreError::Exists(what) => Completion::no("ALREADYEXISTS", format!("This {what} exists already")),
        StoreError::Invalid(why) => Completion::no("CANNOT", why.clone()),
        StoreError::Damaged(_) => Completion::no("CORRUPTION", "The store is damaged here; run `kith verify`"),
        _ => {
            tracing::warn!(%error, "the store failed");
            Completion::no("UNAVAILABLE", "The store does not work at the moment; try again later")
        }
    }
}

impl Session {
    /// A session that has not greeted yet. `now` gives Unix seconds.
    #[must_use]
    pub fn new(shared: Arc<Shared>, link: Link, now: fn() -> i64) -> Self {
        Self {
            shared,
            link,
            now,
            framer: Framer::new(COMMAND_BYTES_BEFORE_LOGIN),
            out: Vec::new(),
            room: OUTPUT_BYTES,
            doing: Doing::Nothing,
            account: None,
            selected: None,
            watch: None,
            enabled: Enabled::default(),
            without: Capabilities::default(),
            compression: Compression::Off,
            compressed: false,
            bad_commands: 0,
            failed_logins: 0,
            ended: false,
            listener: None,
        }
    }

    /// While the client idles: what wakes when there may be news for it. After it has, [`kith_connection::Session::step`] tells them.
    pub fn listener(&mut self) -> Option<EventListener> {
        self.listener.take()
    }

    /// How folder names are written.
    fn names(&self) -> Names {
        if self.enabled.utf8 || self.enabled.rev2 { Names::Utf8 } else { Names::Utf7 }
    }

    fn store(&self) -> &Store {
        &self.shared.store
    }

    fn run(&mut self, input: &mut BytesMut) -> Step {
        loop {
            if self.ended {
                return Step::Close;
            }
            if self.out.len() >= self.room {
                return Step::Continue;
            }
            let next = match std::mem::take(&mut self.doing) {
                Doing::Fetching(job) => self.fetch_on(job),
                Doing::Storing(job) => self.store_on(job),
                Doing::Finishing(finishing) => self.finish_on(finishing),
                Doing::Searching(job) => {
                    self.doing = self.search_on(job);
                    return Step::Continue;
                }
                Doing::Copying(job) => {
                    self.doing = self.copy_on(job);
                    return Step::Continue;
                }
                Doing::Removing(job) => {
                    self.doing = self.removing_on(job);
                    return Step::Continue;
                }
                Doing::Appending(upload) => match self.framer.next(input) {
                    Frame::NeedInput => {
                        self.doing = Doing::Appending(upload);
                        return Step::Read(Waiting::Rest);
                    }
                    frame => self.append_on(upload, frame),
                },
                Doing::LoggingIn { tag } => {
                    // The driver asks for the outcome first; a step before it changes nothing.
                    self.doing = Doing::LoggingIn { tag };
                    return Step::Read(Waiting::Rest);
                }
                doing => match self.framer.next(input) {
                    Frame::NeedInput => {
                        let rest = !input.is_empty()
                            || self.framer.is_midway()
                            || !matches!(doing, Doing::Nothing | Doing::Idling { .. });
                        if let Some(updated) = self.wait(doing, rest) {
                            self.doing = updated;
                            continue;
                        }
                        return Step::Read(if rest { Waiting::Rest } else { Waiting::Command });
                    }
                    frame => match self.received(doing, frame) {
                        Received::Doing(doing) => doing,
                        Received::Step(step) => return step,
                    },
                },
            };
            self.doing = next;
        }
    }

    /// Nothing to read: a client that idles, or watches (RFC 5465), is told what has happened meanwhile; not in the middle of what it says.
    fn wait(&mut self, doing: Doing, midway: bool) -> Option<Doing> {
        self.listener = None;
        let watches = self.watch.is_some() && !midway;
        let listens = matches!(doing, Doing::Idling { .. }) || watches && matches!(doing, Doing::Nothing);
        if !listens {
            self.doing = doing;
            return None;
        }
        let account = self.account.as_ref().map(|account| account.id);
        // The listener comes before the look, so that nothing falls between them.
        self.listener = account.map(|account| self.store().listen(kith_store::feed::Topic::Mailbox(account)));
        let (news, doing) = self.news(doing);
        match doing {
            Some(doing) => {
                self.doing = doing;
                None
            }
            None => news,
        }
    }

    fn received(&mut self, doing: Doing, frame: Frame) -> Received {
        match (doing, frame) {
            (Doing::Appended(upload), frame) => Received::Doing(self.append_end(*upload, &frame)),
            (_, Frame::Literal(literal)) => Received::Doing(self.announced(literal)),
            (_, Frame::TooLong(begun)) => {
                let tag = Cursor::new(&begun).tag().unwrap_or("*").to_owned();
                Received::Doing(self.bad(&tag, "The command is too long"))
            }
            (Doing::Authenticating { tag, exchange }, Frame::Command(line)) => self.authenticate_on(tag, exchange, &line),
            (Doing::Idling { tag }, Frame::Command(line)) => {
                self.listener = None;
                Received::Doing(if line.eq_ignore_ascii_case(b"DONE") {
                    self.finish(tag, Completion::ok("IDLE completed"), update::Expunges::Told)
                } else {
                    self.bad(&tag, "Expected DONE")
                })
            }
            (_, Frame::Command(line)) => self.command(&line),
            (doing, Frame::NeedInput | Frame::Chunk(_) | Frame::StreamEnd) => Received::Doing(doing),
        }
    }

    /// A literal is announced: the message of an APPEND, or part of a command.
    fn announced(&mut self, literal: Announced) -> Doing {
        if self.account.is_some()
            && let Some(start) = AppendStart::parse(self.framer.announced())
        {
            return self.append_begin(start, literal);
        }
        if self.framer.accept() {
            if literal.synchronising {
                put!(&mut self.out, "+ Go on\r\n");
            }
            return Doing::Nothing;
        }
        let tag = Cursor::new(self.framer.announced()).tag().unwrap_or("*").to_owned();
        self.refuse_literal(literal);
        if self.account.is_none() {
            self.bye("Too much for somebody who has not logged in");
            return Doing::Nothing;
        }
        self.bad(&tag, "The literal is too long")
    }

    /// Reads past a literal, or ends the session where that would take too long.
    fn refuse_literal(&mut self, literal: Announced) {
        self.framer.refuse();
        if !literal.synchronising && literal.bytes > DISCARD_BYTES_MAX {
            self.bye("The literal is far too long");
        }
    }

    fn command(&mut self, line: &[u8]) -> Received {
        let Tagged { tag, command } = match command::parse(line) {
            Ok(tagged) => tagged,
            Err(malformed) => {
                let text = malformed.error.to_string();
                return Received::Doing(self.bad(malformed.tag.as_deref().unwrap_or("*"), &text));
            }
        };
        match command {
            Command::StartTls => self.start_tls(&tag),
            Command::Compress => self.compress(&tag),
            Command::Login(credentials) => self.login(tag, credentials),
            Command::Authenticate(mechanism, initial) => self.authenticate(tag, &mechanism, initial.as_deref()),
            command => {
                let outcome = self.carry_out(&tag, command);
                Received::Doing(outcome.unwrap_or_else(|Refused(completion)| {
                    if completion.condition == crate::response::Condition::Bad {
                        self.count_bad();
                    }
                    self.finish(tag, completion, update::Expunges::Deferred)
                }))
            }
        }
    }

    fn carry_out(&mut self, tag: &str, command: Command) -> Outcome {
        let completion = match command {
            Command::Capability => self.capability(),
            Command::Noop => Completion::ok("NOOP completed"),
            Command::Logout => return Ok(self.logout(tag)),
            Command::Id => self.id(),
            Command::Enable(names) => self.enable(&names)?,
            Command::Namespace => self.namespace()?,
            Command::Create(mailbox, uses) => self.create(&mailbox, &uses)?,
            Command::Delete(mailbox) => self.delete(&mailbox)?,
            Command::Rename(from, to) => self.rename(&from, &to)?,
            Command::Subscribe(mailbox) => self.subscribe(&mailbox)?,
            Command::Unsubscribe(mailbox) => self.unsubscribe(&mailbox)?,
            Command::List(list) => self.list(&list)?,
            Command::Lsub(reference, pattern) => self.lsub(&reference, &pattern)?,
            Command::Notify(notify) => self.notify(notify)?,
            Command::GetQuota(root) => self.quota(&root)?,
            Command::GetQuotaRoot(mailbox) => self.quota_root(&mailbox)?,
            Command::SetQuota => self.set_quota()?,
            Command::Status(mailbox, items) => self.status(&mailbox, &items)?,
            Command::Select(mailbox, access, opening) => return self.select(tag, &mailbox, access, &opening),
            Command::Idle => {
                self.account_id()?;
                return Ok(self.idle(tag.to_owned()));
            }
            Command::Check => {
                self.selected()?;
                Completion::ok("CHECK completed")
            }
            Command::Close => self.close()?,
            Command::Unselect => self.unselect()?,
            Command::Expunge(uids) => return self.expunge(tag, uids.as_ref()),
            Command::Search(numbering, search) => return self.search(tag, numbering, search, search::Purpose::Search),
            Command::Sort(numbering, criteria, search) => {
                return self.search(tag, numbering, search, search::Purpose::Sort(criteria));
            }
            Command::Thread(numbering, algorithm, search) => {
                return self.search(tag, numbering, search, search::Purpose::Thread(algorithm));
            }
            Command::Fetch(numbering, fetch) => return self.fetch(tag, numbering, fetch),
            Command::Store(numbering, store) => return self.store_flags(tag, numbering, store),
            Command::Copy(numbering, set, target) => return self.copy(tag, numbering, &set, &target),
            Command::Move(numbering, set, target) => return self.move_messages(tag, numbering, &set, &target),
            Command::StartTls | Command::Compress | Command::Login(_) | Command::Authenticate(..) => Completion::bad("Not now"),
        };
        Ok(self.finish(tag.to_owned(), completion, update::Expunges::Told))
    }

    fn account_id(&self) -> Result<AccountId, Refused> {
        match &self.account {
            Some(account) => Ok(account.id),
            None => Err(Refused(Completion::bad("Log in first"))),
        }
    }

    fn selected(&self) -> Result<&select::Selected, Refused> {
        self.account_id()?;
        self.selected.as_ref().ok_or_else(|| Refused(Completion::bad("Select a folder first")))
    }

    fn selected_mut(&mut self) -> Result<&mut select::Selected, Refused> {
        self.account_id()?;
        self.selected.as_mut().ok_or_else(|| Refused(Completion::bad("Select a folder first")))
    }

    fn bad(&mut self, tag: &str, text: &str) -> Doing {
        Completion::bad(text).write(&mut self.out, tag);
        self.count_bad();
        Doing::Nothing
    }

    fn count_bad(&mut self) {
        self.bad_commands += 1;
        if self.bad_commands >= BAD_COMMANDS_MAX {
            self.bye("Too many commands that make no sense");
        }
    }

    fn count_failed_login(&mut self) {
        self.failed_logins += 1;
        if self.failed_logins >= FAILED_LOGINS_MAX {
            self.bye("Too many failed logins");
        }
    }

    fn bye(&mut self, text: &str) {
        if !self.ended {
            put!(&mut self.out, "* BYE {text}\r\n");
            self.ended = true;
        }
    }
}

/// What comes of a frame.
enum Received {
    Doing(Doing),
    /// Something that only the driver can do.
    Step(Step),
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("account", &self.account.as_ref().map(|account| account.id)).finish_non_exhaustive()
    }
}
