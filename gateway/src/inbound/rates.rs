//! How much may come from one network, and from one sender's domain: buckets that fill again with time, in a bounded table.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;

use super::network::Network;

/// Buckets in all. The fullest ones, which hold the least knowledge, go first.
pub const BUCKETS_MAX: usize = 20_000;
/// So many are removed at once, so that removing is seldom.
const REMOVED_AT_ONCE: usize = BUCKETS_MAX / 10;
/// What one unit is counted in, so that slow rates fill evenly.
const PARTS: u64 = 3600;

/// How much within an hour; as much may come at once after an hour of quiet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Connections from one network.
    pub connections_per_network: u32,
    /// Mails from one network.
    pub mails_per_network: u32,
    /// Mails from one sender's domain, from wherever.
    pub mails_per_domain: u32,
    /// Bytes from one network, in MiB.
    pub mebibytes_per_network: u32,
    /// Recipients who are not here, asked for by one network: a search for addresses.
    pub unknown_per_network: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections_per_network: 600,
            mails_per_network: 600,
            mails_per_domain: 1200,
            mebibytes_per_network: 2048,
            unknown_per_network: 50,
        }
    }
}

/// What is counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// A connection.
    Connection,
    /// A mail from this domain (of the reverse-path; empty is not counted by domain, `<>` being everybody's).
    Mail(String),
    /// So many bytes of mail.
    Bytes(u64),
    /// A recipient who is not here.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Connections(Network),
    Mails(Network),
    Kibibytes(Network),
    Unknown(Network),
    Domain(String),
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Units used, times [`PARTS`].
    used: u64,
    at_s: i64,
}

/// Too much: so many seconds until there is room again. Not for good: the client is to be told to come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too much in an hour; try again in {wait_s} s")]
pub struct TooMuch {
    /// Seconds.
    pub wait_s: i64,
}

/// What came lately. Not stored: a restart forgives.
#[derive(Debug)]
pub struct Rates {
    settings: Settings,
    buckets: BTreeMap<Key, Bucket>,
}

impl Rates {
    /// Nothing came yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, buckets: BTreeMap::new() }
    }

    /// Counts an event, unless there is no room for it. `now_s` is Unix seconds.
    ///
    /// # Errors
    /// Nothing was counted, but for [`Event::Unknown`], which has happened already.
    pub fn count(&mut self, now_s: i64, ip: IpAddr, event: &Event) -> Result<(), TooMuch> {
        let network = Network::of(ip);
        let settings = self.settings;
        let wanted = match event {
            Event::Connection => {
                // Whoever searched for addresses is not heard until it is forgotten.
                self.look(now_s, &Key::Unknown(network), 1, settings.unknown_per_network.into())?;
                vec![(Key::Connections(network), 1, settings.connections_per_network.into())]
            }
            Event::Mail(domain) => {
                let mut wanted = vec![(Key::Mails(network), 1, settings.mails_per_network.into())];
                if !domain.is_empty() {
                    wanted.push((Key::Domain(domain.to_lowercase()), 1, settings.mails_per_domain.into()));
                }
                wanted
            }
            Event::Bytes(bytes) => {
                let kibibytes = u64::from(settings.mebibytes_per_network) * 1024;
                // One mail of any permitted size always fits an empty bucket.
                vec![(Key::Kibibytes(network), bytes.div_ceil(1024).min(kibibytes), kibibytes)]
            }
            Event::Unknown => vec![(Key::Unknown(network), 1, settings.unknown_per_network.into())],
        };
        let fits = wanted.iter().try_for_each(|(key, cost, per_hour)| self.look(now_s, key, *cost, *per_hour));
        if fits.is_ok() || *event == Event::Unknown {
            for (key, cost, per_hour) in wanted {
                self.add(now_s, key, cost, per_hour);
            }
        }
        fits
    }

    /// Buckets at this moment.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buckets.len()
    }

    /// Nothing came lately.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// What is used by now; a clock that jumps back gives nothing and takes nothing.
    fn used(bucket: &Bucket, now_s: i64, per_hour: u64) -> u64 {
        let elapsed = u64::try_from(now_s.saturating_sub(bucket.at_s)).unwrap_or(0);
        bucket.used.saturating_sub(elapsed.saturating_mul(per_hour))
    }

    fn look(&self, now_s: i64, key: &Key, cost: u64, per_hour: u64) -> Result<(), TooMuch> {
        let used = self.buckets.get(key).map_or(0, |bucket| Self::used(bucket, now_s, per_hour));
        let over = (used + cost * PARTS).saturating_sub(per_hour * PARTS);
        if over == 0 {
            return Ok(());
        }
        let wait_s = over.div_ceil(per_hour.max(1)).min(PARTS);
        Err(TooMuch { wait_s: i64::try_from(wait_s).unwrap_or(i64::MAX) })
    }

    fn add(&mut self, now_s: i64, key: Key, cost: u64, per_hour: u64) {
        if self.buckets.len() >= BUCKETS_MAX && !self.buckets.contains_key(&key) {
            self.make_room(now_s);
        }
        let used = self.buckets.get(&key).map_or(0, |bucket| Self::used(bucket, now_s, per_hour));
        let used = (used + cost * PARTS).min(per_hour.max(1) * PARTS);
        self.buckets.insert(key, Bucket { used, at_s: now_s });
    }

    fn make_room(&mut self, now_s: i64) {
        // After an hour every bucket is as good as new.
        self.buckets.retain(|_, bucket| now_s.saturating_sub(bucket.at_s).abs() < 3600);
        if self.buckets.len() + REMOVED_AT_ONCE <= BUCKETS_MAX {
            return;
        }
        let mut all: Vec<(u64, Key)> = self.buckets.iter().map(|(key, bucket)| (bucket.used, key.clone())).collect();
        all.sort_unstable();
        for (_, key) in all.into_iter().take(REMOVED_AT_ONCE) {
            self.buckets.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_000_000;
    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn an_hour_of_mails_may_come_at_once_and_then_evenly() {
        let mut rates = Rates::new(Settings { mails_per_network: 60, ..Settings::default() });
        let mail = Event::Mail("a.example".into());
        assert!((0..60).all(|_| rates.count(NOW, HERE, &mail).is_ok()));
        assert_eq!(rates.count(NOW, HERE, &mail), Err(TooMuch { wait_s: 60 }));
        assert_eq!(rates.count(NOW + 59, HERE, &mail), Err(TooMuch { wait_s: 1 }));
        assert_eq!(rates.count(NOW + 60, HERE, &mail), Ok(()));
        assert_eq!(rates.count(NOW + 60, IpAddr::from([198, 51, 100, 1]), &mail), Ok(()));
    }

    #[test]
    fn a_domain_is_counted_over_all_networks_and_reports_are_not() {
        let mut rates = Rates::new(Settings { mails_per_domain: 5, ..Settings::default() });
        let from = |last: u8| IpAddr::from([10, last, 0, 1]);
        assert!((0..5).all(|last| rates.count(NOW, from(last), &Event::Mail("A.example".into())).is_ok()));
        assert!(rates.count(NOW, from(9), &Event::Mail("a.example".into())).is_err());
        assert!((0..50).all(|last| rates.count(NOW, from(last), &Event::Mail(String::new())).is_ok()));
    }

    #[test]
    fn who_searched_for_addresses_cannot_connect_for_a_while() {
        let mut rates = Rates::new(Settings { unknown_per_network: 3, ..Settings::default() });
        for _ in 0..10 {
            let _counted = rates.count(NOW, HERE, &Event::Unknown);
        }
        assert!(rates.count(NOW, HERE, &Event::Connection).is_err());
        assert!(rates.count(NOW + 1199, HERE, &Event::Connection).is_err());
        assert!(rates.count(NOW + 1200, HERE, &Event::Connection).is_ok());
    }

    #[test]
    fn a_large_mail_fits_an_empty_bucket_and_then_none_does() {
        let mut rates = Rates::new(Settings { mebibytes_per_network: 10, ..Settings::default() });
        assert!(rates.count(NOW, HERE, &Event::Bytes(50 << 20)).is_ok());
        assert!(rates.count(NOW, HERE, &Event::Bytes(1)).is_err());
        assert!(rates.count(NOW + 3600, HERE, &Event::Bytes(50 << 20)).is_ok());
        assert!(rates.count(NOW - 99_999, HERE, &Event::Bytes(50 << 20)).is_err(), "a clock that jumps gives nothing");
    }

    #[test]
    fn the_table_is_bounded_and_keeps_the_worst() {
        let mut rates = Rates::new(Settings { unknown_per_network: 3, ..Settings::default() });
        for _ in 0..5 {
            let _counted = rates.count(NOW, HERE, &Event::Unknown);
        }
        for number in 0..60_000u32 {
            let [_, b, c, d] = number.to_be_bytes();
            let _counted = rates.count(NOW, IpAddr::from([10 + b, c, d, 1]), &Event::Connection);
            assert!(rates.len() <= BUCKETS_MAX);
        }
        assert!(rates.count(NOW, HERE, &Event::Connection).is_err());
    }
}
