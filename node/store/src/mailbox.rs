//! One account's mailbox: folders and messages, read and changed.
//!
//! All writing calls are durable when they return. Reads see the last commit.

use kith_protocol::ids::AccountId;

use crate::blob::Staged;
use crate::folder::{FlagChange, Flags, Folder, FolderId, Message, ModSeq, Uid, Use};
use crate::{Store, StoreError, Transaction};

/// What changed in a folder since a MODSEQ (RFC 7162 §3.2.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The folder's highest MODSEQ as of this answer.
    pub mod_seq: ModSeq,
    /// New or changed messages, by UID.
    pub changed: Vec<Message>,
    /// UIDs that are gone, ascending.
    pub vanished: Vec<Uid>,
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

/// The outcome of a conditional STORE (RFC 7162 §3.1.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The messages as they are now, those that were asked for and exist, by UID.
    pub messages: Vec<Message>,
    /// Not changed, since they changed after UNCHANGEDSINCE.
    pub modified: Vec<Uid>,
}

/// A set of UIDs: inclusive ranges, ascending, disjoint.
pub type UidRanges = Vec<(Uid, Uid)>;

impl Store {
    /// All folders of an account, by name, INBOX first.
    pub fn folders(&self, _account: AccountId) -> Result<Vec<Folder>, StoreError> {
        todo!()
    }
    /// By name (INBOX case-insensitively).
    pub fn folder_by_name(&self, _account: AccountId, _name: &str) -> Result<Option<Folder>, StoreError> {
        todo!()
    }
    /// By id.
    pub fn folder(&self, _account: AccountId, _folder: FolderId) -> Result<Option<Folder>, StoreError> {
        todo!()
    }
    /// CREATE: also makes missing parents. `Exists`, `Invalid`.
    pub fn create_folder(&self, _account: AccountId, _name: &str, _special: Option<Use>) -> Result<Folder, StoreError> {
        todo!()
    }
    /// RENAME with children; renaming INBOX moves its messages into the new folder (RFC 3501 §6.3.5).
    pub fn rename_folder(&self, _account: AccountId, _from: &str, _to: &str) -> Result<(), StoreError> {
        todo!()
    }
    /// DELETE (RFC 3501 §6.3.4): INBOX is `Invalid`; a folder with children keeps its level as not selectable.
    pub fn delete_folder(&self, _account: AccountId, _name: &str) -> Result<(), StoreError> {
        todo!()
    }
    /// SUBSCRIBE / UNSUBSCRIBE; subscriptions outlive folders.
    pub fn subscribe(&self, _account: AccountId, _name: &str, _on: bool) -> Result<(), StoreError> {
        todo!()
    }
    /// Subscribed names, including those without a folder, by name.
    pub fn subscriptions(&self, _account: AccountId) -> Result<Vec<String>, StoreError> {
        todo!()
    }
    /// Messages with UIDs within `from..=to`, by UID, at most `limit`: read a large folder in pages.
    pub fn messages(
        &self,
        _account: AccountId,
        _folder: FolderId,
        _from: Uid,
        _to: Uid,
        _limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        todo!()
    }
    /// Everything after `since`: what a session needs to catch up, and what CONDSTORE and QRESYNC ask for.
    pub fn changes(&self, _account: AccountId, _folder: FolderId, _since: ModSeq) -> Result<Changes, StoreError> {
        todo!()
    }
    /// Claims the `\Recent` messages: returns the first UID that no session was shown before and moves the mark past the end.
    pub fn claim_recent(&self, _account: AccountId, _folder: FolderId) -> Result<Uid, StoreError> {
        todo!()
    }
    /// APPEND, and delivery: files messages into one folder; the UIDs ascend in the given order.
    pub fn file(&self, _account: AccountId, _folder: FolderId, _filings: Vec<Filing>) -> Result<Vec<Message>, StoreError> {
        todo!()
    }
    /// STORE. UIDs that do not exist are left out silently.
    pub fn change_flags(
        &self,
        _account: AccountId,
        _folder: FolderId,
        _uids: UidRanges,
        _change: FlagChange,
        _flags: Flags,
        _unchanged_since: Option<ModSeq>,
    ) -> Result<Stored, StoreError> {
        todo!()
    }
    /// COPY: pairs of source and new UID, in source order.
    pub fn copy(
        &self,
        _account: AccountId,
        _from: FolderId,
        _uids: UidRanges,
        _to: FolderId,
    ) -> Result<Vec<(Uid, Uid)>, StoreError> {
        todo!()
    }
    /// MOVE: as COPY and EXPUNGE in one commit.
    pub fn move_messages(
        &self,
        _account: AccountId,
        _from: FolderId,
        _uids: UidRanges,
        _to: FolderId,
    ) -> Result<Vec<(Uid, Uid)>, StoreError> {
        todo!()
    }
    /// EXPUNGE / UID EXPUNGE: removes those of `uids` (all if `None`) that carry `\Deleted`; returns what went.
    pub fn expunge(&self, _account: AccountId, _folder: FolderId, _uids: Option<UidRanges>) -> Result<Vec<Uid>, StoreError> {
        todo!()
    }
    /// POP3's QUIT: removes these whatever their flags.
    pub fn remove(&self, _account: AccountId, _folder: FolderId, _uids: UidRanges) -> Result<Vec<Uid>, StoreError> {
        todo!()
    }
}

impl Transaction<'_> {
    /// Files one message into the account's folder of that use (inbox delivery, notices).
    pub fn deliver(&mut self, _account: AccountId, _into: Use, _filing: &Filing) -> Result<Message, StoreError> {
        todo!()
    }
    /// Remembers a letter of a sender as received; `false` if it was known already (kept 400 days).
    pub fn remember_letter(
        &mut self,
        _account: AccountId,
        _from: &kith_protocol::address::Address,
        _mid: &kith_protocol::ids::MailId,
        _wall_ms: i64,
    ) -> Result<bool, StoreError> {
        todo!()
    }
}
