//! What an envelope carries: a head, then the content, then zeros.
//!
//! ```text
//! 0      4   n, the length of the head, little-endian
//! 4      n   the head, canonical CBOR
//! 4+n    m   the content: a mail in MIME, a receipt, or nothing; m stands in the head
//! …          zeros to the end
//! ```

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use zeroize::Zeroizing;

use crate::address::Address;
use crate::codec::{self, EncodeError};
use crate::contexts;
use crate::event::Wall;
use crate::ids::{KeyId, MailId};
use crate::limits::{
    CARD_BYTES_MAX, FORWARD_BYTES_MAX, HEAD_BYTES_MAX, LETTER_REPLY_KEYS_MAX, MAIL_BYTES_MAX, RECEIPT_BYTES_MAX,
};
use crate::secret::Secret;

/// Bytes in front of the head: its length.
pub const PREFIX_BYTES: usize = 4;

const VERSION: u8 = 1;
const UNCOMPRESSED: u8 = 0;

/// What a letter is. The numbers are on the wire; 3 (introduction), 4 (sync) and 5 (reset) are taken by what is to come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The content is a mail in MIME.
    Mail = 0,
    /// The content is a [`crate::receipt::Receipt`].
    Receipt = 1,
    /// No content: the letter brings nothing but its card.
    Card = 2,
    /// The content is a [`crate::talk::Talk`].
    Relay = 6,
    /// The content is a [`crate::forward::Outward`] and a mail that is to leave in the clear by the recipient's gateway.
    Outgoing = 7,
    /// The content is a [`crate::forward::Inward`] and a mail that came in the clear to the sender's gateway.
    Incoming = 8,
}

impl Kind {
    /// Bytes of content, at most.
    pub fn content_bytes_max(self) -> u64 {
        match self {
            Self::Mail => MAIL_BYTES_MAX,
            Self::Outgoing | Self::Incoming => MAIL_BYTES_MAX + FORWARD_BYTES_MAX as u64 + 4,
            Self::Receipt | Self::Relay => RECEIPT_BYTES_MAX as u64,
            Self::Card => 0,
        }
    }
}

/// A key that the recipient of a letter may seal one letter to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReplyKey {
    /// What it is asked for by; random, never all zeros.
    pub id: KeyId,
    /// Its X25519 public key.
    #[serde(with = "serde_bytes")]
    pub public: [u8; 32],
    /// Goes into the pre-shared key of the letter that is sealed to it.
    pub secret: Secret,
}

/// What makes the recipient a contact: the seed that its letters prove themselves with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Stamps {
    /// The seed of the contact mac and of the contact's stamps.
    pub seed: Secret,
    /// How many stamps a week and node the contact may spend.
    pub quota: u16,
}

/// The head of a letter. The order of the fields is their number on the wire.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Head {
    version: u8,
    /// The letter's name, chosen at submission; the same when it is sealed anew.
    pub mid: MailId,
    /// When it was submitted, as its sender believes.
    pub date: Wall,
    /// Whose letter it claims to be: to be believed after [`crate::seal::verify_sender`] only.
    pub from: Address,
    /// The sender's card, signed, as received; verify before use.
    pub card: ByteBuf,
    /// Keys for the answer, at most 2, newest last.
    pub reply_keys: Vec<ReplyKey>,
    /// Until the recipient has proven that it has it: the seed for its letters to the sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamps: Option<Stamps>,
    kind: u8,
    compression: u8,
    /// Bytes of content.
    pub length: u64,
    /// Proves the sender to be the contact that was given the seed.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "serde_bytes")]
    pub mac: Option<[u8; 32]>,
    /// Room for what later versions add and this one ignores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    extension: Option<ByteBuf>,
}

/// Why bytes are not the head of a letter, or a letter cannot be written so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeadError {
    /// Not canonical CBOR of this shape, too long, or of another version.
    #[error("not the head of a letter")]
    Malformed,
    /// A kind of letter that this version does not know.
    #[error("a letter of the unknown kind {0}")]
    UnknownKind(u8),
    /// The content is compressed in a way that this version does not know.
    #[error("a letter in the unknown compression {0}")]
    UnknownCompression(u8),
    /// More bytes in the card, the keys or the content than a letter of its kind may have.
    #[error("a letter larger than its kind allows")]
    TooLong,
}

impl Head {
    /// A head without mac.
    ///
    /// # Errors
    /// [`HeadError::TooLong`] when the card or the content is.
    pub fn new(mid: MailId, date: Wall, from: Address, card: &[u8], kind: Kind, length: u64) -> Result<Self, HeadError> {
        let head = Self {
            version: VERSION,
            mid,
            date,
            from,
            card: ByteBuf::from(card),
            reply_keys: Vec::new(),
            stamps: None,
            kind: kind as u8,
            compression: UNCOMPRESSED,
            length,
            mac: None,
            extension: None,
        };
        head.kind().map(|_| head)
    }

    /// Reads a head of at most [`HEAD_BYTES_MAX`] bytes, strictly.
    ///
    /// # Errors
    /// [`HeadError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, HeadError> {
        let head: Self = codec::decode(bytes, HEAD_BYTES_MAX).map_err(|_| HeadError::Malformed)?;
        if head.version != VERSION {
            return Err(HeadError::Malformed);
        }
        if head.compression != UNCOMPRESSED {
            return Err(HeadError::UnknownCompression(head.compression));
        }
        head.kind().map(|_| head)
    }

    /// Writes the head.
    ///
    /// # Errors
    /// [`HeadError::TooLong`] when it is longer than [`HEAD_BYTES_MAX`].
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, HeadError> {
        let bytes = Zeroizing::new(codec::encode(self).map_err(|EncodeError| HeadError::Malformed)?);
        if bytes.len() > HEAD_BYTES_MAX { Err(HeadError::TooLong) } else { Ok(bytes) }
    }

    /// What the letter is, when all lengths are within the bounds of its kind: true of every head that was made or read.
    ///
    /// # Errors
    /// [`HeadError::UnknownKind`], [`HeadError::TooLong`].
    pub fn kind(&self) -> Result<Kind, HeadError> {
        let kind = match self.kind {
            0 => Kind::Mail,
            1 => Kind::Receipt,
            2 => Kind::Card,
            6 => Kind::Relay,
            7 => Kind::Outgoing,
            8 => Kind::Incoming,
            other => return Err(HeadError::UnknownKind(other)),
        };
        let fits = self.length <= kind.content_bytes_max()
            && self.card.len() <= CARD_BYTES_MAX
            && self.reply_keys.len() <= LETTER_REPLY_KEYS_MAX;
        if fits { Ok(kind) } else { Err(HeadError::TooLong) }
    }

    /// Names the letter apart from its mac: `KDF("kith 2026-11 letter", head without mac ‖ content hash)`.
    ///
    /// The content goes in as its BLAKE3 hash, which both sides have anyway, so that the mac can stand in front of what it covers.
    ///
    /// # Errors
    /// [`HeadError`] when the head cannot be encoded.
    pub fn letter_hash(&self, content_hash: &[u8; 32]) -> Result<[u8; 32], HeadError> {
        let bare = if self.mac.is_none() { self.encode()? } else { Self { mac: None, ..self.clone() }.encode()? };
        Ok(*contexts::derive(contexts::LETTER, &[&bare, content_hash]))
    }
}

/// The contact mac over a letter to `recipient`, with the seed that `recipient` gave to the sender.
pub fn contact_mac(seed: &Secret, recipient: &Address, letter_hash: &[u8; 32]) -> blake3::Hash {
    let key = contexts::derive(contexts::CONTACT, &[seed.expose()]);
    let mut hasher = blake3::Hasher::new_keyed(&key);
    hasher.update(contexts::CONTACT_MAC).update(recipient.key()).update(letter_hash);
    hasher.finalize()
}

#[cfg(test)]
mod tests;
