//! From what is kept to its owner: pushed as soon as the owner is there, and gone a day after the owner has it at the latest.

use std::sync::Arc;

use crate::event::{Effect, HeldEnvelope, HeldKind, Mono, OfferOutcome, PlaceKind, Way, Write};
use crate::ids::{EnvelopeId, Op, PeerId, QueueName};

use super::super::connections::Connections;
use super::super::context::Context;
use super::{Batch, Kept, REACH_MS, Relay};

/// The longest rest that an owner may ask for, in s.
pub(super) const REST_MAX_S: u32 = 3600;
/// A rest after an offer that broke or was refused, in ms.
pub(super) const REST_MS: u64 = 60 * 1000;
/// Nodes that are dialled in one round for what is to be carried on.
const REACH_MAX: usize = 8;
/// Whoever is not there is dialled again when the letter has waited for that part longer: who has been away for a day is not looked for every minute. Who
/// has no relay greets those of contacts when coming back, so that dialling is for those whom a greeting did not reach.
const REACH_PART: u64 = 4;
/// But after this at the latest, in ms.
const REACH_LATER_MS: u64 = 20 * 60 * 1000;

impl Kept {
    /// Until when it is not offered to this peer; `None`: it can be.
    fn rests(&self, peer: &PeerId, connections: &Connections, cx: &Context<'_>) -> Option<Mono> {
        let rest = Some(self.rest).filter(|rest| *rest > cx.now.mono);
        rest.max(connections.narrow.until(peer, self.held.size, cx.now.mono))
    }
}

impl Relay {
    /// The owner of a queue has proven itself: what waits goes out; what it had collected before it was started anew is shown once more.
    pub(super) fn collect(&mut self, name: &QueueName, peer: PeerId) {
        let Some(queue) = self.queues.get_mut(name) else { return };
        self.stirred = true;
        let anew = queue.last != Some(peer);
        (queue.owner, queue.last) = (Some(peer), Some(peer));
        for kept in self.kept.values_mut().filter(|kept| kept.held.queue == *name) {
            kept.rest = Mono(0);
            // What was carried on is nobody's but the recipient's.
            let onward = matches!(kept.held.kind, HeldKind::Onward(_));
            if anew && kept.held.acked_ms.is_some() && !kept.forgetting && !onward {
                queue.waiting.insert((kept.held.since_ms, kept.held.envelope));
            }
        }
        self.settle(name);
    }

    /// Starts what there is room for: mailboxes take turns. Most events are about nothing of that, and look at nothing.
    pub(crate) fn pump(&mut self, connections: &Connections, cx: &mut Context<'_>) {
        let rested = self.rest_until.is_some_and(|until| until <= cx.now.mono);
        let worth_it = self.stirred || rested || self.pass_due && Self::is_passing_by(cx);
        if !worth_it {
            return;
        }
        (self.stirred, self.rest_until) = (false, None);
        let ready: Vec<(QueueName, PeerId)> = self.ready.iter().map(|(name, owner)| (*name, *owner)).collect();
        for (name, peer) in ready {
            self.pump_queue(name, peer, connections, cx);
        }
        self.pass_on(connections, cx);
        let reachable: Vec<PeerId> = self.onward.keys().copied().filter(|peer| connections.is_up(peer)).collect();
        for peer in reachable {
            let envelopes: Vec<EnvelopeId> =
                self.onward.get(&peer).map_or_else(Vec::new, |onward| onward.envelopes.iter().copied().collect());
            for envelope in envelopes {
                self.carry(envelope, peer, connections, cx);
            }
        }
    }

    fn pump_queue(&mut self, name: QueueName, peer: PeerId, connections: &Connections, cx: &mut Context<'_>) {
        let room = cx.config.offers_per_peer.saturating_sub(self.pushing.get(&peer).copied().unwrap_or(0));
        let Some(queue) = self.queues.get(&name).filter(|_| room > 0) else { return };
        let mut next = Vec::with_capacity(room.min(queue.waiting.len()));
        for (_, envelope) in queue.waiting.iter() {
            let Some(kept) = self.kept.get(envelope) else { continue };
            if kept.offered.is_some() || kept.acking || kept.forgetting {
                continue;
            }
            if let Some(rest) = kept.rests(&peer, connections, cx) {
                self.rest_until = Some(self.rest_until.map_or(rest, |until| until.min(rest)));
                continue;
            }
            next.push(*envelope);
            if next.len() == room {
                break;
            }
        }
        for envelope in next {
            self.start(&envelope, peer, name, Way::Push, cx);
        }
    }

    fn start(&mut self, envelope: &EnvelopeId, peer: PeerId, queue: QueueName, way: Way, cx: &mut Context<'_>) {
        let Some(kept) = self.kept.get_mut(envelope) else { return };
        let op = cx.op();
        kept.offered = Some(op);
        self.offers.insert(op, (*envelope, peer));
        *self.pushing.or_default(peer) += 1;
        cx.emit(Effect::Offer { op, peer, queue, envelope: *envelope, size: kept.held.size, way });
    }

    /// Carries a letter of the queue's own owner on to a node that is up.
    fn carry(&mut self, envelope: EnvelopeId, peer: PeerId, connections: &Connections, cx: &mut Context<'_>) {
        let Some(kept) = self.kept.get(&envelope) else { return };
        let HeldKind::Onward(places) = &kept.held.kind else { return };
        let busy = self.pushing.get(&peer).copied().unwrap_or(0) >= cx.config.offers_per_peer;
        if kept.offered.is_some() || kept.acking || kept.forgetting || kept.held.acked_ms.is_some() || busy {
            return;
        }
        if let Some(rest) = kept.rests(&peer, connections, cx) {
            self.rest_until = Some(self.rest_until.map_or(rest, |until| until.min(rest)));
            return;
        }
        let Some(place) = places.iter().find(|place| place.peer == peer).cloned() else { return };
        let way = Way::Onward { deposit: place.kind != PlaceKind::Home, onward: Arc::default() };
        self.start(&envelope, peer, place.queue, way, cx);
    }

    /// A relay of the recipient has a letter that is carried on. True if another one is to have it too.
    fn carry_further(&mut self, envelope: &EnvelopeId, peer: PeerId, seldom: bool, cx: &Context<'_>) -> bool {
        let Some(kept) = self.kept.get_mut(envelope) else { return false };
        let HeldKind::Onward(places) = &kept.held.kind else { return false };
        kept.passed.insert(peer);
        // They pass it on to each other.
        let copies = places.iter().filter(|place| kept.passed.contains(&place.peer)).count();
        let enough = !seldom || copies >= cx.config.carried_copies;
        let all = places.iter().all(|place| place.kind == PlaceKind::Home || kept.passed.contains(&place.peer));
        if let Some(onward) = self.onward.get_mut(&peer) {
            onward.envelopes.remove(envelope);
            if onward.envelopes.is_empty() {
                self.onward.remove(&peer);
            }
        }
        !all && !enough
    }

    /// Connects to those whom letters are to be carried on to. Returns when to go on with it.
    pub(super) fn reach_out(&mut self, connections: &mut Connections, cx: &mut Context<'_>) -> Option<Mono> {
        let (clock, mut dialled, mut next) = (self.clock(), 0, None::<Mono>);
        for (peer, onward) in self.onward.iter_mut() {
            if connections.is_up(peer) {
                continue;
            }
            if onward.dial_at <= cx.now.mono && dialled < REACH_MAX {
                let letters = || onward.envelopes.iter().filter_map(|envelope| self.kept.get(envelope)).map(|kept| &kept.held);
                let hints = letters().find_map(|held| match &held.kind {
                    HeldKind::Onward(places) => places.iter().find(|place| place.peer == *peer),
                    _ => None,
                });
                let age = letters().map(|held| clock.saturating_sub(held.since_ms)).min().unwrap_or(REACH_LATER_MS);
                connections.want(*peer, hints.map_or(&[], |place| &place.addresses), cx);
                dialled += 1;
                onward.dial_at = next_round(cx.now.mono, until_next_dial(age));
            }
            // Whoever did not get a turn gets one in a minute.
            let due = Mono(onward.dial_at.0.max(cx.now.mono.0 + REACH_MS));
            next = Some(next.map_or(due, |next| next.min(due)));
        }
        next
    }

    /// A letter need not be carried on any more.
    pub(super) fn carried(&mut self, held: &HeldEnvelope) {
        let HeldKind::Onward(places) = &held.kind else { return };
        for place in places.iter() {
            if let Some(there) = self.onward.get_mut(&place.peer) {
                there.envelopes.remove(&held.envelope);
                if there.envelopes.is_empty() {
                    self.onward.remove(&place.peer);
                }
            }
        }
    }

    /// Forgets an offer; gives back what it was about.
    pub(super) fn unpush(&mut self, op: Op) -> Option<(EnvelopeId, PeerId)> {
        let (envelope, peer) = self.offers.remove(&op)?;
        self.stirred = true;
        if let Some(count) = self.pushing.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                self.pushing.remove(&peer);
            }
        }
        if let Some(kept) = self.kept.get_mut(&envelope) {
            kept.offered = None;
        }
        Some((envelope, peer))
    }

    /// The answer to an offer. False if it was not this machine's.
    pub(crate) fn offered(&mut self, op: Op, outcome: OfferOutcome, connections: &mut Connections, cx: &mut Context<'_>) -> bool {
        if self.passed(op, outcome, connections, cx) {
            return true;
        }
        let Some((envelope, peer)) = self.unpush(op) else { return false };
        let clock = self.clock();
        if let OfferOutcome::Stored { seldom, .. } = outcome
            && self.carry_further(&envelope, peer, seldom, cx)
        {
            return true;
        }
        let Some(kept) = self.kept.get_mut(&envelope) else { return true };
        match outcome {
            OfferOutcome::Have | OfferOutcome::Stored { .. } if kept.held.acked_ms.is_some() => {
                // It had it already, before it was started anew.
                let (queue, place) = (kept.held.queue, (kept.held.since_ms, envelope));
                if let Some(known) = self.queues.get_mut(&queue) {
                    known.waiting.remove(&place);
                }
                self.settle(&queue);
            }
            OfferOutcome::Have | OfferOutcome::Stored { .. } => {
                self.is_collected(envelope, clock, cx);
            }
            OfferOutcome::Later { after_s, .. } => {
                kept.rest = cx.after(u64::from(after_s.clamp(1, REST_MAX_S)) * 1000);
            }
            OfferOutcome::Refused(_) => kept.rest = cx.after(u64::from(REST_MAX_S) * 1000),
            OfferOutcome::Broken => kept.rest = cx.after(REST_MS),
            OfferOutcome::NoDirectWay => connections.narrow.refused(peer, kept.held.size, cx),
        }
        true
    }

    /// The owner has it: that is written down.
    pub(super) fn is_collected(&mut self, envelope: EnvelopeId, clock: u64, cx: &mut Context<'_>) {
        let Some(kept) = self.kept.get_mut(&envelope) else { return };
        self.stirred = true;
        kept.acking = true;
        let batch = cx.commit(vec![Write::Acked { envelope, at_ms: clock }], Vec::new());
        self.batches.insert(batch, Batch::Acked(envelope));
    }

    /// The owner has it, and we have written that down.
    pub(super) fn acked(&mut self, envelope: &EnvelopeId) {
        let clock = self.clock();
        let Some(kept) = self.kept.get_mut(envelope) else { return };
        kept.acking = false;
        kept.held.acked_ms = Some(clock);
        if !kept.forgetting {
            self.spent.add(&kept.held);
        }
        let (name, place) = (kept.held.queue, (kept.held.since_ms, *envelope));
        let stranger = match kept.held.kind {
            HeldKind::Stranger(effort) => Some(effort),
            _ => None,
        };
        let onward = matches!(kept.held.kind, HeldKind::Onward(_)).then(|| kept.held.clone());
        if let Some(queue) = self.queues.get_mut(&name) {
            queue.waiting.remove(&place);
            queue.carried.remove(&place);
            if let Some(effort) = stranger {
                queue.slots.remove(&(effort, *envelope));
            }
        }
        self.settle(&name);
        if let Some(held) = onward {
            self.carried(&held);
        }
    }
}

/// For how long somebody who is not there is left alone, by how long the youngest letter has waited for them; in ms.
fn until_next_dial(age: u64) -> u64 {
    (age / REACH_PART).clamp(REACH_MS, REACH_LATER_MS)
}

/// The round in which somebody is dialled who is left alone for `wait` ms at most. Rounds are a minute apart, those for whom everybody waits longest twenty: a
/// machine wakes for all of them together, and not for each. Machines do not keep step, since each counts from its own start.
fn next_round(now: Mono, wait: u64) -> Mono {
    let apart = if wait >= REACH_LATER_MS { REACH_LATER_MS } else { REACH_MS };
    let until = now.0.saturating_add(wait);
    Mono(until - until % apart)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_are_away_for_long_are_dialled_in_one_round_and_nobody_later_than_was_meant() {
        const MINUTE: u64 = 60_000;
        let started = [1, 59, 60, 119, 240, 1199].map(|second| Mono(second * 1000));
        assert!(started.iter().all(|now| next_round(*now, 20 * MINUTE) == Mono(20 * MINUTE)));
        for now in started {
            for wait in [MINUTE, 2 * MINUTE, 20 * MINUTE - 1, 20 * MINUTE] {
                let round = next_round(now, wait);
                assert!(now < round && round.0 <= now.0 + wait, "{round:?} after {now:?}");
            }
        }
    }

    #[test]
    fn who_has_been_away_for_long_is_dialled_less_often() {
        const MINUTE: u64 = 60_000;
        let waits: Vec<u64> = [0, 4, 16, 60, 160, 43_200].map(|age| until_next_dial(age * MINUTE) / MINUTE).into();
        assert_eq!(waits, [1, 1, 4, 15, 20, 20], "minutes");
    }
}
