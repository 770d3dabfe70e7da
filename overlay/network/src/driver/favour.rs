//! Favoured peers: those that people here know. A crowd of others, however large, does not keep them out.

use std::collections::BTreeSet;

use kith_protocol::ids::PeerId as Name;
use libp2p::PeerId;
use libp2p::swarm::ConnectionId;

use super::Driver;
use crate::names;

/// Favoured peers at a time.
const FAVOURED_MAX: usize = 4096;

impl Driver {
    /// Serves [`crate::Command::Favour`].
    pub(super) fn favour(&mut self, peers: &[Name]) {
        let favoured: BTreeSet<PeerId> = peers.iter().filter_map(|name| names::to_libp2p(*name)).take(FAVOURED_MAX).collect();
        let limits = &mut self.swarm.behaviour_mut().limits;
        for peer in self.favoured.difference(&favoured) {
            limits.remove_peer_id(peer);
        }
        for peer in favoured.difference(&self.favoured) {
            limits.bypass_peer_id(peer);
        }
        self.favoured = favoured;
    }

    /// Limits do not hold for the connections of favoured peers; these do. True when it was one too many, and is being closed.
    pub(super) fn is_beyond(&mut self, peer: &PeerId, connection: ConnectionId) -> bool {
        if !self.favoured.contains(peer) {
            return false;
        }
        let limits = &self.context.limits;
        let of_peer = self.peers.of(peer).len();
        let of_favoured: usize = self.favoured.iter().map(|peer| self.peers.of(peer).len()).sum();
        let beyond = of_peer >= limits.established_per_peer as usize || of_favoured >= limits.established_favoured as usize;
        if beyond {
            self.swarm.close_connection(connection);
        }
        beyond
    }
}
