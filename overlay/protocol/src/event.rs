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
use crate::hosting::{Grant, Reply, Request};
use crate::ids::{AccountId, BatchId, EntryId, EnvelopeId, MailId, Op, PeerId, QueueName, Token};
use crate::talk::Talk;

mod kept;
mod queued;

pub use kept::{AuditOutcome, HeldEnvelope, HeldKind, HostedQueue, OwnerAsk, Ticket, UsedRelay, Way};
pub use queued::{CardInfo, Copy, Entry, EntryKind, Ladder, Place, PlaceKind, Problem, Progress, Sealed};

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

/// What the core starts from: everything durable that it needs, read by the driver at start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    /// Accounts of this node, with the queue at this node that belongs to each.
    pub accounts: Vec<OwnAccount>,
    /// Best known card of every address that matters (contacts, queued recipients).
    pub cards: Vec<CardInfo>,
    /// The queue.
    pub entries: Vec<Entry>,
    /// Mailboxes of others that this node keeps letters for.
    pub hosted: Vec<HostedQueue>,
    /// The letters that it keeps.
    pub held: Vec<HeldEnvelope>,
    /// How far the clock of what is kept had come, in ms, and the wall time of that moment.
    pub hosting_clock: (u64, Wall),
    /// Relays that accounts of this node use.
    pub relays: Vec<UsedRelay>,
    /// What [`Write::Volunteers`] has kept for each account, in that order, with the queues that may be there by now.
    pub volunteers: Vec<(AccountId, Place)>,
    /// Envelopes that were dealt with lately, oldest first: they are not fetched again.
    pub seen: Vec<EnvelopeId>,
    /// Who may write to whom without paying for it.
    pub accepted: Vec<(AccountId, Address)>,
    /// Mails of strangers that wait for a person's decision.
    pub requests: Vec<(AccountId, u32)>,
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
    /// This peer runs anew since it was last up, or is up for the first time: what it had not made durable it has forgotten. Comes before `PeerUp`.
    PeerRestarted(PeerId),
    /// There is a direct connection to this peer now: what ended with [`OfferOutcome::NoDirectWay`] can be sent. Only for peers of which that was said; comes
    /// after `PeerUp`.
    DirectWay(PeerId),
    /// Answer to [`Effect::Connect`] where no connection came about: the questions, and who could not be reached. As many as are known at that moment; one
    /// is enough. Success is [`Event::PeerUp`].
    ConnectsFailed(Vec<(Op, PeerId)>),
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
        /// What it brings along.
        ticket: Ticket,
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
    /// An account uses this relay from now on, or wants to; or its grant or addresses changed.
    RelayUsed(UsedRelay),
    /// An account uses this relay no more: it is told to keep nothing.
    RelayLeft {
        /// Whose.
        account: AccountId,
        /// Which.
        peer: PeerId,
    },
    /// Answer to [`Effect::Ask`]; `None`: the connection broke, or the peer knows no such thing.
    Asked {
        /// The question.
        op: Op,
        /// What the relay says.
        reply: Option<Reply>,
    },
    /// The owner of a queue asks something of us as a relay; its proof holds. To be answered by [`Effect::Reply`].
    AskReceived {
        /// Names the question until it is answered.
        token: Token,
        /// Who asks.
        peer: PeerId,
        /// The queue's key.
        key: [u8; 32],
        /// What is asked.
        request: Request,
        /// What the token in a [`Request::Host`] is good for; `None`: nothing.
        grant: Option<Grant>,
    },
    /// A person ends the hosting of this queue: nothing is taken for it any more, and what is there goes.
    HostingEnded(QueueName),
    /// Answer to [`Effect::Audit`].
    Audited {
        /// The question.
        op: Op,
        /// What came of it.
        outcome: AuditOutcome,
    },
    /// The stamps of an account have changed (a contact was blocked, a week has begun): relays want the new ones.
    StampsChanged(AccountId),
    /// Answer to [`Effect::Volunteers`]: peers that keep letters for anybody near a key of this address, nearest first; for an own account near
    /// those of all weeks in which letters may wait, this week's first.
    VolunteersFound {
        /// The question.
        op: Op,
        /// Who they are, and the queue there.
        places: Vec<Place>,
    },
    /// Answer to [`Effect::Work`]; `None`: it was given up.
    Worked {
        /// The question.
        op: Op,
        /// The proof.
        work: Option<crate::work::Work>,
    },
    /// Somebody may write to an account without paying for it, or may not any more.
    Acceptance {
        /// To whom.
        account: AccountId,
        /// Who.
        address: Address,
        /// May they?
        accepted: bool,
    },
    /// So many mails of strangers wait for a person's decision.
    Requests {
        /// Whose.
        account: AccountId,
        /// How many.
        waiting: u32,
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
    /// A relay keeps it, durably, and has signed that it does; the signature was checked.
    Stored {
        /// For so many seconds at least.
        until_s: u32,
        /// Its signature.
        signature: [u8; 64],
        /// It says that it is on for some hours only: more copies are needed.
        seldom: bool,
    },
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
    /// There is a connection through another node only, and the envelope is too large for that: nothing was sent. [`Event::DirectWay`] tells when it can be.
    NoDirectWay,
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
    /// The mailbox has as much there as it may.
    #[error("the mailbox there is full")]
    Quota,
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
    /// The sender is no contact, and so much work is asked of strangers.
    #[error("strangers have to do some work first")]
    Price(u32),
    /// The sender is no contact, and strangers are not let in.
    #[error("it takes mail from contacts only")]
    Closed,
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
    /// A word about keeping each other's mail: taken from people who are accepted.
    Relay(Talk),
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
    /// Connect to a peer, trying the hints first, then what the directory says. Answer: `PeerUp` or `ConnectsFailed`.
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
        /// Other receipts to the same mailbox, none of them sealed yet: the letter confirms what they would. Empty for all but receipts.
        with: Vec<EntryId>,
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
        /// Which envelope.
        envelope: EnvelopeId,
        /// Its bytes.
        size: u64,
        /// What it is to the peer.
        way: Way,
    },
    /// Ask something of a relay that keeps letters for this account: the driver proves it with the queue's key. Answer: `Asked`.
    Ask {
        /// Names the question.
        op: Op,
        /// The relay.
        peer: PeerId,
        /// Whose letters.
        account: AccountId,
        /// The queue there.
        queue: QueueName,
        /// What is asked.
        what: OwnerAsk,
    },
    /// Answer what the owner of a queue asked of us.
    Reply {
        /// The question.
        token: Token,
        /// What is said.
        reply: Reply,
    },
    /// Ask a relay to show a piece of an envelope that it said to keep. Answer: `Audited`.
    Audit {
        /// Names the question.
        op: Op,
        /// The relay.
        peer: PeerId,
        /// The queue.
        queue: QueueName,
        /// Which envelope; it lies in the spool too.
        envelope: EnvelopeId,
        /// Its bytes.
        size: u64,
        /// Chooses the piece.
        nonce: [u8; 16],
    },
    /// Find nodes near the address's place in the directory that keep letters for anybody. Answer: `VolunteersFound`.
    Volunteers {
        /// Names the question.
        op: Op,
        /// Near whom.
        address: Address,
    },
    /// Do the work that strangers do. Answer: `Worked`, after seconds or minutes.
    Work {
        /// Names the question.
        op: Op,
        /// What it is bound to.
        tag: [u8; 16],
        /// For which envelope.
        envelope: EnvelopeId,
        /// How much.
        effort: u32,
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
    /// It is kept for the queue's owner, for so many seconds at least: signed by the driver. Only ever after a commit.
    Stored {
        /// Seconds.
        until_s: u32,
        /// This machine may be off soon, for all that is known.
        seldom: bool,
    },
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
    /// One receipt confirms from now on what these did, which end with it; those that are gone already confirm nothing.
    Gather {
        /// The receipt that stays.
        into: EntryId,
        /// Those that end.
        from: Vec<EntryId>,
    },
    /// The entry ends here, with what the sender is told. Beside [`Write::Gather`] the only way an entry ends.
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
        /// Its envelope, to be remembered for a day.
        envelope: EnvelopeId,
        /// Queue a receipt for it.
        receipt: bool,
        /// A stranger's: it goes where requests wait, and nothing of it is taken over before a person accepts.
        request: bool,
    },
    /// The opened letter was a duplicate or an answer to nothing: keep its card and keys, file nothing; with `receipt`, answer again.
    Absorb {
        /// The letter.
        token: Token,
        /// Its envelope, to be remembered for a day.
        envelope: EnvelopeId,
        /// Queue one more receipt for it.
        receipt: bool,
    },
    /// This mailbox is hosted from now on, or its rules changed.
    Host {
        /// How.
        rules: HostedQueue,
        /// The token that it was asked for with: it is this queue's from now on, and no other's. The write fails where it is another's.
        ticket: Option<[u8; 32]>,
    },
    /// This mailbox is hosted no more: its letters, stamps and records go with it.
    Unhost(QueueName),
    /// Keep the received envelope; the stamp that it came with is spent.
    Hold {
        /// The offer.
        token: Token,
        /// What is kept.
        held: HeldEnvelope,
        /// The mark of the stamp.
        stamp: Option<[u8; 16]>,
    },
    /// The owner has this envelope.
    Acked {
        /// Which.
        envelope: EnvelopeId,
        /// When, by the clock of what is kept.
        at_ms: u64,
    },
    /// These envelopes are kept no more.
    Forget(Vec<EnvelopeId>),
    /// How far the clock of what is kept has come.
    HostingClock {
        /// In ms.
        passed_ms: u64,
        /// The wall time of that moment.
        at: Wall,
    },
    /// Marks of a mailbox's stamps, or records of its owner, to be kept.
    Deposited {
        /// The mailbox.
        queue: QueueName,
        /// [`Request::Marks`] or [`Request::Records`].
        request: Request,
    },
    /// The relay has agreed to keep this account's letters: it goes into the card.
    Granted {
        /// Whose.
        account: AccountId,
        /// Which relay.
        peer: PeerId,
        /// What it granted.
        grant: Grant,
    },
    /// These volunteers were found near an account's place, the last ones first: in place of all that were kept before. At most
    /// [`crate::delivery::REMEMBERED_MAX`]. An account that is gone is passed over.
    Volunteers {
        /// Whose.
        account: AccountId,
        /// Who they are; what they keep is asked for at the next start, before a search can find anybody.
        peers: Vec<PeerId>,
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
    /// A relay did not have what it had said to keep.
    RelayLied,
}
