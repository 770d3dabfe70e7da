//! Any line, as a command with its literals in place.
#![no_main]

libfuzzer_sys::fuzz_target!(|line: &[u8]| {
    let _outcome = kith_imap::command::parse(line);
});
