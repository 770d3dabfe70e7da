//! One item of one message, written. Long runs of bytes are left to the caller to stream.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::sync::Arc;

use kith_store::blob::BlobReader;
use kith_store::folder::Message;
use kith_store::header::Excerpt;

use super::decoding::{Decoding, Encoded};
use crate::cache::Structures;
use crate::command::{FetchItem, Partial, Section, SectionText};
use crate::date::DateTime;
use crate::flag::{self, Recent};
use crate::limits::HEADER_BYTES_MAX;
use crate::preview::preview;
use crate::response::{email_id, put, string};
use crate::structure::{self, Extension, Found, Header, Kind, Part, Span, Structure, fields, read_header, scan};
use crate::token::is_atom_char;
use crate::transfer::Transfer;

/// Does fetching this set `\Seen`?
pub(super) fn sets_seen(item: &FetchItem) -> bool {
    matches!(
        item,
        FetchItem::Rfc822
            | FetchItem::Rfc822Text
            | FetchItem::Section { peek: false, .. }
            | FetchItem::Binary { peek: false, .. }
    )
}

/// Is it told from what the store keeps of a header, where it does?
pub(super) fn reads_excerpt(item: &FetchItem) -> bool {
    match item {
        FetchItem::Envelope => true,
        FetchItem::Section { section, .. } => is_covered(section),
        _ => false,
    }
}

/// Are all the fields that it names in an excerpt?
fn is_covered(section: &Section) -> bool {
    match &section.text {
        SectionText::Fields(names) => section.path.is_empty() && names.iter().all(|name| Excerpt::covers(name)),
        SectionText::All | SectionText::Header | SectionText::Text | SectionText::Mime | SectionText::FieldsNot(_) => false,
    }
}

/// Does it take more than what the store knows of the message?
pub(super) fn needs_bytes(item: &FetchItem, excerpt: &Excerpt) -> bool {
    if excerpt.header().is_some() && reads_excerpt(item) {
        return false;
    }
    match item {
        FetchItem::Uid
        | FetchItem::Flags
        | FetchItem::InternalDate
        | FetchItem::Size
        | FetchItem::ModSeq
        | FetchItem::EmailId
        | FetchItem::ThreadId
        | FetchItem::SaveDate => false,
        FetchItem::Envelope
        | FetchItem::Body
        | FetchItem::BodyStructure
        | FetchItem::Rfc822
        | FetchItem::Rfc822Header
        | FetchItem::Rfc822Text
        | FetchItem::Preview
        | FetchItem::Binary { .. }
        | FetchItem::BinarySize(_)
        | FetchItem::Section { .. } => true,
    }
}

/// What follows an item that has been begun.
pub(super) enum Rest {
    Nothing,
    /// These bytes of the message.
    Bytes(Span),
    /// A part decoded, from its n-th byte on, so many bytes.
    Decoded(Encoded, u64, u64),
}

impl From<Option<Span>> for Rest {
    fn from(span: Option<Span>) -> Self {
        span.map_or(Self::Nothing, Self::Bytes)
    }
}

struct Measured {
    length: u64,
    has_nul: bool,
}

/// A message, and what has been found out about its bytes.
pub(super) struct Source {
    message: Message,
    reader: Option<BlobReader>,
    excerpt: Excerpt,
    header: Option<Header>,
    structure: Option<Arc<Structure>>,
}

impl Source {
    pub(super) fn new(message: Message, reader: Option<BlobReader>, excerpt: Excerpt) -> Self {
        Self { message, reader, excerpt, header: None, structure: None }
    }

    pub(super) fn message(&self) -> &Message {
        &self.message
    }

    /// Another reader of the message, where it is at hand.
    pub(super) fn again(&self) -> Option<BlobReader> {
        self.reader.as_ref().and_then(BlobReader::again)
    }

    /// Writes the item's name and value; where the value is a literal taken from the message, only its beginning: the bytes to follow are given back.
    pub(super) fn write(
        &mut self,
        out: &mut Vec<u8>,
        item: &FetchItem,
        recent: Recent,
        structures: &Structures,
    ) -> io::Result<Rest> {
        let message = &self.message;
        match item {
            FetchItem::Uid => put!(out, "UID {}", message.uid.0),
            FetchItem::Flags => {
                put!(out, "FLAGS (");
                flag::write(out, &message.flags, recent);
                put!(out, ")");
            }
            FetchItem::InternalDate => {
                put!(out, "INTERNALDATE ");
                DateTime { seconds: message.internal_date, zone: message.internal_zone }.write(out);
            }
            FetchItem::Size => put!(out, "RFC822.SIZE {}", message.size),
            FetchItem::ModSeq => put!(out, "MODSEQ ({})", message.mod_seq.0),
            FetchItem::EmailId => put!(out, "EMAILID ({})", email_id(&message.hash)),
            FetchItem::ThreadId => put!(out, "THREADID NIL"),
            FetchItem::SaveDate => {
                put!(out, "SAVEDATE ");
                DateTime { seconds: message.saved, zone: 0 }.write(out);
            }
            FetchItem::Preview => {
                put!(out, "PREVIEW ");
                string(out, preview(self.reader()?)?.as_bytes());
            }
            FetchItem::Envelope => {
                put!(out, "ENVELOPE ");
                match self.excerpt.header() {
                    Some(header) => structure::envelope(out, header),
                    None => structure::envelope(out, &self.header()?.bytes),
                }
            }
            FetchItem::Body => {
                put!(out, "BODY ");
                structure::describe(out, &*self.structure(structures)?, Extension::Without);
            }
            FetchItem::BodyStructure => {
                put!(out, "BODYSTRUCTURE ");
                structure::describe(out, &*self.structure(structures)?, Extension::With);
            }
            FetchItem::Rfc822 => {
                put!(out, "RFC822 ");
                return Ok(literal(out, Span { start: 0, end: self.message.size }, None).into());
            }
            FetchItem::Rfc822Header => {
                put!(out, "RFC822.HEADER ");
                let end = self.header()?.end;
                return Ok(literal(out, Span { start: 0, end }, None).into());
            }
            FetchItem::Rfc822Text => {
                put!(out, "RFC822.TEXT ");
                let start = self.header()?.end;
                return Ok(literal(out, Span { start, end: self.message.size }, None).into());
            }
            FetchItem::Section { section, partial, .. } => {
                write_section_name(out, section, *partial);
                return Ok(self.section(out, section, *partial, structures)?.into());
            }
            FetchItem::BinarySize(path) => {
                write_part_name(out, "BINARY.SIZE", path);
                let length = self.encoded(path, structures)?.map(|encoded| self.measure(encoded, (0, u64::MAX))).transpose()?;
                put!(out, " {}", length.map_or(0, |measured| measured.length));
            }
            FetchItem::Binary { path, partial, .. } => {
                write_part_name(out, "BINARY", path);
                if let Some(partial) = partial {
                    put!(out, "<{}>", partial.first);
                }
                let Some(encoded) = self.encoded(path, structures)? else {
                    put!(out, " NIL");
                    return Ok(Rest::Nothing);
                };
                let window = partial.map_or((0, u64::MAX), |partial| (partial.first.into(), partial.length.into()));
                let Measured { length, has_nul } = self.measure(encoded, window)?;
                put!(out, " {}{{{length}}}\r\n", if has_nul { "~" } else { "" });
                return Ok(if length == 0 { Rest::Nothing } else { Rest::Decoded(encoded, window.0, length) });
            }
        }
        Ok(Rest::Nothing)
    }

    /// Where a part's bytes lie and how they are encoded; `None` where there is no such part. A transfer encoding that nobody knows is refused
    /// before (see [`Source::is_undecodable`]).
    fn encoded(&mut self, path: &[u32], structures: &Structures) -> io::Result<Option<Encoded>> {
        if path.is_empty() {
            let span = Span { start: 0, end: self.message.size };
            return Ok(Some(Encoded { span, transfer: Transfer::Identity }));
        }
        let structure = self.structure(structures)?;
        Ok(structure.part(path).map(|part| {
            // RFC 2045 §6.4: only what is not taken apart can be encoded.
            let named = if part.kind == Kind::Leaf { part.content.encoding.as_deref() } else { None };
            Encoded { span: part.body, transfer: Transfer::named(named).unwrap_or(Transfer::Identity) }
        }))
    }

    /// Is a part asked for whose transfer encoding nobody knows (RFC 3516 §4.3)?
    pub(super) fn is_undecodable(&mut self, items: &[FetchItem], structures: &Structures) -> io::Result<bool> {
        for item in items {
            let (FetchItem::Binary { path, .. } | FetchItem::BinarySize(path)) = item else { continue };
            let structure = self.structure(structures)?;
            let unknown = |part: &Part| part.kind == Kind::Leaf && Transfer::named(part.content.encoding.as_deref()).is_none();
            if structure.part(path).is_some_and(unknown) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How long a part is once decoded, within a window of its bytes (first, count), and whether a NUL is among them.
    fn measure(&mut self, encoded: Encoded, window: (u64, u64)) -> io::Result<Measured> {
        let mut decoding = Decoding::new(self.reader()?, encoded, window.0, window.1)?;
        let mut measured = Measured { length: 0, has_nul: false };
        let mut piece = Vec::new();
        while decoding.next(&mut piece)? {
            measured.length += piece.len() as u64;
            measured.has_nul |= memchr::memchr(0, &piece).is_some();
            piece.clear();
        }
        Ok(measured)
    }

    fn section(
        &mut self,
        out: &mut Vec<u8>,
        section: &Section,
        partial: Option<Partial>,
        structures: &Structures,
    ) -> io::Result<Option<Span>> {
        let chosen = match self.excerpt.header() {
            Some(header) if is_covered(section) => choose_fields(header, &section.text),
            _ => match self.find(section, structures)? {
                None => {
                    put!(out, "NIL");
                    return Ok(None);
                }
                Some(Found::Bytes(span)) => return Ok(literal(out, span, partial)),
                Some(Found::FieldsOf(span)) if span.start == 0 => choose_fields(&self.header()?.bytes, &section.text),
                Some(Found::FieldsOf(span)) => choose_fields(&self.read(span)?, &section.text),
            },
        };
        let (start, end) = match partial {
            None => (0, chosen.len()),
            Some(Partial { first, length }) => {
                let start = usize::try_from(first).unwrap_or(usize::MAX).min(chosen.len());
                (start, start.saturating_add(usize::try_from(length).unwrap_or(usize::MAX)).min(chosen.len()))
            }
        };
        let chosen = chosen.get(start..end).unwrap_or_default();
        put!(out, "{{{}}}\r\n", chosen.len());
        out.extend_from_slice(chosen);
        Ok(None)
    }

    /// What lies at the top is found without looking at the rest.
    fn find(&mut self, section: &Section, structures: &Structures) -> io::Result<Option<Found>> {
        let size = self.message.size;
        if !section.path.is_empty() {
            return Ok(self.structure(structures)?.find(section));
        }
        Ok(Some(match section.text {
            SectionText::All => Found::Bytes(Span { start: 0, end: size }),
            SectionText::Header => Found::Bytes(Span { start: 0, end: self.header()?.end }),
            SectionText::Text => Found::Bytes(Span { start: self.header()?.end, end: size }),
            SectionText::Fields(_) | SectionText::FieldsNot(_) => Found::FieldsOf(Span { start: 0, end: self.header()?.end }),
            SectionText::Mime => return Ok(None),
        }))
    }

    fn reader(&mut self) -> io::Result<&mut BlobReader> {
        let reader = self.reader.as_mut().ok_or(io::ErrorKind::NotFound)?;
        reader.seek(SeekFrom::Start(0))?;
        Ok(reader)
    }

    fn header(&mut self) -> io::Result<&Header> {
        if self.header.is_none() {
            self.header = Some(read_header(self.reader()?)?);
        }
        self.header.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn structure(&mut self, structures: &Structures) -> io::Result<Arc<Structure>> {
        if let Some(structure) = self.structure.as_ref() {
            return Ok(Arc::clone(structure));
        }
        let structure = match structures.find(&self.message.hash) {
            Some(structure) => structure,
            None => {
                let structure = Arc::new(scan(self.reader()?)?);
                structures.keep(self.message.hash, &structure);
                structure
            }
        };
        self.structure = Some(Arc::clone(&structure));
        Ok(structure)
    }

    fn read(&mut self, span: Span) -> io::Result<Vec<u8>> {
        let length = usize::try_from(span.len()).unwrap_or(usize::MAX).min(HEADER_BYTES_MAX);
        let mut bytes = vec![0; length];
        let reader = self.reader()?;
        reader.seek(SeekFrom::Start(span.start))?;
        reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn write_part_name(out: &mut Vec<u8>, item: &str, path: &[u32]) {
    put!(out, "{item}[");
    for (index, number) in path.iter().enumerate() {
        put!(out, "{}{number}", if index > 0 { "." } else { "" });
    }
    put!(out, "]");
}

/// `{n}`, and what is to follow it; nothing follows an empty one.
fn literal(out: &mut Vec<u8>, span: Span, partial: Option<Partial>) -> Option<Span> {
    let span = match partial {
        None => span,
        Some(Partial { first, length }) => {
            let start = span.start.saturating_add(first.into()).min(span.end);
            Span { start, end: start.saturating_add(length.into()).min(span.end) }
        }
    };
    put!(out, "{{{}}}\r\n", span.len());
    (span.len() > 0).then_some(span)
}

fn write_section_name(out: &mut Vec<u8>, section: &Section, partial: Option<Partial>) {
    put!(out, "BODY[");
    for (index, number) in section.path.iter().enumerate() {
        put!(out, "{}{number}", if index > 0 { "." } else { "" });
    }
    if !section.path.is_empty() && section.text != SectionText::All {
        out.push(b'.');
    }
    match &section.text {
        SectionText::All => {}
        SectionText::Header => put!(out, "HEADER"),
        SectionText::Text => put!(out, "TEXT"),
        SectionText::Mime => put!(out, "MIME"),
        SectionText::Fields(names) => write_field_names(out, "HEADER.FIELDS", names),
        SectionText::FieldsNot(names) => write_field_names(out, "HEADER.FIELDS.NOT", names),
    }
    put!(out, "]");
    if let Some(partial) = partial {
        put!(out, "<{}>", partial.first);
    }
    put!(out, " ");
}

fn write_field_names(out: &mut Vec<u8>, section: &str, names: &[String]) {
    put!(out, "{section} (");
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        if name.bytes().all(is_atom_char) {
            out.extend_from_slice(name.as_bytes());
        } else {
            string(out, name.as_bytes());
        }
    }
    put!(out, ")");
}

/// The fields that are wanted, byte for byte, and the empty line that ends every header (RFC 3501 §6.4.5).
fn choose_fields(header: &[u8], text: &SectionText) -> Vec<u8> {
    let (names, wanted): (&[String], bool) = match text {
        SectionText::Fields(names) => (names, true),
        SectionText::FieldsNot(names) => (names, false),
        SectionText::All | SectionText::Header | SectionText::Text | SectionText::Mime => (&[], false),
    };
    let mut chosen = Vec::new();
    for field in fields(header) {
        if names.iter().any(|name| field.is(name)) == wanted {
            chosen.extend_from_slice(field.raw);
            if !field.raw.ends_with(b"\n") {
                chosen.extend_from_slice(b"\r\n");
            }
        }
    }
    chosen.extend_from_slice(b"\r\n");
    chosen
}
