//! Commands that name folders: SELECT, EXAMINE, CREATE, RENAME.

use super::{Command, modifiers};
use crate::limits::ITEMS_MAX;
use crate::token::{Cursor, Parsed, SyntaxError};
use crate::utf7;

/// A folder's name as the client wrote it: bytes in modified UTF-7, not yet decoded.
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

impl Mailbox {
    /// Reads an astring.
    pub fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        cursor.astring("a mailbox name").map(|name| Self(name.into_owned()))
    }

    /// The name in UTF-8; `INBOX` in capitals; without a separator at its end (CREATE allows one, RFC 3501 §6.3.3).
    ///
    /// # Errors
    /// Where it is not valid modified UTF-7.
    pub fn name(&self) -> Result<String, utf7::InvalidName> {
        let name = utf7::decode(&self.0)?;
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
    let mut condstore = false;
    if cursor.eat(b' ') && !cursor.rest().is_empty() {
        modifiers(cursor, |name, _| match name {
            "CONDSTORE" => {
                condstore = true;
                Ok(())
            }
            "QRESYNC" => Err(SyntaxError::Unsupported("QRESYNC")),
            _ => Err(SyntaxError::Expected("CONDSTORE")),
        })?;
    }
    Ok(Command::Select(mailbox, access, condstore))
}

/// RFC 6154 §3 adds `(USE (\Sent))`.
pub(super) fn create(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    let mailbox = Mailbox::parse(cursor)?;
    let mut special = false;
    if cursor.eat(b' ') && !cursor.rest().is_empty() {
        modifiers(cursor, |name, cursor| {
            if name != "USE" {
                return Err(SyntaxError::Expected("USE"));
            }
            cursor.space()?;
            cursor.parenthesised(ITEMS_MAX, "attributes", |cursor| cursor.flag().map(|_| ()))?;
            special = true;
            Ok(())
        })?;
    }
    Ok(Command::Create(mailbox, special))
}

pub(super) fn rename(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    let from = Mailbox::parse(cursor)?;
    cursor.space()?;
    Ok(Command::Rename(from, Mailbox::parse(cursor)?))
}
