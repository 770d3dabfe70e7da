//! Arbitrary bytes as a record, for storing nodes and for readers; the first 32 bytes are the address's key.
#![no_main]

use kith_protocol::address::Address;
use kith_protocol::event::Wall;
use kith_protocol::record::{check_stored, directory_keys, open};
use libfuzzer_sys::fuzz_target;

/// The time of the frozen records.
const WALL: Wall = Wall(1_795_212_000_000);

fuzz_target!(|bytes: &[u8]| {
    let Some((key, value)) = bytes.split_first_chunk::<32>() else { return };
    let Ok(address) = Address::from_key(*key) else { return };
    let [first, second] = directory_keys(&address, 2968);
    let stored = check_stored(&first, value, WALL, None);
    assert_eq!(stored, check_stored(&second, value, WALL, Some(value)));
    if let Ok(card) = open(&address, value, WALL) {
        assert_eq!(card.address(), &address);
    }
});
