//! What lies in the directory: a card, encrypted and signed under a key that changes every week and does not tell whose it is.

use crate::event::Wall;

/// What a storing node learns of a record it may keep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoredRecord {
    /// Orders records under one key, with `sequence`.
    pub generation: u32,
    /// Orders records of one generation.
    pub sequence: u64,
    /// When the record stops being valid, wall time.
    pub expires: Wall,
}

/// Why a record is not kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    /// Too long, not canonical, or not a record.
    #[error("not a record")]
    Malformed,
    /// A signature or certificate does not hold.
    #[error("a signature does not hold")]
    Forged,
    /// Lies under another key than its own.
    #[error("lies under a foreign key")]
    WrongKey,
    /// Its week is over, or too far away.
    #[error("its week is not now")]
    WrongWeek,
    /// Not newer than the one that is held.
    #[error("not newer than the one held")]
    Stale,
}

/// What a storing node checks before it keeps a record under a directory key, without learning the address: size, canonical form, key, certificate,
/// signature, week (−1…+8 of `wall`), and that it is newer than (or byte-identical to) `held`.
pub fn check_stored(_key: &[u8], _value: &[u8], _wall: Wall, _held: Option<&[u8]>) -> Result<StoredRecord, RecordError> {
    todo!()
}
