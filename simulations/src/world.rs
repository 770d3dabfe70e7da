//! Nodes in virtual time: the core that ships, and what surrounds it. Networks, disks and the directory are modelled, decisions are not.
//!
//! A node that is on can connect to any other one that is on. A disk keeps what was committed. The directory knows every card. What takes how long is
//! at the top of `world/perform.rs`.

mod disk;
mod perform;

use std::collections::{BTreeMap, BTreeSet};

use kith_protocol::address::Address;
use kith_protocol::delivery::{Config, Delivery};
use kith_protocol::event::{
    CardInfo, Effect, Entry, EntryKind, Event, HeldEnvelope, HostedQueue, Mono, Now, OwnAccount, Place, PlaceKind, Progress,
    Snapshot, UsedRelay, Wall, Write,
};
use kith_protocol::ids::{AccountId, BatchId, EntryId, EnvelopeId, MailId, Op, PeerId, QueueName, Token};

use crate::availability::Sessions;
use crate::clock::Calendar;
use crate::names;
use crate::stream::{Purpose, Stream};

const ACCOUNT: AccountId = AccountId(1);
/// The wall clock at the beginning, in ms since 1970.
const EPOCH: i64 = 1_800_000_000_000;
/// Until when cards are valid.
const FOREVER: Wall = Wall(EPOCH + 100 * 365 * 24 * 3_600_000);
/// Envelopes of which a node remembers after a restart that it dealt with them.
const SEEN_MAX: usize = 512;

/// What happens at a moment.
#[derive(Debug)]
enum Happening {
    On(u32),
    Off(u32),
    /// A person sends a mail.
    Submit(u64),
    Event(u32, u32, Box<Event>),
    Commit(u32, u32),
    Connect(u32, u32, Op, u32),
    Tick(u32, u32),
}

/// What a node has made durable.
#[derive(Debug, Default)]
struct Disk {
    next_entry: u64,
    entries: BTreeMap<EntryId, Entry>,
    /// When the card of a node was learned.
    cards: BTreeMap<u32, Wall>,
    /// Letters that were filed.
    filed: BTreeSet<MailId>,
    hosted: BTreeMap<QueueName, HostedQueue>,
    held: BTreeMap<EnvelopeId, HeldEnvelope>,
    hosting_clock: (u64, Wall),
    granted: BTreeSet<u32>,
    seen: Vec<EnvelopeId>,
}

/// What is asked for in one commit.
type Commit = (BatchId, Vec<Write>, Vec<Effect>);

struct Node {
    /// Only while it is on.
    core: Option<Box<Delivery>>,
    boot: u32,
    booted_at: u64,
    next_tick: Option<Mono>,
    disk: Disk,
    commits: Vec<Commit>,
    /// Who is connected.
    peers: BTreeSet<u32>,
    /// Whom it has met, and in which run of theirs.
    met: BTreeMap<u32, u32>,
    /// The person's relays.
    relays: Vec<u32>,
    core_stream: Stream,
    network: Stream,
    /// It says that it stores, and does not.
    liar: bool,
}

/// A mail and what became of it; times in ms since the beginning.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The sender.
    pub from: u32,
    /// The recipient.
    pub to: u32,
    /// When it was submitted.
    pub at: u64,
    /// Its bytes, as the mail program sent it.
    pub bytes: u64,
    /// When it was in the recipient's mailbox.
    pub filed: Option<u64>,
    /// When the sender had the receipt, or was told that it failed.
    pub ended: Option<u64>,
    /// The sender was told that it failed.
    pub failed: bool,
    /// Delay notices.
    pub notices: u32,
    /// Times that its whole envelope went over a network.
    pub sends: u32,
}

/// What went over the networks.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Traffic {
    /// Bytes of envelopes of mails.
    pub mail_bytes: u64,
    /// Bytes of envelopes of receipts.
    pub receipt_bytes: u64,
    /// Bytes of everything else: greetings, offers, questions.
    pub control_bytes: u64,
    /// Connections made.
    pub connections: u64,
    /// Events that cores handled.
    pub events: u64,
}

#[derive(Clone, Copy, Debug)]
struct Transfer {
    from: u32,
    op: Op,
    to: u32,
    envelope: EnvelopeId,
    size: u64,
}

/// The machine.
pub struct World {
    now: u64,
    config: Config,
    calendar: Calendar<Happening>,
    nodes: Vec<Node>,
    addresses: Vec<Address>,
    sessions: Vec<Sessions>,
    mails: Vec<Mail>,
    transfers: BTreeMap<Token, Transfer>,
    asks: BTreeMap<Token, (u32, Op)>,
    serial: u64,
    traffic: Traffic,
    digest: blake3::Hasher,
    effects: Vec<Effect>,
}

impl World {
    /// A world of nodes with these sessions and relays, that know nobody.
    #[must_use]
    pub fn new(seed: u64, config: Config, sessions: Vec<Sessions>, relays: Vec<Vec<u32>>) -> Self {
        let node = |(number, relays): (usize, Vec<u32>)| {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            let granted: BTreeSet<u32> = relays.iter().copied().collect();
            Node {
                core: None,
                boot: 0,
                booted_at: 0,
                next_tick: None,
                disk: Disk { next_entry: 1, granted, ..Disk::default() },
                commits: Vec::new(),
                peers: BTreeSet::new(),
                met: BTreeMap::new(),
                relays,
                core_stream: Stream::new(seed, number, Purpose::Core),
                network: Stream::new(seed, number, Purpose::Network),
                liar: false,
            }
        };
        let mut calendar = Calendar::default();
        for (number, of_node) in (0..).zip(&sessions) {
            for (start, end) in of_node {
                calendar.put(*start, Happening::On(number));
                calendar.put(*end, Happening::Off(number));
            }
        }
        let mut world = Self {
            now: 0,
            config,
            calendar,
            addresses: (0..).take(relays.len()).map(names::address).collect(),
            nodes: relays.into_iter().enumerate().map(node).collect(),
            sessions,
            mails: Vec::new(),
            transfers: BTreeMap::new(),
            asks: BTreeMap::new(),
            serial: 0,
            traffic: Traffic::default(),
            digest: blake3::Hasher::new(),
            effects: Vec::new(),
        };
        world.host_all();
        world
    }

    /// Relays have agreed before the run begins.
    fn host_all(&mut self) {
        for owner in 0..self.count() {
            for relay in self.nodes[owner as usize].relays.clone() {
                let rules = HostedQueue {
                    queue: names::queue_at(owner, relay),
                    key: names::queue_key(owner, relay),
                    bytes: 1 << 30,
                    count: 100_000,
                    largest: kith_protocol::limits::ENVELOPE_BYTES_MAX,
                    strangers: kith_protocol::card::Strangers::Welcome,
                    tag: [0; 16],
                    effort: 0,
                };
                self.nodes[relay as usize].disk.hosted.insert(rules.queue, rules);
            }
        }
    }

    fn count(&self) -> u32 {
        u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)
    }

    /// These two know each other's cards.
    pub fn introduce(&mut self, one: u32, other: u32) {
        for (node, of) in [(one, other), (other, one)] {
            self.nodes[node as usize].disk.cards.insert(of, Wall(EPOCH));
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

    /// A person will send a mail of so many bytes at that moment, if the node is on then.
    pub fn plan(&mut self, at: u64, from: u32, to: u32, bytes: u64) {
        let mail = self.mails.len() as u64;
        let (filed, ended) = (None, None);
        self.mails.push(Mail { from, to, at, bytes, filed, ended, failed: false, notices: 0, sends: 0 });
        self.calendar.put(at, Happening::Submit(mail));
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

    /// Bytes that a node keeps for others now.
    #[must_use]
    pub fn held_bytes(&self, node: u32) -> u64 {
        self.nodes[node as usize].disk.held.values().map(|held| held.size).sum()
    }

    /// A hash of everything that has happened.
    #[must_use]
    pub fn digest(&self) -> blake3::Hash {
        self.digest.finalize()
    }

    /// Lets everything happen until that moment, in ms since the beginning.
    pub fn run(&mut self, until: u64) {
        while let Some((at, what)) = self.calendar.take(until) {
            self.now = at;
            self.happen(what);
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

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::On(node) => self.boot(node),
            Happening::Off(node) => self.stop(node),
            Happening::Submit(mail) => self.submit(mail),
            Happening::Event(node, boot, event) => {
                // The offer's connection may be gone meanwhile.
                let gone = matches!(&*event, Event::OfferReceived { token, .. } if !self.transfers.contains_key(token));
                if self.runs(node, boot) && !gone {
                    self.handle(node, *event);
                }
            }
            Happening::Commit(node, boot) => {
                if self.runs(node, boot) {
                    self.commit(node);
                }
            }
            Happening::Connect(node, boot, op, to) => {
                if self.runs(node, boot) && !self.connect(node, to) {
                    self.handle(node, Event::ConnectFailed { op, peer: names::peer(to) });
                }
            }
            Happening::Tick(node, boot) => {
                if self.runs(node, boot) {
                    let due = self.nodes[node as usize].next_tick.is_some_and(|at| at <= self.time(node).mono);
                    if due {
                        self.nodes[node as usize].next_tick = None;
                        self.handle(node, Event::Tick);
                    }
                }
            }
        }
    }

    fn runs(&self, node: u32, boot: u32) -> bool {
        let node = &self.nodes[node as usize];
        node.core.is_some() && node.boot == boot
    }

    fn time(&self, node: u32) -> Now {
        let mono = Mono(self.now - self.nodes[node as usize].booted_at);
        Now { mono, wall: self.wall() }
    }

    fn wall(&self) -> Wall {
        Wall(EPOCH.saturating_add_unsigned(self.now))
    }

    fn tell(&mut self, node: u32, wait: u64, event: Event) {
        let boot = self.nodes[node as usize].boot;
        self.calendar.put(self.now + wait, Happening::Event(node, boot, Box::new(event)));
    }

    /// The card of a node.
    fn card(&self, of: u32, learned: Wall) -> CardInfo {
        let home = Place { peer: names::peer(of), queue: names::queue(of), kind: PlaceKind::Home, addresses: Vec::new() };
        let relays = self.nodes[of as usize].relays.iter().map(|relay| Place {
            peer: names::peer(*relay),
            queue: names::queue_at(of, *relay),
            kind: PlaceKind::Relay,
            addresses: Vec::new(),
        });
        let places = std::iter::once(home).chain(relays).collect();
        CardInfo { address: self.address(of), generation: 1, sequence: 1, learned, not_after: FOREVER, places, work: None }
    }

    fn boot(&mut self, node: u32) {
        let cards = self.nodes[node as usize].disk.cards.iter().map(|(of, learned)| self.card(*of, *learned)).collect();
        let now = self.now;
        let n = &mut self.nodes[node as usize];
        if n.core.is_some() {
            return;
        }
        n.boot += 1;
        (n.booted_at, n.next_tick) = (now, None);
        n.met.clear();
        let address = self.addresses[node as usize];
        let relay = |relay: &u32| UsedRelay {
            account: ACCOUNT,
            peer: names::peer(*relay),
            addresses: Vec::new(),
            queue: names::queue_at(node, *relay),
            granted: n.disk.granted.contains(relay),
        };
        let snapshot = Snapshot {
            accounts: vec![OwnAccount { account: ACCOUNT, address, queue: names::queue(node) }],
            cards,
            entries: n.disk.entries.values().cloned().collect(),
            hosted: n.disk.hosted.values().cloned().collect(),
            held: n.disk.held.values().cloned().collect(),
            hosting_clock: n.disk.hosting_clock,
            relays: n.relays.iter().map(relay).collect(),
            seen: n.disk.seen.clone(),
            accepted: Vec::new(),
            requests: Vec::new(),
        };
        let time = self.time(node);
        let config = self.config.clone();
        self.nodes[node as usize].core = Some(Box::new(Delivery::restore(config, snapshot, time)));
        self.note(1, node, 0);
        self.handle(node, Event::Started);
    }

    /// The machine is shut down: what was asked to be written is written, nobody is told.
    fn stop(&mut self, node: u32) {
        if self.nodes[node as usize].core.is_none() {
            return;
        }
        self.note(2, node, 0);
        for other in self.nodes[node as usize].peers.clone() {
            self.part(node, other);
        }
        for (_, writes, _) in std::mem::take(&mut self.nodes[node as usize].commits) {
            self.write(node, writes);
        }
        self.nodes[node as usize].core = None;
        self.transfers.retain(|_, transfer| transfer.from != node && transfer.to != node);
        self.asks.retain(|_, (from, _)| *from != node);
    }

    fn part(&mut self, one: u32, other: u32) {
        if self.nodes[one as usize].peers.remove(&other) {
            self.nodes[other as usize].peers.remove(&one);
            self.transfers.retain(|_, transfer| {
                (transfer.from, transfer.to) != (one, other) && (transfer.from, transfer.to) != (other, one)
            });
            self.tell(one, 0, Event::PeerDown(names::peer(other)));
            self.tell(other, 0, Event::PeerDown(names::peer(one)));
        }
    }

    fn connect(&mut self, one: u32, other: u32) -> bool {
        if one == other || self.nodes[one as usize].core.is_none() || self.nodes[other as usize].core.is_none() {
            return false;
        }
        if self.nodes[one as usize].peers.insert(other) {
            self.nodes[other as usize].peers.insert(one);
            self.traffic.connections += 1;
            self.traffic.control_bytes += perform::CONNECTION_BYTES;
            for (node, of) in [(one, other), (other, one)] {
                let boot = self.nodes[of as usize].boot;
                if self.nodes[node as usize].met.insert(of, boot) != Some(boot) {
                    self.tell(node, 0, Event::PeerRestarted(names::peer(of)));
                }
            }
            self.tell(one, 0, Event::PeerUp(names::peer(other)));
            self.tell(other, 0, Event::PeerUp(names::peer(one)));
        }
        true
    }

    fn submit(&mut self, mail: u64) {
        let Mail { from, to, .. } = self.mails[mail as usize];
        if self.nodes[from as usize].core.is_some() {
            self.note(3, from, mail);
            self.enqueue(from, to, names::Content::Mail(mail), EntryKind::Mail);
        }
    }

    fn enqueue(&mut self, node: u32, to: u32, content: names::Content, kind: EntryKind) {
        self.serial += 1;
        let mid = names::mail_id(content, self.serial);
        let size = match content {
            names::Content::Mail(mail) => self.mails[mail as usize].bytes,
            _ => 0,
        };
        let progress = Progress { aged_at: self.wall(), ..Progress::default() };
        let recipient = self.address(to);
        let disk = &mut self.nodes[node as usize].disk;
        let id = EntryId(disk.next_entry);
        disk.next_entry += 1;
        let entry = Entry { id, account: ACCOUNT, recipient, mid, kind, size, progress };
        disk.entries.insert(id, entry.clone());
        self.tell(node, 0, Event::Queued(entry));
    }

    fn handle(&mut self, node: u32, event: Event) {
        let time = self.time(node);
        let mut effects = std::mem::take(&mut self.effects);
        let n = &mut self.nodes[node as usize];
        let Some(core) = &mut n.core else { return };
        self.traffic.events += 1;
        core.handle(event, time, &mut n.core_stream, &mut effects);
        if let Some(at) = core.deadline()
            && n.next_tick.is_none_or(|known| at < known)
        {
            n.next_tick = Some(at);
            let wait = at.0.saturating_sub(time.mono.0);
            self.calendar.put(self.now + wait, Happening::Tick(node, n.boot));
        }
        for effect in effects.drain(..) {
            self.perform(node, effect);
        }
        // Effects may have handed out the buffer again: the larger one stays.
        if self.effects.capacity() < effects.capacity() {
            self.effects = effects;
        }
    }

    fn address(&self, node: u32) -> Address {
        self.addresses[node as usize]
    }

    fn peer_node(peer: &PeerId) -> u32 {
        names::node_of_peer(peer)
    }
}
