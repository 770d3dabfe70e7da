//! Rows that must not be read off the disk: each is sealed under a day key (XChaCha20-Poly1305), the day keys lie in one file outside redb, wrapped by the passphrase where there is one.

use zeroize::Zeroizing;

use crate::{Store, StoreError, Transaction};

/// Names a secret row: a few words joined by `/`, e.g. `node/peer`, `1/operations`, `1/prekey/2890`, `1/contact/<hex address>`. At most 160 bytes of ASCII.
pub type SecretName<'a> = &'a str;

impl Store {
    /// Reads a secret; `None` where there is none.
    pub fn secret(&self, _name: SecretName<'_>) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        todo!()
    }
    /// The names that begin with `prefix`, ascending.
    pub fn secret_names(&self, _prefix: &str) -> Result<Vec<String>, StoreError> {
        todo!()
    }
}

impl Transaction<'_> {
    /// Reads a secret as this transaction sees it.
    pub fn secret(&self, _name: SecretName<'_>) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        todo!()
    }
    /// Writes a secret (at most 64 KiB).
    pub fn put_secret(&mut self, _name: SecretName<'_>, _value: &[u8]) -> Result<(), StoreError> {
        todo!()
    }
    /// Erases a secret: logically at once, physically when the day key goes and the medium follows.
    pub fn erase_secret(&mut self, _name: SecretName<'_>) -> Result<(), StoreError> {
        todo!()
    }
}
