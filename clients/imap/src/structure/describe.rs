//! BODY and BODYSTRUCTURE (RFC 3501 §7.4.2).

use super::content::{Content, Parameters};
use super::{Kind, Part, Structure};
use crate::response::{nstring, put, string};

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
const EMPTY_TEXT: &[u8] = b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)";
const EMPTY_TEXT_EXTENDED: &[u8] = b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL)";

/// Writes the structure of a whole message.
pub(crate) fn describe(out: &mut Vec<u8>, structure: &Structure, extension: Extension) {
    part(out, structure, 0, extension);
}

fn part(out: &mut Vec<u8>, structure: &Structure, index: usize, extension: Extension) {
    match structure.parts.get(index) {
        None => empty_text(out, extension),
        Some(part) => match &part.kind {
            Kind::Multipart(children) => multipart(out, structure, part, children, extension),
            Kind::Leaf => single(out, structure, part, None, extension),
            Kind::Message(root) => single(out, structure, part, Some(*root), extension),
        },
    }
}

fn multipart(out: &mut Vec<u8>, structure: &Structure, whole: &Part, children: &[usize], extension: Extension) {
    out.push(b'(');
    for &child in children {
        part(out, structure, child, extension);
    }
    // The grammar wants one part at least.
    if children.is_empty() {
        empty_text(out, extension);
    }
    out.push(b' ');
    string(out, whole.content.subtype.as_bytes());
    if extension == Extension::With {
        out.push(b' ');
        parameters(out, &whole.content.parameters);
        disposition_language_location(out, &whole.content);
    }
    out.push(b')');
}

fn single(out: &mut Vec<u8>, structure: &Structure, part_: &Part, message: Option<usize>, extension: Extension) {
    let content = &part_.content;
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
    put!(out, " {}", part_.body.len());
    if let Some(root) = message {
        let envelope = structure.parts.get(root).and_then(|root| root.content.envelope.as_deref());
        out.push(b' ');
        out.extend_from_slice(envelope.unwrap_or(EMPTY_ENVELOPE));
        out.push(b' ');
        part(out, structure, root, extension);
        put!(out, " {}", part_.lines);
    } else if content.is("message", "rfc822") {
        out.push(b' ');
        out.extend_from_slice(EMPTY_ENVELOPE);
        out.push(b' ');
        empty_text(out, extension);
        put!(out, " {}", part_.lines);
    } else if content.media.eq_ignore_ascii_case("text") {
        put!(out, " {}", part_.lines);
    }
    if extension == Extension::With {
        out.push(b' ');
        nstring(out, content.md5.as_deref());
        disposition_language_location(out, content);
    }
    out.push(b')');
}

fn empty_text(out: &mut Vec<u8>, extension: Extension) {
    out.extend_from_slice(if extension == Extension::With { EMPTY_TEXT_EXTENDED } else { EMPTY_TEXT });
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
