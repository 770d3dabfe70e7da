//! The libp2p swarm: transports, behaviours and their settings.

use std::num::NonZeroUsize;
use std::time::Duration;

use kith_protocol::limits::RECORD_BYTES_MAX;
use libp2p::identity::Keypair;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{StreamProtocol, Swarm, SwarmBuilder, autonat, dcutr, identify, kad, mdns, noise, ping, relay, tcp, upnp, yamux};
use libp2p_allow_block_list::{self as allow_block_list, BlockedPeers};
use libp2p_connection_limits::{self as connection_limits, ConnectionLimits};
use libp2p_memory_connection_limits as memory_limits;

use crate::config::{Config, Limits};
use crate::mail;
use crate::service::StartError;

/// The directory's protocol.
pub(crate) const KAD_PROTOCOL: StreamProtocol = StreamProtocol::new("/kith/kad/1");
/// What identify calls the family of protocols.
const IDENTIFY_PROTOCOL: &str = "/kith/1";
/// How long a record is kept without being refreshed.
pub(crate) const RECORD_TTL: Duration = Duration::from_secs(48 * 60 * 60);
/// A question to the directory ends after this time.
pub(crate) const QUERY_TIMEOUT: Duration = Duration::from_secs(20);
/// Peers asked at a time by one question.
const PARALLELISM: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9);
const KAD_PACKET_BYTES: usize = 16 * 1024;
const KAD_SUBSTREAM_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);
const IDENTIFY_INTERVAL: Duration = Duration::from_secs(60 * 60);
const AGENT_BYTES_MAX: usize = 64;
const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
const QUIC_STREAM_BYTES: u32 = 2 << 20;
const QUIC_CONNECTION_BYTES: u32 = 4 << 20;
const QUIC_KEEP_ALIVE: Duration = Duration::from_secs(20);
const QUIC_IDLE_MS: u32 = 60_000;
/// Streams of one connection, over either transport.
const STREAMS_MAX: u16 = 64;
const NEGOTIATING_MAX: usize = 32;
const TCP_BACKLOG: u32 = 1024;
/// Nodes that keep a circuit here.
const CIRCUIT_RESERVATIONS: usize = 32;
/// Circuits in use.
const CIRCUITS_MAX: usize = 64;
const CIRCUITS_PER_PEER: usize = 4;
/// How long one lasts, and how much it carries.
const CIRCUIT_TIME: Duration = Duration::from_secs(5 * 60);
const CIRCUIT_BYTES: u64 = 1 << 20;

/// Everything that a connection is used for.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    // The three that may refuse a connection come first.
    pub(crate) limits: connection_limits::Behaviour,
    pub(crate) memory: memory_limits::Behaviour,
    pub(crate) bans: allow_block_list::Behaviour<BlockedPeers>,
    pub(crate) kad: kad::Behaviour<MemoryStore>,
    pub(crate) identify: identify::Behaviour,
    pub(crate) ping: ping::Behaviour,
    pub(crate) mdns: Toggle<mdns::tokio::Behaviour>,
    /// Our own circuits, and the ways that they open.
    pub(crate) circuit: relay::client::Behaviour,
    pub(crate) punch: dcutr::Behaviour,
    /// Circuits for others.
    pub(crate) circuits: relay::Behaviour,
    pub(crate) reach: autonat::v2::client::Behaviour,
    /// Only where a person says that this node is reachable: it costs others' traffic.
    pub(crate) probe: Toggle<autonat::v2::server::Behaviour>,
    pub(crate) upnp: Toggle<upnp::tokio::Behaviour>,
    pub(crate) mail: mail::Behaviour,
}

/// Builds the swarm; it listens nowhere yet. Must be called within a tokio runtime.
pub(crate) fn build(config: &Config) -> Result<Swarm<Behaviour>, StartError> {
    let mut seed = config.key_seed.clone();
    let key = Keypair::ed25519_from_bytes(&mut seed[..]).map_err(transport)?;
    let mdns = if config.mdns { lan(&key) } else { None };
    let behaviour = |key: &Keypair, circuit| behaviour(key, config, mdns, circuit);
    let swarm = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true).listen_backlog(TCP_BACKLOG), noise::Config::new, muxer)
        .map_err(transport)?
        .with_quic_config(|mut quic| {
            quic.max_stream_data = QUIC_STREAM_BYTES;
            quic.max_connection_data = QUIC_CONNECTION_BYTES;
            quic.keep_alive_interval = QUIC_KEEP_ALIVE;
            quic.max_idle_timeout = QUIC_IDLE_MS;
            quic.max_concurrent_stream_limit = u32::from(STREAMS_MAX);
            quic
        })
        .with_dns()
        .map_err(transport)?
        .with_relay_client(noise::Config::new, muxer)
        .map_err(transport)?
        .with_behaviour(behaviour)
        .map_err(transport)?
        .with_swarm_config(|swarm| {
            swarm
                .with_smart_dial()
                .with_idle_connection_timeout(config.limits.idle)
                .with_max_negotiating_inbound_streams(NEGOTIATING_MAX)
        })
        .with_connection_timeout(CONNECTION_TIMEOUT)
        .build();
    Ok(swarm)
}

fn transport(error: impl std::fmt::Display) -> StartError {
    StartError::Transport(error.to_string())
}

fn muxer() -> yamux::Config {
    let mut muxer = yamux::Config::default();
    muxer.set_max_num_streams(usize::from(STREAMS_MAX));
    muxer
}

/// Discovery on the LAN; a machine without multicast does without.
fn lan(key: &Keypair) -> Option<mdns::tokio::Behaviour> {
    match mdns::tokio::Behaviour::new(mdns::Config::default(), key.public().to_peer_id()) {
        Ok(mdns) => Some(mdns),
        Err(error) => {
            tracing::warn!(%error, "nodes on the same network cannot be found: multicast does not work here");
            None
        }
    }
}

fn behaviour(
    key: &Keypair,
    config: &Config,
    mdns: Option<mdns::tokio::Behaviour>,
    circuit: relay::client::Behaviour,
) -> Behaviour {
    let name = key.public().to_peer_id();
    let agent: String = config.agent.chars().filter(|c| !c.is_control()).take(AGENT_BYTES_MAX / 4).collect();
    let identify = identify::Config::new(IDENTIFY_PROTOCOL.to_owned(), key.public())
        .with_agent_version(agent)
        .with_interval(IDENTIFY_INTERVAL)
        .with_push_listen_addr_updates(true)
        // The addresses of a home network are nobody else's business: only configured external addresses are told.
        .with_hide_listen_addrs(true);
    Behaviour {
        limits: connection_limits::Behaviour::new(connections(&config.limits)),
        memory: memory_limits::Behaviour::with_max_bytes(config.limits.memory),
        bans: allow_block_list::Behaviour::default(),
        kad: directory(name, &config.limits),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_TIMEOUT)),
        mdns: mdns.into(),
        circuit,
        punch: dcutr::Behaviour::new(name),
        circuits: circuits(name),
        reach: autonat::v2::client::Behaviour::default(),
        probe: (!config.external.is_empty()).then(autonat::v2::server::Behaviour::default).into(),
        upnp: config.upnp.then(upnp::tokio::Behaviour::default).into(),
        mail: mail::Behaviour::default(),
    }
}

/// Circuits for others: enough for two nodes to find a direct way, and for a letter without one. Off until this node is known to be reachable.
fn circuits(name: libp2p::PeerId) -> relay::Behaviour {
    let config = relay::Config {
        max_reservations: CIRCUIT_RESERVATIONS,
        max_reservations_per_peer: CIRCUITS_PER_PEER,
        max_circuits: CIRCUITS_MAX,
        max_circuits_per_peer: CIRCUITS_PER_PEER,
        max_circuit_duration: CIRCUIT_TIME,
        max_circuit_bytes: CIRCUIT_BYTES,
        ..relay::Config::default()
    };
    let mut circuits = relay::Behaviour::new(name, config);
    circuits.set_status(Some(relay::Status::Disable));
    circuits
}

fn connections(limits: &Limits) -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_pending_incoming(Some(limits.pending_incoming))
        .with_max_pending_outgoing(Some(limits.pending_outgoing))
        .with_max_established_incoming(Some(limits.established_incoming))
        .with_max_established_outgoing(Some(limits.established_outgoing))
        .with_max_established(Some(limits.established))
        .with_max_established_per_peer(Some(limits.established_per_peer))
}

/// The directory with all automation taken away: who enters the table, what is stored and when it is refreshed is decided by the driver.
fn directory(name: libp2p::PeerId, limits: &Limits) -> kad::Behaviour<MemoryStore> {
    let mut config = kad::Config::new(KAD_PROTOCOL);
    config
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None)
        .set_record_ttl(Some(RECORD_TTL))
        .set_periodic_bootstrap_interval(None)
        .set_parallelism(PARALLELISM)
        .set_query_timeout(QUERY_TIMEOUT)
        .set_substreams_timeout(KAD_SUBSTREAM_TIMEOUT)
        .set_max_packet_size(KAD_PACKET_BYTES)
        .set_caching(kad::Caching::Disabled);
    let store = MemoryStoreConfig {
        max_records: limits.records,
        // The store takes only what is shorter than this.
        max_value_bytes: RECORD_BYTES_MAX + 1,
        max_providers_per_key: 0,
        max_provided_keys: 0,
    };
    let mut kad = kad::Behaviour::with_config(name, MemoryStore::with_config(name, store), config);
    kad.set_mode(Some(kad::Mode::Server));
    kad
}

const _: () = assert!(RECORD_BYTES_MAX + 1024 < KAD_PACKET_BYTES);
