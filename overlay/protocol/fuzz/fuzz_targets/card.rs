//! Arbitrary bytes as a card: what is accepted keeps its exact bytes.
//!
//! The first 32 bytes are the address's key, so that the seeds in the corpus (vectors of `tests/vectors/identity.json`) get past the signatures.
#![no_main]

use kith_protocol::address::Address;
use kith_protocol::card::Card;
use kith_protocol::event::Wall;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((key, card)) = bytes.split_first_chunk::<32>() else { return };
    let Ok(address) = Address::from_key(*key) else { return };
    if let Ok(found) = Card::verify_undated(&address, card) {
        assert_eq!(found.bytes(), card);
        assert_eq!(found.devices().len(), found.device_weeks().count());
        let _ = found.info(Wall(0));
    }
});
