//! Machines that are started, shut down, and lose their power.

use std::sync::Arc;

use kith_protocol::delivery::Delivery;
use kith_protocol::event::{CommitProblem, Event, OwnAccount, Snapshot, UsedRelay};

use super::home::{Kept, Moment};
use super::{ACCOUNT, Happening, World};
use crate::names;

/// A machine whose store has become unusable is started anew after so long, in ms.
const MENDED_MS: u64 = 20_000;
/// The same where it cannot be opened, time after time: twice as long each time, so long at most.
const OPENED_MS: u64 = 10 * 60 * 1000;

/// Until a node that starts has met another one in the directory, in ms, and how many it tries.
const MEETS_MS: u64 = 1000;
const MEETS_TRIES: u32 = 32;

impl World {
    pub(super) fn boot(&mut self, node: u32) {
        if self.is_on(node) || self.now < self.nodes[node as usize].down_until {
            return;
        }
        let wall = self.time_of_boot(node);
        let Ok(kept) = self.nodes[node as usize].home.kept(wall) else {
            self.tell_tale(node, || "cannot open its store".to_owned());
            let n = &mut self.nodes[node as usize];
            let wait = OPENED_MS.min(MENDED_MS << n.unopened.min(16));
            n.unopened = n.unopened.saturating_add(1);
            return self.down(node, wait);
        };
        if let Some(watch) = &mut self.watch {
            watch.facts(self.now, node, &kept.facts, &self.mails);
        }
        for fact in kept.facts {
            self.fact(node, fact);
        }
        let kept = Kept { facts: Vec::new(), ..kept };
        if let Some(watch) = &mut self.watch {
            watch.booted(self.now, node, &kept, &self.mails);
        }
        let cards = kept.cards.iter().map(|(of, learned)| self.card(*of, *learned)).collect();
        let address = self.address(node);
        let accepted = self.accepted[node as usize].iter().map(|of| (ACCOUNT, self.address(*of))).collect();
        let n = &mut self.nodes[node as usize];
        n.boot += 1;
        n.unopened = 0;
        (n.booted_at, n.next_tick, n.due) = (self.now, super::NEVER, super::NEVER);
        n.met.clear();
        let relay = |relay: &u32| UsedRelay {
            account: ACCOUNT,
            peer: names::peer(*relay),
            addresses: Vec::new(),
            queue: names::queue_at(node, *relay),
            granted: kept.granted.contains(relay),
        };
        let snapshot = Snapshot {
            accounts: vec![OwnAccount { account: ACCOUNT, address, queue: names::queue(node) }],
            cards,
            relays: n.relays.iter().map(relay).collect(),
            entries: kept.entries,
            hosted: kept.hosted,
            held: kept.held,
            hosting_clock: kept.hosting_clock,
            volunteers: kept
                .volunteers
                .iter()
                .map(|peer| (ACCOUNT, Self::place_at_volunteer(node, Self::peer_node(peer))))
                .collect(),
            seen: kept.seen,
            accepted,
            requests: Vec::new(),
        };
        let (time, volunteer) = (self.time(node), self.nodes[node as usize].volunteer);
        let config = Arc::clone(if volunteer { &self.volunteering } else { &self.config });
        self.nodes[node as usize].core = Some(Box::new(Delivery::restore(config, snapshot, time)));
        if volunteer {
            self.network.volunteer(node, true);
        }
        if self.crowded {
            let (wait, boot) = (self.wait(node, MEETS_MS), self.nodes[node as usize].boot);
            self.calendar.put(self.now + wait, Happening::Neighbour(node, boot));
        }
        self.note(1, node, 0);
        self.tell_tale(node, || "starts".to_owned());
        self.handle(node, Event::Started);
    }

    /// The node meets another one in the directory, as every node does after its start.
    pub(super) fn meet_somebody(&mut self, node: u32) {
        for _ in 0..MEETS_TRIES {
            let count = u64::from(self.count());
            let other = u32::try_from(self.nodes[node as usize].network.below(count)).unwrap_or(0);
            if self.connect(node, other) {
                return;
            }
        }
    }

    fn time_of_boot(&self, node: u32) -> kith_protocol::event::Wall {
        kith_protocol::event::Wall(self.wall().0.saturating_add(self.nodes[node as usize].skew))
    }

    /// The machine is shut down: what was asked to be written is written, nobody is told.
    pub(super) fn stop(&mut self, node: u32) {
        if !self.is_on(node) {
            return;
        }
        self.note(2, node, 0);
        self.tell_tale(node, || "is shut down".to_owned());
        self.leave(node);
        for (_, writes, _) in std::mem::take(&mut self.nodes[node as usize].commits) {
            // What cannot be written is lost, as it would be.
            if self.write(node, &writes).is_err() {
                break;
            }
        }
        self.gone(node);
    }

    /// The power fails: what is not durable is lost.
    pub(super) fn crash(&mut self, node: u32, for_ms: u64) {
        if !self.is_on(node) {
            return;
        }
        self.note(7, node, for_ms);
        self.tell_tale(node, || format!("loses its power for {} s", for_ms / 1000));
        self.leave(node);
        let writes = self.nodes[node as usize].commits.drain(..).next().map(|(_, writes, _)| writes);
        let (now, wall) = (self.now, self.time(node).wall);
        let moment = Moment { now, wall, envelopes: &self.envelopes, serial: &self.serial, addresses: &self.addresses };
        let halfway = writes.as_ref().map(|writes| (&writes[..], &moment));
        let n = &mut self.nodes[node as usize];
        n.home.crash(now, halfway, &mut |bound| n.network.below(bound));
        self.gone(node);
        self.down(node, for_ms);
    }

    /// The store of a node failed it.
    pub(super) fn failed(&mut self, node: u32, problem: CommitProblem) {
        self.tell_tale(node, || format!("cannot write: {problem:?}"));
        if problem == CommitProblem::Broken {
            self.crash(node, MENDED_MS);
        }
    }

    /// A machine is not started before so much time has passed.
    pub(super) fn down(&mut self, node: u32, for_ms: u64) {
        let until = self.now + for_ms.max(1);
        self.nodes[node as usize].down_until = until;
        self.calendar.put(until, Happening::Up(node));
    }

    /// Its disk is mended: whoever has waited for that starts it.
    pub(super) fn mended(&mut self, node: u32) {
        if !self.is_on(node) && self.nodes[node as usize].unopened > 0 {
            self.down(node, 1);
        }
    }

    /// Its connections end: the others see that.
    fn leave(&mut self, node: u32) {
        for other in self.nodes[node as usize].peers.iter().copied().collect::<Vec<u32>>() {
            self.disconnect(node, other);
            self.sees(other, super::Contact::Down, node);
        }
        if self.nodes[node as usize].volunteer {
            self.network.volunteer(node, false);
        }
    }

    fn gone(&mut self, node: u32) {
        let n = &mut self.nodes[node as usize];
        n.core = None;
        let (under_way, asked) = (std::mem::take(&mut n.under_way), std::mem::take(&mut n.asked));
        for token in under_way {
            self.end_transfer(token);
        }
        for token in asked {
            self.asks.remove(&token);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use kith_protocol::address::Address;
    use kith_protocol::delivery::Config;
    use kith_protocol::event::{Entry, HostedQueue, Wall, Write};
    use kith_protocol::ids::{EntryId, EnvelopeId, MailId};

    use super::super::home::{Envelopes, Fact, Home};
    use super::*;

    const HOUR: u64 = 3_600_000;

    /// Moments at which somebody tried to open a store, and whether it can be.
    #[derive(Debug, Default)]
    struct Door {
        tries: Vec<Wall>,
        open: bool,
    }

    /// A disk whose store cannot be opened before its time.
    #[derive(Debug)]
    struct Shut(Rc<RefCell<Door>>);

    impl Home for Shut {
        fn kept(&mut self, wall: Wall) -> Result<Kept, CommitProblem> {
            let mut door = self.0.borrow_mut();
            door.tries.push(wall);
            if door.open { Ok(Kept::default()) } else { Err(CommitProblem::Broken) }
        }

        fn enqueue(&mut self, _: Entry) -> Result<Entry, CommitProblem> {
            Err(CommitProblem::Broken)
        }

        fn write(&mut self, _: &[Write], _: &Moment<'_>, _: &mut Vec<Fact>) -> Result<(), CommitProblem> {
            Ok(())
        }

        fn entry(&self, _: EntryId) -> Result<Option<Entry>, CommitProblem> {
            Ok(None)
        }

        fn letter(&self, _: &Address, _: u64) -> Option<MailId> {
            None
        }

        fn has_filed(&self, _: &Address, _: &MailId) -> bool {
            false
        }

        fn holds(&self, _: &EnvelopeId) -> Option<bool> {
            None
        }

        fn learn(&mut self, _: u32, _: Wall) {}

        fn host(&mut self, _: HostedQueue) {}
    }

    #[test]
    fn a_store_that_cannot_be_opened_is_tried_less_and_less_often_and_at_once_when_it_is_mended() {
        let door = Rc::new(RefCell::new(Door::default()));
        let homes: Vec<Box<dyn Home>> = vec![Box::new(Shut(Rc::clone(&door)))];
        let sessions = vec![vec![(0, 24 * HOUR)]];
        let mut world = World::with_homes(1, Config::default(), sessions, vec![Vec::new()], homes, Envelopes::default());
        world.run(6 * HOUR);
        let tries: Vec<i64> = door.borrow().tries.iter().map(|wall| wall.0).collect();
        let waits: Vec<i64> = tries.iter().zip(tries.iter().skip(1)).map(|(one, next)| (next - one) / 1000).collect();
        assert_eq!(waits[..6], [20, 40, 80, 160, 320, 600]);
        assert!(waits[6..].iter().all(|wait| *wait == 600) && !world.is_on(0));
        door.borrow_mut().open = true;
        world.mended(0);
        world.run(6 * HOUR + 10);
        assert!(world.is_on(0));
        // What was is forgotten: the next failure waits for a short time again.
        door.borrow_mut().open = false;
        world.crash(0, 1000);
        world.run(6 * HOUR + 60_000);
        let tries = &door.borrow().tries;
        assert_eq!((tries[tries.len() - 1].0 - tries[tries.len() - 2].0) / 1000, 20);
    }
}
