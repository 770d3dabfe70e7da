//! A disk that keeps what was committed, and never fails: for as many nodes as fit.

use std::collections::VecDeque;

use kith_protocol::address::Address;
use kith_protocol::event::{CommitProblem, Entry, EntryKind, HeldEnvelope, HeldKind, HostedQueue, Progress, Wall, Write};
use kith_protocol::ids::{EntryId, EnvelopeId, MailId, PeerId, QueueName};
use kith_protocol::small::{SmallMap, SmallSet};

use super::ACCOUNT;
use super::home::{Ending, Fact, Home, Kept, Moment};
use crate::names::{self, Content};

/// For so long a node remembers that it dealt with an envelope, in ms: as the store does.
const SEEN_MS: u64 = 25 * 3_600_000;

/// What a node has made durable.
#[derive(Debug, Default)]
pub(crate) struct Model {
    last_entry: u64,
    entries: SmallMap<EntryId, Box<Entry>>,
    /// When the card of a node was learned.
    cards: SmallMap<u32, Wall>,
    /// Mails that were filed: their numbers in order and nothing beside, since each lies here for good.
    filed: Vec<u32>,
    hosted: SmallMap<QueueName, Box<HostedQueue>>,
    /// What is kept for others.
    held: SmallMap<EnvelopeId, Box<Lying>>,
    hosting_clock: (u64, Wall),
    granted: SmallSet<u32>,
    seen: VecDeque<(EnvelopeId, u64)>,
    volunteers: Vec<PeerId>,
}

/// An envelope that is kept for somebody else, without its name.
#[derive(Debug)]
struct Lying {
    queue: QueueName,
    size: u64,
    kind: HeldKind,
    since_ms: u64,
    acked_ms: Option<u64>,
    /// When it came, in ms since the beginning.
    came: u64,
}

impl Lying {
    fn of(held: &HeldEnvelope, came: u64) -> Box<Self> {
        let HeldEnvelope { envelope: _, queue, size, ref kind, since_ms, acked_ms } = *held;
        Box::new(Self { queue, size, kind: kind.clone(), since_ms, acked_ms, came })
    }

    fn held(&self, envelope: EnvelopeId) -> HeldEnvelope {
        let Self { queue, size, ref kind, since_ms, acked_ms, came: _ } = *self;
        HeldEnvelope { envelope, queue, size, kind: kind.clone(), since_ms, acked_ms }
    }
}

impl Model {
    /// An empty disk of somebody whose relays have agreed already.
    pub(crate) fn new(granted: &[u32]) -> Self {
        Self { granted: granted.iter().copied().collect(), ..Self::default() }
    }

    fn put(&mut self, entry: Entry) -> Entry {
        self.last_entry += 1;
        let entry = Entry { id: EntryId(self.last_entry), ..entry };
        self.entries.insert(entry.id, Box::new(entry.clone()));
        entry
    }

    fn forget(&mut self, envelope: &EnvelopeId, moment: &Moment<'_>, facts: &mut Vec<Fact>) {
        if let Some(lying) = self.held.remove(envelope) {
            facts.push(Fact::Forgot(lying.size, moment.now - lying.came));
        }
    }

    /// False if it was filed before.
    fn file(&mut self, mail: u32) -> bool {
        let Err(place) = self.filed.binary_search(&mail) else { return false };
        if self.filed.len() == self.filed.capacity() {
            self.filed.reserve_exact((self.filed.len() / 4).max(4));
        }
        self.filed.insert(place, mail);
        true
    }

    fn see(&mut self, envelope: EnvelopeId, now: u64) {
        if self.seen.len() == self.seen.capacity() {
            self.seen.reserve_exact((self.seen.len() / 2).max(2));
        }
        self.seen.push_back((envelope, now));
        while self.seen.front().is_some_and(|(_, at)| at + SEEN_MS < now) {
            self.seen.pop_front();
        }
    }

    fn perform(&mut self, write: &Write, moment: &Moment<'_>, facts: &mut Vec<Fact>) {
        match write {
            Write::Progress { entry, progress } => {
                if let Some(known) = self.entries.get_mut(entry) {
                    known.progress = progress.clone();
                }
            }
            Write::DelayNotice { entry } => {
                facts.extend(self.entries.get(entry).map(|entry| Fact::Noticed(names::mail_of(&entry.mid))));
            }
            Write::Fate { entry, fate } => {
                if let Some(entry) = self.entries.remove(entry).filter(|entry| entry.kind == EntryKind::Mail) {
                    facts.push(Fact::Ended(names::mail_of(&entry.mid), Ending::of(fate)));
                }
            }
            Write::Gather { into, from } => {
                let gone: Vec<MailId> = from
                    .iter()
                    .filter_map(|other| self.entries.remove(other))
                    .flat_map(|entry| entry.kind.confirms(&entry.also).collect::<Vec<_>>())
                    .collect();
                if let Some(entry) = self.entries.get_mut(into) {
                    entry.also.extend(gone);
                }
            }
            Write::Host { rules, .. } => {
                self.hosted.insert(rules.queue, Box::new(rules.clone()));
            }
            Write::Unhost(queue) => {
                self.hosted.remove(queue);
                let there = self.held.iter().filter(|(_, lying)| lying.queue == *queue);
                let gone: Vec<EnvelopeId> = there.map(|(envelope, _)| *envelope).collect();
                gone.iter().for_each(|envelope| self.forget(envelope, moment, facts));
            }
            Write::Hold { held, .. } => {
                if self.held.insert(held.envelope, Lying::of(held, moment.now)).is_none() {
                    facts.push(Fact::Held(held.size));
                }
            }
            Write::Acked { envelope, at_ms } => {
                if let Some(lying) = self.held.get_mut(envelope) {
                    lying.acked_ms.get_or_insert(*at_ms);
                }
            }
            Write::Forget(envelopes) => envelopes.iter().for_each(|envelope| self.forget(envelope, moment, facts)),
            Write::HostingClock { passed_ms, at } => self.hosting_clock = (*passed_ms, *at),
            Write::Deposited { .. } => {}
            Write::Volunteers { peers, .. } => self.volunteers.clone_from(peers),
            Write::Granted { peer, .. } => {
                self.granted.insert(names::node_of_peer(peer));
            }
            Write::File { envelope, receipt, .. } | Write::Absorb { envelope, receipt, .. } => {
                self.see(*envelope, moment.now);
                let sealed = moment.envelopes.opened(envelope);
                self.cards.insert(sealed.from, moment.wall);
                if let Content::Mail(mail) = sealed.content {
                    if matches!(write, Write::File { .. }) && self.file(filed_as(mail)) {
                        facts.push(Fact::Filed(mail));
                    }
                    if *receipt {
                        let entry = self.put(receipt_for(moment.address(sealed.from), sealed.mid, moment));
                        facts.push(Fact::Queued(Box::new(entry)));
                    }
                }
            }
            Write::Receipt { to, mid, .. } => {
                let entry = self.put(receipt_for(*to, *mid, moment));
                facts.push(Fact::Queued(Box::new(entry)));
            }
        }
    }
}

/// The number of a mail among those that were filed: a run has no more than 4 billion.
fn filed_as(mail: u64) -> u32 {
    u32::try_from(mail).unwrap_or(u32::MAX)
}

/// The receipt for a letter, not queued yet.
pub(crate) fn receipt_for(to: Address, of: MailId, moment: &Moment<'_>) -> Entry {
    moment.serial.set(moment.serial.get() + 1);
    let mid = names::mail_id(Content::Receipt(names::mail_of(&of)), moment.serial.get());
    let progress = Progress { aged_at: moment.wall, ..Progress::default() };
    Entry {
        id: EntryId(0),
        account: ACCOUNT,
        recipient: to,
        mid,
        kind: EntryKind::Receipt(of),
        also: Vec::new(),
        size: 0,
        fleeting: false,
        progress,
    }
}

impl Home for Model {
    fn kept(&mut self, _wall: Wall) -> Result<Kept, CommitProblem> {
        Ok(Kept {
            entries: self.entries.values().map(|entry| (**entry).clone()).collect(),
            hosted: self.hosted.values().map(|rules| (**rules).clone()).collect(),
            held: self.held.iter().map(|(envelope, lying)| lying.held(*envelope)).collect(),
            hosting_clock: self.hosting_clock,
            granted: self.granted.iter().copied().collect(),
            seen: self.seen.iter().map(|(envelope, _)| *envelope).collect(),
            volunteers: self.volunteers.clone(),
            cards: self.cards.iter().map(|(of, learned)| (*of, *learned)).collect(),
            facts: Vec::new(),
        })
    }

    fn enqueue(&mut self, entry: Entry) -> Result<Entry, CommitProblem> {
        Ok(self.put(entry))
    }

    fn write(&mut self, writes: &[Write], moment: &Moment<'_>, facts: &mut Vec<Fact>) -> Result<(), CommitProblem> {
        writes.iter().for_each(|write| self.perform(write, moment, facts));
        Ok(())
    }

    fn entry(&self, id: EntryId) -> Result<Option<Entry>, CommitProblem> {
        Ok(self.entries.get(&id).map(|entry| (**entry).clone()))
    }

    fn letter(&self, recipient: &Address, mail: u64) -> Option<MailId> {
        let carries =
            |entry: &&Entry| entry.kind == EntryKind::Mail && entry.recipient == *recipient && names::mail_of(&entry.mid) == mail;
        self.entries.values().map(|entry| &**entry).find(carries).map(|entry| entry.mid)
    }

    fn has_filed(&self, _from: &Address, mid: &MailId) -> bool {
        self.filed.binary_search(&filed_as(names::mail_of(mid))).is_ok()
    }

    fn holds(&self, envelope: &EnvelopeId) -> Option<bool> {
        Some(self.held.contains_key(envelope))
    }

    fn learn(&mut self, of: u32, wall: Wall) {
        self.cards.insert(of, wall);
    }

    fn host(&mut self, rules: HostedQueue) {
        self.hosted.insert(rules.queue, Box::new(rules));
    }
}
