//! `/kith/mail/1`: the messages between nodes, and the frames they travel in.
//!
//! A stream carries frames: four bytes of length (big-endian, at most [`FRAME_BYTES_MAX`]), then that many bytes of payload. A payload is a
//! CBOR sequence of two items: the number of the message (0–23, hence one byte) and its fields as a canonical map. Between two frames a body may
//! travel raw; the messages around it say how long it is.
//!
//! ```text
//! dialer    Hello ─▶          the first stream of every connection, both ways, then closed
//!           ◀─ Hello
//! sender    Offer ─▶          a stream of its own for every offer
//!           ◀─ Have | Later | Refused                the end, or:
//!           ◀─ Send, body ─▶, ◀─ Have | Later | Refused
//! ```

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::codec::{self, DecodeError, EncodeError};
use crate::event::{LaterReason, RefusedReason};
use crate::ids::{EnvelopeId, QueueName};
use crate::limits::FRAME_BYTES_MAX;

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
/// Bytes of a frame's length.
pub const LENGTH_BYTES: usize = 4;

/// Numbers of the messages that relays will speak: they are not taken by anything else, and nobody sends them yet.
pub mod reserved {
    /// Asks for a mailbox.
    pub const HOST: u8 = 8;
    /// Leaves an envelope in a mailbox.
    pub const DEPOSIT: u8 = 9;
    /// Reads a mailbox from a cursor on.
    pub const COLLECT: u8 = 10;
    /// Says what was collected durably.
    pub const ACK: u8 = 11;
    /// Asks for a proof of storage.
    pub const AUDIT: u8 = 12;
}

const HELLO: u8 = 0;
const OFFER: u8 = 1;
const HAVE: u8 = 2;
const SEND: u8 = 3;
const LATER: u8 = 4;
const REFUSED: u8 = 5;
/// CBOR writes numbers up to this one in a single byte.
const NUMBER_MAX: u8 = 23;

/// Says which protocol a node speaks, once a connection.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`].
    pub version: u8,
    /// Bits for what a node can do beyond version 1; unknown bits are passed over.
    pub features: u64,
    /// Room for growth: passed over by who does not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ext: Option<ByteBuf>,
}

/// Offers an envelope.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Offer {
    /// BLAKE3 of the envelope.
    pub envelope: EnvelopeId,
    /// Its bytes.
    pub size: u64,
    /// The mailbox it is for.
    pub queue: QueueName,
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
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
}

/// Why a frame is not taken. Every one of these is a breach of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WireError {
    /// The length of a frame is zero or too large.
    #[error("a frame of {0} bytes")]
    Length(u32),
    /// No message has this number, or it is not spoken yet.
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
            Self::Offer(offer) => codec::encode(offer),
            Self::Have => codec::encode(&Have {}),
            Self::Send(send) => codec::encode(send),
            Self::Later(later) => codec::encode(later),
            Self::Refused(refused) => codec::encode(refused),
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
            REFUSED => Self::Refused(read(number, fields)?),
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

const _: () = assert!(REFUSED < reserved::HOST && reserved::AUDIT <= NUMBER_MAX);
const _: () = assert!(RANGES_MAX * 11 + 16 < FRAME_BYTES_MAX);

#[cfg(test)]
mod tests;
