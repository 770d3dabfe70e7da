//! The handshake message against vectors, keys of low order and every altered bit.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::*;

fn bytes<const N: usize>(text: &str) -> [u8; N] {
    hex::decode(text).unwrap().try_into().unwrap()
}

/// The first message of a vector, written and read, and the handshake hash of both sides.
fn exchange(
    suite: &str,
    s: [u8; 32],
    e: [u8; 32],
    rs: [u8; 32],
    psk: Option<[u8; 32]>,
    prologue: &[u8],
    payload: &[u8],
) -> (String, String) {
    let mut buffer = [0; 256];
    let mut writer = initiator(suite, &s, &public_key(&rs), psk.as_ref(), prologue, &e).unwrap();
    let length = writer.write_message(payload, &mut buffer).unwrap();
    let mut opened = [0; 256];
    let mut reader = responder(suite, &rs, psk.as_ref(), prologue).unwrap();
    let opened_length = reader.read_message(&buffer[..length], &mut opened).unwrap();
    assert_eq!(&opened[..opened_length], payload);
    assert_eq!(reader.get_handshake_hash(), writer.get_handshake_hash());
    (hex::encode(&buffer[..length]), hex::encode(writer.get_handshake_hash()))
}

#[test]
fn the_golden_vector_of_xpsk0_is_reproduced() {
    let (message, hash) =
        exchange(SUITE, [0x22; 32], [0x11; 32], [0x33; 32], Some([0x44; 32]), b"xmail seal v1 test", &[0x55; 32]);
    assert_eq!(
        message,
        "7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13386402d479ba526174f5615c274465dcd29de18a5b19a8e914b6a1b73ca60bd7\
         99081d46e2cd7e1768cb819a10f09339e6a9e23098c4e0dc1b2f392e69f56d98af8dc4120a136bb5a72b9493c68005cb77381523e78324ae9faf6c5a6d29114c"
    );
    assert_eq!(hash, "35d123299380c9206ab9a000dba00aeba852e3d2cc20cb2c14e6b51a8a9397eb");
}

#[test]
fn cacophony_vectors_of_one_way_patterns_hold() {
    let text = include_str!("../../tests/vectors/noise-cacophony.json");
    let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
    let vectors = vectors["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 3);
    for vector in vectors {
        let key = |name: &str| vector[name].as_str().map(bytes::<32>);
        let psk = vector["init_psks"].get(0).and_then(|psk| psk.as_str()).map(bytes::<32>);
        let (message, hash) = exchange(
            vector["protocol_name"].as_str().unwrap(),
            key("init_static").unwrap_or([1; 32]),
            key("init_ephemeral").unwrap(),
            key("resp_static").unwrap(),
            psk,
            &hex::decode(vector["init_prologue"].as_str().unwrap()).unwrap(),
            &hex::decode(vector["messages"][0]["payload"].as_str().unwrap()).unwrap(),
        );
        assert_eq!(message, vector["messages"][0]["ciphertext"].as_str().unwrap());
        assert_eq!(hash, vector["handshake_hash"].as_str().unwrap());
    }
}

#[test]
fn x25519_agrees_with_rfc_7748_section_6_1() {
    let mut alice = X25519::default();
    alice.set(&bytes::<32>("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"));
    assert_eq!(alice.pubkey(), bytes::<32>("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"));
    let mut shared = [0; 32];
    alice.dh(&bytes::<32>("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"), &mut shared).unwrap();
    assert_eq!(shared, bytes("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"));
}

#[test]
fn keys_of_low_order_are_refused() {
    let mut rng = ChaCha20Rng::from_seed([7; 32]);
    for low in [[0; 32], {
        let mut one = [0; 32];
        one[0] = 1;
        one
    }] {
        assert!(!contributes(&low));
        assert_eq!(write(&[1; 32], &low, &[2; 32], b"", &[3; 32], &mut rng), Err(NoiseError));
    }
    assert!(contributes(&public_key(&[9; 32])));
}

#[test]
fn a_message_proves_its_sender_and_opens_under_its_own_keys_only() {
    let mut rng = ChaCha20Rng::from_seed([7; 32]);
    let message = write(&[1; 32], &public_key(&[2; 32]), &[3; 32], b"prologue", &[4; 32], &mut rng).unwrap();
    let opened = read(&[2; 32], &[3; 32], b"prologue", &message).unwrap();
    assert_eq!((opened.sender, *opened.file_key), (public_key(&[1; 32]), [4; 32]));
    assert!(read(&[9; 32], &[3; 32], b"prologue", &message).is_err());
    assert!(read(&[2; 32], &[9; 32], b"prologue", &message).is_err());
    assert!(read(&[2; 32], &[3; 32], b"another", &message).is_err());
    for bit in 0..MESSAGE_BYTES * 8 {
        let mut altered = message;
        altered[bit / 8] ^= 1 << (bit % 8);
        // The top bit of an X25519 key is ignored by the function, not by the transcript.
        assert!(read(&[2; 32], &[3; 32], b"prologue", &altered).is_err(), "bit {bit}");
    }
}
