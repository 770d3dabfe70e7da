//! Strangers who send to somebody as much as they can, and the mail of that person's contacts.

use kith_protocol::delivery::Config;

use super::habits::{moments, size};
use super::run::{self, AFTER, Attention, drive};
use super::{MAILS_A_DAY, Outcome};
use crate::availability::{DAY, Habit, Sessions, sessions};
use crate::stream::{Purpose, Stream};
use crate::world::World;

/// Strangers, and mails of one a day, at most.
const STRANGERS_MAX: u32 = 10_000;
const MAILS_MAX: u32 = 100_000;

/// A person with a contact, two machines that keep mail, and very many strangers.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flood {
    /// How many strangers.
    pub strangers: u32,
    /// Mails of each of them a day.
    pub a_day: u32,
    /// For so many days.
    pub days: u64,
}

impl Flood {
    /// Whether this can be run.
    ///
    /// # Errors
    /// A sentence about what is out of range.
    pub fn check(&self) -> Result<(), String> {
        if self.strangers > STRANGERS_MAX || self.a_day > MAILS_MAX || !(1..=365).contains(&self.days) {
            return Err(format!("a flood has at most {STRANGERS_MAX} strangers, {MAILS_MAX} mails of each a day, 1 to 365 days"));
        }
        Ok(())
    }

    /// The reader is 0, the contact 1, the relays 2 and 3, the strangers from 4 on.
    pub(super) fn run(&self, seed: u64, config: Config, attention: &Attention<'_>) -> Outcome {
        let until = self.days * DAY;
        let end = until + AFTER;
        let drawn = |node: u32, habit: Habit| sessions(habit, end, &mut Stream::new(seed, node, Purpose::Availability));
        let diurnal = |centre| Habit::Diurnal { hours: 4.0, centre };
        let mut all: Vec<Sessions> = vec![drawn(0, diurnal(11.0)), drawn(1, diurnal(20.0))];
        all.extend([2, 3].map(|node| drawn(node, Habit::Pi { up: 0.95 })));
        all.extend((0..self.strangers).map(|_| vec![(0, until)]));
        let mut relays = vec![vec![2, 3], vec![2, 3]];
        relays.resize(all.len(), Vec::new());
        let writing = all[1].clone();
        let mut world = World::new(seed, config, all, relays);
        world.introduce(0, 1);
        for node in [0, 1] {
            [2, 3].into_iter().for_each(|relay| world.introduce(node, relay));
            world.accepts(node, 1 - node);
        }
        let mut stream = Stream::new(seed, 1, Purpose::Writing);
        for at in moments(&writing, until, 5.0 * MAILS_A_DAY, &mut stream) {
            world.plan(at, 1, 0, size(&mut stream));
        }
        let honest = world.mails().len();
        for stranger in 4..4 + self.strangers {
            let mut stream = Stream::new(seed, stranger, Purpose::Writing);
            for _ in 0..u64::from(self.a_day) * self.days {
                world.plan(stream.below(until), stranger, 0, 4_000);
            }
        }
        drive(&mut world, end, attention);
        let arrived = world.mails()[honest..].iter().filter(|mail| mail.filed().is_some()).count();
        let special = vec![
            ("strangers' mails sent".to_owned(), (world.mails().len() - honest) as f64),
            ("strangers' mails that arrived".to_owned(), arrived as f64),
            ("a relay's peak, MB".to_owned(), world.load(2).peak.max(world.load(3).peak) as f64 / 1e6),
        ];
        world.forget_mails_from(honest);
        run::outcome(&world, special)
    }
}
