//! What a node of the small world makes durable, checked against the promises at the moment at which they could break.

use kith_protocol::delivery::REMEMBERED_MAX;
use kith_protocol::event::{CommitProblem, EntryKind, Event, Fate, Place, PlaceKind, Write};
use kith_protocol::ids::{AccountId, EntryId, MailId, PeerId, QueueName};
use rand::RngExt;

use crate::world::{ACCOUNT, Disk, World, address};

impl Disk {
    /// The volunteers that were found last, with the queue at each.
    pub(super) fn remembered(&self, queue: impl Fn(PeerId) -> QueueName) -> Vec<(AccountId, Place)> {
        let place = |peer: PeerId| Place { peer, queue: queue(peer), kind: PlaceKind::Volunteer, addresses: Vec::new() };
        self.volunteers.iter().map(|peer| (ACCOUNT, place(*peer))).collect()
    }
}

impl World {
    pub(super) fn commit(&mut self, node: usize) {
        if self.nodes[node].commits.is_empty() {
            return;
        }
        let (batch, writes, then) = self.nodes[node].commits.remove(0);
        if self.nodes[node].disk_full {
            return self.handle(node, Event::CommitFailed { batch, reason: CommitProblem::DiskFull });
        }
        self.write(node, &writes);
        for effect in then {
            self.perform(node, effect);
        }
        self.handle(node, Event::Durable(batch));
    }

    /// Makes the writes durable, and checks each against the promises.
    pub(super) fn write(&mut self, node: usize, writes: &[Write]) {
        for write in writes {
            match write {
                Write::Progress { entry, progress } => {
                    let known = self.nodes[node].disk.entries.get_mut(entry).expect("progress of an entry that ended");
                    assert!(progress.age_ms >= known.progress.age_ms, "an age shrank, seed {}", self.seed);
                    assert!(progress.delay_told || !known.progress.delay_told, "a notice was forgotten, seed {}", self.seed);
                    known.progress = progress.clone();
                }
                Write::DelayNotice { entry } => *self.nodes[node].disk.delays.entry(*entry).or_default() += 1,
                Write::Fate { entry, fate } => self.fate(node, *entry, fate),
                Write::Host { rules, .. } => {
                    self.nodes[node].disk.hosted.insert(rules.queue, rules.clone());
                }
                Write::Gather { into, from } => {
                    let entries = &mut self.nodes[node].disk.entries;
                    let gone: Vec<_> = from
                        .iter()
                        .filter_map(|other| entries.remove(other))
                        .flat_map(|entry| entry.kind.confirms(&entry.also).collect::<Vec<_>>())
                        .collect();
                    if let Some(entry) = entries.get_mut(into) {
                        entry.also.extend(gone);
                    }
                }
                Write::Unhost(queue) => {
                    self.nodes[node].disk.hosted.remove(queue);
                    self.nodes[node].disk.held.retain(|_, held| held.queue != *queue);
                }
                Write::Hold { held, .. } => {
                    self.nodes[node].disk.held.insert(held.envelope, held.clone());
                }
                Write::Acked { envelope, at_ms } => {
                    if let Some(held) = self.nodes[node].disk.held.get_mut(envelope) {
                        held.acked_ms = Some(*at_ms);
                    }
                }
                Write::Forget(envelopes) => {
                    self.nodes[node].disk.held.retain(|envelope, _| !envelopes.contains(envelope));
                }
                Write::HostingClock { passed_ms, at } => self.nodes[node].disk.hosting_clock = (*passed_ms, *at),
                Write::Deposited { .. } => {}
                Write::Volunteers { account, peers } => {
                    let known = &mut self.nodes[node].disk.volunteers;
                    assert!(*account == ACCOUNT && peers.len() <= REMEMBERED_MAX, "too many volunteers, seed {}", self.seed);
                    assert!(
                        known.len() != peers.len() || !peers.iter().all(|peer| known.contains(peer)),
                        "nothing new is written"
                    );
                    known.clone_from(peers);
                    self.nodes[node].searches_written += 1;
                }
                Write::Granted { peer, .. } => {
                    self.nodes[node].disk.granted.insert(*peer);
                }
                Write::File { token, envelope, receipt, .. } | Write::Absorb { token, envelope, receipt } => {
                    self.nodes[node].disk.seen.push(*envelope);
                    let content = self.envelopes[&self.nodes[node].letters[token]].clone();
                    let from = address(content.from);
                    if matches!(write, Write::File { .. }) {
                        assert!(self.nodes[node].disk.known.insert((from, content.mid)), "filed twice, seed {}", self.seed);
                    }
                    if content.from < self.nodes.len() {
                        let card = self.card(node, content.from);
                        self.nodes[node].disk.cards.insert(from, card);
                    }
                    if *receipt {
                        let mid = MailId(self.rng.random());
                        self.enqueue(node, from, mid, EntryKind::Receipt(content.mid));
                    }
                }
                Write::Receipt { account, to, mid } => {
                    assert!(*account == ACCOUNT && self.nodes[node].disk.known.contains(&(*to, *mid)));
                    let name = MailId(self.rng.random());
                    self.enqueue(node, *to, name, EntryKind::Receipt(*mid));
                }
            }
        }
    }

    fn fate(&mut self, node: usize, id: EntryId, fate: &Fate) {
        let entry = self.nodes[node].disk.entries.remove(&id).unwrap_or_else(|| panic!("a second fate, seed {}", self.seed));
        if *fate == Fate::Delivered {
            let to = self.node_of(entry.recipient);
            assert!(
                self.nodes[to].disk.known.contains(&(address(node), entry.mid)),
                "delivered but not filed, seed {}",
                self.seed
            );
        }
        self.nodes[node].disk.fates.entry(id).or_default().push(fate.clone());
    }

    /// Every mail has been filed and its sender knows.
    pub(crate) fn check_all_delivered(&self) {
        for mail in &self.mails {
            assert!(self.is_filed(mail), "not filed: {:?} from {} to {}, seed {}", mail.entry, mail.from, mail.to, self.seed);
            assert_eq!(
                self.fates(mail.from, mail.entry),
                [Fate::Delivered],
                "fate of {:?} from {}, seed {}",
                mail.entry,
                mail.from,
                self.seed
            );
        }
    }
}
