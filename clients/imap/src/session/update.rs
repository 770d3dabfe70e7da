//! News: what other sessions and arriving mail have done to the selected folder, told when the rules allow it
//! (RFC 3501 §5.2, §5.5 and §7.4.1), and the last line of a command, or the invitation to idle.

use kith_store::account::AccountId;
use kith_store::feed::Topic;
use kith_store::folder::{FolderId, Message, Uid};
use kith_store::{Store, StoreError};

use super::{Completion, Doing, Session};
use crate::command::Access;
use crate::flag;
use crate::limits::STORE_MESSAGES;
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
    then: Then,
    /// The first UID of those that are new, if there are any: they may be `\Recent` here.
    arrived: Option<Uid>,
    /// RECENT has been said.
    counted: bool,
    changed: std::vec::IntoIter<Message>,
}

/// What comes after news.
pub(super) enum Then {
    /// A command's last line, with its tag.
    End(String, Completion),
    /// The invitation to idle; the tag of the command.
    Idle(String),
    /// The client goes on with what it did: it idles, or just listens.
    Back(Doing),
}

impl Session {
    /// Ends a command: news first, then its last line.
    pub(super) fn finish(&mut self, tag: String, completion: Completion, expunges: Expunges) -> Doing {
        self.news_before(Then::End(tag, completion), expunges)
    }

    /// Ends a command that removed messages: who follows MODSEQ is told how far it has come (RFC 7162 §3.2.7 and §3.2.8).
    pub(super) fn finish_removal(&mut self, tag: String, completion: Completion) -> Doing {
        self.tell_watched();
        let (arrived, changed) = self.catch_up(Expunges::Told);
        let completion = match &self.selected {
            Some(selected) if self.enabled.qresync && completion.code.is_empty() && completion.condition == Condition::Ok => {
                completion.with_code(format!("HIGHESTMODSEQ {}", selected.mod_seq.0))
            }
            _ => completion,
        };
        self.finishing(Then::End(tag, completion), arrived, changed)
    }

    /// Begins to idle (RFC 2177): news first. What comes in one piece with the invitation stays unread in Thunderbird until there is more to hear.
    pub(super) fn idle(&mut self, tag: String) -> Doing {
        self.news_before(Then::Idle(tag), Expunges::Told)
    }

    fn news_before(&mut self, then: Then, expunges: Expunges) -> Doing {
        self.tell_watched();
        let (arrived, changed) = self.catch_up(expunges);
        self.finishing(then, arrived, changed)
    }

    fn finishing(&mut self, then: Then, arrived: Option<Uid>, changed: Vec<Message>) -> Doing {
        let held = self.selected.as_mut().map(|selected| std::mem::take(&mut selected.held)).unwrap_or_default();
        let all: Vec<Message> = held.into_values().chain(changed).collect();
        Doing::Finishing(Box::new(Finishing { then, arrived, counted: false, changed: all.into_iter() }))
    }

    /// News for a client that idles or watches: what comes of them; or, where there are none, what it goes on with.
    pub(super) fn news(&mut self, doing: Doing) -> (Option<Doing>, Option<Doing>) {
        let said = self.out.len();
        self.tell_watched();
        let idles = matches!(doing, Doing::Idling { .. });
        let watched = self.watch.as_ref().and_then(|watch| watch.selected());
        let (listens, at_once, flags) = match watched {
            Some((events, at_once)) => (events.new, at_once, events.flags),
            None => (false, false, false),
        };
        let (mut arrived, mut changed) = (None, Vec::new());
        if idles || listens {
            let expunges = if idles || at_once { Expunges::Told } else { Expunges::Deferred };
            (arrived, changed) = self.catch_up(expunges);
        }
        if !idles
            && !flags
            && let Some(selected) = &mut self.selected
        {
            // Told with the next command.
            selected.held.extend(changed.drain(..).map(|message| (message.uid.0, message)));
        }
        if self.out.len() == said && arrived.is_none() && changed.is_empty() && !self.ended {
            return (None, Some(doing));
        }
        let finishing = Finishing { then: Then::Back(doing), arrived, counted: false, changed: changed.into_iter() };
        (Some(Doing::Finishing(Box::new(finishing))), None)
    }

    pub(super) fn finish_on(&mut self, mut finishing: Box<Finishing>) -> Doing {
        if !std::mem::replace(&mut finishing.counted, true)
            && !self.enabled.rev2
            && let Some(first) = finishing.arrived
        {
            self.tell_recent(first);
        }
        while self.out.len() < self.room {
            let Some(message) = finishing.changed.next() else { return self.finished(*finishing) };
            self.tell_flags(&message);
        }
        Doing::Finishing(finishing)
    }

    fn finished(&mut self, finishing: Finishing) -> Doing {
        let Finishing { then, arrived, .. } = finishing;
        if let Some(first) = arrived {
            // RFC 5465 §5.2: who watches the selected folder may want to know more of what is new.
            let items = self.watch.as_ref().and_then(|watch| watch.selected()).map(|(events, _)| events.items.clone());
            if let Some(items) = items.filter(|items| !items.is_empty()) {
                return self.fetch_new(first, items, then);
            }
        }
        self.go_on(then)
    }

    pub(super) fn go_on(&mut self, then: Then) -> Doing {
        match then {
            Then::Back(doing) => doing,
            Then::Idle(tag) => {
                put!(&mut self.out, "+ Idling\r\n");
                Doing::Idling { tag }
            }
            Then::End(tag, completion) => {
                completion.write(&mut self.out, &tag);
                Doing::Nothing
            }
        }
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
