//! Any bytes, as a folder's name in modified UTF-7: what is read is written back so that it reads the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|name: &[u8]| {
    if let Ok(read) = kith_imap::utf7::decode(name) {
        assert_eq!(kith_imap::utf7::decode(kith_imap::utf7::encode(&read).as_bytes()).ok(), Some(read));
    }
});
