//! A message on the wire (RFC 1939 §3): dots doubled at line starts, a line end at its end, and TOP's cut.

use bytes::BytesMut;

/// Which part of a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// The header, the empty line and this many lines of the body.
    Top(u64),
}

/// Turns a message's bytes, in pieces, into what goes over the wire.
#[derive(Debug)]
pub struct Encoder {
    part: Part,
    at_line_start: bool,
    /// The message's last bytes were CR, LF.
    last: [u8; 2],
    /// The empty line after the header has been passed.
    in_body: bool,
    /// The current line has a byte other than its end.
    line_has_text: bool,
}

impl Encoder {
    /// Starts a message.
    #[must_use]
    pub fn new(part: Part) -> Self {
        Self { part, at_line_start: true, last: [b'\r', b'\n'], in_body: false, line_has_text: false }
    }

    /// Appends a piece; returns whether more of the message is wanted.
    pub fn push(&mut self, piece: &[u8], output: &mut BytesMut) -> bool {
        let mut rest = piece;
        while !rest.is_empty() {
            if self.is_cut() {
                return false;
            }
            if self.at_line_start && rest.first() == Some(&b'.') {
                output.extend_from_slice(b".");
            }
            // Lone LFs count as line ends here: some programs read them so, and would take a lone dot for the end.
            let length = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |lf| lf + 1);
            let (line, after) = rest.split_at(length);
            output.extend_from_slice(line);
            self.line_has_text |= line.iter().any(|byte| !matches!(byte, b'\r' | b'\n'));
            for byte in line.iter().skip(line.len().saturating_sub(2)) {
                self.last = [self.last[1], *byte];
            }
            self.at_line_start = line.last() == Some(&b'\n');
            if self.at_line_start {
                self.line_ended();
            }
            rest = after;
        }
        !self.is_cut()
    }

    /// Appends what ends the message.
    pub fn finish(&mut self, output: &mut BytesMut) {
        if self.last != *b"\r\n" {
            output.extend_from_slice(b"\r\n");
        }
        output.extend_from_slice(b".\r\n");
    }

    fn line_ended(&mut self) {
        if self.in_body {
            if let Part::Top(lines) = &mut self.part {
                *lines = lines.saturating_sub(1);
            }
        } else {
            self.in_body = !self.line_has_text;
        }
        self.line_has_text = false;
    }

    fn is_cut(&self) -> bool {
        self.in_body && self.at_line_start && self.part == Part::Top(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(part: Part, pieces: &[&[u8]]) -> Vec<u8> {
        let (mut encoder, mut output) = (Encoder::new(part), BytesMut::new());
        for piece in pieces {
            if !encoder.push(piece, &mut output) {
                break;
            }
        }
        encoder.finish(&mut output);
        output.to_vec()
    }

    /// What a client makes of it.
    fn decode(wire: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        for line in wire.split_inclusive(|byte| *byte == b'\n') {
            if line == b".\r\n" {
                return message;
            }
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        }
        panic!("no end");
    }

    #[test]
    fn a_message_without_a_line_end_gets_one() {
        assert_eq!(encode(Part::Whole, &[b"a\r\n\r\nb"]), b"a\r\n\r\nb\r\n.\r\n");
        assert_eq!(encode(Part::Whole, &[b"a\r\n", b"\r", b"\n"]), b"a\r\n\r\n.\r\n");
        assert_eq!(encode(Part::Whole, &[b""]), b".\r\n");
    }

    #[test]
    fn top_gives_the_header_and_some_lines() {
        let message: &[&[u8]] = &[b"A: b\r\n .c\r\n\r", b"\none\r\n.two\r\nthree\r\n"];
        assert_eq!(encode(Part::Top(0), message), b"A: b\r\n .c\r\n\r\n.\r\n");
        assert_eq!(encode(Part::Top(2), message), b"A: b\r\n .c\r\n\r\none\r\n..two\r\n.\r\n");
        assert_eq!(encode(Part::Top(9), message), encode(Part::Whole, message));
    }

    proptest! {
        #[test]
        fn clients_get_the_very_bytes(message in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), any::<u8>()], 0..200),
                                      cut in 0usize..200) {
            let (left, right) = message.split_at(cut.min(message.len()));
            let wire = encode(Part::Whole, &[&message]);
            prop_assert_eq!(&wire, &encode(Part::Whole, &[left, right]));
            let mut expected = message.clone();
            if !message.is_empty() && !message.ends_with(b"\r\n") {
                expected.extend_from_slice(b"\r\n");
            }
            prop_assert_eq!(decode(&wire), expected);
        }

        #[test]
        fn chunking_does_not_change_the_top(message in "([a.]{0,3}\r\n){0,12}", chunk in 1usize..7, lines in 0u64..5) {
            let pieces: Vec<&[u8]> = message.as_bytes().chunks(chunk).collect();
            prop_assert_eq!(encode(Part::Top(lines), &pieces), encode(Part::Top(lines), &[message.as_bytes()]));
        }
    }
}
