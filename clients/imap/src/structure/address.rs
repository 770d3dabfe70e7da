//! Addresses of a header field, raw, as ENVELOPE lists them (RFC 3501 §7.4.2, RFC 5322 §3.4).
//!
//! Tolerant: whatever stands in the field, something readable comes out. Display names keep their encoded words.

use crate::limits::ADDRESSES_MAX;

/// One entry of an address list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A mailbox.
    Address {
        /// Display name, or a trailing comment.
        name: Option<Vec<u8>>,
        /// Local part.
        mailbox: Vec<u8>,
        /// Domain; empty where it is missing.
        host: Vec<u8>,
    },
    /// `name:`
    GroupStart(Vec<u8>),
    /// `;`
    GroupEnd,
}

/// Reads an unfolded field value.
pub(crate) fn addresses(value: &[u8]) -> Vec<Entry> {
    let mut reader =
        Reader { rest: value, entries: Vec::new(), name: Vec::new(), comment: Vec::new(), angle: None, in_group: false };
    while reader.entries.len() < ADDRESSES_MAX && reader.step() {}
    reader.finish_address();
    if reader.in_group {
        reader.entries.push(Entry::GroupEnd);
    }
    reader.entries
}

struct Reader<'a> {
    rest: &'a [u8],
    entries: Vec<Entry>,
    /// Words since the last separator: a display name, or a bare address.
    name: Vec<u8>,
    /// The last comment.
    comment: Vec<u8>,
    /// What stood in angle brackets.
    angle: Option<Vec<u8>>,
    in_group: bool,
}

impl Reader<'_> {
    fn step(&mut self) -> bool {
        let Some((&byte, after)) = self.rest.split_first() else { return false };
        match byte {
            b',' => {
                self.rest = after;
                self.finish_address();
            }
            b';' => {
                self.rest = after;
                self.finish_address();
                if std::mem::take(&mut self.in_group) {
                    self.entries.push(Entry::GroupEnd);
                }
            }
            b':' if !self.in_group && self.angle.is_none() && !self.name.contains(&b'@') => {
                self.rest = after;
                self.in_group = true;
                let name = std::mem::take(&mut self.name).trim_ascii().to_vec();
                self.entries.push(Entry::GroupStart(name));
            }
            b'<' => {
                let end = memchr::memchr(b'>', after).unwrap_or(after.len());
                self.angle = after.get(..end).map(<[u8]>::to_vec);
                self.rest = after.get(end + 1..).unwrap_or_default();
            }
            b'(' => self.comment = self.nested_comment(),
            b'"' => {
                let quoted = self.quoted();
                // A quoted local part keeps its quotes until it is known to be one.
                if self.rest.starts_with(b"@") || self.rest.starts_with(b".") {
                    self.name.push(b'"');
                    self.name.extend_from_slice(&quoted);
                    self.name.push(b'"');
                } else {
                    self.name.extend_from_slice(&quoted);
                }
            }
            b' ' | b'\t' => {
                self.rest = after;
                if !self.name.is_empty() && self.name.last() != Some(&b' ') {
                    self.name.push(b' ');
                }
            }
            _ => {
                self.rest = after;
                self.name.push(byte);
            }
        }
        true
    }

    fn quoted(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut rest = self.rest.get(1..).unwrap_or_default();
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match (byte, after.split_first()) {
                (b'"', _) => break,
                (b'\\', Some((&escaped, after))) => {
                    text.push(escaped);
                    rest = after;
                }
                _ => text.push(byte),
            }
        }
        self.rest = rest;
        text
    }

    fn nested_comment(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut depth = 0_u32;
        while let Some((&byte, after)) = self.rest.split_first() {
            self.rest = after;
            match (byte, after.split_first()) {
                (b'(', _) => {
                    depth += 1;
                    if depth == 1 {
                        continue;
                    }
                }
                (b')', _) => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                }
                (b'\\', Some((&escaped, after))) => {
                    self.rest = after;
                    text.push(escaped);
                    continue;
                }
                _ => {}
            }
            text.push(byte);
        }
        text
    }

    fn finish_address(&mut self) {
        let words = std::mem::take(&mut self.name);
        let words = words.trim_ascii();
        let comment = std::mem::take(&mut self.comment);
        let comment = Some(comment.trim_ascii().to_vec()).filter(|comment| !comment.is_empty());
        let entry = match self.angle.take() {
            Some(angle) => {
                let (mailbox, host) = split(&angle);
                if mailbox.is_empty() && host.is_empty() && words.is_empty() {
                    return;
                }
                let name = if words.is_empty() { comment } else { Some(words.to_vec()) };
                Entry::Address { name, mailbox, host }
            }
            None if words.is_empty() => return,
            None => {
                let (mailbox, host) = split(words);
                Entry::Address { name: comment, mailbox, host }
            }
        };
        self.entries.push(entry);
    }
}

/// `local@domain`, a route before it left out (RFC 5322 §4.4), white space and quotes taken away.
fn split(address: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let address = match (address.first(), memchr::memchr(b':', address)) {
        (Some(b'@'), Some(colon)) => address.get(colon + 1..).unwrap_or_default(),
        _ => address,
    };
    // RFC 5322 §4.4 allows white space around dots and the @; any other was quoted and belongs to the local part.
    let loose = |at: usize| {
        let joins = |byte: Option<&u8>| matches!(byte, None | Some(b'.' | b'@' | b' ' | b'\t'));
        joins(at.checked_sub(1).and_then(|before| address.get(before))) || joins(address.get(at + 1))
    };
    let kept: Vec<u8> = address
        .iter()
        .enumerate()
        .filter(|(at, byte)| !matches!(byte, b' ' | b'\t') || !loose(*at))
        .map(|(_, byte)| *byte)
        .collect();
    let (local, host) = match memchr::memrchr(b'@', &kept) {
        Some(at) => (kept.get(..at).unwrap_or_default(), kept.get(at + 1..).unwrap_or_default()),
        None => (&*kept, &[][..]),
    };
    let unquoted = local.strip_prefix(b"\"").and_then(|local| local.strip_suffix(b"\"")).unwrap_or(local);
    (unquoted.to_vec(), host.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(name: Option<&str>, mailbox: &str, host: &str) -> Entry {
        Entry::Address { name: name.map(|name| name.into()), mailbox: mailbox.into(), host: host.into() }
    }

    #[test]
    fn addresses_come_out_in_every_dress() {
        for (field, expected) in [
            ("a@b.c", vec![address(None, "a", "b.c")]),
            ("Ann Lee <a@b.c>, d@e", vec![address(Some("Ann Lee"), "a", "b.c"), address(None, "d", "e")]),
            ("\"Lee, Ann \\\"x\\\"\" <a@b.c>", vec![address(Some("Lee, Ann \"x\""), "a", "b.c")]),
            ("a@b.c (Ann (x) Lee)", vec![address(Some("Ann (x) Lee"), "a", "b.c")]),
            ("=?utf-8?q?J=C3=B6rg?= <j@x>", vec![address(Some("=?utf-8?q?J=C3=B6rg?="), "j", "x")]),
            ("<@r1,@r2:a@b>", vec![address(None, "a", "b")]),
            ("\"a b\"@c", vec![address(None, "a b", "c")]),
            ("root", vec![address(None, "root", "")]),
            (
                "Us: a@b, c@d; , e@f",
                vec![
                    Entry::GroupStart("Us".into()),
                    address(None, "a", "b"),
                    address(None, "c", "d"),
                    Entry::GroupEnd,
                    address(None, "e", "f"),
                ],
            ),
            ("undisclosed-recipients:;", vec![Entry::GroupStart("undisclosed-recipients".into()), Entry::GroupEnd]),
            ("", vec![]),
            (" , ,", vec![]),
        ] {
            assert_eq!(addresses(field.as_bytes()), expected, "{field}");
        }
    }

    #[test]
    fn broken_fields_end() {
        for field in ["<a@b", "\"never ends", "(((", "a:b:c", ";;;", "<>", "(\\", "\"\\"] {
            let _ = addresses(field.as_bytes());
        }
        assert_eq!(addresses(&b"a@b,".repeat(5_000)).len(), ADDRESSES_MAX);
    }
}
