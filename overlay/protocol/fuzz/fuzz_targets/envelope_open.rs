//! Arbitrary bytes as an envelope: nothing opens, nothing panics.
#![no_main]

use std::io::Cursor;
use std::sync::LazyLock;

use kith_protocol::address::Address;
use kith_protocol::seal::{OpenKeys, Prekey, open};
use kith_protocol::secret::Secret;
use libfuzzer_sys::fuzz_target;

static PREKEY: LazyLock<[Prekey; 1]> = LazyLock::new(|| [Prekey::new(Secret::new([1; 32]), &[2; 64])]);

/// The base point of edwards25519: a key that is an address.
const BASE: [u8; 32] = {
    let mut base = [0x66; 32];
    base[0] = 0x58;
    base
};

fuzz_target!(|bytes: &[u8]| {
    let Ok(address) = Address::from_key(BASE) else { return };
    // Whole cells, so that the fuzzer gets past the size.
    let mut envelope = bytes.to_vec();
    envelope.resize(bytes.len().next_multiple_of(16_000), 0);
    let keys = OpenKeys { address, prekeys: &*PREKEY };
    let size = envelope.len() as u64;
    assert!(open(&keys, |_| None, Cursor::new(envelope), size, &mut Vec::new()).is_err());
});
