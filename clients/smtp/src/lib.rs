//! Kith's SMTP servers: submission (RFC 6409), which the household's mail programs send to, and MX (RFC 5321), for mail from the rest of the world.
//!
//! [`session`] is the conversation, without a socket, for both; [`policy`] is what the node decides for a submission (who may send as whom, where a
//! recipient is, the commit), [`mx`] the same for mail from outside; [`data`] finds the end of a mail and refuses smuggled ones; [`header`] does the header work that submission asks for.

pub mod command;
pub mod data;
pub mod header;
pub mod mx;
pub mod policy;
pub mod received;
pub mod reply;
pub mod server;
pub mod session;

pub use policy::{AcceptedMail, AcceptedRecipient, CommitRefusal, Policy, Refusal, Route};
pub use server::{mx_port, port, serve, serve_mx};
pub use session::{Mx, Session, Submission, Transport};
