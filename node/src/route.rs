//! Which way a recipient is reached, decided while the sender's mail program is still there: household, overlay, or a refusal with a sentence.

use kith_protocol::address::Address;
use kith_protocol::ids::AccountId;
use kith_store::account::Account;
use kith_store::{Store, StoreError};

/// The domain under which everything lives. It never resolves (RFC 9476).
pub const DOMAIN: &str = "kith.alt";

/// The longest petname or account name, in bytes: anything longer before `@kith.alt` is meant to be an address.
const NAME_BYTES_MAX: usize = 32;

/// Where a mail goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Road {
    /// To somebody who lives here.
    Household(AccountId),
    /// To a key, over the overlay.
    Overlay(Address),
}

/// Why a recipient is refused. `Display` is the sentence for the sender.
#[derive(Debug, thiserror::Error)]
pub enum Unroutable {
    /// Not `local@domain`.
    #[error("`{0}` is not a mail address")]
    Syntax(String),
    /// Meant to be a key address, and mistyped.
    #[error("{0}; ask for the address again, or copy it instead of typing")]
    Mistyped(String),
    /// No such name.
    #[error("nobody is called `{0}` among your contacts or in this household; add them with: kith contact add {0} ADDRESS")]
    UnknownName(String),
    /// An ordinary address without a key.
    #[error(
        "{0} is an ordinary e-mail address, and this node only reaches Kith addresses; if they use Kith, add their address with: kith contact add NAME ADDRESS --email {0}"
    )]
    Legacy(String),
    /// The store could not be asked.
    #[error("the contact table cannot be read right now")]
    Store(#[from] StoreError),
}

/// Finds the road for one recipient of one sender.
///
/// # Errors
/// [`Unroutable`]; only its `Store` case is temporary.
pub fn find(store: &Store, sender: AccountId, recipient: &str) -> Result<Road, Unroutable> {
    let (local, domain) = match recipient.rsplit_once('@') {
        Some((local, domain)) if !local.is_empty() && !domain.is_empty() => (local, domain.to_ascii_lowercase()),
        None if !recipient.is_empty() => (recipient, DOMAIN.to_owned()),
        _ => return Err(Unroutable::Syntax(shown(recipient))),
    };
    if let Some(label) = domain.strip_suffix(".kith.alt") {
        return key_road(store, label);
    }
    if domain != DOMAIN {
        let email = format!("{}@{domain}", local.to_lowercase());
        return match store.contact_by_email(sender, &email)? {
            Some(contact) => overlay_or_household(store, contact.address),
            None => Err(Unroutable::Legacy(shown(recipient))),
        };
    }
    let name = local.split('+').next().unwrap_or(local).to_lowercase();
    if name.len() > NAME_BYTES_MAX {
        return key_road(store, &name);
    }
    if let Some(contact) = store.contact_by_name(sender, &name)? {
        return overlay_or_household(store, contact.address);
    }
    match store.account_by_login(&name)? {
        Some(account) => Ok(Road::Household(account.id)),
        None => Err(Unroutable::UnknownName(shown(&name))),
    }
}

fn key_road(store: &Store, text: &str) -> Result<Road, Unroutable> {
    let address = Address::parse(text).map_err(|error| Unroutable::Mistyped(error.to_string()))?;
    overlay_or_household(store, address)
}

fn overlay_or_household(store: &Store, address: Address) -> Result<Road, Unroutable> {
    Ok(match store.account_by_address(&address)? {
        Some(account) => Road::Household(account.id),
        None => Road::Overlay(address),
    })
}

/// May this account write as `address` (a reverse-path or From address)? Its name, its key address, either with a `+tag`, or any local part
/// under its key's own domain.
pub fn owns(account: &Account, address: &str) -> bool {
    let Some((local, domain)) = address.rsplit_once('@') else {
        return false;
    };
    let key = account.address.to_string();
    let domain = domain.to_ascii_lowercase();
    let local = local.split('+').next().unwrap_or(local).to_lowercase();
    (domain == DOMAIN && (local == account.name || local == key))
        || domain.strip_suffix(".kith.alt").is_some_and(|label| label == key)
}

/// The part of foreign text that an answer repeats: printable, bounded.
fn shown(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(100).collect()
}
