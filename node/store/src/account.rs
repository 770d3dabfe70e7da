//! People of the household: names and addresses. Their passwords: `login.rs` beside this file, and `password.rs`.

mod login;
mod password;

use kith_protocol::address::Address;
use kith_protocol::codec;
pub use kith_protocol::ids::AccountId;
use redb::ReadableTable;
use serde::{Deserialize, Serialize};

pub use login::{Admitted, Pass, ProgramPassword, USED_EVERY_SECONDS};
pub(crate) use password::Remembered;
pub use password::{LABEL_BYTES_MAX, PASSWORD_BYTES_MAX, PasswordHash, generate_password};

use crate::feed::Topic;
use crate::schema::{ACCOUNT_KEYS, ACCOUNT_NAMES, ACCOUNTS};
use crate::store::Reader;
use crate::{Store, StoreError, Transaction};

/// Accounts of a node at most: a household, not a provider.
pub const ACCOUNTS_MAX: u64 = 1_000;
/// Bytes of a name at most.
pub const NAME_BYTES_MAX: usize = 32;
/// Passwords of an account at most.
pub const PASSWORDS_MAX: usize = 32;
/// The label of the first password.
pub const FIRST_LABEL: &str = "default";

const ACCOUNT: &str = "the account";
const ROW_BYTES_MAX: usize = 1024;
/// The kind of number that accounts get.
const NUMBERS: &str = "account";

/// A person (or role) with a mailbox on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Never reused.
    pub id: AccountId,
    /// Lower-case name, unique here: `[a-z0-9._-]{1,32}`; also the local part of `name@kith.alt`.
    pub name: String,
    /// The mailbox address.
    pub address: Address,
    /// Unix seconds.
    pub created: i64,
}

/// An account as it lies in the table; its id is the key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct AccountRow {
    name: String,
    address: Address,
    created: i64,
}

/// Why a login failed. Mail programs are told the same for the first two.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// No such account, or wrong password: one answer, and the same time spent.
    #[error("wrong name or password")]
    Wrong,
    /// The store failed.
    #[error("the store failed")]
    Unavailable,
}

/// Checks a lower-case account name or petname.
pub(crate) fn check_name(name: &str) -> Result<(), StoreError> {
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len());
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    if fits && name.bytes().all(allowed) && !name.starts_with(['.', '-']) && !name.ends_with('.') && !name.contains("..") {
        return Ok(());
    }
    Err(StoreError::Invalid(format!(
        "a name has 1 to {NAME_BYTES_MAX} of a-z, 0-9, dot, dash and underscore, and neither begins nor ends with a dot"
    )))
}

pub(crate) fn decode(id: u32, bytes: &[u8]) -> Result<Account, StoreError> {
    let row: AccountRow = codec::decode(bytes, ROW_BYTES_MAX).map_err(|_| StoreError::damaged("an account"))?;
    Ok(Account { id: AccountId(id), name: row.name, address: row.address, created: row.created })
}

fn by_id(reader: &Reader, id: u32) -> Result<Option<Account>, StoreError> {
    let table = reader.table(ACCOUNTS)?;
    table.get(id)?.map(|row| decode(id, row.value())).transpose()
}

impl Store {
    /// All accounts by id.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        self.read(|reader| {
            let mut accounts = Vec::new();
            for row in reader.table(ACCOUNTS)?.iter()? {
                let (key, value) = row?;
                accounts.push(decode(key.value(), value.value())?);
            }
            Ok(accounts)
        })
    }

    /// One account.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn account(&self, id: AccountId) -> Result<Account, StoreError> {
        self.read(|reader| by_id(reader, id.0))?.ok_or(StoreError::NotFound(ACCOUNT))
    }

    /// The account that a login name means: its name, its full mail address (`name@kith.alt`, `<58>@kith.alt`) or its 58 characters; case-insensitive.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn account_by_login(&self, login: &str) -> Result<Option<Account>, StoreError> {
        let login = login.trim().to_lowercase();
        let name = login.strip_suffix("@kith.alt").unwrap_or(&login);
        if name.len() > NAME_BYTES_MAX {
            return match Address::parse(name) {
                Ok(address) => self.account_by_address(&address),
                Err(_) => Ok(None),
            };
        }
        self.read(|reader| match reader.table(ACCOUNT_NAMES)?.get(name)? {
            Some(id) => by_id(reader, id.value()),
            None => Ok(None),
        })
    }

    /// The account of an address.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn account_by_address(&self, address: &Address) -> Result<Option<Account>, StoreError> {
        self.read(|reader| match reader.table(ACCOUNT_KEYS)?.get(address.key())? {
            Some(id) => by_id(reader, id.value()),
            None => Ok(None),
        })
    }

    /// Makes an account with its default folders and first password.
    ///
    /// # Errors
    /// `Exists`, `Invalid`.
    pub fn add_account(&self, name: &str, address: Address, password: &[u8]) -> Result<Account, StoreError> {
        let hash = PasswordHash::of(password)?;
        let name = name.to_owned();
        self.write(move |transaction| transaction.add_account(&name, address, &hash))
    }

    /// Removes an account and everything that is its own: mailbox, contacts, queue entries, secrets (those named `<id>/…`), relays, permits
    /// that it gave, strangers' requests. Letters kept for others stay.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn remove_account(&self, id: AccountId) -> Result<(), StoreError> {
        self.write(move |transaction| transaction.remove_account(id))?;
        self.core().remembered.forget(id);
        Ok(())
    }
}

impl Transaction<'_> {
    /// Makes an account with its default folders and first password, so that its keys can be part of the same commit.
    ///
    /// # Errors
    /// `Exists` when the name or address is taken; `Invalid` for a name that cannot be one.
    pub fn add_account(&mut self, name: &str, address: Address, password: &PasswordHash) -> Result<Account, StoreError> {
        let name = name.to_lowercase();
        check_name(&name)?;
        if self.view(ACCOUNT_NAMES)?.get(name.as_str())?.is_some() {
            return Err(StoreError::Exists("an account with this name"));
        }
        if self.view(ACCOUNT_KEYS)?.get(address.key())?.is_some() {
            return Err(StoreError::Exists("an account with this address"));
        }
        let number = self.next_number(NUMBERS)?;
        let id = u32::try_from(number).ok().filter(|_| number <= ACCOUNTS_MAX);
        let id = id.ok_or_else(|| StoreError::Invalid(format!("a node has at most {ACCOUNTS_MAX} accounts in its life")))?;
        let account = Account { id: AccountId(id), name, address, created: self.now() };
        let row = AccountRow { name: account.name.clone(), address, created: account.created };
        let bytes = codec::encode(&row).map_err(|_| StoreError::Invalid("the account cannot be written".into()))?;
        self.table(ACCOUNTS)?.insert(id, bytes.as_slice())?;
        self.table(ACCOUNT_NAMES)?.insert(account.name.as_str(), id)?;
        self.table(ACCOUNT_KEYS)?.insert(address.key(), id)?;
        self.create_default_folders(account.id)?;
        self.set_password(account.id, FIRST_LABEL, password)?;
        self.touch(Topic::People);
        Ok(account)
    }

    /// Refuses what would be left behind by an account that is gone.
    pub(crate) fn need_account(&self, id: AccountId) -> Result<(), StoreError> {
        if self.view(ACCOUNTS)?.get(id.0)?.is_some() { Ok(()) } else { Err(StoreError::NotFound(ACCOUNT)) }
    }

    /// Removes an account and everything that is its own.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn remove_account(&mut self, id: AccountId) -> Result<(), StoreError> {
        let row = self.view(ACCOUNTS)?.get(id.0)?.map(|row| row.value().to_vec());
        let account = decode(id.0, &row.ok_or(StoreError::NotFound(ACCOUNT))?)?;
        self.table(ACCOUNTS)?.remove(id.0)?;
        self.table(ACCOUNT_NAMES)?.remove(account.name.as_str())?;
        self.table(ACCOUNT_KEYS)?.remove(account.address.key())?;
        self.remove_passwords(id)?;
        self.remove_contacts(id)?;
        self.remove_entries(id)?;
        self.erase_secrets(&format!("{}/", id.0))?;
        self.remove_mailbox(id)?;
        self.remove_permits(id)?;
        self.remove_relays(id)?;
        self.remove_volunteers(id)?;
        self.remove_requests(id)?;
        self.remove_people(id)?;
        self.remove_legacy_of(id)?;
        self.remove_gateway_of(&account)?;
        self.touch(Topic::People);
        Ok(())
    }
}
