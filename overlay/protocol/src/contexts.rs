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

/// Begins the Noise prologue of a slot.
pub(crate) const LETTER_PROLOGUE: &[u8] = b"kith/letter/1";
/// Begins what a contact mac covers.
pub(crate) const CONTACT_MAC: &[u8] = b"kith/contact/1";

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_purposes_share_a_string() {
        let mut all = [BODY, COMMIT, HINT, PSK, TRANSCRIPT, LETTER, CONTACT].map(str::as_bytes).to_vec();
        all.extend([LETTER_PROLOGUE, CONTACT_MAC]);
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn parts_are_hashed_as_one_string() {
        assert_eq!(*derive(BODY, &[b"ab", b"c"]), blake3::derive_key(BODY, b"abc"));
    }
}
