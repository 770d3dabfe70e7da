//! A peer that speaks the transports and then whatever a test makes it say.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Duration;

use bao_tree::io::outboard::PreOrderMemOutboard;
use bao_tree::io::sync::encode_ranges;
use bao_tree::{BlockSize, ChunkNum, ChunkRanges};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use kith_protocol::ids::PeerId as Name;
use kith_protocol::wire::{self, Hello, Message, VERSION};
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::identity::{self, ed25519};
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler,
    Stream, StreamProtocol, SubstreamProtocol, SwarmEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, Swarm, SwarmBuilder, noise, tcp, yamux};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

/// A swarm that does nothing by itself; gives the streams that come in as events.
pub(crate) fn swarm(seed: u8) -> Swarm<Streams> {
    let key = identity::Keypair::ed25519_from_bytes([seed; 32]).unwrap();
    let public = key.public().try_into_ed25519().unwrap();
    SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| Streams { key: public, waiting: VecDeque::new(), actions: VecDeque::new() })
        .unwrap()
        .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(Duration::from_secs(60)))
        .build()
}

/// A hand-made peer, connected to one node.
pub(crate) struct Raw {
    pub(crate) name: Name,
    open: mpsc::Sender<oneshot::Sender<Stream>>,
    closed: oneshot::Receiver<()>,
}

impl Raw {
    /// Connects, and says nothing.
    pub(crate) async fn connect(seed: u8, address: &str) -> Self {
        let mut swarm = swarm(seed);
        let name = Name(swarm.behaviour().key.to_bytes());
        swarm.dial(address.parse::<Multiaddr>().unwrap()).unwrap();
        let peer = loop {
            if let SwarmEvent::ConnectionEstablished { peer_id, .. } = timeout(PATIENCE, swarm.select_next_some()).await.unwrap()
            {
                break peer_id;
            }
        };
        let (open, mut requests) = mpsc::channel::<oneshot::Sender<Stream>>(8);
        let (closing, closed) = oneshot::channel();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    request = requests.recv() => match request {
                        Some(request) => {
                            swarm.behaviour_mut().waiting.push_back(request);
                            swarm.behaviour_mut().actions.push_back(ToSwarm::NotifyHandler {
                                peer_id: peer,
                                handler: NotifyHandler::Any,
                                event: (),
                            });
                        }
                        None => return,
                    },
                    event = swarm.select_next_some() => if let SwarmEvent::ConnectionClosed { .. } = event {
                        closing.send(()).ok();
                        return;
                    },
                }
            }
        });
        Self { name, open, closed }
    }

    /// Connects and greets properly.
    pub(crate) async fn greet(seed: u8, address: &str) -> Self {
        let raw = Self::connect(seed, address).await;
        let mut stream = raw.stream().await;
        say(&mut stream, &Message::Hello(Hello { version: VERSION, features: 0, nonce: [0; 32], ext: None })).await;
        assert!(matches!(hear(&mut stream).await, Some(Message::Hello(_))));
        raw
    }

    /// A new stream of `/kith/mail/1`.
    pub(crate) async fn stream(&self) -> Stream {
        let (sender, receiver) = oneshot::channel();
        self.open.send(sender).await.unwrap();
        timeout(PATIENCE, receiver).await.unwrap().unwrap()
    }

    /// Until the node hangs up.
    pub(crate) async fn hung_up(&mut self) {
        timeout(PATIENCE, &mut self.closed).await.expect("the node hangs up").unwrap();
    }

    pub(crate) fn is_connected(&mut self) -> bool {
        self.closed.try_recv().is_err()
    }
}

/// Whom a node takes the peer of this seed for.
pub(crate) fn name(seed: u8) -> Name {
    Name(swarm(seed).behaviour().key.to_bytes())
}

pub(crate) async fn say(stream: &mut Stream, message: &Message) {
    shout(stream, &message.to_frame().unwrap()).await;
}

/// Any bytes at all.
pub(crate) async fn shout(stream: &mut Stream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
}

/// The next message; `None` when the stream ends.
pub(crate) async fn hear(stream: &mut Stream) -> Option<Message> {
    let heard = async {
        let mut length = [0; wire::LENGTH_BYTES];
        stream.read_exact(&mut length).await.ok()?;
        let mut payload = vec![0; wire::payload_length(length).unwrap()];
        stream.read_exact(&mut payload).await.ok()?;
        Some(Message::from_payload(&payload).unwrap())
    };
    timeout(PATIENCE, heard).await.expect("the node says something")
}

/// The verified encoding of a body from a group on.
pub(crate) fn encode(bytes: &[u8], from_group: u64) -> Vec<u8> {
    let outboard = PreOrderMemOutboard::create(bytes, BlockSize::from_chunk_log(4));
    let mut encoded = Vec::new();
    encode_ranges(bytes, &outboard, &ChunkRanges::from(ChunkNum(from_group * 16)..), &mut encoded).unwrap();
    encoded
}

/// Opens streams when asked.
pub(crate) struct Streams {
    key: ed25519::PublicKey,
    waiting: VecDeque<oneshot::Sender<Stream>>,
    actions: VecDeque<ToSwarm<Stream, ()>>,
}

/// A stream, and which side opened it.
#[derive(Debug)]
pub(crate) enum Opened {
    ByUs(Stream),
    ByThem(Stream),
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Opener;
    type ToSwarm = Stream;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Opener, ConnectionDenied> {
        Ok(Opener::default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Opener, ConnectionDenied> {
        Ok(Opener::default())
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, opened: Opened) {
        match opened {
            Opened::ByUs(stream) => {
                if let Some(waiting) = self.waiting.pop_front() {
                    waiting.send(stream).ok();
                }
            }
            Opened::ByThem(stream) => self.actions.push_back(ToSwarm::GenerateEvent(stream)),
        }
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Stream, ()>> {
        self.actions.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

#[derive(Default)]
pub(crate) struct Opener {
    to_open: usize,
    open: VecDeque<Opened>,
}

impl ConnectionHandler for Opener {
    type FromBehaviour = ();
    type ToBehaviour = Opened;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol, ()> {
        SubstreamProtocol::new(ReadyUpgrade::new(StreamProtocol::new(wire::PROTOCOL)), ())
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Opened>> {
        if let Some(stream) = self.open.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(stream));
        }
        if self.to_open > 0 {
            self.to_open -= 1;
            let protocol = SubstreamProtocol::new(ReadyUpgrade::new(StreamProtocol::new(wire::PROTOCOL)), ());
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, (): ()) {
        self.to_open += 1;
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), ()>) {
        match event {
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, .. }) => {
                self.open.push_back(Opened::ByUs(protocol));
            }
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => {
                self.open.push_back(Opened::ByThem(protocol));
            }
            _ => {}
        }
    }
}
