//! One account's mailbox: folders and messages, read and changed.
//!
//! All writing calls are durable when they return. Reads see the last commit.

pub(crate) mod excerpts;
mod filing;
mod flags;
mod folders;
pub(crate) mod gists;
mod history;
mod keywords;
mod letters;

use kith_protocol::event::Wall;
use kith_protocol::ids::AccountId;

use crate::blob::Staged;
use crate::folder::{self, FlagChange, Flags, Folder, FolderId, FolderRow, INBOX, Message, ModSeq, Placement, Uid, Use};
pub(crate) use crate::mailbox::filing::{CHANGED, VANISHED, runs};
pub use crate::mailbox::folders::FOLDERS_MAX;
pub use crate::mailbox::gists::{GIST_BYTES_MAX, Gist, Gists, NewGist};
pub use crate::mailbox::history::HISTORY_UIDS_MAX;
pub(crate) use crate::mailbox::keywords::Keywords;
pub use crate::mailbox::keywords::{KEYWORD_BYTES_MAX, KEYWORDS_MAX};
use crate::schema::{CHANGES, FOLDER_NAMES, FOLDERS, PLACEMENTS, SUBSCRIPTIONS};
use crate::store::Reader;
use crate::{Store, StoreError};

/// What changed in a folder since a MODSEQ (RFC 7162 §3.2.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The folder's highest MODSEQ as of this answer.
    pub mod_seq: ModSeq,
    /// New or changed messages, by UID.
    pub changed: Vec<Message>,
    /// UIDs that are gone, ascending.
    pub vanished: Vec<Uid>,
    /// What vanished up to here is forgotten: where this is later than the moment asked for, `vanished` lacks some.
    pub forgotten: ModSeq,
}

/// What to put into a folder.
#[derive(Clone, Debug)]
pub struct Filing {
    /// The bytes.
    pub blob: Staged,
    /// Flags to begin with.
    pub flags: Flags,
    /// INTERNALDATE: Unix seconds.
    pub internal_date: i64,
    /// Minutes from UTC.
    pub internal_zone: i16,
}

impl Filing {
    /// A mail that comes in at a moment: without flags, dated in UTC.
    pub fn fresh(blob: Staged, at: Wall) -> Self {
        Self { blob, flags: Flags::default(), internal_date: at.0.div_euclid(1000), internal_zone: 0 }
    }
}

/// The outcome of a conditional STORE (RFC 7162 §3.1.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The messages as they are now, those that were asked for and exist, by UID.
    pub messages: Vec<Message>,
    /// Of each of them the MODSEQ that it had before: who did not know that state does not know all of this one.
    pub before: Vec<ModSeq>,
    /// Not changed, since they changed after UNCHANGEDSINCE.
    pub modified: Vec<Uid>,
}

/// A set of UIDs: inclusive ranges, ascending, disjoint.
pub type UidRanges = Vec<(Uid, Uid)>;

/// Of how many changes on it is cheaper to read the folder through than to look each message up.
const LOOKUPS_MAX: usize = 1000;

impl Reader {
    fn folder(&self, account: AccountId, id: u64) -> Result<Option<Folder>, StoreError> {
        let Some(row) = self.table(FOLDERS)?.get((account.0, id))?.map(|row| FolderRow::decode(account.0, id, row.value()))
        else {
            return Ok(None);
        };
        let row = row?;
        let subscribed = self.table(SUBSCRIPTIONS)?.get((account.0, row.name.as_str()))?.is_some();
        Ok(Some(row.folder(id, subscribed)))
    }

    fn messages(
        &self,
        account: AccountId,
        folder: FolderId,
        (from, to): (Uid, Uid),
        limit: usize,
        wanted: impl Fn(&Placement) -> bool,
    ) -> Result<Vec<Message>, StoreError> {
        let keywords = Keywords::read(self, account)?;
        let mut messages = Vec::new();
        if from > to {
            return Ok(messages);
        }
        for row in self.table(PLACEMENTS)?.range((account.0, folder.0, from.0)..=(account.0, folder.0, to.0))? {
            if messages.len() >= limit {
                break;
            }
            let (key, value) = row?;
            let key = key.value();
            let placement = Placement::decode(key, value.value())?;
            if wanted(&placement) {
                messages.push(placement.message(key.2, &keywords));
            }
        }
        Ok(messages)
    }

    fn changes(&self, account: AccountId, folder: FolderId, since: ModSeq) -> Result<Changes, StoreError> {
        let row = self.folder(account, folder.0)?.ok_or(StoreError::NotFound("the folder"))?;
        let mut changed = Vec::new();
        let mut vanished = Vec::new();
        let first = since.0.saturating_add(1);
        let range = (account.0, folder.0, first, 0)..=(account.0, folder.0, u64::MAX, u32::MAX);
        for row in self.table(CHANGES)?.range(range)? {
            let (key, what) = row?;
            let (_, _, mod_seq, uid) = key.value();
            match what.value() {
                CHANGED => changed.push((uid, mod_seq)),
                _ => vanished.push(Uid(uid)),
            }
        }
        changed.sort_unstable();
        vanished.sort_unstable();
        let found = if changed.len() > LOOKUPS_MAX {
            self.messages(account, folder, (Uid(1), Uid(u32::MAX)), usize::MAX, |placement| placement.mod_seq > since.0)?
        } else {
            let keywords = Keywords::read(self, account)?;
            let placements = self.table(PLACEMENTS)?;
            let mut found = Vec::with_capacity(changed.len());
            for (uid, _) in &changed {
                let key = (account.0, folder.0, *uid);
                let row = placements.get(key)?.ok_or_else(|| StoreError::damaged("a message's row is missing"))?;
                found.push(Placement::decode(key, row.value())?.message(*uid, &keywords));
            }
            found
        };
        // Two views of one log: a damaged page in either shows here.
        if !found.iter().map(|message| (message.uid.0, message.mod_seq.0)).eq(changed) {
            return Err(StoreError::damaged("a folder's changes"));
        }
        Ok(Changes { mod_seq: row.mod_seq, changed: found, vanished, forgotten: self.forgotten(account, folder)? })
    }
}

impl Store {
    /// All folders of an account, by name, INBOX first.
    pub fn folders(&self, account: AccountId) -> Result<Vec<Folder>, StoreError> {
        self.read(|reader| {
            let mut folders = Vec::new();
            for row in reader.table(FOLDERS)?.range((account.0, 0)..=(account.0, u64::MAX))? {
                let (key, value) = row?;
                let id = key.value().1;
                let row = FolderRow::decode(account.0, id, value.value())?;
                let subscribed = reader.table(SUBSCRIPTIONS)?.get((account.0, row.name.as_str()))?.is_some();
                folders.push(row.folder(id, subscribed));
            }
            folders.sort_by(|a, b| (a.name != INBOX, &a.name).cmp(&(b.name != INBOX, &b.name)));
            Ok(folders)
        })
    }
    /// By name (INBOX case-insensitively).
    pub fn folder_by_name(&self, account: AccountId, name: &str) -> Result<Option<Folder>, StoreError> {
        let Ok(name) = folder::normalise(name) else { return Ok(None) };
        self.read(|reader| {
            let id = reader.table(FOLDER_NAMES)?.get((account.0, name.as_str()))?.map(|row| row.value());
            let Some(id) = id else { return Ok(None) };
            let folder = reader.folder(account, id)?.ok_or_else(|| StoreError::damaged("a folder's row is missing"))?;
            if folder.name == name { Ok(Some(folder)) } else { Err(StoreError::damaged("a folder's name")) }
        })
    }
    /// By id.
    pub fn folder(&self, account: AccountId, folder: FolderId) -> Result<Option<Folder>, StoreError> {
        self.read(|reader| reader.folder(account, folder.0))
    }
    /// CREATE: also makes missing parents. `Exists`, `Invalid`.
    pub fn create_folder(&self, account: AccountId, name: &str, special: Option<Use>) -> Result<Folder, StoreError> {
        let name = name.to_owned();
        self.write(move |transaction| {
            transaction.need_room()?;
            transaction.create_folder(account, &name, special)
        })
    }
    /// RENAME with children; renaming INBOX moves its messages into the new folder (RFC 3501 §6.3.5).
    pub fn rename_folder(&self, account: AccountId, from: &str, to: &str) -> Result<(), StoreError> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.write(move |transaction| transaction.rename_folder(account, &from, &to))
    }
    /// DELETE (RFC 3501 §6.3.4): INBOX is `Invalid`; a folder with children keeps its level as not selectable.
    pub fn delete_folder(&self, account: AccountId, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(move |transaction| transaction.delete_folder(account, &name))
    }
    /// SUBSCRIBE / UNSUBSCRIBE; subscriptions outlive folders.
    pub fn subscribe(&self, account: AccountId, name: &str, on: bool) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(move |transaction| transaction.subscribe(account, &name, on))
    }
    /// Subscribed names, including those without a folder, by name.
    pub fn subscriptions(&self, account: AccountId) -> Result<Vec<String>, StoreError> {
        self.read(|reader| {
            let mut names = Vec::new();
            for row in reader.table(SUBSCRIPTIONS)?.range((account.0, "")..)? {
                let (key, _) = row?;
                let (owner, name) = key.value();
                if owner != account.0 {
                    break;
                }
                names.push(name.to_owned());
            }
            Ok(names)
        })
    }
    /// Messages with UIDs within `from..=to`, by UID, at most `limit`: read a large folder in pages.
    pub fn messages(
        &self,
        account: AccountId,
        folder: FolderId,
        from: Uid,
        to: Uid,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        self.read(|reader| reader.messages(account, folder, (from, to), limit, |_| true))
    }
    /// Everything after `since`: what a session needs to catch up, and what CONDSTORE and QRESYNC ask for.
    pub fn changes(&self, account: AccountId, folder: FolderId, since: ModSeq) -> Result<Changes, StoreError> {
        self.read(|reader| reader.changes(account, folder, since))
    }
    /// UIDs that vanished after `since`, ascending, and up to which MODSEQ such things are forgotten: where that is later than `since`, some
    /// are missing.
    pub fn vanished(&self, account: AccountId, folder: FolderId, since: ModSeq) -> Result<(Vec<Uid>, ModSeq), StoreError> {
        self.read(|reader| reader.vanished(account, folder, since))
    }
    /// Claims the `\Recent` messages: returns the first UID that no session was shown before and moves the mark past the end.
    pub fn claim_recent(&self, account: AccountId, folder: FolderId) -> Result<Uid, StoreError> {
        let folder_now = self.folder(account, folder)?.ok_or(StoreError::NotFound("the folder"))?;
        if folder_now.recent_from == folder_now.uid_next {
            return Ok(folder_now.recent_from);
        }
        self.write(move |transaction| {
            let mut row = transaction.folder_row(account, folder.0)?;
            let from = Uid(row.recent_from);
            row.recent_from = row.uid_next;
            transaction.put_folder_row(account, folder.0, &row)?;
            Ok(from)
        })
    }
    /// APPEND, and delivery: files messages into one folder; the UIDs ascend in the given order.
    pub fn file(&self, account: AccountId, folder: FolderId, filings: Vec<Filing>) -> Result<Vec<Message>, StoreError> {
        self.write(move |transaction| filings.iter().map(|filing| transaction.file(account, folder, filing)).collect())
    }
    /// STORE. UIDs that do not exist are left out silently.
    pub fn change_flags(
        &self,
        account: AccountId,
        folder: FolderId,
        uids: UidRanges,
        change: FlagChange,
        flags: Flags,
        unchanged_since: Option<ModSeq>,
    ) -> Result<Stored, StoreError> {
        let uids = checked(uids)?;
        self.write(move |transaction| transaction.change_flags(account, folder, &uids, change, &flags, unchanged_since))
    }
    /// COPY: pairs of source and new UID, in source order.
    pub fn copy(&self, account: AccountId, from: FolderId, uids: UidRanges, to: FolderId) -> Result<Vec<(Uid, Uid)>, StoreError> {
        let uids = checked(uids)?;
        self.write(move |transaction| transaction.copy(account, from, &uids, to))
    }
    /// MOVE: as COPY and EXPUNGE in one commit.
    pub fn move_messages(
        &self,
        account: AccountId,
        from: FolderId,
        uids: UidRanges,
        to: FolderId,
    ) -> Result<Vec<(Uid, Uid)>, StoreError> {
        let uids = checked(uids)?;
        self.write(move |transaction| transaction.move_messages(account, from, &uids, to))
    }
    /// REPLACE (RFC 8508): files a message and removes another in one commit; `NotFound` where that one is gone.
    pub fn replace(
        &self,
        account: AccountId,
        from: FolderId,
        uid: Uid,
        to: FolderId,
        filing: Filing,
    ) -> Result<Message, StoreError> {
        self.write(move |transaction| {
            let found = transaction.find(account, from, &vec![(uid, uid)])?;
            if found.is_empty() {
                return Err(StoreError::NotFound("the message"));
            }
            let message = transaction.file(account, to, &filing)?;
            transaction.take_out(account, from, &found)?;
            Ok(message)
        })
    }
    /// EXPUNGE / UID EXPUNGE: removes those of `uids` (all if `None`) that carry `\Deleted`; returns what went.
    pub fn expunge(&self, account: AccountId, folder: FolderId, uids: Option<UidRanges>) -> Result<Vec<Uid>, StoreError> {
        let uids = checked(uids.unwrap_or_else(|| vec![(Uid(1), Uid(u32::MAX))]))?;
        self.write(move |transaction| {
            transaction.folder_row(account, folder.0)?;
            let mut found = transaction.find(account, folder, &uids)?;
            found.retain(|(_, placement)| placement.system & Flags::DELETED != 0);
            transaction.take_out(account, folder, &found)?;
            Ok(found.into_iter().map(|(uid, _)| Uid(uid)).collect())
        })
    }
    /// POP3's QUIT: removes these whatever their flags.
    pub fn remove(&self, account: AccountId, folder: FolderId, uids: UidRanges) -> Result<Vec<Uid>, StoreError> {
        let uids = checked(uids)?;
        self.write(move |transaction| {
            transaction.folder_row(account, folder.0)?;
            let found = transaction.find(account, folder, &uids)?;
            transaction.take_out(account, folder, &found)?;
            Ok(found.into_iter().map(|(uid, _)| Uid(uid)).collect())
        })
    }
}

/// Ranges as the store's loops need them: ascending and disjoint.
fn checked(uids: UidRanges) -> Result<UidRanges, StoreError> {
    let ordered = uids.iter().all(|(first, last)| first <= last)
        && uids.iter().zip(uids.iter().skip(1)).all(|((_, last), (first, _))| last < first);
    if ordered { Ok(uids) } else { Err(StoreError::Invalid("ranges of UIDs ascend and are disjoint".to_owned())) }
}
