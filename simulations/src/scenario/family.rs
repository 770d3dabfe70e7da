//! A family's year: six people, two always-on machines, and what happens in a year.

use kith_protocol::delivery::Config;

use super::habits::{moments, size};
use super::run::{self, AFTER, Attention, drive};
use super::{MAILS_A_DAY, Outcome};
use crate::availability::{DAY, Habit, Sessions, sessions};
use crate::stream::{Purpose, Stream};
use crate::world::{Incident, World};

/// Nodes: six people, then the machine in each of two homes.
const PEOPLE: u32 = 6;
const PIS: [u32; 2] = [6, 7];

/// Six people who write to each other.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    /// For so many days.
    pub days: u64,
    /// Mails of a person a day.
    pub a_day: f64,
    /// How much of the time the machines are up.
    pub up: f64,
    /// The day of the move: the first home's machine is in a box for five days.
    pub move_day: u64,
    /// The day on which a laptop is lost: its owner has a new one after three days, with the address book of a backup and nothing else.
    pub lost_day: u64,
    /// The day on which the SD card of the second home's machine dies: it runs again after two days, with nothing on it.
    pub dead_card_day: u64,
}

impl Default for Family {
    fn default() -> Self {
        Self { days: 365, a_day: MAILS_A_DAY, up: 0.95, move_day: 90, lost_day: 180, dead_card_day: 270 }
    }
}

impl Family {
    /// Whether this can be run.
    ///
    /// # Errors
    /// A sentence about what is out of range.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=3650).contains(&self.days) || !(0.0..=100.0).contains(&self.a_day) {
            return Err("a family is watched for 1 to 3,650 days, and writes up to 100 mails each a day".to_owned());
        }
        super::pairs::check_share(self.up)
    }

    pub(super) fn run(&self, seed: u64, config: Config, attention: &Attention<'_>) -> Outcome {
        let (until, end) = (self.days * DAY, self.days * DAY + AFTER);
        let habits = [
            Habit::Diurnal { hours: 6.0, centre: 14.0 },
            Habit::Diurnal { hours: 3.0, centre: 20.0 },
            Habit::Phone { times: 30.0, minutes: 5.0 },
            Habit::Diurnal { hours: 2.0, centre: 10.0 },
            Habit::Diurnal { hours: 4.0, centre: 21.0 },
            Habit::Phone { times: 20.0, minutes: 4.0 },
            Habit::Pi { up: self.up },
            Habit::Pi { up: self.up },
        ];
        let drawn = |(node, habit)| sessions(habit, end, &mut Stream::new(seed, node, Purpose::Availability));
        let all: Vec<Sessions> = (0..).zip(habits).map(drawn).collect();
        let mut relays = vec![PIS.to_vec(); PEOPLE as usize];
        relays.resize(all.len(), Vec::new());
        let mut world = World::new(seed, config, all.clone(), relays);
        for one in 0..PEOPLE {
            (one + 1..8).for_each(|other| world.introduce(one, other));
            let mut stream = Stream::new(seed, one, Purpose::Writing);
            for at in moments(&all[one as usize], until, self.a_day, &mut stream) {
                let other = (one + 1 + u32::try_from(stream.below(5)).unwrap_or(0)) % PEOPLE;
                world.plan(at, one, other, size(&mut stream));
            }
        }
        let lost = self.lost_day * DAY;
        world.befall(self.move_day * DAY, Incident::Away(PIS[0], 5 * DAY));
        world.befall(lost, Incident::Away(0, 3 * DAY));
        world.befall(lost + 1, Incident::Wiped(0));
        world.befall(self.dead_card_day * DAY, Incident::Away(PIS[1], 2 * DAY));
        world.befall(self.dead_card_day * DAY + 1, Incident::Wiped(PIS[1]));
        drive(&mut world, end, attention);
        // What stood in the queue of the laptop went with it: nobody else had it.
        let with_it = world.mails().iter().filter(|mail| mail.from == 0 && mail.accepted() && mail.at < lost);
        let with_it = with_it.filter(|mail| mail.filed().is_none() && mail.ended().is_none()).count();
        let special = vec![("mails lost with the laptop".to_owned(), with_it as f64)];
        run::outcome(&world, special)
    }
}
