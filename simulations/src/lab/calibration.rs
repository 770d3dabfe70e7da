//! How long things take on this machine: measured with two nodes that know each other, before the play.

use std::time::{Duration, Instant};

use super::cast::Cast;
use super::home::{Home, Trouble};
use super::programs::{Sender, Watcher};
use super::setup::{Lab, name};
use crate::world::Timing;

/// How often each thing is measured.
const TIMES: usize = 9;
/// A process is started so often.
const STARTS: usize = 5;
/// Bytes of a mail that takes no time to send, and of one that does.
const SMALL: u64 = 2_000;
const LARGE: u64 = 4_000_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// Medians, in real ms.
#[derive(Clone, Copy, PartialEq, Debug, serde::Serialize)]
pub struct Calibration {
    /// From the start of a process until it serves.
    pub start_ms: f64,
    /// From SIGTERM to its end.
    pub stop_ms: f64,
    /// From then on until it is connected to somebody who is on.
    pub connect_ms: f64,
    /// Half of the time in which a node answers a question about nothing.
    pub one_way_ms: f64,
    /// From the end of a small mail to the promise to deliver it: one commit, synced.
    pub commit_ms: f64,
    /// From that promise until the mail is in the mailbox of somebody who is on and connected.
    pub delivery_ms: f64,
    /// What of that is neither commits nor ways, halved: sealing, or opening.
    pub seal_ms: f64,
    /// Bytes of a large mail for each ms that it takes longer than a small one.
    pub bytes_per_ms: f64,
    /// How many times longer a promise takes while all nodes are at work than it took then. Everything else that a node does takes as much longer.
    pub load: f64,
}

/// The load is a matter of a few times; beyond, something else is wrong, and the comparison is to show it.
const LOAD_MAX: f64 = 10.0;

impl Calibration {
    /// With the load that the play showed: half of the promises took no longer than this, in real ms.
    #[must_use]
    pub fn at_work(self, promise_ms: f64) -> Self {
        Self { load: (promise_ms / self.commit_ms.max(0.1)).clamp(1.0, LOAD_MAX), ..self }
    }

    /// The same for the simulation, which draws most times evenly from half to one and a half of the mean, and adds 1 ms.
    #[must_use]
    pub fn timing(&self) -> Timing {
        let drawn = |ms: f64| (self.load * ms - 0.5).round().max(0.0) as u64;
        Timing {
            one_way_ms: drawn(self.one_way_ms),
            dial_ms: drawn(self.connect_ms),
            commit_ms: drawn(self.commit_ms),
            seal_ms: (self.load * self.seal_ms).round().max(0.0) as u64,
            // A look-up is a few questions to nodes that are connected; nothing waits for it while cards are new.
            lookup_ms: drawn(6.0 * self.one_way_ms),
            bytes_per_ms: (self.bytes_per_ms / self.load.max(1.0)).max(1.0) as u64,
        }
    }

    /// As a file.
    #[must_use]
    pub fn written(&self) -> String {
        let figures = toml::to_string(self).unwrap_or_default();
        format!(
            "# How long things take on this machine with nothing to do, in ms of its own clock, medians; and how many times longer at work.\n{figures}"
        )
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn in_ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Measures. All nodes are on and nothing happens; the first pair of the cast is used.
///
/// # Errors
/// [`Trouble`] of a node.
pub fn measure(lab: &mut Lab, cast: &Cast) -> Result<Calibration, Trouble> {
    let first = cast.pairs.first().map_or(0, |pair| pair.first);
    let (writer, reader) = (first as usize, first as usize + 1);
    let entry = lab.entry.clone();
    let (mut start, mut stop, mut connect) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..STARTS {
        stop.push(in_ms(lab.homes[reader].stop()?));
        start.push(in_ms(lab.homes[reader].start(&entry)?));
        connect.push(in_ms(connected(&lab.homes[reader])?));
    }
    let (from, to) = (&lab.homes[writer], &lab.homes[reader]);
    let broken = |home: &Home, error: std::io::Error| home.late(format!("a mail program's session: {error}"));
    let mut watcher = Watcher::login(to.server("imap"), to.name()).map_err(|error| broken(to, error))?;
    let mut sender = Sender::login(from.server("smtp"), from.name()).map_err(|error| broken(from, error))?;
    watcher.subjects().map_err(|error| broken(to, error))?;
    let mut one_way = Vec::new();
    for _ in 0..TIMES {
        one_way.push(in_ms(watcher.round_trip().map_err(|error| broken(to, error))?) / 2.0);
    }
    let mut ask = |bytes: u64| -> Result<(f64, f64), Trouble> {
        let begun = Instant::now();
        let accepted = sender.send(&name(first + 1), "calibration", bytes).map_err(|error| broken(from, error))?;
        let arrived = watcher.wait().map_err(|error| broken(to, error))?;
        watcher.subjects().map_err(|error| broken(to, error))?;
        // The receipt is not to be in the next one's way.
        settled(from)?;
        Ok((in_ms(accepted - begun), in_ms(arrived.saturating_duration_since(accepted))))
    };
    // The first connects.
    ask(SMALL)?;
    let mut measured = |bytes| (0..TIMES).map(|_| ask(bytes)).collect::<Result<Vec<(f64, f64)>, Trouble>>();
    let (small, large) = (measured(SMALL)?, measured(LARGE)?);
    let delivery = |of: &[(f64, f64)]| median(of.iter().map(|(_, delivery)| *delivery).collect());
    let (one_way_ms, delivery_ms) = (median(one_way), delivery(&small));
    let commit_ms = median(small.iter().map(|(commit, _)| *commit).collect());
    let longer = (delivery(&large) - delivery_ms).max(0.1);
    Ok(Calibration {
        start_ms: median(start),
        stop_ms: median(stop),
        connect_ms: median(connect),
        one_way_ms,
        commit_ms,
        delivery_ms,
        // Two commits: where the letter lies sealed, and in the mailbox; an offer, its answer, and the body's way.
        seal_ms: ((delivery_ms - 2.0 * commit_ms - 3.0 * one_way_ms) / 2.0).max(0.0),
        bytes_per_ms: (LARGE - SMALL) as f64 / longer,
        load: 1.0,
    })
}

fn until(home: &Home, what: &str, mut done: impl FnMut() -> Result<bool, Trouble>) -> Result<Duration, Trouble> {
    let begun = Instant::now();
    while !done()? {
        if begun.elapsed() > PATIENCE {
            return Err(home.late(what));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(begun.elapsed())
}

fn connected(home: &Home) -> Result<Duration, Trouble> {
    until(home, "a connection", || Ok(home.status()?["peers"].as_u64() > Some(0)))
}

fn settled(home: &Home) -> Result<Duration, Trouble> {
    until(home, "a receipt", || Ok(home.status()?["queue"] == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_is_what_the_simulation_draws_in_the_mean() {
        let measured = Calibration {
            start_ms: 100.0,
            stop_ms: 50.0,
            connect_ms: 20.4,
            one_way_ms: 0.2,
            commit_ms: 4.6,
            delivery_ms: 20.0,
            seal_ms: 1.4,
            bytes_per_ms: 0.0,
            load: 1.0,
        };
        let timing = measured.timing();
        assert_eq!((timing.dial_ms, timing.one_way_ms, timing.commit_ms, timing.seal_ms), (20, 0, 4, 1));
        let busy = measured.at_work(9.2).timing();
        assert_eq!((busy.dial_ms, busy.commit_ms, busy.seal_ms), (40, 9, 3));
        assert_eq!(measured.at_work(1.0).timing(), timing);
        assert_eq!(timing.bytes_per_ms, 1);
        assert!(measured.written().contains("stop_ms = 50.0"));
    }

    #[test]
    fn the_median_is_the_middle() {
        assert!((median(vec![9.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!(median(Vec::new()).abs() < 1e-9);
    }
}
