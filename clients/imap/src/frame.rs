//! Commands out of a stream of bytes: lines, and the literals that interrupt them (RFC 3501 §4.3, RFC 7888).
//!
//! A command comes out as one run of bytes with its literals in place (`{5}\r\nhello`), which `token.rs` then reads. A literal is
//! announced before a byte of it is taken, so that the session can accept it, stream it elsewhere or refuse it.

use bytes::BytesMut;

/// What lies next in the input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Nothing whole: more bytes are needed.
    NeedInput,
    /// A whole command (or continuation line) without its line end.
    Command(Vec<u8>),
    /// A literal is announced; [`Framer::announced`] has the command so far. Answer with `accept`, `stream` or `refuse`.
    Literal(Announced),
    /// Bytes of a literal that is being streamed.
    Chunk(BytesMut),
    /// The streamed literal is complete; the rest of its command follows as `Command`.
    StreamEnd,
    /// A command was longer than its limit and has been read past; here is its beginning.
    TooLong(Vec<u8>),
}

/// `{n}`, `{n+}`, `~{n}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    /// Bytes to come.
    pub(crate) bytes: u64,
    /// The client waits for `+ ` before it sends them.
    pub(crate) synchronising: bool,
    /// `~{n}`: may hold NUL (RFC 3516).
    pub(crate) binary: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Line,
    /// `accept`, `stream` or `refuse` has to be called.
    Asked(Announced),
    Collect(u64),
    Stream(u64),
    /// Reading past a literal; then past the rest of its command.
    Discard(u64),
    DiscardLine,
}

/// Bytes of an overlong or refused command that are kept to find its tag.
const KEPT_BYTES: usize = 128;

/// Cuts the input into frames.
#[derive(Debug)]
pub(crate) struct Framer {
    state: State,
    /// The command so far, in `Line` and `Collect`.
    command: Vec<u8>,
    /// Bytes of the input that are known to hold no line end.
    searched: usize,
    /// The end of what is being read past, where a literal may be announced.
    tail: Vec<u8>,
    limit: usize,
    report: bool,
}

impl Framer {
    pub(crate) fn new(limit: usize) -> Self {
        Self { state: State::Line, command: Vec::new(), searched: 0, tail: Vec::new(), limit, report: false }
    }

    /// Bytes of one command from now on.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// The command up to the literal that was announced, `{n}` included.
    pub(crate) fn announced(&self) -> &[u8] {
        &self.command
    }

    /// Takes the announced literal into the command; `false` if that would be too long (then it is still to be refused).
    pub(crate) fn accept(&mut self) -> bool {
        let State::Asked(literal) = self.state else { return false };
        let Ok(bytes) = usize::try_from(literal.bytes) else { return false };
        if bytes > self.limit.saturating_sub(self.command.len()) {
            return false;
        }
        self.command.extend_from_slice(b"\r\n");
        self.state = State::Collect(literal.bytes);
        true
    }

    /// Whether a command has been begun and not ended.
    pub(crate) fn is_midway(&self) -> bool {
        !matches!(self.state, State::Line) || !self.command.is_empty()
    }

    /// Gives out the announced literal in chunks instead; the command so far is forgotten.
    pub(crate) fn stream(&mut self) {
        if let State::Asked(literal) = self.state {
            self.command.clear();
            self.state = State::Stream(literal.bytes);
        }
    }

    /// Does without the announced literal and the rest of its command.
    pub(crate) fn refuse(&mut self) {
        if let State::Asked(literal) = self.state {
            self.command.clear();
            self.tail.clear();
            // A client that waits for `+ ` and gets an answer instead sends neither the literal nor the rest.
            self.state = if literal.synchronising { State::Line } else { State::Discard(literal.bytes) };
        }
    }

    /// Stops streaming: reads past what is left of the literal and of its command.
    pub(crate) fn abandon(&mut self) {
        if let State::Stream(left) = self.state {
            self.tail.clear();
            self.state = State::Discard(left);
        }
    }

    /// The next frame.
    pub(crate) fn next(&mut self, input: &mut BytesMut) -> Frame {
        loop {
            match self.state {
                State::Asked(literal) => return Frame::Literal(literal),
                State::Line => match self.line(input) {
                    Some(frame) => return frame,
                    None => continue,
                },
                State::Collect(0) => self.state = State::Line,
                State::Stream(0) => {
                    self.state = State::Line;
                    return Frame::StreamEnd;
                }
                State::Discard(0) => self.state = State::DiscardLine,
                _ if input.is_empty() => return Frame::NeedInput,
                State::Collect(left) => {
                    let chunk = take(input, left);
                    self.command.extend_from_slice(&chunk);
                    self.state = State::Collect(left - chunk.len() as u64);
                }
                State::Stream(left) => {
                    let chunk = take(input, left);
                    self.state = State::Stream(left - chunk.len() as u64);
                    return Frame::Chunk(chunk);
                }
                State::Discard(left) => {
                    let chunk = take(input, left);
                    self.state = State::Discard(left - chunk.len() as u64);
                }
                State::DiscardLine => {
                    if let Some(frame) = self.discard_line(input) {
                        return frame;
                    }
                }
            }
        }
    }

    /// A line or more of it; `None` when the state has changed.
    fn line(&mut self, input: &mut BytesMut) -> Option<Frame> {
        let unsearched = input.get(self.searched..).unwrap_or_default();
        let room = self.limit.saturating_sub(self.command.len());
        let Some(found) = memchr::memchr(b'\n', unsearched) else {
            self.searched = input.len();
            if input.len() <= room {
                return Some(Frame::NeedInput);
            }
            self.overlong(input);
            return None;
        };
        let end = self.searched + found;
        self.searched = 0;
        if end > room {
            self.overlong(input);
            return None;
        }
        let line = input.split_to(end + 1);
        self.command.extend_from_slice(without_line_end(&line));
        match announcement(&self.command) {
            Some(literal) => {
                self.state = State::Asked(literal);
                None
            }
            None => Some(Frame::Command(std::mem::take(&mut self.command))),
        }
    }

    fn overlong(&mut self, input: &BytesMut) {
        self.searched = 0;
        self.command.extend_from_slice(input.get(..KEPT_BYTES.min(input.len())).unwrap_or_default());
        self.command.truncate(KEPT_BYTES);
        self.tail.clear();
        self.report = true;
        self.state = State::DiscardLine;
    }

    fn discard_line(&mut self, input: &mut BytesMut) -> Option<Frame> {
        let (line, ended) = match memchr::memchr(b'\n', input) {
            Some(end) => (input.split_to(end + 1), true),
            None => (input.split(), false),
        };
        self.tail.extend_from_slice(if ended { without_line_end(&line) } else { &line });
        let surplus = self.tail.len().saturating_sub(KEPT_BYTES);
        self.tail.drain(..surplus);
        if !ended {
            return None;
        }
        let literal = announcement(&self.tail);
        self.tail.clear();
        if let Some(literal) = literal.filter(|literal| !literal.synchronising) {
            self.state = State::Discard(literal.bytes);
            return None;
        }
        self.state = State::Line;
        let begun = std::mem::take(&mut self.command);
        std::mem::take(&mut self.report).then_some(Frame::TooLong(begun))
    }
}

fn take(input: &mut BytesMut, most: u64) -> BytesMut {
    let bytes = usize::try_from(most).unwrap_or(usize::MAX).min(input.len());
    input.split_to(bytes)
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The literal that a line's end announces.
fn announcement(line: &[u8]) -> Option<Announced> {
    let inner = line.strip_suffix(b"}")?;
    let (inner, synchronising) = match inner.strip_suffix(b"+") {
        Some(inner) => (inner, false),
        None => (inner, true),
    };
    let digits = inner.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || digits > 19 {
        return None;
    }
    let (before, number) = inner.split_at(inner.len() - digits);
    let before = before.strip_suffix(b"{")?;
    let bytes = std::str::from_utf8(number).ok()?.parse().ok()?;
    Some(Announced { bytes, synchronising, binary: before.last() == Some(&b'~') })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(framer: &mut Framer, bytes: &[u8]) -> Vec<Frame> {
        let mut input = BytesMut::from(bytes);
        let mut frames = Vec::new();
        loop {
            match framer.next(&mut input) {
                Frame::NeedInput => return frames,
                Frame::Literal(literal) => {
                    if !framer.accept() {
                        framer.refuse();
                    }
                    frames.push(Frame::Literal(literal));
                }
                frame => frames.push(frame),
            }
        }
    }

    #[test]
    fn literals_stay_in_their_command() {
        let mut framer = Framer::new(1024);
        let got = frames(&mut framer, b"a LOGIN {3}\r\nbob {2+}\r\n\r\n x\r\nb NOOP\n");
        assert_eq!(got.len(), 4);
        assert_eq!(got[1], Frame::Literal(Announced { bytes: 2, synchronising: false, binary: false }));
        assert_eq!(got[2], Frame::Command(b"a LOGIN {3}\r\nbob {2+}\r\n\r\n x".to_vec()));
        assert_eq!(got[3], Frame::Command(b"b NOOP".to_vec()));
    }

    #[test]
    fn overlong_commands_are_read_past_with_their_literals() {
        let mut framer = Framer::new(64);
        let mut bytes = vec![b'a'; 100];
        bytes.extend_from_slice(b" {4+}\r\nx\ny\n {99+}\r\n");
        bytes.extend_from_slice(&[b'\n'; 99]);
        bytes.extend_from_slice(b" end\r\nb NOOP\r\n");
        let got = frames(&mut framer, &bytes);
        assert!(matches!(&got[0], Frame::TooLong(begun) if begun.starts_with(b"aaa")), "{got:?}");
        assert_eq!(got[1], Frame::Command(b"b NOOP".to_vec()));
    }

    #[test]
    fn literals_that_are_refused_are_read_past_unless_the_client_waits() {
        let mut framer = Framer::new(64);
        let got = frames(&mut framer, b"a X {999}\r\nb X {70+}\r\n");
        assert_eq!(got.len(), 2);
        let mut rest = vec![b'{'; 70];
        rest.extend_from_slice(b" tail\r\nc NOOP\r\n");
        assert_eq!(frames(&mut framer, &rest), [Frame::Command(b"c NOOP".to_vec())]);
    }

    #[test]
    fn streamed_literals_come_in_chunks() {
        let mut framer = Framer::new(64);
        let mut input = BytesMut::from(&b"a APPEND x {999999}\r\n"[..]);
        assert!(matches!(framer.next(&mut input), Frame::Literal(_)));
        framer.stream();
        assert_eq!(framer.next(&mut input), Frame::NeedInput);
        for _ in 0..3 {
            input.extend_from_slice(&[b'x'; 333_333]);
            assert!(matches!(framer.next(&mut input), Frame::Chunk(chunk) if chunk.len() == 333_333));
        }
        assert_eq!(framer.next(&mut input), Frame::StreamEnd);
        input.extend_from_slice(b"\r\n");
        assert_eq!(framer.next(&mut input), Frame::Command(Vec::new()));
    }
}
