//! Twenty nodes that stand around one place of a record and tell what is out of date: strangers find the newest all the same.

use kith_network::{Command, Event};
use kith_protocol::account::AccountKeys;
use kith_protocol::card::Policy;
use kith_protocol::event::Wall;
use kith_protocol::record::Record;
use libp2p::identity::Keypair;
use libp2p::kad::{KBucketDistance, KBucketKey, RecordKey};

use crate::support::{Node, join};

const SYBILS: usize = 20;
const HONEST: u8 = 12;
/// Keys that are tried for those closest to the record.
const TRIED: u32 = 5_000;

/// Secret keys of nodes that are closer to this record key than anybody honest is.
fn closest_keys(key: &[u8]) -> Vec<[u8; 32]> {
    let mut seeds: Vec<_> = (0..TRIED)
        .map(|number| {
            let seed = *blake3::hash(&number.to_le_bytes()).as_bytes();
            (distance(seed, key), seed)
        })
        .collect();
    seeds.sort();
    seeds.into_iter().take(SYBILS).map(|(_, seed)| seed).collect()
}

fn distance(seed: [u8; 32], key: &[u8]) -> KBucketDistance {
    let peer = Keypair::ed25519_from_bytes(seed).unwrap().public().to_peer_id();
    KBucketKey::from(peer).distance(&KBucketKey::new(RecordKey::new(&key)))
}

/// Whether the record's other place is one of its own. All who stand around the one are about equally far from the other; in a network as small as this
/// one they may happen to be closest there too, in a large one hardly.
fn stands_apart(record: &Record) -> bool {
    let sybils = closest_keys(&record.keys[0]).into_iter().map(|seed| distance(seed, &record.keys[1])).min();
    let closer = (1..=HONEST).filter(|seed| Some(distance([*seed; 32], &record.keys[1])) < sybils);
    closer.count() >= 3
}

fn records() -> (Record, Record) {
    loop {
        let both = of_somebody();
        if stands_apart(&both.1) {
            return both;
        }
    }
}

fn of_somebody() -> (Record, Record) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    let mut account = AccountKeys::create(Wall(now - 100_000), &mut rand::rng()).unwrap().1;
    let mut record = |wall| {
        let card = account.card(&[], Policy::default(), None, wall).unwrap().public;
        account.records(&card, wall, &mut rand::rng()).unwrap().remove(0)
    };
    (record(Wall(now - 60_000)), record(Wall(now)))
}

async fn publish(node: &mut Node, record: &Record) {
    let op = node.op();
    let records = record.keys.iter().map(|key| (key.clone(), record.value.clone())).collect();
    node.send(Command::Publish { op, records }).await;
    node.wait("publication", |event| matches!(event, Event::Published { op: of, .. } if of == op).then_some(())).await;
}

#[tokio::test]
async fn who_surrounds_one_place_of_a_record_neither_hides_nor_rolls_it_back() {
    let (old, new) = records();
    let mut sybils = Vec::new();
    for seed in closest_keys(&new.keys[0]) {
        let mut sybil = Node::start_with(0, |config| {
            config.key_seed = zeroize::Zeroizing::new(seed);
            config.limits.records_per_minute = 0;
        })
        .await;
        // Alone, it keeps a copy of its own, and takes no other one from anybody.
        publish(&mut sybil, &old).await;
        sybils.push(sybil);
    }
    let mut honest = Vec::new();
    for seed in 1..=HONEST {
        honest.push(Node::start(seed).await);
    }
    let mut others = honest.split_off(1);
    let hub = &mut honest[0];
    for node in others.iter_mut().chain(&mut sybils) {
        join(node, hub).await;
    }
    let (publisher, rest) = others.split_first_mut().unwrap();
    let seeker = &mut rest[0];
    for node in [&*publisher, &*seeker] {
        node.status("a table", |status| status.routing_table >= SYBILS).await;
    }
    publish(publisher, &new).await;
    let op = seeker.op();
    seeker.send(Command::Lookup { op, keys: new.keys.to_vec() }).await;
    let found = seeker
        .wait("answer", |event| match event {
            Event::Found { op: of, values } if of == op => Some(values),
            _ => None,
        })
        .await;
    assert!(found.first().is_some_and(|value| *value == new.value), "the newest comes first");
}
