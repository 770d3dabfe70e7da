//! SEARCH (RFC 3501 §6.4.4, RFC 4731, RFC 7162 §3.1.5): page by page, what is cheap to know before what has to be read.
//!
//! Texts are compared decoded and without regard to case; of very large messages the first [`SEARCH_TEXT_BYTES_MAX`] bytes are looked at.

use std::io::Read as _;

use kith_store::folder::{Message, ModSeq, Uid};
use mail_parser::{MessageParser, PartType};

use super::change::expunges_after;
use super::{Completion, Doing, Outcome, Refused, Session};
use crate::command::{Charset, Numbering, Search, SearchKey, SearchReturn};
use crate::date::{DateTime, Day};
use crate::flag::Recent;
use crate::limits::{PAGE_MESSAGES, SEARCH_STEP_BYTES, SEARCH_STEP_MESSAGES, SEARCH_TEXT_BYTES_MAX};
use crate::response::put;
use crate::set::Ranges;
use crate::structure::{fields, read_header};

/// A SEARCH under way.
pub(super) struct SearchJob {
    tag: String,
    numbering: Numbering,
    search: Search,
    /// The UID that is looked at next; `None` when all have been.
    next: Option<Uid>,
    last: Uid,
    found: Vec<u32>,
    /// Highest MODSEQ of those found, of the first and of the last of them.
    highest: ModSeq,
    first: ModSeq,
    latest: ModSeq,
    wants_mod_seq: bool,
}

/// What has been read of a message so far.
#[derive(Default)]
struct Bytes {
    header: Option<Vec<u8>>,
    texts: Option<Texts>,
    read: u64,
}

/// Everything of a message that a person reads, in lower case.
struct Texts {
    header: String,
    body: String,
}

impl Session {
    pub(super) fn search(&mut self, tag: &str, numbering: Numbering, search: Search) -> Outcome {
        let last = Uid(self.selected()?.view.last_uid());
        if search.charset == Charset::Unknown {
            return Err(Refused(Completion::no("BADCHARSET (UTF-8 US-ASCII)", "This charset is not known here")));
        }
        if let Some(largest) = search.keys.iter().filter_map(largest_number).max()
            && largest as usize > self.selected()?.view.len()
        {
            return Err(Refused(Completion::bad("There is no message with this number")));
        }
        let wants_mod_seq = search.keys.iter().any(names_mod_seq);
        self.enabled.condstore |= wants_mod_seq;
        let job = SearchJob {
            tag: tag.to_owned(),
            numbering,
            search,
            next: Some(Uid(1)),
            last,
            found: Vec::new(),
            highest: ModSeq(0),
            first: ModSeq(0),
            latest: ModSeq(0),
            wants_mod_seq,
        };
        Ok(Doing::Searching(Box::new(job)))
    }

    pub(super) fn search_on(&mut self, mut job: Box<SearchJob>) -> Doing {
        let (mut messages, mut bytes) = (0, 0);
        while let Some(from) = job.next {
            if messages >= SEARCH_STEP_MESSAGES || bytes >= SEARCH_STEP_BYTES {
                return Doing::Searching(job);
            }
            match self.search_page(&mut job, from) {
                Ok((looked_at, read)) => {
                    messages += looked_at;
                    bytes += read;
                }
                Err(Refused(completion)) => {
                    let expunges = expunges_after(job.numbering);
                    return self.finish(job.tag, completion, expunges);
                }
            }
        }
        self.tell_found(&job);
        let expunges = expunges_after(job.numbering);
        self.finish(job.tag, Completion::ok("SEARCH completed"), expunges)
    }

    /// Looks at some messages; gives how many, and how many bytes were read for that.
    fn search_page(&mut self, job: &mut SearchJob, from: Uid) -> Result<(usize, u64), Refused> {
        let account = self.account_id()?;
        let folder = self.selected()?.folder;
        if from > job.last {
            job.next = None;
            return Ok((0, 0));
        }
        let page = self.store().messages(account, folder, from, job.last, PAGE_MESSAGES)?;
        let looked_at = page.len();
        job.next = page.last().filter(|_| looked_at == PAGE_MESSAGES).and_then(|last| last.uid.0.checked_add(1)).map(Uid);
        let mut read = 0;
        for (at, message) in page.iter().enumerate() {
            // A page of large messages is left in its middle, so that one session does not hold a thread for long.
            if read >= SEARCH_STEP_BYTES {
                job.next = Some(message.uid);
                return Ok((at, read));
            }
            let Some(number) = self.selected()?.view.sequence(message.uid) else { continue };
            let mut bytes = Bytes::default();
            if self.matches_all(&job.search.keys, message, number, &mut bytes)? {
                let shown = match job.numbering {
                    Numbering::Uid => message.uid.0,
                    Numbering::Sequence => number,
                };
                if job.found.is_empty() {
                    job.first = message.mod_seq;
                }
                job.latest = message.mod_seq;
                job.highest = job.highest.max(message.mod_seq);
                job.found.push(shown);
            }
            read += bytes.read;
        }
        Ok((looked_at, read))
    }

    fn matches_all(&self, keys: &[SearchKey], message: &Message, number: u32, bytes: &mut Bytes) -> Result<bool, Refused> {
        // What needs no reading goes first: most messages are ruled out by it.
        for wants_bytes in [false, true] {
            for key in keys.iter().filter(|key| needs_bytes(key) == wants_bytes) {
                if !self.matches(key, message, number, bytes)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn matches(&self, key: &SearchKey, message: &Message, number: u32, bytes: &mut Bytes) -> Result<bool, Refused> {
        let view = &self.selected()?.view;
        let recent = || view.recent(message.uid) == Recent::Yes;
        let seen = message.flags.system & kith_store::folder::Flags::SEEN != 0;
        let received = || DateTime { seconds: message.internal_date, zone: message.internal_zone }.day();
        Ok(match key {
            SearchKey::All => true,
            SearchKey::Sequence(set) => set.resolve(u32::try_from(view.len()).unwrap_or(u32::MAX)).contains(number),
            SearchKey::Uid(set) => set.resolve(view.last_uid()).contains(message.uid.0),
            SearchKey::Flag(bits) => message.flags.system & bits == *bits,
            SearchKey::NotFlag(bits) => message.flags.system & bits == 0,
            SearchKey::Recent => recent(),
            SearchKey::New => recent() && !seen,
            SearchKey::Old => !recent(),
            SearchKey::Keyword(name) => has_keyword(message, name),
            SearchKey::NotKeyword(name) => !has_keyword(message, name),
            SearchKey::Before(day) => received() < *day,
            SearchKey::On(day) => received() == *day,
            SearchKey::Since(day) => received() >= *day,
            SearchKey::Larger(size) => message.size > u64::from(*size),
            SearchKey::Smaller(size) => message.size < u64::from(*size),
            SearchKey::ModSeq(least) => message.mod_seq >= *least,
            SearchKey::SentBefore(day) => self.sent(message, bytes)?.is_some_and(|sent| sent < *day),
            SearchKey::SentOn(day) => self.sent(message, bytes)?.is_some_and(|sent| sent == *day),
            SearchKey::SentSince(day) => self.sent(message, bytes)?.is_some_and(|sent| sent >= *day),
            SearchKey::Header(name, text) => self.header_has(message, bytes, name, text)?,
            SearchKey::Body(text) => contains(&self.texts(message, bytes)?.body, text),
            SearchKey::Text(text) => {
                let texts = self.texts(message, bytes)?;
                contains(&texts.header, text) || contains(&texts.body, text)
            }
            SearchKey::Not(key) => !self.matches(key, message, number, bytes)?,
            SearchKey::Or(one, other) => {
                self.matches(one, message, number, bytes)? || self.matches(other, message, number, bytes)?
            }
            SearchKey::And(keys) => self.matches_all(keys, message, number, bytes)?,
        })
    }

    /// The header; empty where the message cannot be read, which one damaged message is no reason to refuse a search for.
    fn header<'a>(&self, message: &Message, bytes: &'a mut Bytes) -> Result<&'a [u8], Refused> {
        if bytes.header.is_none() {
            let mut reader = self.store().blob(&message.hash)?;
            let header = read_header(&mut reader).map(|header| header.bytes).unwrap_or_default();
            bytes.read += header.len() as u64;
            bytes.header = Some(header);
        }
        Ok(bytes.header.as_deref().unwrap_or_default())
    }

    /// The day in the Date field, as its sender counts.
    fn sent(&self, message: &Message, bytes: &mut Bytes) -> Result<Option<Day>, Refused> {
        let header = self.header(message, bytes)?;
        let parsed = MessageParser::new().with_date_headers().parse_headers(header);
        let date = parsed.as_ref().and_then(|parsed| parsed.date());
        Ok(date.map(|date| Day::of(i64::from(date.year), i64::from(date.month), i64::from(date.day))))
    }

    fn header_has(&self, message: &Message, bytes: &mut Bytes, name: &str, text: &str) -> Result<bool, Refused> {
        let header = self.header(message, bytes)?;
        Ok(fields(header).filter(|field| field.is(name)).any(|field| text.is_empty() || contains(&decoded(field.value), text)))
    }

    fn texts<'a>(&self, message: &Message, bytes: &'a mut Bytes) -> Result<&'a Texts, Refused> {
        if bytes.texts.is_none() {
            let reader = self.store().blob(&message.hash)?;
            let mut raw = Vec::new();
            if let Err(error) = reader.take(SEARCH_TEXT_BYTES_MAX).read_to_end(&mut raw) {
                tracing::warn!(%error, "a message cannot be read");
                raw.clear();
            }
            bytes.read += raw.len() as u64;
            bytes.texts = Some(texts_of(&raw));
        }
        Ok(bytes.texts.get_or_insert_with(|| Texts { header: String::new(), body: String::new() }))
    }

    fn tell_found(&mut self, job: &SearchJob) {
        let out = &mut self.out;
        let Some(returns) = job.search.returns else {
            put!(out, "* SEARCH");
            for number in &job.found {
                put!(out, " {number}");
            }
            if job.wants_mod_seq && !job.found.is_empty() {
                put!(out, " (MODSEQ {})", job.highest.0);
            }
            put!(out, "\r\n");
            return;
        };
        put!(out, "* ESEARCH (TAG \"{}\")", job.tag);
        if job.numbering == Numbering::Uid {
            put!(out, " UID");
        }
        write_returns(out, job, returns);
        put!(out, "\r\n");
    }
}

fn write_returns(out: &mut Vec<u8>, job: &SearchJob, returns: SearchReturn) {
    if let (Some(first), Some(last)) = (job.found.first(), job.found.last()) {
        if returns.min {
            put!(out, " MIN {first}");
        }
        if returns.max {
            put!(out, " MAX {last}");
        }
        if returns.all {
            let all: Ranges = job.found.iter().copied().collect();
            put!(out, " ALL {all}");
        }
        if job.wants_mod_seq {
            // RFC 7162 §3.1.5: of what is told, if only the ends are.
            let mod_seq = match (returns.all || returns.count, returns.min, returns.max) {
                (true, ..) => job.highest,
                (false, true, false) => job.first,
                (false, false, true) => job.latest,
                (false, ..) => job.first.max(job.latest),
            };
            put!(out, " MODSEQ {}", mod_seq.0);
        }
    }
    if returns.count {
        put!(out, " COUNT {}", job.found.len());
    }
}

/// The largest sequence number that a key names outright.
fn largest_number(key: &SearchKey) -> Option<u32> {
    match key {
        SearchKey::Sequence(set) => set.largest(),
        SearchKey::Not(key) => largest_number(key),
        SearchKey::Or(one, other) => largest_number(one).max(largest_number(other)),
        SearchKey::And(keys) => keys.iter().filter_map(largest_number).max(),
        _ => None,
    }
}

fn names_mod_seq(key: &SearchKey) -> bool {
    match key {
        SearchKey::ModSeq(_) => true,
        SearchKey::Not(key) => names_mod_seq(key),
        SearchKey::Or(one, other) => names_mod_seq(one) || names_mod_seq(other),
        SearchKey::And(keys) => keys.iter().any(names_mod_seq),
        _ => false,
    }
}

fn needs_bytes(key: &SearchKey) -> bool {
    match key {
        SearchKey::SentBefore(_)
        | SearchKey::SentOn(_)
        | SearchKey::SentSince(_)
        | SearchKey::Header(..)
        | SearchKey::Body(_)
        | SearchKey::Text(_) => true,
        SearchKey::Not(key) => needs_bytes(key),
        SearchKey::Or(one, other) => needs_bytes(one) || needs_bytes(other),
        SearchKey::And(keys) => keys.iter().any(needs_bytes),
        _ => false,
    }
}

fn has_keyword(message: &Message, name: &str) -> bool {
    message.flags.keywords.iter().any(|keyword| keyword.eq_ignore_ascii_case(name))
}

/// `haystack` is in lower case already.
fn contains(haystack: &str, needle: &str) -> bool {
    haystack.contains(&needle.to_lowercase())
}

/// A field's value with its encoded words decoded (RFC 2047), in lower case.
fn decoded(value: &[u8]) -> String {
    // As the parser reads a Subject: every other field would be read for its meaning, not its text.
    let subject = [b"Subject: ", value.trim_ascii(), b"\r\n\r\n"].concat();
    let parsed = MessageParser::new().header_text(mail_parser::HeaderName::Subject).parse_headers(&subject);
    let text = parsed.as_ref().and_then(|parsed| parsed.subject()).map(str::to_lowercase);
    text.unwrap_or_else(|| String::from_utf8_lossy(value).to_lowercase())
}

fn texts_of(raw: &[u8]) -> Texts {
    let mut header = String::new();
    let end = raw.windows(4).position(|four| four == b"\r\n\r\n").map_or(raw.len(), |end| end + 2);
    for field in fields(raw.get(..end).unwrap_or_default()) {
        header.push_str(&String::from_utf8_lossy(field.name).to_lowercase());
        header.push_str(": ");
        header.push_str(&decoded(field.value));
        header.push('\n');
    }
    let mut body = String::new();
    match MessageParser::default().parse(raw) {
        Some(message) => collect(&message, &mut body),
        // What cannot be taken apart is searched as it is.
        None => body = String::from_utf8_lossy(raw.get(end..).unwrap_or_default()).to_lowercase(),
    }
    Texts { header, body }
}

fn collect(message: &mail_parser::Message<'_>, body: &mut String) {
    for part in &message.parts {
        match &part.body {
            PartType::Text(text) | PartType::Html(text) => {
                body.push_str(&text.to_lowercase());
                body.push('\n');
            }
            PartType::Message(inner) => {
                body.push_str(&inner.subject().unwrap_or_default().to_lowercase());
                body.push('\n');
                collect(inner, body);
            }
            PartType::Binary(_) | PartType::InlineBinary(_) | PartType::Multipart(_) => {}
        }
    }
}
