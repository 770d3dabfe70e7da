//! One entry of the queue in memory: where it stands and when it wants to be looked at.

use std::sync::Arc;

use crate::address::Address;
use crate::event::{CardInfo, Entry, EntryKind, Fate, Mono, Place, PlaceKind, Problem, Progress, Sealed};
use crate::ids::{AccountId, EntryId, MailId, PeerId};
use crate::limits::CARD_PLACES_MAX;
use crate::work::Work;

use super::super::Config;
use super::super::age::Aging;
use super::BULK_BYTES;

/// Places that a letter may go to: a bit each.
pub(super) const CANDIDATES_MAX: usize = 30;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Waits for a timer, an event or the receipt.
    Idle,
    /// A look-up runs.
    Card,
    /// Stands in line to be sealed.
    SealQueued,
    /// A receipt that another one to the same mailbox confirms with its own, and ends.
    Gathered(EntryId),
    Sealing,
    /// Sealed; its commit waits for another one of this entry.
    Unsaved(Box<Sealed>),
    /// The commit that keeps the spent keys is in flight.
    Saving,
    /// Until one of the places that it may go to is there, or relays are due.
    Connecting,
    /// Volunteers are being looked for.
    Seeking,
    /// The work that strangers do is being done.
    Working,
    /// Stands in line at that peer.
    OfferQueued(PeerId),
    Offering,
    /// Its fate is being written.
    Ending,
}

#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) account: AccountId,
    pub(super) recipient: Address,
    pub(super) mid: MailId,
    pub(super) kind: EntryKind,
    /// Mails that it confirms beside the one of its kind.
    pub(super) confirms: usize,
    /// A receipt waits until then for others that go with it.
    pub(super) gather_at: Mono,
    /// Receipts that it takes along, while it is being sealed.
    pub(super) gathered: Vec<EntryId>,
    /// Its bytes go as soon as a node has the envelope.
    fleeting: bool,
    pub(super) progress: Progress,
    /// The time passed when `progress.age_ms` was right.
    aged: u64,
    pub(super) state: State,
    /// Places tried in this round, a bit each.
    pub(super) tried: u32,
    /// Volunteers that were found.
    pub(super) volunteers: Arc<[Place]>,
    /// They were looked for in this round.
    pub(super) sought: bool,
    /// Our own relay was asked to carry it, in this round.
    pub(super) carried: bool,
    /// In this round relays count from then on.
    pub(super) relay_at: Option<Mono>,
    /// The work for this envelope, and what it is bound to.
    pub(super) work: Option<([u8; 16], Work)>,
    /// How often a price was named for this envelope.
    pub(super) prices: u8,
    /// When a relay is asked whether it still has its copy.
    pub(super) audit_at: Mono,
    /// Relays were asked a second time in this run of the process, hours later.
    pub(super) asked_late: bool,
    /// Times that such a question could not be put, since the relay was not there.
    pub(super) doubts: u8,
    /// A relay said that it has it no more; perhaps the recipient has.
    pub(super) missing: bool,
    pub(super) failures: u8,
    /// The shortest wait that a node of this round asked for, in ms; 0: none did.
    pub(super) later_ms: u64,
    /// While it was being offered somewhere, something happened that makes another round worth while.
    pub(super) woken: bool,
    pub(super) retry_at: Mono,
    pub(super) offered_at: Option<Mono>,
    /// No commit of this entry's own before that: the store failed.
    pub(super) store_wait: Mono,
    /// When the timer fires; the key of the timer.
    pub(super) wake: Mono,
    pub(super) committing: bool,
    /// There is progress that a restart would not know.
    pub(super) dirty: bool,
    /// A receipt came that was, or is being, answered.
    pub(super) receipted: bool,
    /// The receipt's own commit writes the fate.
    pub(super) foreign: bool,
    pub(super) fate: Option<Fate>,
}

impl Item {
    pub(super) fn new(entry: Entry, passed: u64) -> Self {
        Self {
            account: entry.account,
            recipient: entry.recipient,
            mid: entry.mid,
            kind: entry.kind,
            confirms: entry.also.len(),
            gather_at: Mono(0),
            gathered: Vec::new(),
            fleeting: entry.fleeting,
            progress: entry.progress,
            aged: passed,
            state: State::Idle,
            tried: 0,
            volunteers: Arc::default(),
            sought: false,
            carried: false,
            relay_at: None,
            work: None,
            prices: 0,
            audit_at: Mono(u64::MAX),
            asked_late: false,
            doubts: 0,
            missing: false,
            failures: 0,
            later_ms: 0,
            woken: false,
            retry_at: Mono(u64::MAX),
            offered_at: None,
            store_wait: Mono(0),
            wake: Mono(u64::MAX),
            committing: false,
            dirty: false,
            receipted: false,
            foreign: false,
            fate: None,
        }
    }

    /// How long it has waited, in ms.
    pub(super) fn age(&self, aging: &Aging) -> u64 {
        self.progress.age_ms.saturating_add(aging.passed().saturating_sub(self.aged))
    }

    /// Writes the age into the progress.
    pub(super) fn grow(&mut self, aging: &Aging) {
        self.progress.age_ms = self.age(aging);
        self.progress.aged_at = aging.mark();
        self.aged = aging.passed();
    }

    /// The envelope is what is offered from now on.
    pub(super) fn keep(&mut self, sealed: Sealed) {
        self.progress.only = self.is_only(&sealed);
        self.progress.sealed = Some(sealed);
        self.progress.handed_at_age_ms = None;
        self.progress.copies.clear();
        self.offered_at = None;
        (self.work, self.prices) = (None, 0);
        (self.audit_at, self.asked_late) = (Mono(u64::MAX), false);
        self.begin_round();
    }

    /// Every place is worth a try again.
    pub(super) fn begin_round(&mut self) {
        (self.tried, self.relay_at, self.sought, self.carried, self.woken) = (0, None, false, false, false);
    }

    /// Where it may go: the recipient's own nodes, relays, volunteers, in this order, each with its bit.
    pub(super) fn candidates(&self, card: Option<&CardInfo>, strikes: impl Fn(&PeerId) -> u32) -> Vec<(u32, Place)> {
        let listed = card.into_iter().flat_map(|card| card.places.iter()).take(CARD_PLACES_MAX);
        let mut all: Vec<(u32, Place)> = (0..).zip(listed.chain(self.volunteers.iter()).take(CANDIDATES_MAX).cloned()).collect();
        // The order of the card within a kind, but who lost mail comes last.
        all.sort_by_key(|(bit, place)| (place.kind, strikes(&place.peer), *bit));
        all.into_iter().map(|(bit, place)| (1 << bit, place)).collect()
    }

    pub(super) fn copies(&self, kind: PlaceKind) -> usize {
        self.progress.copies.iter().filter(|copy| copy.kind == kind).count()
    }

    /// Copies at relays, in halves: one that is on for some hours only counts half.
    fn relays(&self) -> usize {
        let relays = self.progress.copies.iter().filter(|copy| copy.kind == PlaceKind::Relay);
        relays.map(|copy| if copy.seldom { 1 } else { 2 }).sum()
    }

    pub(super) fn copy_at(&self, peer: &PeerId) -> bool {
        self.progress.copies.iter().any(|copy| copy.peer == *peer)
    }

    /// Enough nodes have it.
    pub(super) fn is_spread(&self, config: &Config) -> bool {
        self.copies(PlaceKind::Home) > 0
            || self.relays() >= 2 * config.relay_copies
            || self.copies(PlaceKind::Volunteer) >= config.volunteer_copies
    }

    /// Every copy at a relay was shown once.
    pub(super) fn is_audited(&self) -> bool {
        self.progress.copies.iter().all(|copy| copy.kind != PlaceKind::Relay || copy.audited)
    }

    pub(super) fn bulk(&self) -> bool {
        self.sealed_size().is_some_and(|size| size > BULK_BYTES)
    }

    /// The size of its envelope in bytes, if there is one.
    pub(super) fn sealed_size(&self) -> Option<u64> {
        self.progress.sealed.as_ref().map(|sealed| sealed.size)
    }

    /// Remembers what went wrong; people can see it in the queue, so a change is written.
    pub(super) fn note(&mut self, problem: Problem) {
        // What their node took it has: whatever goes wrong later is not the reason.
        let taken = self.progress.last_problem == Some(Problem::NoReceipt);
        if !taken && self.progress.last_problem.as_ref() != Some(&problem) {
            self.progress.last_problem = Some(problem);
            self.dirty = true;
        }
    }

    /// A node has it and the receipt is missing.
    pub(super) fn is_handed(&self) -> bool {
        self.progress.handed_at_age_ms.is_some()
    }

    /// Whether there will be no other envelope than this one, which was just sealed.
    pub(super) fn is_only(&self, sealed: &Sealed) -> bool {
        self.fleeting && sealed.kept_here
    }

    /// A node has it from now on.
    pub(super) fn hand(&mut self, age_ms: u64) {
        self.progress.handed_at_age_ms.get_or_insert(age_ms);
        self.progress.only |= self.fleeting;
    }

    /// The age at which it is sealed anew although a node has it.
    pub(super) fn reseal_due(&self, config: &Config) -> Option<u64> {
        if self.progress.only {
            return None;
        }
        let handed = self.progress.handed_at_age_ms?;
        let sealed = self.progress.sealed.as_ref()?;
        // A relay that shows every day that it has the letter is no reason to send it again.
        let shown = self.progress.copies.iter().any(|copy| copy.kind == PlaceKind::Relay && copy.audited);
        let after = if shown { config.envelope_life_ms } else { config.reseal_after_ms };
        Some(handed.saturating_add(after).max(sealed.at_age_ms.saturating_mul(2)))
    }

    /// The moment at which the age will be `due`.
    fn moment(&self, due: u64, now: Mono, aging: &Aging) -> Mono {
        Mono(now.0.saturating_add(due.saturating_sub(self.age(aging))))
    }

    pub(super) fn delay_pending(&self) -> bool {
        self.kind == EntryKind::Mail && !self.progress.delay_told && self.fate.is_none()
    }

    /// When it wants to be looked at.
    pub(super) fn next_wake(&self, now: Mono, aging: &Aging, config: &Config) -> Mono {
        if self.committing {
            return Mono(u64::MAX);
        }
        if self.fate.is_some() {
            return if self.foreign { Mono(u64::MAX) } else { self.store_wait };
        }
        if matches!(self.state, State::Gathered(_)) {
            return Mono(u64::MAX);
        }
        let settled = Mono(aging.settled());
        let mut wake = self.moment(config.expiry_ms, now, aging).max(settled);
        if self.delay_pending() {
            wake = wake.min(self.moment(config.delay_notice_ms, now, aging).max(settled).max(self.store_wait));
        }
        if self.dirty || matches!(self.state, State::Unsaved(_)) {
            wake = wake.min(self.store_wait);
        }
        if self.state == State::Idle {
            let reseal = self.reseal_due(config).map_or(Mono(u64::MAX), |due| self.moment(due, now, aging).max(self.store_wait));
            wake = wake.min(self.retry_at).min(self.audit_at);
            if self.retry_at == Mono(u64::MAX) || self.is_handed() {
                wake = wake.min(reseal);
            }
        }
        if self.state == State::Connecting
            && let Some(relay_at) = self.relay_at
        {
            let seek_at = Mono(relay_at.0.saturating_add(config.relay_wait_ms.saturating_sub(config.direct_wait_ms)));
            if relay_at > now {
                wake = wake.min(relay_at);
            } else if !self.sought && seek_at > now {
                wake = wake.min(seek_at);
            }
        }
        wake
    }
}
