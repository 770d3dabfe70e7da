//! Where peers were found before: bounded, and the good ones kept on disk between runs.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use libp2p::{Multiaddr, PeerId};
use serde::{Deserialize, Serialize};

use crate::names;

/// Peers in memory.
const PEERS_MAX: usize = 1000;
/// Peers on disk.
const SAVED_MAX: usize = 200;
/// Addresses of one peer.
const ADDRESSES_MAX: usize = 8;
/// Failures in a row after which a peer that was never reached is forgotten.
const FAILURES_MAX: u32 = 5;
/// How often it is counted at most whether a peer was there, in seconds.
const PERIOD_S: u64 = 600;
/// So many counts are halved.
const WANTED_MAX: u32 = 64;
/// Bytes of the file that are read, at most.
const FILE_BYTES_MAX: u64 = 1 << 20;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Known {
    /// Best first.
    addresses: Vec<Multiaddr>,
    /// When it was last reached, in seconds since 1970; zero: never.
    reached: u64,
    failures: u32,
    /// How often it was there when it was wanted, and how often it was wanted: once a period each, older ones count less.
    there: u32,
    wanted: u32,
    /// When that was counted last, in seconds since 1970.
    counted: u64,
}

impl Known {
    fn count(&mut self, there: bool, now: u64) {
        if now.saturating_sub(self.counted) < PERIOD_S {
            return;
        }
        self.counted = now;
        if self.wanted >= WANTED_MAX {
            (self.there, self.wanted) = (self.there / 2, self.wanted / 2);
        }
        self.wanted += 1;
        self.there += u32::from(there);
    }
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Saved {
    peer: String,
    addresses: Vec<String>,
    reached: u64,
    #[serde(default)]
    there: u32,
    #[serde(default)]
    wanted: u32,
}

/// The addresses of peers.
#[derive(Debug, Default)]
pub(crate) struct AddressBook {
    peers: BTreeMap<PeerId, Known>,
}

impl AddressBook {
    /// Remembers addresses that somebody told.
    pub(crate) fn add(&mut self, peer: PeerId, addresses: impl IntoIterator<Item = Multiaddr>) {
        if !self.peers.contains_key(&peer) && self.peers.len() >= PEERS_MAX {
            self.forget_worst();
        }
        let known = self.peers.entry(peer).or_default();
        for address in addresses.into_iter().take(ADDRESSES_MAX) {
            let (address, _) = names::split_peer(address);
            if (names::is_dialable(&address) || names::is_circuit(&address)) && !known.addresses.contains(&address) {
                // The first stays: it is the one that worked.
                if known.addresses.len() >= ADDRESSES_MAX {
                    known.addresses.remove(1);
                }
                known.addresses.push(address);
            }
        }
    }

    /// The peer was reached here.
    pub(crate) fn reached(&mut self, peer: PeerId, address: Multiaddr, now: u64) {
        self.add(peer, []);
        let (address, _) = names::split_peer(address);
        let Some(known) = self.peers.get_mut(&peer) else { return };
        known.addresses.retain(|other| *other != address);
        known.addresses.insert(0, address);
        known.addresses.truncate(ADDRESSES_MAX);
        known.count(true, now);
        known.reached = now;
        known.failures = 0;
    }

    /// The peer was not reached. Gives how often in a row.
    pub(crate) fn failed(&mut self, peer: PeerId, now: u64) -> u32 {
        let Some(known) = self.peers.get_mut(&peer) else { return 1 };
        known.count(false, now);
        known.failures += 1;
        let failures = known.failures;
        if failures >= FAILURES_MAX && known.reached == 0 {
            self.peers.remove(&peer);
        }
        failures
    }

    /// How likely the peer is to be there, in tenths, as far as this node has seen; 5 for whom it knows nothing of.
    pub(crate) fn steadiness(&self, peer: &PeerId) -> u32 {
        let (there, wanted) = self.peers.get(peer).map_or((0, 0), |known| (known.there, known.wanted));
        (there + 1) * 10 / (wanted + 2)
    }

    /// Where to try the peer.
    pub(crate) fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        self.peers.get(peer).map(|known| known.addresses.clone()).unwrap_or_default()
    }

    /// Peers that were reached before and are not `connected`, last reached first, at most two of a neighbourhood.
    pub(crate) fn good(&self, count: usize, connected: impl Fn(&PeerId) -> bool) -> Vec<PeerId> {
        let mut good: Vec<_> = self.peers.iter().filter(|(peer, known)| known.reached > 0 && !connected(peer)).collect();
        good.sort_by_key(|(_, known)| (known.failures, std::cmp::Reverse(known.reached)));
        let mut neighbours: BTreeMap<[u8; 5], usize> = BTreeMap::new();
        let diverse = good.into_iter().filter(|(_, known)| {
            let Some(place) = known.addresses.first().and_then(names::neighbourhood) else { return true };
            let count = neighbours.entry(place).or_default();
            *count += 1;
            *count <= 2
        });
        diverse.map(|(peer, _)| *peer).take(count).collect()
    }

    fn forget_worst(&mut self) {
        let worst =
            self.peers.iter().min_by_key(|(_, known)| (known.reached, std::cmp::Reverse(known.failures))).map(|(peer, _)| *peer);
        if let Some(peer) = worst {
            self.peers.remove(&peer);
        }
    }

    /// Reads the file; one that is missing or damaged is an empty one. Blocking.
    pub(crate) fn load(path: &Path) -> Self {
        let mut book = Self::default();
        let saved: Vec<Saved> = match read(path) {
            Ok(saved) => saved,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(%error, "the file of known peers cannot be read; it is written anew");
                }
                return book;
            }
        };
        for line in saved.into_iter().take(SAVED_MAX) {
            let Ok(peer) = line.peer.parse::<PeerId>() else { continue };
            book.add(peer, line.addresses.iter().filter_map(|text| names::address_of(&peer, text)));
            if let Some(known) = book.peers.get_mut(&peer) {
                known.reached = line.reached;
                known.wanted = line.wanted.min(WANTED_MAX);
                known.there = line.there.min(known.wanted);
            }
        }
        book
    }

    /// What [`AddressBook::save`] writes.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let good = self.good(SAVED_MAX, |_| false).into_iter().filter_map(|peer| {
            let known = self.peers.get(&peer)?;
            let addresses = known.addresses.iter().map(Multiaddr::to_string).collect();
            let Known { reached, there, wanted, .. } = *known;
            Some(Saved { peer: peer.to_base58(), addresses, reached, there, wanted })
        });
        serde_json::to_vec_pretty(&good.collect::<Vec<_>>()).unwrap_or_default()
    }

    /// Replaces the file. Blocking.
    pub(crate) fn save(path: &Path, json: &[u8]) -> io::Result<()> {
        let new = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        io::Write::write_all(&mut file, json)?;
        std::fs::rename(new, path)
    }
}

fn read(path: &Path) -> io::Result<Vec<Saved>> {
    let file = std::fs::File::open(path)?;
    serde_json::from_reader(io::Read::take(file, FILE_BYTES_MAX)).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn good_peers_survive_a_restart_and_the_rest_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers.json");
        let (good, heard) = (PeerId::random(), PeerId::random());
        let mut book = AddressBook::default();
        book.add(heard, [address("/ip4/10.0.0.1/tcp/1")]);
        book.add(good, [address("/ip4/10.0.0.2/tcp/1")]);
        book.reached(good, address("/ip4/10.0.0.2/tcp/2"), 7);
        AddressBook::save(&path, &book.to_json()).unwrap();
        let again = AddressBook::load(&path);
        assert_eq!(again.addresses(&good), [address("/ip4/10.0.0.2/tcp/2"), address("/ip4/10.0.0.2/tcp/1")]);
        assert!(again.addresses(&heard).is_empty());
    }

    #[test]
    fn who_was_there_more_often_is_steadier_and_that_survives_a_restart() {
        let (steady, shaky, unknown) = (PeerId::random(), PeerId::random(), PeerId::random());
        let mut book = AddressBook::default();
        for round in 1..40 {
            book.reached(steady, address("/ip4/10.0.0.2/tcp/1"), round * PERIOD_S);
            book.reached(shaky, address("/ip4/10.0.0.3/tcp/1"), round * 3 * PERIOD_S);
            book.failed(shaky, (round * 3 + 1) * PERIOD_S);
            book.failed(shaky, (round * 3 + 2) * PERIOD_S);
        }
        for _ in 0..100 {
            // Many tries in a row say no more than one.
            book.failed(steady, 39 * PERIOD_S + 1);
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers.json");
        AddressBook::save(&path, &book.to_json()).unwrap();
        for book in [book, AddressBook::load(&path)] {
            assert_eq!((book.steadiness(&steady), book.steadiness(&unknown)), (9, 5));
            assert!((2..=4).contains(&book.steadiness(&shaky)), "{}", book.steadiness(&shaky));
        }
    }

    #[test]
    fn damaged_file_is_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers.json");
        std::fs::write(&path, b"[{").unwrap();
        assert!(AddressBook::load(&path).peers.is_empty());
    }

    #[test]
    fn book_is_bounded_and_forgets_strangers_first() {
        let mut book = AddressBook::default();
        let good = PeerId::random();
        book.reached(good, address("/ip4/10.0.0.2/tcp/2"), 7);
        for _ in 0..PEERS_MAX + 10 {
            book.add(PeerId::random(), [address("/ip4/10.0.0.1/tcp/1")]);
        }
        assert_eq!(book.peers.len(), PEERS_MAX);
        assert!(!book.addresses(&good).is_empty());
    }

    #[test]
    fn one_neighbourhood_gives_two_peers_at_most() {
        let mut book = AddressBook::default();
        for last in 1..6 {
            book.reached(PeerId::random(), address(&format!("/ip4/9.9.0.{last}/tcp/1")), 7);
        }
        assert_eq!(book.good(10, |_| false).len(), 2);
    }
}
