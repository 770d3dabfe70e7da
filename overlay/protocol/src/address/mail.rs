//! Addresses as mail programs write them: `<58>@kith.alt`, `anything@<58>.kith.alt`, `name@kith.alt`, with `+tag`.

use super::{ADDRESS_CHARS, Address, AddressError, DOMAIN, key_under};

/// Characters of a name of this node's own (an account's, a contact's): a longer local part is meant as an address.
const NAME_CHARS_MAX: usize = 32;

/// Whom a mail address means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MailTarget {
    /// A mailbox anywhere.
    Mailbox(Address),
    /// A name that only this node knows, in lower case: an account or a contact.
    Name(String),
    /// Somebody outside this network.
    Foreign,
}

/// A mail address, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MailAddress {
    /// Whom it means.
    pub target: MailTarget,
    /// What the recipient may sort by: the text after `+`, or the local part in front of `@<58>.kith.alt`; as written.
    pub tag: Option<String>,
}

impl MailAddress {
    /// Takes a mail address apart; nothing is corrected.
    ///
    /// # Errors
    /// [`AddressError`] when it is meant for this network and wrong, in a sentence that can stand in an SMTP reply. An address of the internet's is
    /// not wrong but [`MailTarget::Foreign`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (local, domain) = text.rsplit_once('@').ok_or(AddressError::Form)?;
        let domain = domain.strip_suffix('.').unwrap_or(domain).to_ascii_lowercase();
        if local.is_empty() {
            return Err(AddressError::Form);
        }
        if domain == DOMAIN {
            return Self::of_local_part(local);
        }
        if let Some(label) = domain.strip_suffix(DOMAIN).and_then(|front| front.strip_suffix('.')) {
            return Ok(Self { target: MailTarget::Mailbox(Address::parse(label)?), tag: Some(local.to_owned()) });
        }
        let (name, _) = split_tag(local);
        match key_under(&domain, name) {
            Ok(_) => Err(AddressError::OtherNetwork { domain }),
            Err(_) => Ok(Self { target: MailTarget::Foreign, tag: None }),
        }
    }

    fn of_local_part(local: &str) -> Result<Self, AddressError> {
        let (name, tag) = split_tag(local);
        let target = if name.chars().count() > NAME_CHARS_MAX {
            MailTarget::Mailbox(Address::parse(name)?)
        } else if name.is_empty() {
            return Err(AddressError::Form);
        } else {
            MailTarget::Name(name.to_lowercase())
        };
        Ok(Self { target, tag: tag.map(str::to_owned) })
    }
}

fn split_tag(local: &str) -> (&str, Option<&str>) {
    match local.split_once('+') {
        Some((name, tag)) => (name, Some(tag)),
        None => (local, None),
    }
}

// RFC 5321 §4.5.3.1.1: a local part has at most 64 octets.
const _: () = assert!(ADDRESS_CHARS + "+tags".len() < 64);
