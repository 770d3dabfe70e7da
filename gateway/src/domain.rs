//! Domains and addresses of ordinary e-mail, in the one form that the DNS and SMTP know (RFC 5321 §4.1.2, RFC 5890, RFC 6531).
//!
//! Not whether a domain exists, and not what a header's display name says. What imitates another name is found in `domain/lookalike.rs`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

pub mod lookalike;

/// The longest domain, in bytes, as A-labels without the last dot (RFC 1035 §2.3.4).
pub const DOMAIN_BYTES_MAX: usize = 253;
/// The longest local part, in bytes (RFC 5321 §4.5.3.1.1).
pub const LOCAL_BYTES_MAX: usize = 64;
/// The longest address in a path, in bytes: 256 with the angle brackets (RFC 5321 §4.5.3.1.3).
pub const ADDRESS_BYTES_MAX: usize = 254;
/// What is looked at at all before it is normalised: U-labels may be longer than the A-labels that they become, but not by more.
const INPUT_BYTES_MAX: usize = 1_024;

/// Why a text is no domain or no address. Each is a sentence for a person.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AddressError {
    /// Nothing before or after the `@`, or no `@`.
    #[error("an address has the form name@domain")]
    Form,
    /// The part before the `@` breaks RFC 5321 §4.1.2.
    #[error("the part before the @ has a character that it cannot have")]
    Local,
    /// The part before the `@` is longer than [`LOCAL_BYTES_MAX`].
    #[error("the part before the @ is longer than {LOCAL_BYTES_MAX} bytes")]
    LocalTooLong,
    /// The domain breaks RFC 5890 or RFC 1035, or its last label is a number.
    #[error("the part after the @ is not a domain")]
    Domain,
    /// The domain is longer than [`DOMAIN_BYTES_MAX`], a label longer than 63 bytes, or the whole longer than [`ADDRESS_BYTES_MAX`].
    #[error("the part after the @ is too long for a domain")]
    TooLong,
    /// What stands in brackets is no IP address.
    #[error("what stands in brackets after the @ is not an IP address")]
    Literal,
}

/// A domain as the DNS has it: A-labels, lower case, no dot at the end, at most [`DOMAIN_BYTES_MAX`] bytes of letters, digits, hyphens and dots.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(String);

impl Domain {
    /// Takes a domain as a person writes it, U-labels and any case, with or without the last dot.
    ///
    /// # Errors
    /// When IDNA (UTS 46, not transitional, STD 3), the lengths of the DNS, or a last label of digits alone forbid it.
    pub fn parse(text: &str) -> Result<Domain, AddressError> {
        if text.len() > INPUT_BYTES_MAX {
            return Err(AddressError::TooLong);
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(AddressError::Domain);
        }
        let ascii = Uts46::new()
            .to_ascii(text.as_bytes(), AsciiDenyList::STD3, Hyphens::Allow, DnsLength::Ignore)
            .map_err(|_| AddressError::Domain)?;
        let labels = || ascii.split('.');
        if labels().any(str::is_empty) {
            return Err(AddressError::Domain);
        }
        if ascii.len() > DOMAIN_BYTES_MAX || labels().any(|label| label.len() > 63) {
            return Err(AddressError::TooLong);
        }
        if labels().any(|label| label.starts_with('-') || label.ends_with('-')) {
            return Err(AddressError::Domain);
        }
        // 192.0.2.1 without brackets is a mistake, never a name (RFC 3696 §2).
        if labels().next_back().is_none_or(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
            return Err(AddressError::Domain);
        }
        Ok(Domain(ascii.into_owned()))
    }

    /// The A-labels.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The U-labels, for people; a label that IDNA does not let be shown stays as it is.
    pub fn to_unicode(&self) -> String {
        let (text, _) = Uts46::new().to_unicode(self.0.as_bytes(), AsciiDenyList::STD3, Hyphens::Allow);
        text.into_owned()
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Domain {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Domain::parse(text)
    }
}

/// What stands after the `@`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Place {
    /// A domain.
    Domain(Domain),
    /// An address literal: this machine and no other (RFC 5321 §4.1.3).
    Literal(IpAddr),
}

impl Place {
    fn parse(text: &str) -> Result<Place, AddressError> {
        let Some(inside) = text.strip_prefix('[') else { return Domain::parse(text).map(Place::Domain) };
        let inside = inside.strip_suffix(']').ok_or(AddressError::Literal)?;
        let tagged = inside.get(..5).filter(|tag| tag.eq_ignore_ascii_case("IPv6:")).and_then(|_| inside.get(5..));
        let ip = match tagged {
            Some(v6) => v6.parse().map(IpAddr::V6),
            None => inside.parse().map(IpAddr::V4),
        };
        ip.map(Place::Literal).map_err(|_| AddressError::Literal)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Domain(domain) => domain.fmt(f),
            Place::Literal(IpAddr::V4(ip)) => write!(f, "[{ip}]"),
            Place::Literal(IpAddr::V6(ip)) => write!(f, "[IPv6:{ip}]"),
        }
    }
}

/// An address as it may stand in a path: safe to put between `<` and `>`, whatever it was made of.
///
/// The local part keeps its case and loses quotes that it does not need. Two addresses of one mailbox can still differ: only its host knows.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    local: String,
    place: Place,
}

impl Address {
    /// Takes `local@domain`, `"quoted local"@domain` or `local@[192.0.2.1]`; UTF-8 where RFC 6531 allows it.
    ///
    /// # Errors
    /// When RFC 5321 §4.1.2 or a length forbids it; control characters never pass.
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        if text.len() > INPUT_BYTES_MAX {
            return Err(AddressError::TooLong);
        }
        let (local, place) = text.rsplit_once('@').ok_or(AddressError::Form)?;
        if local.is_empty() || place.is_empty() {
            return Err(AddressError::Form);
        }
        Address::new(local, Place::parse(place)?)
    }

    /// The same from its two parts.
    ///
    /// # Errors
    /// As [`Address::parse`].
    pub fn new(local: &str, place: Place) -> Result<Address, AddressError> {
        let local = local_part(local)?;
        if local.len() > LOCAL_BYTES_MAX {
            return Err(AddressError::LocalTooLong);
        }
        let address = Address { local, place };
        if address.to_string().len() > ADDRESS_BYTES_MAX {
            return Err(AddressError::TooLong);
        }
        Ok(address)
    }

    /// What stands before the `@`, with quotes where they are needed.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// What stands after it.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The domain, where it is none of brackets.
    pub fn domain(&self) -> Option<&Domain> {
        match &self.place {
            Place::Domain(domain) => Some(domain),
            Place::Literal(_) => None,
        }
    }

    /// Whether it needs a host with SMTPUTF8: the local part is not ASCII (the domain always is, here).
    pub fn needs_utf8(&self) -> bool {
        !self.local.is_ascii()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.place)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Address::parse(text)
    }
}

/// A local part in its shortest form: a dot-string where that says the same, else a quoted string.
fn local_part(text: &str) -> Result<String, AddressError> {
    let Some(inside) = text.strip_prefix('"') else {
        return if is_dot_string(text) { Ok(text.to_owned()) } else { Err(AddressError::Local) };
    };
    let inside = inside.strip_suffix('"').ok_or(AddressError::Local)?;
    let mut plain = String::with_capacity(inside.len());
    let mut escaped = false;
    for character in inside.chars() {
        match character {
            _ if character.is_control() => return Err(AddressError::Local),
            _ if escaped => {
                escaped = false;
                plain.push(character);
            }
            '\\' => escaped = true,
            '"' => return Err(AddressError::Local),
            _ => plain.push(character),
        }
    }
    if escaped {
        return Err(AddressError::Local);
    }
    if is_dot_string(&plain) {
        return Ok(plain);
    }
    let mut quoted = String::with_capacity(plain.len() + 2);
    quoted.push('"');
    for character in plain.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    Ok(quoted)
}

fn is_dot_string(text: &str) -> bool {
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

/// RFC 5322 §3.2.3, with RFC 6531's UTF-8; separators and other invisible ends of lines are none.
fn is_atext(character: char) -> bool {
    match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' => true,
        '!' | '#' | '$' | '%' | '&' | '\'' | '*' | '+' | '-' | '/' | '=' | '?' | '^' | '_' | '`' | '{' | '|' | '}' | '~' => true,
        _ => !character.is_ascii() && !character.is_control() && !character.is_whitespace(),
    }
}

#[cfg(test)]
mod tests;
