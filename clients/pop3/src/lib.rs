//! Kith's POP3 server (RFC 1939, with RFC 2449, 2595, 3206, 5034 and 6856): the inbox, for programs that fetch and delete.
//!
//! [`session`] is the conversation, without a socket. Each session sees the inbox as it was at its login; deletions happen at QUIT, so several
//! sessions do not disturb each other and a maildrop needs no lock.

pub mod command;
pub mod message;
pub mod server;
pub mod session;

pub use server::{port, serve};
pub use session::{Session, Transport};
