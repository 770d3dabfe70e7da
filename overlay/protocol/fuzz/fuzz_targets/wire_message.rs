//! Arbitrary bytes as the payload of a frame: what is accepted is written back to the same bytes, with the length that a reader expects.
#![no_main]

use kith_protocol::wire::{LENGTH_BYTES, Message, payload_length};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = Message::from_payload(bytes) {
        let frame = message.to_frame().expect("an accepted message can be written");
        let (length, payload) = frame.split_first_chunk::<LENGTH_BYTES>().expect("a frame has a length");
        assert_eq!(payload_length(*length), Ok(payload.len()));
        assert_eq!(payload, bytes);
    }
});
