//! Names that mean something only here become keys before a mail leaves: `bob@kith.alt` in To, Cc, From and the like turns into Bob's
//! 58 characters, so that everybody who gets the mail can answer everybody on it.

use kith_protocol::address::Address;

use crate::route::DOMAIN;

/// Fields that carry addresses (RFC 5322 §3.6.2, §3.6.3, §3.6.6).
const FIELDS: [&str; 9] = ["From", "Sender", "Reply-To", "To", "Cc", "Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc"];

/// The most addresses that are looked up for one mail.
const ADDRESSES_MAX: usize = 2_000;

/// Rewrites a header block: `lookup` gives the key of a lower-case name at `kith.alt`, `None` for one that is not known: it stays as it is.
pub fn localise(block: &[u8], mut lookup: impl FnMut(&str) -> Option<Address>) -> Vec<u8> {
    readdress(block, |local, domain| {
        if !domain.eq_ignore_ascii_case(DOMAIN) {
            return None;
        }
        let local = local.to_lowercase();
        let (name, tag) = local.split_once('+').map_or((local.as_str(), None), |(name, tag)| (name, Some(tag)));
        let address = lookup(name)?;
        // Only a short tag fits beside the key (RFC 5321 §4.5.3.1.1: 64 octets).
        let tag = tag.filter(|tag| tag.len() <= 5).map_or_else(String::new, |tag| format!("+{tag}"));
        Some(format!("{address}{tag}@{domain}"))
    })
}

/// Rewrites the addresses in a header block's address fields. `lookup` gets the local part and the domain as they are written, and gives the
/// address to stand there instead.
pub fn readdress(block: &[u8], mut lookup: impl FnMut(&str, &str) -> Option<String>) -> Vec<u8> {
    let mut out = Vec::with_capacity(block.len() + 256);
    let mut looked_up = 0;
    let mut in_address_field = false;
    for line in block.split_inclusive(|byte| *byte == b'\n') {
        if !matches!(line.first(), Some(b' ' | b'\t')) {
            in_address_field = FIELDS.iter().any(|name| {
                line.split(|byte| *byte == b':')
                    .next()
                    .is_some_and(|found| found.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
            });
        }
        if in_address_field && looked_up < ADDRESSES_MAX {
            looked_up += rewrite(line, &mut lookup, &mut out);
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

/// Rewrites one line; gives how many addresses were looked up.
fn rewrite(line: &[u8], lookup: &mut impl FnMut(&str, &str) -> Option<String>, out: &mut Vec<u8>) -> usize {
    let mut copied = 0;
    let mut looked_up = 0;
    let mut at = 0;
    while let Some(sign) = line.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'@')).map(|found| at + found) {
        at = sign + 1;
        let atoms = |bytes: &[u8]| bytes.iter().take_while(|byte| is_atom(**byte)).count();
        let before = line.get(copied..sign).unwrap_or_default();
        let start = sign - before.iter().rev().take_while(|byte| is_atom(**byte)).count();
        let end = at + line.get(at..).map_or(0, atoms);
        let (Some(Ok(local)), Some(Ok(domain))) = (
            line.get(start..sign).filter(|local| !local.is_empty()).map(str::from_utf8),
            line.get(at..end).filter(|domain| !domain.is_empty()).map(str::from_utf8),
        ) else {
            continue;
        };
        looked_up += 1;
        if let Some(address) = lookup(local, domain) {
            out.extend_from_slice(line.get(copied..start).unwrap_or_default());
            out.extend_from_slice(address.as_bytes());
            copied = end;
            at = end;
        }
    }
    out.extend_from_slice(line.get(copied..).unwrap_or_default());
    looked_up
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

    #[test]
    fn whole_addresses_are_exchanged_and_nothing_around_them() {
        let block = b"To: \"A, B\" <a@kith.alt>,x@y.z (see a@kith.alt),\r\n\t<a@kith.alt.>\r\nSubject: a@kith.alt\r\n";
        let out = readdress(block, |local, domain| (domain == "kith.alt").then(|| format!("{local}@example.org")));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "To: \"A, B\" <a@example.org>,x@y.z (see a@example.org),\r\n\t<a@kith.alt.>\r\nSubject: a@kith.alt\r\n"
        );
    }

    proptest! {
        #[test]
        fn what_names_nobody_stays_byte_for_byte(block in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert_eq!(localise(&block, |_| None), block.clone());
            prop_assert_eq!(readdress(&block, |_, _| None), block);
        }

        #[test]
        fn no_block_makes_it_panic(block in "(To|From|X): [@a-z.<>+ ]{0,40}(kith.alt|@kith.alt)?\r\n") {
            let _out = localise(block.as_bytes(), |_| Some(somebody()));
        }
    }
}
