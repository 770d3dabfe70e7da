//! A node with its folder, and waiting for what it says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kith_network::{Command, Config, Event, Events, Handle, start};
use kith_protocol::event::{Answer, OfferOutcome};
use kith_protocol::ids::{EnvelopeId, Op, PeerId, QueueName, Token};
use tempfile::TempDir;
use tokio::time::timeout;
use zeroize::Zeroizing;

/// Nothing here takes this long unless it never comes.
const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const TCP: &str = "/ip4/127.0.0.1/tcp/0";
pub(crate) const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
pub(crate) const QUEUE: QueueName = QueueName([9; 16]);

/// A running node.
pub(crate) struct Node {
    pub(crate) handle: Handle,
    pub(crate) events: Events,
    pub(crate) peer: PeerId,
    pub(crate) addresses: Vec<String>,
    pub(crate) folder: TempDir,
    ops: u64,
}

impl Node {
    /// A node that listens over TCP.
    pub(crate) async fn start(seed: u8) -> Self {
        Self::start_with(seed, |_| ()).await
    }

    pub(crate) async fn start_with(seed: u8, change: impl FnOnce(&mut Config)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), seed, change).await
    }

    pub(crate) async fn start_in(folder: TempDir, seed: u8, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(Zeroizing::new([seed; 32]), folder.path().join("staging"));
        config.listen = vec![TCP.to_owned()];
        change(&mut config);
        let listeners = config.listen.len();
        let (handle, events) = start(config).await.unwrap();
        let mut node = Self { peer: handle.peer_id(), handle, events, addresses: Vec::new(), folder, ops: 0 };
        for _ in 0..listeners {
            let address = node.wait("a listener", |event| match event {
                Event::Listening(address) => Some(address),
                _ => None,
            });
            let address = address.await;
            node.addresses.push(address);
        }
        node
    }

    /// Ends the node and starts it again in the same folder.
    pub(crate) async fn restart(self, seed: u8) -> Self {
        self.handle.shutdown().await;
        Self::start_in(self.folder, seed, |_| ()).await
    }

    /// The next event that `pick` takes; others are passed over.
    pub(crate) async fn wait<T>(&mut self, what: &str, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        let picked = async {
            loop {
                let event = self.events.next().await.expect("the node runs");
                if let Some(picked) = pick(event) {
                    return picked;
                }
            }
        };
        timeout(PATIENCE, picked).await.unwrap_or_else(|_| panic!("no {what}"))
    }

    /// The very next event.
    pub(crate) async fn next(&mut self, what: &str) -> Event {
        self.wait(what, Some).await
    }

    pub(crate) async fn up(&mut self, peer: PeerId) {
        self.wait("peer", |event| (event == Event::PeerUp(peer)).then_some(())).await;
    }

    pub(crate) async fn down(&mut self, peer: PeerId) {
        self.wait("loss of the peer", |event| (event == Event::PeerDown(peer)).then_some(())).await;
    }

    pub(crate) fn op(&mut self) -> Op {
        self.ops += 1;
        Op(self.ops)
    }

    pub(crate) async fn send(&self, command: Command) {
        self.handle.send(command).await.unwrap();
    }

    pub(crate) async fn connect(&mut self, peer: PeerId, addresses: &[String]) -> Op {
        let op = self.op();
        self.send(Command::Connect { op, peer, addresses: addresses.to_vec() }).await;
        op
    }

    /// Offers a file.
    pub(crate) async fn offer(&mut self, peer: PeerId, file: &Envelope) -> Op {
        let op = self.op();
        let (queue, envelope, size) = (QUEUE, file.id, file.bytes.len() as u64);
        self.send(Command::Offer {
            op,
            peer,
            queue,
            envelope,
            size,
            source: kith_network::Source::File(file.path.clone()),
            ticket: Default::default(),
        })
        .await;
        op
    }

    pub(crate) async fn offered(&mut self, op: Op) -> OfferOutcome {
        self.wait("outcome", |event| match event {
            Event::Offered { op: of, outcome } if of == op => Some(outcome),
            _ => None,
        })
        .await
    }

    pub(crate) async fn answer(&self, token: Token, answer: Answer) {
        self.send(Command::Answer { token, answer }).await;
    }

    /// The next offer of this envelope.
    pub(crate) async fn offer_received(&mut self, envelope: EnvelopeId) -> Token {
        self.wait("offer", |event| match event {
            Event::OfferReceived { token, envelope: of, queue, .. } if of == envelope => {
                assert_eq!(queue, QUEUE);
                Some(token)
            }
            _ => None,
        })
        .await
    }

    /// What becomes of a body that was asked for: its file, or nothing.
    pub(crate) async fn body(&mut self, token: Token) -> Option<PathBuf> {
        self.wait("body", |event| match event {
            Event::BodyReceived { token: of, file } if of == token => Some(Some(file)),
            Event::BodyBroken { token: of } if of == token => Some(None),
            _ => None,
        })
        .await
    }

    /// Takes the next offer of this envelope to its end and gives its bytes.
    pub(crate) async fn take(&mut self, envelope: EnvelopeId) -> Vec<u8> {
        let token = self.offer_received(envelope).await;
        self.answer(token, Answer::Send).await;
        let file = self.body(token).await.expect("the body comes");
        let bytes = std::fs::read(file).unwrap();
        self.answer(token, Answer::Have).await;
        bytes
    }

    /// Until the status is as wanted; it is at most two seconds old.
    pub(crate) async fn status(&self, what: &str, wanted: impl Fn(&kith_network::Status) -> bool) {
        let seen = async {
            while !wanted(&self.handle.status()) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("{what}: {:?}", self.handle.status()));
    }

    /// Bytes of unfinished envelopes on disk.
    pub(crate) fn staged(&self) -> u64 {
        let files = std::fs::read_dir(self.folder.path().join("staging")).unwrap();
        files
            .map(|file| file.unwrap())
            .filter(|file| file.path().extension().unwrap() == "part")
            .map(|file| file.metadata().unwrap().len())
            .sum()
    }
}

/// Two nodes over TCP, connected.
pub(crate) async fn pair() -> (Node, Node) {
    let (mut a, mut b) = (Node::start(1).await, Node::start(2).await);
    join(&mut a, &mut b).await;
    (a, b)
}

pub(crate) async fn join(a: &mut Node, b: &mut Node) {
    a.connect(b.peer, &b.addresses).await;
    a.up(b.peer).await;
    b.up(a.peer).await;
}

/// A file to be sent.
pub(crate) struct Envelope {
    pub(crate) id: EnvelopeId,
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

impl Envelope {
    /// Bytes without a pattern.
    pub(crate) fn new(folder: &Path, size: usize) -> Self {
        let mut bytes = vec![0; size];
        blake3::Hasher::new().update(&size.to_be_bytes()).finalize_xof().fill(&mut bytes);
        let id = EnvelopeId(*blake3::hash(&bytes).as_bytes());
        let path = folder.join(format!("{}.out", id.short()));
        std::fs::write(&path, &bytes).unwrap();
        Self { id, path, bytes }
    }
}
