//! Arbitrary text as an address, pasted, typed, scanned and in SMTP: what is accepted is written back the same.
#![no_main]

use kith_protocol::address::{Address, MailAddress};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(address) = Address::parse(&text) {
        assert_eq!(address.to_string(), text.to_ascii_lowercase());
        assert_eq!(Address::parse_pasted(&text), Ok(address));
    }
    let _ = Address::parse_pasted(&text);
    let _ = Address::parse_uri(&text);
    let _ = MailAddress::parse(&text);
});
