//! People who know each other: a circle of friends, a village, a town.

use kith_protocol::delivery::Config;

use super::habits::{contacts, favourite, moments, size};
use super::run::{self, Attention, drive};
use super::{MAILS_A_DAY, Outcome};
use crate::availability::{DAY, HOUR, Habit, Sessions, sessions};
use crate::stream::{Purpose, Stream};
use crate::world::{Incident, Mail, World};

/// People of a world, at most.
pub const PEOPLE_MAX: u32 = 10_000_000;
/// People that somebody knows, at most.
const CONTACTS_MAX: u32 = 100;
/// Relays of a person, as many as a card lists.
const RELAYS_MAX: u32 = 4;
/// Mails a run may have.
const MAILS_MAX: f64 = 4e9;

/// A habit and how many have it, beside the others.
#[derive(Clone, Copy, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Beside the others' shares.
    pub share: f64,
    /// When they are on.
    pub habit: Habit,
}

/// People who write to each other.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct People {
    /// How many.
    pub people: u32,
    /// Days on which mails are written.
    pub days: u64,
    /// Days after the last mail.
    pub after: u64,
    /// Mails of a person a day.
    pub a_day: f64,
    /// Everybody knows everybody: a circle of friends, and not a town.
    pub circle: bool,
    /// When they are on.
    pub habits: Vec<Share>,
    /// The share who have a machine that is always on, and how much of the time it is up.
    pub pis: f64,
    /// Not a share of them, but the first so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_pis: Option<u32>,
    /// How much of the time those are up.
    pub up: f64,
    /// So many relays has each: the own machine, contacts' machines, and contacts' laptops where `laptops` says so.
    pub relays: u32,
    /// Laptops keep mail for friends.
    pub laptops: bool,
    /// The share of the machines that are always on and keep mail for anybody.
    pub volunteers: f64,
    /// The share of the people who are behind a router that nobody can call through.
    pub behind: f64,
    /// The share of pairs of those that reach each other all the same.
    pub punch: f64,
    /// The share of the recipients who are away for a week after the mails were written.
    pub away: f64,
    /// The hour at which everything loses its power for some minutes: hours since the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blackout_h: Option<f64>,
    /// The share of people whose records nobody finds in the directory.
    #[serde(default)]
    pub hidden: f64,
    /// Bytes of every mail; not set: as people write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The share of mails that go to somebody whose card the sender has never seen.
    #[serde(default)]
    pub strangers: f64,
}

impl People {
    /// Ten friends with laptops, at mixed hours, and nothing that is always on.
    #[must_use]
    pub fn friends() -> Self {
        let hours = [(4.0, 9.0), (8.0, 13.0), (4.0, 20.0), (6.0, 17.0), (5.0, 22.0), (3.0, 12.0), (8.0, 15.0), (4.0, 19.0)];
        let habits = hours.map(|(hours, centre)| Share { share: 1.0, habit: Habit::Diurnal { hours, centre } });
        Self {
            people: 10,
            days: 60,
            after: 31,
            a_day: MAILS_A_DAY,
            circle: true,
            habits: habits.to_vec(),
            pis: 0.0,
            first_pis: None,
            up: 0.95,
            relays: RELAYS_MAX,
            laptops: true,
            volunteers: 0.0,
            behind: 0.0,
            punch: 1.0,
            away: 0.0,
            blackout_h: None,
            hidden: 0.0,
            bytes: None,
            strangers: 0.0,
        }
    }

    /// A town: laptops in the evening and by day, phones, a third of the homes with a machine that is always on, three quarters behind routers.
    #[must_use]
    pub fn town(people: u32) -> Self {
        let habits = [
            (0.45, Habit::Diurnal { hours: 4.0, centre: 20.0 }),
            (0.30, Habit::Diurnal { hours: 8.0, centre: 13.0 }),
            (0.15, Habit::Random { hours: 6.0 }),
            (0.10, Habit::Phone { times: 30.0, minutes: 5.0 }),
        ];
        Self {
            people,
            days: 14,
            after: 14,
            a_day: 5.0,
            circle: false,
            habits: habits.map(|(share, habit)| Share { share, habit }).to_vec(),
            pis: 0.33,
            relays: 2,
            laptops: false,
            behind: 0.75,
            punch: 0.7,
            ..Self::friends()
        }
    }

    /// People without relays, among whom some machines keep mail for anybody; every recipient is away for a week.
    #[must_use]
    pub fn volunteers_only() -> Self {
        Self {
            days: 3,
            after: 31,
            relays: 0,
            pis: 0.2,
            volunteers: 1.0,
            away: 1.0,
            a_day: 1.0,
            behind: 0.0,
            bytes: Some(6_000),
            ..Self::town(500)
        }
    }

    /// Whether this can be run.
    ///
    /// # Errors
    /// A sentence about what is out of range.
    pub fn check(&self) -> Result<(), String> {
        if !(2..=PEOPLE_MAX).contains(&self.people) || !(1..=3650).contains(&self.days) || self.after > 3650 {
            return Err(format!("there are 2 to {PEOPLE_MAX} people, for 1 to 3,650 days, and as many after them at most"));
        }
        if self.relays > RELAYS_MAX || self.habits.is_empty() || self.habits.iter().any(|share| share.share < 0.0) {
            return Err(format!("a person has up to {RELAYS_MAX} relays, and a habit"));
        }
        if !(0.0..=1000.0).contains(&self.a_day) || f64::from(self.people) * self.days as f64 * self.a_day > MAILS_MAX {
            return Err(format!("people write up to 1,000 mails a day, and all together {MAILS_MAX}"));
        }
        super::pairs::check_habits(&self.habits.iter().map(|share| share.habit).collect::<Vec<_>>())?;
        super::pairs::check_share(self.up)?;
        [self.pis, self.volunteers, self.behind, self.punch, self.away, self.hidden, self.strangers]
            .into_iter()
            .try_for_each(super::pairs::check_part)
    }

    pub(super) fn run(&self, seed: u64, config: Config, attention: &Attention<'_>) -> Outcome {
        let mut world = self.world(seed, config);
        drive(&mut world, (self.days + self.after) * DAY, attention);
        let mut special = match self.blackout_h {
            Some(hour) => self.after_the_blackout(&world, (hour * HOUR as f64) as u64),
            None => Vec::new(),
        };
        if self.strangers > 0.0 {
            special.extend(self.by_acquaintance(&world, seed));
        }
        run::outcome(&world, special)
    }

    /// Mails that were on their way when the power failed.
    fn after_the_blackout(&self, world: &World, at: u64) -> Vec<(String, f64)> {
        let caught =
            || world.mails().iter().filter(|mail| mail.accepted() && mail.at < at && mail.filed().is_none_or(|filed| filed > at));
        let arrived = caught().filter(|mail| mail.filed().is_some()).count();
        vec![
            ("mails on their way at the blackout".to_owned(), caught().count() as f64),
            ("of them arrived, %".to_owned(), 100.0 * arrived as f64 / caught().count().max(1) as f64),
        ]
    }

    /// What becomes of the mails of people who know each other, and of strangers', to those whose records are found and to those whose are not.
    fn by_acquaintance(&self, world: &World, seed: u64) -> Vec<(String, f64)> {
        let known: Vec<Vec<u32>> = (0..self.people).map(|person| self.contacts_of(person, seed)).collect();
        let knows = |one: u32, other: u32| known[one as usize].contains(&other);
        let (mut rows, kinds) = (Vec::new(), [("contacts", true), ("strangers", false)]);
        for (who, acquainted) in kinds {
            for (whom, found) in [("found", true), ("hidden", false)] {
                let meant = |mail: &&Mail| {
                    mail.accepted()
                        && (knows(mail.from, mail.to) || knows(mail.to, mail.from)) == acquainted
                        && self.is_hidden(mail.to, seed) != found
                };
                let count = world.mails().iter().filter(meant).count();
                if count == 0 {
                    continue;
                }
                let share = |days: u64| {
                    let there = |mail: &&Mail| mail.filed().is_some_and(|filed| filed - mail.at <= days * DAY);
                    100.0 * world.mails().iter().filter(meant).filter(there).count() as f64 / count as f64
                };
                let failed = world.mails().iter().filter(meant).filter(|mail| mail.failed()).count();
                rows.push((format!("{who} to {whom} people: mails"), count as f64));
                rows.push((format!("{who} to {whom} people: within 7 days, %"), share(7)));
                rows.push((format!("{who} to {whom} people: within 30 days, %"), share(30)));
                rows.push((format!("{who} to {whom} people: told that it failed, %"), 100.0 * failed as f64 / count as f64));
            }
        }
        rows
    }

    /// Nobody finds this person's record.
    fn is_hidden(&self, person: u32, seed: u64) -> bool {
        Stream::new(seed, person, Purpose::Faults).chance(self.hidden)
    }

    fn habit(&self, stream: &mut Stream) -> Habit {
        let total: f64 = self.habits.iter().map(|share| share.share).sum();
        let mut left = stream.unit() * total;
        for share in &self.habits {
            left -= share.share;
            if left <= 0.0 {
                return share.habit;
            }
        }
        self.habits.last().map_or(Habit::Always, |share| share.habit)
    }

    fn world(&self, seed: u64, config: Config) -> World {
        let end = (self.days + self.after) * DAY;
        let mut all: Vec<Sessions> = Vec::new();
        let mut pi_of: Vec<Option<u32>> = Vec::new();
        let mut next_pi = self.people;
        for person in 0..self.people {
            let mut choice = Stream::new(seed, person, Purpose::Choice);
            let habit = match self.circle {
                // So that every circle has every kind.
                true => self.habits[person as usize % self.habits.len()].habit,
                false => self.habit(&mut choice),
            };
            let mut on = sessions(habit, end, &mut Stream::new(seed, person, Purpose::Availability));
            if choice.chance(self.away) {
                on = away(&on, self.days * DAY);
            }
            all.push(on);
            let drawn = choice.chance(self.pis);
            pi_of.push(self.first_pis.map_or(drawn, |first| person < first).then(|| {
                next_pi += 1;
                next_pi - 1
            }));
        }
        for pi in self.people..next_pi {
            all.push(sessions(Habit::Pi { up: self.up }, end, &mut Stream::new(seed, pi, Purpose::Availability)));
        }
        let known: Vec<Vec<u32>> = (0..self.people).map(|person| self.contacts_of(person, seed)).collect();
        let mut relays: Vec<Vec<u32>> = (0..self.people).map(|person| self.relays_of(person, &known, &pi_of)).collect();
        relays.resize(next_pi as usize, Vec::new());
        let mut world = World::new(seed, config, all, relays.clone());
        self.network(&mut world, next_pi, seed);
        for person in 0..self.people {
            relays[person as usize].iter().for_each(|relay| world.introduce(person, *relay));
            known[person as usize].iter().for_each(|other| world.introduce(person, *other));
            self.write(&mut world, person, &known[person as usize], seed);
        }
        if let Some(hour) = self.blackout_h {
            let at = (hour * HOUR as f64) as u64;
            for node in 0..world.count() {
                let minutes = 10 + Stream::new(seed, node, Purpose::Faults).below(5);
                world.befall(at, Incident::PowerCut(node, minutes * 60_000));
            }
        }
        world
    }

    fn contacts_of(&self, person: u32, seed: u64) -> Vec<u32> {
        if self.circle {
            return (0..self.people).filter(|other| *other != person).collect();
        }
        let mut stream = Stream::new(seed, person, Purpose::Contacts);
        let count = contacts(CONTACTS_MAX.min(self.people - 1), &mut stream);
        let mut known = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let other = u32::try_from(stream.below(u64::from(self.people) - 1)).unwrap_or(0);
            let other = other + u32::from(other >= person);
            if !known.contains(&other) {
                known.push(other);
            }
        }
        known
    }

    fn relays_of(&self, person: u32, known: &[Vec<u32>], pi_of: &[Option<u32>]) -> Vec<u32> {
        let own = pi_of[person as usize];
        let theirs = known[person as usize].iter().filter_map(|other| pi_of[*other as usize]);
        // In a circle everybody takes the ones after: all are asked as often.
        let friends = (1..self.people.min(16)).map(|step| (person + step) % self.people).filter(|_| self.laptops);
        let mut relays: Vec<u32> = Vec::new();
        for relay in own.into_iter().chain(theirs).chain(friends) {
            if relays.len() < self.relays as usize && relay != person && !relays.contains(&relay) {
                relays.push(relay);
            }
        }
        relays
    }

    fn network(&self, world: &mut World, nodes: u32, seed: u64) {
        let chance = |node: u32, share: f64, purpose| Stream::new(seed, node, purpose).chance(share);
        if !self.circle {
            world.crowd();
        }
        if self.behind > 0.0 {
            // Whoever runs a machine that is always on has more often arranged for it to be called.
            let share = |node: u32| if node < self.people { self.behind } else { self.behind / 2.0 };
            world.behind((0..nodes).map(|node| chance(node, share(node), Purpose::Router)).collect(), self.punch);
        }
        let volunteers = (self.people..nodes).filter(|pi| chance(*pi, self.volunteers, Purpose::Choice));
        volunteers.for_each(|pi| world.volunteers(pi));
        let hidden: Vec<u32> = (0..self.people).filter(|person| self.is_hidden(*person, seed)).collect();
        world.directory(0.0, &hidden);
    }

    fn write(&self, world: &mut World, person: u32, known: &[u32], seed: u64) {
        let mut stream = Stream::new(seed, person, Purpose::Writing);
        // Who is written to only while away writes nothing: their sessions are those of the days after.
        for at in moments(world.sessions(person), self.days * DAY, self.a_day, &mut stream) {
            let mut to = known.get(favourite(known.len(), &mut stream)).copied();
            if self.strangers > 0.0 && stream.chance(self.strangers) {
                to = Some((person + 1 + u32::try_from(stream.below(u64::from(self.people) - 1)).unwrap_or(0)) % self.people);
            }
            let drawn = size(&mut stream);
            let bytes = self.bytes.unwrap_or(drawn);
            if let Some(to) = to.filter(|to| *to != person) {
                world.plan(at, person, to, bytes);
            }
        }
    }
}

/// On until mails are written, then away for a week.
fn away(on: &Sessions, from: u64) -> Sessions {
    let until = from + 7 * DAY;
    let before = on.iter().filter(|(start, _)| *start < from).map(|(start, end)| (*start, (*end).min(from)));
    let after = on.iter().filter(|(_, end)| *end > until).map(|(start, end)| ((*start).max(until), *end));
    before.chain(after).collect()
}
