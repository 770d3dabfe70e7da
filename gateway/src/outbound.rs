//! One mail to one next hop.

pub mod content;
pub mod fate;
mod login;
pub mod mail;
mod offer;
mod opening;
pub mod secret;
mod session;
pub mod smarthost;
pub mod sts;
pub mod times;
pub mod trust;
mod wire;
