//! APPEND (RFC 3501 §6.3.11) up to its literal: the message itself goes from the wire to the disk.

use kith_store::folder::Flags;

use super::Mailbox;
use crate::date::DateTime;
use crate::flag;
use crate::token::{Cursor, Parsed, SyntaxError};

/// What the message is filed with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppendOptions {
    /// Flags and keywords.
    pub flags: Flags,
    /// INTERNALDATE; now if absent.
    pub date: Option<DateTime>,
}

/// An APPEND whose literal is about to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AppendStart {
    pub(crate) tag: String,
    pub(crate) mailbox: Mailbox,
    pub(crate) options: AppendOptions,
}

impl AppendStart {
    /// Reads a command up to the literal that it announces; `None` if that literal is not a message: then it is part of the command.
    pub(crate) fn parse(announced: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(announced);
        let tag = cursor.tag().ok()?.to_owned();
        cursor.space().ok()?;
        if cursor.word("").ok()? != "APPEND" {
            return None;
        }
        cursor.space().ok()?;
        let (mailbox, options) = head(&mut cursor).ok()?;
        // `{n}` itself, with nothing behind it, is what makes this the message.
        cursor.eat(b'~');
        (cursor.eat(b'{') && cursor.number64().is_ok()).then(|| cursor.eat(b'+'));
        (cursor.rest() == b"}").then_some(Self { tag, mailbox, options })
    }
}

fn head(cursor: &mut Cursor<'_>) -> Parsed<(Mailbox, AppendOptions)> {
    let mailbox = Mailbox::parse(cursor)?;
    cursor.space()?;
    let mut options = AppendOptions::default();
    if cursor.peek() == Some(b'(') {
        options.flags = flag::parse_list(cursor)?;
        cursor.space()?;
    }
    if cursor.peek() == Some(b'"') {
        options.date = Some(DateTime::parse(cursor)?);
        cursor.space()?;
    }
    Ok((mailbox, options))
}

/// What is wrong with an APPEND that came as a whole.
pub(super) fn without_literal(cursor: &mut Cursor<'_>) -> SyntaxError {
    match head(cursor) {
        Err(error) => error,
        Ok(_) if cursor.peek() == Some(b'U') => SyntaxError::Unsupported("UTF8"),
        Ok(_) if cursor.peek() == Some(b'C') => SyntaxError::Unsupported("CATENATE"),
        Ok(_) => SyntaxError::Expected("the message as a literal"),
    }
}
