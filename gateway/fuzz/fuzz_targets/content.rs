//! Any mail: no CR and no LF leaves alone, and cleaning twice changes nothing.
#![no_main]

use kith_gateway::outbound::content::Content;

libfuzzer_sys::fuzz_target!(|mail: &[u8]| {
    let Ok(content) = Content::new(mail) else { return };
    let bytes = content.bytes();
    let alone = |pair: &[u8]| (pair[0] == b'\r') != (pair[1] == b'\n');
    assert!(bytes.ends_with(b"\r\n") && bytes.first() != Some(&b'\n') && !bytes.windows(2).any(alone));
    assert!(Content::new(bytes).is_ok_and(|again| again.bytes() == bytes));
    let _has = content.has_header("From");
});
