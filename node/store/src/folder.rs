//! Folders and what lies in them: names, UIDs, MODSEQ, flags.

use crate::blob::BlobHash;

/// Never reused within an account; survives a rename.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FolderId(pub u64);

/// RFC 3501 §2.3.1.1: ascending within a folder, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Uid(pub u32);

/// RFC 7162: grows with every change of the account's log; it is the log offset.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ModSeq(pub u64);

/// RFC 6154, and the inbox.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Use {
    /// `INBOX`
    Inbox,
    /// `\Drafts`
    Drafts,
    /// `\Sent`
    Sent,
    /// `\Archive`
    Archive,
    /// `\Junk`
    Junk,
    /// `\Trash`
    Trash,
}

/// A folder as a mail program sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Internal name.
    pub id: FolderId,
    /// Full name in UTF-8, hierarchy separator `/`, normalised; `INBOX` in capitals. At most 1,000 bytes, 32 levels.
    pub name: String,
    /// RFC 3501 §2.3.1.1; given at creation, greater than that of any earlier folder of the account.
    pub uid_validity: u32,
    /// The UID that comes next.
    pub uid_next: Uid,
    /// Highest MODSEQ of anything in the folder (including what was removed).
    pub mod_seq: ModSeq,
    /// Messages in it.
    pub messages: u32,
    /// Of these without `\Seen`.
    pub unseen: u32,
    /// UIDs from this one on have not been shown as `\Recent` to any session yet.
    pub recent_from: Uid,
    /// Sum of the messages' sizes, bytes.
    pub bytes: u64,
    /// RFC 6154 attribute.
    pub special: Option<Use>,
    /// Subscribed (RFC 3501 §6.3.6).
    pub subscribed: bool,
    /// False for a bare level of hierarchy that holds no messages (`\NoSelect`).
    pub selectable: bool,
}

/// System flags as bits; keywords as indices into the account's keyword table would be an inner matter: here they are names.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Flags {
    /// `\Seen \Answered \Flagged \Deleted \Draft` (RFC 3501 §2.3.2), see the `SEEN`… constants.
    pub system: u8,
    /// Keywords, sorted, unique case-insensitively (first spelling kept), each an atom of at most 64 bytes, at most 64 a message.
    pub keywords: Vec<std::sync::Arc<str>>,
}

impl Flags {
    /// `\Seen`
    pub const SEEN: u8 = 1;
    /// `\Answered`
    pub const ANSWERED: u8 = 2;
    /// `\Flagged`
    pub const FLAGGED: u8 = 4;
    /// `\Deleted`
    pub const DELETED: u8 = 8;
    /// `\Draft`
    pub const DRAFT: u8 = 16;
}

/// One message in one folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its UID here.
    pub uid: Uid,
    /// When it last changed here.
    pub mod_seq: ModSeq,
    /// Its flags here (each folder's copy has its own).
    pub flags: Flags,
    /// Its bytes.
    pub hash: BlobHash,
    /// Bytes, exact.
    pub size: u64,
    /// INTERNALDATE: Unix seconds.
    pub internal_date: i64,
    /// Offset from UTC of INTERNALDATE in minutes, as the client gave it; 0 for delivered mail.
    pub internal_zone: i16,
    /// When it was put into this folder: Unix seconds (SAVEDATE).
    pub saved: i64,
}

/// How a STORE changes flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagChange {
    /// `FLAGS`
    Replace,
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
}
