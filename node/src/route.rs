//! Which way a recipient is reached, decided while the sender's mail program is still there: household, overlay, in the clear, or a refusal
//! with a sentence.

use kith_protocol::address::Address;
use kith_protocol::ids::AccountId;
use kith_store::account::Account;
use kith_store::routes::Clear;
use kith_store::{Store, StoreError};

use crate::gateway::Gateway;

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
    /// To an ordinary address, in the clear.
    Legacy {
        /// Local part as typed, domain in lower case.
        address: String,
        /// It waits for the person's word first.
        held: bool,
    },
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
    /// An ordinary address without a key, and no gateway.
    #[error(
        "{0} is an ordinary e-mail address, and there is no gateway to them here; if they use Kith, add their address with: kith contact add NAME ADDRESS --email {0}"
    )]
    Legacy(String),
    /// The person said that nothing goes there in the clear.
    #[error("mail to {0} would leave in the clear, and a rule of yours forbids that; see: kith gateway rule")]
    Forbidden(String),
    /// Its domain deceives.
    #[error("{0}; if it is meant, say so: kith gateway rule always {1}")]
    Deceptive(String, String),
    /// It is in a domain of this node, and nobody's.
    #[error("nobody has the address {0} here; give it to somebody with: kith gateway map {0} WHO")]
    Unmapped(String),
    /// The store could not be asked.
    #[error("the contact table cannot be read right now")]
    Store(#[from] StoreError),
}

/// Finds the road for one recipient of one sender.
///
/// # Errors
/// [`Unroutable`]; only its `Store` case is temporary.
pub fn find(store: &Store, gateway: &Gateway, sender: &Account, recipient: &str) -> Result<Road, Unroutable> {
    let (local, domain) = match recipient.rsplit_once('@') {
        Some((local, domain)) if !local.is_empty() && !domain.is_empty() => (local, domain.to_ascii_lowercase()),
        None if !recipient.is_empty() => (recipient, DOMAIN.to_owned()),
        _ => return Err(Unroutable::Syntax(shown(recipient))),
    };
    if let Some(label) = domain.strip_suffix(".kith.alt") {
        return key_road(store, label);
    }
    if domain != DOMAIN {
        return ordinary(store, gateway, sender, local, &domain);
    }
    let name = local.split('+').next().unwrap_or(local).to_lowercase();
    if name.len() > NAME_BYTES_MAX {
        return key_road(store, &name);
    }
    if let Some(contact) = store.contact_by_name(sender.id, &name)? {
        return overlay_or_household(store, contact.address);
    }
    match store.account_by_login(&name)? {
        Some(account) => Ok(Road::Household(account.id)),
        None => Err(Unroutable::UnknownName(shown(&name))),
    }
}

/// The road to an ordinary address: to a key, where somebody has said that it is one's; else in the clear, where that is possible and allowed.
fn ordinary(store: &Store, gateway: &Gateway, sender: &Account, local: &str, domain: &str) -> Result<Road, Unroutable> {
    let email = format!("{}@{domain}", local.to_lowercase());
    if let Some(contact) = store.contact_by_email(sender.id, &email)? {
        return overlay_or_household(store, contact.address);
    }
    if let Some(address) = gateway.whose(store, &email)? {
        return overlay_or_household(store, address);
    }
    if gateway.is_own(domain) {
        return Err(Unroutable::Unmapped(shown(&email)));
    }
    if gateway.way_out(store, sender)?.is_none() {
        return Err(Unroutable::Legacy(shown(&email)));
    }
    if let Some(deception) = gateway.deception(store, sender, &email)? {
        return Err(Unroutable::Deceptive(shown(&deception), shown(&email)));
    }
    let address = format!("{local}@{domain}");
    match gateway.clear(store, sender.id, &email)? {
        Clear::Never => Err(Unroutable::Forbidden(shown(&email))),
        Clear::Ask => Ok(Road::Legacy { address, held: true }),
        Clear::Always => Ok(Road::Legacy { address, held: false }),
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
