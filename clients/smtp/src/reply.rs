//! Answers: a code, an enhanced status code (RFC 3463) and a sentence.

use std::borrow::Cow;
use std::io::Write;

use bytes::{BufMut, BytesMut};

/// Longest text of a reply, bytes; with codes and line end it stays within RFC 5321 §4.5.3.1.5.
const TEXT_BYTES_MAX: usize = 480;

/// A reply of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// RFC 5321 §4.2.
    pub code: u16,
    /// RFC 3463, such as `5.1.1`; empty where none belongs.
    pub enhanced: &'static str,
    /// Cause and remedy.
    pub text: Cow<'static, str>,
}

impl Reply {
    /// A reply with an enhanced status code.
    pub fn new(code: u16, enhanced: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, enhanced, text: text.into() }
    }

    /// Whether it refuses.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.code >= 400
    }

    /// Appends it to what is sent. Whatever could break the line is replaced.
    pub fn write(&self, output: &mut BytesMut) {
        // Writing to a buffer in memory cannot fail.
        let _written = write!(output.writer(), "{} ", self.code);
        if !self.enhanced.is_empty() {
            output.extend_from_slice(self.enhanced.as_bytes());
            output.extend_from_slice(b" ");
        }
        let text = self.text.bytes().take(TEXT_BYTES_MAX).map(|byte| if matches!(byte, b' '..=b'~') { byte } else { b'?' });
        output.extend(text);
        output.extend_from_slice(b"\r\n");
    }
}

/// Appends a reply of several lines with one code and no enhanced codes, as EHLO has.
pub fn write_lines<S: AsRef<str>>(code: u16, lines: &[S], output: &mut BytesMut) {
    for (index, line) in lines.iter().enumerate() {
        let separator = if index + 1 == lines.len() { ' ' } else { '-' };
        let _written = write!(output.writer(), "{code}{separator}{}\r\n", line.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_one_line_whatever_its_text() {
        let mut output = BytesMut::new();
        Reply::new(550, "5.1.1", "a\r\n250 b\u{e9}").write(&mut output);
        assert_eq!(&output[..], b"550 5.1.1 a??250 b??\r\n");
        output.clear();
        Reply::new(354, "", "x".repeat(2000)).write(&mut output);
        assert!(output.len() <= 512);
    }

    #[test]
    fn the_last_line_has_a_space() {
        let mut output = BytesMut::new();
        write_lines(250, &["kith", "SIZE 5"], &mut output);
        assert_eq!(&output[..], b"250-kith\r\n250 SIZE 5\r\n");
    }
}
