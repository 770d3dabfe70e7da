//! ML-KEM-768 against published vectors and broken keys.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::*;

#[test]
fn encapsulation_opens_and_foreign_ciphertexts_give_unrelated_secrets() {
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let key = SecretKey::from_seed(&generate_seed(&mut rng));
    let (ciphertext, secret) = encapsulate(&key.public(), &mut rng).unwrap();
    assert_eq!(key.decapsulate(&ciphertext), secret);
    let other = SecretKey::from_seed(&generate_seed(&mut rng));
    assert_ne!(other.decapsulate(&ciphertext), secret);
    let mut altered = ciphertext;
    altered[0] ^= 1;
    assert_ne!(key.decapsulate(&altered), secret);
}

#[test]
fn a_coefficient_out_of_range_is_no_key() {
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    assert_eq!(encapsulate(&[0xff; PUBLIC_BYTES], &mut rng).unwrap_err(), KemError);
}

/// Gives out the bytes that a vector names.
struct Given(Vec<u8>);

impl rand_core::TryRng for Given {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        unreachable!("only bytes are asked for")
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        unreachable!("only bytes are asked for")
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
        dst.copy_from_slice(&self.0.drain(..dst.len()).collect::<Vec<_>>());
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Given {}

#[test]
fn published_vectors_of_ml_kem_768_hold() {
    let vectors: serde_json::Value = serde_json::from_str(include_str!("../../tests/vectors/ml-kem-768.json")).unwrap();
    let bytes = |value: &serde_json::Value| hex::decode(value.as_str().unwrap()).unwrap();
    let encaps = &vectors["encaps"];
    let public = bytes(&encaps["ek"]).try_into().unwrap();
    let (ciphertext, secret) = encapsulate(&public, &mut Given(bytes(&encaps["m"]))).unwrap();
    assert_eq!(ciphertext.as_slice(), bytes(&encaps["c"]));
    assert_eq!(secret.as_slice(), bytes(&encaps["K"]));
    let cases = vectors["decaps"]["cases"].as_array().unwrap();
    assert!(cases.len() >= 4);
    for case in cases {
        let seed = generate_seed(&mut Given(bytes(&case["seed"])));
        let key = SecretKey::from_seed(&seed);
        assert_eq!(key.public().as_slice(), bytes(&case["ek"]));
        assert_eq!(key.decapsulate(&bytes(&case["c"]).try_into().unwrap()).as_slice(), bytes(&case["K"]));
    }
}
