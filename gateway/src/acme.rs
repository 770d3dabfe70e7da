//! Certificates that the world believes, by ACME (RFC 8555): when one is asked for (`acme/plan.rs`), the asking (`acme/order.rs`), and what the
//! authority looks at meanwhile (`acme/challenge.rs`).
//!
//! One certificate for each name: one that does not lead here yet keeps no other from having its own.

pub mod challenge;
pub mod order;
pub mod plan;

pub use challenge::{Challenges, Way};
pub use order::{Authority, NotIssued, account_key, order};
pub use plan::{Cause, Life, Record, Step, next};

/// Where Let's Encrypt has its directory.
pub const LETS_ENCRYPT: &str = rustls_acme::acme::LETS_ENCRYPT_PRODUCTION_DIRECTORY;
