//! What relays are asked and say: deposits with a signed end, questions of owners, proofs of storage, nodes that keep letters for anybody.

use kith_network::{Asked, CLOSEST_KEYS_MAX, Command, Event, Ticket};
use kith_protocol::event::{Answer, OfferOutcome, RefusedReason};
use kith_protocol::hosting::{Ask, Grant, Reply, Request, verify_stored};
use kith_protocol::ids::{EnvelopeId, Op};
use kith_protocol::keys::QueueKey;
use kith_protocol::stamp::Stamp;
use kith_protocol::wire::{Audit, FEATURE_VOLUNTEER, Message, Proof, Refused};

use crate::support::{Envelope, Node, QUEUE, join};

async fn deposit(node: &mut Node, to: &Node, file: &Envelope, ticket: Ticket) -> Op {
    let op = node.op();
    let (envelope, size) = (file.id, file.bytes.len() as u64);
    node.send(Command::Offer {
        op,
        peer: to.peer,
        queue: QUEUE,
        envelope,
        size,
        source: kith_network::Source::File(file.path.clone()),
        ticket,
    })
    .await;
    op
}

async fn answered(node: &mut Node, op: Op) -> Option<Message> {
    node.wait("answer", |event| match event {
        Event::Answered { op: of, answer } if of == op => Some(answer),
        _ => None,
    })
    .await
}

/// The nonce that this peer gave us.
async fn nonce(node: &mut Node, of: &Node) -> [u8; 32] {
    let peer = of.peer;
    node.wait("greeting", |event| match event {
        Event::PeerKnown { peer: who, nonce, .. } if who == peer => Some(nonce),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_deposit_ends_with_a_signature_that_anybody_can_check() {
    let (mut a, mut b) = (Node::start(1).await, Node::start(2).await);
    join(&mut a, &mut b).await;
    for size in [16_000, 300_000] {
        let file = Envelope::new(a.folder.path(), size);
        let ticket = Ticket { deposit: true, stamp: Some(Stamp([4; 16])), ..Ticket::default() };
        let op = deposit(&mut a, &b, &file, ticket.clone()).await;
        let (token, seen) = b
            .wait("deposit", |event| match event {
                Event::OfferReceived { token, ticket, .. } => Some((token, ticket)),
                _ => None,
            })
            .await;
        assert_eq!(seen, ticket);
        b.answer(token, Answer::Send).await;
        assert_eq!(std::fs::read(b.body(token).await.unwrap()).unwrap(), file.bytes);
        b.answer(token, Answer::Stored { until_s: 77, seldom: true }).await;
        let OfferOutcome::Stored { until_s: 77, signature, seldom: true } = a.offered(op).await else { panic!("not stored") };
        assert!(verify_stored(&b.peer, &QUEUE, &file.id, size as u64, 77, &signature));
    }
}

#[tokio::test]
async fn an_owner_is_heard_when_its_proof_holds_here_and_now() {
    let (mut a, mut b) = (Node::start(1).await, Node::start(2).await);
    let (peer, addresses) = (b.peer, b.addresses.clone());
    a.connect(peer, &addresses).await;
    let nonce = nonce(&mut a, &b).await;
    a.up(b.peer).await;
    let key = QueueKey::generate(&mut rand::rng());
    let request = Request::Host { token: [7; 32] };
    let good = Ask::sign(&key, &request, &b.peer, &a.peer, &nonce).unwrap();
    let op = a.op();
    a.send(Command::Ask { op, peer: b.peer, message: Message::Ask(good.clone()) }).await;
    let token = b
        .wait("question", |event| match event {
            Event::AskReceived { token, asked, peer } => {
                assert_eq!((peer, asked), (a.peer, Asked::Owner { key: key.public(), request: request.clone() }));
                Some(token)
            }
            _ => None,
        })
        .await;
    let reply = Reply::Granted(Grant { bytes: 5, ..Grant::default() });
    b.send(Command::Reply { token, reply }).await;
    assert_eq!(answered(&mut a, op).await, Some(Message::Reply(reply)));
    // The same question with the nonce of another run, or shown by somebody else.
    for stale in [
        Ask::sign(&key, &request, &b.peer, &a.peer, &[1; 32]).unwrap(),
        Ask::sign(&key, &request, &b.peer, &b.peer, &nonce).unwrap(),
        Ask { key: [3; 32], ..good },
    ] {
        let op = a.op();
        a.send(Command::Ask { op, peer: b.peer, message: Message::Ask(stale) }).await;
        assert_eq!(answered(&mut a, op).await, Some(Message::Reply(Reply::Unproven)));
    }
}

#[tokio::test]
async fn a_relay_shows_a_piece_or_says_that_it_has_none() {
    let (mut a, mut b) = (Node::start(1).await, Node::start(2).await);
    join(&mut a, &mut b).await;
    for hash in [Some([9; 32]), None] {
        let op = a.op();
        let message = Message::Audit(Audit { envelope: EnvelopeId([5; 32]), queue: QUEUE, nonce: [6; 16] });
        a.send(Command::Ask { op, peer: b.peer, message }).await;
        let token = b
            .wait("question", |event| match event {
                Event::AskReceived { token, asked: Asked::Audit { nonce: [6, ..], .. }, .. } => Some(token),
                _ => None,
            })
            .await;
        b.send(Command::Show { token, hash }).await;
        let expected =
            hash.map_or(Message::Refused(Refused { reason: RefusedReason::Unknown }), |hash| Message::Proof(Proof { hash }));
        assert_eq!(answered(&mut a, op).await, Some(expected));
    }
}

#[tokio::test]
async fn nodes_that_keep_letters_for_anybody_are_found_near_a_key() {
    let (mut a, mut b) = (Node::start(1).await, Node::start(2).await);
    let mut c = Node::start_with(3, |config| config.features = FEATURE_VOLUNTEER).await;
    join(&mut a, &mut b).await;
    join(&mut c, &mut b).await;
    for node in [&a, &b, &c] {
        node.status("routing", |status| status.routing_table >= 1).await;
    }
    b.status("routing", |status| status.routing_table >= 2).await;
    // For each key those near it; for too many keys nobody.
    for (keys, expected) in
        [(1, vec![vec![c.peer]]), (3, vec![vec![c.peer]; 3]), (CLOSEST_KEYS_MAX + 1, vec![vec![]; CLOSEST_KEYS_MAX])]
    {
        let op = a.op();
        let keys = (0..keys).map(|key| vec![key as u8; 32]).collect();
        a.send(Command::Closest { op, keys, features: FEATURE_VOLUNTEER }).await;
        let found = a
            .wait("search", |event| match event {
                Event::Closest { op: of, peers } if of == op => Some(peers),
                _ => None,
            })
            .await;
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn a_node_that_runs_anew_gives_another_nonce() {
    let (mut a, b) = (Node::start(1).await, Node::start(2).await);
    let mut nonces = Vec::new();
    let mut b = b;
    for _ in 0..2 {
        let (peer, addresses) = (b.peer, b.addresses.clone());
        a.connect(peer, &addresses).await;
        nonces.push(nonce(&mut a, &b).await);
        a.up(peer).await;
        b = b.restart(2).await;
        a.down(peer).await;
    }
    assert_ne!(nonces[0], nonces[1]);
}
