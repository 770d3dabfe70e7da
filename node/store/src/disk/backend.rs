//! redb's pages in one of our files, and what went wrong there.
//!
//! redb latches after any I/O error until it is opened anew. Whether opening anew is sound depends on what failed, and redb does not
//! tell: [`Watch`] does. After a failed sync the kernel may have dropped dirty pages and report success the next time, so that the
//! handle is dead for good; a full disk or an unreadable sector leaves what was committed as it was.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use redb::StorageBackend;

use super::File;

/// The worst that happened to the database file since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    /// Nothing.
    None = 0,
    /// Something could not be read: opening anew helps the rest.
    Read = 1,
    /// No space: opening anew brings back the last commit.
    Full = 2,
    /// A write or a sync failed: nothing can be promised any more.
    Fatal = 3,
}

/// Remembers the worst [`Trouble`]; shared between the backend and the store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch(Arc<AtomicU8>);

impl Watch {
    /// The worst so far.
    pub(crate) fn trouble(&self) -> Trouble {
        match self.0.load(Ordering::SeqCst) {
            0 => Trouble::None,
            1 => Trouble::Read,
            2 => Trouble::Full,
            _ => Trouble::Fatal,
        }
    }

    fn note<T>(&self, outcome: io::Result<T>, otherwise: Trouble) -> io::Result<T> {
        if let Err(error) = &outcome {
            let trouble = if otherwise == Trouble::Fatal && is_full(error) { Trouble::Full } else { otherwise };
            self.0.fetch_max(trouble as u8, Ordering::SeqCst);
        }
        outcome
    }
}

/// Whether an error means that there is no space (or a quota is used up).
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

/// What redb writes to.
#[derive(Debug)]
pub(crate) struct Backend {
    file: File,
    watch: Watch,
}

impl Backend {
    /// redb's view of a file.
    pub(crate) fn new(file: File, watch: Watch) -> Self {
        Self { file, watch }
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.watch.note(self.file.len(), Trouble::Read)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.watch.note(self.file.read_exact_at(offset, out), Trouble::Read)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.watch.note(self.file.set_len(len), Trouble::Fatal)
    }

    fn sync_data(&self) -> io::Result<()> {
        // A sync that reports a full disk (delayed allocation) has lost pages like any other failed sync.
        self.file.sync().inspect_err(|_| {
            self.watch.0.fetch_max(Trouble::Fatal as u8, Ordering::SeqCst);
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.watch.note(self.file.write_all_at(offset, data), Trouble::Fatal)
    }
}
