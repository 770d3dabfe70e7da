//! Nodes in virtual time: the core that ships, and what surrounds it. Networks, disks and the directory are modelled, decisions are not.
//!
//! A node that is on can connect to any other one that is on and that routers and partitions let it reach (`world/network.rs`), or a third node
//! (`world/circuits.rs`). A disk keeps what was committed (`world/model.rs`), or is the store that ships (`faults/store.rs`). What takes how long is at the top of `world/perform.rs`.

mod circuits;
mod commits;
mod control;
pub(crate) mod home;
mod incident;
mod mail;
pub(crate) mod model;
mod network;
mod perform;
mod power;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use kith_protocol::address::Address;
use kith_protocol::delivery::{Config, Delivery};
use kith_protocol::event::{
    CardInfo, Effect, Entry, EntryKind, Event, HostedQueue, Mono, Now, OwnerAsk, Place, PlaceKind, Progress, Wall, Write,
};
use kith_protocol::ids::{AccountId, BatchId, EntryId, EnvelopeId, Op, PeerId, Token};
use kith_protocol::small::{SmallMap, SmallSet};

use crate::availability::{Sessions, next_on};
use crate::clock::Calendar;
use crate::names::{self, Addresses};
use crate::stream::{Purpose, Stream};

use control::Control;
pub use home::Ailment;
use home::{Envelopes, Fact, Home};
pub use incident::Incident;
pub use mail::Mail;
use model::Model;
use network::Network;
pub use perform::Timing;

pub(crate) const ACCOUNT: AccountId = AccountId(1);
/// The wall clock at the beginning, in ms since 1970.
pub(crate) const EPOCH: i64 = 1_800_000_000_000;
/// Until when cards are valid.
const FOREVER: Wall = Wall(EPOCH + 100 * 365 * 24 * 3_600_000);

/// What a volunteer keeps for anybody, in bytes. It asks for no work here: that costs time, and is not what is asked.
const VOLUNTEERED_BYTES: u64 = 1 << 30;

/// What happens at a moment.
#[derive(Debug)]
enum Happening {
    /// The session of a node with this number begins or ends.
    On(u32, u32),
    Off(u32, u32),
    /// A node that was down may come up again, if it is its time.
    Up(u32),
    /// A node has met somebody in the directory.
    Neighbour(u32, u32),
    Event(u32, u32, Box<Event>),
    /// The same of what happens most, without the room that an event takes.
    Contact(u32, u32, Contact, u32),
    Commit(u32, u32),
    /// A connection through a third node has lasted as long as those do.
    Circuit(u32, u32),
    /// A node's attempts to connect that began together are over.
    Connect(u32, u32, Box<[(Op, u32)]>),
    Tick(u32, u32),
    Incident(Box<Incident>),
}

/// What a node sees of another one.
#[derive(Clone, Copy, Debug)]
enum Contact {
    Up,
    Down,
    Restarted,
}

impl Contact {
    fn event(self, of: u32) -> Event {
        let peer = names::peer(of);
        match self {
            Self::Up => Event::PeerUp(peer),
            Self::Down => Event::PeerDown(peer),
            Self::Restarted => Event::PeerRestarted(peer),
        }
    }
}

/// What is asked for in one commit.
type Commit = (BatchId, Vec<Write>, Vec<Effect>);

/// A node. What every event needs comes first and lies together: a town is far too large for the caches, and each line of memory is waited for.
#[repr(C, align(64))]
struct Node {
    /// Only while it is on.
    core: Option<Box<Delivery>>,
    booted_at: u64,
    /// How far its clock is ahead, in ms.
    skew: i64,
    /// The tick that it waits for.
    next_tick: Mono,
    /// When the core wants to be called: that tick or later.
    due: Mono,
    core_stream: Stream,
    network: Stream,
    boot: u32,
    /// How often in a row its store could not be opened.
    unopened: u16,
    /// It says that it stores, and does not.
    liar: bool,
    /// It keeps letters for anybody.
    volunteer: bool,
    /// It is not started before that moment, whatever its habits.
    down_until: u64,
    home: Box<dyn Home>,
    commits: Vec<Commit>,
    /// Who is connected.
    peers: SmallSet<u32>,
    /// Transfers from it and to it, in the order in which they began: breaking off looks at no table of everybody's.
    under_way: Vec<Token>,
    /// Its questions to relays, in the same order.
    asked: Vec<Token>,
    /// Whom it has met, and in which run of theirs.
    met: SmallMap<u32, u32>,
    /// The person's relays.
    relays: Vec<u32>,
    /// What they were told, and in which week.
    told: SmallMap<(u32, OwnerAsk), u64>,
    load: Load,
}

/// No moment.
const NEVER: Mono = Mono(u64::MAX);

/// What a node does for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Load {
    /// Bytes that it keeps now.
    pub bytes: u64,
    /// The most that it kept.
    pub peak: u64,
    /// Bytes of envelopes that it sent.
    pub sent: u64,
}

/// What went over the networks.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Traffic {
    /// Bytes of envelopes of mails.
    pub mail_bytes: u64,
    /// Bytes of envelopes of receipts.
    pub receipt_bytes: u64,
    /// Bytes of offers, and of questions to relays.
    pub control_bytes: u64,
    /// Bytes of connections that were made, until both sides have greeted.
    pub connection_bytes: u64,
    /// Connections made.
    pub connections: u64,
    /// Events that cores handled.
    pub events: u64,
    /// How long copies were kept by others, in ms, all together: of those that are gone again.
    pub copy_ms: u64,
}

#[derive(Clone, Copy, Debug)]
struct Transfer {
    from: u32,
    op: Op,
    to: u32,
    envelope: EnvelopeId,
    size: u64,
}

/// A question to a relay.
#[derive(Clone, Copy, Debug)]
struct Asking {
    from: u32,
    op: Op,
    to: u32,
    what: OwnerAsk,
}

/// A line of what happened, for whoever wants to read it.
pub(crate) type Tale = Vec<(u64, u32, String)>;

/// What a person may look for after every step.
pub(crate) trait Watch {
    /// Facts of a node's commit that is durable by now.
    fn facts(&mut self, now: u64, node: u32, facts: &[Fact], mails: &[Mail]);
    /// What a node finds on its disk when it starts.
    fn booted(&mut self, now: u64, node: u32, kept: &home::Kept, mails: &[Mail]);
    /// What a node promises to somebody else: that it keeps an envelope, and whether it does.
    fn answers(&mut self, now: u64, node: u32, envelope: &EnvelopeId, kept: bool);
}

/// The machine.
pub struct World {
    now: u64,
    config: Arc<Config>,
    /// That of those who keep letters for anybody.
    volunteering: Arc<Config>,
    timing: Timing,
    calendar: Calendar<Happening>,
    nodes: Vec<Node>,
    addresses: Addresses,
    /// What everybody's card lists.
    places: Vec<Arc<[Place]>>,
    sessions: Vec<Sessions>,
    network: Network,
    mails: Vec<Mail>,
    /// Mails in the order of time, and how many of them are done.
    agenda: Vec<u32>,
    written: usize,
    transfers: BTreeMap<Token, Transfer>,
    asks: BTreeMap<Token, Asking>,
    /// Connections through a third node, the lower number first, and until when they last.
    circuits: BTreeMap<(u32, u32), u64>,
    /// There is a directory with others in it, and whoever starts meets one of them.
    crowded: bool,
    /// Whose mail each node accepts.
    accepted: Vec<SmallSet<u32>>,
    envelopes: Envelopes,
    serial: Cell<u64>,
    traffic: Traffic,
    control: Control,
    digest: blake3::Hasher,
    effects: Vec<Effect>,
    /// Whom the node that acts at this moment wants to connect to.
    dials: Vec<(Op, u32)>,
    facts: Vec<Fact>,
    pub(crate) watch: Option<Box<dyn Watch>>,
    /// What happened, for a person to read; `None`: nobody will.
    pub(crate) tale: Option<Tale>,
    /// A fault of the program, to see that it is found: what a commit promises is said before it is durable.
    pub(crate) hasty: bool,
    /// So many things may happen still: a world that never comes to rest at some moment is noticed.
    pub(crate) left: u64,
}

fn places(of: u32, relays: &[u32]) -> Arc<[Place]> {
    let home = Place { peer: names::peer(of), queue: names::queue(of), kind: PlaceKind::Home, addresses: Vec::new() };
    let relays = relays.iter().map(|relay| Place {
        peer: names::peer(*relay),
        queue: names::queue_at(of, *relay),
        kind: PlaceKind::Relay,
        addresses: Vec::new(),
    });
    std::iter::once(home).chain(relays).collect()
}

impl World {
    /// A world of nodes with these sessions and relays, that know nobody.
    #[must_use]
    pub fn new(seed: u64, config: Config, sessions: Vec<Sessions>, relays: Vec<Vec<u32>>) -> Self {
        let homes = relays.iter().map(|relays| Box::new(Model::new(relays)) as Box<dyn Home>).collect();
        Self::with_homes(seed, config, sessions, relays, homes, Envelopes::default())
    }

    pub(crate) fn with_homes(
        seed: u64,
        config: Config,
        sessions: Vec<Sessions>,
        relays: Vec<Vec<u32>>,
        homes: Vec<Box<dyn Home>>,
        envelopes: Envelopes,
    ) -> Self {
        let node = |(number, (relays, home))| Node {
            core: None,
            boot: 0,
            unopened: 0,
            booted_at: 0,
            down_until: 0,
            next_tick: NEVER,
            due: NEVER,
            home,
            commits: Vec::new(),
            peers: SmallSet::new(),
            under_way: Vec::new(),
            asked: Vec::new(),
            met: SmallMap::new(),
            relays,
            told: SmallMap::new(),
            core_stream: Stream::new(seed, number, Purpose::Core),
            network: Stream::new(seed, number, Purpose::Network),
            load: Load::default(),
            skew: 0,
            liar: false,
            volunteer: false,
        };
        let mut calendar = Calendar::default();
        for (number, of_node) in (0..).zip(&sessions) {
            if let Some((start, _)) = of_node.first() {
                calendar.put(*start, Happening::On(number, 0));
            }
        }
        let mut world = Self {
            now: 0,
            volunteering: Arc::new(Config { volunteer_bytes: VOLUNTEERED_BYTES, volunteer_effort: 0, ..config.clone() }),
            config: Arc::new(config),
            timing: Timing::default(),
            calendar,
            addresses: Addresses::of(u32::try_from(relays.len()).unwrap_or(u32::MAX)),
            accepted: vec![SmallSet::new(); relays.len()],
            places: (0..).zip(&relays).map(|(node, relays)| places(node, relays)).collect(),
            nodes: (0..).zip(relays.into_iter().zip(homes)).map(node).collect(),
            sessions,
            network: Network::new(seed),
            mails: Vec::new(),
            agenda: Vec::new(),
            written: 0,
            transfers: BTreeMap::new(),
            asks: BTreeMap::new(),
            circuits: BTreeMap::new(),
            crowded: false,
            envelopes,
            serial: Cell::new(0),
            traffic: Traffic::default(),
            control: Control::default(),
            digest: blake3::Hasher::new(),
            effects: Vec::new(),
            dials: Vec::new(),
            facts: Vec::new(),
            watch: None,
            tale: None,
            hasty: false,
            left: u64::MAX,
        };
        world.host_all();
        world
    }

    /// Relays have agreed before the run begins, and were told of each other then.
    fn host_all(&mut self) {
        for owner in 0..self.count() {
            let places = Arc::clone(&self.places[owner as usize]);
            for relay in self.nodes[owner as usize].relays.clone() {
                let peer = names::peer(relay);
                let others = places.iter().filter(|place| place.kind == PlaceKind::Relay && place.peer != peer);
                let rules = HostedQueue {
                    queue: names::queue_at(owner, relay),
                    key: names::queue_key(owner, relay),
                    bytes: 1 << 30,
                    count: 100_000,
                    largest: kith_protocol::limits::ENVELOPE_BYTES_MAX,
                    strangers: self.config.strangers,
                    tag: [0; 16],
                    effort: 0,
                    siblings: others.cloned().collect(),
                };
                self.nodes[relay as usize].home.host(rules);
            }
        }
    }

    /// Things take as long as this says, from now on.
    pub fn takes(&mut self, timing: Timing) {
        self.timing = timing;
    }

    /// How many nodes there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)
    }

    /// These two know each other's cards.
    pub fn introduce(&mut self, one: u32, other: u32) {
        for (node, of) in [(one, other), (other, one)] {
            self.nodes[node as usize].home.learn(of, Wall(EPOCH));
        }
    }

    /// This node says that it stores, and does not.
    pub fn lies(&mut self, node: u32) {
        self.nodes[node as usize].liar = true;
    }

    /// Whether it does.
    #[must_use]
    pub fn is_liar(&self, node: u32) -> bool {
        self.nodes[node as usize].liar
    }

    /// This node keeps letters for anybody.
    pub fn volunteers(&mut self, node: u32) {
        self.nodes[node as usize].volunteer = true;
    }

    /// These nodes are behind routers that nobody can call through; the share `punch` of their pairs reach each other all the same.
    pub fn behind(&mut self, behind: Vec<bool>, punch: f64) {
        self.network.behind(behind, punch);
    }

    /// Whoever starts meets some node of the directory, beside those that it knows.
    pub fn crowd(&mut self) {
        self.crowded = true;
    }

    /// A person lets somebody's mail in, and has given them stamps.
    pub fn accepts(&mut self, node: u32, of: u32) {
        self.accepted[node as usize].insert(of);
    }

    /// Leaves these mails out of whatever is asked from now on.
    pub fn forget_mails_from(&mut self, first: usize) {
        self.mails.truncate(first);
    }

    /// The directory does not answer this share of all questions, and never has the cards of these people.
    pub fn directory(&mut self, silent: f64, hidden: &[u32]) {
        self.network.silent = silent;
        self.network.hidden = hidden.iter().copied().collect();
    }

    /// A person will send a mail of so many bytes at that moment, if the node is on then. All mails are planned before the run begins.
    pub fn plan(&mut self, at: u64, from: u32, to: u32, bytes: u64) {
        self.mails.push(Mail::planned(at, from, to, bytes));
    }

    /// Something will happen to the network or a machine.
    pub fn befall(&mut self, at: u64, incident: Incident) {
        self.calendar.put(at, Happening::Incident(Box::new(incident)));
    }

    /// All mails, sent or planned.
    #[must_use]
    pub fn mails(&self) -> &[Mail] {
        &self.mails
    }

    /// When a node is on.
    #[must_use]
    pub fn sessions(&self, node: u32) -> &Sessions {
        &self.sessions[node as usize]
    }

    /// The relays of a person.
    #[must_use]
    pub fn relays(&self, node: u32) -> &[u32] {
        &self.nodes[node as usize].relays
    }

    /// What went over the networks so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Messages beside envelopes: each kind's name, and how many there were so far.
    pub fn control(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.control.all()
    }

    /// What a node did for others.
    #[must_use]
    pub fn load(&self, node: u32) -> Load {
        self.nodes[node as usize].load
    }

    /// Looks through the disk of a node: the subjects of what is in its inbox.
    pub(crate) fn inspect(&mut self, node: u32) -> Result<Vec<String>, String> {
        self.nodes[node as usize].home.inspect()
    }

    /// A hash of everything that has happened.
    #[must_use]
    pub fn digest(&self) -> blake3::Hash {
        self.digest.finalize()
    }

    /// How much of a run is done, in ms since the beginning.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Lets everything happen until that moment, in ms since the beginning.
    pub fn run(&mut self, until: u64) {
        if self.agenda.len() < self.mails.len() {
            let mut agenda: Vec<u32> = (0..u32::try_from(self.mails.len()).unwrap_or(u32::MAX)).collect();
            agenda.sort_by_key(|mail| self.mails[*mail as usize].at);
            (self.agenda, self.written) = (agenda, self.mails.partition_point(|mail| mail.at < self.now));
        }
        while self.left > 0 {
            self.left -= 1;
            let mail = self.agenda.get(self.written).copied();
            let due = mail.map_or(u64::MAX, |mail| self.mails[mail as usize].at);
            if let Some((at, what)) = self.calendar.take(until.min(due)) {
                self.now = at;
                self.happen(what);
            } else if let Some(mail) = mail.filter(|_| due <= until) {
                self.now = due;
                self.written += 1;
                self.submit(u64::from(mail));
            } else {
                break;
            }
        }
        self.now = self.now.max(until);
    }

    fn note(&mut self, kind: u8, node: u32, what: u64) {
        let mut line = [0; 21];
        line[0] = kind;
        line[1..5].copy_from_slice(&node.to_le_bytes());
        line[5..13].copy_from_slice(&self.now.to_le_bytes());
        line[13..].copy_from_slice(&what.to_le_bytes());
        self.digest.update(&line);
    }

    pub(crate) fn tell_tale(&mut self, node: u32, line: impl FnOnce() -> String) {
        if let Some(tale) = &mut self.tale {
            tale.push((self.now, node, line()));
        }
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::On(node, session) => {
                let (_, end) = self.sessions[node as usize][session as usize];
                self.calendar.put(end, Happening::Off(node, session));
                self.boot(node);
            }
            Happening::Off(node, session) => {
                if let Some((start, _)) = self.sessions[node as usize].get(session as usize + 1) {
                    self.calendar.put(*start, Happening::On(node, session + 1));
                }
                self.stop(node);
            }
            Happening::Up(node) => {
                if next_on(&self.sessions[node as usize], self.now) == Some(self.now) {
                    self.boot(node);
                }
            }
            Happening::Neighbour(node, boot) => {
                if self.runs(node, boot) {
                    self.meet_somebody(node);
                }
            }
            Happening::Event(node, boot, event) => {
                // The offer's connection may be gone meanwhile.
                let gone = matches!(&*event, Event::OfferReceived { token, .. } if !self.transfers.contains_key(token));
                if self.runs(node, boot) && !gone {
                    self.handle(node, *event);
                }
            }
            Happening::Contact(node, boot, contact, of) => {
                if self.runs(node, boot) {
                    self.handle(node, contact.event(of));
                }
            }
            Happening::Commit(node, boot) => {
                if self.runs(node, boot) {
                    self.commit(node);
                }
            }
            Happening::Connect(node, boot, attempts) => {
                if self.runs(node, boot) {
                    self.connect_all(node, &attempts);
                }
            }
            Happening::Tick(node, boot) => {
                if self.runs(node, boot) {
                    self.tick(node);
                }
            }
            Happening::Circuit(one, other) => self.circuit_ends(one, other),
            Happening::Incident(incident) => self.befalls(*incident),
        }
    }

    /// A node wakes. What it wanted to wake for may have been put off since: then it sleeps on.
    fn tick(&mut self, node: u32) {
        let (now, n) = (self.time(node).mono, &mut self.nodes[node as usize]);
        if n.next_tick > now {
            // A later tick than the one that it waits for.
            return;
        }
        n.next_tick = n.due;
        if n.due <= now {
            n.next_tick = NEVER;
            self.handle(node, Event::Tick);
        } else if n.due < NEVER {
            self.calendar.put(self.now + (n.due.0 - now.0), Happening::Tick(node, n.boot));
        }
    }

    fn runs(&self, node: u32, boot: u32) -> bool {
        let node = &self.nodes[node as usize];
        node.core.is_some() && node.boot == boot
    }

    /// Whether a node is on now.
    #[must_use]
    pub fn is_on(&self, node: u32) -> bool {
        self.nodes[node as usize].core.is_some()
    }

    fn time(&self, node: u32) -> Now {
        let n = &self.nodes[node as usize];
        Now { mono: Mono(self.now - n.booted_at), wall: Wall(self.wall().0.saturating_add(n.skew)) }
    }

    fn wall(&self) -> Wall {
        Wall(EPOCH.saturating_add_unsigned(self.now))
    }

    fn tell(&mut self, node: u32, wait: u64, event: Event) {
        let boot = self.nodes[node as usize].boot;
        self.calendar.put(self.now + wait, Happening::Event(node, boot, Box::new(event)));
    }

    /// A node sees this of another one, now.
    fn sees(&mut self, node: u32, contact: Contact, of: u32) {
        let boot = self.nodes[node as usize].boot;
        self.calendar.put(self.now, Happening::Contact(node, boot, contact, of));
    }

    /// The card of a node.
    fn card(&self, of: u32, learned: Wall) -> CardInfo {
        let places = Arc::clone(&self.places[of as usize]);
        CardInfo { address: self.address(of), generation: 1, sequence: 1, learned, not_after: FOREVER, places, work: None }
    }

    fn part(&mut self, one: u32, other: u32) {
        if self.disconnect(one, other) {
            self.sees(one, Contact::Down, other);
            self.sees(other, Contact::Down, one);
        }
    }

    /// Ends the connection of these two, if there is one; neither is told.
    fn disconnect(&mut self, one: u32, other: u32) -> bool {
        let connected = self.nodes[one as usize].peers.remove(&other);
        if connected {
            self.nodes[other as usize].peers.remove(&one);
            self.circuits.remove(&circuits::pair(one, other));
            self.break_off(one, other);
        }
        connected
    }

    /// What was on its way between these two is not any more.
    fn break_off(&mut self, one: u32, other: u32) {
        let of_one = self.nodes[one as usize].under_way.iter().copied();
        let between =
            |token: &Token| self.transfers.get(token).is_some_and(|transfer| transfer.from == other || transfer.to == other);
        let broken: Vec<Token> = of_one.filter(between).collect();
        for token in broken {
            self.end_transfer(token);
        }
    }

    fn end_transfer(&mut self, token: Token) {
        let Some(transfer) = self.transfers.remove(&token) else { return };
        for node in [transfer.from, transfer.to] {
            self.nodes[node as usize].under_way.retain(|other| *other != token);
        }
    }

    /// What a node has wanted to connect to in one go is over in one go.
    fn dial(&mut self, node: u32) {
        if self.dials.is_empty() {
            return;
        }
        let attempts = self.dials.drain(..).collect();
        let (wait, boot) = (self.wait(node, self.timing.dial_ms), self.nodes[node as usize].boot);
        self.calendar.put(self.now + wait, Happening::Connect(node, boot, attempts));
    }

    fn connect_all(&mut self, node: u32, attempts: &[(Op, u32)]) {
        let failed = attempts.iter().filter(|(_, to)| !self.connect(node, *to));
        let failed: Vec<(Op, PeerId)> = failed.map(|(op, to)| (*op, names::peer(*to))).collect();
        if !failed.is_empty() {
            self.handle(node, Event::ConnectsFailed(failed));
        }
    }

    fn connect(&mut self, one: u32, other: u32) -> bool {
        if one == other || !self.is_on(one) || !self.is_on(other) {
            return false;
        }
        let direct = self.network.reaches(one, other);
        if !direct && !self.is_served(one, other) {
            return false;
        }
        if self.nodes[one as usize].peers.insert(other) {
            self.nodes[other as usize].peers.insert(one);
            if !direct {
                self.circuit_begins(one, other);
            }
            self.traffic.connections += 1;
            self.traffic.connection_bytes += perform::CONNECTION_BYTES;
            for (node, of) in [(one, other), (other, one)] {
                let boot = self.nodes[of as usize].boot;
                // Who is met for the first time in a run has nothing of that run to be shown again: the word is not worth an event.
                if self.nodes[node as usize].met.insert(of, boot).is_some_and(|before| before != boot) {
                    self.sees(node, Contact::Restarted, of);
                }
            }
            self.sees(one, Contact::Up, other);
            self.sees(other, Contact::Up, one);
        }
        true
    }

    fn submit(&mut self, mail: u64) {
        let Mail { from, to, .. } = self.mails[mail as usize];
        let bytes = self.mails[mail as usize].bytes();
        if !self.is_on(from) {
            return;
        }
        self.note(3, from, mail);
        self.serial.set(self.serial.get() + 1);
        let mid = names::mail_id(names::Content::Mail(mail), self.serial.get());
        let progress = Progress { aged_at: self.time(from).wall, ..Progress::default() };
        let (id, kind, recipient) = (EntryId(0), EntryKind::Mail, self.address(to));
        let entry =
            Entry { id, account: ACCOUNT, recipient, mid, kind, also: Vec::new(), size: bytes, fleeting: false, progress };
        match self.nodes[from as usize].home.enqueue(entry) {
            Ok(entry) => {
                self.mails[mail as usize].is_accepted();
                self.tell_tale(from, || format!("takes mail {mail} for {to}"));
                self.tell(from, 0, Event::Queued(entry));
            }
            Err(problem) => self.failed(from, problem),
        }
    }

    fn handle(&mut self, node: u32, event: Event) {
        let time = self.time(node);
        let mut effects = std::mem::take(&mut self.effects);
        let n = &mut self.nodes[node as usize];
        let Some(core) = &mut n.core else { return };
        self.traffic.events += 1;
        core.handle(event, time, &mut n.core_stream, &mut effects);
        n.due = core.deadline().unwrap_or(NEVER);
        if n.due < n.next_tick {
            n.next_tick = n.due;
            let wait = n.due.0.saturating_sub(time.mono.0);
            self.calendar.put(self.now + wait, Happening::Tick(node, n.boot));
        }
        for effect in effects.drain(..) {
            self.perform(node, effect);
        }
        self.dial(node);
        // Effects may have handed out the buffer again: the larger one stays.
        if self.effects.capacity() < effects.capacity() {
            self.effects = effects;
        }
    }

    fn address(&self, node: u32) -> Address {
        self.addresses.of_node(node)
    }

    fn peer_node(peer: &PeerId) -> u32 {
        names::node_of_peer(peer)
    }
}
