//! What lies in the directory: a card, encrypted and signed under a key that changes every week and does not tell whose it is.
//!
//! ```text
//! 0      2   "KR"
//! 2      1   version, 1
//! 3      1   zero
//! 4      4   week, u32
//! 8      4   generation, u32
//! 12     4   sequence, u32: grows by one a second; shifted by a secret of the week
//! 16     32  A_e, the master key blinded for the week
//! 48     32  O_e, the operations key blinded for the week
//! 80     64  certificate: A_e over "kith/epoch/1", week ‖ generation ‖ O_e
//! 144    24  nonce
//! 168    n   XChaCha20-Poly1305(KDF("kith 2026-11 record", A ‖ week), nonce, AD = bytes 0..144): u16 length ‖ card ‖ zeros; tag 16
//! 168+n  64  signature: O_e over "kith/rec/1", all bytes before
//! ```
//!
//! It lies under two names, `BLAKE3("kith record" ‖ A_e ‖ 0)` and `… ‖ 1`. The layout is fixed: there is one way to write a record.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::address::Address;
use crate::blinding::{WEEK_MS, blind_public, week_of, week_start};
use crate::card::{Card, CardError};
use crate::certificate::{EpochSheet, verify_epoch};
use crate::contexts;
use crate::event::Wall;
use crate::keys::Operations;
use crate::limits::{CARD_BYTES_MAX, RECORD_BYTES_MAX, RECORD_WEEKS_AHEAD};
use crate::signed::{self, SIGNATURE_BYTES};

const MAGIC: [u8; 4] = [b'K', b'R', 1, 0];
const HEADER_BYTES: usize = 144;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
const LENGTH_BYTES: usize = 2;
/// What length and card are filled up to: a size tells the number of devices in classes only.
const PADDED_BYTES: [usize; 6] = [2048, 3072, 4096, 6144, 8192, CARD_BYTES_MAX + LENGTH_BYTES];

const _: () =
    assert!(HEADER_BYTES + NONCE_BYTES + CARD_BYTES_MAX + LENGTH_BYTES + TAG_BYTES + SIGNATURE_BYTES <= RECORD_BYTES_MAX);

/// What a storing node learns of a record it may keep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoredRecord {
    /// Orders records under one key, with `sequence`.
    pub generation: u32,
    /// Orders records of one generation.
    pub sequence: u64,
    /// When the record stops being valid, wall time: a week after its own.
    pub expires: Wall,
}

/// Why a record is not kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    /// Too long, not canonical, or not a record.
    #[error("not a record")]
    Malformed,
    /// A signature or certificate does not hold.
    #[error("a signature does not hold")]
    Forged,
    /// Lies under another key than its own.
    #[error("lies under a foreign key")]
    WrongKey,
    /// Its week is over, or too far away.
    #[error("its week is not now")]
    WrongWeek,
    /// Not newer than the one that is held.
    #[error("not newer than the one held")]
    Stale,
}

/// Why a found record gives no card.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenRecordError {
    /// The record does not hold.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// It is another mailbox's, or not signed by the card's key, or does not decrypt.
    #[error("the record is not this mailbox's")]
    NotTheirs,
    /// The card in it does not hold.
    #[error(transparent)]
    Card(#[from] CardError),
}

/// Why records could not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BuildError {
    /// The sheet has no signature for the current week.
    #[error("the signatures of the paper key have run out: the 24 words are needed")]
    SheetRunOut,
    /// Card, sheet and operations key do not belong together, or the card is the form with address hints.
    #[error("these keys and this card make no record")]
    Mismatch,
}

/// A record, ready to be put into the directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// The week in which it is looked for.
    pub week: u32,
    /// The two names under which it lies.
    pub keys: [Vec<u8>; 2],
    /// Its bytes.
    pub value: Vec<u8>,
}

/// The two names under which the record of an address lies in a week: 32 bytes each.
pub fn directory_keys(address: &Address, week: u32) -> [Vec<u8>; 2] {
    let blinded = blind_public(address.key(), week).expect("an address is a point");
    [0, 1].map(|replica| directory_key(&blinded, replica))
}

fn directory_key(blinded: &[u8; 32], replica: u8) -> Vec<u8> {
    blake3::Hasher::new().update(contexts::DIRECTORY).update(blinded).update(&[replica]).finalize().as_bytes().to_vec()
}

/// Signs the records of the current week and the 8 to come, as far as the sheet reaches. `card` is the public form; `wall` must grow from call to call.
///
/// # Errors
/// [`BuildError`].
pub fn build(
    operations: &Operations,
    sheet: &EpochSheet,
    card: &Card,
    wall: Wall,
    rng: &mut impl CryptoRng,
) -> Result<Vec<Record>, BuildError> {
    if card.has_hints() || card.operations() != &operations.public() || sheet.generation != operations.generation {
        return Err(BuildError::Mismatch);
    }
    let now = week_of(wall);
    if sheet.signature(now).is_none() {
        return Err(BuildError::SheetRunOut);
    }
    let weeks = now..=now.saturating_add(RECORD_WEEKS_AHEAD);
    weeks
        .filter_map(|week| Some((week, sheet.signature(week)?)))
        .map(|(week, certificate)| build_one(operations, &certificate, card, week, wall, rng))
        .collect()
}

fn build_one(
    operations: &Operations,
    certificate: &[u8; SIGNATURE_BYTES],
    card: &Card,
    week: u32,
    wall: Wall,
    rng: &mut impl CryptoRng,
) -> Result<Record, BuildError> {
    let address = card.address();
    let blinded = blind_public(address.key(), week).ok_or(BuildError::Mismatch)?;
    let key = operations.blinded(week);
    let mut nonce = [0; NONCE_BYTES];
    rng.fill_bytes(&mut nonce);

    let mut value = MAGIC.to_vec();
    value.extend_from_slice(&week.to_le_bytes());
    value.extend_from_slice(&operations.generation.to_le_bytes());
    value.extend_from_slice(&sequence(address, week, wall).to_le_bytes());
    value.extend_from_slice(&blinded);
    value.extend_from_slice(&key.public());
    value.extend_from_slice(certificate);

    let length = u16::try_from(card.bytes().len()).map_err(|_| BuildError::Mismatch)?;
    let mut plain = [&length.to_le_bytes(), card.bytes()].concat();
    let padded = PADDED_BYTES.into_iter().find(|size| *size >= plain.len()).ok_or(BuildError::Mismatch)?;
    plain.resize(padded, 0);
    let sealed =
        cipher(address, week).encrypt(&nonce.into(), Payload { msg: &plain, aad: &value }).map_err(|_| BuildError::Mismatch)?;
    value.extend_from_slice(&nonce);
    value.extend_from_slice(&sealed);
    let signature = key.sign(contexts::RECORD, &value);
    value.extend_from_slice(&signature);
    Ok(Record { week, keys: [0, 1].map(|replica| directory_key(&blinded, replica)), value })
}

/// Seconds since ten weeks before the week, shifted by up to a week more: grows with time for each week, and shows to nobody who does not know the
/// address that two weeks' records were signed at one time.
fn sequence(address: &Address, week: u32, wall: Wall) -> u32 {
    let shift = contexts::derive(contexts::RECORD_SEQUENCE, &[address.key(), &week.to_le_bytes()]);
    let shift = i64::from(u32::from_le_bytes([shift[0], shift[1], shift[2], shift[3]])) % (WEEK_MS / 1000);
    let elapsed = wall.0.saturating_sub(week_start(week).0).saturating_add(10 * WEEK_MS) / 1000;
    u32::try_from(elapsed + shift).unwrap_or(0)
}

fn cipher(address: &Address, week: u32) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new((&*contexts::derive(contexts::RECORD_KEY, &[address.key(), &week.to_le_bytes()])).into())
}

/// A record, taken apart. Of the right form, and nothing more until [`Parts::verify`].
struct Parts<'a> {
    week: u32,
    generation: u32,
    sequence: u32,
    blinded: [u8; 32],
    record_key: [u8; 32],
    certificate: &'a [u8; SIGNATURE_BYTES],
    header: &'a [u8],
    nonce: [u8; NONCE_BYTES],
    sealed: &'a [u8],
    /// All bytes that the signature covers.
    text: &'a [u8],
    signature: &'a [u8; SIGNATURE_BYTES],
}

impl<'a> Parts<'a> {
    fn read(value: &'a [u8]) -> Option<Self> {
        let (text, signature) = value.split_last_chunk::<SIGNATURE_BYTES>()?;
        let (header, rest) = text.split_at_checked(HEADER_BYTES)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let known = PADDED_BYTES.iter().any(|size| size + TAG_BYTES == sealed.len());
        let (magic, fields) = header.split_first_chunk::<4>()?;
        if !known || *magic != MAGIC {
            return None;
        }
        let (week, fields) = fields.split_first_chunk::<4>()?;
        let (generation, fields) = fields.split_first_chunk::<4>()?;
        let (sequence, fields) = fields.split_first_chunk::<4>()?;
        let (blinded, fields) = fields.split_first_chunk::<32>()?;
        let (record_key, fields) = fields.split_first_chunk::<32>()?;
        Some(Self {
            week: u32::from_le_bytes(*week),
            generation: u32::from_le_bytes(*generation),
            sequence: u32::from_le_bytes(*sequence),
            blinded: *blinded,
            record_key: *record_key,
            certificate: fields.first_chunk()?,
            header,
            nonce: *nonce,
            sealed,
            text,
            signature,
        })
    }

    /// Week before signatures: it costs nothing.
    fn verify(value: &'a [u8], wall: Wall) -> Result<Self, RecordError> {
        if value.len() > RECORD_BYTES_MAX {
            return Err(RecordError::Malformed);
        }
        let this = Self::read(value).ok_or(RecordError::Malformed)?;
        let now = week_of(wall);
        if this.week.saturating_add(1) < now || this.week > now.saturating_add(RECORD_WEEKS_AHEAD) {
            return Err(RecordError::WrongWeek);
        }
        let holds = verify_epoch(&this.blinded, this.week, this.generation, &this.record_key, this.certificate)
            && signed::verify(&this.record_key, contexts::RECORD, this.text, this.signature);
        if holds { Ok(this) } else { Err(RecordError::Forged) }
    }

    fn order(&self) -> (u32, u32) {
        (self.generation, self.sequence)
    }
}

/// What a storing node checks before it keeps a record under a directory key, without learning the address: size, form, key, certificate,
/// signature, week (−1…+8 of `wall`), and that it is newer than (or byte-identical to) `held`, which has been checked before.
///
/// # Errors
/// [`RecordError`]; costs two verifications (about 70 µs) at most.
pub fn check_stored(key: &[u8], value: &[u8], wall: Wall, held: Option<&[u8]>) -> Result<StoredRecord, RecordError> {
    if value.len() > RECORD_BYTES_MAX {
        return Err(RecordError::Malformed);
    }
    let front = Parts::read(value).ok_or(RecordError::Malformed)?;
    if ![0, 1].iter().any(|replica| directory_key(&front.blinded, *replica) == key) {
        return Err(RecordError::WrongKey);
    }
    let held_order = held.filter(|held| *held != value).and_then(Parts::read).map(|held| held.order());
    if held_order.is_some_and(|held| front.order() <= held) {
        return Err(RecordError::Stale);
    }
    let record = Parts::verify(value, wall)?;
    Ok(StoredRecord {
        generation: record.generation,
        sequence: record.sequence.into(),
        expires: week_start(record.week.saturating_add(2)),
    })
}

/// The card in a record that was found while looking for `address`.
///
/// # Errors
/// [`OpenRecordError`].
pub fn open(address: &Address, value: &[u8], wall: Wall) -> Result<Card, OpenRecordError> {
    let record = Parts::verify(value, wall)?;
    if blind_public(address.key(), record.week) != Some(record.blinded) {
        return Err(OpenRecordError::NotTheirs);
    }
    let plain = cipher(address, record.week)
        .decrypt(&record.nonce.into(), Payload { msg: record.sealed, aad: record.header })
        .map(Zeroizing::new)
        .map_err(|_| OpenRecordError::NotTheirs)?;
    let card = plain
        .split_first_chunk::<LENGTH_BYTES>()
        .and_then(|(length, rest)| rest.split_at_checked(u16::from_le_bytes(*length).into()))
        .filter(|(_, zeros)| zeros.iter().all(|byte| *byte == 0))
        .map(|(card, _)| card)
        .ok_or(OpenRecordError::NotTheirs)?;
    let card = Card::verify(address, card, wall)?;
    let same_key = blind_public(card.operations(), record.week) == Some(record.record_key);
    if same_key && card.order().0 == record.generation && !card.has_hints() { Ok(card) } else { Err(OpenRecordError::NotTheirs) }
}

/// The best card among all values that were found: the greatest generation and sequence that hold. Comparing it with the one that is known already is
/// up to [`Card::is_newer`].
pub fn best<'a>(address: &Address, values: impl IntoIterator<Item = &'a [u8]>, wall: Wall) -> Option<Card> {
    values.into_iter().filter_map(|value| open(address, value, wall).ok()).max_by_key(Card::order)
}

#[cfg(test)]
mod tests;
