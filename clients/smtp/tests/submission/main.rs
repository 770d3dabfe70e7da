//! The submission server from outside: conversations as text, and real sockets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod conversations;
mod desk;
#[path = "../../../connection/tests/support/dialogue.rs"]
mod dialogue;
mod durability;
#[path = "../../../connection/tests/support/home.rs"]
mod home;
#[expect(dead_code, reason = "these ports have a start of their own")]
#[path = "../../../connection/tests/support/loris.rs"]
mod loris;
mod sockets;
