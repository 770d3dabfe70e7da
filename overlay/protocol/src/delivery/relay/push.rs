//! From what is kept to its owner: pushed as soon as the owner is there, and gone a day after the owner has it.

use std::collections::BTreeSet;

use crate::event::{Effect, HeldEnvelope, HeldKind, Mono, OfferOutcome, PlaceKind, Way, Write};
use crate::ids::{EnvelopeId, Op, PeerId, QueueName};

use super::super::connections::Connections;
use super::super::context::Context;
use super::{Batch, Relay};

/// The longest rest that an owner may ask for, in s.
const REST_MAX_S: u32 = 3600;
/// A rest after an offer that broke or was refused, in ms.
const REST_MS: u64 = 60 * 1000;
/// Nodes that are dialled in one round for what is to be carried on.
const REACH_MAX: usize = 8;

impl Relay {
    /// The owner of a queue has proven itself: what waits goes out; what it had collected before it was started anew is shown once more.
    pub(super) fn collect(&mut self, name: &QueueName, peer: PeerId) {
        let Some(queue) = self.queues.get_mut(name) else { return };
        let anew = queue.last != Some(peer);
        (queue.owner, queue.last) = (Some(peer), Some(peer));
        for kept in self.kept.values_mut().filter(|kept| kept.held.queue == *name) {
            kept.rest = Mono(0);
            if anew && kept.held.acked_ms.is_some() && !kept.forgetting {
                queue.waiting.insert((kept.held.since_ms, kept.held.envelope));
            }
        }
    }

    /// Starts what there is room for: mailboxes take turns.
    pub(crate) fn pump(&mut self, connections: &Connections, cx: &mut Context<'_>) {
        self.rest_until = None;
        let owned: Vec<(QueueName, PeerId)> = self
            .queues
            .iter()
            .filter(|(_, queue)| !queue.waiting.is_empty())
            .filter_map(|(name, queue)| Some((*name, queue.owner?)))
            .collect();
        for (name, peer) in owned {
            self.pump_queue(name, peer, cx);
        }
        self.pass_on(connections, cx);
        let reachable: Vec<PeerId> = self.onward.keys().copied().filter(|peer| connections.is_up(peer)).collect();
        for peer in reachable {
            let envelopes: BTreeSet<EnvelopeId> = self.onward.get(&peer).cloned().unwrap_or_default();
            for envelope in envelopes {
                self.carry(envelope, peer, cx);
            }
        }
    }

    fn pump_queue(&mut self, name: QueueName, peer: PeerId, cx: &mut Context<'_>) {
        let mut room = cx.config.offers_per_peer.saturating_sub(self.pushing.get(&peer).copied().unwrap_or(0));
        let Some(queue) = self.queues.get(&name) else { return };
        let waiting: Vec<EnvelopeId> = queue.waiting.iter().map(|(_, envelope)| *envelope).collect();
        for envelope in waiting {
            if room == 0 {
                return;
            }
            let Some(kept) = self.kept.get(&envelope) else { continue };
            if kept.offered.is_some() || kept.acking || kept.forgetting {
                continue;
            }
            if kept.rest > cx.now.mono {
                self.rest_until = Some(self.rest_until.map_or(kept.rest, |until| until.min(kept.rest)));
                continue;
            }
            self.start(&envelope, peer, name, Way::Push, cx);
            room -= 1;
        }
    }

    fn start(&mut self, envelope: &EnvelopeId, peer: PeerId, queue: QueueName, way: Way, cx: &mut Context<'_>) {
        let Some(kept) = self.kept.get_mut(envelope) else { return };
        let op = cx.op();
        kept.offered = Some(op);
        self.offers.insert(op, (*envelope, peer));
        *self.pushing.entry(peer).or_default() += 1;
        cx.emit(Effect::Offer { op, peer, queue, envelope: *envelope, size: kept.held.size, way });
    }

    /// Carries a letter of the queue's own owner on to a node that is up.
    fn carry(&mut self, envelope: EnvelopeId, peer: PeerId, cx: &mut Context<'_>) {
        let Some(kept) = self.kept.get(&envelope) else { return };
        let HeldKind::Onward(places) = &kept.held.kind else { return };
        let busy = self.pushing.get(&peer).copied().unwrap_or(0) >= cx.config.offers_per_peer;
        if kept.offered.is_some() || kept.acking || kept.forgetting || kept.held.acked_ms.is_some() || busy {
            return;
        }
        if kept.rest > cx.now.mono {
            self.rest_until = Some(self.rest_until.map_or(kept.rest, |until| until.min(kept.rest)));
            return;
        }
        let Some(place) = places.iter().find(|place| place.peer == peer).cloned() else { return };
        self.start(&envelope, peer, place.queue, Way::Onward { deposit: place.kind != PlaceKind::Home }, cx);
    }

    /// Connects to those whom letters are to be carried on to.
    pub(super) fn reach_out(&mut self, connections: &mut Connections, cx: &mut Context<'_>) {
        let mut dialled = 0;
        for (peer, envelopes) in &self.onward {
            let hints = envelopes.iter().filter_map(|envelope| self.kept.get(envelope)).find_map(|kept| match &kept.held {
                HeldEnvelope { kind: HeldKind::Onward(places), acked_ms: None, .. } => {
                    places.iter().find(|place| place.peer == *peer).map(|place| place.addresses.clone())
                }
                _ => None,
            });
            if let Some(hints) = hints
                && dialled < REACH_MAX
                && !connections.is_up(peer)
            {
                connections.want(*peer, &hints, cx);
                dialled += 1;
            }
        }
    }

    /// Forgets an offer; gives back what it was about.
    pub(super) fn unpush(&mut self, op: Op) -> Option<(EnvelopeId, PeerId)> {
        let (envelope, peer) = self.offers.remove(&op)?;
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
    pub(crate) fn offered(&mut self, op: Op, outcome: OfferOutcome, cx: &mut Context<'_>) -> bool {
        if self.passed(op, outcome) {
            return true;
        }
        let Some((envelope, _)) = self.unpush(op) else { return false };
        let clock = self.clock();
        let Some(kept) = self.kept.get_mut(&envelope) else { return true };
        match outcome {
            OfferOutcome::Have | OfferOutcome::Stored { .. } if kept.held.acked_ms.is_some() => {
                // It had it already, before it was started anew.
                let (queue, place) = (kept.held.queue, (kept.held.since_ms, envelope));
                if let Some(queue) = self.queues.get_mut(&queue) {
                    queue.waiting.remove(&place);
                }
            }
            OfferOutcome::Have | OfferOutcome::Stored { .. } => {
                kept.acking = true;
                let batch = cx.commit(vec![Write::Acked { envelope, at_ms: clock }], Vec::new());
                self.batches.insert(batch, Batch::Acked(envelope));
            }
            OfferOutcome::Later { after_s, .. } => {
                kept.rest = cx.after(u64::from(after_s.clamp(1, REST_MAX_S)) * 1000);
            }
            OfferOutcome::Refused(_) => kept.rest = cx.after(u64::from(REST_MAX_S) * 1000),
            OfferOutcome::Broken => kept.rest = cx.after(REST_MS),
        }
        true
    }

    /// The owner has it, and we have written that down.
    pub(super) fn acked(&mut self, envelope: &EnvelopeId) {
        let clock = self.clock();
        let Some(kept) = self.kept.get_mut(envelope) else { return };
        kept.acking = false;
        kept.held.acked_ms = Some(clock);
        let (name, place) = (kept.held.queue, (kept.held.since_ms, *envelope));
        let stranger = match kept.held.kind {
            HeldKind::Stranger(effort) => Some(effort),
            _ => None,
        };
        if let Some(queue) = self.queues.get_mut(&name) {
            queue.waiting.remove(&place);
            if let Some(effort) = stranger {
                queue.slots.remove(&(effort, *envelope));
            }
        }
    }
}
