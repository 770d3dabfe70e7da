//! Commands that name folders: SELECT, EXAMINE, CREATE, RENAME.

use kith_store::folder::ModSeq;

use super::{Command, modifiers};
use crate::limits::ITEMS_MAX;
use crate::set::SequenceSet;
use crate::token::{Cursor, Parsed, SyntaxError};
use crate::utf7::{self, Names};

/// A folder's name as the client wrote it: bytes, not yet decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox(pub Vec<u8>);

/// What may be done to the selected folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// SELECT.
    ReadWrite,
    /// EXAMINE.
    ReadOnly,
}

/// What SELECT and EXAMINE are asked beside the folder (RFC 7162 §3.1.8 and §3.2.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// CONDSTORE
    pub condstore: bool,
    /// QRESYNC
    pub resync: Option<Resync>,
}

/// What a client remembers of a folder (RFC 7162 §3.2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resync {
    /// UIDVALIDITY
    pub uid_validity: u32,
    /// The last HIGHESTMODSEQ that it was told.
    pub mod_seq: ModSeq,
    /// UIDs that it knows; all, where absent.
    pub known: Option<SequenceSet>,
    /// Some sequence numbers and the UIDs that they had.
    pub matched: Option<(SequenceSet, SequenceSet)>,
}

impl Mailbox {
    /// Reads an astring.
    pub fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        cursor.astring("a mailbox name").map(|name| Self(name.into_owned()))
    }

    /// The name in UTF-8; `INBOX` in capitals; without a separator at its end (CREATE allows one, RFC 3501 §6.3.3).
    ///
    /// # Errors
    /// Where it is not written in the session's way.
    pub fn name(&self, names: Names) -> Result<String, utf7::InvalidName> {
        let name = names.read(&self.0)?;
        let name = name.strip_suffix('/').unwrap_or(&name);
        Ok(match name.split_once('/') {
            _ if name.eq_ignore_ascii_case("INBOX") => "INBOX".to_owned(),
            Some((top, below)) if top.eq_ignore_ascii_case("INBOX") => format!("INBOX/{below}"),
            _ => name.to_owned(),
        })
    }
}

pub(super) fn select(cursor: &mut Cursor<'_>, access: Access) -> Parsed<Command> {
    let mailbox = Mailbox::parse(cursor)?;
    let mut opening = Opening::default();
    if cursor.eat(b' ') && !cursor.rest().is_empty() {
        modifiers(cursor, |name, cursor| match name {
            "CONDSTORE" => {
                opening.condstore = true;
                Ok(())
            }
            "QRESYNC" => {
                cursor.space()?;
                opening.resync = Some(resync(cursor)?);
                Ok(())
            }
            _ => Err(SyntaxError::Expected("CONDSTORE or QRESYNC")),
        })?;
    }
    Ok(Command::Select(mailbox, access, opening))
}

/// `(uidvalidity modseq [known-uids] [(sequence-set uid-set)])`
fn resync(cursor: &mut Cursor<'_>) -> Parsed<Resync> {
    cursor.expect(b'(', "what is known in parentheses")?;
    let uid_validity = cursor.number()?;
    cursor.space()?;
    let mut resync = Resync { uid_validity, mod_seq: ModSeq(cursor.number64()?), known: None, matched: None };
    if cursor.eat(b' ') && cursor.peek() != Some(b'(') {
        resync.known = Some(without_star(cursor)?);
        cursor.eat(b' ');
    }
    if cursor.eat(b'(') {
        let numbers = without_star(cursor)?;
        cursor.space()?;
        resync.matched = Some((numbers, without_star(cursor)?));
        cursor.expect(b')', "a closing parenthesis")?;
    }
    cursor.expect(b')', "a closing parenthesis")?;
    Ok(resync)
}

/// RFC 7162 §7: what is remembered has no `*`.
fn without_star(cursor: &mut Cursor<'_>) -> Parsed<SequenceSet> {
    let set = SequenceSet::parse(cursor)?;
    if set.is_plain() { Ok(set) } else { Err(SyntaxError::Expected("a set without *")) }
}

/// RFC 6154 §3 adds `(USE (\Sent))`.
pub(super) fn create(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    let mailbox = Mailbox::parse(cursor)?;
    let mut uses = Vec::new();
    if cursor.eat(b' ') && !cursor.rest().is_empty() {
        modifiers(cursor, |name, cursor| {
            if name != "USE" {
                return Err(SyntaxError::Expected("USE"));
            }
            cursor.space()?;
            uses = cursor.parenthesised(ITEMS_MAX, "attributes", |cursor| cursor.flag().map(|name| name.into_owned()))?;
            Ok(())
        })?;
    }
    Ok(Command::Create(mailbox, uses))
}

pub(super) fn rename(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    let from = Mailbox::parse(cursor)?;
    cursor.space()?;
    Ok(Command::Rename(from, Mailbox::parse(cursor)?))
}
