//! A mailbox's address: 58 characters that are its public key, with a checksum that catches mistypes.

use serde::{Deserialize, Serialize};

/// A checked mailbox address: the Ed25519 master public key (a canonical, torsion-free point).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address(#[serde(with = "serde_bytes")] [u8; 32]);

impl core::fmt::Debug for Address {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Address({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

/// What is wrong with a text that should be an address.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not an address")]
pub struct AddressError;

impl Address {
    /// Reads the 58 characters, any case; neither spaces nor a domain.
    pub fn parse(_text: &str) -> Result<Self, AddressError> {
        todo!()
    }

    /// Checks a raw public key: a canonical, torsion-free point that is not the identity.
    pub fn from_key(_key: [u8; 32]) -> Result<Self, AddressError> {
        todo!()
    }

    /// The raw public key.
    pub fn key(&self) -> &[u8; 32] {
        &self.0
    }

    /// The mail form: `<58 characters>@kith.alt`.
    pub fn mail(&self) -> String {
        format!("{self}@kith.alt")
    }
}

impl core::fmt::Display for Address {
    fn fmt(&self, _f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        todo!()
    }
}
