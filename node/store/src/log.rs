//! The log: what happened to an account's mailbox, in order. Everything else about a mailbox is a view of it.
//!
//! An entry is strict CBOR, stamped with the checksum of its row. Its offset within the account is the MODSEQ of what it changes.
//! Entries never change; a scrubbed one is gone while its offset stays used. New kinds of entries, and new fields, come with a new
//! [`crate::schema::FORMAT`].

use kith_protocol::address::Address;
use kith_protocol::codec;
use kith_protocol::ids::AccountId;
use redb::ReadableTable;
use serde::{Deserialize, Serialize};

use crate::blob::{BlobHash, Staged};
use crate::feed::Topic;
use crate::folder::ModSeq;
use crate::row::{self, Kind};
use crate::schema::{EXCERPTS, LOG, LOG_END};
use crate::{StoreError, Transaction};

/// An entry's bytes at most.
const ENTRY_BYTES_MAX: usize = 1 << 20;
/// Ranges of UIDs in one entry at most; a change of more is several entries.
pub(crate) const ENTRY_RANGES_MAX: usize = 4096;
/// Placements that one entry adds at most.
pub(crate) const ENTRY_ADDED_MAX: usize = 1000;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// A message came in (delivered, or appended by a mail program), with its first placement.
    Store(Arrival),
    /// A message was submitted.
    Send(Departure),
    /// Placements were added, changed, removed.
    Tags(Tags),
    /// Folders and subscriptions.
    Folder(FolderChange),
    /// These offsets' entries, and their messages, are gone.
    Scrub(Vec<u64>),
}

/// A message that came in. Its offset names it in [`Added`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Arrival {
    /// BLAKE3 of its bytes.
    #[serde(with = "serde_bytes")]
    pub(crate) hash: [u8; 32],
    /// Bytes.
    pub(crate) size: u64,
    /// INTERNALDATE, Unix seconds, and its minutes from UTC.
    pub(crate) date: i64,
    pub(crate) zone: i16,
    /// Unix seconds by this node's clock.
    pub(crate) clock: i64,
    /// Where it was put: the dot (folder, UID).
    pub(crate) folder: u64,
    pub(crate) uid: u32,
    /// System flags and keywords to begin with.
    pub(crate) system: u8,
    pub(crate) keywords: Vec<String>,
}

/// A message that was submitted. Holds no mention of its bytes: the queue does, until every recipient has met a fate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Departure {
    /// BLAKE3 of its bytes.
    #[serde(with = "serde_bytes")]
    pub(crate) hash: [u8; 32],
    /// Bytes.
    pub(crate) size: u64,
    /// Unix seconds by this node's clock.
    pub(crate) clock: i64,
    /// Who is to get it.
    pub(crate) recipients: Vec<Address>,
}

/// A change of the observed-remove set of placements: see [`crate::tags`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tags {
    /// Unix seconds by this node's clock.
    pub(crate) clock: i64,
    /// New dots.
    pub(crate) added: Vec<Added>,
    /// Flags of existing dots.
    pub(crate) flagged: Option<Flagged>,
    /// Dots that are gone.
    pub(crate) removed: Option<Removed>,
}

/// A message put into one more folder (COPY, MOVE).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Added {
    /// Offset of the message's `Store` entry.
    pub(crate) record: u64,
    /// The dot.
    pub(crate) folder: u64,
    pub(crate) uid: u32,
    /// Flags to begin with.
    pub(crate) system: u8,
    pub(crate) keywords: Vec<String>,
}

/// Flags added to and removed from placements of one folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Flagged {
    pub(crate) folder: u64,
    /// Inclusive ranges of UIDs, ascending.
    pub(crate) uids: Vec<(u32, u32)>,
    /// System flags to set, then to clear.
    pub(crate) set: u8,
    pub(crate) clear: u8,
    /// Keywords to add, and to remove.
    pub(crate) add: Vec<String>,
    pub(crate) remove: Vec<String>,
}

/// Placements of one folder that are gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Removed {
    pub(crate) folder: u64,
    /// Inclusive ranges of UIDs, ascending.
    pub(crate) uids: Vec<(u32, u32)>,
}

/// What happened to a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FolderChange {
    /// Made.
    Created(Created),
    /// (folder, new full name)
    Renamed(u64, String),
    /// (folder, whether it can hold messages)
    Selectable(u64, bool),
    /// Gone with its dots.
    Deleted(u64),
    /// (full name, whether it is subscribed)
    Subscribed(String, bool),
}

/// A folder that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Created {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) uid_validity: u32,
    /// [`crate::folder::Use::code`]
    pub(crate) special: Option<u8>,
    pub(crate) selectable: bool,
}

impl Entry {
    pub(crate) fn encode(&self, account: u32, offset: u64) -> Result<Vec<u8>, StoreError> {
        let body = codec::encode(self).map_err(|error| StoreError::Broken(error.to_string()))?;
        Ok(row::stamp(Kind::Log, [account.into(), offset, 0], body))
    }

    pub(crate) fn decode(account: u32, offset: u64, bytes: &[u8]) -> Result<Self, StoreError> {
        let body = row::open(Kind::Log, [account.into(), offset, 0], bytes)?;
        codec::decode(body, ENTRY_BYTES_MAX).map_err(|_| StoreError::damaged("an entry of the log"))
    }
}

impl Transaction<'_> {
    /// The offset that the account's next entry gets.
    pub(crate) fn log_end(&self, account: AccountId) -> Result<u64, StoreError> {
        Ok(self.view(LOG_END)?.get(account.0)?.map_or(1, |row| row.value()))
    }

    /// Appends an entry; its offset is the MODSEQ.
    pub(crate) fn append(&mut self, account: AccountId, entry: &Entry) -> Result<ModSeq, StoreError> {
        let offset = self.log_end(account)?;
        self.table(LOG_END)?.insert(account.0, offset + 1)?;
        let bytes = entry.encode(account.0, offset)?;
        self.table(LOG)?.insert((account.0, offset), bytes.as_slice())?;
        self.touch(Topic::Mailbox(account));
        Ok(ModSeq(offset))
    }

    /// Notes a submission in the sender's log; returns the entry's offset, for [`Transaction::scrub`].
    pub(crate) fn log_send(&mut self, account: AccountId, mail: &Staged, recipients: Vec<Address>) -> Result<u64, StoreError> {
        let entry = Departure { hash: mail.hash.0, size: mail.size, clock: self.now(), recipients };
        Ok(self.append(account, &Entry::Send(entry))?.0)
    }

    /// Removes entries; their offsets stay used.
    pub(crate) fn scrub(&mut self, account: AccountId, offsets: Vec<u64>) -> Result<(), StoreError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let mut log = self.table(LOG)?;
        for offset in &offsets {
            log.remove((account.0, *offset))?;
        }
        drop(log);
        let mut excerpts = self.table(EXCERPTS)?;
        for offset in &offsets {
            excerpts.remove((account.0, *offset))?;
        }
        drop(excerpts);
        self.forget_gists(account, &offsets)?;
        self.append(account, &Entry::Scrub(offsets))?;
        Ok(())
    }

    /// The account's mailbox goes: its log, its views, its mentions of messages.
    pub(crate) fn remove_mailbox(&mut self, account: AccountId) -> Result<(), StoreError> {
        let mut mentioned = Vec::new();
        let log = self.view(LOG)?;
        for row in log.range((account.0, 0)..=(account.0, u64::MAX))? {
            let (key, value) = row?;
            if let Entry::Store(arrival) = Entry::decode(account.0, key.value().1, value.value())? {
                mentioned.push(BlobHash(arrival.hash));
            }
        }
        drop(log);
        for hash in mentioned {
            self.unmention(&hash)?;
        }
        self.clear_views(account)?;
        self.table(LOG)?.retain_in((account.0, 0)..=(account.0, u64::MAX), |_, _| false)?;
        self.table(LOG_END)?.remove(account.0)?;
        self.touch(Topic::Mailbox(account));
        Ok(())
    }
}
