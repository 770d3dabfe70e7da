//! Every domain-separation string of the protocol, and the one way keys are derived from them.
//!
//! No two purposes share a string; a test holds that. Changing one makes a different protocol.

use blake3::Hasher;
use zeroize::{Zeroize, Zeroizing};

/// Encrypts a letter: `file key ‖ nonce`.
pub(crate) const BODY: &str = "kith 2026-11 body";
/// Commits to the file key, so that no envelope opens to two letters: `file key ‖ nonce`.
pub(crate) const COMMIT: &str = "kith 2026-11 commit";
/// Hides which key a slot is sealed to: `KEM secret ‖ KEM ciphertext`.
pub(crate) const HINT: &str = "kith 2026-11 hint";
/// The Noise pre-shared key: `KEM secret ‖ reply secret`.
pub(crate) const PSK: &str = "kith 2026-11 psk";
/// Names everything of an envelope but its Noise messages: `header ‖ all (KEM ciphertext ‖ hint) ‖ BLAKE3(body)`.
pub(crate) const TRANSCRIPT: &str = "kith 2026-11 transcript";
/// Names a letter apart from its contact mac: `head ‖ BLAKE3(content)`.
pub(crate) const LETTER: &str = "kith 2026-11 letter";
/// The key of the contact mac: the seed that the recipient gave to the contact.
pub(crate) const CONTACT: &str = "kith 2026-11 contact";

/// The master key: the seed of the 24 words.
pub(crate) const MASTER: &str = "kith 2026-11 master";
/// The X25519 key that backups are sealed to: the seed of the 24 words.
pub(crate) const BACKUP: &str = "kith 2026-11 backup";
/// The ML-KEM seed (64 bytes) that backups are sealed to: the seed of the 24 words.
pub(crate) const BACKUP_KEM: &str = "kith 2026-11 backup ml-kem";
/// The factor that blinds a key: `key ‖ u32 week`.
pub(crate) const BLIND: &str = "kith 2026-11 blind";
/// The nonce prefix of a blinded key: `nonce prefix ‖ u32 week`.
pub(crate) const BLIND_NONCE: &str = "kith 2026-11 blind nonce";
/// Encrypts a record: `address ‖ u32 week`.
pub(crate) const RECORD_KEY: &str = "kith 2026-11 record";
/// Shifts a record's sequence, so that the records of one owner signed at one time do not show it: `address ‖ u32 week`.
pub(crate) const RECORD_SEQUENCE: &str = "kith 2026-11 record sequence";

/// The key of a contact's stamps: the seed that the recipient gave to the contact.
pub(crate) const STAMP_KEY: &str = "kith 2026-11 stamp key";
/// Answers a relay's challenge: `nonce ‖ envelope's name ‖ the bytes asked for`.
pub(crate) const AUDIT: &str = "kith 2026-11 audit";

/// Signatures of the master key over account certificates.
pub(crate) const ACCOUNT: &[u8] = b"kith/acct/1";
/// Signatures of a week's blinded master key over that week's record key.
pub(crate) const EPOCH: &[u8] = b"kith/epoch/1";
/// Signatures of the master key over tombstones.
pub(crate) const TOMBSTONE: &[u8] = b"kith/tomb/1";
/// Signatures of the operations key over cards.
pub(crate) const CARD: &[u8] = b"kith/card/1";
/// Signatures of a week's record key over records.
pub(crate) const RECORD: &[u8] = b"kith/rec/1";
/// Signatures of a queue's key over what its owner asks of the node that keeps it.
pub(crate) const QUEUE: &[u8] = b"kith/queue/1";
/// Signatures of a node's key over what it keeps for a queue.
pub(crate) const STORED: &[u8] = b"kith/stored/1";
/// Begins what the name of a record in the directory is the hash of.
pub(crate) const DIRECTORY: &[u8] = b"kith record";
/// Begins the Noise prologue of a slot.
pub(crate) const LETTER_PROLOGUE: &[u8] = b"kith/letter/1";
/// Begins what a contact mac covers.
pub(crate) const CONTACT_MAC: &[u8] = b"kith/contact/1";

/// Begins what a stamp is the keyed hash of.
pub(crate) const STAMP: &[u8] = b"kith/stamp/1";
/// Begins the challenge that strangers work on.
pub(crate) const WORK: &[u8] = b"kith/pow/1";

/// `blake3::derive_key(context, parts…)`: 32 bytes of key from secret parts.
pub(crate) fn derive(context: &str, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut hasher = Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    let key = Zeroizing::new(*hasher.finalize().as_bytes());
    hasher.zeroize();
    key
}

/// As [`derive()`], for keys of other lengths.
pub(crate) fn derive_into(context: &str, parts: &[&[u8]], key: &mut [u8]) {
    let mut hasher = Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    let mut reader = hasher.finalize_xof();
    reader.fill(key);
    reader.zeroize();
    hasher.zeroize();
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 16] = [
        BODY,
        COMMIT,
        HINT,
        PSK,
        TRANSCRIPT,
        LETTER,
        CONTACT,
        MASTER,
        BACKUP,
        BACKUP_KEM,
        BLIND,
        BLIND_NONCE,
        RECORD_KEY,
        RECORD_SEQUENCE,
        AUDIT,
        STAMP_KEY,
    ];
    const SIGNATURES: [&[u8]; 7] = [ACCOUNT, EPOCH, TOMBSTONE, CARD, RECORD, QUEUE, STORED];
    /// Written in front of what they separate, without their length.
    const PREFIXES: [&[u8]; 5] = [LETTER_PROLOGUE, CONTACT_MAC, DIRECTORY, STAMP, WORK];

    #[test]
    fn no_two_purposes_share_a_string() {
        let all: Vec<_> = KEYS.iter().map(|key| key.as_bytes()).chain(SIGNATURES).chain(PREFIXES).collect();
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn no_prefix_is_the_beginning_of_another_string() {
        // Contexts of keys go through BLAKE3's own mode and those of signatures carry their length: they may begin alike.
        for (i, prefix) in PREFIXES.iter().enumerate() {
            for (j, other) in PREFIXES.iter().chain(&SIGNATURES).enumerate() {
                assert!(i == j || !other.starts_with(prefix));
            }
        }
        assert!(SIGNATURES.iter().all(|context| u8::try_from(context.len()).is_ok()));
    }

    #[test]
    fn parts_are_hashed_as_one_string() {
        assert_eq!(*derive(BODY, &[b"ab", b"c"]), blake3::derive_key(BODY, b"abc"));
    }
}
