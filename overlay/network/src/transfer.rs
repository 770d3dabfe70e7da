//! What is said on the streams of `/kith/mail/1`, each in a task of its own, off the swarm's.
//!
//! The tasks tell the driver by [`Note`]s; the channel is bounded, so a busy driver slows its peers down and loses nothing. Files are read and
//! written by blocking threads; at most 1 MiB of a body is in flight between stream and disk.

mod ask;
mod greet;
mod link;
mod pace;
mod pipe;
mod receive;
mod send;
mod slots;
mod staging;
mod stream;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use kith_protocol::event::{Answer, OfferOutcome};
use kith_protocol::hosting::NodeKey;
use kith_protocol::ids::{Op, PeerId as Name, Token};
use kith_protocol::wire::{Message, Offer};
use libp2p::PeerId;
use libp2p::swarm::ConnectionId;
use tokio::sync::{mpsc, oneshot};

use crate::config::Limits;
use crate::service::Asked;

pub(crate) use ask::ask;
pub(crate) use greet::greet;
pub(crate) use link::{Gone, Link, Open};
pub(crate) use receive::serve;
pub(crate) use send::{Outgoing, offer};
pub(crate) use slots::Slots;
pub(crate) use staging::Staging;

/// Notes that wait for the driver.
pub(crate) const NOTES_MAX: usize = 64;

/// What the tasks tell the driver.
#[derive(Debug)]
pub(crate) enum Note {
    /// The peer said a proper Hello on this connection.
    Greeted { peer: PeerId, connection: ConnectionId, nonce: [u8; 32], features: u64 },
    /// The peer did not say Hello: it is no Kith node, or the connection is bad.
    NotGreeted { peer: PeerId, connection: ConnectionId },
    /// The peer offers an envelope.
    Offer { peer: PeerId, token: Token, offer: Offer, deposit: bool, answers: mpsc::Sender<Answer> },
    /// The peer asks this node as a relay.
    Asked { peer: PeerId, token: Token, asked: Asked, answer: oneshot::Sender<Message> },
    /// The question was answered, or nobody waits for the answer any more.
    AskEnded { token: Token },
    /// A question of ours ended.
    Answered { op: Op, answer: Option<Message> },
    /// The offered envelope is complete.
    Body { token: Token, file: PathBuf },
    /// Nothing comes of the offer.
    Broken { token: Token },
    /// The offer was answered; its token is forgotten.
    Ended { token: Token },
    /// An offer of ours ended.
    Offered { peer: PeerId, op: Op, outcome: OfferOutcome },
    /// The peer broke the protocol.
    Breach { peer: PeerId, what: String },
}

/// What all tasks share.
pub(crate) struct Context {
    pub(crate) limits: Limits,
    pub(crate) staging: Staging,
    pub(crate) notes: mpsc::Sender<Note>,
    /// This node.
    pub(crate) name: Name,
    /// What it says to keep is signed with this.
    pub(crate) key: NodeKey,
    /// Every peer's nonce follows from it: random, and another one with every run.
    pub(crate) nonces: [u8; 32],
    pub(crate) features: u64,
    pub(crate) tokens: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    /// Bodies being received.
    pub(crate) receiving: AtomicUsize,
}

impl Context {
    /// A token that no other offer has or had.
    fn token(&self) -> Token {
        Token(self.tokens.fetch_add(1, Ordering::Relaxed))
    }

    /// The nonce that this peer proves itself over.
    fn nonce(&self, peer: &Name) -> [u8; 32] {
        *blake3::keyed_hash(&self.nonces, peer.as_bytes()).as_bytes()
    }

    /// Tells the driver; when it is gone there is nobody to tell.
    async fn note(&self, note: Note) {
        self.notes.send(note).await.ok();
    }
}

/// Why a stream ended before its time.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The stream or connection is gone.
    #[error("the stream broke: {0}")]
    Stream(#[from] std::io::Error),
    /// The peer was too slow.
    #[error("the peer was too slow")]
    Slow,
    /// The peer broke the protocol.
    #[error("the peer broke the protocol: {0}")]
    Breach(String),
    /// Our own disk or file failed.
    #[error("a file failed: {0}")]
    File(std::io::Error),
}

impl From<kith_protocol::wire::WireError> for Failure {
    fn from(error: kith_protocol::wire::WireError) -> Self {
        Self::Breach(error.to_string())
    }
}

/// Waits for what the stream gives, at most so long.
async fn within<T>(limit: std::time::Duration, future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(limit, future).await.unwrap_or(Err(Failure::Slow))
}
