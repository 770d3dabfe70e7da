//! What a node writes becomes durable, or does not, and what comes of it.

use kith_protocol::event::{CommitProblem, Event, Write};

use super::World;
use super::home::{Fact, Moment};

impl World {
    /// The oldest commit of a node becomes durable.
    pub(super) fn commit(&mut self, node: u32) {
        if self.nodes[node as usize].commits.is_empty() {
            return;
        }
        let (batch, writes, then) = self.nodes[node as usize].commits.remove(0);
        match self.write(node, &writes) {
            Ok(()) => {
                for effect in then {
                    self.perform(node, effect);
                }
                self.handle(node, Event::Durable(batch));
            }
            Err(reason) => {
                self.handle(node, Event::CommitFailed { batch, reason });
                self.failed(node, reason);
            }
        }
    }

    /// Makes the writes durable, and sees to what comes of them.
    pub(super) fn write(&mut self, node: u32, writes: &[Write]) -> Result<(), CommitProblem> {
        let mut facts = std::mem::take(&mut self.facts);
        let (now, wall) = (self.now, self.time(node).wall);
        let moment = Moment { now, wall, envelopes: &self.envelopes, serial: &self.serial, addresses: &self.addresses };
        let outcome = self.nodes[node as usize].home.write(writes, &moment, &mut facts);
        if outcome.is_ok() {
            if let Some(watch) = &mut self.watch {
                watch.facts(now, node, &facts, &self.mails);
            }
            facts.drain(..).for_each(|fact| self.fact(node, fact));
        }
        facts.clear();
        self.facts = facts;
        outcome
    }

    /// Something that others notice has become true.
    pub(super) fn fact(&mut self, node: u32, fact: Fact) {
        let now = self.now;
        match fact {
            Fact::Queued(entry) => self.tell(node, 0, Event::Queued(*entry)),
            Fact::Filed(mail) => {
                self.mails[mail as usize].is_filed(now);
                self.note(5, node, mail);
                self.tell_tale(node, || format!("files mail {mail}"));
            }
            Fact::Ended(number, ending) => {
                self.mails[number as usize].ends(now, ending);
                self.note(6, node, number);
                self.tell_tale(node, || format!("mail {number} ends: {ending:?}"));
            }
            Fact::Noticed(mail) => {
                self.mails[mail as usize].is_noticed();
                self.note(4, node, mail);
            }
            Fact::Held(bytes) => {
                let load = &mut self.nodes[node as usize].load;
                load.bytes += bytes;
                load.peak = load.peak.max(load.bytes);
            }
            Fact::Forgot(bytes, kept_ms) => {
                self.traffic.copy_ms += kept_ms;
                let load = &mut self.nodes[node as usize].load;
                load.bytes = load.bytes.saturating_sub(bytes);
            }
        }
    }
}
