//! Paths and mailboxes (RFC 5321 §4.1.2, RFC 6531 §3.3).

use crate::reply::Reply;

/// RFC 5321 §4.5.3.1.1.
const LOCAL_BYTES_MAX: usize = 64;
/// RFC 5321 §4.5.3.1.2.
const DOMAIN_BYTES_MAX: usize = 255;
/// RFC 5321 §4.5.3.1.3, without the angle brackets.
const PATH_BYTES_MAX: usize = 254;

/// Reads `<mailbox>` at the start; returns the mailbox and what follows. `<>` gives an empty one; a source route is passed over, as RFC 5321 §4.1.1.3 asks.
/// A quoted local part comes without its quotes where it needs none.
pub(super) fn parse(text: &[u8]) -> Option<(String, &[u8])> {
    let inner = text.strip_prefix(b"<")?;
    let end = closing(inner)?;
    let (path, rest) = (inner.get(..end)?, inner.get(end + 1..)?);
    if !rest.is_empty() && !rest.starts_with(b" ") {
        return None;
    }
    let path = std::str::from_utf8(path).ok()?;
    let mailbox = if path.starts_with('@') { path.split_once(':')?.1 } else { path };
    if mailbox.is_empty() {
        return path.is_empty().then(|| (String::new(), rest));
    }
    if mailbox.eq_ignore_ascii_case("postmaster") {
        return Some(("postmaster".to_owned(), rest));
    }
    mailbox_text(mailbox).map(|mailbox| (mailbox, rest))
}

pub(super) fn needs_smtputf8() -> Reply {
    Reply::new(553, "5.6.7", "An address with other letters than a-z needs the SMTPUTF8 parameter on MAIL")
}

/// Where the path ends: a `>` that is not within quotes.
fn closing(path: &[u8]) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    path.iter().position(|byte| {
        let ends = *byte == b'>' && !quoted;
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        ends
    })
}

fn mailbox_text(mailbox: &str) -> Option<String> {
    // An at sign within quotes is not the one.
    let (local, domain) = mailbox.rsplit_once('@')?;
    let local = local_part(local)?;
    let fits = local.len() <= LOCAL_BYTES_MAX && local.len() + 1 + domain.len() <= PATH_BYTES_MAX;
    (fits && is_domain(domain)).then(|| format!("{local}@{domain}"))
}

fn local_part(text: &str) -> Option<String> {
    let Some(quoted) = text.strip_prefix('"') else { return is_dot_string(text).then(|| text.to_owned()) };
    let mut plain = String::with_capacity(quoted.len());
    let mut letters = quoted.strip_suffix('"')?.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => plain.push(letters.next()?),
            '"' => return None,
            letter => plain.push(letter),
        }
    }
    if plain.is_empty() || plain.contains(char::is_control) {
        return None;
    }
    if is_dot_string(&plain) { Some(plain) } else { Some(text.to_owned()) }
}

fn is_dot_string(text: &str) -> bool {
    let is_text = |letter: char| {
        letter.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(letter) || !letter.is_ascii() && !letter.is_control()
    };
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_text))
}

/// A domain or an address literal.
fn is_domain(domain: &str) -> bool {
    if let Some(literal) = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let v6 = literal.get(..5).filter(|tag| tag.eq_ignore_ascii_case("IPv6:"));
        return match v6 {
            Some(_) => literal.get(5..).is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
            None => literal.parse::<std::net::Ipv4Addr>().is_ok(),
        };
    }
    let is_label = |label: &str| {
        let is_letter = |letter: char| {
            letter.is_ascii_alphanumeric() || letter == '-' || letter == '_' || !letter.is_ascii() && !letter.is_control()
        };
        (1..=63).contains(&label.len()) && label.chars().all(is_letter) && !label.starts_with('-') && !label.ends_with('-')
    };
    domain.len() <= DOMAIN_BYTES_MAX && domain.split('.').all(is_label)
}
