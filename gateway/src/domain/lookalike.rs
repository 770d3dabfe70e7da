//! Domains that look like others: what a person should be shown before they trust one (UTS 39).
//!
//! A finding, never a refusal: the caller decides, and knows whose names matter.

use unicode_security::{MixedScript, RestrictionLevel, RestrictionLevelDetection, skeleton};

use super::Domain;

/// What is wrong with how a domain looks.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Lookalike {
    /// It looks like a domain that the caller named and is another one.
    #[error("{shown} looks like {known} and is not")]
    Imitates {
        /// The domain, as people see it.
        shown: String,
        /// The one that it looks like, as people see it.
        known: String,
    },
    /// A label mixes scripts that no language mixes, Latin with Cyrillic for instance.
    #[error("{label} mixes letters of several scripts")]
    MixedScripts {
        /// The label, as people see it.
        label: String,
    },
    /// A label of another script can be read as plain Latin letters.
    #[error("{label} looks like {latin} and is written in another script")]
    LooksLatin {
        /// The label, as people see it.
        label: String,
        /// What it is read as.
        latin: String,
    },
}

/// The first thing about `domain` that can deceive: beside `known` (the household's domains and its contacts'), then by itself.
///
/// Nothing is found in a domain that is itself known. The time is linear in the number of known domains.
pub fn lookalike<'a>(domain: &Domain, known: impl IntoIterator<Item = &'a Domain>) -> Option<Lookalike> {
    let shown = domain.to_unicode();
    let bones = bones(&shown);
    let mut imitated = None;
    for other in known {
        if other == domain {
            return None;
        }
        let name = other.to_unicode();
        if imitated.is_none() && self::bones(&name) == bones {
            imitated = Some(name);
        }
    }
    if let Some(known) = imitated {
        return Some(Lookalike::Imitates { shown, known });
    }
    shown.split('.').find_map(by_itself)
}

fn by_itself(label: &str) -> Option<Lookalike> {
    if label.is_ascii() {
        return None;
    }
    if !label.is_single_script() && label.detect_restriction_level() > RestrictionLevel::HighlyRestrictive {
        return Some(Lookalike::MixedScripts { label: label.to_owned() });
    }
    let latin: String = skeleton(label).collect();
    // Accents are letters of their own; what loses every trace of not being Latin is the trap.
    let read = latin.is_ascii() && latin.bytes().any(|byte| byte.is_ascii_alphabetic());
    read.then(|| Lookalike::LooksLatin { label: label.to_owned(), latin })
}

/// Two domains that a person cannot tell apart have the same bones (UTS 39 §4), in lower case, since that is how programs show them.
fn bones(shown: &str) -> String {
    skeleton(&skeleton(shown).collect::<String>().to_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(text: &str) -> Domain {
        Domain::parse(text).unwrap()
    }

    #[test]
    fn cyrillic_letters_do_not_pass_for_a_known_domain() {
        let known = [domain("example.org"), domain("paypal.com")];
        let found = lookalike(&domain("pаypal.com"), &known);
        assert!(matches!(found, Some(Lookalike::Imitates { known, .. }) if known == "paypal.com"));
        let found = lookalike(&domain("paypa1.com"), &known);
        assert!(matches!(found, Some(Lookalike::Imitates { .. })), "{found:?}");
    }

    #[test]
    fn mixed_scripts_are_found_without_knowing_the_victim() {
        assert!(matches!(lookalike(&domain("pаypal.com"), []), Some(Lookalike::MixedScripts { .. })));
        assert!(matches!(lookalike(&domain("аррӏе.com"), []), Some(Lookalike::LooksLatin { .. })));
    }

    #[test]
    fn honest_names_are_left_alone() {
        for name in [
            "example.org",
            "bücher.example",
            "пример.рф",
            "日本語ドメイン.jp",
            "ドメインabc.jp",
            "δοκιμή.gr",
            "xn--bcher-kva.example",
        ] {
            assert_eq!(lookalike(&domain(name), []), None, "{name}");
        }
        let known = [domain("example.org")];
        assert_eq!(lookalike(&domain("example.org"), &known), None);
        assert_eq!(lookalike(&domain("example.net"), &known), None);
    }
}
