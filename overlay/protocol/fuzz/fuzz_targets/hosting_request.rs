//! Arbitrary bytes as an owner's request to a relay: what is accepted is written back to the same bytes.
#![no_main]

use kith_protocol::hosting::Request;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(request) = Request::decode(bytes) {
        assert_eq!(request.encode().expect("an accepted request can be written"), bytes);
    }
});
