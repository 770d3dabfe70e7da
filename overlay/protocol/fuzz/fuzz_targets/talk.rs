//! Arbitrary bytes as a word about keeping mail: what is accepted is written back to the same bytes.
#![no_main]

use kith_protocol::talk::Talk;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(talk) = Talk::decode(bytes) {
        assert_eq!(talk.encode().expect("an accepted word can be written"), bytes);
    }
});
