//! Folders: LIST, LSUB, STATUS, NAMESPACE and what makes and unmakes them (RFC 3501 §6.3, RFC 5258, RFC 5819, RFC 6154).

use std::collections::BTreeSet;

use kith_store::folder::{Flags, Folder, Message, Uid, Use};

use super::{Completion, Refused, Session};
use crate::command::{List, Mailbox, StatusItem};
use crate::limits::{MESSAGE_BYTES_MAX, PAGE_MESSAGES};
use crate::pattern::{self, Match};
use crate::response::{mailbox as write_mailbox, mailbox_id, put};
use crate::utf7::Names;

/// One line of a LIST.
struct Listed<'a> {
    name: &'a str,
    folder: Option<&'a Folder>,
    subscribed: bool,
    /// Something below it is subscribed (RFC 5258 §3.5).
    child_info: bool,
}

impl Session {
    /// RFC 2342: one personal namespace, nobody else's.
    pub(super) fn namespace(&mut self) -> Result<Completion, Refused> {
        self.account_id()?;
        put!(&mut self.out, "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
        Ok(Completion::ok("NAMESPACE completed"))
    }

    /// RFC 6154 §3: with a special use, where no other folder has it yet; RFC 8474 §4.1: the answer names the folder's id.
    pub(super) fn create(&mut self, mailbox: &Mailbox, uses: &[String]) -> Result<Completion, Refused> {
        let account = self.account_id()?;
        let mut special = None;
        for name in uses {
            let known =
                Use::ALL.into_iter().find(|(known, _)| attribute(*known).is_some_and(|known| known.eq_ignore_ascii_case(name)));
            special = match (known, special) {
                (Some((known, _)), None) => Some(known),
                (None, _) => return Err(Completion::no("USEATTR", "There is no such use here").into()),
                (Some(_), Some(_)) => return Err(Completion::no("USEATTR", "A folder has one use").into()),
            };
        }
        if special.is_some() && self.store().folders(account)?.iter().any(|folder| folder.special == special) {
            return Err(Completion::no("USEATTR", "Another folder has this use").into());
        }
        let folder = self.store().create_folder(account, &mailbox.name(self.names())?, special)?;
        self.own_change(&folder.name)?;
        Ok(Completion::ok("CREATE completed").with_code(format!("MAILBOXID ({})", mailbox_id(folder.id))))
    }

    pub(super) fn delete(&mut self, mailbox: &Mailbox) -> Result<Completion, Refused> {
        let account = self.account_id()?;
        let name = mailbox.name(self.names())?;
        let folder = self.existing_folder(&name)?;
        self.store().delete_folder(account, &name)?;
        // Whoever deletes the folder that is selected has none selected.
        if self.selected.as_ref().is_some_and(|selected| selected.folder == folder.id) {
            self.selected = None;
        }
        self.own_change(&name)?;
        Ok(Completion::ok("DELETE completed"))
    }

    pub(super) fn rename(&mut self, from: &Mailbox, to: &Mailbox) -> Result<Completion, Refused> {
        let account = self.account_id()?;
        let (from, to) = (from.name(self.names())?, to.name(self.names())?);
        self.store().rename_folder(account, &from, &to)?;
        self.own_change(&from)?;
        self.own_change(&to)?;
        Ok(Completion::ok("RENAME completed"))
    }

    pub(super) fn subscribe(&mut self, mailbox: &Mailbox) -> Result<Completion, Refused> {
        let account = self.account_id()?;
        let name = mailbox.name(self.names())?;
        // RFC 3501 §6.3.6 allows the check; it keeps misspelt names out of the list.
        self.existing_folder(&name)?;
        self.store().subscribe(account, &name, true)?;
        self.own_change(&name)?;
        Ok(Completion::ok("SUBSCRIBE completed"))
    }

    pub(super) fn unsubscribe(&mut self, mailbox: &Mailbox) -> Result<Completion, Refused> {
        let account = self.account_id()?;
        let name = mailbox.name(self.names())?;
        self.store().subscribe(account, &name, false)?;
        self.own_change(&name)?;
        Ok(Completion::ok("UNSUBSCRIBE completed"))
    }

    pub(super) fn list(&mut self, list: &List) -> Result<Completion, Refused> {
        let account = self.account_id()?;
        let done = Completion::ok("LIST completed");
        // RFC 3501 §6.3.8: an empty pattern asks for the separator.
        if !list.extended && list.patterns.iter().all(|pattern| pattern.0.is_empty()) {
            put!(&mut self.out, "* LIST (\\Noselect) \"/\" \"\"\r\n");
            return Ok(done);
        }
        let patterns = full_patterns(self.names(), &list.reference, &list.patterns)?;
        let folders = self.store().folders(account)?;
        let subscribed = self.store().subscriptions(account)?;
        let subscribed: BTreeSet<&str> = subscribed.iter().map(String::as_str).collect();
        let parents = levels_above(folders.iter().map(|folder| &*folder.name));
        let subscribed_above = levels_above(subscribed.iter().copied());
        let names = self.names();
        for listed in chosen(list, &folders, &subscribed, &subscribed_above) {
            if !patterns.iter().any(|pattern| pattern::matches(pattern, listed.name) == Match::Whole) {
                continue;
            }
            let children = parents.contains(listed.name);
            let tell_subscribed = list.returns.subscribed || list.select.subscribed;
            write_listed(&mut self.out, &listed, children, tell_subscribed, names);
            if let Some(folder) = listed.folder.filter(|folder| folder.selectable)
                && !list.returns.status.is_empty()
            {
                self.write_status(folder, &list.returns.status)?;
            }
        }
        Ok(done)
    }

    /// RFC 9051 §6.3.2: what LIST says of a folder, as a part of SELECT.
    pub(super) fn tell_listed(&mut self, folder: &Folder) -> Result<(), Refused> {
        let below = format!("{}{}", folder.name, pattern::SEPARATOR);
        let children = self.store().folders(self.account_id()?)?.iter().any(|other| other.name.starts_with(&below));
        let listed = Listed { name: &folder.name, folder: Some(folder), subscribed: folder.subscribed, child_info: false };
        let names = self.names();
        write_listed(&mut self.out, &listed, children, false, names);
        Ok(())
    }

    pub(super) fn lsub(&mut self, reference: &Mailbox, pattern: &Mailbox) -> Result<Completion, Refused> {
        let account = self.account_id()?;
        let pattern = full_patterns(self.names(), reference, std::slice::from_ref(pattern))?.concat();
        let names = self.store().subscriptions(account)?;
        let whole: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let written = self.names();
        let mut levels = BTreeSet::new();
        for name in &names {
            match pattern::matches(&pattern, name) {
                Match::Whole => write_line(&mut self.out, "LSUB", "", (name, written), ""),
                // RFC 3501 §6.3.9: `%` shows the level above what is subscribed below.
                Match::Above(length) => {
                    let level = name.get(..length).unwrap_or_default();
                    if !whole.contains(level) && levels.insert(level) {
                        write_line(&mut self.out, "LSUB", "\\Noselect", (level, written), "");
                    }
                }
                Match::None => {}
            }
        }
        Ok(Completion::ok("LSUB completed"))
    }

    pub(super) fn status(&mut self, mailbox: &Mailbox, items: &[StatusItem]) -> Result<Completion, Refused> {
        let folder = self.existing_folder(&mailbox.name(self.names())?)?;
        if !folder.selectable {
            return Err(Completion::no("CANNOT", "This folder holds no mail").into());
        }
        self.write_status(&folder, items)?;
        Ok(Completion::ok("STATUS completed"))
    }

    pub(super) fn write_status(&mut self, folder: &Folder, items: &[StatusItem]) -> Result<(), Refused> {
        let recent = if items.contains(&StatusItem::Recent) { self.sum_in(folder, folder.recent_from, |_| 1)? } else { 0 };
        let is_deleted = |message: &Message| message.flags.system & Flags::DELETED != 0;
        let deleted = if items.contains(&StatusItem::Deleted) {
            self.sum_in(folder, Uid(1), |message| u64::from(is_deleted(message)))?
        } else {
            0
        };
        let deleted_bytes = if items.contains(&StatusItem::DeletedStorage) {
            self.sum_in(folder, Uid(1), |message| if is_deleted(message) { message.size } else { 0 })?
        } else {
            0
        };
        // RFC 7162 §3.1: asking for HIGHESTMODSEQ is a way of enabling CONDSTORE.
        self.enabled.condstore |= items.contains(&StatusItem::HighestModSeq);
        let names = self.names();
        let out = &mut self.out;
        put!(out, "* STATUS ");
        write_mailbox(out, &folder.name, names);
        put!(out, " ");
        for (index, item) in items.iter().enumerate() {
            out.push(if index == 0 { b'(' } else { b' ' });
            match item {
                StatusItem::Messages => put!(out, "MESSAGES {}", folder.messages),
                StatusItem::Recent => put!(out, "RECENT {recent}"),
                StatusItem::UidNext => put!(out, "UIDNEXT {}", folder.uid_next.0),
                StatusItem::UidValidity => put!(out, "UIDVALIDITY {}", folder.uid_validity),
                StatusItem::Unseen => put!(out, "UNSEEN {}", folder.unseen),
                StatusItem::HighestModSeq => put!(out, "HIGHESTMODSEQ {}", folder.mod_seq.0.max(1)),
                StatusItem::Size => put!(out, "SIZE {}", folder.bytes),
                StatusItem::Deleted => put!(out, "DELETED {deleted}"),
                StatusItem::MailboxId => put!(out, "MAILBOXID ({})", mailbox_id(folder.id)),
                StatusItem::DeletedStorage => put!(out, "DELETED-STORAGE {deleted_bytes}"),
                StatusItem::AppendLimit => put!(out, "APPENDLIMIT {MESSAGE_BYTES_MAX}"),
            }
        }
        put!(out, ")\r\n");
        Ok(())
    }

    /// The sum of something of each message from a UID on.
    fn sum_in(&self, folder: &Folder, from: Uid, of: impl Fn(&Message) -> u64) -> Result<u64, Refused> {
        let account = self.account_id()?;
        let mut sum = 0;
        let mut next = from;
        loop {
            let page = self.store().messages(account, folder.id, next, Uid(u32::MAX), PAGE_MESSAGES)?;
            sum += page.iter().map(&of).sum::<u64>();
            match page.last().and_then(|last| last.uid.0.checked_add(1)) {
                Some(after) if page.len() == PAGE_MESSAGES => next = Uid(after),
                _ => return Ok(sum),
            }
        }
    }
}

/// The reference stands before each pattern (RFC 3501 §6.3.8).
fn full_patterns(names: Names, reference: &Mailbox, patterns: &[Mailbox]) -> Result<Vec<String>, Refused> {
    let reference = names.read(&reference.0)?;
    patterns.iter().map(|pattern| Ok(format!("{reference}{}", names.read(&pattern.0)?))).collect()
}

/// Every level above one of these names.
fn levels_above<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let mut levels = BTreeSet::new();
    for name in names {
        for (at, _) in name.match_indices(pattern::SEPARATOR) {
            levels.extend(name.get(..at));
        }
    }
    levels
}

/// What the selection options leave, by name, INBOX first.
fn chosen<'a>(
    list: &List,
    folders: &'a [Folder],
    subscribed: &BTreeSet<&'a str>,
    subscribed_above: &BTreeSet<&'a str>,
) -> Vec<Listed<'a>> {
    let select = list.select;
    let existing = folders.iter().map(|folder| {
        let name = &*folder.name;
        let subscribed = subscribed.contains(name);
        Listed { name, folder: Some(folder), subscribed, child_info: select.recursive && subscribed_above.contains(name) }
    });
    let mut listed: Vec<Listed<'a>> = existing
        .filter(|listed| {
            let special = listed.folder.is_some_and(|folder| folder.special.is_some_and(|special| special != Use::Inbox));
            (!select.subscribed || listed.subscribed || listed.child_info) && (!select.special_use || special)
        })
        .collect();
    if select.subscribed && !select.special_use {
        let known: BTreeSet<&str> = folders.iter().map(|folder| &*folder.name).collect();
        let missing = subscribed.iter().copied().filter(|name| !known.contains(name));
        listed.extend(missing.map(|name| Listed { name, folder: None, subscribed: true, child_info: false }));
    }
    listed
}

fn write_listed(out: &mut Vec<u8>, listed: &Listed<'_>, children: bool, tell_subscribed: bool, names: Names) {
    let mut attributes: Vec<&str> = Vec::new();
    match listed.folder {
        None => attributes.push("\\NonExistent"),
        Some(folder) if !folder.selectable => attributes.push("\\Noselect"),
        Some(_) => {}
    }
    attributes.push(if children { "\\HasChildren" } else { "\\HasNoChildren" });
    if tell_subscribed && listed.subscribed {
        attributes.push("\\Subscribed");
    }
    attributes.extend(listed.folder.and_then(|folder| folder.special).and_then(attribute));
    let extension = if listed.child_info { " (\"CHILDINFO\" (\"SUBSCRIBED\"))" } else { "" };
    write_line(out, "LIST", &attributes.join(" "), (listed.name, names), extension);
}

fn write_line(out: &mut Vec<u8>, response: &str, attributes: &str, (name, names): (&str, Names), extension: &str) {
    put!(out, "* {response} ({attributes}) \"/\" ");
    write_mailbox(out, name, names);
    put!(out, "{extension}\r\n");
}

/// RFC 6154; the inbox has none.
fn attribute(special: Use) -> Option<&'static str> {
    match special {
        Use::Inbox => None,
        Use::Drafts => Some("\\Drafts"),
        Use::Sent => Some("\\Sent"),
        Use::Archive => Some("\\Archive"),
        Use::Junk => Some("\\Junk"),
        Use::Trash => Some("\\Trash"),
    }
}
