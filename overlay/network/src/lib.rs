//! The overlay's connections and directory: the only crate that knows libp2p.
//!
//! A plain service: [`start`] gives a [`Handle`] for [`Command`]s and the [`Events`] that come of them. Nothing of libp2p shows outside: peers
//! go by their raw public keys, addresses by their text.
//!
//! One task, the driver, owns the libp2p swarm and everything that changes with it; a task for every stream moves the envelopes. Events go to
//! the engine through a bounded queue: while it is full the driver polls its swarm no more, so its peers wait and nothing is dropped.

mod addresses;
mod config;
mod driver;
mod mail;
mod names;
mod peers;
mod service;
mod swarm;
mod transfer;

pub use config::{Config, Limits};
pub use driver::start;
pub use service::{
    Asked, CLOSEST_KEYS_MAX, Command, Ended, Event, Events, Handle, Reachability, Source, StartError, Status, Ticket,
};
