//! The inbox as it was at login: what message numbers mean for one session.

use kith_store::blob::BlobHash;
use kith_store::folder::{FolderId, Uid};
use kith_store::mailbox::UidRanges;
use kith_store::{Store, StoreError};

use kith_protocol::ids::AccountId;

/// Messages asked of the store at once.
const PAGE: usize = 1000;

/// A snapshot of the inbox; per message some fifty bytes.
#[derive(Debug)]
pub(super) struct Maildrop {
    account: AccountId,
    folder: FolderId,
    uid_validity: u32,
    messages: Vec<Message>,
}

#[derive(Debug)]
pub(super) struct Message {
    uid: Uid,
    /// Bytes.
    pub(super) size: u64,
    pub(super) hash: BlobHash,
    deleted: bool,
}

impl Maildrop {
    pub(super) fn open(store: &Store, account: AccountId) -> Result<Self, StoreError> {
        let inbox = store.folder_by_name(account, "INBOX")?.ok_or(StoreError::NotFound("the inbox"))?;
        let mut messages: Vec<Message> = Vec::with_capacity(usize::try_from(inbox.messages).unwrap_or(0));
        let mut next = Some(Uid(1));
        while let Some(from) = next {
            let page = store.messages(account, inbox.id, from, Uid(u32::MAX), PAGE)?;
            next = page.last().filter(|_| page.len() == PAGE).and_then(|last| last.uid.0.checked_add(1)).map(Uid);
            messages.extend(page.into_iter().map(|message| Message {
                uid: message.uid,
                size: message.size,
                hash: message.hash,
                deleted: false,
            }));
        }
        Ok(Self { account, folder: inbox.id, uid_validity: inbox.uid_validity, messages })
    }

    /// A message by its number, unless it is marked for deletion.
    pub(super) fn message(&self, number: usize) -> Option<&Message> {
        self.messages.get(number.checked_sub(1)?).filter(|message| !message.deleted)
    }

    /// Its name, the same in every session for ever: RFC 1939 §7.
    pub(super) fn unique_id(&self, message: &Message) -> String {
        format!("{}.{}", self.uid_validity, message.uid.0)
    }

    /// Marks a message; `false` if there is none.
    pub(super) fn delete(&mut self, number: usize) -> bool {
        let message = number.checked_sub(1).and_then(|index| self.messages.get_mut(index)).filter(|message| !message.deleted);
        message.map(|message| message.deleted = true).is_some()
    }

    pub(super) fn undelete_all(&mut self) {
        for message in &mut self.messages {
            message.deleted = false;
        }
    }

    /// The highest message number.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// How many there are that are not marked, and their bytes.
    pub(super) fn totals(&self) -> (usize, u64) {
        let kept = self.messages.iter().filter(|message| !message.deleted);
        kept.fold((0, 0), |(count, bytes), message| (count + 1, bytes + message.size))
    }

    /// Removes what is marked, durably; what another session has removed meanwhile is gone all the same.
    pub(super) fn commit(&self, store: &Store) -> Result<(), StoreError> {
        let mut ranges: UidRanges = Vec::new();
        for message in self.messages.iter().filter(|message| message.deleted) {
            match ranges.last_mut() {
                Some((_, last)) if last.0.checked_add(1) == Some(message.uid.0) => *last = message.uid,
                _ => ranges.push((message.uid, message.uid)),
            }
        }
        if !ranges.is_empty() {
            store.remove(self.account, self.folder, ranges)?;
        }
        Ok(())
    }
}
