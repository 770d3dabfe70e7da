//! Nodes near a key of the directory that can do something: found by the directory, connected to, and asked by their greeting.

use std::collections::BTreeMap;
use std::time::Duration;

use kith_protocol::ids::Op;
use libp2p::PeerId;
use libp2p::kad::{PeerInfo, QueryId};
use tokio::time::Instant;

use super::Driver;
use crate::names;
use crate::service::Event;

/// Searches at a time.
const SEARCHES_MAX: usize = 32;
/// Nodes that are looked at.
const PEERS_MAX: usize = 20;
/// How long their greetings may take.
const GREETINGS: Duration = Duration::from_secs(6);
/// How long the directory may take.
const QUESTION: Duration = Duration::from_secs(30);

/// One search.
#[derive(Debug)]
struct Search {
    features: u64,
    question: Option<QueryId>,
    peers: Vec<PeerId>,
    until: Instant,
}

/// All searches.
#[derive(Debug, Default)]
pub(super) struct Closest {
    searches: BTreeMap<Op, Search>,
}

impl Driver {
    /// Serves [`crate::Command::Closest`].
    pub(super) fn find_closest(&mut self, op: Op, key: Vec<u8>, features: u64) {
        if self.closest.searches.len() >= SEARCHES_MAX {
            return self.emit(Event::Closest { op, peers: Vec::new() });
        }
        let question = self.swarm.behaviour_mut().kad.get_closest_peers(key);
        let search = Search { features, question: Some(question), peers: Vec::new(), until: Instant::now() + QUESTION };
        self.closest.searches.insert(op, search);
    }

    /// The directory answered. False if that was not a question of a search.
    pub(super) fn closest_found(&mut self, id: QueryId, peers: &[PeerInfo]) -> bool {
        let Some((op, _)) = self.closest.searches.iter().find(|(_, search)| search.question == Some(id)) else { return false };
        let op = *op;
        let own = *self.swarm.local_peer_id();
        let mut near = Vec::new();
        for info in peers.iter().filter(|info| info.peer_id != own).take(PEERS_MAX) {
            near.push(info.peer_id);
            if !self.peers.is_up(&info.peer_id) {
                self.book.add(info.peer_id, info.addrs.iter().cloned());
                self.dial(info.peer_id);
            }
        }
        if let Some(search) = self.closest.searches.get_mut(&op) {
            (search.question, search.peers, search.until) = (None, near, Instant::now() + GREETINGS);
        }
        self.closest_in_time(Instant::now());
        true
    }

    /// Ends the searches whose peers have all greeted, or had the time to.
    pub(super) fn closest_in_time(&mut self, now: Instant) {
        let peers = &self.peers;
        let over = |search: &Search| {
            search.until <= now || search.question.is_none() && search.peers.iter().all(|peer| peers.is_up(peer))
        };
        let ended: Vec<Op> = self.closest.searches.iter().filter(|(_, search)| over(search)).map(|(op, _)| *op).collect();
        for op in ended {
            let Some(search) = self.closest.searches.remove(&op) else { continue };
            let able = |peer: &&PeerId| self.peers.is_up(peer) && self.peers.features(peer) & search.features == search.features;
            // The closest first, but before them whoever was there more often.
            let mut able: Vec<&PeerId> = search.peers.iter().filter(able).collect();
            able.sort_by_key(|peer| std::cmp::Reverse(self.book.steadiness(peer)));
            let peers = able.into_iter().filter_map(names::from_libp2p).collect();
            self.emit(Event::Closest { op, peers });
        }
    }
}
