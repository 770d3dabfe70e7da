//! One pass over a message that finds its parts.

use std::io::{self, Read};

use super::content::Content;
use super::{Kind, Part, Span, Structure};
use crate::limits::{HEADER_BYTES_MAX, PART_DEPTH_MAX, PART_HEADER_BYTES_MAX, PARTS_MAX, STRUCTURE_BYTES_MAX};

/// Bytes read at a time; a longer line is seen in pieces, of which only the first can be a boundary.
const BUFFER_BYTES: usize = 64 * 1024;

/// The header at a message's beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Its bytes, [`HEADER_BYTES_MAX`] at most.
    pub(crate) bytes: Vec<u8>,
    /// Where it ends, empty line included.
    pub(crate) end: u64,
}

/// Reads the header and nothing behind it (but for what a buffer holds).
pub(crate) fn read_header(reader: &mut impl Read) -> io::Result<Header> {
    let mut header = Header { bytes: Vec::new(), end: 0 };
    for_each_line(reader, |line, begins| {
        header.end += line.len() as u64;
        append_bounded(&mut header.bytes, line, HEADER_BYTES_MAX);
        if begins && is_blank(line) { Flow::Stop } else { Flow::Continue }
    })?;
    Ok(header)
}

/// Finds all parts.
pub(crate) fn scan(reader: &mut impl Read) -> io::Result<Structure> {
    let mut scanner = Scanner {
        parts: Vec::new(),
        open: Vec::new(),
        mode: Mode::Header,
        header: Vec::new(),
        at: 0,
        lines: 0,
        line_end: 0,
        blank: true,
        budget: STRUCTURE_BYTES_MAX,
    };
    scanner.begin("");
    for_each_line(reader, |line, begins| {
        scanner.line(line, begins);
        Flow::Continue
    })?;
    Ok(scanner.finish())
}

enum Flow {
    Continue,
    Stop,
}

/// Gives each line with its end; a line longer than the buffer in pieces, of which the first `begins`.
fn for_each_line(reader: &mut impl Read, mut each: impl FnMut(&[u8], bool) -> Flow) -> io::Result<()> {
    let mut buffer = vec![0; 4096];
    let mut filled = 0;
    let mut begins = true;
    loop {
        let read = reader.read(buffer.get_mut(filled..).unwrap_or_default())?;
        filled += read;
        let mut rest = buffer.get(..filled).unwrap_or_default();
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end + 1);
            rest = after;
            if let Flow::Stop = each(line, begins) {
                return Ok(());
            }
            begins = true;
        }
        let left = rest.len();
        if read == 0 || left == BUFFER_BYTES {
            if left > 0 {
                if let Flow::Stop = each(rest, begins) {
                    return Ok(());
                }
                begins = false;
            }
            if read == 0 {
                return Ok(());
            }
            filled = 0;
        } else {
            let start = filled - left;
            buffer.copy_within(start..filled, 0);
            filled = left;
        }
        // Headers are short: the buffer grows only for those who read on.
        if buffer.len() < BUFFER_BYTES {
            buffer.resize((buffer.len() * 4).min(BUFFER_BYTES), 0);
        }
    }
}

fn append_bounded(bytes: &mut Vec<u8>, line: &[u8], limit: usize) {
    let room = limit.saturating_sub(bytes.len());
    bytes.extend_from_slice(line.get(..room.min(line.len())).unwrap_or_default());
}

fn is_blank(line: &[u8]) -> bool {
    matches!(line, b"\r\n" | b"\n")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// In the header of the innermost open part.
    Header,
    /// In a body, a preamble or an epilogue.
    Body,
}

/// A part whose end has not been seen.
struct Open {
    part: usize,
    /// Of a multipart that is not closed yet.
    boundary: Option<Vec<u8>>,
    /// Line ends before the body.
    lines_before: u64,
}

struct Scanner {
    parts: Vec<Part>,
    open: Vec<Open>,
    mode: Mode,
    /// Of the innermost open part, in `Mode::Header`.
    header: Vec<u8>,
    /// Offset of the current line, or piece.
    at: u64,
    /// Line ends seen.
    lines: u64,
    /// Length of the last line's end: 0, 1 or 2.
    line_end: u64,
    /// The last line was empty.
    blank: bool,
    /// Header bytes that may still be kept in the structure.
    budget: usize,
}

impl Scanner {
    /// A part begins here.
    fn begin(&mut self, default_type: &'static str) {
        let span = Span { start: self.at, end: self.at };
        self.parts.push(Part {
            header: span,
            body: span,
            lines: 0,
            content: Content::of_default(default_type),
            kind: Kind::Leaf,
        });
        self.open.push(Open { part: self.parts.len() - 1, boundary: None, lines_before: self.lines });
        self.header.clear();
        self.mode = Mode::Header;
    }

    fn line(&mut self, line: &[u8], begins: bool) {
        let delimiter = if begins && line.starts_with(b"--") { self.delimiter(line) } else { None };
        let ended = line.ends_with(b"\n");
        if let Some((level, closing)) = delimiter {
            self.close_above(level);
            self.pass(line, ended);
            self.after_delimiter(level, closing);
            return;
        }
        match self.mode {
            Mode::Header => {
                let limit = if self.open.len() == 1 { HEADER_BYTES_MAX } else { PART_HEADER_BYTES_MAX };
                append_bounded(&mut self.header, line, limit);
                self.pass(line, ended);
                if begins && is_blank(line) {
                    self.end_header();
                }
            }
            Mode::Body => self.pass(line, ended),
        }
        // A line in several pieces is not blank, whatever its last one looks like.
        self.blank &= begins;
    }

    fn pass(&mut self, line: &[u8], ended: bool) {
        self.at += line.len() as u64;
        self.lines += u64::from(ended);
        self.line_end = u64::from(ended) + u64::from(line.ends_with(b"\r\n"));
        self.blank = is_blank(line);
    }

    /// The open multipart whose boundary this line is (innermost first), and whether it is the last one.
    fn delimiter(&self, line: &[u8]) -> Option<(usize, bool)> {
        let text = line.strip_prefix(b"--")?.trim_ascii_end();
        self.open.iter().enumerate().rev().find_map(|(level, open)| {
            let rest = text.strip_prefix(open.boundary.as_deref()?)?;
            match rest {
                b"" => Some((level, false)),
                b"--" => Some((level, true)),
                _ => None,
            }
        })
    }

    fn after_delimiter(&mut self, level: usize, closing: bool) {
        let full = self.parts.len() >= PARTS_MAX;
        let Some(open) = self.open.get_mut(level) else { return };
        self.mode = Mode::Body;
        if closing {
            open.boundary = None;
        }
        if closing || full {
            return;
        }
        let (parent, child) = (open.part, self.parts.len());
        let mut default_type = "";
        if let Some(parent) = self.parts.get_mut(parent) {
            if let Kind::Multipart(children) = &mut parent.kind {
                children.push(child);
            }
            // RFC 2046 §5.1.5.
            if parent.content.subtype.eq_ignore_ascii_case("digest") {
                default_type = "message/rfc822";
            }
        }
        self.begin(default_type);
    }

    /// The header of the innermost open part is complete.
    fn end_header(&mut self) {
        let depth = self.open.len();
        let next = self.parts.len();
        let room = next < PARTS_MAX && depth < PART_DEPTH_MAX;
        let header = std::mem::take(&mut self.header);
        let (at, lines) = (self.at, self.lines);
        let (budget, encapsulated) = (self.budget, self.encapsulated());
        let Some(open) = self.open.last_mut() else { return };
        let Some(part) = self.parts.get_mut(open.part) else { return };
        open.lines_before = lines;
        part.header.end = at;
        part.body = Span { start: at, end: at };
        // What is over the budget keeps its default type.
        if header.len() <= budget || open.part == 0 {
            part.content.read(&header);
            if encapsulated {
                part.content.keep_envelope(&header);
            }
            self.budget = budget.saturating_sub(part.content.cost());
        }
        self.mode = Mode::Body;
        let boundary = part.content.boundary().map(<[u8]>::to_vec);
        if part.content.is_multipart() {
            match boundary {
                Some(boundary) if room => {
                    part.kind = Kind::Multipart(Vec::new());
                    open.boundary = Some(boundary);
                }
                _ => part.content.make_opaque(),
            }
        } else if part.content.is_message() && room {
            part.kind = Kind::Message(next);
            self.begin("");
        }
    }

    /// Ends every part above this level at the line end before the current line, which belongs to the delimiter.
    fn close_above(&mut self, level: usize) {
        let end = self.at.saturating_sub(self.line_end);
        // The last line lost its end; if it held anything it still counts.
        let lines = self.lines.saturating_sub(u64::from(self.blank));
        while self.open.len() > level + 1 {
            self.close(end, lines);
        }
    }

    /// Is the innermost open part a message inside another?
    fn encapsulated(&self) -> bool {
        let around = self.open.len().checked_sub(2).and_then(|around| self.open.get(around));
        around.and_then(|around| self.parts.get(around.part)).is_some_and(|part| matches!(part.kind, Kind::Message(_)))
    }

    fn close(&mut self, end: u64, lines: u64) {
        let encapsulated = self.encapsulated();
        let Some(open) = self.open.pop() else { return };
        let in_header = std::mem::replace(&mut self.mode, Mode::Body) == Mode::Header;
        let Some(part) = self.parts.get_mut(open.part) else { return };
        if in_header {
            if self.header.len() <= self.budget {
                part.content.read(&self.header);
                if encapsulated {
                    part.content.keep_envelope(&self.header);
                }
                self.budget = self.budget.saturating_sub(part.content.cost());
            }
            self.header.clear();
            part.header.end = end.max(part.header.start);
            part.body = Span { start: part.header.end, end: part.header.end };
            if part.content.is_multipart() {
                part.content.make_opaque();
            }
            return;
        }
        part.body.end = end.max(part.body.start);
        part.lines = lines.saturating_sub(open.lines_before);
        if part.body.len() == 0 {
            part.lines = 0;
        }
    }

    fn finish(mut self) -> Structure {
        let lines = self.lines + u64::from(self.line_end == 0 && self.at > 0);
        while !self.open.is_empty() {
            self.close(self.at, lines);
        }
        let cost = self.parts.iter().map(|part| size_of::<Part>() + part.content.cost()).sum();
        Structure { parts: self.parts, cost }
    }
}
