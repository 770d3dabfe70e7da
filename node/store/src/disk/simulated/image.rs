//! What a simulated disk holds, and what can happen to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A change of the disk.
#[derive(Clone, Debug)]
pub enum Operation {
    /// A folder was made.
    MakeDir(String),
    /// A name was given to a new, empty file.
    Create(String, u64),
    /// A file's name was changed.
    Rename(String, String, u64),
    /// A name was removed.
    Remove(String),
    /// The names of a folder were made durable.
    SyncDir(String),
    /// Bytes of a file were written.
    Write(u64, u64, Arc<[u8]>),
    /// A file was cut, or grown with zeros.
    SetLen(u64, u64),
    /// A file's bytes were made durable.
    Sync(u64),
}

impl Operation {
    pub(super) fn is_name(&self) -> bool {
        matches!(self, Self::MakeDir(_) | Self::Create(..) | Self::Rename(..) | Self::Remove(_))
    }

    /// Whether a sync of this folder makes it durable.
    pub(super) fn is_in(&self, folder: &str) -> bool {
        match self {
            Self::MakeDir(path) | Self::Create(path, _) | Self::Remove(path) => parent(path) == folder,
            Self::Rename(from, to, _) => parent(from) == folder || parent(to) == folder,
            Self::SyncDir(_) | Self::Write(..) | Self::SetLen(..) | Self::Sync(_) => false,
        }
    }

    pub(super) fn is_of(&self, id: u64) -> bool {
        matches!(self, Self::Write(file, ..) | Self::SetLen(file, _) if *file == id)
    }
}

/// Names, folders and contents.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    pub(super) names: BTreeMap<String, u64>,
    pub(super) dirs: BTreeSet<String>,
    pub(super) files: BTreeMap<u64, Vec<u8>>,
}

impl Image {
    pub(super) fn perform(&mut self, operation: &Operation) {
        match operation {
            Operation::MakeDir(path) => {
                self.dirs.insert(path.clone());
            }
            Operation::Create(path, id) => {
                self.names.insert(path.clone(), *id);
                self.files.entry(*id).or_default();
            }
            Operation::Rename(from, to, id) => {
                if self.names.get(from) == Some(id) {
                    self.names.remove(from);
                }
                self.names.insert(to.clone(), *id);
                self.files.entry(*id).or_default();
            }
            Operation::Remove(path) => {
                self.names.remove(path);
            }
            Operation::Write(id, offset, bytes) => self.write(*id, *offset, bytes),
            Operation::SetLen(id, len) => {
                self.files.entry(*id).or_default().resize(usize::try_from(*len).unwrap_or(0), 0);
            }
            Operation::SyncDir(_) | Operation::Sync(_) => {}
        }
    }

    pub(super) fn write(&mut self, id: u64, offset: u64, bytes: &[u8]) {
        let file = self.files.entry(id).or_default();
        let start = usize::try_from(offset).unwrap_or(0);
        let end = start + bytes.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[start..end].copy_from_slice(bytes);
    }

    /// After a crash nobody has a nameless file open.
    pub(super) fn forget_nameless(&mut self) {
        let named: BTreeSet<_> = self.names.values().copied().collect();
        self.files.retain(|id, _| named.contains(id));
    }

    pub(super) fn bytes(&self) -> u64 {
        self.names.values().filter_map(|id| self.files.get(id)).map(|bytes| bytes.len() as u64).sum()
    }

    pub(super) fn growth(&self, operation: &Operation) -> u64 {
        let (id, end) = match operation {
            Operation::Write(id, offset, bytes) => (id, offset + bytes.len() as u64),
            Operation::SetLen(id, len) => (id, *len),
            Operation::MakeDir(_)
            | Operation::Create(..)
            | Operation::Rename(..)
            | Operation::Remove(_)
            | Operation::SyncDir(_)
            | Operation::Sync(_) => return 0,
        };
        end.saturating_sub(self.files.get(id).map_or(0, |bytes| bytes.len() as u64))
    }
}

/// The folder of a path.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}
