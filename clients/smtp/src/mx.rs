//! What the node decides for mail from the rest of the world: the only way out of a session on an MX (RFC 5321).
//!
//! Nobody logs in on such a port, and only who is asked for by [`Policy::recipient`] gets mail: there is nothing to relay with.

use std::net::IpAddr;

use kith_store::blob::Staged;

use crate::policy::{CommitRefusal, Refusal, Route};

/// Who is at the other end, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub ip: IpAddr,
    /// What it calls itself, as it came; not verified, and possibly no domain at all.
    pub helo: String,
    /// It said EHLO.
    pub extended: bool,
    /// TLS is on.
    pub encrypted: bool,
}

/// Why a recipient is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipientRefusal {
    /// Nobody of that address is here. Counted: whoever tries many is looking for addresses.
    Unknown(Refusal),
    /// Another reason: not now (greylisting, rates: 4xx), or not from there.
    Refused(Refusal),
}

/// A recipient that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MxRecipient {
    /// Where it is.
    pub route: Route,
    /// As the client wrote it.
    pub typed: String,
}

/// A complete mail from outside.
#[derive(Clone, Debug)]
pub struct IncomingMail {
    /// Who brought it.
    pub peer: Peer,
    /// The reverse-path; empty for `<>`.
    pub reverse_path: String,
    /// At least one; each route once.
    pub recipients: Vec<MxRecipient>,
    /// The mail as it came, behind one `Received` field that was added.
    pub mail: Staged,
    /// Bytes of that field: from there on the mail is what was sent.
    pub received_bytes: usize,
    /// RFC 6531: the client asked for SMTPUTF8.
    pub smtputf8: bool,
}

/// The node's decisions. Calls may block. A refusal with code 421 ends the session.
pub trait Policy: Send + Sync {
    /// What this machine calls itself: a domain, as MX records and its certificate have it. Also the `by` of `Received`.
    fn name(&self) -> &str;

    /// Whether a client from there is served at all.
    ///
    /// # Errors
    /// It is the only thing that it hears: 421, or 554 for those who need not come back.
    fn connected(&self, ip: IpAddr) -> Result<(), Refusal>;

    /// Whether a mail from this reverse-path may begin; empty is `<>`. `size` is what the client says, in bytes.
    ///
    /// # Errors
    /// 4xx to come again, 5xx not to.
    fn sender(&self, peer: &Peer, reverse_path: &str, size: Option<u64>) -> Result<(), Refusal>;

    /// Where a recipient is; also where greylisting belongs. `address` is `local@domain`, or `postmaster`, who must be there (RFC 5321 §4.5.1).
    ///
    /// # Errors
    /// Typed, since unknown ones are counted.
    fn recipient(&self, peer: &Peer, reverse_path: &str, address: &str) -> Result<Route, RecipientRefusal>;

    /// Takes the mail, or refuses it for what is in it. Returns when it is durable, with what it is called here; only then the client hears
    /// `250`.
    ///
    /// # Errors
    /// Nothing of it was kept, and nobody will be told by us.
    fn commit(&self, mail: IncomingMail) -> Result<String, CommitRefusal>;

    /// Largest mail, bytes.
    fn size_limit(&self) -> u64;

    /// Unix seconds, for `Received`.
    fn now(&self) -> i64;

    /// Something unique, for `Received`.
    fn unique(&self) -> [u8; 16];
}
