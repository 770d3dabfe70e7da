//! What the server says it can do (RFC 3501 §7.2.1), and what is kept from an account whose program cannot bear it.

use std::collections::{BTreeMap, BTreeSet};

/// Offered at any time.
const ALWAYS: [&str; 6] = ["IMAP4rev1", "IMAP4rev2", "LITERAL+", "SASL-IR", "ID", "ENABLE"];
/// Offered once logged in.
const LOGGED_IN: [&str; 34] = [
    "IDLE",
    "UIDPLUS",
    "MOVE",
    "SPECIAL-USE",
    "CREATE-SPECIAL-USE",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "NAMESPACE",
    "CHILDREN",
    "UNSELECT",
    "ESEARCH",
    "SEARCHRES",
    "WITHIN",
    "PARTIAL",
    "CONDSTORE",
    "QRESYNC",
    "SORT",
    "ESORT",
    "THREAD=ORDEREDSUBJECT",
    "THREAD=REFERENCES",
    "STATUS=SIZE",
    "QUOTA",
    "QUOTA=RES-STORAGE",
    "MULTIAPPEND",
    "REPLACE",
    "BINARY",
    "UTF8=ACCEPT",
    "PREVIEW",
    "OBJECTID",
    "SAVEDATE",
    "INPROGRESS",
    "COMPRESS=DEFLATE",
    "NOTIFY",
    "APPENDLIMIT",
];
/// What a program cannot do without, or reads out of the greeting before anybody has logged in.
const FIXED: [&str; 2] = ["IMAP4rev1", "LITERAL+"];

/// Capabilities that are not offered to some accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Without(BTreeMap<String, Names>);

/// Capabilities by name.
pub(crate) type Names = BTreeSet<&'static str>;

impl Without {
    /// Reads lines of an account's name and capabilities: `mum QRESYNC COMPRESS=DEFLATE`.
    ///
    /// # Errors
    /// A sentence that names what is no capability, or cannot be switched off.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut without = Self::default();
        for line in lines {
            let mut words = line.split_whitespace();
            let Some(account) = words.next() else { return Err("an account's name and capabilities are missing".to_owned()) };
            let names = without.0.entry(account.to_lowercase()).or_default();
            for word in words {
                let known = all().find(|name| name.eq_ignore_ascii_case(word) && !FIXED.contains(name));
                names.insert(known.ok_or_else(|| format!("`{word}` is no capability that can be switched off"))?);
            }
            if names.is_empty() {
                return Err(format!("`{line}` names no capability"));
            }
        }
        Ok(without)
    }

    /// What that account goes without.
    pub(crate) fn of(&self, account: &str) -> Names {
        self.0.get(account).cloned().unwrap_or_default()
    }
}

fn all() -> impl Iterator<Item = &'static str> {
    ALWAYS.into_iter().chain(LOGGED_IN)
}

/// What is offered to anybody.
pub(crate) fn before_login() -> impl Iterator<Item = &'static str> {
    ALWAYS.into_iter()
}

/// What is offered to somebody.
pub(crate) fn after_login(without: &Names) -> impl Iterator<Item = &'static str> {
    all().filter(|name| !without.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_switched_off_for_one_account() {
        let without = Without::parse(["mum qresync IDLE", "dad COMPRESS=DEFLATE"]).unwrap();
        assert!(!after_login(&without.of("mum")).any(|name| name == "QRESYNC" || name == "IDLE"));
        assert!(after_login(&without.of("dad")).any(|name| name == "QRESYNC"));
        assert_eq!(after_login(&without.of("aunt")).count(), ALWAYS.len() + LOGGED_IN.len());
    }

    #[test]
    fn what_cannot_be_switched_off_is_named() {
        for (line, word) in [("mum IMAP4rev1", "IMAP4rev1"), ("mum X-NONE", "X-NONE"), ("mum", "mum"), ("", "missing")] {
            assert!(Without::parse([line]).unwrap_err().contains(word), "{line}");
        }
    }
}
