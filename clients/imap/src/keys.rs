//! What a message is sorted, threaded and searched by, out of its header (RFC 5256 §2 and §3): worked out once, then read as it lies there.
//!
//! ```text
//! VERSION | marks 1 | sent: Unix seconds 8, day of its sender 4 | lengths of the texts 4 × 4 | texts | own id 16 | ids it refers to, 16 each
//! ```
//!
//! Numbers are little-endian. The texts: base subject, local parts of the first addresses of From, To and Cc; all of them collated, so that their
//! bytes are in order. An id is the beginning of a hash.

use std::borrow::Cow;

use crate::date::Day;
use crate::sorting::SortKey;
use crate::structure::{Entry, addresses, fields, unfold};
use crate::subject::{self, Base};
use crate::text::decoded;

/// A greater one with every change of what is written, or of what it is made of: what was kept of another is made anew.
const VERSION: u8 = 1;

/// Marks: it has a Date that makes sense; it is a reply or a forward; it has an id.
const SENT: u8 = 1;
const REPLY: u8 = 2;
const NAMED: u8 = 4;

/// References of one message that count: the last ones.
pub(crate) const REFERENCES_MAX: usize = 200;

const TEXTS: usize = 4;
const HEAD_BYTES: usize = 2 + 8 + 4 + 4 * TEXTS;

/// A Message-ID: the beginning of its hash, so that a folder's references fit into little memory.
pub(crate) type Id = [u8; 16];

/// The Date field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Unix seconds.
    pub(crate) seconds: i64,
    /// As its sender counts.
    pub(crate) day: Day,
}

/// The keys of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keys<'a> {
    /// `None` where there is no Date that makes sense.
    pub(crate) sent: Option<Sent>,
    /// Something was taken away from its subject that marks a reply or a forward.
    pub(crate) reply: bool,
    texts: [&'a [u8]; TEXTS],
    /// Its Message-ID.
    pub(crate) id: Option<&'a Id>,
    /// What it refers to, oldest first.
    pub(crate) references: &'a [Id],
}

impl<'a> Keys<'a> {
    /// The text that a key stands for; `None` where it stands for a number.
    pub(crate) fn text(&self, key: SortKey) -> Option<&'a [u8]> {
        let [subject, from, to, cc] = self.texts;
        match key {
            SortKey::Subject => Some(subject),
            SortKey::From => Some(from),
            SortKey::To => Some(to),
            SortKey::Cc => Some(cc),
            SortKey::Arrival | SortKey::Date | SortKey::Size => None,
        }
    }

    /// Reads what [`of_header`] has written; `None` where that is not so, or was of another version.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (head, mut rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let ([VERSION, marks], head) = head.split_first_chunk::<2>()? else { return None };
        let (seconds, head) = head.split_first_chunk::<8>()?;
        let (day, head) = head.split_first_chunk::<4>()?;
        let mut texts: [&[u8]; TEXTS] = Default::default();
        for (text, length) in texts.iter_mut().zip(head.as_chunks::<4>().0) {
            (*text, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        }
        let mut ids = match rest.as_chunks::<{ size_of::<Id>() }>() {
            (ids, []) => ids,
            _ => return None,
        };
        let mut id = None;
        if marks & NAMED != 0 {
            let (first, others) = ids.split_first()?;
            (id, ids) = (Some(first), others);
        }
        let sent = Sent { seconds: i64::from_le_bytes(*seconds), day: Day(i32::from_le_bytes(*day).into()) };
        Some(Self { sent: (marks & SENT != 0).then_some(sent), reply: marks & REPLY != 0, texts, id, references: ids })
    }
}

/// What the keys are made of: all in an excerpt.
const FIELDS: [&str; 8] = ["Date", "Subject", "From", "To", "Cc", "Message-ID", "References", "In-Reply-To"];

/// Works the keys out of a header, for [`Keys::read`].
pub(crate) fn of_header(header: &[u8]) -> Vec<u8> {
    // The first field of each name counts.
    let mut values: [Option<&[u8]>; FIELDS.len()] = Default::default();
    for field in fields(header) {
        let slot = FIELDS.iter().zip(&mut values).find(|(name, _)| field.is(name)).map(|(_, slot)| slot);
        if let Some(slot @ None) = slot {
            *slot = Some(field.value);
        }
    }
    let [date, subject, from, to, cc, id, references, replied] = values;
    let sent = date.and_then(sent);
    let Base { text, reply } = subject.map(|value| subject::base(&decoded(value))).unwrap_or_default();
    let [from, to, cc] = [from, to, cc].map(|value| value.map(first_local_part).unwrap_or_default());
    let id = id.and_then(|value| ids(value).first().copied());
    let mut references = references.map(ids).unwrap_or_default();
    if references.is_empty() {
        // RFC 5256 §3, step 1: of In-Reply-To the first one counts.
        references = replied.map(ids).unwrap_or_default().into_iter().take(1).collect();
    }
    let marks = if sent.is_some() { SENT } else { 0 } | if reply { REPLY } else { 0 } | if id.is_some() { NAMED } else { 0 };
    let mut out = vec![VERSION, marks];
    out.extend_from_slice(&sent.map_or(0, |sent| sent.seconds).to_le_bytes());
    out.extend_from_slice(&sent.and_then(|sent| i32::try_from(sent.day.0).ok()).unwrap_or(0).to_le_bytes());
    let texts = [text, from, to, cc];
    for text in &texts {
        out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    }
    texts.iter().for_each(|text| out.extend_from_slice(text.as_bytes()));
    id.iter().chain(&references).for_each(|id| out.extend_from_slice(id));
    out
}

fn sent(value: &[u8]) -> Option<Sent> {
    let value = [&*unfold(value), b"\n"].concat();
    let date = std::str::from_utf8(&value).ok().and_then(mail_parser::DateTime::parse_rfc822)?;
    let day = Day::of(i64::from(date.year), i64::from(date.month), i64::from(date.day));
    date.is_valid().then(|| Sent { seconds: date.to_timestamp(), day })
}

fn first_local_part(value: &[u8]) -> String {
    let first = addresses(&unfold(value)).into_iter().find_map(|entry| match entry {
        Entry::Address { mailbox, .. } => Some(subject::collated(&decoded(&mailbox))),
        Entry::GroupStart(_) | Entry::GroupEnd => None,
    });
    first.unwrap_or_default()
}

/// The last message ids in a field, in order: whatever stands between `<` and `>`.
fn ids(field: &[u8]) -> Vec<Id> {
    let mut ids = Vec::new();
    let mut rest = field;
    while let Some(start) = memchr::memchr(b'<', rest) {
        rest = rest.get(start + 1..).unwrap_or_default();
        let Some(end) = memchr::memchr2(b'>', b'<', rest) else { break };
        let (id, after) = rest.split_at(end);
        rest = after;
        // RFC 5256 §2.2: quotes that need not be there make no difference.
        let odd = |byte: &u8| matches!(byte, b'"' | b'\\') || byte.is_ascii_whitespace();
        let plain = if id.iter().any(odd) {
            Cow::Owned(id.iter().copied().filter(|byte| !odd(byte)).collect())
        } else {
            Cow::Borrowed(id)
        };
        if !plain.is_empty() && after.starts_with(b">") {
            ids.push(hashed(&plain));
        }
    }
    let surplus = ids.len().saturating_sub(REFERENCES_MAX);
    ids.drain(..surplus);
    ids
}

fn hashed(id: &[u8]) -> Id {
    let mut hashed = Id::default();
    hashed.iter_mut().zip(blake3::hash(id).as_bytes()).for_each(|(to, from)| *to = *from);
    hashed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_what_the_header_says() {
        let header = b"Subject: Re: =?utf-8?q?=C3=A4?= b\r\nDate: Mon, 7 Feb 1994 21:52:25 -0800\r\nFrom: Ann <ann@x>, b@y\r\n\
            TO: g: c@d;\r\nMessage-ID: <1@x>\r\nReferences: <2@x>\r\n\t<\"3\"@x> <broken\r\nIn-Reply-To: <4@x>\r\nTo: e@f\r\n";
        let written = of_header(header);
        let keys = Keys::read(&written).unwrap();
        assert_eq!(keys.sent, Some(Sent { seconds: 760_686_745, day: Day::of(1994, 2, 7) }));
        let texts = [SortKey::From, SortKey::To, SortKey::Cc, SortKey::Date].map(|key| keys.text(key));
        assert_eq!(texts, [Some(&b"ANN"[..]), Some(b"C"), Some(b""), None]);
        assert_eq!(keys.text(SortKey::Subject), Some(subject::collated("ä b").as_bytes()));
        assert!(keys.reply);
        assert_eq!((keys.id, keys.references), (Some(&hashed(b"1@x")), &[hashed(b"2@x"), hashed(b"3@x")][..]));
        let other = of_header(b"In-Reply-To: <4@x> <5@x>\r\nDate: yesterday\r\nMessage-ID: none\r\n");
        let keys = Keys::read(&other).unwrap();
        assert_eq!((keys.sent, keys.reply, keys.id, keys.references), (None, false, None, &[hashed(b"4@x")][..]));
    }

    #[test]
    fn the_last_references_count() {
        let many: String = (0..300).map(|number| format!("<{number}@x>")).collect();
        let written = of_header(format!("References: {many}\r\n").as_bytes());
        let keys = Keys::read(&written).unwrap();
        assert_eq!(keys.references.len(), REFERENCES_MAX);
        assert_eq!(keys.references.last(), Some(&hashed(b"299@x")));
    }

    proptest! {
        #[test]
        fn any_header_has_keys_that_can_be_read(header: Vec<u8>) {
            prop_assert!(Keys::read(&of_header(&header)).is_some());
        }

        #[test]
        fn any_row_is_read_or_refused(row: Vec<u8>, lengths: [u8; 4], marks in 0_u8..8) {
            let _ = Keys::read(&row);
            let mut written = vec![VERSION, marks];
            written.extend_from_slice(&[7; 12]);
            lengths.iter().for_each(|length| written.extend_from_slice(&[*length, 0, 0, 0]));
            let _ = Keys::read(&[written, row].concat());
        }
    }
}
