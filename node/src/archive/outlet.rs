//! The giving end of an export: folders, pages of what is in them, and mails, each asked for by itself.

use std::io::{self, Read as _, Write};

use kith_protocol::ids::AccountId;
use kith_store::blob::BlobHash;
use kith_store::folder::{FolderId, Uid};
use kith_store::{Store, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::control::Refusal;

/// Mails in one page.
const PAGE_MESSAGES: usize = 500;
/// Read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// A folder that can be exported.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Listed {
    /// Its id.
    pub id: u64,
    /// Its full name.
    pub name: String,
    /// RFC 3501 §2.3.1.1.
    pub uid_validity: u32,
    /// Mails in it.
    pub messages: u32,
    /// And their bytes.
    pub bytes: u64,
}

/// A mail in a folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Item {
    /// Its UID.
    pub uid: u32,
    /// What its bytes are called.
    pub hash: String,
    /// Bytes.
    pub bytes: u64,
    /// INTERNALDATE, Unix seconds.
    pub date: i64,
    /// Bits of [`kith_store::folder::Flags`].
    pub system: u8,
    /// Keywords.
    pub keywords: Vec<String>,
}

/// The folders of an account that hold mails.
///
/// # Errors
/// The store fails.
pub fn folders(store: &Store, account: AccountId) -> Result<Value, Refusal> {
    let folders: Vec<Listed> = store
        .folders(account)?
        .into_iter()
        .filter(|folder| folder.selectable)
        .map(|folder| Listed {
            id: folder.id.0,
            name: folder.name,
            uid_validity: folder.uid_validity,
            messages: folder.messages,
            bytes: folder.bytes,
        })
        .collect();
    Ok(json!({ "folders": folders }))
}

/// A folder's mails from a UID on, and where the next page begins.
///
/// # Errors
/// The store fails.
pub fn page(store: &Store, account: AccountId, folder: u64, from: u32) -> Result<Value, Refusal> {
    let messages = store.messages(account, FolderId(folder), Uid(from), Uid(u32::MAX), PAGE_MESSAGES)?;
    let next = messages.last().filter(|_| messages.len() == PAGE_MESSAGES).and_then(|last| last.uid.0.checked_add(1));
    let items: Vec<Item> = messages
        .into_iter()
        .map(|message| Item {
            uid: message.uid.0,
            hash: hex::encode(message.hash.0),
            bytes: message.size,
            date: message.internal_date,
            system: message.flags.system,
            keywords: message.flags.keywords.iter().map(|keyword| keyword.as_ref().to_owned()).collect(),
        })
        .collect();
    Ok(json!({ "items": items, "next": next }))
}

/// Opens a mail's bytes.
///
/// # Errors
/// There is none of that name, or it is damaged.
pub fn open(store: &Store, hash: &str) -> Result<kith_store::blob::BlobReader, Refusal> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(hash, &mut bytes).map_err(|_| Refusal::from(StoreError::NotFound("the message")))?;
    Ok(store.blob(&BlobHash(bytes))?)
}

/// Writes a mail's bytes to a stream, behind the line that said how many they are.
///
/// # Errors
/// The stream broke; or the mail did, and then the stream must not be used any more.
pub fn send(mut mail: kith_store::blob::BlobReader, stream: &mut impl Write) -> io::Result<()> {
    let mut left = mail.size();
    let mut piece = vec![0; PIECE_BYTES];
    while left > 0 {
        let count = mail.read(&mut piece)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        stream.write_all(piece.get(..count).unwrap_or_default())?;
        left = left.saturating_sub(count as u64);
    }
    Ok(())
}
