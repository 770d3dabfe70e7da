//! Keys, their rows and their signatures.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::*;

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

/// RFC 7748 §6.1, Bob's key pair, and §5.2, the first vector.
#[test]
fn rfc_7748_vectors_hold() {
    let secret = hex::decode("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb").unwrap();
    let public = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f";
    assert_eq!(hex::encode(noise::public_key(&secret.try_into().unwrap())), public);
    let scalar = hex::decode("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4").unwrap();
    let u = hex::decode("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c").unwrap();
    let product = x25519_dalek::x25519(scalar.try_into().unwrap(), u.try_into().unwrap());
    assert_eq!(hex::encode(product), "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
}

#[test]
fn one_seed_gives_one_set_of_keys_and_another_seed_another() {
    let (one, again, other) = (Seed::generate(&mut rng(1)), Seed::generate(&mut rng(1)), Seed::generate(&mut rng(2)));
    assert_eq!(one.master().address(), again.master().address());
    assert_eq!(one.master().backup().hash(), again.master().backup().hash());
    assert_ne!(one.master().address(), other.master().address());
    assert_ne!(one.master().backup().hash(), other.master().backup().hash());
}

#[test]
fn rows_read_back_and_foreign_ones_do_not() {
    let operations = Operations::generate(3, &mut rng(1));
    let device = DeviceKey::generate(2, &mut rng(1));
    let queue = QueueKey::generate(&mut rng(1));
    let seed = Seed::generate(&mut rng(1));
    assert_eq!(Operations::from_row(&operations.to_row().unwrap()), Ok(operations.clone()));
    assert_eq!(DeviceKey::from_row(&device.to_row().unwrap()), Ok(device));
    assert_eq!(QueueKey::from_row(&queue.to_row().unwrap()), Ok(queue));
    assert_eq!(Seed::from_row(&seed.to_row().unwrap()), Ok(seed));
    let mut later = operations.to_row().unwrap();
    later[2] = 2;
    assert_eq!(Operations::from_row(&later), Err(DecodeError::Malformed));
    assert!(BackupKey::from_row(&operations.to_row().unwrap()).is_err());
}

#[test]
fn a_queue_is_named_by_its_key() {
    let key = QueueKey::generate(&mut rng(4));
    assert_eq!(key.name().as_bytes()[..], blake3::hash(&key.public()).as_bytes()[..16]);
    assert!(signed::verify(&key.public(), b"ctx", b"text", &key.sign(b"ctx", b"text")));
}

#[test]
fn debugging_shows_no_secret() {
    let seed = Seed::new(Secret::new([0xab; 32]));
    assert!(!format!("{seed:?}").contains("171"));
    assert!(!format!("{:?}", DeviceKey::generate(1, &mut rng(1))).contains("[1"));
}
