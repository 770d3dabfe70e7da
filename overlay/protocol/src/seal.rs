//! Sealing a letter into an envelope, and opening it again: one slot for each device of the recipient, one stream for the letter.
//!
//! Both directions stream: memory use is three buffers of 64 KiB, whatever the size of the mail.
//!
//! For a recipient with address R and device j (its KEM key `EK_j`, its weekly key `W_j`):
//!
//! 1. `file_key`, `nonce` are random; `body_key` and `commit` are derived from both; the letter is sealed in chunks under `body_key`.
//! 2. `(kem_ct, kem_ss) = ML-KEM-768.Encaps(EK_j)`; `rs` is an unused reply key of that device, else `W_j`;
//!    `hint = AEAD(KDF(hint, kem_ss ‖ kem_ct), 0, AD = BLAKE3(body), reply key id or zeros)`.
//! 3. `T = KDF(transcript, header ‖ all (kem_ct ‖ hint) ‖ BLAKE3(body))`;
//!    `prologue_j = "kith/letter/1" ‖ R ‖ BLAKE3(EK_j) ‖ j ‖ T`: binds recipient, KEM key and every byte of the ciphertext.
//! 4. `psk = KDF(psk, kem_ss ‖ reply secret or zeros)`; `noise = Xpsk0(s, rs, psk, prologue_j).write(file_key)`.

use std::io::{self, Read, Seek, SeekFrom, Write};

use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit};
use zeroize::Zeroizing;

use crate::address::Address;
use crate::contexts;
use crate::envelope::{HINT_BYTES, SLOTS_MAX, TAG_BYTES};
use crate::event::OpenProblem;
use crate::ids::KeyId;
use crate::kem;
use crate::letter::HeadError;

mod open;
mod sender;
mod write;

pub use open::{OpenKeys, OpenedLetter, Prekey, open};
pub use sender::{CardDevices, DeviceStanding, SenderError, SenderGrade, verify_sender};
pub use write::{Content, Device, SealRequest, Sealed, seal};

/// How much is hashed at a time.
const BUFFER_BYTES: usize = 64 * 1024;

/// Why a letter could not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The recipient's card lists no device, or more than [`SLOTS_MAX`].
    #[error("the recipient's card lists {0} devices where 1 to {SLOTS_MAX} are needed")]
    Devices(usize),
    /// A key in the recipient's card is none.
    #[error("a key in the recipient's card is not usable")]
    BadKey,
    /// The letter breaks a limit.
    #[error("the letter cannot be written: {0}")]
    Head(#[from] HeadError),
    /// The mail's bytes are not the ones that were announced.
    #[error("the mail's bytes have changed since it was submitted")]
    ContentChanged,
    /// The mail could not be read.
    #[error("the mail could not be read: {0}")]
    Read(#[source] io::Error),
    /// The envelope could not be written.
    #[error("the envelope could not be written: {0}")]
    Write(#[source] io::Error),
}

/// Why an envelope did not open. Whoever sent it is told nothing.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not an envelope, or no slot opens with a key of ours: foreign, or the key is erased.
    #[error("no key of ours opens the envelope")]
    NotForUs,
    /// A slot opens but the letter was altered, or is not the one that the slot speaks of.
    #[error("the envelope was altered")]
    Altered,
    /// The letter is genuine but not written by the rules.
    #[error("the letter breaks the rules: {0}")]
    Malformed(#[source] LetterError),
    /// The envelope could not be read.
    #[error("the envelope could not be read: {0}")]
    Read(#[source] io::Error),
    /// The content could not be written.
    #[error("the content could not be written: {0}")]
    Write(#[source] io::Error),
}

/// What rule a genuine letter breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LetterError {
    /// Its head is not one.
    #[error(transparent)]
    Head(HeadError),
    /// Head and content do not fit into it, or something follows them.
    #[error("lengths do not agree")]
    Length,
    /// It is sealed to a reply key that somebody else was given.
    #[error("a reply key of somebody else's")]
    ReplyKey,
}

impl OpenError {
    /// What the delivery core counts it as.
    pub fn problem(&self) -> OpenProblem {
        match self {
            Self::NotForUs | Self::Altered => OpenProblem::NotForUs,
            Self::Malformed(_) => OpenProblem::Malformed,
            Self::Read(_) | Self::Write(_) => OpenProblem::Temporary,
        }
    }
}

/// The key that a hint is sealed under: used once, so its nonce is zero.
fn hint_cipher(kem_secret: &[u8; 32], kem_ciphertext: &[u8; kem::CIPHERTEXT_BYTES]) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new((&*contexts::derive(contexts::HINT, &[kem_secret, kem_ciphertext])).into())
}

fn seal_hint(cipher: &ChaCha20Poly1305, body_hash: &[u8; 32], id: KeyId) -> Option<[u8; HINT_BYTES]> {
    let mut hint = [0; HINT_BYTES];
    let (name, tag) = hint.split_at_mut(HINT_BYTES - TAG_BYTES);
    name.copy_from_slice(id.as_bytes());
    tag.copy_from_slice(&cipher.encrypt_inout_detached(&[0; 12].into(), body_hash, InOutBuf::from(name)).ok()?);
    Some(hint)
}

fn open_hint(cipher: &ChaCha20Poly1305, body_hash: &[u8; 32], hint: &[u8; HINT_BYTES]) -> Option<KeyId> {
    let (name, tag) = hint.split_at(HINT_BYTES - TAG_BYTES);
    let mut id = [0; HINT_BYTES - TAG_BYTES];
    id.copy_from_slice(name);
    let tag: [u8; TAG_BYTES] = tag.try_into().ok()?;
    cipher.decrypt_inout_detached(&[0; 12].into(), body_hash, InOutBuf::from(&mut id[..]), &tag.into()).ok()?;
    Some(KeyId(id))
}

fn psk(kem_secret: &[u8; 32], reply_secret: Option<&[u8; 32]>) -> Zeroizing<[u8; 32]> {
    contexts::derive(contexts::PSK, &[kem_secret, reply_secret.unwrap_or(&[0; 32])])
}

/// Binds a slot to its recipient, its KEM key, its place and the whole envelope.
fn prologue(recipient: &Address, kem_public: &[u8; kem::PUBLIC_BYTES], slot: u8, transcript: &[u8; 32]) -> Vec<u8> {
    let kem_hash = blake3::hash(kem_public);
    [contexts::LETTER_PROLOGUE, recipient.key(), kem_hash.as_bytes(), &[slot], transcript].concat()
}

/// How large a buffer is for so many bytes, of which there is one at least.
fn buffer_for(bytes: u64) -> usize {
    usize::try_from(bytes).map_or(BUFFER_BYTES, |bytes| bytes.clamp(1, BUFFER_BYTES))
}

/// Hashes `from`, of which so many bytes are expected, to its end; returns the hash and how many bytes there were.
fn hash_to_end(from: &mut impl Read, expected: u64) -> io::Result<(blake3::Hash, u64)> {
    let mut hasher = blake3::Hasher::new();
    // One byte more shows the end with the first read.
    let mut buffer = vec![0; buffer_for(expected.saturating_add(1))];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok((hasher.finalize(), hasher.count())),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
    }
}

fn seek(to: u64, file: &mut impl Seek) -> io::Result<()> {
    file.seek(SeekFrom::Start(to)).map(drop)
}

/// BLAKE3 in blocks of 64 KiB, whatever the pieces that come: twice as fast as over pieces that lie across its tree.
struct BlockHasher {
    hasher: blake3::Hasher,
    block: Zeroizing<Vec<u8>>,
}

impl BlockHasher {
    /// For so many bytes. With more it is as right, but what was cleared too late may stay in memory.
    fn new(bytes: u64) -> Self {
        Self { hasher: blake3::Hasher::new(), block: Zeroizing::new(Vec::with_capacity(buffer_for(bytes))) }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = BUFFER_BYTES - self.block.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            if now.len() == BUFFER_BYTES {
                self.hasher.update(now);
            } else {
                self.block.extend_from_slice(now);
                if self.block.len() == BUFFER_BYTES {
                    self.hasher.update(&self.block);
                    self.block.clear();
                }
            }
            bytes = later;
        }
    }

    fn finish(mut self) -> blake3::Hash {
        self.hasher.update(&self.block);
        self.hasher.finalize()
    }
}

/// Writes through to `out` and hashes what passes.
struct Hashing<W> {
    out: W,
    hasher: BlockHasher,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
