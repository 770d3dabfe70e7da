//! Passwords for mail programs: argon2id at rest, recent successes remembered in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use argon2::{Algorithm, Argon2, Params, Version};
use kith_protocol::codec;
use kith_protocol::ids::AccountId;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::login::Pass;
use crate::StoreError;
use crate::secret::random;

/// Bytes of a password at most.
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// Bytes of a label at most.
pub const LABEL_BYTES_MAX: usize = 32;

/// argon2id, RFC 9106 §4, second recommended option with one lane: 64 MiB, three passes.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const ROW_BYTES_MAX: usize = 256;
/// Logins that are remembered; the map is emptied when it is full.
const REMEMBERED_MAX: usize = 256;
/// Characters of a generated password: 20 × 5 bits. No 0, 1, 8, 9: they are taken for letters.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const GENERATED_CHARACTERS: usize = 20;

/// One at a time: each needs [`MEMORY_KIB`].
static STRETCHING: Mutex<()> = Mutex::new(());

/// A password's argon2id hash.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PasswordHash {
    memory_kib: u32,
    passes: u32,
    salt: ByteArray<16>,
    hash: ByteArray<32>,
}

fn stretch(password: &[u8], salt: &[u8; 16], memory_kib: u32, passes: u32) -> Option<[u8; 32]> {
    let _turn = STRETCHING.lock().unwrap_or_else(PoisonError::into_inner);
    let params = Params::new(memory_kib, passes, 1, Some(32)).ok()?;
    let mut hash = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into(password, salt, &mut hash).ok()?;
    Some(hash)
}

impl PasswordHash {
    /// Hashes a password under a salt of its own: 0.1 s on a PC, up to 1 s on a small machine.
    ///
    /// # Errors
    /// `Invalid` for an empty one, or one of more than [`PASSWORD_BYTES_MAX`] bytes.
    pub fn of(password: &[u8]) -> Result<Self, StoreError> {
        Self::salted(password, random()?, MEMORY_KIB, PASSES)
    }

    /// As [`PasswordHash::of`], under the salt of another password of the same account: one stretching then checks both.
    pub(super) fn with_salt_of(other: &Self, password: &[u8]) -> Result<Self, StoreError> {
        Self::salted(password, *other.salt, other.memory_kib, other.passes)
    }

    fn salted(password: &[u8], salt: [u8; 16], memory_kib: u32, passes: u32) -> Result<Self, StoreError> {
        if password.is_empty() || password.len() > PASSWORD_BYTES_MAX {
            return Err(StoreError::Invalid(format!("a password has 1 to {PASSWORD_BYTES_MAX} bytes")));
        }
        let hash = stretch(password, &salt, memory_kib, passes)
            .ok_or_else(|| StoreError::Invalid("the password could not be hashed".into()))?;
        Ok(Self { memory_kib, passes, salt: ByteArray::new(salt), hash: ByteArray::new(hash) })
    }

    fn is_salted_like(&self, other: &Self) -> bool {
        (self.memory_kib, self.passes, self.salt) == (other.memory_kib, other.passes, other.salt)
    }

    /// Which of these is the password's, in time that does not depend on how wrong it is, nor on how many there are, since they share a salt
    /// (those of an older Kith do not: each of its salts takes a stretching). The time of one is spent where there are none.
    pub(super) fn find<'a, T>(known: &'a [(T, Self)], password: &[u8]) -> Option<&'a T> {
        let mut stretched: Vec<(&Self, Option<[u8; 32]>)> = Vec::new();
        let mut found = None;
        for (whose, hash) in known {
            let mine = match stretched.iter().find(|(other, _)| other.is_salted_like(hash)) {
                Some((_, mine)) => *mine,
                None => {
                    let mine = stretch(password, &hash.salt, hash.memory_kib, hash.passes);
                    stretched.push((hash, mine));
                    mine
                }
            };
            if mine.is_some_and(|mine| mine.ct_eq(&*hash.hash).into()) {
                found = Some(whose);
            }
        }
        if known.is_empty() {
            Self::spend_the_same_time();
        }
        found
    }

    /// What checking a password costs, where there is none to check.
    pub(super) fn spend_the_same_time() {
        let _unused = stretch(b"nobody", &[0; 16], MEMORY_KIB, PASSES);
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, StoreError> {
        codec::encode(self).map_err(|_| StoreError::Invalid("the password cannot be written".into()))
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        codec::decode(bytes, ROW_BYTES_MAX).map_err(|_| StoreError::damaged("a password's row"))
    }
}

/// A new password of 100 random bits, in four groups that can be typed from paper.
///
/// # Errors
/// The system has no randomness.
pub fn generate_password() -> Result<Zeroizing<String>, StoreError> {
    let bytes: [u8; GENERATED_CHARACTERS] = random()?;
    let mut password = Zeroizing::new(String::with_capacity(GENERATED_CHARACTERS + 3));
    for (at, byte) in bytes.iter().enumerate() {
        if at > 0 && at % 5 == 0 {
            password.push('-');
        }
        password.push(char::from(ALPHABET[usize::from(byte % 32)]));
    }
    Ok(password)
}

/// Recent successful logins, as keyed hashes: nothing that could be used elsewhere.
pub(crate) struct Remembered {
    key: [u8; 32],
    known: Mutex<BTreeMap<[u8; 32], Pass>>,
}

impl Remembered {
    /// Remembers nothing yet.
    pub(crate) fn new() -> Result<Self, StoreError> {
        Ok(Self { key: random()?, known: Mutex::default() })
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<[u8; 32], Pass>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self, account: AccountId, password: &[u8]) -> [u8; 32] {
        *blake3::Hasher::new_keyed(&self.key).update(&account.0.to_le_bytes()).update(password).finalize().as_bytes()
    }

    /// By which password this one was let in before.
    pub(super) fn knows(&self, account: AccountId, password: &[u8]) -> Option<Pass> {
        self.known().get(&self.name(account, password)).cloned()
    }

    pub(super) fn remember(&self, password: &[u8], pass: &Pass) {
        let mut known = self.known();
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(self.name(pass.account(), password), pass.clone());
    }

    /// A password of the account changed.
    pub(super) fn forget(&self, account: AccountId) {
        self.known().retain(|_, pass| pass.account() != account);
    }
}
