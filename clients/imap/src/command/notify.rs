//! NOTIFY (RFC 5465): which events of which folders a client wants to hear of unasked.

use super::fetch::{FetchItem, item};
use super::{Command, Mailbox};
use crate::limits::ITEMS_MAX;
use crate::token::{Cursor, Parsed, SyntaxError};

/// NOTIFY SET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// The state of all folders that are watched is to be told at once.
    pub status: bool,
    /// For each folder the first that names it counts.
    pub groups: Vec<EventGroup>,
}

/// Some folders, and what is to be told of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventGroup {
    /// Which folders.
    pub filter: Filter,
    /// Which events.
    pub events: Events,
}

/// Which folders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The selected one; its numbers may change at any time.
    Selected,
    /// The selected one; its numbers change when they always could.
    SelectedDelayed,
    /// Those that mail is delivered to.
    Inboxes,
    /// All.
    Personal,
    /// Those that are subscribed.
    Subscribed,
    /// These and all below them.
    Subtree(Vec<Mailbox>),
    /// These.
    Mailboxes(Vec<Mailbox>),
}

/// Which events (RFC 5465 §5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// MessageNew
    pub new: bool,
    /// What of each new message of the selected folder is told with it.
    pub items: Vec<FetchItem>,
    /// MessageExpunge
    pub expunge: bool,
    /// FlagChange
    pub flags: bool,
    /// MailboxName
    pub names: bool,
    /// SubscriptionChange
    pub subscriptions: bool,
    /// An event that is not known here was named.
    pub unknown: bool,
}

pub(super) fn notify(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    if cursor.eat_word("NONE") {
        return Ok(Command::Notify(None));
    }
    if !cursor.eat_word("SET") {
        return Err(SyntaxError::Expected("SET or NONE"));
    }
    cursor.space()?;
    let status = cursor.eat_word("STATUS");
    if status {
        cursor.space()?;
    }
    let mut groups = vec![group(cursor)?];
    while cursor.eat(b' ') && !cursor.rest().is_empty() {
        if groups.len() == ITEMS_MAX {
            return Err(SyntaxError::TooMany("groups of events"));
        }
        groups.push(group(cursor)?);
    }
    let of_selected = |group: &&EventGroup| matches!(group.filter, Filter::Selected | Filter::SelectedDelayed);
    if groups.iter().filter(of_selected).count() > 1 {
        return Err(SyntaxError::Expected("selected or selected-delayed once"));
    }
    Ok(Command::Notify(Some(Notify { status, groups })))
}

fn group(cursor: &mut Cursor<'_>) -> Parsed<EventGroup> {
    cursor.expect(b'(', "a group of events in parentheses")?;
    let filter = match cursor.word("which folders")?.as_str() {
        "SELECTED" => Filter::Selected,
        "SELECTED-DELAYED" => Filter::SelectedDelayed,
        "INBOXES" => Filter::Inboxes,
        "PERSONAL" => Filter::Personal,
        "SUBSCRIBED" => Filter::Subscribed,
        "SUBTREE" => Filter::Subtree(mailboxes(cursor)?),
        "MAILBOXES" => Filter::Mailboxes(mailboxes(cursor)?),
        _ => return Err(SyntaxError::Expected("which folders")),
    };
    cursor.space()?;
    let events = events(cursor)?;
    cursor.expect(b')', "a closing parenthesis")?;
    // RFC 5465 §5.1 to §5.3.
    let selected = matches!(filter, Filter::Selected | Filter::SelectedDelayed);
    if events.new != events.expunge || events.flags && !events.new {
        return Err(SyntaxError::Expected("MessageNew and MessageExpunge together, and both beside FlagChange"));
    }
    if !selected && !events.items.is_empty() {
        return Err(SyntaxError::Expected("items of new messages for the selected folder alone"));
    }
    if selected && (events.names || events.subscriptions) {
        return Err(SyntaxError::Expected("events of messages for the selected folder"));
    }
    Ok(EventGroup { filter, events })
}

fn mailboxes(cursor: &mut Cursor<'_>) -> Parsed<Vec<Mailbox>> {
    cursor.space()?;
    if cursor.peek() != Some(b'(') {
        return Ok(vec![Mailbox::parse(cursor)?]);
    }
    let mailboxes = cursor.parenthesised(ITEMS_MAX, "folders", Mailbox::parse)?;
    if mailboxes.is_empty() { Err(SyntaxError::Expected("a mailbox name")) } else { Ok(mailboxes) }
}

fn events(cursor: &mut Cursor<'_>) -> Parsed<Events> {
    let mut events = Events::default();
    if cursor.eat_word("NONE") {
        return Ok(events);
    }
    let named = cursor.parenthesised(ITEMS_MAX, "events", |cursor| {
        match cursor.word("an event")?.as_str() {
            "MESSAGENEW" => {
                events.new = true;
                let mut ahead = cursor.clone();
                if ahead.eat(b' ') && ahead.peek() == Some(b'(') {
                    events.items = ahead.parenthesised(ITEMS_MAX, "items", item)?;
                    *cursor = ahead;
                }
            }
            "MESSAGEEXPUNGE" => events.expunge = true,
            "FLAGCHANGE" => events.flags = true,
            "MAILBOXNAME" => events.names = true,
            "SUBSCRIPTIONCHANGE" => events.subscriptions = true,
            _ => events.unknown = true,
        }
        Ok(())
    })?;
    if named.is_empty() { Err(SyntaxError::Expected("an event")) } else { Ok(events) }
}
