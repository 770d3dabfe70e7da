//! A mail as it leaves in the clear: addresses that the ordinary world can answer, nothing that only this node understands, the body byte
//! for byte.

use kith_protocol::address::Address;
use kith_protocol::ids::AccountId;
use kith_store::{Store, StoreError};

use super::Gateway;
use crate::addressing;
use crate::delivered;
use crate::route::DOMAIN;

/// The field in which a mail offers its sender's Kith address.
pub const OFFER: &str = "Kith-Address";

/// Rewrites a header block (fields without the empty line) for the ordinary world. `sender` is whose mail it is, in the eyes of
/// `account`'s contacts; `from` is the sender's ordinary address; keys that cannot be
/// answered there stay as they are.
///
/// # Errors
/// [`StoreError`] from below.
pub fn header(
    store: &Store,
    gateway: &Gateway,
    (account, sender): (AccountId, &Address),
    from: &str,
    block: &[u8],
) -> Result<Vec<u8>, StoreError> {
    let mut failed = None;
    let rewritten = addressing::readdress(block, |local, domain| {
        let address = key(local, domain)?;
        if address == *sender && !from.is_empty() {
            return Some(from.to_owned());
        }
        gateway.answerable(store, account, &address).unwrap_or_else(|error| {
            failed = Some(error);
            None
        })
    });
    if let Some(error) = failed {
        return Err(error);
    }
    let mut out = Vec::with_capacity(rewritten.len() + 128);
    if gateway.config().offer {
        out.extend_from_slice(format!("{OFFER}: {}\r\n", sender.mail()).as_bytes());
    }
    for field in delivered::fields(&rewritten) {
        if !is_ours(field) {
            out.extend_from_slice(field);
        }
    }
    Ok(out)
}

/// The key that an address of ours stands for.
fn key(local: &str, domain: &str) -> Option<Address> {
    let domain = domain.to_ascii_lowercase();
    if domain == DOMAIN {
        return Address::parse(local.split('+').next().unwrap_or(local)).ok();
    }
    Address::parse(domain.strip_suffix(".kith.alt")?).ok()
}

/// Fields that mean something to Kith alone, or that another Kith could take for ours.
fn is_ours(field: &[u8]) -> bool {
    delivered::is_claim(field) || delivered::is_named(field, OFFER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_known_by_both_their_forms() {
        let mut bytes = [0x66; 32];
        bytes[0] = 0x58;
        let address = Address::from_key(bytes).unwrap();
        assert_eq!(key(&format!("{address}+x"), "Kith.Alt"), Some(address));
        assert_eq!(key("anything", &format!("{address}.kith.alt")), Some(address));
        assert_eq!((key("bob", "kith.alt"), key("bob", "example.org")), (None, None));
    }
}
