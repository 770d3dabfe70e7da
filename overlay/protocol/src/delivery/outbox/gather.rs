//! Receipts to one mailbox that are due together go in one letter: what comes at once is confirmed at once, at the price of one seal and one delivery.

use crate::event::{Entry, EntryKind, Mono};
use crate::ids::EntryId;
use crate::limits::RECEIPT_MAILS_MAX;
use crate::small::SmallSet;

use super::Outbox;
use super::entry::{Item, State};

impl Item {
    /// A receipt that nobody has seen yet: another one can say what it says.
    fn is_free_receipt(&self) -> bool {
        matches!(self.kind, EntryKind::Receipt(_))
            && matches!(self.state, State::Idle | State::SealQueued)
            && self.progress.sealed.is_none()
            && self.fate.is_none()
            && !self.committing
    }
}

impl Outbox {
    /// Whether it is a receipt that waits for more of them: one alone goes at once, those that come while another one to the same mailbox is in the
    /// queue go together.
    pub(super) fn gathers(&self, entry: &Entry) -> bool {
        let is_other = |item: &Item| item.account == entry.account && matches!(item.kind, EntryKind::Receipt(_));
        let mut others =
            self.index.get(&entry.recipient).into_iter().flat_map(SmallSet::iter).filter_map(|(_, id)| self.items.get(id));
        matches!(entry.kind, EntryKind::Receipt(_)) && others.any(|item| is_other(item))
    }

    /// What this receipt, whose turn it is to be sealed, takes along: the oldest others of its account to the same mailbox, as many as one letter may
    /// confirm. They wait for what becomes of it.
    pub(super) fn gather(&mut self, id: EntryId) -> Vec<EntryId> {
        let Some(lead) = self.items.get(&id) else { return Vec::new() };
        if !matches!(lead.kind, EntryKind::Receipt(_)) || lead.progress.sealed.is_some() {
            return Vec::new();
        }
        let (account, recipient) = (lead.account, lead.recipient);
        let mut room = RECEIPT_MAILS_MAX.saturating_sub(1 + lead.confirms);
        let mut taken = Vec::new();
        for other in self.entries_for(recipient) {
            let Some(item) = self.items.get_mut(&other) else { continue };
            if other == id || item.account != account || !item.is_free_receipt() || item.confirms >= room {
                continue;
            }
            room -= 1 + item.confirms;
            item.state = State::Gathered(id);
            item.retry_at = Mono(u64::MAX);
            self.to_seal.remove(&other);
            taken.push(other);
        }
        if let Some(lead) = self.items.get_mut(&id) {
            lead.gathered.clone_from(&taken);
        }
        taken
    }

    /// The letter is durable: those that it took along are no more.
    pub(super) fn took_along(&mut self, id: EntryId) {
        let Some(lead) = self.items.get_mut(&id) else { return };
        for other in std::mem::take(&mut lead.gathered) {
            let confirms = self.items.get(&other).map_or(0, |item| 1 + item.confirms);
            self.remove(other);
            if let Some(lead) = self.items.get_mut(&id) {
                lead.confirms += confirms;
            }
        }
    }

    /// The letter did not come about, or its entry is gone: each of those goes on alone, `at` the earliest.
    pub(super) fn ungather(&mut self, id: EntryId, at: Mono) {
        let Some(lead) = self.items.get_mut(&id) else { return };
        for other in std::mem::take(&mut lead.gathered) {
            let Some(item) = self.items.get_mut(&other) else { continue };
            if item.state != State::Gathered(id) || item.fate.is_some() {
                continue;
            }
            item.state = State::Idle;
            item.retry_at = at;
            self.timers.remove(&(item.wake, other));
            item.wake = at;
            self.timers.insert((at, other));
        }
    }
}
