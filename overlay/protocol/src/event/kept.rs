//! What is kept for others, and by others: the words of relays, owners and depositors.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Place;
use crate::address::Address;
use crate::card::Strangers;
use crate::ids::{AccountId, EnvelopeId, PeerId, QueueName};
use crate::work::Work;

/// A mailbox of somebody else that this node keeps letters for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HostedQueue {
    /// Its name: the hash of `key`.
    pub queue: QueueName,
    /// What its owner proves to be the owner with.
    #[serde(with = "serde_bytes")]
    pub key: [u8; 32],
    /// Bytes kept at most.
    pub bytes: u64,
    /// Envelopes kept at most.
    pub count: u32,
    /// Bytes of the largest envelope taken.
    pub largest: u64,
    /// Who may leave letters without a stamp.
    pub strangers: Strangers,
    /// What strangers' work is bound to.
    #[serde(with = "serde_bytes")]
    pub tag: [u8; 16],
    /// How much work strangers do.
    pub effort: u32,
    /// The owner's other relays: what waits here may be passed on to them, and they may leave letters here.
    #[serde(default, with = "shared", skip_serializing_if = "shared::is_empty")]
    pub siblings: Arc<[Place]>,
}

/// Places that several hold, as a list like any other.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Place;

    pub(super) fn serialize<S: Serializer>(places: &Arc<[Place]>, serializer: S) -> Result<S::Ok, S::Error> {
        places.as_ref().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<[Place]>, D::Error> {
        Vec::deserialize(deserializer).map(Arc::from)
    }

    pub(super) fn is_empty(places: &Arc<[Place]>) -> bool {
        places.is_empty()
    }
}

/// Why a letter of somebody else is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum HeldKind {
    /// It came with one of the mailbox's stamps, or strangers are welcome.
    Contact,
    /// It came with so much work, and stands in one of the mailbox's request slots.
    Stranger(u32),
    /// Nobody's mailbox here: kept as a volunteer, for so much work.
    Volunteer(u32),
    /// Left here by the owner of the queue, to be carried on to one of these places.
    Onward(#[serde(with = "shared")] Arc<[Place]>),
}

/// A letter that this node keeps for somebody else.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HeldEnvelope {
    /// Its name.
    pub envelope: EnvelopeId,
    /// The mailbox that it is charged to.
    pub queue: QueueName,
    /// Its bytes.
    pub size: u64,
    /// Why it is kept.
    pub kind: HeldKind,
    /// When it came, by the clock of what is kept, in ms.
    pub since_ms: u64,
    /// When its owner had it durably, by the same clock: a copy stays for a day of grace.
    pub acked_ms: Option<u64>,
}

/// A relay that an account of this node uses, or wants to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UsedRelay {
    /// Whose letters it keeps.
    pub account: AccountId,
    /// The relay.
    pub peer: PeerId,
    /// Where it may be found.
    pub addresses: Vec<String>,
    /// The account's queue there.
    pub queue: QueueName,
    /// It has agreed; only then does it stand in the card.
    pub granted: bool,
}

/// What an offer brings along.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ticket {
    /// It is to be kept for the queue's owner (a *deposit*), not taken as the owner.
    pub deposit: bool,
    /// The mark of an unspent stamp of the queue, looked up and found.
    pub stamp: Option<[u8; 16]>,
    /// Work for strangers, not yet checked.
    pub work: Option<Work>,
    /// To be carried on to these places: from the queue's own owner, or from another one that carries it for them.
    pub onward: Arc<[Place]>,
}

impl Ticket {
    /// The work that it shows for this envelope, bound to `tag`, if that is what is asked for. Where nothing is asked, none is needed.
    #[must_use]
    pub fn effort(&self, asked: u32, tag: &[u8; 16], envelope: &EnvelopeId) -> Option<u32> {
        match &self.work {
            Some(work) if work.effort >= asked && work.verify(tag, envelope) => Some(work.effort),
            _ => (asked == 0).then_some(0),
        }
    }
}

/// What a relay showed when it was asked for a piece of an envelope that it keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuditOutcome {
    /// It has it.
    Kept,
    /// It says that it has it no more, or never had.
    Missing,
    /// What it showed is wrong.
    Wrong,
    /// The connection broke before it answered.
    Broken,
}

/// What an offered envelope is to the peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Way {
    /// From the spool, to the recipient's own node or (`deposit`) to one that keeps it for them.
    Letter {
        /// Whose letter it is.
        account: AccountId,
        /// Whom it is for: the driver adds one of the stamps that they gave us, if there is one.
        recipient: Address,
        /// To be kept for the recipient.
        deposit: bool,
        /// Work for this envelope, if it was asked for and done.
        work: Option<Work>,
        /// Left with our own relay, to be carried on to these places.
        onward: Arc<[Place]>,
    },
    /// From what we keep for others, to its owner.
    Push,
    /// From what we keep for others, to a node of the recipient (`deposit`: to one that keeps it for them), or to one that is to carry it on.
    Onward {
        /// To be kept for the recipient, or for the sender whose letter is carried.
        deposit: bool,
        /// To be carried on to these places.
        onward: Arc<[Place]>,
    },
}

/// What an owner asks of a relay.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum OwnerAsk {
    /// To be hosted.
    Host,
    /// To be given what is there, now and whenever something comes.
    Collect,
    /// To take the stamps of the coming weeks.
    Marks,
    /// To take the records of the coming weeks.
    Records,
    /// To keep nothing any more.
    Leave,
    /// To know the account's other relays.
    Siblings,
}
