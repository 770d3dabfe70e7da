//! Accounts, contacts, secrets and the queues: that every row can be read, and that what is found by name, key or address is there.

use std::collections::BTreeSet;

use redb::{ReadableTable, ReadableTableMetadata};

use super::{Check, Place};
use crate::schema::{
    ACCOUNT_KEYS, ACCOUNT_NAMES, ACCOUNTS, CONTACT_EMAILS, CONTACT_KEYS, CONTACTS, LEGACY, LEGACY_PROGRESS, PROGRESS, QUEUE,
    SECRETS,
};
use crate::store::Reader;
use crate::{StoreError, account, contact, legacy, queue, secret};

impl Check<'_> {
    pub(super) fn accounts(&mut self, reader: &Reader) -> Result<(), StoreError> {
        let (names, keys) = (reader.table(ACCOUNT_NAMES)?, reader.table(ACCOUNT_KEYS)?);
        let accounts = reader.table(ACCOUNTS)?;
        for row in accounts.iter()? {
            let (id, value) = row?;
            let id = id.value();
            let Ok(account) = account::decode(id, value.value()) else {
                self.report.problem(Place::People, format!("account {id} cannot be read"));
                continue;
            };
            let by_name = names.get(account.name.as_str())?.map(|row| row.value());
            let by_key = keys.get(*account.address.key())?.map(|row| row.value());
            if (by_name, by_key) != (Some(id), Some(id)) {
                self.report.problem(Place::View, format!("account {id} is not found by its name and address"));
            }
        }
        if names.len()? != accounts.len()? || keys.len()? != accounts.len()? {
            self.report.problem(Place::View, "there are more names or addresses than accounts");
        }
        Ok(())
    }

    pub(super) fn contacts(&mut self, reader: &Reader) -> Result<(), StoreError> {
        let (keys, emails) = (reader.table(CONTACT_KEYS)?, reader.table(CONTACT_EMAILS)?);
        let mut expected = (0, 0);
        for row in reader.table(CONTACTS)?.iter()? {
            let (key, value) = row?;
            let (account, name) = key.value();
            let Ok(contact) = contact::decode(account, name, value.value()) else {
                self.report.problem(Place::People, format!("a contact of account {account} cannot be read"));
                continue;
            };
            let mut found = keys.get((account, *contact.address.key()))?.is_some_and(|row| row.value() == name);
            for email in &contact.emails {
                found &= emails.get((account, email.as_str()))?.is_some_and(|row| row.value() == name);
            }
            if !found {
                self.report.problem(Place::View, format!("a contact of account {account} is not found by key and address"));
            }
            expected.0 += 1;
            expected.1 += contact.emails.iter().collect::<BTreeSet<_>>().len() as u64;
        }
        if (keys.len()?, emails.len()?) != expected {
            self.report.problem(Place::View, "there are more keys or addresses than contacts have");
        }
        Ok(())
    }

    pub(super) fn secrets(&mut self, reader: &Reader) -> Result<(), StoreError> {
        let keyring = self.store.core().keyring();
        for row in reader.table(SECRETS)?.iter()? {
            let (name, value) = row?;
            if secret::open(&keyring, name.value(), value.value()).is_err() {
                self.report.problem(Place::People, format!("the secret {} cannot be opened", name.value()));
            }
        }
        Ok(())
    }

    pub(super) fn queue(&mut self, reader: &Reader) -> Result<(), StoreError> {
        let (queue, progress) = (reader.table(QUEUE)?, reader.table(PROGRESS)?);
        for row in queue.iter()? {
            let (id, value) = row?;
            let id = id.value();
            let state = progress.get(id)?;
            match queue::decode(id, value.value(), state.as_ref().map(redb::AccessGuard::value)) {
                Ok(entry) => {
                    if let Some((hash, _)) = entry.blob {
                        *self.mentions.entry(hash.0).or_default() += 1;
                    }
                }
                Err(error) => self.report.problem(Place::Queue, error.to_string()),
            }
            self.report.queued += 1;
        }
        if queue.len()? != progress.len()? {
            self.report.problem(Place::Queue, "there is progress of entries that are not there");
        }
        Ok(())
    }

    pub(super) fn legacy(&mut self, reader: &Reader) -> Result<(), StoreError> {
        let (entries, progress) = (reader.table(LEGACY)?, reader.table(LEGACY_PROGRESS)?);
        for found in entries.iter()? {
            let (id, value) = found?;
            let state = progress.get(id.value())?;
            match legacy::decode(id.value(), value.value(), state.as_ref().map(redb::AccessGuard::value)) {
                Ok(entry) => *self.mentions.entry(entry.blob.0.0).or_default() += 1,
                Err(error) => self.report.problem(Place::Queue, error.to_string()),
            }
            self.report.queued += 1;
        }
        if entries.len()? != progress.len()? {
            self.report.problem(Place::Queue, "there is progress of entries of the gateway that are not there");
        }
        Ok(())
    }
}
