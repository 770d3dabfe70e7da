//! Whom the `From` field names, and what to make of it where it names none or several (RFC 7489 §6.6.1, RFC 9989 §5.3.1).

use mail_parser::{Address, MessageParser};

use super::fields::fields;

/// Addresses of one field that are looked at.
const ADDRESSES_MAX: usize = 100;

/// Who wrote a mail, as its header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Author {
    /// Addresses of one domain: what DMARC is about.
    Of {
        /// The domain, lower case.
        domain: String,
        /// All addresses, as they came.
        addresses: Vec<String>,
    },
    /// Addresses of several domains: DMARC says nothing about it.
    Several(Vec<String>),
    /// No From field.
    Missing,
    /// Several From fields: which one a program shows is anybody's guess.
    Repeated,
    /// A From field without an address, or with what cannot be one.
    Malformed,
}

impl Author {
    /// Reads it from a header (fields without the empty line).
    #[must_use]
    pub fn of(header: &[u8]) -> Self {
        let mut found = fields(header).filter(|field| field.is("From"));
        let Some(field) = found.next() else { return Self::Missing };
        if found.next().is_some() {
            return Self::Repeated;
        }
        let odd = |byte: &u8| matches!(byte, 0..=8 | 11 | 12 | 14..=31 | 127);
        if field.raw.iter().any(odd) {
            return Self::Malformed;
        }
        // The parser wants an end, and a name without white space before the colon.
        let text = [b"From:", field.value, b"\r\n\r\n"].concat();
        let Some(message) = MessageParser::default().parse_headers(&text) else { return Self::Malformed };
        let addresses: Vec<String> = match message.from() {
            None => Vec::new(),
            Some(Address::List(list)) => list.iter().filter_map(|one| one.address()).map(str::to_owned).collect(),
            Some(Address::Group(groups)) => {
                groups.iter().flat_map(|group| &group.addresses).filter_map(|one| one.address()).map(str::to_owned).collect()
            }
        };
        if addresses.is_empty() || addresses.len() > ADDRESSES_MAX {
            return Self::Malformed;
        }
        let mut domains = Vec::new();
        for address in &addresses {
            let Some(domain) = domain_of(address) else { return Self::Malformed };
            if !domains.contains(&domain) {
                domains.push(domain);
            }
        }
        match domains.pop() {
            Some(domain) if domains.is_empty() => Self::Of { domain, addresses },
            Some(domain) => {
                domains.push(domain);
                Self::Several(domains)
            }
            None => Self::Malformed,
        }
    }

    /// The domains that it names.
    #[must_use]
    pub fn domains(&self) -> &[String] {
        match self {
            Self::Of { domain, .. } => std::slice::from_ref(domain),
            Self::Several(domains) => domains,
            Self::Missing | Self::Repeated | Self::Malformed => &[],
        }
    }
}

/// The domain of an address, lower case; `None` where it is none.
#[must_use]
pub fn domain_of(address: &str) -> Option<String> {
    // Quoted local parts come without their text from some readers; whose domain it is matters here.
    let (_, domain) = address.rsplit_once('@')?;
    let domain = domain.trim_end_matches('.');
    let is_label = |label: &str| {
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_') || !letter.is_ascii();
        (1..=63).contains(&label.len()) && label.chars().all(is_letter)
    };
    let is_domain = domain.len() <= 253 && domain.split('.').all(is_label);
    is_domain.then(|| domain.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: &str) -> Author {
        Author::of(header.as_bytes())
    }

    #[test]
    fn one_author_has_a_domain() {
        for header in ["From: Anna <anna@Example.org>\r\n", "from : anna@example.org", "FROM:\r\n <anna@example.org>\r\n"] {
            assert_eq!(of(header).domains(), ["example.org"], "{header}");
        }
        assert!(matches!(of("From: a@x.example, b@X.example\r\n"), Author::Of { addresses, .. } if addresses.len() == 2));
    }

    #[test]
    fn what_is_shown_as_a_name_is_no_address() {
        assert_eq!(of("From: \"boss@bank.example\" <x@evil.example>\r\n").domains(), ["evil.example"]);
    }

    #[test]
    fn none_several_and_malformed_ones_are_told_apart() {
        assert_eq!(of("To: x\r\n"), Author::Missing);
        assert_eq!(of("From: a@b.example\r\nSubject: x\r\nfrom: c@d.example\r\n"), Author::Repeated);
        assert_eq!(of("From: a@b.example\r\nFrom : a@b.example\r\n"), Author::Repeated);
        assert!(matches!(of("From: a@b.example, c@d.example\r\n"), Author::Several(domains) if domains.len() == 2));
        for header in
            ["From: nobody\r\n", "From:\r\n", "From: <>\r\n", "From: a@\r\n", "From: a@b..c\r\n", "From: a\0@b.example\r\n"]
        {
            assert_eq!(of(header), Author::Malformed, "{header:?}");
        }
    }
}
