//! Whose letter an opened one is: the key that sealed it, the cards that list keys, and the contact mac together.

use super::OpenedLetter;
use crate::address::Address;
use crate::correspondent::{Correspondent, Proof};
use crate::event::Wall;

/// What a verified card says about the devices that may write in its owner's name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CardDevices {
    /// Whose card.
    pub address: Address,
    /// Generation and sequence: the greater card counts.
    pub order: (u32, u64),
    /// When it came into force.
    pub not_before: Wall,
    /// The static X25519 keys of the devices.
    pub identities: Vec<[u8; 32]>,
}

impl CardDevices {
    fn lists(&self, identity: &[u8; 32]) -> bool {
        self.identities.contains(identity)
    }
}

/// Whether the device that sealed a letter still is its owner's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeviceStanding {
    /// The best known card lists it.
    Listed,
    /// A newer card does not list it any more, and the letter says that it is older than that card: shown as "device since removed".
    Removed,
}

/// A proven sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SenderGrade {
    /// What the device is.
    pub device: DeviceStanding,
    /// What the contact mac says.
    pub proof: Proof,
    /// The card inside the letter is newer than the one that was known: keep it.
    pub card_is_newer: bool,
}

/// The letter is not from the address that it claims to be from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SenderError {
    /// A card or a correspondent of another address was compared.
    #[error("the card is another mailbox's")]
    WrongCard,
    /// No valid card of the address lists the key that sealed the letter.
    #[error("the letter is sealed by a key that its sender's card does not list")]
    WrongKey,
}

/// Judges an opened letter to `us`. `enclosed` is the card inside the letter, verified under the letter's `from`; `known` the best card known before,
/// verified likewise; `correspondent` what is kept about `from`, if anything.
///
/// A stolen device can date a letter back: until its owner's contacts see the card without it, it is listed, and afterwards what it writes shows as
/// [`DeviceStanding::Removed`]. A new generation of the operations key ends that too.
///
/// # Errors
/// [`SenderError`]: the letter is dropped.
pub fn verify_sender(
    letter: &OpenedLetter,
    us: &Address,
    enclosed: &CardDevices,
    known: Option<&CardDevices>,
    correspondent: Option<&Correspondent>,
) -> Result<SenderGrade, SenderError> {
    let from = &letter.head.from;
    if enclosed.address != *from || known.is_some_and(|card| card.address != *from) {
        return Err(SenderError::WrongCard);
    }
    if correspondent.is_some_and(|correspondent| correspondent.address() != from) {
        return Err(SenderError::WrongCard);
    }
    let card_is_newer = known.is_none_or(|known| enclosed.order > known.order);
    let best = known.filter(|_| !card_is_newer).unwrap_or(enclosed);
    let device = if best.lists(&letter.sender) {
        DeviceStanding::Listed
    } else if enclosed.lists(&letter.sender) && enclosed.order.0 == best.order.0 && letter.head.date <= best.not_before {
        DeviceStanding::Removed
    } else {
        return Err(SenderError::WrongKey);
    };
    let proof = correspondent
        .map_or(Proof::FirstContact, |correspondent| correspondent.prove(us, &letter.letter_hash, letter.head.mac.as_ref()));
    Ok(SenderGrade { device, proof, card_is_newer })
}
