//! Accepting, limiting, encrypting and authenticating the connections of mail programs: once for all ports.
//!
//! A protocol crate writes a sans-network session (bytes in, bytes out) and leaves the rest to this crate:
//!
//! - [`Server`] accepts within the bounds of [`Admission`] and hands each [`Connection`] to its handler;
//! - [`Connection`] reads and writes under deadlines, starts TLS and closes properly;
//! - [`LineReader`] and [`LiteralReader`] cut bounded lines and literals out of a byte buffer;
//! - [`Exchange`] decodes SASL PLAIN and LOGIN, [`Gatekeeper`] checks passwords and slows guessing;
//! - [`Certificates`] is the node's own small authority and the leaf that the ports show;
//! - [`drive`] runs a [`Session`] on a connection, for protocols in which only the client speaks unasked.

mod admission;
mod certificate;
mod connection;
mod driver;
mod gatekeeper;
mod lines;
mod pace;
mod sasl;
mod server;
mod shutdown;

pub use admission::{Admission, Limits, Ticket};
pub use certificate::{
    Authority, CertificateError, Certificates, Fingerprint, GIVEN_MAX, Names, Validity, announced_host, host_label,
    lan_addresses, server_config,
};
pub use connection::{Connection, ConnectionError};
pub use driver::{Ending, News, Session, Step, drive};
pub use gatekeeper::{Gatekeeper, LoginCounts, LoginRefusal};
pub use lines::{LineEnd, LineReader, LiteralReader, Taken};
pub use pace::{Timing, Waiting};
pub use sasl::{Credentials, Exchange, Mechanism, NAME_BYTES_MAX, PASSWORD_BYTES_MAX, Reply, SaslError};
pub use server::{BindError, Encryption, Host, Port, Server};
pub use shutdown::{Shutdown, ShutdownTrigger, shutdown};
