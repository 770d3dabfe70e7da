//! Records are found through others, held by others, and only when they are good.

use std::time::{SystemTime, UNIX_EPOCH};

use kith_network::{Command, Event};
use kith_protocol::account::AccountKeys;
use kith_protocol::card::Policy;
use kith_protocol::event::Wall;
use kith_protocol::record::{Record, best};

use crate::support::{Node, join};

fn wall(seconds: i64) -> Wall {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Wall(now.as_millis() as i64 + seconds * 1000)
}

fn account() -> AccountKeys {
    AccountKeys::create(wall(-100), &mut rand::rng()).unwrap().1
}

/// The record of this week, as of some seconds from now.
fn record(account: &mut AccountKeys, seconds: i64) -> Record {
    let card = account.card(&[], Policy::default(), None, wall(seconds)).unwrap().public;
    account.records(&card, wall(seconds), &mut rand::rng()).unwrap().remove(0)
}

async fn publish(node: &mut Node, record: &Record) -> u32 {
    let op = node.op();
    let records = record.keys.iter().map(|key| (key.clone(), record.value.clone())).collect();
    node.send(Command::Publish { op, records }).await;
    node.wait("publication", |event| match event {
        Event::Published { op: of, holders } if of == op => Some(holders),
        _ => None,
    })
    .await
}

async fn lookup(node: &mut Node, keys: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let op = node.op();
    node.send(Command::Lookup { op, keys: keys.to_vec() }).await;
    node.wait("answer", |event| match event {
        Event::Found { op: of, values } if of == op => Some(values),
        _ => None,
    })
    .await
}

/// A and C, who know nobody but B in the middle.
async fn line() -> (Node, Node, Node) {
    let (mut a, mut b, mut c) = (Node::start(1).await, Node::start(2).await, Node::start(3).await);
    join(&mut a, &mut b).await;
    join(&mut c, &mut b).await;
    for (node, peers) in [(&a, 1), (&b, 2), (&c, 1)] {
        node.status("routing", |status| status.routing_table >= peers).await;
    }
    (a, b, c)
}

#[tokio::test]
async fn record_is_found_through_another_node() {
    let (mut a, b, mut c) = line().await;
    let mut account = account();
    let record = record(&mut account, 0);
    assert!(publish(&mut a, &record).await >= 1);
    b.status("record at B", |status| status.records == 2).await;
    let found = lookup(&mut c, &record.keys).await;
    assert_eq!(found, [record.value]);
    assert_eq!(best(account.address(), found.iter().map(Vec::as_slice), wall(0)).unwrap().address(), account.address());
}

#[tokio::test]
async fn nothing_is_found_where_nothing_is_and_nobody_holds_for_a_lonely_node() {
    let mut alone = Node::start(1).await;
    let record = record(&mut account(), 0);
    assert_eq!(lookup(&mut alone, &record.keys).await, Vec::<Vec<u8>>::new());
    assert_eq!(publish(&mut alone, &record).await, 0);
    assert_eq!(lookup(&mut alone, &record.keys).await, [record.value]);
    assert_eq!(lookup(&mut alone, &[]).await, Vec::<Vec<u8>>::new());
}

#[tokio::test]
async fn forged_record_is_neither_kept_nor_believed() {
    let (mut a, b, mut c) = line().await;
    let mut record = record(&mut account(), 0);
    *record.value.last_mut().unwrap() ^= 1;
    assert_eq!(publish(&mut a, &record).await, 0);
    assert_eq!(b.handle.status().records, 0);
    // The forger itself serves it: C asks, hears it, and does not believe it.
    c.connect(a.peer, &a.addresses).await;
    c.up(a.peer).await;
    c.status("routing", |status| status.routing_table >= 2).await;
    assert_eq!(lookup(&mut c, &record.keys).await, Vec::<Vec<u8>>::new());
}

#[tokio::test]
async fn older_record_does_not_replace_a_newer_one() {
    let (mut a, _b, mut c) = line().await;
    let mut account = account();
    let (old, new) = (record(&mut account, -60), record(&mut account, 0));
    assert!(publish(&mut a, &new).await >= 1);
    assert_eq!(publish(&mut c, &old).await, 0);
    // C holds its own copy of the old one; what others hold is newer and comes first.
    assert_eq!(lookup(&mut c, &new.keys).await[0], new.value);
    let again = record(&mut account, 60);
    assert!(publish(&mut a, &again).await >= 1);
    assert_eq!(lookup(&mut c, &again.keys).await[0], again.value);
}

#[tokio::test]
async fn peer_without_known_addresses_is_found_through_the_directory() {
    let (a, _b, mut c) = line().await;
    c.connect(a.peer, &[]).await;
    c.up(a.peer).await;
}

#[tokio::test]
async fn peer_that_stores_too_much_is_not_listened_to() {
    let mut a = Node::start(1).await;
    let mut b = Node::start_with(2, |config| config.limits.records_per_minute = 2).await;
    join(&mut a, &mut b).await;
    a.status("routing", |status| status.routing_table >= 1).await;
    assert_eq!(publish(&mut a, &record(&mut account(), 0)).await, 1);
    assert_eq!(publish(&mut a, &record(&mut account(), 0)).await, 0);
}

#[tokio::test]
async fn full_store_keeps_what_is_closest() {
    let mut a = Node::start(1).await;
    let mut b = Node::start_with(2, |config| config.limits.records = 4).await;
    join(&mut a, &mut b).await;
    a.status("routing", |status| status.routing_table >= 1).await;
    for _ in 0..4 {
        publish(&mut a, &record(&mut account(), 0)).await;
    }
    b.status("a full store", |status| status.records == 4).await;
}
