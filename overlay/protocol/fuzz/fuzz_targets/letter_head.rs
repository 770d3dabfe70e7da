//! Arbitrary bytes as a letter's head: what is accepted is written back to the same bytes.
#![no_main]

use kith_protocol::letter::Head;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(head) = Head::decode(bytes) {
        assert_eq!(head.encode().expect("an accepted head can be written").as_slice(), bytes);
        head.letter_hash(&[0; 32]).expect("an accepted head can be hashed");
    }
});
