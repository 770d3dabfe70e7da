//! The real binary, real sockets, real files: what a person would do, and what must not go wrong.

mod away;
mod bad_input;
mod clients;
mod command;
mod delivery;
mod household;
mod kill;
mod node;
mod programs;
