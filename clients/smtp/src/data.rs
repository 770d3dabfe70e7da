//! Where a mail ends (RFC 5321 §4.1.1.4, §4.5.2), strictly: only CR LF `.` CR LF.
//!
//! A lone CR or LF never ends a line here, and a mail that has one is refused: what one server takes for the end of a mail and another does not
//! lets a sender smuggle a second mail past the first server's checks.

/// Decodes what comes after DATA: finds the end, takes away the dots that were added, notices lone CRs and LFs.
#[derive(Debug)]
pub struct DotDecoder {
    state: State,
    bare: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    LineStart,
    /// `.` at the start of a line.
    Dot,
    /// `.` CR at the start of a line.
    DotCr,
    Text,
    /// CR, which waits for its LF.
    Cr,
    End,
}

impl Default for DotDecoder {
    fn default() -> Self {
        Self { state: State::LineStart, bare: false }
    }
}

impl DotDecoder {
    /// Appends the mail's bytes of `input` to `mail`; returns how many bytes of `input` are used up. Fewer than all means that the end was found.
    pub fn decode(&mut self, input: &[u8], mail: &mut Vec<u8>) -> usize {
        let mut at = 0;
        while self.state != State::End {
            if self.state == State::Text {
                let rest = input.get(at..).unwrap_or_default();
                let plain = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(rest.len());
                mail.extend(rest.iter().take(plain));
                at += plain;
            }
            let Some(byte) = input.get(at) else { break };
            at += 1;
            self.state = self.next(*byte, mail);
        }
        at
    }

    /// The end was found.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.state == State::End
    }

    /// There was a lone CR or LF: the mail must be refused.
    #[must_use]
    pub fn has_bare(&self) -> bool {
        self.bare
    }

    fn next(&mut self, byte: u8, mail: &mut Vec<u8>) -> State {
        match (self.state, byte) {
            (State::LineStart, b'.') => State::Dot,
            (State::Dot, b'\r') => State::DotCr,
            (State::DotCr, b'\n') => State::End,
            (State::LineStart | State::Text, b'\r') => State::Cr,
            (State::Cr, b'\n') => {
                mail.extend_from_slice(b"\r\n");
                State::LineStart
            }
            (State::Cr | State::DotCr, b'\r') => {
                self.bare = true;
                State::Cr
            }
            (State::Cr | State::DotCr, _) | (_, b'\n') => {
                self.bare = true;
                State::Text
            }
            (_, byte) => {
                mail.push(byte);
                State::Text
            }
        }
    }
}

/// Notices lone CRs and LFs in a mail that comes in counted chunks (RFC 3030).
#[derive(Debug, Default)]
pub struct LineEndCheck {
    after_cr: bool,
    bare: bool,
}

impl LineEndCheck {
    /// Looks at the next piece.
    pub fn look(&mut self, piece: &[u8]) {
        for byte in piece {
            let is_lf = *byte == b'\n';
            self.bare |= self.after_cr != is_lf;
            self.after_cr = *byte == b'\r';
        }
    }

    /// Whether there was a lone CR or LF, the mail being complete.
    #[must_use]
    pub fn has_bare(&self) -> bool {
        self.bare || self.after_cr
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The mail, whether it ended, whether it is to be refused, and what is left over.
    fn decode(chunks: &[&[u8]]) -> (Vec<u8>, bool, bool, Vec<u8>) {
        let (mut decoder, mut mail, mut left) = (DotDecoder::default(), Vec::new(), Vec::new());
        for chunk in chunks {
            let used = decoder.decode(chunk, &mut mail);
            left.extend_from_slice(&chunk[used..]);
        }
        (mail, decoder.is_complete(), decoder.has_bare(), left)
    }

    #[test]
    fn only_crlf_dot_crlf_ends_a_mail() {
        assert_eq!(decode(&[b"a\r\n.\r\nQUIT\r\n"]), (b"a\r\n".to_vec(), true, false, b"QUIT\r\n".to_vec()));
        assert_eq!(decode(&[b".\r\n"]), (Vec::new(), true, false, Vec::new()));
        assert_eq!(decode(&[b"a.\r\n.b\r\n..\r\n.\r\n"]).0, b"a.\r\nb\r\n.\r\n");
    }

    /// The sequences by which mails were smuggled past real servers in December 2023, and their kin.
    #[test]
    fn smuggled_ends_do_not_end_a_mail_and_are_refused() {
        for end in [
            "\n.\n",
            "\n.\r\n",
            "\r\n.\n",
            "\r.\r",
            "\r.\r\n",
            "\r\n.\r",
            "\n.\r",
            "\r.\n",
            "\r\n.\r\r\n",
            "\r\r\n.\r\n\0",
            "\n\n.\r\n",
            "\r\n\n.\r\n",
            "\r\n.\0\r\n",
            "\r\n\0.\r\n",
        ] {
            let smuggled = format!("text{end}MAIL FROM:<admin@kith.alt>\r\nmore\r\n.\r\n");
            let (_, complete, bare, left) = decode(&[smuggled.as_bytes()]);
            let strict_end = end.starts_with("\r\r\n.\r\n");
            assert!(complete, "{end:?}");
            assert!(bare || end.contains('\0'), "{end:?}");
            assert_eq!(left.is_empty(), !strict_end, "{end:?}");
        }
    }

    proptest! {
        #[test]
        fn chunking_does_not_change_the_mail(bytes in text(), cut in 0usize..200) {
            let (left, right) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(decode(&[left, right]), decode(&[&bytes]));
        }

        #[test]
        fn what_a_client_stuffs_comes_out_as_it_was(lines in proptest::collection::vec("[^\r\n]{0,8}|\\.{1,3}", 0..20)) {
            let mail: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            let stuffed: String = lines.iter().map(|line| format!("{}{line}\r\n", if line.starts_with('.') { "." } else { "" })).collect();
            prop_assert_eq!(decode(&[format!("{stuffed}.\r\n").as_bytes()]), (mail.into_bytes(), true, false, Vec::new()));
        }

        #[test]
        fn what_is_accepted_has_no_lone_cr_or_lf(bytes in text()) {
            let (mail, _, bare, _) = decode(&[&bytes]);
            let mut check = LineEndCheck::default();
            check.look(&mail);
            prop_assert!(bare || !check.has_bare());
        }
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), any::<u8>()], 0..200)
    }
}
