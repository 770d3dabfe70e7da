//! What a person reads of a message: header fields and text parts, decoded whatever their charset and encoding.

use std::borrow::Cow;

use mail_parser::MessageParser;
use mail_parser::decoders::charsets::map::charset_decoder;

use crate::structure::{Content, Kind, Part, Span, Structure, fields, scan, unfold};
use crate::transfer::{Transfer, decode};

/// Everything of a message that can be searched, in lower case.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Texts {
    pub(crate) header: String,
    pub(crate) body: String,
}

/// Reads a message's texts. What it does not take for text (attachments, but for their names) is left out.
pub(crate) fn texts_of(raw: &[u8]) -> Texts {
    let mut texts = Texts::default();
    let mut rest = raw;
    let Ok(structure) = scan(&mut rest) else { return texts };
    for (index, part) in structure.parts.iter().enumerate() {
        if index == 0 {
            push_fields(&mut texts.header, cut(raw, part.header));
        } else {
            push_names(&mut texts.body, &part.content);
        }
        match part.kind {
            Kind::Leaf => {
                if let Some(text) = part_text(raw, part) {
                    push_line(&mut texts.body, &text);
                }
            }
            Kind::Message(root) => {
                if let Some(root) = structure.parts.get(root) {
                    push_fields(&mut texts.body, cut(raw, root.header));
                }
            }
            Kind::Multipart(_) => {}
        }
    }
    texts
}

/// The first text that a person would read, decoded; HTML without its tags. `raw` may be just the beginning of the message.
pub(crate) fn first_text(raw: &[u8], structure: &Structure) -> Option<String> {
    let leaves = || structure.parts.iter().filter(|part| part.kind == Kind::Leaf && !is_attached(part));
    let plain = leaves().find(|part| part.content.is("text", "plain") && part.body.len() > 0);
    let part = plain.or_else(|| leaves().find(|part| part.content.is("text", "html")))?;
    part_text(raw, part)
}

fn is_attached(part: &Part) -> bool {
    part.content.disposition.as_ref().is_some_and(|(kind, _)| kind.eq_ignore_ascii_case(b"attachment"))
}

fn cut(raw: &[u8], span: Span) -> &[u8] {
    let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(raw.len());
    raw.get(at(span.start)..at(span.end)).unwrap_or_default()
}

/// A text part, decoded; `None` for anything else.
fn part_text(raw: &[u8], part: &Part) -> Option<String> {
    let content = &part.content;
    if !content.media.eq_ignore_ascii_case("text") {
        return None;
    }
    let bytes = cut(raw, part.body);
    let bytes = match Transfer::named(content.encoding.as_deref()) {
        Some(Transfer::Identity) | None => Cow::Borrowed(bytes),
        Some(transfer) => Cow::Owned(decode(transfer, bytes)),
    };
    let text = in_charset(&bytes, content.parameter("charset"));
    Some(if content.subtype.eq_ignore_ascii_case("html") { crate::html::text_of(&text) } else { text.into_owned() })
}

/// Bytes in a charset that mail-parser knows. What says nothing, or nothing true, is UTF-8 where it can be and Windows-1252 otherwise.
fn in_charset<'a>(bytes: &'a [u8], charset: Option<&[u8]>) -> Cow<'a, str> {
    let undeclared = |name: &&[u8]| !["utf-8", "us-ascii"].iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
    if let Some(decoder) = charset.filter(undeclared).and_then(charset_decoder) {
        return Cow::Owned(decoder(bytes));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) if charset.is_some_and(|name| name.eq_ignore_ascii_case(b"utf-8")) => String::from_utf8_lossy(bytes),
        Err(_) => encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0,
    }
}

fn push_line(out: &mut String, text: &str) {
    push_lower(out, text);
    out.push('\n');
}

/// Appends a text letter by letter in lower case; what is ASCII, most of it, at once.
fn push_lower(out: &mut String, text: &str) {
    let mut rest = text;
    while !rest.is_empty() {
        let plain = rest.bytes().position(|byte| !byte.is_ascii()).unwrap_or(rest.len());
        let (ascii, after) = rest.split_at(plain);
        let start = out.len();
        out.push_str(ascii);
        if let Some(added) = out.get_mut(start..) {
            added.make_ascii_lowercase();
        }
        let end = after.find(|letter: char| letter.is_ascii()).unwrap_or(after.len());
        let (other, after) = after.split_at(end);
        other.chars().for_each(|letter| out.extend(letter.to_lowercase()));
        rest = after;
    }
}

/// A text in lower case, as everything is that is searched and searched for.
pub(crate) fn lower(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push_lower(&mut out, text);
    out
}

fn push_fields(out: &mut String, header: &[u8]) {
    for field in fields(header) {
        let name = String::from_utf8_lossy(field.name);
        push_lower(out, &name);
        out.push_str(": ");
        push_line(out, &decoded(field.value));
    }
}

/// Names of attachments, as far as they are written on one line (RFC 2231's pieces are searched as they are).
fn push_names(out: &mut String, content: &Content) {
    let disposed = content.disposition.iter().flat_map(|(_, parameters)| parameters);
    for (name, value) in content.parameters.iter().chain(disposed) {
        if name.get(..4).is_some_and(|name| name.eq_ignore_ascii_case(b"name") || name.eq_ignore_ascii_case(b"file")) {
            push_line(out, &decoded(value));
        }
    }
}

/// A field's value with its encoded words decoded (RFC 2047), on one line.
pub(crate) fn decoded(value: &[u8]) -> String {
    let flat = unfold(value);
    if memchr::memmem::find(&flat, b"=?").is_none() {
        return in_charset(&flat, None).into_owned();
    }
    // As the parser reads a Subject: every other field would be read for its meaning, not its text.
    let subject = [b"Subject: ", &*flat, b"\r\n\r\n"].concat();
    let parsed = MessageParser::new().header_text(mail_parser::HeaderName::Subject).parse_headers(&subject);
    let text = parsed.as_ref().and_then(|parsed| parsed.subject()).map(str::to_owned);
    text.unwrap_or_else(|| in_charset(&flat, None).into_owned())
}

/// Is the text in there? Both are in lower case.
pub(crate) fn contains(haystack: &str, needle: &str) -> bool {
    memchr::memmem::find(haystack.as_bytes(), needle.as_bytes()).is_some()
}

/// Is the text, in lower case, in the value of a field? What most values are, short and ASCII throughout, is looked through without decoding.
pub(crate) fn value_contains(value: &[u8], text: &str) -> bool {
    let value = value.trim_ascii();
    let mut line = [0; PLAIN_BYTES_MAX];
    let is_plain = value.iter().all(|byte| byte.is_ascii() && !matches!(byte, b'\r' | b'\n' | 0));
    match line.get_mut(..value.len()).filter(|_| is_plain && memchr::memmem::find(value, b"=?").is_none()) {
        Some(line) => {
            line.copy_from_slice(value);
            line.make_ascii_lowercase();
            memchr::memmem::find(line, text.as_bytes()).is_some()
        }
        None => contains(&lower(&decoded(value)), text),
    }
}

/// Bytes of a value that is looked through as it lies there.
const PLAIN_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_value_is_searched_as_if_it_were_decoded(
            value in "[ a-cA-C\\r\\n\\t\\x00]{0,12}(=\\?utf-8\\?q\\?a=20b\\?=)?[ a-bé]{0,6}",
            long in 0_usize..2,
            text in "[ a-cé\\t]{1,2}",
        ) {
            let value = value.repeat(1 + 50 * long);
            prop_assert_eq!(value_contains(value.as_bytes(), &text), contains(&lower(&decoded(value.as_bytes())), &text));
        }
    }

    #[test]
    fn texts_are_read_in_every_dress() {
        let raw = b"Subject: =?iso-8859-2?q?=A3=F3d=BC?=\r\nX: Gr\xfc\xdfe\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
            --b\r\nContent-Type: text/plain; charset=koi8-r\r\n\r\n\xf0\xd2\xc9\xd7\xc5\xd4\r\n\
            --b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nHel<b>lo</b> W=C3=96RLD\r\n\
            --b\r\nContent-Type: application/pdf; name=\"=?utf-8?b?UmVjaG51bmc=?=.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\nc2VjcmV0\r\n\
            --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: Inner\r\n\r\nInside\r\n--b--\r\n";
        let texts = texts_of(raw);
        for word in ["łódź", "grüße"] {
            assert!(texts.header.contains(word), "{word}: {texts:?}");
        }
        for word in ["привет", "hello wörld", "rechnung .pdf", "subject: inner", "inside"] {
            assert!(texts.body.contains(word), "{word}: {texts:?}");
        }
        assert!(!texts.body.contains("secret") && !texts.body.contains("c2vjcmv0"));
    }

    #[test]
    fn case_makes_no_difference_in_any_script() {
        for (one, other) in [("GRÜSSE", "grüsse"), ("ΟΔΟΣ", "οδοσ"), ("ПРИВЕТ x", "привет X"), ("İ", "i\u{307}"), ("", "")]
        {
            assert_eq!(lower(one), lower(other));
        }
    }

    #[test]
    fn a_message_without_a_header_or_a_boundary_has_its_text() {
        assert!(texts_of(b"just text, no header").header.is_empty());
        assert!(texts_of(b"\r\nBody").body.contains("body"));
        assert!(texts_of(b"Content-Type: multipart/mixed\r\n\r\nStill There").body.is_empty());
    }
}
