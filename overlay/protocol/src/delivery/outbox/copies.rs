//! Copies at others: whether they still are there, and our own, which stays for a day after the receipt, since disks lie.

use std::sync::Arc;

use crate::address::Address;
use crate::event::{AuditOutcome, Counter, Effect, EntryKind, Fate, Mono, PlaceKind, Way};
use crate::hosting;
use crate::ids::{AccountId, EntryId, EnvelopeId, Op, PeerId, QueueName};
use crate::small::{SmallMap, SmallSet};

use super::super::context::Context;
use super::entry::{Item, State};
use super::{Outbox, Road, Work};

/// Envelopes that stay for a day after their receipt.
const GRACE_MAX: usize = 512;
/// Their bytes.
const GRACE_BYTES_MAX: u64 = 64 << 20;
/// Relays whose lies are remembered.
const STRIKES_PEERS_MAX: usize = 1024;
/// Until a relay that has not got it (any more) is asked again, in ms: perhaps it was collected, and the receipt is on its way.
const DOUBT_MS: u64 = 10 * 60 * 1000;
/// Until a relay that is not there is tried again, in ms.
const ABSENT_MS: u64 = 30 * 1000;
/// Questions that may come to nothing before they are put off for hours.
const DOUBTS_MAX: u8 = 3;

/// An envelope whose receipt is here.
#[derive(Clone, Debug)]
struct Kept {
    account: AccountId,
    recipient: Address,
    size: u64,
    queue: QueueName,
    peer: PeerId,
    until: Mono,
}

/// Envelopes whose receipts are here, for a day.
#[derive(Clone, Debug, Default)]
pub(super) struct Grace {
    kept: SmallMap<EnvelopeId, Kept>,
    bytes: u64,
    /// When the first of them goes; `None`: there is none.
    first: Option<Mono>,
    /// Peers that run anew and are to be shown what they said to have.
    anew: SmallSet<PeerId>,
}

impl Grace {
    pub(super) fn tick(&mut self, cx: &mut Context<'_>) {
        if self.first.is_none_or(|first| first > cx.now.mono) {
            return;
        }
        let over: Vec<EnvelopeId> =
            self.kept.iter().filter(|(_, kept)| kept.until <= cx.now.mono).map(|(envelope, _)| *envelope).collect();
        for envelope in over {
            if let Some(kept) = self.kept.remove(&envelope) {
                self.bytes = self.bytes.saturating_sub(kept.size);
            }
            cx.emit(Effect::Discard(envelope));
        }
        self.first = self.kept.values().map(|kept| kept.until).min();
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.first
    }
}

impl Outbox {
    /// The receipt is durable: the envelope stays for a day where it was taken by the recipient's own node, and goes where relays have their own.
    pub(super) fn keep_a_day(&mut self, item: Item, cx: &mut Context<'_>) {
        let Some(sealed) = item.progress.sealed else { return };
        let home = item.progress.copies.iter().find(|copy| copy.kind == PlaceKind::Home);
        let fits = self.grace.kept.len() < GRACE_MAX && self.grace.bytes.saturating_add(sealed.size) <= GRACE_BYTES_MAX;
        let Some(copy) = home.filter(|_| fits) else {
            return cx.emit(Effect::Discard(sealed.envelope));
        };
        self.grace.bytes = self.grace.bytes.saturating_add(sealed.size);
        let kept = Kept {
            account: item.account,
            recipient: item.recipient,
            size: sealed.size,
            queue: copy.queue,
            peer: copy.peer,
            until: cx.after(cx.config.grace_copy_ms),
        };
        self.grace.first = Some(self.grace.first.map_or(kept.until, |first| first.min(kept.until)));
        self.grace.kept.insert(sealed.envelope, kept);
    }

    /// That peer may have forgotten what it said to have.
    pub(crate) fn peer_restarted(&mut self, peer: PeerId) {
        if self.grace.kept.values().any(|kept| kept.peer == peer) {
            self.grace.anew.insert(peer);
        }
    }

    /// Shows a peer that runs anew what it had taken within the last day: it answers *have* to what it still has.
    pub(super) fn show_again(&mut self, peer: PeerId, cx: &mut Context<'_>) {
        if !self.grace.anew.remove(&peer) {
            return;
        }
        for (envelope, kept) in self.grace.kept.iter().filter(|(_, kept)| kept.peer == peer) {
            let op = cx.op();
            self.works.insert(op, Work::Again(peer));
            let Kept { account, recipient, .. } = *kept;
            let way = Way::Letter { account, recipient, deposit: false, work: None, onward: Arc::default() };
            cx.emit(Effect::Offer { op, peer, queue: kept.queue, envelope: *envelope, size: kept.size, way });
        }
    }

    /// When a copy is asked for next: soon after it was left, since whoever lies about storing does so at once, and the sender may be off tomorrow; then
    /// hours later, by the letter's age and not by how long this process runs; then daily.
    pub(super) fn plan_audit(&mut self, id: EntryId, cx: &mut Context<'_>) {
        let Some(item) = self.items.get_mut(&id) else { return };
        let soon = cx.config.audit_first_ms.saturating_add(cx.below(2 * cx.config.audit_first_ms));
        let left_at = item.progress.copies.iter().filter(|copy| copy.kind == PlaceKind::Relay).map(|copy| copy.at_age_ms).min();
        let volunteers = item.copies(PlaceKind::Volunteer) > 0;
        let wait = match left_at {
            Some(_) if !item.is_audited() => soon,
            Some(left_at) if !item.asked_late => {
                let due = left_at.saturating_add(cx.config.audit_after_ms).saturating_add(cx.below(2 * cx.config.audit_after_ms));
                due.saturating_sub(item.age(&self.aging)).max(soon)
            }
            _ if volunteers => cx.jittered(cx.config.volunteer_check_ms),
            Some(_) => cx.jittered(cx.config.reseal_after_ms),
            None => {
                item.audit_at = Mono(u64::MAX);
                return;
            }
        };
        item.audit_at = cx.after(wait);
    }

    /// After a start nothing is planned yet for copies that were left before.
    pub(super) fn resume_audits(&mut self, id: EntryId, cx: &mut Context<'_>) {
        if self.items.get(&id).is_some_and(|item| item.audit_at == Mono(u64::MAX) && !item.progress.copies.is_empty()) {
            self.plan_audit(id, cx);
        }
    }

    /// Asks those that keep copies whether they have them.
    pub(super) fn audit(&mut self, id: EntryId, cx: &mut Context<'_>, road: &mut Road<'_>) {
        let Some(item) = self.items.get_mut(&id) else { return };
        let Some(sealed) = item.progress.sealed.clone() else { return };
        item.doubts = item.doubts.saturating_add(1);
        let late = item.is_audited();
        item.asked_late |= late;
        let due = |copy: &&crate::event::Copy| match copy.kind {
            PlaceKind::Relay => !copy.audited || late,
            PlaceKind::Volunteer => true,
            PlaceKind::Home | PlaceKind::Carrier => false,
        };
        let mut absent = Vec::new();
        for copy in item.progress.copies.iter().filter(due) {
            if !road.connections.is_up(&copy.peer) {
                absent.push(copy.peer);
                continue;
            }
            let op = cx.op();
            let nonce = hosting::challenge(cx.rng);
            let (peer, queue) = (copy.peer, copy.queue);
            self.works.insert(op, Work::Audit(id, peer));
            cx.emit(Effect::Audit { op, peer, queue, envelope: sealed.envelope, size: sealed.size, nonce });
        }
        // The answers say when to ask again.
        item.audit_at = Mono(u64::MAX);
        if absent.is_empty() {
            item.doubts = 0;
            return;
        }
        if item.doubts > DOUBTS_MAX {
            item.doubts = 0;
            // A volunteer that is never there is as good as gone.
            let gone = |copy: &crate::event::Copy| copy.kind == PlaceKind::Volunteer && absent.contains(&copy.peer);
            let before = item.progress.copies.len();
            item.progress.copies.retain(|copy| !gone(copy));
            if item.progress.copies.len() != before {
                item.dirty = true;
                item.begin_round();
                item.retry_at = Mono(u64::MAX);
                self.step(id, cx, road);
            }
            return self.plan_audit(id, cx);
        }
        item.audit_at = cx.after(ABSENT_MS);
        for peer in absent {
            let places = road.directory.card(&item.recipient).map_or(&[][..], |card| &card.places);
            let hints = places.iter().find(|place| place.peer == peer).map_or(&[][..], |place| &place.addresses);
            road.connections.want(peer, hints, cx);
        }
    }

    /// A relay was asked for its copy.
    pub(crate) fn audited(&mut self, op: Op, outcome: AuditOutcome, cx: &mut Context<'_>, road: &mut Road<'_>) {
        let Some(Work::Audit(id, peer)) = self.works.get(&op) else { return };
        let (id, peer) = (*id, *peer);
        self.works.remove(&op);
        let Some(item) = self.items.get_mut(&id) else { return };
        let (age, at_home) = (item.age(&self.aging), item.copies(PlaceKind::Home) > 0);
        let Some(copy) = item.progress.copies.iter_mut().find(|copy| copy.peer == peer) else { return };
        let left_ms = age.saturating_sub(copy.at_age_ms);
        match outcome {
            AuditOutcome::Kept => {
                item.dirty |= !copy.audited;
                copy.audited = true;
                item.missing = false;
                // What waits for no receipt waits for this: nobody would notice later that a relay has thrown it away.
                if item.kind != EntryKind::Mail && item.is_handed() && item.is_audited() {
                    return self.end(id, Fate::HandedOver, cx);
                }
                self.plan_audit(id, cx);
            }
            AuditOutcome::Broken => item.audit_at = cx.after(ABSENT_MS),
            // It may have been collected a day ago and more, which nobody says of a receipt; or their own node has it meanwhile.
            AuditOutcome::Missing if item.kind != EntryKind::Mail && (left_ms >= cx.config.grace_copy_ms || at_home) => {
                return self.end(id, Fate::HandedOver, cx);
            }
            AuditOutcome::Missing if !item.missing => {
                item.missing = true;
                item.audit_at = cx.after(DOUBT_MS);
            }
            AuditOutcome::Missing | AuditOutcome::Wrong => {
                // A mail that was left within a day is there even if it was collected, or else its receipt is here: a relay that has it not has broken its
                // word. A letter that nobody confirms may have been collected, and have made room soon after.
                let sure_ms = if item.kind == EntryKind::Mail { cx.config.grace_copy_ms } else { cx.config.grace_copy_least_ms };
                if left_ms < sure_ms {
                    self.strike(peer, cx);
                }
                self.lost(id, peer, cx, road);
            }
        }
        self.flush(id, cx);
    }

    /// That relay comes last from now on.
    fn strike(&mut self, peer: PeerId, cx: &mut Context<'_>) {
        cx.emit(Effect::Count(Counter::RelayLied));
        if self.strikes.len() < STRIKES_PEERS_MAX || self.strikes.contains_key(&peer) {
            let strikes = self.strikes.or_default(peer);
            *strikes = strikes.saturating_add(1);
        }
    }

    /// The copy is gone without a receipt: others are asked to keep it.
    fn lost(&mut self, id: EntryId, peer: PeerId, cx: &mut Context<'_>, road: &mut Road<'_>) {
        let Some(item) = self.items.get_mut(&id) else { return };
        item.missing = false;
        item.progress.copies.retain(|copy| copy.peer != peer);
        if item.progress.copies.is_empty() {
            item.progress.handed_at_age_ms = None;
        }
        item.dirty = true;
        if item.state == State::Idle {
            item.begin_round();
            item.retry_at = Mono(u64::MAX);
            self.step(id, cx, road);
        }
        self.plan_audit(id, cx);
    }

    /// Questions to that peer will not be answered.
    pub(super) fn audits_broken(&mut self, peer: PeerId, cx: &mut Context<'_>) {
        let broken: Vec<Op> = self
            .works
            .iter()
            .filter(|(_, work)| matches!(work, Work::Audit(_, at) | Work::Again(at) if *at == peer))
            .map(|(op, _)| *op)
            .collect();
        for op in broken {
            if let Some(Work::Audit(id, _)) = self.works.remove(&op) {
                if let Some(item) = self.items.get_mut(&id) {
                    item.audit_at = cx.after(ABSENT_MS);
                }
                self.arm(id, cx);
            }
        }
    }
}
