//! The log, mended from the views; the views, written anew from the log.

use std::collections::{BTreeMap, BTreeSet};

use kith_protocol::ids::AccountId;
use redb::ReadableTable;

use super::{hosting, people};
use crate::blob::{BlobHash, BlobReader, Trust};
use crate::folder::{FolderId, FolderRow, KeywordBits, Placement};
use crate::log::{Arrival, Created, Entry, FolderChange, Removed, Tags};
use crate::mailbox::{CHANGED, Keywords, VANISHED, runs};
use crate::schema::{
    BLOBS, BODIES, CHANGES, COPIES, FOLDER_NAMES, FOLDERS, LETTERS, LETTERS_BY_AGE, LOG, LOG_END, META, PLACEMENTS,
    SUBSCRIPTIONS, meta,
};
use crate::tags::{Mailbox, fold};
use crate::verify::Mentions;
use crate::{StoreError, Transaction};

/// What was mended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rebuilt {
    pub(super) entries_lost: u64,
    pub(super) told_again: u64,
    pub(super) messages_lost: u64,
    pub(super) queued_lost: u64,
    pub(super) held_lost: u64,
}

/// Bytes that are there and whole: hash → (bytes, body number or 0 for a file).
pub(super) type Available = BTreeMap<[u8; 32], (u64, u64)>;

/// What the folder views still knew when the repair began.
#[derive(Default)]
struct Remembered {
    folders: BTreeMap<u64, FolderRow>,
    placements: BTreeMap<(u64, u32), (Placement, Vec<String>)>,
}

pub(super) fn rebuild(transaction: &mut Transaction<'_>) -> Result<Rebuilt, StoreError> {
    let mut rebuilt = Rebuilt::default();
    let available = available(transaction)?;
    let mut mentions = Mentions::new();
    for account in accounts(transaction)? {
        let remembered = remembered(transaction, account)?;
        mend(transaction, account, &remembered, &available, &mut rebuilt)?;
        let mailbox = fold(&*transaction.view(LOG)?, account.0)?.mailbox;
        for record in mailbox.records.values() {
            *mentions.entry(record.hash).or_default() += 1;
        }
        write_views(transaction, account, &mailbox, &remembered)?;
    }
    people::rebuild(transaction, &mut rebuilt)?;
    people::queue(transaction, &available, &mut mentions, &mut rebuilt)?;
    people::legacy(transaction, &available, &mut mentions, &mut rebuilt)?;
    hosting::rebuild(transaction, &available, &mut mentions, &mut rebuilt)?;
    write_blobs(transaction, &available, &mentions)?;
    write_letters(transaction)?;
    Ok(rebuilt)
}

fn accounts(transaction: &Transaction<'_>) -> Result<BTreeSet<AccountId>, StoreError> {
    let mut accounts = BTreeSet::new();
    for row in transaction.view(LOG_END)?.iter()? {
        accounts.insert(AccountId(row?.0.value()));
    }
    for row in transaction.view(LOG)?.iter()? {
        accounts.insert(AccountId(row?.0.value().0));
    }
    Ok(accounts)
}

fn available(transaction: &Transaction<'_>) -> Result<Available, StoreError> {
    let mut available = Available::new();
    for row in transaction.view(BODIES)?.iter()? {
        let (number, bytes) = row?;
        let bytes = bytes.value();
        available.insert(*blake3::hash(bytes).as_bytes(), (bytes.len() as u64, number.value()));
    }
    let core = transaction.core();
    for hash in core.blob_files()? {
        match BlobReader::of_file(core, &hash, None, Trust::Nothing) {
            Ok(file) => {
                available.entry(hash.0).or_insert((file.size(), 0));
            }
            Err(StoreError::Damaged(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(available)
}

fn remembered(transaction: &Transaction<'_>, account: AccountId) -> Result<Remembered, StoreError> {
    let mut remembered = Remembered::default();
    let keywords: Keywords = transaction.keywords(account)?;
    for row in transaction.view(FOLDERS)?.range((account.0, 0)..=(account.0, u64::MAX))? {
        let (key, value) = row?;
        let id = key.value().1;
        if let Ok(row) = FolderRow::decode(account.0, id, value.value()) {
            remembered.folders.insert(id, row);
        }
    }
    for row in transaction.view(PLACEMENTS)?.range((account.0, 0, 0)..=(account.0, u64::MAX, u32::MAX))? {
        let (key, value) = row?;
        let key = key.value();
        if let Ok(placement) = Placement::decode(key, value.value()) {
            let names = keywords.names(&placement.keywords).iter().map(ToString::to_string).collect();
            remembered.placements.insert((key.1, key.2), (placement, names));
        }
    }
    Ok(remembered)
}

/// Brings the log to a state that makes sense: drops what cannot be read, tells again what the views still knew, takes out
/// messages without bytes.
fn mend(
    transaction: &mut Transaction<'_>,
    account: AccountId,
    remembered: &Remembered,
    available: &Available,
    rebuilt: &mut Rebuilt,
) -> Result<(), StoreError> {
    let folded = fold(&*transaction.view(LOG)?, account.0)?;
    let mut log = transaction.table(LOG)?;
    let senseless = folded.mailbox.contradictions.iter().map(|(offset, _)| *offset);
    for offset in folded.damaged.iter().copied().chain(senseless) {
        log.remove((account.0, offset))?;
        rebuilt.entries_lost += 1;
    }
    drop(log);
    let end = transaction.log_end(account)?.max(folded.last + 1);
    transaction.table(LOG_END)?.insert(account.0, end)?;

    let mut mailbox = fold(&*transaction.view(LOG)?, account.0)?.mailbox;
    let mut names: BTreeSet<String> = mailbox.folders.values().map(|view| view.name.clone()).collect();
    for (id, row) in remembered.folders.iter().filter(|(id, _)| !mailbox.folders.contains_key(id)) {
        let mut name = row.name.clone();
        while !names.insert(name.clone()) {
            name.push_str(" (recovered)");
        }
        let (uid_validity, special, selectable) = (row.uid_validity, row.special, row.selectable);
        let created = Created { id: *id, name, uid_validity, special, selectable };
        transaction.append(account, &Entry::Folder(FolderChange::Created(created)))?;
        rebuilt.told_again += 1;
    }
    if rebuilt.told_again > 0 {
        mailbox = fold(&*transaction.view(LOG)?, account.0)?.mailbox;
    }
    for ((folder, uid), (placement, keywords)) in &remembered.placements {
        let Some(view) = mailbox.folders.get(folder) else { continue };
        if view.placements.contains_key(uid) || view.vanished.contains_key(uid) {
            continue;
        }
        let arrival = Arrival {
            hash: placement.hash,
            size: placement.size,
            date: placement.date,
            zone: placement.zone,
            clock: placement.saved,
            folder: *folder,
            uid: *uid,
            system: placement.system,
            keywords: keywords.clone(),
        };
        transaction.append(account, &Entry::Store(arrival))?;
        rebuilt.told_again += 1;
    }
    let mailbox = fold(&*transaction.view(LOG)?, account.0)?.mailbox;
    take_out_lost(transaction, account, &mailbox, available, rebuilt)
}

/// Dots whose message has no bytes go, and messages without a dot.
fn take_out_lost(
    transaction: &mut Transaction<'_>,
    account: AccountId,
    mailbox: &Mailbox,
    available: &Available,
    rebuilt: &mut Rebuilt,
) -> Result<(), StoreError> {
    let lost: BTreeSet<u64> = mailbox
        .records
        .iter()
        .filter(|(_, record)| record.placements == 0 || available.get(&record.hash).is_none_or(|(size, _)| *size != record.size))
        .map(|(offset, _)| *offset)
        .collect();
    for (id, view) in &mailbox.folders {
        let uids: Vec<u32> = view.placements.iter().filter(|(_, dot)| lost.contains(&dot.record)).map(|(uid, _)| *uid).collect();
        if uids.is_empty() {
            continue;
        }
        rebuilt.messages_lost += uids.len() as u64;
        let removed = Some(Removed { folder: *id, uids: runs(uids.into_iter()) });
        let tags = Tags { clock: transaction.now(), removed, ..Tags::default() };
        transaction.append(account, &Entry::Tags(tags))?;
    }
    transaction.scrub(account, lost.into_iter().collect())
}

fn write_views(
    transaction: &mut Transaction<'_>,
    account: AccountId,
    mailbox: &Mailbox,
    remembered: &Remembered,
) -> Result<(), StoreError> {
    transaction.clear_views(account)?;
    let at_least = |transaction: &mut Transaction<'_>, kind: String, number: u64| -> Result<(), StoreError> {
        let mut counters = transaction.table(META)?;
        let now = counters.get(kind.as_str())?.map_or(0, |row| row.value());
        counters.insert(kind.as_str(), now.max(number))?;
        Ok(())
    };
    for (id, view) in &mailbox.folders {
        let (messages, unseen, bytes) = view.counts(&mailbox.records);
        let uid_next = view.uid_last.saturating_add(1);
        let row = FolderRow {
            name: view.name.clone(),
            uid_validity: view.uid_validity,
            uid_next,
            mod_seq: view.mod_seq,
            messages,
            unseen,
            bytes,
            recent_from: remembered.folders.get(id).map_or(uid_next, |row| row.recent_from.min(uid_next)),
            special: view.special,
            selectable: view.selectable,
        };
        transaction.put_folder_row(account, *id, &row)?;
        transaction.table(FOLDER_NAMES)?.insert((account.0, view.name.as_str()), *id)?;
        at_least(transaction, format!("folder/{}", account.0), *id)?;
        at_least(transaction, format!("uid_validity/{}", account.0), u64::from(view.uid_validity))?;
        write_dots(transaction, account, *id, mailbox)?;
    }
    for name in &mailbox.subscriptions {
        transaction.table(SUBSCRIPTIONS)?.insert((account.0, name.as_str()), ())?;
    }
    let mut copies = transaction.table(COPIES)?;
    for (offset, record) in mailbox.records.iter().filter(|(_, record)| record.placements > 1) {
        copies.insert((account.0, *offset), record.placements)?;
    }
    Ok(())
}

fn write_dots(transaction: &mut Transaction<'_>, account: AccountId, id: u64, mailbox: &Mailbox) -> Result<(), StoreError> {
    let Some(view) = mailbox.folders.get(&id) else { return Ok(()) };
    for (uid, dot) in &view.placements {
        let Some(record) = mailbox.records.get(&dot.record) else { continue };
        let names: Vec<_> = dot.keywords.iter().map(|name| name.as_str().into()).collect();
        let keywords: KeywordBits = transaction.keywords_with(account, &names)?.bits(&names);
        let placement = Placement {
            record: dot.record,
            mod_seq: dot.mod_seq,
            hash: record.hash,
            size: record.size,
            date: record.date,
            zone: record.zone,
            saved: dot.saved,
            system: dot.system,
            keywords,
        };
        let key = (account.0, id, *uid);
        transaction.table(PLACEMENTS)?.insert(key, placement.encode(key).as_slice())?;
        transaction.table(CHANGES)?.insert((account.0, id, dot.mod_seq, *uid), CHANGED)?;
    }
    let mut changes = transaction.table(CHANGES)?;
    for (uid, mod_seq) in &view.vanished {
        changes.insert((account.0, id, *mod_seq, *uid), VANISHED)?;
    }
    drop(changes);
    // The log forgets nothing: from here on the bound holds again.
    transaction.count_vanished(account, FolderId(id), view.vanished.len() as u64)
}

fn write_blobs(transaction: &mut Transaction<'_>, available: &Available, mentions: &Mentions) -> Result<(), StoreError> {
    let mut blobs = transaction.table(BLOBS)?;
    blobs.retain(|_, _| false)?;
    let mut used = BTreeSet::new();
    let mut last = 0;
    for (hash, mentions) in mentions {
        if let Some((size, body)) = available.get(hash) {
            blobs.insert(*hash, (*mentions, *size, *body))?;
            used.insert(*body);
        }
    }
    drop(blobs);
    let mut bodies = transaction.table(BODIES)?;
    bodies.retain(|number, _| {
        last = last.max(number);
        used.contains(&number)
    })?;
    drop(bodies);
    for (hash, (_, body)) in available {
        if *body == 0 && !mentions.contains_key(hash) {
            transaction.forget_file(BlobHash(*hash));
        }
    }
    let mut counters = transaction.table(META)?;
    let now = counters.get(meta::BODY)?.map_or(0, |row| row.value());
    counters.insert(meta::BODY, now.max(last))?;
    Ok(())
}

fn write_letters(transaction: &mut Transaction<'_>) -> Result<(), StoreError> {
    let mut ages = Vec::new();
    for row in transaction.view(LETTERS)?.iter()? {
        let (key, age) = row?;
        let (account, from, mid) = key.value();
        ages.push((age.value(), account, from, mid));
    }
    let mut by_age = transaction.table(LETTERS_BY_AGE)?;
    by_age.retain(|_, ()| false)?;
    for row in ages {
        by_age.insert(row, ())?;
    }
    Ok(())
}
