//! Mail on its way to ordinary addresses: the gateway's queue.
//!
//! As in the other queue an entry has two rows: what was submitted never changes, its progress does. The mail's bytes are mentioned once by
//! every entry.

use kith_protocol::address::Address;
use kith_protocol::ids::{AccountId, EntryId, MailId};
use redb::ReadableTable;
use serde::{Deserialize, Serialize};

use crate::blob::{BlobHash, Staged};
use crate::feed::Topic;
use crate::queue::{NUMBERS, Notify, bounded};
use crate::schema::{CLEAR_SENT, LEGACY, LEGACY_PROGRESS};
use crate::store::Reader;
use crate::{Store, StoreError, Transaction, row};

pub(crate) const ENTRY: &str = "an entry of the gateway's queue";
pub(crate) const PROGRESS: &str = "the progress of an entry of the gateway's queue";

/// Mails that went in the clear and are remembered for their copies in Sent, for each account.
pub const CLEAR_SENT_MAX: usize = 256;
/// The longest Message-ID that is remembered, in bytes.
const MESSAGE_ID_BYTES_MAX: usize = 998;

/// One mail for one ordinary address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyEntry {
    /// Never reused, and never that of an entry of the other queue.
    pub id: EntryId,
    /// Who is told what becomes of it.
    pub account: AccountId,
    /// Whose mail it is, if it is not the account's: somebody who may send by this gateway, and is told by letter.
    pub origin: Option<Address>,
    /// The letter's name, the same for every recipient of the mail.
    pub mid: MailId,
    /// The reverse-path, an address that the ordinary world can answer; empty for `<>`.
    pub from: String,
    /// Whom it is for, as RCPT will say.
    pub recipient: String,
    /// What the sender typed.
    pub typed: String,
    /// The mail as it was submitted; its header is rewritten on the way out.
    pub blob: (BlobHash, u64),
    /// Wall ms.
    pub submitted_ms: i64,
    /// What the sender wants to be told.
    pub notify: Notify,
    /// RFC 3461 §4.2 ORCPT, decoded.
    pub orcpt: Option<String>,
    /// RFC 3461 §4.4 ENVID, decoded.
    pub envid: Option<String>,
    /// RFC 3461 §4.3.
    pub ret_full: bool,
    /// Where it stands.
    pub progress: LegacyProgress,
}

/// Where an entry stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegacyProgress {
    /// It waits for the person's word (`kith gateway release`).
    pub held: bool,
    /// Attempts so far.
    pub attempts: u32,
    /// Attempts of which nobody knows whether the mail was taken: it may arrive more than once (RFC 5321 §4.5.3.2.6).
    pub doubtful: u32,
    /// Wall ms before which it is not tried.
    pub next_ms: i64,
    /// How long it has waited, in ms, as the queue counts.
    pub age_ms: u64,
    /// Up to which wall ms that was counted.
    pub aged_at_ms: i64,
    /// The sender was told that it is late.
    pub delay_told: bool,
    /// What the other side said last; printable.
    pub said: Option<String>,
}

/// A recipient at an ordinary address, of a mail that is submitted.
#[derive(Clone, Debug)]
pub struct LegacyRecipient {
    /// As RCPT will say.
    pub address: String,
    /// The reverse-path.
    pub from: String,
    /// As typed.
    pub typed: String,
    /// RFC 3461 NOTIFY.
    pub notify: Notify,
    /// RFC 3461 ORCPT.
    pub orcpt: Option<String>,
    /// It waits for the person's word.
    pub held: bool,
}

/// An entry as it lies in the table, without its id (the key) and progress (a row of its own).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct EntryRow {
    account: AccountId,
    origin: Option<Address>,
    mid: MailId,
    from: String,
    recipient: String,
    typed: String,
    hash: serde_bytes::ByteArray<32>,
    size: u64,
    submitted_ms: i64,
    notify: Notify,
    orcpt: Option<String>,
    envid: Option<String>,
    ret_full: bool,
}

pub(crate) fn decode(id: u64, entry: &[u8], progress: Option<&[u8]>) -> Result<LegacyEntry, StoreError> {
    let entry: EntryRow = row::decode(entry, ENTRY)?;
    let progress = progress.ok_or_else(|| StoreError::damaged(PROGRESS)).and_then(|bytes| row::decode(bytes, PROGRESS))?;
    Ok(LegacyEntry {
        id: EntryId(id),
        account: entry.account,
        origin: entry.origin,
        mid: entry.mid,
        from: entry.from,
        recipient: entry.recipient,
        typed: entry.typed,
        blob: (BlobHash(entry.hash.into_array()), entry.size),
        submitted_ms: entry.submitted_ms,
        notify: entry.notify,
        orcpt: entry.orcpt,
        envid: entry.envid,
        ret_full: entry.ret_full,
        progress,
    })
}

fn one(reader: &Reader, id: u64) -> Result<Option<LegacyEntry>, StoreError> {
    let (entries, progress) = (reader.table(LEGACY)?, reader.table(LEGACY_PROGRESS)?);
    let Some(found) = entries.get(id)? else { return Ok(None) };
    let state = progress.get(id)?;
    decode(id, found.value(), state.as_ref().map(redb::AccessGuard::value)).map(Some)
}

impl Store {
    /// The gateway's queue, by id.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn legacy_queue(&self) -> Result<Vec<LegacyEntry>, StoreError> {
        self.read(|reader| {
            let progress = reader.table(LEGACY_PROGRESS)?;
            let mut entries = Vec::new();
            for found in reader.table(LEGACY)?.iter()? {
                let (id, value) = found?;
                let state = progress.get(id.value())?;
                entries.push(decode(id.value(), value.value(), state.as_ref().map(redb::AccessGuard::value))?);
            }
            Ok(entries)
        })
    }

    /// One entry of it.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn legacy_entry(&self, id: EntryId) -> Result<Option<LegacyEntry>, StoreError> {
        self.read(|reader| one(reader, id.0))
    }

    /// What the copy in Sent of a mail with this Message-ID is to say, if the mail went in the clear.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn sent_in_clear(&self, account: AccountId, message_id: &str) -> Result<Option<String>, StoreError> {
        self.read(|reader| Ok(reader.table(CLEAR_SENT)?.get((account.0, message_id))?.map(|found| found.value().1.to_owned())))
    }
}

impl Transaction<'_> {
    /// Adds an entry (its `id` is ignored and given), whose mail is staged.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn submit_legacy(&mut self, entry: &LegacyEntry, mail: &Staged) -> Result<EntryId, StoreError> {
        self.mention(mail)?;
        self.insert_legacy(entry)
    }

    fn insert_legacy(&mut self, entry: &LegacyEntry) -> Result<EntryId, StoreError> {
        let id = self.next_number(NUMBERS)?;
        let stored = EntryRow {
            account: entry.account,
            origin: entry.origin,
            mid: entry.mid,
            from: bounded(&entry.from),
            recipient: bounded(&entry.recipient),
            typed: bounded(&entry.typed),
            hash: serde_bytes::ByteArray::new(entry.blob.0.0),
            size: entry.blob.1,
            submitted_ms: entry.submitted_ms,
            notify: entry.notify,
            orcpt: entry.orcpt.as_deref().map(bounded),
            envid: entry.envid.as_deref().map(bounded),
            ret_full: entry.ret_full,
        };
        let (entry_row, progress) = (row::encode(&stored, ENTRY)?, row::encode(&entry.progress, PROGRESS)?);
        self.table(LEGACY)?.insert(id, entry_row.as_slice())?;
        self.table(LEGACY_PROGRESS)?.insert(id, progress.as_slice())?;
        self.touch(Topic::Legacy);
        Ok(EntryId(id))
    }

    /// Replaces an entry's progress; `wake` tells the gateway that there is something to do.
    ///
    /// # Errors
    /// `NotFound` when the entry is gone.
    pub fn put_legacy_progress(&mut self, id: EntryId, progress: &LegacyProgress, wake: bool) -> Result<(), StoreError> {
        if self.view(LEGACY_PROGRESS)?.get(id.0)?.is_none() {
            return Err(StoreError::NotFound("the queue entry"));
        }
        let progress = LegacyProgress { said: progress.said.as_deref().map(bounded), ..progress.clone() };
        let bytes = row::encode(&progress, PROGRESS)?;
        self.table(LEGACY_PROGRESS)?.insert(id.0, bytes.as_slice())?;
        if wake {
            self.touch(Topic::Legacy);
        }
        Ok(())
    }

    /// Removes an entry; its mail goes with it when nothing else mentions it. Returns what it was.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn remove_legacy(&mut self, id: EntryId) -> Result<Option<LegacyEntry>, StoreError> {
        let Some(found) = self.view(LEGACY)?.get(id.0)?.map(|found| found.value().to_vec()) else { return Ok(None) };
        let progress = self.view(LEGACY_PROGRESS)?.get(id.0)?.map(|found| found.value().to_vec());
        let entry = decode(id.0, &found, progress.as_deref())?;
        self.table(LEGACY)?.remove(id.0)?;
        self.table(LEGACY_PROGRESS)?.remove(id.0)?;
        self.unmention(&entry.blob.0)?;
        self.touch(Topic::Legacy);
        Ok(Some(entry))
    }

    /// Removes what an account still sends, and what it remembers of what it sent.
    pub(crate) fn remove_legacy_of(&mut self, account: AccountId) -> Result<(), StoreError> {
        let mut ids = Vec::new();
        for found in self.view(LEGACY)?.iter()? {
            let (id, value) = found?;
            if row::decode::<EntryRow>(value.value(), ENTRY)?.account == account {
                ids.push(EntryId(id.value()));
            }
        }
        ids.into_iter().try_for_each(|id| self.remove_legacy(id).map(drop))?;
        self.table(CLEAR_SENT)?.retain_in((account.0, "")..(account.0 + 1, ""), |_, _| false)?;
        Ok(())
    }

    /// Remembers that a mail went in the clear, and what its copy in Sent is to say about that (one line); the oldest is forgotten where there
    /// are [`CLEAR_SENT_MAX`]. A Message-ID that no mail program would repeat is passed over.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn remember_clear(&mut self, account: AccountId, message_id: &str, wall_ms: i64, words: &str) -> Result<(), StoreError> {
        if message_id.is_empty() || message_id.len() > MESSAGE_ID_BYTES_MAX {
            return Ok(());
        }
        let mut table = self.table(CLEAR_SENT)?;
        let mut known = Vec::new();
        for found in table.range((account.0, "")..(account.0 + 1, ""))? {
            let (key, value) = found?;
            known.push((value.value().0, key.value().1.to_owned()));
        }
        if known.len() >= CLEAR_SENT_MAX
            && let Some((_, oldest)) = known.into_iter().min()
        {
            table.remove((account.0, oldest.as_str()))?;
        }
        table.insert((account.0, message_id), (wall_ms, words))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, staged, store};

    fn entry(account: AccountId, mail: &Staged) -> LegacyEntry {
        LegacyEntry {
            id: EntryId(0),
            account,
            origin: None,
            mid: MailId([1; 16]),
            from: "anna@example.org".into(),
            recipient: "carol@example.com".into(),
            typed: "Carol@Example.com".into(),
            blob: (mail.hash, mail.size),
            submitted_ms: 5,
            notify: Notify { success: false, failure: true, delay: true },
            orcpt: None,
            envid: None,
            ret_full: false,
            progress: LegacyProgress::default(),
        }
    }

    #[test]
    fn an_entry_keeps_its_mail_until_it_is_removed() {
        let (store, account) = store();
        let mail = staged(&store, b"Subject: x\r\n\r\n");
        let entry = entry(account, &mail);
        let id = store.write(move |transaction| transaction.submit_legacy(&entry, &mail)).unwrap();
        let found = store.legacy_entry(id).unwrap().unwrap();
        let progress = LegacyProgress { attempts: 2, said: Some("450 later".into()), ..LegacyProgress::default() };
        let put = progress.clone();
        store.write(move |transaction| transaction.put_legacy_progress(id, &put, false)).unwrap();
        assert_eq!(store.legacy_queue().unwrap(), [LegacyEntry { progress, ..found.clone() }]);
        check(&store);
        store.write(move |transaction| transaction.remove_legacy(id)).unwrap();
        assert!(store.legacy_queue().unwrap().is_empty() && store.blob(&found.blob.0).is_err());
        check(&store);
    }

    #[test]
    fn nothing_of_an_account_that_is_gone_is_sent() {
        let (store, account) = store();
        let mail = staged(&store, b"Subject: x\r\n\r\n");
        let entry = entry(account, &mail);
        store.write(move |transaction| transaction.submit_legacy(&entry, &mail)).unwrap();
        store.write(move |transaction| transaction.remember_clear(account, "<1@x>", 1, "carol")).unwrap();
        store.remove_account(account).unwrap();
        assert!(store.legacy_queue().unwrap().is_empty());
        assert_eq!(store.sent_in_clear(account, "<1@x>").unwrap(), None);
        check(&store);
    }

    #[test]
    fn the_oldest_of_what_went_in_the_clear_is_forgotten() {
        let (store, account) = store();
        let many = i64::try_from(CLEAR_SENT_MAX).unwrap();
        store
            .write(move |transaction| {
                (0..=many).try_for_each(|at| transaction.remember_clear(account, &format!("<{at}@x>"), at, "words"))
            })
            .unwrap();
        assert_eq!(store.sent_in_clear(account, "<0@x>").unwrap(), None);
        assert_eq!(store.sent_in_clear(account, "<1@x>").unwrap().as_deref(), Some("words"));
        assert_eq!(store.sent_in_clear(account, &format!("<{many}@x>")).unwrap().as_deref(), Some("words"));
    }
}
