//! Opening, writing, closing: the one concrete store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How to open a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// redb's page cache in bytes.
    pub cache_bytes: usize,
    /// The passphrase that unlocks wrapped keys; `None` where the home has none.
    pub passphrase: Option<zeroize::Zeroizing<Vec<u8>>>,
}

/// Why a store cannot be opened. The text says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it.
    #[error("another kith runs on {}; stop it first, or use another --home", home.display())]
    Busy {
        /// The home.
        home: PathBuf,
    },
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No space, or over a quota. Nothing was written.
    #[error("the disk is full")]
    DiskFull,
    /// No such thing.
    #[error("{0} does not exist")]
    NotFound(&'static str),
    /// The name is taken.
    #[error("{0} exists already")]
    Exists(&'static str),
    /// The call's arguments make no sense; the text says which.
    #[error("{0}")]
    Invalid(String),
    /// Reading or writing failed, or a sync did: the handle is dead, restart.
    #[error("the store failed: {0}")]
    Broken(String),
    /// What was read does not match its checksum: run `kith verify`.
    #[error("damaged: {0}; run `kith verify`")]
    Damaged(String),
}

/// The store of one home: cheap to clone, safe to share between threads.
#[derive(Clone)]
pub struct Store {
    pub(crate) _inner: Arc<()>,
}

/// A writing transaction: whatever happens in it becomes durable as one, or not at all. The methods are spread over the
/// modules: `account.rs`, `contact.rs`, `mailbox.rs`, `queue.rs`, `secret.rs`.
pub struct Transaction<'a> {
    pub(crate) _inner: &'a (),
}

impl Store {
    /// Opens the home's store, making it (0700, files 0600) where there is none. Milliseconds, also after a crash.
    pub fn open(_home: &Path, _options: Options) -> Result<Self, OpenError> {
        todo!()
    }

    /// Runs `work` on the writer thread, together with whatever else waits there, and returns when it is durable.
    /// An error from `work` leaves nothing of it behind and does not disturb the others in the group.
    /// `work` may be run more than once; only the last run counts.
    pub fn write<T: Send + 'static>(
        &self,
        _work: impl FnMut(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        todo!()
    }

    /// The home's folder.
    pub fn home(&self) -> &Path {
        todo!()
    }

    /// Where envelopes in transit lie: `<home>/spool`. Not part of any promise: what is lost there is sealed or fetched again.
    pub fn spool(&self) -> PathBuf {
        todo!()
    }

    /// Finishes what is in flight and closes; later calls fail with `Broken`.
    pub fn close(&self) {
        todo!()
    }
}
