//! An envelope of 25 MB between two nodes, from offer to Have, beside the same bytes over a bare libp2p stream into a synced file:
//! `cargo bench -p kith-network --bench transfer`. Prints figures, asserts none: machines differ.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench prints its figures and ends at the first surprise")]

use std::io::Write as _;
use std::time::{Duration, Instant};

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use kith_protocol::event::OfferOutcome;
use libp2p::swarm::SwarmEvent;

#[path = "../tests/network/raw.rs"]
#[expect(dead_code, reason = "shared with the tests, which use all of it")]
mod raw;
#[path = "../tests/network/support.rs"]
#[expect(dead_code, reason = "shared with the tests, which use all of it")]
mod support;

use support::{Envelope, Node, QUIC, TCP, join};

const BYTES: usize = 25_000_000;
const ROUNDS: usize = 5;

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let envelope = Envelope::new(folder.path(), BYTES);
    show("bare stream over TCP, file synced", bare(&envelope).await);
    for (name, listen) in [("offer to Have over TCP", TCP), ("offer to Have over QUIC", QUIC)] {
        show(name, offers(&envelope, listen).await);
    }
}

/// The best and the middle of some rounds.
fn show(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let rate = |time: Duration| BYTES as f64 / 1e6 / time.as_secs_f64();
    println!("{name:<40} best {:7.1} MB/s, middle {:7.1} MB/s", rate(times[0]), rate(times[ROUNDS / 2]));
}

async fn offers(envelope: &Envelope, listen: &str) -> Vec<Duration> {
    let mut a = Node::start(1).await;
    let mut b = Node::start_with(2, |config| config.listen = vec![listen.to_owned()]).await;
    join(&mut a, &mut b).await;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let op = a.offer(b.peer, envelope).await;
        let receive = async {
            let token = b.offer_received(envelope.id).await;
            b.answer(token, kith_protocol::event::Answer::Send).await;
            b.body(token).await.unwrap();
            b.answer(token, kith_protocol::event::Answer::Have).await;
        };
        let (outcome, ()) = tokio::join!(a.offered(op), receive);
        assert_eq!(outcome, OfferOutcome::Have);
        times.push(begun.elapsed());
    }
    times
}

async fn bare(envelope: &Envelope) -> Vec<Duration> {
    let mut sink = raw::swarm(2);
    sink.listen_on(TCP.parse().unwrap()).unwrap();
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = sink.select_next_some().await {
            break address;
        }
    };
    let path = envelope.path.with_extension("in");
    tokio::spawn(async move {
        loop {
            let SwarmEvent::Behaviour(mut stream) = sink.select_next_some().await else { continue };
            let path = path.clone();
            tokio::spawn(async move {
                let mut file = std::fs::File::create(path).unwrap();
                let mut buffer = vec![0; 64 * 1024];
                let mut left = BYTES;
                while left > 0 {
                    let read = stream.read(&mut buffer).await.unwrap();
                    file.write_all(&buffer[..read]).unwrap();
                    left -= read;
                }
                file.sync_data().unwrap();
                stream.write_all(&[1]).await.unwrap();
                stream.close().await.unwrap();
            });
        }
    });
    let source = raw::Raw::connect(1, &address.to_string()).await;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let mut stream = source.stream().await;
        stream.write_all(&envelope.bytes).await.unwrap();
        stream.flush().await.unwrap();
        stream.read_exact(&mut [0]).await.unwrap();
        times.push(begun.elapsed());
    }
    times
}
