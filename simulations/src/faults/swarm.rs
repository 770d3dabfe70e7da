//! Many seeds, on every core of the machine.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{Breach, Plan, Verdict};

/// What came of many seeds.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Swarm {
    /// Seeds that were run.
    pub seeds: u64,
    /// Mails that were accepted.
    pub mails: u64,
    /// Delivered.
    pub delivered: u64,
    /// Told as failed.
    pub failed: u64,
    /// Told as failed although delivered.
    pub bounced_falsely: u64,
    /// Events that cores handled.
    pub events: u64,
    /// Hours that nodes were simulated.
    pub node_hours: f64,
    /// What befell them.
    pub incidents: u64,
    /// Seeds that broke a promise.
    pub failing: Vec<u64>,
    /// Hash over all seeds' digests.
    pub digest: String,
}

/// Runs `count` seeds from `first` on. `progress` is told how many are done, and says whether to go on. The breaches of failing seeds come with them.
pub fn swarm(first: u64, count: u64, hasty: bool, progress: &(dyn Fn(u64) -> bool + Sync)) -> (Swarm, Vec<(u64, Vec<Breach>)>) {
    let (next, done, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let verdicts: Mutex<Vec<(u64, Verdict)>> = Mutex::new(Vec::new());
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            let seed = first.saturating_add(number);
            let verdict = Plan { hasty, ..Plan::drawn(seed) }.run(false);
            verdicts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((seed, verdict));
            if !progress(done.fetch_add(1, Ordering::Relaxed) + 1) {
                stop.store(true, Ordering::Relaxed);
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        (1..cores).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    let mut verdicts = verdicts.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    verdicts.sort_by_key(|(seed, _)| *seed);
    let mut swarm = Swarm { seeds: verdicts.len() as u64, ..Swarm::default() };
    let (mut hasher, mut failing) = (blake3::Hasher::new(), Vec::new());
    for (seed, verdict) in verdicts {
        swarm.mails += verdict.mails;
        swarm.delivered += verdict.delivered;
        swarm.failed += verdict.failed;
        swarm.bounced_falsely += verdict.bounced_falsely;
        swarm.events += verdict.events;
        swarm.node_hours += verdict.node_hours;
        swarm.incidents += verdict.incidents;
        hasher.update(verdict.digest.as_bytes());
        if !verdict.breaches.is_empty() {
            swarm.failing.push(seed);
            failing.push((seed, verdict.breaches));
        }
    }
    swarm.digest = hasher.finalize().to_hex().to_string();
    (swarm, failing)
}
