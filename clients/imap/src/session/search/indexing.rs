//! Searching by keys: those of the folder's index, of gists, or else worked out of headers.

use std::sync::Arc;

use kith_store::account::AccountId;
use kith_store::folder::{Message, ModSeq, Uid};
use kith_store::mailbox::Gist;

use super::matching::{Bytes, matches_keys};
use super::{Purpose, Refused, SearchJob, Session};
use crate::gist::Haste;
use crate::index::{Index, Shared};
use crate::keys::Keys;
use crate::limits::{GISTS_TOGETHER, INDEX_CACHE_BYTES, INDEX_CHANGES_MAX, SEARCH_STEP_MESSAGES};
use crate::set::Ranges;

/// What an index takes of each message at least.
const ENTRY_BYTES_MIN: usize = 64;

/// A folder as it was when a search began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Began {
    mod_seq: ModSeq,
    messages: u32,
}

impl Began {
    /// Whether the index of a folder of that size may be kept.
    pub(super) fn can_be_shared(self) -> bool {
        usize::try_from(self.messages).is_ok_and(|messages| messages < INDEX_CACHE_BYTES / ENTRY_BYTES_MIN)
    }
}

impl Session {
    /// The folder as it is, and its index, brought up to that.
    pub(super) fn begin_by_keys(&self) -> Result<(Began, Option<Arc<Index>>), Refused> {
        let (account, folder) = (self.account_id()?, self.selected()?.folder);
        let indexes = &self.shared.indexes;
        let Some(now) = self.store().folder(account, folder)? else {
            indexes.forget(account, folder);
            return Ok((Began::default(), None));
        };
        let began = Began { mod_seq: now.mod_seq, messages: now.messages };
        let Some(shared) = indexes.find(account, folder) else { return Ok((began, None)) };
        if shared.mod_seq == now.mod_seq {
            return Ok((began, Some(shared.index)));
        }
        match self.caught_up(account, &shared)? {
            Some(caught_up) => {
                indexes.keep(account, folder, caught_up.clone());
                Ok((began, Some(caught_up.index)))
            }
            None => {
                indexes.forget(account, folder);
                Ok((began, None))
            }
        }
    }

    /// An index with what has changed since; `None` where it is better made anew.
    fn caught_up(&self, account: AccountId, shared: &Shared) -> Result<Option<Shared>, Refused> {
        let changes = self.store().changes(account, self.selected()?.folder, shared.mod_seq)?;
        let Shared { index, .. } = shared;
        let last = index.entries().last().map_or(0, |entry| entry.uid);
        let known = |uid: u32| index.entry(index.place(uid)).uid == uid;
        let new: Vec<Message> = changes.changed.into_iter().filter(|message| !known(message.uid.0)).collect();
        let gone: Ranges = changes.vanished.iter().map(|uid| uid.0).filter(|uid| known(*uid)).collect();
        let too_many = new.len() + changes.vanished.len() > INDEX_CHANGES_MAX;
        if changes.forgotten > shared.mod_seq || too_many || new.iter().any(|message| message.uid.0 <= last) {
            return Ok(None);
        }
        if new.is_empty() && gone.as_slice().is_empty() {
            return Ok(Some(Shared { mod_seq: changes.mod_seq, index: Arc::clone(index) }));
        }
        let mut index = index.retained(|entry| !gone.contains(entry.uid));
        let mut worked_out = Vec::new();
        for (message, mut bytes) in new.iter().zip(self.known_of(account, &new, false, true, None)?) {
            index.push(message.uid.0, beside(message), Some(self.written_keys(message, &mut bytes)?));
            worked_out.extend(bytes.new_gist(account, message));
        }
        self.shared.gists.take(self.store(), &mut worked_out, Haste::None);
        Ok(Some(Shared { mod_seq: changes.mod_seq, index: Arc::new(index) }))
    }

    /// What the store keeps of these messages, as far as it is wanted: keys come from an index before gists, and excerpts where either is missing.
    pub(super) fn known_of(
        &self,
        account: AccountId,
        messages: &[Message],
        wants_excerpts: bool,
        wants_keys: bool,
        index: Option<&Index>,
    ) -> Result<Vec<Bytes>, Refused> {
        let mut all: Vec<Bytes> = messages.iter().map(|_| Bytes::default()).collect();
        if wants_keys {
            let gists = if index.is_none() { self.store().gists(account, Gist::Keys, messages)? } else { Default::default() };
            for (number, (message, bytes)) in messages.iter().zip(&mut all).enumerate() {
                let indexed = index.map(|index| (index, index.place(message.uid.0)));
                let written = match indexed.filter(|(index, place)| index.entry(*place).uid == message.uid.0) {
                    Some((index, place)) => Some(index.written(place)),
                    None => gists.find(number),
                };
                bytes.keys = written.filter(|written| Keys::read(written).is_some()).map(<[u8]>::to_vec);
            }
        }
        if wants_excerpts || wants_keys && all.iter().any(|bytes| bytes.keys.is_none()) {
            for (bytes, excerpt) in all.iter_mut().zip(self.store().excerpts(account, messages)?) {
                bytes.excerpt = excerpt;
            }
        }
        Ok(all)
    }

    /// Looks at some messages of the folder's index.
    pub(super) fn search_index(&mut self, job: &mut SearchJob, index: &Index, from: Uid) -> Result<(usize, u64), Refused> {
        let start = index.place(from.0);
        let end = index.entries().partition_point(|entry| entry.uid <= job.last.0).min(start + SEARCH_STEP_MESSAGES);
        let view = &self.selected()?.view;
        let mut near = 0;
        for place in start..end {
            let uid = index.entry(place).uid;
            if view.sequence_near(Uid(uid), &mut near).is_some()
                && let Some(keys) = index.keys(place)
                && job.search.keys.iter().all(|key| matches_keys(key, uid, &keys))
            {
                job.found.push(uid);
                job.places.push(place);
            }
        }
        let last = end.checked_sub(1).filter(|_| end > start).map(|last| index.entry(last).uid);
        job.next = last.and_then(|last| last.checked_add(1)).map(Uid);
        Ok((end.saturating_sub(start), 0))
    }

    /// Takes in a message for what follows the search.
    pub(super) fn gather(&self, job: &mut SearchJob, message: &Message, bytes: &mut Bytes, found: bool) -> Result<(), Refused> {
        let keys = if job.wants_keys { Some(self.written_keys(message, bytes)?) } else { None };
        if found {
            job.places.push(job.gathered.len());
        }
        job.gathered.push(message.uid.0, beside(message), keys);
        Ok(())
    }

    /// Has what was worked out kept: now, or once there is more.
    pub(super) fn keep_worked_out(&self, job: &mut SearchJob, ends: bool) {
        if !ends {
            return self.shared.gists.take_much(self.store(), &mut job.new);
        }
        let haste = if job.worked_out >= GISTS_TOGETHER { Haste::Last } else { Haste::None };
        self.shared.gists.take(self.store(), &mut job.new, haste);
    }

    /// What was gathered becomes the folder's index, if it is all of the folder and nothing has changed meanwhile.
    pub(super) fn share_gathered(&self, began: Began, index: Index) {
        let Ok((account, folder)) = self.account_id().and_then(|account| Ok((account, self.selected()?.folder))) else { return };
        let whole = began.can_be_shared() && usize::try_from(began.messages).is_ok_and(|messages| messages == index.len());
        if !whole || index.len() == 0 {
            return;
        }
        let now = self.store().folder(account, folder).ok().flatten();
        if now.is_some_and(|now| now.mod_seq == began.mod_seq) {
            self.shared.indexes.keep(account, folder, Shared { mod_seq: began.mod_seq, index: Arc::new(index) });
        }
    }
}

impl SearchJob {
    /// What was found, as the answer needs it: an index, and the places in it.
    pub(super) fn gathered(&self) -> (&Index, impl Iterator<Item = usize>) {
        let index = match &self.shared {
            Some(shared) if self.by_keys => shared,
            _ => &self.gathered,
        };
        (index, self.places.iter().copied())
    }

    pub(super) fn is_sort(&self) -> bool {
        matches!(self.purpose, Purpose::Sort(_))
    }
}

/// What an index holds of a message beside its keys.
fn beside(message: &Message) -> (u64, i64, u64) {
    (message.record, message.internal_date, message.size)
}
