//! What comes in, against a DNS server of our own, and against other people's signers and judges.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod dns;
mod verdicts;
