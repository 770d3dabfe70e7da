//! The loop: what happens becomes an event, the core says what to do, and it is done. The one place where protocol, network and store meet.
//!
//! The loop itself never blocks: sealing, opening and committing happen on two threads of their own (`mailroom.rs`, `scribe.rs`), which are
//! asked through bounded queues and answer through one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kith_network::{Command, Event as NetworkEvent};
use kith_protocol::delivery::Delivery;
use kith_protocol::event::{CommitProblem, Counter, Effect, Event, Mono, Now, OfferOutcome, OpenProblem, Wall};
use kith_protocol::ids::{AccountId, EntryId, EnvelopeId, Op, Token};
use kith_store::Store;
use kith_store::feed::Topic;
use tokio::sync::mpsc;

use crate::mailroom::{Errand, Mailroom};
use crate::scribe::{Commit, Scribe};

/// How many events from people (the command line) may wait.
pub const ORDERS_MAX: usize = 256;
/// How many answers of the two threads may wait for the loop.
pub const ANSWERS_MAX: usize = 1024;
/// How long a peer that broke the rules is not talked to, in seconds.
const BAN_SECONDS: u32 = 600;
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
    /// The newest queue entry that the core was told of.
    newest: EntryId,
    effects: Vec<Effect>,
    /// The store is unusable: nothing can be promised any more.
    broken: bool,
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
    /// Shared with `kith status`.
    pub counters: Arc<Counters>,
    /// The newest entry in the snapshot that the core was restored from.
    pub newest: EntryId,
}

impl Engine {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        let Parts { store, network, delivery, mailroom, scribe, clock, counters, newest } = parts;
        Self {
            store,
            network,
            delivery,
            mailroom,
            scribe,
            clock,
            counters,
            bodies: BTreeMap::new(),
            newest,
            effects: Vec::new(),
            broken: false,
        }
    }

    /// Runs until told to stop, or until the store is unusable; then lets the two threads finish what they hold.
    pub async fn run(mut self, mut inputs: Inputs) {
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
        self.mailroom.finish();
        self.scribe.finish();
    }

    async fn command(&self, command: Command) {
        if self.network.send(command).await.is_err() {
            tracing::error!("the network is gone");
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
        let any = !entries.is_empty();
        for entry in entries {
            self.newest = self.newest.max(entry.id);
            self.step(Event::Queued(crate::mailroom::core_entry(&entry))).await;
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
            Effect::Seal { op, entry, ladder } => self.mailroom.send(Errand::Seal { op, entry, ladder }),
            Effect::Offer { op, peer, queue, envelope, size } => {
                let file = self.mailroom.outgoing(&envelope);
                self.command(Command::Offer { op, peer, queue, envelope, size, file }).await;
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
            Effect::Commit { batch, writes, then } => self.scribe.send(Commit { batch, writes, then }),
            Effect::Discard(envelope) => self.discard(&envelope),
            Effect::Drop(peer) => self.command(Command::Ban { peer, seconds: BAN_SECONDS }).await,
            Effect::Count(counter) => self.count(counter),
        }
        None
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
        };
        counted.fetch_add(1, Ordering::Relaxed);
    }

    async fn network_event(&mut self, event: NetworkEvent) {
        match event {
            NetworkEvent::PeerUp(peer) => self.step(Event::PeerUp(peer)).await,
            NetworkEvent::PeerDown(peer) => self.step(Event::PeerDown(peer)).await,
            NetworkEvent::ConnectFailed { op, peer } => self.step(Event::ConnectFailed { op, peer }).await,
            NetworkEvent::NetworkChanged => {
                self.mailroom.send(Errand::NetworkChanged);
                self.step(Event::NetworkChanged).await;
            }
            NetworkEvent::Listening(_) | NetworkEvent::ListeningEnded(_) | NetworkEvent::ExternalAddress(_) => {
                self.mailroom.send(Errand::NetworkChanged)
            }
            NetworkEvent::OfferReceived { token, peer, queue, envelope, size } => {
                self.step(Event::OfferReceived { token, peer, queue, envelope, size }).await;
            }
            NetworkEvent::BodyReceived { token, file } => {
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
            Order::Tell(event) => self.step(*event).await,
            Order::AccountAdded(account) => self.mailroom.send(Errand::AccountAdded(account)),
            Order::AccountRemoved(account) => {
                self.mailroom.send(Errand::AccountRemoved(account));
                self.step(Event::AccountRemoved(account)).await;
            }
            Order::RetryAll => self.step(Event::NetworkChanged).await,
        }
    }
}
