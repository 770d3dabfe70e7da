//! Letters kept for others: each an opaque blob named by the envelope's hash, mentioned once by its row.

use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use kith_protocol::event::{HeldEnvelope, HeldKind};
use kith_protocol::ids::{EnvelopeId, QueueName};
use redb::ReadableTable;

use crate::blob::{BlobHash, BlobReader, Staged};
use crate::schema::{BLOBS, HELD};
use crate::{Store, StoreError, Transaction, row};

/// Bytes that [`Store::held_range`] reads at once, at most: a group of an envelope.
pub const HELD_RANGE_BYTES_MAX: u64 = kith_protocol::wire::GROUP_BYTES;
pub(crate) const HELD_ENVELOPE: &str = "a kept letter";

/// Where the bytes of a kept letter are.
#[derive(Clone, PartialEq, Eq)]
pub enum HeldBytes {
    /// In this file, which must not be changed. It is gone when the letter is: whoever has it open may read on.
    File(PathBuf),
    /// Few enough to lie in the database: at most [`crate::blob::INLINE_BYTES_MAX`].
    Inline(Vec<u8>),
}

impl std::fmt::Debug for HeldBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Inline(bytes) => write!(f, "Inline({} bytes)", bytes.len()),
        }
    }
}

impl Store {
    /// All letters kept for others, by name.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn held(&self) -> Result<Vec<HeldEnvelope>, StoreError> {
        self.read(|reader| {
            let mut held = Vec::new();
            for found in reader.table(HELD)?.iter()? {
                held.push(row::decode(found?.1.value(), HELD_ENVELOPE)?);
            }
            Ok(held)
        })
    }

    /// What is noted of a kept letter.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn held_letter(&self, envelope: &EnvelopeId) -> Result<Option<HeldEnvelope>, StoreError> {
        self.read(|reader| {
            reader.table(HELD)?.get(envelope.0)?.map(|found| row::decode(found.value(), HELD_ENVELOPE)).transpose()
        })
    }

    /// Opens a kept letter, after checking it against its name.
    ///
    /// # Errors
    /// `NotFound` where it is not kept; `Damaged` where the bytes are not what was stored.
    pub fn held_blob(&self, envelope: &EnvelopeId) -> Result<BlobReader, StoreError> {
        let kept = self.read(|reader| Ok(reader.table(HELD)?.get(envelope.0)?.is_some()))?;
        if kept { self.blob(&BlobHash(envelope.0)) } else { Err(StoreError::NotFound("the letter")) }
    }

    /// A piece of a kept letter, of at most [`HELD_RANGE_BYTES_MAX`].
    ///
    /// # Errors
    /// As [`Store::held_blob`]; `Invalid` for a range that is too long or not within the letter.
    pub fn held_range(&self, envelope: &EnvelopeId, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        let length = range.end.checked_sub(range.start).filter(|length| *length <= HELD_RANGE_BYTES_MAX);
        let mut reader = self.held_blob(envelope)?;
        let invalid = || StoreError::Invalid(format!("a range has at most {HELD_RANGE_BYTES_MAX} bytes, within the letter"));
        let length = length.filter(|_| range.end <= reader.size()).and_then(|length| usize::try_from(length).ok());
        let mut bytes = vec![0; length.ok_or_else(invalid)?];
        reader.seek(SeekFrom::Start(range.start)).map_err(|error| StoreError::of_io(&error))?;
        reader.read_exact(&mut bytes).map_err(|error| StoreError::of_io(&error))?;
        Ok(bytes)
    }

    /// The bytes of a kept letter, or the file that has them, after checking them.
    ///
    /// # Errors
    /// As [`Store::held_blob`].
    pub fn held_bytes(&self, envelope: &EnvelopeId) -> Result<HeldBytes, StoreError> {
        let mut reader = self.held_blob(envelope)?;
        let hash = BlobHash(envelope.0);
        let inline = self.read(|reader| Ok(reader.table(BLOBS)?.get(hash.0)?.is_some_and(|found| found.value().2 != 0)))?;
        if !inline {
            return Ok(HeldBytes::File(self.home().join(hash.path())));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(reader.size()).unwrap_or(0));
        reader.read_to_end(&mut bytes).map_err(|error| StoreError::of_io(&error))?;
        Ok(HeldBytes::Inline(bytes))
    }

    /// A file that has the bytes of a kept letter: the store's own where there is one, otherwise `into`, made anew with mode 0600.
    ///
    /// # Errors
    /// As [`Store::held_blob`]; `DiskFull` or `Broken` where `into` cannot be written.
    pub fn held_export(&self, envelope: &EnvelopeId, into: &Path) -> Result<PathBuf, StoreError> {
        let bytes = match self.held_bytes(envelope)? {
            HeldBytes::File(path) => return Ok(path),
            HeldBytes::Inline(bytes) => bytes,
        };
        let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(into);
        file.and_then(|mut file| file.write_all(&bytes)).map_err(|error| StoreError::of_io(&error))?;
        Ok(into.to_path_buf())
    }
}

impl Transaction<'_> {
    /// Keeps a letter for its queue, and spends the stamp that it came with. Keeping what is kept already changes nothing but the stamp.
    ///
    /// # Errors
    /// `DiskFull`; `NotFound` where the queue is not hosted (and the letter not kept as a volunteer); `Invalid` where the bytes are not
    /// those of the envelope.
    pub fn hold(&mut self, held: &HeldEnvelope, bytes: &Staged, stamp: Option<&[u8; 16]>) -> Result<(), StoreError> {
        self.need_room()?;
        if bytes.hash.0 != held.envelope.0 || bytes.size != held.size {
            return Err(StoreError::Invalid("the bytes are not those of the envelope".to_owned()));
        }
        if !matches!(held.kind, HeldKind::Volunteer(_)) && !self.is_hosted(&held.queue)? {
            return Err(StoreError::NotFound("the mailbox"));
        }
        if let Some(stamp) = stamp {
            self.spend_mark(&held.queue, stamp)?;
        }
        if self.view(HELD)?.get(held.envelope.0)?.is_some() {
            return Ok(());
        }
        let encoded = row::encode(held, HELD_ENVELOPE)?;
        self.mention(bytes)?;
        self.table(HELD)?.insert(held.envelope.0, encoded.as_slice())?;
        Ok(())
    }

    /// Notes that the owner has a letter durably, at that time of the hosting clock. The first time counts; a letter that is not kept is
    /// passed over.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn ack_held(&mut self, envelope: &EnvelopeId, at_ms: u64) -> Result<(), StoreError> {
        let found = self.view(HELD)?.get(envelope.0)?.map(|found| row::decode::<HeldEnvelope>(found.value(), HELD_ENVELOPE));
        let Some(held) = found.transpose()?.filter(|held| held.acked_ms.is_none()) else { return Ok(()) };
        let encoded = row::encode(&HeldEnvelope { acked_ms: Some(at_ms), ..held }, HELD_ENVELOPE)?;
        self.table(HELD)?.insert(envelope.0, encoded.as_slice())?;
        Ok(())
    }

    /// Keeps these letters no more; their bytes go when nothing else mentions them. Letters that are not kept are passed over.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn forget_held(&mut self, envelopes: &[EnvelopeId]) -> Result<(), StoreError> {
        for envelope in envelopes {
            let was_kept = self.table(HELD)?.remove(envelope.0)?.is_some();
            if was_kept {
                self.unmention(&BlobHash(envelope.0))?;
            }
        }
        Ok(())
    }

    pub(super) fn forget_held_for(&mut self, queue: &QueueName) -> Result<(), StoreError> {
        let mut envelopes = Vec::new();
        for found in self.view(HELD)?.iter()? {
            let held: HeldEnvelope = row::decode(found?.1.value(), HELD_ENVELOPE)?;
            if held.queue == *queue {
                envelopes.push(held.envelope);
            }
        }
        self.forget_held(&envelopes)
    }
}
