//! The libp2p behaviour of `/kith/mail/1`: opens a stream on the very connection that is named, hands over every stream that comes in.
//!
//! It reads and writes nothing itself. Which streams are taken, and what is said on them, is decided by their receivers.

use std::collections::{HashSet, VecDeque};
use std::task::{Context, Poll, Waker};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler,
    Stream, StreamProtocol, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

const PROTOCOL: StreamProtocol = StreamProtocol::new(kith_protocol::wire::PROTOCOL);
/// Streams of one connection that wait to be handed over; what comes beyond is closed at once.
const WAITING_STREAMS_MAX: usize = 16;

/// What the behaviour reports.
#[derive(Debug)]
pub(crate) enum Event {
    /// A peer opened a stream.
    Inbound { peer: PeerId, connection: ConnectionId, stream: Stream },
    /// A stream that was asked for; `None`: the peer does not take it.
    Outbound { id: u64, stream: Option<Stream> },
}

/// What the behaviour asks of a connection.
#[derive(Debug)]
pub(crate) enum ToHandler {
    Open(u64),
    Keep(bool),
}

/// What a connection reports.
#[derive(Debug)]
pub(crate) enum FromHandler {
    Inbound(Stream),
    Outbound(u64, Option<Stream>),
}

/// Streams of `/kith/mail/1` on all connections.
#[derive(Default)]
pub(crate) struct Behaviour {
    actions: VecDeque<ToSwarm<Event, ToHandler>>,
    /// Peers whose connections are kept though nobody uses them; as many as the driver keeps.
    kept: HashSet<PeerId>,
    waker: Option<Waker>,
}

impl Behaviour {
    /// Asks for a stream; [`Event::Outbound`] with the same `id` follows, unless the connection closes before.
    pub(crate) fn open(&mut self, peer: PeerId, connection: ConnectionId, id: u64) {
        self.act(ToSwarm::NotifyHandler { peer_id: peer, handler: NotifyHandler::One(connection), event: ToHandler::Open(id) });
    }

    /// Keeps the peer's connections, present and future, or lets them go when idle.
    pub(crate) fn keep(&mut self, peer: PeerId, connections: impl Iterator<Item = ConnectionId>, keep: bool) {
        let changed = if keep { self.kept.insert(peer) } else { self.kept.remove(&peer) };
        if !changed {
            return;
        }
        for connection in connections {
            self.act(ToSwarm::NotifyHandler {
                peer_id: peer,
                handler: NotifyHandler::One(connection),
                event: ToHandler::Keep(keep),
            });
        }
    }

    fn act(&mut self, action: ToSwarm<Event, ToHandler>) {
        self.actions.push_back(action);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn handler(&self, peer: PeerId) -> Handler {
        Handler { keep: self.kept.contains(&peer), to_open: VecDeque::new(), ready: VecDeque::new() }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        self.act(ToSwarm::GenerateEvent(match event {
            FromHandler::Inbound(stream) => Event::Inbound { peer, connection, stream },
            FromHandler::Outbound(id, stream) => Event::Outbound { id, stream },
        }));
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<Event, THandlerInEvent<Self>>> {
        if let Some(action) = self.actions.pop_front() {
            return Poll::Ready(action);
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// The streams of one connection.
pub(crate) struct Handler {
    keep: bool,
    to_open: VecDeque<u64>,
    ready: VecDeque<FromHandler>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = ToHandler;
    type ToBehaviour = FromHandler;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = u64;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol, ()> {
        SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ())
    }

    fn connection_keep_alive(&self) -> bool {
        self.keep
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, u64, FromHandler>> {
        // The connection polls again after every event it gives us: no waker is needed.
        if let Some(event) = self.ready.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event));
        }
        if let Some(id) = self.to_open.pop_front() {
            let protocol = SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), id);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, event: ToHandler) {
        match event {
            ToHandler::Open(id) => self.to_open.push_back(id),
            ToHandler::Keep(keep) => self.keep = keep,
        }
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), u64>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: stream, .. })
                if self.ready.len() < WAITING_STREAMS_MAX =>
            {
                self.ready.push_back(FromHandler::Inbound(stream));
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: stream, info: id }) => {
                self.ready.push_back(FromHandler::Outbound(id, Some(stream)));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: id, .. }) => {
                self.ready.push_back(FromHandler::Outbound(id, None));
            }
            _ => {}
        }
    }
}
