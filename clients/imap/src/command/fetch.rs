//! FETCH (RFC 3501 §6.4.5, RFC 7162 §3.1.4): items, sections, partial ranges.

use kith_store::folder::ModSeq;

use super::{Page, modifiers};
use crate::limits::{ITEMS_MAX, PART_PATH_MAX};
use crate::set::SequenceSet;
use crate::token::{Cursor, Parsed, SyntaxError};

/// A FETCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Which messages.
    pub set: SequenceSet,
    /// What of each.
    pub items: Vec<FetchItem>,
    /// Only those that changed after this.
    pub changed_since: Option<ModSeq>,
    /// Those of the set that vanished since then are told too (RFC 7162 §3.2.6).
    pub vanished: bool,
    /// Only this page of the set's messages (RFC 9394 §3.2).
    pub page: Option<Page>,
}

/// One thing to tell of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchItem {
    /// UID
    Uid,
    /// FLAGS
    Flags,
    /// INTERNALDATE
    InternalDate,
    /// RFC822.SIZE
    Size,
    /// ENVELOPE
    Envelope,
    /// BODY without a section: the structure without extension data.
    Body,
    /// BODYSTRUCTURE
    BodyStructure,
    /// MODSEQ
    ModSeq,
    /// PREVIEW, lazy or not (RFC 8970).
    Preview,
    /// EMAILID (RFC 8474)
    EmailId,
    /// THREADID, which no message has here.
    ThreadId,
    /// SAVEDATE (RFC 8514)
    SaveDate,
    /// `BINARY[…]<…>` and `BINARY.PEEK[…]<…>`: a part without its transfer encoding (RFC 3516).
    Binary {
        /// Which part; empty for the message.
        path: Vec<u32>,
        /// Which of its bytes.
        partial: Option<Partial>,
        /// Without setting `\Seen`.
        peek: bool,
    },
    /// `BINARY.SIZE[…]`
    BinarySize(Vec<u32>),
    /// RFC822: as `BODY[]`, under its old name.
    Rfc822,
    /// RFC822.HEADER: as `BODY.PEEK[HEADER]`, under its old name.
    Rfc822Header,
    /// RFC822.TEXT: as `BODY[TEXT]`, under its old name.
    Rfc822Text,
    /// `BODY[…]<…>` and `BODY.PEEK[…]<…>`.
    Section {
        /// Which bytes.
        section: Section,
        /// Which of them.
        partial: Option<Partial>,
        /// Without setting `\Seen`.
        peek: bool,
    },
}

/// `BODY[1.2.HEADER]`: a part, and what of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Empty: the message itself.
    pub path: Vec<u32>,
    /// What of the part.
    pub text: SectionText,
}

/// What of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SectionText {
    /// All: of the message header and body, of a part its body.
    All,
    /// HEADER
    Header,
    /// HEADER.FIELDS: names as the client wrote them.
    Fields(Vec<String>),
    /// HEADER.FIELDS.NOT
    FieldsNot(Vec<String>),
    /// TEXT
    Text,
    /// MIME
    Mime,
}

/// `<first.length>`, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    /// First byte, from 0.
    pub first: u32,
    /// How many at most; never 0.
    pub length: u32,
}

pub(super) fn fetch(cursor: &mut Cursor<'_>) -> Parsed<Fetch> {
    let set = SequenceSet::parse(cursor)?;
    cursor.space()?;
    let items = if cursor.peek() == Some(b'(') {
        let items = cursor.parenthesised(ITEMS_MAX, "items", item)?;
        if items.is_empty() {
            return Err(SyntaxError::Expected("something to fetch"));
        }
        items
    } else {
        macro_or_item(cursor)?
    };
    let (mut changed_since, mut vanished, mut page) = (None, false, None);
    if cursor.eat(b' ') && !cursor.rest().is_empty() {
        modifiers(cursor, |name, cursor| match name {
            "CHANGEDSINCE" => {
                cursor.space()?;
                changed_since = Some(ModSeq(cursor.number64()?));
                Ok(())
            }
            "VANISHED" => {
                vanished = true;
                Ok(())
            }
            "PARTIAL" => {
                cursor.space()?;
                page = Some(Page::parse(cursor)?);
                Ok(())
            }
            _ => Err(SyntaxError::Expected("CHANGEDSINCE, VANISHED or PARTIAL")),
        })?;
    }
    if vanished && changed_since.is_none() {
        return Err(SyntaxError::Expected("CHANGEDSINCE beside VANISHED"));
    }
    Ok(Fetch { set, items, changed_since, vanished, page })
}

fn macro_or_item(cursor: &mut Cursor<'_>) -> Parsed<Vec<FetchItem>> {
    use FetchItem::{Body, Envelope, Flags, InternalDate, Size};
    if cursor.eat_word("FAST") {
        Ok(vec![Flags, InternalDate, Size])
    } else if cursor.eat_word("ALL") {
        Ok(vec![Flags, InternalDate, Size, Envelope])
    } else if cursor.eat_word("FULL") {
        Ok(vec![Flags, InternalDate, Size, Envelope, Body])
    } else {
        Ok(vec![item(cursor)?])
    }
}

pub(super) fn item(cursor: &mut Cursor<'_>) -> Parsed<FetchItem> {
    let name = cursor.word("an item to fetch")?;
    Ok(match name.as_str() {
        "UID" => FetchItem::Uid,
        "FLAGS" => FetchItem::Flags,
        "INTERNALDATE" => FetchItem::InternalDate,
        "RFC822.SIZE" => FetchItem::Size,
        "ENVELOPE" => FetchItem::Envelope,
        "BODYSTRUCTURE" => FetchItem::BodyStructure,
        "MODSEQ" => FetchItem::ModSeq,
        "RFC822" => FetchItem::Rfc822,
        "RFC822.HEADER" => FetchItem::Rfc822Header,
        "RFC822.TEXT" => FetchItem::Rfc822Text,
        "BODY" if cursor.peek() != Some(b'[') => FetchItem::Body,
        "BODY" | "BODY.PEEK" => {
            let section = section(cursor)?;
            FetchItem::Section { section, partial: partial(cursor)?, peek: name == "BODY.PEEK" }
        }
        "BINARY.SIZE" => FetchItem::BinarySize(part(cursor)?),
        "BINARY" | "BINARY.PEEK" => {
            let path = part(cursor)?;
            FetchItem::Binary { path, partial: partial(cursor)?, peek: name == "BINARY.PEEK" }
        }
        "PREVIEW" => preview(cursor)?,
        "EMAILID" => FetchItem::EmailId,
        "THREADID" => FetchItem::ThreadId,
        "SAVEDATE" => FetchItem::SaveDate,
        _ => return Err(SyntaxError::Expected("an item to fetch")),
    })
}

/// `[1.2]`: a section that is a part.
fn part(cursor: &mut Cursor<'_>) -> Parsed<Vec<u32>> {
    match section(cursor)? {
        Section { path, text: SectionText::All } => Ok(path),
        Section { .. } => Err(SyntaxError::Expected("a part number")),
    }
}

/// RFC 8970 §3.1: LAZY may go without one; ours is always at hand.
fn preview(cursor: &mut Cursor<'_>) -> Parsed<FetchItem> {
    let mut ahead = cursor.clone();
    if ahead.eat(b' ') && ahead.eat(b'(') {
        if !ahead.eat_word("LAZY") {
            return Err(SyntaxError::Expected("LAZY"));
        }
        ahead.expect(b')', "a closing parenthesis")?;
        *cursor = ahead;
    }
    Ok(FetchItem::Preview)
}

fn section(cursor: &mut Cursor<'_>) -> Parsed<Section> {
    cursor.expect(b'[', "a section in brackets")?;
    let mut path = Vec::new();
    let mut text = SectionText::All;
    while cursor.peek().is_some_and(|byte| byte.is_ascii_digit()) {
        if path.len() == PART_PATH_MAX {
            return Err(SyntaxError::TooMany("part numbers"));
        }
        match cursor.number()? {
            0 => return Err(SyntaxError::Expected("a part number above 0")),
            number => path.push(number),
        }
        if !cursor.eat(b'.') {
            break;
        }
        if cursor.peek() == Some(b']') {
            return Err(SyntaxError::Expected("a part number or HEADER, TEXT, MIME"));
        }
    }
    if cursor.peek() != Some(b']') {
        text = match cursor.word("a section")?.as_str() {
            "HEADER" => SectionText::Header,
            "TEXT" => SectionText::Text,
            "MIME" if !path.is_empty() => SectionText::Mime,
            "HEADER.FIELDS" => SectionText::Fields(field_names(cursor)?),
            "HEADER.FIELDS.NOT" => SectionText::FieldsNot(field_names(cursor)?),
            _ => return Err(SyntaxError::Expected("HEADER, HEADER.FIELDS, TEXT or MIME")),
        };
    }
    cursor.expect(b']', "the end of the section")?;
    Ok(Section { path, text })
}

fn field_names(cursor: &mut Cursor<'_>) -> Parsed<Vec<String>> {
    const WHAT: SyntaxError = SyntaxError::Expected("the name of a header field");
    cursor.space()?;
    let names = cursor.parenthesised(ITEMS_MAX, "header fields", |cursor| {
        let name = cursor.astring("the name of a header field")?;
        // RFC 5322 §3.6.8: a field name has no colon, space or control character.
        if !name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b':') || name.is_empty() {
            return Err(WHAT);
        }
        String::from_utf8(name.into_owned()).map_err(|_| WHAT)
    })?;
    if names.is_empty() { Err(WHAT) } else { Ok(names) }
}

fn partial(cursor: &mut Cursor<'_>) -> Parsed<Option<Partial>> {
    if !cursor.eat(b'<') {
        return Ok(None);
    }
    let first = cursor.number()?;
    cursor.expect(b'.', "the length of the range")?;
    let length = cursor.number()?;
    cursor.expect(b'>', "the end of the range")?;
    if length == 0 { Err(SyntaxError::Expected("a length above 0")) } else { Ok(Some(Partial { first, length })) }
}
