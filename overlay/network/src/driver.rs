//! The one task that owns the swarm: commands, notes of the streams' tasks and events of libp2p come in, [`Event`]s go out.

mod closest;
mod connect;
mod directory;
mod entry;
mod favour;
mod observed;
mod offers;
mod reach;
mod routing;
mod start;

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use kith_protocol::event::RefusedReason;
use kith_protocol::wire::{Message, Proof, Refused};
use libp2p::swarm::SwarmEvent;
use libp2p::{PeerId, Swarm, identify, mdns, ping};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, timeout};

use crate::addresses::AddressBook;
use crate::mail;
use crate::names;
use crate::peers::{Connection, Peers};
use crate::service::{Command, Event, Request, Status};
use crate::swarm::{Behaviour, BehaviourEvent};
use crate::transfer::{Context, Link, Note, Open, Slots};

pub use start::start;

/// How often what depends on time is looked at, and [`Status`] brought up to date.
const TICK: Duration = Duration::from_secs(2);
/// Events beyond the engine's queue after which no command is taken either.
const PENDING_MAX: usize = 1024;
/// Changes of the machine's addresses within this time are one.
const NETWORK_SETTLES: Duration = Duration::from_secs(2);
/// Listening on what was asked for is no change.
const START_SETTLES: Duration = Duration::from_secs(5);
/// How often the file of known peers is written.
const SAVE_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// How often old parts are swept.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// How long the end may take.
const SHUTDOWN_MAX: Duration = Duration::from_secs(5);
/// Peers banned at a time; beyond, the oldest ban ends.
const BANS_MAX: usize = 1024;

/// The driver's state.
pub(crate) struct Driver {
    swarm: Swarm<Behaviour>,
    requests: mpsc::Receiver<Request>,
    events: mpsc::Sender<Event>,
    /// Events that the engine has no room for yet.
    pending: VecDeque<Event>,
    notes: mpsc::Receiver<Note>,
    status: watch::Sender<Arc<Status>>,
    context: Arc<Context>,
    slots: Slots,
    tasks: JoinSet<()>,
    peers: Peers,
    book: AddressBook,
    peers_file: Option<PathBuf>,
    connecting: connect::Connecting,
    offers: offers::Offers,
    directory: directory::Directory,
    closest: closest::Closest,
    entry: entry::Entry,
    reach: reach::Reach,
    observed: observed::Observed,
    /// Until when a peer is banned.
    bans: VecDeque<(Instant, PeerId)>,
    favoured: BTreeSet<PeerId>,
    started: Instant,
    network_changed: Option<Instant>,
    next_save: Instant,
    next_sweep: Instant,
}

impl Driver {
    /// Runs until the end.
    pub(crate) async fn run(mut self) {
        let events = self.events.clone();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let idle = self.pending.is_empty();
            tokio::select! {
                permit = events.reserve(), if !idle => match (permit, self.pending.pop_front()) {
                    (Ok(permit), Some(event)) => permit.send(event),
                    _ => break,
                },
                request = self.requests.recv(), if self.pending.len() < PENDING_MAX => match request {
                    Some(Request::Command(command)) => self.command(*command),
                    Some(Request::Shutdown) | None => break,
                },
                Some(note) = self.notes.recv(), if idle => self.note(note),
                event = self.swarm.select_next_some(), if idle => self.swarm_event(event),
                Some(_) = self.tasks.join_next(), if !self.tasks.is_empty() => {}
                _ = tick.tick() => self.tick().await,
                () = events.closed() => break,
            }
        }
        self.end().await;
    }

    fn emit(&mut self, event: Event) {
        self.pending.push_back(event);
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Connect { op, peer, addresses } => self.connect(op, peer, &addresses),
            Command::Disconnect { peer } => {
                if let Some(peer) = names::to_libp2p(peer) {
                    self.keep(peer, false);
                }
            }
            Command::Ban { peer, seconds } => {
                if let Some(peer) = names::to_libp2p(peer) {
                    self.ban(peer, Duration::from_secs(seconds.into()));
                }
            }
            Command::Favour { peers } => self.favour(&peers),
            Command::Offer { op, peer, queue, envelope, size, source, ticket } => {
                self.offer(peer, crate::transfer::Outgoing { op, queue, envelope, size, source, ticket, since: Instant::now() });
            }
            Command::Ask { op, peer, message } => self.ask_peer(op, peer, message),
            Command::Reply { token, reply } => self.offers.reply(token, Message::Reply(reply)),
            Command::Show { token, hash } => self.offers.reply(
                token,
                hash.map_or(Message::Refused(Refused { reason: RefusedReason::Unknown }), |hash| Message::Proof(Proof { hash })),
            ),
            Command::Closest { op, keys, features } => self.find_closest(op, keys, features),
            Command::Answer { token, answer } => self.offers.answer(token, answer),
            Command::Publish { op, records } => self.publish(op, records),
            Command::Lookup { op, keys } => self.lookup(op, keys),
            Command::AddAddresses { peer, addresses } => {
                if let Some(peer) = names::to_libp2p(peer) {
                    self.book.add(peer, addresses.iter().filter_map(|text| names::address_of(&peer, text)));
                }
            }
            Command::Bootstrap => self.enter(Instant::now()),
        }
    }

    fn note(&mut self, note: Note) {
        match note {
            Note::Greeted { peer, connection, nonce, features } => self.greeted(peer, connection, nonce, features),
            Note::NotGreeted { peer, connection } => {
                tracing::debug!(%peer, ?connection, "no greeting");
                self.connect_failed(peer);
            }
            Note::Offer { peer, token, offer, deposit, answers } => self.offer_received(peer, token, offer, deposit, answers),
            Note::Asked { peer, token, asked, answer } => self.ask_received(peer, token, asked, answer),
            Note::AskEnded { token } => self.offers.forget_question(token),
            Note::Answered { op, answer } => self.emit(Event::Answered { op, answer }),
            Note::Body { token, file } => self.emit(Event::BodyReceived { token, file }),
            Note::Broken { token } => {
                if self.offers.forget(token) {
                    self.emit(Event::BodyBroken { token });
                }
            }
            Note::Ended { token } => drop(self.offers.forget(token)),
            Note::Offered { peer, op, outcome } => self.offered(peer, op, outcome),
            Note::Breach { peer, what } => {
                tracing::info!(%peer, what, "a peer broke the protocol and is disconnected");
                self.swarm.disconnect_peer_id(peer).ok();
            }
        }
    }

    fn swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Mail(event)) => self.mail_event(event),
            SwarmEvent::Behaviour(BehaviourEvent::Kad(event)) => self.directory_event(event),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received { connection_id, peer_id, info })) => {
                self.circuits_served(peer_id, &info);
                self.seen_from(peer_id, connection_id, &info);
                self.identified(peer_id, connection_id, info);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event {
                connection,
                result: Err(ping::Failure::Timeout | ping::Failure::Other { .. }),
                ..
            })) => {
                // Half open: the other side went away without a word, or our way to it did.
                self.swarm.close_connection(connection);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Circuit(event)) => self.circuit_event(&event),
            SwarmEvent::Behaviour(BehaviourEvent::Upnp(event)) => self.upnp_event(&event),
            SwarmEvent::Behaviour(BehaviourEvent::Punch(event)) => {
                tracing::debug!(peer = %event.remote_peer_id, punched = event.result.is_ok(), "a direct way was tried");
            }
            SwarmEvent::Behaviour(BehaviourEvent::Mdns(mdns::Event::Discovered(found))) => self.discovered(found),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                let address = endpoint.get_remote_address().clone();
                tracing::debug!(peer = %peer_id, connection = %connection_id, dialed = endpoint.is_dialer(), %address, "a connection begins");
                if self.is_beyond(&peer_id, connection_id) {
                    return;
                }
                let (dialed, quic, relayed) = (endpoint.is_dialer(), names::is_quic(&address), endpoint.is_relayed());
                if dialed && relayed {
                    self.say_hello(peer_id, connection_id);
                } else if dialed {
                    self.book.reached(peer_id, address.clone(), unix_seconds());
                    self.entry.reached(&address, peer_id);
                    self.say_hello(peer_id, connection_id);
                }
                self.peers.opened(
                    peer_id,
                    Connection { id: connection_id, address, dialed, greeted: None, quic, relayed, open: Open::new() },
                );
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                tracing::debug!(peer = %peer_id, connection = %connection_id, cause = ?cause, "a connection ended");
                self.closed(peer_id, connection_id);
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } => self.dial_failed(peer, &error),
            SwarmEvent::NewListenAddr { address, .. } if names::is_circuit(&address) => {}
            SwarmEvent::ExpiredListenAddr { address, .. } if names::is_circuit(&address) => {}
            SwarmEvent::ListenerClosed { listener_id, .. } if self.circuit_ended(listener_id) => {}
            SwarmEvent::NewListenAddr { address, .. } => {
                let name = *self.swarm.local_peer_id();
                self.network_changes();
                // Whoever hears of it looks at the status.
                self.show();
                self.emit(Event::Listening(with_name(address, name)));
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                let name = *self.swarm.local_peer_id();
                self.address_gone(&address);
                self.network_changes();
                self.show();
                self.emit(Event::ListeningEnded(with_name(address, name)));
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                if let Err(error) = reason {
                    tracing::warn!(%error, "a listener ended");
                }
                let name = *self.swarm.local_peer_id();
                self.show();
                for address in addresses.into_iter().filter(|address| !names::is_circuit(address)) {
                    self.emit(Event::ListeningEnded(with_name(address, name)));
                }
            }
            SwarmEvent::ExternalAddrConfirmed { address } if names::is_circuit(&address) => {}
            SwarmEvent::ExternalAddrConfirmed { address } => {
                let name = *self.swarm.local_peer_id();
                self.show();
                self.emit(Event::ExternalAddress(with_name(address, name)));
            }
            _ => {}
        }
    }

    fn mail_event(&mut self, event: mail::Event) {
        match event {
            mail::Event::Inbound { peer, connection, stream } => {
                // Beyond the limit the stream is dropped, which the peer sees as a broken offer.
                let (Some(gone), Some(slot)) =
                    (self.peers.gone(&peer, connection), self.slots.take(peer, self.favoured.contains(&peer)))
                else {
                    return;
                };
                let link = Link::new(stream, gone);
                self.tasks.spawn(crate::transfer::serve(self.context.clone(), peer, connection, link, slot));
            }
            mail::Event::Outbound { id, stream } => self.opened(id, stream),
        }
    }

    fn network_changes(&mut self) {
        if self.started.elapsed() > START_SETTLES {
            self.network_changed = Some(Instant::now());
        }
    }

    fn ban(&mut self, peer: PeerId, time: Duration) {
        self.keep(peer, false);
        self.swarm.behaviour_mut().bans.block_peer(peer);
        self.bans.retain(|(_, banned)| *banned != peer);
        self.bans.push_back((Instant::now() + time, peer));
        if self.bans.len() > BANS_MAX
            && let Some((_, oldest)) = self.bans.pop_front()
        {
            self.swarm.behaviour_mut().bans.unblock_peer(oldest);
        }
    }

    async fn tick(&mut self) {
        let now = Instant::now();
        let (ended, bans) = self.bans.drain(..).partition::<VecDeque<_>, _>(|(until, _)| *until <= now);
        self.bans = bans;
        for (_, peer) in ended {
            self.swarm.behaviour_mut().bans.unblock_peer(peer);
        }
        if self.network_changed.is_some_and(|at| now.duration_since(at) >= NETWORK_SETTLES) {
            self.network_changed = None;
            self.entry.start_over(now);
            self.emit(Event::NetworkChanged);
        }
        self.connects_in_time(now);
        self.enter_in_time(now);
        self.reach_in_time(now);
        self.offers_in_time(now);
        self.closest_in_time(now);
        self.directory_in_time(now);
        if now >= self.next_save {
            self.next_save = now + SAVE_INTERVAL;
            self.save().await;
        }
        if now >= self.next_sweep {
            self.next_sweep = now + SWEEP_INTERVAL;
            let (staging, age) = (self.context.staging.clone(), self.context.limits.staging_age);
            self.tasks.spawn(async move {
                if let Ok(Err(error)) = tokio::task::spawn_blocking(move || staging.sweep(age)).await {
                    tracing::warn!(%error, "the folder of unfinished envelopes cannot be swept");
                }
            });
        }
        self.show();
    }

    /// Brings [`Status`] up to date.
    fn show(&mut self) {
        let name = *self.swarm.local_peer_id();
        let status = Status {
            peers: self.peers.up().filter_map(names::from_libp2p).collect(),
            listening: self
                .swarm
                .listeners()
                .filter(|address| !names::is_circuit(address))
                .map(|address| with_name(address.clone(), name))
                .collect(),
            external: self.direct_addresses().map(|address| with_name(address.clone(), name)).collect(),
            circuits: self.circuits(),
            reachability: self.reachability(),
            gateway: self.gateway(),
            routing_table: self.routing_table(),
            records: self.records(),
            bytes_in: self.context.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.context.bytes_out.load(Ordering::Relaxed),
            inbound_transfers: self.context.receiving.load(Ordering::Relaxed),
            outbound_transfers: self.offers.running(),
        };
        self.status.send_if_modified(|shown| {
            let changed = **shown != status;
            *shown = Arc::new(status);
            changed
        });
    }

    /// Takes what it needs first: the swarm cannot be shared while a task waits.
    fn save(&self) -> impl Future<Output = ()> + Send + use<> {
        let file = self.peers_file.clone().map(|path| (path, self.book.to_json()));
        async move {
            let Some((path, json)) = file else { return };
            if let Ok(Err(error)) = tokio::task::spawn_blocking(move || AddressBook::save(&path, &json)).await {
                tracing::warn!(%error, "the file of known peers cannot be written");
            }
        }
    }

    /// Closes everything; what was received so far is kept.
    async fn end(mut self) {
        self.save().await;
        let peers: Vec<_> = self.peers.all().copied().collect();
        for peer in peers {
            self.swarm.disconnect_peer_id(peer).ok();
        }
        let goodbye = async {
            while self.swarm.network_info().num_peers() > 0 {
                // Peers dial whom they lose: whoever is back already is sent away, too, or the end would take all the time that it may.
                if let SwarmEvent::ConnectionEstablished { peer_id, .. } = self.swarm.select_next_some().await {
                    self.swarm.disconnect_peer_id(peer_id).ok();
                }
            }
        };
        timeout(SHUTDOWN_MAX, goodbye).await.ok();
        // With the driver gone the streams' tasks come to their ends, and with them the threads that write.
        let mut tasks = std::mem::take(&mut self.tasks);
        drop(self);
        timeout(SHUTDOWN_MAX, async { while tasks.join_next().await.is_some() {} }).await.ok();
    }
}

fn with_name(address: libp2p::Multiaddr, name: PeerId) -> String {
    address.with_p2p(name).unwrap_or_else(|address| address).to_string()
}

fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
