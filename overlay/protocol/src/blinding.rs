//! A key that changes every week: whoever knows the address can follow it, nobody else can link one week's to another's.
//!
//! As Tor's version 3 onion services do it (rend-spec-v3, appendix A.2), with BLAKE3: `h = clamp(KDF(blind, A ‖ u32 week))`, `A_e = h·A`,
//! `a_e = h·a mod ℓ`. The blinded *secret* of the master key never leaves the moment of its use: from `a_e` and `h` anybody computes `a`.

use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use ed25519_dalek::{SigningKey, VerifyingKey};
use sha2::Sha512;

use crate::contexts;
use crate::event::Wall;
use crate::signed::{SIGNATURE_BYTES, message};

/// Milliseconds of a week.
pub const WEEK_MS: i64 = 604_800_000;

/// The number of the week since 1970-01-01 that a time lies in; 0 for times before, the last for times beyond.
pub fn week_of(wall: Wall) -> u32 {
    u32::try_from(wall.0.max(0) / WEEK_MS).unwrap_or(u32::MAX)
}

/// When a week begins.
pub fn week_start(week: u32) -> Wall {
    Wall(i64::from(week) * WEEK_MS)
}

/// The public key of a week; `None` when `key` is not a point.
pub fn blind_public(key: &[u8; 32], week: u32) -> Option<[u8; 32]> {
    let point = CompressedEdwardsY(*key).decompress()?;
    Some((factor(key, week) * point).compress().0)
}

fn factor(key: &[u8; 32], week: u32) -> Scalar {
    let hash = contexts::derive(contexts::BLIND, &[key, &week.to_le_bytes()]);
    Scalar::from_bytes_mod_order(clamp_integer(*hash))
}

/// The signing key of a week. Erased when dropped.
pub(crate) struct BlindedKey {
    secret: ExpandedSecretKey,
    public: VerifyingKey,
}

impl BlindedKey {
    pub(crate) fn new(key: &SigningKey, week: u32) -> Self {
        let public = key.verifying_key();
        let plain = ExpandedSecretKey::from(key.as_bytes());
        let factor = factor(public.as_bytes(), week);
        // A nonce prefix of its own: two keys must never sign with one nonce.
        let hash_prefix = *contexts::derive(contexts::BLIND_NONCE, &[&plain.hash_prefix, &week.to_le_bytes()]);
        let secret = ExpandedSecretKey { scalar: factor * plain.scalar, hash_prefix };
        let public = VerifyingKey::from(&secret);
        Self { secret, public }
    }

    pub(crate) fn public(&self) -> [u8; 32] {
        self.public.to_bytes()
    }

    pub(crate) fn sign(&self, context: &[u8], bytes: &[u8]) -> [u8; SIGNATURE_BYTES] {
        raw_sign::<Sha512>(&self.secret, &message(context, bytes), &self.public).to_bytes()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::signed;

    proptest! {
        #[test]
        fn blinding_secret_and_public_key_gives_one_pair(seed: [u8; 32], week: u32, text: Vec<u8>) {
            let key = SigningKey::from_bytes(&seed);
            let blinded = BlindedKey::new(&key, week);
            prop_assert_eq!(Some(blinded.public()), blind_public(key.verifying_key().as_bytes(), week));
            let signature = blinded.sign(contexts::RECORD, &text);
            prop_assert!(signed::verify(&blinded.public(), contexts::RECORD, &text, &signature));
            prop_assert!(!signed::verify(&blinded.public(), contexts::EPOCH, &text, &signature));
        }

        #[test]
        fn weeks_and_keys_do_not_meet(seed: [u8; 32], week in 0..u32::MAX) {
            let key = SigningKey::from_bytes(&seed).verifying_key().to_bytes();
            prop_assert_ne!(blind_public(&key, week), blind_public(&key, week + 1));
            prop_assert_ne!(blind_public(&key, week), Some(key));
        }
    }

    #[test]
    fn weeks_begin_where_the_epoch_does() {
        assert_eq!(week_of(Wall(-1)), 0);
        assert_eq!(week_of(Wall(WEEK_MS - 1)), 0);
        assert_eq!(week_of(week_start(2968)), 2968);
        assert_eq!(week_of(Wall(i64::MAX)), u32::MAX);
    }
}
