//! Running a world to its end, or until somebody has seen enough.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::Outcome;
use crate::availability::DAY;
use crate::statistics;
use crate::world::World;

/// Pieces that a run is cut into: after each of them somebody may want to stop.
const PIECES: u64 = 200;
/// Bytes of a node that is simulated, and of a mail.
const NODE_BYTES: u64 = 9 * 1024;
const MAIL_BYTES: u64 = 200;
const MAILS_A_DAY: u64 = 5;
/// Bytes of somebody in a town, with a share of a machine that is always on, and with what lies there.
const PERSON_BYTES: u64 = 14 * 1024;
/// Bytes of a mail there.
const TOWN_MAIL_BYTES: u64 = 140;
/// Bytes of a town without anybody in it: the program and the calendar.
const TOWN_BYTES: u64 = 12 << 20;
/// Bytes of a person's sessions of a day.
const SESSIONS_BYTES: u64 = 64;

/// Who watches a run.
pub struct Attention<'a> {
    /// Somebody has seen enough.
    pub stop: &'a AtomicBool,
    /// Told how much of a run is done, from 0 to 1.
    pub progress: &'a (dyn Fn(f64) + Sync),
}

impl Attention<'_> {
    /// Nobody watches, nobody stops it.
    #[must_use]
    pub fn none() -> Attention<'static> {
        static NEVER: AtomicBool = AtomicBool::new(false);
        Attention { stop: &NEVER, progress: &|_| {} }
    }
}

/// Runs the world until that moment, or until it is stopped.
pub fn drive(world: &mut World, until: u64, attention: &Attention<'_>) {
    let begun = world.now();
    for piece in 1..=PIECES {
        if attention.stop.load(Ordering::Relaxed) {
            return;
        }
        world.run(begun + (until - begun) * piece / PIECES);
        (attention.progress)(piece as f64 / PIECES as f64);
    }
}

/// What is to be said of a world after its run.
pub(super) fn outcome(world: &World, mut special: Vec<(String, f64)>) -> Outcome {
    let delays = statistics::delays(world);
    special.push(("within a minute of a return of ten seconds, %".to_owned(), 100.0 * statistics::near_return(world, &delays)));
    let mails = world.mails().iter().filter(|mail| mail.accepted()).count().max(1);
    special.push(("days simulated".to_owned(), world.now() as f64 / DAY as f64));
    special.extend(world.control().map(|(name, count)| (format!("messages a mail: {name}"), count as f64 / mails as f64)));
    let loads = (0..world.count()).map(|node| world.load(node)).filter(|load| load.peak > 0).collect();
    Outcome {
        summary: statistics::summary(world, &delays),
        delays,
        traffic: world.traffic(),
        loads,
        special,
        memory: resident(),
        seconds: 0.0,
        digest: world.digest().to_hex().to_string(),
    }
}

/// For how long a core works for this thread. What else the machine does costs no time by this watch, where the system says so much; elsewhere all that
/// passes counts.
pub(super) struct Watch {
    begun: Instant,
    worked: Option<f64>,
}

impl Watch {
    pub(super) fn start() -> Self {
        Self { begun: Instant::now(), worked: Self::worked() }
    }

    /// Seconds since the start.
    pub(super) fn seconds(&self) -> f64 {
        let worked = self.worked.zip(Self::worked()).map(|(before, now)| now - before);
        worked.unwrap_or_else(|| self.begun.elapsed().as_secs_f64())
    }

    /// Seconds since this thread began.
    fn worked() -> Option<f64> {
        let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        let ns = statistics.split_whitespace().next()?.parse::<u64>().ok()?;
        Some(ns as f64 / 1e9)
    }
}

/// Bytes of memory that this process has, as far as the system says.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Bytes that a world of so many nodes takes in so many days, more or less.
pub(super) fn bytes(nodes: u64, days: u64) -> u64 {
    nodes * (NODE_BYTES + days * (MAILS_A_DAY * MAIL_BYTES + 32))
}

/// The same of people who know each other, and have machines and relays.
pub(super) fn bytes_of_people(people: u64, days: u64, after: u64) -> u64 {
    TOWN_BYTES + people * (PERSON_BYTES + days * MAILS_A_DAY * TOWN_MAIL_BYTES + (days + after) * SESSIONS_BYTES)
}

/// So long after the last mail a run ends, in ms.
pub(super) const AFTER: u64 = 31 * DAY;
