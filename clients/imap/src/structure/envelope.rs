//! ENVELOPE (RFC 3501 §7.4.2): ten things out of a header, raw.

use super::address::{Entry, addresses};
use super::{fields, unfold};
use crate::response::{nstring, string};

/// The fields that ENVELOPE is made of, in its order; sender and reply-to fall back on from.
const FIELDS: [&str; 10] = ["Date", "Subject", "From", "Sender", "Reply-To", "To", "Cc", "Bcc", "In-Reply-To", "Message-ID"];
const FROM: usize = 2;

/// Writes `(date subject from sender reply-to to cc bcc in-reply-to message-id)`.
pub(crate) fn envelope(out: &mut Vec<u8>, header: &[u8]) {
    let mut values: [Option<Vec<u8>>; 10] = Default::default();
    for field in fields(header) {
        let Some(index) = FIELDS.iter().position(|name| field.is(name)) else { continue };
        let Some(slot) = values.get_mut(index) else { continue };
        match slot {
            None => *slot = Some(unfold(field.value)),
            // A second To is a longer To (RFC 5322 forbids it, mail has it); a second Subject is noise.
            Some(value) if (5..8).contains(&index) => {
                value.push(b',');
                value.extend_from_slice(&unfold(field.value));
            }
            Some(_) => {}
        }
    }
    out.push(b'(');
    let from = values.get(FROM).cloned().flatten();
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        match index {
            3 | 4 => {
                let own = value.as_deref().filter(|value| !addresses(value).is_empty());
                address_list(out, own.or(from.as_deref()));
            }
            2..=7 => address_list(out, value.as_deref()),
            _ => nstring(out, value.as_deref()),
        }
    }
    out.push(b')');
}

fn address_list(out: &mut Vec<u8>, value: Option<&[u8]>) {
    let entries = value.map(addresses).unwrap_or_default();
    if entries.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    out.push(b'(');
    for entry in entries {
        match entry {
            Entry::Address { name, mailbox, host } => {
                out.push(b'(');
                nstring(out, name.as_deref());
                out.extend_from_slice(b" NIL ");
                string(out, &mailbox);
                out.push(b' ');
                string(out, &host);
                out.push(b')');
            }
            Entry::GroupStart(name) => {
                out.extend_from_slice(b"(NIL NIL ");
                string(out, &name);
                out.extend_from_slice(b" NIL)");
            }
            Entry::GroupEnd => out.extend_from_slice(b"(NIL NIL NIL NIL)"),
        }
    }
    out.push(b')');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(header: &str) -> String {
        let mut out = Vec::new();
        envelope(&mut out, header.as_bytes());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_envelope_is_raw_and_complete() {
        let header = "Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nSubject: =?utf-8?q?=C3=BC?=\r\n x\r\nFrom: Ann <a@b>\r\nTo: c@d\r\nTo: e@f\r\nMessage-ID: <1@b>\r\n\r\n";
        assert_eq!(
            written(header),
            "(\"Mon, 7 Feb 1994 21:52:25 -0800\" \"=?utf-8?q?=C3=BC?= x\" ((\"Ann\" NIL \"a\" \"b\")) ((\"Ann\" NIL \"a\" \"b\")) \
             ((\"Ann\" NIL \"a\" \"b\")) ((NIL NIL \"c\" \"d\")(NIL NIL \"e\" \"f\")) NIL NIL NIL \"<1@b>\")"
        );
    }

    #[test]
    fn an_empty_header_has_an_empty_envelope() {
        assert_eq!(written(""), "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
    }
}
