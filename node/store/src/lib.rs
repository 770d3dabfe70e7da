//! Kith's store: the log is the mailbox.
//!
//! redb for everything small, files named by their hash for everything large, one writer thread with group commit. Synchronous: every
//! call may block on the disk, and every writing call returns only when what it wrote is durable.

pub mod account;
pub mod blob;
pub mod contact;
pub mod disk;
mod error;
pub mod feed;
pub mod folder;
pub mod header;
pub mod hosting;
mod journal;
pub mod legacy;
mod log;
pub mod mailbox;
mod migrate;
pub mod queue;
pub mod relays;
pub mod repair;
pub mod requests;
mod reserve;
pub mod routes;
mod row;
mod schema;
pub mod secret;
mod seen;
pub mod store;
mod tags;
#[cfg(test)]
mod testing;
pub mod verify;
mod writer;

pub use disk::Disk;
pub use store::{Class, OpenError, Options, Store, StoreError, Transaction};
