//! A disk in memory that forgets, tears, fills up, fails and stalls.
//!
//! It keeps two states: what the process sees, and what would surely survive a power failure; between them lie the operations that
//! no sync has covered yet. [`SimulatedDisk::crash`] decides their fate and gives the disk as the next start finds it. File contents
//! become durable by `sync` of the file, names by `sync_dir` of their folder; names that were changed without it survive in
//! order (a journal), contents in any subset, each write torn into sectors of 512 bytes.

mod file;
mod image;

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

pub(crate) use file::SimulatedFile;
pub use image::Operation;
use image::{Image, parent};

use super::Space;

/// What a disk writes as one.
const SECTOR_BYTES: usize = 512;
/// Where the simulated clock starts: 2026-01-01.
const START_SECONDS: i64 = 1_767_225_600;

/// The fate of what was not synced when the power failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// All of it reached the disk.
    Kept,
    /// None of it did.
    Lost,
    /// Each write did or did not, whole.
    Subset,
    /// Each sector did or did not.
    Torn,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// `ENOSPC`
    NoSpace,
    /// `EIO`
    Io,
}

/// A planned failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// How many changes still succeed before it.
    pub after: u64,
    /// How.
    pub kind: FaultKind,
    /// How many changes fail, from then on.
    pub times: u64,
}

/// Memory that behaves like a disk. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimulatedDisk {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    gate: Condvar,
}

#[derive(Debug, Default)]
struct State {
    live: Image,
    durable: Image,
    /// Changes that are not durable yet, in order.
    pending: Vec<Operation>,
    /// Every change since recording began; `None` when not recording.
    record: Option<Vec<Operation>>,
    next_file: u64,
    fault: Option<Fault>,
    capacity: Option<u64>,
    /// After so many more changes somebody else takes all the space that is left.
    filled_after: Option<u64>,
    elapsed: i64,
    locked: bool,
    /// Syncs wait while this is set; `waiting` counts them.
    held: bool,
    waiting: usize,
}

/// The lock; dropped, the disk can be opened again.
#[derive(Debug)]
pub(crate) struct SimulatedLock(SimulatedDisk);

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        self.0.state().locked = false;
    }
}

impl SimulatedDisk {
    /// An empty disk of unlimited size.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Limits the sum of file sizes, bytes; `None` for no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// After so many more changes somebody else has taken all the space that is left.
    pub fn fill_after(&self, changes: u64) {
        self.state().filled_after = Some(changes);
    }

    /// Whether that is still to come.
    pub fn is_to_be_filled(&self) -> bool {
        self.state().filled_after.is_some()
    }

    pub(super) fn fills_up(&self) -> bool {
        self.state().capacity.is_some()
    }

    /// Plans a failure, replacing the last plan.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.state().fault = fault;
    }

    /// Whether a planned failure has happened.
    pub fn fault_met(&self) -> bool {
        self.state().fault.is_some_and(|fault| fault.after == 0 && fault.times == 0)
    }

    /// Lets the disk's clock go on (or back).
    pub fn advance(&self, seconds: i64) {
        self.state().elapsed += seconds;
    }

    /// Unix seconds by the disk's clock.
    pub fn now(&self) -> i64 {
        START_SECONDS + self.state().elapsed
    }

    /// From now on syncs of files wait.
    pub fn hold_syncs(&self) {
        self.state().held = true;
    }

    /// Waits until a sync is being held.
    pub fn wait_until_held(&self) {
        let mut state = self.state();
        while state.waiting == 0 {
            state = self.shared.gate.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets held syncs go.
    pub fn release_syncs(&self) {
        self.state().held = false;
        self.shared.gate.notify_all();
    }

    /// Begins (or begins anew) to record every change.
    pub fn record(&self) {
        self.state().record = Some(Vec::new());
    }

    /// How many changes were recorded.
    pub fn recorded(&self) -> usize {
        self.state().record.as_ref().map_or(0, Vec::len)
    }

    /// Ends recording and gives the changes.
    pub fn take_record(&self) -> Vec<Operation> {
        self.state().record.take().unwrap_or_default()
    }

    /// An independent copy with the same contents and the same unsynced changes; not locked, no faults planned.
    pub fn fork(&self) -> Self {
        let state = self.state();
        Self::with(State {
            live: state.live.clone(),
            durable: state.durable.clone(),
            pending: state.pending.clone(),
            next_file: state.next_file,
            elapsed: state.elapsed,
            ..State::default()
        })
    }

    fn with(state: State) -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::new(state), gate: Condvar::new() }) }
    }

    /// Performs a recorded change.
    pub fn apply(&self, operation: &Operation) {
        self.state().perform(operation.clone());
    }

    /// The disk as the next start finds it if the power fails now. `below(n)` gives a number below `n`.
    pub fn crash(&self, how: Crash, below: &mut dyn FnMut(u64) -> u64) -> Self {
        let state = self.state();
        let mut image = state.durable.clone();
        let mut names_left = match how {
            Crash::Kept => usize::MAX,
            Crash::Lost => 0,
            Crash::Subset | Crash::Torn => {
                let names = state.pending.iter().filter(|operation| operation.is_name()).count();
                usize::try_from(below(names as u64 + 1)).unwrap_or(0)
            }
        };
        for operation in &state.pending {
            if operation.is_name() {
                if names_left > 0 {
                    names_left -= 1;
                    image.perform(operation);
                }
                continue;
            }
            match (how, operation) {
                (Crash::Lost, _) => {}
                (Crash::Kept, _) => image.perform(operation),
                (Crash::Torn, Operation::Write(file, offset, bytes)) => {
                    for (index, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                        if below(2) == 0 {
                            image.write(*file, offset + (index * SECTOR_BYTES) as u64, sector);
                        }
                    }
                }
                (Crash::Subset | Crash::Torn, _) => {
                    if below(2) == 0 {
                        image.perform(operation);
                    }
                }
            }
        }
        image.forget_nameless();
        Self::with(State {
            live: image.clone(),
            durable: image,
            next_file: state.next_file,
            elapsed: state.elapsed,
            ..State::default()
        })
    }

    /// The bytes of a file as the process sees them, to be damaged.
    pub fn contents(&self, path: &str) -> Option<Vec<u8>> {
        let state = self.state();
        state.live.names.get(path).and_then(|id| state.live.files.get(id)).cloned()
    }

    /// Replaces the bytes of a file behind the process's back, durably.
    pub fn damage(&self, path: &str, bytes: Vec<u8>) {
        let mut state = self.state();
        if let Some(id) = state.live.names.get(path).copied() {
            state.durable.files.insert(id, bytes.clone());
            state.live.files.insert(id, bytes);
        }
    }

    /// Every file's path, ascending.
    pub fn paths(&self) -> Vec<String> {
        self.state().live.names.keys().cloned().collect()
    }

    pub(super) fn lock(&self) -> Option<SimulatedLock> {
        let mut state = self.state();
        if state.locked {
            return None;
        }
        state.locked = true;
        Some(SimulatedLock(self.clone()))
    }

    pub(super) fn make_dir(&self, path: &str) -> io::Result<bool> {
        if self.state().live.dirs.contains(path) {
            return Ok(false);
        }
        self.change(Operation::MakeDir(path.to_owned()))?;
        Ok(true)
    }

    pub(super) fn create(&self, path: &str) -> io::Result<SimulatedFile> {
        let id = {
            let mut state = self.state();
            state.next_file += 1;
            state.next_file
        };
        self.change(Operation::Create(path.to_owned(), id))?;
        Ok(SimulatedFile { disk: self.clone(), id })
    }

    pub(super) fn open(&self, path: &str) -> io::Result<SimulatedFile> {
        let id = self.state().live.names.get(path).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(SimulatedFile { disk: self.clone(), id })
    }

    #[expect(clippy::unnecessary_wraps, reason = "the same shape as the real disk's")]
    pub(super) fn exists(&self, path: &str) -> io::Result<bool> {
        Ok(self.state().live.names.contains_key(path))
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let id = self.state().live.names.get(from).copied().ok_or(io::ErrorKind::NotFound)?;
        self.change(Operation::Rename(from.to_owned(), to.to_owned(), id))
    }

    pub(super) fn remove(&self, path: &str) -> io::Result<()> {
        if !self.state().live.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.change(Operation::Remove(path.to_owned()))
    }

    pub(super) fn list(&self, path: &str) -> Vec<String> {
        let state = self.state();
        let below = |name: &String| (parent(name) == path).then(|| name.rsplit('/').next().unwrap_or(name).to_owned());
        let mut names: Vec<_> = state.live.names.keys().chain(&state.live.dirs).filter_map(below).collect();
        names.retain(|name| !name.is_empty());
        names.sort_unstable();
        names
    }

    pub(super) fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.change(Operation::SyncDir(path.to_owned()))
    }

    pub(super) fn space(&self) -> Space {
        let state = self.state();
        let total = state.capacity.unwrap_or(1 << 40);
        Space { free: total.saturating_sub(state.live.bytes()), total }
    }

    /// Checks for planned failures and capacity, then performs.
    fn change(&self, operation: Operation) -> io::Result<()> {
        let mut state = self.state();
        if let Some(fault) = &mut state.fault {
            if fault.after > 0 {
                fault.after -= 1;
            } else if fault.times > 0 {
                fault.times -= 1;
                return Err(match fault.kind {
                    FaultKind::NoSpace => io::ErrorKind::StorageFull.into(),
                    FaultKind::Io => io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()),
                });
            }
        }
        state.filled_after = match state.filled_after {
            Some(0) => {
                state.capacity = Some(state.live.bytes());
                None
            }
            left => left.map(|left| left - 1),
        };
        if let Some(capacity) = state.capacity
            && state.live.bytes() + state.live.growth(&operation) > capacity
        {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.perform(operation);
        Ok(())
    }
}

impl State {
    fn perform(&mut self, operation: Operation) {
        if let Some(record) = &mut self.record {
            record.push(operation.clone());
        }
        let durable = &mut self.durable;
        let mut settle = |settled: &dyn Fn(&Operation) -> bool| {
            self.pending.retain(|operation| {
                let now = settled(operation);
                if now {
                    durable.perform(operation);
                }
                !now
            });
        };
        match &operation {
            Operation::SyncDir(folder) => settle(&|operation| operation.is_in(folder)),
            Operation::Sync(id) => settle(&|operation| operation.is_of(*id)),
            Operation::MakeDir(_) | Operation::Create(..) | Operation::Rename(..) | Operation::Remove(_) => {
                self.live.perform(&operation);
                self.pending.push(operation);
            }
            Operation::Write(..) | Operation::SetLen(..) => {
                self.live.perform(&operation);
                self.pending.push(operation);
            }
        }
        if let Operation::Create(_, id) = self.pending.last().unwrap_or(&Operation::Sync(0)) {
            self.next_file = self.next_file.max(*id);
        }
    }
}
