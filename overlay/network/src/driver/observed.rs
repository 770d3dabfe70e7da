//! What others see of this node's addresses. One that was confirmed is withdrawn when three peers see another one and nobody sees it any more, as after a
//! provider gave the line a new address: the library never tests an address twice.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId, identify};

use super::{Driver, with_name};
use crate::names;
use crate::service::Event;

/// Peers that must see another address.
const AGREEING: usize = 3;
/// Peers whose view is remembered.
const OBSERVERS_MAX: usize = 256;
/// Addresses that were withdrawn and count again if they come back.
const WITHDRAWN_MAX: usize = 16;

/// What peers see.
#[derive(Debug, Default)]
pub(super) struct Observed {
    by: BTreeMap<PeerId, IpAddr>,
    /// What a person configured stays.
    fixed: BTreeSet<Multiaddr>,
    withdrawn: Vec<Multiaddr>,
}

impl Observed {
    pub(super) fn new(fixed: BTreeSet<Multiaddr>) -> Self {
        Self { fixed, ..Self::default() }
    }

    /// How many peers see this address, and how many another one of its family.
    fn views(&self, ip: IpAddr) -> (usize, usize) {
        let family = || self.by.values().filter(|seen| seen.is_ipv4() == ip.is_ipv4());
        let same = family().filter(|seen| **seen == ip).count();
        (same, family().count() - same)
    }

    fn is_outdated(&self, address: &Multiaddr) -> bool {
        let Some(ip) = names::ip(address).filter(|_| !self.fixed.contains(address) && !names::is_private(address)) else {
            return false;
        };
        let (same, others) = self.views(ip);
        same == 0 && others >= AGREEING
    }

    fn is_back(&self, address: &Multiaddr) -> bool {
        names::ip(address).is_some_and(|ip| self.views(ip).0 >= AGREEING)
    }
}

impl Driver {
    /// A peer says from which address it sees us.
    pub(super) fn seen_from(&mut self, peer: PeerId, connection: ConnectionId, info: &identify::Info) {
        let direct = self.peers.of(&peer).iter().any(|one| one.id == connection && !one.relayed);
        let Some(ip) = names::ip(&info.observed_addr).filter(|_| direct && !names::is_private(&info.observed_addr)) else {
            return;
        };
        let observed = &mut self.observed;
        if observed.by.len() >= OBSERVERS_MAX && !observed.by.contains_key(&peer) {
            return;
        }
        if observed.by.insert(peer, ip) != Some(ip) {
            self.review_addresses();
        }
    }

    /// Its last connection is gone: what it saw was then.
    pub(super) fn sees_no_more(&mut self, peer: &PeerId) {
        if self.observed.by.remove(peer).is_some() {
            self.review_addresses();
        }
    }

    /// An address of this machine is gone, and with it what was connected through it; which that was the library does not say, so all of its family are
    /// closed rather than left to time out. What is wanted is connected anew, and transfers go on where they were.
    pub(super) fn address_gone(&mut self, address: &Multiaddr) {
        let Some(gone) = names::ip(address).filter(|gone| !gone.is_loopback()) else { return };
        let through = |other: &Multiaddr| names::ip(other).is_some_and(|ip| ip.is_ipv4() == gone.is_ipv4() && !ip.is_loopback());
        let dead: Vec<ConnectionId> =
            self.peers.all().flat_map(|peer| self.peers.of(peer)).filter(|one| through(&one.address)).map(|one| one.id).collect();
        for connection in dead {
            self.swarm.close_connection(connection);
        }
    }

    fn review_addresses(&mut self) {
        let name = *self.swarm.local_peer_id();
        let outdated: Vec<Multiaddr> =
            self.direct_addresses().filter(|address| self.observed.is_outdated(address)).cloned().collect();
        for address in outdated {
            tracing::info!("an address of this node is not seen any more: it is withdrawn");
            self.swarm.remove_external_address(&address);
            if self.observed.withdrawn.len() >= WITHDRAWN_MAX {
                self.observed.withdrawn.remove(0);
            }
            self.observed.withdrawn.push(address.clone());
            self.show();
            self.emit(Event::ListeningEnded(with_name(address, name)));
        }
        let observed = &mut self.observed;
        let back: Vec<Multiaddr> = observed.withdrawn.iter().filter(|address| observed.is_back(address)).cloned().collect();
        observed.withdrawn.retain(|address| !back.contains(address));
        for address in back {
            self.swarm.add_external_address(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen_as(views: &[&str]) -> Observed {
        let mut observed = Observed::default();
        for view in views {
            observed.by.insert(PeerId::random(), view.parse().unwrap());
        }
        observed
    }

    #[test]
    fn an_address_goes_when_three_see_another_and_nobody_sees_it() {
        let old: Multiaddr = "/ip4/203.0.113.7/tcp/4725".parse().unwrap();
        assert!(!seen_as(&[]).is_outdated(&old));
        assert!(!seen_as(&["198.51.100.1", "198.51.100.1"]).is_outdated(&old));
        assert!(seen_as(&["198.51.100.1", "198.51.100.1", "198.51.100.1"]).is_outdated(&old));
        assert!(!seen_as(&["198.51.100.1", "198.51.100.1", "198.51.100.1", "203.0.113.7"]).is_outdated(&old));
        assert!(!seen_as(&["2001:db8::1", "2001:db8::1", "2001:db8::1"]).is_outdated(&old), "another family says nothing");
        let mut configured = seen_as(&["198.51.100.1", "198.51.100.1", "198.51.100.1"]);
        configured.fixed.insert(old.clone());
        assert!(!configured.is_outdated(&old), "a person knows better");
        assert!(seen_as(&["203.0.113.7", "203.0.113.7", "203.0.113.7"]).is_back(&old));
    }
}
