//! Who may write to whom without being a stranger: contacts, whoever was accepted or written to; nobody who is blocked.

use std::collections::BTreeSet;

use kith_protocol::address::Address;
use kith_protocol::ids::AccountId;
use redb::{ReadableTable, TableDefinition};

use crate::feed::Topic;
use crate::schema::{ACCEPTED, BLOCKED, CONTACT_KEYS};
use crate::store::Reader;
use crate::{Store, StoreError, Transaction};

/// People accepted by an account at most, and blocked at most.
pub const PEOPLE_MAX: usize = 20_000;

type People = TableDefinition<'static, (u32, [u8; 32]), ()>;

fn people_in(account: AccountId) -> std::ops::RangeInclusive<(u32, [u8; 32])> {
    (account.0, [0; 32])..=(account.0, [255; 32])
}

fn address(key: [u8; 32]) -> Result<Address, StoreError> {
    Address::from_key(key).map_err(|_| StoreError::damaged("the key of a person"))
}

fn keys(reader: &Reader, table: People) -> Result<BTreeSet<(u32, [u8; 32])>, StoreError> {
    reader.table(table)?.iter()?.map(|found| Ok(found?.0.value())).collect()
}

impl Store {
    /// Who may write to which account without paying for it: contacts, and whoever was accepted; nobody who is blocked.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn accepted(&self) -> Result<Vec<(AccountId, Address)>, StoreError> {
        self.read(|reader| {
            let mut accepted = keys(reader, ACCEPTED)?;
            for found in reader.table(CONTACT_KEYS)?.iter()? {
                accepted.insert(found?.0.value());
            }
            let blocked = keys(reader, BLOCKED)?;
            accepted.difference(&blocked).map(|(account, key)| Ok((AccountId(*account), address(*key)?))).collect()
        })
    }

    /// Whether an account blocks somebody.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn is_blocked(&self, account: AccountId, address: &Address) -> Result<bool, StoreError> {
        self.read(|reader| Ok(reader.table(BLOCKED)?.get((account.0, *address.key()))?.is_some()))
    }

    /// Whom an account blocks.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn blocked(&self, account: AccountId) -> Result<Vec<Address>, StoreError> {
        self.read(|reader| {
            let table = reader.table(BLOCKED)?;
            table.range(people_in(account))?.map(|found| address(found?.0.value().1)).collect()
        })
    }
}

impl Transaction<'_> {
    /// Adds a person to one of the tables; `false` where there is no room.
    fn put_person(&mut self, table: People, account: AccountId, address: &Address) -> Result<bool, StoreError> {
        let key = (account.0, *address.key());
        if self.view(table)?.get(key)?.is_some() {
            return Ok(true);
        }
        if self.view(table)?.range(people_in(account))?.count() >= PEOPLE_MAX {
            return Ok(false);
        }
        self.table(table)?.insert(key, ())?;
        self.touch(Topic::People);
        Ok(true)
    }

    fn remove_person(&mut self, table: People, account: AccountId, address: &Address) -> Result<bool, StoreError> {
        let key = (account.0, *address.key());
        if self.view(table)?.get(key)?.is_none() {
            return Ok(false);
        }
        self.table(table)?.remove(key)?;
        self.touch(Topic::People);
        Ok(true)
    }

    /// Lets somebody write to the account from now on; who was blocked is not any more.
    ///
    /// # Errors
    /// `Invalid` beyond [`PEOPLE_MAX`].
    pub fn accept(&mut self, account: AccountId, address: &Address) -> Result<(), StoreError> {
        if !self.put_person(ACCEPTED, account, address)? {
            return Err(StoreError::Invalid(format!("an account accepts at most {PEOPLE_MAX} people")));
        }
        self.remove_person(BLOCKED, account, address).map(drop)
    }

    /// Lets whoever is written to answer, unless blocked, and as long as there is room.
    pub(crate) fn accept_recipient(&mut self, account: AccountId, address: &Address) -> Result<(), StoreError> {
        let key = (account.0, *address.key());
        if self.view(BLOCKED)?.get(key)?.is_none() {
            self.put_person(ACCEPTED, account, address)?;
        }
        Ok(())
    }

    /// Takes [`Transaction::accept`] back; `false` where there was nothing to take back. Contacts may write all the same.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn unaccept(&mut self, account: AccountId, address: &Address) -> Result<bool, StoreError> {
        self.remove_person(ACCEPTED, account, address)
    }

    /// Blocks somebody, contact or not.
    ///
    /// # Errors
    /// `Invalid` beyond [`PEOPLE_MAX`].
    pub fn block(&mut self, account: AccountId, address: &Address) -> Result<(), StoreError> {
        if self.put_person(BLOCKED, account, address)? {
            return Ok(());
        }
        Err(StoreError::Invalid(format!("an account blocks at most {PEOPLE_MAX} people")))
    }

    /// Takes [`Transaction::block`] back; `false` where nobody was blocked. Who was accepted before is so again.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn unblock(&mut self, account: AccountId, address: &Address) -> Result<bool, StoreError> {
        self.remove_person(BLOCKED, account, address)
    }

    /// Forgets whom an account accepts and blocks.
    pub(crate) fn remove_people(&mut self, account: AccountId) -> Result<(), StoreError> {
        self.table(ACCEPTED)?.retain_in(people_in(account), |_, ()| false)?;
        self.table(BLOCKED)?.retain_in(people_in(account), |_, ()| false)?;
        Ok(())
    }
}
