//! The POP3 server from outside: conversations as text, and real sockets.

mod conversations;
#[path = "../../../connection/tests/support/dialogue.rs"]
mod dialogue;
#[path = "../../../connection/tests/support/home.rs"]
mod home;
mod sockets;
