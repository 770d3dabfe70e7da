//! The lookup table: petnames and legacy addresses to mailbox addresses, per account; and the best known card of each address.

use kith_protocol::address::Address;
use kith_protocol::ids::AccountId;

use crate::{Store, StoreError, Transaction};

/// How an address was verified, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Typed or pasted, or learned.
    Unknown,
    /// Introduced by a contact.
    Introduced,
    /// By a shared secret or a spoken comparison.
    Shared,
    /// Face to face.
    InPerson,
}

/// Somebody the account writes to by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Whose contact.
    pub account: AccountId,
    /// The petname: unique per account, case-insensitive, `[a-z0-9._-]{1,32}` once lower-cased.
    pub name: String,
    /// The key.
    pub address: Address,
    /// Legacy addresses that are routed to the key; lower-cased; each at most once per account.
    pub emails: Vec<String>,
    /// How it was verified.
    pub grade: Grade,
    /// Unix seconds.
    pub added: i64,
}

impl Store {
    /// An account's contacts, by name.
    pub fn contacts(&self, _account: AccountId) -> Result<Vec<Contact>, StoreError> {
        todo!()
    }
    /// By petname.
    pub fn contact_by_name(&self, _account: AccountId, _name: &str) -> Result<Option<Contact>, StoreError> {
        todo!()
    }
    /// By legacy address.
    pub fn contact_by_email(&self, _account: AccountId, _email: &str) -> Result<Option<Contact>, StoreError> {
        todo!()
    }
    /// By key.
    pub fn contact_by_address(&self, _account: AccountId, _address: &Address) -> Result<Option<Contact>, StoreError> {
        todo!()
    }
    /// Adds or replaces (by name) a contact. `Exists` when another name holds the address or one of the emails.
    pub fn put_contact(&self, _contact: Contact) -> Result<(), StoreError> {
        todo!()
    }
    /// Removes by petname. `NotFound`.
    pub fn remove_contact(&self, _account: AccountId, _name: &str) -> Result<Contact, StoreError> {
        todo!()
    }
    /// The best known card of an address: exact signed bytes.
    pub fn card(&self, _address: &Address) -> Result<Option<KnownCard>, StoreError> {
        todo!()
    }
    /// All best known cards.
    pub fn cards(&self) -> Result<Vec<KnownCard>, StoreError> {
        todo!()
    }
}

/// A card as kept: only the greatest (generation, sequence) ever seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownCard {
    /// Whose.
    pub address: Address,
    /// Orders cards.
    pub generation: u32,
    /// Orders cards within a generation.
    pub sequence: u64,
    /// When it was learned, wall ms.
    pub learned_ms: i64,
    /// Exact signed bytes.
    pub bytes: Vec<u8>,
}

impl Transaction<'_> {
    /// Keeps a card if it is greater than the one known; `false` where it is not (a rollback: nothing changes).
    pub fn put_card(&mut self, _card: &KnownCard) -> Result<bool, StoreError> {
        todo!()
    }
}
