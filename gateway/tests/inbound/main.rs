//! What comes in, against a DNS server of our own, and against other people's signers and judges.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod dmarc;
#[expect(dead_code, reason = "shared with the tests of `check`")]
mod dns;
mod verdicts;
