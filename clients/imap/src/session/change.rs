//! STORE (RFC 3501 §6.4.6, RFC 7162 §3.1.3), and what else changes messages has to ask first.

use kith_store::folder::{Message, Uid};

use super::update::Expunges;
use super::{Completion, Doing, Outcome, Refused, Session};
use crate::command::{Access, FlagAnswer, Numbering, Store};
use crate::limits::STORE_MESSAGES;
use crate::response::put;
use crate::set::{Ranges, SequenceSet};

/// A STORE under way: a commit for each piece of its set.
pub(super) struct StoreJob {
    tag: String,
    numbering: Numbering,
    store: Store,
    pieces: std::vec::IntoIter<Vec<(Uid, Uid)>>,
    /// Changed and not yet told.
    changed: std::vec::IntoIter<Message>,
    /// Not changed, since they changed after UNCHANGEDSINCE: numbers as the client counts.
    modified: Vec<u32>,
    /// Some were gone.
    missing: bool,
}

impl Session {
    pub(super) fn store_flags(&mut self, tag: &str, numbering: Numbering, store: Store) -> Outcome {
        self.writable()?;
        self.enabled.condstore |= store.unchanged_since.is_some();
        let ranges = self.ranges(numbering, &store.set)?;
        let view = &self.selected()?.view;
        let missing = numbering == Numbering::Sequence && view.has_losses() && lost_in(view, &ranges);
        let pieces = view.pieces(&ranges, STORE_MESSAGES).into_iter();
        let job = StoreJob {
            tag: tag.to_owned(),
            numbering,
            store,
            pieces,
            changed: Vec::new().into_iter(),
            modified: Vec::new(),
            missing,
        };
        Ok(Doing::Storing(Box::new(job)))
    }

    pub(super) fn store_on(&mut self, mut job: Box<StoreJob>) -> Doing {
        while self.out.len() < self.room {
            if let Some(message) = job.changed.next() {
                self.tell_stored(&job, &message);
                continue;
            }
            let Some(piece) = job.pieces.next() else {
                let completion = stored(&job);
                let expunges = expunges_after(job.numbering);
                return self.finish(job.tag, completion, expunges);
            };
            if let Err(Refused(completion)) = self.store_piece(&mut job, piece) {
                let expunges = expunges_after(job.numbering);
                return self.finish(job.tag, completion, expunges);
            }
        }
        Doing::Storing(job)
    }

    fn store_piece(&mut self, job: &mut StoreJob, piece: Vec<(Uid, Uid)>) -> Result<(), Refused> {
        let account = self.account_id()?;
        let folder = self.selected()?.folder;
        let store = &job.store;
        let stored =
            self.store().change_flags(account, folder, piece, store.change, store.flags.clone(), store.unchanged_since)?;
        let selected = self.selected_mut()?;
        let mut new_keyword = false;
        for (message, before) in stored.messages.iter().zip(&stored.before) {
            new_keyword |= selected.learn_keywords(message);
            // RFC 3501 §6.4.6: what others have changed meanwhile is told, however silent this is.
            let knew = *before <= selected.mod_seq || selected.view.was_told(message.uid, *before);
            if knew || store.answer == FlagAnswer::Told {
                selected.view.tell(message.uid, message.mod_seq);
            }
        }
        if new_keyword && let Some(selected) = &self.selected {
            selected.write_flags(&mut self.out);
        }
        let selected = self.selected()?;
        let number = |uid: Uid| match job.numbering {
            Numbering::Uid => Some(uid.0),
            Numbering::Sequence => selected.view.sequence(uid),
        };
        job.modified.extend(stored.modified.into_iter().filter_map(number));
        job.changed = stored.messages.into_iter();
        Ok(())
    }

    /// The new flags, unless they are not wanted; the new MODSEQ in any case if the client knows of such (RFC 7162 §3.1.3).
    fn tell_stored(&mut self, job: &StoreJob, message: &Message) {
        match (job.store.answer, self.enabled.condstore) {
            (FlagAnswer::Told, _) => self.tell_flags(message),
            (FlagAnswer::Silent, false) => {}
            (FlagAnswer::Silent, true) => {
                let number = self.selected.as_ref().and_then(|selected| selected.view.sequence(message.uid));
                if let Some(number) = number {
                    put!(&mut self.out, "* {number} FETCH (UID {} MODSEQ ({}))\r\n", message.uid.0, message.mod_seq.0);
                }
            }
        }
    }

    pub(super) fn writable(&self) -> Result<(), Refused> {
        match self.selected()?.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(Completion::no("READ-ONLY", "The folder was opened with EXAMINE").into()),
        }
    }

    /// A set as UID ranges.
    pub(super) fn ranges(&self, numbering: Numbering, set: &SequenceSet) -> Result<Vec<(Uid, Uid)>, Refused> {
        let selected = self.selected()?;
        if set.is_saved() {
            return Ok(selected.saved.as_slice().iter().map(|&(from, to)| (Uid(from), Uid(to))).collect());
        }
        let view = &selected.view;
        match numbering {
            Numbering::Uid => Ok(view.by_uid(set)),
            Numbering::Sequence => view.by_sequence(set).map_err(|error| Refused(Completion::bad(error.to_string()))),
        }
    }
}

/// Only the commands with UID let EXPUNGE be said before they end.
pub(super) fn expunges_after(numbering: Numbering) -> Expunges {
    match numbering {
        Numbering::Uid => Expunges::Told,
        Numbering::Sequence => Expunges::Deferred,
    }
}

/// Is one of these gone though the client still counts it?
pub(super) fn lost_in(view: &crate::view::View, ranges: &[(Uid, Uid)]) -> bool {
    let from = |uid: Uid| view.uids().partition_point(|&known| known < uid.0);
    let through = |uid: Uid| view.uids().partition_point(|&known| known <= uid.0);
    ranges.iter().any(|&(first, last)| {
        let known = view.uids().get(from(first)..through(last)).unwrap_or_default();
        known.iter().any(|&uid| view.is_lost(Uid(uid)))
    })
}

fn stored(job: &StoreJob) -> Completion {
    let completion = if job.missing {
        Completion::no("EXPUNGEISSUED", "Some of the messages are gone")
    } else {
        Completion::ok("STORE completed")
    };
    if job.modified.is_empty() {
        return completion;
    }
    let mut modified = job.modified.clone();
    modified.sort_unstable();
    let modified: Ranges = modified.into_iter().collect();
    completion.with_code(format!("MODIFIED {modified}"))
}
