//! Who is up, who is not, and how peers find each other.

use kith_network::{Command, Event};
use kith_protocol::ids::PeerId;

use crate::support::{Node, QUIC, TCP, join, pair};

#[tokio::test]
async fn peers_come_up_over_tcp() {
    let (a, b) = pair().await;
    assert_eq!(a.handle.status().peers, [b.peer]);
    assert_eq!(b.handle.status().peers, [a.peer]);
}

#[tokio::test]
async fn peers_come_up_over_quic() {
    let (mut a, mut b) = (Node::start(1).await, Node::start_with(2, |config| config.listen = vec![QUIC.to_owned()]).await);
    join(&mut a, &mut b).await;
}

#[tokio::test]
async fn peer_is_up_once_and_down_once_though_both_sides_dial_both_transports() {
    let both = || |config: &mut kith_network::Config| config.listen = vec![TCP.to_owned(), QUIC.to_owned()];
    let (mut a, mut b) = (Node::start_with(1, both()).await, Node::start_with(2, both()).await);
    a.connect(b.peer, &b.addresses).await;
    b.connect(a.peer, &a.addresses).await;
    a.up(b.peer).await;
    b.up(a.peer).await;
    a.connect(b.peer, &b.addresses).await;
    b.handle.shutdown().await;
    let mut ups = 0;
    a.wait("loss of the peer", |event| {
        ups += u32::from(matches!(event, Event::PeerUp(_)));
        matches!(event, Event::PeerDown(_)).then_some(())
    })
    .await;
    assert_eq!(ups, 0);
    assert!(a.handle.status().peers.is_empty());
}

/// As after a power cut: the connection of the process before is still there, for all that can be seen.
#[tokio::test]
async fn who_runs_anew_is_down_and_up_again_though_the_connection_before_has_not_ended() {
    let (mut a, mut b) = pair().await;
    let mut anew = Node::start(2).await;
    assert_eq!(anew.peer, b.peer);
    anew.connect(a.peer, &a.addresses).await;
    anew.up(a.peer).await;
    let mut seen = Vec::new();
    a.wait("the peer anew", |event| {
        match event {
            Event::PeerDown(peer) if peer == anew.peer => seen.push("down"),
            Event::PeerKnown { peer, .. } if peer == anew.peer => seen.push("known"),
            Event::PeerUp(peer) if peer == anew.peer => seen.push("up"),
            _ => {}
        }
        seen.contains(&"up").then_some(())
    })
    .await;
    assert_eq!(seen, ["down", "known", "up"]);
    b.down(a.peer).await;
    assert_eq!(a.handle.status().peers, [anew.peer]);
}

#[tokio::test]
async fn connecting_to_nobody_fails() {
    let mut a = Node::start(1).await;
    let b = Node::start(2).await;
    let (peer, addresses) = (b.peer, b.addresses.clone());
    b.handle.shutdown().await;
    for (peer, addresses) in [(peer, addresses), (peer, vec![]), (PeerId([0xee; 32]), vec![]), (a.peer, a.addresses.clone())] {
        let op = a.connect(peer, &addresses).await;
        a.wait("failure", |event| (event == Event::ConnectFailed { op, peer }).then_some(())).await;
    }
}

#[tokio::test]
async fn another_node_at_the_address_is_not_taken_for_the_peer() {
    let (mut a, b) = (Node::start(1).await, Node::start(2).await);
    let c = Node::start(3).await;
    let wrong = vec![b.addresses[0].split("/p2p/").next().unwrap().to_owned()];
    let op = a.connect(c.peer, &wrong).await;
    a.wait("failure", |event| (event == Event::ConnectFailed { op, peer: c.peer }).then_some(())).await;
}

#[tokio::test]
async fn bootstrap_entries_lead_in_and_peers_are_remembered_over_a_restart() {
    let mut b = Node::start(2).await;
    // An entry may come without the node's name.
    let entry = b.addresses[0].split("/p2p/").next().unwrap().to_owned();
    let remember = |config: &mut kith_network::Config| config.peers_file = Some(config.staging.with_file_name("peers.json"));
    let a = Node::start_with(1, |config| {
        config.bootstrap = vec![entry];
        remember(config);
    });
    let mut a = a.await;
    a.up(b.peer).await;
    b.up(a.peer).await;
    a.handle.shutdown().await;
    b.down(a.peer).await;
    let mut a = Node::start_in(a.folder, 1, remember).await;
    a.up(b.peer).await;
}

#[tokio::test]
async fn banned_peer_is_dropped_and_kept_out() {
    let (mut a, mut b) = pair().await;
    a.send(Command::Ban { peer: b.peer, seconds: 3600 }).await;
    a.down(b.peer).await;
    b.down(a.peer).await;
    let op = b.connect(a.peer, &a.addresses).await;
    b.wait("failure", |event| (event == Event::ConnectFailed { op, peer: a.peer }).then_some(())).await;
}

#[tokio::test]
async fn connection_is_kept_until_it_is_let_go() {
    let short = |config: &mut kith_network::Config| config.limits.idle = std::time::Duration::from_millis(200);
    let (mut a, mut b) = (Node::start_with(1, short).await, Node::start_with(2, short).await);
    join(&mut a, &mut b).await;
    // Keeping takes both.
    b.connect(a.peer, &a.addresses).await;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert_eq!(a.handle.status().peers, [b.peer]);
    a.send(Command::Disconnect { peer: b.peer }).await;
    a.down(b.peer).await;
    b.down(a.peer).await;
}
