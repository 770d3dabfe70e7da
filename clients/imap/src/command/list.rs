//! LIST (RFC 3501 §6.3.8, RFC 5258, RFC 5819, RFC 6154), LSUB, STATUS.

use super::{Command, Mailbox};
use crate::limits::ITEMS_MAX;
use crate::token::{Cursor, Parsed, SyntaxError};

/// A LIST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Only folders that are …
    pub select: ListSelect,
    /// What the patterns stand under.
    pub reference: Mailbox,
    /// One at least; with wildcards.
    pub patterns: Vec<Mailbox>,
    /// More to say of each.
    pub returns: ListReturn,
    /// Written in RFC 5258's form.
    pub extended: bool,
}

/// Selection options (RFC 5258 §3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListSelect {
    /// SUBSCRIBED
    pub subscribed: bool,
    /// RECURSIVEMATCH
    pub recursive: bool,
    /// SPECIAL-USE
    pub special_use: bool,
}

/// Return options (RFC 5258 §3.2). CHILDREN and SPECIAL-USE are always told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListReturn {
    /// SUBSCRIBED
    pub subscribed: bool,
    /// STATUS
    pub status: Vec<StatusItem>,
}

/// What STATUS tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusItem {
    /// MESSAGES
    Messages,
    /// RECENT
    Recent,
    /// UIDNEXT
    UidNext,
    /// UIDVALIDITY
    UidValidity,
    /// UNSEEN
    Unseen,
    /// HIGHESTMODSEQ
    HighestModSeq,
    /// APPENDLIMIT
    AppendLimit,
    /// SIZE (RFC 8438)
    Size,
    /// DELETED (RFC 9051 §6.3.11)
    Deleted,
    /// MAILBOXID (RFC 8474)
    MailboxId,
    /// DELETED-STORAGE (RFC 9208 §4.1.4)
    DeletedStorage,
}

pub(super) fn list(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    let mut extended = false;
    let mut select = ListSelect::default();
    if cursor.peek() == Some(b'(') {
        extended = true;
        select = selection(cursor)?;
        cursor.space()?;
    }
    let reference = Mailbox::parse(cursor)?;
    cursor.space()?;
    let patterns = if cursor.peek() == Some(b'(') {
        extended = true;
        let patterns = cursor.parenthesised(ITEMS_MAX, "patterns", pattern)?;
        if patterns.is_empty() {
            return Err(SyntaxError::Expected("a mailbox pattern"));
        }
        patterns
    } else {
        vec![pattern(cursor)?]
    };
    let mut returns = ListReturn::default();
    if cursor.eat(b' ') && !cursor.rest().is_empty() {
        extended = true;
        if cursor.word("RETURN")? != "RETURN" {
            return Err(SyntaxError::Expected("RETURN"));
        }
        cursor.space()?;
        returns = return_options(cursor)?;
    }
    Ok(Command::List(List { select, reference, patterns, returns, extended }))
}

fn pattern(cursor: &mut Cursor<'_>) -> Parsed<Mailbox> {
    cursor.list_mailbox().map(|name| Mailbox(name.into_owned()))
}

fn selection(cursor: &mut Cursor<'_>) -> Parsed<ListSelect> {
    let mut select = ListSelect::default();
    cursor.parenthesised(ITEMS_MAX, "selection options", |cursor| {
        match cursor.word("a selection option")?.as_str() {
            "SUBSCRIBED" => select.subscribed = true,
            "RECURSIVEMATCH" => select.recursive = true,
            "SPECIAL-USE" => select.special_use = true,
            // There are no remote folders to add.
            "REMOTE" => {}
            _ => return Err(SyntaxError::Expected("SUBSCRIBED, REMOTE, RECURSIVEMATCH or SPECIAL-USE")),
        }
        Ok(())
    })?;
    // RFC 5258 §3.1: RECURSIVEMATCH needs another option to be recursive about.
    if select.recursive && !select.subscribed && !select.special_use {
        return Err(SyntaxError::Expected("SUBSCRIBED or SPECIAL-USE beside RECURSIVEMATCH"));
    }
    Ok(select)
}

fn return_options(cursor: &mut Cursor<'_>) -> Parsed<ListReturn> {
    let mut returns = ListReturn::default();
    cursor.parenthesised(ITEMS_MAX, "return options", |cursor| {
        match cursor.word("a return option")?.as_str() {
            "SUBSCRIBED" => returns.subscribed = true,
            "CHILDREN" | "SPECIAL-USE" => {}
            "STATUS" => {
                cursor.space()?;
                returns.status = status_items(cursor)?;
            }
            _ => return Err(SyntaxError::Expected("SUBSCRIBED, CHILDREN, SPECIAL-USE or STATUS")),
        }
        Ok(())
    })?;
    Ok(returns)
}

pub(super) fn lsub(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    let reference = Mailbox::parse(cursor)?;
    cursor.space()?;
    Ok(Command::Lsub(reference, pattern(cursor)?))
}

pub(super) fn status(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    let mailbox = Mailbox::parse(cursor)?;
    cursor.space()?;
    Ok(Command::Status(mailbox, status_items(cursor)?))
}

fn status_items(cursor: &mut Cursor<'_>) -> Parsed<Vec<StatusItem>> {
    let items = cursor.parenthesised(ITEMS_MAX, "items", |cursor| {
        Ok(match cursor.word("a status item")?.as_str() {
            "MESSAGES" => StatusItem::Messages,
            "RECENT" => StatusItem::Recent,
            "UIDNEXT" => StatusItem::UidNext,
            "UIDVALIDITY" => StatusItem::UidValidity,
            "UNSEEN" => StatusItem::Unseen,
            "HIGHESTMODSEQ" => StatusItem::HighestModSeq,
            "APPENDLIMIT" => StatusItem::AppendLimit,
            "SIZE" => StatusItem::Size,
            "DELETED" => StatusItem::Deleted,
            "MAILBOXID" => StatusItem::MailboxId,
            "DELETED-STORAGE" => StatusItem::DeletedStorage,
            _ => return Err(SyntaxError::Expected("a status item")),
        })
    })?;
    if items.is_empty() { Err(SyntaxError::Expected("a status item")) } else { Ok(items) }
}
