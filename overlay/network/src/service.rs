//! The whole interface: commands in, events out, and a handle to the running node.

use std::path::PathBuf;
use std::sync::Arc;

use kith_protocol::event::{Answer, OfferOutcome};
use kith_protocol::hosting::{self, Reply};
use kith_protocol::ids::{EnvelopeId, Op, PeerId, QueueName, Token};
use kith_protocol::stamp::Stamp;
use kith_protocol::wire::{Message, Onward};
use kith_protocol::work::Work;
use tokio::sync::{mpsc, watch};

/// Commands that wait for the node; the sender waits when they are this many.
pub(crate) const COMMANDS_MAX: usize = 256;
/// Keys in one [`Command::Closest`], at most.
pub const CLOSEST_KEYS_MAX: usize = 4;
/// Events that wait for the engine; the node stops reading from its peers when they are this many.
pub(crate) const EVENTS_MAX: usize = 256;

/// What an offer brings along.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ticket {
    /// To be kept for the mailbox's owner, which ends with *stored* in place of *have*.
    pub deposit: bool,
    /// One of the stamps that the mailbox's owner gave.
    pub stamp: Option<Stamp>,
    /// What strangers do in place of it.
    pub work: Option<Work>,
    /// Where it is to be carried, by a relay of the sender's own; at most 5.
    pub onward: Vec<Onward>,
}

/// Where an envelope's bytes are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// In a file that stays as it is until [`Event::Offered`].
    File(PathBuf),
    /// Here: at most 65,536 of them.
    Bytes(Arc<[u8]>),
}

/// What a peer asks of this node as a relay. Answered by [`Command::Reply`] or [`Command::Show`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// The owner of a queue, whose proof holds.
    Owner {
        /// The queue's public key.
        key: [u8; 32],
        /// What is asked.
        request: hosting::Request,
    },
    /// Somebody who left an envelope here: whether it still is.
    Audit {
        /// The queue.
        queue: QueueName,
        /// Which envelope.
        envelope: EnvelopeId,
        /// Chooses the piece to be shown.
        nonce: [u8; 16],
    },
}

/// What the node shall do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Connect to a peer: by these addresses, by those known from before, or by what the directory says. The connection is then kept, as far as it
    /// depends on this side, until [`Command::Disconnect`] or until it breaks. Ends with [`Event::PeerUp`] or [`Event::ConnectFailed`]; for a peer that is up already there is no second
    /// `PeerUp`: the first is in the queue of events or has been read.
    Connect {
        /// Names the answer.
        op: Op,
        /// Whom.
        peer: PeerId,
        /// Multiaddresses as text; those that do not parse are passed over.
        addresses: Vec<String>,
    },
    /// The connection need not be kept any longer: it closes when nobody uses it.
    Disconnect {
        /// Whose.
        peer: PeerId,
    },
    /// Close every connection of the peer and take none for a while.
    Ban {
        /// Whom.
        peer: PeerId,
        /// For how long.
        seconds: u32,
    },
    /// These peers, 4,096 at most, are let in where a crowd of others has taken the room that there is: those that people here know. In the place of
    /// those named before.
    Favour {
        /// Who.
        peers: Vec<PeerId>,
    },
    /// Offer an envelope to a connected peer and send what it lacks. Ends with [`Event::Offered`].
    Offer {
        /// Names the answer.
        op: Op,
        /// To whom.
        peer: PeerId,
        /// For which mailbox of that node.
        queue: QueueName,
        /// BLAKE3 of its bytes.
        envelope: EnvelopeId,
        /// How many they are.
        size: u64,
        /// The sealed envelope.
        source: Source,
        /// What it brings along.
        ticket: Ticket,
    },
    /// Ask a connected peer: a [`Message::Ask`] or a [`Message::Audit`]. Ends with [`Event::Answered`].
    Ask {
        /// Names the answer.
        op: Op,
        /// Whom.
        peer: PeerId,
        /// What.
        message: Message,
    },
    /// Answer an [`Asked::Owner`].
    Reply {
        /// Which question.
        token: Token,
        /// What is said.
        reply: Reply,
    },
    /// Answer an [`Asked::Audit`]: `None`, the envelope is not here (any more).
    Show {
        /// Which question.
        token: Token,
        /// By `kith_protocol::hosting::challenge_answer`.
        hash: Option<[u8; 32]>,
    },
    /// Look for the nodes closest to each of these keys that have all of these features, and connect to them. Ends with [`Event::Closest`].
    Closest {
        /// Names the answer.
        op: Op,
        /// Keys of the directory, [`CLOSEST_KEYS_MAX`] at most; for more of them nobody is found.
        keys: Vec<Vec<u8>>,
        /// Bits of `kith_protocol::wire::Hello::features`.
        features: u64,
    },
    /// Answer an offer ([`Event::OfferReceived`]) or, after [`Event::BodyReceived`], say what became of the body. `Answer::Have` must not be
    /// given before the body is durable.
    Answer {
        /// Which offer.
        token: Token,
        /// The answer.
        answer: Answer,
    },
    /// Put records into the directory and count who serves them afterwards. Ends with [`Event::Published`].
    Publish {
        /// Names the answer.
        op: Op,
        /// Directory keys with their values.
        records: Vec<(Vec<u8>, Vec<u8>)>,
    },
    /// Ask the directory for records. Ends with [`Event::Found`].
    Lookup {
        /// Names the answer.
        op: Op,
        /// The keys to ask for; at most 8 are.
        keys: Vec<Vec<u8>>,
    },
    /// Remember addresses of a peer for later.
    AddAddresses {
        /// Whose.
        peer: PeerId,
        /// Multiaddresses as text.
        addresses: Vec<String>,
    },
    /// Try the bootstrap entries and refresh the routing table now.
    Bootstrap,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The node listens here; the multiaddress ends in `/p2p/…`.
    Listening(String),
    /// The node does not listen here any more.
    ListeningEnded(String),
    /// The node is reachable from outside here.
    ExternalAddress(String),
    /// The machine's addresses changed: what failed before may work now.
    NetworkChanged,
    /// What a peer says of itself when it greets: comes before [`Event::PeerUp`].
    PeerKnown {
        /// Who.
        peer: PeerId,
        /// What proofs to it are made over; another one means that it runs anew.
        nonce: [u8; 32],
        /// What it can do.
        features: u64,
    },
    /// A peer is connected and speaks this protocol. Once, however many connections it has.
    PeerUp(PeerId),
    /// There is a direct connection to a peer to which an envelope could not go through another node: it can be sent now. Comes after [`Event::PeerUp`].
    DirectWay(PeerId),
    /// The last connection of a peer that was up is gone, or it runs anew: then [`Event::PeerKnown`] and [`Event::PeerUp`] follow at once.
    PeerDown(PeerId),
    /// No connection came about.
    ConnectFailed {
        /// Of the command.
        op: Op,
        /// Whom it named.
        peer: PeerId,
    },
    /// A peer offers an envelope and waits for [`Command::Answer`].
    OfferReceived {
        /// Names the offer.
        token: Token,
        /// Who offers.
        peer: PeerId,
        /// The mailbox it is for.
        queue: QueueName,
        /// BLAKE3 of the envelope.
        envelope: EnvelopeId,
        /// Its bytes, at most [`crate::Limits::envelope`].
        size: u64,
        /// What it brings along; nothing of it is checked yet.
        ticket: Ticket,
    },
    /// A peer asks this node as a relay.
    AskReceived {
        /// Names the question.
        token: Token,
        /// Who asks.
        peer: PeerId,
        /// What.
        asked: Asked,
    },
    /// The answer to a question of ours: a [`Message::Reply`], [`Message::Proof`] or [`Message::Refused`]; `None` when none came.
    Answered {
        /// Of the command.
        op: Op,
        /// What was said.
        answer: Option<Message>,
    },
    /// Nodes near keys, nearest first, that are connected now. Where the directory does not answer for a key, nobody is found near that one alone.
    Closest {
        /// Of the command.
        op: Op,
        /// In the order of the keys: at most 20 near each.
        peers: Vec<Vec<PeerId>>,
    },
    /// The envelope is complete and is what its name says. The engine may take the file away (rename it); what is left of it is removed with the
    /// answer `Have` or `Refused`, and kept for a next attempt with `Later`.
    BodyReceived {
        /// Which offer.
        token: Token,
        /// Where the envelope lies, synced to disk.
        file: PathBuf,
    },
    /// The offer is off: the peer went away, was too slow or lied. The token means nothing any more.
    BodyBroken {
        /// Which offer.
        token: Token,
    },
    /// How an offer of ours ended.
    Offered {
        /// Of the command.
        op: Op,
        /// How.
        outcome: OfferOutcome,
    },
    /// The records were put into the directory.
    Published {
        /// Of the command.
        op: Op,
        /// Other nodes that served the record when asked for it; of several records, that of the one fewest serve.
        holders: u32,
    },
    /// What the directory holds.
    Found {
        /// Of the command.
        op: Op,
        /// Distinct values of all keys that are records by `kith_protocol::record::check_stored`, at most 16; empty when there are none.
        values: Vec<Vec<u8>>,
    },
}

/// How others reach the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Reachability {
    /// Not known yet.
    #[default]
    Unknown,
    /// At addresses of its own.
    Direct,
    /// Through circuits at other nodes, and directly where both sides can open a way through their NATs.
    Circuits,
    /// Not at all: it reaches others, and gets what relays keep for it.
    Outgoing,
}

/// How the node is doing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// Peers that are up.
    pub peers: Vec<PeerId>,
    /// Multiaddresses that the node listens on, each with `/p2p/…`.
    pub listening: Vec<String>,
    /// Multiaddresses under which it is known to be reachable, each with `/p2p/…`.
    pub external: Vec<String>,
    /// Multiaddresses of circuits through other nodes that lead to this one.
    pub circuits: Vec<String>,
    /// How others reach it.
    pub reachability: Reachability,
    /// Whether the gateway of its network forwards to it; `None`: not known, or not asked for.
    pub gateway: Option<bool>,
    /// Peers in the directory's routing table.
    pub routing_table: usize,
    /// Records of the directory held here.
    pub records: usize,
    /// Bytes of envelopes received since the start.
    pub bytes_in: u64,
    /// Bytes of envelopes sent since the start.
    pub bytes_out: u64,
    /// Envelopes being received now.
    pub inbound_transfers: usize,
    /// Envelopes being offered or sent now.
    pub outbound_transfers: usize,
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address in the configuration is none.
    #[error("{text:?} is not a multiaddress such as /ip4/0.0.0.0/tcp/4190")]
    Address {
        /// What was written.
        text: String,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// Which.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// The staging folder cannot be used.
    #[error("cannot use the folder {}: {source}", folder.display())]
    Staging {
        /// Which.
        folder: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The transports could not be set up.
    #[error("cannot set up the network: {0}")]
    Transport(String),
}

/// The node has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the network has ended")]
pub struct Ended;

/// What goes to the node's task.
#[derive(Debug)]
pub(crate) enum Request {
    Command(Box<Command>),
    Shutdown,
}

/// A running node. Cheap to clone; the node ends with [`Handle::shutdown`] or with the last handle.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) peer: PeerId,
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) status: watch::Receiver<Arc<Status>>,
}

impl Handle {
    /// Hands a command to the node; waits while 256 are waiting.
    ///
    /// # Errors
    /// [`Ended`] when the node has ended.
    pub async fn send(&self, command: Command) -> Result<(), Ended> {
        self.requests.send(Request::Command(Box::new(command))).await.map_err(|_| Ended)
    }

    /// The node's own name.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.peer
    }

    /// How the node is doing, at most two seconds old.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::clone(&self.status.borrow())
    }

    /// Ends the node: closes every connection, keeps what was received so far, and returns when that is done.
    pub async fn shutdown(&self) {
        if self.requests.send(Request::Shutdown).await.is_ok() {
            self.requests.closed().await;
        }
    }
}

/// The node's events, in order. When nobody reads them the node stops listening to its peers; nothing is dropped.
#[derive(Debug)]
pub struct Events(pub(crate) mpsc::Receiver<Event>);

impl Events {
    /// The next event; `None` once the node has ended. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }
}
