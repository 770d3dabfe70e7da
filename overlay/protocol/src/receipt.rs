//! The content of a receipt: what became of letters that the receiver of the receipt had sent.
//!
//! A receipt is a letter like any other, of one cell, sealed and carrying fresh reply keys.

use serde::{Deserialize, Serialize};

use crate::codec::{self, EncodeError};
use crate::ids::MailId;
use crate::limits::{RECEIPT_BYTES_MAX, RECEIPT_MAILS_MAX};

const VERSION: u8 = 1;

/// What became of the letters. On the wire: the number of the variant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum State {
    /// Durably filed.
    Stored,
    /// Opened, and not taken.
    Refused,
}

/// Tells the sender of letters what became of them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Receipt {
    version: u8,
    mails: Vec<MailId>,
    state: State,
}

/// Why something is no receipt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReceiptError {
    /// It names no letter, or more than [`RECEIPT_MAILS_MAX`].
    #[error("a receipt names 1 to {RECEIPT_MAILS_MAX} letters")]
    Count,
    /// Not canonical CBOR of this shape and version.
    #[error("not a receipt")]
    Malformed,
}

impl Receipt {
    /// A receipt for 1 to [`RECEIPT_MAILS_MAX`] letters.
    ///
    /// # Errors
    /// [`ReceiptError::Count`].
    pub fn new(mails: Vec<MailId>, state: State) -> Result<Self, ReceiptError> {
        let receipt = Self { version: VERSION, mails, state };
        receipt.check().map(|()| receipt)
    }

    /// The letters it speaks of.
    pub fn mails(&self) -> &[MailId] {
        &self.mails
    }

    /// What became of them.
    pub fn state(&self) -> State {
        self.state
    }

    /// Writes it: at most [`RECEIPT_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// [`ReceiptError::Malformed`]: only a bug can cause it.
    pub fn encode(&self) -> Result<Vec<u8>, ReceiptError> {
        codec::encode(self).map_err(|EncodeError| ReceiptError::Malformed)
    }

    /// Reads it, strictly.
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ReceiptError> {
        let receipt: Self = codec::decode(bytes, RECEIPT_BYTES_MAX).map_err(|_| ReceiptError::Malformed)?;
        if receipt.version != VERSION {
            return Err(ReceiptError::Malformed);
        }
        receipt.check().map(|()| receipt)
    }

    fn check(&self) -> Result<(), ReceiptError> {
        if (1..=RECEIPT_MAILS_MAX).contains(&self.mails.len()) { Ok(()) } else { Err(ReceiptError::Count) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_receipt_reads_back_within_its_limit() {
        let mails: Vec<_> = (0..RECEIPT_MAILS_MAX).map(|i| MailId([i as u8; 16])).collect();
        let receipt = Receipt::new(mails, State::Stored).unwrap();
        let bytes = receipt.encode().unwrap();
        assert!(bytes.len() <= RECEIPT_BYTES_MAX, "{}", bytes.len());
        assert_eq!(Receipt::decode(&bytes), Ok(receipt));
    }

    #[test]
    fn the_bytes_of_a_receipt_are_frozen() {
        let receipt = Receipt::new(vec![MailId([7; 16])], State::Refused).unwrap();
        assert_eq!(hex::encode(receipt.encode().unwrap()), "a30001018150070707070707070707070707070707070201");
    }

    #[test]
    fn empty_and_overlong_receipts_are_refused() {
        assert_eq!(Receipt::new(Vec::new(), State::Stored), Err(ReceiptError::Count));
        assert_eq!(Receipt::new(vec![MailId([1; 16]); RECEIPT_MAILS_MAX + 1], State::Stored), Err(ReceiptError::Count));
        assert_eq!(Receipt::decode(&[0xa3, 0, 1, 1, 0x80, 2, 0]), Err(ReceiptError::Count));
        assert_eq!(Receipt::decode(&[0xa3, 0, 2, 1, 0x80, 2, 0]), Err(ReceiptError::Malformed));
        assert_eq!(Receipt::decode(b""), Err(ReceiptError::Malformed));
    }
}
