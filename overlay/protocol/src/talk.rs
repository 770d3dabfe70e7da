//! What two people's nodes say to each other about keeping mail: "may you keep mine?", "I will keep yours", "no longer".
//!
//! The content of a letter of kind 6, sealed like every letter, so that neither side edits files: `{0: version 1, 1: what, 2: bytes, 3: token 32, 4: node 32}`.

use serde::{Deserialize, Serialize};

use crate::codec::{self, DecodeError, EncodeError};
use crate::ids::PeerId;
use crate::limits::RECEIPT_BYTES_MAX;

const VERSION: u8 = 1;

/// What is said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Word {
    /// May your node keep my mail, so many bytes of it?
    Ask,
    /// My node keeps your mail: this is the token to show, and the node.
    Offer,
    /// It does not, or not any longer.
    Withdraw,
}

/// One thing said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Talk {
    version: u8,
    /// What is said.
    pub word: Word,
    /// Bytes asked for, or offered.
    pub bytes: u64,
    /// Shown by whoever is offered something, at [`crate::hosting::Request::Host`]; zeros otherwise.
    #[serde(with = "serde_bytes")]
    pub token: [u8; 32],
    /// The node of whoever says it.
    pub node: PeerId,
}

impl Talk {
    /// Something to be said.
    #[must_use]
    pub fn new(word: Word, bytes: u64, token: [u8; 32], node: PeerId) -> Self {
        Self { version: VERSION, word, bytes, token, node }
    }

    /// Reads the content of a letter.
    ///
    /// # Errors
    /// [`DecodeError`]: too long, not canonical, or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let this: Self = codec::decode(bytes, RECEIPT_BYTES_MAX)?;
        if this.version == VERSION { Ok(this) } else { Err(DecodeError::Malformed) }
    }

    /// The content of a letter.
    ///
    /// # Errors
    /// [`EncodeError`]: only a bug can cause it.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        codec::encode(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_said_reads_back(bytes: u64, token: [u8; 32], node: [u8; 32], word in 0_u8..3) {
            let word = [Word::Ask, Word::Offer, Word::Withdraw][usize::from(word)];
            let talk = Talk::new(word, bytes, token, PeerId(node));
            prop_assert_eq!(Talk::decode(&talk.encode().unwrap()), Ok(talk));
        }

        #[test]
        fn foreign_bytes_are_refused_or_canonical(bytes: Vec<u8>) {
            if let Ok(talk) = Talk::decode(&bytes) {
                prop_assert_eq!(talk.encode().unwrap(), bytes);
            }
        }
    }

    #[test]
    fn an_offer_is_these_bytes() {
        let bytes = Talk::new(Word::Offer, 5, [1; 32], PeerId([2; 32])).encode().unwrap();
        let expected = [&[0xa5, 0, 1, 1, 1, 2, 5, 3, 0x58, 32][..], &[1; 32], &[4, 0x58, 32], &[2; 32]].concat();
        assert_eq!(bytes, expected);
    }
}
