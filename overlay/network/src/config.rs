//! What a node is started with, and every limit it keeps.

use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

/// What [`crate::start`] needs to know.
pub struct Config {
    /// Seed of the node's Ed25519 key: 32 bytes, kept secret, unrelated to every mailbox key.
    pub key_seed: Zeroizing<[u8; 32]>,
    /// Multiaddresses to listen on, such as `/ip4/0.0.0.0/tcp/4190` and `/ip4/0.0.0.0/udp/4190/quic-v1`. May be empty.
    pub listen: Vec<String>,
    /// Multiaddresses of nodes to enter the overlay by, with or without `/p2p/…`. Hints, never trusted. May be empty.
    pub bootstrap: Vec<String>,
    /// Multiaddresses under which this node is known to be reachable from the Internet; told to every peer.
    pub external: Vec<String>,
    /// Find and be found by nodes of the same LAN. Shows the node's name to everybody there.
    pub mdns: bool,
    /// Ask the network's gateway to forward to this node (UPnP).
    pub upnp: bool,
    /// Folder for envelopes on their way in. Made when it is missing; only this crate writes there.
    pub staging: PathBuf,
    /// Where the addresses of good peers are kept between runs; `None`: nowhere.
    pub peers_file: Option<PathBuf>,
    /// What protects this node from its peers.
    pub limits: Limits,
    /// What the node can do, as its greeting says: bits of `kith_protocol::wire::Hello::features`.
    pub features: u64,
    /// What the node calls itself to others, such as `kith/0`. At most 64 bytes are told.
    pub agent: String,
}

impl Config {
    /// A node that listens nowhere, knows nobody and keeps no peers: the caller fills in the rest.
    #[must_use]
    pub fn new(key_seed: Zeroizing<[u8; 32]>, staging: PathBuf) -> Self {
        Self {
            key_seed,
            listen: Vec::new(),
            bootstrap: Vec::new(),
            external: Vec::new(),
            mdns: false,
            upnp: false,
            staging,
            peers_file: None,
            limits: Limits::default(),
            features: 0,
            agent: "kith/0".to_owned(),
        }
    }
}

/// What protects a node from its peers. The defaults suit a small home server.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections being made to us.
    pub pending_incoming: u32,
    /// Connections being made by us.
    pub pending_outgoing: u32,
    /// Connections made to us.
    pub established_incoming: u32,
    /// Connections made by us.
    pub established_outgoing: u32,
    /// Connections in all.
    pub established: u32,
    /// Connections of one peer.
    pub established_per_peer: u32,
    /// Connections of favoured peers ([`crate::Command::Favour`]), for whom the three limits above do not hold.
    pub established_favoured: u32,
    /// Bytes of resident memory above which no connection is taken.
    pub memory: usize,
    /// A connection that nobody uses is closed after this time.
    pub idle: Duration,
    /// Streams that one peer may have open to us.
    pub inbound_streams_per_peer: usize,
    /// Streams that all peers together may have open to us.
    pub inbound_streams: usize,
    /// Of them, for favoured peers alone.
    pub inbound_streams_favoured: usize,
    /// Bytes per second that a body must come (and go) with, on average.
    pub minimum_rate: u64,
    /// How long a body may be slower than that at first.
    pub rate_grace: Duration,
    /// How long a peer may take for its first frame on a stream.
    pub first_frame: Duration,
    /// How long the engine may take to answer an offer.
    pub answer: Duration,
    /// How long the engine may take to commit a received body.
    pub commit: Duration,
    /// Bytes of the largest envelope that is taken.
    pub envelope: u64,
    /// Bytes of all envelopes on their way in.
    pub staging: u64,
    /// An unfinished envelope is thrown away this long after its last byte.
    pub staging_age: Duration,
    /// Records of the directory that are kept for others.
    pub records: usize,
    /// Records that one peer may store here in a minute; an account publishes 18 at a time, and a node may have many.
    pub records_per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pending_incoming: 32,
            pending_outgoing: 32,
            established_incoming: 96,
            established_outgoing: 96,
            established: 160,
            established_per_peer: 4,
            established_favoured: 160,
            memory: 192 << 20,
            idle: Duration::from_secs(120),
            inbound_streams_per_peer: 24,
            inbound_streams: 96,
            inbound_streams_favoured: 32,
            minimum_rate: 10_000,
            rate_grace: Duration::from_secs(10),
            first_frame: Duration::from_secs(10),
            answer: Duration::from_secs(60),
            commit: Duration::from_secs(120),
            envelope: 64 << 20,
            staging: 2 << 30,
            staging_age: Duration::from_secs(24 * 60 * 60),
            records: 4096,
            records_per_minute: 240,
        }
    }
}
