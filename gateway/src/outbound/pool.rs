//! What is shared by all mails on their way out: open connections that wait for the next mail, and what is remembered of each destination.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::fate::HopState;
use super::opening::Wish;
use super::session::Session;
use super::smarthost::Smarthost;
use super::times::Times;
use crate::domain::Place;
use crate::schedule::destination::{Destination, Ended, Limits, Permit, Rest};

/// Connections that wait, over all destinations.
const IDLE_MAX: usize = 32;
/// Destinations that are remembered; beyond, idle ones are forgotten, and then any that are at rest.
const DESTINATIONS_MAX: usize = 10_000;
/// How long a mail waits for one of its destination's connections.
const BUSY_WAIT: Duration = Duration::from_secs(30);

/// What is spared as a whole. Other settings of a smarthost are another one, without the old one's rests.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Whole {
    Place(Place),
    Smarthost(Smarthost),
}

/// What makes two connections the same.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Key {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) wish: Wish,
    /// The settings of the smarthost, if it is one.
    pub(crate) smarthost: Option<Smarthost>,
}

/// Connections that wait for the next mail.
#[derive(Default)]
pub(crate) struct Pool {
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    sessions: Vec<(Key, Session, Instant)>,
    /// Whether a task looks after them.
    watched: bool,
}

impl Pool {
    /// One for this key, if one waits; whether it still works is for the caller to find out.
    pub(crate) fn take(&self, key: &Key) -> Option<Session> {
        let mut idle = lock(&self.idle);
        let at = idle.sessions.iter().rposition(|(known, _, _)| known == key)?;
        Some(idle.sessions.swap_remove(at).1)
    }

    /// Lets one wait, for `times.idle`. A task closes it then; it ends when nothing waits.
    pub(crate) fn put(self: &Arc<Self>, key: Key, session: Session, times: &Times) {
        let (watched, crowded) = {
            let mut idle = lock(&self.idle);
            let oldest = idle.sessions.iter().enumerate().min_by_key(|(_, (_, _, since))| *since).map(|(at, _)| at);
            let crowded = oldest.filter(|_| idle.sessions.len() >= IDLE_MAX).map(|at| idle.sessions.swap_remove(at).1);
            idle.sessions.push((key, session, Instant::now()));
            (std::mem::replace(&mut idle.watched, true), crowded)
        };
        let times = *times;
        if let Some(session) = crowded {
            tokio::spawn(async move { session.quit(&times).await });
        }
        if !watched {
            let pool = Arc::downgrade(self);
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep((times.idle / 4).clamp(Duration::from_millis(10), Duration::from_secs(5))).await;
                    let Some(pool) = pool.upgrade() else { return };
                    for session in pool.expired(times.idle) {
                        session.quit(&times).await;
                    }
                    let mut idle = lock(&pool.idle);
                    if idle.sessions.is_empty() {
                        idle.watched = false;
                        return;
                    }
                }
            });
        }
    }

    /// Says goodbye to all that wait.
    pub(crate) async fn close(&self, times: &Times) {
        for session in self.expired(Duration::ZERO) {
            session.quit(times).await;
        }
    }

    fn expired(&self, age: Duration) -> Vec<Session> {
        let mut idle = lock(&self.idle);
        let (gone, kept) = idle.sessions.drain(..).partition(|(_, _, since)| since.elapsed() >= age);
        idle.sessions = kept;
        gone.into_iter().map(|(_, session, _): (Key, Session, Instant)| session).collect()
    }
}

/// Who may go where now.
pub(crate) struct Gate {
    limits: Limits,
    start: Instant,
    destinations: Mutex<HashMap<Whole, Destination>>,
    freed: Notify,
}

/// What lets one mail go to its destination. It is given back with what was learned.
pub(crate) struct Pass {
    gate: Arc<Gate>,
    key: Whole,
    ended: Ended,
}

impl Gate {
    pub(crate) fn new(limits: Limits) -> Gate {
        Gate { limits, start: Instant::now(), destinations: Mutex::default(), freed: Notify::new() }
    }

    /// Waits a little for a connection to be free.
    ///
    /// # Errors
    /// When the destination rests or stays busy.
    pub(crate) async fn pass(self: &Arc<Self>, key: &Whole) -> Result<Pass, HopState> {
        let until = Instant::now() + BUSY_WAIT;
        loop {
            let freed = self.freed.notified();
            let mut freed = std::pin::pin!(freed);
            // Listening before asking, so that no end is missed.
            freed.as_mut().enable();
            match self.ask(key) {
                Permit::Go => return Ok(Pass { gate: self.clone(), key: key.clone(), ended: Ended::Nothing }),
                Permit::Busy => {
                    if tokio::time::timeout_at(until, freed).await.is_err() {
                        return Err(HopState::Resting { wait: BUSY_WAIT });
                    }
                }
                Permit::Rest { in_ms, why } => {
                    let wait = Duration::from_millis(in_ms);
                    return Err(match why {
                        Rest::Credentials => HopState::CredentialsRefused { wait },
                        Rest::Rate | Rest::Trouble => HopState::Resting { wait },
                    });
                }
            }
        }
    }

    /// Forgets that a destination was in trouble.
    pub(crate) fn forgive(&self, key: &Whole) {
        if let Some(destination) = lock(&self.destinations).get_mut(key) {
            destination.forgive();
        }
        self.freed.notify_waiters();
    }

    fn ask(&self, key: &Whole) -> Permit {
        let now = self.now_ms();
        let mut destinations = lock(&self.destinations);
        if destinations.len() >= DESTINATIONS_MAX && !destinations.contains_key(key) {
            destinations.retain(|_, known| !known.is_idle(now));
            if destinations.len() >= DESTINATIONS_MAX
                && let Some(other) = destinations.iter().find(|(_, known)| known.is_free()).map(|(name, _)| name.clone())
            {
                destinations.remove(&other);
            }
        }
        let new = || match key {
            Whole::Smarthost(Smarthost { user: Some(_), .. }) => Destination::with_login(),
            Whole::Smarthost(_) | Whole::Place(_) => Destination::default(),
        };
        destinations.entry(key.clone()).or_insert_with(new).ask(now, &self.limits(key))
    }

    fn limits(&self, key: &Whole) -> Limits {
        match key {
            Whole::Smarthost(Smarthost { mails_per_minute: Some(mails_per_minute), .. }) => {
                Limits { mails_per_minute: *mails_per_minute, ..self.limits }
            }
            Whole::Smarthost(_) | Whole::Place(_) => self.limits,
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Pass {
    /// What was learned of the destination as a whole.
    pub(crate) fn learned(&mut self, ended: Ended) {
        self.ended = ended;
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let now = self.gate.now_ms();
        if let Some(destination) = lock(&self.gate.destinations).get_mut(&self.key) {
            destination.end(now, &self.gate.limits, self.ended, rand::random());
        }
        self.gate.freed.notify_waiters();
    }
}

/// Nothing is half done under these locks: what a panic left is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
