//! What a part's header says of its content (RFC 2045, RFC 2183, RFC 3282, RFC 2557): type, parameters, encoding, disposition.
//!
//! Values stay as they were written, encoded words and RFC 2231 pieces included: BODYSTRUCTURE hands them on raw.

use super::{envelope, fields, unfold};
use crate::limits::ITEMS_MAX;

/// `name=value` pairs.
pub(crate) type Parameters = Vec<(Vec<u8>, Vec<u8>)>;

/// A part's description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    /// `text` of `text/plain`.
    pub(crate) media: String,
    /// `plain` of `text/plain`.
    pub(crate) subtype: String,
    pub(crate) parameters: Parameters,
    pub(crate) id: Option<Vec<u8>>,
    pub(crate) description: Option<Vec<u8>>,
    /// `7bit` where there is none.
    pub(crate) encoding: Option<Vec<u8>>,
    pub(crate) md5: Option<Vec<u8>>,
    pub(crate) disposition: Option<(Vec<u8>, Parameters)>,
    pub(crate) language: Vec<Vec<u8>>,
    pub(crate) location: Option<Vec<u8>>,
    /// Of a message inside a message: its ENVELOPE as FETCH writes it.
    pub(crate) envelope: Option<Box<[u8]>>,
}

impl Content {
    /// Of a part whose header says nothing: `text/plain` (RFC 2045 §5.2) or the given type.
    pub(crate) fn of_default(media_type: &str) -> Self {
        let mut content = Self::default();
        match media_type.split_once('/') {
            Some((media, subtype)) => (content.media, content.subtype) = (media.to_owned(), subtype.to_owned()),
            None => content.make_plain(),
        }
        content
    }

    fn make_plain(&mut self) {
        (self.media, self.subtype) = ("text".to_owned(), "plain".to_owned());
        self.parameters = vec![(b"charset".to_vec(), b"us-ascii".to_vec())];
    }

    /// Takes in a header. The first field of each name counts.
    pub(crate) fn read(&mut self, header: &[u8]) {
        let mut typed = false;
        for field in fields(header) {
            let value = || unfold(field.value);
            let keep = |slot: &mut Option<Vec<u8>>| {
                if slot.is_none() {
                    *slot = Some(value()).filter(|value| !value.is_empty());
                }
            };
            if !field.name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"content-")) {
                continue;
            }
            if field.is("Content-Type") && !typed {
                typed = true;
                self.read_type(&value());
            } else if field.is("Content-Transfer-Encoding") && self.encoding.is_none() {
                let token = token(&mut &*value());
                self.encoding = Some(token).filter(|token| !token.is_empty());
            } else if field.is("Content-Disposition") && self.disposition.is_none() {
                let value = value();
                let mut rest = &*value;
                let kind = token(&mut rest);
                self.disposition = (!kind.is_empty()).then(|| (kind, parameters(rest)));
            } else if field.is("Content-Language") && self.language.is_empty() {
                let value = value();
                let tags = value.split(|&byte| byte == b',').map(|tag| tag.trim_ascii().to_vec());
                self.language = tags.filter(|tag| !tag.is_empty()).take(ITEMS_MAX).collect();
            } else if field.is("Content-ID") {
                keep(&mut self.id);
            } else if field.is("Content-Description") {
                keep(&mut self.description);
            } else if field.is("Content-MD5") {
                keep(&mut self.md5);
            } else if field.is("Content-Location") {
                keep(&mut self.location);
            }
        }
    }

    /// A type that cannot be read is `text/plain`, as a missing one (RFC 2045 §5.2).
    fn read_type(&mut self, value: &[u8]) {
        let mut rest = value;
        let media = token(&mut rest);
        rest = rest.trim_ascii_start();
        let subtype = rest.strip_prefix(b"/").map(|after| {
            rest = after;
            token(&mut rest)
        });
        match (String::from_utf8(media), subtype.map(String::from_utf8)) {
            (Ok(media), Some(Ok(subtype))) if !media.is_empty() && !subtype.is_empty() => {
                (self.media, self.subtype) = (media, subtype);
                self.parameters = parameters(rest);
                if self.is("text", "plain") && self.parameter("charset").is_none() {
                    self.parameters.push((b"charset".to_vec(), b"us-ascii".to_vec()));
                }
            }
            _ => self.make_plain(),
        }
    }

    /// Keeps the ENVELOPE of the message whose header this is.
    pub(crate) fn keep_envelope(&mut self, header: &[u8]) {
        let mut written = Vec::new();
        envelope(&mut written, header);
        self.envelope = Some(written.into_boxed_slice());
    }

    pub(crate) fn is(&self, media: &str, subtype: &str) -> bool {
        self.media.eq_ignore_ascii_case(media) && self.subtype.eq_ignore_ascii_case(subtype)
    }

    pub(crate) fn is_multipart(&self) -> bool {
        self.media.eq_ignore_ascii_case("multipart")
    }

    /// A message whose bytes lie there as they are.
    pub(crate) fn is_message(&self) -> bool {
        let plain = [&b"7bit"[..], b"8bit", b"binary"];
        let encoded =
            self.encoding.as_deref().is_some_and(|encoding| !plain.iter().any(|known| known.eq_ignore_ascii_case(encoding)));
        self.is("message", "rfc822") && !encoded
    }

    /// A multipart that is not taken apart is shown as bytes.
    pub(crate) fn make_opaque(&mut self) {
        (self.media, self.subtype) = ("application".to_owned(), "octet-stream".to_owned());
        self.parameters.clear();
    }

    pub(crate) fn boundary(&self) -> Option<&[u8]> {
        self.parameter("boundary").map(<[u8]>::trim_ascii_end).filter(|boundary| !boundary.is_empty())
    }

    /// A parameter's value as written.
    pub(crate) fn parameter(&self, name: &str) -> Option<&[u8]> {
        let found = self.parameters.iter().find(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, value)| &**value)
    }

    /// About how many bytes this takes.
    pub(crate) fn cost(&self) -> usize {
        let pairs = |pairs: &Parameters| pairs.iter().map(|(name, value)| 48 + name.len() + value.len()).sum::<usize>();
        let texts = [&self.id, &self.description, &self.encoding, &self.md5, &self.location];
        self.media.len()
            + self.subtype.len()
            + pairs(&self.parameters)
            + texts.into_iter().flatten().map(Vec::len).sum::<usize>()
            + self.disposition.as_ref().map_or(0, |(kind, values)| kind.len() + pairs(values))
            + self.language.iter().map(|tag| 24 + tag.len()).sum::<usize>()
            + self.envelope.as_ref().map_or(0, |envelope| envelope.len())
    }
}

/// Leaves out white space and comments.
fn skip_space(rest: &mut &[u8]) {
    let mut depth = 0_u32;
    loop {
        match rest.first() {
            Some(b'(') => depth = depth.saturating_add(1),
            Some(b')') if depth > 0 => depth -= 1,
            Some(b'\\') if depth > 0 => *rest = rest.get(1..).unwrap_or_default(),
            Some(b' ' | b'\t') => {}
            Some(_) if depth > 0 => {}
            _ => return,
        }
        *rest = rest.get(1..).unwrap_or_default();
    }
}

/// A token or a quoted string; empty where there is none.
fn token(rest: &mut &[u8]) -> Vec<u8> {
    skip_space(rest);
    if let Some(after) = rest.strip_prefix(b"\"") {
        *rest = after;
        let mut text = Vec::new();
        while let Some((&byte, after)) = rest.split_first() {
            *rest = after;
            match (byte, after.split_first()) {
                (b'"', _) => break,
                (b'\\', Some((&escaped, after))) => {
                    text.push(escaped);
                    *rest = after;
                }
                _ => text.push(byte),
            }
        }
        return text;
    }
    let length = rest.iter().position(|byte| b" \t;=/(),\"".contains(byte)).unwrap_or(rest.len());
    let (token, after) = rest.split_at(length);
    *rest = after;
    token.to_vec()
}

/// A value may hold characters that would have needed quotes.
fn value(rest: &mut &[u8]) -> Vec<u8> {
    skip_space(rest);
    if rest.starts_with(b"\"") {
        return token(rest);
    }
    let length = rest.iter().position(|byte| b" \t;(\"".contains(byte)).unwrap_or(rest.len());
    let (value, after) = rest.split_at(length);
    *rest = after;
    value.to_vec()
}

fn parameters(mut rest: &[u8]) -> Parameters {
    let mut pairs = Vec::new();
    while let Some(semicolon) = memchr::memchr(b';', rest) {
        rest = rest.get(semicolon + 1..).unwrap_or_default();
        let name = token(&mut rest);
        skip_space(&mut rest);
        let Some(after) = rest.strip_prefix(b"=") else { continue };
        rest = after;
        let value = value(&mut rest);
        if !name.is_empty() && pairs.len() < ITEMS_MAX {
            pairs.push((name, value));
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &str) -> Content {
        let mut content = Content::of_default("");
        content.read(header.as_bytes());
        content
    }

    #[test]
    fn types_and_parameters_are_read_with_their_quirks() {
        let content = read("Content-Type: Text/HTML (comment; x=y) ; charset = \"utf-\\\"8\"; name=a b;; format=flowed\r\n");
        assert_eq!((&*content.media, &*content.subtype), ("Text", "HTML"));
        assert_eq!(content.parameter("CHARSET"), Some(&b"utf-\"8"[..]));
        assert_eq!(content.parameter("name"), Some(&b"a"[..]));
        assert_eq!(content.parameter("format"), Some(&b"flowed"[..]));
    }

    #[test]
    fn what_cannot_be_read_is_plain_text() {
        for header in ["", "Content-Type: text\r\n", "Content-Type: /plain\r\n", "Content-Type:\r\n"] {
            assert!(read(header).is("text", "plain"), "{header}");
            assert_eq!(read(header).parameter("charset"), Some(&b"us-ascii"[..]));
        }
    }

    #[test]
    fn only_messages_that_lie_there_as_they_are_are_looked_into() {
        assert!(read("Content-Type: message/rfc822\r\n").is_message());
        assert!(!read("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n").is_message());
    }
}
