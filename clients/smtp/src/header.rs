//! The header work of a submission, on raw bytes: fields are dropped or added whole, everything else stays as it came.
//!
//! A mail that does not begin with a field is no mail as RFC 5322 knows it; it gets no fields and is carried as it is.

use std::fmt::Write;

use mail_parser::{Address as FieldAddress, MessageParser};

/// Largest header, bytes.
pub const HEADER_BYTES_MAX: usize = 256 * 1024;

/// Fields that do not leave: what tells others who else got the mail, what the program and its surroundings are, and what only the
/// recipient's own node may claim.
const DROPPED: [&str; 9] = [
    "Bcc",
    "Resent-Bcc",
    "Received",
    "Return-Path",
    "User-Agent",
    "X-Mailer",
    "X-Originating-IP",
    "Authentication-Results",
    "ARC-Authentication-Results",
];
/// As are all fields of this kind.
const DROPPED_PREFIX: &str = "X-Kith-";

/// The header is larger than [`HEADER_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header is larger than {HEADER_BYTES_MAX} bytes")]
pub struct HeaderTooLarge;

/// Gathers a mail's bytes until its header is complete: all lines before the first empty one. Lines in it that are no fields do not end it, since
/// programs that show mail read on behind them.
#[derive(Debug, Default)]
pub struct HeaderReader {
    gathered: Vec<u8>,
    /// Start of the first line that is not complete.
    line: usize,
    /// No line ends before this; looked at once, so that bytes that come singly cost no more.
    scanned: usize,
}

/// A mail's bytes, cut after the header.
#[derive(Debug, PartialEq, Eq)]
pub struct Split {
    /// The fields, without the empty line.
    pub fields: Vec<u8>,
    /// The empty line, if there is one, and what came of the body.
    pub rest: Vec<u8>,
}

impl HeaderReader {
    /// Takes the next bytes; gives the header when it is complete.
    ///
    /// # Errors
    /// It does not end within its bound.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<Split>, HeaderTooLarge> {
        self.gathered.extend_from_slice(bytes);
        while let Some(lf) = self.gathered.iter().skip(self.scanned).position(|byte| *byte == b'\n').map(|at| self.scanned + at) {
            self.scanned = lf + 1;
            let line = self.gathered.get(self.line..=lf).unwrap_or_default();
            if line == b"\r\n" {
                let mut fields = std::mem::take(&mut self.gathered);
                let rest = fields.split_off(self.line);
                return if self.line > HEADER_BYTES_MAX { Err(HeaderTooLarge) } else { Ok(Some(Split { fields, rest })) };
            }
            if line.ends_with(b"\r\n") {
                self.line = self.scanned;
            }
        }
        self.scanned = self.gathered.len();
        if self.gathered.len() > HEADER_BYTES_MAX { Err(HeaderTooLarge) } else { Ok(None) }
    }

    /// The mail is complete: it is all header.
    #[must_use]
    pub fn finish(self) -> Split {
        Split { fields: self.gathered, rest: Vec::new() }
    }
}

/// A header as it came, ready to be examined and rewritten.
#[derive(Debug)]
pub struct Header<'a> {
    fields: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Header<'a> {
    /// Cuts [`Split::fields`] into fields.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Self {
        let (mut fields, mut start, mut at) = (Vec::new(), 0, 0);
        while at < bytes.len() {
            at += bytes.get(at..).and_then(line_length).unwrap_or(bytes.len() - at);
            if !matches!(bytes.get(at), Some(b' ' | b'\t')) {
                let field = bytes.get(start..at).unwrap_or_default();
                fields.push((field_name(field).unwrap_or_default(), field));
                start = at;
            }
        }
        Self { fields }
    }

    /// Whether it begins with a field. Where it does not, this is some text and no mail, and nothing is added.
    #[must_use]
    pub fn is_header(&self) -> bool {
        self.fields.first().is_some_and(|(name, _)| !name.is_empty())
    }

    /// Whether a field of this name is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// The addresses of all `From` fields; `None` when there is no such field, empty when nothing in it is an address.
    #[must_use]
    pub fn from_addresses(&self) -> Option<Vec<String>> {
        let mut addresses = None;
        for (_, field) in self.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"From")) {
            let found: &mut Vec<String> = addresses.get_or_insert_default();
            // The parser wants an end, which the last line of a mail may lack.
            let field = [*field, b"\r\n\r\n"].concat();
            let Some(message) = MessageParser::default().parse_headers(&field) else { continue };
            match message.from() {
                None => {}
                Some(FieldAddress::List(list)) => found.extend(list.iter().filter_map(|one| one.address()).map(str::to_owned)),
                Some(FieldAddress::Group(groups)) => {
                    let all = groups.iter().flat_map(|group| &group.addresses);
                    found.extend(all.filter_map(|one| one.address()).map(str::to_owned));
                }
            }
        }
        addresses
    }

    /// The header as it leaves: dropped fields dropped, missing ones before the others.
    #[must_use]
    pub fn rewrite(&self, reverse_path: &str, now: i64, unique: [u8; 16]) -> Vec<u8> {
        let mut added = String::new();
        if self.is_header() {
            // Writing to a string cannot fail.
            if !self.has("Date") {
                let _written = write!(added, "Date: {}\r\n", mail_parser::DateTime::from_timestamp(now).to_rfc822());
            }
            if !self.has("Message-ID") {
                let name = unique.iter().fold(String::new(), |name, byte| name + &format!("{byte:02x}"));
                let _written = write!(added, "Message-ID: <{name}@kith.alt>\r\n");
            }
            if !self.has("From") && !reverse_path.is_empty() {
                let _written = write!(added, "From: <{reverse_path}>\r\n");
            }
        }
        let mut bytes = added.into_bytes();
        for (name, field) in &self.fields {
            if !is_dropped(name) {
                bytes.extend_from_slice(field);
            }
        }
        bytes
    }
}

fn is_dropped(name: &[u8]) -> bool {
    let has_prefix = name.get(..DROPPED_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(DROPPED_PREFIX.as_bytes()));
    has_prefix || DROPPED.iter().any(|dropped| name.eq_ignore_ascii_case(dropped.as_bytes()))
}

/// Bytes of the first line with its CR LF; `None` where it has none.
fn line_length(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let lf = from + bytes.get(from..)?.iter().position(|byte| *byte == b'\n')?;
        if lf > 0 && bytes.get(lf - 1) == Some(&b'\r') {
            return Some(lf + 1);
        }
        from = lf + 1;
    }
}

/// RFC 5322 §3.6.8, with the white space before the colon that §4.5 tolerates.
fn field_name(line: &[u8]) -> Option<&[u8]> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = line.get(..colon)?.trim_ascii_end();
    (!name.is_empty() && name.iter().all(|byte| matches!(byte, b'!'..=b'~'))).then_some(name)
}

#[cfg(test)]
mod tests;
