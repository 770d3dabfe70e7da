//! Nodes near keys of the directory that can do something: found by the directory, connected to, and asked by their greeting.

use std::collections::BTreeMap;
use std::time::Duration;

use kith_protocol::ids::Op;
use libp2p::PeerId;
use libp2p::kad::{PeerInfo, QueryId};
use tokio::time::Instant;

use super::Driver;
use crate::names;
use crate::service::{CLOSEST_KEYS_MAX, Event};

/// Searches at a time.
const SEARCHES_MAX: usize = 32;
/// Nodes that are looked at near each key.
const PEERS_MAX: usize = 20;
/// How long their greetings may take, once the directory has answered for all keys.
const GREETINGS: Duration = Duration::from_secs(6);
/// How long the directory may take for the first key that it answers for.
const QUESTION: Duration = Duration::from_secs(30);
/// And for the next one after each: what was found for one key does not wait long for another.
const NEXT: Duration = Duration::from_secs(10);

/// What was found near one key. `Q` names a question to the directory.
#[derive(Debug)]
struct Near<Q> {
    /// While it is open.
    question: Option<Q>,
    peers: Vec<PeerId>,
}

/// One search.
#[derive(Debug)]
struct Search<Q = QueryId> {
    features: u64,
    /// In the order of the keys.
    near: Vec<Near<Q>>,
    until: Instant,
}

impl<Q: PartialEq> Search<Q> {
    fn new(features: u64, questions: impl IntoIterator<Item = Q>, now: Instant) -> Self {
        let near = questions.into_iter().map(|question| Near { question: Some(question), peers: Vec::new() }).collect();
        Self { features, near, until: now + QUESTION }
    }

    fn asks(&self, question: &Q) -> bool {
        self.near.iter().any(|near| near.question.as_ref() == Some(question))
    }

    /// The directory answered one of its questions.
    fn answered(&mut self, question: &Q, peers: Vec<PeerId>, now: Instant) {
        let Some(near) = self.near.iter_mut().find(|near| near.question.as_ref() == Some(question)) else { return };
        (near.question, near.peers) = (None, peers);
        let open = self.near.iter().any(|near| near.question.is_some());
        self.until = now + if open { NEXT } else { GREETINGS };
    }

    /// Everybody who was found has greeted, or had the time to; keys that the directory is slow for are not waited for.
    fn is_over(&self, now: Instant, is_up: impl Fn(&PeerId) -> bool) -> bool {
        self.until <= now || self.near.iter().all(|near| near.question.is_none() && near.peers.iter().all(&is_up))
    }
}

/// All searches.
#[derive(Debug, Default)]
pub(super) struct Closest {
    searches: BTreeMap<Op, Search>,
}

impl Driver {
    /// Serves [`crate::Command::Closest`].
    pub(super) fn find_closest(&mut self, op: Op, keys: Vec<Vec<u8>>, features: u64) {
        if keys.is_empty() || keys.len() > CLOSEST_KEYS_MAX || self.closest.searches.len() >= SEARCHES_MAX {
            let peers = vec![Vec::new(); keys.len().min(CLOSEST_KEYS_MAX)];
            return self.emit(Event::Closest { op, peers });
        }
        let kad = &mut self.swarm.behaviour_mut().kad;
        let questions: Vec<QueryId> = keys.into_iter().map(|key| kad.get_closest_peers(key)).collect();
        self.closest.searches.insert(op, Search::new(features, questions, Instant::now()));
    }

    /// The directory answered. False if that was not a question of a search.
    pub(super) fn closest_found(&mut self, id: QueryId, peers: &[PeerInfo]) -> bool {
        let Some((op, _)) = self.closest.searches.iter().find(|(_, search)| search.asks(&id)) else { return false };
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
        let now = Instant::now();
        if let Some(search) = self.closest.searches.get_mut(&op) {
            search.answered(&id, near, now);
        }
        self.closest_in_time(now);
        true
    }

    /// Ends the searches whose peers have all greeted, or had the time to.
    pub(super) fn closest_in_time(&mut self, now: Instant) {
        let peers = &self.peers;
        let over = |search: &Search| search.is_over(now, |peer| peers.is_up(peer));
        let ended: Vec<Op> = self.closest.searches.iter().filter(|(_, search)| over(search)).map(|(op, _)| *op).collect();
        for op in ended {
            let Some(search) = self.closest.searches.remove(&op) else { continue };
            for late in search.near.iter().filter_map(|near| near.question) {
                // Nobody listens to its answer any more.
                if let Some(mut query) = self.swarm.behaviour_mut().kad.query_mut(&late) {
                    query.finish();
                }
            }
            let able = |peer: &&PeerId| self.peers.is_up(peer) && self.peers.features(peer) & search.features == search.features;
            let found = |near: &Near<QueryId>| {
                // The closest first, but before them whoever was there more often.
                let mut able: Vec<&PeerId> = near.peers.iter().filter(able).collect();
                able.sort_by_key(|peer| std::cmp::Reverse(self.book.steadiness(peer)));
                able.into_iter().filter_map(names::from_libp2p).collect()
            };
            let peers = search.near.iter().map(found).collect();
            self.emit(Event::Closest { op, peers });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_never_answered_for_does_not_spoil_the_others() {
        let (now, peers) = (Instant::now(), [PeerId::random(), PeerId::random()]);
        let mut search = Search::new(0, [1, 2, 3], now);
        assert!([1, 2, 3].iter().all(|question| search.asks(question)) && !search.asks(&4));
        search.answered(&3, vec![peers[1]], now + Duration::from_secs(1));
        search.answered(&1, vec![peers[0]], now + Duration::from_secs(2));
        assert!(!search.asks(&1), "it is answered once");
        search.answered(&1, Vec::new(), now + Duration::from_secs(3));
        let late = now + Duration::from_secs(2) + NEXT;
        assert!(!search.is_over(late - Duration::from_millis(1), |_| true));
        assert!(search.is_over(late, |_| false));
        let found: Vec<&[PeerId]> = search.near.iter().map(|near| &near.peers[..]).collect();
        assert_eq!(found, [&peers[..1], &[], &peers[1..]]);
    }

    #[test]
    fn a_search_without_any_answer_ends() {
        let now = Instant::now();
        let search = Search::new(0, [1, 2], now);
        assert!(!search.is_over(now + QUESTION - Duration::from_millis(1), |_| true));
        assert!(search.is_over(now + QUESTION, |_| true));
    }

    #[test]
    fn whoever_was_found_last_has_the_time_to_greet() {
        let (now, peers) = (Instant::now(), [PeerId::random(), PeerId::random()]);
        let mut search = Search::new(0, [1, 2], now);
        search.answered(&1, vec![peers[0]], now);
        let second = now + NEXT - Duration::from_secs(1);
        search.answered(&2, vec![peers[1]], second);
        assert!(!search.is_over(now + NEXT, |peer| *peer == peers[0]));
        assert!(search.is_over(now + NEXT, |_| true), "all have greeted");
        assert!(search.is_over(second + GREETINGS, |_| false));
    }
}
