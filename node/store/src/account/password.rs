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
    /// Hashes a password: 0.1 s on a PC, up to 1 s on a small machine.
    ///
    /// # Errors
    /// `Invalid` for an empty one, or one of more than [`PASSWORD_BYTES_MAX`] bytes.
    pub fn of(password: &[u8]) -> Result<Self, StoreError> {
        if password.is_empty() || password.len() > PASSWORD_BYTES_MAX {
            return Err(StoreError::Invalid(format!("a password has 1 to {PASSWORD_BYTES_MAX} bytes")));
        }
        let salt = random()?;
        let hash = stretch(password, &salt, MEMORY_KIB, PASSES)
            .ok_or_else(|| StoreError::Invalid("the password could not be hashed".into()))?;
        Ok(Self { memory_kib: MEMORY_KIB, passes: PASSES, salt: ByteArray::new(salt), hash: ByteArray::new(hash) })
    }

    /// Whether this is the password, in time that does not depend on how wrong it is.
    pub(super) fn matches(&self, password: &[u8]) -> bool {
        stretch(password, &self.salt, self.memory_kib, self.passes).is_some_and(|hash| hash.ct_eq(&*self.hash).into())
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
    known: Mutex<BTreeMap<[u8; 32], AccountId>>,
}

impl Remembered {
    /// Remembers nothing yet.
    pub(crate) fn new() -> Result<Self, StoreError> {
        Ok(Self { key: random()?, known: Mutex::default() })
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<[u8; 32], AccountId>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self, account: AccountId, password: &[u8]) -> [u8; 32] {
        *blake3::Hasher::new_keyed(&self.key).update(&account.0.to_le_bytes()).update(password).finalize().as_bytes()
    }

    pub(super) fn knows(&self, account: AccountId, password: &[u8]) -> bool {
        self.known().contains_key(&self.name(account, password))
    }

    pub(super) fn remember(&self, account: AccountId, password: &[u8]) {
        let mut known = self.known();
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(self.name(account, password), account);
    }

    /// A password of the account changed.
    pub(super) fn forget(&self, account: AccountId) {
        self.known().retain(|_, owner| *owner != account);
    }
}
