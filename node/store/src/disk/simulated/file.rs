//! An open file of a simulated disk.

use std::io;
use std::sync::PoisonError;

use super::{Operation, SimulatedDisk};

/// An open file.
#[derive(Clone, Debug)]
pub(crate) struct SimulatedFile {
    pub(super) disk: SimulatedDisk,
    pub(super) id: u64,
}

impl SimulatedFile {
    #[expect(clippy::unnecessary_wraps, reason = "the same shape as the real file's")]
    pub(in crate::disk) fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let state = self.disk.state();
        let bytes = state.live.files.get(&self.id).map(Vec::as_slice).unwrap_or_default();
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    pub(in crate::disk) fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.change(Operation::Write(self.id, offset, bytes.into()))
    }

    #[expect(clippy::unnecessary_wraps, reason = "the same shape as the real file's")]
    pub(in crate::disk) fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().live.files.get(&self.id).map_or(0, |bytes| bytes.len() as u64))
    }

    pub(in crate::disk) fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.change(Operation::SetLen(self.id, len))
    }

    pub(in crate::disk) fn sync(&self) -> io::Result<()> {
        let shared = &self.disk.shared;
        let mut state = self.disk.state();
        state.waiting += 1;
        shared.gate.notify_all();
        while state.held {
            state = shared.gate.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting -= 1;
        drop(state);
        self.disk.change(Operation::Sync(self.id))
    }
}
