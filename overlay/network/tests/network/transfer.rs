//! Envelopes arrive as they were, once, and not again from the beginning.

use kith_protocol::event::{Answer, LaterReason, OfferOutcome, RefusedReason};
use kith_protocol::ids::PeerId;
use kith_protocol::wire::{self, Message, Offer};

use crate::raw::{self, Raw};
use crate::support::{Envelope, Node, QUEUE, QUIC, join, pair};

#[tokio::test]
async fn envelope_that_is_there_is_not_sent() {
    let (mut a, mut b) = pair().await;
    let envelope = Envelope::new(a.folder.path(), 100_000);
    let op = a.offer(b.peer, &envelope).await;
    let token = b.offer_received(envelope.id).await;
    b.answer(token, Answer::Have).await;
    assert_eq!(a.offered(op).await, OfferOutcome::Have);
    assert_eq!(a.handle.status().bytes_out, 0);
}

#[tokio::test]
async fn reasons_come_through() {
    let (mut a, mut b) = pair().await;
    let envelope = Envelope::new(a.folder.path(), 1000);
    let later = (
        Answer::Later { reason: LaterReason::Full, after_s: 77 },
        OfferOutcome::Later { reason: LaterReason::Full, after_s: 77 },
    );
    let refused = (Answer::Refused(RefusedReason::Unknown), OfferOutcome::Refused(RefusedReason::Unknown));
    for (answer, outcome) in [later, refused] {
        let op = a.offer(b.peer, &envelope).await;
        let token = b.offer_received(envelope.id).await;
        b.answer(token, answer).await;
        assert_eq!(a.offered(op).await, outcome);
    }
}

#[tokio::test]
async fn bodies_of_all_shapes_arrive_as_they_were() {
    let (mut a, mut b) = pair().await;
    for size in [1, 16_000, 65_536, 65_537, 81_920, 81_921, 1 << 20, 5_000_000] {
        let envelope = Envelope::new(a.folder.path(), size);
        let op = a.offer(b.peer, &envelope).await;
        assert_eq!(b.take(envelope.id).await, envelope.bytes, "{size}");
        assert_eq!(a.offered(op).await, OfferOutcome::Have);
    }
    assert_eq!(b.staged(), 0);
}

#[tokio::test]
async fn bodies_arrive_over_quic() {
    let (mut a, mut b) = (Node::start(1).await, Node::start_with(2, |config| config.listen = vec![QUIC.to_owned()]).await);
    join(&mut a, &mut b).await;
    let envelope = Envelope::new(a.folder.path(), 5_000_000);
    let op = a.offer(b.peer, &envelope).await;
    assert_eq!(b.take(envelope.id).await, envelope.bytes);
    assert_eq!(a.offered(op).await, OfferOutcome::Have);
}

#[tokio::test]
async fn transfer_cut_at_half_resumes_there_after_a_restart() {
    let mut b = Node::start(2).await;
    let envelope = Envelope::new(b.folder.path(), 5_000_000);
    let half = {
        let raw = Raw::greet(7, &b.addresses[0]).await;
        let mut stream = raw.stream().await;
        let offer = Offer {
            envelope: envelope.id,
            size: envelope.bytes.len() as u64,
            queue: QUEUE,
            stamp: None,
            work: None,
            onward: Vec::new(),
        };
        raw::say(&mut stream, &Message::Offer(offer)).await;
        let token = b.offer_received(envelope.id).await;
        b.answer(token, Answer::Send).await;
        let groups = wire::groups(5_000_000) as u32;
        assert_eq!(raw::hear(&mut stream).await, Some(Message::Send(wire::Send { missing: vec![(0, groups)] })));
        let encoded = raw::encode(&envelope.bytes, 0);
        raw::shout(&mut stream, &encoded[..encoded.len() / 2]).await;
        drop((stream, raw));
        assert_eq!(b.body(token).await, None);
        b.staged()
    };
    assert!(half > 2_400_000, "{half}");
    let (mut a, mut b) = (Node::start(1).await, b.restart(2).await);
    join(&mut a, &mut b).await;
    let op = a.offer(b.peer, &envelope).await;
    assert_eq!(b.take(envelope.id).await, envelope.bytes);
    assert_eq!(a.offered(op).await, OfferOutcome::Have);
    b.status("bytes", |status| status.bytes_in > 2_400_000).await;
    let rest = b.handle.status().bytes_in;
    assert!(rest < 5_000_000 - half + 50_000, "{rest} after {half}");
}

#[tokio::test]
async fn body_put_off_by_the_engine_is_not_sent_again() {
    let (mut a, mut b) = pair().await;
    let envelope = Envelope::new(a.folder.path(), 200_000);
    let op = a.offer(b.peer, &envelope).await;
    let token = b.offer_received(envelope.id).await;
    b.answer(token, Answer::Send).await;
    b.body(token).await.unwrap();
    b.answer(token, Answer::Later { reason: LaterReason::Busy, after_s: 1 }).await;
    assert_eq!(a.offered(op).await, OfferOutcome::Later { reason: LaterReason::Busy, after_s: 1 });
    let op = a.offer(b.peer, &envelope).await;
    assert_eq!(b.take(envelope.id).await, envelope.bytes);
    assert_eq!(a.offered(op).await, OfferOutcome::Have);
    b.status("one body", |status| status.bytes_in > 0).await;
    assert!(b.handle.status().bytes_in < 210_000);
    assert_eq!(b.staged(), 0);
}

#[tokio::test]
async fn part_that_was_damaged_on_disk_is_not_believed() {
    let (mut a, mut b) = pair().await;
    let envelope = Envelope::new(a.folder.path(), 200_000);
    let later = Answer::Later { reason: LaterReason::Busy, after_s: 1 };
    let op = a.offer(b.peer, &envelope).await;
    let token = b.offer_received(envelope.id).await;
    b.answer(token, Answer::Send).await;
    let file = b.body(token).await.unwrap();
    b.answer(token, later).await;
    a.offered(op).await;
    let mut bytes = envelope.bytes.clone();
    bytes[100_000] ^= 1;
    std::fs::write(file, bytes).unwrap();
    let op = a.offer(b.peer, &envelope).await;
    let token = b.offer_received(envelope.id).await;
    b.answer(token, Answer::Send).await;
    assert_eq!(b.body(token).await, None);
    assert!(matches!(a.offered(op).await, OfferOutcome::Later { .. }));
    let op = a.offer(b.peer, &envelope).await;
    assert_eq!(b.take(envelope.id).await, envelope.bytes);
    assert_eq!(a.offered(op).await, OfferOutcome::Have);
}

#[tokio::test]
async fn engine_may_take_the_file_away() {
    let (mut a, mut b) = pair().await;
    let envelope = Envelope::new(a.folder.path(), 200_000);
    let op = a.offer(b.peer, &envelope).await;
    let token = b.offer_received(envelope.id).await;
    b.answer(token, Answer::Send).await;
    let file = b.body(token).await.unwrap();
    std::fs::rename(file, b.folder.path().join("taken")).unwrap();
    b.answer(token, Answer::Have).await;
    assert_eq!(a.offered(op).await, OfferOutcome::Have);
    assert_eq!(std::fs::read_dir(b.folder.path().join("staging")).unwrap().count(), 0);
}

#[tokio::test]
async fn same_envelope_from_two_peers_is_received_once() {
    let (mut a, mut b) = pair().await;
    let mut c = Node::start(3).await;
    join(&mut c, &mut b).await;
    let envelope = Envelope::new(a.folder.path(), 300_000);
    let first = a.offer(b.peer, &envelope).await;
    let token = b.offer_received(envelope.id).await;
    b.answer(token, Answer::Send).await;
    b.body(token).await.unwrap();
    let second = c.offer(b.peer, &envelope).await;
    let other = b.offer_received(envelope.id).await;
    b.answer(other, Answer::Send).await;
    assert!(matches!(c.offered(second).await, OfferOutcome::Later { reason: LaterReason::InProgress, .. }));
    assert_eq!(b.body(other).await, None);
    b.answer(token, Answer::Have).await;
    assert_eq!(a.offered(first).await, OfferOutcome::Have);
}

#[tokio::test]
async fn damaged_file_of_ours_is_not_sent_and_costs_nothing() {
    let (mut a, mut b) = pair().await;
    for size in [1000, 200_000] {
        let mut envelope = Envelope::new(a.folder.path(), size);
        envelope.bytes[size / 2] ^= 1;
        std::fs::write(&envelope.path, &envelope.bytes).unwrap();
        let op = a.offer(b.peer, &envelope).await;
        let token = b.offer_received(envelope.id).await;
        b.answer(token, Answer::Send).await;
        assert_eq!(a.offered(op).await, OfferOutcome::Broken);
        assert_eq!(b.body(token).await, None);
    }
    let good = Envelope::new(a.folder.path(), 70_000);
    let op = a.offer(b.peer, &good).await;
    assert_eq!(b.take(good.id).await, good.bytes);
    assert_eq!(a.offered(op).await, OfferOutcome::Have);
}

#[tokio::test]
async fn offers_beyond_the_peers_limits_wait_for_their_turn() {
    let (mut a, mut b) = pair().await;
    let mut waiting = Vec::new();
    for size in 0..40 {
        let envelope = Envelope::new(a.folder.path(), 1000 + size);
        waiting.push(a.offer(b.peer, &envelope).await);
    }
    for _ in 0..40 {
        let token = b
            .wait("offer", |event| match event {
                kith_network::Event::OfferReceived { token, .. } => Some(token),
                _ => None,
            })
            .await;
        b.answer(token, Answer::Have).await;
    }
    waiting.sort();
    let mut done = Vec::new();
    while done.len() < waiting.len() {
        done.push(
            a.wait("outcome", |event| match event {
                kith_network::Event::Offered { op, outcome: OfferOutcome::Have } => Some(op),
                _ => None,
            })
            .await,
        );
    }
    done.sort();
    assert_eq!(done, waiting);
}

#[tokio::test]
async fn nothing_is_lost_while_nobody_reads_events() {
    let (mut a, mut b) = pair().await;
    let envelope = Envelope::new(a.folder.path(), 1000);
    // Far more offers than either queue holds, while neither engine reads.
    let mut ops = Vec::new();
    for _ in 0..600 {
        ops.push(a.offer(b.peer, &envelope).await);
    }
    let answers = async {
        for _ in 0..600 {
            let token = b.offer_received(envelope.id).await;
            b.answer(token, Answer::Have).await;
        }
    };
    let outcomes = async {
        while !ops.is_empty() {
            let op = a.wait("outcome", |event| match event {
                kith_network::Event::Offered { op, outcome: OfferOutcome::Have } => Some(op),
                _ => None,
            });
            let op = op.await;
            ops.retain(|other| *other != op);
        }
    };
    tokio::join!(answers, outcomes);
}

#[tokio::test]
async fn offer_to_a_stranger_is_broken() {
    let mut a = Node::start(1).await;
    let envelope = Envelope::new(a.folder.path(), 1000);
    let op = a.offer(PeerId([4; 32]), &envelope).await;
    assert_eq!(a.offered(op).await, OfferOutcome::Broken);
}

#[tokio::test]
async fn offer_ends_when_the_peer_goes_away() {
    let (mut a, mut b) = pair().await;
    let envelope = Envelope::new(a.folder.path(), 1000);
    let op = a.offer(b.peer, &envelope).await;
    b.offer_received(envelope.id).await;
    b.handle.shutdown().await;
    assert_eq!(a.offered(op).await, OfferOutcome::Broken);
}
