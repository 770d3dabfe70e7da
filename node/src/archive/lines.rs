//! Line ends and the quoting of `From ` on the way in and out, in pieces of any size.
//!
//! Files have lines that end with LF, mails have CR LF. An mbox's `>From ` (any number of `>`) stands for one `>` less (mboxrd).

/// So many `>` in a row are a quoted line's beginning; more are taken as they are.
const QUOTES_MAX: usize = 256;
const FROM: &[u8] = b"From ";

/// What is done with lines that begin with `>`s and `From `.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quoting {
    /// Nothing.
    Keep,
    /// One `>` is taken away (an mbox is read).
    Remove,
    /// One `>` is added, also where there is none (an mbox is written).
    Add,
}

/// Which line ends come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// LF that has no CR before it gets one.
    ToMail,
    /// CR LF becomes LF.
    ToFile,
    /// As they are.
    Keep,
}

/// Turns pieces into pieces.
#[derive(Debug)]
pub struct Lines {
    ends: Ends,
    quoting: Quoting,
    /// The beginning of a line that may turn out to be quoted.
    head: Vec<u8>,
    deciding: bool,
    /// A CR that may belong to the next LF.
    held_cr: bool,
    /// The last byte that went out was LF, or nothing did yet.
    at_line_start: bool,
}

impl Lines {
    /// At the beginning of a line.
    pub fn new(ends: Ends, quoting: Quoting) -> Self {
        Self { ends, quoting, head: Vec::new(), deciding: true, held_cr: false, at_line_start: true }
    }

    /// Takes a piece, appends what is certain.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while let Some((byte, rest)) = bytes.split_first() {
            if self.deciding && self.quoting != Quoting::Keep {
                self.head.push(*byte);
                bytes = rest;
                self.decide(out);
                continue;
            }
            let length = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
            let (line, rest) = bytes.split_at(length);
            self.plain(line, out);
            bytes = rest;
        }
    }

    /// Appends what was held back. The last line need not have an end.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let head = std::mem::take(&mut self.head);
        self.plain(&head, out);
        if std::mem::take(&mut self.held_cr) {
            out.push(b'\r');
            self.at_line_start = false;
        }
    }

    /// Whether what went out ends with a line's end.
    pub fn is_at_line_start(&self) -> bool {
        self.at_line_start
    }

    fn decide(&mut self, out: &mut Vec<u8>) {
        let quotes = self.head.iter().take_while(|byte| **byte == b'>').count();
        let word = self.head.get(quotes..).unwrap_or_default();
        if quotes <= QUOTES_MAX && word.len() < FROM.len() && FROM.starts_with(word) {
            return;
        }
        let is_quoted = word == FROM && quotes <= QUOTES_MAX;
        let head = std::mem::take(&mut self.head);
        self.deciding = false;
        match self.quoting {
            Quoting::Remove if is_quoted && quotes > 0 => self.plain(head.get(1..).unwrap_or_default(), out),
            Quoting::Add if is_quoted => {
                self.plain(b">", out);
                self.plain(&head, out);
            }
            Quoting::Keep | Quoting::Remove | Quoting::Add => self.plain(&head, out),
        }
    }

    /// At most one line, or a part of it.
    fn plain(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Some((last, text)) = line.split_last() else { return };
        self.deciding = *last == b'\n';
        if self.ends == Ends::Keep {
            out.extend_from_slice(line);
            self.at_line_start = *last == b'\n';
            return;
        }
        if std::mem::take(&mut self.held_cr) && !(line == b"\n" && self.ends == Ends::ToFile) {
            out.push(b'\r');
        }
        match (*last, self.ends) {
            (b'\n', Ends::ToMail) => {
                out.extend_from_slice(text);
                let has_cr =
                    if text.is_empty() { out.last() == Some(&b'\r') && !self.at_line_start } else { text.ends_with(b"\r") };
                if !has_cr {
                    out.push(b'\r');
                }
                out.push(b'\n');
            }
            (b'\n', _) => {
                out.extend_from_slice(text.strip_suffix(b"\r").unwrap_or(text));
                out.push(b'\n');
            }
            (b'\r', _) => {
                out.extend_from_slice(text);
                self.held_cr = true;
            }
            _ => out.extend_from_slice(line),
        }
        self.at_line_start = *last == b'\n';
    }
}

/// Looks whether a mail has no other line ends than CR LF, so that its lines can end with LF in a file and come back as they were.
#[derive(Debug, Default)]
pub struct Regular {
    after_cr: bool,
    broken: bool,
}

impl Regular {
    /// Takes a piece.
    pub fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.broken |= self.after_cr != (*byte == b'\n');
            self.after_cr = *byte == b'\r';
        }
    }

    /// Whether all of it was regular.
    pub fn is_regular(&self) -> bool {
        !self.broken && !self.after_cr
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn turned(ends: Ends, quoting: Quoting, pieces: &[&[u8]]) -> Vec<u8> {
        let (mut lines, mut out) = (Lines::new(ends, quoting), Vec::new());
        for piece in pieces {
            lines.push(piece, &mut out);
        }
        lines.finish(&mut out);
        out
    }

    #[test]
    fn line_ends_become_those_of_mail_and_back() {
        assert_eq!(turned(Ends::ToMail, Quoting::Keep, &[b"a\nb\r\n\nc\rd\n"]), b"a\r\nb\r\n\r\nc\rd\r\n");
        assert_eq!(turned(Ends::ToFile, Quoting::Keep, &[b"a\r\nb\r", b"\n\r\r\nc\nd"]), b"a\nb\n\r\nc\nd");
        assert_eq!(turned(Ends::ToMail, Quoting::Keep, &[b"a\r", b"\n", b"\n", b"b\r"]), b"a\r\n\r\nb\r");
    }

    #[test]
    fn from_is_quoted_and_unquoted_once() {
        let text: &[&[u8]] = &[b"From x\n>From y\n> From\nFro", b"m z\nFrom\n"];
        assert_eq!(turned(Ends::ToFile, Quoting::Add, text), b">From x\n>>From y\n> From\n>From z\nFrom\n");
        assert_eq!(turned(Ends::ToFile, Quoting::Remove, text), b"From x\nFrom y\n> From\nFrom z\nFrom\n");
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(text in "[\r\n>From x]{0,80}", cut in 0usize..80) {
            let (left, right) = text.as_bytes().split_at(cut.min(text.len()));
            let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            for ends in [Ends::ToMail, Ends::ToFile, Ends::Keep] {
                for quoting in [Quoting::Keep, Quoting::Remove, Quoting::Add] {
                    let whole = turned(ends, quoting, &[text.as_bytes()]);
                    prop_assert_eq!(&turned(ends, quoting, &[left, right]), &whole);
                    prop_assert_eq!(&turned(ends, quoting, &single), &whole);
                }
            }
        }

        #[test]
        fn a_regular_mail_comes_back_as_it_was(text in "([>From x]{0,9}\r\n){0,9}") {
            let mut regular = Regular::default();
            regular.push(text.as_bytes());
            prop_assert!(regular.is_regular());
            let file = turned(Ends::ToFile, Quoting::Add, &[text.as_bytes()]);
            prop_assert!(!file.starts_with(b"From ") && !file.windows(6).any(|six| six == b"\nFrom "));
            prop_assert_eq!(turned(Ends::ToMail, Quoting::Remove, &[&file]), text.as_bytes());
        }

        #[test]
        fn what_is_not_regular_is_noticed(text in "[\r\na]{0,12}") {
            let mut regular = Regular::default();
            text.as_bytes().chunks(1).for_each(|piece| regular.push(piece));
            let file = turned(Ends::ToFile, Quoting::Keep, &[text.as_bytes()]);
            let back = turned(Ends::ToMail, Quoting::Keep, &[&file]);
            prop_assert!(!regular.is_regular() || back == text.as_bytes());
        }
    }
}
