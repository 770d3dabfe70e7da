//! One item of one message, written. Long runs of bytes are left to the caller to stream.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::sync::Arc;

use kith_store::account::AccountId;
use kith_store::blob::BlobReader;
use kith_store::folder::Message;
use kith_store::header::Excerpt;
use kith_store::mailbox::{Gist, NewGist};

use super::ahead::Known;
use super::decoding::{Decoding, Encoded};
use crate::cache::Structures;
use crate::command::{FetchItem, Partial, Section, SectionText};
use crate::date::DateTime;
use crate::flag::{self, Recent};
use crate::gist::{is_listed, listing};
use crate::limits::HEADER_BYTES_MAX;
use crate::preview::preview;
use crate::response::{email_id, literal_length, number, put, string};
use crate::structure::{self, Description, Extension, Found, Header, Kind, Part, Span, Structure, fields, read_header, scan};
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

/// What it takes to tell an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// The message's row.
    Row,
    /// An excerpt of its header; where none is kept, its bytes, as for the two that follow.
    Excerpt,
    /// The gist of its structure.
    Structure,
    /// The gist of its header.
    Listing,
    /// Its bytes.
    Bytes,
}

/// An item, and what is the same of it for all messages.
pub(super) struct Asked {
    pub(super) item: FetchItem,
    pub(super) takes: Takes,
    /// Of a section: how it is called in the answer.
    name: Vec<u8>,
}

impl Asked {
    pub(super) fn new(item: FetchItem) -> Self {
        let mut name = Vec::new();
        let takes = match &item {
            FetchItem::Uid
            | FetchItem::Flags
            | FetchItem::InternalDate
            | FetchItem::Size
            | FetchItem::ModSeq
            | FetchItem::EmailId
            | FetchItem::ThreadId
            | FetchItem::SaveDate => Takes::Row,
            FetchItem::Envelope => Takes::Excerpt,
            FetchItem::Body | FetchItem::BodyStructure => Takes::Structure,
            FetchItem::Section { section, partial, .. } => {
                write_section_name(&mut name, section, *partial);
                section_takes(section)
            }
            FetchItem::Rfc822
            | FetchItem::Rfc822Header
            | FetchItem::Rfc822Text
            | FetchItem::Preview
            | FetchItem::Binary { .. }
            | FetchItem::BinarySize(_) => Takes::Bytes,
        };
        Self { item, takes, name }
    }

    /// Does it take more than what is at hand of the message?
    pub(super) fn needs_bytes(&self, known: Known<'_>) -> bool {
        match self.takes {
            Takes::Row => false,
            Takes::Excerpt => known.excerpt.is_none(),
            Takes::Structure => known.structure.is_none(),
            Takes::Listing => known.listing.is_none(),
            Takes::Bytes => true,
        }
    }

    /// Writes the item of a message of which it needs no bytes; whether that is so.
    pub(super) fn write_known(&self, out: &mut Vec<u8>, known: Known<'_>, recent: Recent) -> bool {
        let message = known.message;
        match &self.item {
            FetchItem::Uid => put_number(out, b"UID ", message.uid.0.into()),
            FetchItem::Flags => {
                out.extend_from_slice(b"FLAGS (");
                flag::write(out, &message.flags, recent);
                out.push(b')');
            }
            FetchItem::InternalDate => {
                put!(out, "INTERNALDATE ");
                DateTime { seconds: message.internal_date, zone: message.internal_zone }.write(out);
            }
            FetchItem::Size => put_number(out, b"RFC822.SIZE ", message.size),
            FetchItem::ModSeq => {
                put_number(out, b"MODSEQ (", message.mod_seq.0);
                out.push(b')');
            }
            FetchItem::EmailId => put!(out, "EMAILID ({})", email_id(&message.hash)),
            FetchItem::ThreadId => put!(out, "THREADID NIL"),
            FetchItem::SaveDate => {
                put!(out, "SAVEDATE ");
                DateTime { seconds: message.saved, zone: 0 }.write(out);
            }
            FetchItem::Envelope => {
                let Some(header) = known.excerpt else { return false };
                out.extend_from_slice(b"ENVELOPE ");
                structure::envelope(out, header);
            }
            FetchItem::Body | FetchItem::BodyStructure => {
                let Some(kept) = known.structure else { return false };
                let (name, extension) = self.structure();
                out.extend_from_slice(name);
                kept.write(out, extension);
            }
            FetchItem::Section { section, partial, .. } => {
                let header = match self.takes {
                    Takes::Excerpt => known.excerpt,
                    Takes::Listing => known.listing,
                    Takes::Row | Takes::Structure | Takes::Bytes => None,
                };
                let Some(header) = header else { return false };
                out.extend_from_slice(&self.name);
                write_fields(out, header, &section.text, *partial);
            }
            FetchItem::Rfc822
            | FetchItem::Rfc822Header
            | FetchItem::Rfc822Text
            | FetchItem::Preview
            | FetchItem::Binary { .. }
            | FetchItem::BinarySize(_) => return false,
        }
        true
    }

    /// What BODY and BODYSTRUCTURE differ in.
    fn structure(&self) -> (&'static [u8], Extension) {
        match self.item {
            FetchItem::Body => (b"BODY ", Extension::Without),
            _ => (b"BODYSTRUCTURE ", Extension::With),
        }
    }
}

/// Fields of the message's own header may be at hand.
fn section_takes(section: &Section) -> Takes {
    match &section.text {
        SectionText::Fields(names) if section.path.is_empty() => {
            if names.iter().all(|name| Excerpt::covers(name)) {
                Takes::Excerpt
            } else if names.iter().all(|name| is_listed(name)) {
                Takes::Listing
            } else {
                Takes::Bytes
            }
        }
        SectionText::Fields(_)
        | SectionText::All
        | SectionText::Header
        | SectionText::Text
        | SectionText::Mime
        | SectionText::FieldsNot(_) => Takes::Bytes,
    }
}

fn put_number(out: &mut Vec<u8>, name: &[u8], value: u64) {
    out.extend_from_slice(name);
    number(out, value);
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

/// What has been found out about a message's bytes.
pub(super) struct Source {
    reader: Option<BlobReader>,
    header: Option<Header>,
    structure: Option<Arc<Structure>>,
    /// What the store had better keep.
    new: Vec<(Gist, Box<[u8]>)>,
}

impl Source {
    pub(super) fn new(reader: Option<BlobReader>) -> Self {
        Self { reader, header: None, structure: None, new: Vec::new() }
    }

    /// Another reader of the message, where it is at hand.
    pub(super) fn again(&self) -> Option<BlobReader> {
        self.reader.as_ref().and_then(BlobReader::again)
    }

    /// What was worked out, to be kept.
    pub(super) fn worked_out(self, account: AccountId, record: u64) -> Vec<NewGist> {
        self.new.into_iter().map(|(kind, bytes)| NewGist { account, kind, record, bytes }).collect()
    }

    /// Writes the item's name and value; where the value is a literal taken from the message, only its beginning: the bytes to follow are given back.
    pub(super) fn write(
        &mut self,
        out: &mut Vec<u8>,
        known: Known<'_>,
        asked: &Asked,
        recent: Recent,
        structures: &Structures,
    ) -> io::Result<Rest> {
        let message = known.message;
        if !asked.needs_bytes(known) && asked.write_known(out, known, recent) {
            return Ok(Rest::Nothing);
        }
        match &asked.item {
            FetchItem::Uid
            | FetchItem::Flags
            | FetchItem::InternalDate
            | FetchItem::Size
            | FetchItem::ModSeq
            | FetchItem::EmailId
            | FetchItem::ThreadId
            | FetchItem::SaveDate => {}
            FetchItem::Preview => {
                put!(out, "PREVIEW ");
                string(out, preview(self.reader()?)?.as_bytes());
            }
            FetchItem::Envelope => {
                put!(out, "ENVELOPE ");
                structure::envelope(out, &self.header()?.bytes);
            }
            FetchItem::Body | FetchItem::BodyStructure => {
                let (name, extension) = asked.structure();
                out.extend_from_slice(name);
                let description = Description::of(&*self.structure(message, structures)?);
                description.write(out, extension);
                self.new.extend(description.encode().map(|gist| (Gist::Structure, gist)));
            }
            FetchItem::Rfc822 => {
                put!(out, "RFC822 ");
                return Ok(literal(out, Span { start: 0, end: message.size }, None).into());
            }
            FetchItem::Rfc822Header => {
                put!(out, "RFC822.HEADER ");
                let end = self.header()?.end;
                return Ok(literal(out, Span { start: 0, end }, None).into());
            }
            FetchItem::Rfc822Text => {
                put!(out, "RFC822.TEXT ");
                let start = self.header()?.end;
                return Ok(literal(out, Span { start, end: message.size }, None).into());
            }
            FetchItem::Section { section, partial, .. } => {
                out.extend_from_slice(&asked.name);
                if asked.takes == Takes::Listing {
                    let gist = listing(&self.header()?.bytes);
                    self.new.extend(gist.map(|gist| (Gist::Listing, gist)));
                }
                return Ok(self.section(out, message, section, *partial, structures)?.into());
            }
            FetchItem::BinarySize(path) => {
                write_part_name(out, "BINARY.SIZE", path);
                let length =
                    self.encoded(message, path, structures)?.map(|encoded| self.measure(encoded, (0, u64::MAX))).transpose()?;
                put!(out, " {}", length.map_or(0, |measured| measured.length));
            }
            FetchItem::Binary { path, partial, .. } => {
                write_part_name(out, "BINARY", path);
                if let Some(partial) = partial {
                    put!(out, "<{}>", partial.first);
                }
                let Some(encoded) = self.encoded(message, path, structures)? else {
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
    fn encoded(&mut self, message: &Message, path: &[u32], structures: &Structures) -> io::Result<Option<Encoded>> {
        if path.is_empty() {
            let span = Span { start: 0, end: message.size };
            return Ok(Some(Encoded { span, transfer: Transfer::Identity }));
        }
        let structure = self.structure(message, structures)?;
        Ok(structure.part(path).map(|part| {
            // RFC 2045 §6.4: only what is not taken apart can be encoded.
            let named = if part.kind == Kind::Leaf { part.content.encoding.as_deref() } else { None };
            Encoded { span: part.body, transfer: Transfer::named(named).unwrap_or(Transfer::Identity) }
        }))
    }

    /// Is a part asked for whose transfer encoding nobody knows (RFC 3516 §4.3)?
    pub(super) fn is_undecodable(&mut self, message: &Message, items: &[Asked], structures: &Structures) -> io::Result<bool> {
        for asked in items {
            let (FetchItem::Binary { path, .. } | FetchItem::BinarySize(path)) = &asked.item else { continue };
            let structure = self.structure(message, structures)?;
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
        message: &Message,
        section: &Section,
        partial: Option<Partial>,
        structures: &Structures,
    ) -> io::Result<Option<Span>> {
        match self.find(message, section, structures)? {
            None => out.extend_from_slice(b"NIL"),
            Some(Found::Bytes(span)) => return Ok(literal(out, span, partial)),
            Some(Found::FieldsOf(span)) if span.start == 0 => write_fields(out, &self.header()?.bytes, &section.text, partial),
            Some(Found::FieldsOf(span)) => write_fields(out, &self.read(span)?, &section.text, partial),
        }
        Ok(None)
    }

    /// What lies at the top is found without looking at the rest.
    fn find(&mut self, message: &Message, section: &Section, structures: &Structures) -> io::Result<Option<Found>> {
        let size = message.size;
        if !section.path.is_empty() {
            return Ok(self.structure(message, structures)?.find(section));
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

    fn structure(&mut self, message: &Message, structures: &Structures) -> io::Result<Arc<Structure>> {
        if let Some(structure) = self.structure.as_ref() {
            return Ok(Arc::clone(structure));
        }
        let structure = match structures.find(&message.hash) {
            Some(structure) => structure,
            None => {
                let structure = Arc::new(scan(self.reader()?)?);
                structures.keep(message.hash, &structure);
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
    literal_length(out, span.len());
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

/// The fields that are wanted, or the part of them that is, as a literal.
fn write_fields(out: &mut Vec<u8>, header: &[u8], text: &SectionText, partial: Option<Partial>) {
    let chosen = choose_fields(header, text);
    let (start, end) = match partial {
        None => (0, chosen.len()),
        Some(Partial { first, length }) => {
            let start = usize::try_from(first).unwrap_or(usize::MAX).min(chosen.len());
            (start, start.saturating_add(usize::try_from(length).unwrap_or(usize::MAX)).min(chosen.len()))
        }
    };
    let chosen = chosen.get(start..end).unwrap_or_default();
    literal_length(out, chosen.len() as u64);
    out.extend_from_slice(chosen);
}

/// The fields that are wanted, byte for byte, and the empty line that ends every header (RFC 3501 §6.4.5).
fn choose_fields(header: &[u8], text: &SectionText) -> Vec<u8> {
    let (names, wanted): (&[String], bool) = match text {
        SectionText::Fields(names) => (names, true),
        SectionText::FieldsNot(names) => (names, false),
        SectionText::All | SectionText::Header | SectionText::Text | SectionText::Mime => (&[], false),
    };
    let mut chosen = Vec::with_capacity(header.len() + 4);
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
