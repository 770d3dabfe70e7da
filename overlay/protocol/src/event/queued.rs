//! What is queued: an entry, where it stands, where it may go.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{LaterReason, RefusedReason, Wall};
use crate::address::Address;
use crate::ids::{AccountId, EntryId, EnvelopeId, MailId, PeerId, QueueName};
use crate::talk::Talk;

/// What a place is to the mailbox's owner.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub enum PlaceKind {
    /// The owner's own node: what it has, the owner has.
    #[default]
    Home,
    /// Keeps letters until the owner collects them.
    Relay,
    /// Keeps a few letters for anybody, near the address's place in the directory; never in a card.
    Volunteer,
    /// The sender's own relay, which carries letters on while the sender is away; never in a card.
    Carrier,
}

/// A node that takes letters for a mailbox, as a card lists it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Place {
    /// The node.
    pub peer: PeerId,
    /// The mailbox's queue at that node.
    pub queue: QueueName,
    /// Whose node it is.
    pub kind: PlaceKind,
    /// Multiaddresses as text, hints only, at most [`crate::limits::PLACE_ADDRESSES_MAX`]. Empty: ask the directory.
    pub addresses: Vec<String>,
}

/// What delivery needs of a verified card. The card's bytes and keys stay with the driver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CardInfo {
    /// Whose card.
    pub address: Address,
    /// Generation of the operations key; a greater one always wins.
    pub generation: u32,
    /// Grows with every card of a generation.
    pub sequence: u64,
    /// When the card was verified here, by the wall clock, in ms.
    pub learned: Wall,
    /// Not valid after, by the wall clock, in ms.
    pub not_after: Wall,
    /// The nodes that take letters for this mailbox, best first: the home node, unless it is hidden, then relays. Shared: cards are many, and are handed on.
    pub places: Arc<[Place]>,
    /// What the work that strangers do is bound to, and how much it is.
    pub work: Option<([u8; 16], u32)>,
}

/// An envelope at some node: the recipient's, or one that keeps it for the recipient.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Copy {
    /// Who keeps it.
    pub peer: PeerId,
    /// In which queue.
    pub queue: QueueName,
    /// As what.
    pub kind: PlaceKind,
    /// The entry's age when it was left there, in ms.
    pub at_age_ms: u64,
    /// It was asked to prove that it still has it, and did.
    pub audited: bool,
    /// The relay's signature under its *stored*; empty at the recipient's own node.
    pub statement: ByteBuf,
    /// Seconds from `at_age_ms` for which the statement was given.
    pub until_s: u32,
    /// Who keeps it said to be on for some hours only.
    #[serde(default)]
    pub seldom: bool,
}

/// Where a queued letter stands. The store keeps it with the entry; the core alone changes it, forwards only.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// How long the entry has waited, in ms, by the rules of `delivery::age` (clocks lie). Persisted at least hourly.
    pub age_ms: u64,
    /// Wall time at which `age_ms` was last brought up to date.
    pub aged_at: Wall,
    /// Attempts to hand it over so far.
    pub attempts: u32,
    /// The sealed envelope, if it has been sealed and not withdrawn.
    pub sealed: Option<Sealed>,
    /// When the recipient's node said it has the envelope (`age_ms` at that moment).
    pub handed_at_age_ms: Option<u64>,
    /// The delay notice was written.
    pub delay_told: bool,
    /// What went wrong last, in words for people; `None` while nothing has.
    pub last_problem: Option<Problem>,
    /// Where copies of the sealed envelope wait for the recipient.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<Copy>,
    /// What was sealed is not kept any more ([`Entry::fleeting`]): this envelope is the only one that there will be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only: bool,
}

/// A sealed envelope in the outgoing spool.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sealed {
    /// Its name.
    pub envelope: EnvelopeId,
    /// Its size in bytes.
    pub size: u64,
    /// Which keys it was sealed to.
    pub ladder: Ladder,
    /// Generation and sequence of the card it was sealed to.
    pub card: (u32, u64),
    /// The entry's age when it was sealed, in ms.
    pub at_age_ms: u64,
    /// This node is one of those that keep the recipient's mail: it waits here as it would there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept_here: bool,
}

/// Which key a letter is sealed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Ladder {
    /// The best there is: an unused reply key of the contact, else the weekly prekey.
    Best,
    /// The weekly prekey of a fresh card: retransmissions, which no lost reply key may lose.
    Weekly,
}

/// Why a letter has not arrived yet. `Display` is the sentence for people.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
pub enum Problem {
    /// No card of the recipient is known and the directory has none.
    #[error("nobody seems to know how to reach this address yet")]
    NoCard,
    /// The newest card known has run out and no newer one was found.
    #[error("what is known of how to reach this address is too old")]
    CardExpired,
    /// The card lists no place.
    #[error("the address names no node that takes its mail")]
    NoPlace,
    /// None of the recipient's nodes could be reached.
    #[error("their node could not be reached")]
    Unreachable,
    /// A node answered that it cannot take it now.
    #[error("their node asks to try later ({0})")]
    Later(LaterReason),
    /// A node refuses it for good.
    #[error("their node refuses it ({0})")]
    Refused(RefusedReason),
    /// The transfer broke off.
    #[error("the transfer broke off")]
    Broken,
    /// The letter could not be sealed; the text says why.
    #[error("the mail could not be sealed: {0}")]
    Sealing(String),
    /// The node took it; the recipient's receipt is still missing.
    #[error("their node took it, and they have not confirmed it")]
    NoReceipt,
    /// The node is connected through another one only, which bears small envelopes.
    #[error("their node can be reached through another one only, and the mail is too large to go that way")]
    NoDirectWay,
    /// Relays keep it; the recipient has not collected it yet.
    #[error("it waits for them at a node that keeps their mail, and they have not fetched it yet")]
    Waiting,
}

/// What is queued: a person's letter, or one that the node writes itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum EntryKind {
    /// A mail that a person submitted: has a receipt to wait for, a delay notice, and a DSN at the end.
    Mail,
    /// A receipt for the mail of that name: done when a node of the recipient has it; given up silently at expiry.
    Receipt(MailId),
    /// The account's new card for a contact: as a receipt.
    Card,
    /// A word about keeping each other's mail: as a receipt.
    Relay(Talk),
}

impl EntryKind {
    /// The mails that a receipt confirms, of which it has `also` gathered some; none for all else.
    pub fn confirms(&self, also: &[MailId]) -> impl Iterator<Item = MailId> {
        let first = match self {
            Self::Receipt(mid) => Some(*mid),
            Self::Mail | Self::Card | Self::Relay(_) => None,
        };
        first.into_iter().chain(also.iter().copied())
    }
}

/// A queued letter as the core knows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its name in the store.
    pub id: EntryId,
    /// Whose letter it is.
    pub account: AccountId,
    /// Whom it is for.
    pub recipient: Address,
    /// The letter's name.
    pub mid: MailId,
    /// What it is.
    pub kind: EntryKind,
    /// More mails that a receipt confirms, beside the one of its kind: fewer than [`crate::limits::RECEIPT_MAILS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<MailId>,
    /// Bytes of MIME, for choosing routes; 0 for node-written letters.
    pub size: u64,
    /// Its bytes are somebody else's, and are kept no longer than until a node that keeps the recipient's mail has the envelope: it is not sealed anew then.
    pub fleeting: bool,
    /// Where it stands.
    pub progress: Progress,
}
