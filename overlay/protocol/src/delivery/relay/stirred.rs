//! What is pushed and passed on is looked at only when something of it may have changed: never less often than it has to be.
//!
//! Two machines that are told the same; one of them looks every time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::{Config, Delivery};
use super::REACH_MS;
use crate::card::Strangers;
use crate::event::{
    Answer, Effect, Event, HeldEnvelope, HeldKind, HostedQueue, LaterReason, Mono, Now, OfferOutcome, Place, PlaceKind,
    RefusedReason, Snapshot, Ticket, Wall,
};
use crate::hosting::Request;
use crate::ids::{BatchId, EnvelopeId, Op, PeerId, QueueName, Token};
use crate::keys::queue_name;

/// Two owners, another relay of the first one, and a recipient's node and relay.
const PEERS: u8 = 5;
const STEPS: u32 = 300;

fn peer(number: u8) -> PeerId {
    PeerId([number; 32])
}

fn place(number: u8, kind: PlaceKind) -> Place {
    Place { peer: peer(number), queue: QueueName([number; 16]), kind, addresses: Vec::new() }
}

fn onward() -> Arc<[Place]> {
    Arc::new([place(4, PlaceKind::Home), place(5, PlaceKind::Relay)])
}

fn mailbox(owner: u8, siblings: Arc<[Place]>) -> HostedQueue {
    let key = [owner; 32];
    HostedQueue {
        queue: queue_name(&key),
        key,
        bytes: 1 << 30,
        count: 100,
        largest: 1 << 20,
        strangers: Strangers::Welcome,
        tag: [0; 16],
        effort: 0,
        siblings,
    }
}

struct Pair {
    seed: u64,
    /// As it ships, and one that always looks.
    machines: [(Delivery, ChaCha8Rng); 2],
    rng: ChaCha8Rng,
    now: Now,
    up: BTreeSet<u8>,
    offers: Vec<Op>,
    commits: Vec<BatchId>,
    dials: BTreeMap<PeerId, Op>,
    bodies: Vec<Token>,
    next: u64,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let hosted = vec![mailbox(1, Arc::new([place(3, PlaceKind::Relay)])), mailbox(2, Arc::default())];
        let held = (0..10_u8).map(|number| HeldEnvelope {
            envelope: EnvelopeId([number; 32]),
            queue: queue_name(&[1 + number % 2; 32]),
            size: if rng.random_bool(0.3) { 200_000 } else { 16_000 },
            kind: if number % 4 == 0 { HeldKind::Onward(onward()) } else { HeldKind::Contact },
            since_ms: u64::from(number),
            acked_ms: (number > 7).then_some(100),
        });
        let snapshot = Snapshot { hosted, held: held.collect(), hosting_clock: (1000, Wall(0)), ..Snapshot::default() };
        let now = Now { mono: Mono(0), wall: Wall(0) };
        let machine = || (Delivery::restore(Config::default(), snapshot.clone(), now), ChaCha8Rng::seed_from_u64(seed));
        let machines = [machine(), machine()];
        let (up, dials) = (BTreeSet::new(), BTreeMap::new());
        Self { seed, machines, rng, now, up, offers: Vec::new(), commits: Vec::new(), dials, bodies: Vec::new(), next: 100 }
    }

    fn tell(&mut self, event: &Event) {
        let [usual, watchful] = &mut self.machines;
        watchful.0.relay.stirred = true;
        let [usual, watchful] = [usual, watchful].map(|(core, rng)| {
            let mut effects = Vec::new();
            core.handle(event.clone(), self.now, rng, &mut effects);
            (effects, core.deadline().map_or(u64::MAX, |due| due.0))
        });
        assert_eq!(usual.0, watchful.0, "seed {}, after {event:?}", self.seed);
        assert!(usual.1 <= watchful.1, "seed {}: sleeps longer after {event:?}", self.seed);
        for effect in usual.0 {
            match effect {
                Effect::Offer { op, .. } => self.offers.push(op),
                Effect::Commit { batch, .. } => self.commits.push(batch),
                Effect::Connect { op, peer, .. } => _ = self.dials.insert(peer, op),
                Effect::Answer { token, answer: Answer::Send } => self.bodies.push(token),
                _ => {}
            }
        }
    }

    fn outcome(&mut self) -> OfferOutcome {
        match self.rng.random_range(0..7) {
            0 => OfferOutcome::Have,
            1 | 2 => OfferOutcome::Stored { until_s: 1, signature: [0; 64], seldom: self.rng.random() },
            3 => OfferOutcome::Later { reason: LaterReason::Busy, after_s: self.rng.random_range(1..4000) },
            4 => OfferOutcome::Refused(RefusedReason::TooLarge),
            5 => OfferOutcome::NoDirectWay,
            _ => OfferOutcome::Broken,
        }
    }

    /// One of a few, taken out.
    fn any<T>(rng: &mut ChaCha8Rng, of: &mut Vec<T>) -> Option<T> {
        (!of.is_empty()).then(|| of.swap_remove(rng.random_range(0..of.len())))
    }

    fn step(&mut self) {
        let number = self.rng.random_range(1..=PEERS);
        match self.rng.random_range(0..11) {
            0 | 1 if self.up.insert(number) => {
                self.dials.remove(&peer(number));
                if self.rng.random_bool(0.3) {
                    self.tell(&Event::PeerRestarted(peer(number)));
                }
                self.tell(&Event::PeerUp(peer(number)));
            }
            0 | 1 if self.rng.random_bool(0.3) => {
                self.up.remove(&number);
                self.tell(&Event::PeerDown(peer(number)));
            }
            2 => {
                if let Some((peer, op)) = self.dials.pop_first() {
                    self.tell(&Event::ConnectsFailed(vec![(op, peer)]));
                }
            }
            3 if number < 3 && self.up.contains(&number) => {
                self.next += 1;
                let request = Request::Collect { strangers: Strangers::Welcome, tag: [0; 16], effort: 0 };
                let (token, key) = (Token(self.next), [number; 32]);
                self.tell(&Event::AskReceived { token, peer: peer(number), key, request, grant: None });
            }
            4 if self.up.contains(&number) => {
                self.next += 1;
                let mut name = [0; 32];
                name[..8].copy_from_slice(&self.next.to_be_bytes());
                let places = if self.rng.random_bool(0.3) { onward() } else { Arc::default() };
                let ticket = Ticket { deposit: true, onward: places, ..Ticket::default() };
                let (token, envelope) = (Token(self.next), EnvelopeId(name));
                let queue = queue_name(&[self.rng.random_range(1..3); 32]);
                let size = if self.rng.random_bool(0.3) { 200_000 } else { 16_000 };
                self.tell(&Event::OfferReceived { token, peer: peer(number), queue, envelope, size, ticket });
            }
            5 => {
                if let Some(token) = Self::any(&mut self.rng, &mut self.bodies) {
                    self.tell(&Event::BodyReceived { token });
                }
            }
            6 | 7 => {
                if !self.commits.is_empty() {
                    let batch = self.commits.remove(0);
                    self.tell(&Event::Durable(batch));
                }
            }
            8 => {
                if let Some(op) = Self::any(&mut self.rng, &mut self.offers) {
                    let outcome = self.outcome();
                    self.tell(&Event::Offered { op, outcome });
                }
            }
            9 if self.up.contains(&number) => self.tell(&Event::DirectWay(peer(number))),
            _ => {
                let steps = [1, 1000, REACH_MS + 1, 11 * 60_000, 3_600_000];
                let ms = steps[self.rng.random_range(0..steps.len())];
                self.now.mono.0 += ms;
                self.now.wall.0 = self.now.wall.0.saturating_add_unsigned(ms);
                self.tell(&Event::Tick);
            }
        }
    }
}

#[test]
fn nothing_is_missed_by_looking_only_when_something_has_changed() {
    let mut offered = 0;
    for seed in 0..200 {
        let mut pair = Pair::new(seed);
        pair.tell(&Event::Started);
        for _ in 0..STEPS {
            let before = pair.offers.len();
            pair.step();
            offered += pair.offers.len().saturating_sub(before);
        }
    }
    assert!(offered > 200 * 20, "hardly anything happened: {offered}");
}
