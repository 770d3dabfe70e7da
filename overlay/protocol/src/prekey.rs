//! The keys of a week: what letters are sealed to when no reply key is at hand, and when they are erased.
//!
//! ```text
//! NEW ──(a card that lists it lies with enough nodes)──▶ CURRENT ──(the next one's does)──▶ GRACE ──(14 days by both clocks)──▶ erased
//! ```
//!
//! An owner who is away stays with CURRENT, so that no letter is lost. Erasing too early loses letters, too late costs secrecy: so it takes both
//! the calendar and the time that was really measured. While the machine is off, nothing measures; then the calendar is believed for
//! [`DOWNTIME_MS_MAX`] a start at most.

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

use crate::blinding::week_of;
use crate::codec::{DecodeError, EncodeError};
use crate::event::{Mono, Now, Wall};
use crate::kem;
use crate::keys::{Row, VERSION};
use crate::limits::PREKEYS_MAX;
use crate::noise;
use crate::seal;
use crate::secret::Secret;

/// How long a replaced prekey still opens letters: 14 days, in ms.
pub const GRACE_MS: u64 = 14 * 86_400_000;
/// How much of the time for which the process was down is believed, in ms: two days.
pub const DOWNTIME_MS_MAX: u64 = 2 * 86_400_000;
/// An age is written down again when it has grown by this much: one hour, in ms.
const AGE_STEP_MS: u64 = 3_600_000;

/// Where a prekey stands in its life. On disk: the number of the variant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum State {
    /// Made; no card that lists it is known to be out.
    New,
    /// What a newcomer seals to.
    Current,
    /// Replaced; letters may still be under way to it.
    Grace,
}

/// The secret half of one week's keys. Erased when dropped.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prekey {
    version: u8,
    /// The week that it was made in: its name.
    pub week: u32,
    /// Where it stands.
    pub state: State,
    x25519: Secret,
    kem_d: Secret,
    kem_z: Secret,
    replaced: Wall,
    grace_ms: u64,
    aged_at: Wall,
}

impl Prekey {
    fn generate(week: u32, wall: Wall, rng: &mut impl CryptoRng) -> Self {
        Self {
            version: VERSION,
            week,
            state: State::New,
            x25519: Secret::generate(rng),
            kem_d: Secret::generate(rng),
            kem_z: Secret::generate(rng),
            replaced: wall,
            grace_ms: 0,
            aged_at: wall,
        }
    }

    /// The public halves, for a card.
    pub fn public(&self) -> PublicPrekey {
        PublicPrekey {
            x25519: noise::public_key(self.x25519.expose()),
            kem: Box::new(kem::SecretKey::from_seed(&self.kem_seed()).public()),
        }
    }

    /// The key, expanded for opening letters (takes about 70 µs).
    pub fn expand(&self) -> seal::Prekey {
        seal::Prekey::new(self.x25519.clone(), &self.kem_seed())
    }

    fn kem_seed(&self) -> zeroize::Zeroizing<[u8; kem::SEED_BYTES]> {
        let mut seed = zeroize::Zeroizing::new([0; kem::SEED_BYTES]);
        seed[..32].copy_from_slice(self.kem_d.expose());
        seed[32..].copy_from_slice(self.kem_z.expose());
        seed
    }

    fn is_over(&self, wall: Wall) -> bool {
        let by_calendar = u64::try_from(wall.0.saturating_sub(self.replaced.0)).unwrap_or(0);
        self.state == State::Grace && self.grace_ms >= GRACE_MS && by_calendar >= GRACE_MS
    }
}

impl Row for Prekey {
    fn version(&self) -> u8 {
        self.version
    }
}

/// The public halves of a prekey.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicPrekey {
    /// The week's X25519 key.
    pub x25519: [u8; 32],
    /// The week's ML-KEM-768 key.
    pub kem: Box<[u8; kem::PUBLIC_BYTES]>,
}

/// What has to be written after a change, as one: rows by week.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    /// Rows to write.
    pub written: Vec<u32>,
    /// Rows to erase. The keys are gone from memory already.
    pub erased: Vec<u32>,
}

impl Changes {
    /// Whether nothing has to be written.
    pub fn is_empty(&self) -> bool {
        self.written.is_empty() && self.erased.is_empty()
    }
}

/// The live prekeys of an account on this node, oldest first; at most [`PREKEYS_MAX`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Prekeys {
    keys: Vec<Prekey>,
    last: Option<Mono>,
}

impl Prekeys {
    /// Takes the rows that were written.
    ///
    /// # Errors
    /// [`DecodeError`]: a row is damaged, or of another version.
    pub fn from_rows<'a>(rows: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, DecodeError> {
        let mut keys = rows.into_iter().map(Prekey::from_row).collect::<Result<Vec<_>, _>>()?;
        // By life first: a clock that was set back gives a younger key a smaller week.
        keys.sort_by_key(|key| (core::cmp::Reverse(key.state as u8), key.replaced, key.week));
        Ok(Self { keys, last: None })
    }

    /// The row of a week.
    ///
    /// # Errors
    /// [`EncodeError`]: only a bug can cause it.
    pub fn row(&self, week: u32) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>, EncodeError> {
        self.keys.iter().find(|key| key.week == week).map(Row::to_row).transpose()
    }

    /// The weeks of the live keys, oldest first.
    pub fn weeks(&self) -> impl Iterator<Item = u32> + '_ {
        self.keys.iter().map(|key| key.week)
    }

    /// The key that the next card lists: the newest.
    pub fn newest(&self) -> Option<&Prekey> {
        self.keys.last()
    }

    /// The live keys for opening letters, newest first.
    pub fn expand(&self) -> Vec<seal::Prekey> {
        self.keys.iter().rev().map(Prekey::expand).collect()
    }

    /// Makes the key of a new week, if one is due: the calendar shows a week that has none, the last key is in use, and fewer than [`PREKEYS_MAX`]
    /// are alive. A card that lists it has to follow.
    pub fn rotate(&mut self, wall: Wall, rng: &mut impl CryptoRng) -> Changes {
        let week = week_of(wall);
        let pending = self.keys.iter().any(|key| key.state == State::New);
        if pending || self.keys.len() >= PREKEYS_MAX || self.weeks().any(|known| known == week) {
            return Changes::default();
        }
        self.keys.push(Prekey::generate(week, wall, rng));
        Changes { written: vec![week], erased: Vec::new() }
    }

    /// The card that lists the key of `week` is out: at enough nodes of the directory and at all relays.
    pub fn published(&mut self, week: u32, wall: Wall) -> Changes {
        let mut changes = Changes::default();
        if !self.keys.iter().any(|key| key.week == week && key.state == State::New) {
            return changes;
        }
        for key in &mut self.keys {
            match key.state {
                State::New => key.state = State::Current,
                State::Current => {
                    key.state = State::Grace;
                    (key.replaced, key.aged_at, key.grace_ms) = (wall, wall, 0);
                }
                State::Grace => continue,
            }
            changes.written.push(key.week);
        }
        changes
    }

    /// Lets time pass; to be called at start and then at least hourly. Erases what is over by both clocks.
    pub fn age(&mut self, now: Now) -> Changes {
        let measured = self.last.map(|last| now.mono.0.saturating_sub(last.0));
        let mut changes = Changes::default();
        for key in self.keys.iter_mut().filter(|key| key.state == State::Grace) {
            let off = u64::try_from(now.wall.0.saturating_sub(key.aged_at.0)).unwrap_or(0).min(DOWNTIME_MS_MAX);
            let before = key.grace_ms;
            key.grace_ms = before.saturating_add(measured.unwrap_or(off));
            key.aged_at = now.wall;
            // What is written at start carries the downtime; afterwards once an hour will do.
            if measured.is_none() || before / AGE_STEP_MS != key.grace_ms / AGE_STEP_MS {
                changes.written.push(key.week);
            }
        }
        self.last = Some(now.mono);
        changes.erased = self.keys.iter().filter(|key| key.is_over(now.wall)).map(|key| key.week).collect();
        self.keys.retain(|key| !key.is_over(now.wall));
        changes.written.retain(|week| !changes.erased.contains(week));
        changes
    }
}

#[cfg(test)]
mod tests;
