//! The store's promises, tried on a disk that forgets, fills up and lies.
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod common;
mod crash;
mod damage;
mod full;
mod journal;
mod mailbox;
mod model;
mod people;
mod queue;
mod writer;
