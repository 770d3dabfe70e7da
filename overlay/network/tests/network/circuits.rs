//! Nodes that nobody can connect to are reached through others, and directly as soon as a way opens.

use kith_network::{Event, Reachability};
use kith_protocol::event::OfferOutcome;

use crate::ports::free_port;
use crate::support::{Envelope, Node, join};

/// A node that says that it is reachable where it listens.
async fn public(seed: u8) -> Node {
    let port = free_port();
    let address = format!("/ip4/127.0.0.1/tcp/{port}");
    Node::start_with(seed, |config| {
        config.listen = vec![address.clone()];
        config.external = vec![address];
    })
    .await
}

/// A node that listens nowhere.
async fn hidden(seed: u8) -> Node {
    Node::start_with(seed, |config| config.listen = Vec::new()).await
}

async fn circuit(node: &mut Node) -> String {
    let address = node.wait("circuit", |event| match event {
        Event::ExternalAddress(address) if address.contains("p2p-circuit") => Some(address),
        _ => None,
    });
    address.await
}

#[tokio::test]
async fn a_node_that_listens_nowhere_is_reached_through_a_public_one() {
    let (mut p, mut a, mut b) = (public(1).await, hidden(2).await, hidden(3).await);
    join(&mut a, &mut p).await;
    let way = circuit(&mut a).await;
    a.status("reachability", |status| status.reachability == Reachability::Circuits && status.circuits.len() == 1).await;
    p.status("reachability", |status| status.reachability == Reachability::Direct).await;
    b.connect(a.peer, &[way]).await;
    b.up(a.peer).await;
    a.up(b.peer).await;
    let small = Envelope::new(b.folder.path(), 16_000);
    let op = b.offer(a.peer, &small).await;
    assert_eq!(a.take(small.id).await, small.bytes);
    assert_eq!(b.offered(op).await, OfferOutcome::Have);
    // Neither can connect to the other: what is large does not go through somebody else.
    let large = Envelope::new(b.folder.path(), 300_000);
    let op = b.offer(a.peer, &large).await;
    assert_eq!(b.offered(op).await, OfferOutcome::NoDirectWay);
}

#[tokio::test]
async fn a_direct_way_takes_the_place_of_the_circuit() {
    let (mut p, mut a) = (public(1).await, hidden(2).await);
    let mut b = Node::start(3).await;
    join(&mut a, &mut p).await;
    let way = circuit(&mut a).await;
    join(&mut b, &mut p).await;
    // Once it is known that B can be reached, the hidden node dials back: what is large goes directly.
    b.status("reachability", |status| status.reachability == Reachability::Direct).await;
    b.connect(a.peer, &[way]).await;
    b.up(a.peer).await;
    let large = Envelope::new(b.folder.path(), 300_000);
    let op = b.offer(a.peer, &large).await;
    assert_eq!(a.take(large.id).await, large.bytes);
    assert_eq!(b.offered(op).await, OfferOutcome::Have);
}

#[tokio::test]
async fn a_circuit_that_is_lost_is_replaced_by_another_one() {
    let (mut p, mut q, mut a) = (public(1).await, public(4).await, hidden(2).await);
    join(&mut a, &mut p).await;
    circuit(&mut a).await;
    join(&mut a, &mut q).await;
    circuit(&mut a).await;
    a.status("circuits", |status| status.circuits.len() == 2).await;
    p.handle.shutdown().await;
    a.status("circuits", |status| status.circuits.len() == 1).await;
}

#[tokio::test]
async fn it_is_said_when_what_was_too_large_can_be_sent() {
    let (mut p, mut a, mut b) = (public(1).await, hidden(2).await, hidden(3).await);
    join(&mut a, &mut p).await;
    let way = circuit(&mut a).await;
    b.connect(a.peer, &[way]).await;
    b.up(a.peer).await;
    let large = Envelope::new(b.folder.path(), 300_000);
    let op = b.offer(a.peer, &large).await;
    assert_eq!(b.offered(op).await, OfferOutcome::NoDirectWay);
    // Now A is where it can be connected to.
    let mut a = a.restart(2).await;
    b.down(a.peer).await;
    let addresses = a.addresses.clone();
    b.connect(a.peer, &addresses).await;
    b.up(a.peer).await;
    b.wait("a direct way", |event| (event == Event::DirectWay(a.peer)).then_some(())).await;
    let op = b.offer(a.peer, &large).await;
    assert_eq!(a.take(large.id).await, large.bytes);
    assert_eq!(b.offered(op).await, OfferOutcome::Have);
}
