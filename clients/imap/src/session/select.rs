//! SELECT, EXAMINE, CLOSE, UNSELECT: which folder the numbers mean.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kith_store::feed::Topic;
use kith_store::folder::{Flags, Folder, FolderId, Message, ModSeq, Uid};

use super::{Completion, Doing, Outcome, Refused, Session};
use crate::command::{Access, Mailbox, Opening};
use crate::flag;
use crate::limits::{KEYWORDS_SHOWN_MAX, STORE_MESSAGES};
use crate::response::{mailbox_id, put};
use crate::set::Ranges;
use crate::view::View;

/// The selected folder as this session knows it.
pub(super) struct Selected {
    pub(super) folder: FolderId,
    pub(super) access: Access,
    pub(super) view: View,
    /// Everything up to here is in the view or waits to be told.
    pub(super) mod_seq: ModSeq,
    /// The change feed's position at that time.
    pub(super) position: u64,
    /// UIDs of the last search that was saved: `$` (RFC 5182).
    pub(super) saved: Ranges,
    /// Flags that others have changed and the client did not want to hear of at once.
    pub(super) held: BTreeMap<u32, Message>,
    /// Keywords that FLAGS has named.
    pub(super) keywords: BTreeSet<Arc<str>>,
}

impl Selected {
    /// Notes a message's keywords; whether there was a new one.
    pub(super) fn learn_keywords(&mut self, message: &Message) -> bool {
        let mut new = false;
        for keyword in &message.flags.keywords {
            if self.keywords.len() < KEYWORDS_SHOWN_MAX && !self.keywords.contains(keyword) {
                new |= self.keywords.insert(Arc::clone(keyword));
            }
        }
        new
    }

    /// FLAGS and PERMANENTFLAGS.
    pub(super) fn write_flags(&self, out: &mut Vec<u8>) {
        let all = Flags { system: u8::MAX, keywords: self.keywords.iter().cloned().collect() };
        put!(out, "* FLAGS (");
        flag::write(out, &all, flag::Recent::No);
        put!(out, ")\r\n* OK [PERMANENTFLAGS (");
        match self.access {
            Access::ReadWrite => {
                flag::write(out, &all, flag::Recent::No);
                put!(out, " \\*)] These last, and new keywords are welcome\r\n");
            }
            Access::ReadOnly => put!(out, ")] Nothing can be changed here\r\n"),
        }
    }
}

impl Session {
    pub(super) fn select(&mut self, tag: &str, mailbox: &Mailbox, access: Access, opening: &Opening) -> Outcome {
        let account = self.account_id()?;
        if opening.resync.is_some() && !self.enabled.qresync {
            return Err(Completion::bad("ENABLE QRESYNC first").into());
        }
        // RFC 3501 §6.3.1: whatever comes of this, the folder before it is no longer selected.
        if self.selected.take().is_some() {
            put!(&mut self.out, "* OK [CLOSED] The folder before is closed\r\n");
        }
        let name = mailbox.name(self.names())?;
        let position = self.store().position(Topic::Mailbox(account));
        let folder = self.existing_folder(&name)?;
        if !folder.selectable {
            return Err(Completion::no("CANNOT", "This is a level of the hierarchy that holds no mail").into());
        }
        self.enabled.condstore |= opening.condstore;
        let mut selected = Selected {
            folder: folder.id,
            access,
            view: View::default(),
            mod_seq: folder.mod_seq,
            position,
            saved: Ranges::default(),
            held: BTreeMap::new(),
            keywords: BTreeSet::new(),
        };
        let resync = opening.resync.as_ref().filter(|resync| resync.uid_validity == folder.uid_validity);
        let (first_unseen, changed) = self.load(&mut selected, resync.map_or(ModSeq(u64::MAX), |resync| resync.mod_seq))?;
        if !self.enabled.rev2 {
            self.claim_recent(&mut selected, &folder)?;
        }
        self.describe_selected(&selected, &folder, first_unseen);
        if self.enabled.rev2 {
            self.tell_listed(&folder)?;
        }
        self.selected = Some(selected);
        let (code, verb) = match access {
            Access::ReadWrite => ("READ-WRITE", "SELECT"),
            Access::ReadOnly => ("READ-ONLY", "EXAMINE"),
        };
        let completion = Completion::ok(format!("{verb} completed")).with_code(code);
        if let Some(resync) = resync {
            return self.resync(tag, resync, &changed, completion);
        }
        // Straight after: what is new since is told by the next command.
        completion.write(&mut self.out, tag);
        Ok(Doing::Nothing)
    }

    /// Takes all messages into the view; gives the first one that is not `\Seen`, and those that changed after `since`.
    fn load(&self, selected: &mut Selected, since: ModSeq) -> Result<(Option<Uid>, Ranges), Refused> {
        let account = self.account_id()?;
        let mut first_unseen = None;
        let mut changed = Ranges::default();
        let mut next = Uid(1);
        loop {
            let page = self.store().messages(account, selected.folder, next, Uid(u32::MAX), STORE_MESSAGES)?;
            for message in &page {
                selected.view.append(message.uid);
                selected.learn_keywords(message);
                if message.mod_seq > since {
                    changed.push(message.uid.0);
                }
                if first_unseen.is_none() && message.flags.system & Flags::SEEN == 0 {
                    first_unseen = Some(message.uid);
                }
            }
            match page.last().and_then(|last| last.uid.0.checked_add(1)) {
                Some(after) if page.len() == STORE_MESSAGES => next = Uid(after),
                _ => return Ok((first_unseen, changed)),
            }
        }
    }

    /// Marks what no session was shown before as `\Recent` in this one; EXAMINE looks without taking (RFC 3501 §6.3.2).
    fn claim_recent(&self, selected: &mut Selected, folder: &Folder) -> Result<(), Refused> {
        let mut first = folder.recent_from;
        if first.0 > selected.view.last_uid() {
            return Ok(());
        }
        if selected.access == Access::ReadWrite {
            first = self.store().claim_recent(self.account_id()?, selected.folder)?;
        }
        let from = selected.view.uids().partition_point(|&uid| uid < first.0);
        let recent: Vec<u32> = selected.view.uids().iter().skip(from).copied().collect();
        for uid in recent {
            selected.view.mark_recent(uid);
        }
        Ok(())
    }

    fn describe_selected(&mut self, selected: &Selected, folder: &Folder, first_unseen: Option<Uid>) {
        let out = &mut self.out;
        selected.write_flags(out);
        put!(out, "* {} EXISTS\r\n", selected.view.len());
        // RFC 9051, appendix E: IMAP4rev2 has neither.
        if !self.enabled.rev2 {
            put!(out, "* {} RECENT\r\n", selected.view.recent_count());
        }
        if !self.enabled.rev2
            && let Some(number) = first_unseen.and_then(|uid| selected.view.sequence(uid))
        {
            put!(out, "* OK [UNSEEN {number}] The first that is not seen\r\n");
        }
        put!(out, "* OK [UIDVALIDITY {}] UIDs are valid\r\n", folder.uid_validity);
        // A message may have come after the folder was looked at.
        let uid_next = folder.uid_next.0.max(selected.view.last_uid().saturating_add(1));
        put!(out, "* OK [UIDNEXT {uid_next}] The next UID\r\n");
        put!(out, "* OK [HIGHESTMODSEQ {}] The highest\r\n", folder.mod_seq.0.max(1));
        put!(out, "* OK [MAILBOXID ({})] Its name for ever\r\n", mailbox_id(folder.id));
    }

    /// RFC 3501 §6.4.2: what is `\Deleted` goes without a word.
    pub(super) fn close(&mut self) -> Result<Completion, Refused> {
        let account = self.account_id()?;
        let selected = self.selected()?;
        let (folder, access) = (selected.folder, selected.access);
        let outcome = match access {
            Access::ReadWrite => self.store().expunge(account, folder, None).map(|_| ()),
            Access::ReadOnly => Ok(()),
        };
        self.selected = None;
        match outcome {
            Ok(()) | Err(kith_store::StoreError::NotFound(_)) => Ok(Completion::ok("CLOSE completed")),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn unselect(&mut self) -> Result<Completion, Refused> {
        self.selected()?;
        self.selected = None;
        Ok(Completion::ok("UNSELECT completed"))
    }

    /// A folder by its name in UTF-8.
    pub(super) fn existing_folder(&self, name: &str) -> Result<Folder, Refused> {
        let folder = self.store().folder_by_name(self.account_id()?, name)?;
        folder.ok_or_else(|| Completion::no("NONEXISTENT", "There is no such folder").into())
    }

    /// The folder that messages are to be put into: a missing one may be created (RFC 3501 §6.3.11).
    pub(super) fn target_folder(&self, mailbox: &Mailbox) -> Result<Folder, Refused> {
        let folder = self.store().folder_by_name(self.account_id()?, &mailbox.name(self.names())?)?;
        match folder {
            None => Err(Completion::no("TRYCREATE", "There is no such folder").into()),
            Some(folder) if !folder.selectable => Err(Completion::no("CANNOT", "This folder holds no mail").into()),
            Some(folder) => Ok(folder),
        }
    }
}
