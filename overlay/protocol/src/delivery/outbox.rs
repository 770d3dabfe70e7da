//! The sender's side: every entry of the queue goes its way to exactly one fate.
//!
//! ```text
//! Idle ─ Card? ─ Seal ─ Save ─ (Connect) ─ Offer ─ Idle, handed over ─ receipt ─ Ending
//!   └─────────────── whatever fails: next place, then Idle until something happens or a timer
//! ```
//!
//! The recipient's own nodes come first; if none has it after a few seconds, relays of theirs keep copies, then volunteers (`road.rs`, `volunteers.rs`).
//! A relay that lost its copy is noticed, and used less (`copies.rs`).
//!
//! An entry has one commit of its own in flight at most, so that a failed one can be taken back without touching another. What has been sealed is
//! offered only after the commit that keeps the spent keys.

mod copies;
mod entry;
mod flow;
mod gather;
mod road;
mod volunteers;

use crate::address::Address;
use crate::event::{
    CommitProblem, Effect, Entry, EntryKind, Fate, Mono, Now, OfferOutcome, Place, PlaceKind, Problem, RefusedReason,
    SealProblem, Sealed, Write,
};
use crate::ids::{AccountId, BatchId, EntryId, MailId, Op, PeerId};
use crate::small::{SmallMap, SmallSet};

use super::age::{self, Aging};
use super::connections::Connections;
use super::context::Context;
use super::directory::Directory;
use super::mailboxes::Mailboxes;
use copies::Grace;
use entry::{Item, State};
use volunteers::Searches;

/// Entries whose age is written in one batch.
const PERSIST_BATCH_MAX: usize = 1000;
/// Envelopes above this let smaller ones pass first, in bytes.
const BULK_BYTES: u64 = 1024 * 1024;
/// Longest wait that a node may ask for, in s.
const LATER_MAX_S: u32 = 3600;
/// The longest that our own patience adds to what a node asks for, in ms.
const LATER_GROWN_MS: u64 = 10 * 60 * 1000;
/// Wait after our own store failed, in ms.
const STORE_WAIT_MS: u64 = 60 * 1000;

/// Where letters go: what is known of their recipients, and who is connected.
pub(crate) struct Road<'a> {
    pub(crate) directory: &'a mut Directory,
    pub(crate) connections: &'a mut Connections,
    pub(crate) mailboxes: &'a mut Mailboxes,
}

/// What an answer belongs to.
#[derive(Clone, Debug)]
enum Work {
    Seal(EntryId),
    Offer(EntryId, Box<Place>),
    Audit(EntryId, PeerId),
    Volunteers(Address),
    Strangers(EntryId, [u8; 16]),
    /// What has its receipt is shown once more to a node that was started anew.
    Again(PeerId),
}

/// What a commit of ours does.
#[derive(Clone, Debug)]
enum Batch {
    Sealed(EntryId, Box<Sealed>),
    Delay(EntryId),
    Progress(EntryId),
    Fate(EntryId),
}

#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    items: SmallMap<EntryId, Box<Item>>,
    index: SmallMap<Address, SmallSet<(MailId, EntryId)>>,
    timers: SmallSet<(Mono, EntryId)>,
    /// Those for which volunteers were found.
    volunteered: SmallSet<EntryId>,
    searches: Searches,
    works: SmallMap<Op, Work>,
    batches: SmallMap<BatchId, Batch>,
    to_seal: SmallSet<EntryId>,
    sealing: usize,
    to_offer: SmallMap<PeerId, SmallSet<(bool, EntryId)>>,
    offering: SmallMap<PeerId, usize>,
    /// How often a relay did not have what it said to keep.
    strikes: SmallMap<PeerId, u32>,
    grace: Grace,
    aging: Aging,
    persist_at: Mono,
    /// The store failed: until then nothing is sealed, then one letter as a trial.
    ailing: Option<Mono>,
}

impl Outbox {
    /// Takes the queue up where the snapshot left it; nothing moves before [`Outbox::wake_all`].
    pub(crate) fn restore(entries: Vec<Entry>, now: Now, config: &super::Config) -> Self {
        let newest = entries.iter().map(|entry| entry.progress.aged_at).max();
        let mut outbox = Self {
            items: SmallMap::new(),
            index: SmallMap::new(),
            timers: SmallSet::new(),
            volunteered: SmallSet::new(),
            searches: Searches::default(),
            works: SmallMap::new(),
            batches: SmallMap::new(),
            to_seal: SmallSet::new(),
            sealing: 0,
            to_offer: SmallMap::new(),
            offering: SmallMap::new(),
            strikes: SmallMap::new(),
            grace: Grace::default(),
            aging: Aging::new(now, newest, config.grace_ms),
            persist_at: Mono(now.mono.0.saturating_add(config.persist_first_ms)),
            ailing: None,
        };
        for mut entry in entries {
            let off = age::credit(now.wall.0.saturating_sub(entry.progress.aged_at.0));
            entry.progress.age_ms = entry.progress.age_ms.saturating_add(off);
            outbox.insert(entry);
        }
        outbox
    }

    fn insert(&mut self, entry: Entry) {
        let id = entry.id;
        self.index.or_default(entry.recipient).insert((entry.mid, id));
        self.items.insert(id, Box::new(Item::new(entry, self.aging.passed())));
    }

    /// Entries in the queue.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Brings ages up to date; to be called first with every event.
    pub(crate) fn observe(&mut self, cx: &Context<'_>) {
        if self.aging.observe(cx.now, cx.config.grace_ms) {
            let ids: Vec<EntryId> = self.items.keys().copied().collect();
            for id in ids {
                self.arm(id, cx);
            }
        }
    }

    /// The store committed a new entry.
    pub(crate) fn queued(&mut self, entry: Entry, cx: &mut Context<'_>, road: &mut Road<'_>) {
        let id = entry.id;
        if self.items.contains_key(&id) {
            return;
        }
        let gathers = self.gathers(&entry);
        self.insert(entry);
        if let Some(item) = self.items.get_mut(&id).filter(|_| gathers) {
            item.gather_at = cx.after(cx.config.receipt_gather_ms);
        }
        self.step(id, cx, road);
        self.arm(id, cx);
    }

    /// The entry is gone from the store: nobody is told anything.
    pub(crate) fn cancelled(&mut self, id: EntryId, cx: &mut Context<'_>) {
        if let Some(sealed) = self.remove(id).and_then(|item| item.progress.sealed) {
            cx.emit(Effect::Discard(sealed.envelope));
        }
    }

    /// The account is gone, and its entries with it.
    pub(crate) fn account_removed(&mut self, account: AccountId, cx: &mut Context<'_>) {
        let ids: Vec<EntryId> = self.items.iter().filter(|(_, item)| item.account == account).map(|(id, _)| *id).collect();
        for id in ids {
            self.cancelled(id, cx);
        }
    }

    fn remove(&mut self, id: EntryId) -> Option<Item> {
        self.leave(id);
        self.ungather(id, Mono(0));
        let item = self.items.remove(&id)?;
        self.timers.remove(&(item.wake, id));
        self.volunteered.remove(&id);
        if let Some(mails) = self.index.get_mut(&item.recipient) {
            mails.remove(&(item.mid, id));
            if mails.is_empty() {
                self.index.remove(&item.recipient);
            }
        }
        Some(*item)
    }

    /// Takes the entry out of whatever line it stands in.
    fn leave(&mut self, id: EntryId) {
        self.to_seal.remove(&id);
        if let Some(item) = self.items.get(&id)
            && let State::OfferQueued(peer) = item.state
            && let Some(line) = self.to_offer.get_mut(&peer)
        {
            line.remove(&(item.bulk(), id));
            if line.is_empty() {
                self.to_offer.remove(&peer);
            }
        }
    }

    /// Worth trying everything again: at the start, after a change of network.
    pub(crate) fn wake_all(&mut self, cx: &mut Context<'_>, road: &mut Road<'_>) {
        self.searches.forget(None);
        let ids: Vec<EntryId> = self.items.keys().copied().collect();
        for id in ids {
            self.wake(id, cx, road);
        }
    }

    /// A person asks to try now.
    pub(crate) fn retry(&mut self, id: EntryId, cx: &mut Context<'_>, road: &mut Road<'_>) {
        if let Some(recipient) = self.items.get(&id).map(|item| item.recipient) {
            road.directory.forget_failure(&recipient);
            self.searches.forget(Some(&recipient));
            for place in road.directory.card(&recipient).into_iter().flat_map(|card| card.places.iter()) {
                road.connections.forget_failure(&place.peer);
            }
        }
        self.wake(id, cx, road);
    }

    /// A newer card of this address is known, or a look-up ended.
    pub(crate) fn card_news(&mut self, address: Address, newer: bool, cx: &mut Context<'_>, road: &mut Road<'_>) {
        for id in self.entries_for(address) {
            let Some(item) = self.items.get_mut(&id) else { continue };
            if matches!(item.state, State::Card) {
                item.state = State::Idle;
                self.step(id, cx, road);
                self.arm(id, cx);
            } else if newer {
                if item.state == State::Connecting {
                    item.state = State::Idle;
                }
                self.wake(id, cx, road);
            }
        }
    }

    fn entries_for(&self, address: Address) -> Vec<EntryId> {
        let mut ids: Vec<EntryId> = self.index.get(&address).into_iter().flat_map(SmallSet::iter).map(|(_, id)| *id).collect();
        ids.sort_unstable();
        ids
    }

    /// A node that may take letters of ours is connected.
    pub(crate) fn peer_up(&mut self, peer: PeerId, cx: &mut Context<'_>, road: &mut Road<'_>) {
        for address in self.recipients_at(peer, road) {
            for id in self.entries_for(address) {
                self.greeted(id, peer, cx, road);
            }
        }
        for id in self.seeking(peer) {
            self.greeted(id, peer, cx, road);
        }
        self.show_again(peer, cx);
    }

    /// Whose cards list this node, where somebody is written to at all.
    fn recipients_at(&self, peer: PeerId, road: &Road<'_>) -> Vec<Address> {
        if self.items.is_empty() { Vec::new() } else { road.directory.at(peer) }
    }

    /// Entries that wait for a volunteer to be reached: those stand in no card.
    fn seeking(&self, peer: PeerId) -> Vec<EntryId> {
        let seeking = |item: &Item| item.state == State::Connecting && item.volunteers.iter().any(|place| place.peer == peer);
        self.volunteered.iter().copied().filter(|id| self.items.get(id).is_some_and(|item| seeking(item))).collect()
    }

    /// What was on its way to that peer is not any more.
    pub(crate) fn peer_down(&mut self, peer: PeerId, cx: &mut Context<'_>, road: &mut Road<'_>) {
        for (_, id) in self.to_offer.remove(&peer).unwrap_or_default().iter().copied() {
            self.set_idle(id);
            self.failed_at(id, peer, Problem::Unreachable, cx, road);
        }
        let broken: Vec<Op> = self
            .works
            .iter()
            .filter(|(_, work)| matches!(work, Work::Offer(_, at) if at.peer == peer))
            .map(|(op, _)| *op)
            .collect();
        for op in broken {
            self.offered(op, OfferOutcome::Broken, cx, road);
        }
        self.audits_broken(peer, cx);
    }

    /// No connection to that peer came about.
    pub(crate) fn unreachable(&mut self, peer: PeerId, cx: &mut Context<'_>, road: &mut Road<'_>) {
        for address in self.recipients_at(peer, road) {
            for id in self.entries_for(address) {
                if self.items.get(&id).is_some_and(|item| item.state == State::Connecting) {
                    self.set_idle(id);
                    self.failed_at(id, peer, Problem::Unreachable, cx, road);
                }
            }
        }
        for id in self.seeking(peer) {
            self.set_idle(id);
            self.failed_at(id, peer, Problem::Unreachable, cx, road);
        }
    }

    /// The answer to a wish to seal.
    pub(crate) fn sealed(&mut self, op: Op, result: Result<Sealed, SealProblem>, cx: &mut Context<'_>, road: &mut Road<'_>) {
        let Some(Work::Seal(id)) = self.works.remove(&op) else { return };
        self.sealing -= 1;
        let waiting = self.items.get(&id).is_some_and(|item| matches!(item.state, State::Sealing));
        match result {
            Ok(sealed) if !waiting => cx.emit(Effect::Discard(sealed.envelope)),
            Err(_) if !waiting => {}
            Ok(mut sealed) => {
                if let Some(item) = self.items.get_mut(&id) {
                    sealed.at_age_ms = item.age(&self.aging);
                    item.state = State::Unsaved(Box::new(sealed));
                }
                self.flush(id, cx);
            }
            Err(SealProblem::Permanent(why)) => self.end(id, Fate::Failed(Problem::Sealing(why)), cx),
            Err(SealProblem::NoCard) => {
                self.ungather(id, Mono(0));
                self.set_idle(id);
                if let Some(recipient) = self.items.get(&id).map(|item| item.recipient) {
                    road.directory.seek(recipient, cx);
                }
                self.put_off(id, Problem::NoCard, None, cx, road);
            }
            Err(SealProblem::Temporary(why)) => {
                self.ungather(id, cx.after(STORE_WAIT_MS));
                self.set_idle(id);
                // Nobody says when a disk has room again.
                self.put_off(id, Problem::Sealing(why), Some(STORE_WAIT_MS), cx, road);
            }
        }
    }

    /// The answer to an offer.
    pub(crate) fn offered(&mut self, op: Op, outcome: OfferOutcome, cx: &mut Context<'_>, road: &mut Road<'_>) {
        let (id, place) = match self.works.get(&op) {
            Some(Work::Offer(id, place)) => (*id, place.clone()),
            Some(Work::Again(_)) => {
                self.works.remove(&op);
                return;
            }
            _ => return,
        };
        self.works.remove(&op);
        let peer = place.peer;
        if let Some(count) = self.offering.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                self.offering.remove(&peer);
            }
        }
        if self.items.get(&id).is_none_or(|item| !matches!(item.state, State::Offering)) {
            return;
        }
        self.set_idle(id);
        match outcome {
            OfferOutcome::Have if place.kind == PlaceKind::Home => self.handed(id, &place, None, cx, road),
            OfferOutcome::Stored { until_s, signature, seldom } if place.kind != PlaceKind::Home => {
                self.handed(id, &place, Some((until_s, &signature, seldom)), cx, road);
            }
            // Who keeps letters for others says *stored*, and signs it; who is the recipient says *have*.
            OfferOutcome::Have | OfferOutcome::Stored { .. } | OfferOutcome::Broken => {
                self.failed_at(id, peer, Problem::Broken, cx, road);
            }
            OfferOutcome::NoDirectWay => {
                if let Some(size) = self.items.get(&id).and_then(|item| item.sealed_size()) {
                    road.connections.narrow.refused(peer, size, cx);
                }
                self.failed_at(id, peer, Problem::NoDirectWay, cx, road);
            }
            OfferOutcome::Later { reason, after_s } => {
                if let Some(item) = self.items.get_mut(&id) {
                    let wait = u64::from(after_s.clamp(1, LATER_MAX_S)) * 1000;
                    item.later_ms = if item.later_ms == 0 { wait } else { item.later_ms.min(wait) };
                }
                self.failed_at(id, peer, Problem::Later(reason), cx, road);
            }
            OfferOutcome::Refused(RefusedReason::Price(effort)) => self.priced(id, &place, effort, cx, road),
            OfferOutcome::Refused(reason) => {
                // Perhaps the mailbox moved: the newest card will tell.
                if let Some(recipient) = self.items.get(&id).map(|item| item.recipient) {
                    road.directory.seek(recipient, cx);
                }
                self.failed_at(id, peer, Problem::Refused(reason), cx, road);
            }
        }
    }

    /// A receipt came for these mails, proven to be from that address. Adds what to write, and says which entries will end with it and how
    /// many mails it had no right to name.
    pub(crate) fn receipt(
        &mut self,
        from: Address,
        to: AccountId,
        mails: &[MailId],
        writes: &mut Vec<Write>,
    ) -> (Vec<EntryId>, usize) {
        let (mut ending, mut bogus) = (Vec::new(), 0);
        for mid in mails {
            let ids: Vec<EntryId> = self.index.get(&from).map_or_else(Vec::new, |named| {
                named.between(&(*mid, EntryId(0)), &(*mid, EntryId(u64::MAX))).map(|(_, id)| *id).collect()
            });
            let mut meant = false;
            for id in ids {
                let Some(item) = self.items.get_mut(&id) else { continue };
                if item.account != to || item.kind != EntryKind::Mail {
                    continue;
                }
                meant = true;
                item.receipted = true;
                if item.fate.is_none() {
                    item.fate = Some(Fate::Delivered);
                    writes.push(Write::Fate { entry: id, fate: Fate::Delivered });
                    ending.push(id);
                }
            }
            bogus += usize::from(!meant);
        }
        for id in &ending {
            self.leave(*id);
            if let Some(item) = self.items.get_mut(id) {
                item.state = State::Ending;
                item.foreign = true;
            }
        }
        (ending, bogus)
    }

    /// The commit with that receipt is durable.
    pub(crate) fn receipt_durable(&mut self, ended: &[EntryId], cx: &mut Context<'_>) {
        for id in ended {
            if let Some(item) = self.remove(*id) {
                self.keep_a_day(item, cx);
            }
        }
    }

    /// The commit with that receipt failed: it will come again.
    pub(crate) fn receipt_failed(&mut self, ending: &[EntryId], cx: &mut Context<'_>) {
        for id in ending {
            if let Some(item) = self.items.get_mut(id) {
                item.fate = None;
                item.receipted = false;
                item.foreign = false;
                item.state = State::Idle;
                item.retry_at = cx.after(STORE_WAIT_MS);
            }
            self.arm(*id, cx);
        }
    }

    /// A commit of ours is durable. False if it was not ours.
    pub(crate) fn durable(&mut self, batch: BatchId, cx: &mut Context<'_>, road: &mut Road<'_>) -> bool {
        self.ailing = None;
        let Some(done) = self.batches.remove(&batch) else { return false };
        let (Batch::Sealed(id, _) | Batch::Delay(id) | Batch::Progress(id) | Batch::Fate(id)) = done;
        let Some(item) = self.items.get_mut(&id) else {
            if let Batch::Sealed(_, sealed) = done {
                cx.emit(Effect::Discard(sealed.envelope));
            }
            return true;
        };
        item.committing = false;
        match done {
            Batch::Sealed(_, sealed) => {
                if matches!(item.state, State::Saving) {
                    item.keep(*sealed);
                    item.state = State::Idle;
                    self.took_along(id);
                    self.offer(id, cx, road);
                } else {
                    // Its end is being written meanwhile.
                    cx.emit(Effect::Discard(sealed.envelope));
                    self.took_along(id);
                }
            }
            Batch::Delay(_) => item.progress.delay_told = true,
            Batch::Progress(_) => {}
            Batch::Fate(_) => {
                self.remove(id);
                return true;
            }
        }
        self.flush(id, cx);
        self.arm(id, cx);
        true
    }

    /// A commit of ours failed. False if it was not ours.
    pub(crate) fn commit_failed(&mut self, batch: BatchId, reason: CommitProblem, cx: &mut Context<'_>) -> bool {
        self.ailing = Some(cx.after(STORE_WAIT_MS));
        let Some(failed) = self.batches.remove(&batch) else { return false };
        let (Batch::Sealed(id, _) | Batch::Delay(id) | Batch::Progress(id) | Batch::Fate(id)) = failed;
        if let Batch::Sealed(_, sealed) = &failed {
            cx.emit(Effect::Discard(sealed.envelope));
        }
        let Some(item) = self.items.get_mut(&id) else { return true };
        item.committing = false;
        item.store_wait = cx.after(STORE_WAIT_MS);
        let again = item.store_wait;
        if matches!(failed, Batch::Sealed(..)) {
            self.ungather(id, again);
        }
        let Some(item) = self.items.get_mut(&id) else { return true };
        match failed {
            Batch::Sealed(..) if matches!(item.state, State::Saving) => {
                item.state = State::Idle;
                item.retry_at = item.store_wait;
                let why = match reason {
                    CommitProblem::DiskFull => "the disk of this node is full",
                    CommitProblem::Broken => "the store of this node is broken",
                };
                item.progress.last_problem = Some(Problem::Sealing(why.into()));
            }
            Batch::Sealed(..) | Batch::Progress(_) => item.dirty = true,
            Batch::Delay(_) => {}
            // A receipt that came meanwhile was answered: it counts.
            Batch::Fate(_) if item.receipted => item.fate = Some(Fate::Delivered),
            Batch::Fate(_) => {}
        }
        self.arm(id, cx);
        true
    }

    /// Whatever is due by now.
    pub(crate) fn tick(&mut self, cx: &mut Context<'_>, road: &mut Road<'_>) {
        while let Some((at, id)) = self.timers.first().copied()
            && at <= cx.now.mono
        {
            self.timers.pop_first();
            if let Some(item) = self.items.get_mut(&id) {
                item.wake = Mono(u64::MAX);
            }
            self.fire(id, cx, road);
            self.arm(id, cx);
        }
        if self.persist_at <= cx.now.mono {
            self.persist_at = cx.after(cx.config.persist_every_ms);
            self.persist(cx);
        }
        self.grace.tick(cx);
    }

    /// Writes everybody's age.
    fn persist(&mut self, cx: &mut Context<'_>) {
        let (aging, mut writes) = (&self.aging, Vec::new());
        for (id, item) in self.items.iter_mut() {
            // Whose own commit is in flight is written by it.
            if item.committing || item.fate.is_some() || matches!(item.state, State::Gathered(_)) {
                continue;
            }
            item.grow(aging);
            item.dirty = false;
            writes.push(Write::Progress { entry: *id, progress: item.progress.clone() });
            if writes.len() == PERSIST_BATCH_MAX {
                cx.commit(std::mem::take(&mut writes), Vec::new());
            }
        }
        if !writes.is_empty() {
            cx.commit(writes, Vec::new());
        }
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        let timer = self.timers.first().map(|(at, _)| *at);
        let persist = (!self.items.is_empty()).then_some(self.persist_at);
        // Whoever waits to be sealed waits for room, which an answer makes, or for the store.
        let trial = if self.to_seal.is_empty() { None } else { self.ailing };
        timer.into_iter().chain(persist).chain(trial).chain(self.grace.deadline()).min()
    }
}
