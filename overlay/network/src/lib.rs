//! The overlay's connections and directory: the only crate that knows libp2p.
//!
//! A plain service: [`start`] gives a [`Handle`] for [`Command`]s and the [`Events`] that come of them. Nothing of libp2p shows outside: peers
//! go by their raw public keys, addresses by their text.

mod config;
mod service;

pub use config::{Config, Limits};
pub use service::{Command, Ended, Event, Events, Handle, StartError, Status};

/// Starts a node: listens, enters the overlay, and serves until [`Handle::shutdown`]. Must be called within a tokio runtime.
///
/// # Errors
/// [`StartError`] when an address does not parse or cannot be listened on, or the staging folder cannot be used. Peers that do not answer are no
/// error.
pub async fn start(config: Config) -> Result<(Handle, Events), StartError> {
    drop(config);
    Err(StartError::Transport("not built in yet".to_owned()))
}
