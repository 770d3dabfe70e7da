//! A card: the one thing that says how to reach a mailbox, signed by its operations key.
//!
//! ```text
//! card = CBOR {0: account certificate (signature ‖ body), 1: body, 2: signature over the body by the operations key}
//! ```
//!
//! **Two forms of one issue.** Contacts get the form with address hints, inside letters; the directory gets the one without, so that an address does
//! not tell where its owner lives. Both are signed cards of their own. `sequence = 2 · issue + (1 with hints)`: the two have one issue, so neither is
//! a rollback of the other ([`Card::is_rollback_of`]); and the form with hints is the greater one, so that whoever keeps "the greatest" keeps it.

use core::fmt;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::address::Address;
use crate::certificate::{AccountCertificate, CertificateError};
use crate::codec::{self, DecodeError};
use crate::contexts;
use crate::event::{CardInfo, Place, PlaceKind, Wall};
use crate::ids::{PeerId, QueueName};
use crate::keys::{Operations, VERSION};
use crate::limits::{
    CARD_AGE_MS_MAX, CARD_BYTES_MAX, CARD_DEVICES_MAX, CARD_PLACES_MAX, ENVELOPE_BYTES_MAX, PLACE_ADDRESS_BYTES_MAX,
    PLACE_ADDRESSES_MAX,
};
use crate::prekey::PublicPrekey;
use crate::seal::{CardDevices, Device};
use crate::signed::{self, SIGNATURE_BYTES, Verified};
use crate::{kem, noise};

/// How long before its first day a card is taken for valid: clocks differ.
const CLOCK_ALLOWANCE_MS: i64 = 36 * 3_600_000;

/// Who may write. On the wire: the number of the variant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Strangers {
    /// Anybody.
    #[default]
    Welcome,
    /// Whoever pays with work, as the card says.
    Work,
    /// Contacts only.
    Closed,
}

/// What the owner takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Policy {
    /// Who may write.
    pub strangers: Strangers,
    /// Bytes of the largest envelope that is taken.
    pub envelope_bytes_max: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self { strangers: Strangers::default(), envelope_bytes_max: ENVELOPE_BYTES_MAX }
    }
}

/// What strangers pay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Work {
    /// Goes into the challenge; changes weekly.
    #[serde(with = "serde_bytes")]
    pub tag: [u8; 16],
    /// How much work.
    pub effort: u32,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct CardDevice {
    id: u32,
    #[serde(with = "serde_bytes")]
    identity: [u8; 32],
    #[serde(with = "serde_bytes")]
    weekly: [u8; 32],
    kem: ByteBuf,
    week: u32,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct CardPlace {
    peer: PeerId,
    queue: QueueName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    onion_key: Option<ByteBuf>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<String>,
    /// The owner's own node has no such field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    relay: Option<bool>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Body {
    version: u8,
    address: Address,
    generation: u32,
    sequence: u64,
    not_before: Wall,
    not_after: Wall,
    devices: Vec<CardDevice>,
    places: Vec<CardPlace>,
    policy: Policy,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    work: Option<Work>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moved_to: Option<Address>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    extension: Option<ByteBuf>,
}

#[derive(Serialize, Deserialize)]
struct Container {
    certificate: ByteBuf,
    body: ByteBuf,
    #[serde(with = "serde_bytes")]
    signature: [u8; SIGNATURE_BYTES],
}

/// Why a card is not believed, or cannot be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CardError {
    /// Not canonical CBOR of this shape and version, or too long.
    #[error("not a card: {0}")]
    Malformed(#[from] DecodeError),
    /// The account certificate is not one of this address.
    #[error("the card's certificate does not hold: {0}")]
    Certificate(#[from] CertificateError),
    /// Not signed by the certified key.
    #[error("the card's signature does not hold")]
    Signature,
    /// It names another address or generation than its certificate.
    #[error("the card is not the one its certificate is for")]
    Mismatch,
    /// A count, length, date or key is not within the rules.
    #[error("the card breaks the rules: {0}")]
    Rules(&'static str),
    /// Its time, or its certificate's, has not come.
    #[error("the card is not valid yet: check the clocks")]
    TooEarly,
    /// Its time, or its certificate's, is over.
    #[error("the card has run out")]
    Expired,
}

/// What goes into a new card.
#[derive(Clone, Debug)]
pub struct CardContent<'a> {
    /// Number of the issue: grows with every card of a generation.
    pub issue: u64,
    /// Valid from.
    pub not_before: Wall,
    /// Valid to, at most 60 days later.
    pub not_after: Wall,
    /// The devices, 1 to 8: number, static key, week and the week's keys.
    pub devices: &'a [(u32, [u8; 32], u32, PublicPrekey)],
    /// The nodes that take letters, best first, at most 5. Their hints go into the form for contacts only.
    pub places: &'a [Place],
    /// What is taken.
    pub policy: Policy,
    /// What strangers pay.
    pub work: Option<Work>,
    /// Where the owner has gone: shown to people, never followed unasked.
    pub moved_to: Option<Address>,
}

/// The two forms of one issue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Issued {
    /// Without hints: for the directory.
    pub public: Card,
    /// With hints: for contacts, inside letters.
    pub private: Card,
}

/// A card that was checked, and its exact bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Card {
    body: Body,
    operations: [u8; 32],
    bytes: Vec<u8>,
}

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Card").field("address", &self.body.address).field("order", &self.order()).finish_non_exhaustive()
    }
}

impl Card {
    /// Signs a new issue in its two forms. Hints are left out from the last place on where the card would be too long with them.
    ///
    /// # Errors
    /// [`CardError::Rules`] and [`CardError::Malformed`] when the content breaks the rules, [`CardError::Mismatch`] when the certificate is for
    /// another key.
    pub fn issue(
        certificate: &Verified<AccountCertificate>,
        operations: &Operations,
        content: &CardContent<'_>,
    ) -> Result<Issued, CardError> {
        let base = content.issue.checked_mul(2).ok_or(CardError::Rules("the issue"))?;
        let public = Self::sign(certificate, operations, content, base, 0)?;
        let mut with_hints = content.places.len();
        loop {
            match Self::sign(certificate, operations, content, base + 1, with_hints) {
                Err(CardError::Malformed(DecodeError::TooLong { .. })) if with_hints > 0 => with_hints -= 1,
                private => return Ok(Issued { public, private: private? }),
            }
        }
    }

    fn sign(
        certificate: &Verified<AccountCertificate>,
        operations: &Operations,
        content: &CardContent<'_>,
        sequence: u64,
        with_hints: usize,
    ) -> Result<Self, CardError> {
        let devices = content.devices.iter().map(|(id, identity, week, keys)| CardDevice {
            id: *id,
            identity: *identity,
            weekly: keys.x25519,
            kem: ByteBuf::from(keys.kem.to_vec()),
            week: *week,
        });
        let places = content.places.iter().enumerate().map(|(index, place)| CardPlace {
            peer: place.peer,
            queue: place.queue,
            onion_key: None,
            addresses: if index < with_hints { place.addresses.clone() } else { Vec::new() },
            relay: (place.kind != PlaceKind::Home).then_some(true),
        });
        let body = Body {
            version: VERSION,
            address: certificate.address,
            generation: operations.generation,
            sequence,
            not_before: content.not_before,
            not_after: content.not_after,
            devices: devices.collect(),
            places: places.collect(),
            policy: content.policy,
            work: content.work,
            moved_to: content.moved_to,
            extension: None,
        };
        body.check()?;
        if certificate.operations != operations.public() || certificate.generation != operations.generation {
            return Err(CardError::Mismatch);
        }
        let malformed = |_| CardError::Malformed(DecodeError::Malformed);
        let exact = codec::encode(&body).map_err(malformed)?;
        let signature = signed::sign(&operations.signing(), contexts::CARD, &exact);
        let container = Container { certificate: ByteBuf::from(certificate.bytes()), body: ByteBuf::from(exact), signature };
        let bytes = codec::encode(&container).map_err(malformed)?;
        if bytes.len() > CARD_BYTES_MAX {
            return Err(DecodeError::TooLong { size: bytes.len(), limit: CARD_BYTES_MAX }.into());
        }
        Ok(Self { body, operations: certificate.operations, bytes })
    }

    /// Checks a card of `address`, whatever its date.
    ///
    /// Order: container, certificate under the address, signature under the certified key, and only then the body and its rules.
    ///
    /// # Errors
    /// [`CardError`].
    pub fn verify_undated(address: &Address, bytes: &[u8]) -> Result<Self, CardError> {
        Self::verify_parts(address, bytes).map(|(card, _)| card)
    }

    /// Checks a card of `address` that is to be used now.
    ///
    /// # Errors
    /// [`CardError`]; [`CardError::Expired`] and [`CardError::TooEarly`] mean that all the rest is right.
    pub fn verify(address: &Address, bytes: &[u8], wall: Wall) -> Result<Self, CardError> {
        let (card, certificate) = Self::verify_parts(address, bytes)?;
        let soon = wall.0.saturating_add(CLOCK_ALLOWANCE_MS);
        if soon < card.body.not_before.0 || soon < certificate.not_before.0 {
            return Err(CardError::TooEarly);
        }
        if wall > card.body.not_after || !certificate.holds_at(wall) {
            return Err(CardError::Expired);
        }
        Ok(card)
    }

    fn verify_parts(address: &Address, bytes: &[u8]) -> Result<(Self, Verified<AccountCertificate>), CardError> {
        let container: Container = codec::decode(bytes, CARD_BYTES_MAX)?;
        let certificate = AccountCertificate::verify(address, &container.certificate)?;
        if !signed::verify(&certificate.operations, contexts::CARD, &container.body, &container.signature) {
            return Err(CardError::Signature);
        }
        let body: Body = codec::decode(&container.body, CARD_BYTES_MAX)?;
        if body.version != VERSION {
            return Err(DecodeError::Malformed.into());
        }
        if body.address != *address || body.generation != certificate.generation {
            return Err(CardError::Mismatch);
        }
        body.check()?;
        Ok((Self { body, operations: certificate.operations, bytes: bytes.to_vec() }, certificate))
    }

    /// The exact signed bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whose card.
    pub fn address(&self) -> &Address {
        &self.body.address
    }

    /// The operations key that signed it.
    pub fn operations(&self) -> &[u8; 32] {
        &self.operations
    }

    /// Generation and sequence: the greater card counts.
    pub fn order(&self) -> (u32, u64) {
        (self.body.generation, self.body.sequence)
    }

    /// Valid from.
    pub fn not_before(&self) -> Wall {
        self.body.not_before
    }

    /// Valid to.
    pub fn not_after(&self) -> Wall {
        self.body.not_after
    }

    /// Whether it is the form with address hints.
    pub fn has_hints(&self) -> bool {
        self.body.sequence % 2 == 1
    }

    /// What the owner takes.
    pub fn policy(&self) -> Policy {
        self.body.policy
    }

    /// What strangers pay, if anything.
    pub fn work(&self) -> Option<Work> {
        self.body.work
    }

    /// Where the owner says to have gone: for people to decide upon.
    pub fn moved_to(&self) -> Option<&Address> {
        self.body.moved_to.as_ref()
    }

    /// Whether this card takes the place of `known`.
    pub fn is_newer(&self, known: &Self) -> bool {
        self.order() > known.order()
    }

    /// Whether somebody shows an issue that is older than `known`: worth a line in the log. The other form of the same issue is not.
    pub fn is_rollback_of(&self, known: &Self) -> bool {
        let issue = |card: &Self| (card.body.generation, card.body.sequence / 2);
        issue(self) < issue(known)
    }

    /// The devices that letters are sealed to.
    pub fn devices(&self) -> Vec<Device> {
        // `Body::check` has seen that every key has its length.
        let kem = |device: &CardDevice| device.kem.as_slice().try_into().ok().map(Box::new);
        let devices = self.body.devices.iter();
        devices
            .filter_map(|device| Some(Device { identity: device.identity, weekly: device.weekly, kem: kem(device)? }))
            .collect()
    }

    /// Number, static key and prekey week of each device.
    pub fn device_weeks(&self) -> impl Iterator<Item = (u32, [u8; 32], u32)> + '_ {
        self.body.devices.iter().map(|device| (device.id, device.identity, device.week))
    }

    /// What judges the sender of a letter.
    pub fn card_devices(&self) -> CardDevices {
        CardDevices {
            address: self.body.address,
            order: self.order(),
            not_before: self.body.not_before,
            identities: self.body.devices.iter().map(|device| device.identity).collect(),
        }
    }

    /// The nodes that take letters, best first.
    pub fn places(&self) -> Vec<Place> {
        let kind = |place: &CardPlace| if place.relay.is_some() { PlaceKind::Relay } else { PlaceKind::Home };
        let place = |place: &CardPlace| Place {
            peer: place.peer,
            queue: place.queue,
            kind: kind(place),
            addresses: place.addresses.clone(),
        };
        self.body.places.iter().map(place).collect()
    }

    /// What the delivery core needs.
    pub fn info(&self, learned: Wall) -> CardInfo {
        CardInfo {
            address: self.body.address,
            generation: self.body.generation,
            sequence: self.body.sequence,
            learned,
            not_after: self.body.not_after,
            places: self.places().into(),
            work: self.body.work.map(|work| (work.tag, work.effort)),
        }
    }
}

impl Body {
    fn check(&self) -> Result<(), CardError> {
        let rule = |holds: bool, what| if holds { Ok(()) } else { Err(CardError::Rules(what)) };
        let span = self.not_after.0.checked_sub(self.not_before.0);
        rule(span.is_some_and(|span| (0..=CARD_AGE_MS_MAX).contains(&span)), "its dates")?;
        rule((1..=CARD_DEVICES_MAX).contains(&self.devices.len()), "the number of devices")?;
        rule(self.places.len() <= CARD_PLACES_MAX, "the number of places")?;
        rule(self.devices.is_sorted_by(|a, b| a.id < b.id), "the order of devices")?;
        for device in &self.devices {
            rule(device.kem.len() == kem::PUBLIC_BYTES, "the length of a key")?;
            rule(noise::contributes(&device.identity) && noise::contributes(&device.weekly), "a weak key")?;
        }
        for (index, place) in self.places.iter().enumerate() {
            rule(self.places[..index].iter().all(|other| other.peer != place.peer), "a place twice")?;
            rule(place.onion_key.as_ref().is_none_or(|key| key.len() == 32), "the length of a key")?;
            rule(self.sequence % 2 == 1 || place.addresses.is_empty(), "hints in the public form")?;
            rule(place.addresses.len() <= PLACE_ADDRESSES_MAX, "the number of hints")?;
            let printable =
                |text: &String| text.len() <= PLACE_ADDRESS_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
            rule(place.addresses.iter().all(printable), "a hint")?;
            rule(place.relay != Some(false), "a kind of place")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
