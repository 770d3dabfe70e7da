//! A small world for a few delivery cores: virtual time, a network that loses and parts, disks that forget what was not yet durable, clocks that
//! lie, and a fake seal. It checks the promises at the moment at which they could break.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use kith_protocol::address::Address;
use kith_protocol::card::Strangers;
use kith_protocol::delivery::{Config, Delivery};
use kith_protocol::event::{
    Answer, AuditOutcome, CardInfo, Counter, Effect, Entry, EntryKind, Event, Fate, HeldEnvelope, HostedQueue, Letter,
    LetterKind, Mono, Now, OfferOutcome, OpenProblem, OwnAccount, OwnerAsk, Place, PlaceKind, Progress, SealProblem, Sealed,
    Snapshot, Ticket, UsedRelay, Wall, Way, Write,
};
use kith_protocol::hosting::{Grant, Reply, Request};
use kith_protocol::ids::{AccountId, BatchId, EntryId, EnvelopeId, MailId, Op, PeerId, QueueName, Token};
use kith_protocol::keys::queue_name;
use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

pub(crate) const SECOND: u64 = 1000;
pub(crate) const MINUTE: u64 = 60 * SECOND;
pub(crate) const HOUR: u64 = 60 * MINUTE;
pub(crate) const DAY: u64 = 24 * HOUR;
pub(crate) const YEAR: i64 = 365 * 24 * 3600 * 1000;
const EPOCH: i64 = 1_795_000_000_000;
pub(super) const ACCOUNT: AccountId = AccountId(1);
/// A peer that is nobody's node.
pub(crate) const STRANGER: PeerId = PeerId([0xee; 32]);

static ADDRESSES: LazyLock<Vec<Address>> = LazyLock::new(|| (0..32).map(make_address).collect());

fn make_address(number: u8) -> Address {
    let key = ed25519_dalek::SigningKey::from_bytes(&[number + 1; 32]).verifying_key().to_bytes();
    Address::from_key(key).expect("a public key is an address")
}

pub(crate) fn address(node: usize) -> Address {
    ADDRESSES[node]
}

fn number(node: usize) -> u8 {
    u8::try_from(node + 1).expect("a world is small")
}

pub(crate) fn peer(node: usize) -> PeerId {
    PeerId([number(node); 32])
}

pub(crate) fn queue(node: usize) -> QueueName {
    QueueName([number(node); 16])
}

/// The key of a node's queue at another.
fn relay_key(of: usize, relay: usize) -> [u8; 32] {
    let mut key = [0; 32];
    (key[0], key[1]) = (number(of), number(relay));
    key
}

fn relay_queue(of: usize, relay: usize) -> QueueName {
    queue_name(&relay_key(of, relay))
}

/// What an envelope of this world holds.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) mid: MailId,
    pub(crate) kind: LetterKind,
    pub(crate) opens: Result<(), OpenProblem>,
}

/// What survives a crash.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    pub(crate) entries: BTreeMap<EntryId, Entry>,
    pub(crate) cards: BTreeMap<Address, CardInfo>,
    pub(crate) known: BTreeSet<(Address, MailId)>,
    pub(crate) fates: BTreeMap<EntryId, Vec<Fate>>,
    pub(crate) delays: BTreeMap<EntryId, u32>,
    pub(crate) hosted: BTreeMap<QueueName, HostedQueue>,
    pub(crate) held: BTreeMap<EnvelopeId, HeldEnvelope>,
    pub(super) hosting_clock: (u64, Wall),
    pub(super) granted: BTreeSet<PeerId>,
    pub(super) seen: Vec<EnvelopeId>,
    /// Volunteers that were found last.
    pub(crate) volunteers: Vec<PeerId>,
    next_entry: u64,
}

#[derive(Default)]
pub(crate) struct Node {
    core: Option<Delivery>,
    pub(crate) disk: Disk,
    boot: u32,
    booted_at: u64,
    asleep_until: Option<u64>,
    slept: u64,
    pub(crate) wall_lie: i64,
    /// How much too fast the wall clock runs, in thousandths, since when.
    drift: (i64, u64),
    pub(crate) disk_full: bool,
    next_tick: Option<Mono>,
    pub(super) commits: Vec<(BatchId, Vec<Write>, Vec<Effect>)>,
    pub(super) letters: BTreeMap<Token, EnvelopeId>,
    pub(crate) counters: BTreeMap<Counter, u32>,
    /// How often the core asked for each, since the beginning.
    pub(crate) offers: u32,
    pub(crate) lookups: u32,
    pub(crate) connects: u32,
    /// For volunteers near somebody else.
    pub(crate) searches: u32,
    pub(crate) searches_written: u32,
    pub(crate) dropped: Vec<PeerId>,
    /// Says *stored* and keeps nothing.
    pub(crate) liar: bool,
    /// In which run it last met whom.
    met: BTreeMap<usize, u32>,
    /// Questions that were put to it, and by whom.
    asks: BTreeMap<Token, (usize, Op)>,
}

/// Who made an offer.
#[derive(Clone, Copy)]
struct Transfer {
    from: Option<(usize, Op)>,
    to: usize,
    to_boot: u32,
    envelope: EnvelopeId,
}

enum Happening {
    Event(usize, u32, Box<Event>),
    Commit(usize, u32),
    Connect(usize, u32, Op, PeerId),
    Tick(usize, u32),
}

pub(crate) struct Submission {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) entry: EntryId,
    pub(crate) mid: MailId,
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) now: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) rng: ChaCha8Rng,
    core_rng: ChaCha8Rng,
    queue: BTreeMap<(u64, u64), Happening>,
    next: u64,
    pub(crate) envelopes: BTreeMap<EnvelopeId, Content>,
    transfers: BTreeMap<Token, Transfer>,
    pub(super) connected: BTreeSet<(usize, usize)>,
    /// Who reach each other through others only, which bears no envelope here; and how many were offered all the same.
    pub(super) narrow: BTreeMap<(usize, usize), u32>,
    pub(crate) parted: BTreeSet<(usize, usize)>,
    /// Thousandths of transfers that break.
    pub(crate) loss: u32,
    pub(crate) directory_up: bool,
    pub(crate) mails: Vec<Submission>,
    pub(crate) config: Config,
    /// Version of every node's card.
    pub(crate) versions: Vec<(u32, u64)>,
    /// Which nodes keep letters for each.
    pub(crate) relays: Vec<Vec<usize>>,
    /// Nodes that keep letters for anybody.
    pub(crate) volunteers: Vec<usize>,
}

pub(super) fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl World {
    /// A world of `count` nodes that are not started yet and know nobody.
    pub(crate) fn new(count: usize, seed: u64) -> Self {
        let node = |_| Node { disk: Disk { next_entry: 1, ..Disk::default() }, ..Node::default() };
        Self {
            seed,
            now: 0,
            nodes: (0..count).map(node).collect(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            core_rng: ChaCha8Rng::seed_from_u64(!seed),
            queue: BTreeMap::new(),
            next: 0,
            envelopes: BTreeMap::new(),
            transfers: BTreeMap::new(),
            connected: BTreeSet::new(),
            narrow: BTreeMap::new(),
            parted: BTreeSet::new(),
            loss: 0,
            directory_up: true,
            mails: Vec::new(),
            config: Config::default(),
            versions: vec![(1, 1); count],
            relays: vec![Vec::new(); count],
            volunteers: Vec::new(),
        }
    }

    /// A world of nodes that run and know each other.
    pub(crate) fn acquainted(count: usize, seed: u64) -> Self {
        let mut world = Self::new(count, seed);
        world.introduce();
        for node in 0..count {
            world.boot(node);
        }
        world
    }

    /// Everybody gets everybody's card.
    pub(crate) fn introduce(&mut self) {
        for node in 0..self.nodes.len() {
            for other in (0..self.nodes.len()).filter(|other| *other != node) {
                let card = self.card(node, other);
                self.nodes[node].disk.cards.insert(card.address, card);
            }
        }
    }

    /// Where copies of a mail are, as its sender knows.
    pub(crate) fn copies(&self, node: usize, entry: EntryId) -> Vec<(PeerId, PlaceKind)> {
        let entry = self.nodes[node].disk.entries.get(&entry);
        entry.into_iter().flat_map(|entry| &entry.progress.copies).map(|copy| (copy.peer, copy.kind)).collect()
    }

    fn time(&self, node: usize) -> Now {
        let n = &self.nodes[node];
        Now { mono: Mono(self.now - n.booted_at - n.slept), wall: Wall(self.wall(node)) }
    }

    pub(crate) fn wall(&self, node: usize) -> i64 {
        EPOCH.saturating_add_unsigned(self.now) + self.nodes[node].wall_lie + self.drifted(node)
    }

    fn drifted(&self, node: usize) -> i64 {
        let (thousandths, since) = self.nodes[node].drift;
        (self.now - since).cast_signed() * thousandths / 1000
    }

    /// From now on the wall clock runs too fast by this, or too slow.
    pub(crate) fn set_drift(&mut self, node: usize, thousandths: i64) {
        self.nodes[node].wall_lie += self.drifted(node);
        self.nodes[node].drift = (thousandths, self.now);
    }

    /// The card of `of` as `node` verifies it now.
    pub(crate) fn card(&self, node: usize, of: usize) -> CardInfo {
        let (generation, sequence) = self.versions[of];
        let mut places = vec![Place { peer: peer(of), queue: queue(of), kind: PlaceKind::Home, addresses: Vec::new() }];
        places.extend(self.relays[of].iter().map(|relay| Place {
            peer: peer(*relay),
            queue: relay_queue(of, *relay),
            kind: PlaceKind::Relay,
            addresses: Vec::new(),
        }));
        let learned = Wall(self.wall(node));
        CardInfo {
            address: address(of),
            generation,
            sequence,
            learned,
            not_after: Wall(EPOCH + 100 * YEAR),
            places: places.into(),
            work: None,
        }
    }

    fn at(&mut self, wait: u64, what: Happening) {
        self.next += 1;
        self.queue.insert((self.now + wait, self.next), what);
    }

    pub(crate) fn tell(&mut self, node: usize, wait: u64, event: Event) {
        let boot = self.nodes[node].boot;
        self.at(wait, Happening::Event(node, boot, Box::new(event)));
    }

    pub(super) fn chance(&mut self, thousandths: u32) -> bool {
        self.rng.random_range(0..1000) < thousandths
    }

    pub(crate) fn is_up(&self, node: usize) -> bool {
        self.nodes[node].core.is_some()
    }

    fn awake(&self, node: usize) -> bool {
        self.is_up(node) && self.nodes[node].asleep_until.is_none_or(|until| until <= self.now)
    }

    pub(crate) fn boot(&mut self, node: usize) {
        if self.is_up(node) {
            return;
        }
        let now = self.now;
        let n = &mut self.nodes[node];
        n.boot += 1;
        (n.booted_at, n.slept, n.asleep_until, n.next_tick) = (now, 0, None, None);
        let own = OwnAccount { account: ACCOUNT, address: address(node), queue: queue(node) };
        let snapshot = Snapshot {
            accounts: vec![own],
            cards: n.disk.cards.values().cloned().collect(),
            entries: n.disk.entries.values().cloned().collect(),
            hosted: n.disk.hosted.values().cloned().collect(),
            held: n.disk.held.values().cloned().collect(),
            hosting_clock: n.disk.hosting_clock,
            relays: self.relays[node]
                .iter()
                .map(|relay| UsedRelay {
                    account: ACCOUNT,
                    peer: peer(*relay),
                    addresses: Vec::new(),
                    queue: relay_queue(node, *relay),
                    granted: n.disk.granted.contains(&peer(*relay)),
                })
                .collect(),
            volunteers: n.disk.remembered(|peer| relay_queue(node, usize::from(peer.0[0]) - 1)),
            seen: n.disk.seen.clone(),
            accepted: Vec::new(),
            requests: Vec::new(),
        };
        n.met.clear();
        let time = self.time(node);
        self.nodes[node].core = Some(Delivery::restore(self.config.clone(), snapshot, time));
        self.tell(node, 1, Event::Started);
    }

    /// The power fails: of the commits in flight some were written, but nobody was told.
    pub(crate) fn crash(&mut self, node: usize) {
        self.disconnect(node);
        let commits = std::mem::take(&mut self.nodes[node].commits);
        let written = if commits.is_empty() { 0 } else { self.rng.random_range(0..=commits.len()) };
        for (_, writes, _) in commits.into_iter().take(written) {
            self.write(node, &writes);
        }
        let n = &mut self.nodes[node];
        n.core = None;
        n.letters.clear();
        n.asks.clear();
    }

    /// The machine sleeps: its monotonic clock stands still.
    pub(crate) fn sleep(&mut self, node: usize, ms: u64) {
        if self.awake(node) {
            self.disconnect(node);
            self.nodes[node].asleep_until = Some(self.now + ms);
            self.nodes[node].slept += ms;
        }
    }

    fn disconnect(&mut self, node: usize) {
        for other in 0..self.nodes.len() {
            self.part(node, other);
        }
    }

    /// Ends the connection of two nodes, if there is one.
    pub(crate) fn part(&mut self, a: usize, b: usize) {
        if self.connected.remove(&pair(a, b)) {
            self.transfers.retain(|_, transfer| transfer.from.is_none_or(|(from, _)| pair(from, transfer.to) != pair(a, b)));
            self.tell(a, 0, Event::PeerDown(peer(b)));
            self.tell(b, 0, Event::PeerDown(peer(a)));
        }
    }

    /// Connects two nodes, if nothing is between them.
    pub(crate) fn connect(&mut self, a: usize, b: usize) -> bool {
        if a == b || !self.awake(a) || !self.awake(b) || self.parted.contains(&pair(a, b)) {
            return false;
        }
        if self.connected.insert(pair(a, b)) {
            for (node, other) in [(a, b), (b, a)] {
                let boot = self.nodes[other].boot;
                if self.nodes[node].met.insert(other, boot) != Some(boot) {
                    self.tell(node, 0, Event::PeerRestarted(peer(other)));
                }
            }
            self.tell(a, 0, Event::PeerUp(peer(b)));
            self.tell(b, 0, Event::PeerUp(peer(a)));
        }
        true
    }

    /// Everything works, everybody is there and meets.
    pub(crate) fn heal(&mut self) {
        self.parted.clear();
        self.loss = 0;
        self.directory_up = true;
        for node in 0..self.nodes.len() {
            (self.nodes[node].wall_lie, self.nodes[node].disk_full) = (0, false);
            self.boot(node);
        }
        let awake = self.nodes.iter().filter_map(|node| node.asleep_until).max().unwrap_or(self.now);
        // A disk that was full is found to work within a minute or two, contact or not.
        self.run(awake.saturating_sub(self.now) + 2 * MINUTE);
        for a in 0..self.nodes.len() {
            for b in 0..a {
                self.part(a, b);
                self.connect(a, b);
            }
        }
    }

    pub(super) fn enqueue(&mut self, node: usize, to: Address, mid: MailId, kind: EntryKind) -> Entry {
        self.enqueue_as(node, to, mid, kind, false)
    }

    fn enqueue_as(&mut self, node: usize, to: Address, mid: MailId, kind: EntryKind, fleeting: bool) -> Entry {
        let wall = self.wall(node);
        let disk = &mut self.nodes[node].disk;
        let id = EntryId(disk.next_entry);
        disk.next_entry += 1;
        let progress = Progress { aged_at: Wall(wall), ..Progress::default() };
        let entry = Entry { id, account: ACCOUNT, recipient: to, mid, kind, also: Vec::new(), size: 1000, fleeting, progress };
        disk.entries.insert(id, entry.clone());
        self.tell(node, 0, Event::Queued(entry.clone()));
        entry
    }

    /// A person submits a mail.
    pub(crate) fn submit(&mut self, from: usize, to: usize) -> EntryId {
        self.submit_as(from, to, false)
    }

    /// A mail is submitted whose bytes are kept no longer than until a node has it.
    pub(crate) fn submit_fleeting(&mut self, from: usize, to: usize) -> EntryId {
        self.submit_as(from, to, true)
    }

    fn submit_as(&mut self, from: usize, to: usize, fleeting: bool) -> EntryId {
        let mid = MailId(self.rng.random());
        let entry = self.enqueue_as(from, address(to), mid, EntryKind::Mail, fleeting).id;
        self.mails.push(Submission { from, to, entry, mid });
        entry
    }

    /// Makes an envelope as nobody's outbox would.
    pub(crate) fn forge(&mut self, content: Content) -> EnvelopeId {
        let envelope = EnvelopeId(self.rng.random());
        self.envelopes.insert(envelope, content);
        envelope
    }

    /// Somebody offers an envelope to a node that runs.
    pub(crate) fn inject(&mut self, envelope: EnvelopeId, to: usize) {
        if !self.awake(to) {
            return;
        }
        self.next += 1;
        let token = Token(self.next);
        self.transfers.insert(token, Transfer { from: None, to, to_boot: self.nodes[to].boot, envelope });
        self.tell(
            to,
            0,
            Event::OfferReceived { token, peer: STRANGER, queue: queue(to), envelope, size: 16_000, ticket: Ticket::default() },
        );
    }

    /// Lets `ms` pass.
    pub(crate) fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some((key, _)) = self.queue.first_key_value()
            && key.0 <= end
        {
            let Some((key, what)) = self.queue.pop_first() else { break };
            self.now = key.0;
            self.happen(what);
        }
        self.now = end;
    }

    fn happen(&mut self, what: Happening) {
        let (Happening::Event(node, boot, _)
        | Happening::Commit(node, boot)
        | Happening::Connect(node, boot, ..)
        | Happening::Tick(node, boot)) = what;
        if self.nodes[node].boot != boot || !self.is_up(node) {
            return;
        }
        if let Some(until) = self.nodes[node].asleep_until {
            if self.now < until {
                return self.at(until - self.now, what);
            }
            self.nodes[node].asleep_until = None;
        }
        match what {
            // The offer's connection is gone meanwhile.
            Happening::Event(_, _, event) if matches!(&*event, Event::OfferReceived { token, .. } if !self.transfers.contains_key(token)) =>
                {}
            Happening::Event(_, _, event) => self.handle(node, *event),
            Happening::Commit(..) => self.commit(node),
            Happening::Connect(_, _, op, to) => {
                let other = (0..self.nodes.len()).find(|other| peer(*other) == to);
                if !other.is_some_and(|other| self.connect(node, other)) {
                    self.handle(node, Event::ConnectsFailed(vec![(op, to)]));
                }
            }
            Happening::Tick(..) => {
                let mono = self.time(node).mono;
                match self.nodes[node].next_tick {
                    Some(at) if at <= mono => {
                        self.nodes[node].next_tick = None;
                        self.handle(node, Event::Tick);
                    }
                    // It slept meanwhile.
                    Some(at) => self.at(at.0 - mono.0, Happening::Tick(node, boot)),
                    None => {}
                }
            }
        }
    }

    pub(super) fn handle(&mut self, node: usize, event: Event) {
        let (time, boot) = (self.time(node), self.nodes[node].boot);
        let Some(core) = &mut self.nodes[node].core else { return };
        let mut effects = Vec::new();
        core.handle(event, time, &mut self.core_rng, &mut effects);
        let deadline = core.deadline();
        if let Some(at) = deadline
            && self.nodes[node].next_tick.is_none_or(|known| at < known)
        {
            self.nodes[node].next_tick = Some(at);
            self.at(at.0.saturating_sub(time.mono.0), Happening::Tick(node, boot));
        }
        for effect in effects {
            self.perform(node, effect);
        }
    }

    pub(super) fn perform(&mut self, node: usize, effect: Effect) {
        let boot = self.nodes[node].boot;
        let soon = self.rng.random_range(1..50);
        match effect {
            Effect::Connect { op, peer, .. } => {
                self.nodes[node].connects += 1;
                self.at(soon, Happening::Connect(node, boot, op, peer));
            }
            Effect::Lookup { op, address: of } => {
                self.nodes[node].lookups += 1;
                let card = (0..self.nodes.len())
                    .find(|other| address(*other) == of && self.directory_up)
                    .map(|other| self.card(node, other));
                if let Some(card) = &card {
                    self.nodes[node].disk.cards.insert(card.address, card.clone());
                }
                self.tell(node, 10 * soon, Event::Found { op, card });
            }
            Effect::Publish { op, .. } => self.tell(node, soon, Event::Published { op, holders: 3 }),
            Effect::Seal { op, entry, with, ladder } => {
                let result = self.seal(node, entry, &with, ladder);
                self.tell(node, soon, Event::Sealed { op, entry, result });
            }
            Effect::Offer { op, peer, queue, envelope, size, way } => self.offer(node, op, peer, (queue, envelope, size), way),
            Effect::Ask { op, peer, account, queue, what } => {
                assert_eq!(account, ACCOUNT);
                self.ask(node, op, peer, queue, what);
            }
            Effect::Reply { token, reply } => {
                if let Some((from, op)) = self.nodes[node].asks.remove(&token) {
                    self.tell(from, soon, Event::Asked { op, reply: Some(reply) });
                }
            }
            Effect::Audit { op, peer: of, envelope, .. } => {
                let other = self.find(of);
                let outcome = if !self.connected.contains(&pair(node, other)) {
                    AuditOutcome::Broken
                } else if self.nodes[other].disk.held.contains_key(&envelope) {
                    AuditOutcome::Kept
                } else {
                    AuditOutcome::Missing
                };
                self.tell(node, soon, Event::Audited { op, outcome });
            }
            Effect::Volunteers { op, address: of } => {
                let to = self.node_of(of);
                self.nodes[node].searches += u32::from(to != node);
                let place = |volunteer: &usize| Place {
                    peer: peer(*volunteer),
                    queue: relay_queue(to, *volunteer),
                    kind: PlaceKind::Volunteer,
                    addresses: Vec::new(),
                };
                let places = self.volunteers.iter().map(place).collect();
                self.tell(node, soon, Event::VolunteersFound { op, places });
            }
            Effect::Work { op, .. } => self.tell(node, 10 * soon, Event::Worked { op, work: None }),
            Effect::Answer { token, answer } => self.answer(node, token, answer),
            Effect::Open { token, account } => {
                assert_eq!(account, ACCOUNT);
                let result = self.open(node, token);
                self.tell(node, soon, Event::Opened { token, result });
            }
            Effect::Commit { batch, writes, then } => {
                self.nodes[node].commits.push((batch, writes, then));
                self.at(soon, Happening::Commit(node, boot));
            }
            Effect::Discard(_) => {}
            Effect::Drop(peer) => self.nodes[node].dropped.push(peer),
            Effect::Count(counter) => *self.nodes[node].counters.entry(counter).or_default() += 1,
        }
    }

    fn seal(
        &mut self,
        node: usize,
        id: EntryId,
        with: &[EntryId],
        ladder: kith_protocol::event::Ladder,
    ) -> Result<Sealed, SealProblem> {
        let Some(entry) = self.nodes[node].disk.entries.get(&id).cloned() else {
            return Err(SealProblem::Permanent("withdrawn".into()));
        };
        let card = self.nodes[node].disk.cards.get(&entry.recipient).ok_or(SealProblem::NoCard)?;
        let card = (card.generation, card.sequence);
        let to = self.node_of(entry.recipient);
        let kind = match entry.kind {
            EntryKind::Mail => LetterKind::Mail,
            EntryKind::Receipt(mid) => {
                let gathered = with
                    .iter()
                    .filter_map(|other| self.nodes[node].disk.entries.get(other))
                    .flat_map(|entry| entry.kind.confirms(&entry.also));
                let mails: Vec<MailId> = [mid].into_iter().chain(entry.also.iter().copied()).chain(gathered).collect();
                assert!(mails.len() <= kith_protocol::limits::RECEIPT_MAILS_MAX);
                LetterKind::Receipt(mails)
            }
            EntryKind::Card => LetterKind::Card,
            EntryKind::Relay(talk) => LetterKind::Relay(talk),
        };
        let envelope = self.forge(Content { from: node, to, mid: entry.mid, kind, opens: Ok(()) });
        Ok(Sealed { envelope, size: 16_000, ladder, card, at_age_ms: 0, kept_here: false })
    }

    fn find(&self, of: PeerId) -> usize {
        (0..self.nodes.len()).find(|other| peer(*other) == of).expect("a node of this world")
    }

    /// The owner of a queue asks its relay: what is not a matter of delivery is answered at once.
    fn ask(&mut self, node: usize, op: Op, to: PeerId, queue: QueueName, what: OwnerAsk) {
        let other = self.find(to);
        let wait = self.rng.random_range(1..50);
        let request = match what {
            _ if !self.connected.contains(&pair(node, other)) => return self.tell(node, wait, Event::Asked { op, reply: None }),
            OwnerAsk::Host => Request::Host { token: [0; 32] },
            OwnerAsk::Collect => Request::Collect { strangers: Strangers::Welcome, tag: [0; 16], effort: 0 },
            OwnerAsk::Leave => Request::Leave,
            OwnerAsk::Siblings => {
                let others = self.relays[node].iter().filter(|relay| **relay != other);
                let place = |relay: &usize| Place {
                    peer: peer(*relay),
                    queue: relay_queue(node, *relay),
                    kind: PlaceKind::Relay,
                    addresses: Vec::new(),
                };
                Request::Siblings { places: others.map(place).collect() }
            }
            OwnerAsk::Marks | OwnerAsk::Records => {
                return self.tell(node, wait, Event::Asked { op, reply: Some(Reply::Done) });
            }
        };
        assert_eq!(queue, relay_queue(node, other));
        self.next += 1;
        let token = Token(self.next);
        self.nodes[other].asks.insert(token, (node, op));
        let agreed = self.relays[node].contains(&other);
        let grant = Grant { bytes: 1 << 20, count: 1000, largest: 1 << 20, ..Grant::default() };
        let ask =
            Event::AskReceived { token, peer: peer(node), key: relay_key(node, other), request, grant: agreed.then_some(grant) };
        self.tell(other, wait, ask);
    }

    fn offer(&mut self, node: usize, op: Op, to: PeerId, what: (QueueName, EnvelopeId, u64), way: Way) {
        self.nodes[node].offers += 1;
        let (queue, envelope, size) = what;
        let kept = |entry: &Entry| entry.progress.sealed.as_ref().is_some_and(|sealed| sealed.envelope == envelope);
        let mut ticket = Ticket::default();
        match way {
            Way::Letter { deposit, onward, .. } => {
                ticket = Ticket { deposit, onward, ..ticket };
                // After the receipt, too, for a day.
                let again = self.nodes[node].disk.fates.values().flatten().any(|fate| *fate == Fate::Delivered);
                assert!(
                    again || self.nodes[node].disk.entries.values().any(kept),
                    "offered before the keys it spent were kept, seed {}",
                    self.seed
                );
            }
            Way::Push => {
                assert!(self.nodes[node].disk.held.contains_key(&envelope), "pushed what is not kept, seed {}", self.seed);
            }
            Way::Onward { deposit, onward } => {
                assert!(self.nodes[node].disk.held.contains_key(&envelope), "carried what is not kept, seed {}", self.seed);
                ticket = Ticket { deposit, onward, ..ticket };
            }
        }
        let wait = self.rng.random_range(1..100);
        let other = self.find(to);
        if let Some(outcome) = self.stopped(node, other) {
            return self.tell(node, wait, Event::Offered { op, outcome });
        }
        if self.nodes[other].liar && ticket.deposit {
            let outcome = OfferOutcome::Stored { until_s: 1000, signature: [0; 64], seldom: false };
            return self.tell(node, wait, Event::Offered { op, outcome });
        }
        self.next += 1;
        let token = Token(self.next);
        self.transfers.insert(token, Transfer { from: Some((node, op)), to: other, to_boot: self.nodes[other].boot, envelope });
        self.nodes[other].letters.insert(token, envelope);
        self.tell(other, wait, Event::OfferReceived { token, peer: peer(node), queue, envelope, size, ticket });
    }

    fn answer(&mut self, node: usize, token: Token, answer: Answer) {
        let Some(transfer) = self.transfers.get(&token).copied() else {
            if answer == Answer::Send {
                self.tell(node, 1, Event::BodyBroken { token });
            }
            return;
        };
        assert_eq!((transfer.to, transfer.to_boot), (node, self.nodes[node].boot));
        let wait = self.rng.random_range(1..100);
        if answer == Answer::Send {
            self.nodes[node].letters.insert(token, transfer.envelope);
            if self.chance(self.loss) {
                self.transfers.remove(&token);
                self.tell(node, wait, Event::BodyBroken { token });
                if let Some((from, op)) = transfer.from {
                    self.tell(from, wait, Event::Offered { op, outcome: OfferOutcome::Broken });
                }
            } else {
                self.tell(node, wait, Event::BodyReceived { token });
            }
            return;
        }
        self.transfers.remove(&token);
        let Some((from, op)) = transfer.from else { return };
        let outcome = match answer {
            _ if self.chance(self.loss) => OfferOutcome::Broken,
            Answer::Have => OfferOutcome::Have,
            Answer::Stored { until_s, seldom } => {
                assert!(self.nodes[node].disk.held.contains_key(&transfer.envelope), "stored is a lie, seed {}", self.seed);
                OfferOutcome::Stored { until_s, signature: [0; 64], seldom }
            }
            Answer::Later { reason, after_s } => OfferOutcome::Later { reason, after_s },
            Answer::Refused(reason) => OfferOutcome::Refused(reason),
            Answer::Send => OfferOutcome::Broken,
        };
        self.tell(from, wait, Event::Offered { op, outcome });
    }

    fn open(&mut self, node: usize, token: Token) -> Result<Letter, OpenProblem> {
        let content = &self.envelopes[&self.nodes[node].letters[&token]];
        if content.to != node {
            return Err(OpenProblem::NotForUs);
        }
        content.opens?;
        let from = address(content.from);
        let card = (content.from < self.nodes.len()).then(|| self.card(node, content.from));
        let card = card.filter(|card| self.nodes[node].disk.cards.get(&from).is_none_or(|known| known.sequence < card.sequence));
        let known = self.nodes[node].disk.known.contains(&(from, content.mid));
        Ok(Letter { account: ACCOUNT, from, mid: content.mid, kind: content.kind.clone(), known, receipt_wanted: true, card })
    }

    pub(super) fn node_of(&self, of: Address) -> usize {
        (0..self.nodes.len()).find(|node| address(*node) == of).expect("a node of this world")
    }

    pub(crate) fn fates(&self, node: usize, entry: EntryId) -> &[Fate] {
        self.nodes[node].disk.fates.get(&entry).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn is_filed(&self, mail: &Submission) -> bool {
        self.nodes[mail.to].disk.known.contains(&(address(mail.from), mail.mid))
    }
}
