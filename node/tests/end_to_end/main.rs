//! The real binary, real sockets, real files: what a person would do, and what must not go wrong.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking, and says what it skips")]

mod access;
mod archive;
mod arrivals;
mod away;
mod bad_input;
mod certificates;
mod clients;
mod command;
mod delivery;
mod dovecot;
mod fetching;
mod flood;
mod gateway_command;
mod household;
mod kill;
mod kill_gateway;
mod legacy;
mod names;
mod node;
mod pebble;
mod ports;
mod postfix;
mod programs;
mod providers;
mod relays;
mod reports;
mod sending;
mod settings;
mod strangers;
mod thunderbird;
mod two_programs;
