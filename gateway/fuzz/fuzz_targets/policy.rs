//! Any text as an MTA-STS record or policy.
#![no_main]

use kith_gateway::outbound::sts::{Policy, id};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(policy) = Policy::read(text) {
        let _named = policy.names("mx.example.org");
    }
    let _id = id(&[text.to_owned()]);
});
