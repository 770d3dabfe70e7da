//! SEARCH (RFC 3501 §6.4.4, RFC 4731, RFC 7162 §3.1.5).

use kith_store::folder::{Flags, ModSeq};

use crate::date::Day;
use crate::limits::{ITEMS_MAX, KEYWORD_BYTES_MAX, SEARCH_DEPTH_MAX, SEARCH_KEYS_MAX};
use crate::set::SequenceSet;
use crate::token::{Cursor, Parsed, SyntaxError};

/// A SEARCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// What is to be told in an ESEARCH response; `None` asks for the plain SEARCH response.
    pub returns: Option<SearchReturn>,
    /// What the strings are written in.
    pub charset: Charset,
    /// All of these.
    pub keys: Vec<SearchKey>,
}

/// Result options (RFC 4731 §3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchReturn {
    /// MIN
    pub min: bool,
    /// MAX
    pub max: bool,
    /// ALL
    pub all: bool,
    /// COUNT
    pub count: bool,
}

/// CHARSET: its name as given; US-ASCII and UTF-8 read alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Charset {
    /// The default.
    Utf8,
    /// A charset that encoding_rs knows.
    Other(&'static encoding_rs::Encoding),
    /// None that we know: `NO [BADCHARSET]`.
    Unknown,
}

/// One key. Strings are in UTF-8 once parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchKey {
    /// ALL
    All,
    /// By position.
    Sequence(SequenceSet),
    /// UID
    Uid(SequenceSet),
    /// All of these system flags' bits; or none, in `NotFlag`.
    Flag(u8),
    /// None of these bits.
    NotFlag(u8),
    /// RECENT
    Recent,
    /// NEW: RECENT UNSEEN
    New,
    /// OLD: NOT RECENT
    Old,
    /// KEYWORD
    Keyword(String),
    /// UNKEYWORD
    NotKeyword(String),
    /// BEFORE, by INTERNALDATE.
    Before(Day),
    /// ON
    On(Day),
    /// SINCE
    Since(Day),
    /// SENTBEFORE, by the Date field.
    SentBefore(Day),
    /// SENTON
    SentOn(Day),
    /// SENTSINCE
    SentSince(Day),
    /// LARGER, bytes.
    Larger(u32),
    /// SMALLER, bytes.
    Smaller(u32),
    /// MODSEQ: at least.
    ModSeq(ModSeq),
    /// HEADER, and FROM TO CC BCC SUBJECT: field name and text.
    Header(String, String),
    /// BODY
    Body(String),
    /// TEXT
    Text(String),
    /// NOT
    Not(Box<SearchKey>),
    /// OR
    Or(Box<SearchKey>, Box<SearchKey>),
    /// Several in parentheses: all of them.
    And(Vec<SearchKey>),
}

pub(super) fn search(cursor: &mut Cursor<'_>) -> Parsed<Search> {
    let mut returns = None;
    if cursor.eat_word("RETURN") {
        cursor.space()?;
        returns = Some(return_options(cursor)?);
        cursor.space()?;
    }
    let mut charset = Charset::Utf8;
    if cursor.eat_word("CHARSET") {
        cursor.space()?;
        charset = charset_named(&cursor.astring("a charset")?);
        cursor.space()?;
    }
    let mut reader = Reader { charset: &charset, keys: 0 };
    let mut keys = vec![reader.key(cursor, 0)?];
    while cursor.eat(b' ') && !cursor.rest().is_empty() {
        keys.push(reader.key(cursor, 0)?);
    }
    Ok(Search { returns, charset, keys })
}

fn charset_named(name: &[u8]) -> Charset {
    if [&b"UTF-8"[..], b"US-ASCII", b"UTF8", b"ASCII"].iter().any(|known| known.eq_ignore_ascii_case(name)) {
        return Charset::Utf8;
    }
    encoding_rs::Encoding::for_label_no_replacement(name).map_or(Charset::Unknown, Charset::Other)
}

fn return_options(cursor: &mut Cursor<'_>) -> Parsed<SearchReturn> {
    let mut returns = SearchReturn::default();
    cursor.parenthesised(ITEMS_MAX, "result options", |cursor| {
        match cursor.word("a result option")?.as_str() {
            "MIN" => returns.min = true,
            "MAX" => returns.max = true,
            "ALL" => returns.all = true,
            "COUNT" => returns.count = true,
            "SAVE" => return Err(SyntaxError::Unsupported("SAVE")),
            "PARTIAL" => return Err(SyntaxError::Unsupported("PARTIAL")),
            _ => return Err(SyntaxError::Expected("MIN, MAX, ALL or COUNT")),
        }
        Ok(())
    })?;
    // RFC 4731 §3.1: an empty list means ALL.
    if returns == SearchReturn::default() {
        returns.all = true;
    }
    Ok(returns)
}

struct Reader<'a> {
    charset: &'a Charset,
    keys: usize,
}

impl Reader<'_> {
    fn key(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Parsed<SearchKey> {
        self.keys += 1;
        if self.keys > SEARCH_KEYS_MAX {
            return Err(SyntaxError::TooMany("search keys"));
        }
        if depth > SEARCH_DEPTH_MAX {
            return Err(SyntaxError::TooDeep);
        }
        match cursor.peek() {
            Some(b'(') => {
                let keys = cursor.parenthesised(SEARCH_KEYS_MAX, "search keys", |cursor| self.key(cursor, depth + 1))?;
                if keys.is_empty() { Err(SyntaxError::Expected("a search key")) } else { Ok(SearchKey::And(keys)) }
            }
            Some(b'0'..=b'9' | b'*') => SequenceSet::parse(cursor).map(SearchKey::Sequence),
            Some(b'$') => Err(SyntaxError::Unsupported("$")),
            _ => {
                let name = cursor.word("a search key")?;
                match simple(&name) {
                    Some(key) => Ok(key),
                    None => self.with_argument(&name, cursor, depth),
                }
            }
        }
    }

    fn with_argument(&mut self, name: &str, cursor: &mut Cursor<'_>, depth: usize) -> Parsed<SearchKey> {
        if !WITH_ARGUMENT.contains(&name) {
            return Err(if ELSEWHERE.contains(&name) {
                SyntaxError::Unsupported("this search key")
            } else {
                SyntaxError::Expected("a search key")
            });
        }
        cursor.space()?;
        Ok(match name {
            "NOT" => SearchKey::Not(Box::new(self.key(cursor, depth + 1)?)),
            "OR" => {
                let one = self.key(cursor, depth + 1)?;
                cursor.space()?;
                SearchKey::Or(Box::new(one), Box::new(self.key(cursor, depth + 1)?))
            }
            "UID" => SearchKey::Uid(SequenceSet::parse(cursor)?),
            "KEYWORD" => SearchKey::Keyword(keyword(cursor)?),
            "UNKEYWORD" => SearchKey::NotKeyword(keyword(cursor)?),
            "BEFORE" => SearchKey::Before(Day::parse(cursor)?),
            "ON" => SearchKey::On(Day::parse(cursor)?),
            "SINCE" => SearchKey::Since(Day::parse(cursor)?),
            "SENTBEFORE" => SearchKey::SentBefore(Day::parse(cursor)?),
            "SENTON" => SearchKey::SentOn(Day::parse(cursor)?),
            "SENTSINCE" => SearchKey::SentSince(Day::parse(cursor)?),
            "LARGER" => SearchKey::Larger(cursor.number()?),
            "SMALLER" => SearchKey::Smaller(cursor.number()?),
            "MODSEQ" => mod_seq(cursor)?,
            "BODY" => SearchKey::Body(self.text(cursor)?),
            "TEXT" => SearchKey::Text(self.text(cursor)?),
            "HEADER" => {
                let field = cursor.astring("the name of a header field")?;
                let field = String::from_utf8_lossy(&field).into_owned();
                cursor.space()?;
                SearchKey::Header(field, self.text(cursor)?)
            }
            // FROM TO CC BCC SUBJECT name the field themselves.
            field => SearchKey::Header(field.to_owned(), self.text(cursor)?),
        })
    }

    fn text(&self, cursor: &mut Cursor<'_>) -> Parsed<String> {
        let bytes = cursor.astring("a text to search for")?;
        Ok(match self.charset {
            Charset::Utf8 | Charset::Unknown => String::from_utf8_lossy(&bytes).into_owned(),
            Charset::Other(encoding) => encoding.decode_without_bom_handling(&bytes).0.into_owned(),
        })
    }
}

const WITH_ARGUMENT: [&str; 22] = [
    "NOT",
    "OR",
    "UID",
    "KEYWORD",
    "UNKEYWORD",
    "BEFORE",
    "ON",
    "SINCE",
    "SENTBEFORE",
    "SENTON",
    "SENTSINCE",
    "LARGER",
    "SMALLER",
    "MODSEQ",
    "BODY",
    "TEXT",
    "HEADER",
    "FROM",
    "TO",
    "CC",
    "BCC",
    "SUBJECT",
];

/// Keys of extensions that are not offered.
const ELSEWHERE: [&str; 9] =
    ["YOUNGER", "OLDER", "EMAILID", "THREADID", "SAVEDBEFORE", "SAVEDON", "SAVEDSINCE", "SAVEDATESUPPORTED", "FUZZY"];

fn simple(name: &str) -> Option<SearchKey> {
    Some(match name {
        "ALL" => SearchKey::All,
        "ANSWERED" => SearchKey::Flag(Flags::ANSWERED),
        "DELETED" => SearchKey::Flag(Flags::DELETED),
        "DRAFT" => SearchKey::Flag(Flags::DRAFT),
        "FLAGGED" => SearchKey::Flag(Flags::FLAGGED),
        "SEEN" => SearchKey::Flag(Flags::SEEN),
        "UNANSWERED" => SearchKey::NotFlag(Flags::ANSWERED),
        "UNDELETED" => SearchKey::NotFlag(Flags::DELETED),
        "UNDRAFT" => SearchKey::NotFlag(Flags::DRAFT),
        "UNFLAGGED" => SearchKey::NotFlag(Flags::FLAGGED),
        "UNSEEN" => SearchKey::NotFlag(Flags::SEEN),
        "RECENT" => SearchKey::Recent,
        "NEW" => SearchKey::New,
        "OLD" => SearchKey::Old,
        _ => return None,
    })
}

fn keyword(cursor: &mut Cursor<'_>) -> Parsed<String> {
    let keyword = cursor.atom("a keyword")?;
    if keyword.len() > KEYWORD_BYTES_MAX {
        Err(SyntaxError::Expected("keywords of 64 bytes at most"))
    } else {
        Ok(keyword.to_owned())
    }
}

/// `MODSEQ ["/flags/\\Seen" all] 620162338`: the name of a flag is taken and ignored, as RFC 7162 §3.1.5 allows.
fn mod_seq(cursor: &mut Cursor<'_>) -> Parsed<SearchKey> {
    if cursor.peek() == Some(b'"') {
        cursor.string("a metadata entry")?;
        cursor.space()?;
        if !["PRIV", "SHARED", "ALL"].contains(&cursor.word("priv, shared or all")?.as_str()) {
            return Err(SyntaxError::Expected("priv, shared or all"));
        }
        cursor.space()?;
    }
    cursor.number64().map(|mod_seq| SearchKey::ModSeq(ModSeq(mod_seq)))
}
