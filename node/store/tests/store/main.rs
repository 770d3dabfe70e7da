//! The store's promises, tried on a disk that forgets, fills up and lies.

mod common;
mod crash;
mod damage;
mod full;
mod mailbox;
mod model;
mod writer;
