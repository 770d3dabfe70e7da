//! The Kith node: the daemon and the `kith` command.
//!
//! `engine.rs` is the one place where protocol, network and store meet; `daemon.rs` starts and stops everything in order; `cli.rs` is what people type.

pub mod addressing;
pub mod announcing;
pub mod archive;
pub mod cards;
pub mod cli;
pub mod config;
pub mod contacts;
pub mod control;
pub mod correspondence;
pub mod daemon;
pub mod delivered;
pub mod engine;
pub mod gateway;
pub mod identity;
pub mod logging;
pub mod mailroom;
pub mod notices;
pub mod operations;
pub mod people;
pub mod ports;
pub mod relaying;
pub mod route;
pub mod scribe;
pub mod sendmail;
pub mod settings;
pub mod submission;
pub mod toil;
