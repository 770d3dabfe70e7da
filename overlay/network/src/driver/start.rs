//! From a configuration to a running driver.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use kith_protocol::hosting::NodeKey;
use libp2p::Multiaddr;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::Instant;

use super::{Driver, SAVE_INTERVAL, SWEEP_INTERVAL, closest, connect, directory, entry, observed, offers, reach};
use crate::addresses::AddressBook;
use crate::config::Config;
use crate::names;
use crate::peers::Peers;
use crate::service::{COMMANDS_MAX, EVENTS_MAX, Events, Handle, StartError, Status};
use crate::swarm;
use crate::transfer::{Context, NOTES_MAX, Slots, Staging};

/// Starts a node: listens, enters the overlay, and serves until [`Handle::shutdown`]. Must be called within a tokio runtime.
///
/// # Errors
/// [`StartError`] when an address does not parse or cannot be listened on, or the staging folder cannot be used. Peers that do not answer are no
/// error.
pub async fn start(config: Config) -> Result<(Handle, Events), StartError> {
    let listen = parse(&config.listen)?;
    let external = parse(&config.external)?;
    let bootstrap = parse(&config.bootstrap)?;
    let mut swarm = swarm::build(&config)?;
    for address in listen {
        let failed = |reason: String| StartError::Listen { address: address.to_string(), reason };
        swarm.listen_on(address.clone()).map_err(|error| failed(describe(&error)))?;
    }
    let external: BTreeSet<_> = external.into_iter().map(|address| names::split_peer(address).0).collect();
    for address in &external {
        swarm.add_external_address(address.clone());
    }
    let peer =
        names::from_libp2p(swarm.local_peer_id()).ok_or_else(|| StartError::Transport("the node's key is none".to_owned()))?;
    let staging = open_staging(&config).await?;
    let book = match config.peers_file.clone() {
        Some(path) => spawn_blocking(move || AddressBook::load(&path)).await.unwrap_or_default(),
        None => AddressBook::default(),
    };
    let (requests, request_queue) = mpsc::channel(COMMANDS_MAX);
    let (event_sender, events) = mpsc::channel(EVENTS_MAX);
    let (notes, note_queue) = mpsc::channel(NOTES_MAX);
    let (status_sender, status) = watch::channel(Arc::new(Status::default()));
    let slots = Slots::new(&config.limits);
    let context = Context {
        limits: config.limits,
        staging,
        notes,
        name: peer,
        key: NodeKey::from_seed(&config.key_seed),
        nonces: rand::random(),
        features: config.features,
        tokens: AtomicU64::new(1),
        bytes_in: AtomicU64::new(0),
        bytes_out: AtomicU64::new(0),
        receiving: AtomicUsize::new(0),
    };
    let now = Instant::now();
    let driver = Driver {
        swarm,
        requests: request_queue,
        events: event_sender,
        pending: VecDeque::new(),
        notes: note_queue,
        status: status_sender,
        context: Arc::new(context),
        slots,
        tasks: JoinSet::new(),
        peers: Peers::default(),
        book,
        peers_file: config.peers_file,
        connecting: connect::Connecting::default(),
        offers: offers::Offers::default(),
        directory: directory::Directory::new(now),
        closest: closest::Closest::default(),
        entry: entry::Entry::new(bootstrap, now),
        reach: reach::Reach::default(),
        observed: observed::Observed::new(external),
        bans: VecDeque::new(),
        favoured: BTreeSet::new(),
        started: now,
        network_changed: None,
        next_save: now + SAVE_INTERVAL,
        next_sweep: now + SWEEP_INTERVAL,
    };
    tokio::spawn(driver.run());
    Ok((Handle { peer, requests, status }, Events(events)))
}

async fn open_staging(config: &Config) -> Result<Staging, StartError> {
    let (folder, limit, age) = (config.staging.clone(), config.limits.staging, config.limits.staging_age);
    let opened =
        spawn_blocking(move || Staging::open(folder, limit, age)).await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    opened.map_err(|source| StartError::Staging { folder: config.staging.clone(), source })
}

fn parse(texts: &[String]) -> Result<Vec<Multiaddr>, StartError> {
    texts.iter().map(|text| text.parse().map_err(|_| StartError::Address { text: text.clone() })).collect()
}

/// The error with its causes, on one line.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
