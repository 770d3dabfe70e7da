//! The names things go by: fixed-size newtypes, so that no two of them can be mixed up.
//!
//! Whoever adds a name here says what it names, who chooses it and how long it lives.

use core::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// How a name begins: its first eight bytes, which compare as they do.
#[inline]
pub(crate) fn lead<const N: usize>(name: &[u8; N]) -> u64 {
    name.first_chunk().map_or(0, |lead| u64::from_be_bytes(*lead))
}

/// Compares names as their bytes compare. The first eight decide nearly always, and need no call: maps of names are searched all the time.
#[inline]
pub(crate) fn in_order<const N: usize>(one: &[u8; N], other: &[u8; N]) -> Ordering {
    lead(one).cmp(&lead(other)).then_with(|| one.cmp(other))
}

macro_rules! bytes_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub struct $name(#[serde(with = "serde_bytes")] pub [u8; $len]);

        impl Ord for $name {
            #[inline]
            fn cmp(&self, other: &Self) -> Ordering {
                in_order(&self.0, &other.0)
            }
        }

        impl PartialOrd for $name {
            #[inline]
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl $name {
            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// Reads the name from exactly its length of bytes; `None` for any other length.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// The first four bytes in hexadecimal: enough to tell two apart in a log, not enough to look one up.
            pub fn short(&self) -> String {
                self.0.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!(stringify!($name), "({}…)"), self.short())
            }
        }
    };
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $int:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
        pub struct $name(pub $int);
    };
}

bytes_id!(
    /// A node on the overlay: its raw Ed25519 public key, the one its connections are authenticated by.
    /// Unrelated to every mailbox key. 32 bytes.
    PeerId,
    32
);
bytes_id!(
    /// Where letters for one mailbox wait at one node: `BLAKE3(queue public key)[..16]`, random per node. 16 bytes.
    QueueName,
    16
);
bytes_id!(
    /// `BLAKE3(envelope)`: what nodes call a sealed envelope on the wire. Changes when a letter is sealed anew. 32 bytes.
    EnvelopeId,
    32
);
bytes_id!(
    /// Chosen at submission, inside the letter, survives re-sealing: what the recipient de-duplicates by. 16 bytes.
    MailId,
    16
);
bytes_id!(
    /// A reply key: chosen at random by whoever issues it, known to the one correspondent it was issued to. 8 bytes.
    KeyId,
    8
);

impl KeyId {
    /// Stands for no reply key: the slot is sealed to the week's prekey.
    pub const WEEKLY: Self = Self([0; 8]);
}

number_id!(
    /// An entry of the sender's queue: one letter for one recipient. Given by the store, never reused.
    EntryId,
    u64
);
number_id!(
    /// An account of this node. Given by the store, never reused.
    AccountId,
    u32
);
number_id!(
    /// Ties an answer to the effect that asked for it. Given by the delivery core, unique for the life of the process.
    Op,
    u64
);
number_id!(
    /// A set of writes that becomes durable as one. Given by the delivery core, unique for the life of the process.
    BatchId,
    u64
);
number_id!(
    /// An offer that a peer made to us and that waits for our answer. Given by the network, unique for the life of the process.
    Token,
    u64
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_are_in_the_order_of_their_bytes(one: [u8; 16], other: [u8; 16], same in 0_usize..=16) {
            let mut alike = one;
            alike[same..].copy_from_slice(&other[same..]);
            for other in [other, alike] {
                prop_assert_eq!(QueueName(one).cmp(&QueueName(other)), one.cmp(&other));
                prop_assert_eq!(KeyId(first(one)).cmp(&KeyId(first(other))), first(one).cmp(&first(other)));
            }
        }
    }

    fn first(bytes: [u8; 16]) -> [u8; 8] {
        *bytes.first_chunk().unwrap()
    }
}
