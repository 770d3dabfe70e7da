//! What owners ask of this node, each answered once; what changes something is answered after its commit.

use std::sync::Arc;

use crate::card::Strangers;
use crate::event::{Effect, HeldEnvelope, HeldKind, HostedQueue, Write};
use crate::hosting::{Grant, Reply, Request};
use crate::ids::{PeerId, QueueName, Token};
use crate::keys::queue_name;

use super::super::context::Context;
use super::{Batch, QUEUES_MAX, Queue, Relay, WATCHED_PER_PEER, WATCHERS_MAX};

impl Relay {
    /// The owner of a queue asks; its proof holds.
    pub(crate) fn asked(
        &mut self,
        token: Token,
        peer: PeerId,
        key: [u8; 32],
        request: Request,
        grant: Option<Grant>,
        cx: &mut Context<'_>,
    ) {
        let name = queue_name(&key);
        let known = self.queues.get(&name).map(|queue| queue.rules.clone());
        match (request, known) {
            (Request::Host { token: ticket }, known) => {
                let Some(grant) = grant.filter(|_| known.is_some() || self.queues.len() < QUEUES_MAX) else {
                    return cx.emit(Effect::Reply { token, reply: Reply::Unknown });
                };
                let base = known.unwrap_or(HostedQueue {
                    queue: name,
                    key,
                    bytes: 0,
                    count: 0,
                    largest: 0,
                    strangers: Strangers::Closed,
                    tag: [0; 16],
                    effort: 0,
                    siblings: Arc::default(),
                });
                let rules = HostedQueue { bytes: grant.bytes, count: grant.count, largest: grant.largest, ..base };
                self.rule(token, peer, rules, Some(ticket), cx);
            }
            (Request::Collect { .. }, None) => {
                let reply = if self.watch(name, peer, cx) { Reply::Granted(Grant::default()) } else { Reply::Unknown };
                cx.emit(Effect::Reply { token, reply });
            }
            (_, None) => cx.emit(Effect::Reply { token, reply: Reply::Unknown }),
            (Request::Collect { strangers, tag, effort }, Some(known)) => {
                let rules = HostedQueue { strangers, tag, effort, ..known.clone() };
                // A volunteer's mailbox has no rules of its own to keep.
                if rules == known || known.bytes == 0 {
                    if known.bytes == 0 {
                        self.watch(name, peer, cx);
                    }
                    self.collect(&name, peer);
                    let reply = self.granted(&name);
                    cx.emit(Effect::Reply { token, reply });
                } else {
                    self.rule(token, peer, rules, None, cx);
                }
            }
            (request @ (Request::Marks { .. } | Request::Records { .. }), Some(known)) => {
                if known.bytes == 0 {
                    return cx.emit(Effect::Reply { token, reply: Reply::Unknown });
                }
                let write = Write::Deposited { queue: name, request };
                cx.commit(vec![write], vec![Effect::Reply { token, reply: Reply::Done }]);
            }
            (Request::Siblings { .. }, Some(known)) if known.bytes == 0 => {
                cx.emit(Effect::Reply { token, reply: Reply::Unknown });
            }
            (Request::Siblings { places }, Some(known)) if *known.siblings == *places => {
                cx.emit(Effect::Reply { token, reply: Reply::Done });
            }
            (Request::Siblings { places }, Some(known)) => {
                let rules = HostedQueue { siblings: places.into(), ..known };
                let done = Effect::Reply { token, reply: Reply::Done };
                let batch = cx.commit(vec![Write::Host { rules: rules.clone(), ticket: None }], vec![done]);
                self.batches.insert(batch, Batch::Host(peer, Box::new(rules)));
            }
            (Request::Leave, Some(_)) => {
                let batch = cx.commit(vec![Write::Unhost(name)], vec![Effect::Reply { token, reply: Reply::Done }]);
                self.batches.insert(batch, Batch::Unhost(name));
            }
        }
    }

    /// Remembers who would like to have what volunteers may be left for this mailbox. False where that will be nothing.
    fn watch(&mut self, name: QueueName, peer: PeerId, cx: &Context<'_>) -> bool {
        let of_peer = self.watchers.values().filter(|watcher| **watcher == peer).count();
        let room = self.watchers.len() < WATCHERS_MAX && of_peer < WATCHED_PER_PEER;
        let watched = cx.config.volunteer_bytes > 0 && (room || self.watchers.contains_key(&name));
        if watched {
            self.watchers.insert(name, peer);
        }
        watched
    }

    fn rule(&mut self, token: Token, peer: PeerId, rules: HostedQueue, ticket: Option<[u8; 32]>, cx: &mut Context<'_>) {
        let (used_bytes, used_count) = self.queues.get(&rules.queue).map_or((0, 0), |queue| (queue.bytes, queue.count));
        let grant = Grant { bytes: rules.bytes, count: rules.count, largest: rules.largest, used_bytes, used_count };
        let reply = Effect::Reply { token, reply: Reply::Granted(grant) };
        let batch = cx.commit(vec![Write::Host { rules: rules.clone(), ticket }], vec![reply]);
        self.batches.insert(batch, Batch::Host(peer, Box::new(rules)));
    }

    fn granted(&self, name: &QueueName) -> Reply {
        self.queues.get(name).map_or(Reply::Unknown, |queue| {
            let Queue { rules, bytes, count, .. } = &**queue;
            Reply::Granted(Grant {
                bytes: rules.bytes,
                count: rules.count,
                largest: rules.largest,
                used_bytes: *bytes,
                used_count: *count,
            })
        })
    }

    pub(super) fn hosted(&mut self, peer: PeerId, rules: HostedQueue) {
        let name = rules.queue;
        self.host(rules);
        // Gone while this was written, it is offered something in vain.
        self.collect(&name, peer);
    }

    /// Nothing is kept for this mailbox any more.
    pub(super) fn unhosted(&mut self, name: &QueueName) {
        let gone: Vec<_> = self.kept.values().filter(|kept| kept.held.queue == *name).map(|kept| kept.held.envelope).collect();
        for envelope in gone {
            self.lose(&envelope);
        }
        self.queues.remove(name);
        self.settle(name);
    }

    /// A person ends the hosting of a mailbox.
    pub(crate) fn end(&mut self, name: QueueName, cx: &mut Context<'_>) {
        if self.queues.contains_key(&name) {
            let batch = cx.commit(vec![Write::Unhost(name)], Vec::new());
            self.batches.insert(batch, Batch::Unhost(name));
        }
    }

    /// A volunteer's mailbox comes into being with its first letter.
    pub(super) fn ensure_volunteered(&mut self, held: &HeldEnvelope) {
        if matches!(held.kind, HeldKind::Volunteer(_)) && !self.queues.contains_key(&held.queue) {
            self.host(HostedQueue {
                queue: held.queue,
                key: [0; 32],
                bytes: 0,
                count: 0,
                largest: 0,
                strangers: Strangers::Closed,
                tag: [0; 16],
                effort: 0,
                siblings: Arc::default(),
            });
        }
        let watcher = self.watchers.get(&held.queue);
        if let Some(queue) = self.queues.get_mut(&held.queue).filter(|queue| queue.owner.is_none()) {
            queue.owner = watcher.copied();
        }
        self.settle(&held.queue);
    }
}
