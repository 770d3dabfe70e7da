//! What an account keeps about each address it exchanges letters with: the keys for the next letters both ways, and how far the other side has
//! proven itself.
//!
//! **Reply keys** make letters secret one by one: each letter brings fresh ones, the answer is sealed to one of them, and whoever issued it erases it
//! when the answer is filed. Losing them costs time, never a letter: a letter without receipt is sealed again, to the week's prekey.
//!
//! **Seeds** make contacts: each side gives the other one, and a letter proves itself with a mac under the seed that its recipient gave. Once one
//! such mac was seen, a letter without it is not taken for the contact's.

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::address::Address;
use crate::codec::{self, DecodeError, EncodeError};
use crate::event::Wall;
use crate::ids::{KeyId, PeerId};
use crate::letter::{self, Head, ReplyKey, Stamps};
use crate::limits::{
    CORRESPONDENT_BYTES_MAX, HELD_KEY_AGE_MS_MAX, HELD_KEYS_MAX, HELD_KEYS_PER_DEVICE_MAX, ISSUED_KEY_AGE_MS_MAX,
    ISSUED_KEYS_MAX, REPLY_KEYS_EACH, STAMP_QUOTA, STAMP_QUOTA_MAX, USED_KEY_IDS_MAX,
};
use crate::noise;
use crate::secret::Secret;
use crate::stamp::{Stamp, Used};

const VERSION: u8 = 1;

/// How far a correspondent has proven itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Standing {
    /// No letter of its has carried a mac under our seed yet: it is who its sealing says.
    Unproven,
    /// It has the seed that we gave it.
    Established,
    /// It had the seed, and then a letter came without: the other side lost its keys, or somebody pretends. A person has to look.
    Reset,
}

/// What a letter's mac says about its sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    /// A valid mac: the contact that was given our seed.
    Contact,
    /// No mac is due yet, and none that could be checked is there.
    FirstContact,
    /// The mac that is due is missing or wrong: "keys were reset – verify again".
    KeysReset,
}

/// The secret half of a reply key that this account issued.
#[derive(Clone, Debug)]
pub struct ReplySecret {
    /// The X25519 secret key.
    pub private: Secret,
    /// Goes into the pre-shared key.
    pub secret: Secret,
    /// The only address whose letter may be sealed to it.
    pub issued_to: Address,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct IssuedKey {
    id: KeyId,
    private: Secret,
    secret: Secret,
    issued: Wall,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct HeldKey {
    #[serde(with = "serde_bytes")]
    device: [u8; 32],
    key: ReplyKey,
    learned: Wall,
}

/// The state kept for one correspondent of one account. Persisted as one secret row of at most [`CORRESPONDENT_BYTES_MAX`] bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Correspondent {
    version: u8,
    address: Address,
    standing: Standing,
    given: Option<Secret>,
    received: Option<Secret>,
    offered: Option<Secret>,
    held: Vec<HeldKey>,
    issued: Vec<IssuedKey>,
    used: Vec<KeyId>,
    /// How many stamps a week the seed that was received is good for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quota: Option<u16>,
    #[serde(default, skip_serializing_if = "Used::is_empty")]
    stamps: Used,
}

impl Correspondent {
    /// Nothing is known of `address` but its name.
    pub fn new(address: Address) -> Self {
        Self {
            version: VERSION,
            address,
            standing: Standing::Unproven,
            given: None,
            received: None,
            offered: None,
            held: Vec::new(),
            issued: Vec::new(),
            used: Vec::new(),
            quota: None,
            stamps: Used::default(),
        }
    }

    /// The seed that this correspondent was given: its stamps are made from it.
    pub fn given_seed(&self) -> Option<&Secret> {
        self.given.as_ref()
    }

    /// Chooses the seed that this correspondent will be given: one whose marks the relays know already. Nothing changes where one was given before.
    pub fn reserve(&mut self, seed: &Secret) {
        self.given.get_or_insert_with(|| seed.clone());
    }

    /// Takes over which stamps another copy of this state has used meanwhile, of the same seed.
    pub fn merge_stamps(&mut self, other: &Self) {
        if self.received == other.received {
            self.stamps.merge(&other.stamps);
        }
    }

    /// A stamp for one letter to this correspondent, at one of the nodes that keep their letters; `None` when there is no seed, or all stamps of the week
    /// are used. It counts as used from now on.
    pub fn take_stamp(&mut self, relay: &PeerId, week: u32) -> Option<Stamp> {
        let seed = self.received.as_ref()?;
        self.stamps.take(seed, self.quota.unwrap_or(STAMP_QUOTA).min(STAMP_QUOTA_MAX), relay, week)
    }

    /// Reads a stored row.
    ///
    /// # Errors
    /// [`DecodeError`]: the row is damaged, or of another version.
    pub fn decode(row: &[u8]) -> Result<Self, DecodeError> {
        let this: Self = codec::decode(row, CORRESPONDENT_BYTES_MAX)?;
        if this.version == VERSION { Ok(this) } else { Err(DecodeError::Malformed) }
    }

    /// Writes the row.
    ///
    /// # Errors
    /// [`EncodeError`]: only a bug can cause it.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, EncodeError> {
        codec::encode(self).map(Zeroizing::new)
    }

    /// Whose state this is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// How far it has proven itself.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// The names of the reply keys that are out: for an index from name to correspondent.
    pub fn issued_keys(&self) -> impl Iterator<Item = &KeyId> {
        self.issued.iter().map(|key| &key.id)
    }

    /// The secret half of an issued reply key; `None` when it was spent, erased or never ours.
    pub fn reply_secret(&self, id: &KeyId) -> Option<ReplySecret> {
        let key = self.issued.iter().find(|key| key.id == *id)?;
        Some(ReplySecret { private: key.private.clone(), secret: key.secret.clone(), issued_to: self.address })
    }

    /// Makes the reply keys of the next letter to this correspondent: two for each letter that it answers, and in one that answers none; fewer while
    /// [`ISSUED_KEYS_MAX`] are out.
    pub fn issue(&mut self, answers: usize, now: Wall, rng: &mut impl CryptoRng) -> Vec<ReplyKey> {
        let count = answers.max(1).saturating_mul(REPLY_KEYS_EACH).min(ISSUED_KEYS_MAX.saturating_sub(self.issued.len()));
        (0..count)
            .map(|_| {
                let mut id = [0; 8];
                rng.fill_bytes(&mut id);
                // All zeros stands for the week's prekey.
                id[0] = id[0].max(u8::from(id == [0; 8]));
                let key = IssuedKey { id: KeyId(id), private: Secret::generate(rng), secret: Secret::generate(rng), issued: now };
                let public = noise::public_key(key.private.expose());
                let out = ReplyKey { id: key.id, public, secret: key.secret.clone() };
                self.issued.push(key);
                out
            })
            .collect()
    }

    /// Takes the newest unused reply key of one of its devices (named by its static key): it is used from now on, whatever becomes of the letter.
    pub fn take_reply_key(&mut self, device: &[u8; 32], now: Wall) -> Option<ReplyKey> {
        self.expire(now);
        let newest = self.held.iter().rposition(|held| held.device == *device)?;
        let key = self.held.remove(newest).key;
        self.used.push(key.id);
        let surplus = self.used.len().saturating_sub(USED_KEY_IDS_MAX);
        self.used.drain(..surplus);
        Some(key)
    }

    /// The seed to put into the next letter: until the correspondent has shown that it has it, and not while its keys are in doubt.
    pub fn offer(&mut self, rng: &mut impl CryptoRng) -> Option<Stamps> {
        if self.standing != Standing::Unproven {
            return None;
        }
        let seed = self.given.get_or_insert_with(|| Secret::generate(rng)).clone();
        Some(Stamps { seed, quota: STAMP_QUOTA })
    }

    /// The mac for a letter to this correspondent; `None` while it has given us no seed.
    pub fn mac(&self, letter_hash: &[u8; 32]) -> Option<[u8; 32]> {
        let seed = self.received.as_ref()?;
        Some(*letter::contact_mac(seed, &self.address, letter_hash).as_bytes())
    }

    /// What the mac of a letter from this correspondent to `us` proves.
    pub fn prove(&self, us: &Address, letter_hash: &[u8; 32], mac: Option<&[u8; 32]>) -> Proof {
        // blake3::Hash compares in constant time.
        let valid = match (&self.given, mac) {
            (Some(seed), Some(mac)) => letter::contact_mac(seed, us, letter_hash) == blake3::Hash::from(*mac),
            _ => false,
        };
        match (valid, self.standing) {
            (true, _) => Proof::Contact,
            (false, Standing::Unproven) => Proof::FirstContact,
            (false, Standing::Established | Standing::Reset) => Proof::KeysReset,
        }
    }

    /// Takes over what a letter from this correspondent brings, by what it proves. `device` is the static key that sealed it.
    ///
    /// A letter whose keys are in doubt brings nothing but the doubt: the reply keys held are dropped (their owner may have lost them, and to seal to
    /// the week's prekey is always right), the seed that it offers waits for [`Correspondent::accept_reset`].
    pub fn learn(&mut self, device: &[u8; 32], head: &Head, proof: Proof, now: Wall) {
        let seed = head.stamps.as_ref().map(|stamps| stamps.seed.clone());
        let quota = head.stamps.as_ref().map(|stamps| stamps.quota);
        if proof == Proof::KeysReset {
            self.standing = Standing::Reset;
            self.held.clear();
            self.offered = seed;
            return;
        }
        // Judged before another letter of the same batch proved the contact: a mac is due by now.
        if proof == Proof::FirstContact && self.standing != Standing::Unproven {
            return;
        }
        if proof == Proof::Contact {
            self.standing = Standing::Established;
            self.offered = None;
        }
        if seed.is_some() {
            if self.received != seed {
                self.stamps = Used::default();
            }
            (self.received, self.quota) = (seed, quota);
        }
        for key in &head.reply_keys {
            self.hold(device, key, now);
        }
        self.expire(now);
    }

    fn hold(&mut self, device: &[u8; 32], key: &ReplyKey, now: Wall) {
        let known = self.used.contains(&key.id) || self.held.iter().any(|held| held.key.id == key.id);
        if known || key.id == KeyId::WEEKLY || !noise::contributes(&key.public) {
            return;
        }
        self.held.push(HeldKey { device: *device, key: key.clone(), learned: now });
        let of_device = || self.held.iter().enumerate().filter(|(_, held)| held.device == *device);
        if of_device().count() > HELD_KEYS_PER_DEVICE_MAX
            && let Some((oldest, _)) = of_device().next()
        {
            self.held.remove(oldest);
        }
        let surplus = self.held.len().saturating_sub(HELD_KEYS_MAX);
        self.held.drain(..surplus);
    }

    /// Erases an issued reply key, as soon as the letter that was sealed to it is durably filed. Tells whether it was there.
    pub fn spend(&mut self, id: &KeyId) -> bool {
        let before = self.issued.len();
        self.issued.retain(|key| key.id != *id);
        self.issued.len() != before
    }

    /// A person has checked that the other side really lost its keys: start over with what it offered, and give it a new seed.
    pub fn accept_reset(&mut self) {
        if self.standing == Standing::Reset {
            self.standing = Standing::Unproven;
            self.received = self.offered.take();
            (self.quota, self.stamps) = (None, Used::default());
            self.given = None;
        }
    }

    /// Drops reply keys that are too old. A clock that jumped ahead drops them early, which costs their letters one more sealing, no more.
    pub fn expire(&mut self, now: Wall) {
        self.held.retain(|held| now.0.saturating_sub(held.learned.0) <= HELD_KEY_AGE_MS_MAX);
        self.issued.retain(|key| now.0.saturating_sub(key.issued.0) <= ISSUED_KEY_AGE_MS_MAX);
    }
}

#[cfg(test)]
mod tests;
