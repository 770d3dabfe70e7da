//! How others reach this node: addresses that were confirmed, and, while there are none, circuits through nodes that have some.
//!
//! A node that can be reached directly serves circuits to others; one that cannot keeps two of them. libp2p would switch both by itself, and take a
//! circuit for an address of one's own: here only direct addresses count, and reservations are renewed by a clock that does not jump.

use std::collections::BTreeMap;
use std::time::Duration;

use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId, identify, relay, upnp};
use tokio::time::Instant;

use super::{Driver, with_name};
use crate::names;
use crate::service::{Event, Reachability};

/// Circuits that are kept, on different networks where that can be had.
const CIRCUITS: usize = 2;
/// A reservation is made anew after this time; it lasts for an hour.
const RENEW: Duration = Duration::from_secs(40 * 60);
/// A server that refused, or whose reservation was lost, is left alone for so long.
const REST: Duration = Duration::from_secs(60);
/// A reservation that was not accepted by then is given up.
const ACCEPT: Duration = Duration::from_secs(30);
/// Servers remembered.
const SERVERS_MAX: usize = 64;
/// Addresses at which a peer is tried directly.
const ADDRESSES_MAX: usize = 8;
/// A circuit to a peer is closed so long after there is a direct connection.
const CIRCUIT_LINGERS: Duration = Duration::from_secs(5);
/// When it is said that no address of this node was found to be reachable.
const VERDICT: Duration = Duration::from_secs(60);

/// A circuit of ours.
#[derive(Debug)]
struct Circuit {
    listener: ListenerId,
    address: Multiaddr,
    accepted: bool,
    /// It was accepted, and is being made anew: others still may be told of it.
    renewed: bool,
    since: Instant,
}

/// What is known about being reached.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// Connected peers that serve circuits, and where.
    servers: BTreeMap<PeerId, Multiaddr>,
    circuits: BTreeMap<PeerId, Circuit>,
    resting: BTreeMap<PeerId, Instant>,
    /// Circuits are served to others.
    serving: bool,
    gateway: Option<bool>,
    /// Since when a peer has both a circuit and a direct connection.
    doubled: BTreeMap<PeerId, Instant>,
}

impl Driver {
    /// A peer says what it can do, and where it is.
    pub(super) fn circuits_served(&mut self, peer: PeerId, info: &identify::Info) {
        self.go_direct(peer, info);
        if !info.protocols.contains(&relay::HOP_PROTOCOL_NAME) {
            self.reach.servers.remove(&peer);
            return;
        }
        let seen = self.peers.of(&peer).iter().filter(|seen| seen.dialed && !seen.relayed).map(|seen| seen.address.clone());
        let told = info.listen_addrs.iter().cloned();
        let direct = seen.chain(told).map(|address| names::split_peer(address).0).find(names::is_dialable);
        if let Some(address) = direct.filter(|_| self.reach.servers.len() < SERVERS_MAX) {
            self.reach.servers.insert(peer, address);
        }
        self.keep_circuits(Instant::now());
    }

    /// Connects directly to a peer that came through another node and can be reached: the opening of ways through two NATs has no answer for that.
    fn go_direct(&mut self, peer: PeerId, info: &identify::Info) {
        let all = self.peers.of(&peer);
        if all.is_empty() || all.iter().any(|one| !one.relayed) {
            return;
        }
        let told = info.listen_addrs.iter().cloned().map(|address| names::split_peer(address).0);
        let addresses: Vec<Multiaddr> = told.filter(names::is_dialable).take(ADDRESSES_MAX).collect();
        if !addresses.is_empty() {
            let dial = DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(addresses).build();
            if let Err(error) = self.swarm.dial(dial) {
                tracing::debug!(%peer, %error, "not dialled directly");
            }
        }
    }

    /// Its last connection is gone.
    pub(super) fn server_gone(&mut self, peer: &PeerId) {
        self.reach.servers.remove(peer);
        self.reach.doubled.remove(peer);
        self.sees_no_more(peer);
    }

    /// Direct addresses that are known to work.
    pub(super) fn direct_addresses(&self) -> impl Iterator<Item = &Multiaddr> {
        self.swarm.external_addresses().filter(|address| !names::is_circuit(address))
    }

    /// Circuits of ours that work, as hints for others.
    pub(super) fn circuits(&self) -> Vec<String> {
        let working = self.reach.circuits.iter().filter(|(_, circuit)| circuit.accepted || circuit.renewed);
        working.map(|(server, circuit)| circuit_at(circuit.address.clone(), *server).to_string()).collect()
    }

    /// What people are told about it.
    pub(super) fn reachability(&self) -> Reachability {
        if self.direct_addresses().next().is_some() {
            Reachability::Direct
        } else if self.reach.circuits.values().any(|circuit| circuit.accepted || circuit.renewed) {
            Reachability::Circuits
        } else if self.started.elapsed() < VERDICT || self.peers.up().next().is_none() {
            Reachability::Unknown
        } else {
            Reachability::Outgoing
        }
    }

    /// Whether a gateway forwards to us: `None` while that is not known.
    pub(super) fn gateway(&self) -> Option<bool> {
        self.reach.gateway
    }

    pub(super) fn upnp_event(&mut self, event: &upnp::Event) {
        match event {
            upnp::Event::NewExternalAddr { external_addr, .. } => {
                tracing::debug!(%external_addr, "the gateway forwards to this node");
                self.reach.gateway = Some(true);
            }
            upnp::Event::ExpiredExternalAddr { .. } | upnp::Event::GatewayNotFound | upnp::Event::NonRoutableGateway => {
                self.reach.gateway = Some(false);
            }
        }
    }

    /// A reservation was accepted.
    pub(super) fn circuit_event(&mut self, event: &relay::client::Event) {
        if let relay::client::Event::ReservationReqAccepted { relay_peer_id, .. } = event
            && let Some(circuit) = self.reach.circuits.get_mut(relay_peer_id)
            && !circuit.accepted
        {
            circuit.accepted = true;
            if circuit.renewed {
                return;
            }
            let name = *self.swarm.local_peer_id();
            let address = circuit_at(circuit.address.clone(), *relay_peer_id);
            // Whoever hears of it looks at the status.
            self.show();
            self.emit(Event::ExternalAddress(with_name(address, name)));
        }
    }

    /// A listener ended. True if it was a circuit's.
    pub(super) fn circuit_ended(&mut self, listener: ListenerId) -> bool {
        let Some(server) =
            self.reach.circuits.iter().find(|(_, circuit)| circuit.listener == listener).map(|(server, _)| *server)
        else {
            return false;
        };
        self.lost(server);
        true
    }

    /// There is no circuit at that server any more, and no other one for a while.
    fn lost(&mut self, server: PeerId) {
        let Some(circuit) = self.reach.circuits.remove(&server) else { return };
        self.rest(server);
        if circuit.accepted || circuit.renewed {
            let name = *self.swarm.local_peer_id();
            self.show();
            self.emit(Event::ListeningEnded(with_name(circuit_at(circuit.address, server), name)));
        }
    }

    fn rest(&mut self, server: PeerId) {
        if self.reach.resting.len() < SERVERS_MAX {
            self.reach.resting.insert(server, Instant::now() + REST);
        }
    }

    /// Serves circuits while this node can be reached, keeps some while it cannot, and closes those that a direct connection has replaced.
    pub(super) fn reach_in_time(&mut self, now: Instant) {
        self.reach.resting.retain(|_, until| *until > now);
        let public = self.direct_addresses().next().is_some();
        self.keep_circuits(now);
        self.close_doubled(now);
        if public != self.reach.serving {
            self.serve_circuits(public);
        }
    }

    /// Begins or ends to serve circuits. While a connection goes through another node the library's server must not be told: it would tell that
    /// connection too, which has no part in it, and panic. So those are closed first, and this is tried again with the next tick.
    fn serve_circuits(&mut self, serve: bool) {
        let through: Vec<_> =
            self.peers.all().flat_map(|peer| self.peers.of(peer)).filter(|one| one.relayed).map(|one| one.id).collect();
        if through.is_empty() {
            self.reach.serving = serve;
            let status = if serve { relay::Status::Enable } else { relay::Status::Disable };
            self.swarm.behaviour_mut().circuits.set_status(Some(status));
        }
        for connection in through {
            self.swarm.close_connection(connection);
        }
    }

    fn keep_circuits(&mut self, now: Instant) {
        if self.direct_addresses().next().is_some() {
            for (_, circuit) in std::mem::take(&mut self.reach.circuits) {
                self.swarm.remove_listener(circuit.listener);
            }
            return;
        }
        let over = |circuit: &Circuit| now.duration_since(circuit.since) >= if circuit.accepted { RENEW } else { ACCEPT };
        let ended: Vec<PeerId> =
            self.reach.circuits.iter().filter(|(_, circuit)| over(circuit)).map(|(server, _)| *server).collect();
        for server in ended {
            let Some(circuit) = self.reach.circuits.get(&server) else { continue };
            let (listener, renew) = (circuit.listener, circuit.accepted.then(|| circuit.address.clone()));
            match renew {
                Some(address) => {
                    self.reach.circuits.remove(&server);
                    self.swarm.remove_listener(listener);
                    self.reserve(server, address, true, now);
                }
                None => {
                    self.swarm.remove_listener(listener);
                    self.lost(server);
                }
            }
        }
        while self.reach.circuits.len() < CIRCUITS {
            let Some((server, address)) = self.next_server() else { return };
            self.reserve(server, address, false, now);
        }
    }

    fn reserve(&mut self, server: PeerId, address: Multiaddr, renewed: bool, now: Instant) {
        match self.swarm.listen_on(circuit_at(address.clone(), server)) {
            Ok(listener) => {
                let circuit = Circuit { listener, address, accepted: false, renewed, since: now };
                self.reach.circuits.insert(server, circuit);
            }
            Err(error) => {
                tracing::debug!(%server, %error, "no circuit");
                self.rest(server);
            }
        }
    }

    /// A server that we have no circuit at, of another network than the others where there is one.
    fn next_server(&self) -> Option<(PeerId, Multiaddr)> {
        let free = || {
            let taken = |server: &PeerId| self.reach.circuits.contains_key(server) || self.reach.resting.contains_key(server);
            self.reach.servers.iter().filter(move |(server, _)| !taken(server))
        };
        let near = |address: &Multiaddr| {
            let place = names::neighbourhood(address);
            self.reach.circuits.values().any(|circuit| names::neighbourhood(&circuit.address) == place)
        };
        let other = free().find(|(_, address)| !near(address)).or_else(|| free().next());
        other.map(|(server, address)| (*server, address.clone()))
    }

    fn close_doubled(&mut self, now: Instant) {
        let both: Vec<PeerId> = self.peers.all().filter(|peer| self.peers.is_doubled(peer)).copied().collect();
        self.reach.doubled.retain(|peer, _| both.contains(peer));
        for peer in both {
            let since = *self.reach.doubled.entry(peer).or_insert(now);
            if now.duration_since(since) >= CIRCUIT_LINGERS {
                let relayed: Vec<_> = self.peers.of(&peer).iter().filter(|one| one.relayed).map(|one| one.id).collect();
                for connection in relayed {
                    self.swarm.close_connection(connection);
                }
            }
        }
    }
}

/// The address of a circuit through this server.
fn circuit_at(address: Multiaddr, server: PeerId) -> Multiaddr {
    address.with(Protocol::P2p(server)).with(Protocol::P2pCircuit)
}
