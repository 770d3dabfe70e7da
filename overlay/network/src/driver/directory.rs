//! The directory: records are published, read back, looked up, and kept for others.
//!
//! A "stored" that a peer sends proves nothing (it is sent whatever the peer does with the record), so holders are counted by reading back. A
//! look-up does not stop at the first hit: it asks for every key, keeps what [`check_stored`] lets pass, and ends when nobody is left to ask, after 20
//! seconds, or 3 seconds after three peers agreed: whoever stands around a key can put forward three that agree on what is out of date, and must not
//! be able to end the question with it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kith_protocol::event::Wall;
use kith_protocol::ids::Op;
use kith_protocol::limits::RECORD_BYTES_MAX;
use kith_protocol::record::{StoredRecord, check_stored};
use libp2p::PeerId;
use libp2p::kad::store::{Error as StoreError, RecordStore};
use libp2p::kad::{
    self, GetClosestPeersError, GetClosestPeersOk, GetRecordOk, InboundRequest, KBucketKey, PeerInfo, PeerRecord, QueryId,
    QueryResult, Quorum, Record, RecordKey,
};
use rand::RngExt;
use tokio::time::Instant;

use super::Driver;
use crate::service::Event;
use crate::swarm::RECORD_TTL;

/// Questions open at a time.
const QUESTIONS_MAX: usize = 8;
/// Questions that wait for their turn.
const JOBS_MAX: usize = 1024;
/// Keys of one look-up.
const KEYS_MAX: usize = 8;
/// Bytes of a key.
const KEY_BYTES_MAX: usize = 64;
/// Records that one look-up gives.
const VALUES_MAX: usize = 16;
/// Distinct records of one key that are looked at.
const CANDIDATES_MAX: usize = 16;
/// When so many peers agree on the newest record, the others have [`LAST_WORD`] to tell of a newer one.
const AGREEING: usize = 3;
const LAST_WORD: Duration = Duration::from_secs(3);
/// The table is refreshed this often, give or take [`REFRESH_JITTER`].
const REFRESH: Duration = Duration::from_secs(60 * 60);
const REFRESH_JITTER: Duration = Duration::from_secs(10 * 60);
/// A new peer in a small table refreshes it after this time, but not more often than [`REFRESH_PAUSE`].
const REFRESH_SOON: Duration = Duration::from_secs(1);
const REFRESH_PAUSE: Duration = Duration::from_secs(30);
/// Peers from which on a table is not small.
const SMALL_TABLE: usize = 20;
/// Peers whose rate of records is counted.
const RATES_MAX: usize = 1024;

/// One question to be asked.
#[derive(Debug)]
enum Job {
    Put { op: Op, key: RecordKey, value: Vec<u8> },
    Get { op: Op, key: RecordKey },
}

/// A question that is open.
#[derive(Debug)]
enum Question {
    /// Who is closest to the key?
    Closest {
        op: Op,
        key: RecordKey,
        value: Vec<u8>,
    },
    /// Will you keep this? Asked of so many.
    Put {
        op: Op,
        key: RecordKey,
        value: Vec<u8>,
        asked: usize,
    },
    /// Who has it now?
    ReadBack {
        op: Op,
        value: Vec<u8>,
        asked: usize,
        holders: BTreeSet<PeerId>,
    },
    Get {
        op: Op,
        key: RecordKey,
        candidates: Vec<Candidate>,
        agreed: Option<Instant>,
    },
}

/// A record that was found.
#[derive(Debug)]
struct Candidate {
    value: Vec<u8>,
    stored: StoredRecord,
    holders: BTreeSet<PeerId>,
}

#[derive(Debug)]
struct Publishing {
    left: usize,
    fewest: Option<usize>,
}

#[derive(Debug, Default)]
struct Lookup {
    left: usize,
    found: Vec<(StoredRecord, Vec<u8>)>,
}

/// Everything asked, and when the table is refreshed.
#[derive(Debug)]
pub(super) struct Directory {
    jobs: VecDeque<Job>,
    questions: HashMap<QueryId, Question>,
    publishing: BTreeMap<Op, Publishing>,
    lookups: BTreeMap<Op, Lookup>,
    /// Records that a peer stored here in this minute.
    rates: BTreeMap<PeerId, u32>,
    minute: Instant,
    refresh: Instant,
    refreshed: Option<Instant>,
}

impl Directory {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            jobs: VecDeque::new(),
            questions: HashMap::new(),
            publishing: BTreeMap::new(),
            lookups: BTreeMap::new(),
            rates: BTreeMap::new(),
            minute: now,
            refresh: now + REFRESH,
            refreshed: None,
        }
    }
}

impl Driver {
    /// Serves [`crate::Command::Publish`].
    pub(super) fn publish(&mut self, op: Op, records: Vec<(Vec<u8>, Vec<u8>)>) {
        let fits = |(key, value): &(Vec<u8>, Vec<u8>)| key.len() <= KEY_BYTES_MAX && value.len() <= RECORD_BYTES_MAX;
        if records.is_empty() || !records.iter().all(fits) || self.directory.jobs.len() + records.len() > JOBS_MAX {
            return self.emit(Event::Published { op, holders: 0 });
        }
        self.directory.publishing.insert(op, Publishing { left: records.len(), fewest: None });
        for (key, value) in records {
            let key = RecordKey::from(key);
            // We serve our own copy as well, whoever is closest to the key.
            self.keep_record(Record {
                key: key.clone(),
                value: value.clone(),
                publisher: None,
                expires: Some(std::time::Instant::now() + RECORD_TTL),
            });
            self.directory.jobs.push_back(Job::Put { op, key, value });
        }
        self.ask();
    }

    /// Serves [`crate::Command::Lookup`].
    pub(super) fn lookup(&mut self, op: Op, keys: Vec<Vec<u8>>) {
        let keys: Vec<_> = keys.into_iter().filter(|key| key.len() <= KEY_BYTES_MAX).take(KEYS_MAX).collect();
        if keys.is_empty() || self.directory.jobs.len() + keys.len() > JOBS_MAX {
            return self.emit(Event::Found { op, values: Vec::new() });
        }
        self.directory.lookups.insert(op, Lookup { left: keys.len(), found: Vec::new() });
        for key in keys {
            // Somebody waits for a look-up: it goes before what is being published.
            self.directory.jobs.push_front(Job::Get { op, key: RecordKey::from(key) });
        }
        self.ask();
    }

    /// Asks what may be asked.
    fn ask(&mut self) {
        while self.directory.questions.len() < QUESTIONS_MAX {
            let Some(job) = self.directory.jobs.pop_front() else { return };
            let kad = &mut self.swarm.behaviour_mut().kad;
            let (id, question) = match job {
                Job::Put { op, key, value } => (kad.get_closest_peers(key.to_vec()), Question::Closest { op, key, value }),
                Job::Get { op, key } => {
                    (kad.get_record(key.clone()), Question::Get { op, key, candidates: Vec::new(), agreed: None })
                }
            };
            self.directory.questions.insert(id, question);
        }
    }

    /// What libp2p's directory reports.
    pub(super) fn directory_event(&mut self, event: kad::Event) {
        match event {
            kad::Event::InboundRequest { request: InboundRequest::PutRecord { source, record: Some(record), .. } } => {
                self.store(source, record)
            }
            kad::Event::OutboundQueryProgressed { id, result, step, .. } => {
                match result {
                    QueryResult::GetClosestPeers(
                        Ok(GetClosestPeersOk { peers, .. }) | Err(GetClosestPeersError::Timeout { peers, .. }),
                    ) => {
                        self.closest(id, peers);
                    }
                    QueryResult::PutRecord(_) if step.last => self.put(id),
                    QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(found))) => {
                        self.found(id, found);
                        if step.last {
                            self.answered(id);
                        }
                    }
                    QueryResult::GetRecord(_) if step.last => self.answered(id),
                    _ => {}
                }
                self.ask();
            }
            _ => {}
        }
    }

    /// The closest peers to a key, or what is known of a peer that is being connected to.
    fn closest(&mut self, id: QueryId, peers: Vec<PeerInfo>) {
        if let Some(peer) = self.connecting.questioned(id) {
            let addresses = peers.into_iter().find(|info| info.peer_id == peer).map(|info| info.addrs).unwrap_or_default();
            return self.told(peer, addresses);
        }
        if self.closest_found(id, &peers) {
            return;
        }
        let Some(Question::Closest { op, key, value }) = self.directory.questions.remove(&id) else { return };
        let own = *self.swarm.local_peer_id();
        let peers: Vec<_> = peers.into_iter().map(|info| info.peer_id).filter(|peer| *peer != own).collect();
        if peers.is_empty() {
            return self.published(op, 0);
        }
        let asked = peers.len();
        let record = Record { key: key.clone(), value: value.clone(), publisher: None, expires: None };
        let id = self.swarm.behaviour_mut().kad.put_record_to(record, peers.into_iter(), Quorum::One);
        self.directory.questions.insert(id, Question::Put { op, key, value, asked });
    }

    /// The record was sent to all; now see who has it.
    fn put(&mut self, id: QueryId) {
        let Some(Question::Put { op, key, value, asked }) = self.directory.questions.remove(&id) else { return };
        let id = self.swarm.behaviour_mut().kad.get_record(key);
        self.directory.questions.insert(id, Question::ReadBack { op, value, asked, holders: BTreeSet::new() });
    }

    /// A record came for an open question.
    fn found(&mut self, id: QueryId, PeerRecord { peer, record }: PeerRecord) {
        let enough = match self.directory.questions.get_mut(&id) {
            Some(Question::ReadBack { value, asked, holders, .. }) => {
                if let Some(peer) = peer.filter(|_| record.value == *value) {
                    holders.insert(peer);
                }
                holders.len() >= *asked
            }
            Some(Question::Get { key, candidates, agreed, .. }) => {
                consider(candidates, key, record.value, peer);
                if newest(candidates).is_some_and(|candidate| candidate.holders.len() >= AGREEING) {
                    agreed.get_or_insert_with(Instant::now);
                }
                false
            }
            _ => false,
        };
        if enough && let Some(mut query) = self.swarm.behaviour_mut().kad.query_mut(&id) {
            query.finish();
        }
    }

    /// A question is answered as far as it will be.
    fn answered(&mut self, id: QueryId) {
        match self.directory.questions.remove(&id) {
            Some(Question::ReadBack { op, holders, .. }) => self.published(op, holders.len()),
            Some(Question::Get { op, key, candidates, .. }) => {
                self.write_back(&key, &candidates);
                let Some(lookup) = self.directory.lookups.get_mut(&op) else { return };
                lookup.found.extend(candidates.into_iter().map(|candidate| (candidate.stored, candidate.value)));
                lookup.left -= 1;
                if lookup.left == 0
                    && let Some(lookup) = self.directory.lookups.remove(&op)
                {
                    let values = best(lookup.found);
                    self.emit(Event::Found { op, values });
                }
            }
            _ => {}
        }
    }

    /// Gives the newest record to the peers that served an older one.
    fn write_back(&mut self, key: &RecordKey, candidates: &[Candidate]) {
        let Some(newest) = newest(candidates) else { return };
        let stale: BTreeSet<_> = candidates
            .iter()
            .filter(|other| other.value != newest.value)
            .flat_map(|other| other.holders.iter().copied())
            .collect();
        let stale: Vec<_> = stale.difference(&newest.holders).copied().collect();
        if !stale.is_empty() {
            let record = Record { key: key.clone(), value: newest.value.clone(), publisher: None, expires: None };
            self.swarm.behaviour_mut().kad.put_record_to(record, stale.into_iter(), Quorum::One);
        }
    }

    /// A record of a publication is through.
    fn published(&mut self, op: Op, holders: usize) {
        let Some(publishing) = self.directory.publishing.get_mut(&op) else { return };
        publishing.left -= 1;
        let fewest = publishing.fewest.map_or(holders, |fewest| fewest.min(holders));
        publishing.fewest = Some(fewest);
        if publishing.left == 0 {
            self.directory.publishing.remove(&op);
            self.emit(Event::Published { op, holders: u32::try_from(fewest).unwrap_or(u32::MAX) });
        }
    }

    /// A peer wants a record kept.
    fn store(&mut self, source: PeerId, record: Record) {
        let rates = &mut self.directory.rates;
        if rates.len() >= RATES_MAX && !rates.contains_key(&source) {
            return;
        }
        let rate = rates.entry(source).or_default();
        *rate += 1;
        if *rate > self.context.limits.records_per_minute {
            return;
        }
        let wall = wall();
        let held = self.swarm.behaviour_mut().kad.store_mut().get(&record.key).map(|held| held.value.clone());
        match check_stored(record.key.as_ref(), &record.value, wall, held.as_deref()) {
            Ok(stored) => {
                let valid = Duration::from_millis(u64::try_from(stored.expires.0.saturating_sub(wall.0)).unwrap_or(0));
                let expires = std::time::Instant::now() + valid.min(RECORD_TTL);
                self.keep_record(Record { publisher: None, expires: Some(expires), ..record });
            }
            Err(error) => tracing::debug!(peer = %source, %error, "a record is not kept"),
        }
    }

    /// Keeps a record; when there is no room, in place of the one that is farthest from us, if that is farther.
    fn keep_record(&mut self, record: Record) {
        let own = KBucketKey::from(*self.swarm.local_peer_id());
        let store = self.swarm.behaviour_mut().kad.store_mut();
        let Err(StoreError::MaxRecords) = store.put(record.clone()) else { return };
        let distance = |key: &RecordKey| own.distance(&KBucketKey::new(key.clone()));
        let farthest = store.records().map(|held| held.key.clone()).max_by_key(|key| distance(key));
        if let Some(farthest) = farthest.filter(|farthest| distance(farthest) > distance(&record.key)) {
            store.remove(&farthest);
            if let Err(error) = store.put(record) {
                tracing::debug!(%error, "a record is not kept");
            }
        }
    }

    /// The table has a new peer.
    pub(super) fn routed(&mut self) {
        if self.routing_table() < SMALL_TABLE {
            self.refresh_soon(Instant::now());
        }
    }

    /// Refreshes the table shortly, unless that was done just now.
    pub(super) fn refresh_soon(&mut self, now: Instant) {
        let earliest = self.directory.refreshed.map_or(now, |refreshed| refreshed + REFRESH_PAUSE);
        self.directory.refresh = self.directory.refresh.min((now + REFRESH_SOON).max(earliest));
    }

    /// Ends look-ups that have waited long enough, refreshes the table, drops expired records and begins a new minute when it is time.
    pub(super) fn directory_in_time(&mut self, now: Instant) {
        let over = |question: &Question| matches!(question, Question::Get { agreed: Some(at), .. } if now.duration_since(*at) >= LAST_WORD);
        let ended: Vec<QueryId> =
            self.directory.questions.iter().filter(|(_, question)| over(question)).map(|(id, _)| *id).collect();
        for id in ended {
            if let Some(mut query) = self.swarm.behaviour_mut().kad.query_mut(&id) {
                query.finish();
            }
        }
        if now >= self.directory.refresh {
            let jitter = rand::rng().random_range(Duration::ZERO..REFRESH_JITTER * 2);
            self.directory.refresh = now + REFRESH + jitter - REFRESH_JITTER;
            self.directory.refreshed = Some(now);
            // An error says only that the table is empty.
            self.swarm.behaviour_mut().kad.bootstrap().ok();
        }
        if now.duration_since(self.directory.minute) >= Duration::from_secs(60) {
            self.directory.minute = now;
            self.directory.rates.clear();
            let instant = std::time::Instant::now();
            self.swarm.behaviour_mut().kad.store_mut().retain(|_, record| !record.is_expired(instant));
        }
    }
}

/// Counts a value among the candidates, if it is a record.
fn consider(candidates: &mut Vec<Candidate>, key: &RecordKey, value: Vec<u8>, peer: Option<PeerId>) {
    if let Some(known) = candidates.iter_mut().find(|candidate| candidate.value == value) {
        known.holders.extend(peer);
    } else if candidates.len() < CANDIDATES_MAX
        && let Ok(stored) = check_stored(key.as_ref(), &value, wall(), None)
    {
        candidates.push(Candidate { value, stored, holders: peer.into_iter().collect() });
    }
}

fn newest(candidates: &[Candidate]) -> Option<&Candidate> {
    candidates.iter().max_by_key(|candidate| (candidate.stored.generation, candidate.stored.sequence))
}

/// Distinct values, newest first.
fn best(mut found: Vec<(StoredRecord, Vec<u8>)>) -> Vec<Vec<u8>> {
    found.sort_by_key(|(stored, _)| std::cmp::Reverse((stored.generation, stored.sequence)));
    let mut values: Vec<Vec<u8>> = Vec::new();
    for (_, value) in found {
        if values.len() < VALUES_MAX && !values.contains(&value) {
            values.push(value);
        }
    }
    values
}

fn wall() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
