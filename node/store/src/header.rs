//! Header fields as they lie there (RFC 5322 §2.2), and the excerpt of a header that is kept beside the log.
//!
//! An excerpt holds the fields of [`EXCERPT_FIELDS`] byte for byte and in their order, as if the header had no others. So whoever asks for one
//! of these gets from the excerpt what the message itself would have said, without the message being opened.

use std::io::Read;

/// The fields that an excerpt holds: what a list of messages shows, and what messages are sorted, threaded and searched by.
pub const EXCERPT_FIELDS: [&str; 11] =
    ["Date", "Subject", "From", "Sender", "Reply-To", "To", "Cc", "Bcc", "In-Reply-To", "Message-ID", "References"];

/// Bytes of an excerpt at most; of a message with more in these fields none is kept.
pub(crate) const EXCERPT_BYTES_MAX: usize = 4096;
/// Bytes of a message among which its header has to end; else no excerpt is kept.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// A stored message is read in pieces of this size.
const PIECE_BYTES: usize = 4096;

/// One field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// As written, without the colon.
    pub name: &'a [u8],
    /// After the colon, folds and line ends included.
    pub value: &'a [u8],
    /// The whole of it, line ends included.
    pub raw: &'a [u8],
}

impl Field<'_> {
    /// Is this its name?
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The fields of a header up to its empty line. Lines that are no field are passed over.
pub fn fields(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = header;
    std::iter::from_fn(move || {
        loop {
            let length = field_length(rest)?;
            let (raw, after) = rest.split_at(length);
            rest = after;
            let Some(colon) = memchr::memchr2(b':', b'\n', raw) else { continue };
            if raw.get(colon) != Some(&b':') {
                continue;
            }
            let name = raw.get(..colon).unwrap_or_default().trim_ascii_end();
            if !name.is_empty() {
                return Some(Field { name, value: raw.get(colon + 1..).unwrap_or_default(), raw });
            }
        }
    })
}

/// A line and those that continue it; `None` at the end or at the empty line.
fn field_length(rest: &[u8]) -> Option<usize> {
    if rest.is_empty() || rest.starts_with(b"\r\n") || rest.starts_with(b"\n") {
        return None;
    }
    let mut end = 0;
    loop {
        let tail = rest.get(end..).unwrap_or_default();
        let Some(length) = memchr::memchr(b'\n', tail) else { return Some(rest.len()) };
        end += length + 1;
        if !matches!(rest.get(end), Some(b' ' | b'\t')) {
            return Some(end);
        }
    }
}

/// What is kept of a message's header: `None` where it is too large to be kept, and the message itself has to be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excerpt(Option<Box<[u8]>>);

impl Excerpt {
    /// The fields of [`EXCERPT_FIELDS`] as a header of their own, without an empty line at its end.
    #[must_use]
    pub fn header(&self) -> Option<&[u8]> {
        self.0.as_deref()
    }

    /// Whether a field of this name would be in it.
    #[must_use]
    pub fn covers(name: &str) -> bool {
        EXCERPT_FIELDS.iter().any(|field| field.eq_ignore_ascii_case(name))
    }

    fn of(header: &[u8]) -> Self {
        let mut kept = Vec::new();
        for field in fields(header).filter(|field| EXCERPT_FIELDS.iter().any(|name| field.is(name))) {
            kept.extend_from_slice(field.raw);
        }
        Self((kept.len() <= EXCERPT_BYTES_MAX).then(|| kept.into_boxed_slice()))
    }

    /// As a row: a byte that says whether it is kept, then its bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        match &self.0 {
            Some(bytes) => [&[1], &**bytes].concat(),
            None => vec![0],
        }
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        match row.split_first()? {
            (1, bytes) if bytes.len() <= EXCERPT_BYTES_MAX => Some(Self(Some(bytes.into()))),
            (0, []) => Some(Self(None)),
            _ => None,
        }
    }

    /// Reads as much of a message as it takes.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn read(message: &mut impl Read) -> std::io::Result<Self> {
        let mut head = Head::default();
        let mut piece = [0; PIECE_BYTES];
        while !head.is_over() {
            let count = message.read(&mut piece)?;
            if count == 0 {
                break;
            }
            head.feed(piece.get(..count).unwrap_or_default());
        }
        Ok(head.finish())
    }
}

/// The beginning of a message that is being written, up to the end of its header.
#[derive(Debug, Default)]
pub(crate) struct Head {
    bytes: Vec<u8>,
    /// Where the last line begins.
    line: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// The empty line was seen.
    Ended,
    /// It was not, among so many bytes.
    TooLong,
}

impl Head {
    /// Nothing more is needed.
    fn is_over(&self) -> bool {
        self.state != State::Open
    }

    /// Takes in what comes next.
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        if self.is_over() {
            return;
        }
        let room = HEAD_BYTES_MAX - self.bytes.len();
        self.bytes.extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
        while let Some(length) = memchr::memchr(b'\n', self.bytes.get(self.line..).unwrap_or_default()) {
            let line = self.bytes.get(self.line..=self.line + length).unwrap_or_default();
            if matches!(line, b"\r\n" | b"\n") {
                self.state = State::Ended;
                return;
            }
            self.line += length + 1;
        }
        if piece.len() > room {
            self.state = State::TooLong;
            self.bytes = Vec::new();
        }
    }

    /// The message is complete.
    pub(crate) fn finish(self) -> Excerpt {
        if self.state == State::TooLong { Excerpt(None) } else { Excerpt::of(&self.bytes) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_come_out_whole() {
        let header = b"A: 1\r\nB : two\r\n\tlines\r\nnonsense\r\n: empty\r\nC:\n\r\nD: body\r\n";
        let got: Vec<_> = fields(header).collect();
        assert_eq!(got.len(), 3);
        assert_eq!(got[1].raw, b"B : two\r\n\tlines\r\n");
        assert!(got[1].is("b"));
        assert_eq!(got[1].value, b" two\r\n\tlines\r\n");
        assert_eq!(got[2].value, b"\n");
    }

    #[test]
    fn a_field_without_a_line_end_is_one() {
        let got: Vec<_> = fields(b"A: 1").collect();
        assert_eq!(got[0].value, b" 1");
        assert_eq!(fields(b"").count(), 0);
    }

    #[test]
    fn an_excerpt_is_the_header_without_the_rest() {
        let mail = b"Received: x\r\n y\r\nSUBJECT: a\r\n b\r\nX: 1\r\nto : c@d\r\nTo: e@f\r\n\r\nFrom: body\r\n";
        let excerpt = Excerpt::read(&mut &mail[..]).unwrap();
        assert_eq!(excerpt.header(), Some(&b"SUBJECT: a\r\n b\r\nto : c@d\r\nTo: e@f\r\n"[..]));
        assert_eq!(Excerpt::read(&mut &b""[..]).unwrap().header(), Some(&b""[..]));
        assert_eq!(Excerpt::read(&mut &b"\r\nTo: body"[..]).unwrap().header(), Some(&b""[..]));
        assert!(Excerpt::covers("subject") && !Excerpt::covers("Received"));
    }

    #[test]
    fn what_is_too_large_is_not_kept() {
        let long = format!("To: {}\r\n\r\n", "x".repeat(EXCERPT_BYTES_MAX));
        assert_eq!(Excerpt::read(&mut long.as_bytes()).unwrap().header(), None);
        let endless = "X: y\r\n".repeat(HEAD_BYTES_MAX);
        assert_eq!(Excerpt::read(&mut endless.as_bytes()).unwrap().header(), None);
        let just = format!("To: a@b\r\nX: {}\r\n\r\n", "x".repeat(HEAD_BYTES_MAX - 16));
        assert_eq!(just.len(), HEAD_BYTES_MAX);
        assert_eq!(Excerpt::read(&mut just.as_bytes()).unwrap().header(), Some(&b"To: a@b\r\n"[..]));
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            lines in proptest::collection::vec("(To|Subject|X|) ?:?[a \t]{0,9}(\r\n|\n|\r|)", 0..12),
            cuts in proptest::collection::vec(0_usize..90, 0..6),
        ) {
            let mail = lines.concat().into_bytes();
            let whole = Excerpt::read(&mut &mail[..]).unwrap();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(mail.len())).chain([0, mail.len()]).collect();
            cuts.sort_unstable();
            let mut head = Head::default();
            cuts.windows(2).for_each(|ends| head.feed(&mail[ends[0]..ends[1]]));
            prop_assert_eq!(&head.finish(), &whole);
            let kept = |header: &[u8]| fields(header).filter(|field| EXCERPT_FIELDS.iter().any(|name| field.is(name)))
                .map(|field| field.raw.to_vec()).collect::<Vec<_>>();
            prop_assert_eq!(kept(whole.header().unwrap()), kept(&mail));
            prop_assert_eq!(Excerpt::decode(&whole.encode()), Some(whole));
        }

        #[test]
        fn any_row_is_read_or_refused(row: Vec<u8>) {
            if let Some(excerpt) = Excerpt::decode(&row) {
                prop_assert_eq!(excerpt.encode(), row);
            }
        }
    }
}
