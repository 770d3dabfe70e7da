//! Every table: what its rows mean, when they change, what never does.
//!
//! One redb file, `store.redb`, with the `journal` of what it has not got yet, beside `blobs/` (large messages), `staging/` (messages being written), `spool/` (envelopes in
//! transit), `keys` (what secrets are sealed under) and `lock`. Numbers in keys sort by value. Rows marked *view* follow from the log: `kith verify` recomputes them,
//! `kith repair` rebuilds them. All other rows are the only copy of what they say.

use redb::{Key, ReadTransaction, ReadableTable, TableDefinition, Value, WriteTransaction};

use crate::StoreError;
use crate::store::guarded;

/// The layout below. Grows by one with every change that an older Kith could not read; `migrate.rs` brings older stores up.
pub(crate) const FORMAT: u64 = 6;

/// The database file, and the name it has while it is being made.
pub(crate) const DATABASE: &str = "store.redb";
pub(crate) const DATABASE_NEW: &str = "store.redb.new";
/// What `kith repair` makes before it takes the place of the damaged file; that one is kept under this name and a time.
pub(crate) const DATABASE_REPAIRED: &str = "store.redb.repaired";
pub(crate) const DATABASE_DAMAGED: &str = "store.redb.damaged";
/// Folders beside it.
pub(crate) const BLOBS_DIR: &str = "blobs";
pub(crate) const STAGING_DIR: &str = "staging";
pub(crate) const SPOOL_DIR: &str = "spool";

/// Keys of [`META`].
pub(crate) mod meta {
    /// [`super::FORMAT`] of this file. Set when the file is made, changed by migration alone.
    pub(crate) const FORMAT: &str = "format";
    /// The number of the body that was stored last. Only grows.
    pub(crate) const BODY: &str = "body";
    /// The two halves of the key under which records of the journal count, and their checksum: see `journal.rs`. Changes whenever the journal
    /// begins anew.
    pub(crate) const JOURNAL: &str = "journal";
    pub(crate) const JOURNAL_MORE: &str = "journal/more";
    pub(crate) const JOURNAL_CHECK: &str = "journal/check";
    /// The clock that letters are dated by, and the wall time at which it was moved last; both in ms and signed.
    pub(crate) const LETTERS_CLOCK: &str = "letters/clock";
    pub(crate) const LETTERS_WALL: &str = "letters/wall";
    /// How far the clock of what is kept for others had come, in ms.
    pub(crate) const HOSTING_PASSED: &str = "hosting/passed";
    /// The wall time of that moment: the bits of a signed number of ms.
    pub(crate) const HOSTING_WALL: &str = "hosting/wall";
}

/// What was copied of a table of a damaged file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    pub(crate) table: &'static str,
    pub(crate) rows: u64,
    /// Whether every row could be read.
    pub(crate) complete: bool,
}

/// Copies what can be read of one table: from the front until something does not read, then from the back.
fn copy_rows<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    to: &WriteTransaction,
    definition: TableDefinition<'static, K, V>,
    table: &'static str,
) -> Result<Copied, StoreError> {
    let mut target = to.open_table(definition)?;
    let mut copied = Copied { table, rows: 0, complete: true };
    let opened = guarded(|| Ok(from.open_table(definition)?));
    let Ok(source) = opened else { return Ok(Copied { complete: false, ..copied }) };
    let Ok(mut rows) = guarded(|| Ok(source.iter()?)) else { return Ok(Copied { complete: false, ..copied }) };
    let mut from_the_back = false;
    loop {
        let row = guarded(|| {
            let row = if from_the_back { rows.next_back() } else { rows.next() };
            let Some((key, value)) = row.transpose()? else { return Ok(false) };
            target.insert(key.value(), value.value())?;
            Ok(true)
        });
        match row {
            Ok(true) => copied.rows += 1,
            Ok(false) => return Ok(copied),
            Err(_) if from_the_back => return Ok(copied),
            Err(_) => {
                copied.complete = false;
                from_the_back = true;
                match guarded(|| Ok(source.iter()?)) {
                    Ok(again) => rows = again,
                    Err(_) => return Ok(copied),
                }
            }
        }
    }
}

/// Puts a row, or removes it where there is no value.
fn put_row<K: Key + 'static, V: Value + 'static>(
    to: &WriteTransaction,
    definition: TableDefinition<'static, K, V>,
    key: &[u8],
    value: Option<&[u8]>,
) -> Result<(), StoreError> {
    let mut table = to.open_table(definition)?;
    match value {
        Some(value) => table.insert(K::from_bytes(key), V::from_bytes(value))?,
        None => table.remove(K::from_bytes(key))?,
    };
    Ok(())
}

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident: $key:ty => $value:ty = $text:literal;)*) => {
        $($(#[$doc])* pub(crate) const $name: TableDefinition<'static, $key, $value> = TableDefinition::new($text);)*

        /// Makes every table, so that readers never meet a missing one.
        pub(crate) fn create_all(transaction: &WriteTransaction) -> Result<(), StoreError> {
            $(transaction.open_table($name)?;)*
            Ok(())
        }

        /// Puts a row of the table of that name as bytes, or removes it; `false` where there is no such table.
        pub(crate) fn put(to: &WriteTransaction, table: &[u8], key: &[u8], value: Option<&[u8]>) -> Result<bool, StoreError> {
            match std::str::from_utf8(table) {
                $(Ok($text) => put_row(to, $name, key, value)?,)*
                _ => return Ok(false),
            }
            Ok(true)
        }

        /// Copies every row that can be read.
        pub(crate) fn copy_all(from: &ReadTransaction, to: &WriteTransaction) -> Result<Vec<Copied>, StoreError> {
            Ok(vec![$(copy_rows(from, to, $name, $text)?,)*])
        }
    };
}

tables! {
    /// Name → number: see [`meta`]; the last id given of each kind (`account`, `entry`, …), which only grow; and for each password
    /// `password/<account>/made/<label>` and `…/used/<label>`, Unix seconds, which may be missing.
    META: &str => u64 = "meta";

    /// (account, offset) → [`crate::log::Entry`] in CBOR. **The log**: offsets ascend by one from 1 within an account and are
    /// never reused; the offset is the MODSEQ. An entry never changes; a scrubbed one is gone while its offset stays used.
    LOG: (u32, u64) => &[u8] = "log";
    /// Account → the offset that its next log entry gets (only grows). *View*, but for the tail of scrubbed offsets.
    LOG_END: u32 => u64 = "log_end";

    /// (account, folder id) → [`crate::folder::FolderRow`]. *View*, but for the mark of `\Recent`.
    FOLDERS: (u32, u64) => &[u8] = "folders";
    /// (account, full name) → folder id. *View*.
    FOLDER_NAMES: (u32, &str) => u64 = "folder_names";
    /// (account, full name) → nothing: subscribed names; they outlive folders. *View*.
    SUBSCRIPTIONS: (u32, &str) => () = "subscriptions";
    /// (account, folder id, UID) → [`crate::folder::Placement`]: one message in one folder. *View*.
    PLACEMENTS: (u32, u64, u32) => &[u8] = "placements";
    /// (account, folder id, MODSEQ, UID) → 0: the message last changed then; 1: it vanished then. One row for each message, and for
    /// each UID that vanished and is not forgotten (see [`HISTORY`]). *View*.
    CHANGES: (u32, u64, u64, u32) => u8 = "changes";
    /// (account, folder id) → (MODSEQ up to which what vanished is forgotten, vanished UIDs in [`CHANGES`]). Changes whenever something
    /// vanishes. Without a row nothing is forgotten and nothing counted yet. *View*, but for how much is forgotten.
    HISTORY: (u32, u64) => (u64, u64) = "history";
    /// (account, offset of a `Store` entry) → placements of that message, where there are two or more. *View*.
    COPIES: (u32, u64) => u32 = "copies";
    /// (account, offset of a `Store` entry) → [`crate::header::Excerpt`] of the message. *View*; rows may be missing, and are written when they
    /// are asked for.
    EXCERPTS: (u32, u64) => &[u8] = "excerpts";
    /// (account, [`crate::mailbox::Gist`], offset of a `Store` entry) → what a reader worked out of the message, in the reader's own format,
    /// then the row's checksum. Rows may be missing; they are written some time after somebody asked, and `kith repair` forgets them.
    GISTS: (u32, u8, u64) => &[u8] = "gists";
    /// (account, slot 0–255) → keyword as first spelled. The slot is its bit in placements. *View* up to the numbering.
    KEYWORDS: (u32, u8) => &str = "keywords";

    /// BLAKE3 hash → (mentions ≥ 1, bytes, number in [`BODIES`] or 0 for a file in `blobs/`). A mention is an unscrubbed `Store`
    /// entry, a queue entry or an envelope in [`HELD`]; the row goes with the last one. *View* as to the mentions.
    BLOBS: [u8; 32] => (u64, u64, u64) = "blobs";
    /// Number → the bytes of a message of at most [`crate::blob::INLINE_BYTES_MAX`]. Never changes.
    BODIES: u64 => &[u8] = "bodies";

    /// (account, sender's key, letter) → wall ms when it came: letters that need not be delivered again.
    LETTERS: (u32, [u8; 32], [u8; 16]) => i64 = "letters";
    /// (date ms, account, sender's key, letter) → nothing: [`LETTERS`] by age, to forget the oldest.
    LETTERS_BY_AGE: (i64, u32, [u8; 32], [u8; 16]) => () = "letters_by_age";

    /// Account → [`crate::account::AccountRow`] in CBOR. Ids ascend and are never reused.
    ACCOUNTS: u32 => &[u8] = "accounts";
    /// Account name, lower case → account.
    ACCOUNT_NAMES: &str => u32 = "account_names";
    /// Mailbox key → account.
    ACCOUNT_KEYS: [u8; 32] => u32 = "account_keys";
    /// (account, label) → [`crate::account::PasswordHash`] in CBOR. Replaced when the password changes.
    PASSWORDS: (u32, &str) => &[u8] = "passwords";

    /// (account, petname in lower case) → [`crate::contact::ContactRow`] in CBOR.
    CONTACTS: (u32, &str) => &[u8] = "contacts";
    /// (account, mailbox key) → petname.
    CONTACT_KEYS: (u32, [u8; 32]) => &str = "contact_keys";
    /// (account, legacy address in lower case) → petname.
    CONTACT_EMAILS: (u32, &str) => &str = "contact_emails";
    /// Mailbox key → (generation, sequence, wall ms when it was learned, the card as signed): the greatest ever seen.
    CARDS: [u8; 32] => (u32, u64, i64, &[u8]) = "cards";

    /// Name → a secret, sealed under a day key: day ‖ nonce ‖ ciphertext. See `secret.rs`.
    SECRETS: &str => &[u8] = "secrets";

    /// Entry → [`crate::queue::EntryRow`] in CBOR: what was submitted; never changes. Ids ascend and are never reused.
    QUEUE: u64 => &[u8] = "queue";
    /// Entry → its progress in CBOR: changes with every step of delivery.
    PROGRESS: u64 => &[u8] = "progress";

    /// Token → [`crate::hosting::Permit`] in CBOR. Changes once, when a queue uses it.
    PERMITS: [u8; 32] => &[u8] = "permits";
    /// Queue → `HostedQueue` in CBOR: mailboxes of others that letters are kept for.
    HOSTED: [u8; 16] => &[u8] = "hosted";
    /// Envelope → `HeldEnvelope` in CBOR; mentions the blob of that hash. Its queue is in [`HOSTED`] unless it is kept as a volunteer.
    HELD: [u8; 32] => &[u8] = "held";
    /// (queue, week, mark) → nothing: marks of stamps that are not spent. The queue is in [`HOSTED`].
    MARKS: ([u8; 16], u32, [u8; 16]) => () = "marks";
    /// (queue, directory key) → (number, record). Greater numbers were put later. The queue is in [`HOSTED`].
    KEPT_RECORDS: ([u8; 16], [u8; 32]) => (u64, &[u8]) = "kept_records";

    /// (account, node) → [`crate::relays::Relay`] in CBOR: who keeps letters for the account.
    RELAYS: (u32, [u8; 32]) => &[u8] = "relays";
    /// (account, person's key, kind) → [`crate::relays::Talk`] in CBOR: what people asked and offered each other.
    RELAY_TALK: (u32, [u8; 32], u8) => &[u8] = "relay_talk";
    /// Account → the nodes in CBOR that keep letters for anybody and were found near its place, the last ones first. Replaced when others are found.
    VOLUNTEERS: u32 => &[u8] = "volunteers";

    /// (account, sender's key, letter) → (folder id, UID, wall ms when it came): strangers' mails that wait for a decision, as long as
    /// there is such a message.
    REQUESTS: (u32, [u8; 32], [u8; 16]) => (u64, u32, i64) = "requests";
    /// (account, mailbox key) → nothing: who may write although no contact.
    ACCEPTED: (u32, [u8; 32]) => () = "accepted";
    /// (account, mailbox key) → nothing: who may not write, accepted or not.
    BLOCKED: (u32, [u8; 32]) => () = "blocked";

    /// Envelope → wall ms when it was dealt with.
    SEEN: [u8; 32] => i64 = "seen";
    /// (wall ms, envelope) → nothing: [`SEEN`] by age, to forget the oldest.
    SEEN_BY_AGE: (i64, [u8; 32]) => () = "seen_by_age";

    /// Entry → [`crate::legacy::EntryRow`] in CBOR: a mail for an ordinary address; never changes. Ids are those of [`QUEUE`]; mentions its mail.
    LEGACY: u64 => &[u8] = "legacy";
    /// Entry → [`crate::legacy::LegacyProgress`] in CBOR: changes with every attempt.
    LEGACY_PROGRESS: u64 => &[u8] = "legacy_progress";
    /// Pattern (`local@domain`, `@domain` or `local`, lower case) → [`crate::routes::Route`] in CBOR: whose an address of this gateway is.
    ROUTES: &str => &[u8] = "routes";
    /// (account, `` or `@domain` or `local@domain`) → 0 never, 1 ask, 2 always: whether mail may leave in the clear.
    CLEAR_RULES: (u32, &str) => u8 = "clear_rules";
    /// (account, Message-ID) → (wall ms, what the copy in Sent is to say): mails that went in the clear. Goes with the oldest.
    CLEAR_SENT: (u32, &str) => (i64, &str) = "clear_sent";
    /// (account, mailbox key) → 1 may send by our gateway, 2 lets us send by theirs, 3 both.
    GATEWAY_PEOPLE: (u32, [u8; 32]) => u8 = "gateway_people";
    /// (account, legacy address) → (mailbox key, wall ms): what a signed ordinary mail said of its sender; waits for the person's yes.
    SUGGESTIONS: (u32, &str) => ([u8; 32], i64) = "suggestions";
    /// (kind, key) → what the gateway remembers: greylisted networks, how far an account was fetched, policies of domains.
    GATEWAY_ROWS: (&str, &str) => &[u8] = "gateway_rows";
}
