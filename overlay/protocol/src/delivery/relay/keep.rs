//! From a deposit to *stored*: who may leave what, and what makes room again.

use std::sync::Arc;

use crate::card::Strangers;
use crate::envelope;
use crate::event::{Answer, Effect, HeldEnvelope, HeldKind, LaterReason, RefusedReason, Ticket, Write};
use crate::ids::{BatchId, EnvelopeId, PeerId, QueueName, Token};
use crate::limits::ENVELOPE_BYTES_MAX;

use super::super::context::Context;
use super::{
    Batch, FORGET_BATCH_MAX, FULL_S, HELD_MAX, IN_PROGRESS_S, Incoming, QUOTA_S, RATE_MS, RATE_S, RATES_MAX, Rate, Relay,
};

/// A peer wants to leave an envelope.
pub(crate) struct Deposit {
    pub(crate) token: Token,
    pub(crate) peer: PeerId,
    pub(crate) queue: QueueName,
    pub(crate) envelope: EnvelopeId,
    pub(crate) size: u64,
    pub(crate) ticket: Ticket,
}

/// How a deposit is let in.
enum Entry {
    As(HeldKind),
    /// In place of a stranger's who did less.
    InPlaceOf(HeldKind, EnvelopeId),
    Not(RefusedReason),
    Full,
}

impl Relay {
    /// A peer wants to leave an envelope.
    pub(crate) fn deposit(&mut self, deposit: &Deposit, cx: &mut Context<'_>) {
        let Deposit { token, peer, queue, envelope, size, ref ticket } = *deposit;
        if !envelope::is_size(size) {
            let reason = if size > ENVELOPE_BYTES_MAX { RefusedReason::TooLarge } else { RefusedReason::Malformed };
            return Self::refuse(token, reason, cx);
        }
        if let Some(kept) = self.kept.get_mut(&envelope) {
            if kept.held.queue != queue {
                return Self::refuse(token, RefusedReason::Unknown, cx);
            }
            let sibling = self.queues.get(&queue).is_some_and(|queue| queue.is_sibling(&peer));
            if sibling {
                // It has it, too.
                kept.passed.insert(peer);
            }
            if sibling && kept.held.acked_ms.is_some() {
                // The owner has it: no relay of theirs needs to keep it any more.
                return cx.emit(Effect::Answer { token, answer: Answer::Have });
            }
            // It is durable: said again, it is true again.
            let held = kept.held.clone();
            let (until_s, seldom) = (self.until_s(&held, cx), Self::is_passing_by(cx));
            return cx.emit(Effect::Answer { token, answer: Answer::Stored { until_s, seldom } });
        }
        if let Some(old) = self.incoming.iter().find(|(_, incoming)| incoming.held.envelope == envelope).map(|(old, _)| *old) {
            let same = self.incoming.get(&old).is_some_and(|incoming| incoming.peer == peer && !incoming.writing);
            if !same {
                return Self::later(token, LaterReason::InProgress, IN_PROGRESS_S, cx);
            }
            self.incoming.remove(&old);
            Self::later(old, LaterReason::InProgress, IN_PROGRESS_S, cx);
        }
        if let Err((reason, after_s)) = self.room(peer, size, cx) {
            return Self::later(token, reason, after_s, cx);
        }
        let welcome = self.queues.get(&queue).is_some_and(|queue| queue.rules.strangers == Strangers::Welcome);
        let ours = self.queues.get(&queue).is_some_and(|queue| queue.owner == Some(peer) || queue.is_sibling(&peer));
        if !welcome
            && !ours
            && ticket.stamp.is_none()
            && let Err((reason, after_s)) = self.pace(peer, size, cx)
        {
            return Self::later(token, reason, after_s, cx);
        }
        let kind = match self.entry(peer, &queue, &envelope, size, ticket, cx) {
            Entry::As(kind) => kind,
            Entry::InPlaceOf(kind, cheapest) => {
                self.forget(vec![cheapest], cx);
                kind
            }
            Entry::Not(reason) => return Self::refuse(token, reason, cx),
            Entry::Full => return Self::later(token, LaterReason::Quota, QUOTA_S, cx),
        };
        let held = HeldEnvelope { envelope, queue, size, kind, since_ms: self.clock(), acked_ms: None };
        let until = cx.after(cx.config.reception_max_ms);
        self.incoming.insert(token, Box::new(Incoming { peer, held, stamp: ticket.stamp, until, writing: false }));
        cx.emit(Effect::Answer { token, answer: Answer::Send });
    }

    /// Room in all, and for this peer.
    fn room(&self, peer: PeerId, size: u64, cx: &Context<'_>) -> Result<(), (LaterReason, u32)> {
        let now = cx.now.mono;
        let coming: u64 = self.incoming.values().map(|incoming| incoming.held.size).sum();
        let from_peer = self.incoming.values().filter(|incoming| incoming.peer == peer).count();
        if self.full_until > now
            || self.kept.len() >= HELD_MAX
            || self.bytes.saturating_add(coming).saturating_add(size) > cx.config.hosting_bytes_max
        {
            return Err((LaterReason::Full, FULL_S));
        }
        if self.incoming.len() >= cx.config.receptions_max || from_peer >= cx.config.receptions_per_peer {
            return Err((LaterReason::Busy, IN_PROGRESS_S));
        }
        Ok(())
    }

    /// Whoever has no stamp may come now and then only: checking work costs something, and so does what is refused.
    fn pace(&mut self, peer: PeerId, size: u64, cx: &Context<'_>) -> Result<(), (LaterReason, u32)> {
        let now = cx.now.mono;
        if self.rates.len() >= RATES_MAX && !self.rates.contains_key(&peer) {
            self.rates.retain(|_, rate| now.0.saturating_sub(rate.since.0) < RATE_MS);
            if self.rates.len() >= RATES_MAX {
                return Err((LaterReason::Busy, RATE_S));
            }
        }
        let rate = self.rates.or_insert_with(peer, || Rate { since: now, ..Rate::default() });
        if now.0.saturating_sub(rate.since.0) >= RATE_MS {
            *rate = Rate { since: now, ..Rate::default() };
        }
        // One large envelope in a minute is always allowed.
        let much = rate.bytes > 0 && rate.bytes.saturating_add(size) > cx.config.deposit_bytes_per_minute;
        if rate.count >= cx.config.deposits_per_minute || much {
            return Err((LaterReason::Busy, RATE_S));
        }
        rate.count += 1;
        rate.bytes = rate.bytes.saturating_add(size);
        Ok(())
    }

    fn entry(
        &self,
        peer: PeerId,
        name: &QueueName,
        envelope: &EnvelopeId,
        size: u64,
        ticket: &Ticket,
        cx: &Context<'_>,
    ) -> Entry {
        let Some(queue) = self.queues.get(name).filter(|queue| queue.rules.bytes > 0) else {
            return self.volunteer(name, envelope, size, ticket, cx);
        };
        let rules = &queue.rules;
        if size > rules.largest {
            return Entry::Not(RefusedReason::TooLarge);
        }
        let coming = || self.incoming.values().filter(|incoming| incoming.held.queue == *name).map(|incoming| &incoming.held);
        let bytes = queue.bytes.saturating_add(coming().map(|held| held.size).sum()).saturating_add(size);
        let count = usize::try_from(queue.count).unwrap_or(usize::MAX).saturating_add(coming().count());
        let full = bytes > rules.bytes || count >= usize::try_from(rules.count).unwrap_or(usize::MAX);
        if !ticket.onward.is_empty() {
            // The owner leaves it here, or another machine that carries it for them and may be off soon.
            return match (queue.owner == Some(peer) || queue.is_sibling(&peer), full) {
                (false, _) => Entry::Not(RefusedReason::Unknown),
                (true, true) => Entry::Full,
                (true, false) => Entry::As(HeldKind::Onward(Arc::clone(&ticket.onward))),
            };
        }
        if queue.is_sibling(&peer) {
            // It was let in there, by the owner's rules.
            return if full { Entry::Full } else { Entry::As(HeldKind::Contact) };
        }
        let spent = |stamp: &[u8; 16]| {
            self.incoming.values().any(|incoming| incoming.held.queue == *name && incoming.stamp.as_ref() == Some(stamp))
        };
        if ticket.stamp.as_ref().is_some_and(|stamp| !spent(stamp)) {
            return if full { Entry::Full } else { Entry::As(HeldKind::Contact) };
        }
        match rules.strangers {
            Strangers::Welcome => return if full { Entry::Full } else { Entry::As(HeldKind::Contact) },
            Strangers::Closed => return Entry::Not(RefusedReason::Closed),
            Strangers::Work => {}
        }
        let Some(effort) = ticket.effort(rules.effort, &rules.tag, envelope) else {
            return Entry::Not(RefusedReason::Price(rules.effort));
        };
        // Strangers have a tenth of the mailbox, so that they never take a contact's place.
        let tenth = rules.bytes / 10;
        let strangers = |held: &&HeldEnvelope| matches!(held.kind, HeldKind::Stranger(_));
        let slots = queue.slots.iter().filter_map(|(_, held)| self.kept.get(held)).map(|kept| &kept.held);
        let taken: u64 = slots.chain(coming().filter(strangers)).map(|held| held.size).sum();
        let waiting = queue.slots.len() + coming().filter(strangers).count();
        if full || taken.saturating_add(size) > tenth.max(size.min(rules.bytes)) && waiting > 0 {
            return Entry::Full;
        }
        let kind = HeldKind::Stranger(effort);
        if waiting < cx.config.requests_max {
            return Entry::As(kind);
        }
        match queue.slots.first() {
            Some((least, cheapest)) if *least < effort => Entry::InPlaceOf(kind, *cheapest),
            Some((least, _)) => Entry::Not(RefusedReason::Price(least.saturating_add(least / 4).saturating_add(1))),
            None => Entry::Full,
        }
    }

    /// A mailbox that nobody here hosts: a little of it is kept for work, if this node volunteers.
    fn volunteer(&self, name: &QueueName, envelope: &EnvelopeId, size: u64, ticket: &Ticket, cx: &Context<'_>) -> Entry {
        let config = cx.config;
        if config.volunteer_bytes == 0 || !ticket.deposit {
            return Entry::Not(RefusedReason::Unknown);
        }
        if size > config.volunteer_largest {
            return Entry::Not(RefusedReason::TooLarge);
        }
        // The work is bound to the queue: there is no card here to ask for a tag.
        let price = config.volunteer_effort;
        let Some(effort) = ticket.effort(price, &name.0, envelope) else {
            return Entry::Not(RefusedReason::Price(price));
        };
        let coming = self.incoming.values().filter(|incoming| matches!(incoming.held.kind, HeldKind::Volunteer(_)));
        let coming: u64 = coming.map(|incoming| incoming.held.size).sum();
        let in_queue = self.queues.get(name).map_or(0, |queue| queue.count);
        if self.volunteered.saturating_add(coming).saturating_add(size) > config.volunteer_bytes
            || in_queue >= config.volunteer_count
            || self.queues.len() >= super::QUEUES_MAX && !self.queues.contains_key(name)
        {
            return Entry::Full;
        }
        Entry::As(HeldKind::Volunteer(effort))
    }

    /// The body of a deposit is complete.
    pub(crate) fn body(&mut self, token: Token, cx: &mut Context<'_>) {
        let Some(incoming) = self.incoming.get_mut(&token).filter(|incoming| !incoming.writing) else { return };
        incoming.writing = true;
        let until_s = seconds(lifetime(&incoming.held, cx));
        let mut writes = vec![Write::Hold { token, held: incoming.held.clone(), stamp: incoming.stamp }];
        if self.kept.is_empty() {
            // The clock counts from here on: without a row of its own a restart would begin it anew.
            writes.push(Write::HostingClock { passed_ms: self.clock(), at: self.aging.mark() });
        }
        let answer = Effect::Answer { token, answer: Answer::Stored { until_s, seldom: Self::is_passing_by(cx) } };
        let batch = cx.commit(writes, vec![answer]);
        self.batches.insert(batch, Batch::Hold(token));
    }

    /// The body of a deposit broke off.
    pub(crate) fn broken(&mut self, token: Token) {
        if self.incoming.get(&token).is_some_and(|incoming| !incoming.writing) {
            self.incoming.remove(&token);
        }
    }

    fn until_s(&self, held: &HeldEnvelope, cx: &Context<'_>) -> u32 {
        let age = self.clock().saturating_sub(held.since_ms);
        seconds(lifetime(held, cx).saturating_sub(age))
    }

    /// A commit of this machine's is durable. False if it was not one.
    pub(crate) fn durable(&mut self, batch: BatchId) -> bool {
        self.full_until = crate::event::Mono(0);
        let Some(done) = self.batches.remove(&batch) else { return false };
        self.stirred = true;
        match done {
            Batch::Hold(token) => {
                if let Some(incoming) = self.incoming.remove(&token) {
                    let (envelope, peer) = (incoming.held.envelope, incoming.peer);
                    let sibling = self.queues.get(&incoming.held.queue).is_some_and(|queue| queue.is_sibling(&peer));
                    self.ensure_volunteered(&incoming.held);
                    self.keep(incoming.held);
                    if let Some(kept) = self.kept.get_mut(&envelope).filter(|_| sibling) {
                        // Who passed it on has it.
                        kept.passed.insert(peer);
                    }
                }
            }
            Batch::Acked(envelope) => self.acked(&envelope),
            Batch::Forget(envelopes) => envelopes.iter().for_each(|envelope| self.lose(envelope)),
            Batch::Host(peer, rules) => self.hosted(peer, *rules),
            Batch::Unhost(queue) => self.unhosted(&queue),
        }
        true
    }

    /// A commit of this machine's failed. False if it was not one.
    pub(crate) fn commit_failed(&mut self, batch: BatchId, cx: &mut Context<'_>) -> bool {
        let Some(failed) = self.batches.remove(&batch) else { return false };
        self.stirred = true;
        match failed {
            Batch::Hold(token) => {
                self.full_until = cx.after(u64::from(FULL_S) * 1000);
                if self.incoming.remove(&token).is_some() {
                    Self::later(token, LaterReason::Full, FULL_S, cx);
                }
            }
            Batch::Acked(envelope) => {
                if let Some(kept) = self.kept.get_mut(&envelope) {
                    kept.acking = false;
                    kept.rest = cx.after(u64::from(FULL_S) * 1000);
                }
            }
            Batch::Forget(envelopes) => {
                for envelope in envelopes {
                    if let Some(kept) = self.kept.get_mut(&envelope) {
                        kept.forgetting = false;
                        self.spent.add(&kept.held);
                    }
                }
                self.spent.put_off(cx.after(u64::from(FULL_S) * 1000));
            }
            Batch::Host(..) | Batch::Unhost(_) => {}
        }
        true
    }

    /// Lets go of these letters, as soon as that is durable.
    pub(super) fn forget(&mut self, envelopes: Vec<EnvelopeId>, cx: &mut Context<'_>) {
        let mut going = Vec::new();
        for envelope in envelopes {
            if let Some(kept) = self.kept.get_mut(&envelope)
                && !kept.forgetting
            {
                kept.forgetting = true;
                self.spent.remove(&kept.held);
                going.push(envelope);
            }
        }
        if !going.is_empty() {
            self.stirred = true;
            let batch = cx.commit(vec![Write::Forget(going.clone())], Vec::new());
            self.batches.insert(batch, Batch::Forget(going));
        }
    }

    /// Where more was collected than stays for a day, what was collected first goes now.
    pub(super) fn trim(&mut self, cx: &mut Context<'_>) {
        let gone = self.spent.excess(self.clock(), cx);
        if !gone.is_empty() {
            self.forget(gone, cx);
        }
    }

    /// What is too old goes, and what was collected a day ago. True if there is more of it.
    pub(super) fn sweep(&mut self, cx: &mut Context<'_>) -> bool {
        let clock = self.clock();
        let over = |held: &HeldEnvelope| {
            clock.saturating_sub(held.since_ms) >= lifetime(held, cx)
                || held.acked_ms.is_some_and(|acked| clock.saturating_sub(acked) >= cx.config.grace_copy_ms)
        };
        let gone: Vec<EnvelopeId> = self
            .kept
            .values()
            .filter(|kept| !kept.forgetting && over(&kept.held))
            .map(|kept| kept.held.envelope)
            .take(FORGET_BATCH_MAX)
            .collect();
        let more = gone.len() == FORGET_BATCH_MAX;
        self.forget(gone, cx);
        more
    }
}

/// How long a letter is kept, in ms.
fn lifetime(held: &HeldEnvelope, cx: &Context<'_>) -> u64 {
    match held.kind {
        HeldKind::Volunteer(_) => cx.config.volunteer_life_ms,
        HeldKind::Contact | HeldKind::Stranger(_) | HeldKind::Onward(_) => cx.config.expiry_ms,
    }
}

fn seconds(ms: u64) -> u32 {
    u32::try_from(ms / 1000).unwrap_or(u32::MAX)
}
