//! Signatures: always over `u8 length of the context ‖ context ‖ the exact bytes`, checked strictly, and before the bytes are looked at.
//!
//! A signed object is `signature 64 ‖ body`, the body in canonical CBOR. What was checked is a [`Verified`], which nothing else can make.

use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{self, DecodeError, EncodeError};

/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// Why a signed object is not believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SignedError {
    /// The signature is not that key's over these bytes.
    #[error("the signature does not hold")]
    Signature,
    /// The signature holds, but over something that is no such object.
    #[error("what is signed is malformed: {0}")]
    Body(#[from] DecodeError),
}

/// An object whose signature holds, and its exact bytes as received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified<T> {
    object: T,
    bytes: Vec<u8>,
}

impl<T> Verified<T> {
    /// The signed bytes, signature in front.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl<T> core::ops::Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}

impl<T: Serialize + DeserializeOwned> Verified<T> {
    /// Signs an object.
    pub(crate) fn sign(key: &SigningKey, context: &[u8], object: T) -> Result<Self, EncodeError> {
        let body = codec::encode(&object)?;
        let bytes = [&sign(key, context, &body)[..], &body].concat();
        Ok(Self { object, bytes })
    }

    /// Checks the signature, then reads an object of at most `limit` bytes, signature included.
    ///
    /// # Errors
    /// [`SignedError`].
    pub(crate) fn open(key: &[u8; 32], context: &[u8], bytes: &[u8], limit: usize) -> Result<Self, SignedError> {
        if bytes.len() > limit {
            return Err(DecodeError::TooLong { size: bytes.len(), limit }.into());
        }
        let (signature, body) = bytes.split_first_chunk().ok_or(DecodeError::Malformed)?;
        if !verify(key, context, body, signature) {
            return Err(SignedError::Signature);
        }
        Ok(Self { object: codec::decode(body, limit)?, bytes: bytes.to_vec() })
    }
}

/// What a signature covers.
pub(crate) fn message(context: &[u8], bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(context.len()).expect("contexts are constants of at most 255 bytes, by a test");
    [&[length], context, bytes].concat()
}

pub(crate) fn sign(key: &SigningKey, context: &[u8], bytes: &[u8]) -> [u8; SIGNATURE_BYTES] {
    use ed25519_dalek::Signer as _;
    key.sign(&message(context, bytes)).to_bytes()
}

/// Strict verification: no weak keys, no malleable signatures.
pub(crate) fn verify(key: &[u8; 32], context: &[u8], bytes: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
    VerifyingKey::from_bytes(key)
        .and_then(|key| key.verify_strict(&message(context, bytes), &Signature::from_bytes(signature)))
        .is_ok()
}

#[cfg(test)]
mod tests;
