//! SEARCH (RFC 3501 §6.4.4, RFC 4731, RFC 5182, RFC 7162 §3.1.5, RFC 9394), SORT and THREAD (RFC 5256).

mod returns;

use kith_store::folder::{Flags, ModSeq};

use crate::date::Day;
use crate::limits::{ITEMS_MAX, KEYWORD_BYTES_MAX, SEARCH_DEPTH_MAX, SEARCH_KEYS_MAX};
use crate::set::{Ranges, SequenceSet};
use crate::sorting::{Criterion, SortKey};
use crate::text::lower;
use crate::threading::Algorithm;
use crate::token::{Cursor, Parsed, SyntaxError};

use returns::returns;
pub use returns::{Page, SearchReturn};

/// A SEARCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// What is to be told in an ESEARCH response; `None` asks for the plain SEARCH response.
    pub returns: Option<SearchReturn>,
    /// What the strings are written in.
    pub charset: Charset,
    /// The client has named it.
    pub charset_named: bool,
    /// All of these.
    pub keys: Vec<SearchKey>,
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

/// One key. Strings that are searched for are in UTF-8 and lower case once parsed.
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
    /// OLDER and YOUNGER, seconds (RFC 5032).
    Older(u32),
    /// YOUNGER
    Younger(u32),
    /// SAVEDBEFORE, by when it was put into this folder (RFC 8514).
    SavedBefore(Day),
    /// SAVEDON
    SavedOn(Day),
    /// SAVEDSINCE
    SavedSince(Day),
    /// EMAILID (RFC 8474)
    EmailId(String),
    /// Nothing at all: THREADID, which no message has here.
    Nothing,
    /// These UIDs: what sets come to once the folder is known. Never parsed.
    Among(Ranges),
}

pub(super) fn search(cursor: &mut Cursor<'_>) -> Parsed<Search> {
    let returns = returns(cursor)?;
    let (mut charset, mut named) = (Charset::Utf8, false);
    if cursor.eat_word("CHARSET") {
        cursor.space()?;
        (charset, named) = (charset_named(&cursor.astring("a charset")?), true);
        cursor.space()?;
    }
    keys(cursor, returns, charset, named)
}

/// RFC 5256 §5: `(criteria) charset keys`; RETURN as in RFC 5267.
pub(super) fn sort(cursor: &mut Cursor<'_>) -> Parsed<(Vec<Criterion>, Search)> {
    let returns = returns(cursor)?;
    let criteria = cursor.parenthesised(ITEMS_MAX, "sort criteria", |cursor| {
        let mut name = cursor.word("a sort criterion")?;
        let reverse = name == "REVERSE";
        if reverse {
            cursor.space()?;
            name = cursor.word("a sort criterion")?;
        }
        let key = match name.as_str() {
            "ARRIVAL" => SortKey::Arrival,
            "CC" => SortKey::Cc,
            "DATE" => SortKey::Date,
            "FROM" => SortKey::From,
            "SIZE" => SortKey::Size,
            "SUBJECT" => SortKey::Subject,
            "TO" => SortKey::To,
            _ => return Err(SyntaxError::Expected("ARRIVAL, CC, DATE, FROM, SIZE, SUBJECT or TO")),
        };
        Ok(Criterion { key, reverse })
    })?;
    if criteria.is_empty() {
        return Err(SyntaxError::Expected("a sort criterion"));
    }
    cursor.space()?;
    let charset = charset_named(&cursor.astring("a charset")?);
    cursor.space()?;
    Ok((criteria, keys(cursor, returns, charset, true)?))
}

/// RFC 5256 §5: `algorithm charset keys`.
pub(super) fn thread(cursor: &mut Cursor<'_>) -> Parsed<(Algorithm, Search)> {
    let algorithm = match cursor.word("a threading algorithm")?.as_str() {
        "ORDEREDSUBJECT" => Algorithm::OrderedSubject,
        "REFERENCES" => Algorithm::References,
        _ => return Err(SyntaxError::Expected("ORDEREDSUBJECT or REFERENCES")),
    };
    cursor.space()?;
    let charset = charset_named(&cursor.astring("a charset")?);
    cursor.space()?;
    Ok((algorithm, keys(cursor, None, charset, true)?))
}

fn keys(cursor: &mut Cursor<'_>, returns: Option<SearchReturn>, charset: Charset, charset_named: bool) -> Parsed<Search> {
    let mut reader = Reader { charset: &charset, keys: 0 };
    let mut keys = vec![reader.key(cursor, 0)?];
    while cursor.eat(b' ') && !cursor.rest().is_empty() {
        keys.push(reader.key(cursor, 0)?);
    }
    Ok(Search { returns, charset, charset_named, keys })
}

fn charset_named(name: &[u8]) -> Charset {
    if [&b"UTF-8"[..], b"US-ASCII", b"UTF8", b"ASCII"].iter().any(|known| known.eq_ignore_ascii_case(name)) {
        return Charset::Utf8;
    }
    encoding_rs::Encoding::for_label_no_replacement(name).map_or(Charset::Unknown, Charset::Other)
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
            Some(b'0'..=b'9' | b'*' | b'$') => SequenceSet::parse(cursor).map(SearchKey::Sequence),
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
            return Err(match name {
                "FUZZY" => SyntaxError::Unsupported("FUZZY"),
                _ => SyntaxError::Expected("a search key"),
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
            "OLDER" => SearchKey::Older(seconds(cursor)?),
            "YOUNGER" => SearchKey::Younger(seconds(cursor)?),
            "SAVEDBEFORE" => SearchKey::SavedBefore(Day::parse(cursor)?),
            "SAVEDON" => SearchKey::SavedOn(Day::parse(cursor)?),
            "SAVEDSINCE" => SearchKey::SavedSince(Day::parse(cursor)?),
            "EMAILID" => SearchKey::EmailId(cursor.atom("an object id")?.to_owned()),
            "THREADID" => {
                cursor.atom("an object id")?;
                SearchKey::Nothing
            }
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
            Charset::Utf8 | Charset::Unknown => lower(&String::from_utf8_lossy(&bytes)),
            Charset::Other(encoding) => lower(&encoding.decode_without_bom_handling(&bytes).0),
        })
    }
}

const WITH_ARGUMENT: [&str; 29] = [
    "OLDER",
    "YOUNGER",
    "SAVEDBEFORE",
    "SAVEDON",
    "SAVEDSINCE",
    "EMAILID",
    "THREADID",
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
        // RFC 8514 §4.3: every folder of ours has save dates.
        "SAVEDATESUPPORTED" => SearchKey::All,
        _ => return None,
    })
}

/// RFC 5032 §3: a number above 0.
fn seconds(cursor: &mut Cursor<'_>) -> Parsed<u32> {
    match cursor.number()? {
        0 => Err(SyntaxError::Expected("a number of seconds above 0")),
        seconds => Ok(seconds),
    }
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
