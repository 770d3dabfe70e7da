//! Bounded, deterministic CBOR: what is decoded must re-encode to the very same bytes.
//!
//! One derive struct per object, encoded as a map with ascending integer keys (RFC 8949 §4.2.1 for our types: no floats, no hash maps, byte
//! strings through `serde_bytes`). Unknown fields fail by themselves; growth goes through the objects' `ext` fields.

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

/// Why bytes were not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// More bytes than an object of this kind may have.
    #[error("{size} bytes where at most {limit} are allowed")]
    TooLong {
        /// What came.
        size: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Not CBOR, not of this shape, or bytes left over.
    #[error("not an object of this kind")]
    Malformed,
    /// It decodes, but there is another, canonical way to write it.
    #[error("not in canonical form")]
    NotCanonical,
}

/// Why an object could not be written: only a bug can cause it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an object could not be encoded")]
pub struct EncodeError;

/// Encodes an object canonically.
///
/// # Errors
/// [`EncodeError`] when a type breaks the rules above (a map with text keys nested in it, say): a bug, found by the object's own test.
pub fn encode<T: Serialize>(object: &T) -> Result<Vec<u8>, EncodeError> {
    serde_cbor::ser::to_vec_packed(object).map_err(|_| EncodeError)
}

/// Decodes an object of at most `limit` bytes, strictly.
///
/// # Errors
/// [`DecodeError`]; memory use is bounded by a small multiple of `bytes.len()` in every case.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, DecodeError> {
    if bytes.len() > limit {
        return Err(DecodeError::TooLong { size: bytes.len(), limit });
    }
    let object: T = serde_cbor::from_slice(bytes).map_err(|_| DecodeError::Malformed)?;
    // Objects may hold secrets; the copy must not outlive the comparison.
    let again = Zeroizing::new(encode(&object).map_err(|EncodeError| DecodeError::Malformed)?);
    if *again == bytes { Ok(object) } else { Err(DecodeError::NotCanonical) }
}

#[cfg(test)]
mod tests;
