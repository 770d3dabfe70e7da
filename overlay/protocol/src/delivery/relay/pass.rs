//! From one relay of a mailbox to another: a machine that is on for some hours a day hands what waits to those that are on at other hours.
//!
//! The owner has named them to each other ([`crate::hosting::Request::Siblings`]). The same with what they carry on for the owner: whichever of them meets
//! somebody who keeps letters for the recipient leaves it there. A machine that has been up for long stays up, and passes nothing on: the
//! sender has seen to as many copies as are needed. What strangers left is not passed on either: it has its place in one mailbox, and not in all.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{Effect, HeldKind, Mono, OfferOutcome, Place, Way};
use crate::ids::{EnvelopeId, Op, PeerId, QueueName};
use crate::small::{SmallMap, SmallSet};

use super::super::connections::Connections;
use super::super::context::Context;
use super::push::{REST_MAX_S, REST_MS};
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

    /// What waits for an absent owner, or is carried on for them, and that other relay of theirs does not have yet, for all that is known here.
    fn lacking<'a>(&'a self, queue: &'a Queue, place: &'a Place) -> impl Iterator<Item = EnvelopeId> + 'a {
        let clock = self.clock();
        let lacks = move |envelope: &EnvelopeId| {
            self.kept.get(envelope).is_some_and(|kept| {
                let settled = clock.saturating_sub(kept.held.since_ms) >= SETTLED_MS;
                let passes = match &kept.held.kind {
                    HeldKind::Contact => true,
                    // The recipient's relays have it by another way: in another queue.
                    HeldKind::Onward(places) => !kept.acking && places.iter().all(|other| other.peer != place.peer),
                    HeldKind::Stranger(_) | HeldKind::Volunteer(_) => false,
                };
                settled && passes && !kept.forgetting && !kept.passed.contains(&place.peer)
            })
        };
        queue.waiting.iter().chain(queue.carried.iter()).map(|(_, envelope)| *envelope).filter(lacks)
    }

    /// The mailboxes of absent owners, with each of their other relays.
    fn siblings(&self) -> impl Iterator<Item = (&Queue, &Place)> {
        let some = |queue: &Queue| !queue.waiting.is_empty() || !queue.carried.is_empty();
        let absent = self.queues.values().filter(move |queue| queue.owner.is_none() && some(queue));
        absent.flat_map(|queue| queue.rules.siblings.iter().map(move |place| (&**queue, place)))
    }

    /// Offers what waits to other relays of its owners that are there.
    pub(super) fn pass_on(&mut self, connections: &Connections, cx: &mut Context<'_>) {
        let room = PASSING_MAX.saturating_sub(self.passing.len());
        if !self.pass_due || !Self::is_passing_by(cx) || room == 0 {
            return;
        }
        self.pass_due = false;
        self.pass_rests.retain(|_, until| *until > cx.now.mono);
        let going: SmallSet<(EnvelopeId, PeerId)> = self.passing.values().map(|(envelope, peer, _)| (*envelope, *peer)).collect();
        let mut busy: SmallMap<PeerId, usize> = SmallMap::new();
        going.iter().for_each(|(_, peer)| *busy.or_default(*peer) += 1);
        let rests = |place: &Place| self.pass_rests.contains_key(&(place.peer, place.queue));
        let there = self.siblings().filter(|(_, place)| connections.is_up(&place.peer) && !rests(place));
        let lacking =
            there.flat_map(|(queue, place)| self.lacking(queue, place).map(move |envelope| (envelope, place.peer, place.queue)));
        let (mut next, mut more) = (Vec::new(), false);
        let size = |envelope: &EnvelopeId| self.kept.get(envelope).map_or(0, |kept| kept.held.size);
        let goes = |(envelope, peer, _): &(EnvelopeId, PeerId, QueueName)| {
            !going.contains(&(*envelope, *peer)) && connections.takes(peer, size(envelope), cx.now.mono)
        };
        for (envelope, peer, queue) in lacking.filter(goes) {
            // As many as it takes at once, whoever they are for: what comes too much is refused.
            let at_peer = busy.or_default(peer);
            if *at_peer >= cx.config.offers_per_peer || next.len() >= room {
                more = true;
                continue;
            }
            *at_peer += 1;
            next.push((envelope, peer, queue));
        }
        self.pass_more = more;
        for (envelope, peer, queue) in next {
            self.pass(envelope, peer, queue, cx);
        }
    }

    fn pass(&mut self, envelope: EnvelopeId, peer: PeerId, queue: QueueName, cx: &mut Context<'_>) {
        let Some(kept) = self.kept.get(&envelope) else { return };
        let onward = match &kept.held.kind {
            HeldKind::Onward(places) => Arc::clone(places),
            _ => Arc::default(),
        };
        let (size, op) = (kept.held.size, cx.op());
        self.passing.insert(op, (envelope, peer, queue));
        cx.emit(Effect::Offer { op, peer, queue, envelope, size, way: Way::Onward { deposit: true, onward } });
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
        let again = self.siblings().next().map(|_| cx.after(AGAIN_MS));
        // Who asked for time is asked again when it is over.
        self.pass_rests.values().copied().filter(|until| *until > cx.now.mono).chain(again).min()
    }

    /// The answer of another relay. False if it was not one.
    pub(super) fn passed(&mut self, op: Op, outcome: OfferOutcome, connections: &mut Connections, cx: &mut Context<'_>) -> bool {
        let Some((envelope, peer, queue)) = self.passing.remove(&op) else { return false };
        self.stirred = true;
        // Others may wait for their turn.
        self.pass_due |= self.pass_more;
        let rest = match outcome {
            OfferOutcome::Later { after_s, .. } => Some(u64::from(after_s.clamp(1, REST_MAX_S)) * 1000),
            OfferOutcome::Broken => Some(REST_MS),
            OfferOutcome::NoDirectWay => {
                if let Some(kept) = self.kept.get(&envelope) {
                    connections.narrow.refused(peer, kept.held.size, cx);
                }
                return true;
            }
            OfferOutcome::Have | OfferOutcome::Stored { .. } | OfferOutcome::Refused(_) => None,
        };
        if let Some(rest) = rest {
            let until = cx.after(rest);
            self.pass_rests.insert((peer, queue), until);
            self.reach_at = self.reach_at.min(until);
            return true;
        }
        // Whoever refuses is not asked again before this machine starts anew.
        let clock = self.clock();
        let Some(kept) = self.kept.get_mut(&envelope) else { return true };
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
        let (passing, rests) = (self.passing.len(), self.pass_rests.len());
        self.passing.retain(|_, (_, to, _)| to != peer);
        self.pass_rests.retain(|(to, _), _| to != peer);
        // Others may wait for its turn.
        self.pass_due |= self.passing.len() < passing || self.pass_rests.len() < rests;
    }
}
