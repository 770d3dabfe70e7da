//! The POP3 server from outside: conversations as text, and real sockets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod conversations;
#[path = "../../../connection/tests/support/dialogue.rs"]
mod dialogue;
mod durability;
#[path = "../../../connection/tests/support/home.rs"]
mod home;
#[path = "../../../connection/tests/support/loris.rs"]
mod loris;
mod sockets;
