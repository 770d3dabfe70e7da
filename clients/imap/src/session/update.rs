//! News: what other sessions and arriving mail have done to the selected folder, told when the rules allow it
//! (RFC 3501 §5.2, §5.5 and §7.4.1), and the last line of a command.

use kith_store::account::AccountId;
use kith_store::feed::Topic;
use kith_store::folder::{FolderId, Message, Uid};
use kith_store::{Store, StoreError};

use super::{Completion, Doing, Session};
use crate::command::Access;
use crate::flag;
use crate::limits::{OUTPUT_BYTES, STORE_MESSAGES};
use crate::response::{Condition, put};
use crate::set::Ranges;

/// Whether the command that ends now lets EXPUNGE be said: not after FETCH, STORE and SEARCH without UID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expunges {
    /// It does.
    Told,
    /// Later.
    Deferred,
}

/// News being told, and what comes after.
pub(super) struct Finishing {
    /// Without a completion the client goes on idling.
    tag: String,
    completion: Option<Completion>,
    /// The first UID of those that are new, if there are any: they may be `\Recent` here.
    arrived: Option<Uid>,
    changed: std::vec::IntoIter<Message>,
}

impl Session {
    /// Ends a command: news first, then its last line.
    pub(super) fn finish(&mut self, tag: String, completion: Completion, expunges: Expunges) -> Doing {
        let (arrived, changed) = self.catch_up(expunges);
        Doing::Finishing(Box::new(Finishing { tag, completion: Some(completion), arrived, changed: changed.into_iter() }))
    }

    /// Ends a command that removed messages: who follows MODSEQ is told how far it has come (RFC 7162 §3.2.7 and §3.2.8).
    pub(super) fn finish_removal(&mut self, tag: String, completion: Completion) -> Doing {
        let (arrived, changed) = self.catch_up(Expunges::Told);
        let completion = match &self.selected {
            Some(selected) if self.enabled.qresync && completion.code.is_empty() && completion.condition == Condition::Ok => {
                completion.with_code(format!("HIGHESTMODSEQ {}", selected.mod_seq.0))
            }
            _ => completion,
        };
        Doing::Finishing(Box::new(Finishing { tag, completion: Some(completion), arrived, changed: changed.into_iter() }))
    }

    /// News for an idling client; `None` where there are none.
    pub(super) fn news(&mut self, tag: &str) -> Option<Doing> {
        let said = self.out.len();
        let (arrived, changed) = self.catch_up(Expunges::Told);
        if self.out.len() == said && arrived.is_none() && changed.is_empty() && !self.ended {
            return None;
        }
        Some(Doing::Finishing(Box::new(Finishing {
            tag: tag.to_owned(),
            completion: None,
            arrived,
            changed: changed.into_iter(),
        })))
    }

    pub(super) fn finish_on(&mut self, mut finishing: Box<Finishing>) -> Doing {
        if let Some(first) = finishing.arrived.take().filter(|_| !self.enabled.rev2) {
            self.tell_recent(first);
        }
        while self.out.len() < OUTPUT_BYTES {
            let Some(message) = finishing.changed.next() else {
                return match finishing.completion {
                    None => Doing::Idling { tag: finishing.tag },
                    Some(completion) => {
                        completion.write(&mut self.out, &finishing.tag);
                        Doing::Nothing
                    }
                };
            };
            self.tell_flags(&message);
        }
        Doing::Finishing(finishing)
    }

    /// Brings the view up to the store: says EXPUNGE (if allowed) and EXISTS, gives the first arrival and the messages whose flags are news.
    fn catch_up(&mut self, expunges: Expunges) -> (Option<Uid>, Vec<Message>) {
        let nothing = (None, Vec::new());
        let (Some(account), Some(selected)) = (&self.account, &mut self.selected) else { return nothing };
        let account = account.id;
        let position = self.shared.store.position(Topic::Mailbox(account));
        let mut arrived = None;
        let mut changed = Vec::new();
        if position != selected.position {
            let since = selected.mod_seq;
            let changes = match self.shared.store.changes(account, selected.folder, since) {
                Ok(changes) => changes,
                Err(error) => {
                    self.lost_folder(&error);
                    return nothing;
                }
            };
            selected.position = position;
            selected.mod_seq = changes.mod_seq;
            if changes.forgotten > since {
                // Away for longer than the store remembers: what is there tells what is not.
                match there(&self.shared.store, account, selected.folder) {
                    Ok(there) => selected.view.keep_only(&there),
                    Err(error) => {
                        self.lost_folder(&error);
                        return nothing;
                    }
                }
            }
            for uid in changes.vanished {
                selected.view.lose(uid);
            }
            let last = selected.view.last_uid();
            let mut new_keyword = false;
            for message in changes.changed {
                if message.uid.0 > last {
                    selected.view.append(message.uid);
                    arrived = arrived.or(Some(message.uid));
                    new_keyword |= selected.learn_keywords(&message);
                } else if selected.view.sequence(message.uid).is_some() && !selected.view.was_told(message.uid, message.mod_seq) {
                    new_keyword |= selected.learn_keywords(&message);
                    changed.push(message);
                }
            }
            selected.view.caught_up();
            if new_keyword {
                selected.write_flags(&mut self.out);
            }
        }
        if expunges == Expunges::Told {
            if self.enabled.qresync {
                let vanished = selected.view.settle_uids();
                if !vanished.is_empty() {
                    put!(&mut self.out, "* VANISHED {vanished}\r\n");
                }
            } else {
                for number in selected.view.settle() {
                    put!(&mut self.out, "* {number} EXPUNGE\r\n");
                }
            }
        }
        if arrived.is_some() {
            put!(&mut self.out, "* {} EXISTS\r\n", selected.view.len());
        }
        (arrived, changed)
    }

    /// The selected folder cannot be read any more: its numbers mean nothing, and no response says so but goodbye.
    fn lost_folder(&mut self, error: &StoreError) {
        self.selected = None;
        match error {
            StoreError::NotFound(_) => self.bye("The selected folder was deleted"),
            error => {
                tracing::warn!(%error, "the store failed");
                self.bye("The store does not work at the moment");
            }
        }
    }

    /// RECENT, after EXISTS: claiming takes a commit, and the news need not wait for it.
    fn tell_recent(&mut self, first: Uid) {
        let (Some(account), Some(selected)) = (&self.account, &mut self.selected) else { return };
        let store = &self.shared.store;
        let unclaimed = match store.folder(account.id, selected.folder) {
            Ok(Some(folder)) if folder.recent_from.0 <= selected.view.last_uid() => folder.recent_from,
            _ => return put!(&mut self.out, "* {} RECENT\r\n", selected.view.recent_count()),
        };
        let claimed = match selected.access {
            Access::ReadWrite => store.claim_recent(account.id, selected.folder).unwrap_or(Uid(u32::MAX)),
            Access::ReadOnly => unclaimed,
        };
        let from = claimed.max(first);
        let start = selected.view.uids().partition_point(|&uid| uid < from.0);
        let recent: Vec<u32> = selected.view.uids().iter().skip(start).copied().collect();
        for uid in recent {
            selected.view.mark_recent(uid);
        }
        put!(&mut self.out, "* {} RECENT\r\n", selected.view.recent_count());
    }

    /// An unasked `FETCH` with a message's flags.
    pub(super) fn tell_flags(&mut self, message: &Message) {
        let Some(selected) = &self.selected else { return };
        let Some(number) = selected.view.sequence(message.uid) else { return };
        let out = &mut self.out;
        put!(out, "* {number} FETCH (UID {} FLAGS (", message.uid.0);
        flag::write(out, &message.flags, selected.view.recent(message.uid));
        put!(out, ")");
        if self.enabled.condstore {
            put!(out, " MODSEQ ({})", message.mod_seq.0);
        }
        put!(out, ")\r\n");
    }
}

/// The UIDs that a folder has.
pub(super) fn there(store: &Store, account: AccountId, folder: FolderId) -> Result<Ranges, StoreError> {
    let mut there = Ranges::default();
    let mut next = Uid(1);
    loop {
        let page = store.messages(account, folder, next, Uid(u32::MAX), STORE_MESSAGES)?;
        page.iter().for_each(|message| there.push(message.uid.0));
        match page.last().and_then(|last| last.uid.0.checked_add(1)) {
            Some(after) if page.len() == STORE_MESSAGES => next = Uid(after),
            _ => return Ok(there),
        }
    }
}
