//! The lookup table: petnames and legacy addresses to mailbox addresses, per account; and the best known card of each address.

use kith_protocol::address::Address;
use kith_protocol::codec;
use kith_protocol::ids::AccountId;
use redb::ReadableTable;
use serde::{Deserialize, Serialize};

use crate::account::check_name;
use crate::feed::Topic;
use crate::schema::{CARDS, CONTACT_EMAILS, CONTACT_KEYS, CONTACTS};
use crate::store::Reader;
use crate::{Store, StoreError, Transaction};

/// Contacts of an account at most.
pub const CONTACTS_MAX: usize = 20_000;
/// Legacy addresses of a contact at most.
pub const EMAILS_MAX: usize = 16;
/// Bytes of a legacy address (RFC 5321 §4.5.3.1.3), at most.
const EMAIL_BYTES_MAX: usize = 254;
/// Bytes of a contact's row, at most.
const ROW_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a card, at most.
const CARD_BYTES_MAX: usize = kith_protocol::limits::CARD_BYTES_MAX;

/// How an address was verified, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

/// A contact as it lies in the table; its account and name are the key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct ContactRow {
    address: Address,
    emails: Vec<String>,
    grade: Grade,
    added: i64,
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

pub(crate) fn decode(account: u32, name: &str, bytes: &[u8]) -> Result<Contact, StoreError> {
    let row: ContactRow = codec::decode(bytes, ROW_BYTES_MAX).map_err(|_| StoreError::damaged("a contact"))?;
    Ok(Contact {
        account: AccountId(account),
        name: name.to_owned(),
        address: row.address,
        emails: row.emails,
        grade: row.grade,
        added: row.added,
    })
}

fn by_name(reader: &Reader, account: AccountId, name: &str) -> Result<Option<Contact>, StoreError> {
    let table = reader.table(CONTACTS)?;
    let row = table.get((account.0, name))?;
    row.map(|row| decode(account.0, name, row.value())).transpose()
}

impl Store {
    /// An account's contacts, by name.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn contacts(&self, account: AccountId) -> Result<Vec<Contact>, StoreError> {
        self.read(|reader| {
            let mut contacts = Vec::new();
            for row in reader.table(CONTACTS)?.range((account.0, "")..(account.0 + 1, ""))? {
                let (key, value) = row?;
                contacts.push(decode(account.0, key.value().1, value.value())?);
            }
            Ok(contacts)
        })
    }

    /// By petname, in any case.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn contact_by_name(&self, account: AccountId, name: &str) -> Result<Option<Contact>, StoreError> {
        self.read(|reader| by_name(reader, account, &name.to_lowercase()))
    }

    /// By legacy address, in any case.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn contact_by_email(&self, account: AccountId, email: &str) -> Result<Option<Contact>, StoreError> {
        let email = email.to_lowercase();
        self.read(|reader| {
            let name = reader.table(CONTACT_EMAILS)?.get((account.0, email.as_str()))?.map(|row| row.value().to_owned());
            name.map_or(Ok(None), |name| by_name(reader, account, &name))
        })
    }

    /// By key.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn contact_by_address(&self, account: AccountId, address: &Address) -> Result<Option<Contact>, StoreError> {
        self.read(|reader| {
            let name = reader.table(CONTACT_KEYS)?.get((account.0, *address.key()))?.map(|row| row.value().to_owned());
            name.map_or(Ok(None), |name| by_name(reader, account, &name))
        })
    }

    /// Adds or replaces (by name) a contact.
    ///
    /// # Errors
    /// `Exists` when another name holds the address or one of the emails; `Invalid` for a name or email that cannot be one.
    pub fn put_contact(&self, contact: Contact) -> Result<(), StoreError> {
        self.write(move |transaction| transaction.put_contact(&contact))
    }

    /// Removes by petname.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn remove_contact(&self, account: AccountId, name: &str) -> Result<Contact, StoreError> {
        let name = name.to_lowercase();
        self.write(move |transaction| transaction.remove_contact(account, &name))
    }

    /// The best known card of an address: exact signed bytes.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn card(&self, address: &Address) -> Result<Option<KnownCard>, StoreError> {
        self.read(|reader| {
            let table = reader.table(CARDS)?;
            let row = table.get(address.key())?;
            Ok(row.map(|row| known(*address, row.value())))
        })
    }

    /// All best known cards.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn cards(&self) -> Result<Vec<KnownCard>, StoreError> {
        self.read(|reader| {
            let mut cards = Vec::new();
            for row in reader.table(CARDS)?.iter()? {
                let (key, value) = row?;
                let address = Address::from_key(key.value()).map_err(|_| StoreError::damaged("the key of a card"))?;
                cards.push(known(address, value.value()));
            }
            Ok(cards)
        })
    }
}

fn known(address: Address, (generation, sequence, learned_ms, bytes): (u32, u64, i64, &[u8])) -> KnownCard {
    KnownCard { address, generation, sequence, learned_ms, bytes: bytes.to_vec() }
}

impl Transaction<'_> {
    /// Adds or replaces (by name) a contact: see [`Store::put_contact`].
    ///
    /// # Errors
    /// As there.
    pub fn put_contact(&mut self, contact: &Contact) -> Result<(), StoreError> {
        let account = contact.account.0;
        let name = contact.name.to_lowercase();
        check_name(&name)?;
        let emails: Vec<String> = contact.emails.iter().map(|email| email.trim().to_lowercase()).collect();
        if emails.len() > EMAILS_MAX || !emails.iter().all(|email| is_email(email)) {
            return Err(StoreError::Invalid(format!("at most {EMAILS_MAX} legacy addresses of the form user@domain")));
        }
        let holder = self.view(CONTACT_KEYS)?.get((account, *contact.address.key()))?.map(|row| row.value().to_owned());
        if holder.is_some_and(|holder| holder != name) {
            return Err(StoreError::Exists("a contact with this address"));
        }
        for email in &emails {
            let holder = self.view(CONTACT_EMAILS)?.get((account, email.as_str()))?.map(|row| row.value().to_owned());
            if holder.is_some_and(|holder| holder != name) {
                return Err(StoreError::Exists("a contact with this legacy address"));
            }
        }
        match self.remove_contact(contact.account, &name) {
            Ok(_) | Err(StoreError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        let row = ContactRow { address: contact.address, emails: emails.clone(), grade: contact.grade, added: contact.added };
        let bytes = codec::encode(&row).map_err(|_| StoreError::Invalid("the contact cannot be written".into()))?;
        self.table(CONTACTS)?.insert((account, name.as_str()), bytes.as_slice())?;
        self.table(CONTACT_KEYS)?.insert((account, *contact.address.key()), name.as_str())?;
        let mut table = self.table(CONTACT_EMAILS)?;
        for email in &emails {
            table.insert((account, email.as_str()), name.as_str())?;
        }
        drop(table);
        self.touch(Topic::People);
        Ok(())
    }

    /// Removes by petname (lower case).
    ///
    /// # Errors
    /// `NotFound`.
    pub fn remove_contact(&mut self, account: AccountId, name: &str) -> Result<Contact, StoreError> {
        let row = self.view(CONTACTS)?.get((account.0, name))?.map(|row| row.value().to_vec());
        let contact = decode(account.0, name, &row.ok_or(StoreError::NotFound("the contact"))?)?;
        self.table(CONTACTS)?.remove((account.0, name))?;
        self.table(CONTACT_KEYS)?.remove((account.0, *contact.address.key()))?;
        let mut emails = self.table(CONTACT_EMAILS)?;
        for email in &contact.emails {
            emails.remove((account.0, email.as_str()))?;
        }
        drop(emails);
        self.touch(Topic::People);
        Ok(contact)
    }

    /// Keeps a card if it is greater than the one known; `false` where it is not (a rollback: nothing changes).
    ///
    /// # Errors
    /// `Invalid` when it is larger than a card can be.
    pub fn put_card(&mut self, card: &KnownCard) -> Result<bool, StoreError> {
        if card.bytes.len() > CARD_BYTES_MAX {
            return Err(StoreError::Invalid("the card is too large".into()));
        }
        let held = self.view(CARDS)?.get(card.address.key())?.map(|row| (row.value().0, row.value().1));
        if held.is_some_and(|held| held >= (card.generation, card.sequence)) {
            return Ok(false);
        }
        let row = (card.generation, card.sequence, card.learned_ms, card.bytes.as_slice());
        self.table(CARDS)?.insert(card.address.key(), row)?;
        self.touch(Topic::People);
        Ok(true)
    }

    /// Removes all contacts of an account.
    pub(crate) fn remove_contacts(&mut self, account: AccountId) -> Result<(), StoreError> {
        let (first, end) = ((account.0, ""), (account.0 + 1, ""));
        self.table(CONTACTS)?.retain_in(first..end, |_, _| false)?;
        self.table(CONTACT_EMAILS)?.retain_in(first..end, |_, _| false)?;
        self.table(CONTACT_KEYS)?.retain_in((account.0, [0; 32])..=(account.0, [255; 32]), |_, _| false)?;
        Ok(())
    }
}

/// One `@`, something on both sides, no white space.
fn is_email(text: &str) -> bool {
    let shape = text.rsplit_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    shape && text.len() <= EMAIL_BYTES_MAX && !text.chars().any(|letter| letter.is_whitespace() || letter.is_control())
}
