//! The Kith protocol: keys, addresses, records, envelopes, wire and delivery.
//!
//! Everything here is pure: time and randomness are arguments, there is no I/O, no clock, no thread, no hash map whose
//! order could differ between two runs. The daemon and the simulator drive the very same code.
//!
//! `PROTOCOL.md` beside this crate's folder is the specification as implemented.

pub mod account;
pub mod address;
pub mod blinding;
mod body;
pub mod card;
pub mod certificate;
pub mod codec;
mod contexts;
pub mod correspondent;
pub mod delivery;
pub mod envelope;
pub mod event;
pub mod forward;
pub mod hosting;
pub mod ids;
pub mod kem;
pub mod keys;
pub mod letter;
pub mod limits;
pub mod noise;
pub mod phrase;
pub mod prekey;
pub mod receipt;
pub mod record;
pub mod seal;
pub mod secret;
pub mod signed;
pub mod small;
pub mod stamp;
pub mod talk;
pub mod wire;
pub mod work;
