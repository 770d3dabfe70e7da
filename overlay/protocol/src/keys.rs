//! The keys of an account, each with one task; and how they are kept.
//!
//! | key | kind | where | task |
//! |---|---|---|---|
//! | [`Master`] | Ed25519, from the 24 words | on paper | certifies the operations key, weekly record keys, and the account's end |
//! | [`BackupKey`] | X25519 and ML-KEM, from the 24 words | public half on the node | backups are sealed to it |
//! | [`Operations`] | Ed25519, random | home node | signs cards and, blinded by week, records |
//! | [`DeviceKey`] | X25519, random | each node | proves who sealed a letter |
//! | [`QueueKey`] | Ed25519, random | each node, one a relay | fetches what waits there |
//!
//! Prekeys have a life of their own: [`crate::prekey`]. Nothing that a node keeps can be derived from the words, and the words from nothing that it
//! keeps. Rows are canonical CBOR that begins with a version.

use ed25519_dalek::SigningKey;
use rand_core::CryptoRng;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use zeroize::Zeroizing;

use crate::address::Address;
use crate::blinding::BlindedKey;
use crate::codec::{self, DecodeError, EncodeError};
use crate::contexts;
use crate::ids::QueueName;
use crate::limits::SECRET_ROW_BYTES_MAX;
use crate::secret::Secret;
use crate::signed::{self, SIGNATURE_BYTES};
use crate::{kem, noise};

pub(crate) const VERSION: u8 = 1;

/// Something that is kept as a row of the store: canonical CBOR of at most [`SECRET_ROW_BYTES_MAX`] bytes.
pub trait Row: Serialize + DeserializeOwned {
    /// The version that the row says it is of.
    fn version(&self) -> u8;

    /// Reads a row.
    ///
    /// # Errors
    /// [`DecodeError`]: the row is damaged, or of another version.
    fn from_row(row: &[u8]) -> Result<Self, DecodeError> {
        let this: Self = codec::decode(row, SECRET_ROW_BYTES_MAX)?;
        if this.version() == VERSION { Ok(this) } else { Err(DecodeError::Malformed) }
    }

    /// Writes the row.
    ///
    /// # Errors
    /// [`EncodeError`]: only a bug can cause it.
    fn to_row(&self) -> Result<Zeroizing<Vec<u8>>, EncodeError> {
        codec::encode(self).map(Zeroizing::new)
    }
}

/// The seed of the 24 words, as it lies on the node until the person has written the words down.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Seed {
    version: u8,
    seed: Secret,
}

impl Seed {
    /// Keeps a seed.
    pub fn new(seed: Secret) -> Self {
        Self { version: VERSION, seed }
    }

    /// Draws a new one.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self::new(Secret::generate(rng))
    }

    /// The 24 words.
    pub fn words(&self) -> Zeroizing<String> {
        crate::phrase::words(&self.seed)
    }

    /// The offline keys.
    pub fn master(&self) -> Master {
        Master::from_seed(&self.seed)
    }
}

impl Row for Seed {
    fn version(&self) -> u8 {
        self.version
    }
}

/// The offline keys, as long as they are needed: to be made from the seed, used and dropped.
pub struct Master {
    signing: SigningKey,
    backup: BackupKey,
}

impl Master {
    /// Derives the keys of a seed.
    pub fn from_seed(seed: &Secret) -> Self {
        let signing = SigningKey::from_bytes(&contexts::derive(contexts::MASTER, &[seed.expose()]));
        let x25519 = contexts::derive(contexts::BACKUP, &[seed.expose()]);
        let mut kem_seed = Zeroizing::new([0; kem::SEED_BYTES]);
        contexts::derive_into(contexts::BACKUP_KEM, &[seed.expose()], &mut *kem_seed);
        let backup = BackupKey {
            version: VERSION,
            x25519: noise::public_key(&x25519),
            kem: ByteBuf::from(kem::SecretKey::from_seed(&kem_seed).public()),
        };
        Self { signing, backup }
    }

    /// The account's address.
    pub fn address(&self) -> Address {
        Address::of_secret(&self.signing)
    }

    /// The public half of the backup key.
    pub fn backup(&self) -> &BackupKey {
        &self.backup
    }

    pub(crate) fn signing(&self) -> &SigningKey {
        &self.signing
    }

    pub(crate) fn blinded(&self, week: u32) -> BlindedKey {
        BlindedKey::new(&self.signing, week)
    }
}

/// The public half of the backup key: a node can write backups and not read them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BackupKey {
    version: u8,
    /// The X25519 public key.
    #[serde(with = "serde_bytes")]
    pub x25519: [u8; 32],
    /// The ML-KEM-768 public key, 1,184 bytes.
    pub kem: ByteBuf,
}

impl BackupKey {
    /// What the account certificate says of it: `BLAKE3(X25519 key ‖ ML-KEM key)`.
    pub fn hash(&self) -> [u8; 32] {
        *blake3::Hasher::new().update(&self.x25519).update(&self.kem).finalize().as_bytes()
    }
}

impl Row for BackupKey {
    fn version(&self) -> u8 {
        self.version
    }
}

/// The operations key of one generation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Operations {
    version: u8,
    /// Grows whenever the words were needed; a greater one always wins.
    pub generation: u32,
    key: Secret,
}

impl Operations {
    /// Draws a key.
    pub fn generate(generation: u32, rng: &mut impl CryptoRng) -> Self {
        Self { version: VERSION, generation, key: Secret::generate(rng) }
    }

    /// The public key.
    pub fn public(&self) -> [u8; 32] {
        self.signing().verifying_key().to_bytes()
    }

    pub(crate) fn signing(&self) -> SigningKey {
        SigningKey::from_bytes(self.key.expose())
    }

    pub(crate) fn blinded(&self, week: u32) -> BlindedKey {
        BlindedKey::new(&self.signing(), week)
    }
}

impl Row for Operations {
    fn version(&self) -> u8 {
        self.version
    }
}

/// The static key of this node for one account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeviceKey {
    version: u8,
    /// Its number in the account's cards.
    pub id: u32,
    secret: Secret,
}

impl DeviceKey {
    /// Draws a key.
    pub fn generate(id: u32, rng: &mut impl CryptoRng) -> Self {
        Self { version: VERSION, id, secret: Secret::generate(rng) }
    }

    /// The X25519 secret key, for [`crate::seal::SealRequest::device`].
    pub fn secret(&self) -> &[u8; 32] {
        self.secret.expose()
    }

    /// The X25519 public key, as cards list it.
    pub fn public(&self) -> [u8; 32] {
        noise::public_key(self.secret.expose())
    }
}

impl Row for DeviceKey {
    fn version(&self) -> u8 {
        self.version
    }
}

/// Owns one queue at one node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct QueueKey {
    version: u8,
    key: Secret,
}

impl QueueKey {
    /// Draws a key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self { version: VERSION, key: Secret::generate(rng) }
    }

    /// The public key, shown to the node that keeps the queue.
    pub fn public(&self) -> [u8; 32] {
        self.signing().verifying_key().to_bytes()
    }

    /// The queue's name: `BLAKE3(public key)[..16]`.
    pub fn name(&self) -> QueueName {
        queue_name(&self.public())
    }

    /// Signs `u8 length of the context ‖ context ‖ bytes`.
    pub fn sign(&self, context: &[u8], bytes: &[u8]) -> [u8; SIGNATURE_BYTES] {
        signed::sign(&self.signing(), context, bytes)
    }

    fn signing(&self) -> SigningKey {
        SigningKey::from_bytes(self.key.expose())
    }
}

impl Row for QueueKey {
    fn version(&self) -> u8 {
        self.version
    }
}

/// The name of the queue that a key owns.
pub fn queue_name(public: &[u8; 32]) -> QueueName {
    let mut name = [0; 16];
    name.copy_from_slice(&blake3::hash(public).as_bytes()[..16]);
    QueueName(name)
}

#[cfg(test)]
mod tests;
