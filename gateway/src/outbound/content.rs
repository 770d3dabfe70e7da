//! The text of a mail as it may leave: every line ends in CRLF, and no CR or LF stands alone (RFC 5321 §2.3.8). So nothing in it can be taken for the end of the mail
//! or for a command by a host that reads line ends in its own way.
//!
//! Dot-stuffing is lettre's, on the way out.

use std::borrow::Cow;
use std::sync::Arc;

/// How much is handed to the connection at once; memory for a mail in flight is its own bytes and two of these.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;
/// The largest mail, in bytes: what is held in memory while it is sent. The protocol's own limit.
pub const CONTENT_BYTES_MAX: usize = 50 * 1024 * 1024 + 64 * 1024;

/// What a mail's text asks of the host that takes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Needs {
    /// Seven bits everywhere.
    Nothing,
    /// 8BITMIME: the body has bytes above 127 (RFC 6152).
    EightBit,
    /// SMTPUTF8, and 8BITMIME with it: the header has bytes above 127 (RFC 6531 §3.1, RFC 6532).
    Utf8,
}

/// Too large to be sent at all: more than [`CONTENT_BYTES_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the mail is larger than {CONTENT_BYTES_MAX} bytes")]
pub struct TooLarge;

/// A mail's header and body, safe to send. Cheap to clone.
#[derive(Clone)]
pub struct Content {
    bytes: Arc<[u8]>,
    needs: Needs,
}

impl Content {
    /// Takes a mail; CR and LF that stand alone become CRLF, and the last line gets its end.
    ///
    /// What is signed must be signed after this, never before.
    ///
    /// # Errors
    /// When it is larger than [`CONTENT_BYTES_MAX`], before or after.
    pub fn new(bytes: &[u8]) -> Result<Content, TooLarge> {
        if bytes.len() > CONTENT_BYTES_MAX {
            return Err(TooLarge);
        }
        let clean = clean(bytes);
        if clean.len() > CONTENT_BYTES_MAX {
            return Err(TooLarge);
        }
        let needs = needs(&clean);
        Ok(Content { bytes: clean.into(), needs })
    }

    /// The same with further header lines before it, cleaned as well; for signatures and traces.
    ///
    /// # Errors
    /// When it gets too large.
    pub fn with_head(&self, head: &str) -> Result<Content, TooLarge> {
        Content::new(&[head.as_bytes(), &self.bytes].concat())
    }

    /// The bytes, with CRLF at every line's end.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What the host must offer.
    pub fn needs(&self) -> Needs {
        self.needs
    }

    /// Whether the header has a field of this name.
    pub fn has_header(&self, name: &str) -> bool {
        let lines = self.bytes.split(|byte| *byte == b'\n').take_while(|line| *line != b"\r" && !line.is_empty());
        lines
            .filter_map(|line| line.split_at_checked(name.len()))
            .any(|(start, rest)| start.eq_ignore_ascii_case(name.as_bytes()) && rest.trim_ascii_start().starts_with(b":"))
    }

    /// Pieces of the text without the last CRLF, which the end of data brings along (lettre writes CRLF, dot, CRLF).
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &[u8]> + Send {
        self.bytes.strip_suffix(b"\r\n").unwrap_or(&self.bytes).chunks(CHUNK_BYTES)
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Content").field("bytes", &self.bytes.len()).field("needs", &self.needs).finish()
    }
}

fn clean(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut last = 0u8;
    let alone = bytes.iter().any(|byte| {
        let alone = (*byte == b'\n') != (last == b'\r');
        last = *byte;
        alone
    });
    if !alone && bytes.ends_with(b"\r\n") {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 32 + 2);
    let mut rest = bytes.iter().peekable();
    while let Some(byte) = rest.next() {
        match byte {
            b'\r' => {
                rest.next_if(|next| **next == b'\n');
                out.extend_from_slice(b"\r\n");
            }
            b'\n' => out.extend_from_slice(b"\r\n"),
            other => out.push(*other),
        }
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    Cow::Owned(out)
}

fn needs(clean: &[u8]) -> Needs {
    let header_end = if clean.starts_with(b"\r\n") {
        0
    } else {
        clean.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(clean.len())
    };
    let (header, body) = clean.split_at(header_end);
    if !header.is_ascii() {
        Needs::Utf8
    } else if !body.is_ascii() {
        Needs::EightBit
    } else {
        Needs::Nothing
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn line_ends_that_stand_alone_become_whole_ones() {
        for (input, expected) in [
            ("a\nb", "a\r\nb\r\n"),
            ("a\rb\r\n", "a\r\nb\r\n"),
            ("a\r\r\nb", "a\r\n\r\nb\r\n"),
            ("a\r\n\nb", "a\r\n\r\nb\r\n"),
            ("", "\r\n"),
            ("a\n.\nRCPT TO:<x>\r.\r\n", "a\r\n.\r\nRCPT TO:<x>\r\n.\r\n"),
            ("a\r\nb\r\n", "a\r\nb\r\n"),
        ] {
            assert_eq!(Content::new(input.as_bytes()).unwrap().bytes(), expected.as_bytes(), "{input:?}");
        }
    }

    #[test]
    fn what_a_mail_needs_is_seen_in_header_and_body() {
        let needs = |text: &str| Content::new(text.as_bytes()).unwrap().needs();
        assert_eq!(needs("Subject: a\r\n\r\nb"), Needs::Nothing);
        assert_eq!(needs("Subject: a\r\n\r\nbücher"), Needs::EightBit);
        assert_eq!(needs("Subject: ü\r\n\r\nb"), Needs::Utf8);
        assert_eq!(needs("\r\nbücher"), Needs::EightBit);
        assert_eq!(needs("Subject: ü"), Needs::Utf8);
    }

    #[test]
    fn a_mail_beyond_the_limit_is_refused_before_it_costs_memory() {
        assert!(Content::new(&vec![b'a'; CONTENT_BYTES_MAX + 1]).is_err());
        assert!(Content::new(&vec![b'\n'; CONTENT_BYTES_MAX / 2 + 1]).is_err());
    }

    proptest! {
        #[test]
        fn no_cr_or_lf_ever_stands_alone(input in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), any::<u8>()], 0..200)) {
            let content = Content::new(&input).unwrap();
            let bytes = content.bytes();
            prop_assert!(bytes.ends_with(b"\r\n"));
            for (at, byte) in bytes.iter().enumerate() {
                prop_assert!(*byte != b'\r' || bytes.get(at + 1) == Some(&b'\n'));
                prop_assert!(*byte != b'\n' || bytes[at - 1] == b'\r');
            }
            let again = Content::new(bytes).unwrap();
            prop_assert_eq!(again.bytes(), bytes);
            let pieces: Vec<u8> = content.pieces().flatten().copied().collect();
            prop_assert_eq!([&pieces[..], b"\r\n"].concat(), bytes);
        }
    }
}
