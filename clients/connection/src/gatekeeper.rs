//! Checks passwords for all ports, and slows guessing: each failure makes the next attempt from that address, or on that name, wait longer.
//!
//! Whoever came in by a password that is withdrawn has to leave. Names and passwords never reach the log.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kith_store::account::{Account, Admitted, LoginError, Pass};
use kith_store::feed::Topic;
use kith_store::{Store, StoreError};
use tokio::sync::Semaphore;
use tokio::time::sleep_until;
use tracing::{info, warn};

use crate::admission::shared_part;
use crate::sasl::Credentials;

/// Passwords checked at the same time; each takes argon2's memory.
const CHECKS_MAX: usize = 2;
/// Failing addresses and names remembered.
const REMEMBERED_MAX: usize = 4096;
/// One failure is forgotten after each of these.
const FORGET: Duration = Duration::from_secs(120);
/// The wait after the first failure; it doubles with every further one.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Longest wait of an address.
const ADDRESS_WAIT_MAX: Duration = Duration::from_secs(30);
/// Longest wait of a name: short, so that a stranger's guessing does not lock the owner out.
const NAME_WAIT_MAX: Duration = Duration::from_secs(4);
/// Longest wait on the loopback, where all programs of the machine share an address.
const LOOPBACK_WAIT_MAX: Duration = Duration::from_secs(2);
/// Whoever would have to wait longer than this is sent away at once, since attempts in parallel queue up.
const QUEUE_MAX: Duration = Duration::from_secs(60);

/// Why nobody was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginRefusal {
    /// Wrong name or password.
    #[error("wrong name or password")]
    Wrong,
    /// Too many failed attempts: later.
    #[error("too many failed logins; wait a minute and try again")]
    TooMany,
    /// The store failed: later.
    #[error("the password cannot be checked at the moment; try again later")]
    Unavailable,
}

/// Finds the account that a name means which is none of its own three.
type OtherNames = dyn Fn(&Store, &str) -> Result<Option<Account>, StoreError> + Send + Sync;

/// Lets people in.
pub struct Gatekeeper {
    store: Store,
    others: Option<Arc<OtherNames>>,
    checks: Arc<Semaphore>,
    slowing: Mutex<Slowing>,
    succeeded: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
}

/// How often somebody tried to log in since the node started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LoginCounts {
    /// Let in.
    pub succeeded: u64,
    /// Wrong name or password.
    pub failed: u64,
    /// Sent away unheard after too many failures.
    pub refused: u64,
}

impl core::fmt::Debug for Gatekeeper {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Gatekeeper")
    }
}

impl Gatekeeper {
    /// Checks against this store's accounts.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self {
            store,
            others: None,
            checks: Arc::new(Semaphore::new(CHECKS_MAX)),
            slowing: Mutex::new(Slowing::new()),
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// How often somebody tried to log in since the start.
    #[must_use]
    pub fn counts(&self) -> LoginCounts {
        LoginCounts {
            succeeded: self.succeeded.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    /// Lets people in by other names of their accounts too, as by their ordinary addresses: `others` finds the account that one means, and is asked where
    /// it is none of the account's own.
    #[must_use]
    pub fn also_by(self, others: impl Fn(&Store, &str) -> Result<Option<Account>, StoreError> + Send + Sync + 'static) -> Self {
        Self { others: Some(Arc::new(others)), ..self }
    }

    /// The account's name, whichever of its names this is: failures at all of them are counted together. What is nobody's stays what it is.
    async fn known_as(&self, name: &str) -> String {
        let (store, name, others) = (self.store.clone(), name.to_owned(), self.others.clone());
        let known = tokio::task::spawn_blocking(move || {
            let own = store.account_by_login(&name);
            let found = match (&own, others) {
                (Ok(None), Some(others)) => others(&store, &name),
                _ => own,
            };
            match found {
                Ok(Some(account)) => account.name,
                Ok(None) | Err(_) => name.to_lowercase(),
            }
        });
        known.await.unwrap_or_default()
    }

    /// Returns when the password that let somebody in is withdrawn or changed. Reads the store at first, and whenever people change.
    pub async fn revoked(&self, pass: Pass) {
        loop {
            let listener = self.store.listen(Topic::People);
            let (store, asked) = (self.store.clone(), pass.clone());
            // A store that fails has other ways to end the session.
            if let Ok(Ok(false)) = tokio::task::spawn_blocking(move || store.is_good(&asked)).await {
                return;
            }
            listener.await;
        }
    }

    /// Checks a password, after whatever wait earlier failures have earned. `service` is for the log. Cancel-safe.
    ///
    /// # Errors
    /// Nobody is let in; the text says to a person why.
    pub async fn login(&self, service: &'static str, peer: IpAddr, credentials: Credentials) -> Result<Admitted, LoginRefusal> {
        let name = self.known_as(&credentials.name).await;
        let reserved = self.slowing().reserve(peer, &name, Instant::now());
        let Some(start) = reserved else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            info!(service, %peer, "login refused: too many attempts");
            return Err(LoginRefusal::TooMany);
        };
        sleep_until(start.into()).await;
        let Ok(permit) = Arc::clone(&self.checks).acquire_owned().await else { return Err(LoginRefusal::Unavailable) };
        let (store, account) = (self.store.clone(), name.clone());
        let checked = tokio::task::spawn_blocking(move || {
            let outcome = store.admit(&account, &credentials.password);
            // Held to the end of the check, whether or not somebody still waits for it.
            drop(permit);
            outcome
        });
        let Ok(outcome) = checked.await else { return Err(LoginRefusal::Unavailable) };
        match outcome {
            Ok(admitted) => {
                self.succeeded.fetch_add(1, Ordering::Relaxed);
                self.slowing().succeeded(&name);
                Ok(admitted)
            }
            Err(LoginError::Wrong) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                let failures = self.slowing().failed(peer, &name, Instant::now());
                info!(service, %peer, failures, "login failed");
                Err(LoginRefusal::Wrong)
            }
            Err(LoginError::Unavailable) => {
                warn!(service, "the store cannot check passwords");
                Err(LoginRefusal::Unavailable)
            }
        }
    }

    fn slowing(&self) -> MutexGuard<'_, Slowing> {
        self.slowing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who has failed how often: pure, time is an argument.
struct Slowing {
    hasher: RandomState,
    addresses: HashMap<IpAddr, Failures>,
    /// By a keyed hash of the name, so that names are not kept and a collision cannot be made on purpose.
    names: HashMap<u64, Failures>,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
    /// The earliest moment of the next attempt.
    next: Instant,
}

impl Slowing {
    fn new() -> Self {
        Self { hasher: RandomState::new(), addresses: HashMap::new(), names: HashMap::new() }
    }

    /// When an attempt may be made; the ones after it come later. `None`: too late to wait for.
    fn reserve(&mut self, peer: IpAddr, name: &str, now: Instant) -> Option<Instant> {
        let (address, name) = (shared_part(peer), self.name_key(name));
        let (address_max, name_max) = waits(address);
        let by_address = self.addresses.get_mut(&address);
        let by_name = self.names.get_mut(&name);
        let start = [by_address.as_deref(), by_name.as_deref()]
            .into_iter()
            .flatten()
            .map(|failures| failures.next)
            .fold(now, Instant::max);
        if start.saturating_duration_since(now) > QUEUE_MAX {
            return None;
        }
        for (failures, max) in [(by_address, address_max), (by_name, name_max)] {
            if let Some(failures) = failures {
                failures.next = start + wait(failures.current(now), max);
            }
        }
        Some(start)
    }

    /// Counts a failure; returns how many that makes for the address.
    fn failed(&mut self, peer: IpAddr, name: &str, now: Instant) -> u32 {
        let (address, name) = (shared_part(peer), self.name_key(name));
        let (address_max, name_max) = waits(address);
        note(&mut self.names, name, name_max, now);
        note(&mut self.addresses, address, address_max, now)
    }

    /// The owner is here: guesses at the name no longer hold it up. Those of the address stand, lest somebody with an account
    /// of his own buys himself free attempts at others.
    fn succeeded(&mut self, name: &str) {
        let name = self.name_key(name);
        self.names.remove(&name);
    }

    fn name_key(&self, name: &str) -> u64 {
        self.hasher.hash_one(name.to_ascii_lowercase())
    }
}

impl Failures {
    /// The count with what time has forgotten taken off.
    fn current(&self, now: Instant) -> u32 {
        let forgotten = now.saturating_duration_since(self.last).as_secs() / FORGET.as_secs();
        self.count.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }
}

fn note<K: std::hash::Hash + Eq + Copy>(map: &mut HashMap<K, Failures>, key: K, max: Duration, now: Instant) -> u32 {
    if map.len() >= REMEMBERED_MAX && !map.contains_key(&key) {
        map.retain(|_, failures| failures.current(now) > 0);
        if map.len() >= REMEMBERED_MAX
            && let Some(least) =
                map.iter().min_by_key(|(_, failures)| (failures.current(now), failures.last)).map(|(key, _)| *key)
        {
            map.remove(&least);
        }
    }
    let failures = map.entry(key).or_insert(Failures { count: 0, last: now, next: now });
    failures.count = failures.current(now).saturating_add(1);
    failures.last = now;
    failures.next = failures.next.max(now + wait(failures.count, max));
    failures.count
}

fn waits(address: IpAddr) -> (Duration, Duration) {
    if address.is_loopback() { (LOOPBACK_WAIT_MAX, LOOPBACK_WAIT_MAX) } else { (ADDRESS_WAIT_MAX, NAME_WAIT_MAX) }
}

fn wait(failures: u32, max: Duration) -> Duration {
    match failures {
        0 => Duration::ZERO,
        failures => FIRST_WAIT.saturating_mul(2u32.saturating_pow(failures - 1)).min(max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRANGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 1, 66));
    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn guesses_at_an_account_count_together_whichever_of_its_names_they_use() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), kith_store::Options { cache_bytes: 1 << 20, passphrase: None }).unwrap();
        let mut key = [0x66; 32];
        key[0] = 0x58;
        let address = kith_protocol::address::Address::from_key(key).unwrap();
        store.add_account("mum", address, b"secret").unwrap();
        let gatekeeper = Gatekeeper::new(store);
        for name in ["mum", "MUM@kith.alt", &address.to_string(), &address.mail()] {
            assert_eq!(gatekeeper.known_as(name).await, "mum", "{name}");
        }
        assert_eq!(gatekeeper.known_as("Dad").await, "dad");
        let login = |password: &[u8]| Credentials::new(b"mum", password).unwrap();
        assert!(gatekeeper.login("test", LOOPBACK, login(b"wrong")).await.is_err());
        assert!(gatekeeper.login("test", LOOPBACK, login(b"secret")).await.is_ok());
        assert_eq!(gatekeeper.counts(), LoginCounts { succeeded: 1, failed: 1, refused: 0 });
        // An address of hers is a name of hers, and nothing that is nobody's.
        let gatekeeper = gatekeeper.also_by(|store, name| match name {
            "Shop@example.org" => store.account_by_login("mum"),
            "broken@example.org" => Err(StoreError::DiskFull),
            _ => Ok(None),
        });
        assert_eq!(gatekeeper.known_as("Shop@example.org").await, "mum");
        let by = |name: &str, password: &[u8]| Credentials::new(name.as_bytes(), password).unwrap();
        for name in ["other@example.org", "broken@example.org"] {
            assert!(gatekeeper.login("test", LOOPBACK, by(name, b"secret")).await.is_err(), "{name}");
        }
        assert!(gatekeeper.login("test", LOOPBACK, by("Shop@example.org", b"wrong")).await.is_err());
        let admitted = gatekeeper.login("test", LOOPBACK, by("Shop@example.org", b"secret")).await.unwrap();
        assert_eq!(admitted.account.name, "mum");
    }

    /// Guesses one after the other; returns how long that takes.
    fn guess(slowing: &mut Slowing, peer: IpAddr, attempts: u32, start: Instant) -> Duration {
        let mut now = start;
        for attempt in 0..attempts {
            now = slowing.reserve(peer, &format!("name{attempt}"), now).unwrap();
            slowing.failed(peer, &format!("name{attempt}"), now);
        }
        now - start
    }

    #[test]
    fn a_strangers_guesses_take_longer_and_longer() {
        let now = Instant::now();
        assert_eq!(guess(&mut Slowing::new(), STRANGER, 1, now), Duration::ZERO);
        assert_eq!(guess(&mut Slowing::new(), STRANGER, 3, now), Duration::from_millis(1500));
        assert!(guess(&mut Slowing::new(), STRANGER, 20, now) > Duration::from_secs(300));
    }

    #[test]
    fn the_loopback_is_slowed_gently() {
        let taken = guess(&mut Slowing::new(), LOOPBACK, 20, Instant::now());
        assert!(taken > Duration::from_secs(20) && taken < Duration::from_secs(45));
    }

    #[test]
    fn attempts_in_parallel_wait_for_each_other_or_are_sent_away() {
        let (mut slowing, now) = (Slowing::new(), Instant::now());
        for _ in 0..8 {
            slowing.failed(STRANGER, "mum", now);
        }
        let starts: Vec<_> = (0..20).map_while(|_| slowing.reserve(STRANGER, "mum", now)).collect();
        assert!(starts.len() <= 3, "{}", starts.len());
        assert!(starts.is_sorted());
    }

    #[test]
    fn many_addresses_guessing_at_one_name_are_slowed_but_do_not_lock_it() {
        let (mut slowing, now) = (Slowing::new(), Instant::now());
        for last in 1..200 {
            slowing.failed(IpAddr::from([10, 0, 0, last]), "mum", now);
        }
        let start = slowing.reserve(IpAddr::from([10, 0, 1, 1]), "MUM", now).unwrap();
        assert_eq!(start - now, NAME_WAIT_MAX);
        slowing.succeeded("Mum");
        assert_eq!(slowing.reserve(IpAddr::from([10, 0, 1, 2]), "mum", now), Some(now));
    }

    #[test]
    fn failures_are_forgotten_in_time() {
        let (mut slowing, now) = (Slowing::new(), Instant::now());
        guess(&mut slowing, STRANGER, 5, now);
        let later = now + FORGET * 6 + ADDRESS_WAIT_MAX;
        assert_eq!(slowing.reserve(STRANGER, "mum", later), Some(later));
        assert_eq!(slowing.failed(STRANGER, "mum", later), 1);
    }

    #[test]
    fn memory_is_bounded() {
        let (mut slowing, now) = (Slowing::new(), Instant::now());
        for number in 0..(REMEMBERED_MAX as u32 + 50) {
            slowing.failed(IpAddr::from(number.to_be_bytes()), &number.to_string(), now);
        }
        assert!(slowing.addresses.len() <= REMEMBERED_MAX && slowing.names.len() <= REMEMBERED_MAX);
    }
}
