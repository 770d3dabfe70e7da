//! ML-KEM-768 (FIPS 203) behind three calls, so that another implementation can take its place.
//!
//! A secret key is kept as its 64-byte seed (`d ‖ z`); decapsulation never fails but gives an unrelated secret for a foreign ciphertext.

use ml_kem::ml_kem_768::{Ciphertext, DecapsulationKey, EncapsulationKey};
use ml_kem::{B32, Decapsulate, Key, KeyExport, Seed};
use rand_core::CryptoRng;
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a public (encapsulation) key.
pub const PUBLIC_BYTES: usize = 1184;
/// Bytes of a ciphertext.
pub const CIPHERTEXT_BYTES: usize = 1088;
/// Bytes of a secret key's seed.
pub const SEED_BYTES: usize = 64;

/// The bytes are no public key: a coefficient is out of range (FIPS 203 §7.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not an ML-KEM-768 public key")]
pub struct KemError;

/// A secret key, expanded for use. Erased when dropped.
pub struct SecretKey(DecapsulationKey);

impl SecretKey {
    /// Expands a seed (about 70 µs).
    pub fn from_seed(seed: &[u8; SEED_BYTES]) -> Self {
        let mut copy = Seed::from(*seed);
        let key = DecapsulationKey::from_seed(copy);
        copy.zeroize();
        Self(key)
    }

    /// The public key that belongs to it.
    pub fn public(&self) -> [u8; PUBLIC_BYTES] {
        self.0.encapsulation_key().to_bytes().into()
    }

    /// The secret inside a ciphertext; for a ciphertext made for another key, 32 bytes that nobody knows.
    pub fn decapsulate(&self, ciphertext: &[u8; CIPHERTEXT_BYTES]) -> Zeroizing<[u8; 32]> {
        let mut shared = self.0.decapsulate(&Ciphertext::from(*ciphertext));
        let secret = Zeroizing::new(shared.into());
        shared.zeroize();
        secret
    }
}

/// Draws a new seed.
pub fn generate_seed(rng: &mut impl CryptoRng) -> Zeroizing<[u8; SEED_BYTES]> {
    let mut seed = Zeroizing::new([0; SEED_BYTES]);
    rng.fill_bytes(&mut *seed);
    seed
}

/// Makes a ciphertext for a public key, and the secret inside it. Takes 32 bytes of `rng`.
///
/// # Errors
/// [`KemError`] when the bytes are no public key.
pub fn encapsulate(
    public: &[u8; PUBLIC_BYTES],
    rng: &mut impl CryptoRng,
) -> Result<([u8; CIPHERTEXT_BYTES], Zeroizing<[u8; 32]>), KemError> {
    let key = EncapsulationKey::new(&Key::<EncapsulationKey>::from(*public)).map_err(|_| KemError)?;
    let mut message = B32::default();
    rng.fill_bytes(&mut message);
    let (ciphertext, mut shared) = key.encapsulate_deterministic(&message);
    let secret = Zeroizing::new(shared.into());
    message.zeroize();
    shared.zeroize();
    Ok((ciphertext.into(), secret))
}

#[cfg(test)]
mod tests;
