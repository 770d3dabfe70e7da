//! Rows that must not be read off the disk: each is sealed under a day key (XChaCha20-Poly1305); the day keys lie in one file outside redb,
//! wrapped by the passphrase where there is one.
//!
//! redb is copy-on-write: what is removed from it stays in freed pages for a while. So an erased secret dies with its day key: rotation seals the live
//! rows under a new key and then drops the old ones. Order, whatever crashes in between: the new key is durable before a row uses it, and an
//! old key goes only after no row does.

mod keyring;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use redb::ReadableTable;
use zeroize::Zeroizing;

pub(crate) use keyring::Keyring;

use crate::schema::SECRETS;
use crate::{Store, StoreError, Transaction};

/// Names a secret row: a few words joined by `/`, e.g. `node/peer`, `1/operations`, `1/prekey/2890`, `1/contact/<hex address>`. At most [`NAME_BYTES_MAX`] bytes of ASCII.
pub type SecretName<'a> = &'a str;

/// Bytes of a name, at most.
pub const NAME_BYTES_MAX: usize = 160;
/// Bytes of a secret, at most.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;

const NONCE_BYTES: usize = 24;
/// In front of the nonce: the number of the day key, little-endian.
const NUMBER_BYTES: usize = 4;
/// Binds a row to its format; the name follows.
const CONTEXT: &[u8] = b"kith secret row 1\0";

fn cipher(key: &[u8; 32]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.into())
}

fn bound_to(name: &str) -> Vec<u8> {
    [CONTEXT, name.as_bytes()].concat()
}

/// Random bytes from the system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| StoreError::Broken(format!("no randomness: {error}")))?;
    Ok(bytes)
}

fn seal(keyring: &Keyring, name: &str, value: &[u8]) -> Result<Vec<u8>, StoreError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.is_ascii() || value.len() > SECRET_BYTES_MAX {
        return Err(StoreError::Invalid("a secret's name or size is out of bounds".into()));
    }
    let (number, key) = keyring.newest();
    let nonce: [u8; NONCE_BYTES] = random()?;
    let sealed = cipher(key)
        .encrypt(&nonce.into(), Payload { msg: value, aad: &bound_to(name) })
        .map_err(|_| StoreError::Invalid("a secret could not be sealed".into()))?;
    Ok([&number.to_le_bytes()[..], &nonce, &sealed].concat())
}

pub(crate) fn open(keyring: &Keyring, name: &str, row: &[u8]) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let damaged = || StoreError::damaged(format!("the secret row {name}"));
    let (number, rest) = row.split_first_chunk::<NUMBER_BYTES>().ok_or_else(damaged)?;
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or_else(damaged)?;
    let key = keyring.key(u32::from_le_bytes(*number)).ok_or_else(damaged)?;
    let opened = cipher(key).decrypt(&(*nonce).into(), Payload { msg: sealed, aad: &bound_to(name) });
    opened.map(Zeroizing::new).map_err(|_| damaged())
}

/// What is greater than every name with this prefix, in byte order.
fn after(prefix: &str) -> String {
    format!("{prefix}\u{7f}")
}

impl Store {
    /// Reads a secret; `None` where there is none.
    ///
    /// # Errors
    /// `Damaged` when the row does not open.
    pub fn secret(&self, name: SecretName<'_>) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let row = self.read(|reader| Ok(reader.table(SECRETS)?.get(name)?.map(|row| row.value().to_vec())))?;
        row.map(|row| open(&self.core().keyring(), name, &row)).transpose()
    }

    /// The names that begin with `prefix`, ascending.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn secret_names(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.read(|reader| {
            let mut names = Vec::new();
            for row in reader.table(SECRETS)?.range(prefix..after(prefix).as_str())? {
                names.push(row?.0.value().to_owned());
            }
            Ok(names)
        })
    }

    /// Seals every live row under a new day key if `day` (days since 1970) is a later one than the newest key's, and drops the old keys:
    /// what was erased before can then not be read from any old page. A clock that went back does nothing. Tells whether it did.
    ///
    /// # Errors
    /// [`StoreError`]; after a failure both keys stay, and the next call goes on.
    pub fn rotate_day_key(&self, day: i64) -> Result<bool, StoreError> {
        let core = self.core_shared();
        if !core.keyring().begin_day(&core.disk, day)? {
            return Ok(false);
        }
        self.write(|transaction| transaction.reseal_secrets())?;
        core.keyring().drop_old(&core.disk)?;
        Ok(true)
    }

    /// Sets, changes or (with `None`) takes away the passphrase that the day keys are wrapped under. Takes a second.
    ///
    /// # Errors
    /// [`StoreError`]; the old passphrase counts then.
    pub fn set_passphrase(&self, passphrase: Option<&[u8]>) -> Result<(), StoreError> {
        let core = self.core();
        core.keyring().rewrap(&core.disk, passphrase)
    }
}

impl Transaction<'_> {
    /// Reads a secret as this transaction sees it.
    ///
    /// # Errors
    /// `Damaged` when the row does not open.
    pub fn secret(&self, name: SecretName<'_>) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let row = self.view(SECRETS)?.get(name)?.map(|row| row.value().to_vec());
        row.map(|row| open(&self.core().keyring(), name, &row)).transpose()
    }

    /// Writes a secret (at most [`SECRET_BYTES_MAX`]).
    ///
    /// # Errors
    /// `Invalid` for a name or size out of bounds.
    pub fn put_secret(&mut self, name: SecretName<'_>, value: &[u8]) -> Result<(), StoreError> {
        let row = seal(&self.core().keyring(), name, value)?;
        self.table(SECRETS)?.insert(name, row.as_slice())?;
        Ok(())
    }

    /// Erases a secret: logically at once, physically when its day key goes and the medium follows.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn erase_secret(&mut self, name: SecretName<'_>) -> Result<(), StoreError> {
        self.table(SECRETS)?.remove(name)?;
        Ok(())
    }

    /// Erases all secrets whose name begins so.
    pub(crate) fn erase_secrets(&mut self, prefix: &str) -> Result<(), StoreError> {
        self.table(SECRETS)?.retain_in(prefix..after(prefix).as_str(), |_, _| false)?;
        Ok(())
    }

    fn reseal_secrets(&mut self) -> Result<(), StoreError> {
        let mut rows = Vec::new();
        for row in self.view(SECRETS)?.iter()? {
            let (name, value) = row?;
            rows.push((name.value().to_owned(), value.value().to_vec()));
        }
        for (name, row) in rows {
            let value = open(&self.core().keyring(), &name, &row)?;
            self.put_secret(&name, &value)?;
        }
        Ok(())
    }
}
