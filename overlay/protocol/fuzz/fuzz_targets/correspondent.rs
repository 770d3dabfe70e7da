//! Arbitrary bytes as a correspondent's row: what is accepted is written back to the same bytes.
#![no_main]

use kith_protocol::correspondent::Correspondent;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(row) = Correspondent::decode(bytes) {
        assert_eq!(row.encode().expect("an accepted row can be written").as_slice(), bytes);
    }
});
