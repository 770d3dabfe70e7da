//! NOTIFY (RFC 5465): what happens to other folders, and to the selected one, is told when it happens and not only when the client asks.
//!
//! The session keeps a picture of the folders that are watched and compares it with the store whenever that has changed.

use std::collections::{BTreeMap, BTreeSet};

use kith_store::feed::Topic;
use kith_store::folder::{Folder, INBOX};

use super::{Completion, Refused, Session};
use crate::command::{EventGroup, Events, Filter, Mailbox, Notify, StatusItem};
use crate::limits::NOTIFY_FOLDERS_MAX;
use crate::response::{mailbox as write_mailbox, put};
use crate::utf7::Names;

/// The folder that strangers' mail is delivered to.
const REQUESTS: &str = "Requests";
/// What can be told (RFC 5465 §8, BADEVENT).
const EVENTS: &str = "MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange";

/// What a client wants to hear of, and what it was told last.
pub(super) struct Watch {
    groups: Vec<Group>,
    folders: BTreeMap<u64, Folder>,
    subscriptions: BTreeSet<String>,
    /// The change feed's position at that time.
    position: u64,
}

struct Group {
    filter: Covered,
    events: Events,
}

/// A filter with its names in UTF-8.
enum Covered {
    Selected { at_once: bool },
    Inboxes,
    Personal,
    Subscribed,
    Subtree(Vec<String>),
    Mailboxes(Vec<String>),
}

impl Covered {
    fn covers(&self, name: &str, subscribed: bool) -> bool {
        match self {
            Self::Selected { .. } => false,
            Self::Inboxes => [INBOX, REQUESTS].contains(&name),
            Self::Personal => true,
            Self::Subscribed => subscribed,
            Self::Mailboxes(names) => names.iter().any(|known| known == name),
            Self::Subtree(names) => names
                .iter()
                .any(|top| name.strip_prefix(top.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))),
        }
    }
}

impl Watch {
    /// The events of a folder that is not selected: those of the first group that covers it.
    fn events(&self, name: &str, subscribed: bool) -> Option<&Events> {
        self.groups.iter().find(|group| group.filter.covers(name, subscribed)).map(|group| &group.events)
    }

    /// The events of the selected folder, and whether its numbers may change at any time.
    pub(super) fn selected(&self) -> Option<(&Events, bool)> {
        self.groups.iter().find_map(|group| match group.filter {
            Covered::Selected { at_once } => Some((&group.events, at_once)),
            _ => None,
        })
    }
}

impl Session {
    pub(super) fn notify(&mut self, notify: Option<Notify>) -> Result<Completion, Refused> {
        let account = self.account_id()?;
        let done = Completion::ok("NOTIFY completed");
        let Some(Notify { status, groups }) = notify else {
            self.watch = None;
            return Ok(done);
        };
        if groups.iter().any(|group| group.events.unknown) {
            return Err(Completion::no(&format!("BADEVENT ({EVENTS})"), "An event is not known here").into());
        }
        let position = self.store().position(Topic::Mailbox(account));
        let folders = self.store().folders(account)?;
        let subscriptions = self.store().subscriptions(account)?.into_iter().collect();
        let groups = groups.into_iter().map(|group| named(group, self.names())).collect::<Result<Vec<_>, Refused>>()?;
        let watch = Watch { groups, folders: BTreeMap::new(), subscriptions, position };
        let watched = |folder: &&Folder| watch.events(&folder.name, folder.subscribed).is_some();
        if folders.iter().filter(watched).count() > NOTIFY_FOLDERS_MAX {
            let text = format!("At most {NOTIFY_FOLDERS_MAX} folders are watched at once");
            return Err(Completion::no("NOTIFICATIONOVERFLOW", text).into());
        }
        if status {
            let selected = self.selected.as_ref().map(|selected| selected.folder);
            for folder in folders.iter().filter(|folder| folder.selectable && Some(folder.id) != selected) {
                if watch.events(&folder.name, folder.subscribed).is_some_and(|events| events.new) {
                    self.tell_state(folder)?;
                }
            }
        }
        let folders = folders.into_iter().map(|folder| (folder.id.0, folder)).collect();
        self.watch = Some(Watch { folders, ..watch });
        Ok(done)
    }

    /// RFC 5465 §5: what a client needs to know of a folder that it has not selected.
    fn tell_state(&mut self, folder: &Folder) -> Result<(), Refused> {
        let mut items = vec![StatusItem::Messages, StatusItem::UidNext, StatusItem::UidValidity, StatusItem::Unseen];
        if self.enabled.condstore {
            items.push(StatusItem::HighestModSeq);
        }
        self.write_status(folder, &items)
    }

    /// Tells what has happened to folders that are watched and not selected; whether anything was said.
    pub(super) fn tell_watched(&mut self) -> bool {
        let said = self.out.len();
        let Some(mut watch) = self.watch.take() else { return false };
        if let Err(Refused(completion)) = self.tell_differences(&mut watch) {
            // What cannot be looked at now is told later.
            tracing::debug!(code = completion.code, "folders could not be looked at");
        }
        self.watch = Some(watch);
        self.out.len() > said
    }

    /// The client has changed folders of that name, or below it, itself: that need not be told (RFC 5465 §5.4).
    pub(super) fn own_change(&mut self, name: &str) -> Result<(), Refused> {
        let account = self.account_id()?;
        let Some(mut watch) = self.watch.take() else { return Ok(()) };
        let related = |other: &str| {
            let (long, short) = if other.len() < name.len() { (name, other) } else { (other, name) };
            long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let folders = self.store().folders(account);
        let subscriptions = self.store().subscriptions(account);
        if let (Ok(folders), Ok(subscriptions)) = (folders, subscriptions) {
            watch.folders.retain(|id, known| !related(&known.name) || folders.iter().any(|folder| folder.id.0 == *id));
            watch.folders.extend(folders.into_iter().filter(|folder| related(&folder.name)).map(|folder| (folder.id.0, folder)));
            watch.subscriptions.retain(|known| !related(known));
            watch.subscriptions.extend(subscriptions.into_iter().filter(|known| related(known)));
        }
        self.watch = Some(watch);
        Ok(())
    }

    fn tell_differences(&mut self, watch: &mut Watch) -> Result<(), Refused> {
        let account = self.account_id()?;
        let position = self.store().position(Topic::Mailbox(account));
        if position == watch.position {
            return Ok(());
        }
        let folders = self.store().folders(account)?;
        let subscriptions: BTreeSet<String> = self.store().subscriptions(account)?.into_iter().collect();
        let selected = self.selected.as_ref().map(|selected| selected.folder);
        let mut before = std::mem::take(&mut watch.folders);
        for folder in folders {
            let known = before.remove(&folder.id.0);
            if let Some(events) = watch.events(&folder.name, folder.subscribed) {
                let named =
                    known.as_ref().is_some_and(|known| (&known.name, known.selectable) == (&folder.name, folder.selectable));
                if events.names && !named {
                    self.tell_name(&folder.name, attributes(&folder), known.as_ref().map(|known| known.name.as_str()));
                }
                if folder.selectable && selected != Some(folder.id) && is_news(known.as_ref(), &folder, events) {
                    self.tell_state(&folder)?;
                }
            }
            watch.folders.insert(folder.id.0, folder);
        }
        for gone in before.into_values() {
            if watch.events(&gone.name, gone.subscribed).is_some_and(|events| events.names) {
                self.tell_name(&gone.name, "\\NonExistent", None);
            }
        }
        for name in watch.subscriptions.symmetric_difference(&subscriptions) {
            let now = subscriptions.contains(name);
            if watch.events(name, true).is_some_and(|events| events.subscriptions) {
                self.tell_name(name, if now { "\\Subscribed" } else { "" }, None);
            }
        }
        (watch.subscriptions, watch.position) = (subscriptions, position);
        Ok(())
    }

    /// RFC 5465 §5.4: a LIST response; the name before where it was another one.
    fn tell_name(&mut self, name: &str, attributes: &str, before: Option<&str>) {
        let names = self.names();
        let out = &mut self.out;
        put!(out, "* LIST ({attributes}) \"/\" ");
        write_mailbox(out, name, names);
        if let Some(before) = before.filter(|before| *before != name) {
            put!(out, " (\"OLDNAME\" (");
            write_mailbox(out, before, names);
            put!(out, "))");
        }
        put!(out, "\r\n");
    }
}

fn attributes(folder: &Folder) -> &'static str {
    match (folder.selectable, folder.subscribed) {
        (false, false) => "\\Noselect",
        (false, true) => "\\Noselect \\Subscribed",
        (true, false) => "",
        (true, true) => "\\Subscribed",
    }
}

/// Has something happened that the client wants to hear of?
fn is_news(known: Option<&Folder>, folder: &Folder, events: &Events) -> bool {
    let Some(known) = known else { return events.new && folder.messages > 0 };
    let arrived = folder.uid_next.0.saturating_sub(known.uid_next.0);
    let came = arrived > 0;
    let went = folder.messages < known.messages.saturating_add(arrived);
    let changed = folder.mod_seq != known.mod_seq;
    came && events.new
        || went && events.expunge
        || changed && !came && !went && events.flags
        || folder.unseen != known.unseen && events.flags
}

fn named(group: EventGroup, names: Names) -> Result<Group, Refused> {
    let read = |mailboxes: Vec<Mailbox>| mailboxes.iter().map(|mailbox| mailbox.name(names)).collect::<Result<Vec<_>, _>>();
    let filter = match group.filter {
        Filter::Selected => Covered::Selected { at_once: true },
        Filter::SelectedDelayed => Covered::Selected { at_once: false },
        Filter::Inboxes => Covered::Inboxes,
        Filter::Personal => Covered::Personal,
        Filter::Subscribed => Covered::Subscribed,
        Filter::Subtree(mailboxes) => Covered::Subtree(read(mailboxes)?),
        Filter::Mailboxes(mailboxes) => Covered::Mailboxes(read(mailboxes)?),
    };
    Ok(Group { filter, events: group.events })
}
