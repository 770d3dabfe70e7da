//! Where the parts of a message lie (RFC 2045, RFC 2046): offsets found in one pass over its bytes.
//!
//! The message is streamed through, never held: memory depends on the number of parts and their headers, both bounded in `limits.rs`.
//! Nothing is decoded here; what a part's bytes mean is up to `content.rs`, `envelope.rs` and the search.

mod address;
mod content;
mod describe;
mod envelope;
mod field;
mod scan;

pub(crate) use address::{Entry, addresses};
pub(crate) use content::Content;
pub(crate) use describe::{Description, Extension, Kept};
pub(crate) use envelope::envelope;
pub(crate) use field::unfold;
pub(crate) use kith_store::header::fields;
pub(crate) use scan::{Header, read_header, scan};

use crate::command::{Section, SectionText};

/// A message's ENVELOPE and BODYSTRUCTURE as FETCH tells them, and how many parts it has: `(envelope, structure, parts)`.
#[must_use]
pub fn described(message: &[u8]) -> (Vec<u8>, Vec<u8>, usize) {
    let (mut summary, mut tree, mut rest) = (Vec::new(), Vec::new(), message);
    let header = read_header(&mut &*message).map(|header| header.bytes).unwrap_or_default();
    envelope(&mut summary, &header);
    let Ok(structure) = scan(&mut rest) else { return (summary, tree, 0) };
    let description = Description::of(&structure);
    description.write(&mut tree, Extension::With);
    (summary, tree, structure.parts.len())
}

/// Bytes `start..end` of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Span {
    pub(crate) fn len(self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

/// What a part holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Neither of the others, as far as we look.
    Leaf,
    /// Parts, by index.
    Multipart(Vec<usize>),
    /// A message, by the index of its outermost part.
    Message(usize),
}

/// A part, or the outermost one: the message itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// With the empty line that ends it.
    pub(crate) header: Span,
    pub(crate) body: Span,
    /// Lines of the body; one without an end counts.
    pub(crate) lines: u64,
    pub(crate) content: Content,
    pub(crate) kind: Kind,
}

/// All parts of a message; the first is the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Structure {
    pub(crate) parts: Vec<Part>,
    /// About how much memory this takes.
    pub(crate) cost: usize,
}

/// Where a section path leads.
#[derive(Clone, Copy)]
enum Place {
    /// The message of this outermost part.
    Message(usize),
    Part(usize),
}

/// The bytes that a section means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Just these.
    Bytes(Span),
    /// Fields out of this header.
    FieldsOf(Span),
}

impl Structure {
    /// Finds a section; `None` where the message has none of that name.
    pub(crate) fn find(&self, section: &Section) -> Option<Found> {
        let mut place = Place::Message(0);
        for &number in &section.path {
            place = self.step(place, usize::try_from(number).ok()?)?;
        }
        let (part, message) = match place {
            Place::Message(index) => (self.parts.get(index)?, self.parts.get(index)),
            Place::Part(index) => {
                let part = self.parts.get(index)?;
                let message = match part.kind {
                    Kind::Message(root) => self.parts.get(root),
                    Kind::Leaf | Kind::Multipart(_) => None,
                };
                (part, message)
            }
        };
        Some(match section.text {
            SectionText::All if section.path.is_empty() => Found::Bytes(Span { start: 0, end: part.body.end }),
            SectionText::All => Found::Bytes(part.body),
            SectionText::Mime => Found::Bytes(part.header),
            SectionText::Header => Found::Bytes(message?.header),
            SectionText::Text => Found::Bytes(message?.body),
            SectionText::Fields(_) | SectionText::FieldsNot(_) => Found::FieldsOf(message?.header),
        })
    }

    /// The part of that number; `None` where there is none, or none is named.
    pub(crate) fn part(&self, path: &[u32]) -> Option<&Part> {
        let mut place = Place::Message(0);
        for &number in path {
            place = self.step(place, usize::try_from(number).ok()?)?;
        }
        match place {
            Place::Message(_) => None,
            Place::Part(index) => self.parts.get(index),
        }
    }

    /// RFC 3501 §6.4.5: every message has a part 1; what is no multipart is its own.
    fn step(&self, place: Place, number: usize) -> Option<Place> {
        let (index, message) = match place {
            Place::Message(index) => (index, true),
            Place::Part(index) => match self.parts.get(index)?.kind {
                Kind::Message(root) => (root, true),
                Kind::Multipart(_) => (index, false),
                Kind::Leaf => return None,
            },
        };
        match &self.parts.get(index)?.kind {
            Kind::Multipart(children) => children.get(number.checked_sub(1)?).copied().map(Place::Part),
            Kind::Leaf | Kind::Message(_) => (message && number == 1).then_some(Place::Part(index)),
        }
    }
}
