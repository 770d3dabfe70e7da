//! Any text as an address: what passes is its own form, and nothing in it ends a line or a path.
#![no_main]

use kith_gateway::domain::Address;
use kith_gateway::domain::lookalike::lookalike;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(address) = Address::parse(text) else { return };
    let said = address.to_string();
    assert!(!said.chars().any(char::is_control));
    assert_eq!(Address::parse(&said), Ok(address.clone()));
    if let Some(domain) = address.domain() {
        let _found = lookalike(domain, []);
    }
});
