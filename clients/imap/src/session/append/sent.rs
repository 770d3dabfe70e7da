//! The copy that a program saves of a mail it has sent: part of which left in the clear, the copy says so in its first line.

use std::io::{self, Read as _, Write as _};

use kith_store::account::AccountId;
use kith_store::folder::{Folder, Use};
use kith_store::mailbox::Filing;
use kith_store::{Store, StoreError};

/// The field: who got the mail in the clear, and by which way.
const FIELD: &str = "X-Kith-Clear";
/// How much of a message is looked at for its Message-ID.
const HEADER_BYTES_MAX: u64 = 64 * 1024;

/// Adds the line to a message that is about to be filed, where the folder is the one for sent mail and the mail left in the clear.
pub(super) fn marked(store: &Store, account: AccountId, folder: &Folder, filing: Filing) -> Result<Filing, StoreError> {
    if folder.special != Some(Use::Sent) {
        return Ok(filing);
    }
    let broken = |error: io::Error| match error.kind() {
        io::ErrorKind::StorageFull => StoreError::DiskFull,
        _ => StoreError::Broken(error.to_string()),
    };
    let mut header = Vec::new();
    store.blob(&filing.blob.hash)?.take(HEADER_BYTES_MAX).read_to_end(&mut header).map_err(broken)?;
    let parsed = mail_parser::MessageParser::new().parse_headers(header.as_slice());
    let Some(message_id) = parsed.as_ref().and_then(|parsed| parsed.message_id()) else { return Ok(filing) };
    let Some(words) = store.sent_in_clear(account, message_id)? else { return Ok(filing) };
    let mut stage = store.stage()?;
    stage.write_all(format!("{FIELD}: {words}\r\n").as_bytes()).map_err(broken)?;
    io::copy(&mut store.blob(&filing.blob.hash)?, &mut stage).map_err(broken)?;
    Ok(Filing { blob: stage.finish()?, ..filing })
}
