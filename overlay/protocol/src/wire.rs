//! `/kith/mail/1`: the messages between nodes, and the frames they travel in.
//!
//! A stream carries frames: four bytes of length (big-endian, at most [`FRAME_BYTES_MAX`]), then that many bytes of payload. A payload is a
//! CBOR sequence of two items: the number of the message (0–23, hence one byte) and its fields as a canonical map. Between two frames a body may
//! travel raw; the messages around it say how long it is.
//!
//! ```text
//! dialer    Hello ─▶          the first stream of every connection, both ways, then closed
//!           ◀─ Hello
//! sender    Offer ─▶          a stream of its own for every offer, to the recipient's node or from a relay to the owner
//!           ◀─ Have | Later | Refused                the end, or:
//!           ◀─ Send, body ─▶, ◀─ Have | Later | Refused
//! sender    Deposit ─▶        the same with a relay, whose good end is Stored in place of Have
//! owner     Ask ─▶            what the owner of a queue asks of a relay, proven by the queue's key
//!           ◀─ Reply
//! sender    Audit ─▶          has the relay still got it?
//!           ◀─ Proof | Refused
//! ```

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::codec::{self, DecodeError, EncodeError};
use crate::event::{LaterReason, RefusedReason};
use crate::hosting::{Ask, Grant, REQUEST_BYTES_MAX, Reply};
use crate::ids::{EnvelopeId, PeerId, QueueName};
use crate::limits::{CARD_PLACES_MAX, FRAME_BYTES_MAX, PLACE_ADDRESS_BYTES_MAX, PLACE_ADDRESSES_MAX};
use crate::stamp::Stamp;
use crate::work::Work;

/// The name that streams are negotiated by.
pub const PROTOCOL: &str = "/kith/mail/1";
/// The version that [`Hello`] names.
pub const VERSION: u8 = 1;
/// Bytes of the unit in which bodies are verified and resumed.
pub const GROUP_BYTES: u64 = 16 * 1024;
/// Bodies of at most this many bytes travel as they are, larger ones as verified ranges.
pub const RAW_BODY_BYTES_MAX: u64 = 64 * 1024;
/// Ranges that one [`Send`] may name.
pub const RANGES_MAX: usize = 1024;
/// Bytes of an `ext` field.
pub const EXT_BYTES_MAX: usize = 1024;
/// Places that a deposit may be carried on to.
pub const ONWARD_MAX: usize = CARD_PLACES_MAX;
/// The feature bit of nodes that keep letters for anybody.
pub const FEATURE_VOLUNTEER: u64 = 1;
/// Bytes of a frame's length.
pub const LENGTH_BYTES: usize = 4;

const HELLO: u8 = 0;
const OFFER: u8 = 1;
const HAVE: u8 = 2;
const SEND: u8 = 3;
const LATER: u8 = 4;
const REFUSED: u8 = 5;
const STORED: u8 = 6;
const ASK: u8 = 8;
const DEPOSIT: u8 = 9;
const REPLY: u8 = 10;
const PROOF: u8 = 11;
const AUDIT: u8 = 12;
/// CBOR writes numbers up to this one in a single byte.
const NUMBER_MAX: u8 = 23;

/// Says which protocol a node speaks, once a connection.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`].
    pub version: u8,
    /// Bits for what a node can do beyond version 1; unknown bits are passed over.
    pub features: u64,
    /// Random, one for every peer and run of the process: what the owner of a queue proves itself over, and what tells a peer that we run anew.
    #[serde(with = "serde_bytes")]
    pub nonce: [u8; 32],
    /// Room for growth: passed over by who does not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ext: Option<ByteBuf>,
}

/// Offers an envelope, to be taken as the recipient ([`Message::Offer`]) or kept for them ([`Message::Deposit`]).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Offer {
    /// BLAKE3 of the envelope.
    pub envelope: EnvelopeId,
    /// Its bytes.
    pub size: u64,
    /// The mailbox it is for.
    pub queue: QueueName,
    /// One of the stamps that the mailbox's owner gave to the sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<Stamp>,
    /// What strangers do in place of a stamp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Work>,
    /// Only in a deposit by the queue's own owner: where to carry it. At most [`ONWARD_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub onward: Vec<Onward>,
}

/// Where a relay carries an envelope for its owner.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Onward {
    /// The node.
    pub peer: PeerId,
    /// The queue there.
    pub queue: QueueName,
    /// It keeps it for the recipient, who lives elsewhere.
    pub deposit: bool,
    /// Multiaddresses as text, hints only, as in cards.
    pub addresses: Vec<String>,
}

/// A relay keeps the envelope, durably.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Stored {
    /// For so many seconds at least, unless its owner has collected it before.
    pub until_s: u32,
    /// The relay's signature, see [`crate::hosting::verify_stored`].
    #[serde(with = "serde_bytes")]
    pub signature: [u8; 64],
    /// It is a machine that may be off soon, for all that it knows: a hint that more copies are needed.
    pub seldom: bool,
}

/// Asks a relay to show a piece of an envelope.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Audit {
    /// Which.
    pub envelope: EnvelopeId,
    /// In which queue.
    pub queue: QueueName,
    /// Chooses the piece, see [`crate::hosting::challenged`].
    #[serde(with = "serde_bytes")]
    pub nonce: [u8; 16],
}

/// Shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Proof {
    /// See [`crate::hosting::challenge_answer`].
    #[serde(with = "serde_bytes")]
    pub hash: [u8; 32],
}

/// Asks for the groups that are missing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Send {
    /// Half-open ranges of groups of [`GROUP_BYTES`], ascending, with gaps between them. Empty: nothing is missing.
    pub missing: Vec<(u32, u32)>,
}

/// Puts an offer off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Later {
    /// Why.
    pub reason: LaterReason,
    /// Seconds after which another try is welcome.
    pub after_s: u32,
}

/// Refuses an offer for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Why.
    pub reason: RefusedReason,
}

#[derive(Serialize, Deserialize)]
struct Have {}

/// A message between nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Number 0.
    Hello(Hello),
    /// Number 1.
    Offer(Offer),
    /// Number 2: the envelope is there, durably.
    Have,
    /// Number 3.
    Send(Send),
    /// Number 4.
    Later(Later),
    /// Number 5.
    Refused(Refused),
    /// Number 6: the end of a deposit.
    Stored(Stored),
    /// Number 8.
    Ask(Ask),
    /// Number 9: an offer to one who keeps it for the recipient.
    Deposit(Offer),
    /// Number 10.
    Reply(Reply),
    /// Number 11.
    Proof(Proof),
    /// Number 12.
    Audit(Audit),
}

/// [`Refused`] on the wire: the reason's number, and the effort where that is a price.
#[derive(Serialize, Deserialize)]
struct RefusedFields {
    reason: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    effort: Option<u32>,
}

impl From<&Refused> for RefusedFields {
    fn from(refused: &Refused) -> Self {
        let (reason, effort) = match refused.reason {
            RefusedReason::Unknown => (0, None),
            RefusedReason::TooLarge => (1, None),
            RefusedReason::Malformed => (2, None),
            RefusedReason::Price(effort) => (3, Some(effort)),
            RefusedReason::Closed => (4, None),
        };
        Self { reason, effort }
    }
}

impl RefusedFields {
    fn refused(&self) -> Option<Refused> {
        let reason = match (self.reason, self.effort) {
            (0, None) => RefusedReason::Unknown,
            (1, None) => RefusedReason::TooLarge,
            (2, None) => RefusedReason::Malformed,
            (3, Some(effort)) => RefusedReason::Price(effort),
            (4, None) => RefusedReason::Closed,
            _ => return None,
        };
        Some(Refused { reason })
    }
}

/// [`Reply`] on the wire: its number, and what is granted.
#[derive(Serialize, Deserialize)]
struct ReplyFields {
    kind: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grant: Option<Grant>,
}

impl From<&Reply> for ReplyFields {
    fn from(reply: &Reply) -> Self {
        let (kind, grant) = match reply {
            Reply::Granted(grant) => (0, Some(*grant)),
            Reply::Done => (1, None),
            Reply::Unknown => (2, None),
            Reply::Unproven => (3, None),
            Reply::Busy => (4, None),
        };
        Self { kind, grant }
    }
}

impl ReplyFields {
    fn reply(&self) -> Option<Reply> {
        Some(match (self.kind, self.grant) {
            (0, Some(grant)) => Reply::Granted(grant),
            (1, None) => Reply::Done,
            (2, None) => Reply::Unknown,
            (3, None) => Reply::Unproven,
            (4, None) => Reply::Busy,
            _ => return None,
        })
    }
}

/// Why a frame is not taken. Every one of these is a breach of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WireError {
    /// The length of a frame is zero or too large.
    #[error("a frame of {0} bytes")]
    Length(u32),
    /// No message has this number.
    #[error("no message has the number {0}")]
    Unknown(u8),
    /// The fields are not those of the message.
    #[error("message {number}: {source}")]
    Fields {
        /// Of the message.
        number: u8,
        /// What is wrong.
        source: DecodeError,
    },
    /// The fields are in form but make no sense: ranges out of order or too many, an `ext` too long.
    #[error("message {0} breaks its own rules")]
    Rules(u8),
}

impl Message {
    /// The number of the message.
    #[must_use]
    pub fn number(&self) -> u8 {
        match self {
            Self::Hello(_) => HELLO,
            Self::Offer(_) => OFFER,
            Self::Have => HAVE,
            Self::Send(_) => SEND,
            Self::Later(_) => LATER,
            Self::Refused(_) => REFUSED,
            Self::Stored(_) => STORED,
            Self::Ask(_) => ASK,
            Self::Deposit(_) => DEPOSIT,
            Self::Reply(_) => REPLY,
            Self::Proof(_) => PROOF,
            Self::Audit(_) => AUDIT,
        }
    }

    fn keeps_rules(&self) -> bool {
        match self {
            Self::Hello(hello) => hello.ext.as_ref().is_none_or(|ext| ext.len() <= EXT_BYTES_MAX),
            Self::Send(send) => {
                send.missing.len() <= RANGES_MAX
                    && send.missing.iter().all(|(start, end)| start < end)
                    && send.missing.windows(2).all(|pair| matches!(pair, [(_, end), (start, _)] if end < start))
            }
            Self::Offer(offer) => offer.onward.is_empty(),
            Self::Deposit(offer) => {
                let hint =
                    |text: &String| text.len() <= PLACE_ADDRESS_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
                offer.onward.len() <= ONWARD_MAX
                    && offer.onward.iter().all(|to| to.addresses.len() <= PLACE_ADDRESSES_MAX && to.addresses.iter().all(hint))
            }
            Self::Ask(ask) => ask.request.len() <= REQUEST_BYTES_MAX,
            _ => true,
        }
    }

    /// The message as a frame, length and all.
    ///
    /// # Errors
    /// [`EncodeError`] when the message breaks its own rules: a bug of who made it.
    pub fn to_frame(&self) -> Result<Vec<u8>, EncodeError> {
        if !self.keeps_rules() {
            return Err(EncodeError);
        }
        let fields = match self {
            Self::Hello(hello) => codec::encode(hello),
            Self::Offer(offer) | Self::Deposit(offer) => codec::encode(offer),
            Self::Have => codec::encode(&Have {}),
            Self::Send(send) => codec::encode(send),
            Self::Later(later) => codec::encode(later),
            Self::Refused(refused) => codec::encode(&RefusedFields::from(refused)),
            Self::Stored(stored) => codec::encode(stored),
            Self::Ask(ask) => codec::encode(ask),
            Self::Reply(reply) => codec::encode(&ReplyFields::from(reply)),
            Self::Proof(proof) => codec::encode(proof),
            Self::Audit(audit) => codec::encode(audit),
        }?;
        let length = fields.len() + 1;
        if length > FRAME_BYTES_MAX {
            return Err(EncodeError);
        }
        let mut frame = Vec::with_capacity(LENGTH_BYTES + length);
        frame.extend_from_slice(&u32::try_from(length).map_err(|_| EncodeError)?.to_be_bytes());
        frame.push(self.number());
        frame.extend_from_slice(&fields);
        Ok(frame)
    }

    /// Reads the payload of a frame (what follows its length).
    ///
    /// # Errors
    /// [`WireError`]; memory use is bounded by a small multiple of the payload.
    pub fn from_payload(payload: &[u8]) -> Result<Self, WireError> {
        let Some((&number, fields)) = payload.split_first() else {
            return Err(WireError::Length(0));
        };
        if payload.len() > FRAME_BYTES_MAX {
            return Err(WireError::Length(u32::try_from(payload.len()).unwrap_or(u32::MAX)));
        }
        let message = match number {
            HELLO => Self::Hello(read(number, fields)?),
            OFFER => Self::Offer(read(number, fields)?),
            HAVE => {
                let Have {} = read(number, fields)?;
                Self::Have
            }
            SEND => Self::Send(read(number, fields)?),
            LATER => Self::Later(read(number, fields)?),
            REFUSED => Self::Refused(read::<RefusedFields>(number, fields)?.refused().ok_or(WireError::Rules(number))?),
            STORED => Self::Stored(read(number, fields)?),
            ASK => Self::Ask(read(number, fields)?),
            DEPOSIT => Self::Deposit(read(number, fields)?),
            REPLY => Self::Reply(read::<ReplyFields>(number, fields)?.reply().ok_or(WireError::Rules(number))?),
            PROOF => Self::Proof(read(number, fields)?),
            AUDIT => Self::Audit(read(number, fields)?),
            unknown => return Err(WireError::Unknown(unknown)),
        };
        if message.keeps_rules() { Ok(message) } else { Err(WireError::Rules(number)) }
    }
}

fn read<T: Serialize + DeserializeOwned>(number: u8, fields: &[u8]) -> Result<T, WireError> {
    codec::decode(fields, FRAME_BYTES_MAX).map_err(|source| WireError::Fields { number, source })
}

/// The length of the payload that follows, from the four bytes before it.
///
/// # Errors
/// [`WireError::Length`] for zero and for more than [`FRAME_BYTES_MAX`].
pub fn payload_length(bytes: [u8; LENGTH_BYTES]) -> Result<usize, WireError> {
    let length = u32::from_be_bytes(bytes);
    match usize::try_from(length) {
        Ok(bytes) if bytes > 0 && bytes <= FRAME_BYTES_MAX => Ok(bytes),
        _ => Err(WireError::Length(length)),
    }
}

/// How many groups a body of `size` bytes has; an empty body has one.
#[must_use]
pub fn groups(size: u64) -> u64 {
    size.div_ceil(GROUP_BYTES).max(1)
}

const _: () = assert!(AUDIT <= NUMBER_MAX && REQUEST_BYTES_MAX + 256 < FRAME_BYTES_MAX);
const _: () = assert!(RANGES_MAX * 11 + 16 < FRAME_BYTES_MAX);

#[cfg(test)]
mod tests;
