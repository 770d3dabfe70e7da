//! All that crosses the boundary between the delivery core and the world, on one page.
//!
//! The driver (the daemon's engine, or a simulator) turns what happens into [`Event`]s, hands each to
//! [`crate::delivery::Delivery::handle`] with the time and a source of randomness, and performs every [`Effect`] that comes
//! out, in order. The core holds no keys and no bodies: it speaks of letters by name and size.
//!
//! **Durability is in the types.** What promises something to somebody outside (an [`Answer::Have`] to a letter) exists only
//! inside [`Effect::Commit`]'s `then`: the driver performs those effects after the batch is durable and never before; if the
//! commit fails it drops them and reports [`Event::CommitFailed`]. A sealed envelope is offered only after the
//! [`Event::Durable`] of the batch that keeps the keys it spent. Batches become durable in the order in which they were asked for.
//!
//! **Every question gets one answer.** Each effect with an [`Op`] is answered once, and each [`Effect::Open`],
//! [`Effect::Commit`] and [`Answer::Send`] (by `BodyReceived` or `BodyBroken`); an answer that comes after the core has lost interest does nothing. A write that names an entry which is
//! gone (a person withdrew it) does nothing.

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::ids::{AccountId, BatchId, EntryId, EnvelopeId, MailId, Op, PeerId, QueueName, Token};

/// Milliseconds since the process started: never goes back, does not count while the process is down.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Mono(pub u64);

/// Milliseconds since the Unix epoch as the machine believes it: may jump and may lie by years.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Wall(pub i64);

/// The time of an event, by both clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// What durations are measured with.
    pub mono: Mono,
    /// What dates are written with.
    pub wall: Wall,
}

/// A node that takes letters for a mailbox, as a card lists it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Place {
    /// The node.
    pub peer: PeerId,
    /// The mailbox's queue at that node.
    pub queue: QueueName,
    /// Multiaddresses as text, hints only, at most [`crate::limits::PLACE_ADDRESSES_MAX`]. Empty: ask the directory.
    pub addresses: Vec<String>,
}

/// What delivery needs of a verified card. The card's bytes and keys stay with the driver.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
    /// The nodes that take letters for this mailbox, best first. The first is the home node, unless it is hidden.
    pub places: Vec<Place>,
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
    /// Bytes of MIME, for choosing routes; 0 for node-written letters.
    pub size: u64,
    /// Where it stands.
    pub progress: Progress,
}

/// What the core starts from: everything durable that it needs, read by the driver at start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    /// Accounts of this node, with the queue at this node that belongs to each.
    pub accounts: Vec<OwnAccount>,
    /// Best known card of every address that matters (contacts, queued recipients).
    pub cards: Vec<CardInfo>,
    /// The queue.
    pub entries: Vec<Entry>,
}

/// An account of this node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnAccount {
    /// Its name here.
    pub account: AccountId,
    /// Its address.
    pub address: Address,
    /// Its queue at this node, the one its own card lists.
    pub queue: QueueName,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The process serves: restore has been done, the network is up. Once.
    Started,
    /// The network's own addresses changed, or the machine woke up: worth trying everything again.
    NetworkChanged,
    /// Time passed: [`crate::delivery::Delivery::deadline`] was reached.
    Tick,
    /// An account was added, or its queue changed.
    AccountAdded(OwnAccount),
    /// An account was removed: its entries end without a word.
    AccountRemoved(AccountId),
    /// The account's own card changed (or the process started): it wants publishing.
    OwnCardChanged(AccountId),
    /// The store committed a new entry.
    Queued(Entry),
    /// A person asks to try this entry now.
    RetryAsked(EntryId),
    /// A person withdrew this entry; the store has removed it.
    Cancelled(EntryId),
    /// A verified card was learned or renewed (from a letter, an import, the directory) and is already durable.
    CardLearned(CardInfo),
    /// Answer to [`Effect::Lookup`]: the best card found and verified, if any.
    Found {
        /// The question.
        op: Op,
        /// The best card found, verified and durable; `None`: there is none.
        card: Option<CardInfo>,
    },
    /// Answer to [`Effect::Publish`]: how many other nodes were read back as holding it.
    Published {
        /// The question.
        op: Op,
        /// Other nodes that hold the record.
        holders: u32,
    },
    /// A connection to this peer is open (the first one to it).
    PeerUp(PeerId),
    /// The last connection to this peer is gone.
    PeerDown(PeerId),
    /// Answer to [`Effect::Connect`] when no connection came about. Success is [`Event::PeerUp`].
    ConnectFailed {
        /// The question.
        op: Op,
        /// Who could not be reached.
        peer: PeerId,
    },
    /// Answer to [`Effect::Seal`].
    Sealed {
        /// The question.
        op: Op,
        /// Whose letter it is.
        entry: EntryId,
        /// The envelope in the spool, or why there is none. The core fills in `at_age_ms` itself.
        result: Result<Sealed, SealProblem>,
    },
    /// Answer to [`Effect::Offer`].
    Offered {
        /// The question.
        op: Op,
        /// What the peer answered.
        outcome: OfferOutcome,
    },
    /// A peer offers an envelope for one of our queues.
    OfferReceived {
        /// Names the offer until it is answered for good.
        token: Token,
        /// Who offers.
        peer: PeerId,
        /// Which mailbox it is for.
        queue: QueueName,
        /// Its name, not yet proven.
        envelope: EnvelopeId,
        /// Its bytes.
        size: u64,
    },
    /// The body of an accepted offer is complete and its hash is right.
    BodyReceived {
        /// The offer.
        token: Token,
    },
    /// The body of an accepted offer broke off; what is verified is kept for a while.
    BodyBroken {
        /// The offer.
        token: Token,
    },
    /// Answer to [`Effect::Open`].
    Opened {
        /// The offer.
        token: Token,
        /// The letter, or why there is none.
        result: Result<Letter, OpenProblem>,
    },
    /// The batch is durable. (Its `then` effects have been performed just before.)
    Durable(BatchId),
    /// The batch was not written, nothing of it.
    CommitFailed {
        /// What was not written.
        batch: BatchId,
        /// Why.
        reason: CommitProblem,
    },
}

/// Why sealing failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SealProblem {
    /// The driver has no (valid) card of the recipient any more.
    NoCard,
    /// The mail's bytes are gone or unreadable, or the letter can never be sealed: permanent.
    Permanent(String),
    /// Disk full or the like: try later.
    Temporary(String),
}

/// How an offer ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OfferOutcome {
    /// The node has it, durably (it had it before, or took it now).
    Have,
    /// Not now; try again after this many seconds.
    Later {
        /// Why not now.
        reason: LaterReason,
        /// When to try again, in seconds from now.
        after_s: u32,
    },
    /// Not ever, in this form.
    Refused(RefusedReason),
    /// The connection or stream broke; unknown whether it arrived.
    Broken,
}

/// Why a node says "later". On the wire: the number of the variant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
pub enum LaterReason {
    /// Too much at once; the node protects itself.
    #[error("it is busy")]
    Busy,
    /// Its disk or quota is full.
    #[error("its disk or quota is full")]
    Full,
    /// The same envelope is being received from elsewhere.
    #[error("it is receiving the same mail from elsewhere")]
    InProgress,
}

/// Why a node refuses. On the wire: the number of the variant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
pub enum RefusedReason {
    /// No such queue here (or closed: the same answer).
    #[error("it knows no such mailbox")]
    Unknown,
    /// Larger than this node takes.
    #[error("it is too large")]
    TooLarge,
    /// Not a size an envelope can have.
    #[error("it is malformed")]
    Malformed,
}

/// An opened letter, as the core needs to know it. Its body waits in the driver's hands under the token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Letter {
    /// Which of our accounts it is for.
    pub account: AccountId,
    /// Who wrote it, proven by the sealing.
    pub from: Address,
    /// The letter's name.
    pub mid: MailId,
    /// What it is.
    pub kind: LetterKind,
    /// The store already holds (or held) a letter of this name from this sender.
    pub known: bool,
    /// May the sender be told that it arrived? (A contact, or whoever the account's policy lets know.)
    pub receipt_wanted: bool,
    /// The sender's card inside the letter, verified, when it is newer than what we knew.
    pub card: Option<CardInfo>,
}

/// What a letter carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LetterKind {
    /// A mail to be filed.
    Mail,
    /// The sender of this letter has durably filed these mails of ours.
    Receipt(Vec<MailId>),
    /// Nothing but a new card.
    Card,
}

/// Why an envelope was dropped. Only counted: nobody outside is told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum OpenProblem {
    /// No key of ours opens it: foreign, altered, or the key is erased.
    NotForUs,
    /// It opens but what is inside breaks the rules.
    Malformed,
    /// The sender's proof does not match any card of the address that it claims.
    WrongSender,
    /// Our disk failed us: the sender shall try again.
    Temporary,
}

/// Why a commit failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CommitProblem {
    /// No space left; the store still works for reading and removing.
    DiskFull,
    /// The store is unusable; the process will stop.
    Broken,
}

/// What the driver shall do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Connect to a peer, trying the hints first, then what the directory says. Answer: `PeerUp` or `ConnectFailed`.
    Connect {
        /// Names the question.
        op: Op,
        /// Whom to reach.
        peer: PeerId,
        /// Hints, as text.
        addresses: Vec<String>,
    },
    /// Look the address's record up in the directory, verify, decrypt. Answer: `Found`.
    Lookup {
        /// Names the question.
        op: Op,
        /// Whose card is sought.
        address: Address,
    },
    /// Publish the account's records for the current and coming weeks, read them back. Answer: `Published`.
    Publish {
        /// Names the question.
        op: Op,
        /// Whose records.
        account: AccountId,
    },
    /// Seal the entry's letter into the outgoing spool. Answer: `Sealed`.
    Seal {
        /// Names the question.
        op: Op,
        /// Whose letter.
        entry: EntryId,
        /// To which keys.
        ladder: Ladder,
    },
    /// Offer a sealed envelope to a connected peer, and send its body if asked. Answer: `Offered`.
    Offer {
        /// Names the question.
        op: Op,
        /// To whom.
        peer: PeerId,
        /// For which mailbox there.
        queue: QueueName,
        /// Which envelope of the spool.
        envelope: EnvelopeId,
        /// Its bytes.
        size: u64,
    },
    /// Answer a peer's offer.
    Answer {
        /// The offer.
        token: Token,
        /// What is said.
        answer: Answer,
    },
    /// Open the received envelope. Answer: `Opened`.
    Open {
        /// The offer whose body is complete.
        token: Token,
        /// Whose queue it came for: only its keys are tried.
        account: AccountId,
    },
    /// Write all of this as one; then perform `then`, in order; then report `Durable`.
    Commit {
        /// Its name.
        batch: BatchId,
        /// All or nothing.
        writes: Vec<Write>,
        /// Performed when it is durable, dropped if it fails.
        then: Vec<Effect>,
    },
    /// The envelope in the outgoing spool is not needed any more.
    Discard(EnvelopeId),
    /// The peer broke the rules: close its connections and do not talk to it for a while.
    Drop(PeerId),
    /// Add one to a counter that `kith status` shows.
    Count(Counter),
}

/// The answer to an offer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// We have it. Only ever after a commit, or for a body that opened to nothing (silence on the wire: the sender can't tell).
    Have,
    /// Send it: the driver asks for the ranges it lacks.
    Send,
    /// Not now.
    Later {
        /// Why not now.
        reason: LaterReason,
        /// When to try again, in seconds from now.
        after_s: u32,
    },
    /// Not ever.
    Refused(RefusedReason),
}

/// A durable change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    /// The entry's progress. Where its `sealed` is new, the keys that sealing spent and issued are part of the same write.
    Progress {
        /// Which entry.
        entry: EntryId,
        /// All of it.
        progress: Progress,
    },
    /// The delay notice goes into the sender's inbox (if the submission's NOTIFY wants it).
    DelayNotice {
        /// Which entry.
        entry: EntryId,
    },
    /// The entry ends here, with what the sender is told. The only way an entry ends.
    Fate {
        /// Which entry.
        entry: EntryId,
        /// How it ended.
        fate: Fate,
    },
    /// File the opened letter: the mail into the inbox (kind `Mail`), its `mid` remembered, its card and reply keys kept, spent keys
    /// erased; with `receipt`, a new receipt entry is queued (the driver reports it as `Queued`).
    File {
        /// The letter.
        token: Token,
        /// Queue a receipt for it.
        receipt: bool,
    },
    /// The opened letter was a duplicate or an answer to nothing: keep its card and keys, file nothing; with `receipt`, answer again.
    Absorb {
        /// The letter.
        token: Token,
        /// Queue one more receipt for it.
        receipt: bool,
    },
    /// Queue one more receipt for a mail that was filed earlier: its sender asks again (the driver reports it as `Queued`).
    Receipt {
        /// Who received the mail.
        account: AccountId,
        /// Who sent it.
        to: Address,
        /// Which mail.
        mid: MailId,
    },
}

/// How an entry ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Fate {
    /// The recipient's sealed receipt is here.
    Delivered,
    /// Given up: a failure DSN goes into the sender's inbox. For receipts and cards: nothing is said.
    Failed(Problem),
    /// A node-written letter was handed over.
    HandedOver,
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Counter {
    /// An envelope was dropped, and why.
    Dropped(OpenProblem),
    /// A letter came that we already had.
    Duplicate,
    /// A receipt named a mail that we do not wait for, or came from somebody else than its recipient.
    BogusReceipt,
    /// An offer was refused or put off.
    OfferRefused,
}
