//! People of the household: names, passwords (argon2id), addresses.

use kith_protocol::address::Address;
pub use kith_protocol::ids::AccountId;

use crate::{Store, StoreError};

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

impl Store {
    /// All accounts by id.
    pub fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        todo!()
    }
    /// One account.
    pub fn account(&self, _id: AccountId) -> Result<Account, StoreError> {
        todo!()
    }
    /// The account that a login name means: its name, its full mail address (`name@kith.alt`, `<58>@kith.alt`) or its 58 characters; case-insensitive.
    pub fn account_by_login(&self, _login: &str) -> Result<Option<Account>, StoreError> {
        todo!()
    }
    /// The account of an address.
    pub fn account_by_address(&self, _address: &Address) -> Result<Option<Account>, StoreError> {
        todo!()
    }
    /// Checks a password: argon2id, blocking, up to a second on a small machine; a recent success is remembered (keyed hash, in memory, bounded) so that a client's many connections are cheap.
    pub fn login(&self, _login: &str, _password: &[u8]) -> Result<Account, LoginError> {
        todo!()
    }
    /// Makes an account with its default folders and first password.
    pub fn add_account(&self, _name: &str, _address: Address, _password: &[u8]) -> Result<Account, StoreError> {
        todo!()
    }
    /// Replaces (or adds, for a new label) a password for mail programs. Labels: up to 32 printable characters; the first password's is `default`.
    pub fn set_password(&self, _id: AccountId, _label: &str, _password: &[u8]) -> Result<(), StoreError> {
        todo!()
    }
    /// Removes an account and everything that is its own.
    pub fn remove_account(&self, _id: AccountId) -> Result<(), StoreError> {
        todo!()
    }
}
