//! Who gets into the directory's routing table: nodes that said they serve it, at addresses that somebody else could reach, from all over.

use libp2p::kad::store::RecordStore;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId, identify};

use super::Driver;
use crate::names;
use crate::swarm::KAD_PROTOCOL;

/// Addresses that are taken of what a peer tells.
const TOLD_MAX: usize = 8;
/// Peers of one neighbourhood (a /16 of IPv4, a /32 of IPv6) in one bucket, and in the table.
const NEIGHBOURS_PER_BUCKET: usize = 2;
const NEIGHBOURS: usize = 3;

impl Driver {
    /// A peer told what it speaks and where it is.
    pub(super) fn identified(&mut self, peer: PeerId, connection: ConnectionId, info: identify::Info) {
        if !info.protocols.contains(&KAD_PROTOCOL) {
            self.swarm.behaviour_mut().kad.remove_peer(&peer);
            return;
        }
        let told = info.listen_addrs.into_iter().take(TOLD_MAX).map(|address| names::split_peer(address).0);
        let mut addresses: Vec<_> = told.filter(|address| names::is_dialable(address) && self.is_useful(address)).collect();
        // Identify hides the addresses of home networks. Where no NAT lies between us, the address that we see is the one that the peer listens
        // on, for ports are shared between dialing and listening.
        if let Some(seen) = self.peers.of(&peer).iter().find(|other| other.id == connection) {
            let address = names::split_peer(seen.address.clone()).0;
            if !seen.relayed && (seen.dialed || names::is_private(&address)) && self.is_useful(&address) {
                addresses.push(address);
            }
        }
        self.book.add(peer, addresses.clone());
        for address in addresses {
            self.route(peer, address);
        }
    }

    /// A node that is reachable from everywhere does not send others to addresses of its own home network.
    fn is_useful(&self, address: &Multiaddr) -> bool {
        !names::is_private(address) || self.direct_addresses().all(names::is_private)
    }

    /// Puts an address into the table, unless its neighbourhood has its share.
    fn route(&mut self, peer: PeerId, address: Multiaddr) {
        if let Some(place) = names::neighbourhood(&address)
            && !self.has_room(&peer, place)
        {
            return;
        }
        let known = self.is_routed(&peer);
        self.swarm.behaviour_mut().kad.add_address(&peer, address);
        if !known {
            self.routed();
        }
    }

    fn is_routed(&mut self, peer: &PeerId) -> bool {
        let bucket = self.swarm.behaviour_mut().kad.kbucket(*peer);
        bucket.is_some_and(|bucket| bucket.iter().any(|entry| entry.node.key.preimage() == peer))
    }

    fn has_room(&mut self, peer: &PeerId, place: [u8; 5]) -> bool {
        let own_bucket = self.swarm.behaviour_mut().kad.kbucket(*peer).map(|bucket| bucket.range());
        let (mut in_bucket, mut in_table) = (0, 0);
        for bucket in self.swarm.behaviour_mut().kad.kbuckets() {
            let same = own_bucket.as_ref().is_some_and(|range| *range == bucket.range());
            for entry in bucket.iter().filter(|entry| entry.node.key.preimage() != peer) {
                if entry.node.value.iter().any(|address| names::neighbourhood(address) == Some(place)) {
                    in_table += 1;
                    in_bucket += usize::from(same);
                }
            }
        }
        in_bucket < NEIGHBOURS_PER_BUCKET && in_table < NEIGHBOURS
    }

    /// Peers in the table.
    pub(super) fn routing_table(&mut self) -> usize {
        self.swarm.behaviour_mut().kad.kbuckets().map(|bucket| bucket.num_entries()).sum()
    }

    /// Records held here.
    pub(super) fn records(&mut self) -> usize {
        self.swarm.behaviour_mut().kad.store_mut().records().count()
    }
}
