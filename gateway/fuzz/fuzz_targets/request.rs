//! Any request to port 80 or 443: an answer or a wait for more, never beyond the bound, and nothing of the sender's in its head but a place on a host of ours.
#![no_main]

use std::sync::Arc;

use kith_gateway::acme::Challenges;
use kith_gateway::web::{Door, HEAD_BYTES_MAX, Heard, Page, Site};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let page = Page { kind: "text/plain", body: "version: STSv1\r\n".into() };
    let site = Site::new(Arc::new(Challenges::default())).with("mta-sts.kith.test", "/.well-known/mta-sts.txt", page);
    for door in [Door::Plain, Door::Tls] {
        match site.hear(door, input) {
            Heard::More => assert!(input.len() < HEAD_BYTES_MAX),
            Heard::Answer(answer) => {
                let text = String::from_utf8_lossy(&answer).into_owned();
                let Some((head, _)) = text.split_once("\r\n\r\n") else { panic!("no end of the head") };
                assert!(head.starts_with("HTTP/1.1 ") && head.lines().count() <= 6);
                for line in head.lines().filter(|line| line.starts_with("Location: ")) {
                    assert!(line.starts_with("Location: https://mta-sts.kith.test/"));
                }
            }
        }
    }
});
