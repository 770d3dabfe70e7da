//! Sessions, most of them without a socket, driven as programs drive them: compressed, two at once on one folder, hostile, and in the ways that other
//! servers' users complained of.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bulk;
mod client;
mod complaints;
mod compress;
mod excerpts;
mod gists;
#[expect(dead_code, reason = "no session here needs a second person or a restart")]
#[path = "../../../connection/tests/support/home.rs"]
mod home;
mod hostile;
#[path = "../../../connection/tests/support/loris.rs"]
mod loris;
mod notify;
mod readahead;
mod sockets;
mod two;
