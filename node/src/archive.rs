//! Mail brought along and taken away: Maildir and mbox, in and out, with folders, flags and dates.
//!
//! The command reads and writes files with the rights of whoever calls it; the store is reached through the control socket, where the running
//! node (or, where none runs, this process) files and hands out mails: [`intake`] and [`outlet`]. Bringing the same mail again brings only
//! what is not there yet, so that whatever breaks off goes on by running the command once more.

pub mod bringing;
pub mod intake;
pub mod lines;
pub mod maildir;
pub mod marks;
pub mod mbox;
pub mod outlet;
pub mod sources;
pub mod taking;

/// What is shown of how far it is: bytes done, bytes in all, mails done.
pub trait Watcher: Send + Sync {
    /// There are so many bytes to go through in all.
    fn total(&self, bytes: u64);
    /// So many bytes and mails more are through.
    fn through(&self, bytes: u64, mails: u64);
    /// One mail could not be taken; everything else goes on.
    fn problem(&self, text: &str);
}

/// The largest mail that is brought in, bytes.
pub const IMPORTED_BYTES_MAX: u64 = 1 << 30;
