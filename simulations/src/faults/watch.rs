//! What must never break, looked for after every commit and at every start.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use kith_protocol::event::EntryKind;
use kith_protocol::ids::EnvelopeId;

use crate::availability::DAY;
use crate::names;
use crate::world::home::{Ending, Fact, Kept};
use crate::world::{Mail, Watch};

/// Nobody is told that a mail failed before it has waited for so long, in ms: 30 days, less what clocks that were set may take away.
const EARLIEST_FAILURE_MS: u64 = 29 * DAY;
/// Breaches that are written down at most.
const BREACHES_MAX: usize = 100;

/// What was broken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// P1: an accepted mail is nowhere.
    Lost,
    /// P3: it is there twice.
    Twice,
    /// P4: the sender was told that it arrived, and it had not.
    Untrue,
    /// P6: somebody said *stored* and does not store.
    NotStored,
    /// P8: a store is damaged.
    Unsound,
    /// P9: a mail met two fates.
    TwoFates,
    /// P10: a mail failed too early.
    Early,
    /// P11: a mail does not arrive although everything is well.
    Stuck,
    /// There is no end of what happens: a machine never comes to rest.
    Restless,
}

/// A promise that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Breach {
    /// When, in ms since the beginning.
    pub at_ms: u64,
    /// At which node.
    pub node: u32,
    /// Which promise.
    pub kind: Kind,
    /// What happened.
    pub what: String,
}

impl Breach {
    pub(super) fn new(at_ms: u64, node: u32, kind: Kind, what: impl Into<String>) -> Self {
        Self { at_ms, node, kind, what: what.into() }
    }
}

/// What is known to have been promised.
pub(super) struct Ledger {
    breaches: Rc<RefCell<Vec<Breach>>>,
    lying: BTreeSet<u32>,
    filed: BTreeSet<u64>,
    ended: BTreeSet<u64>,
}

impl Ledger {
    pub(super) fn new(breaches: Rc<RefCell<Vec<Breach>>>, lying: BTreeSet<u32>) -> Self {
        Self { breaches, lying, filed: BTreeSet::new(), ended: BTreeSet::new() }
    }

    fn breach(&self, now: u64, node: u32, kind: Kind, what: String) {
        let mut breaches = self.breaches.borrow_mut();
        if breaches.len() < BREACHES_MAX {
            breaches.push(Breach::new(now, node, kind, what));
        }
    }
}

impl Watch for Ledger {
    fn facts(&mut self, now: u64, node: u32, facts: &[Fact], mails: &[Mail]) {
        for fact in facts {
            match fact {
                Fact::Filed(mail) => {
                    // A disk that lies forgets what it has, and is given it again.
                    if !self.filed.insert(*mail) && !self.lying.contains(&node) {
                        self.breach(now, node, Kind::Twice, format!("mail {mail} is filed again"));
                    }
                }
                Fact::Ended(mail, ending) => {
                    if !self.ended.insert(*mail) {
                        self.breach(now, node, Kind::TwoFates, format!("mail {mail} ends again"));
                    }
                    if *ending != Ending::Failed && !self.filed.contains(mail) {
                        self.breach(now, node, Kind::Untrue, format!("mail {mail} is said to have arrived, and has not"));
                    }
                    let waited = mails.get(usize::try_from(*mail).unwrap_or(usize::MAX)).map_or(0, |mail| now - mail.at);
                    if *ending != Ending::Delivered && waited < EARLIEST_FAILURE_MS {
                        self.breach(now, node, Kind::Early, format!("mail {mail} fails after {} h", waited / 3_600_000));
                    }
                }
                Fact::Queued(_) | Fact::Noticed(_) | Fact::Held(_) | Fact::Forgot(..) => {}
            }
        }
    }

    fn booted(&mut self, now: u64, node: u32, kept: &Kept, mails: &[Mail]) {
        let queued: BTreeSet<u64> =
            kept.entries.iter().filter(|entry| entry.kind == EntryKind::Mail).map(|entry| names::mail_of(&entry.mid)).collect();
        for (number, mail) in (0_u64..).zip(mails).filter(|(_, mail)| mail.from == node && mail.accepted()) {
            if mail.ended().is_none() && !queued.contains(&number) {
                self.breach(now, node, Kind::Lost, format!("mail {number} was accepted, and is not in the queue any more"));
            }
            if mail.ended().is_some() && queued.contains(&number) && !self.lying.contains(&node) {
                self.breach(now, node, Kind::TwoFates, format!("mail {number} has ended, and is in the queue again"));
            }
        }
    }

    fn answers(&mut self, now: u64, node: u32, envelope: &EnvelopeId, kept: bool) {
        if !kept {
            let name: String = envelope.0.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            self.breach(now, node, Kind::NotStored, format!("envelope {name} is said to be stored, and is not"));
        }
    }
}
