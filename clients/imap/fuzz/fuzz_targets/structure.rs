//! Any bytes, as a message: described without a panic, in time that grows with its length, with balanced parentheses outside strings.
#![no_main]

libfuzzer_sys::fuzz_target!(|message: &[u8]| {
    let (envelope, structure, parts) = kith_imap::structure::described(message);
    assert!(parts >= 1);
    assert!(envelope.starts_with(b"(") && envelope.ends_with(b")"));
    assert!(structure.starts_with(b"(") && structure.ends_with(b")"));
});
