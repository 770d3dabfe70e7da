//! Rows that know their place: four bytes of checksum over key and value, so that a row that was damaged, or that a damaged
//! page shows under another key, is noticed when it is read and not only when `kith verify` runs.
//!
//! Other rows are plain CBOR: [`encode`] and [`decode`].

use kith_protocol::codec;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::StoreError;

/// Bytes of a row in plain CBOR, at most.
pub(crate) const CBOR_BYTES_MAX: usize = 16 * 1024;

/// A row in canonical CBOR; `Invalid` where it is too large for one.
pub(crate) fn encode<T: Serialize>(row: &T, what: &str) -> Result<Vec<u8>, StoreError> {
    let bytes = codec::encode(row).ok().filter(|bytes| bytes.len() <= CBOR_BYTES_MAX);
    bytes.ok_or_else(|| StoreError::Invalid(format!("{what} cannot be written: it is too large")))
}

/// Reads a row in canonical CBOR.
pub(crate) fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, StoreError> {
    codec::decode(bytes, CBOR_BYTES_MAX).map_err(|_| StoreError::damaged(what))
}

const CHECK_BYTES: usize = 4;

/// Which table a row is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Log = 1,
    Folder = 2,
    Placement = 3,
    Excerpt = 4,
}

/// Its kind and its key, in front of a row that is checked.
const PREFIX_BYTES: usize = 1 + 3 * 8;

/// Appends the checksum.
pub(crate) fn stamp(kind: Kind, key: [u64; 3], mut body: Vec<u8>) -> Vec<u8> {
    let check = check(kind, key, &body);
    body.extend_from_slice(&check);
    body
}

/// The row without its checksum.
pub(crate) fn open(kind: Kind, key: [u64; 3], row: &[u8]) -> Result<&[u8], StoreError> {
    match row.split_last_chunk::<CHECK_BYTES>() {
        Some((body, stamped)) if *stamped == check(kind, key, body) => Ok(body),
        _ => Err(StoreError::damaged(match kind {
            Kind::Log => "an entry of the log",
            Kind::Folder => "a folder's row",
            Kind::Placement => "a message's row",
            Kind::Excerpt => "an excerpt of a header",
        })),
    }
}

fn check(kind: Kind, key: [u64; 3], body: &[u8]) -> [u8; CHECK_BYTES] {
    let mut prefix = [0; PREFIX_BYTES];
    prefix[0] = kind as u8;
    for (place, part) in prefix[1..].chunks_exact_mut(8).zip(key) {
        place.copy_from_slice(&part.to_le_bytes());
    }
    // Lists read two rows of every message, short ones: those are hashed in one piece.
    let mut whole = [0; 512];
    let hash = match whole.get_mut(..PREFIX_BYTES + body.len()) {
        Some(whole) => {
            let (front, rest) = whole.split_at_mut(PREFIX_BYTES);
            front.copy_from_slice(&prefix);
            rest.copy_from_slice(body);
            blake3::hash(whole)
        }
        None => blake3::Hasher::new().update(&prefix).update(body).finalize(),
    };
    let [a, b, c, d, ..] = *hash.as_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::folder::{FolderRow, Placement};
    use crate::log::Entry;

    proptest! {
        #[test]
        fn row_opens_under_its_own_key_alone(body: Vec<u8>, key: [u64; 3], other: [u64; 3]) {
            let row = stamp(Kind::Log, key, body.clone());
            prop_assert_eq!(open(Kind::Log, key, &row).unwrap(), &body[..]);
            prop_assert!(open(Kind::Folder, key, &row).is_err());
            prop_assert!(key == other || open(Kind::Log, other, &row).is_err());
        }

        #[test]
        fn decoders_of_rows_take_any_bytes(body: Vec<u8>) {
            // With a right checksum, so that the decoders behind it are reached.
            let _ = Entry::decode(1, 2, &stamp(Kind::Log, [1, 2, 0], body.clone()));
            let _ = FolderRow::decode(1, 2, &stamp(Kind::Folder, [1, 2, 0], body.clone()));
            let _ = Placement::decode((1, 2, 3), &stamp(Kind::Placement, [1, 2, 3], body.clone()));
            let _ = Placement::decode((1, 2, 3), &body);
        }

        #[test]
        fn placement_reads_back(record: u64, hash: [u8; 32], zone: i16, system: u8, keywords: [u8; 32]) {
            let placement =
                Placement { record, mod_seq: 9, hash, size: 5, date: -1, zone, saved: 8, system, keywords };
            prop_assert_eq!(Placement::decode((1, 2, 3), &placement.encode((1, 2, 3))).unwrap(), placement);
        }
    }
}
