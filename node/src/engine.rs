//! The loop: what happens becomes an event, the core says what to do, and it is done. The one place where protocol, network and store meet.
//!
//! The loop itself never blocks: sealing, opening and committing happen on two threads of their own (`mailroom.rs`, `scribe.rs`), which are
//! asked through bounded queues and answer through one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kith_network::{Asked, Command, Event as NetworkEvent, Source, Ticket};
use kith_protocol::address::Address;
use kith_protocol::blinding::week_of;
use kith_protocol::delivery::Delivery;
use kith_protocol::event::{
    AuditOutcome, CommitProblem, Counter, Effect, EntryKind, Event, Mono, Now, OfferOutcome, OpenProblem, Place, PlaceKind, Wall,
    Way, Write,
};
use kith_protocol::hosting::{Grant, Reply, Request};
use kith_protocol::ids::{AccountId, EntryId, EnvelopeId, Op, PeerId, QueueName, Token};
use kith_protocol::keys::queue_name;
use kith_protocol::record;
use kith_protocol::wire::{Audit, FEATURE_VOLUNTEER, Message, Onward};
use kith_protocol::work::Work;
use kith_store::Store;
use kith_store::feed::Topic;
use tokio::sync::mpsc;

use crate::mailroom::{Asking, Errand, Mailroom, Offering, Told};
use crate::scribe::{Body, Commit, Scribe};
use crate::toil::{Task, Toil};

/// How many events from people (the command line) may wait.
pub const ORDERS_MAX: usize = 256;
/// How many answers of the two threads may wait for the loop.
pub const ANSWERS_MAX: usize = 1024;
/// How long a peer that broke the rules is not talked to, in seconds.
const BAN_SECONDS: u32 = 600;
/// Peers whose nonces are remembered.
const NONCES_MAX: usize = 4096;
/// The longest the loop sleeps when the core has no deadline.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// What people ask of the running engine.
#[derive(Debug)]
pub enum Order {
    /// Hand this to the core.
    Tell(Box<Event>),
    /// An account was made: load its keys.
    AccountAdded(AccountId),
    /// An account is gone.
    AccountRemoved(AccountId),
    /// Try everything that waits.
    RetryAll,
    /// The relays that accounts use have changed in the store.
    RelaysChanged,
}

/// Directory keys with their values.
pub type Records = Vec<(Vec<u8>, Vec<u8>)>;

/// What the two threads answer.
#[derive(Debug)]
pub enum Answered {
    /// Hand this to the core.
    Event(Event),
    /// An account's records are built: publish them.
    Records {
        /// The question.
        op: Op,
        /// Directory keys and values.
        records: Records,
    },
    /// What is asked of a relay is built and proven.
    Asking {
        /// The question.
        op: Op,
        /// The relay.
        peer: PeerId,
        /// Its frames, to be asked one after the other; empty: it cannot be asked.
        messages: VecDeque<Message>,
        /// What it is told with them, to be kept when it has confirmed it.
        told: Option<Told>,
    },
    /// Volunteers are to be looked for.
    Near {
        /// The question.
        op: Op,
        /// Whose mailbox.
        address: Address,
        /// Near the keys of these weeks.
        weeks: Vec<u32>,
    },
    /// A kept letter was read, to be offered.
    Fetched {
        /// To whom, and which.
        offering: Box<Offering>,
        /// Its bytes; `None`: it cannot be read.
        source: Option<Source>,
    },
    /// A piece of a kept letter, to be shown.
    Show {
        /// The question.
        token: Token,
        /// `None`: it is not here.
        hash: Option<[u8; 32]>,
    },
    /// A commit may have changed which relays are used, or where those are to be found.
    RelaysChanged,
    /// A commit ended; where it is durable these effects may happen now.
    Committed {
        /// Released effects; empty where the commit failed.
        then: Vec<Effect>,
        /// What the core is told.
        event: Event,
    },
}

/// What `kith status` shows of the running engine.
#[derive(Debug, Default)]
pub struct Counters {
    /// Envelopes dropped: foreign, altered, malformed, wrong sender.
    pub dropped: AtomicU64,
    /// Letters that came again.
    pub duplicates: AtomicU64,
    /// Receipts for nothing.
    pub bogus_receipts: AtomicU64,
    /// Offers refused or put off.
    pub refused: AtomicU64,
    /// Copies that relays did not have although they had said so.
    pub relay_lies: AtomicU64,
    /// Envelopes that came whole, for this node or for others.
    pub received: AtomicU64,
    /// Their bytes.
    pub received_bytes: AtomicU64,
}

/// The clocks of this process.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// Starts counting.
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// Both clocks, now.
    pub fn now(&self) -> Now {
        let wall = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
        };
        Now { mono: Mono(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)), wall: Wall(wall) }
    }
}

/// The engine's parts.
pub struct Engine {
    store: Store,
    network: kith_network::Handle,
    delivery: Delivery,
    mailroom: Mailroom,
    scribe: Scribe,
    clock: Clock,
    counters: Arc<Counters>,
    /// Offers that were taken and are not answered for good: where the body lies once it is complete.
    bodies: BTreeMap<Token, PathBuf>,
    /// What peers gave this node for nonces: as many as are known to be up or were lately.
    nonces: BTreeMap<PeerId, [u8; 32]>,
    /// Questions of ours to relays, with what is still to be asked.
    asks: BTreeMap<Op, (PeerId, VecDeque<Message>, Option<Told>)>,
    audits: BTreeMap<Op, Audited>,
    /// Near whom volunteers are being looked for, and near the keys of which weeks.
    searches: BTreeMap<Op, (Address, Vec<u32>)>,
    /// This node stands in its accounts' cards: contacts' nodes know it, and it needs no stamps there.
    direct: bool,
    toil: Toil,
    /// Whom the network lets in before others.
    favoured: BTreeSet<PeerId>,
    /// The newest queue entry that the core was told of.
    newest: EntryId,
    effects: Vec<Effect>,
    /// The store is unusable: nothing can be promised any more.
    broken: bool,
}

/// A copy that a relay is asked for.
#[derive(Clone, Copy, Debug)]
struct Audited {
    envelope: EnvelopeId,
    size: u64,
    nonce: [u8; 16],
}

/// The ends of the channels that the loop listens to.
pub struct Inputs {
    /// The network's events.
    pub network: kith_network::Events,
    /// The threads' answers.
    pub answers: mpsc::Receiver<Answered>,
    /// People's orders.
    pub orders: mpsc::Receiver<Order>,
    /// Becomes true when the process ends.
    pub stop: tokio::sync::watch::Receiver<bool>,
}

/// What the engine is made of.
pub struct Parts {
    /// The store.
    pub store: Store,
    /// The network's commands.
    pub network: kith_network::Handle,
    /// The restored core.
    pub delivery: Delivery,
    /// The sealing thread.
    pub mailroom: Mailroom,
    /// The committing thread.
    pub scribe: Scribe,
    /// The clocks that the core was restored with.
    pub clock: Clock,
    /// The thread for strangers' work.
    pub toil: Toil,
    /// This node stands in its accounts' cards.
    pub direct: bool,
    /// Shared with `kith status`.
    pub counters: Arc<Counters>,
    /// The newest entry in the snapshot that the core was restored from.
    pub newest: EntryId,
}

impl Engine {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        let Parts { store, network, delivery, mailroom, scribe, clock, toil, direct, counters, newest } = parts;
        Self {
            store,
            network,
            delivery,
            mailroom,
            scribe,
            clock,
            counters,
            bodies: BTreeMap::new(),
            nonces: BTreeMap::new(),
            asks: BTreeMap::new(),
            audits: BTreeMap::new(),
            searches: BTreeMap::new(),
            direct,
            toil,
            favoured: BTreeSet::new(),
            newest,
            effects: Vec::new(),
            broken: false,
        }
    }

    /// Runs until told to stop, or until the store is unusable; then lets the two threads finish what they hold.
    pub async fn run(mut self, mut inputs: Inputs) {
        self.favour().await;
        self.step(Event::Started).await;
        self.take_new_entries().await;
        while !self.broken {
            let queue = self.store.listen(Topic::Queue);
            if self.take_new_entries().await {
                continue;
            }
            let sleep = self.until_deadline();
            // Every branch is cancel-safe: channels and listeners keep what was not taken.
            tokio::select! {
                biased;
                _ = inputs.stop.changed() => break,
                Some(answer) = inputs.answers.recv() => self.answered(answer).await,
                Some(event) = inputs.network.next() => self.network_event(event).await,
                Some(order) = inputs.orders.recv() => self.ordered(order).await,
                () = queue => {}
                () = tokio::time::sleep(sleep) => self.step(Event::Tick).await,
            }
        }
        self.toil.finish();
        self.mailroom.finish();
        self.scribe.finish();
    }

    async fn command(&self, command: Command) {
        if self.network.send(command).await.is_err() {
            tracing::error!("the network is gone");
        }
    }

    /// Tells the network whom people here know.
    async fn favour(&mut self) {
        let familiar = self.delivery.familiar();
        if familiar != self.favoured {
            self.favoured = familiar;
            self.command(Command::Favour { peers: self.favoured.iter().copied().collect() }).await;
        }
    }

    fn until_deadline(&self) -> Duration {
        self.delivery.deadline().map_or(SLEEP_MAX, |deadline| {
            Duration::from_millis(deadline.0.saturating_sub(self.clock.now().mono.0)).min(SLEEP_MAX)
        })
    }

    /// Tells the core of entries that were committed since; `true` if there were any.
    async fn take_new_entries(&mut self) -> bool {
        let entries = match self.store.queue_after(self.newest) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::error!(%error, "the queue cannot be read");
                return false;
            }
        };
        let (any, mut met) = (!entries.is_empty(), false);
        for entry in entries {
            self.newest = self.newest.max(entry.id);
            if entry.kind == EntryKind::Mail {
                // Whoever one writes to may answer.
                let (account, address) = (entry.account, entry.recipient);
                met |= !self.delivery.accepts(account, &address);
                self.step(Event::Acceptance { account, address, accepted: true }).await;
            }
            self.step(Event::Queued(crate::mailroom::core_entry(&entry))).await;
        }
        if met {
            // Their nodes may be connected already.
            self.favour().await;
        }
        any
    }

    /// One event in, all its effects out.
    async fn step(&mut self, event: Event) {
        let mut pending = vec![event];
        while let Some(event) = pending.pop() {
            let now = self.clock.now();
            let mut effects = std::mem::take(&mut self.effects);
            self.delivery.handle(event, now, &mut rand::rng(), &mut effects);
            for effect in effects.drain(..) {
                if let Some(answer) = self.perform(effect).await {
                    pending.push(answer);
                }
            }
            self.effects = effects;
        }
    }

    async fn perform(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Connect { op, peer, addresses } => self.command(Command::Connect { op, peer, addresses }).await,
            Effect::Lookup { op, address } => {
                let keys = crate::mailroom::directory_keys(&address, self.clock.now().wall);
                self.mailroom.expect_found(op, address);
                self.command(Command::Lookup { op, keys }).await;
            }
            Effect::Publish { op, account } => self.mailroom.send(Errand::Records { op, account }),
            Effect::Seal { op, entry, with, ladder } => self.mailroom.send(Errand::Seal { op, entry, with, ladder }),
            Effect::Offer { op, peer, queue, envelope, size, way } => {
                let offering = Offering { op, peer, queue, envelope, size, deposit: false, onward: Arc::default() };
                match way {
                    Way::Letter { account, recipient, deposit, work, onward } => {
                        let ticket = self.ticket(&offering, (account, recipient), deposit, work, &onward);
                        let source = Source::File(self.mailroom.outgoing(&envelope));
                        self.command(Command::Offer { op, peer, queue, envelope, size, source, ticket }).await;
                    }
                    Way::Push => self.mailroom.send(Errand::Fetch(Box::new(offering))),
                    Way::Onward { deposit, onward } => {
                        self.mailroom.send(Errand::Fetch(Box::new(Offering { deposit, onward, ..offering })));
                    }
                }
            }
            Effect::Ask { op, peer, account, queue, what } => match self.nonces.get(&peer) {
                Some(nonce) => {
                    self.mailroom.send(Errand::Ask(Box::new(Asking { op, peer, nonce: *nonce, account, queue, what })))
                }
                None => return Some(Event::Asked { op, reply: None }),
            },
            Effect::Reply { token, reply } => self.command(Command::Reply { token, reply }).await,
            Effect::Audit { op, peer, queue, envelope, size, nonce } => {
                self.audits.insert(op, Audited { envelope, size, nonce });
                self.command(Command::Ask { op, peer, message: Message::Audit(Audit { envelope, queue, nonce }) }).await;
            }
            Effect::Volunteers { op, address } => self.mailroom.send(Errand::Near { op, address }),
            Effect::Work { op, tag, envelope, effort } => {
                if !self.toil.send(Task { op, tag, envelope, effort }) {
                    return Some(Event::Worked { op, work: None });
                }
            }
            Effect::Answer { token, answer } => {
                if answer != kith_protocol::event::Answer::Send {
                    self.forget_body(token);
                }
                self.command(Command::Answer { token, answer }).await;
            }
            Effect::Open { token, account } => match self.bodies.get(&token) {
                Some(file) => self.mailroom.send(Errand::Open { token, account, file: file.clone() }),
                None => return Some(Event::Opened { token, result: Err(OpenProblem::Temporary) }),
            },
            Effect::Commit { batch, writes, then } => {
                let body = |write: &Write| match write {
                    Write::Hold { token, .. } => Some((*token, Body::File(self.bodies.get(token)?.clone()))),
                    _ => None,
                };
                let bodies = writes.iter().filter_map(body).collect();
                self.scribe.send(Commit { batch, writes, then, bodies });
            }
            Effect::Discard(envelope) => self.discard(&envelope),
            Effect::Drop(peer) => self.command(Command::Ban { peer, seconds: BAN_SECONDS }).await,
            Effect::Count(counter) => self.count(counter),
        }
        None
    }

    /// What an offer of a letter brings along: a stamp where there is one and it may be asked for, else work that was done.
    fn ticket(
        &self,
        offering: &Offering,
        (account, recipient): (AccountId, Address),
        deposit: bool,
        work: Option<Work>,
        onward: &[Place],
    ) -> Ticket {
        let wanted = onward.is_empty() && (deposit || !self.direct);
        let week = week_of(self.clock.now().wall);
        let stamp = if wanted { self.mailroom.take_stamp(account, recipient, &offering.peer, week) } else { None };
        Ticket { deposit, stamp, work, onward: onward.iter().map(carried).collect() }
    }

    /// The next frame of a question to a relay, or its end.
    async fn ask_on(&mut self, op: Op, answer: Option<Message>) {
        let reply = match answer {
            Some(Message::Reply(reply)) => Some(reply),
            _ => None,
        };
        let Some((peer, messages, told)) = self.asks.get_mut(&op) else { return };
        if reply == Some(Reply::Done)
            && let Some(message) = messages.pop_front()
        {
            let peer = *peer;
            return self.command(Command::Ask { op, peer, message }).await;
        }
        if reply == Some(Reply::Done)
            && let Some(told) = told.take()
        {
            self.mailroom.send(Errand::Told(Box::new(told)));
        }
        self.asks.remove(&op);
        self.step(Event::Asked { op, reply }).await;
    }

    /// A peer asks this node as a relay.
    async fn asked(&mut self, token: Token, peer: PeerId, asked: Asked) {
        match asked {
            Asked::Audit { queue, envelope, nonce } => self.mailroom.send(Errand::Show { token, queue, envelope, nonce }),
            Asked::Owner { key, request } => {
                let grant = match &request {
                    Request::Host { token } => self.permitted(token, &key),
                    _ => None,
                };
                self.step(Event::AskReceived { token, peer, key, request, grant }).await;
            }
        }
    }

    /// What a token is good for, for the queue of this key: one row is read.
    fn permitted(&self, token: &[u8; 32], key: &[u8; 32]) -> Option<Grant> {
        let permit = self.store.permit(token).ok().flatten()?;
        let queue = queue_name(key);
        permit.queue.is_none_or(|bound| bound == queue).then(|| Grant {
            bytes: permit.bytes,
            count: permit.count,
            largest: permit.largest,
            ..Grant::default()
        })
    }

    /// What the core is told of what an offer brings along. Whether a stamp is unspent is one row to be looked up.
    fn seen_ticket(&self, queue: &QueueName, ticket: Ticket) -> kith_protocol::event::Ticket {
        let week = week_of(self.clock.now().wall);
        let mark = ticket.stamp.map(|stamp| stamp.mark());
        let stamp = mark.filter(|mark| self.store.has_mark(queue, mark, week).unwrap_or(false));
        let place = |onward: Onward| Place {
            peer: onward.peer,
            queue: onward.queue,
            kind: if onward.deposit { PlaceKind::Relay } else { PlaceKind::Home },
            addresses: onward.addresses,
        };
        let onward = ticket.onward.into_iter().map(place).collect();
        kith_protocol::event::Ticket { deposit: ticket.deposit, stamp, work: ticket.work, onward }
    }

    fn discard(&self, envelope: &EnvelopeId) {
        if let Err(error) = std::fs::remove_file(self.mailroom.outgoing(envelope))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "an envelope in the spool could not be removed");
        }
    }

    fn forget_body(&mut self, token: Token) {
        self.mailroom.forget(token);
        if let Some(file) = self.bodies.remove(&token)
            && let Err(error) = std::fs::remove_file(&file)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "a received envelope could not be removed");
        }
    }

    fn count(&self, counter: Counter) {
        let counters = &self.counters;
        let counted = match counter {
            Counter::Dropped(reason) => {
                tracing::debug!(?reason, "an envelope was dropped");
                &counters.dropped
            }
            Counter::Duplicate => &counters.duplicates,
            Counter::BogusReceipt => &counters.bogus_receipts,
            Counter::OfferRefused => &counters.refused,
            Counter::RelayLied => &counters.relay_lies,
        };
        counted.fetch_add(1, Ordering::Relaxed);
    }

    async fn network_event(&mut self, event: NetworkEvent) {
        match event {
            NetworkEvent::PeerKnown { peer, nonce, features: _ } => {
                if self.nonces.len() >= NONCES_MAX && !self.nonces.contains_key(&peer) {
                    // Whoever is shown its nonce again is taken for one that runs anew, which costs a few words.
                    self.nonces.pop_first();
                }
                if self.nonces.insert(peer, nonce) != Some(nonce) {
                    self.step(Event::PeerRestarted(peer)).await;
                }
            }
            NetworkEvent::PeerUp(peer) => {
                if !self.favoured.contains(&peer) && self.delivery.is_familiar(peer) {
                    self.favour().await;
                }
                self.step(Event::PeerUp(peer)).await;
            }
            NetworkEvent::DirectWay(peer) => self.step(Event::DirectWay(peer)).await,
            NetworkEvent::PeerDown(peer) => self.step(Event::PeerDown(peer)).await,
            NetworkEvent::ConnectFailed { op, peer } => self.step(Event::ConnectsFailed(vec![(op, peer)])).await,
            NetworkEvent::NetworkChanged => {
                self.mailroom.send(Errand::NetworkChanged);
                self.step(Event::NetworkChanged).await;
            }
            NetworkEvent::Listening(_) | NetworkEvent::ListeningEnded(_) | NetworkEvent::ExternalAddress(_) => {
                self.mailroom.send(Errand::NetworkChanged)
            }
            NetworkEvent::OfferReceived { token, peer, queue, envelope, size, ticket } => {
                let ticket = self.seen_ticket(&queue, ticket);
                self.step(Event::OfferReceived { token, peer, queue, envelope, size, ticket }).await;
            }
            NetworkEvent::AskReceived { token, peer, asked } => self.asked(token, peer, asked).await,
            NetworkEvent::Answered { op, answer } => match self.audits.remove(&op) {
                Some(Audited { envelope, size, nonce }) => match answer {
                    Some(Message::Proof(proof)) => {
                        self.mailroom.send(Errand::Check { op, envelope, size, nonce, shown: Some(proof.hash) });
                    }
                    Some(Message::Refused(_)) => self.mailroom.send(Errand::Check { op, envelope, size, nonce, shown: None }),
                    _ => self.step(Event::Audited { op, outcome: AuditOutcome::Broken }).await,
                },
                None => self.ask_on(op, answer).await,
            },
            NetworkEvent::Closest { op, peers } => {
                if let Some((address, weeks)) = self.searches.remove(&op) {
                    let near = weeks.into_iter().zip(peers).collect();
                    self.mailroom.send(Errand::Volunteers { op, address, near });
                }
            }
            NetworkEvent::BodyReceived { token, file } => {
                self.counters.received.fetch_add(1, Ordering::Relaxed);
                let size = std::fs::metadata(&file).map_or(0, |found| found.len());
                self.counters.received_bytes.fetch_add(size, Ordering::Relaxed);
                self.bodies.insert(token, file);
                self.step(Event::BodyReceived { token }).await;
            }
            NetworkEvent::BodyBroken { token } => self.step(Event::BodyBroken { token }).await,
            NetworkEvent::Offered { op, outcome } => {
                if outcome == OfferOutcome::Broken {
                    tracing::debug!("an offer broke off");
                }
                self.step(Event::Offered { op, outcome }).await;
            }
            NetworkEvent::Published { op, holders } => {
                self.mailroom.send(Errand::Published { op, holders });
                self.step(Event::Published { op, holders }).await;
            }
            NetworkEvent::Found { op, values } => self.mailroom.send(Errand::Found { op, values }),
        }
    }

    async fn answered(&mut self, answer: Answered) {
        match answer {
            Answered::Event(event) => self.step(event).await,
            Answered::Records { op, records } => self.command(Command::Publish { op, records }).await,
            Answered::Asking { op, peer, mut messages, told } => match messages.pop_front() {
                Some(message) => {
                    self.asks.insert(op, (peer, messages, told));
                    self.command(Command::Ask { op, peer, message }).await;
                }
                None => self.step(Event::Asked { op, reply: None }).await,
            },
            Answered::Near { op, address, weeks } => {
                // Senders and the owner look near the first of a week's two names.
                let key = |week: &u32| record::directory_keys(&address, *week).into_iter().next().unwrap_or_default();
                let keys = weeks.iter().map(key).collect();
                self.searches.insert(op, (address, weeks));
                self.command(Command::Closest { op, keys, features: FEATURE_VOLUNTEER }).await;
            }
            Answered::Fetched { offering, source } => {
                let Offering { op, peer, queue, envelope, size, deposit, onward } = *offering;
                match source {
                    Some(source) => {
                        let onward = onward.iter().map(carried).collect();
                        let ticket = Ticket { deposit, onward, ..Ticket::default() };
                        self.command(Command::Offer { op, peer, queue, envelope, size, source, ticket }).await;
                    }
                    None => self.step(Event::Offered { op, outcome: OfferOutcome::Broken }).await,
                }
            }
            Answered::Show { token, hash } => self.command(Command::Show { token, hash }).await,
            Answered::RelaysChanged => self.mailroom.send(Errand::Relays),
            Answered::Committed { then, event } => {
                self.broken |= matches!(event, Event::CommitFailed { reason: CommitProblem::Broken, .. });
                for effect in then {
                    if let Some(event) = self.perform(effect).await {
                        self.step(event).await;
                    }
                }
                self.step(event).await;
            }
        }
    }

    async fn ordered(&mut self, order: Order) {
        match order {
            Order::Tell(event) => {
                let changes = matches!(*event, Event::Acceptance { .. });
                self.step(*event).await;
                if changes {
                    self.favour().await;
                }
            }
            Order::AccountAdded(account) => self.mailroom.send(Errand::AccountAdded(account)),
            Order::AccountRemoved(account) => {
                self.mailroom.send(Errand::AccountRemoved(account));
                self.step(Event::AccountRemoved(account)).await;
                self.favour().await;
            }
            Order::RetryAll => self.step(Event::NetworkChanged).await,
            Order::RelaysChanged => self.mailroom.send(Errand::Relays),
        }
    }
}

/// Where a letter is carried to, as it goes over the wire.
fn carried(place: &Place) -> Onward {
    let deposit = place.kind != PlaceKind::Home;
    Onward { peer: place.peer, queue: place.queue, deposit, addresses: place.addresses.clone() }
}
