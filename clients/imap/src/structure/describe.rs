//! BODY and BODYSTRUCTURE (RFC 3501 §7.4.2): written once, as BODYSTRUCTURE; BODY is the same without the runs that are extension data.

use std::ops::Range;

use kith_store::mailbox::GIST_BYTES_MAX;

use super::content::{Content, Parameters};
use super::{Kind, Part, Structure};
use crate::response::{nstring, number, string};

/// Whether extension data is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extension {
    /// BODYSTRUCTURE
    With,
    /// BODY
    Without,
}

/// What an ENVELOPE looks like of which nothing is known.
const EMPTY_ENVELOPE: &[u8] = b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)";
const EMPTY_TEXT: &[u8] = b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0";
const EMPTY_TEXT_EXTENSION: &[u8] = b" NIL NIL NIL NIL";

/// What stands in front of a description that is kept. A greater one with every change of what is written: older ones are then made anew.
const VERSION: u8 = 1;
/// Bytes of the number of runs, and of each number in the table of runs.
const NUMBER_BYTES: usize = 2;

/// The structure of a whole message, as it is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Description {
    /// BODYSTRUCTURE
    bytes: Vec<u8>,
    /// Which of these are extension data: ascending, disjoint.
    extensions: Vec<Range<usize>>,
}

impl Description {
    pub(crate) fn of(structure: &Structure) -> Self {
        let mut description = Self::default();
        description.part(structure, 0);
        description
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>, extension: Extension) {
        let mut from = 0;
        if extension == Extension::Without {
            for run in &self.extensions {
                out.extend_from_slice(self.bytes.get(from..run.start).unwrap_or_default());
                from = run.end;
            }
        }
        out.extend_from_slice(self.bytes.get(from..).unwrap_or_default());
    }

    /// As a gist, for `Kept` to read; `None` where it is too large for one.
    ///
    /// ```text
    /// VERSION | number of runs 2 | for each: bytes before it 2, its length 2 | BODYSTRUCTURE
    /// ```
    pub(crate) fn encode(&self) -> Option<Box<[u8]>> {
        let size = 1 + NUMBER_BYTES + 2 * NUMBER_BYTES * self.extensions.len() + self.bytes.len();
        if size > GIST_BYTES_MAX {
            return None;
        }
        let mut gist = Vec::with_capacity(size);
        gist.push(VERSION);
        let ends = self.extensions.iter().scan(0, |at, run| Some((run.start - std::mem::replace(at, run.end), run.len())));
        for number in std::iter::once(self.extensions.len()).chain(ends.flat_map(|(before, length)| [before, length])) {
            gist.extend_from_slice(&u16::try_from(number).ok()?.to_le_bytes());
        }
        gist.extend_from_slice(&self.bytes);
        Some(gist.into_boxed_slice())
    }
}

/// A description that was kept, taken apart; `None` where it cannot be read, or is of another version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept<'a> {
    runs: &'a [[u8; 2 * NUMBER_BYTES]],
    bytes: &'a [u8],
}

impl<'a> Kept<'a> {
    pub(crate) fn read(gist: &'a [u8]) -> Option<Self> {
        let (count, rest) = gist.strip_prefix(&[VERSION])?.split_first_chunk::<NUMBER_BYTES>()?;
        let (table, bytes) = rest.split_at_checked(usize::from(u16::from_le_bytes(*count)) * 2 * NUMBER_BYTES)?;
        Some(Self { runs: table.as_chunks().0, bytes })
    }

    pub(crate) fn write(self, out: &mut Vec<u8>, extension: Extension) {
        let mut rest = self.bytes;
        if extension == Extension::Without {
            for [a, b, c, d] in self.runs {
                let (before, length) = (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]));
                let (told, after) = rest.split_at(usize::from(before).min(rest.len()));
                out.extend_from_slice(told);
                rest = after.get(usize::from(length)..).unwrap_or_default();
            }
        }
        out.extend_from_slice(rest);
    }
}

impl Description {
    /// Writes extension data.
    fn extend(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.extensions.push(start..self.bytes.len());
    }

    fn part(&mut self, structure: &Structure, index: usize) {
        match structure.parts.get(index) {
            None => self.empty_text(),
            Some(part) => match &part.kind {
                Kind::Multipart(children) => self.multipart(structure, part, children),
                Kind::Leaf => self.single(structure, part, None),
                Kind::Message(root) => self.single(structure, part, Some(*root)),
            },
        }
    }

    fn multipart(&mut self, structure: &Structure, whole: &Part, children: &[usize]) {
        self.bytes.push(b'(');
        for &child in children {
            self.part(structure, child);
        }
        // The grammar wants one part at least.
        if children.is_empty() {
            self.empty_text();
        }
        self.bytes.push(b' ');
        string(&mut self.bytes, whole.content.subtype.as_bytes());
        self.extend(|out| {
            out.push(b' ');
            parameters(out, &whole.content.parameters);
            disposition_language_location(out, &whole.content);
        });
        self.bytes.push(b')');
    }

    fn single(&mut self, structure: &Structure, part: &Part, message: Option<usize>) {
        let content = &part.content;
        let out = &mut self.bytes;
        out.push(b'(');
        string(out, content.media.as_bytes());
        out.push(b' ');
        string(out, content.subtype.as_bytes());
        out.push(b' ');
        parameters(out, &content.parameters);
        out.push(b' ');
        nstring(out, content.id.as_deref());
        out.push(b' ');
        nstring(out, content.description.as_deref());
        out.push(b' ');
        string(out, content.encoding.as_deref().unwrap_or(b"7bit"));
        out.push(b' ');
        number(out, part.body.len());
        if let Some(root) = message {
            let envelope = structure.parts.get(root).and_then(|root| root.content.envelope.as_deref());
            out.push(b' ');
            out.extend_from_slice(envelope.unwrap_or(EMPTY_ENVELOPE));
            out.push(b' ');
            self.part(structure, root);
            self.lines(part);
        } else if content.is("message", "rfc822") {
            out.push(b' ');
            out.extend_from_slice(EMPTY_ENVELOPE);
            out.push(b' ');
            self.empty_text();
            self.lines(part);
        } else if content.media.eq_ignore_ascii_case("text") {
            self.lines(part);
        }
        self.extend(|out| {
            out.push(b' ');
            nstring(out, content.md5.as_deref());
            disposition_language_location(out, content);
        });
        self.bytes.push(b')');
    }

    fn lines(&mut self, part: &Part) {
        self.bytes.push(b' ');
        number(&mut self.bytes, part.lines);
    }

    fn empty_text(&mut self) {
        self.bytes.extend_from_slice(EMPTY_TEXT);
        self.extend(|out| out.extend_from_slice(EMPTY_TEXT_EXTENSION));
        self.bytes.push(b')');
    }
}

fn parameters(out: &mut Vec<u8>, pairs: &Parameters) {
    if pairs.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    for (index, (name, value)) in pairs.iter().enumerate() {
        out.push(if index == 0 { b'(' } else { b' ' });
        string(out, name);
        out.push(b' ');
        string(out, value);
    }
    out.push(b')');
}

fn disposition_language_location(out: &mut Vec<u8>, content: &Content) {
    match &content.disposition {
        None => out.extend_from_slice(b" NIL "),
        Some((kind, pairs)) => {
            out.extend_from_slice(b" (");
            string(out, kind);
            out.push(b' ');
            parameters(out, pairs);
            out.extend_from_slice(b") ");
        }
    }
    match &*content.language {
        [] => out.extend_from_slice(b"NIL"),
        [one] => string(out, one),
        several => {
            for (index, tag) in several.iter().enumerate() {
                out.push(if index == 0 { b'(' } else { b' ' });
                string(out, tag);
            }
            out.push(b')');
        }
    }
    out.push(b' ');
    nstring(out, content.location.as_deref());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::structure::scan;

    fn written(description: &Description, extension: Extension) -> Vec<u8> {
        let mut out = Vec::new();
        description.write(&mut out, extension);
        out
    }

    #[test]
    fn body_is_bodystructure_without_extension_data() {
        let message = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Language: de\r\n\r\nx\r\n--b\r\n\
            Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\ny\r\n--b--\r\n";
        let description = Description::of(&scan(&mut &message[..]).unwrap());
        let (with, without) = (written(&description, Extension::With), written(&description, Extension::Without));
        assert_eq!(
            String::from_utf8(without).unwrap(),
            "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 1)(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 16 \
             (NIL \"in\" NIL NIL NIL NIL NIL NIL NIL NIL) (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 1) 3) \"mixed\")"
        );
        assert_eq!(
            String::from_utf8(with).unwrap(),
            "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 1 NIL NIL \"de\" NIL)(\"message\" \"rfc822\" NIL NIL NIL \
             \"7bit\" 16 (NIL \"in\" NIL NIL NIL NIL NIL NIL NIL NIL) (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 1 NIL \
             NIL NIL NIL) 3 NIL NIL NIL NIL) \"mixed\" (\"boundary\" \"b\") NIL NIL NIL)"
        );
    }

    /// What messages are made of that parsers stumble over.
    const PIECES: [&[u8]; 10] = [
        b"Content-Type: multipart/mixed; boundary=b\r\n",
        b"Content-Type: multipart/digest; boundary=\"c d\"\r\n",
        b"Content-Type: message/rfc822\r\n\r\n",
        b"Content-Type: image/png; name=\"\xfc\"\r\nContent-Language: de, en\r\n",
        b"Content-Disposition: inline; a=b\r\nSubject: \0\xff\r\n",
        b"\r\n",
        b"--b\r\n",
        b"--b--\r\n",
        b"--c d\n",
        b"text",
    ];

    fn any_message() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..30).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn what_is_kept_is_told_as_what_is_worked_out(message in any_message()) {
            let description = Description::of(&scan(&mut &*message).unwrap());
            let gist = description.encode();
            prop_assert_eq!(gist.is_none(), description.bytes.len() + 4 * description.extensions.len() + 3 > GIST_BYTES_MAX);
            for extension in [Extension::With, Extension::Without] {
                if let Some(gist) = &gist {
                    let mut out = Vec::new();
                    Kept::read(gist).unwrap().write(&mut out, extension);
                    prop_assert_eq!(out, written(&description, extension));
                }
            }
        }

        #[test]
        fn any_gist_is_written_or_refused(gist: Vec<u8>, version in 0_u8..3) {
            for gist in [gist.clone(), [&[version][..], &gist].concat()] {
                if let Some(kept) = Kept::read(&gist) {
                    for extension in [Extension::With, Extension::Without] {
                        let mut out = Vec::new();
                        kept.write(&mut out, extension);
                        prop_assert!(out.len() < gist.len());
                    }
                }
            }
        }
    }
}
