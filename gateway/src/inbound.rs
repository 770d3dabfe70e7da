//! What an MX decides about mail from the rest of the world. [`verify`] asks the DNS; all else is pure: time and facts come as arguments, and rows to be remembered go to
//! the caller.
//!
//! [`rates`] and [`greylist`] answer while recipients are named; [`verify`] finds out who a mail is from; [`judge`] says what becomes of it;
//! [`results`] writes that down (RFC 8601). [`author`], [`trace`] and [`fields`] read headers.

pub mod author;
pub mod fields;
pub mod greylist;
pub mod judge;
pub mod network;
pub mod rates;
pub mod results;
pub mod trace;
pub mod verdict;
pub mod verify;
