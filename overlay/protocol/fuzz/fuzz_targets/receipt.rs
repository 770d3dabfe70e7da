//! Arbitrary bytes as a receipt: what is accepted is written back to the same bytes.
#![no_main]

use kith_protocol::receipt::Receipt;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(receipt) = Receipt::decode(bytes) {
        assert_eq!(receipt.encode().expect("an accepted receipt can be written"), bytes);
    }
});
