//! Peers that lie, stall or talk nonsense cost themselves their connection and us nothing.

use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt};
use kith_network::{Command, Event};
use kith_protocol::event::{Answer, RefusedReason};
use kith_protocol::ids::Token;
use kith_protocol::wire::{Hello, Message, Offer, Refused, Send};
use libp2p::swarm::Stream;

use crate::raw::{self, Raw};
use crate::support::{Envelope, Node, QUEUE, join};

fn offer(envelope: &Envelope) -> Message {
    Message::Offer(Offer {
        envelope: envelope.id,
        size: envelope.bytes.len() as u64,
        queue: QUEUE,
        stamp: None,
        work: None,
        onward: Vec::new(),
    })
}

/// Offers, and is asked for the body.
async fn begin(node: &mut Node, raw: &Raw, envelope: &Envelope) -> (Stream, Token) {
    let mut stream = raw.stream().await;
    raw::say(&mut stream, &offer(envelope)).await;
    let token = node.offer_received(envelope.id).await;
    node.answer(token, Answer::Send).await;
    assert!(matches!(raw::hear(&mut stream).await, Some(Message::Send(_))));
    (stream, token)
}

#[tokio::test]
async fn wrong_byte_is_found_and_costs_the_connection() {
    let mut node = Node::start(1).await;
    for (seed, size) in [(7, 5_000_000), (8, 20_000)] {
        let mut raw = Raw::greet(seed, &node.addresses[0]).await;
        let envelope = Envelope::new(node.folder.path(), size);
        let (mut stream, token) = begin(&mut node, &raw, &envelope).await;
        let mut body = if size > 65_536 { raw::encode(&envelope.bytes, 0) } else { envelope.bytes.clone() };
        let at = body.len() / 2;
        body[at] ^= 1;
        // The node may hang up before it has been told everything.
        stream.write_all(&body).await.and(stream.flush().await).ok();
        assert_eq!(node.body(token).await, None);
        raw.hung_up().await;
        // What came before the lie was true, and is kept.
        assert!(node.staged() <= size as u64 / 2);
        assert!(size < 65_536 || node.staged() > size as u64 / 2 - 100_000);
        let mut honest = Node::start(3).await;
        join(&mut honest, &mut node).await;
        honest.offer(node.peer, &envelope).await;
        assert_eq!(node.take(envelope.id).await, envelope.bytes);
        honest.handle.shutdown().await;
        node.down(honest.peer).await;
    }
}

#[tokio::test]
async fn nonsense_is_answered_by_hanging_up() {
    let node = Node::start(1).await;
    let frame = |payload: &[u8]| [&(payload.len() as u32).to_be_bytes(), payload].concat();
    let nonsense = [
        vec![0xff; 64],
        frame(&[99, 0xa0]),
        frame(&[8, 0xa0]),
        frame(&[1, 0xa0]),
        frame(&[0, 0xa2, 0, 0x18, 1, 1, 0]),
        vec![0; 4],
        Message::Have.to_frame().unwrap(),
        Message::Send(Send { missing: vec![] }).to_frame().unwrap(),
        Message::Hello(Hello { version: 2, features: 0, nonce: [0; 32], ext: None }).to_frame().unwrap(),
    ];
    for (seed, bytes) in (10..).zip(nonsense) {
        let mut raw = Raw::connect(seed, &node.addresses[0]).await;
        let mut stream = raw.stream().await;
        raw::shout(&mut stream, &bytes).await;
        raw.hung_up().await;
    }
    assert!(node.handle.status().peers.is_empty());
}

#[tokio::test]
async fn speaking_before_the_answer_is_nonsense_too() {
    let mut node = Node::start(1).await;
    let mut raw = Raw::greet(7, &node.addresses[0]).await;
    let envelope = Envelope::new(node.folder.path(), 1000);
    let mut stream = raw.stream().await;
    raw::say(&mut stream, &offer(&envelope)).await;
    let token = node.offer_received(envelope.id).await;
    raw::shout(&mut stream, b"?").await;
    node.wait("end", |event| (event == Event::BodyBroken { token }).then_some(())).await;
    raw.hung_up().await;
}

#[tokio::test]
async fn slow_body_is_cut_and_what_came_is_kept() {
    let mut node = Node::start_with(1, |config| {
        config.limits.rate_grace = Duration::from_millis(300);
        config.limits.minimum_rate = 1_000_000;
    })
    .await;
    let mut raw = Raw::greet(7, &node.addresses[0]).await;
    let envelope = Envelope::new(node.folder.path(), 500_000);
    let (mut stream, token) = begin(&mut node, &raw, &envelope).await;
    raw::shout(&mut stream, &raw::encode(&envelope.bytes, 0)[..100_000]).await;
    assert_eq!(node.body(token).await, None);
    assert_eq!(raw::hear(&mut stream).await, None);
    assert!(node.staged() >= 80_000);
    // Slow is no crime: the connection stays.
    assert!(raw.is_connected());
}

#[tokio::test]
async fn silent_stream_is_closed() {
    let node = Node::start_with(1, |config| config.limits.first_frame = Duration::from_millis(300)).await;
    let raw = Raw::connect(7, &node.addresses[0]).await;
    let mut stream = raw.stream().await;
    raw::shout(&mut stream, &[0]).await;
    assert_eq!(raw::hear(&mut stream).await, None);
}

#[tokio::test]
async fn streams_beyond_the_limit_are_closed_and_the_rest_works() {
    let mut node = Node::start_with(1, |config| config.limits.inbound_streams_per_peer = 2).await;
    let raw = Raw::greet(7, &node.addresses[0]).await;
    let envelopes: Vec<_> = (0..2).map(|more| Envelope::new(node.folder.path(), 1000 + more)).collect();
    let mut streams = Vec::new();
    for envelope in &envelopes {
        let mut stream = raw.stream().await;
        raw::say(&mut stream, &offer(envelope)).await;
        let token = node.offer_received(envelope.id).await;
        streams.push((stream, token));
    }
    let mut third = raw.stream().await;
    // Closed before or after it can speak.
    let mut byte = [0];
    assert!(third.read(&mut byte).await.is_ok_and(|read| read == 0) || third.read(&mut byte).await.is_err());
    for (mut stream, token) in streams {
        node.answer(token, Answer::Have).await;
        assert_eq!(raw::hear(&mut stream).await, Some(Message::Have));
    }
}

#[tokio::test]
async fn impossible_sizes_are_refused_without_asking() {
    let mut node = Node::start(1).await;
    let raw = Raw::greet(7, &node.addresses[0]).await;
    let envelope = Envelope::new(node.folder.path(), 1000);
    for (size, reason) in
        [(0, RefusedReason::Malformed), (65 << 20, RefusedReason::TooLarge), (u64::MAX, RefusedReason::TooLarge)]
    {
        let mut stream = raw.stream().await;
        raw::say(
            &mut stream,
            &Message::Offer(Offer { envelope: envelope.id, size, queue: QUEUE, stamp: None, work: None, onward: Vec::new() }),
        )
        .await;
        assert_eq!(raw::hear(&mut stream).await, Some(Message::Refused(Refused { reason })));
    }
    let mut stream = raw.stream().await;
    raw::say(&mut stream, &offer(&envelope)).await;
    loop {
        if let Event::OfferReceived { size, .. } = node.next("offer").await {
            assert_eq!(size, 1000);
            break;
        }
    }
}

#[tokio::test]
async fn peer_that_goes_away_before_the_answer_ends_its_offer() {
    let mut node = Node::start(1).await;
    let raw = Raw::greet(7, &node.addresses[0]).await;
    let name = raw.name;
    node.up(name).await;
    let envelope = Envelope::new(node.folder.path(), 1000);
    let mut stream = raw.stream().await;
    raw::say(&mut stream, &offer(&envelope)).await;
    let token = node.offer_received(envelope.id).await;
    drop((stream, raw));
    // Both come, in either order.
    let mut expected = vec![Event::BodyBroken { token }, Event::PeerDown(name)];
    while !expected.is_empty() {
        let event = node.next("end").await;
        expected.retain(|other| *other != event);
    }
}

#[tokio::test]
async fn engine_that_does_not_answer_costs_the_peer_nothing() {
    let mut node = Node::start_with(1, |config| config.limits.answer = Duration::from_millis(300)).await;
    let mut raw = Raw::greet(7, &node.addresses[0]).await;
    let envelope = Envelope::new(node.folder.path(), 1000);
    let mut stream = raw.stream().await;
    raw::say(&mut stream, &offer(&envelope)).await;
    let token = node.offer_received(envelope.id).await;
    assert!(matches!(raw::hear(&mut stream).await, Some(Message::Later(_))));
    node.wait("end", |event| (event == Event::BodyBroken { token }).then_some(())).await;
    assert!(raw.is_connected());
}

#[tokio::test]
async fn a_crowd_that_takes_all_connections_and_streams_keeps_no_favoured_peer_out() {
    let friend = raw::name(9);
    let mut node = Node::start_with(1, |config| {
        let limits = &mut config.limits;
        (limits.established_incoming, limits.inbound_streams, limits.inbound_streams_favoured) = (2, 4, 1);
    })
    .await;
    node.handle.send(Command::Favour { peers: vec![friend] }).await.unwrap();
    let crowd = [Raw::greet(7, &node.addresses[0]).await, Raw::greet(8, &node.addresses[0]).await];
    Raw::connect(10, &node.addresses[0]).await.hung_up().await;
    let mut held = Vec::new();
    for raw in [&crowd[0], &crowd[0], &crowd[1]] {
        let envelope = Envelope::new(node.folder.path(), 1000 + held.len());
        let mut stream = raw.stream().await;
        raw::say(&mut stream, &offer(&envelope)).await;
        node.offer_received(envelope.id).await;
        held.push(stream);
    }
    for raw in &crowd {
        assert_eq!(raw::hear(&mut raw.stream().await).await, None, "there is no more room for the crowd");
    }
    let known = Raw::greet(9, &node.addresses[0]).await;
    let envelope = Envelope::new(node.folder.path(), 2000);
    let mut stream = known.stream().await;
    raw::say(&mut stream, &offer(&envelope)).await;
    let token = node.offer_received(envelope.id).await;
    node.answer(token, Answer::Have).await;
    assert_eq!(raw::hear(&mut stream).await, Some(Message::Have));
    // Nor may it take more than its own.
    let more = [Raw::connect(9, &node.addresses[0]).await, Raw::connect(9, &node.addresses[0]).await];
    let mut last = [Raw::connect(9, &node.addresses[0]).await, Raw::connect(9, &node.addresses[0]).await];
    last[1].hung_up().await;
    drop((more, held));
}
