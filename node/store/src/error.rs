//! Why the store refuses or fails, in sentences for people, and what a caller can do about it.

use std::io;
use std::path::PathBuf;

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
    /// The file is not what was written.
    #[error("the store in {} is damaged ({what}); run `kith repair`, which keeps the damaged file aside", home.display())]
    Damaged {
        /// The home.
        home: PathBuf,
        /// What does not hold.
        what: String,
    },
    /// A newer Kith wrote it.
    #[error("the store in {} has format {found}, this kith knows {known}; use a newer kith", home.display())]
    Newer {
        /// The home.
        home: PathBuf,
        /// The file's format.
        found: u64,
        /// The newest format known here.
        known: u64,
    },
    /// Reading or writing failed.
    #[error("cannot open the store in {}: {error}", home.display())]
    Io {
        /// The home.
        home: PathBuf,
        /// What the system says.
        error: String,
    },
    /// The home's keys are wrapped and the passphrase is missing or wrong.
    #[error("the keys in {} are locked: {what}", home.display())]
    Locked {
        /// The home.
        home: PathBuf,
        /// What to do.
        what: String,
    },
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
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

/// What a caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Try again later: 4xx.
    Temporary,
    /// Asking again does not help: 5xx.
    Permanent,
}

impl StoreError {
    /// Whether trying again later can help. What is broken or damaged may be mended by a restart or a repair while the other
    /// side keeps its mail, hence counts as temporary.
    pub fn class(&self) -> Class {
        match self {
            Self::DiskFull | Self::Broken(_) | Self::Damaged(_) => Class::Temporary,
            Self::NotFound(_) | Self::Exists(_) | Self::Invalid(_) => Class::Permanent,
        }
    }

    /// The error of a file operation outside redb.
    pub(crate) fn of_io(error: &io::Error) -> Self {
        if crate::disk::is_full(error) { Self::DiskFull } else { Self::Broken(error.to_string()) }
    }

    /// A row that does not decode.
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }
}

impl From<redb::StorageError> for StoreError {
    fn from(error: redb::StorageError) -> Self {
        match error {
            redb::StorageError::Corrupted(what) => Self::Damaged(what),
            redb::StorageError::Io(error) => Self::of_io(&error),
            other => Self::Broken(other.to_string()),
        }
    }
}

impl From<redb::TableError> for StoreError {
    fn from(error: redb::TableError) -> Self {
        match error {
            redb::TableError::Storage(error) => error.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<redb::TransactionError> for StoreError {
    fn from(error: redb::TransactionError) -> Self {
        match error {
            redb::TransactionError::Storage(error) => error.into(),
            other => Self::Broken(other.to_string()),
        }
    }
}

impl From<redb::CommitError> for StoreError {
    fn from(error: redb::CommitError) -> Self {
        match error {
            redb::CommitError::Storage(error) => error.into(),
            other => Self::Broken(other.to_string()),
        }
    }
}

impl From<redb::DatabaseError> for StoreError {
    fn from(error: redb::DatabaseError) -> Self {
        match error {
            redb::DatabaseError::Storage(error) => error.into(),
            other => Self::Broken(other.to_string()),
        }
    }
}
