//! A mail to very many people, and how long it takes until all have it.

use kith_protocol::delivery::Config;

use super::Outcome;
use super::run::{self, AFTER, Attention, drive};
use crate::availability::{DAY, HOUR, Habit, Sessions, sessions};
use crate::stream::{Purpose, Stream};
use crate::world::World;

/// Recipients of a mail, at most.
const RECIPIENTS_MAX: u32 = 200_000;

/// One mail for each of these people, all at one moment.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// To how many.
    pub recipients: u32,
    /// Bytes of the mail.
    pub bytes: u64,
    /// When the list's machine is on.
    pub sender: Habit,
    /// When the people are.
    pub reader: Habit,
    /// The share of them who have a machine that is always on.
    pub pis: f64,
    /// How much of the time those are up.
    pub up: f64,
}

impl Default for List {
    fn default() -> Self {
        let reader = Habit::Diurnal { hours: 4.0, centre: 19.0 };
        Self { recipients: 10_000, bytes: 6_000, sender: Habit::Pi { up: 0.95 }, reader, pis: 0.5, up: 0.95 }
    }
}

impl List {
    /// Whether this can be run.
    ///
    /// # Errors
    /// A sentence about what is out of range.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=RECIPIENTS_MAX).contains(&self.recipients) || self.bytes > 50 << 20 {
            return Err(format!("a list has 1 to {RECIPIENTS_MAX} people, and a mail 50 MiB at most"));
        }
        super::pairs::check_habits(&[self.sender, self.reader])?;
        super::pairs::check_share(self.up).and(super::pairs::check_part(self.pis))
    }

    pub(super) fn run(&self, seed: u64, config: Config, attention: &Attention<'_>) -> Outcome {
        let end = DAY + AFTER;
        let drawn = |node: u32, habit: Habit| sessions(habit, end, &mut Stream::new(seed, node, Purpose::Availability));
        let mut all: Vec<Sessions> = vec![drawn(0, self.sender)];
        let mut relays: Vec<Vec<u32>> = vec![Vec::new()];
        let mut pis = Vec::new();
        for node in 1..=self.recipients {
            all.push(drawn(node, self.reader));
            let with_pi = Stream::new(seed, node, Purpose::Choice).chance(self.pis);
            let pi = self.recipients + 1 + u32::try_from(pis.len()).unwrap_or(0);
            relays.push(if with_pi { vec![pi] } else { Vec::new() });
            if with_pi {
                pis.push(drawn(pi, Habit::Pi { up: self.up }));
            }
        }
        relays.extend(pis.iter().map(|_| Vec::new()));
        all.extend(pis);
        // In the evening, when the machine is on.
        let at = crate::availability::next_on(&all[0], 18 * HOUR).unwrap_or(0) + 1000;
        let mut world = World::new(seed, config, all, relays);
        for node in 1..=self.recipients {
            world.introduce(0, node);
            world.plan(at, 0, node, self.bytes);
        }
        drive(&mut world, end, attention);
        let mut took: Vec<u64> = world.mails().iter().filter_map(|mail| Some(mail.filed()? - mail.at)).collect();
        took.sort_unstable();
        let hours = |share: f64| crate::statistics::quantile(&took, share) as f64 / HOUR as f64;
        let special = vec![
            ("hours until 99.9 % have it".to_owned(), hours(0.999)),
            ("the sender's upload, MB".to_owned(), world.load(0).sent as f64 / 1e6),
        ];
        run::outcome(&world, special)
    }
}
