//! Arbitrary bytes as a stranger's work: whatever they are, looking at them ends and nothing is believed that was not done.
#![no_main]

use kith_protocol::ids::EnvelopeId;
use kith_protocol::work::Work;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: ([u8; 16], [u8; 16], [u8; 16], [u8; 32])| {
    let (tag, nonce, solution, envelope) = input;
    // Of an effort that no fuzzer reaches.
    let work = Work { nonce, solution, effort: u32::MAX };
    assert!(!work.verify(&tag, &EnvelopeId(envelope)));
    let _ = Work { effort: 0, ..work }.verify(&tag, &EnvelopeId(envelope));
});
