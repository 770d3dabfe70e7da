//! Who is connected, by which connections, and who counts as a peer: whoever greeted on at least one of them.

use std::collections::BTreeMap;

use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};

use crate::transfer::{Gone, Open};

/// Bodies above this size prefer TCP, which moves them faster than QUIC here.
const BULK_BYTES: u64 = 8 << 20;

/// The largest envelope that goes through another node.
const CIRCUIT_BYTES_MAX: u64 = 64 * 1024;

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    /// The other end.
    pub(crate) address: Multiaddr,
    /// Made by us.
    pub(crate) dialed: bool,
    /// The peer said Hello on it, and this is the nonce it has for us in this run of its process.
    pub(crate) greeted: Option<[u8; 32]>,
    pub(crate) quic: bool,
    /// Through another node.
    pub(crate) relayed: bool,
    /// Dropped with the connection, which ends its streams' tasks.
    pub(crate) open: Open,
}

/// What a greeting tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Greeting {
    /// The peer is up from now on.
    Up,
    /// It was up already.
    Known,
    /// Its process runs anew. These connections are to the one before, which is gone and could not say so: after a power cut nobody does.
    Anew(Vec<ConnectionId>),
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    connections: BTreeMap<PeerId, Vec<Connection>>,
    /// What those that are up can do.
    features: BTreeMap<PeerId, u64>,
}

impl Peers {
    /// A connection was made.
    pub(crate) fn opened(&mut self, peer: PeerId, connection: Connection) {
        self.connections.entry(peer).or_default().push(connection);
    }

    /// The peer greeted on a connection, with this nonce.
    pub(crate) fn greeted(&mut self, peer: PeerId, id: ConnectionId, nonce: [u8; 32]) -> Greeting {
        let all = self.connections.get_mut(&peer).map(Vec::as_mut_slice).unwrap_or_default();
        let was_up = all.iter().any(|connection| connection.greeted.is_some());
        let other = |connection: &&Connection| connection.id != id && connection.greeted.is_some_and(|known| known != nonce);
        let before: Vec<ConnectionId> = all.iter().filter(other).map(|connection| connection.id).collect();
        let Some(connection) = all.iter_mut().find(|connection| connection.id == id) else { return Greeting::Known };
        connection.greeted = Some(nonce);
        match (was_up, before.is_empty()) {
            (false, _) => Greeting::Up,
            (true, true) => Greeting::Known,
            (true, false) => Greeting::Anew(before),
        }
    }

    /// A connection is gone. True when the peer was up and is not any more.
    pub(crate) fn closed(&mut self, peer: PeerId, id: ConnectionId) -> bool {
        let was_up = self.is_up(&peer);
        if let Some(all) = self.connections.get_mut(&peer) {
            all.retain(|connection| connection.id != id);
            if all.is_empty() {
                self.connections.remove(&peer);
                self.features.remove(&peer);
            }
        }
        was_up && !self.is_up(&peer)
    }

    /// The peer has said what it can do.
    pub(crate) fn can(&mut self, peer: PeerId, features: u64) {
        self.features.insert(peer, features);
    }

    /// What a peer that is up can do.
    pub(crate) fn features(&self, peer: &PeerId) -> u64 {
        self.features.get(peer).copied().unwrap_or(0)
    }

    pub(crate) fn is_up(&self, peer: &PeerId) -> bool {
        self.of(peer).iter().any(|connection| connection.greeted.is_some())
    }

    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        self.connections.contains_key(peer)
    }

    /// Peers that are up.
    pub(crate) fn up(&self) -> impl Iterator<Item = &PeerId> {
        self.connections.iter().filter(|(_, all)| all.iter().any(|connection| connection.greeted.is_some())).map(|(peer, _)| peer)
    }

    /// Everybody with a connection.
    pub(crate) fn all(&self) -> impl Iterator<Item = &PeerId> {
        self.connections.keys()
    }

    /// The connections of a peer, oldest first.
    pub(crate) fn of(&self, peer: &PeerId) -> &[Connection] {
        self.connections.get(peer).map_or(&[], Vec::as_slice)
    }

    /// What the streams of a connection watch; `None` when it is gone already.
    pub(crate) fn gone(&self, peer: &PeerId, id: ConnectionId) -> Option<Gone> {
        self.of(peer).iter().find(|connection| connection.id == id).map(|connection| connection.open.gone())
    }

    /// The connection for an envelope: the newest that greeted, a direct one where there is one; for a large one, over TCP if there is such. What is not
    /// small goes through no other node: `None`.
    pub(crate) fn choose(&self, peer: &PeerId, size: u64) -> Option<ConnectionId> {
        let greeted = || self.of(peer).iter().rev().filter(|connection| connection.greeted.is_some());
        let direct = || greeted().filter(|connection| !connection.relayed);
        let tcp = if size > BULK_BYTES { direct().find(|connection| !connection.quic) } else { None };
        let any = tcp.or_else(|| direct().next());
        any.or_else(|| greeted().next().filter(|_| size <= CIRCUIT_BYTES_MAX)).map(|connection| connection.id)
    }

    /// There is a way through another node, and a direct one that has greeted.
    pub(crate) fn is_doubled(&self, peer: &PeerId) -> bool {
        let all = self.of(peer);
        all.iter().any(|one| one.relayed) && all.iter().any(|one| !one.relayed && one.greeted.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(id: usize, quic: bool) -> Connection {
        let address = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        Connection {
            id: ConnectionId::new_unchecked(id),
            address,
            dialed: true,
            greeted: None,
            quic,
            relayed: false,
            open: Open::new(),
        }
    }

    #[test]
    fn peer_is_up_once_and_down_once_whatever_its_connections_do() {
        let peer = PeerId::random();
        let id = ConnectionId::new_unchecked;
        let mut peers = Peers::default();
        for number in 1..=3 {
            peers.opened(peer, connection(number, false));
        }
        assert!(!peers.is_up(&peer));
        assert_eq!(peers.greeted(peer, id(1), [1; 32]), Greeting::Up);
        assert_eq!(peers.greeted(peer, id(2), [1; 32]), Greeting::Known);
        assert!(!peers.closed(peer, id(1)));
        assert!(peers.closed(peer, id(2)));
        assert!(!peers.closed(peer, id(3)));
        assert_eq!(peers.greeted(peer, id(3), [1; 32]), Greeting::Known);
    }

    #[test]
    fn who_runs_anew_is_known_by_another_nonce_and_so_are_the_connections_that_lead_nowhere() {
        let (peer, id) = (PeerId::random(), ConnectionId::new_unchecked);
        let mut peers = Peers::default();
        for number in 1..=4 {
            peers.opened(peer, connection(number, false));
        }
        assert_eq!(peers.greeted(peer, id(1), [1; 32]), Greeting::Up);
        assert_eq!(peers.greeted(peer, id(2), [1; 32]), Greeting::Known);
        assert_eq!(peers.greeted(peer, id(3), [2; 32]), Greeting::Anew(vec![id(1), id(2)]));
        assert!(!peers.closed(peer, id(1)) && !peers.closed(peer, id(2)));
        assert_eq!(peers.greeted(peer, id(4), [2; 32]), Greeting::Known);
        assert_eq!(peers.greeted(peer, id(4), [3; 32]), Greeting::Anew(vec![id(3)]));
    }

    #[test]
    fn what_is_large_goes_through_no_other_node() {
        let (peer, id) = (PeerId::random(), ConnectionId::new_unchecked);
        let mut peers = Peers::default();
        peers.opened(peer, Connection { relayed: true, ..connection(1, false) });
        peers.greeted(peer, id(1), [1; 32]);
        assert_eq!(peers.choose(&peer, 64_000), Some(id(1)));
        assert_eq!(peers.choose(&peer, 70_000), None);
        peers.opened(peer, connection(2, false));
        peers.greeted(peer, id(2), [1; 32]);
        assert!(peers.is_doubled(&peer));
        peers.opened(peer, Connection { relayed: true, ..connection(3, false) });
        peers.greeted(peer, id(3), [1; 32]);
        assert_eq!([1000, 70_000].map(|size| peers.choose(&peer, size)), [Some(id(2)); 2]);
    }

    #[test]
    fn large_envelopes_prefer_tcp() {
        let peer = PeerId::random();
        let mut peers = Peers::default();
        for (number, quic) in [(1, false), (2, true)] {
            peers.opened(peer, connection(number, quic));
            peers.greeted(peer, ConnectionId::new_unchecked(number), [1; 32]);
        }
        assert_eq!(peers.choose(&peer, 1000), Some(ConnectionId::new_unchecked(2)));
        assert_eq!(peers.choose(&peer, 9 << 20), Some(ConnectionId::new_unchecked(1)));
    }
}
