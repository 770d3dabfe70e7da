//! What a node makes durable.

use kith_protocol::event::{EntryKind, Event, Fate, Write};
use kith_protocol::ids::EntryId;

use super::{SEEN_MAX, World};
use crate::names::{self, Content};

impl World {
    /// The oldest commit of a node is durable.
    pub(super) fn commit(&mut self, node: u32) {
        if self.nodes[node as usize].commits.is_empty() {
            return;
        }
        let (batch, writes, then) = self.nodes[node as usize].commits.remove(0);
        self.write(node, writes);
        for effect in then {
            self.perform(node, effect);
        }
        self.handle(node, Event::Durable(batch));
    }

    /// Makes the writes durable.
    pub(super) fn write(&mut self, node: u32, writes: Vec<Write>) {
        let wall = self.wall();
        for write in writes {
            let disk = &mut self.nodes[node as usize].disk;
            match write {
                Write::Progress { entry, progress } => {
                    if let Some(known) = disk.entries.get_mut(&entry) {
                        known.progress = progress;
                    }
                }
                Write::DelayNotice { entry } => {
                    if let Some(entry) = disk.entries.get(&entry) {
                        let mail = names::mail_of(&entry.mid);
                        self.mails[mail as usize].notices += 1;
                        self.note(4, node, mail);
                    }
                }
                Write::Fate { entry, fate } => self.fate(node, entry, &fate),
                Write::Host { rules, .. } => {
                    disk.hosted.insert(rules.queue, rules);
                }
                Write::Unhost(queue) => {
                    disk.hosted.remove(&queue);
                    disk.held.retain(|_, held| held.queue != queue);
                }
                Write::Hold { held, .. } => {
                    disk.held.insert(held.envelope, held);
                }
                Write::Acked { envelope, at_ms } => {
                    if let Some(held) = disk.held.get_mut(&envelope) {
                        held.acked_ms = Some(at_ms);
                    }
                }
                Write::Forget(envelopes) => envelopes.iter().for_each(|envelope| {
                    disk.held.remove(envelope);
                }),
                Write::HostingClock { passed_ms, at } => disk.hosting_clock = (passed_ms, at),
                Write::Deposited { .. } => {}
                Write::Granted { peer, .. } => {
                    disk.granted.insert(names::node_of_peer(&peer));
                }
                Write::File { envelope, receipt, .. } | Write::Absorb { envelope, receipt, .. } => {
                    disk.seen.push(envelope);
                    if disk.seen.len() > 2 * SEEN_MAX {
                        disk.seen.drain(..SEEN_MAX);
                    }
                    let sealed = names::opened(&envelope);
                    disk.cards.insert(sealed.from, wall);
                    if let Content::Mail(mail) = sealed.content
                        && disk.filed.insert(sealed.mid)
                    {
                        let now = self.now;
                        self.mails[mail as usize].filed.get_or_insert(now);
                        self.note(5, node, mail);
                    }
                    if receipt && let Content::Mail(mail) = sealed.content {
                        self.enqueue(node, sealed.from, Content::Receipt(mail), EntryKind::Receipt(sealed.mid));
                    }
                }
                Write::Receipt { to, mid, .. } => {
                    let to = names::node_of_address(&to);
                    self.enqueue(node, to, Content::Receipt(names::mail_of(&mid)), EntryKind::Receipt(mid));
                }
            }
        }
    }

    fn fate(&mut self, node: u32, id: EntryId, fate: &Fate) {
        let Some(entry) = self.nodes[node as usize].disk.entries.remove(&id) else { return };
        if entry.kind == EntryKind::Mail {
            let number = names::mail_of(&entry.mid);
            let now = self.now;
            let mail = &mut self.mails[number as usize];
            mail.ended = Some(now);
            mail.failed = matches!(fate, Fate::Failed(_));
            self.note(6, node, number);
        }
    }
}
