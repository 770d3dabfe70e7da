//! Bounded lines and literals out of a byte buffer, without I/O.

use bytes::{Buf, BytesMut};

/// How a line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEnd {
    /// CR LF, as every protocol here asks.
    CrLf,
    /// A lone LF.
    Lf,
}

/// What [`LineReader::take`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// A line without its end.
    Line(BytesMut, LineEnd),
    /// A line longer than allowed has ended; its bytes were thrown away as they came.
    TooLong,
    /// No line end yet. The buffer holds no more than the allowed length.
    Incomplete,
}

/// Takes lines out of a buffer that is filled bit by bit; looks at each byte once.
#[derive(Clone, Debug, Default)]
pub struct LineReader {
    scanned: usize,
    skipping: bool,
}

impl LineReader {
    /// Starts between two lines.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a line has begun: bytes of it are in `input` or were thrown away.
    #[must_use]
    pub fn is_midway(&self, input: &BytesMut) -> bool {
        self.skipping || !input.is_empty()
    }

    /// Takes the next line of at most `max` bytes, not counting its end. A line ends at LF; a CR elsewhere is part of the line.
    pub fn take(&mut self, input: &mut BytesMut, max: usize) -> Taken {
        let from = self.scanned.min(input.len());
        let Some(at) = input.iter().skip(from).position(|byte| *byte == b'\n').map(|offset| from + offset) else {
            self.scanned = input.len();
            // One byte more than allowed may be the CR of an end that is still to come.
            if self.skipping || input.len() > max + 1 {
                self.skipping = true;
                input.clear();
                self.scanned = 0;
            }
            return Taken::Incomplete;
        };
        self.scanned = 0;
        let mut line = input.split_to(at + 1);
        if std::mem::take(&mut self.skipping) {
            return Taken::TooLong;
        }
        line.truncate(at);
        let end = if line.last() == Some(&b'\r') {
            line.truncate(at - 1);
            LineEnd::CrLf
        } else {
            LineEnd::Lf
        };
        if line.len() > max { Taken::TooLong } else { Taken::Line(line, end) }
    }
}

/// Takes a counted number of bytes out of a buffer, in pieces as they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiteralReader {
    remaining: u64,
}

impl LiteralReader {
    /// A literal of `size` bytes.
    #[must_use]
    pub fn new(size: u64) -> Self {
        Self { remaining: size }
    }

    /// Bytes still to come.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// What is there of the literal: empty when nothing has come, or when it is complete.
    pub fn take(&mut self, input: &mut BytesMut) -> BytesMut {
        let there = usize::try_from(self.remaining).map_or(input.len(), |remaining| remaining.min(input.len()));
        self.remaining -= there as u64;
        input.split_to(there)
    }

    /// As [`LiteralReader::take`], but throws the bytes away; returns whether the literal is complete.
    pub fn skip(&mut self, input: &mut BytesMut) -> bool {
        let there = usize::try_from(self.remaining).map_or(input.len(), |remaining| remaining.min(input.len()));
        self.remaining -= there as u64;
        input.advance(there);
        self.remaining == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(chunks: &[&[u8]], max: usize) -> Vec<Taken> {
        let (mut reader, mut input, mut found) = (LineReader::new(), BytesMut::new(), Vec::new());
        for chunk in chunks {
            input.extend_from_slice(chunk);
            loop {
                match reader.take(&mut input, max) {
                    Taken::Incomplete => break,
                    taken => found.push(taken),
                }
            }
            assert!(input.len() <= max + 1);
        }
        found
    }

    fn line(text: &str, end: LineEnd) -> Taken {
        Taken::Line(text.into(), end)
    }

    #[test]
    fn lines_end_at_lf_and_say_how() {
        assert_eq!(
            all(&[b"a\r\nb\n", b"\rc\r", b"\n\n"], 8),
            [line("a", LineEnd::CrLf), line("b", LineEnd::Lf), line("\rc", LineEnd::CrLf), line("", LineEnd::Lf)]
        );
    }

    #[test]
    fn a_line_of_exactly_the_limit_passes() {
        assert_eq!(
            all(&[b"1234", b"\r", b"\n12345\r\n12\n"], 4),
            [line("1234", LineEnd::CrLf), Taken::TooLong, line("12", LineEnd::Lf)]
        );
    }

    #[test]
    fn a_literal_is_exactly_its_size() {
        let mut input = BytesMut::from(&b"abcdef"[..]);
        let mut literal = LiteralReader::new(4);
        assert_eq!(literal.take(&mut input), &b"abcd"[..]);
        assert_eq!((literal.remaining(), &input[..]), (0, &b"ef"[..]));
        assert!(!LiteralReader::new(3).skip(&mut input));
    }

    proptest! {
        #[test]
        fn chunking_does_not_change_the_lines(bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), any::<u8>()], 0..200),
                                              cut in 0usize..200, max in 0usize..20) {
            let (left, right) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(all(&[left, right], max), all(&[&bytes], max));
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(all(&single, max), all(&[&bytes], max));
        }
    }
}
