//! Greylisting (RFC 6647): a stranger is asked to come again; real mail servers do, most others do not.
//!
//! What is remembered is a row for each (network, sender's domain, recipient), and one for each network that has shown that it comes again. The caller
//! stores the rows; losing them costs strangers another attempt, and nobody a mail.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::network::Network;

/// Rows in all. When there are more, those who have not come again go first, the longest unseen ones before the others.
pub const ROWS_MAX: usize = 50_000;
/// Rows of one network that has not come again: nobody fills the table alone.
pub const ROWS_PER_NETWORK_MAX: usize = 128;
/// So many rows are removed at once, so that removing is seldom.
const REMOVED_AT_ONCE: usize = ROWS_MAX / 10;
/// Longest domain and recipient that are kept, bytes; longer ones are cut, which only makes them coarser.
const TEXT_BYTES_MAX: usize = 254;

/// How long strangers wait, and for how long they are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Off: everybody passes.
    pub enabled: bool,
    /// Seconds from the first attempt until one is accepted.
    pub wait_s: i64,
    /// Seconds from the first attempt within which the next one must come (RFC 5321 §4.5.4.1 has senders try for days).
    pub retry_s: i64,
    /// Seconds for which somebody who passed is known, from the last mail.
    pub remember_s: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { enabled: true, wait_s: 5 * 60, retry_s: 2 * 86_400, remember_s: 36 * 86_400 }
    }
}

/// Who writes to whom, from where. Lower case. A whole network has neither domain nor recipient.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// From where.
    pub network: Network,
    /// Domain of the reverse-path; empty for `<>`.
    pub domain: String,
    /// The recipient's address.
    pub recipient: String,
}

/// What is known of it: the row that the caller stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Unix seconds of the first attempt.
    pub first_s: i64,
    /// Unix seconds of the last one.
    pub last_s: i64,
    /// It came again.
    pub passed: bool,
}

/// What the caller must store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// New or changed.
    Put(Key, Row),
    /// No longer there.
    Removed(Key),
}

/// What a recipient's RCPT is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Accepted.
    Pass,
    /// 451 4.7.1: come again after so many seconds.
    Wait(i64),
}

/// Who is known.
#[derive(Debug)]
pub struct Greylist {
    settings: Settings,
    rows: BTreeMap<Key, Row>,
    changed: BTreeSet<Key>,
}

impl Greylist {
    /// Goes on with the rows that were stored.
    #[must_use]
    pub fn new(settings: Settings, rows: impl IntoIterator<Item = (Key, Row)>) -> Self {
        let rows = rows.into_iter().take(ROWS_MAX).collect();
        Self { settings, rows, changed: BTreeSet::new() }
    }

    /// Answers for one recipient. `known`: somebody whom the recipient corresponds with; they never wait. `now_s` is Unix seconds; a clock that jumps back
    /// makes strangers wait anew, and nobody for longer than the settings say.
    pub fn decide(&mut self, now_s: i64, ip: IpAddr, domain: &str, recipient: &str, known: bool) -> Decision {
        if known || !self.settings.enabled {
            return Decision::Pass;
        }
        let network = Network::of(ip);
        let whole = Key { network, domain: String::new(), recipient: String::new() };
        let key = Key { network, domain: text(domain), recipient: text(recipient) };
        if self.is_known(now_s, &whole) || self.is_known(now_s, &key) {
            return Decision::Pass;
        }
        let Settings { wait_s, retry_s, .. } = self.settings;
        let waiting =
            self.rows.get(&key).filter(|row| !row.passed && (0..=retry_s).contains(&(now_s.saturating_sub(row.first_s))));
        let Some(first_s) = waiting.map(|row| row.first_s) else {
            self.make_room(now_s, network);
            self.put(key, Row { first_s: now_s, last_s: now_s, passed: false });
            return Decision::Wait(wait_s);
        };
        let waited = now_s.saturating_sub(first_s);
        if waited < wait_s {
            self.put(key, Row { first_s, last_s: now_s, passed: false });
            return Decision::Wait(wait_s - waited);
        }
        self.put(key, Row { first_s, last_s: now_s, passed: true });
        self.put(whole, Row { first_s, last_s: now_s, passed: true });
        Decision::Pass
    }

    /// What changed since it was last asked: to be stored, when it is convenient.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let changed = std::mem::take(&mut self.changed);
        changed
            .into_iter()
            .map(|key| match self.rows.get(&key) {
                Some(row) => Change::Put(key, *row),
                None => Change::Removed(key),
            })
            .collect()
    }

    /// Forgets what is too old; now and then.
    pub fn sweep(&mut self, now_s: i64) {
        let old: Vec<Key> = self.rows.iter().filter(|(_, row)| self.is_old(now_s, row)).map(|(key, _)| key.clone()).collect();
        old.into_iter().for_each(|key| self.remove(key));
    }

    /// Rows at this moment.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Nobody is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn is_old(&self, now_s: i64, row: &Row) -> bool {
        let (age, limit) = if row.passed {
            (now_s.saturating_sub(row.last_s), self.settings.remember_s)
        } else {
            (now_s.saturating_sub(row.first_s), self.settings.retry_s)
        };
        age > limit
    }

    fn is_known(&mut self, now_s: i64, key: &Key) -> bool {
        let Some(row) = self.rows.get(key).copied().filter(|row| row.passed) else { return false };
        if self.is_old(now_s, &row) {
            return false;
        }
        // Written down once a day at most: a busy network must not write a row for each mail.
        if now_s.saturating_sub(row.last_s).abs() > 86_400 {
            self.put(key.clone(), Row { last_s: now_s, ..row });
        }
        true
    }

    fn put(&mut self, key: Key, row: Row) {
        self.changed.insert(key.clone());
        self.rows.insert(key, row);
    }

    fn remove(&mut self, key: Key) {
        self.rows.remove(&key);
        self.changed.insert(key);
    }

    fn make_room(&mut self, now_s: i64, network: Network) {
        let start = Key { network, domain: String::new(), recipient: String::new() };
        let own = self.rows.range(start..).take_while(|(key, _)| key.network == network).filter(|(_, row)| !row.passed);
        let (mut count, mut oldest) = (0, None::<(i64, &Key)>);
        for (key, row) in own {
            count += 1;
            if oldest.is_none_or(|(last_s, _)| row.last_s < last_s) {
                oldest = Some((row.last_s, key));
            }
        }
        if let Some((_, key)) = oldest.filter(|_| count >= ROWS_PER_NETWORK_MAX) {
            let key = key.clone();
            self.remove(key);
        }
        if self.rows.len() < ROWS_MAX {
            return;
        }
        self.sweep(now_s);
        let excess = (self.rows.len() + REMOVED_AT_ONCE).saturating_sub(ROWS_MAX);
        let mut all: Vec<(bool, i64, Key)> = self.rows.iter().map(|(key, row)| (row.passed, row.last_s, key.clone())).collect();
        all.sort_unstable();
        all.into_iter().take(excess).for_each(|(_, _, key)| self.remove(key));
    }
}

fn text(text: &str) -> String {
    let mut text = text.to_lowercase();
    while text.len() > TEXT_BYTES_MAX {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests;
