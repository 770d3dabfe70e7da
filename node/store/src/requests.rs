//! Mails of strangers: delivered to a folder of their own, and remembered until a person decides.
//!
//! A row names the place where a mail was put; whether it still waits is seen by looking there. What a person moves or deletes with a
//! mail program is decided that way, and its row says nothing any more.

mod people;

use std::collections::BTreeMap;

use kith_protocol::address::Address;
use kith_protocol::ids::{AccountId, MailId};
use redb::ReadableTable;

pub use people::PEOPLE_MAX;

use crate::folder::{FolderId, Message, Uid, Use};
use crate::mailbox::{Filing, runs};
use crate::schema::{PLACEMENTS, REQUESTS};
use crate::{Store, StoreError, Transaction};

/// The folder that strangers' mails come to.
pub const REQUESTS_FOLDER: &str = "Requests";
/// Mails of strangers remembered for an account, at most: of more, the one that came first is a mail like any other.
pub const REQUESTS_MAX: usize = 1000;

/// Somebody who waits for a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who wrote.
    pub address: Address,
    /// How many mails wait.
    pub mails: u32,
    /// When the last of them came, wall ms.
    pub newest_ms: i64,
}

type RequestKey = (u32, [u8; 32], [u8; 16]);

fn requests_in(account: AccountId) -> std::ops::RangeInclusive<RequestKey> {
    (account.0, [0; 32], [0; 16])..=(account.0, [255; 32], [255; 16])
}

fn requests_of(account: AccountId, from: &Address) -> std::ops::RangeInclusive<RequestKey> {
    (account.0, *from.key(), [0; 16])..=(account.0, *from.key(), [255; 16])
}

/// A mail that waits.
struct Waiting {
    key: RequestKey,
    folder: u64,
    uid: u32,
    at_ms: i64,
}

/// The mails of these rows that are still where they were put.
fn waiting(
    requests: &impl ReadableTable<RequestKey, (u64, u32, i64)>,
    placements: &impl ReadableTable<(u32, u64, u32), &'static [u8]>,
    keys: std::ops::RangeInclusive<RequestKey>,
) -> Result<Vec<Waiting>, StoreError> {
    let mut waiting = Vec::new();
    for found in requests.range(keys)? {
        let (key, value) = found?;
        let (key, (folder, uid, at_ms)) = (key.value(), value.value());
        if placements.get((key.0, folder, uid))?.is_some() {
            waiting.push(Waiting { key, folder, uid, at_ms });
        }
    }
    Ok(waiting)
}

impl Store {
    /// Strangers whose mails wait, the latest first.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn requests(&self, account: AccountId) -> Result<Vec<Request>, StoreError> {
        let found = self.read(|reader| waiting(&reader.table(REQUESTS)?, &reader.table(PLACEMENTS)?, requests_in(account)))?;
        let mut by_sender: BTreeMap<[u8; 32], (u32, i64)> = BTreeMap::new();
        for Waiting { key, at_ms, .. } in found {
            let (mails, newest_ms) = by_sender.entry(key.1).or_insert((0, at_ms));
            *mails += 1;
            *newest_ms = at_ms.max(*newest_ms);
        }
        let mut requests = Vec::with_capacity(by_sender.len());
        for (key, (mails, newest_ms)) in by_sender {
            let address = Address::from_key(key).map_err(|_| StoreError::damaged("the sender of a request"))?;
            requests.push(Request { address, mails, newest_ms });
        }
        requests.sort_by_key(|request| std::cmp::Reverse(request.newest_ms));
        Ok(requests)
    }

    /// How many mails of strangers wait.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn requests_waiting(&self, account: AccountId) -> Result<u32, StoreError> {
        let found = self.read(|reader| waiting(&reader.table(REQUESTS)?, &reader.table(PLACEMENTS)?, requests_in(account)))?;
        Ok(u32::try_from(found.len()).unwrap_or(u32::MAX))
    }
}

impl Transaction<'_> {
    /// Files a stranger's mail into the account's [`REQUESTS_FOLDER`], which is made where it is missing, and remembers it for
    /// [`Store::requests`].
    ///
    /// # Errors
    /// As [`Transaction::deliver`].
    pub fn deliver_request(
        &mut self,
        account: AccountId,
        from: &Address,
        mid: &MailId,
        filing: &Filing,
        at_ms: i64,
    ) -> Result<Message, StoreError> {
        self.need_room()?;
        self.need_account(account)?;
        let folder = self.requests_folder(account)?;
        let message = self.file(account, folder, filing)?;
        self.make_room_for_request(account)?;
        self.table(REQUESTS)?.insert((account.0, *from.key(), mid.0), (folder.0, message.uid.0, at_ms))?;
        Ok(message)
    }

    fn requests_folder(&mut self, account: AccountId) -> Result<FolderId, StoreError> {
        if let Some(id) = self.folder_id(account, REQUESTS_FOLDER)?
            && self.folder_row(account, id)?.selectable
        {
            return Ok(FolderId(id));
        }
        let folder = self.create_folder(account, REQUESTS_FOLDER, None)?;
        self.subscribe(account, REQUESTS_FOLDER, true)?;
        Ok(folder.id)
    }

    /// Where the account has as many rows as it may: those that say nothing any more go, or else the oldest.
    fn make_room_for_request(&mut self, account: AccountId) -> Result<(), StoreError> {
        let mut requests = self.table(REQUESTS)?;
        if requests.range(requests_in(account))?.count() < REQUESTS_MAX {
            return Ok(());
        }
        let mut kept = waiting(&*requests, &*self.view(PLACEMENTS)?, requests_in(account))?;
        kept.sort_unstable_by_key(|waiting| (waiting.at_ms, waiting.key));
        kept.drain(..(kept.len() + 1).saturating_sub(REQUESTS_MAX));
        let kept: std::collections::BTreeSet<RequestKey> = kept.iter().map(|waiting| waiting.key).collect();
        requests.retain_in(requests_in(account), |key, _| kept.contains(&key))?;
        Ok(())
    }

    /// Takes the rows of a sender out and gives the mails that waited, by folder and UID.
    fn take_requests(&mut self, account: AccountId, from: &Address) -> Result<BTreeMap<u64, BTreeMap<u32, MailId>>, StoreError> {
        let keys = requests_of(account, from);
        let mut requests = self.table(REQUESTS)?;
        let mut mails: BTreeMap<u64, BTreeMap<u32, MailId>> = BTreeMap::new();
        for Waiting { key, folder, uid, .. } in waiting(&*requests, &*self.view(PLACEMENTS)?, keys.clone())? {
            mails.entry(folder).or_default().insert(uid, MailId(key.2));
        }
        requests.retain_in(keys, |_, _| false)?;
        Ok(mails)
    }

    /// Moves the mails of a sender that wait to the inbox, as MOVE does, and gives their names in the order in which they came. Whether
    /// the sender is welcome from now on is another matter: [`Transaction::accept`].
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn accept_requests(&mut self, account: AccountId, from: &Address) -> Result<Vec<MailId>, StoreError> {
        let mut accepted = Vec::new();
        for (folder, mails) in self.take_requests(account, from)? {
            let inbox = self.folder_for(account, Use::Inbox)?;
            let uids = runs(mails.keys().copied()).into_iter().map(|(first, last)| (Uid(first), Uid(last))).collect();
            self.move_messages(account, FolderId(folder), &uids, inbox)?;
            accepted.extend(mails.into_values());
        }
        Ok(accepted)
    }

    /// Removes the mails of a sender that wait, as EXPUNGE does; how many.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn refuse_requests(&mut self, account: AccountId, from: &Address) -> Result<u32, StoreError> {
        let mut refused = 0;
        for (folder, mails) in self.take_requests(account, from)? {
            let folder = FolderId(folder);
            let uids = runs(mails.keys().copied()).into_iter().map(|(first, last)| (Uid(first), Uid(last))).collect();
            let found = self.find(account, folder, &uids)?;
            self.take_out(account, folder, &found)?;
            refused += u32::try_from(found.len()).unwrap_or(u32::MAX);
        }
        Ok(refused)
    }

    /// Forgets which mails of an account wait.
    pub(crate) fn remove_requests(&mut self, account: AccountId) -> Result<(), StoreError> {
        self.table(REQUESTS)?.retain_in(requests_in(account), |_, _| false)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
