//! Commands of a session as such: LOGIN, AUTHENTICATE, ENABLE, ID.

use kith_connection::Credentials;
use zeroize::Zeroizing;

use super::Command;
use crate::limits::ITEMS_MAX;
use crate::token::{Cursor, Parsed, SyntaxError};

pub(super) fn login(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    let name = cursor.astring("a login name")?;
    cursor.space()?;
    let password = Zeroizing::new(cursor.astring("a password")?.into_owned());
    let credentials = Credentials::new(&name, &password);
    Ok(Command::Login(credentials.map_err(|_| SyntaxError::Expected("a login name and a password of reasonable length"))?))
}

pub(super) fn authenticate(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    let mechanism = cursor.atom("a mechanism")?.to_ascii_uppercase();
    let initial = if cursor.eat(b' ') { Some(cursor.atom("an initial response")?.to_owned()) } else { None };
    Ok(Command::Authenticate(mechanism, initial))
}

pub(super) fn enable(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    let mut names = vec![cursor.atom("a capability")?.to_ascii_uppercase()];
    while cursor.eat(b' ') && !cursor.rest().is_empty() {
        if names.len() == ITEMS_MAX {
            return Err(SyntaxError::TooMany("capabilities"));
        }
        names.push(cursor.atom("a capability")?.to_ascii_uppercase());
    }
    Ok(Command::Enable(names))
}

/// RFC 2971 §3.1: NIL, or pairs of strings.
pub(super) fn id(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    if !cursor.eat_word("NIL") {
        cursor.parenthesised(ITEMS_MAX, "pairs", |cursor| {
            cursor.string("a field name")?;
            cursor.space()?;
            cursor.nstring("a value").map(|_| ())
        })?;
    }
    Ok(Command::Id)
}
