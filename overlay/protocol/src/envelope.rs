//! The outside of an envelope: header, slots, and the few sizes that an envelope may have.
//!
//! ```text
//! 0            2  "KM"
//! 2            1  version, 1
//! 3            1  k, the number of slots: 1, 2, 4 or 8
//! 4       k×1240  slots: KEM ciphertext 1088 │ hint 24 │ Noise message 128
//! 4+k×1240    48  nonce 16 │ commitment 32
//! …               the letter in chunks of 65,536 bytes, each with a tag of 16
//! ```

use crate::limits::ENVELOPE_BYTES_MAX;
use crate::{kem, noise};

/// Bytes of the header.
pub const HEADER_BYTES: usize = 4;
/// Bytes of a hint: the sealed 8-byte name of a reply key.
pub const HINT_BYTES: usize = 8 + TAG_BYTES;
/// Bytes of a slot.
pub const SLOT_BYTES: usize = kem::CIPHERTEXT_BYTES + HINT_BYTES + noise::MESSAGE_BYTES;
/// Slots of an envelope, at most.
pub const SLOTS_MAX: usize = 8;
/// Bytes of the nonce in front of the letter.
pub const NONCE_BYTES: usize = 16;
/// Bytes of the commitment to the file key.
pub const COMMIT_BYTES: usize = 32;
/// Bytes of an authentication tag.
pub const TAG_BYTES: usize = 16;
/// Bytes of a letter in one chunk.
pub const CHUNK_BYTES: usize = 65_536;
/// The unit of size: an envelope is a whole number of cells.
pub const CELL_BYTES: u64 = 16_000;

/// Up to this many cells sizes go by half-octaves, above by Padmé.
const HALF_OCTAVE_CELLS: u64 = 1024;
const MAGIC: [u8; 2] = *b"KM";
const VERSION: u8 = 1;

const _: () = assert!(SLOT_BYTES == 1240);
const _: () = assert!(bucket(ENVELOPE_BYTES_MAX) == ENVELOPE_BYTES_MAX);

/// What cannot be an envelope.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LayoutError {
    /// Not "KM", version 1.
    #[error("not an envelope of version 1")]
    NotAnEnvelope,
    /// The number of slots is none of 1, 2, 4, 8.
    #[error("an envelope has 1, 2, 4 or 8 slots")]
    Slots,
    /// Not a size that an envelope can have.
    #[error("not a size of an envelope")]
    Size,
}

/// Where everything in an envelope lies: all of it follows from the number of slots and the size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    slots: usize,
    size: u64,
    letter: u64,
}

/// Whether an envelope may have this size: what a node can tell before it accepts one.
pub fn is_size(size: u64) -> bool {
    size <= ENVELOPE_BYTES_MAX && size > 0 && bucket(size) == size
}

/// The smallest size of an envelope that is not below `size`: 1, 2, 3, 4, 6, 8, 12, … cells up to 1024, then Padmé over cells (at most 6 % more).
const fn bucket(size: u64) -> u64 {
    let cells = size.div_ceil(CELL_BYTES);
    let cells = if cells <= 1 {
        1
    } else if cells <= HALF_OCTAVE_CELLS {
        let octave = cells.next_power_of_two();
        if octave >= 4 && cells <= octave / 4 * 3 { octave / 4 * 3 } else { octave }
    } else {
        let exponent = cells.ilog2();
        let mask = (1 << (exponent - (exponent.ilog2() + 1))) - 1;
        (cells + mask) & !mask
    };
    cells * CELL_BYTES
}

impl Layout {
    /// The smallest envelope with at least `devices` slots that holds a letter of `letter` bytes.
    ///
    /// # Errors
    /// [`LayoutError::Slots`] for more than 8 devices or none, [`LayoutError::Size`] for a letter that is too long for any envelope.
    pub fn for_letter(devices: usize, letter: u64) -> Result<Self, LayoutError> {
        if devices == 0 || devices > SLOTS_MAX {
            return Err(LayoutError::Slots);
        }
        let slots = devices.next_power_of_two();
        if letter > ENVELOPE_BYTES_MAX {
            return Err(LayoutError::Size);
        }
        let chunks = letter.div_ceil(CHUNK_BYTES as u64).max(1);
        Self::of_size(slots, bucket(head_bytes(slots) + letter + chunks * TAG_BYTES as u64))
    }

    /// Reads the header of an envelope of `size` bytes.
    ///
    /// # Errors
    /// [`LayoutError`] for whatever no sender that keeps the rules writes.
    pub fn read(header: [u8; HEADER_BYTES], size: u64) -> Result<Self, LayoutError> {
        let [k, m, version, slots] = header;
        if [k, m] != MAGIC || version != VERSION {
            return Err(LayoutError::NotAnEnvelope);
        }
        Self::of_size(usize::from(slots), size)
    }

    fn of_size(slots: usize, size: u64) -> Result<Self, LayoutError> {
        if !matches!(slots, 1 | 2 | 4 | 8) {
            return Err(LayoutError::Slots);
        }
        if !is_size(size) {
            return Err(LayoutError::Size);
        }
        let sealed = size.checked_sub(head_bytes(slots)).ok_or(LayoutError::Size)?;
        let chunks = sealed.div_ceil((CHUNK_BYTES + TAG_BYTES) as u64);
        // No size falls so that the last chunk would be empty; were there one, nobody could write it.
        let last = sealed - (chunks - 1) * (CHUNK_BYTES + TAG_BYTES) as u64;
        if last <= TAG_BYTES as u64 {
            return Err(LayoutError::Size);
        }
        Ok(Self { slots, size, letter: sealed - chunks * TAG_BYTES as u64 })
    }

    /// The header.
    pub fn header(&self) -> [u8; HEADER_BYTES] {
        let [k, m] = MAGIC;
        [k, m, VERSION, self.slots as u8]
    }

    /// The number of slots.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Bytes of the envelope.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of the letter with its zeros.
    pub fn letter_bytes(&self) -> u64 {
        self.letter
    }

    /// Where the body (nonce, commitment, chunks) begins.
    pub fn body_offset(&self) -> u64 {
        (HEADER_BYTES + self.slots * SLOT_BYTES) as u64
    }
}

const fn head_bytes(slots: usize) -> u64 {
    (HEADER_BYTES + slots * SLOT_BYTES + NONCE_BYTES + COMMIT_BYTES) as u64
}

/// One slot, cut into its parts.
#[derive(Clone)]
pub struct Slot {
    /// The ML-KEM-768 ciphertext.
    pub kem: [u8; kem::CIPHERTEXT_BYTES],
    /// Which key it is sealed to, sealed.
    pub hint: [u8; HINT_BYTES],
    /// The sender and the file key, sealed.
    pub noise: [u8; noise::MESSAGE_BYTES],
}

impl Slot {
    /// Cuts a slot.
    pub fn read(bytes: &[u8; SLOT_BYTES]) -> Self {
        let mut slot = Self { kem: [0; kem::CIPHERTEXT_BYTES], hint: [0; HINT_BYTES], noise: [0; noise::MESSAGE_BYTES] };
        let (kem, rest) = bytes.split_at(kem::CIPHERTEXT_BYTES);
        let (hint, noise) = rest.split_at(HINT_BYTES);
        slot.kem.copy_from_slice(kem);
        slot.hint.copy_from_slice(hint);
        slot.noise.copy_from_slice(noise);
        slot
    }

    /// Joins a slot.
    pub fn write(&self) -> [u8; SLOT_BYTES] {
        let mut bytes = [0; SLOT_BYTES];
        let (kem, rest) = bytes.split_at_mut(kem::CIPHERTEXT_BYTES);
        let (hint, noise) = rest.split_at_mut(HINT_BYTES);
        kem.copy_from_slice(&self.kem);
        hint.copy_from_slice(&self.hint);
        noise.copy_from_slice(&self.noise);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cell_holds_14692_bytes_of_letter() {
        let layout = Layout::for_letter(1, 14_692).unwrap();
        assert_eq!((layout.size(), layout.letter_bytes()), (16_000, 14_692));
        assert_eq!(Layout::for_letter(1, 14_693).unwrap().size(), 32_000);
    }

    #[test]
    fn every_size_is_its_own_bucket_and_every_layout_reads_back() {
        let mut sizes = Vec::new();
        let mut size = CELL_BYTES;
        while size <= ENVELOPE_BYTES_MAX {
            assert!(is_size(size));
            sizes.push(size / CELL_BYTES);
            for slots in [1, 2, 4, 8] {
                let layout = Layout::of_size(slots, size).expect("no size has an empty last chunk");
                assert_eq!(Layout::read(layout.header(), size), Ok(layout));
                assert_eq!(Layout::for_letter(slots, layout.letter_bytes()), Ok(layout));
                assert_ne!(Layout::for_letter(slots, layout.letter_bytes() + 1), Ok(layout));
            }
            size = bucket(size + 1);
        }
        assert_eq!(&sizes[..9], [1, 2, 3, 4, 6, 8, 12, 16, 24]);
        assert_eq!(sizes.len(), 46);
    }

    #[test]
    fn nothing_else_is_an_envelope() {
        let good = *b"KM\x01\x01";
        assert!(Layout::read(good, 16_000).is_ok());
        for size in [0, 1, 15_999, 16_001, 80_000, ENVELOPE_BYTES_MAX + 1, u64::MAX] {
            assert_eq!(Layout::read(good, size), Err(LayoutError::Size));
        }
        for slots in [0, 3, 5, 6, 7, 9, 255] {
            assert_eq!(Layout::read([b'K', b'M', 1, slots], 16_000), Err(LayoutError::Slots));
        }
        for header in [*b"KN\x01\x01", *b"kM\x01\x01", *b"KM\x02\x01", *b"KM\x00\x01"] {
            assert_eq!(Layout::read(header, 16_000), Err(LayoutError::NotAnEnvelope));
        }
    }
}
