//! Sealing: body first, while it is hashed; then the slots, which name that hash.

use std::io::{self, Read, Seek, Write};

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::{BlockHasher, Hashing, SealError, hash_to_end, hint_cipher, prologue, psk, seal_hint, seek};
use crate::address::Address;
use crate::body::{BodyKeys, ChunkWriter};
use crate::contexts;
use crate::correspondent::Correspondent;
use crate::envelope::{Layout, NONCE_BYTES, SLOTS_MAX, Slot};
use crate::event::{Ladder, Wall};
use crate::ids::{EnvelopeId, KeyId, MailId};
use crate::kem;
use crate::letter::{Head, Kind, PREFIX_BYTES, ReplyKey};
use crate::noise;

/// The keys of one device of the recipient, as its card lists them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// Its static X25519 key: names the device that a reply key is for.
    pub identity: [u8; 32],
    /// The week's X25519 key.
    pub weekly: [u8; 32],
    /// The week's ML-KEM-768 key.
    pub kem: Box<[u8; kem::PUBLIC_BYTES]>,
}

/// All that a letter needs beside its content.
pub struct SealRequest<'a> {
    /// The static X25519 secret key of the sending device.
    pub device: &'a [u8; 32],
    /// The sender.
    pub from: Address,
    /// The sender's current card, signed; it must list the sending device.
    pub card: &'a [u8],
    /// The recipient's devices, 1 to 8, from its verified card.
    pub devices: &'a [Device],
    /// What is known of the recipient. Changed by success only: keys spent and issued, to be committed before the envelope leaves.
    pub correspondent: &'a mut Correspondent,
    /// Which keys may be sealed to.
    pub ladder: Ladder,
    /// The letter's name.
    pub mid: MailId,
    /// What it is.
    pub kind: Kind,
    /// How many letters it answers: a receipt's; 0 for all else.
    pub answers: usize,
    /// When it was submitted.
    pub date: Wall,
    /// The time now: dates the keys that are issued.
    pub now: Wall,
}

/// The content of a letter.
pub struct Content<R> {
    /// Where it is read from, to its end.
    pub from: R,
    /// Its length in bytes.
    pub length: u64,
    /// Its BLAKE3 hash.
    pub hash: [u8; 32],
}

impl<'a> Content<&'a [u8]> {
    /// Content that is in memory.
    pub fn of(bytes: &'a [u8]) -> Self {
        Self { from: bytes, length: bytes.len() as u64, hash: *blake3::hash(bytes).as_bytes() }
    }
}

/// What came of sealing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sealed {
    /// `BLAKE3(envelope)`.
    pub envelope: EnvelopeId,
    /// Bytes of the envelope.
    pub size: u64,
    /// [`Ladder::Best`] when at least one slot is sealed to a reply key.
    pub ladder: Ladder,
}

/// Seals a letter into `out`, which must be empty and at its start: an envelope of [`Sealed::size`] bytes, flushed but not synced.
///
/// The same request, content and randomness give the same bytes. On an error `out` is to be thrown away.
///
/// # Errors
/// [`SealError`].
pub fn seal(
    request: SealRequest<'_>,
    content: Content<impl Read>,
    out: &mut (impl Read + Write + Seek),
    rng: &mut impl CryptoRng,
) -> Result<Sealed, SealError> {
    if request.devices.is_empty() || request.devices.len() > SLOTS_MAX {
        return Err(SealError::Devices(request.devices.len()));
    }
    let mut correspondent = request.correspondent.clone();
    let head = write_head(&request, &content, &mut correspondent, rng)?;
    let letter = (PREFIX_BYTES + head.len()) as u64 + content.length;
    let layout = Layout::for_letter(request.devices.len(), letter).map_err(|_| crate::letter::HeadError::TooLong)?;

    let mut file_key = Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut *file_key);
    let mut nonce = [0; NONCE_BYTES];
    rng.fill_bytes(&mut nonce);
    let body_hash = write_body(&layout, &file_key, &nonce, &head, content, out)?;

    let mut slots = Vec::with_capacity(layout.slots());
    for index in 0..layout.slots() {
        slots.push(match request.devices.get(index) {
            Some(device) => {
                let reply_key = match request.ladder {
                    Ladder::Best => correspondent.take_reply_key(&device.identity, request.now),
                    Ladder::Weekly => None,
                };
                OpenSlot::new(&device.kem, &device.weekly, reply_key, &body_hash, rng)?
            }
            None => OpenSlot::decoy(&body_hash, rng)?,
        });
    }
    let transcript = transcript(&layout, slots.iter().map(|slot| &slot.slot), &body_hash);
    let ladder = if slots.iter().any(|slot| slot.reply_secret.is_some()) { Ladder::Best } else { Ladder::Weekly };
    let mut front = layout.header().to_vec();
    for (index, open) in slots.iter_mut().enumerate() {
        let prologue = prologue(correspondent.address(), &open.kem_public, index as u8, &transcript);
        let psk = psk(&open.kem_secret, open.reply_secret.as_deref());
        open.slot.noise =
            noise::write(request.device, &open.recipient, &psk, &prologue, &file_key, rng).map_err(|_| SealError::BadKey)?;
        front.extend_from_slice(&open.slot.write());
    }
    let envelope = finish(&front, layout.size(), out).map_err(SealError::Write)?;
    *request.correspondent = correspondent;
    Ok(Sealed { envelope, size: layout.size(), ladder })
}

fn write_head<R>(
    request: &SealRequest<'_>,
    content: &Content<R>,
    correspondent: &mut Correspondent,
    rng: &mut impl CryptoRng,
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let mut head = Head::new(request.mid, request.date, request.from, request.card, request.kind, content.length)?;
    correspondent.expire(request.now);
    head.reply_keys = correspondent.issue(request.answers, request.now, rng);
    head.stamps = correspondent.offer(rng);
    head.mac = correspondent.mac(&head.letter_hash(&content.hash)?);
    Ok(head.encode()?)
}

/// Writes zeros where header and slots will stand, then the body; returns `BLAKE3(body)`.
fn write_body(
    layout: &Layout,
    file_key: &[u8; 32],
    nonce: &[u8; NONCE_BYTES],
    head: &[u8],
    content: Content<impl Read>,
    out: &mut impl Write,
) -> Result<[u8; 32], SealError> {
    let keys = BodyKeys::derive(file_key, nonce);
    let write = SealError::Write;
    io::copy(&mut io::repeat(0).take(layout.body_offset()), out).map_err(write)?;
    let mut out = Hashing { out, hasher: BlockHasher::new(layout.size()) };
    out.write_all(nonce).and_then(|()| out.write_all(&keys.commit)).map_err(write)?;
    let mut chunks = ChunkWriter::new(&keys, out, layout.letter_bytes());
    chunks.write(&(head.len() as u32).to_le_bytes()).and_then(|()| chunks.write(head)).map_err(write)?;
    let written = (PREFIX_BYTES + head.len()) as u64 + content.length;
    copy_content(content, &mut chunks)?;
    chunks.write_zeros(layout.letter_bytes().saturating_sub(written)).map_err(write)?;
    let out = chunks.finish().map_err(write)?;
    Ok(*out.hasher.finish().as_bytes())
}

fn copy_content(mut content: Content<impl Read>, chunks: &mut ChunkWriter<'_, impl Write>) -> Result<(), SealError> {
    let mut hasher = BlockHasher::new(content.length);
    let mut left = content.length;
    while left > 0 {
        let space = chunks.space(left).map_err(SealError::Write)?;
        match content.from.read(space) {
            Ok(0) => return Err(SealError::ContentChanged),
            Ok(count) => {
                hasher.update(&space[..count]);
                chunks.advance(count);
                left -= count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(SealError::Read(error)),
        }
    }
    // The mac in the head was made over the announced hash: other bytes would arrive as a forgery.
    if hasher.finish() == blake3::Hash::from(content.hash) { Ok(()) } else { Err(SealError::ContentChanged) }
}

/// A slot whose Noise message is still to be written, with the keys for it.
struct OpenSlot {
    slot: Slot,
    kem_public: Box<[u8; kem::PUBLIC_BYTES]>,
    kem_secret: Zeroizing<[u8; 32]>,
    recipient: [u8; 32],
    reply_secret: Option<Zeroizing<[u8; 32]>>,
}

impl OpenSlot {
    fn new(
        kem_public: &[u8; kem::PUBLIC_BYTES],
        weekly: &[u8; 32],
        reply_key: Option<ReplyKey>,
        body_hash: &[u8; 32],
        rng: &mut impl CryptoRng,
    ) -> Result<Self, SealError> {
        let (kem, kem_secret) = kem::encapsulate(kem_public, rng).map_err(|_| SealError::BadKey)?;
        let id = reply_key.as_ref().map_or(KeyId::WEEKLY, |key| key.id);
        let hint = seal_hint(&hint_cipher(&kem_secret, &kem), body_hash, id).ok_or(SealError::BadKey)?;
        Ok(Self {
            slot: Slot { kem, hint, noise: [0; noise::MESSAGE_BYTES] },
            kem_public: Box::new(*kem_public),
            kem_secret,
            recipient: reply_key.as_ref().map_or(*weekly, |key| key.public),
            reply_secret: reply_key.map(|key| Zeroizing::new(*key.secret.expose())),
        })
    }

    /// A slot sealed to keys that are thrown away: nobody can tell it from the others, nobody can open it.
    fn decoy(body_hash: &[u8; 32], rng: &mut impl CryptoRng) -> Result<Self, SealError> {
        let kem_public = kem::SecretKey::from_seed(&kem::generate_seed(rng)).public();
        let mut weekly = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *weekly);
        Self::new(&kem_public, &noise::public_key(&weekly), None, body_hash, rng)
    }
}

/// `T`: everything of an envelope that is fixed before the Noise messages are written.
pub(super) fn transcript<'a>(layout: &Layout, slots: impl Iterator<Item = &'a Slot>, body_hash: &[u8; 32]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(contexts::TRANSCRIPT);
    hasher.update(&layout.header());
    for slot in slots {
        hasher.update(&slot.kem).update(&slot.hint);
    }
    hasher.update(body_hash);
    *hasher.finalize().as_bytes()
}

/// Writes header and slots over the zeros, and names the whole by reading it once more.
fn finish(front: &[u8], size: u64, out: &mut (impl Read + Write + Seek)) -> io::Result<EnvelopeId> {
    seek(0, out)?;
    out.write_all(front)?;
    out.flush()?;
    seek(0, out)?;
    match hash_to_end(out, size)? {
        (hash, count) if count == size => Ok(EnvelopeId(*hash.as_bytes())),
        _ => Err(io::Error::other("the file for the envelope was not empty")),
    }
}
