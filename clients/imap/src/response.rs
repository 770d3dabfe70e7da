//! Writing responses: strings in the dress that carries them, status lines, response codes (RFC 3501 §7 and §9, RFC 5530).

use std::io::Write as _;

use crate::utf7::Names;

/// Longest string that is written in quotes; longer ones are literals, so that no line of ours gets unwieldy.
const QUOTED_BYTES_MAX: usize = 1_000;

/// Bytes of a message's hash that its EMAILID is made of: enough that no two of anybody's messages share one.
const EMAIL_ID_BYTES: usize = 20;

/// Formats into a buffer, which cannot fail.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => {
        $crate::response::formatted($out, format_args!($($arg)*))
    };
}
pub(crate) use put;

pub(crate) fn formatted(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // A Vec takes every write.
    let _ = out.write_fmt(text);
}

/// Digits of the greatest number.
const DIGITS_MAX: usize = 20;

/// A number, without what formatting costs: every message has several.
pub(crate) fn number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [b'0'; DIGITS_MAX];
    let (mut rest, mut used) = (number, 0);
    for digit in digits.iter_mut().rev() {
        // What is left of a division by ten is a digit.
        *digit += u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        used += 1;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(DIGITS_MAX - used..).unwrap_or_default());
}

/// The outcome of a command, RFC 3501 §7.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Ok,
    No,
    Bad,
}

impl Condition {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::No => "NO",
            Self::Bad => "BAD",
        }
    }
}

/// The last line of a command's answer: `condition [code] text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Completion {
    pub(crate) condition: Condition,
    /// Without the brackets; empty for none.
    pub(crate) code: String,
    pub(crate) text: String,
}

impl Completion {
    pub(crate) fn ok(text: impl Into<String>) -> Self {
        Self { condition: Condition::Ok, code: String::new(), text: text.into() }
    }

    pub(crate) fn no(code: &str, text: impl Into<String>) -> Self {
        Self { condition: Condition::No, code: code.to_owned(), text: text.into() }
    }

    pub(crate) fn bad(text: impl Into<String>) -> Self {
        Self { condition: Condition::Bad, code: String::new(), text: text.into() }
    }

    pub(crate) fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = code.into();
        self
    }

    /// Writes the line; `tag` is `*` for an untagged one.
    pub(crate) fn write(&self, out: &mut Vec<u8>, tag: &str) {
        put!(out, "{tag} {} ", self.condition.name());
        if !self.code.is_empty() {
            put!(out, "[{}] ", self.code);
        }
        // Text is one line of printable ASCII, whatever went into it, and never empty.
        let text: String = self.text.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).collect();
        put!(out, "{}\r\n", if text.is_empty() { "." } else { &text });
    }
}

/// A string: in quotes where they can carry it, as a literal otherwise.
pub(crate) fn string(out: &mut Vec<u8>, text: &[u8]) {
    let quotable = text.len() <= QUOTED_BYTES_MAX && text.iter().all(|&byte| matches!(byte, b' '..=b'~' | b'\t'));
    if quotable {
        quoted(out, text);
    } else {
        literal_length(out, text.len() as u64);
        out.extend_from_slice(text);
    }
}

/// `{n}` and the line end behind it.
pub(crate) fn literal_length(out: &mut Vec<u8>, bytes: u64) {
    out.push(b'{');
    number(out, bytes);
    out.extend_from_slice(b"}\r\n");
}

/// A string, or NIL.
pub(crate) fn nstring(out: &mut Vec<u8>, text: Option<&[u8]>) {
    match text {
        Some(text) => string(out, text),
        None => out.extend_from_slice(b"NIL"),
    }
}

fn quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// EMAILID (RFC 8474 §5.1): the same for the same bytes, wherever they lie.
pub(crate) fn email_id(hash: &kith_store::blob::BlobHash) -> String {
    use std::fmt::Write as _;
    let mut id = String::from("M");
    for byte in hash.0.iter().take(EMAIL_ID_BYTES) {
        let _ = write!(id, "{byte:02x}");
    }
    id
}

/// MAILBOXID (RFC 8474 §4): survives a rename, and is never given again.
pub(crate) fn mailbox_id(folder: kith_store::folder::FolderId) -> String {
    format!("F{}", folder.0)
}

/// A folder's name.
pub(crate) fn mailbox(out: &mut Vec<u8>, name: &str, names: Names) {
    match names {
        _ if name == "INBOX" => out.extend_from_slice(b"INBOX"),
        Names::Utf7 => string(out, crate::utf7::encode(name).as_bytes()),
        // Names hold no control characters, so that quotes can carry them.
        Names::Utf8 => quoted(out, name.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &[u8]) -> String {
        let mut out = Vec::new();
        string(&mut out, text);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn strings_are_quoted_where_quotes_can_carry_them() {
        assert_eq!(written(b""), "\"\"");
        assert_eq!(written(b"a\"b\\"), "\"a\\\"b\\\\\"");
        assert_eq!(written(b"a\r\nb"), "{4}\r\na\r\nb");
        assert_eq!(written("ü".as_bytes()), "{2}\r\nü");
    }

    #[test]
    fn numbers_are_written_as_they_are_read() {
        for given in [0, 1, 9, 10, 99, 100, 4_294_967_295, u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            number(&mut out, given);
            assert_eq!(String::from_utf8(out).unwrap(), given.to_string());
        }
    }

    #[test]
    fn completions_stay_on_one_line() {
        let mut out = Vec::new();
        Completion::no("CANNOT", "line\r\nbreak").write(&mut out, "a");
        assert_eq!(out, b"a NO [CANNOT] line??break\r\n");
    }
}
