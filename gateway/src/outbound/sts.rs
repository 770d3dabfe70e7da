//! MTA-STS (RFC 8461): a domain's word, by HTTPS, on which hosts take its mail and that they show good certificates. Records, policies and what is remembered of them;
//! pure, times are arguments. The fetching is in `outbound/sts/fetch.rs`.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::Domain;

pub(crate) mod fetch;

/// The largest policy that is read (what RFC 8461 §3.3 suggests).
pub const POLICY_BYTES_MAX: usize = 64 * 1024;
/// Hosts and patterns of one policy that are read.
const PATTERNS_MAX: usize = 64;
/// The longest that a policy counts, in seconds (RFC 8461 §3.2).
pub const MAX_AGE_S: u64 = 31_557_600;
/// How soon a policy that could not be fetched is asked for again, in seconds (RFC 8461 §3.3).
const AFTER_FAILURE_S: u64 = 300;
/// Domains whose policies are remembered.
pub const DOMAINS_MAX: usize = 1_000;

/// What a policy asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Hosts that do not comply get no mail.
    Enforce,
    /// They get it; the domain only wants to hear of it.
    Testing,
    /// The domain had a policy and gives it up.
    None,
}

/// A domain's policy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Policy {
    /// What it asks for.
    pub mode: Mode,
    /// Hosts, or `*.` and a domain.
    pub mx: Vec<String>,
    /// How long it counts from when it was fetched, in seconds.
    pub max_age_s: u64,
}

/// Why a text is no policy (RFC 8461 §3.2). Sentences for who keeps it, without the dot at the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoPolicy {
    /// A line without a colon.
    #[error("it has a line that is no key, colon and value")]
    Line,
    /// No version, or another one.
    #[error("it lacks the line version: STSv1")]
    Version,
    /// No mode, or one that nobody knows.
    #[error("its mode is not enforce, testing or none")]
    Mode,
    /// No age, or no number.
    #[error("its max_age is not a number of seconds")]
    MaxAge,
    /// An `mx` that is neither a host nor `*.` and a domain.
    #[error("one of its mx is neither a host nor *. and a domain")]
    Pattern,
    /// It asks for something of hosts, and names none.
    #[error("it names no mx")]
    NoHosts,
}

impl Policy {
    /// Reads a policy (RFC 8461 §3.2). Of a key that comes twice the first counts, but for `mx`; keys of later versions are ignored.
    ///
    /// # Errors
    /// [`NoPolicy`]: it breaks the rules, and counts as none.
    pub fn read(text: &str) -> Result<Policy, NoPolicy> {
        let (mut version, mut mode, mut max_age_s, mut mx) = (None, None, None, Vec::new());
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let (key, value) = line.split_once(':').ok_or(NoPolicy::Line)?;
            let value = value.trim();
            match key.trim() {
                "version" if version.is_none() => version = Some(value == "STSv1"),
                "mode" if mode.is_none() => {
                    mode = Some(match value {
                        "enforce" => Mode::Enforce,
                        "testing" => Mode::Testing,
                        "none" => Mode::None,
                        _ => return Err(NoPolicy::Mode),
                    });
                }
                "max_age" if max_age_s.is_none() => {
                    max_age_s = Some(value.parse::<u64>().map_err(|_| NoPolicy::MaxAge)?.min(MAX_AGE_S));
                }
                "mx" if mx.len() < PATTERNS_MAX => mx.push(pattern(value).ok_or(NoPolicy::Pattern)?),
                _ => {}
            }
        }
        if version != Some(true) {
            return Err(NoPolicy::Version);
        }
        let policy = Policy { mode: mode.ok_or(NoPolicy::Mode)?, mx, max_age_s: max_age_s.ok_or(NoPolicy::MaxAge)? };
        if policy.mode != Mode::None && policy.mx.is_empty() { Err(NoPolicy::NoHosts) } else { Ok(policy) }
    }

    /// As it is served (RFC 8461 §3.2).
    pub fn text(&self) -> String {
        let mode = match self.mode {
            Mode::Enforce => "enforce",
            Mode::Testing => "testing",
            Mode::None => "none",
        };
        let hosts: String = self.mx.iter().map(|host| format!("mx: {host}\r\n")).collect();
        format!("version: STSv1\r\nmode: {mode}\r\n{hosts}max_age: {}\r\n", self.max_age_s)
    }

    /// An id for the record (RFC 8461 §3.1) that is another one whenever the policy is.
    pub fn own_id(&self) -> String {
        Sha256::digest(self.text()).iter().take(10).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether it names a host (RFC 8461 §4.1): a star stands for one label and no more.
    pub fn names(&self, host: &str) -> bool {
        self.mx.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(parent) => host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
            None => pattern == host,
        })
    }
}

fn pattern(value: &str) -> Option<String> {
    let (star, name) = match value.strip_prefix("*.") {
        Some(parent) => ("*.", parent),
        None => ("", value),
    };
    Domain::parse(name).ok().map(|domain| format!("{star}{domain}"))
}

/// The id of a domain's policy, by the texts at `_mta-sts.` of it (RFC 8461 §3.1). None: the domain has no policy, or says so badly.
pub fn id(texts: &[String]) -> Option<String> {
    let mut records = texts.iter().filter(|text| text.starts_with("v=STSv1;") || text.starts_with("v=STSv1 ;"));
    let (record, None) = (records.next()?, records.next()) else { return None };
    let id = record.split(';').find_map(|field| field.trim().strip_prefix("id=").map(str::to_owned))?;
    (!id.is_empty() && id.len() <= 32 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(id)
}

/// What is remembered of a domain.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Remembered {
    /// The id that the policy had.
    id: String,
    policy: Option<Policy>,
    /// When it was fetched, or tried to be, in seconds since 1970.
    at_s: u64,
    /// When the last attempt failed, and which id was to be had.
    failed: Option<(u64, String)>,
}

/// What to do about a domain's policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// This is it; none: there is none.
    Use(Option<Policy>),
    /// Fetch it and tell [`Policies::fetched`].
    Fetch {
        /// Its id.
        id: String,
    },
}

/// The policies that are known. What it remembers is worth keeping over restarts: it is what stops somebody who controls the network at that moment.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Policies {
    domains: HashMap<String, Remembered>,
}

impl Policies {
    /// What to do for `domain`, whose record says `id`: none if it has no record, or it cannot be asked for. `now_s` is in seconds since 1970.
    pub(crate) fn step(&self, domain: &Domain, id: Option<&str>, now_s: u64) -> Step {
        let known = self.domains.get(domain.as_str());
        let live =
            known.and_then(|known| known.policy.as_ref().filter(|policy| known.at_s.saturating_add(policy.max_age_s) > now_s));
        match (id, known) {
            // Taking the record away does not take the policy away (RFC 8461 §5.1).
            (None, _) => Step::Use(live.cloned()),
            (Some(id), Some(known)) if live.is_some() && known.id == id => Step::Use(live.cloned()),
            (Some(id), Some(Remembered { failed: Some((at, wanted)), .. }))
                if wanted == id && now_s < at.saturating_add(AFTER_FAILURE_S) =>
            {
                Step::Use(live.cloned())
            }
            (Some(id), _) => Step::Fetch { id: id.to_owned() },
        }
    }

    /// What fetching gave; what counts now.
    pub(crate) fn fetched(&mut self, domain: &Domain, id: &str, policy: Option<Policy>, now_s: u64) -> Option<Policy> {
        if self.domains.len() >= DOMAINS_MAX && !self.domains.contains_key(domain.as_str()) {
            self.make_room(now_s);
        }
        let known = self.domains.entry(domain.as_str().to_owned()).or_insert(Remembered {
            id: String::new(),
            policy: None,
            at_s: 0,
            failed: None,
        });
        match policy {
            Some(policy) => *known = Remembered { id: id.to_owned(), policy: Some(policy), at_s: now_s, failed: None },
            None => known.failed = Some((now_s, id.to_owned())),
        }
        known.policy.clone().filter(|policy| known.at_s.saturating_add(policy.max_age_s) > now_s)
    }

    /// The one whose policy ends first goes.
    fn make_room(&mut self, now_s: u64) {
        let end = |known: &Remembered| known.policy.as_ref().map_or(0, |policy| known.at_s.saturating_add(policy.max_age_s));
        self.domains.retain(|_, known| end(known) > now_s);
        if self.domains.len() >= DOMAINS_MAX
            && let Some(first) = self.domains.iter().min_by_key(|(_, known)| end(known)).map(|(name, _)| name.clone())
        {
            self.domains.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n";

    fn domain(text: &str) -> Domain {
        Domain::parse(text).unwrap()
    }

    #[test]
    fn a_policy_names_its_hosts_and_stars_stand_for_one_label() {
        let policy = Policy::read(GOOD).unwrap();
        assert_eq!((policy.mode, policy.max_age_s), (Mode::Enforce, 604_800));
        for host in ["mail.example.com", "a.example.net"] {
            assert!(policy.names(host), "{host}");
        }
        for host in
            ["example.com", "x.mail.example.com", "example.net", "a.b.example.net", ".example.net", "mail.example.com.evil.org"]
        {
            assert!(!policy.names(host), "{host}");
        }
    }

    #[test]
    fn policies_that_break_the_rules_are_none() {
        for (bad, why) in [
            ("", NoPolicy::Version),
            ("mode: enforce\nmx: a.example\nmax_age: 1", NoPolicy::Version),
            ("version: STSv2\nmode: enforce\nmx: a.example\nmax_age: 1", NoPolicy::Version),
            ("version: STSv2\nversion: STSv1\nmode: enforce\nmx: a.example\nmax_age: 1", NoPolicy::Version),
            ("version: STSv1\nmode: strict\nmx: a.example\nmax_age: 1", NoPolicy::Mode),
            ("version: STSv1\nmode: enforce\nmax_age: 1", NoPolicy::NoHosts),
            ("version: STSv1\nmode: enforce\nmx: a.example", NoPolicy::MaxAge),
            ("version: STSv1\nmode: enforce\nmx: a.example\nmax_age: -1", NoPolicy::MaxAge),
            ("version: STSv1\nmode: enforce\nmx: a_b.*.example\nmax_age: 1", NoPolicy::Pattern),
            ("<html>", NoPolicy::Line),
        ] {
            assert_eq!(Policy::read(bad), Err(why), "{bad:?}");
        }
        assert!(Policy::read("version: STSv1\nmode: none\nmax_age: 86400\nfuture: x").is_ok());
    }

    #[test]
    fn the_record_says_which_policy_and_two_say_nothing() {
        let texts = |texts: &[&str]| id(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!(texts(&["v=STSv1; id=20160831085700Z;"]), Some("20160831085700Z".into()));
        assert_eq!(texts(&["v=spf1 -all", "v=STSv1;id=1"]), Some("1".into()));
        assert_eq!(texts(&["v=STSv1; id=1", "v=STSv1; id=2"]), None);
        assert_eq!(texts(&["v=STSv1; id=a b"]), None);
        assert_eq!(texts(&["v=STSv1;"]), None);
    }

    #[test]
    fn a_policy_counts_until_its_age_even_if_the_record_vanishes_or_the_next_cannot_be_had() {
        let (mut policies, name, policy) = (Policies::default(), domain("example.org"), Policy::read(GOOD).unwrap());
        assert_eq!(policies.step(&name, None, 0), Step::Use(None));
        assert_eq!(policies.step(&name, Some("1"), 0), Step::Fetch { id: "1".into() });
        assert_eq!(policies.fetched(&name, "1", None, 0), None);
        assert_eq!(policies.step(&name, Some("1"), 10), Step::Use(None), "not again at once");
        assert_eq!(policies.step(&name, Some("1"), 300), Step::Fetch { id: "1".into() });
        assert_eq!(policies.fetched(&name, "1", Some(policy.clone()), 300), Some(policy.clone()));
        assert_eq!(policies.step(&name, Some("1"), 1_000), Step::Use(Some(policy.clone())));
        assert_eq!(policies.step(&name, None, 1_000), Step::Use(Some(policy.clone())));
        assert_eq!(policies.step(&name, Some("2"), 1_000), Step::Fetch { id: "2".into() });
        assert_eq!(policies.fetched(&name, "2", None, 1_000), Some(policy.clone()));
        assert_eq!(policies.step(&name, Some("2"), 1_001), Step::Use(Some(policy)));
        assert_eq!(policies.step(&name, None, 300 + 604_800), Step::Use(None), "its time is over");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut policies, policy) = (Policies::default(), Policy::read(GOOD).unwrap());
        for number in 0..DOMAINS_MAX + 50 {
            policies.fetched(&domain(&format!("d{number}.example")), "1", Some(policy.clone()), 100);
        }
        assert!(policies.domains.len() <= DOMAINS_MAX);
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange_to_be_read(text in "\\PC{0,200}|(version|mode|mx|max_age|: |STSv1|enforce|\n|[0-9]{1,30}){0,30}") {
            let _ = Policy::read(&text);
            let _ = id(&[text]);
        }
    }
}
