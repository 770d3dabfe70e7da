//! The thread that seals and opens: it holds the accounts' keys, reads and writes the spool, and builds cards and records.
//!
//! It decides nothing: the core says what to seal and what to open, and is told what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use kith_protocol::address::Address;
use kith_protocol::card::Strangers;
use kith_protocol::event::{CardInfo, Entry, EntryKind, Event, Ladder, Mono, OwnAccount, Place, Snapshot, UsedRelay, Wall};
use kith_protocol::ids::{AccountId, EntryId, EnvelopeId, Op, PeerId, QueueName, Token};
use kith_protocol::stamp::Stamp;
use kith_store::queue::{Form, QueueEntry};
use kith_store::{Store, StoreError};
use tokio::sync::mpsc;

use crate::cards::Cards;
use crate::correspondence::Shared;
use crate::engine::{Answered, Clock};
use crate::identity::{self, Identities, Identity};

mod hosting;
mod opening;
mod sealing;
mod told;
mod volunteers;

pub use hosting::Asking;
pub use told::Told;

/// How many errands may wait; the engine waits when it is full.
const ERRANDS_MAX: usize = 1024;
/// How often the weekly keys are looked after when nothing else happens.
const LOOK_AFTER: Duration = Duration::from_secs(3600);
/// How often a relay puts the records of those whose mail it keeps into the directory.
const KEPT_RECORDS_EVERY_MS: u64 = 12 * 3600 * 1000;
/// A day key's life.
const DAY_MS: i64 = 86_400_000;

/// What the engine asks for.
#[derive(Debug)]
pub enum Errand {
    /// Seal an entry's letter into the spool.
    Seal {
        /// The question.
        op: Op,
        /// Which entry.
        entry: EntryId,
        /// Other receipts that it takes along.
        with: Vec<EntryId>,
        /// Which keys.
        ladder: Ladder,
    },
    /// Open a received envelope.
    Open {
        /// The offer it came with.
        token: Token,
        /// Whose queue it came for.
        account: AccountId,
        /// Where it lies.
        file: PathBuf,
    },
    /// Verify what the directory gave for a lookup.
    Found {
        /// The question.
        op: Op,
        /// What it gave.
        values: Vec<Vec<u8>>,
    },
    /// Build an account's records.
    Records {
        /// The question.
        op: Op,
        /// Whose.
        account: AccountId,
    },
    /// An account's records were put into the directory.
    Published {
        /// The question.
        op: Op,
        /// Other nodes that hold them.
        holders: u32,
    },
    /// Prove what an account asks of a relay.
    Ask(Box<Asking>),
    /// A relay has confirmed what it was told.
    Told(Box<Told>),
    /// Read a kept letter, to be offered.
    Fetch(Box<Offering>),
    /// Show a piece of a kept letter.
    Show {
        /// The question.
        token: Token,
        /// The mailbox.
        queue: QueueName,
        /// The letter.
        envelope: EnvelopeId,
        /// Chooses the piece.
        nonce: [u8; 16],
    },
    /// Compare what a relay showed with our own copy.
    Check {
        /// The question.
        op: Op,
        /// The letter.
        envelope: EnvelopeId,
        /// Its bytes.
        size: u64,
        /// Chose the piece.
        nonce: [u8; 16],
        /// What was shown; `None`: it has not got it.
        shown: Option<[u8; 32]>,
    },
    /// Say near which weeks' keys volunteers are looked for.
    Near {
        /// The question.
        op: Op,
        /// Whose mailbox.
        address: Address,
    },
    /// Name the queues at volunteers.
    Volunteers {
        /// The question.
        op: Op,
        /// Whose mailbox.
        address: Address,
        /// The weeks, with the volunteers near the key of each.
        near: Vec<(u32, Vec<PeerId>)>,
    },
    /// The relays in use changed.
    Relays,
    /// The node's addresses changed: the cards may have to.
    NetworkChanged,
    /// Load the keys of a new account.
    AccountAdded(AccountId),
    /// Drop the keys of a removed account.
    AccountRemoved(AccountId),
}

/// A kept letter on its way to be offered.
#[derive(Clone, Debug)]
pub struct Offering {
    /// The question.
    pub op: Op,
    /// To whom.
    pub peer: PeerId,
    /// In which queue there.
    pub queue: QueueName,
    /// Which letter.
    pub envelope: EnvelopeId,
    /// Its bytes.
    pub size: u64,
    /// To be kept there for its owner.
    pub deposit: bool,
    /// To be carried on to these places.
    pub onward: Arc<[Place]>,
}

/// Who may write to the accounts of this node without being accepted.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Who.
    pub strangers: Strangers,
    /// For how much work.
    pub effort: u32,
}

/// What the thread is started with.
pub struct Setup {
    /// The store.
    pub store: Store,
    /// Shared with the scribe.
    pub shared: Shared,
    /// The clocks.
    pub clock: Clock,
    /// Asked for the node's name and addresses.
    pub network: kith_network::Handle,
    /// The node stands in its accounts' cards.
    pub direct: bool,
    /// Who may write.
    pub rules: Rules,
    /// Where answers go.
    pub answers: mpsc::Sender<Answered>,
}

/// The engine's end.
pub struct Mailroom {
    errands: Option<SyncSender<Errand>>,
    thread: Option<JoinHandle<()>>,
    lookups: Lookups,
    shared: Shared,
    outgoing: PathBuf,
    accounts: Vec<OwnAccount>,
    /// As they were at the start.
    relays: Vec<UsedRelay>,
    /// Those that were found in the last run, with the queues of these weeks.
    volunteers: Vec<(AccountId, Place)>,
}

/// Whose record a lookup is for.
type Lookups = Arc<Mutex<BTreeMap<Op, Address>>>;

impl Mailroom {
    /// Makes the spool, loads the accounts' keys and starts the thread.
    ///
    /// # Errors
    /// The spool cannot be made, the keys cannot be read, or the system has no thread to give.
    pub fn start(setup: Setup) -> Result<Self, StoreError> {
        let broken = |error: std::io::Error| StoreError::Broken(error.to_string());
        let outgoing = setup.store.spool().join("out");
        crate::daemon::make_home(&outgoing).map_err(broken)?;
        let lookups = Lookups::default();
        let (errands, waiting) = sync_channel(ERRANDS_MAX);
        let shared = setup.shared.clone();
        let mut room = Room {
            store: setup.store,
            shared: setup.shared,
            clock: setup.clock,
            network: setup.network,
            direct: setup.direct,
            rules: setup.rules,
            relays: BTreeSet::new(),
            kept_records_at: Mono(KEPT_RECORDS_EVERY_MS / 12),
            answers: setup.answers,
            lookups: lookups.clone(),
            outgoing: outgoing.clone(),
            identities: Identities::new(),
            cards: Cards::default(),
            publishing: BTreeMap::new(),
        };
        let mut accounts = Vec::new();
        for account in room.store.accounts()? {
            accounts.push(room.load(account.id)?);
        }
        let (relays, volunteers) = (room.used_relays()?, room.found_volunteers()?);
        room.relays = relays.iter().map(|relay| (relay.account, relay.peer)).collect();
        let thread =
            std::thread::Builder::new().name("kith-mailroom".into()).spawn(move || room.work(&waiting)).map_err(broken)?;
        Ok(Self { errands: Some(errands), thread: Some(thread), lookups, shared, outgoing, accounts, relays, volunteers })
    }

    /// Hands an errand over; waits where too many wait already.
    pub fn send(&self, errand: Errand) {
        if let Some(errands) = &self.errands
            && errands.send(errand).is_err()
        {
            tracing::error!("the sealing thread is gone");
        }
    }

    /// A stamp for one letter, where the recipient gave us any.
    pub fn take_stamp(&self, account: AccountId, address: Address, relay: &PeerId, week: u32) -> Option<Stamp> {
        self.shared.take_stamp(account, address, relay, week)
    }

    /// Remembers whose record a lookup is for.
    pub fn expect_found(&self, op: Op, address: Address) {
        self.lookups.lock().unwrap_or_else(PoisonError::into_inner).insert(op, address);
    }

    /// The offer is answered for good: what was opened for it is not needed any more.
    pub fn forget(&self, token: Token) {
        self.shared.forget(token);
    }

    /// Where a sealed envelope lies.
    pub fn outgoing(&self, envelope: &EnvelopeId) -> PathBuf {
        self.outgoing.join(hex::encode(envelope.as_bytes()))
    }

    /// Everything durable that the core starts from. Entries whose envelope is gone from the spool will be sealed again.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn snapshot(&self, store: &Store) -> Result<Snapshot, StoreError> {
        let cards = store.cards()?.iter().filter_map(identity::card_info).collect();
        let mut entries = Vec::new();
        for entry in store.queue()? {
            let mut entry = core_entry(&entry);
            let lost = |sealed: &kith_protocol::event::Sealed| {
                std::fs::metadata(self.outgoing(&sealed.envelope)).map_or(true, |file| file.len() != sealed.size)
            };
            if entry.progress.sealed.as_ref().is_some_and(lost) {
                entry.progress.sealed = None;
            }
            entries.push(entry);
        }
        self.sweep(&entries);
        let mut requests = Vec::new();
        for account in &self.accounts {
            requests.push((account.account, store.requests_waiting(account.account)?));
        }
        let (passed, at) = store.hosting_clock()?;
        Ok(Snapshot {
            accounts: self.accounts.clone(),
            cards,
            entries,
            hosted: store.hosted()?,
            held: store.held()?,
            hosting_clock: (passed, Wall(at)),
            relays: self.relays.clone(),
            volunteers: self.volunteers.clone(),
            seen: store.seen()?,
            accepted: store.accepted()?,
            requests,
        })
    }

    /// Removes envelopes that no entry speaks of: a crash can fall between a commit and the removal that follows it.
    fn sweep(&self, entries: &[Entry]) {
        let wanted: BTreeSet<PathBuf> = entries
            .iter()
            .filter_map(|entry| entry.progress.sealed.as_ref())
            .map(|sealed| self.outgoing(&sealed.envelope))
            .collect();
        let Ok(files) = std::fs::read_dir(&self.outgoing) else { return };
        for file in files.flatten().map(|file| file.path()).filter(|file| !wanted.contains(file)) {
            if let Err(error) = std::fs::remove_file(file) {
                tracing::warn!(%error, "an envelope in the spool could not be removed");
            }
        }
    }

    /// Lets the thread finish what it has begun, and ends it.
    pub fn finish(mut self) {
        self.errands = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the sealing thread ended in a panic");
        }
    }
}

/// The core's view of a queue entry.
pub fn core_entry(entry: &QueueEntry) -> Entry {
    Entry {
        id: entry.id,
        account: entry.account,
        recipient: entry.recipient,
        mid: entry.mid,
        kind: entry.kind,
        also: entry.also.clone(),
        size: match (&entry.blob, &entry.progress.sealed) {
            (Some((_, size)), _) => *size,
            (None, Some(sealed)) if entry.kind == EntryKind::Mail => sealed.size,
            (None, _) => 0,
        },
        fleeting: entry.form == Form::Incoming,
        progress: entry.progress.clone(),
    }
}

/// The thread's side.
struct Room {
    store: Store,
    shared: Shared,
    clock: Clock,
    network: kith_network::Handle,
    direct: bool,
    rules: Rules,
    /// The relays that the core knows of.
    relays: BTreeSet<(AccountId, PeerId)>,
    /// When others' records are published next.
    kept_records_at: Mono,
    answers: mpsc::Sender<Answered>,
    lookups: Lookups,
    outgoing: PathBuf,
    identities: Identities,
    cards: Cards,
    /// Whose records are being put into the directory.
    publishing: BTreeMap<Op, AccountId>,
}

impl Room {
    fn work(&mut self, waiting: &Receiver<Errand>) {
        self.look_after();
        loop {
            let errand = match waiting.recv_timeout(LOOK_AFTER) {
                Ok(errand) => errand,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    self.look_after();
                    continue;
                }
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return,
            };
            self.run(errand);
        }
    }

    fn run(&mut self, errand: Errand) {
        match errand {
            Errand::Seal { op, entry, with, ladder } => {
                let result = self.seal(entry, &with, ladder);
                self.tell(Event::Sealed { op, entry, result });
            }
            Errand::Open { token, account, file } => {
                let result = self.open(token, account, &file);
                self.tell(Event::Opened { token, result });
            }
            Errand::Found { op, values } => {
                let card = self.found(op, &values);
                self.tell(Event::Found { op, card });
            }
            Errand::Records { op, account } => self.records(op, account),
            Errand::Published { op, holders } => self.published(op, holders),
            Errand::Ask(asking) => self.ask(&asking),
            Errand::Told(told) => self.is_told(*told),
            Errand::Fetch(offering) => {
                let source = self.fetch(&offering.envelope);
                self.answer(Answered::Fetched { offering, source });
            }
            Errand::Show { token, queue, envelope, nonce } => self.show(token, &queue, &envelope, &nonce),
            Errand::Check { op, envelope, size, nonce, shown } => self.check(op, &envelope, size, &nonce, shown),
            Errand::Near { op, address } => self.near(op, address),
            Errand::Volunteers { op, address, near } => self.volunteers(op, &address, &near),
            Errand::Relays => self.sync_relays(),
            Errand::NetworkChanged => self.refresh_cards(),
            Errand::AccountAdded(account) => {
                match self.load(account) {
                    Ok(own) => self.tell(Event::AccountAdded(own)),
                    Err(error) => tracing::error!(%error, "the keys of an account cannot be read"),
                }
                self.sync_relays();
            }
            Errand::AccountRemoved(account) => {
                self.identities.remove(&account);
                self.shared.forget_account(account);
            }
        }
    }

    fn tell(&self, event: Event) {
        self.answer(Answered::Event(event));
    }

    fn answer(&self, answer: Answered) {
        // At the end of the process nobody listens any more.
        let _ = self.answers.blocking_send(answer);
    }

    fn load(&mut self, account: AccountId) -> Result<OwnAccount, StoreError> {
        let account = self.store.account(account)?;
        let peer = self.network.peer_id();
        let identity = Identity::load(&self.store, &account, peer)?;
        let own = identity.own_account(&peer).ok_or(StoreError::NotFound("the account's queue"))?;
        self.identities.insert(account.id, identity);
        Ok(own)
    }

    /// The best card among what the directory gave, kept before the core hears of it.
    fn found(&mut self, op: Op, values: &[Vec<u8>]) -> Option<CardInfo> {
        let address = self.lookups.lock().unwrap_or_else(PoisonError::into_inner).remove(&op)?;
        let now = self.clock.now();
        let card = identity::best_card(&address, values, now.wall)?;
        let info = identity::card_info(&card);
        match self.store.write(move |transaction| transaction.put_card(&card)) {
            Ok(true) => {
                if self.runs_a_relay(&address) {
                    self.sync_relays();
                }
                info
            }
            // The one that is known is as good or better.
            Ok(false) => self.store.card(&address).ok().flatten().and_then(|known| identity::card_info(&known)),
            Err(error) => {
                tracing::error!(%error, "a card could not be kept");
                None
            }
        }
    }

    fn records(&mut self, op: Op, account: AccountId) {
        let now = self.clock.now();
        self.publishing.insert(op, account);
        let records = match self.identities.get_mut(&account) {
            Some(identity) => identity.records(&self.store, now.wall, &mut rand::rng()).unwrap_or_else(|error| {
                tracing::error!(%error, "an account's records could not be built");
                Vec::new()
            }),
            None => Vec::new(),
        };
        self.answer(Answered::Records { op, records });
    }

    fn published(&mut self, op: Op, holders: u32) {
        let Some(account) = self.publishing.remove(&op).filter(|_| holders > 0) else { return };
        if let Some(identity) = self.identities.get_mut(&account)
            && let Err(error) = identity.published(&self.store, self.clock.now().wall)
        {
            tracing::error!(%error, "the life of an account's weekly keys could not be written");
        }
    }

    /// What has to be done now and then: the day key turned over, so that erased secrets die; the weekly keys and cards.
    fn look_after(&mut self) {
        let day = self.clock.now().wall.0.div_euclid(DAY_MS);
        if let Err(error) = self.store.rotate_day_key(day) {
            tracing::error!(%error, "the day key could not be turned over");
        }
        let now = self.clock.now().mono;
        if self.kept_records_at <= now {
            self.kept_records_at = Mono(now.0 + KEPT_RECORDS_EVERY_MS);
            self.publish_kept();
        }
        self.refresh_cards();
    }

    /// Rotates weekly keys that are due, and makes new cards where something in them changed.
    fn refresh_cards(&mut self) {
        let now = self.clock.now();
        let relays = self.used_relays().unwrap_or_else(|error| {
            tracing::error!(%error, "the relays in use cannot be read");
            Vec::new()
        });
        let (peer, addresses) = (self.network.peer_id(), self.own_addresses());
        let mut changed = Vec::new();
        for (account, identity) in &mut self.identities {
            let relays = relays.iter().filter(|relay| relay.account == *account && relay.granted).cloned().collect();
            let here = identity::Here { peer, addresses: addresses.clone(), listed: self.direct, relays, rules: self.rules };
            match identity.refresh(&self.store, here, now, &mut rand::rng()) {
                Ok(true) => changed.push(*account),
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "an account's card could not be renewed"),
            }
        }
        for account in changed {
            self.tell(Event::OwnCardChanged(account));
        }
    }

    /// Addresses that contacts may try, the configured ones first, this machine's own last.
    fn own_addresses(&self) -> Vec<String> {
        let status = self.network.status();
        let mut addresses = status.external;
        if addresses.is_empty() {
            // Ways through other nodes, for whoever cannot come directly.
            addresses = status.circuits;
        }
        let (loopback, others): (Vec<_>, Vec<_>) = status.listening.into_iter().partition(|address| is_loopback(address));
        addresses.extend(others);
        addresses.extend(loopback);
        addresses.truncate(kith_protocol::limits::PLACE_ADDRESSES_MAX);
        addresses
    }
}

/// Of use on this machine alone, so it comes last in a card.
pub(crate) fn is_loopback(address: &str) -> bool {
    address.starts_with("/ip4/127.") || address.starts_with("/ip6/::1/")
}

/// The directory keys to ask for an address's record: this week's, and the neighbours' where a clock may be off.
pub fn directory_keys(address: &Address, wall: kith_protocol::event::Wall) -> Vec<Vec<u8>> {
    identity::directory_keys(address, wall)
}
