//! Pairs of people who write to each other, each pair for itself: how much arrives, and how soon, by when they are on and who keeps mail for them.
//! Goals: two machines at .95, 99.95 % in 7 days and no more than a minute over the oracle; one, 3.6 hours over a perfect server at most.

use kith_protocol::delivery::Config;

use super::Outcome;
use crate::availability::{DAY, Habit, Sessions, sessions};
use crate::statistics;
use crate::stream::{Purpose, Stream};
use crate::world::World;

/// Mails of a person a day, in the mean.
const MAILS_A_DAY: f64 = 2.0;
/// Relays of a pair, as many as a card may list.
const RELAYS_MAX: usize = 4;
/// So long after the last mail a run ends.
const AFTER_DAYS: u64 = 31;

/// Sizes of mails: the share that is smaller than so many KiB (Shah and Noble, 2007).
const SIZES: [(f64, u64); 11] = [
    (0.235, 2),
    (0.492, 4),
    (0.676, 8),
    (0.796, 16),
    (0.854, 32),
    (0.905, 64),
    (0.933, 128),
    (0.957, 256),
    (0.972, 512),
    (0.985, 1024),
    (0.9996, 2048),
];

/// Pairs of one kind.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pairs {
    /// How many.
    pub pairs: u32,
    /// Days on which mails are written.
    pub days: u64,
    /// When the one who writes is on.
    pub writer: Habit,
    /// When the one who reads is on.
    pub reader: Habit,
    /// The share of the time for which each relay of a pair is up; both people use all of them.
    pub relays: Vec<f64>,
    /// The share of all relays that say that they store and do not.
    #[serde(default)]
    pub liars: f64,
}

impl Pairs {
    /// Two people 9 hours apart, 4 hours a day: they hardly ever meet.
    #[must_use]
    pub fn hard(relays: &[f64]) -> Self {
        let habit = |centre| Habit::Diurnal { hours: 4.0, centre };
        Self { pairs: 100, days: 60, writer: habit(20.0), reader: habit(11.0), relays: relays.to_vec(), liars: 0.0 }
    }

    /// Two people who are on in the evening, 4 hours a day.
    #[must_use]
    pub fn evening() -> Self {
        let habit = Habit::Diurnal { hours: 4.0, centre: 20.0 };
        Self { writer: habit, reader: habit, ..Self::hard(&[]) }
    }

    /// Two people with nothing but phones.
    #[must_use]
    pub fn phones(relays: &[f64]) -> Self {
        let habit = Habit::Phone { times: 30.0, minutes: 5.0 };
        Self { writer: habit, reader: habit, ..Self::hard(relays) }
    }

    /// Whether this can be run.
    ///
    /// # Errors
    /// A sentence about what is out of range.
    pub fn check(&self) -> Result<(), String> {
        let share = |value: f64| (0.05..=0.999).contains(&value);
        let habit = |habit: Habit| match habit {
            Habit::Always => true,
            Habit::Diurnal { hours, centre } => (0.1..=23.9).contains(&hours) && (-24.0..=48.0).contains(&centre),
            Habit::Random { hours } => (0.1..=23.9).contains(&hours),
            Habit::Pi { up } => share(up),
            Habit::Phone { times, minutes } => times > 0.0 && minutes > 0.0 && times * minutes < 900.0,
            Habit::Spells { on, off } => on > 0.0 && off > 0.0 && on + off < 100_000.0,
        };
        if !(1..=100_000).contains(&self.pairs) || !(1..=3650).contains(&self.days) || self.relays.len() > RELAYS_MAX {
            return Err(format!("pairs must be 1 to 100,000, days 1 to 3,650, relays of a pair {RELAYS_MAX} at most"));
        }
        if !habit(self.writer) || !habit(self.reader) {
            return Err("people are on for 0.1 to 23.9 hours a day, phones for less than 900 minutes".to_owned());
        }
        if !self.relays.iter().copied().all(share) || !(0.0..=1.0).contains(&self.liars) {
            return Err("relays are up for 0.05 to 0.999 of the time, and a share of 0 to 1 of them lies".to_owned());
        }
        Ok(())
    }

    /// Runs all of them with this seed.
    #[must_use]
    pub fn run(&self, seed: u64) -> Outcome {
        let world = self.ran(seed);
        let delays = statistics::delays(&world);
        Outcome {
            summary: statistics::summary(&world, &delays),
            delays,
            traffic: world.traffic(),
            digest: world.digest().to_hex().to_string(),
        }
    }

    /// The world after the run.
    #[must_use]
    pub fn ran(&self, seed: u64) -> World {
        let mut world = self.world(seed);
        world.run((self.days + AFTER_DAYS) * DAY);
        world
    }

    fn world(&self, seed: u64) -> World {
        let end = (self.days + AFTER_DAYS) * DAY;
        let group = 2 + u32::try_from(self.relays.len()).unwrap_or(u32::MAX);
        let (mut all, mut relays): (Vec<Sessions>, Vec<Vec<u32>>) = (Vec::new(), Vec::new());
        for first in (0..self.pairs).map(|pair| pair * group) {
            let habits = [self.writer, self.reader].into_iter().chain(self.relays.iter().map(|up| Habit::Pi { up: *up }));
            for (node, habit) in (first..).zip(habits) {
                all.push(sessions(habit, end, &mut Stream::new(seed, node, Purpose::Availability)));
                let own = if node < first + 2 { (first + 2..first + group).collect() } else { Vec::new() };
                relays.push(own);
            }
        }
        let writers: Vec<(u32, Sessions)> =
            (0..self.pairs).map(|pair| (pair * group, all[(pair * group) as usize].clone())).collect();
        let mut world = World::new(seed, Config::default(), all, relays);
        for (writer, on) in writers {
            world.introduce(writer, writer + 1);
            for relay in writer + 2..writer + group {
                if Stream::new(seed, relay, Purpose::Choice).chance(self.liars) {
                    world.lies(relay);
                }
                world.introduce(writer, relay);
                world.introduce(writer + 1, relay);
            }
            self.write(&mut world, writer, &on, seed);
        }
        world
    }

    /// People write while they are on.
    fn write(&self, world: &mut World, writer: u32, on: &Sessions, seed: u64) {
        let mut stream = Stream::new(seed, writer, Purpose::Writing);
        let until = self.days * DAY;
        let total: u64 = on.iter().filter(|(start, _)| *start < until).map(|(start, end)| end - start).sum();
        let rate = MAILS_A_DAY * self.days as f64 / total.max(1) as f64;
        for (start, end) in on.iter().filter(|(start, _)| *start < until) {
            let mut at = *start as f64;
            loop {
                at += stream.exponential(1.0 / rate);
                if at as u64 >= *end {
                    break;
                }
                let bytes = size(&mut stream);
                world.plan(at as u64, writer, writer + 1, bytes);
            }
        }
    }
}

/// Bytes of a mail.
fn size(stream: &mut Stream) -> u64 {
    let share = stream.unit();
    let (mut low, mut from) = (0.0, 512);
    for (up_to, kib) in SIZES {
        if share < up_to {
            return from + ((kib * 1024 - from) as f64 * (share - low) / (up_to - low)) as u64;
        }
        (low, from) = (up_to, kib * 1024);
    }
    from + stream.below(6 * from)
}

/// A line of the reference table: an independent model's figures.
#[derive(Clone, Debug)]
pub struct Reference {
    /// What it is about.
    pub name: &'static str,
    /// The pairs.
    pub pairs: Pairs,
    /// Shares within 7 and within 30 days.
    pub shares: (f64, f64),
    /// Hours over a perfect server, where the table has them.
    pub over_server_h: Option<f64>,
}

/// The reference table.
#[must_use]
pub fn reference() -> Vec<Reference> {
    let line = |name, pairs, shares, over_server_h| Reference { name, pairs, shares, over_server_h };
    vec![
        line("same evening, 4 h a day each, no relay", Pairs::evening(), (0.9998, 1.0), None),
        line("9 h apart, no relay", Pairs::hard(&[]), (0.125, 0.328), None),
        line("9 h apart, one Pi at .95", Pairs::hard(&[0.95]), (0.996, 1.0), Some(3.5)),
        line("9 h apart, two Pis at .95", Pairs::hard(&[0.95; 2]), (1.0, 1.0), Some(0.06)),
        line("9 h apart, two Pis at .9", Pairs::hard(&[0.9; 2]), (1.0, 1.0), Some(0.30)),
    ]
}

/// Two laptops, hours a day by hours apart: the share within 7 days, row by row.
#[must_use]
pub fn heat(hours: &[f64], apart: &[f64], pairs: u32, seed: u64) -> Vec<Vec<f64>> {
    let cell = |h: f64, phase: f64| {
        let habit = |centre| Habit::Diurnal { hours: h, centre };
        let all = Pairs { pairs, days: 30, writer: habit(20.0), reader: habit(20.0 - phase), relays: Vec::new(), liars: 0.0 };
        all.run(seed).summary.within_7d
    };
    hours.iter().map(|h| apart.iter().map(|phase| cell(*h, *phase)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_the_table() {
        let mut stream = Stream::new(1, 1, Purpose::Writing);
        let sizes: Vec<u64> = (0..50_000).map(|_| size(&mut stream)).collect();
        for (share, kib) in SIZES {
            let seen = sizes.iter().filter(|size| **size < kib * 1024).count() as f64 / sizes.len() as f64;
            assert!((seen - share).abs() < 0.01, "{kib} KiB: {seen} instead of {share}");
        }
    }
}
