//! From one relay of a mailbox to another: a machine that is on for some hours a day hands what waits to those that are on at other hours.
//!
//! The owner has named them to each other ([`crate::hosting::Request::Siblings`]). A machine that has been up for long stays up, and passes nothing on: the
//! sender has seen to as many copies as are needed. What strangers left is not passed on either: it has its place in one mailbox, and not in all.

use crate::event::{Effect, HeldKind, OfferOutcome, Place, Way};
use crate::ids::{EnvelopeId, Op, PeerId, QueueName};

use super::super::connections::Connections;
use super::super::context::Context;
use super::Relay;

/// Relays that are dialled in one round for what waits here.
const DIALLED_MAX: usize = 8;
/// So long after a letter came it is passed on at the earliest, in ms: its sender leaves it elsewhere too, and should not meet us there.
const SETTLED_MS: u64 = 50 * 1000;
/// Letters that are on their way to other relays at once.
const PASSING_MAX: usize = 64;

impl Relay {
    /// Whether this machine may be off soon, for all that is known.
    fn is_passing_by(cx: &Context<'_>) -> bool {
        cx.now.mono.0 < cx.config.pass_on_below_ms
    }

    /// Letters of absent owners that another relay of theirs does not have yet: which, and the place.
    fn to_pass(&self, up: impl Fn(&PeerId) -> bool) -> Vec<(EnvelopeId, Place)> {
        let absent = self
            .queues
            .values()
            .filter(|queue| queue.owner.is_none() && !queue.waiting.is_empty() && !queue.rules.siblings.is_empty());
        let (mut found, clock) = (Vec::new(), self.clock());
        for queue in absent {
            for place in queue.rules.siblings.iter().filter(|place| up(&place.peer)) {
                let lacks = |envelope: &&EnvelopeId| {
                    let kept = self.kept.get(*envelope);
                    kept.is_some_and(|kept| {
                        let settled = clock.saturating_sub(kept.held.since_ms) >= SETTLED_MS;
                        settled && kept.held.kind == HeldKind::Contact && !kept.forgetting && !kept.passed.contains(&place.peer)
                    })
                };
                let lacking = queue.waiting.iter().map(|(_, envelope)| envelope).filter(lacks);
                found.extend(lacking.map(|envelope| (*envelope, place.clone())));
            }
        }
        found
    }

    /// Offers what waits to other relays of its owners that are there.
    pub(super) fn pass_on(&mut self, connections: &Connections, cx: &mut Context<'_>) {
        if !self.pass_due || !Self::is_passing_by(cx) || self.passing.len() >= PASSING_MAX {
            return;
        }
        self.pass_due = false;
        for (envelope, Place { peer, queue, .. }) in self.to_pass(|peer| connections.is_up(peer)) {
            let going = self.passing.values().any(|under_way| *under_way == (envelope, peer));
            if !going && self.passing.len() < PASSING_MAX {
                self.pass(envelope, peer, queue, cx);
            }
        }
    }

    fn pass(&mut self, envelope: EnvelopeId, peer: PeerId, queue: QueueName, cx: &mut Context<'_>) {
        let Some(size) = self.kept.get(&envelope).map(|kept| kept.held.size) else { return };
        let op = cx.op();
        self.passing.insert(op, (envelope, peer));
        cx.emit(Effect::Offer { op, peer, queue, envelope, size, way: Way::Onward { deposit: true } });
    }

    /// Connects to relays that lack something.
    pub(super) fn reach_siblings(&self, connections: &mut Connections, cx: &mut Context<'_>) {
        if !Self::is_passing_by(cx) {
            return;
        }
        let mut places: Vec<Place> = self.to_pass(|_| true).into_iter().map(|(_, place)| place).collect();
        places.sort_unstable_by_key(|place| place.peer);
        places.dedup_by_key(|place| place.peer);
        places.retain(|place| !connections.is_up(&place.peer));
        for place in places.iter().take(DIALLED_MAX) {
            connections.want(place.peer, &place.addresses, cx);
        }
    }

    /// The answer of another relay. False if it was not one.
    pub(super) fn passed(&mut self, op: Op, outcome: OfferOutcome) -> bool {
        let Some((envelope, peer)) = self.passing.remove(&op) else { return false };
        // Others may wait for their turn.
        self.pass_due |= self.passing.len() + 1 >= PASSING_MAX;
        let done = match outcome {
            OfferOutcome::Have | OfferOutcome::Stored { .. } | OfferOutcome::Refused(_) => true,
            // Full or busy: it is asked again when it has been away, or this machine.
            OfferOutcome::Later { .. } => true,
            OfferOutcome::Broken => false,
        };
        if done && let Some(kept) = self.kept.get_mut(&envelope) {
            kept.passed.insert(peer);
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
