//! Kith's IMAP server: IMAP4rev1 (RFC 3501) with the extensions that every mail program needs.
//!
//! [`session`] is the conversation, without a socket; [`token`] and [`command`] are the grammar; `structure` takes messages apart without
//! decoding them; `view` keeps what a client believes of a folder. `RFC.md` beside this crate says what is supported, and where.

mod cache;
mod capability;
pub mod command;
mod compress;
mod date;
mod flag;
mod frame;
mod gist;
mod html;
mod index;
mod keys;
pub mod limits;
mod pattern;
mod preview;
mod readahead;
mod response;
pub mod server;
pub mod session;
pub mod set;
mod sorting;
pub mod structure;
mod subject;
mod text;
mod threading;
pub mod token;
mod transfer;
pub mod utf7;
mod view;

pub use capability::Without;
pub use server::{port, serve};
pub use session::{Link, Session, Shared};
