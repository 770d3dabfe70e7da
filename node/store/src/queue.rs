//! The queue: what was submitted and has not met its fate.
//!
//! An entry has two rows: what was submitted never changes, its progress does. A mail's bytes are mentioned once by every entry that carries them.

use kith_protocol::address::Address;
use kith_protocol::codec;
use kith_protocol::event::{EntryKind, Progress};
use kith_protocol::ids::{AccountId, EntryId, MailId};
use redb::ReadableTable;
use serde::{Deserialize, Serialize};

use crate::blob::{BlobHash, Staged};
use crate::feed::Topic;
use crate::folder::Use;
use crate::legacy::{LegacyEntry, LegacyProgress, LegacyRecipient};
use crate::mailbox::Filing;
use crate::schema::{PROGRESS, QUEUE};
use crate::store::Reader;
use crate::{Store, StoreError, Transaction};

/// Bytes of an entry's row, at most: what a client may send in RCPT, ORCPT and ENVID fits many times.
const ROW_BYTES_MAX: usize = 16 * 1024;
/// The kind of number that entries get.
pub(crate) const NUMBERS: &str = "entry";

/// RFC 3461 §4.1. `NEVER` is all false.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// A DSN on delivery.
    pub success: bool,
    /// A DSN on failure.
    pub failure: bool,
    /// A DSN on delay.
    pub delay: bool,
}

/// What the bytes of a person's mail are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// The mail.
    #[default]
    Mail,
    /// A mail for an ordinary address, to be sent on by the recipient's gateway: the bytes are those of a letter of kind 7.
    Outgoing,
    /// A mail that came for an ordinary address of the recipient's: the bytes are those of a letter of kind 8.
    Incoming,
}

impl Form {
    fn is_mail(&self) -> bool {
        *self == Self::Mail
    }
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
    /// More mails that a receipt confirms, beside the one of its kind; see [`Transaction::gather_receipts`].
    pub also: Vec<MailId>,
    /// What its bytes are.
    pub form: Form,
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

/// An entry as it lies in the table, without its id (the key) and progress (a row of its own).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct EntryRow {
    account: AccountId,
    kind: EntryKind,
    mid: MailId,
    recipient: Address,
    typed: String,
    blob: Option<(serde_bytes::ByteArray<32>, u64)>,
    submitted_ms: i64,
    notify: Notify,
    orcpt: Option<String>,
    envid: Option<String>,
    ret_full: bool,
    #[serde(default, skip_serializing_if = "Form::is_mail")]
    form: Form,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    also: Vec<MailId>,
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
    /// Recipients at ordinary addresses, over the gateway.
    pub legacy: Vec<LegacyRecipient>,
    /// Letters for a contact's gateway, each with the bytes that it carries: put into the queue as they are.
    pub letters: Vec<(QueueEntry, Staged)>,
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

/// The longest text kept of what a client typed, in bytes.
const TYPED_BYTES_MAX: usize = 1024;

pub(crate) fn bounded(text: &str) -> String {
    let mut end = text.len().min(TYPED_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

impl QueueEntry {
    /// The mails that a receipt confirms; none for all else.
    pub fn confirms(&self) -> impl Iterator<Item = MailId> {
        self.kind.confirms(&self.also)
    }
}

impl EntryRow {
    fn of(entry: &QueueEntry) -> Self {
        Self {
            account: entry.account,
            kind: entry.kind,
            mid: entry.mid,
            recipient: entry.recipient,
            typed: bounded(&entry.typed),
            blob: entry.blob.as_ref().map(|(hash, size)| (serde_bytes::ByteArray::new(hash.0), *size)),
            submitted_ms: entry.submitted_ms,
            notify: entry.notify,
            orcpt: entry.orcpt.as_deref().map(bounded),
            envid: entry.envid.as_deref().map(bounded),
            ret_full: entry.ret_full,
            form: entry.form,
            also: entry.also.clone(),
        }
    }

    fn entry(self, id: u64, progress: Progress) -> QueueEntry {
        QueueEntry {
            id: EntryId(id),
            account: self.account,
            kind: self.kind,
            also: self.also,
            form: self.form,
            mid: self.mid,
            recipient: self.recipient,
            typed: self.typed,
            blob: self.blob.map(|(hash, size)| (BlobHash(hash.into_array()), size)),
            submitted_ms: self.submitted_ms,
            notify: self.notify,
            orcpt: self.orcpt,
            envid: self.envid,
            ret_full: self.ret_full,
            progress,
        }
    }
}

pub(crate) fn decode(id: u64, row: &[u8], progress: Option<&[u8]>) -> Result<QueueEntry, StoreError> {
    let damaged = |_| StoreError::damaged(format!("entry {id} of the queue"));
    let row: EntryRow = codec::decode(row, ROW_BYTES_MAX).map_err(damaged)?;
    let progress = match progress {
        Some(bytes) => codec::decode(bytes, ROW_BYTES_MAX).map_err(damaged)?,
        None => return Err(StoreError::damaged(format!("the progress of entry {id} of the queue"))),
    };
    Ok(row.entry(id, progress))
}

fn read_from(reader: &Reader, first: u64) -> Result<Vec<QueueEntry>, StoreError> {
    let progress = reader.table(PROGRESS)?;
    let mut entries = Vec::new();
    for row in reader.table(QUEUE)?.range(first..)? {
        let (key, value) = row?;
        let id = key.value();
        let state = progress.get(id)?;
        entries.push(decode(id, value.value(), state.as_ref().map(redb::AccessGuard::value))?);
    }
    Ok(entries)
}

impl Store {
    /// Commits a submission; `250` may be said when this returns.
    ///
    /// # Errors
    /// `DiskFull`, `NotFound` for a household member that is gone: nothing of it was kept.
    pub fn submit(&self, submission: Submission) -> Result<Vec<EntryId>, StoreError> {
        self.write(move |transaction| transaction.submit(&submission))
    }

    /// The whole queue by id; node-written letters included.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn queue(&self) -> Result<Vec<QueueEntry>, StoreError> {
        self.read(|reader| read_from(reader, 0))
    }

    /// One entry.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn queue_entry(&self, id: EntryId) -> Result<Option<QueueEntry>, StoreError> {
        self.read(|reader| {
            let (queue, progress) = (reader.table(QUEUE)?, reader.table(PROGRESS)?);
            let Some(row) = queue.get(id.0)? else { return Ok(None) };
            let state = progress.get(id.0)?;
            decode(id.0, row.value(), state.as_ref().map(redb::AccessGuard::value)).map(Some)
        })
    }

    /// Entries with an id greater than this, by id.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn queue_after(&self, id: EntryId) -> Result<Vec<QueueEntry>, StoreError> {
        self.read(|reader| read_from(reader, id.0.saturating_add(1)))
    }
}

impl Transaction<'_> {
    /// Queues a mail for everybody, and delivers it to the household: see [`Store::submit`]. Whoever is written to may answer from now on.
    ///
    /// # Errors
    /// As there.
    pub fn submit(&mut self, submission: &Submission) -> Result<Vec<EntryId>, StoreError> {
        self.need_room()?;
        let recipients = submission.recipients.iter().map(|recipient| recipient.address).collect();
        self.log_send(submission.account, &submission.mail, recipients)?;
        let mut ids = Vec::with_capacity(submission.recipients.len());
        for recipient in &submission.recipients {
            self.mention(&submission.mail)?;
            let entry = QueueEntry {
                id: EntryId(0),
                account: submission.account,
                kind: EntryKind::Mail,
                also: Vec::new(),
                form: Form::Mail,
                mid: submission.mid,
                recipient: recipient.address,
                typed: recipient.typed.clone(),
                blob: Some((submission.mail.hash, submission.mail.size)),
                submitted_ms: submission.submitted_ms,
                notify: recipient.notify,
                orcpt: recipient.orcpt.clone(),
                envid: submission.envid.clone(),
                ret_full: submission.ret_full,
                progress: Progress { aged_at: kith_protocol::event::Wall(submission.submitted_ms), ..Progress::default() },
            };
            ids.push(self.insert_entry(&entry)?);
            self.accept_recipient(submission.account, &recipient.address)?;
        }
        for recipient in &submission.legacy {
            let entry = LegacyEntry {
                id: EntryId(0),
                account: submission.account,
                origin: None,
                mid: submission.mid,
                from: recipient.from.clone(),
                recipient: recipient.address.clone(),
                typed: recipient.typed.clone(),
                blob: (submission.mail.hash, submission.mail.size),
                submitted_ms: submission.submitted_ms,
                notify: recipient.notify,
                orcpt: recipient.orcpt.clone(),
                envid: submission.envid.clone(),
                ret_full: submission.ret_full,
                progress: LegacyProgress {
                    held: recipient.held,
                    aged_at_ms: submission.submitted_ms,
                    ..LegacyProgress::default()
                },
            };
            ids.push(self.submit_legacy(&entry, &submission.mail)?);
        }
        for (entry, content) in &submission.letters {
            ids.push(self.enqueue_staged(entry, content)?);
        }
        for (account, filing) in &submission.household {
            self.deliver(*account, Use::Inbox, filing)?;
        }
        Ok(ids)
    }

    /// Adds an entry (its `id` is ignored and given). Its mail, if it has one, must be in the store.
    ///
    /// # Errors
    /// `NotFound` when the mail is not there.
    pub fn enqueue(&mut self, entry: &QueueEntry) -> Result<EntryId, StoreError> {
        if let Some((hash, _)) = &entry.blob {
            self.mention_stored(hash)?;
        }
        self.insert_entry(entry)
    }

    /// Adds an entry whose bytes are staged.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn enqueue_staged(&mut self, entry: &QueueEntry, content: &Staged) -> Result<EntryId, StoreError> {
        self.mention(content)?;
        self.insert_entry(entry)
    }

    fn insert_entry(&mut self, entry: &QueueEntry) -> Result<EntryId, StoreError> {
        let id = self.next_number(NUMBERS)?;
        let unwritable = |_| StoreError::Invalid("the entry cannot be written".into());
        let row = codec::encode(&EntryRow::of(entry)).map_err(unwritable)?;
        let progress = codec::encode(&entry.progress).map_err(unwritable)?;
        self.table(QUEUE)?.insert(id, row.as_slice())?;
        self.table(PROGRESS)?.insert(id, progress.as_slice())?;
        self.touch(Topic::Queue);
        Ok(EntryId(id))
    }

    /// Replaces an entry's progress. Where it says that the envelope is the only one, the bytes that it was sealed from go.
    ///
    /// # Errors
    /// `NotFound` when the entry is gone.
    pub fn put_progress(&mut self, id: EntryId, progress: &Progress) -> Result<(), StoreError> {
        if self.view(PROGRESS)?.get(id.0)?.is_none() {
            return Err(StoreError::NotFound("the queue entry"));
        }
        if progress.only {
            self.drop_content(id)?;
        }
        let bytes = codec::encode(progress).map_err(|_| StoreError::Invalid("the progress cannot be written".into()))?;
        self.table(PROGRESS)?.insert(id.0, bytes.as_slice())?;
        Ok(())
    }

    fn drop_content(&mut self, id: EntryId) -> Result<(), StoreError> {
        let Some(row) = self.view(QUEUE)?.get(id.0)?.map(|row| row.value().to_vec()) else { return Ok(()) };
        let mut row: EntryRow = codec::decode(&row, ROW_BYTES_MAX).map_err(|_| StoreError::damaged("the queue"))?;
        let Some((hash, _)) = row.blob.take() else { return Ok(()) };
        let bytes = codec::encode(&row).map_err(|_| StoreError::Invalid("the entry cannot be written".into()))?;
        self.table(QUEUE)?.insert(id.0, bytes.as_slice())?;
        self.unmention(&BlobHash(hash.into_array()))
    }

    /// One receipt confirms from now on what the others did, which are removed; what is gone already is passed over.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn gather_receipts(&mut self, into: EntryId, from: &[EntryId]) -> Result<(), StoreError> {
        let mut mails = Vec::with_capacity(from.len());
        for id in from {
            mails.extend(self.remove_entry(*id)?.iter().flat_map(QueueEntry::confirms));
        }
        let Some(row) = self.view(QUEUE)?.get(into.0)?.map(|row| row.value().to_vec()) else { return Ok(()) };
        let mut row: EntryRow = codec::decode(&row, ROW_BYTES_MAX).map_err(|_| StoreError::damaged("the queue"))?;
        row.also.extend(mails);
        let bytes = codec::encode(&row).map_err(|_| StoreError::Invalid("the entry cannot be written".into()))?;
        self.table(QUEUE)?.insert(into.0, bytes.as_slice())?;
        Ok(())
    }

    /// Removes an entry; its blob goes with it when nothing else mentions it. Returns what it was.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn remove_entry(&mut self, id: EntryId) -> Result<Option<QueueEntry>, StoreError> {
        let Some(row) = self.view(QUEUE)?.get(id.0)?.map(|row| row.value().to_vec()) else { return Ok(None) };
        let progress = self.view(PROGRESS)?.get(id.0)?.map(|row| row.value().to_vec());
        let entry = decode(id.0, &row, progress.as_deref())?;
        self.table(QUEUE)?.remove(id.0)?;
        self.table(PROGRESS)?.remove(id.0)?;
        if let Some((hash, _)) = &entry.blob {
            self.unmention(hash)?;
        }
        self.touch(Topic::Queue);
        Ok(Some(entry))
    }

    /// Removes all entries of an account.
    pub(crate) fn remove_entries(&mut self, account: AccountId) -> Result<(), StoreError> {
        let mut ids = Vec::new();
        for row in self.view(QUEUE)?.iter()? {
            let (key, value) = row?;
            let entry: EntryRow = codec::decode(value.value(), ROW_BYTES_MAX).map_err(|_| StoreError::damaged("the queue"))?;
            if entry.account == account {
                ids.push(EntryId(key.value()));
            }
        }
        ids.into_iter().try_for_each(|id| self.remove_entry(id).map(drop))
    }
}
