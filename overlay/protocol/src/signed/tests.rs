//! Signatures over exact bytes.

use proptest::prelude::*;
use serde_bytes::ByteBuf;

use super::*;

fn hex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

/// RFC 8032 §7.1, tests 1 to 3: our keys sign as everybody's.
#[test]
fn rfc_8032_vectors_hold() {
    for (secret, public, text, signature) in [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ] {
        let key = SigningKey::from_bytes(&hex(secret).try_into().unwrap());
        assert_eq!(key.verifying_key().as_bytes().as_slice(), hex(public));
        // A signed message is length ‖ context ‖ bytes: the plain vectors go in below that.
        use ed25519_dalek::Signer as _;
        assert_eq!(key.sign(&hex(text)).to_bytes().as_slice(), hex(signature));
    }
}

#[test]
fn signatures_cover_the_context_with_its_length() {
    assert_eq!(message(b"ab", b"cd"), b"\x02abcd");
    let key = SigningKey::from_bytes(&[1; 32]);
    let public = key.verifying_key().to_bytes();
    let signature = sign(&key, b"ab", b"cd");
    assert!(verify(&public, b"ab", b"cd", &signature));
    assert!(!verify(&public, b"a", b"bcd", &signature));
    assert!(!verify(&public, b"abc", b"d", &signature));
}

#[test]
fn weak_keys_verify_nothing() {
    // The neutral element as key: in lenient verification R = sB holds for any message.
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut signature = [0; 64];
    signature[0] = 1;
    assert!(!verify(&identity, b"x", b"anything", &signature));
}

#[test]
fn a_signature_is_checked_before_the_body_is_looked_at() {
    let key = SigningKey::from_bytes(&[1; 32]);
    let public = key.verifying_key().to_bytes();
    let junk = [&[0; 64][..], &[0x9f; 100]].concat();
    assert_eq!(Verified::<ByteBuf>::open(&public, b"x", &junk, 200), Err(SignedError::Signature));
    let signed = [&sign(&key, b"x", &[0x9f; 100])[..], &[0x9f; 100]].concat();
    assert!(matches!(Verified::<ByteBuf>::open(&public, b"x", &signed, 200), Err(SignedError::Body(DecodeError::Malformed))));
    assert!(matches!(
        Verified::<ByteBuf>::open(&public, b"x", &signed, 100),
        Err(SignedError::Body(DecodeError::TooLong { .. }))
    ));
}

proptest! {
    #[test]
    fn what_is_signed_opens_and_no_changed_bit_does(seed: [u8; 32], body: Vec<u8>, bit: prop::sample::Index) {
        let key = SigningKey::from_bytes(&seed);
        let public = key.verifying_key().to_bytes();
        let signed = Verified::sign(&key, b"ctx", ByteBuf::from(body)).unwrap();
        prop_assert_eq!(&Verified::open(&public, b"ctx", signed.bytes(), 4096).unwrap(), &signed);
        let mut changed = signed.bytes().to_vec();
        let bit = bit.index(changed.len() * 8);
        changed[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Verified::<ByteBuf>::open(&public, b"ctx", &changed, 4096).is_err());
    }
}
