//! What the master key signs, and nothing else does: which operations key speaks for an address, under which keys its records lie in the coming
//! weeks, and that the address is dead.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::address::Address;
use crate::blinding::{WEEK_MS, week_of};
use crate::codec::EncodeError;
use crate::contexts;
use crate::event::Wall;
use crate::keys::{Master, Operations, Row, VERSION};
use crate::limits::{CERTIFICATE_BYTES_MAX, SHEET_WEEKS, TOMBSTONE_BYTES_MAX};
use crate::signed::{self, SIGNATURE_BYTES, SignedError, Verified};

/// Tells which operations key speaks for an address. The order of the fields is their number on the wire.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AccountCertificate {
    version: u8,
    /// Whose.
    pub address: Address,
    /// Generation of the operations key; a greater one always wins.
    pub generation: u32,
    /// Not valid before, in ms since the epoch.
    pub not_before: Wall,
    /// Not valid after: the end of the epoch sheet, at most [`SHEET_WEEKS`] weeks later.
    pub not_after: Wall,
    /// The operations key.
    #[serde(with = "serde_bytes")]
    pub operations: [u8; 32],
    /// [`crate::keys::BackupKey::hash`] of the public backup key.
    #[serde(with = "serde_bytes")]
    pub backup: [u8; 32],
}

/// Why a certificate, sheet or tombstone is not believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CertificateError {
    /// The signature does not hold, or what it covers is malformed.
    #[error(transparent)]
    Signed(#[from] SignedError),
    /// Another version, another address, or dates that no certificate may have.
    #[error("the certificate breaks the rules")]
    Rules,
}

/// How long before its first day a certificate is taken for valid: clocks differ.
const CLOCK_ALLOWANCE_MS: i64 = 36 * 3_600_000;

impl AccountCertificate {
    /// Certifies an operations key from the beginning of this week on, for as long as the epoch sheet made with it lasts.
    ///
    /// # Errors
    /// [`EncodeError`]: only a bug can cause it.
    pub fn sign(master: &Master, operations: &Operations, wall: Wall) -> Result<Verified<Self>, EncodeError> {
        let begin = i64::from(week_of(wall)) * WEEK_MS;
        let certificate = Self {
            version: VERSION,
            address: master.address(),
            generation: operations.generation,
            not_before: Wall(begin),
            not_after: Wall(begin + i64::from(SHEET_WEEKS) * WEEK_MS),
            operations: operations.public(),
            backup: master.backup().hash(),
        };
        Verified::sign(master.signing(), contexts::ACCOUNT, certificate)
    }

    /// Checks a certificate of `address`. Its dates are for [`AccountCertificate::holds_at`].
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn verify(address: &Address, bytes: &[u8]) -> Result<Verified<Self>, CertificateError> {
        let this: Verified<Self> = Verified::open(address.key(), contexts::ACCOUNT, bytes, CERTIFICATE_BYTES_MAX)?;
        let span = this.not_after.0.checked_sub(this.not_before.0);
        let sound = this.version == VERSION
            && this.address == *address
            && span.is_some_and(|span| (0..=i64::from(SHEET_WEEKS) * WEEK_MS).contains(&span));
        if sound { Ok(this) } else { Err(CertificateError::Rules) }
    }

    /// Whether the certificate is valid now, with a day and a half for clocks that differ.
    pub fn holds_at(&self, wall: Wall) -> bool {
        wall.0.saturating_add(CLOCK_ALLOWANCE_MS) >= self.not_before.0 && wall <= self.not_after
    }
}

/// For each of 104 weeks, the master key's word that this operations key's blinded key signs the week's record. Stays on the node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EpochSheet {
    version: u8,
    /// Generation of the operations key.
    pub generation: u32,
    /// The week of the first signature.
    pub first_week: u32,
    /// One signature after the other, 64 bytes each.
    signatures: ByteBuf,
}

impl EpochSheet {
    /// Signs the sheet from the week of `wall` on (about 10 ms).
    pub fn sign(master: &Master, operations: &Operations, wall: Wall) -> Self {
        let first_week = week_of(wall).min(u32::MAX - SHEET_WEEKS);
        let mut signatures = Vec::with_capacity(SHEET_WEEKS as usize * SIGNATURE_BYTES);
        for week in first_week..first_week + SHEET_WEEKS {
            let record_key = operations.blinded(week).public();
            let text = epoch_text(week, operations.generation, &record_key);
            signatures.extend_from_slice(&master.blinded(week).sign(contexts::EPOCH, &text));
        }
        Self { version: VERSION, generation: operations.generation, first_week, signatures: ByteBuf::from(signatures) }
    }

    /// The signature for a week; `None` outside the sheet.
    pub fn signature(&self, week: u32) -> Option<[u8; SIGNATURE_BYTES]> {
        let index = week.checked_sub(self.first_week)? as usize;
        self.signatures.chunks_exact(SIGNATURE_BYTES).nth(index)?.try_into().ok()
    }

    /// Weeks that are left after the week of `wall`: a reminder is due at 52.
    pub fn weeks_left(&self, wall: Wall) -> u32 {
        let end = self.first_week.saturating_add(u32::try_from(self.signatures.len() / SIGNATURE_BYTES).unwrap_or(SHEET_WEEKS));
        end.saturating_sub(week_of(wall)).saturating_sub(1)
    }
}

impl Row for EpochSheet {
    fn version(&self) -> u8 {
        self.version
    }
}

/// Whether the master key, blinded for `week`, vouches for a record key.
pub(crate) fn verify_epoch(
    blinded_master: &[u8; 32],
    week: u32,
    generation: u32,
    record_key: &[u8; 32],
    signature: &[u8; SIGNATURE_BYTES],
) -> bool {
    signed::verify(blinded_master, contexts::EPOCH, &epoch_text(week, generation, record_key), signature)
}

fn epoch_text(week: u32, generation: u32, record_key: &[u8; 32]) -> Vec<u8> {
    [&week.to_le_bytes()[..], &generation.to_le_bytes(), record_key].concat()
}

/// The end of an address: final, whatever else is signed later. `moved_to` is shown to people and never followed unasked, for a thief of the words
/// can sign one too.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tombstone {
    version: u8,
    /// Which address is dead.
    pub address: Address,
    /// Where its owner says to have gone.
    pub moved_to: Option<Address>,
}

impl Tombstone {
    /// Signs the end.
    ///
    /// # Errors
    /// [`EncodeError`]: only a bug can cause it.
    pub fn sign(master: &Master, moved_to: Option<Address>) -> Result<Verified<Self>, EncodeError> {
        let tombstone = Self { version: VERSION, address: master.address(), moved_to };
        Verified::sign(master.signing(), contexts::TOMBSTONE, tombstone)
    }

    /// Checks the tombstone of an address.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn verify(address: &Address, bytes: &[u8]) -> Result<Verified<Self>, CertificateError> {
        let this: Verified<Self> = Verified::open(address.key(), contexts::TOMBSTONE, bytes, TOMBSTONE_BYTES_MAX)?;
        if this.version == VERSION && this.address == *address { Ok(this) } else { Err(CertificateError::Rules) }
    }
}

#[cfg(test)]
mod tests;
