//! Connecting to a peer that the engine names: by hints, by what is known, by what the directory says; then Hello.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use kith_protocol::ids::{Op, PeerId as Name};
use libp2p::PeerId;
use libp2p::kad::QueryId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use tokio::time::Instant;

use super::Driver;
use crate::names;
use crate::peers::Greeting;
use crate::service::Event;

/// Peers being connected to at a time.
const ATTEMPTS_MAX: usize = 256;
/// Commands that may wait for the same peer.
const OPS_MAX: usize = 16;
/// A peer is given up after this time.
const ATTEMPT_MAX: Duration = Duration::from_secs(30);
/// Peers whose connections are kept; beyond, the one named longest ago is let go.
const KEPT_MAX: usize = 64;
/// Failures in a row after which a peer leaves the routing table.
const FAILURES_MAX: u32 = 3;

/// A peer being connected to.
#[derive(Debug)]
struct Attempt {
    ops: Vec<Op>,
    deadline: Instant,
    /// The directory was asked; it is asked once.
    asked: bool,
    /// The question, while it is open.
    question: Option<QueryId>,
}

/// Everybody being connected to, and everybody kept.
#[derive(Debug, Default)]
pub(super) struct Connecting {
    attempts: BTreeMap<PeerId, Attempt>,
    kept: VecDeque<PeerId>,
}

impl Connecting {
    /// The peer whose addresses this question is about.
    pub(super) fn questioned(&self, id: QueryId) -> Option<PeerId> {
        self.attempts.iter().find(|(_, attempt)| attempt.question == Some(id)).map(|(peer, _)| *peer)
    }
}

impl Driver {
    /// Serves [`crate::Command::Connect`].
    pub(super) fn connect(&mut self, op: Op, name: Name, addresses: &[String]) {
        let Some(peer) = names::to_libp2p(name).filter(|peer| peer != self.swarm.local_peer_id()) else {
            return self.emit(Event::ConnectFailed { op, peer: name });
        };
        self.book.add(peer, addresses.iter().filter_map(|text| names::address_of(&peer, text)));
        self.keep(peer, true);
        if self.peers.is_up(&peer) {
            return;
        }
        if let Some(attempt) = self.connecting.attempts.get_mut(&peer) {
            if attempt.ops.len() < OPS_MAX {
                attempt.ops.push(op);
            } else {
                self.emit(Event::ConnectFailed { op, peer: name });
            }
            return;
        }
        if self.connecting.attempts.len() >= ATTEMPTS_MAX {
            return self.emit(Event::ConnectFailed { op, peer: name });
        }
        let attempt = Attempt { ops: vec![op], deadline: Instant::now() + ATTEMPT_MAX, asked: false, question: None };
        self.connecting.attempts.insert(peer, attempt);
        self.dial_or_ask(peer);
    }

    /// Keeps the peer's connections though nobody uses them, or lets them go.
    pub(super) fn keep(&mut self, peer: PeerId, keep: bool) {
        let kept = &mut self.connecting.kept;
        kept.retain(|other| *other != peer);
        let mut let_go = None;
        if keep {
            kept.push_back(peer);
            if kept.len() > KEPT_MAX {
                let_go = kept.pop_front();
            }
        }
        for (peer, keep) in [(Some(peer), keep), (let_go, false)] {
            let Some(peer) = peer else { continue };
            let connections: Vec<_> = self.peers.of(&peer).iter().map(|connection| connection.id).collect();
            self.swarm.behaviour_mut().mail.keep(peer, connections.into_iter(), keep);
        }
    }

    /// Dials a peer at every address known. True when something is under way.
    pub(super) fn dial(&mut self, peer: PeerId) -> bool {
        let dial = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(self.book.addresses(&peer))
            .extend_addresses_through_behaviour()
            .build();
        match self.swarm.dial(dial) {
            Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => true,
            Err(error) => {
                tracing::debug!(%peer, %error, "not dialled");
                false
            }
        }
    }

    fn dial_or_ask(&mut self, peer: PeerId) {
        if !self.dial(peer) {
            self.ask_for(peer);
        }
    }

    /// Asks the directory where a peer is, or gives the peer up when that was done.
    fn ask_for(&mut self, peer: PeerId) {
        let Some(attempt) = self.connecting.attempts.get_mut(&peer) else { return };
        if attempt.asked || self.peers.all().next().is_none() {
            return self.connect_failed(peer);
        }
        attempt.asked = true;
        attempt.question = Some(self.swarm.behaviour_mut().kad.get_closest_peers(peer));
    }

    /// The directory said where the peer is, or that it does not know.
    pub(super) fn told(&mut self, peer: PeerId, addresses: Vec<libp2p::Multiaddr>) {
        if let Some(attempt) = self.connecting.attempts.get_mut(&peer) {
            attempt.question = None;
        }
        self.book.add(peer, addresses);
        if !self.dial(peer) {
            self.connect_failed(peer);
        }
    }

    /// A dial ended without a connection.
    pub(super) fn dial_failed(&mut self, peer: PeerId, error: &DialError) {
        tracing::debug!(%peer, %error, "cannot connect");
        if self.peers.is_connected(&peer) {
            return;
        }
        if !matches!(error, DialError::DialPeerConditionFalse(_) | DialError::Aborted | DialError::Denied { .. })
            && self.book.failed(peer, super::unix_seconds()) >= FAILURES_MAX
        {
            self.swarm.behaviour_mut().kad.remove_peer(&peer);
        }
        if self.connecting.attempts.get(&peer).is_some_and(|attempt| attempt.question.is_none()) {
            self.ask_for(peer);
        }
    }

    /// The peer greeted: it is up.
    pub(super) fn greeted(&mut self, peer: PeerId, connection: ConnectionId, nonce: [u8; 32], features: u64) {
        let Some(name) = names::from_libp2p(&peer) else {
            self.swarm.disconnect_peer_id(peer).ok();
            return;
        };
        match self.peers.greeted(peer, connection, nonce) {
            Greeting::Known => return self.way_found(peer, connection, name),
            Greeting::Up => {}
            Greeting::Anew(before) => {
                for connection in before {
                    self.peers.closed(peer, connection);
                    self.connection_lost(peer, connection);
                    self.swarm.close_connection(connection);
                }
                self.emit(Event::PeerDown(name));
            }
        }
        self.connecting.attempts.remove(&peer);
        self.entry.succeeded();
        self.peers.can(peer, features);
        self.emit(Event::PeerKnown { peer: name, nonce, features });
        self.emit(Event::PeerUp(name));
        self.way_found(peer, connection, name);
        self.release_offers(peer, name);
        self.show();
    }

    /// What is too large to go through another node may go by this connection.
    fn way_found(&mut self, peer: PeerId, connection: ConnectionId, name: Name) {
        if self.peers.of(&peer).iter().any(|one| one.id == connection && !one.relayed) {
            self.direct_way(peer, name);
        }
    }

    /// A connection is gone.
    pub(super) fn closed(&mut self, peer: PeerId, connection: ConnectionId) {
        let down = self.peers.closed(peer, connection);
        self.connection_lost(peer, connection);
        if !self.peers.is_connected(&peer) {
            self.server_gone(&peer);
            self.keep_if_wanted(peer);
            self.connect_failed(peer);
        }
        if down && let Some(name) = names::from_libp2p(&peer) {
            self.emit(Event::PeerDown(name));
            self.show();
        }
    }

    /// A peer that is gone is not kept any longer, unless it is just being connected to.
    fn keep_if_wanted(&mut self, peer: PeerId) {
        if !self.connecting.attempts.contains_key(&peer) {
            self.keep(peer, false);
        }
    }

    /// Gives a peer up.
    pub(super) fn connect_failed(&mut self, peer: PeerId) {
        let Some(attempt) = self.connecting.attempts.remove(&peer) else { return };
        self.keep(peer, false);
        if let Some(name) = names::from_libp2p(&peer) {
            for op in attempt.ops {
                self.emit(Event::ConnectFailed { op, peer: name });
            }
        }
    }

    /// Gives up whoever took too long.
    pub(super) fn connects_in_time(&mut self, now: Instant) {
        let late: Vec<_> =
            self.connecting.attempts.iter().filter(|(_, attempt)| attempt.deadline <= now).map(|(peer, _)| *peer).collect();
        for peer in late {
            self.connect_failed(peer);
        }
    }
}
