//! STORE (RFC 3501 §6.4.6, RFC 7162 §3.1.3).

use kith_store::folder::{FlagChange, Flags, ModSeq};

use super::modifiers;
use crate::flag;
use crate::set::SequenceSet;
use crate::token::{Cursor, Parsed, SyntaxError};

/// A STORE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Which messages.
    pub set: SequenceSet,
    /// Leave those alone that changed after this.
    pub unchanged_since: Option<ModSeq>,
    /// How.
    pub change: FlagChange,
    /// What.
    pub flags: Flags,
    /// Whether the result is told.
    pub answer: FlagAnswer,
}

/// `.SILENT` or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagAnswer {
    /// The new flags are told.
    Told,
    /// They are not.
    Silent,
}

pub(super) fn store(cursor: &mut Cursor<'_>) -> Parsed<Store> {
    let set = SequenceSet::parse(cursor)?;
    cursor.space()?;
    let mut unchanged_since = None;
    if cursor.peek() == Some(b'(') {
        modifiers(cursor, |name, cursor| {
            if name != "UNCHANGEDSINCE" {
                return Err(SyntaxError::Expected("UNCHANGEDSINCE"));
            }
            cursor.space()?;
            unchanged_since = Some(ModSeq(cursor.number64()?));
            Ok(())
        })?;
        cursor.space()?;
    }
    let change = if cursor.eat(b'+') {
        FlagChange::Add
    } else if cursor.eat(b'-') {
        FlagChange::Remove
    } else {
        FlagChange::Replace
    };
    let answer = match cursor.word("FLAGS")?.as_str() {
        "FLAGS" => FlagAnswer::Told,
        "FLAGS.SILENT" => FlagAnswer::Silent,
        _ => return Err(SyntaxError::Expected("FLAGS")),
    };
    cursor.space()?;
    Ok(Store { set, unchanged_since, change, flags: flag::parse_list_or_bare(cursor)?, answer })
}
