//! Streams and offers: who waits for which answer, and how many go out at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use kith_protocol::event::{Answer, OfferOutcome};
use kith_protocol::ids::{Op, PeerId as Name, Token};
use kith_protocol::wire::{Message, Offer};
use libp2p::PeerId;
use libp2p::swarm::{ConnectionId, Stream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::Driver;
use crate::names;
use crate::service::{Asked, Event, Ticket};
use crate::transfer::{self, Link, Outgoing};

/// Offers of ours to one peer at a time: fewer than the streams that it takes from us.
const RUNNING_PER_PEER_MAX: usize = 16;
/// Offers of ours at a time.
const RUNNING_MAX: usize = 64;
/// Offers of ours that wait for their turn, to one peer.
const WAITING_MAX: usize = 1024;
/// Peers of whom it is remembered that what is large did not go to them.
const NARROW_MAX: usize = 4096;

/// What is too large for a circuit waits so long for a direct way.
const DIRECT_WAIT: Duration = Duration::from_secs(3);

/// A stream that was asked for.
#[derive(Debug)]
struct Opening {
    peer: PeerId,
    connection: ConnectionId,
    purpose: Purpose,
}

#[derive(Debug)]
enum Purpose {
    Greet,
    Offer(Outgoing),
    Ask(Op, Box<Message>),
}

/// An offer that came before the greeting was through: they travel on different streams.
#[derive(Debug)]
struct Early {
    peer: PeerId,
    token: Token,
    what: What,
}

/// What came early.
#[derive(Debug)]
enum What {
    Offer(Offer, bool),
    Asked(Asked),
}

/// All offers.
#[derive(Debug, Default)]
pub(super) struct Offers {
    next_stream: u64,
    opening: BTreeMap<u64, Opening>,
    running: BTreeMap<PeerId, usize>,
    waiting: BTreeMap<PeerId, VecDeque<Outgoing>>,
    /// Offers to us that wait for an answer; as many as there are inbound streams.
    answers: BTreeMap<Token, mpsc::Sender<Answer>>,
    /// Questions to us that wait for an answer.
    replies: BTreeMap<Token, oneshot::Sender<Message>>,
    early: Vec<Early>,
    /// To whom something could not go through another node.
    narrow: BTreeSet<PeerId>,
}

impl Offers {
    /// Passes the engine's answer to a question on.
    pub(super) fn reply(&mut self, token: Token, message: Message) {
        if let Some(answer) = self.replies.remove(&token) {
            answer.send(message).ok();
        }
    }

    /// Nobody waits for this answer any more.
    pub(super) fn forget_question(&mut self, token: Token) {
        self.early.retain(|early| early.token != token);
        self.replies.remove(&token);
    }

    /// Passes the engine's answer on; one that comes too late is for nobody.
    pub(super) fn answer(&mut self, token: Token, answer: Answer) {
        if let Some(answers) = self.answers.get(&token) {
            answers.try_send(answer).ok();
        }
    }

    /// The token means nothing any more. True when the engine knows of it.
    pub(super) fn forget(&mut self, token: Token) -> bool {
        let waiting = self.early.len();
        self.early.retain(|early| early.token != token);
        self.answers.remove(&token).is_some() && self.early.len() == waiting
    }

    /// Offers of ours under way.
    pub(super) fn running(&self) -> usize {
        self.running.values().sum()
    }
}

impl Driver {
    /// Greets on a connection that we made.
    pub(super) fn say_hello(&mut self, peer: PeerId, connection: ConnectionId) {
        self.open(peer, connection, Purpose::Greet);
    }

    fn open(&mut self, peer: PeerId, connection: ConnectionId, purpose: Purpose) {
        let id = self.offers.next_stream;
        self.offers.next_stream += 1;
        self.offers.opening.insert(id, Opening { peer, connection, purpose });
        self.swarm.behaviour_mut().mail.open(peer, connection, id);
    }

    /// Serves [`crate::Command::Offer`].
    pub(super) fn offer(&mut self, name: Name, outgoing: Outgoing) {
        let op = outgoing.op;
        let Some(peer) = names::to_libp2p(name).filter(|peer| self.peers.is_up(peer)) else {
            return self.emit(Event::Offered { op, outcome: OfferOutcome::Broken });
        };
        let waiting = self.offers.waiting.entry(peer).or_default();
        if waiting.len() >= WAITING_MAX {
            return self.emit(Event::Offered { op, outcome: OfferOutcome::Broken });
        }
        waiting.push_back(outgoing);
        self.run_offers();
    }

    /// Starts what may start: peers take turns.
    fn run_offers(&mut self) {
        let peers: Vec<_> = self.offers.waiting.keys().copied().collect();
        for peer in peers {
            let mut late = Vec::new();
            while self.offers.running() < RUNNING_MAX
                && self.offers.running.get(&peer).copied().unwrap_or(0) < RUNNING_PER_PEER_MAX
            {
                let Some(outgoing) = self.offers.waiting.get_mut(&peer).and_then(VecDeque::pop_front) else { break };
                let Some(connection) = self.peers.choose(&peer, outgoing.size) else {
                    if self.peers.is_up(&peer) && outgoing.since.elapsed() < DIRECT_WAIT {
                        // Only through another node so far: a direct way may come about.
                        late.push(outgoing);
                        continue;
                    }
                    let outcome = if self.peers.is_up(&peer) { self.narrow(peer) } else { OfferOutcome::Broken };
                    self.emit(Event::Offered { op: outgoing.op, outcome });
                    continue;
                };
                *self.offers.running.entry(peer).or_default() += 1;
                self.open(peer, connection, Purpose::Offer(outgoing));
            }
            if !late.is_empty() {
                self.offers.waiting.entry(peer).or_default().extend(late);
            }
            if self.offers.waiting.get(&peer).is_some_and(VecDeque::is_empty) {
                self.offers.waiting.remove(&peer);
            }
        }
    }

    /// Remembers to say when there is a direct way to this peer. Without room for that, it is not said why nothing was sent.
    fn narrow(&mut self, peer: PeerId) -> OfferOutcome {
        if self.offers.narrow.len() >= NARROW_MAX && !self.offers.narrow.contains(&peer) {
            return OfferOutcome::Broken;
        }
        self.offers.narrow.insert(peer);
        OfferOutcome::NoDirectWay
    }

    /// There is a direct connection to that peer, and it has greeted.
    pub(super) fn direct_way(&mut self, peer: PeerId, name: Name) {
        if self.offers.narrow.remove(&peer) {
            self.emit(Event::DirectWay(name));
        }
        self.run_offers();
    }

    /// What waited for a direct way goes, or is given up.
    pub(super) fn offers_in_time(&mut self, now: Instant) {
        let late = |outgoing: &Outgoing| now.duration_since(outgoing.since) >= DIRECT_WAIT;
        if self.offers.waiting.values().flatten().any(late) {
            self.run_offers();
        }
    }

    /// A stream is open, or cannot be.
    pub(super) fn opened(&mut self, id: u64, stream: Option<Stream>) {
        let Some(Opening { peer, connection, purpose }) = self.offers.opening.remove(&id) else { return };
        let context = self.context.clone();
        let link = self.peers.gone(&peer, connection).and_then(|gone| Some(Link::new(stream?, gone)));
        match (purpose, link) {
            (Purpose::Greet, Some(link)) => drop(self.tasks.spawn(transfer::greet(context, peer, connection, link))),
            (Purpose::Greet, None) => self.connect_failed(peer),
            (Purpose::Offer(outgoing), Some(link)) => drop(self.tasks.spawn(transfer::offer(context, peer, link, outgoing))),
            (Purpose::Offer(outgoing), None) => self.offered(peer, outgoing.op, OfferOutcome::Broken),
            (Purpose::Ask(op, message), Some(link)) => {
                self.tasks.spawn(transfer::ask(context, peer, link, op, *message));
            }
            (Purpose::Ask(op, _), None) => self.emit(Event::Answered { op, answer: None }),
        }
    }

    /// An offer of ours ended.
    pub(super) fn offered(&mut self, peer: PeerId, op: Op, outcome: OfferOutcome) {
        if let Some(running) = self.offers.running.get_mut(&peer) {
            *running -= 1;
            if *running == 0 {
                self.offers.running.remove(&peer);
            }
        }
        self.emit(Event::Offered { op, outcome });
        self.run_offers();
    }

    /// Streams that were asked for on this connection will not open. (Those that are open see it themselves.)
    pub(super) fn connection_lost(&mut self, peer: PeerId, connection: ConnectionId) {
        let lost: Vec<_> =
            self.offers.opening.iter().filter(|(_, opening)| opening.connection == connection).map(|(id, _)| *id).collect();
        for id in lost {
            self.opened(id, None);
        }
        if !self.peers.is_up(&peer) {
            for outgoing in self.offers.waiting.remove(&peer).unwrap_or_default() {
                self.emit(Event::Offered { op: outgoing.op, outcome: OfferOutcome::Broken });
            }
        }
    }

    /// Serves [`crate::Command::Ask`].
    pub(super) fn ask_peer(&mut self, op: Op, name: Name, message: Message) {
        let peer = names::to_libp2p(name).filter(|peer| self.peers.is_up(peer));
        match peer.and_then(|peer| Some((peer, self.peers.choose(&peer, 0)?))) {
            Some((peer, connection)) => self.open(peer, connection, Purpose::Ask(op, Box::new(message))),
            None => self.emit(Event::Answered { op, answer: None }),
        }
    }

    /// A peer offers an envelope.
    pub(super) fn offer_received(
        &mut self,
        peer: PeerId,
        token: Token,
        offer: Offer,
        deposit: bool,
        answers: mpsc::Sender<Answer>,
    ) {
        self.offers.answers.insert(token, answers);
        self.received(Early { peer, token, what: What::Offer(offer, deposit) });
    }

    /// A peer asks this node as a relay.
    pub(super) fn ask_received(&mut self, peer: PeerId, token: Token, asked: Asked, answer: oneshot::Sender<Message>) {
        self.offers.replies.insert(token, answer);
        self.received(Early { peer, token, what: What::Asked(asked) });
    }

    fn received(&mut self, early: Early) {
        match names::from_libp2p(&early.peer) {
            Some(name) if self.peers.is_up(&early.peer) => self.tell(name, early),
            _ => self.offers.early.push(early),
        }
    }

    fn tell(&mut self, peer: Name, early: Early) {
        let token = early.token;
        self.emit(match early.what {
            What::Offer(Offer { envelope, size, queue, stamp, work, onward }, deposit) => {
                Event::OfferReceived { token, peer, queue, envelope, size, ticket: Ticket { deposit, stamp, work, onward } }
            }
            What::Asked(asked) => Event::AskReceived { token, peer, asked },
        });
    }

    /// The peer is up: its early offers count now.
    pub(super) fn release_offers(&mut self, peer: PeerId, name: Name) {
        let (ours, others) = std::mem::take(&mut self.offers.early).into_iter().partition(|early| early.peer == peer);
        self.offers.early = others;
        let ours: Vec<Early> = ours;
        for early in ours {
            self.tell(name, early);
        }
    }
}
