//! The rows that no log can rebuild: queue, accounts, contacts, secrets. Each must decode, and what lists it must agree.

use redb::{ReadableTable, ReadableTableMetadata};

use super::{Check, Place};
use crate::schema::{ACCOUNT_KEYS, ACCOUNT_NAMES, ACCOUNTS, CONTACT_EMAILS, CONTACT_KEYS, CONTACTS, PROGRESS, QUEUE, SECRETS};
use crate::store::Reader;
use crate::{StoreError, account, contact, queue, secret};

impl Check<'_> {
    /// Every entry has its progress and its mail; the mail's mention is counted.
    pub(super) fn queue(&mut self, reader: &Reader) -> Result<(), StoreError> {
        let progress = reader.table(PROGRESS)?;
        let queue = reader.table(QUEUE)?;
        for row in queue.iter()? {
            let (key, value) = row?;
            let state = progress.get(key.value())?;
            match queue::decode(key.value(), value.value(), state.as_ref().map(redb::AccessGuard::value)) {
                Ok(entry) => {
                    if let Some((hash, _)) = entry.blob {
                        *self.mentions.entry(hash.0).or_default() += 1;
                    }
                }
                Err(error) => self.report.problem(Place::Queue, error.to_string()),
            }
        }
        if queue.len()? != progress.len()? {
            self.report.problem(Place::Queue, "the queue's entries and their progress do not agree");
        }
        Ok(())
    }

    /// Accounts and contacts are found by every name they have, and by no other.
    pub(super) fn people(&mut self, reader: &Reader) -> Result<(), StoreError> {
        let (names, keys) = (reader.table(ACCOUNT_NAMES)?, reader.table(ACCOUNT_KEYS)?);
        let accounts = reader.table(ACCOUNTS)?;
        for row in accounts.iter()? {
            let (key, value) = row?;
            let Ok(account) = account::decode(key.value(), value.value()) else {
                self.report.problem(Place::People, format!("account {} cannot be read", key.value()));
                continue;
            };
            let named = names.get(account.name.as_str())?.map(|row| row.value());
            let keyed = keys.get(account.address.key())?.map(|row| row.value());
            if named != Some(account.id.0) || keyed != Some(account.id.0) {
                self.report.problem(Place::People, format!("account {} is not found by its name or key", account.name));
            }
        }
        if accounts.len()? != names.len()? || accounts.len()? != keys.len()? {
            self.report.problem(Place::People, "names or keys are listed for accounts that are not there");
        }
        let (keys, emails) = (reader.table(CONTACT_KEYS)?, reader.table(CONTACT_EMAILS)?);
        let contacts = reader.table(CONTACTS)?;
        let mut addresses = 0;
        for row in contacts.iter()? {
            let (key, value) = row?;
            let (account, name) = key.value();
            let Ok(contact) = contact::decode(account, name, value.value()) else {
                self.report.problem(Place::People, "a contact cannot be read");
                continue;
            };
            addresses += contact.emails.len() as u64;
            let mut found = keys.get((account, *contact.address.key()))?.is_some_and(|row| row.value() == name);
            for email in &contact.emails {
                found &= emails.get((account, email.as_str()))?.is_some_and(|row| row.value() == name);
            }
            if !found {
                self.report.problem(Place::People, "a contact is not found by its key or a legacy address");
            }
        }
        if contacts.len()? != keys.len()? || addresses != emails.len()? {
            self.report.problem(Place::People, "keys or legacy addresses are listed for contacts that are not there");
        }
        Ok(())
    }

    /// Every secret opens under its day key.
    pub(super) fn secrets(&mut self, reader: &Reader) -> Result<(), StoreError> {
        for row in reader.table(SECRETS)?.iter()? {
            let (name, value) = row?;
            let opened = secret::open(&self.store.core().keyring(), name.value(), value.value());
            if let Err(error) = opened {
                self.report.problem(Place::People, error.to_string());
            }
        }
        Ok(())
    }
}
