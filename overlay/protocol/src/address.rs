//! A mailbox's address: 58 characters that are its public key, with a checksum that catches mistypes.
//!
//! ```text
//! version 4 bits (0) │ Ed25519 public key 256 bits   = 52 symbols of the BIP-173 alphabet, highest bit first
//! checksum 30 bits                                   =  6 symbols, bech32m (BIP-350) over "kith.alt" and the 52
//! ```
//!
//! The domain is fed to the checksum and not written: an address of another network fails here. Up to four wrong characters are always noticed.
//! [`Address::parse`] is strict and never corrects; [`Address::parse_pasted`] is for people who import an address by hand.

use core::borrow::Borrow;
use core::cell::RefCell;
use core::cmp::Ordering;
use core::fmt;

use bech32::primitives::checksum::Engine;
use bech32::{Bech32m, Checksum, Fe32, Hrp};
use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::traits::IsIdentity;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::ids::in_order;

mod mail;
mod pasted;

pub use mail::{MailAddress, MailTarget};

/// The network's name in mail addresses. It never resolves in the DNS (RFC 9476).
pub const DOMAIN: &str = "kith.alt";
/// Characters of an address.
pub const ADDRESS_CHARS: usize = 58;
/// Characters of its checksum, at the end.
const CHECKSUM_CHARS: usize = 6;
/// Starts the link form.
const SCHEME: &str = "kith:";

/// How many keys a thread remembers to be sound: one for each first byte, some 8 KiB.
const SOUND_MAX: usize = 256;

thread_local! {
    /// Keys that were checked before. The check takes some 60 µs, and every row of the queue and every letter names somebody, mostly the same people.
    static SOUND: RefCell<Vec<Option<[u8; 32]>>> = const { RefCell::new(Vec::new()) };
}

/// A checked mailbox address: the Ed25519 master public key (a canonical, torsion-free point).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Address(#[serde(with = "serde_bytes")] [u8; 32]);

impl Borrow<[u8; 32]> for Address {
    fn borrow(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Ord for Address {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        in_order(&self.0, &other.0)
    }
}

impl PartialOrd for Address {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

/// What is wrong with a text that should be an address: a sentence for whoever wrote it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AddressError {
    /// Too few or too many characters.
    #[error("the address has {count} characters and must have {ADDRESS_CHARS}: {}", length_advice(*count))]
    Length {
        /// How many there are.
        count: usize,
    },
    /// A character that no address has.
    #[error("the character {character:?} at place {place} is in no address (the letters b, i, o and the digit 1 are never used)")]
    Character {
        /// Which.
        character: char,
        /// Where, from 1.
        place: usize,
    },
    /// The checksum does not fit.
    #[error("the address is mistyped: its checksum does not fit; compare it with the original")]
    Checksum,
    /// An address of a kind that this version does not know.
    #[error("the address is of a newer kind (version {version}) than this program knows")]
    Version {
        /// The version that it says.
        version: u8,
    },
    /// The checksum fits but the key is none.
    #[error("the address is well written but is nobody's: there is no such key")]
    Key,
    /// It is written for another network.
    #[error("the address belongs to the network {domain}, not to {DOMAIN}")]
    OtherNetwork {
        /// The domain that it stands under.
        domain: String,
    },
    /// Not `somebody@kith.alt` nor `somebody@<58 characters>.kith.alt`.
    #[error("an address here is name@{DOMAIN} or <{ADDRESS_CHARS} characters>@{DOMAIN}")]
    Form,
    /// What was pasted can be read in more than one way.
    #[error("the address cannot be read: several of its characters are in no address")]
    Ambiguous,
}

fn length_advice(count: usize) -> String {
    let (difference, word) =
        if count < ADDRESS_CHARS { (ADDRESS_CHARS - count, "missing") } else { (count - ADDRESS_CHARS, "too many") };
    match difference {
        1 => format!("one is {word}"),
        more => format!("{more} are {word}"),
    }
}

impl Address {
    /// Reads the 58 characters, any case; neither spaces nor a domain.
    ///
    /// # Errors
    /// [`AddressError`], in this order: length, character, checksum, version, key. Nothing is corrected.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        Self::from_key(key_under(DOMAIN, text)?)
    }

    /// Reads an address that a person pasted or typed into an import field, never one that mail is sent to.
    ///
    /// White space, hyphens, soft hyphens, zero-width characters, `=` at line ends, `kith:`, `mailto:`, `<…>` and `@kith.alt` are dropped;
    /// characters that no address has are read as what they look like (`o` → `0`, `i` and `1` → `l`, `b` → `6` or `8`) where the checksum agrees.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn parse_pasted(text: &str) -> Result<Self, AddressError> {
        pasted::parse(text)
    }

    /// Reads the link form, `kith:` and the 58 characters; any case, as QR codes are upper-case.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn parse_uri(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = text.split_at_checked(SCHEME.len()).ok_or(AddressError::Form)?;
        if scheme.eq_ignore_ascii_case(SCHEME) { Self::parse(rest) } else { Err(AddressError::Form) }
    }

    /// Checks a raw public key: a canonical, torsion-free point that is not the identity.
    ///
    /// # Errors
    /// [`AddressError::Key`].
    pub fn from_key(key: [u8; 32]) -> Result<Self, AddressError> {
        let place = usize::from(key[0]);
        if SOUND.with_borrow(|sound| sound.get(place) == Some(&Some(key))) {
            return Ok(Self(key));
        }
        let point = CompressedEdwardsY(key).decompress().ok_or(AddressError::Key)?;
        if point.compress().0 != key || point.is_identity() || !point.is_torsion_free() {
            return Err(AddressError::Key);
        }
        SOUND.with_borrow_mut(|sound| {
            sound.resize(SOUND_MAX, None);
            if let Some(known) = sound.get_mut(place) {
                *known = Some(key);
            }
        });
        Ok(Self(key))
    }

    /// The address of a secret key that is at hand. Nothing needs to be checked: the base point's multiples by clamped scalars are torsion-free, and none is
    /// the identity.
    pub fn of_secret(secret: &ed25519_dalek::SigningKey) -> Self {
        Self(secret.verifying_key().to_bytes())
    }

    /// The raw public key.
    pub fn key(&self) -> &[u8; 32] {
        &self.0
    }

    /// The mail form: `<58 characters>@kith.alt`.
    pub fn mail(&self) -> String {
        format!("{self}@{DOMAIN}")
    }

    /// The link form: `kith:<58 characters>`.
    pub fn uri(&self) -> String {
        format!("{SCHEME}{self}")
    }

    /// What a QR code shows: the link form in upper case, 63 alphanumeric characters (QR version 3-M has room for 61, 4-M for 90).
    pub fn qr_text(&self) -> String {
        self.uri().to_ascii_uppercase()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Four bits of version in front: the key's bits, shifted by four, in groups of five.
        let bit = |index: usize| match index.checked_sub(4) {
            Some(index) => (self.0[index / 8] >> (7 - index % 8)) & 1,
            None => 0,
        };
        let symbols = (0..52).map(|symbol| (0..5).fold(0, |value, i| value << 1 | bit(symbol * 5 + i)));
        let mut text = String::with_capacity(ADDRESS_CHARS);
        let mut engine = engine(DOMAIN).ok_or(fmt::Error)?;
        for value in symbols {
            let symbol = Fe32::try_from(value).map_err(|_| fmt::Error)?;
            engine.input_fe(symbol);
            text.push(symbol.to_char());
        }
        engine.input_target_residue();
        for index in (0..CHECKSUM_CHARS).rev() {
            let value = (engine.residue() >> (5 * index)) & 31;
            text.push(Fe32::try_from(value as u8).map_err(|_| fmt::Error)?.to_char());
        }
        f.pad(&text)
    }
}

impl core::str::FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let key = <[u8; 32] as serde_bytes::Deserialize>::deserialize(deserializer)?;
        Self::from_key(key).map_err(D::Error::custom)
    }
}

fn engine(domain: &str) -> Option<Engine<Bech32m>> {
    let mut engine = Engine::<Bech32m>::new();
    engine.input_hrp(Hrp::parse(domain).ok()?);
    Some(engine)
}

/// The key that 58 characters spell when they are meant for `domain`.
fn key_under(domain: &str, text: &str) -> Result<[u8; 32], AddressError> {
    let count = text.chars().count();
    if count != ADDRESS_CHARS {
        return Err(AddressError::Length { count });
    }
    let mut engine = engine(domain).ok_or_else(|| AddressError::OtherNetwork { domain: domain.to_owned() })?;
    let mut key = [0; 32];
    let mut version = 0;
    for (place, character) in text.chars().enumerate() {
        let symbol = Fe32::from_char(character.to_ascii_lowercase())
            .map_err(|_| AddressError::Character { character, place: place + 1 })?;
        engine.input_fe(symbol);
        if place == 0 {
            version = symbol.to_u8() >> 1;
        }
        for bit in 0..5 {
            // Bits 0 to 3 are the version; what follows bit 259 is the checksum.
            let Some(index) = (place * 5 + bit).checked_sub(4).filter(|index| *index < 256) else { continue };
            key[index / 8] |= (symbol.to_u8() >> (4 - bit) & 1) << (7 - index % 8);
        }
    }
    if *engine.residue() != Bech32m::TARGET_RESIDUE {
        return Err(AddressError::Checksum);
    }
    if version != 0 {
        return Err(AddressError::Version { version });
    }
    Ok(key)
}

#[cfg(test)]
mod tests;
