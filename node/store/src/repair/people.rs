//! Accounts, contacts and the queue after a repair: rows that cannot be read go, what finds them is written anew.

use std::collections::BTreeMap;

use kith_protocol::codec;
use kith_protocol::event::{Progress, Wall};
use redb::ReadableTable;

use super::rebuild::{Available, Rebuilt};
use crate::legacy::{self, LegacyProgress};
use crate::routes::{ROUTE, Route};
use crate::schema::{
    ACCOUNT_KEYS, ACCOUNT_NAMES, ACCOUNTS, CONTACT_EMAILS, CONTACT_KEYS, CONTACTS, GATEWAY_PEOPLE, LEGACY, LEGACY_PROGRESS,
    PROGRESS, QUEUE, ROUTES, SUGGESTIONS,
};
use crate::verify::Mentions;
use crate::{StoreError, Transaction, account, contact, queue, row};

pub(super) fn rebuild(transaction: &mut Transaction<'_>, rebuilt: &mut Rebuilt) -> Result<(), StoreError> {
    let mut accounts = Vec::new();
    let table = transaction.table(ACCOUNTS)?;
    for row in table.iter()? {
        let (id, value) = row?;
        accounts.push((id.value(), account::decode(id.value(), value.value()).ok()));
    }
    drop(table);
    transaction.table(ACCOUNT_NAMES)?.retain(|_, _| false)?;
    transaction.table(ACCOUNT_KEYS)?.retain(|_, _| false)?;
    for (id, account) in accounts {
        let Some(account) = account else {
            transaction.table(ACCOUNTS)?.remove(id)?;
            rebuilt.entries_lost += 1;
            continue;
        };
        transaction.table(ACCOUNT_NAMES)?.insert(account.name.as_str(), id)?;
        transaction.table(ACCOUNT_KEYS)?.insert(*account.address.key(), id)?;
    }
    contacts(transaction, rebuilt)
}

fn contacts(transaction: &mut Transaction<'_>, rebuilt: &mut Rebuilt) -> Result<(), StoreError> {
    let mut contacts = Vec::new();
    let table = transaction.table(CONTACTS)?;
    for row in table.iter()? {
        let (key, value) = row?;
        let (account, name) = key.value();
        contacts.push(((account, name.to_owned()), contact::decode(account, name, value.value()).ok()));
    }
    drop(table);
    transaction.table(CONTACT_KEYS)?.retain(|_, _| false)?;
    transaction.table(CONTACT_EMAILS)?.retain(|_, _| false)?;
    for ((account, name), contact) in contacts {
        let Some(contact) = contact else {
            transaction.table(CONTACTS)?.remove((account, name.as_str()))?;
            rebuilt.entries_lost += 1;
            continue;
        };
        transaction.table(CONTACT_KEYS)?.insert((account, *contact.address.key()), name.as_str())?;
        for email in &contact.emails {
            transaction.table(CONTACT_EMAILS)?.insert((account, email.as_str()), name.as_str())?;
        }
    }
    Ok(())
}

/// Keeps the entries whose mail is there and counts their mentions; lost progress begins anew.
pub(super) fn queue(
    transaction: &mut Transaction<'_>,
    available: &Available,
    mentions: &mut Mentions,
    rebuilt: &mut Rebuilt,
) -> Result<(), StoreError> {
    let encode = |progress: &Progress| codec::encode(progress).map_err(|error| StoreError::Broken(error.to_string()));
    let none = encode(&Progress::default())?;
    let mut entries = Vec::new();
    let table = transaction.view(QUEUE)?;
    for row in table.iter()? {
        let (id, value) = row?;
        entries.push((id.value(), queue::decode(id.value(), value.value(), Some(&none)).ok()));
    }
    drop(table);
    let mut kept = BTreeMap::new();
    for (id, entry) in entries {
        let there = |hash: &[u8; 32], size| available.get(hash).is_some_and(|(known, _)| *known == size);
        match entry {
            Some(entry) if entry.blob.as_ref().is_none_or(|(hash, size)| there(&hash.0, *size)) => {
                if let Some((hash, _)) = entry.blob {
                    *mentions.entry(hash.0).or_default() += 1;
                }
                kept.insert(id, Progress { aged_at: Wall(entry.submitted_ms), ..Progress::default() });
            }
            _ => {
                transaction.table(QUEUE)?.remove(id)?;
                rebuilt.queued_lost += 1;
            }
        }
    }
    let mut progress = transaction.table(PROGRESS)?;
    progress.retain(|id, bytes| kept.contains_key(&id) && codec::decode::<Progress>(bytes, bytes.len()).is_ok())?;
    for (id, begun) in kept {
        if progress.get(id)?.is_none() {
            progress.insert(id, encode(&begun)?.as_slice())?;
        }
    }
    Ok(())
}

/// The same for the gateway's queue.
pub(super) fn legacy(
    transaction: &mut Transaction<'_>,
    available: &Available,
    mentions: &mut Mentions,
    rebuilt: &mut Rebuilt,
) -> Result<(), StoreError> {
    let none = row::encode(&LegacyProgress::default(), legacy::PROGRESS)?;
    let mut kept = BTreeMap::new();
    let mut lost = 0;
    transaction.table(LEGACY)?.retain(|id, bytes| {
        let entry = legacy::decode(id, bytes, Some(&none)).ok();
        let entry = entry.filter(|entry| available.get(&entry.blob.0.0).is_some_and(|(size, _)| *size == entry.blob.1));
        let Some(entry) = entry else {
            lost += 1;
            return false;
        };
        *mentions.entry(entry.blob.0.0).or_default() += 1;
        // What was to wait for a person's word may be what was lost.
        kept.insert(id, LegacyProgress { held: true, aged_at_ms: entry.submitted_ms, ..LegacyProgress::default() });
        true
    })?;
    rebuilt.queued_lost += lost;
    let mut progress = transaction.table(LEGACY_PROGRESS)?;
    progress.retain(|id, bytes| kept.contains_key(&id) && row::decode::<LegacyProgress>(bytes, legacy::PROGRESS).is_ok())?;
    for (id, begun) in kept {
        if progress.get(id)?.is_none() {
            progress.insert(id, row::encode(&begun, legacy::PROGRESS)?.as_slice())?;
        }
    }
    drop(progress);
    let possible = |key: [u8; 32]| kith_protocol::address::Address::from_key(key).is_ok();
    transaction.table(ROUTES)?.retain(|_, bytes| row::decode::<Route>(bytes, ROUTE).is_ok())?;
    transaction.table(GATEWAY_PEOPLE)?.retain(|(_, key), _| possible(key))?;
    transaction.table(SUGGESTIONS)?.retain(|_, (key, _)| possible(key))?;
    Ok(())
}
