//! Opening: hash the body, find the slot, read who sealed it, then decrypt chunk by chunk.

use std::io::{Read, Seek, Write};

use super::write::transcript;
use super::{BlockHasher, LetterError, OpenError, hash_to_end, hint_cipher, open_hint, prologue, psk, seek};
use crate::address::Address;
use crate::body::{BodyKeys, ChunkError, ChunkReader};
use crate::correspondent::ReplySecret;
use crate::envelope::{COMMIT_BYTES, HEADER_BYTES, Layout, NONCE_BYTES, SLOT_BYTES, Slot};
use crate::ids::KeyId;
use crate::kem;
use crate::letter::{Head, Kind, PREFIX_BYTES};
use crate::limits::PREKEYS_MAX;
use crate::noise;
use crate::secret::Secret;

/// The secret half of one week's prekeys, expanded for use.
pub struct Prekey {
    weekly: Secret,
    kem: kem::SecretKey,
    kem_public: Box<[u8; kem::PUBLIC_BYTES]>,
}

impl Prekey {
    /// From the X25519 secret key and the ML-KEM-768 seed (takes about 70 µs).
    pub fn new(weekly: Secret, kem_seed: &[u8; kem::SEED_BYTES]) -> Self {
        let kem = kem::SecretKey::from_seed(kem_seed);
        let kem_public = Box::new(kem.public());
        Self { weekly, kem, kem_public }
    }
}

/// What opens the letters of an account on this node.
pub struct OpenKeys<'a> {
    /// The account's own address: a letter for anybody else does not open.
    pub address: Address,
    /// The live prekeys, newest first; beyond [`PREKEYS_MAX`] they are not tried.
    pub prekeys: &'a [Prekey],
}

/// An opened letter. Its sender is proven to hold `sender`'s secret key; whose key that is, [`super::verify_sender`] tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenedLetter {
    /// The static key of the device that sealed it.
    pub sender: [u8; 32],
    /// Its head, within all limits.
    pub head: Head,
    /// What it is.
    pub kind: Kind,
    /// BLAKE3 of the content.
    pub content_hash: [u8; 32],
    /// What the contact mac covers.
    pub letter_hash: [u8; 32],
    /// The reply key that it was sealed to: to be erased in the commit that files it.
    pub reply_key: Option<KeyId>,
}

/// Opens an envelope of `size` bytes that begins at the start of `envelope`, and writes its content to `content`.
///
/// `reply_secret` finds the issued reply key of a name, over all correspondents of the account.
///
/// **Nothing in `content` may be used unless this returns `Ok`**: it is written while the letter is still being verified, and must be thrown away
/// on an error.
///
/// # Errors
/// [`OpenError`]. Whatever the bytes are: no panic, no more memory than three chunks, no more time than hashing them and trying
/// 8 slots with [`PREKEYS_MAX`] keys.
pub fn open(
    keys: &OpenKeys<'_>,
    reply_secret: impl FnMut(&KeyId) -> Option<ReplySecret>,
    mut envelope: impl Read + Seek,
    size: u64,
    content: &mut impl Write,
) -> Result<OpenedLetter, OpenError> {
    let (layout, slots, nonce, commit) = read_front(&mut envelope, size)?;
    seek(layout.body_offset(), &mut envelope).map_err(OpenError::Read)?;
    let body_bytes = size - layout.body_offset();
    let (body_hash, count) = hash_to_end(&mut envelope.by_ref().take(body_bytes), body_bytes).map_err(OpenError::Read)?;
    if count != body_bytes {
        return Err(OpenError::NotForUs);
    }

    let found = find_slot(keys, reply_secret, &layout, &slots, body_hash.as_bytes())?;
    let body_keys = BodyKeys::derive(&found.message.file_key, &nonce);
    if blake3::Hash::from(body_keys.commit) != blake3::Hash::from(commit) {
        return Err(OpenError::Altered);
    }

    seek(layout.body_offset() + (NONCE_BYTES + COMMIT_BYTES) as u64, &mut envelope).map_err(OpenError::Read)?;
    let chunks = ChunkReader::new(&body_keys, envelope.by_ref().take(body_bytes), layout.letter_bytes());
    let (head, content_hash) = read_letter(chunks, content)?;
    let malformed = |error| OpenError::Malformed(LetterError::Head(error));
    if found.issued_to.is_some_and(|owner| owner != head.from) {
        return Err(OpenError::Malformed(LetterError::ReplyKey));
    }
    Ok(OpenedLetter {
        sender: found.message.sender,
        kind: head.kind().map_err(malformed)?,
        letter_hash: head.letter_hash(&content_hash).map_err(malformed)?,
        head,
        content_hash,
        reply_key: found.reply_key,
    })
}

type Front = (Layout, Vec<Slot>, [u8; NONCE_BYTES], [u8; COMMIT_BYTES]);

fn read_front(envelope: &mut (impl Read + Seek), size: u64) -> Result<Front, OpenError> {
    // What is too short is not an envelope; any other failure is the disk's.
    let short = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => OpenError::NotForUs,
        _ => OpenError::Read(error),
    };
    seek(0, envelope).map_err(OpenError::Read)?;
    let mut header = [0; HEADER_BYTES];
    envelope.read_exact(&mut header).map_err(short)?;
    let layout = Layout::read(header, size).map_err(|_| OpenError::NotForUs)?;
    let mut slots = Vec::with_capacity(layout.slots());
    for _ in 0..layout.slots() {
        let mut slot = [0; SLOT_BYTES];
        envelope.read_exact(&mut slot).map_err(short)?;
        slots.push(Slot::read(&slot));
    }
    let (mut nonce, mut commit) = ([0; NONCE_BYTES], [0; COMMIT_BYTES]);
    envelope.read_exact(&mut nonce).and_then(|()| envelope.read_exact(&mut commit)).map_err(short)?;
    Ok((layout, slots, nonce, commit))
}

struct Found {
    message: noise::Message,
    reply_key: Option<KeyId>,
    issued_to: Option<Address>,
}

fn find_slot(
    keys: &OpenKeys<'_>,
    mut reply_secret: impl FnMut(&KeyId) -> Option<ReplySecret>,
    layout: &Layout,
    slots: &[Slot],
    body_hash: &[u8; 32],
) -> Result<Found, OpenError> {
    let transcript = transcript(layout, slots.iter(), body_hash);
    for (index, slot) in slots.iter().enumerate() {
        for prekey in keys.prekeys.iter().take(PREKEYS_MAX) {
            let kem_secret = prekey.kem.decapsulate(&slot.kem);
            // Decapsulation never fails: the hint's tag tells whether the slot is ours.
            let Some(id) = open_hint(&hint_cipher(&kem_secret, &slot.kem), body_hash, &slot.hint) else { continue };
            let reply = if id == KeyId::WEEKLY { None } else { Some(reply_secret(&id).ok_or(OpenError::NotForUs)?) };
            let private = reply.as_ref().map_or(prekey.weekly.expose(), |reply| reply.private.expose());
            let psk = psk(&kem_secret, reply.as_ref().map(|reply| reply.secret.expose()));
            let prologue = prologue(&keys.address, &prekey.kem_public, index as u8, &transcript);
            let message = noise::read(private, &psk, &prologue, &slot.noise).map_err(|_| OpenError::Altered)?;
            return Ok(Found { message, reply_key: reply.as_ref().map(|_| id), issued_to: reply.map(|reply| reply.issued_to) });
        }
    }
    Err(OpenError::NotForUs)
}

/// Reads head, content and zeros to the end; returns the head and the hash of the content.
fn read_letter(mut chunks: ChunkReader<'_, impl Read>, content: &mut impl Write) -> Result<(Head, [u8; 32]), OpenError> {
    let broken = |error| match error {
        ChunkError::Altered => OpenError::Altered,
        ChunkError::Read(error) => OpenError::Read(error),
    };
    let length_error = || OpenError::Malformed(LetterError::Length);
    let letter_bytes = chunks.left();
    // The head is shorter than a chunk, so the first one has all of it.
    let first = chunks.next_chunk().map_err(broken)?.ok_or_else(length_error)?;
    let (prefix, rest) = first.split_first_chunk::<PREFIX_BYTES>().ok_or_else(length_error)?;
    let head_bytes = usize::try_from(u32::from_le_bytes(*prefix)).unwrap_or(usize::MAX);
    let (head, mut rest) = rest.split_at_checked(head_bytes).ok_or_else(length_error)?;
    let head = Head::decode(head).map_err(|error| OpenError::Malformed(LetterError::Head(error)))?;
    if (PREFIX_BYTES + head_bytes) as u64 + head.length > letter_bytes {
        return Err(length_error());
    }

    let mut hasher = BlockHasher::new(head.length);
    let mut left = head.length;
    loop {
        let (mail, zeros) = rest.split_at(rest.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
        hasher.update(mail);
        content.write_all(mail).map_err(OpenError::Write)?;
        left -= mail.len() as u64;
        if zeros.iter().any(|byte| *byte != 0) {
            return Err(length_error());
        }
        match chunks.next_chunk().map_err(broken)? {
            Some(next) => rest = next,
            None => return Ok((head, *hasher.finish().as_bytes())),
        }
    }
}
