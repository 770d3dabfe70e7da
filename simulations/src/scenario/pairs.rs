//! Pairs of people who write to each other, each pair for itself: how much arrives, and how soon, by when they are on and who keeps mail for them.

use kith_protocol::delivery::Config;

use super::habits::{moments, size};
use super::run::{self, AFTER, Attention, drive};
use super::{MAILS_A_DAY, Outcome};
use crate::availability::{DAY, Habit, Sessions, both, sessions};
use crate::stream::{Purpose, Stream};
use crate::world::World;

/// Relays of a pair, as many as a card may list.
const RELAYS_MAX: usize = 4;

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
    /// How much of the relays' downtime is that of a line and a power supply that they share: 0 for homes of their own, 1 for one home.
    #[serde(default)]
    pub shared: f64,
    /// The reader is away from this day on, for so many days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away: Option<(u64, u64)>,
    /// Bytes of every mail; not set: as people write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Whether people can have these habits.
///
/// # Errors
/// A sentence about what is out of range.
pub fn check_habits(habits: &[Habit]) -> Result<(), String> {
    let fits = |habit: &Habit| match *habit {
        Habit::Always => true,
        Habit::Diurnal { hours, centre } => (0.1..=23.9).contains(&hours) && (-24.0..=48.0).contains(&centre),
        Habit::Random { hours } => (0.1..=23.9).contains(&hours),
        Habit::Pi { up } => check_share(up).is_ok(),
        Habit::Phone { times, minutes } => times > 0.0 && minutes > 0.0 && times * minutes < 900.0,
        Habit::Spells { on, off } => on > 0.0 && off > 0.0 && on + off < 100_000.0,
    };
    if habits.iter().all(fits) {
        return Ok(());
    }
    Err("people are on for 0.1 to 23.9 hours a day, phones for less than 900 minutes".to_owned())
}

/// Whether a machine can be up for this share of the time.
///
/// # Errors
/// A sentence about what is out of range.
pub fn check_share(up: f64) -> Result<(), String> {
    if (0.05..=0.999).contains(&up) { Ok(()) } else { Err("machines are up for 0.05 to 0.999 of the time".to_owned()) }
}

/// Whether this is a share of something.
///
/// # Errors
/// A sentence about what is out of range.
pub fn check_part(part: f64) -> Result<(), String> {
    if (0.0..=1.0).contains(&part) { Ok(()) } else { Err(format!("a share is 0 to 1, and not {part}")) }
}

impl Pairs {
    /// Two people 9 hours apart, 4 hours a day: they hardly ever meet.
    #[must_use]
    pub fn hard(relays: &[f64]) -> Self {
        let habit = |centre| Habit::Diurnal { hours: 4.0, centre };
        Self {
            pairs: 100,
            days: 60,
            writer: habit(20.0),
            reader: habit(11.0),
            relays: relays.to_vec(),
            liars: 0.0,
            shared: 0.0,
            away: None,
            bytes: None,
        }
    }

    /// Two people who are on for so many hours a day, so many hours apart.
    #[must_use]
    pub fn apart(hours: f64, apart: f64, relays: &[f64]) -> Self {
        let habit = |centre| Habit::Diurnal { hours, centre };
        Self { writer: habit(20.0), reader: habit(20.0 - apart), ..Self::hard(relays) }
    }

    /// Two people who are on in the evening, 4 hours a day.
    #[must_use]
    pub fn evening() -> Self {
        Self::apart(4.0, 0.0, &[])
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
        if !(1..=100_000).contains(&self.pairs) || !(1..=3650).contains(&self.days) || self.relays.len() > RELAYS_MAX {
            return Err(format!("pairs must be 1 to 100,000, days 1 to 3,650, relays of a pair {RELAYS_MAX} at most"));
        }
        if self.away.is_some_and(|(from, days)| from > 3650 || days > 3650) || self.bytes.is_some_and(|bytes| bytes > 50 << 20) {
            return Err("people are away for 3,650 days and mails have 50 MiB at most".to_owned());
        }
        check_habits(&[self.writer, self.reader])?;
        self.relays.iter().try_for_each(|up| check_share(*up))?;
        check_part(self.liars).and(check_part(self.shared))
    }

    /// Runs all of them with this seed, with the usual settings of delivery.
    #[must_use]
    pub fn run(&self, seed: u64) -> Outcome {
        let config = Config { strangers: kith_protocol::card::Strangers::Welcome, ..Config::default() };
        self.run_with(seed, config, &Attention::none())
    }

    pub(super) fn run_with(&self, seed: u64, config: Config, attention: &Attention<'_>) -> Outcome {
        let mut world = self.world(seed, config);
        drive(&mut world, self.end(), attention);
        run::outcome(&world, Vec::new())
    }

    fn end(&self) -> u64 {
        self.days * DAY + AFTER
    }

    fn world(&self, seed: u64, config: Config) -> World {
        let group = 2 + u32::try_from(self.relays.len()).unwrap_or(u32::MAX);
        let (mut all, mut relays): (Vec<Sessions>, Vec<Vec<u32>>) = (Vec::new(), Vec::new());
        for first in (0..self.pairs).map(|pair| pair * group) {
            let drawn = |node: u32, habit, purpose| sessions(habit, self.end(), &mut Stream::new(seed, node, purpose));
            all.push(drawn(first, self.writer, Purpose::Availability));
            all.push(self.unless_away(drawn(first + 1, self.reader, Purpose::Availability)));
            for (node, up) in (first + 2..).zip(&self.relays) {
                all.push(match self.shared {
                    0.0 => drawn(node, Habit::Pi { up: *up }, Purpose::Availability),
                    // What the home does to all of them, and what each does on its own, make up the whole.
                    shared => both(
                        &drawn(first, Habit::Pi { up: libm::pow(*up, shared).min(0.999) }, Purpose::Router),
                        &drawn(node, Habit::Pi { up: libm::pow(*up, 1.0 - shared).min(0.999) }, Purpose::Availability),
                    ),
                });
            }
            relays.extend((0..group).map(|node| if node < 2 { (first + 2..first + group).collect() } else { Vec::new() }));
        }
        let writers: Vec<(u32, Sessions)> =
            (0..self.pairs).map(|pair| (pair * group, all[(pair * group) as usize].clone())).collect();
        let mut world = World::new(seed, config, all, relays);
        for (writer, on) in writers {
            world.introduce(writer, writer + 1);
            for relay in writer + 2..writer + group {
                if Stream::new(seed, relay, Purpose::Choice).chance(self.liars) {
                    world.lies(relay);
                }
                world.introduce(writer, relay);
                world.introduce(writer + 1, relay);
            }
            let mut stream = Stream::new(seed, writer, Purpose::Writing);
            for at in moments(&on, self.days * DAY, MAILS_A_DAY, &mut stream) {
                let drawn = size(&mut stream);
                world.plan(at, writer, writer + 1, self.bytes.unwrap_or(drawn));
            }
        }
        world
    }

    fn unless_away(&self, on: Sessions) -> Sessions {
        let Some((from, days)) = self.away else { return on };
        both(&on, &[(0, from * DAY), ((from + days) * DAY, self.end())])
    }
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
