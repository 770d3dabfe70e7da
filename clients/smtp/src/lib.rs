//! Kith's submission server (RFC 6409): what mail programs send their mail to.
//!
//! [`session`] is the conversation, without a socket; [`policy`] is what the node decides (who may send as whom, where a recipient is, the
//! commit); [`data`] finds the end of a mail and refuses smuggled ones; [`header`] does the header work that submission asks for.

pub mod command;
pub mod data;
pub mod header;
pub mod policy;
pub mod reply;
pub mod server;
pub mod session;

pub use policy::{AcceptedMail, AcceptedRecipient, CommitRefusal, Policy, Refusal, Route};
pub use server::{port, serve};
pub use session::{Session, Transport};
