//! Fetching from accounts elsewhere: from a real Dovecot, and from servers that hang, lie and talk nonsense.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod dovecot;
mod hostile;
mod imap;
mod pop3;
#[path = "../../../node/tests/end_to_end/ports.rs"]
mod ports;
mod rounds;
