//! Faults by the swarm: the core that ships on the store that ships, on disks that tear, fill up and lie, in networks that fall apart.
//!
//! A seed draws which kinds of faults there are at all and how many (swarm testing: Groce et al., ISSTA 2012), runs until everything has been healed, and
//! then waits for everything to arrive. What must never break is looked for while it runs (`faults/watch.rs`) and at the end; a seed that breaks it is
//! made smaller by itself (`faults/shrink.rs`), and told as a tale.

mod plan;
mod shrink;
mod store;
mod swarm;
mod watch;

use std::cell::RefCell;
use std::rc::Rc;

use kith_protocol::delivery::Config;

use crate::availability::{HOUR, Sessions};
use crate::names;
use crate::world::home::{Envelopes, Home};
use crate::world::{Incident, World};
pub use plan::{Letter, Plan};
pub use shrink::smaller;
use store::StoreHome;
pub use swarm::{Swarm, swarm};
use watch::Ledger;
pub use watch::{Breach, Kind};

/// After everything has been healed, so long until everybody has met everybody, in ms.
const MEETING_MS: u64 = 1000;
/// After everything has been healed, so long until all mails that can be delivered are: two minutes, as promised, in ms.
const CONTACT_MS: u64 = 2 * 60 * 1000;
/// The same where a disk was full: whoever was asked to come back later does so after ten minutes, more or less.
const ROOM_MS: u64 = 15 * 60 * 1000;
/// The same where relays or disks lied: until they have been asked to show what they keep, and what they lack is sent again.
const AUDITED_MS: u64 = 30 * HOUR;
/// And so long until all receipts are there.
const SETTLED_MS: u64 = 3 * HOUR;
/// So many things happen in a run at most, eight times as many as in the longest that was seen: more is a machine that never comes to rest.
const HAPPENINGS_MAX: u64 = 20_000_000;

/// What came of a plan.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// What was broken; nothing: all promises held.
    pub breaches: Vec<Breach>,
    /// Mails that were accepted.
    pub mails: u64,
    /// Of them: delivered; failed and said so; failed although they had arrived.
    pub delivered: u64,
    /// Told to the sender as failed.
    pub failed: u64,
    /// Told as failed although delivered.
    pub bounced_falsely: u64,
    /// Events that cores handled.
    pub events: u64,
    /// Hours that nodes were simulated, on or off.
    pub node_hours: f64,
    /// What befell them.
    pub incidents: u64,
    /// Names everything that happened.
    pub digest: String,
    /// What happened, line by line, if it was asked for.
    pub tale: Vec<String>,
}

impl Plan {
    /// Runs it; with `told`, everything that happens is written down.
    #[must_use]
    pub fn run(&self, told: bool) -> Verdict {
        self.run_within(HAPPENINGS_MAX, told)
    }

    /// The same with another bound on what may happen.
    fn run_within(&self, happenings: u64, told: bool) -> Verdict {
        let breaches = Rc::new(RefCell::new(Vec::new()));
        let Some(mut world) = self.world(&breaches) else {
            return Verdict { breaches: vec![Breach::new(0, 0, Kind::Unsound, "a store cannot be made")], ..Verdict::default() };
        };
        world.tale = told.then(Vec::new);
        world.left = happenings;
        world.run(self.healed_ms + self.patience());
        self.all_arrived(&world, &breaches);
        world.run(self.end_ms());
        self.all_settled(&mut world, &breaches);
        if world.left == 0 {
            // What else is not as it should be comes of that.
            let what = format!("{happenings} things have happened, and there is no end of it");
            breaches.borrow_mut().insert(0, Breach::new(world.now(), 0, Kind::Restless, what));
        }
        let tale = world.tale.take().unwrap_or_default();
        let line = |(at, node, what): (u64, u32, String)| format!("{:>10.3} s  node {node}  {what}", at as f64 / 1000.0);
        let accepted = || world.mails().iter().filter(|mail| mail.accepted());
        let falsely = |mail: &&crate::world::Mail| mail.failed() && mail.filed().is_some_and(|filed| Some(filed) <= mail.ended());
        let breaches = breaches.borrow().clone();
        Verdict {
            breaches,
            mails: accepted().count() as u64,
            delivered: accepted().filter(|mail| mail.filed().is_some()).count() as u64,
            failed: accepted().filter(|mail| mail.failed()).count() as u64,
            bounced_falsely: accepted().filter(falsely).count() as u64,
            events: world.traffic().events,
            node_hours: f64::from(self.nodes()) * self.end_ms() as f64 / HOUR as f64,
            incidents: self.incidents.len() as u64,
            digest: world.digest().to_hex().to_string(),
            tale: tale.into_iter().map(line).collect(),
        }
    }

    fn end_ms(&self) -> u64 {
        self.healed_ms + self.patience() + SETTLED_MS
    }

    /// How long everything may take once all is well.
    fn patience(&self) -> u64 {
        let full = |(_, incident): &(u64, Incident)| matches!(incident, Incident::Disk(_, crate::world::Ailment::Full));
        match (self.lies(), self.incidents.iter().any(full)) {
            (true, _) => AUDITED_MS,
            (false, true) => ROOM_MS,
            (false, false) => CONTACT_MS,
        }
    }

    /// Somebody says that something is stored, and it is not.
    fn lies(&self) -> bool {
        !self.lying_disks.is_empty() || self.incidents.iter().any(|(_, incident)| matches!(incident, Incident::Lying(_, true)))
    }

    fn world(&self, breaches: &Rc<RefCell<Vec<Breach>>>) -> Option<World> {
        let relays: Vec<Vec<u32>> = (0..self.nodes())
            .map(|node| if node < self.people { (self.people..self.nodes()).collect() } else { Vec::new() })
            .collect();
        let home = |node: u32| {
            let lying = self.lying_disks.contains(&node);
            let home = StoreHome::new(names::address(node), &relays[node as usize], lying).ok()?;
            Some(Box::new(home) as Box<dyn Home>)
        };
        let homes: Vec<Box<dyn Home>> = (0..self.nodes()).map(home).collect::<Option<_>>()?;
        let sessions: Vec<Sessions> = self.sessions.iter().map(|sessions| self.and_then_on(sessions)).collect();
        let config = Config { strangers: kith_protocol::card::Strangers::Welcome, ..Config::default() };
        let mut world = World::with_homes(self.seed, config, sessions, relays, homes, Envelopes::with_bytes());
        world.hasty = self.hasty;
        for one in 0..self.people {
            (0..self.nodes()).filter(|other| *other != one).for_each(|other| world.introduce(one, other));
        }
        self.letters.iter().for_each(|letter| world.plan(letter.at_ms, letter.from, letter.to, letter.bytes));
        self.incidents.iter().for_each(|(at, incident)| world.befall(*at, self.until_healed(*at, incident)));
        // As promised, two minutes count from the moment at which two nodes meet.
        world.befall(self.healed_ms + MEETING_MS, Incident::Contact);
        self.mended().into_iter().for_each(|incident| world.befall(self.healed_ms, incident));
        world.watch = Some(Box::new(Ledger::new(Rc::clone(breaches), self.lying_disks.clone())));
        Some(world)
    }

    /// Nobody is down for longer than until everything is healed.
    fn until_healed(&self, at: u64, incident: &Incident) -> Incident {
        let left = self.healed_ms.saturating_sub(at);
        match incident {
            Incident::PowerCut(node, ms) => Incident::PowerCut(*node, left.min(*ms)),
            Incident::Restart(node, ms) => Incident::Restart(*node, left.min(*ms)),
            Incident::Away(node, ms) => Incident::Away(*node, left.min(*ms)),
            other => other.clone(),
        }
    }

    /// From the moment at which everything is healed everybody is on.
    fn and_then_on(&self, sessions: &Sessions) -> Sessions {
        let mut all: Sessions = sessions
            .iter()
            .filter(|(start, _)| *start < self.healed_ms)
            .map(|(start, end)| (*start, (*end).min(self.healed_ms)))
            .collect();
        let end = self.end_ms() + 1;
        match all.last_mut() {
            Some((_, last)) if *last == self.healed_ms => *last = end,
            _ => all.push((self.healed_ms, end)),
        }
        all
    }

    /// Everything is well again.
    fn mended(&self) -> Vec<Incident> {
        let all = 0..self.nodes();
        let disks = all.clone().map(|node| Incident::Disk(node, crate::world::Ailment::None));
        let honest = all.map(|node| Incident::Lying(node, false));
        [Incident::Healed, Incident::Directory(0.0)].into_iter().chain(disks).chain(honest).collect()
    }

    /// P11: when everything is healed, everything that can be delivered is there in no time.
    fn all_arrived(&self, world: &World, breaches: &Rc<RefCell<Vec<Breach>>>) {
        for (number, mail) in world.mails().iter().enumerate() {
            if mail.accepted() && !mail.failed() && mail.filed().is_none() {
                let what = format!("mail {number} from {} to {} is not there although all is well again", mail.from, mail.to);
                breaches.borrow_mut().push(Breach::new(world.now(), mail.from, Kind::Stuck, what));
            }
        }
    }

    /// Every store is sound, every inbox has every mail once, every mail has met its fate.
    fn all_settled(&self, world: &mut World, breaches: &Rc<RefCell<Vec<Breach>>>) {
        let now = world.now();
        let breach = |node, kind, what: String| breaches.borrow_mut().push(Breach::new(now, node, kind, what));
        for node in 0..self.nodes() {
            let inbox = match world.inspect(node) {
                Ok(inbox) => inbox,
                Err(what) => {
                    breach(node, Kind::Unsound, what);
                    continue;
                }
            };
            for (number, mail) in world.mails().iter().enumerate().filter(|(_, mail)| mail.to == node && mail.filed().is_some()) {
                let name = number.to_string();
                let count = inbox.iter().filter(|subject| **subject == name).count();
                match count {
                    0 => breach(node, Kind::Lost, format!("mail {number} was filed, and is not in the inbox")),
                    1 => {}
                    _ => breach(node, Kind::Twice, format!("mail {number} is in the inbox {count} times")),
                }
                if mail.accepted() && mail.ended().is_none() {
                    breach(mail.from, Kind::Stuck, format!("mail {number} has arrived, and its sender does not know"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_without_end_is_given_up_and_said_to_be_one() {
        let plan = Plan::drawn(3);
        assert!(plan.run_within(HAPPENINGS_MAX, false).breaches.is_empty());
        let verdict = plan.run_within(100, false);
        assert_eq!(verdict.breaches.first().map(|breach| breach.kind), Some(Kind::Restless));
        assert!(verdict.events <= 100);
    }
}
