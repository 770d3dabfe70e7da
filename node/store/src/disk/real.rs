//! A home in the file system: folders 0700, files 0600, `flock` against a second process.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock, statvfs};
use rustix::io::Errno;

use super::Space;

/// The home's folder.
#[derive(Clone, Debug)]
pub struct RealDisk {
    home: Arc<PathBuf>,
}

/// An open file.
#[derive(Clone, Debug)]
pub(crate) struct RealFile(Arc<fs::File>);

/// The open lock file: the kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct RealLock(#[expect(dead_code, reason = "held for its flock, which ends with the descriptor")] fs::File);

const LOCK: &str = "lock";

/// Unix seconds; 0 for a clock before 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|elapsed| i64::try_from(elapsed.as_secs()).ok()).unwrap_or(0)
}

impl RealDisk {
    pub(super) fn new(home: &Path) -> Self {
        Self { home: Arc::new(home.to_path_buf()) }
    }

    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    fn path(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.home.to_path_buf() } else { self.home.join(path) }
    }

    pub(super) fn lock(&self) -> io::Result<Option<RealLock>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(self.path(LOCK))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(RealLock(file))),
            Err(error) if error == Errno::WOULDBLOCK => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn make_dir(&self, path: &str) -> io::Result<bool> {
        let path = self.path(path);
        if path.is_dir() {
            return Ok(false);
        }
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        Ok(true)
    }

    pub(super) fn create(&self, path: &str) -> io::Result<RealFile> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(self.path(path))?;
        Ok(RealFile(Arc::new(file)))
    }

    pub(super) fn open(&self, path: &str) -> io::Result<RealFile> {
        Ok(RealFile(Arc::new(OpenOptions::new().read(true).write(true).open(self.path(path))?)))
    }

    pub(super) fn exists(&self, path: &str) -> io::Result<bool> {
        self.path(path).try_exists()
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    pub(super) fn adopt(&self, from: &Path, path: &str) -> io::Result<bool> {
        let path = self.path(path);
        // Another file system, say: the caller copies, and meets there what else may be wrong.
        if fs::rename(from, &path).is_err() {
            return Ok(false);
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(true)
    }

    pub(super) fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.path(path))
    }

    pub(super) fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path(path)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    pub(super) fn sync_dir(&self, path: &str) -> io::Result<()> {
        fs::File::open(self.path(path))?.sync_all()
    }

    pub(super) fn space(&self) -> io::Result<Space> {
        let stat = statvfs(self.home.as_path())?;
        Ok(Space { free: stat.f_bavail.saturating_mul(stat.f_frsize), total: stat.f_blocks.saturating_mul(stat.f_frsize) })
    }
}

impl RealFile {
    pub(super) fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(out, offset)
    }

    pub(super) fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    pub(super) fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    pub(super) fn allocate(&self, bytes: u64) -> io::Result<()> {
        match fallocate(&*self.0, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => Ok(()),
            // File systems that cannot promise space are filled by writing.
            Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => {
                let piece = vec![0; 1 << 16];
                for offset in (0..bytes).step_by(piece.len()) {
                    self.0.write_all_at(&piece, offset)?;
                }
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
