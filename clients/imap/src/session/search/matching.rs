//! Does a message match a search key? What has to be read of it is read once.
//!
//! Texts are compared decoded and without regard to case; of very large messages the first [`SEARCH_TEXT_BYTES_MAX`] bytes are looked at.

use std::io::Read as _;

use kith_store::account::AccountId;
use kith_store::blob::BlobReader;
use kith_store::folder::{Flags, Message};
use kith_store::header::Excerpt;
use kith_store::mailbox::{GIST_BYTES_MAX, Gist, NewGist};

use super::{Refused, Session};
use crate::command::SearchKey;
use crate::date::DateTime;
use crate::flag::Recent;
use crate::keys::{self, Keys, Sent};
use crate::limits::SEARCH_TEXT_BYTES_MAX;
use crate::structure::{fields, read_header};
use crate::text::{Texts, contains, texts_of, value_contains};

/// What has been read of a message so far.
#[derive(Default)]
pub(super) struct Bytes {
    /// What the store keeps of its header.
    pub(super) excerpt: Excerpt,
    /// Its keys, as they are written.
    pub(super) keys: Option<Vec<u8>>,
    /// They were worked out here.
    new_keys: bool,
    /// Opened ahead.
    pub(super) reader: Option<BlobReader>,
    header: Option<Vec<u8>>,
    texts: Option<Texts>,
    pub(super) read: u64,
}

impl Bytes {
    /// What the store had better keep of the message.
    pub(super) fn new_gist(&mut self, account: AccountId, message: &Message) -> Option<NewGist> {
        let bytes = self.keys.take().filter(|keys| self.new_keys && keys.len() <= GIST_BYTES_MAX)?;
        Some(NewGist { account, kind: Gist::Keys, record: message.record, bytes: bytes.into_boxed_slice() })
    }
}

impl Session {
    /// The keys that need no reading: most messages are ruled out by them.
    pub(super) fn may_match(&self, keys: &[SearchKey], message: &Message) -> Result<bool, Refused> {
        let mut nothing = Bytes::default();
        for key in keys.iter().filter(|key| reads(key) == Reads::Nothing) {
            if !self.matches(key, message, &mut nothing)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The other keys, what is short before what is long.
    pub(super) fn matches_rest(&self, keys: &[SearchKey], message: &Message, bytes: &mut Bytes) -> Result<bool, Refused> {
        for what in [Reads::Header, Reads::Text] {
            for key in keys.iter().filter(|key| reads(key) == what) {
                if !self.matches(key, message, bytes)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn matches(&self, key: &SearchKey, message: &Message, bytes: &mut Bytes) -> Result<bool, Refused> {
        let recent = || Ok::<_, Refused>(self.selected()?.view.recent(message.uid) == Recent::Yes);
        let received = || DateTime { seconds: message.internal_date, zone: message.internal_zone }.day();
        let saved = || DateTime { seconds: message.saved, zone: 0 }.day();
        let age = || (self.now)().saturating_sub(message.internal_date);
        Ok(match key {
            SearchKey::All => true,
            // Sets are UIDs by now.
            SearchKey::Nothing | SearchKey::Sequence(_) | SearchKey::Uid(_) => false,
            SearchKey::Among(uids) => uids.contains(message.uid.0),
            SearchKey::Flag(bits) => message.flags.system & bits == *bits,
            SearchKey::NotFlag(bits) => message.flags.system & bits == 0,
            SearchKey::Recent => recent()?,
            SearchKey::New => recent()? && message.flags.system & Flags::SEEN == 0,
            SearchKey::Old => !recent()?,
            SearchKey::Keyword(name) => has_keyword(message, name),
            SearchKey::NotKeyword(name) => !has_keyword(message, name),
            SearchKey::Before(day) => received() < *day,
            SearchKey::On(day) => received() == *day,
            SearchKey::Since(day) => received() >= *day,
            SearchKey::Older(seconds) => age() >= i64::from(*seconds),
            SearchKey::Younger(seconds) => age() <= i64::from(*seconds),
            SearchKey::SavedBefore(day) => saved() < *day,
            SearchKey::SavedOn(day) => saved() == *day,
            SearchKey::SavedSince(day) => saved() >= *day,
            SearchKey::EmailId(id) => crate::response::email_id(&message.hash) == *id,
            SearchKey::Larger(size) => message.size > u64::from(*size),
            SearchKey::Smaller(size) => message.size < u64::from(*size),
            SearchKey::ModSeq(least) => message.mod_seq >= *least,
            SearchKey::SentBefore(day) => self.sent(message, bytes)?.is_some_and(|sent| sent.day < *day),
            SearchKey::SentOn(day) => self.sent(message, bytes)?.is_some_and(|sent| sent.day == *day),
            SearchKey::SentSince(day) => self.sent(message, bytes)?.is_some_and(|sent| sent.day >= *day),
            SearchKey::Header(name, text) => self.header_has(message, bytes, name, text)?,
            SearchKey::Body(text) => contains(&self.texts(message, bytes)?.body, text),
            SearchKey::Text(text) => {
                let texts = self.texts(message, bytes)?;
                contains(&texts.header, text) || contains(&texts.body, text)
            }
            SearchKey::Not(key) => !self.matches(key, message, bytes)?,
            SearchKey::Or(one, other) => self.matches(one, message, bytes)? || self.matches(other, message, bytes)?,
            SearchKey::And(keys) => self.may_match(keys, message)? && self.matches_rest(keys, message, bytes)?,
        })
    }

    /// A header in which that field is, if the message has it: what the store keeps of it, or else the message's own. Empty where the message
    /// cannot be read, which one damaged message is no reason to refuse a search for.
    pub(super) fn header<'a>(&self, field: &str, message: &Message, bytes: &'a mut Bytes) -> Result<&'a [u8], Refused> {
        if bytes.excerpt.header().is_some() && Excerpt::covers(field) {
            return Ok(bytes.excerpt.header().unwrap_or_default());
        }
        if bytes.header.is_none() {
            let mut reader = self.store().blob(&message.hash)?;
            let header = read_header(&mut reader).map(|header| header.bytes).unwrap_or_default();
            bytes.read += header.len() as u64;
            bytes.header = Some(header);
        }
        Ok(bytes.header.as_deref().unwrap_or_default())
    }

    /// The message's keys, as they are written: those that are known, or else worked out of its header.
    pub(super) fn written_keys<'a>(&self, message: &Message, bytes: &'a mut Bytes) -> Result<&'a [u8], Refused> {
        if bytes.keys.is_none() {
            // Every field that they are made of is in an excerpt.
            bytes.keys = Some(keys::of_header(self.header("Date", message, bytes)?));
            bytes.new_keys = true;
        }
        Ok(bytes.keys.as_deref().unwrap_or_default())
    }

    /// The Date field.
    fn sent(&self, message: &Message, bytes: &mut Bytes) -> Result<Option<Sent>, Refused> {
        Ok(Keys::read(self.written_keys(message, bytes)?).and_then(|keys| keys.sent))
    }

    fn header_has(&self, message: &Message, bytes: &mut Bytes, name: &str, text: &str) -> Result<bool, Refused> {
        let header = self.header(name, message, bytes)?;
        let has = |value: &[u8]| text.is_empty() || value_contains(value, text);
        Ok(fields(header).filter(|field| field.is(name)).any(|field| has(field.value)))
    }

    fn texts<'a>(&self, message: &Message, bytes: &'a mut Bytes) -> Result<&'a Texts, Refused> {
        if bytes.texts.is_none() {
            let reader = match bytes.reader.take() {
                Some(reader) => reader,
                None => self.store().blob(&message.hash)?,
            };
            let mut raw = Vec::with_capacity(usize::try_from(reader.size().min(SEARCH_TEXT_BYTES_MAX)).unwrap_or(0));
            if let Err(error) = reader.take(SEARCH_TEXT_BYTES_MAX).read_to_end(&mut raw) {
                tracing::warn!(%error, "a message cannot be read");
                raw.clear();
            }
            bytes.read += raw.len() as u64;
            bytes.texts = Some(texts_of(&raw));
        }
        Ok(bytes.texts.get_or_insert_with(Texts::default))
    }
}

pub(super) fn names_mod_seq(key: &SearchKey) -> bool {
    match key {
        SearchKey::ModSeq(_) => true,
        SearchKey::Not(key) => names_mod_seq(key),
        SearchKey::Or(one, other) => names_mod_seq(one) || names_mod_seq(other),
        SearchKey::And(keys) => keys.iter().any(names_mod_seq),
        _ => false,
    }
}

/// How much of a message a key looks at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reads {
    Nothing,
    Header,
    Text,
}

pub(super) fn reads(key: &SearchKey) -> Reads {
    match key {
        SearchKey::SentBefore(_) | SearchKey::SentOn(_) | SearchKey::SentSince(_) | SearchKey::Header(..) => Reads::Header,
        SearchKey::Body(_) | SearchKey::Text(_) => Reads::Text,
        SearchKey::Not(key) => reads(key),
        SearchKey::Or(one, other) => reads(one).max(reads(other)),
        SearchKey::And(keys) => keys.iter().map(reads).max().unwrap_or(Reads::Nothing),
        _ => Reads::Nothing,
    }
}

/// Is the text of every message looked at that is not ruled out without reading anything?
pub(super) fn reads_all_texts(keys: &[SearchKey]) -> bool {
    keys.iter().any(|key| reads(key) == Reads::Text) && keys.iter().all(|key| reads(key) != Reads::Header)
}

/// Is a header field looked at anywhere that an excerpt has?
pub(super) fn reads_header(key: &SearchKey) -> bool {
    match key {
        SearchKey::Not(key) => reads_header(key),
        SearchKey::Or(one, other) => reads_header(one) || reads_header(other),
        SearchKey::And(keys) => keys.iter().any(reads_header),
        SearchKey::Header(name, _) => Excerpt::covers(name),
        _ => false,
    }
}

/// Are keys looked at anywhere?
pub(super) fn reads_keys(key: &SearchKey) -> bool {
    match key {
        SearchKey::SentBefore(_) | SearchKey::SentOn(_) | SearchKey::SentSince(_) => true,
        SearchKey::Not(key) => reads_keys(key),
        SearchKey::Or(one, other) => reads_keys(one) || reads_keys(other),
        SearchKey::And(keys) => keys.iter().any(reads_keys),
        _ => false,
    }
}

/// Can [`matches_keys`] tell?
pub(super) fn is_by_keys(key: &SearchKey) -> bool {
    match key {
        SearchKey::All | SearchKey::Nothing | SearchKey::Among(_) => true,
        SearchKey::SentBefore(_) | SearchKey::SentOn(_) | SearchKey::SentSince(_) => true,
        SearchKey::Not(key) => is_by_keys(key),
        SearchKey::Or(one, other) => is_by_keys(one) && is_by_keys(other),
        SearchKey::And(keys) => keys.iter().all(is_by_keys),
        _ => false,
    }
}

/// Does a message of these keys match? Only for what [`is_by_keys`].
pub(super) fn matches_keys(key: &SearchKey, uid: u32, keys: &Keys<'_>) -> bool {
    match key {
        SearchKey::All => true,
        SearchKey::Among(uids) => uids.contains(uid),
        SearchKey::SentBefore(day) => keys.sent.is_some_and(|sent| sent.day < *day),
        SearchKey::SentOn(day) => keys.sent.is_some_and(|sent| sent.day == *day),
        SearchKey::SentSince(day) => keys.sent.is_some_and(|sent| sent.day >= *day),
        SearchKey::Not(key) => !matches_keys(key, uid, keys),
        SearchKey::Or(one, other) => matches_keys(one, uid, keys) || matches_keys(other, uid, keys),
        SearchKey::And(all) => all.iter().all(|key| matches_keys(key, uid, keys)),
        _ => false,
    }
}

fn has_keyword(message: &Message, name: &str) -> bool {
    message.flags.keywords.iter().any(|keyword| keyword.eq_ignore_ascii_case(name))
}
