//! Commands: what a client can ask, and the grammar it asks in (RFC 3501 §6 and §9, with the extensions of RFC.md).
//!
//! A recursive descent over one whole command, a file a family. Total and bounded: whatever the bytes, it ends in a command or in a
//! [`SyntaxError`] that says what was expected.

mod append;
mod fetch;
mod list;
mod login;
mod notify;
mod search;
mod select;
mod store;

pub use append::AppendOptions;
pub(crate) use append::AppendStart;
pub use fetch::{Fetch, FetchItem, Partial, Section, SectionText};
pub use list::{List, ListReturn, ListSelect, StatusItem};
pub use notify::{EventGroup, Events, Filter, Notify};
pub use search::{Charset, Page, Search, SearchKey, SearchReturn};
pub use select::{Access, Mailbox, Opening, Resync};
pub use store::{FlagAnswer, Store};

use kith_connection::Credentials;

use crate::limits::ITEMS_MAX;
use crate::set::SequenceSet;
pub use crate::sorting::{Criterion, SortKey};
pub use crate::threading::Algorithm;
use crate::token::{Cursor, Parsed, SyntaxError};

/// A command with its tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// What the answer begins with.
    pub tag: String,
    /// What is asked.
    pub command: Command,
}

/// What messages are numbered by in a command and its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbering {
    /// Position in the folder: 1 and up.
    Sequence,
    /// The command began with `UID`.
    Uid,
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// What can you do?
    Capability,
    /// Anything new?
    Noop,
    /// Goodbye.
    Logout,
    /// RFC 2971. What the client says of itself is not kept.
    Id,
    /// TLS from here on.
    StartTls,
    /// COMPRESS DEFLATE (RFC 4978).
    Compress,
    /// Name and password.
    Login(Credentials),
    /// SASL mechanism in capitals, and the initial response still in base64 (RFC 4959).
    Authenticate(String, Option<String>),
    /// RFC 5161: capabilities in capitals.
    Enable(Vec<String>),
    /// RFC 2342.
    Namespace,
    /// SELECT and EXAMINE.
    Select(Mailbox, Access, Opening),
    /// CREATE, with the names in `(USE (…))`.
    Create(Mailbox, Vec<String>),
    /// DELETE.
    Delete(Mailbox),
    /// RENAME from, to.
    Rename(Mailbox, Mailbox),
    /// SUBSCRIBE.
    Subscribe(Mailbox),
    /// UNSUBSCRIBE.
    Unsubscribe(Mailbox),
    /// LIST, plain and extended.
    List(List),
    /// LSUB reference, pattern.
    Lsub(Mailbox, Mailbox),
    /// NOTIFY (RFC 5465): NONE, or SET.
    Notify(Option<Notify>),
    /// GETQUOTA root (RFC 9208).
    GetQuota(Vec<u8>),
    /// GETQUOTAROOT
    GetQuotaRoot(Mailbox),
    /// SETQUOTA, which nobody may.
    SetQuota,
    /// STATUS.
    Status(Mailbox, Vec<StatusItem>),
    /// RFC 2177.
    Idle,
    /// CHECK.
    Check,
    /// CLOSE.
    Close,
    /// RFC 3691.
    Unselect,
    /// EXPUNGE, or UID EXPUNGE with its set (RFC 4315).
    Expunge(Option<SequenceSet>),
    /// SEARCH.
    Search(Numbering, Search),
    /// SORT (RFC 5256).
    Sort(Numbering, Vec<Criterion>, Search),
    /// THREAD (RFC 5256).
    Thread(Numbering, Algorithm, Search),
    /// FETCH.
    Fetch(Numbering, Fetch),
    /// STORE.
    Store(Numbering, Store),
    /// COPY.
    Copy(Numbering, SequenceSet, Mailbox),
    /// RFC 6851.
    Move(Numbering, SequenceSet, Mailbox),
}

/// A command that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Malformed {
    /// Its tag, if at least that could be read.
    pub tag: Option<String>,
    /// What is wrong.
    pub error: SyntaxError,
}

/// Reads one whole command: its line without the line end, literals in place as `{n}` CRLF bytes.
///
/// # Errors
/// Where it is not one of the commands, or not as the grammar has it.
pub fn parse(line: &[u8]) -> Result<Tagged, Malformed> {
    let mut cursor = Cursor::new(line);
    let tag = cursor.tag().map_err(|error| Malformed { tag: None, error })?.to_owned();
    let command = (|| {
        cursor.space()?;
        let command = after_tag(&mut cursor)?;
        cursor.end()?;
        Ok(command)
    })();
    match command {
        Ok(command) => Ok(Tagged { tag, command }),
        Err(error) => Err(Malformed { tag: Some(tag), error }),
    }
}

fn after_tag(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    let name = cursor.word("a command")?;
    Ok(match name.as_str() {
        "CAPABILITY" => Command::Capability,
        "NOOP" => Command::Noop,
        "LOGOUT" => Command::Logout,
        "STARTTLS" => Command::StartTls,
        "NAMESPACE" => Command::Namespace,
        "IDLE" => Command::Idle,
        "CHECK" => Command::Check,
        "CLOSE" => Command::Close,
        "UNSELECT" => Command::Unselect,
        "EXPUNGE" => Command::Expunge(None),
        "UID" => {
            cursor.space()?;
            let name = cursor.word("a command after UID")?;
            cursor.space()?;
            if name == "EXPUNGE" {
                return SequenceSet::parse(cursor).map(|set| Command::Expunge(Some(set)));
            }
            return on_messages(&name, Numbering::Uid, cursor);
        }
        _ => {
            if !KNOWN_WITH_ARGUMENTS.contains(&name.as_str()) {
                return Err(SyntaxError::UnknownCommand);
            }
            cursor.space()?;
            return with_arguments(&name, cursor);
        }
    })
}

const KNOWN_WITH_ARGUMENTS: [&str; 28] = [
    "NOTIFY",
    "COMPRESS",
    "GETQUOTA",
    "GETQUOTAROOT",
    "SETQUOTA",
    "REPLACE",
    "SORT",
    "THREAD",
    "ID",
    "LOGIN",
    "AUTHENTICATE",
    "ENABLE",
    "SELECT",
    "EXAMINE",
    "CREATE",
    "DELETE",
    "RENAME",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "LIST",
    "LSUB",
    "STATUS",
    "APPEND",
    "SEARCH",
    "FETCH",
    "STORE",
    "COPY",
    "MOVE",
];

fn with_arguments(name: &str, cursor: &mut Cursor<'_>) -> Parsed<Command> {
    Ok(match name {
        "ID" => login::id(cursor)?,
        "COMPRESS" => match cursor.word("an algorithm")?.as_str() {
            "DEFLATE" => Command::Compress,
            _ => return Err(SyntaxError::Expected("DEFLATE")),
        },
        "LOGIN" => login::login(cursor)?,
        "AUTHENTICATE" => login::authenticate(cursor)?,
        "ENABLE" => login::enable(cursor)?,
        "SELECT" => select::select(cursor, Access::ReadWrite)?,
        "EXAMINE" => select::select(cursor, Access::ReadOnly)?,
        "CREATE" => select::create(cursor)?,
        "DELETE" => Command::Delete(Mailbox::parse(cursor)?),
        "RENAME" => select::rename(cursor)?,
        "SUBSCRIBE" => Command::Subscribe(Mailbox::parse(cursor)?),
        "UNSUBSCRIBE" => Command::Unsubscribe(Mailbox::parse(cursor)?),
        "LIST" => list::list(cursor)?,
        "LSUB" => list::lsub(cursor)?,
        "STATUS" => list::status(cursor)?,
        "NOTIFY" => notify::notify(cursor)?,
        "GETQUOTA" => Command::GetQuota(cursor.astring("a quota root")?.into_owned()),
        "GETQUOTAROOT" => Command::GetQuotaRoot(Mailbox::parse(cursor)?),
        "SETQUOTA" => set_quota(cursor)?,
        // With its literal it never comes here: the session streams the message past the grammar.
        "APPEND" => return Err(append::without_literal(cursor)),
        _ => return on_messages(name, Numbering::Sequence, cursor),
    })
}

/// RFC 9208 §4.1.1: a root and a list of limits.
fn set_quota(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    cursor.astring("a quota root")?;
    cursor.space()?;
    cursor.parenthesised(ITEMS_MAX, "limits", |cursor| {
        cursor.atom("a resource")?;
        cursor.space()?;
        cursor.number64().map(|_| ())
    })?;
    Ok(Command::SetQuota)
}

fn on_messages(name: &str, numbering: Numbering, cursor: &mut Cursor<'_>) -> Parsed<Command> {
    match name {
        "SEARCH" => Ok(Command::Search(numbering, search::search(cursor)?)),
        "SORT" => search::sort(cursor).map(|(criteria, search)| Command::Sort(numbering, criteria, search)),
        "THREAD" => search::thread(cursor).map(|(algorithm, search)| Command::Thread(numbering, algorithm, search)),
        "FETCH" => Ok(Command::Fetch(numbering, fetch::fetch(cursor)?)),
        "STORE" => Ok(Command::Store(numbering, store::store(cursor)?)),
        "COPY" | "MOVE" => {
            let set = SequenceSet::parse(cursor)?;
            cursor.space()?;
            let target = Mailbox::parse(cursor)?;
            Ok(if name == "COPY" { Command::Copy(numbering, set, target) } else { Command::Move(numbering, set, target) })
        }
        "REPLACE" => Err(append::replace_without_literal(cursor)),
        _ => Err(SyntaxError::UnknownCommand),
    }
}

/// `SP "(" modifier *(SP modifier) ")"` (RFC 4466 §2.1): each is read by name.
fn modifiers(cursor: &mut Cursor<'_>, mut each: impl FnMut(&str, &mut Cursor<'_>) -> Parsed<()>) -> Parsed<()> {
    cursor.parenthesised(ITEMS_MAX, "modifiers", |cursor| {
        let name = cursor.word("a modifier")?;
        each(&name, cursor)
    })?;
    Ok(())
}
