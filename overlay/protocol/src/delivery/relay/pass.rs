//! From one relay of a mailbox to another: a machine that is on for some hours a day hands what waits to those that are on at other hours.
//!
//! The owner has named them to each other ([`crate::hosting::Request::Siblings`]). A machine that has been up for long stays up, and passes nothing on: the
//! sender has seen to as many copies as are needed. What strangers left is not passed on either: it has its place in one mailbox, and not in all.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Effect, HeldKind, Mono, OfferOutcome, Place, Way};
use crate::ids::{EnvelopeId, Op, PeerId, QueueName};

use super::super::connections::Connections;
use super::super::context::Context;
use super::{Queue, Relay};

/// Relays that are dialled in one round for what waits here.
const DIALLED_MAX: usize = 8;
/// Relays that lack something and are not there are dialled again after this, in ms.
const AGAIN_MS: u64 = 10 * 60 * 1000;
/// So long after a letter came it is passed on at the earliest, in ms: its sender leaves it elsewhere too, and should not meet us there.
const SETTLED_MS: u64 = 50 * 1000;
/// Letters that are on their way to other relays at once.
const PASSING_MAX: usize = 64;

impl Relay {
    /// Whether this machine may be off soon, for all that is known.
    pub(super) fn is_passing_by(cx: &Context<'_>) -> bool {
        cx.now.mono.0 < cx.config.pass_on_below_ms
    }

    /// What waits for an absent owner and that other relay of theirs does not have yet, for all that is known here.
    fn lacking<'a>(&'a self, queue: &'a Queue, place: &'a Place) -> impl Iterator<Item = EnvelopeId> + 'a {
        let clock = self.clock();
        let lacks = move |envelope: &EnvelopeId| {
            self.kept.get(envelope).is_some_and(|kept| {
                let settled = clock.saturating_sub(kept.held.since_ms) >= SETTLED_MS;
                settled && kept.held.kind == HeldKind::Contact && !kept.forgetting && !kept.passed.contains(&place.peer)
            })
        };
        queue.waiting.iter().map(|(_, envelope)| *envelope).filter(lacks)
    }

    /// The mailboxes of absent owners, with each of their other relays.
    fn siblings(&self) -> impl Iterator<Item = (&Queue, &Place)> {
        let absent = self.queues.values().filter(|queue| queue.owner.is_none() && !queue.waiting.is_empty());
        absent.flat_map(|queue| queue.rules.siblings.iter().map(move |place| (&**queue, place)))
    }

    /// Offers what waits to other relays of its owners that are there.
    pub(super) fn pass_on(&mut self, connections: &Connections, cx: &mut Context<'_>) {
        let room = PASSING_MAX.saturating_sub(self.passing.len());
        if !self.pass_due || !Self::is_passing_by(cx) || room == 0 {
            return;
        }
        self.pass_due = false;
        let going: BTreeSet<(EnvelopeId, PeerId)> = self.passing.values().copied().collect();
        let there = self.siblings().filter(|(_, place)| connections.is_up(&place.peer));
        let lacking =
            there.flat_map(|(queue, place)| self.lacking(queue, place).map(move |envelope| (envelope, place.peer, place.queue)));
        let next: Vec<_> = lacking.filter(|(envelope, peer, _)| !going.contains(&(*envelope, *peer))).take(room).collect();
        for (envelope, peer, queue) in next {
            self.pass(envelope, peer, queue, cx);
        }
    }

    fn pass(&mut self, envelope: EnvelopeId, peer: PeerId, queue: QueueName, cx: &mut Context<'_>) {
        let Some(size) = self.kept.get(&envelope).map(|kept| kept.held.size) else { return };
        let op = cx.op();
        self.passing.insert(op, (envelope, peer));
        cx.emit(Effect::Offer { op, peer, queue, envelope, size, way: Way::Onward { deposit: true } });
    }

    /// Connects to relays that lack something. Returns when to go on with it.
    pub(super) fn reach_siblings(&self, connections: &mut Connections, cx: &mut Context<'_>) -> Option<Mono> {
        if !Self::is_passing_by(cx) {
            return None;
        }
        let away = self.siblings().filter(|(_, place)| !connections.is_up(&place.peer));
        let wanted = away.filter(|(queue, place)| self.lacking(queue, place).next().is_some());
        let places: BTreeMap<PeerId, &Place> = wanted.map(|(_, place)| (place.peer, place)).collect();
        for place in places.into_values().take(DIALLED_MAX) {
            connections.want(place.peer, &place.addresses, cx);
        }
        self.siblings().next().map(|_| cx.after(AGAIN_MS))
    }

    /// The answer of another relay. False if it was not one.
    pub(super) fn passed(&mut self, op: Op, outcome: OfferOutcome, cx: &mut Context<'_>) -> bool {
        let Some((envelope, peer)) = self.passing.remove(&op) else { return false };
        // Others may wait for their turn.
        self.pass_due |= self.passing.len() + 1 >= PASSING_MAX;
        // Whoever is full or refuses is not asked again before this machine starts anew.
        let clock = self.clock();
        let Some(kept) = self.kept.get_mut(&envelope).filter(|_| outcome != OfferOutcome::Broken) else { return true };
        kept.passed.insert(peer);
        let waits = kept.held.acked_ms.is_none() && !kept.acking && !kept.forgetting;
        if outcome == OfferOutcome::Have && waits {
            // It was collected there.
            self.is_collected(envelope, clock, cx);
        }
        true
    }

    /// That peer is gone, and what was on its way to it.
    pub(super) fn unpass(&mut self, peer: &PeerId) {
        self.passing.retain(|_, (_, to)| to != peer);
        // It may have been an owner.
        self.pass_due = true;
    }
}
