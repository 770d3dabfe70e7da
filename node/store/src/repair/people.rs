//! What no log can rebuild is kept where it can be read; the indexes over it are written anew.

use redb::ReadableTable;

use super::rebuild::{Available, Rebuilt};
use crate::schema::{ACCOUNT_KEYS, ACCOUNT_NAMES, ACCOUNTS, CONTACT_EMAILS, CONTACT_KEYS, CONTACTS, PROGRESS, QUEUE};
use crate::verify::Mentions;
use crate::{StoreError, Transaction, account, contact, queue};

/// Keeps the queue's entries whose mail is whole; counts their mentions. An entry that only lost its progress begins anew.
pub(super) fn queue(
    transaction: &mut Transaction<'_>,
    available: &Available,
    mentions: &mut Mentions,
    rebuilt: &mut Rebuilt,
) -> Result<(), StoreError> {
    let fresh = queue::fresh_progress()?;
    let mut kept = Vec::new();
    for row in transaction.view(QUEUE)?.iter()? {
        let (key, value) = row?;
        let id = key.value();
        let progress = transaction.view(PROGRESS)?.get(id)?.map(|row| row.value().to_vec());
        let readable = progress.filter(|progress| queue::decode(id, value.value(), Some(progress)).is_ok());
        let progress = readable.unwrap_or_else(|| fresh.clone());
        match queue::decode(id, value.value(), Some(&progress)) {
            Ok(entry) if entry.blob.as_ref().is_none_or(|(hash, _)| available.contains_key(&hash.0)) => {
                if let Some((hash, _)) = entry.blob {
                    *mentions.entry(hash.0).or_default() += 1;
                }
                kept.push((id, progress));
            }
            _ => rebuilt.messages_lost += 1,
        }
    }
    transaction.table(QUEUE)?.retain(|id, _| kept.binary_search_by_key(&id, |(kept, _)| *kept).is_ok())?;
    let mut table = transaction.table(PROGRESS)?;
    table.retain(|_, _| false)?;
    for (id, progress) in kept {
        table.insert(id, progress.as_slice())?;
    }
    Ok(())
}

/// Writes the indexes over accounts and contacts anew; rows that cannot be read go.
pub(super) fn people(transaction: &mut Transaction<'_>) -> Result<(), StoreError> {
    let mut accounts = Vec::new();
    for row in transaction.view(ACCOUNTS)?.iter()? {
        let (key, value) = row?;
        accounts.extend(account::decode(key.value(), value.value()));
    }
    let kept = |id: u32| accounts.iter().any(|account| account.id.0 == id);
    transaction.table(ACCOUNTS)?.retain(|id, _| kept(id))?;
    let mut names = transaction.table(ACCOUNT_NAMES)?;
    let mut keys = transaction.table(ACCOUNT_KEYS)?;
    names.retain(|_, _| false)?;
    keys.retain(|_, _| false)?;
    for account in &accounts {
        names.insert(account.name.as_str(), account.id.0)?;
        keys.insert(account.address.key(), account.id.0)?;
    }
    drop((names, keys));

    let mut contacts = Vec::new();
    for row in transaction.view(CONTACTS)?.iter()? {
        let (key, value) = row?;
        let (account, name) = key.value();
        contacts.extend(contact::decode(account, name, value.value()));
    }
    transaction.table(CONTACT_KEYS)?.retain(|_, _| false)?;
    transaction.table(CONTACT_EMAILS)?.retain(|_, _| false)?;
    transaction.table(CONTACTS)?.retain(|_, _| false)?;
    contacts.iter().try_for_each(|contact| match transaction.put_contact(contact) {
        // Of two that claim the same key or legacy address the first stays.
        Err(StoreError::Exists(_) | StoreError::Invalid(_)) => Ok(()),
        other => other,
    })
}
