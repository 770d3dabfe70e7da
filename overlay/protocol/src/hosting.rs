//! What a mailbox's owner and the node that keeps letters for it say to each other, and how both prove it.
//!
//! A *relay* keeps letters for mailboxes that it agreed to host. The owner's part is authorised by the queue's key, over the relay's nonce and the names
//! of both nodes: no clock is in it, and what was signed for one connection of one process is good for no other. The relay's *stored* is signed with
//! the node's own key, so that a relay that says it and does not keep it can be told so.
//!
//! ```text
//! Ask   = {0: queue key 32, 1: signature 64, 2: request}      signed: relay 32 ‖ owner's node 32 ‖ nonce 32 ‖ request
//! ```

use rand_core::Rng;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use crate::blinding::week_of;
use crate::card::Strangers;
use crate::codec::{self, EncodeError};
use crate::contexts;
use crate::event::{Place, PlaceKind, Wall};
use crate::ids::{EnvelopeId, PeerId, QueueName};
use crate::keys::{Operations, QueueKey, queue_name};
use crate::limits::{PLACE_ADDRESS_BYTES_MAX, PLACE_ADDRESSES_MAX, RECORD_BYTES_MAX};
use crate::signed::{self, SIGNATURE_BYTES};
use crate::wire::{GROUP_BYTES, groups};

/// Bytes of a request, at most: a frame has room for it.
pub const REQUEST_BYTES_MAX: usize = 60 * 1024;
/// Bytes of one stamp's mark.
pub const MARK_BYTES: usize = 16;
/// Marks in one request: a week's marks come in several.
pub const MARKS_MAX: usize = 3 * 1024;
/// Records in one request.
pub const RECORDS_MAX: usize = 4;

/// Other relays of a mailbox, as many as a card lists and some.
pub const SIBLINGS_MAX: usize = 8;

/// How long volunteers keep a letter, in ms: 14 d. A week's holiday must not be longer.
pub const VOLUNTEER_LIFE_MS: u64 = 14 * 24 * 3_600_000;
/// Weeks in which letters may wait at volunteers at one moment, at most ([`volunteer_weeks`]).
pub const VOLUNTEER_WEEKS_MAX: usize = 4;
/// How far the clock of whoever leaves a letter may be from ours, in ms.
const CLOCK_ALLOWANCE_MS: i64 = 36 * 3_600_000;

/// What the owner of a mailbox asks of the node that keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Keep letters for the queue of this key from now on. Answer: [`Reply::Granted`].
    Host {
        /// What the relay's owner gave to the mailbox's owner.
        token: [u8; 32],
    },
    /// Push what is kept to this connection's peer from now on, and let strangers in by these rules. Answer: [`Reply::Granted`].
    Collect {
        /// Who may leave letters without a stamp.
        strangers: Strangers,
        /// What strangers' work is bound to.
        tag: [u8; 16],
        /// How much of it they do.
        effort: u32,
    },
    /// The marks of all stamps of a week, in parts. The first part takes the place of what was known of that week.
    Marks {
        /// The week.
        week: u32,
        /// Which part, from 0.
        part: u32,
        /// Marks of 16 bytes each, ascending.
        marks: ByteBuf,
    },
    /// Records signed ahead, for the relay to put into the directory while the owner is away: (directory key, record).
    Records {
        /// At most [`RECORDS_MAX`].
        records: Vec<(ByteBuf, ByteBuf)>,
    },
    /// Keep nothing any more: what is there may be thrown away.
    Leave,
    /// The other relays of this mailbox, with its queue at each: what waits here may be passed on to them, and they may leave letters here.
    Siblings {
        /// At most [`SIBLINGS_MAX`].
        places: Vec<Place>,
    },
}

/// What a relay grants.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Grant {
    /// Bytes of envelopes that it keeps at most.
    pub bytes: u64,
    /// Envelopes that it keeps at most.
    pub count: u32,
    /// Bytes of the largest envelope that it takes.
    pub largest: u64,
    /// Bytes that it keeps now.
    pub used_bytes: u64,
    /// Envelopes that it keeps now.
    pub used_count: u32,
}

/// What a relay answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// It keeps, or goes on keeping, letters for this queue.
    Granted(Grant),
    /// Done, and durable.
    Done,
    /// No such mailbox or token here (or closed: the same answer).
    Unknown,
    /// The signature does not hold here: greet again, the nonce may be new.
    Unproven,
    /// Not now: try again later.
    Busy,
}

/// A request with its proof.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ask {
    /// The queue's public key; the queue's name is its hash.
    #[serde(with = "serde_bytes")]
    pub key: [u8; 32],
    /// By that key.
    #[serde(with = "serde_bytes")]
    pub signature: [u8; SIGNATURE_BYTES],
    /// A [`Request`] in canonical CBOR.
    pub request: ByteBuf,
}

fn proof(relay: &PeerId, owner: &PeerId, nonce: &[u8; 32], request: &[u8]) -> Vec<u8> {
    [relay.as_bytes(), owner.as_bytes(), nonce, request].concat()
}

/// A request on the wire: which, and the fields that it has.
#[derive(Default, Serialize, Deserialize)]
struct RequestFields {
    kind: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<ByteArray<32>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    strangers: Option<Strangers>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tag: Option<ByteArray<16>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    effort: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    week: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    part: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    marks: Option<ByteBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    records: Option<Vec<(ByteBuf, ByteBuf)>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    siblings: Option<Vec<Place>>,
}

impl From<&Request> for RequestFields {
    fn from(request: &Request) -> Self {
        let none = Self::default();
        match request {
            Request::Host { token } => Self { kind: 0, token: Some(ByteArray::new(*token)), ..none },
            Request::Collect { strangers, tag, effort } => {
                Self { kind: 1, strangers: Some(*strangers), tag: Some(ByteArray::new(*tag)), effort: Some(*effort), ..none }
            }
            Request::Marks { week, part, marks } => {
                Self { kind: 2, week: Some(*week), part: Some(*part), marks: Some(marks.clone()), ..none }
            }
            Request::Records { records } => Self { kind: 3, records: Some(records.clone()), ..none },
            Request::Leave => Self { kind: 4, ..none },
            Request::Siblings { places } => Self { kind: 5, siblings: Some(places.clone()), ..none },
        }
    }
}

impl RequestFields {
    fn request(self) -> Option<Request> {
        Some(match self.kind {
            0 => Request::Host { token: self.token?.into_array() },
            1 => Request::Collect { strangers: self.strangers?, tag: self.tag?.into_array(), effort: self.effort? },
            2 => Request::Marks { week: self.week?, part: self.part?, marks: self.marks? },
            3 => Request::Records { records: self.records? },
            4 => Request::Leave,
            5 => Request::Siblings { places: self.siblings? },
            _ => return None,
        })
    }
}

impl Request {
    fn keeps_rules(&self) -> bool {
        match self {
            Self::Marks { marks, .. } => {
                let marks = marks.chunks(MARK_BYTES);
                marks.len() <= MARKS_MAX && marks.clone().all(|mark| mark.len() == MARK_BYTES) && marks.is_sorted_by(|a, b| a < b)
            }
            Self::Records { records } => {
                records.len() <= RECORDS_MAX
                    && records.iter().all(|(key, record)| key.len() == 32 && record.len() <= RECORD_BYTES_MAX)
            }
            Self::Siblings { places } => {
                let hints = |place: &Place| {
                    place.addresses.len() <= PLACE_ADDRESSES_MAX
                        && place
                            .addresses
                            .iter()
                            .all(|hint| hint.len() <= PLACE_ADDRESS_BYTES_MAX && hint.bytes().all(|byte| byte.is_ascii_graphic()))
                };
                places.len() <= SIBLINGS_MAX && places.iter().all(|place| place.kind == PlaceKind::Relay && hints(place))
            }
            Self::Host { .. } | Self::Collect { .. } | Self::Leave => true,
        }
    }

    /// The request as it is signed.
    ///
    /// # Errors
    /// [`EncodeError`] when it breaks its own rules: a bug of who made it.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let bytes = codec::encode(&RequestFields::from(self))?;
        if self.keeps_rules() && bytes.len() <= REQUEST_BYTES_MAX { Ok(bytes) } else { Err(EncodeError) }
    }

    /// Reads a request strictly; `None` for anything else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let fields: RequestFields = codec::decode(bytes, REQUEST_BYTES_MAX).ok()?;
        // Fields of another kind than its own make it another request.
        fields.request().filter(|request| request.keeps_rules() && request.encode().is_ok_and(|again| again == bytes))
    }
}

impl Ask {
    /// Proves a request with the queue's key to `relay`, which gave this `nonce` to `owner`'s node.
    ///
    /// # Errors
    /// [`EncodeError`] when the request breaks its own rules.
    pub fn sign(
        key: &QueueKey,
        request: &Request,
        relay: &PeerId,
        owner: &PeerId,
        nonce: &[u8; 32],
    ) -> Result<Self, EncodeError> {
        let request = request.encode()?;
        let signature = key.sign(contexts::QUEUE, &proof(relay, owner, nonce, &request));
        Ok(Self { key: key.public(), signature, request: ByteBuf::from(request) })
    }

    /// As [`Ask::sign`], for the queue that volunteers keep in a week.
    ///
    /// # Errors
    /// As there.
    pub fn sign_volunteered(
        operations: &Operations,
        week: u32,
        request: &Request,
        relay: &PeerId,
        owner: &PeerId,
        nonce: &[u8; 32],
    ) -> Result<Self, EncodeError> {
        let request = request.encode()?;
        let key = operations.blinded(week);
        let signature = key.sign(contexts::QUEUE, &proof(relay, owner, nonce, &request));
        Ok(Self { key: key.public(), signature, request: ByteBuf::from(request) })
    }

    /// The queue and the request, if the proof holds here: `relay` is this node, `owner` the connected peer, `nonce` what it was given.
    #[must_use]
    pub fn verify(&self, relay: &PeerId, owner: &PeerId, nonce: &[u8; 32]) -> Option<(QueueName, Request)> {
        let holds = signed::verify(&self.key, contexts::QUEUE, &proof(relay, owner, nonce, &self.request), &self.signature);
        if !holds {
            return None;
        }
        Request::decode(&self.request).map(|request| (queue_name(&self.key), request))
    }
}

fn statement(queue: &QueueName, envelope: &EnvelopeId, size: u64, until_s: u32) -> Vec<u8> {
    [&queue.0[..], &envelope.0, &size.to_le_bytes(), &until_s.to_le_bytes()].concat()
}

/// A node's own key, for what it says as a relay.
pub struct NodeKey(ed25519_dalek::SigningKey);

impl NodeKey {
    /// From the seed of the node's Ed25519 key, the one its connections are authenticated by.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The node's name: the public key.
    #[must_use]
    pub fn name(&self) -> PeerId {
        PeerId(self.0.verifying_key().to_bytes())
    }

    /// Signs "I keep this envelope for this queue, for at least so many seconds": to be said only after the commit.
    #[must_use]
    pub fn stored(&self, queue: &QueueName, envelope: &EnvelopeId, size: u64, until_s: u32) -> [u8; SIGNATURE_BYTES] {
        signed::sign(&self.0, contexts::STORED, &statement(queue, envelope, size, until_s))
    }
}

/// Does the relay's statement hold?
#[must_use]
pub fn verify_stored(
    relay: &PeerId,
    queue: &QueueName,
    envelope: &EnvelopeId,
    size: u64,
    until_s: u32,
    signature: &[u8; SIGNATURE_BYTES],
) -> bool {
    signed::verify(relay.as_bytes(), contexts::STORED, &statement(queue, envelope, size, until_s), signature)
}

/// A challenge to a relay: which piece of the envelope it shall show that it still has.
#[must_use]
pub fn challenge(rng: &mut dyn Rng) -> [u8; 16] {
    let mut nonce = [0; 16];
    rng.fill_bytes(&mut nonce);
    nonce
}

/// The bytes that a challenge is about: a group of the envelope, chosen by the nonce.
#[must_use]
pub fn challenged(nonce: &[u8; 16], size: u64) -> core::ops::Range<u64> {
    let mut number = [0; 8];
    number.copy_from_slice(&nonce[..8]);
    let group = u64::from_le_bytes(number) % groups(size);
    let start = group * GROUP_BYTES;
    start..size.min(start + GROUP_BYTES)
}

/// What a relay that has these bytes answers.
#[must_use]
pub fn challenge_answer(nonce: &[u8; 16], envelope: &EnvelopeId, bytes: &[u8]) -> [u8; 32] {
    *contexts::derive(contexts::AUDIT, &[nonce, &envelope.0, bytes])
}

/// The queue that volunteers keep for an account in a week: named by the operations key blinded for that week, which anybody who has the card can compute,
/// and which tells nobody else whose it is.
#[must_use]
pub fn volunteer_queue(operations: &[u8; 32], week: u32) -> Option<QueueName> {
    crate::blinding::blind_public(operations, week).map(|key| queue_name(&key))
}

/// The weeks whose queues at volunteers may have letters in them now, [`VOLUNTEER_WEEKS_MAX`] at most: this week, the ones before, the last one first,
/// as long as volunteers keep what was left in them; and, where a sender's clock may be in another week than ours, that one.
pub fn volunteer_weeks(wall: Wall) -> impl Iterator<Item = u32> {
    let (life, now) = (i64::try_from(VOLUNTEER_LIFE_MS).unwrap_or(i64::MAX), week_of(wall));
    let first = week_of(Wall(wall.0.saturating_sub(life).saturating_sub(CLOCK_ALLOWANCE_MS)));
    let last = week_of(Wall(wall.0.saturating_add(CLOCK_ALLOWANCE_MS)));
    (first..=now).rev().chain((now..=last).skip(1))
}

#[cfg(test)]
mod tests;
