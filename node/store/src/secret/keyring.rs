//! The day keys: one file of 4 KiB beside the database, replaced as a whole, wrapped by the passphrase where there is one.
//!
//! The file: length (u32, little-endian) ‖ [`File`] in CBOR ‖ zeros to 4,096 bytes.

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, Payload};
use kith_protocol::codec;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{NONCE_BYTES, cipher, random};
use crate::disk::Disk;
use crate::{OpenError, StoreError};

const NAME: &str = "keys";
const FILE_BYTES: usize = 4096;
const VERSION: u8 = 1;
const CONTEXT: &[u8] = b"kith day keys 1";
/// argon2id for the passphrase: 64 MiB, three passes (RFC 9106 §4, second recommended option, with one lane).
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
/// What a file may ask for at most, so that a damaged one cannot exhaust the machine.
const MEMORY_KIB_MAX: u32 = 1024 * 1024;
const PASSES_MAX: u32 = 64;
/// Keys at once: the newest, and those whose rows are being sealed anew.
const KEYS_MAX: usize = 16;

/// One day's key.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct DayKey {
    /// Ascends; what rows name it by.
    number: u32,
    /// Days since 1970 when it was made.
    day: i64,
    key: ByteArray32,
}

/// 32 secret bytes.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
struct ByteArray32(#[serde(with = "serde_bytes")] [u8; 32]);

/// How the keys are wrapped: argon2id over the passphrase, then XChaCha20-Poly1305.
#[derive(Clone, Serialize, Deserialize)]
struct Wrap {
    salt: ByteArray<16>,
    memory_kib: u32,
    passes: u32,
    nonce: ByteArray<NONCE_BYTES>,
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u8,
    wrap: Option<Wrap>,
    /// The keys in CBOR, sealed where there is a wrap.
    keys: ByteBuf,
}

/// The keys, and how they are wrapped.
pub(crate) struct Keyring {
    keys: Vec<DayKey>,
    /// The passphrase's key with its salt; `None` without a passphrase.
    wrapped_by: Option<(ByteArray<16>, Zeroizing<[u8; 32]>)>,
}

fn stretch(passphrase: &[u8], salt: &[u8; 16], memory_kib: u32, passes: u32) -> Result<Zeroizing<[u8; 32]>, StoreError> {
    let failed = |error: argon2::Error| StoreError::Invalid(format!("the passphrase could not be stretched: {error}"));
    let params = Params::new(memory_kib, passes, 1, Some(32)).map_err(failed)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into(passphrase, salt, &mut *key).map_err(failed)?;
    Ok(key)
}

impl Keyring {
    /// Reads the file; makes it where there is none and `fresh` says that nothing is sealed yet.
    ///
    /// # Errors
    /// [`OpenError::Locked`] when the passphrase is missing or wrong; [`OpenError::Damaged`] when the file is gone or not one. Nothing is overwritten then.
    pub(crate) fn open(disk: &Disk, passphrase: Option<&[u8]>, fresh: bool) -> Result<Self, OpenError> {
        let home = disk.home().to_path_buf();
        let damaged = |what: &str| OpenError::Damaged { home: home.clone(), what: what.to_owned() };
        let locked = |what: &str| OpenError::Locked { home: home.clone(), what: what.to_owned() };
        let io = |error: std::io::Error| OpenError::Io { home: home.clone(), error: error.to_string() };
        let Some(bytes) = disk.read_small(NAME, FILE_BYTES as u64).map_err(io)? else {
            if !fresh {
                return Err(damaged("the file `keys` is missing: put it back from a backup"));
            }
            return Self::make(disk, passphrase).map_err(|error| OpenError::Io { home: home.clone(), error: error.to_string() });
        };
        let file = parse(&bytes).ok_or_else(|| damaged("the file `keys` cannot be understood: put it back from a backup"))?;
        let (plain, wrapped_by) = match (file.wrap, passphrase) {
            (None, _) => (Zeroizing::new(file.keys.into_vec()), None),
            (Some(_), None) => return Err(locked("name the file that holds the passphrase in KITH_PASSPHRASE_FILE")),
            (Some(wrap), Some(passphrase)) => {
                let key =
                    stretch(passphrase, &wrap.salt, wrap.memory_kib, wrap.passes).map_err(|error| locked(&error.to_string()))?;
                let payload = Payload { msg: &file.keys, aad: CONTEXT };
                let plain =
                    cipher(&key).decrypt(&(*wrap.nonce).into(), payload).map_err(|_| locked("the passphrase is wrong"))?;
                (Zeroizing::new(plain), Some((wrap.salt, key)))
            }
        };
        let keys: Vec<DayKey> = codec::decode(&plain, FILE_BYTES).map_err(|_| damaged("the file `keys` cannot be understood"))?;
        if keys.is_empty() {
            return Err(damaged("the file `keys` holds none"));
        }
        Ok(Self { keys, wrapped_by })
    }

    fn make(disk: &Disk, passphrase: Option<&[u8]>) -> Result<Self, StoreError> {
        let first = DayKey { number: 1, day: disk.now().div_euclid(86_400), key: ByteArray32(random()?) };
        let mut ring = Self { keys: vec![first], wrapped_by: None };
        ring.rewrap(disk, passphrase)?;
        Ok(ring)
    }

    /// The key that new rows are sealed under.
    pub(crate) fn newest(&self) -> (u32, &[u8; 32]) {
        // Never empty: checked when read, and dropping keeps the newest.
        static NONE: [u8; 32] = [0; 32];
        self.keys.last().map_or((0, &NONE), |key| (key.number, &key.key.0))
    }

    /// The key of a number.
    pub(crate) fn key(&self, number: u32) -> Option<&[u8; 32]> {
        self.keys.iter().find(|key| key.number == number).map(|key| &key.key.0)
    }

    /// Adds a key for a later day; `true` when there are rows to be sealed anew, also from a rotation that a crash interrupted.
    pub(crate) fn begin_day(&mut self, disk: &Disk, day: i64) -> Result<bool, StoreError> {
        let Some(newest) = self.keys.last() else { return Ok(false) };
        if newest.day >= day || self.keys.len() >= KEYS_MAX {
            return Ok(self.keys.len() > 1);
        }
        self.keys.push(DayKey { number: newest.number.saturating_add(1), day, key: ByteArray32(random()?) });
        self.store(disk).inspect_err(|_| drop(self.keys.pop())).map(|()| true)
    }

    /// Drops all keys but the newest.
    pub(crate) fn drop_old(&mut self, disk: &Disk) -> Result<(), StoreError> {
        let old = self.keys.len().saturating_sub(1);
        let kept = self.keys.split_off(old);
        let dropped = std::mem::replace(&mut self.keys, kept);
        self.store(disk).inspect_err(|_| {
            let newest = std::mem::take(&mut self.keys);
            self.keys = dropped.into_iter().chain(newest).collect();
        })
    }

    /// Wraps the keys under another passphrase, or none.
    pub(crate) fn rewrap(&mut self, disk: &Disk, passphrase: Option<&[u8]>) -> Result<(), StoreError> {
        let salt: [u8; 16] = random()?;
        let wrapped_by = match passphrase {
            Some(passphrase) => Some((ByteArray::new(salt), stretch(passphrase, &salt, MEMORY_KIB, PASSES)?)),
            None => None,
        };
        let before = std::mem::replace(&mut self.wrapped_by, wrapped_by);
        self.store(disk).inspect_err(|_| self.wrapped_by = before)
    }

    fn store(&self, disk: &Disk) -> Result<(), StoreError> {
        let unwritable = |_| StoreError::Invalid("the day keys cannot be written".into());
        let plain = Zeroizing::new(codec::encode(&self.keys).map_err(unwritable)?);
        let (wrap, keys) = match &self.wrapped_by {
            None => (None, plain.to_vec()),
            Some((salt, key)) => {
                let nonce: [u8; NONCE_BYTES] = random()?;
                let sealed = cipher(key)
                    .encrypt(&nonce.into(), Payload { msg: &plain, aad: CONTEXT })
                    .map_err(|_| StoreError::Invalid("the day keys cannot be wrapped".into()))?;
                (Some(Wrap { salt: *salt, memory_kib: MEMORY_KIB, passes: PASSES, nonce: ByteArray::new(nonce) }), sealed)
            }
        };
        let body =
            Zeroizing::new(codec::encode(&File { version: VERSION, wrap, keys: ByteBuf::from(keys) }).map_err(unwritable)?);
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let mut bytes = Zeroizing::new([&length.to_le_bytes()[..], &body].concat());
        if bytes.len() > FILE_BYTES {
            return Err(StoreError::Invalid("too many day keys".into()));
        }
        bytes.resize(FILE_BYTES, 0);
        disk.replace_small(NAME, &bytes).map_err(|error| StoreError::of_io(&error))
    }
}

fn parse(bytes: &[u8]) -> Option<File> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (body, zeros) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    let file: File = codec::decode(body, FILE_BYTES).ok()?;
    let sane = file.wrap.as_ref().is_none_or(|wrap| wrap.memory_kib <= MEMORY_KIB_MAX && wrap.passes <= PASSES_MAX);
    (file.version == VERSION && sane && zeros.iter().all(|zero| *zero == 0)).then_some(file)
}
