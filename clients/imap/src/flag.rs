//! Flags by name (RFC 3501 §2.3.2): `\Seen` and its like, and keywords.

use std::sync::Arc;

use kith_store::folder::Flags;

use crate::limits::{ITEMS_MAX, KEYWORD_BYTES_MAX};
use crate::token::{Cursor, Parsed, SyntaxError};

/// The system flags that a client may set, with their bits.
pub(crate) const SYSTEM: [(&str, u8); 5] = [
    ("\\Answered", Flags::ANSWERED),
    ("\\Flagged", Flags::FLAGGED),
    ("\\Deleted", Flags::DELETED),
    ("\\Seen", Flags::SEEN),
    ("\\Draft", Flags::DRAFT),
];

/// `(\Seen $label1 …)`. `\Recent` is passed over: some clients give back what FETCH told them.
pub(crate) fn parse_list(cursor: &mut Cursor<'_>) -> Parsed<Flags> {
    let mut flags = Flags::default();
    for name in cursor.parenthesised(ITEMS_MAX, "flags", |cursor| cursor.flag().map(|name| name.into_owned()))? {
        add(&mut flags, &name)?;
    }
    Ok(flags)
}

/// As `parse_list`, with or without the parentheses (RFC 3501 §9 `store-att-flags`).
pub(crate) fn parse_list_or_bare(cursor: &mut Cursor<'_>) -> Parsed<Flags> {
    if cursor.peek() == Some(b'(') {
        return parse_list(cursor);
    }
    let mut flags = Flags::default();
    for count in 0.. {
        if count == ITEMS_MAX {
            return Err(SyntaxError::TooMany("flags"));
        }
        let name = cursor.flag()?.into_owned();
        add(&mut flags, &name)?;
        if !cursor.eat(b' ') {
            break;
        }
    }
    Ok(flags)
}

fn add(flags: &mut Flags, name: &str) -> Parsed<()> {
    if let Some((_, bit)) = SYSTEM.iter().find(|(system, _)| system.eq_ignore_ascii_case(name)) {
        flags.system |= bit;
    } else if name.starts_with('\\') {
        if !name.eq_ignore_ascii_case("\\Recent") {
            return Err(SyntaxError::Expected("one of \\Answered \\Flagged \\Deleted \\Seen \\Draft, or a keyword"));
        }
    } else if name.len() > KEYWORD_BYTES_MAX {
        return Err(SyntaxError::Expected("keywords of 64 bytes at most"));
    } else if !flags.keywords.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        let at = flags.keywords.partition_point(|known| **known < *name);
        flags.keywords.insert(at, Arc::from(name));
    }
    Ok(())
}

/// Writes the names, separated by spaces, without parentheses.
pub(crate) fn write(out: &mut Vec<u8>, flags: &Flags, recent: Recent) {
    let mut separator: &[u8] = b"";
    let mut name = |text: &str| {
        out.extend_from_slice(separator);
        out.extend_from_slice(text.as_bytes());
        separator = b" ";
    };
    for (system, bit) in SYSTEM {
        if flags.system & bit != 0 {
            name(system);
        }
    }
    if recent == Recent::Yes {
        name("\\Recent");
    }
    for keyword in &flags.keywords {
        name(keyword);
    }
}

/// Whether this session is the first that is told of a message (RFC 3501 §2.3.2 `\Recent`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recent {
    /// It is.
    Yes,
    /// Another was.
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_keywords_are_told_apart_and_kept() {
        let flags = parse_list(&mut Cursor::new(b"(\\seen $Forwarded $label1 NonJunk nonjunk \\Recent)")).unwrap();
        assert_eq!(flags.system, Flags::SEEN);
        let mut out = Vec::new();
        write(&mut out, &flags, Recent::Yes);
        assert_eq!(String::from_utf8(out).unwrap(), "\\Seen \\Recent $Forwarded $label1 NonJunk");
    }

    #[test]
    fn flags_that_do_not_exist_are_refused() {
        assert!(parse_list(&mut Cursor::new(b"(\\Unheard)")).is_err());
        assert!(parse_list(&mut Cursor::new(b"(\\*)")).is_err());
        assert!(parse_list_or_bare(&mut Cursor::new(b"\\Seen \\Flagged")).is_ok());
        assert!(parse_list(&mut Cursor::new(b"()")).is_ok());
    }
}
