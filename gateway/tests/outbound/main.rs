//! Mail on its way out, against real sockets: scripted hosts, a DNS server of our own with signed zones, Postfix.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod fates;
mod logins;
mod phases;
#[path = "../../../node/tests/end_to_end/ports.rs"]
mod ports;
mod postfix;
mod protection;
mod routes;
mod shown;
mod signatures;
mod support;
