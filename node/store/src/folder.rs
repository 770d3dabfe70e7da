//! Folders and what lies in them: names, UIDs, MODSEQ, flags; and the rows that hold them.

use kith_protocol::codec;
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::blob::BlobHash;
use crate::mailbox::Keywords;
use crate::row::{self, Kind};

/// A folder's full name has at most so many bytes.
pub const NAME_BYTES_MAX: usize = 1000;
/// And so many levels.
pub const NAME_LEVELS_MAX: usize = 32;
/// The folder that every account has.
pub const INBOX: &str = "INBOX";

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

/// System flags as bits, keywords as names.
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
    /// What the account's log calls it: the same in every folder that it is copied or moved to.
    pub record: u64,
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

impl Use {
    /// All of them, with the names that the folders have to begin with.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Inbox, INBOX),
        (Self::Drafts, "Drafts"),
        (Self::Sent, "Sent"),
        (Self::Archive, "Archive"),
        (Self::Junk, "Junk"),
        (Self::Trash, "Trash"),
    ];

    /// What stands for it in rows and in the log; never changes.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Inbox => 0,
            Self::Drafts => 1,
            Self::Sent => 2,
            Self::Archive => 3,
            Self::Junk => 4,
            Self::Trash => 5,
        }
    }

    pub(crate) fn of_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().map(|(special, _)| special).find(|special| special.code() == code)
    }
}

/// Checks and normalises a full name: no empty levels, no control characters, `INBOX` in capitals as a first level, a trailing
/// separator dropped.
pub(crate) fn normalise(name: &str) -> Result<String, StoreError> {
    let name = name.strip_suffix('/').unwrap_or(name);
    let invalid = |why: &str| Err(StoreError::Invalid(format!("a folder's name {why}")));
    if name.is_empty() || name.split('/').any(str::is_empty) {
        return invalid("has no empty levels");
    }
    if name.len() > NAME_BYTES_MAX {
        return invalid("has at most 1,000 bytes");
    }
    if name.split('/').count() > NAME_LEVELS_MAX {
        return invalid("has at most 32 levels");
    }
    if name.chars().any(char::is_control) {
        return invalid("has no control characters");
    }
    let (first, rest) = name.split_at(name.find('/').unwrap_or(name.len()));
    Ok(if first.eq_ignore_ascii_case(INBOX) { format!("{INBOX}{rest}") } else { name.to_owned() })
}

/// A row of `FOLDERS`, in strict CBOR.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FolderRow {
    /// Full name, normalised. Changes with RENAME.
    pub(crate) name: String,
    /// Never changes.
    pub(crate) uid_validity: u32,
    /// Only grows.
    pub(crate) uid_next: u32,
    /// Offset of the last entry that changed what is in the folder, or made it. Only grows.
    pub(crate) mod_seq: u64,
    /// Messages in it, of these without `\Seen`, and the sum of their sizes.
    pub(crate) messages: u32,
    pub(crate) unseen: u32,
    pub(crate) bytes: u64,
    /// The mark of `\Recent`: not in the log. Only grows, up to `uid_next`.
    pub(crate) recent_from: u32,
    /// [`Use::code`]. Never changes.
    pub(crate) special: Option<u8>,
    /// False for a bare level.
    pub(crate) selectable: bool,
}

impl FolderRow {
    pub(crate) fn encode(&self, account: u32, id: u64) -> Result<Vec<u8>, StoreError> {
        let body = codec::encode(self).map_err(|error| StoreError::Broken(error.to_string()))?;
        Ok(row::stamp(Kind::Folder, [account.into(), id, 0], body))
    }

    pub(crate) fn decode(account: u32, id: u64, bytes: &[u8]) -> Result<Self, StoreError> {
        let body = row::open(Kind::Folder, [account.into(), id, 0], bytes)?;
        codec::decode(body, 4 * NAME_BYTES_MAX).map_err(|_| StoreError::damaged("a folder's row"))
    }

    pub(crate) fn folder(self, id: u64, subscribed: bool) -> Folder {
        Folder {
            id: FolderId(id),
            name: self.name,
            uid_validity: self.uid_validity,
            uid_next: Uid(self.uid_next),
            mod_seq: ModSeq(self.mod_seq),
            messages: self.messages,
            unseen: self.unseen,
            recent_from: Uid(self.recent_from),
            bytes: self.bytes,
            special: self.special.and_then(Use::of_code),
            subscribed,
            selectable: self.selectable,
        }
    }
}

/// A row of `PLACEMENTS`: fixed fields in little-endian, so that 100,000 of them are read in a moment, then the keywords as bits
/// (slot 0 is the lowest bit of the first byte; zero bytes at the end are left out), then the row's checksum.
///
/// ```text
/// record 8 | mod_seq 8 | hash 32 | size 8 | date 8 | zone 2 | saved 8 | system 1 | keywords 0–32 | checksum 4
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    /// Offset of the message's `Store` entry. Never changes, like the four that follow `mod_seq`.
    pub(crate) record: u64,
    /// Offset of the last entry that changed this placement.
    pub(crate) mod_seq: u64,
    pub(crate) hash: [u8; 32],
    pub(crate) size: u64,
    pub(crate) date: i64,
    pub(crate) zone: i16,
    /// Unix seconds at which it was put here. Never changes.
    pub(crate) saved: i64,
    /// System flags.
    pub(crate) system: u8,
    /// Bits of keyword slots.
    pub(crate) keywords: KeywordBits,
}

/// A set of keyword slots.
pub(crate) type KeywordBits = [u8; 32];

impl Placement {
    pub(crate) fn encode(&self, key: (u32, u64, u32)) -> Vec<u8> {
        let mut body = Vec::with_capacity(112);
        body.extend_from_slice(&self.record.to_le_bytes());
        body.extend_from_slice(&self.mod_seq.to_le_bytes());
        body.extend_from_slice(&self.hash);
        body.extend_from_slice(&self.size.to_le_bytes());
        body.extend_from_slice(&self.date.to_le_bytes());
        body.extend_from_slice(&self.zone.to_le_bytes());
        body.extend_from_slice(&self.saved.to_le_bytes());
        body.push(self.system);
        let used = self.keywords.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        body.extend(self.keywords.iter().take(used));
        row::stamp(Kind::Placement, placement_key(key), body)
    }

    pub(crate) fn decode(key: (u32, u64, u32), bytes: &[u8]) -> Result<Self, StoreError> {
        let body = row::open(Kind::Placement, placement_key(key), bytes)?;
        Self::fields(body).ok_or_else(|| StoreError::damaged("a message's row"))
    }

    fn fields(mut body: &[u8]) -> Option<Self> {
        let body = &mut body;
        let mut placement = Self {
            record: u64::from_le_bytes(take(body)?),
            mod_seq: u64::from_le_bytes(take(body)?),
            hash: take(body)?,
            size: u64::from_le_bytes(take(body)?),
            date: i64::from_le_bytes(take(body)?),
            zone: i16::from_le_bytes(take(body)?),
            saved: i64::from_le_bytes(take(body)?),
            system: u8::from_le_bytes(take(body)?),
            keywords: [0; 32],
        };
        placement.keywords.get_mut(..body.len())?.copy_from_slice(body);
        Some(placement)
    }

    pub(crate) fn message(&self, uid: u32, keywords: &Keywords) -> Message {
        Message {
            uid: Uid(uid),
            record: self.record,
            mod_seq: ModSeq(self.mod_seq),
            flags: Flags { system: self.system, keywords: keywords.names(&self.keywords) },
            hash: BlobHash(self.hash),
            size: self.size,
            internal_date: self.date,
            internal_zone: self.zone,
            saved: self.saved,
        }
    }
}

fn placement_key((account, folder, uid): (u32, u64, u32)) -> [u64; 3] {
    [account.into(), folder, uid.into()]
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = from.split_first_chunk::<N>()?;
    *from = rest;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised_and_bounded() {
        for (given, kept) in
            [("inbox", "INBOX"), ("Inbox/a", "INBOX/a"), ("a/inbox", "a/inbox"), ("a/", "a"), ("Entwürfe", "Entwürfe")]
        {
            assert_eq!(normalise(given).unwrap(), kept);
        }
        for refused in ["", "/", "/a", "a//b", "a\r\nb", &"x".repeat(NAME_BYTES_MAX + 1), &"a/".repeat(NAME_LEVELS_MAX + 1)] {
            assert!(normalise(refused).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn codes_of_uses_are_theirs_for_ever() {
        let codes = Use::ALL.map(|(special, _)| special.code());
        assert_eq!(codes, [0, 1, 2, 3, 4, 5]);
        assert!(Use::ALL.iter().all(|(special, _)| Use::of_code(special.code()) == Some(*special)));
    }
}
