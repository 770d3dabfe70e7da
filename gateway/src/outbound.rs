//! One mail to one next hop.

pub mod content;
pub mod fate;
pub mod mail;
mod offer;
mod opening;
pub mod times;
pub mod trust;
mod wire;
