//! Who may be connected at the same time: caps in total, per address, and on connections that have not logged in.
//!
//! A full house never locks an honest client out because of silent ones: the connection that has waited longest without logging in
//! makes room for the newcomer.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// How many connections there may be, over all ports of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all.
    pub total: usize,
    /// From one address (for IPv6 from one /64).
    pub per_address: usize,
    /// From the loopback, where all local programs share an address.
    pub loopback: usize,
    /// Not logged in yet, in all.
    pub waiting: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { total: 512, per_address: 48, loopback: 256, waiting: 96 }
    }
}

/// Counts connections and hands out tickets.
#[derive(Debug)]
pub struct Admission {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// By number, hence by age.
    admitted: BTreeMap<u64, Entry>,
    by_address: HashMap<IpAddr, usize>,
    waiting: usize,
}

#[derive(Debug)]
struct Entry {
    address: IpAddr,
    waiting: bool,
    eviction: Arc<Eviction>,
}

/// Tells a connection that it must leave; once told, it stays told.
#[derive(Debug, Default)]
struct Eviction {
    told: AtomicBool,
    bell: Notify,
}

/// The right to be connected; given back when dropped.
#[derive(Debug)]
pub struct Ticket {
    admission: Arc<Admission>,
    number: u64,
    eviction: Arc<Eviction>,
}

impl Admission {
    /// Starts counting from none.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, state: Mutex::default() })
    }

    /// Lets a connection from `address` in, if need be in place of the one that has waited longest without logging in; `None` when
    /// all places are taken by people who are logged in.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Ticket> {
        let address = shared_part(address);
        let cap = if address.is_loopback() { self.limits.loopback } else { self.limits.per_address };
        let mut state = self.lock();
        if state.by_address.get(&address).is_some_and(|count| *count >= cap) && !state.evict_oldest(Some(address)) {
            return None;
        }
        if (state.waiting >= self.limits.waiting || state.admitted.len() >= self.limits.total) && !state.evict_oldest(None) {
            return None;
        }
        state.next += 1;
        let number = state.next;
        let eviction = Arc::<Eviction>::default();
        state.admitted.insert(number, Entry { address, waiting: true, eviction: Arc::clone(&eviction) });
        *state.by_address.entry(address).or_default() += 1;
        state.waiting += 1;
        Some(Ticket { admission: Arc::clone(self), number, eviction })
    }

    /// Connections at this moment.
    pub fn connected(&self) -> usize {
        self.lock().admitted.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn evict_oldest(&mut self, of: Option<IpAddr>) -> bool {
        let oldest = self.admitted.iter().find(|(_, entry)| entry.waiting && of.is_none_or(|address| entry.address == address));
        let Some(number) = oldest.map(|(number, _)| *number) else { return false };
        if let Some(entry) = self.forget(number) {
            entry.eviction.told.store(true, Ordering::Release);
            entry.eviction.bell.notify_one();
        }
        true
    }

    fn forget(&mut self, number: u64) -> Option<Entry> {
        let entry = self.admitted.remove(&number)?;
        self.waiting -= usize::from(entry.waiting);
        if let Some(count) = self.by_address.get_mut(&entry.address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&entry.address);
            }
        }
        Some(entry)
    }
}

impl Ticket {
    /// From now on the connection is a person's and is not made to leave for a newcomer.
    pub fn logged_in(&self) {
        let mut state = self.admission.lock();
        let Some(entry) = state.admitted.get_mut(&self.number) else { return };
        if std::mem::replace(&mut entry.waiting, false) {
            state.waiting -= 1;
        }
    }

    /// Whether the connection must leave for a newcomer.
    #[must_use]
    pub fn is_evicted(&self) -> bool {
        self.eviction.told.load(Ordering::Acquire)
    }

    /// Returns when the connection must leave for a newcomer. Cancel-safe; for one task at a time.
    pub async fn evicted(&self) {
        while !self.is_evicted() {
            self.eviction.bell.notified().await;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.admission.lock().forget(self.number);
    }
}

/// What one subscriber can vary at will counts as one address.
pub(crate) fn shared_part(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        IpAddr::V6(_) => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V4(v4) if v4.is_loopback() => IpAddr::from([127, 0, 0, 1]),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { total: 4, per_address: 2, loopback: 3, waiting: 3 };

    fn lan(last: u8) -> IpAddr {
        IpAddr::from([192, 168, 1, last])
    }

    #[test]
    fn dropping_a_ticket_makes_room() {
        let admission = Admission::new(LIMITS);
        let ticket = admission.admit(lan(1)).unwrap();
        assert_eq!(admission.connected(), 1);
        drop(ticket);
        assert_eq!(admission.connected(), 0);
        assert!(admission.lock().by_address.is_empty());
    }

    #[tokio::test]
    async fn the_oldest_silent_connection_leaves_for_a_newcomer() {
        let admission = Admission::new(LIMITS);
        let oldest = admission.admit(lan(1)).unwrap();
        let _second = admission.admit(lan(2)).unwrap();
        let _third = admission.admit(lan(3)).unwrap();
        let _newcomer = admission.admit(lan(4)).unwrap();
        oldest.evicted().await;
        assert!(oldest.is_evicted());
        assert_eq!(admission.connected(), 3);
        drop(oldest);
        assert_eq!(admission.connected(), 3, "an evicted ticket is not given back twice");
    }

    #[test]
    fn whoever_is_logged_in_stays() {
        let admission = Admission::new(LIMITS);
        let people: Vec<_> = (1..=4).map(|last| admission.admit(lan(last)).inspect(Ticket::logged_in).unwrap()).collect();
        assert!(admission.admit(lan(9)).is_none());
        drop(people);
        assert!(admission.admit(lan(9)).is_some());
    }

    #[test]
    fn one_address_cannot_take_all_places() {
        let admission = Admission::new(LIMITS);
        let _both: Vec<_> = (0..2).map(|_| admission.admit(lan(1)).inspect(Ticket::logged_in).unwrap()).collect();
        assert!(admission.admit(lan(1)).is_none());
        assert!(admission.admit(lan(2)).is_some());
    }

    #[test]
    fn a_subscribers_ipv6_addresses_count_as_one() {
        let (one, two) = ("2001:db8:1:2::1".parse().unwrap(), "2001:db8:1:2:ffff::9".parse().unwrap());
        assert_eq!(shared_part(one), shared_part(two));
        assert_eq!(shared_part("::ffff:192.168.1.7".parse().unwrap()), lan(7));
        assert_eq!(shared_part("::1".parse().unwrap()), shared_part("127.0.0.9".parse().unwrap()));
    }
}
