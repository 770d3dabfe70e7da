//! Whether a mail goes round in circles: by its hops (RFC 5321 §6.3), and by our own trace: whom it was delivered to before.
//!
//! That a mail left from here says nothing: lists bring mails of a household back to others of it.

use super::fields::fields;

/// More `Received` fields are a circle (RFC 5321 §6.3: at least 100 may be allowed; circles here are short, and honest paths under 30).
pub const HOPS_MAX: usize = 50;

/// A mail that has been here before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Loop {
    /// Too many hops.
    #[error("the mail has made {0} hops, more than {HOPS_MAX}: it goes round in circles")]
    Hops(usize),
    /// It was delivered to the same recipient before.
    #[error("the mail was delivered to this recipient before: it goes round in circles")]
    Delivered,
}

/// Looks for circles in a header; `recipients` are addresses.
///
/// # Errors
/// It is one.
pub fn check(header: &[u8], recipients: &[&str]) -> Result<(), Loop> {
    let mut hops = 0;
    for field in fields(header) {
        let value = || String::from_utf8_lossy(field.value).trim().to_owned();
        if field.is("Received") {
            hops += 1;
        } else if field.is("Delivered-To") && recipients.iter().any(|recipient| value().eq_ignore_ascii_case(recipient)) {
            return Err(Loop::Delivered);
        }
    }
    if hops > HOPS_MAX { Err(Loop::Hops(hops)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_found() {
        let hops = |count: usize| "Received: from a by b; now\r\n".repeat(count);
        assert_eq!(check(hops(50).as_bytes(), &["mum@kith.test"]), Ok(()));
        assert_eq!(check(hops(51).as_bytes(), &[]), Err(Loop::Hops(51)));
        assert_eq!(check(b"Delivered-To: dad@kith.test\r\n", &["mum@kith.test"]), Ok(()));
        assert_eq!(check(b"Delivered-To:  Mum@kith.test \r\n", &["mum@kith.test"]), Err(Loop::Delivered));
    }
}
