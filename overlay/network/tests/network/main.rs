//! Real nodes on loopback sockets: peers, envelopes, the directory, and peers that mean harm.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod circuits;
mod directory;
mod hostile;
mod peers;
#[path = "../../../../node/tests/end_to_end/ports.rs"]
mod ports;
mod raw;
mod relays;
mod support;
mod sybils;
mod transfer;
