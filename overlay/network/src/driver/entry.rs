//! Entering the overlay and staying in it: bootstrap entries, peers from before, peers of the LAN.

use std::collections::BTreeMap;
use std::time::Duration;

use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};
use tokio::time::Instant;

use super::Driver;
use crate::names;

/// Entries of the configuration that are used.
const ENTRIES_MAX: usize = 64;
/// Peers from before that are tried at a time.
const OLD_PEERS: usize = 8;
/// As long as there are fewer peers than this, peers from before are tried too.
const FEW_PEERS: usize = 4;
/// Peers of the LAN that are connected to without being asked.
const LAN_PEERS_MAX: usize = 32;
/// The first pause between attempts while there is no peer; it doubles.
const PAUSE_MIN: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(10 * 60);

/// How the overlay is entered.
#[derive(Debug)]
pub(super) struct Entry {
    /// Addresses with the names of their nodes, when they are known.
    entries: BTreeMap<Multiaddr, Option<PeerId>>,
    next: Instant,
    pause: Duration,
}

impl Entry {
    pub(super) fn new(bootstrap: Vec<Multiaddr>, now: Instant) -> Self {
        Self { entries: bootstrap.into_iter().map(names::split_peer).take(ENTRIES_MAX).collect(), next: now, pause: PAUSE_MIN }
    }

    /// A node answered at this address: an entry without a name learns it.
    pub(super) fn reached(&mut self, address: &Multiaddr, peer: PeerId) {
        let (address, _) = names::split_peer(address.clone());
        if let Some(name) = self.entries.get_mut(&address) {
            name.get_or_insert(peer);
        }
    }

    /// There is a peer.
    pub(super) fn succeeded(&mut self) {
        self.pause = PAUSE_MIN;
    }

    /// What failed before may work now.
    pub(super) fn start_over(&mut self, now: Instant) {
        self.pause = PAUSE_MIN;
        self.next = now;
    }
}

impl Driver {
    /// Tries to enter while nobody is there.
    pub(super) fn enter_in_time(&mut self, now: Instant) {
        if now >= self.entry.next && self.peers.up().next().is_none() {
            self.enter(now);
        }
    }

    /// Dials the bootstrap entries, and peers from before while there are few.
    pub(super) fn enter(&mut self, now: Instant) {
        self.entry.next = now + self.entry.pause;
        self.entry.pause = (self.entry.pause * 2).min(PAUSE_MAX);
        let entries: Vec<_> = self.entry.entries.iter().map(|(address, peer)| (address.clone(), *peer)).collect();
        for (address, peer) in entries {
            let dial = match peer {
                Some(peer) if self.peers.is_connected(&peer) || peer == *self.swarm.local_peer_id() => continue,
                Some(peer) => {
                    DialOpts::peer_id(peer).condition(PeerCondition::DisconnectedAndNotDialing).addresses(vec![address]).build()
                }
                None => DialOpts::unknown_peer_id().address(address).build(),
            };
            if let Err(error) = self.swarm.dial(dial) {
                tracing::debug!(%error, "a bootstrap entry is not dialled");
            }
        }
        if self.peers.up().count() < FEW_PEERS {
            let old = self.book.good(OLD_PEERS, |peer| self.peers.is_connected(peer));
            for peer in old {
                self.dial(peer);
            }
        }
        self.refresh_soon(now);
    }

    /// Nodes of the LAN showed themselves.
    pub(super) fn discovered(&mut self, found: Vec<(PeerId, Multiaddr)>) {
        for (peer, address) in found {
            self.book.add(peer, [address]);
            if !self.peers.is_connected(&peer) && self.peers.all().count() < LAN_PEERS_MAX {
                self.dial(peer);
            }
        }
    }
}
