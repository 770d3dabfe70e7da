//! APPEND and REPLACE (RFC 3501 §6.3.11, RFC 3502, RFC 3516, RFC 6855 §4, RFC 8508) up to each literal: the messages themselves go from the
//! wire to the disk.

use kith_store::folder::Flags;

use super::{Mailbox, Numbering};
use crate::date::DateTime;
use crate::flag;
use crate::set::SequenceSet;
use crate::token::{Cursor, Parsed, SyntaxError};

/// What a message is filed with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppendOptions {
    /// Flags and keywords.
    pub flags: Flags,
    /// INTERNALDATE; now if absent.
    pub date: Option<DateTime>,
    /// Its literal stands in `UTF8 (…)`, and a parenthesis follows it.
    pub utf8: bool,
}

/// An APPEND or REPLACE whose first literal is about to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AppendStart {
    pub(crate) tag: String,
    /// The message that goes when the new one is there.
    pub(crate) replaces: Option<(Numbering, SequenceSet)>,
    pub(crate) mailbox: Mailbox,
    pub(crate) options: AppendOptions,
}

impl AppendStart {
    /// Reads a command up to the literal that it announces; `None` if that literal is not a message: then it is part of the command.
    pub(crate) fn parse(announced: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(announced);
        let tag = cursor.tag().ok()?.to_owned();
        cursor.space().ok()?;
        let mut name = cursor.word("").ok()?;
        let mut numbering = Numbering::Sequence;
        if name == "UID" {
            cursor.space().ok()?;
            (name, numbering) = (cursor.word("").ok()?, Numbering::Uid);
        }
        let replaces = match (name.as_str(), numbering) {
            ("APPEND", Numbering::Sequence) => None,
            ("REPLACE", numbering) => {
                cursor.space().ok()?;
                Some((numbering, SequenceSet::parse(&mut cursor).ok()?))
            }
            _ => return None,
        };
        cursor.space().ok()?;
        let (mailbox, options) = head(&mut cursor).ok()?;
        is_literal(cursor).then_some(Self { tag, replaces, mailbox, options })
    }
}

impl AppendOptions {
    /// Reads what stands between two messages of one command (RFC 3502), up to the next literal.
    pub(crate) fn parse_next(&self, announced: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(announced);
        if self.utf8 != cursor.eat(b')') {
            return None;
        }
        cursor.space().ok()?;
        let next = options(&mut cursor).ok()?;
        is_literal(cursor).then_some(next)
    }

    /// Is this what ends the command after the message?
    pub(crate) fn is_ended_by(&self, rest: &[u8]) -> bool {
        rest.trim_ascii() == if self.utf8 { &b")"[..] } else { b"" }
    }
}

/// `{n}` itself, with nothing behind it, is what makes this the message.
fn is_literal(mut cursor: Cursor<'_>) -> bool {
    cursor.eat(b'~');
    (cursor.eat(b'{') && cursor.number64().is_ok()).then(|| cursor.eat(b'+'));
    cursor.rest() == b"}"
}

fn head(cursor: &mut Cursor<'_>) -> Parsed<(Mailbox, AppendOptions)> {
    let mailbox = Mailbox::parse(cursor)?;
    cursor.space()?;
    Ok((mailbox, options(cursor)?))
}

fn options(cursor: &mut Cursor<'_>) -> Parsed<AppendOptions> {
    let mut options = AppendOptions::default();
    if cursor.peek() == Some(b'(') {
        options.flags = flag::parse_list(cursor)?;
        cursor.space()?;
    }
    if cursor.peek() == Some(b'"') {
        options.date = Some(DateTime::parse(cursor)?);
        cursor.space()?;
    }
    if cursor.eat_word("UTF8") {
        cursor.space()?;
        cursor.expect(b'(', "the message in parentheses")?;
        options.utf8 = true;
    }
    Ok(options)
}

/// What is wrong with an APPEND that came as a whole.
pub(super) fn without_literal(cursor: &mut Cursor<'_>) -> SyntaxError {
    match head(cursor) {
        Err(error) => error,
        Ok(_) if cursor.peek() == Some(b'C') => SyntaxError::Unsupported("CATENATE"),
        Ok(_) => SyntaxError::Expected("the message as a literal"),
    }
}

/// What is wrong with a REPLACE that came as a whole.
pub(super) fn replace_without_literal(cursor: &mut Cursor<'_>) -> SyntaxError {
    let number = SequenceSet::parse(cursor).and_then(|_| cursor.space());
    number.map_or_else(|error| error, |()| without_literal(cursor))
}
