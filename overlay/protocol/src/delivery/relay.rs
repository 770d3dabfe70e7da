//! What this node does for others: it keeps letters for mailboxes that it hosts until their owners collect them.
//!
//! ```text
//! deposit ─ Send ─ body ─ Commit[Hold] ─ Stored ─ … ─ push to the owner ─ Have ─ Commit[Acked] ─ a day of grace ─ Commit[Forget]
//! ```
//!
//! Nothing is kept that no mailbox is charged for; a mailbox that is full or slow blocks no other. *Stored* is said after the commit and never before.
//! A copy that was collected stays for a day: whoever collected it may have a disk that lies. Where many are collected, those that were first go earlier.
//! The time that things are kept for is counted by a clock of its own, which only this machine moves, since the wall's may lie.

mod asked;
mod keep;
mod pass;
mod push;
mod spent;
#[cfg(test)]
mod stirred;

pub(crate) use keep::Deposit;

use crate::event::{Answer, Effect, HeldEnvelope, HeldKind, HostedQueue, LaterReason, Mono, Now, RefusedReason, Wall};
use crate::ids::{BatchId, EnvelopeId, Op, PeerId, QueueName, Token};
use crate::small::{SmallMap, SmallSet};

use super::Config;
use super::age::{self, Aging};
use super::connections::Connections;
use super::context::Context;
use spent::Spent;

/// Mailboxes that a node hosts at most.
pub(crate) const QUEUES_MAX: usize = 1024;
/// Letters kept at most, whoever they are for.
pub(crate) const HELD_MAX: usize = 1 << 20;
/// Owners that are connected and have nothing here: in all, and of one peer.
const WATCHERS_MAX: usize = 8192;
const WATCHED_PER_PEER: usize = 512;
/// Peers whose deposits are counted, at most.
const RATES_MAX: usize = 4096;
/// The time over which deposits of a peer are counted, in ms.
const RATE_MS: u64 = 60 * 1000;
/// What a peer that comes too often is asked for, in s.
const RATE_S: u32 = 60;
/// What senders are asked for while a mailbox is full, in s.
const QUOTA_S: u32 = 3600;
/// What senders are asked for while the disk is full, in s.
const FULL_S: u32 = 600;
/// What senders are asked for while the same envelope is on its way here, in s.
const IN_PROGRESS_S: u32 = 10;
/// Letters that expired or whose grace is over, forgotten in one commit.
const FORGET_BATCH_MAX: usize = 256;
/// How often what is over is looked for, in ms: nothing that is kept is so urgent that an idle machine should wake for it more often.
const SWEEP_MS: u64 = 60 * 60 * 1000;
/// The same when more was over than goes in one commit.
const SWEEP_AGAIN_MS: u64 = 1000;
/// Whoever is not there and lacks something is dialled again after this at the earliest, in ms.
const REACH_MS: u64 = 60 * 1000;

/// A mailbox that is hosted.
#[derive(Clone, Debug)]
struct Queue {
    rules: HostedQueue,
    bytes: u64,
    count: u32,
    /// What strangers paid for the slots that they hold, cheapest first.
    slots: SmallSet<(u32, EnvelopeId)>,
    /// Who proved to be the owner, and is connected.
    owner: Option<PeerId>,
    /// Who proved it last, connected or not.
    last: Option<PeerId>,
    /// What the owner has not got yet, in the order in which it came.
    waiting: SmallSet<(u64, EnvelopeId)>,
    /// Letters of the owner's own that are carried on to others.
    carried: SmallSet<(u64, EnvelopeId)>,
}

impl Queue {
    /// The owner has named this peer as another relay of the mailbox.
    fn is_sibling(&self, peer: &PeerId) -> bool {
        self.rules.siblings.iter().any(|place| place.peer == *peer)
    }
}

/// What is to be carried on to a node.
#[derive(Clone, Debug, Default)]
struct Onward {
    envelopes: SmallSet<EnvelopeId>,
    /// When it is dialled next.
    dial_at: Mono,
}

/// A letter that is kept.
#[derive(Clone, Debug)]
struct Kept {
    held: HeldEnvelope,
    /// An offer of it is on its way.
    offered: Option<Op>,
    /// Not offered before that, since the other side asked for time.
    rest: Mono,
    acking: bool,
    forgetting: bool,
    /// The owner's other relays that have it, or do not want it.
    passed: SmallSet<PeerId>,
}

#[derive(Clone, Debug)]
struct Incoming {
    peer: PeerId,
    held: HeldEnvelope,
    stamp: Option<[u8; 16]>,
    until: Mono,
    writing: bool,
}

#[derive(Clone, Debug)]
enum Batch {
    Hold(Token),
    Acked(EnvelopeId),
    Forget(Vec<EnvelopeId>),
    /// A mailbox of this key is hosted, and its owner is this peer.
    Host(PeerId, Box<HostedQueue>),
    Unhost(QueueName),
}

#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    since: Mono,
    count: u32,
    bytes: u64,
}

/// The machine.
#[derive(Clone, Debug)]
pub(crate) struct Relay {
    queues: SmallMap<QueueName, Box<Queue>>,
    /// Those of them in which something waits for an owner who is there, with that owner.
    ready: SmallMap<QueueName, PeerId>,
    /// Who asked, while this node volunteers, for a mailbox that may come into being: it is told at once.
    watchers: SmallMap<QueueName, PeerId>,
    kept: SmallMap<EnvelopeId, Box<Kept>>,
    incoming: SmallMap<Token, Box<Incoming>>,
    batches: SmallMap<BatchId, Batch>,
    offers: SmallMap<Op, (EnvelopeId, PeerId)>,
    /// Something has changed about who lacks what.
    pass_due: bool,
    /// Something came that will be passed on soon.
    fresh: bool,
    /// Offers to the owners' other relays.
    passing: SmallMap<Op, (EnvelopeId, PeerId, QueueName)>,
    /// Some had no turn, since others were on their way.
    pass_more: bool,
    /// Which of those asked for time, for which mailbox: until when. At most one for each other relay of a mailbox.
    pass_rests: SmallMap<(PeerId, QueueName), Mono>,
    pushing: SmallMap<PeerId, usize>,
    /// Whom letters are carried on to, and which.
    onward: SmallMap<PeerId, Onward>,
    rates: SmallMap<PeerId, Rate>,
    bytes: u64,
    volunteered: u64,
    /// What was collected and is not being forgotten yet.
    spent: Spent,
    aging: Aging,
    base: u64,
    persist_at: Mono,
    sweep_at: Mono,
    /// When somebody who is not there is dialled again.
    reach_at: Mono,
    full_until: Mono,
    /// The first rest that is over, if a push waits for that only.
    rest_until: Option<Mono>,
    /// Something that can be pushed may have changed since that was looked at.
    stirred: bool,
}

impl Relay {
    /// Takes up what is hosted and kept.
    pub(crate) fn restore(
        hosted: Vec<HostedQueue>,
        held: Vec<HeldEnvelope>,
        (passed, at): (u64, Wall),
        now: Now,
        config: &Config,
    ) -> Self {
        let off = if passed == 0 { 0 } else { age::credit(now.wall.0.saturating_sub(at.0)) };
        let mut relay = Self {
            queues: SmallMap::new(),
            ready: SmallMap::new(),
            watchers: SmallMap::new(),
            kept: SmallMap::new(),
            incoming: SmallMap::new(),
            batches: SmallMap::new(),
            offers: SmallMap::new(),
            pass_due: true,
            fresh: false,
            passing: SmallMap::new(),
            pass_more: false,
            pass_rests: SmallMap::new(),
            pushing: SmallMap::new(),
            onward: SmallMap::new(),
            rates: SmallMap::new(),
            bytes: 0,
            volunteered: 0,
            spent: Spent::default(),
            aging: Aging::new(now, (passed > 0).then_some(at), config.grace_ms),
            base: passed.saturating_add(off),
            persist_at: Mono(now.mono.0.saturating_add(config.persist_first_ms)),
            sweep_at: Mono(now.mono.0.saturating_add(config.grace_ms)),
            reach_at: Mono(now.mono.0.saturating_add(config.grace_ms)),
            full_until: Mono(0),
            rest_until: None,
            stirred: true,
        };
        for rules in hosted {
            relay.host(rules);
        }
        for held in held {
            relay.ensure_volunteered(&held);
            relay.keep(held);
        }
        relay
    }

    /// The clock of what is kept, in ms.
    fn clock(&self) -> u64 {
        self.base.saturating_add(self.aging.passed())
    }

    /// Brings the clock up to date; to be called first with every event.
    pub(crate) fn observe(&mut self, cx: &Context<'_>) {
        self.aging.observe(cx.now, cx.config.grace_ms);
    }

    /// Is this mailbox kept here?
    pub(crate) fn hosts(&self, queue: &QueueName) -> bool {
        self.queues.contains_key(queue)
    }

    /// Is this offer one of this machine's?
    pub(crate) fn receives(&self, token: Token) -> bool {
        self.incoming.contains_key(&token)
    }

    fn host(&mut self, rules: HostedQueue) {
        let name = rules.queue;
        let room = self.queues.len() < QUEUES_MAX;
        match self.queues.get_mut(&name) {
            Some(known) => {
                // It may have other relays now.
                known.rules = rules;
                self.pass_due = true;
            }
            None if room => {
                let queue = Queue {
                    rules,
                    bytes: 0,
                    count: 0,
                    slots: SmallSet::new(),
                    owner: None,
                    last: None,
                    waiting: SmallSet::new(),
                    carried: SmallSet::new(),
                };
                self.queues.insert(name, Box::new(queue));
            }
            None => {}
        }
    }

    /// Counts a letter as kept.
    fn keep(&mut self, held: HeldEnvelope) {
        self.stirred = true;
        self.bytes = self.bytes.saturating_add(held.size);
        if matches!(held.kind, HeldKind::Volunteer(_)) {
            self.volunteered = self.volunteered.saturating_add(held.size);
        }
        if let HeldKind::Onward(places) = &held.kind
            && held.acked_ms.is_none()
        {
            for place in places.iter() {
                let onward = self.onward.or_default(place.peer);
                onward.envelopes.insert(held.envelope);
                onward.dial_at = Mono(0);
            }
            // Somebody is to be reached now.
            self.reach_at = Mono(0);
        }
        if let Some(queue) = self.queues.get_mut(&held.queue) {
            queue.bytes = queue.bytes.saturating_add(held.size);
            queue.count = queue.count.saturating_add(1);
            if let HeldKind::Stranger(effort) = held.kind
                && held.acked_ms.is_none()
            {
                queue.slots.insert((effort, held.envelope));
            }
            if held.acked_ms.is_none() {
                let onward = matches!(held.kind, HeldKind::Onward(_));
                if onward { &mut queue.carried } else { &mut queue.waiting }.insert((held.since_ms, held.envelope));
                if queue.owner.is_none() && !queue.rules.siblings.is_empty() {
                    // Another relay of theirs may be there to have it too.
                    self.fresh = true;
                    self.reach_at = Mono(0);
                }
            }
        }
        self.settle(&held.queue);
        self.spent.add(&held);
        let kept = Kept { held, offered: None, rest: Mono(0), acking: false, forgetting: false, passed: SmallSet::new() };
        self.kept.insert(kept.held.envelope, Box::new(kept));
    }

    /// Counts a letter as gone.
    fn lose(&mut self, envelope: &EnvelopeId) {
        let Some(kept) = self.kept.remove(envelope) else { return };
        self.stirred = true;
        let Kept { held, .. } = *kept;
        self.bytes = self.bytes.saturating_sub(held.size);
        if matches!(held.kind, HeldKind::Volunteer(_)) {
            self.volunteered = self.volunteered.saturating_sub(held.size);
        }
        self.spent.remove(&held);
        self.carried(&held);
        if let Some(queue) = self.queues.get_mut(&held.queue) {
            queue.bytes = queue.bytes.saturating_sub(held.size);
            queue.count = queue.count.saturating_sub(1);
            queue.waiting.remove(&(held.since_ms, *envelope));
            queue.carried.remove(&(held.since_ms, *envelope));
            if let HeldKind::Stranger(effort) = held.kind {
                queue.slots.remove(&(effort, *envelope));
            }
        }
        // A mailbox that volunteers keep exists as long as something is in it.
        let empty = self.queues.get(&held.queue).is_some_and(|queue| queue.count == 0 && queue.rules.bytes == 0);
        if empty {
            self.queues.remove(&held.queue);
        }
        self.settle(&held.queue);
    }

    /// What waits in a mailbox, or whether its owner is there, has changed.
    fn settle(&mut self, name: &QueueName) {
        self.stirred = true;
        let owner = self.queues.get(name).filter(|queue| !queue.waiting.is_empty()).and_then(|queue| queue.owner);
        match owner {
            Some(owner) => self.ready.insert(*name, owner),
            None => self.ready.remove(name),
        };
    }

    fn refuse(token: Token, reason: RefusedReason, cx: &mut Context<'_>) {
        cx.emit(Effect::Answer { token, answer: Answer::Refused(reason) });
        cx.emit(Effect::Count(crate::event::Counter::OfferRefused));
    }

    fn later(token: Token, reason: LaterReason, after_s: u32, cx: &mut Context<'_>) {
        cx.emit(Effect::Answer { token, answer: Answer::Later { reason, after_s } });
        cx.emit(Effect::Count(crate::event::Counter::OfferRefused));
    }

    /// A peer is up: what is to be carried on to it can go.
    pub(crate) fn peer_up(&mut self, peer: PeerId) {
        // Only who is another relay of a mailbox may lack something of it.
        self.pass_due |= self.queues.values().any(|queue| queue.is_sibling(&peer));
        let Some(onward) = self.onward.get(&peer) else { return };
        self.stirred = true;
        for envelope in onward.envelopes.iter() {
            if let Some(kept) = self.kept.get_mut(envelope) {
                kept.rest = Mono(0);
            }
        }
    }

    /// There is a direct way to somebody, and what is large can go.
    pub(crate) fn widened(&mut self) {
        self.stirred = true;
        self.pass_due = true;
    }

    /// The network is new: whoever was not there may be now.
    pub(crate) fn wake_all(&mut self) {
        self.onward.values_mut().for_each(|onward| onward.dial_at = Mono(0));
        self.reach_at = Mono(0);
    }

    /// A peer is gone: it owns nothing any more until it proves it again.
    pub(crate) fn peer_down(&mut self, peer: &PeerId) {
        for queue in self.queues.values_mut().filter(|queue| queue.owner.as_ref() == Some(peer)) {
            queue.owner = None;
            // What waits for it may be passed on again.
            self.pass_due = true;
        }
        let ready = self.ready.len();
        self.ready.retain(|_, owner| owner != peer);
        self.stirred |= self.ready.len() < ready || self.onward.contains_key(peer);
        self.watchers.retain(|_, watcher| watcher != peer);
        self.incoming.retain(|_, incoming| incoming.peer != *peer || incoming.writing);
        self.unpass(peer);
        let broken: Vec<Op> = self.offers.iter().filter(|(_, (_, to))| to == peer).map(|(op, _)| *op).collect();
        for op in broken {
            self.unpush(op);
        }
    }

    /// That peer may have forgotten what it said to have: what was collected lately is shown to it again.
    pub(crate) fn peer_restarted(&mut self, peer: &PeerId) {
        for queue in self.queues.values_mut().filter(|queue| queue.last.as_ref() == Some(peer)) {
            queue.last = None;
        }
    }

    /// Whatever is due by now.
    pub(crate) fn tick(&mut self, connections: &mut Connections, cx: &mut Context<'_>) {
        let late = |incoming: &Incoming| !incoming.writing && incoming.until <= cx.now.mono;
        let tokens: Vec<Token> = self.incoming.iter().filter(|(_, incoming)| late(incoming)).map(|(token, _)| *token).collect();
        for token in tokens {
            self.incoming.remove(&token);
            Self::later(token, LaterReason::Busy, RATE_S, cx);
        }
        if self.kept.is_empty() {
            return;
        }
        if self.persist_at <= cx.now.mono {
            self.persist_at = cx.after(cx.config.persist_every_ms);
            self.persist(cx);
        }
        if self.sweep_at <= cx.now.mono {
            let more = self.sweep(cx);
            self.sweep_at = cx.after(if more { SWEEP_AGAIN_MS } else { SWEEP_MS });
        }
        self.trim(cx);
        if self.reach_at <= cx.now.mono {
            self.pass_due = true;
            let onward = self.reach_out(connections, cx);
            let siblings = self.reach_siblings(connections, cx);
            // What came just now is passed on in a moment.
            let fresh = std::mem::take(&mut self.fresh).then(|| cx.after(REACH_MS));
            self.reach_at = [onward, siblings, fresh].into_iter().flatten().min().unwrap_or(Mono(u64::MAX));
        }
    }

    /// Writes how far the clock has come: one row, however much is kept.
    fn persist(&self, cx: &mut Context<'_>) {
        let write = crate::event::Write::HostingClock { passed_ms: self.clock(), at: self.aging.mark() };
        cx.commit(vec![write], Vec::new());
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        let kept = (!self.kept.is_empty()).then_some(self.persist_at.min(self.sweep_at).min(self.reach_at));
        let due = kept.into_iter().chain(self.rest_until).min();
        if self.incoming.is_empty() {
            return due;
        }
        let incoming = self.incoming.values().filter(|incoming| !incoming.writing).map(|incoming| incoming.until);
        incoming.chain(due).min()
    }
}
