//! The MX from outside: conversations as text, real sockets, real senders, and those who mean no good.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod conversations;
mod desk;
#[path = "../../../connection/tests/support/dialogue.rs"]
mod dialogue;
mod durability;
#[path = "../../../connection/tests/support/home.rs"]
#[expect(dead_code, reason = "nobody logs in here")]
mod home;
#[expect(dead_code, reason = "these ports have a start of their own")]
#[path = "../../../connection/tests/support/loris.rs"]
mod loris;
mod sockets;
