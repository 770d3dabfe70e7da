//! The folder where envelopes wait until they are whole: `<id>.part` with the bytes, `<id>.have` with how many of them are verified and synced.
//!
//! What `<id>.have` says was on disk when it was written, so a transfer resumes there after any cut, also of power. The sum of all sizes is
//! bounded; what has not grown for a day is thrown away.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use kith_protocol::ids::EnvelopeId;

/// Envelopes in the folder, whole and in part.
const PARTS_MAX: usize = 4096;
/// Bytes after which what came is synced.
const COMMIT_BYTES: u64 = 4 << 20;

/// Why an envelope cannot be received now.
#[derive(Debug)]
pub(crate) enum Busy {
    /// It is being received already.
    InProgress,
    /// The folder holds as much as it may.
    Full,
    /// The disk failed.
    Disk(io::Error),
}

#[derive(Debug)]
struct Entry {
    size: u64,
    active: bool,
}

/// The folder.
#[derive(Clone, Debug)]
pub(crate) struct Staging {
    folder: PathBuf,
    limit: u64,
    entries: Arc<Mutex<BTreeMap<EnvelopeId, Entry>>>,
}

/// An envelope being received; nobody else receives it meanwhile.
#[derive(Debug)]
pub(crate) struct Part {
    staging: Staging,
    envelope: EnvelopeId,
    size: u64,
    file: File,
    verified: u64,
    committed: u64,
    removed: bool,
}

impl Staging {
    /// Opens the folder, makes it when it is missing, and throws old parts away. Blocking.
    pub(crate) fn open(folder: PathBuf, limit: u64, age: Duration) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let staging = Self { folder, limit, entries: Arc::default() };
        staging.sweep(age)?;
        Ok(staging)
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<EnvelopeId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, envelope: EnvelopeId, extension: &str) -> PathBuf {
        self.folder.join(format!("{}.{extension}", blake3::Hash::from(envelope.0).to_hex()))
    }

    /// Throws away what has not grown for `age` and counts the rest. Blocking.
    pub(crate) fn sweep(&self, age: Duration) -> io::Result<()> {
        let now = SystemTime::now();
        // What the engine took away after all is not counted any longer.
        self.entries().retain(|envelope, entry| entry.active || self.path(*envelope, "part").exists());
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let Some(envelope) = envelope_of(&path) else { continue };
            if self.entries().get(&envelope).is_some_and(|entry| entry.active) {
                continue;
            }
            let Ok(metadata) = fs::metadata(&path) else { continue };
            // A file from the future (the clock was wrong) is no older than a new one.
            let old = metadata.modified().is_ok_and(|modified| now.duration_since(modified).is_ok_and(|passed| passed > age));
            if old {
                fs::remove_file(&path)?;
                self.entries().remove(&envelope);
            } else if path.extension().is_some_and(|extension| extension == "part") {
                self.entries().entry(envelope).or_insert(Entry { size: metadata.len(), active: false });
            }
        }
        Ok(())
    }

    /// Begins or resumes an envelope. Blocking.
    pub(crate) fn begin(&self, envelope: EnvelopeId, size: u64) -> Result<Part, Busy> {
        {
            let mut entries = self.entries();
            if entries.get(&envelope).is_some_and(|entry| entry.active) {
                return Err(Busy::InProgress);
            }
            let others: u64 = entries.iter().filter(|(other, _)| **other != envelope).map(|(_, entry)| entry.size).sum();
            if others.saturating_add(size) > self.limit || entries.len() >= PARTS_MAX {
                return Err(Busy::Full);
            }
            entries.insert(envelope, Entry { size, active: true });
        }
        self.open_part(envelope, size).map_err(|error| {
            self.release(envelope);
            Busy::Disk(error)
        })
    }

    fn open_part(&self, envelope: EnvelopeId, size: u64) -> io::Result<Part> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.path(envelope, "part"))?;
        let verified = match read_have(&self.path(envelope, "have")) {
            Some((of, verified)) if of == size && verified <= size && file.metadata()?.len() >= verified => verified,
            _ => 0,
        };
        file.set_len(verified)?;
        file.seek(SeekFrom::Start(verified))?;
        Ok(Part { staging: self.clone(), envelope, size, file, verified, committed: verified, removed: false })
    }

    fn release(&self, envelope: EnvelopeId) {
        if let Some(entry) = self.entries().get_mut(&envelope) {
            entry.active = false;
        }
    }
}

impl Part {
    /// Where the bytes lie.
    pub(super) fn path(&self) -> PathBuf {
        self.staging.path(self.envelope, "part")
    }

    /// How many bytes are there and verified, counted from the beginning.
    pub(super) fn verified(&self) -> u64 {
        self.verified
    }

    /// Bytes of the whole.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Which envelope it is.
    pub(super) fn envelope(&self) -> EnvelopeId {
        self.envelope
    }

    /// Appends verified bytes; syncs every 4 MiB. Blocking.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.verified += bytes.len() as u64;
        if self.verified - self.committed >= COMMIT_BYTES { self.commit() } else { Ok(()) }
    }

    /// Makes what was appended durable. Blocking.
    pub(super) fn commit(&mut self) -> io::Result<()> {
        if self.verified == self.committed {
            return Ok(());
        }
        self.file.sync_data()?;
        let mut have = [0; 16];
        have[..8].copy_from_slice(&self.size.to_be_bytes());
        have[8..].copy_from_slice(&self.verified.to_be_bytes());
        let (path, new) = (self.staging.path(self.envelope, "have"), self.staging.path(self.envelope, "new"));
        let mut file = File::create(&new)?;
        file.write_all(&have)?;
        file.sync_data()?;
        fs::rename(new, path)?;
        self.committed = self.verified;
        Ok(())
    }

    /// Does the whole file hash to the envelope's name? Blocking.
    pub(super) fn is_true(&mut self) -> io::Result<bool> {
        self.file.rewind()?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(Read::take(&mut self.file, self.size))?;
        self.file.seek(SeekFrom::Start(self.verified))?;
        Ok(self.verified == self.size && hasher.finalize() == blake3::Hash::from(self.envelope.0))
    }

    /// Removes what is left of it. Blocking.
    pub(super) fn remove(mut self) {
        for extension in ["part", "have", "new"] {
            match fs::remove_file(self.staging.path(self.envelope, extension)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(envelope = %self.envelope.short(), %error, "a received envelope could not be removed");
                }
                _ => {}
            }
        }
        self.removed = true;
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.removed {
            self.staging.entries().remove(&self.envelope);
        } else {
            self.staging.release(self.envelope);
        }
    }
}

fn envelope_of(path: &Path) -> Option<EnvelopeId> {
    let extension = path.extension()?.to_str()?;
    let hash = blake3::Hash::from_hex(path.file_stem()?.to_str()?).ok()?;
    ["part", "have", "new"].contains(&extension).then_some(EnvelopeId(*hash.as_bytes()))
}

fn read_have(path: &Path) -> Option<(u64, u64)> {
    let bytes: [u8; 16] = fs::read(path).ok()?.try_into().ok()?;
    let (size, verified) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*size), u64::from_be_bytes(verified.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn open(folder: &Path) -> Staging {
        Staging::open(folder.to_owned(), 1000, DAY).unwrap()
    }

    #[test]
    fn what_is_committed_is_there_after_a_restart_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let envelope = EnvelopeId([1; 32]);
        let mut part = open(folder.path()).begin(envelope, 100).unwrap();
        part.append(&[7; 30]).unwrap();
        part.commit().unwrap();
        part.append(&[8; 30]).unwrap();
        drop(part);
        let part = open(folder.path()).begin(envelope, 100).unwrap();
        assert_eq!(part.verified(), 30);
        assert_eq!(fs::read(part.path()).unwrap(), [7; 30]);
    }

    #[test]
    fn another_size_starts_afresh() {
        let folder = tempfile::tempdir().unwrap();
        let envelope = EnvelopeId([1; 32]);
        let staging = open(folder.path());
        let mut part = staging.begin(envelope, 100).unwrap();
        part.append(&[7; 30]).unwrap();
        part.commit().unwrap();
        drop(part);
        assert_eq!(staging.begin(envelope, 99).unwrap().verified(), 0);
    }

    #[test]
    fn folder_is_bounded_and_one_envelope_is_received_once() {
        let folder = tempfile::tempdir().unwrap();
        let staging = open(folder.path());
        let first = staging.begin(EnvelopeId([1; 32]), 600).unwrap();
        assert!(matches!(staging.begin(EnvelopeId([1; 32]), 600), Err(Busy::InProgress)));
        assert!(matches!(staging.begin(EnvelopeId([2; 32]), 600), Err(Busy::Full)));
        first.remove();
        assert!(staging.begin(EnvelopeId([2; 32]), 600).is_ok());
    }

    #[test]
    fn old_parts_are_swept() {
        let folder = tempfile::tempdir().unwrap();
        let mut part = open(folder.path()).begin(EnvelopeId([1; 32]), 600).unwrap();
        part.append(&[1]).unwrap();
        part.commit().unwrap();
        drop(part);
        let old = SystemTime::now() - 2 * DAY;
        for entry in fs::read_dir(folder.path()).unwrap() {
            File::options().write(true).open(entry.unwrap().path()).unwrap().set_modified(old).unwrap();
        }
        open(folder.path());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
