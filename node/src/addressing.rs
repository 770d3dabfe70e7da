//! Names that mean something only here become keys before a mail leaves: `bob@kith.alt` in To, Cc, From and the like turns into Bob's
//! 58 characters, so that everybody who gets the mail can answer everybody on it.

use kith_protocol::address::Address;

use crate::route::DOMAIN;

/// Fields that carry addresses (RFC 5322 §3.6.2, §3.6.3, §3.6.6).
const FIELDS: [&str; 9] = ["From", "Sender", "Reply-To", "To", "Cc", "Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc"];

/// The most names that are looked up for one mail.
const NAMES_MAX: usize = 2_000;

/// Rewrites a header block. `lookup` gives the key of a lower-case name, `None` for one that is not known: it stays as it is.
pub fn localise(block: &[u8], mut lookup: impl FnMut(&str) -> Option<Address>) -> Vec<u8> {
    let mut out = Vec::with_capacity(block.len() + 256);
    let mut names = 0;
    let mut in_address_field = false;
    for line in block.split_inclusive(|byte| *byte == b'\n') {
        if !matches!(line.first(), Some(b' ' | b'\t')) {
            in_address_field = FIELDS.iter().any(|name| {
                line.split(|byte| *byte == b':')
                    .next()
                    .is_some_and(|found| found.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
            });
        }
        if in_address_field && names < NAMES_MAX {
            names += rewrite(line, &mut lookup, &mut out);
        } else {
            out.extend_from_slice(line);
        }
    }
    out
}

/// RFC 5322 `dot-atom` characters, without the dot: what a name can consist of.
fn is_atom(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte)
}

/// Rewrites one line; gives how many names were looked up.
fn rewrite(line: &[u8], lookup: &mut impl FnMut(&str) -> Option<Address>, out: &mut Vec<u8>) -> usize {
    let domain = DOMAIN.as_bytes();
    let mut copied = 0;
    let mut names = 0;
    let mut at = 0;
    while let Some(sign) = line.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'@')).map(|found| at + found) {
        at = sign + 1;
        let end = at + domain.len();
        let is_ours = line.get(at..end).is_some_and(|found| found.eq_ignore_ascii_case(domain))
            && !line.get(end).is_some_and(|byte| is_atom(*byte));
        let before = line.get(copied..sign).unwrap_or_default();
        let length = before.iter().rev().take_while(|byte| is_atom(**byte)).count();
        if !is_ours || length == 0 {
            continue;
        }
        let start = sign - length;
        let local = String::from_utf8_lossy(line.get(start..sign).unwrap_or_default()).to_lowercase();
        let (name, tag) = local.split_once('+').map_or((local.as_str(), None), |(name, tag)| (name, Some(tag)));
        names += 1;
        if let Some(address) = lookup(name) {
            out.extend_from_slice(line.get(copied..start).unwrap_or_default());
            out.extend_from_slice(address.to_string().as_bytes());
            // Only a short tag fits beside the key (RFC 5321 §4.5.3.1.1: 64 octets).
            if let Some(tag) = tag.filter(|tag| tag.len() <= 5) {
                out.push(b'+');
                out.extend_from_slice(tag.as_bytes());
            }
            copied = sign;
        }
    }
    out.extend_from_slice(line.get(copied..).unwrap_or_default());
    names
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn somebody() -> Address {
        // The Ed25519 base point: a key like any other.
        let mut key = [0x66; 32];
        key[0] = 0x58;
        Address::from_key(key).unwrap()
    }

    fn with_bob(block: &str) -> String {
        let out = localise(block.as_bytes(), |name| (name == "bob").then(somebody));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn names_become_keys_in_address_fields_alone() {
        let key = somebody().to_string();
        assert_eq!(
            with_bob("To: Bob <BOB@Kith.alt>, carol@kith.alt\r\n"),
            format!("To: Bob <{key}@Kith.alt>, carol@kith.alt\r\n")
        );
        assert_eq!(with_bob("Cc: a@b.c,\r\n bob@kith.alt\r\n"), format!("Cc: a@b.c,\r\n {key}@kith.alt\r\n"));
        assert_eq!(with_bob("Subject: bob@kith.alt\r\n bob@kith.alt\r\n"), "Subject: bob@kith.alt\r\n bob@kith.alt\r\n");
        assert_eq!(
            with_bob("To: bob@kith.alt.example.org, xbob@kith.alt\r\n"),
            "To: bob@kith.alt.example.org, xbob@kith.alt\r\n"
        );
        assert_eq!(with_bob("From: bob+tag@kith.alt\r\n"), format!("From: {key}+tag@kith.alt\r\n"));
    }

    proptest! {
        #[test]
        fn what_names_nobody_stays_byte_for_byte(block in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert_eq!(localise(&block, |_| None), block);
        }

        #[test]
        fn no_block_makes_it_panic(block in "(To|From|X): [@a-z.<>+ ]{0,40}(kith.alt|@kith.alt)?\r\n") {
            let _out = localise(block.as_bytes(), |_| Some(somebody()));
        }
    }
}
