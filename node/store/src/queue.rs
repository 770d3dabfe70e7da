//! The queue: what was submitted and has not met its fate.

use kith_protocol::address::Address;
use kith_protocol::event::{EntryKind, Progress};
use kith_protocol::ids::{AccountId, EntryId, MailId};

use crate::blob::{BlobHash, Staged};
use crate::mailbox::Filing;
use crate::{Store, StoreError, Transaction};

/// RFC 3461 §4.1. `NEVER` is all false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notify {
    /// A DSN on delivery.
    pub success: bool,
    /// A DSN on failure.
    pub failure: bool,
    /// A DSN on delay.
    pub delay: bool,
}

/// A queue entry: one letter for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueEntry {
    /// Never reused.
    pub id: EntryId,
    /// The sender.
    pub account: AccountId,
    /// What it is.
    pub kind: EntryKind,
    /// The letter's name.
    pub mid: MailId,
    /// The recipient's key.
    pub recipient: Address,
    /// What the sender typed in RCPT; for DSNs and `kith queue`.
    pub typed: String,
    /// The mail as it will be sealed; `None` for node-written letters.
    pub blob: Option<(BlobHash, u64)>,
    /// Wall ms at submission.
    pub submitted_ms: i64,
    /// What the sender wants to be told.
    pub notify: Notify,
    /// RFC 3461 §4.2 ORCPT, decoded `addr-type;address`.
    pub orcpt: Option<String>,
    /// RFC 3461 §4.4 ENVID, decoded.
    pub envid: Option<String>,
    /// RFC 3461 §4.3: whole mail (`FULL`) or headers (`HDRS`, the default) in a failure DSN.
    pub ret_full: bool,
    /// Where it stands.
    pub progress: Progress,
}

/// A mail to be queued and delivered in the household, as one commit.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The sender.
    pub account: AccountId,
    /// The mail as it will be sealed.
    pub mail: Staged,
    /// The letter's name, the same for every recipient.
    pub mid: MailId,
    /// Wall ms.
    pub submitted_ms: i64,
    /// Recipients over the overlay.
    pub recipients: Vec<QueuedRecipient>,
    /// Household members: delivered in the same commit, to the account's inbox.
    pub household: Vec<(AccountId, Filing)>,
    /// RFC 3461 ENVID.
    pub envid: Option<String>,
    /// RFC 3461 RET=FULL.
    pub ret_full: bool,
}

/// One recipient over the overlay.
#[derive(Clone, Debug)]
pub struct QueuedRecipient {
    /// The key.
    pub address: Address,
    /// As typed.
    pub typed: String,
    /// RFC 3461 NOTIFY.
    pub notify: Notify,
    /// RFC 3461 ORCPT.
    pub orcpt: Option<String>,
}

impl Store {
    /// Commits a submission; `250` may be said when this returns.
    pub fn submit(&self, _submission: Submission) -> Result<Vec<EntryId>, StoreError> {
        todo!()
    }
    /// The whole queue by id; node-written letters included.
    pub fn queue(&self) -> Result<Vec<QueueEntry>, StoreError> {
        todo!()
    }
    /// One entry.
    pub fn queue_entry(&self, _id: EntryId) -> Result<Option<QueueEntry>, StoreError> {
        todo!()
    }
    /// Entries with an id greater than this, by id.
    pub fn queue_after(&self, _id: EntryId) -> Result<Vec<QueueEntry>, StoreError> {
        todo!()
    }
}

impl Transaction<'_> {
    /// Adds an entry (its `id` is ignored and given).
    pub fn enqueue(&mut self, _entry: &QueueEntry) -> Result<EntryId, StoreError> {
        todo!()
    }
    /// Replaces an entry's progress.
    pub fn put_progress(&mut self, _id: EntryId, _progress: &Progress) -> Result<(), StoreError> {
        todo!()
    }
    /// Removes an entry; its blob goes with it when nothing else mentions it. Returns what it was.
    pub fn remove_entry(&mut self, _id: EntryId) -> Result<Option<QueueEntry>, StoreError> {
        todo!()
    }
}
