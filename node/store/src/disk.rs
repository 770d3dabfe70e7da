//! The seam below the store: one home's files, real or simulated.
//!
//! Everything that the store does to a disk goes through [`Disk`] and its files: redb's pages, blob files, the
//! lock, and the time of day. [`SimulatedDisk`] forgets what was not synced, tears what was, fills up and fails on demand; the store
//! above it is the one that ships. Paths are relative to the home, separated by `/`.

mod backend;
mod real;
mod simulated;

use std::io;
use std::path::Path;

pub(crate) use backend::{Backend, Trouble, Watch, is_full};
use real::{RealDisk, RealFile, RealLock};
pub use simulated::{Crash, Fault, FaultKind, Operation, SimulatedDisk};
use simulated::{SimulatedFile, SimulatedLock};

/// Where a home lies. Cheap to clone; clones are the same disk.
#[derive(Clone, Debug)]
pub enum Disk {
    /// A folder of the file system.
    #[doc(hidden)]
    Real(RealDisk),
    /// Memory that behaves like a disk, for tests and the simulator.
    Simulated(SimulatedDisk),
}

/// Space on the file system of a home, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Left for an ordinary user.
    pub free: u64,
    /// In all.
    pub total: u64,
}

/// An open file; clones share it.
#[derive(Clone, Debug)]
pub(crate) enum File {
    Real(RealFile),
    Simulated(SimulatedFile),
}

/// The exclusive right to a home, until dropped.
#[derive(Debug)]
pub(crate) enum Lock {
    Real { _held: RealLock },
    Simulated { _held: SimulatedLock },
}

impl Disk {
    /// The home in that folder, which need not exist yet.
    pub fn real(home: &Path) -> Self {
        Self::Real(RealDisk::new(home))
    }

    /// The home's folder; a name in angle brackets where it is simulated.
    pub fn home(&self) -> &Path {
        match self {
            Self::Real(disk) => disk.home(),
            Self::Simulated(_) => Path::new("<simulated>"),
        }
    }

    /// Whether it is one of the file system's.
    pub(crate) fn is_real(&self) -> bool {
        matches!(self, Self::Real(_))
    }

    /// Unix seconds as the machine believes them.
    pub fn now(&self) -> i64 {
        match self {
            Self::Real(_) => real::now(),
            Self::Simulated(disk) => disk.now(),
        }
    }

    /// Whether it has an end that can be reached.
    pub(crate) fn fills_up(&self) -> bool {
        match self {
            Self::Real(_) => true,
            Self::Simulated(disk) => disk.fills_up(),
        }
    }

    /// Takes the lock of the home; `None` where another process (or another store of this one) has it.
    pub(crate) fn lock(&self) -> io::Result<Option<Lock>> {
        Ok(match self {
            Self::Real(disk) => disk.lock()?.map(|held| Lock::Real { _held: held }),
            Self::Simulated(disk) => disk.lock().map(|held| Lock::Simulated { _held: held }),
        })
    }

    /// Makes a folder, mode 0700, and its parents; `true` if it was not there. The empty path is the home itself.
    pub(crate) fn make_dir(&self, path: &str) -> io::Result<bool> {
        match self {
            Self::Real(disk) => disk.make_dir(path),
            Self::Simulated(disk) => disk.make_dir(path),
        }
    }

    /// Makes an empty file, mode 0600, or empties the one that is there.
    pub(crate) fn create(&self, path: &str) -> io::Result<File> {
        Ok(match self {
            Self::Real(disk) => File::Real(disk.create(path)?),
            Self::Simulated(disk) => File::Simulated(disk.create(path)?),
        })
    }

    /// Opens a file for reading and writing.
    pub(crate) fn open(&self, path: &str) -> io::Result<File> {
        Ok(match self {
            Self::Real(disk) => File::Real(disk.open(path)?),
            Self::Simulated(disk) => File::Simulated(disk.open(path)?),
        })
    }

    /// Whether there is a file of that name.
    pub(crate) fn exists(&self, path: &str) -> io::Result<bool> {
        match self {
            Self::Real(disk) => disk.exists(path),
            Self::Simulated(disk) => disk.exists(path),
        }
    }

    /// Renames a file, replacing what has the new name. Durable after `sync_dir`.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        match self {
            Self::Real(disk) => disk.rename(from, to),
            Self::Simulated(disk) => disk.rename(from, to),
        }
    }

    /// Moves a file from anywhere here, mode 0600, without copying it; `false` where that cannot be done.
    pub(crate) fn adopt(&self, from: &Path, path: &str) -> io::Result<bool> {
        match self {
            Self::Real(disk) => disk.adopt(from, path),
            Self::Simulated(_) => Ok(false),
        }
    }

    /// Removes a file. Durable after `sync_dir`.
    pub(crate) fn remove(&self, path: &str) -> io::Result<()> {
        match self {
            Self::Real(disk) => disk.remove(path),
            Self::Simulated(disk) => disk.remove(path),
        }
    }

    /// Names in a folder, ascending; none where there is no such folder.
    pub(crate) fn list(&self, path: &str) -> io::Result<Vec<String>> {
        match self {
            Self::Real(disk) => disk.list(path),
            Self::Simulated(disk) => Ok(disk.list(path)),
        }
    }

    /// Makes what was made, renamed and removed in a folder durable.
    pub(crate) fn sync_dir(&self, path: &str) -> io::Result<()> {
        match self {
            Self::Real(disk) => disk.sync_dir(path),
            Self::Simulated(disk) => disk.sync_dir(path),
        }
    }

    /// Space left.
    pub(crate) fn space(&self) -> io::Result<Space> {
        match self {
            Self::Real(disk) => disk.space(),
            Self::Simulated(disk) => Ok(disk.space()),
        }
    }

    /// A whole small file; `None` where there is none, `InvalidData` where it has more than `limit` bytes.
    pub(crate) fn read_small(&self, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let file = match self.open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let len = file.len()?;
        if len > limit {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is too large"));
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| io::ErrorKind::InvalidData)?];
        file.read_exact_at(0, &mut bytes)?;
        Ok(Some(bytes))
    }

    /// Replaces a small file so that a crash leaves the old one or the new one: temporary file, sync, rename, sync of the folder.
    pub(crate) fn replace_small(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = format!("{path}.new");
        let file = self.create(&temporary)?;
        file.write_all_at(0, bytes)?;
        file.sync()?;
        self.rename(&temporary, path)?;
        self.sync_dir(path.rsplit_once('/').map_or("", |(folder, _)| folder))
    }
}

impl File {
    /// Reads at most `out.len()` bytes; 0 at the end.
    pub(crate) fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Real(file) => file.read_at(offset, out),
            Self::Simulated(file) => file.read_at(offset, out),
        }
    }

    /// Fills `out`, or fails with `UnexpectedEof`.
    pub(crate) fn read_exact_at(&self, mut offset: u64, mut out: &mut [u8]) -> io::Result<()> {
        while !out.is_empty() {
            match self.read_at(offset, out) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    offset += read as u64;
                    out = out.get_mut(read..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes all of it, growing the file where needed.
    pub(crate) fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Real(file) => file.write_all_at(offset, bytes),
            Self::Simulated(file) => file.write_all_at(offset, bytes),
        }
    }

    /// Bytes.
    pub(crate) fn len(&self) -> io::Result<u64> {
        match self {
            Self::Real(file) => file.len(),
            Self::Simulated(file) => file.len(),
        }
    }

    /// Cuts, or grows with zeros.
    pub(crate) fn set_len(&self, len: u64) -> io::Result<()> {
        match self {
            Self::Real(file) => file.set_len(len),
            Self::Simulated(file) => file.set_len(len),
        }
    }

    /// Grows to so many bytes and takes the space for them.
    pub(crate) fn allocate(&self, bytes: u64) -> io::Result<()> {
        match self {
            Self::Real(file) => file.allocate(bytes),
            Self::Simulated(file) => file.set_len(bytes),
        }
    }

    /// Returns when all bytes written so far survive a power failure.
    pub(crate) fn sync(&self) -> io::Result<()> {
        match self {
            Self::Real(file) => file.sync(),
            Self::Simulated(file) => file.sync(),
        }
    }
}
