//! What surrounds a core: effects, and the events that come of them.

use kith_protocol::card::Strangers;
use kith_protocol::envelope::CELL_BYTES;
use kith_protocol::event::{
    Answer, AuditOutcome, Effect, EntryKind, Event, Letter, LetterKind, OfferOutcome, OpenProblem, OwnerAsk, Place, SealProblem,
    Sealed, Ticket, Way,
};
use kith_protocol::hosting::{Reply, Request};
use kith_protocol::ids::{EntryId, EnvelopeId, Op, PeerId, QueueName, Token};

use super::{ACCOUNT, Happening, Transfer, World};
use crate::names::{self, Content};

/// Half of a round trip between two homes, in ms, give or take its half.
const ONE_WAY_MS: u64 = 30;
/// Until a connection stands, or is known not to come about, in ms.
const DIAL_MS: u64 = 200;
/// A synced commit, in ms.
const COMMIT_MS: u64 = 8;
/// Sealing and opening, in ms.
const SEAL_MS: u64 = 2;
/// A look-up in the directory, in ms.
const LOOKUP_MS: u64 = 900;
/// What a home sends, in bytes a ms: 10 Mbit/s.
const BYTES_PER_MS: u64 = 1250;
/// What a connection costs until both sides have greeted.
pub(super) const CONNECTION_BYTES: u64 = 4_500;
/// What an offer and its answers cost beside the envelope.
const OFFER_BYTES: u64 = 450;
/// A question to a relay and its answer.
const ASK_BYTES: u64 = 400;
/// A look-up.
const LOOKUP_BYTES: u64 = 30_000;

/// The bytes of the envelope of a mail of so many bytes: sealed, filled up.
pub(super) fn sealed_bytes(mail: u64) -> u64 {
    let cells = (mail + 3_000).div_ceil(CELL_BYTES);
    // The next power of two, or one and a half times one.
    let power = cells.next_power_of_two();
    let between = power / 4 * 3;
    CELL_BYTES * if between >= cells && between > 0 { between } else { power }
}

impl World {
    fn wait(&mut self, node: u32, mean: u64) -> u64 {
        1 + mean / 2 + self.nodes[node as usize].network.below(mean)
    }

    pub(super) fn perform(&mut self, node: u32, effect: Effect) {
        match effect {
            Effect::Connect { op, peer, .. } => {
                let (wait, boot) = (self.wait(node, DIAL_MS), self.nodes[node as usize].boot);
                self.calendar.put(self.now + wait, Happening::Connect(node, boot, op, Self::peer_node(&peer)));
            }
            Effect::Lookup { op, address } => {
                self.traffic.control_bytes += LOOKUP_BYTES;
                let (of, wall, wait) = (names::node_of_address(&address), self.wall(), self.wait(node, LOOKUP_MS));
                let card = self.card(of, wall);
                self.nodes[node as usize].disk.cards.insert(of, wall);
                self.tell(node, wait, Event::Found { op, card: Some(card) });
            }
            Effect::Publish { op, .. } => {
                self.traffic.control_bytes += LOOKUP_BYTES;
                let wait = self.wait(node, LOOKUP_MS);
                self.tell(node, wait, Event::Published { op, holders: 20 });
            }
            Effect::Seal { op, entry, ladder } => {
                let result = self.seal(node, entry, ladder);
                self.tell(node, SEAL_MS, Event::Sealed { op, entry, result });
            }
            Effect::Offer { op, peer, queue, envelope, size, way } => self.offer(node, op, &peer, (queue, envelope, size), way),
            Effect::Ask { op, peer, queue, what, .. } => self.ask(node, op, &peer, queue, what),
            Effect::Reply { token, reply } => {
                if let Some((from, op)) = self.asks.remove(&token) {
                    let wait = self.wait(node, ONE_WAY_MS);
                    self.tell(from, wait, Event::Asked { op, reply: Some(reply) });
                }
            }
            Effect::Audit { op, peer, envelope, .. } => {
                let other = Self::peer_node(&peer);
                self.traffic.control_bytes += ASK_BYTES;
                let outcome = if !self.nodes[node as usize].peers.contains(&other) {
                    AuditOutcome::Broken
                } else if self.nodes[other as usize].disk.held.contains_key(&envelope) {
                    AuditOutcome::Kept
                } else {
                    AuditOutcome::Missing
                };
                let wait = self.wait(node, 2 * ONE_WAY_MS);
                self.tell(node, wait, Event::Audited { op, outcome });
            }
            Effect::Volunteers { op, .. } => {
                let wait = self.wait(node, LOOKUP_MS);
                self.tell(node, wait, Event::VolunteersFound { op, places: Vec::<Place>::new() });
            }
            Effect::Work { op, .. } => self.tell(node, 1000, Event::Worked { op, work: None }),
            Effect::Answer { token, answer } => self.answer(node, token, answer),
            Effect::Open { token, .. } => {
                let result = self.open(node, token);
                self.tell(node, SEAL_MS, Event::Opened { token, result });
            }
            Effect::Commit { batch, writes, then } => {
                self.nodes[node as usize].commits.push((batch, writes, then));
                let (wait, boot) = (self.wait(node, COMMIT_MS), self.nodes[node as usize].boot);
                self.calendar.put(self.now + wait, Happening::Commit(node, boot));
            }
            Effect::Discard(_) | Effect::Drop(_) | Effect::Count(_) => {}
        }
    }

    fn seal(&mut self, node: u32, id: EntryId, ladder: kith_protocol::event::Ladder) -> Result<Sealed, SealProblem> {
        let Some(entry) = self.nodes[node as usize].disk.entries.get(&id) else {
            return Err(SealProblem::Permanent("withdrawn".into()));
        };
        let (to, mid) = (names::node_of_address(&entry.recipient), entry.mid);
        let content = match entry.kind {
            EntryKind::Mail => Content::Mail(names::mail_of(&mid)),
            EntryKind::Receipt(of) => Content::Receipt(names::mail_of(&of)),
            EntryKind::Card | EntryKind::Relay(_) => Content::Card,
        };
        let size = sealed_bytes(entry.size);
        self.serial += 1;
        let envelope = names::envelope(&names::Sealed { from: node, to, mid, content }, self.serial);
        Ok(Sealed { envelope, size, ladder, card: (1, 1), at_age_ms: 0 })
    }

    fn ask(&mut self, node: u32, op: Op, peer: &PeerId, queue: QueueName, what: OwnerAsk) {
        let other = Self::peer_node(peer);
        let wait = self.wait(node, ONE_WAY_MS);
        self.traffic.control_bytes += ASK_BYTES;
        if !self.nodes[node as usize].peers.contains(&other) {
            return self.tell(node, wait, Event::Asked { op, reply: None });
        }
        let request = match what {
            OwnerAsk::Host => Request::Host { token: [0; 32] },
            OwnerAsk::Collect => Request::Collect { strangers: Strangers::Welcome, tag: [0; 16], effort: 0 },
            OwnerAsk::Leave => Request::Leave,
            // What is not a matter of delivery is answered at once.
            OwnerAsk::Marks | OwnerAsk::Records => {
                return self.tell(node, 2 * wait, Event::Asked { op, reply: Some(Reply::Done) });
            }
        };
        self.serial += 1;
        let token = Token(self.serial);
        self.asks.insert(token, (node, op));
        debug_assert_eq!(queue, names::queue_at(node, other));
        let key = names::queue_key(node, other);
        self.tell(other, wait, Event::AskReceived { token, peer: names::peer(node), key, request, grant: None });
    }

    fn offer(&mut self, node: u32, op: Op, peer: &PeerId, what: (QueueName, EnvelopeId, u64), way: Way) {
        let (queue, envelope, size) = what;
        let other = Self::peer_node(peer);
        let wait = self.wait(node, ONE_WAY_MS);
        self.traffic.control_bytes += OFFER_BYTES;
        if !self.nodes[node as usize].peers.contains(&other) {
            return self.tell(node, wait, Event::Offered { op, outcome: OfferOutcome::Broken });
        }
        let ticket = match way {
            Way::Letter { deposit, onward, .. } => Ticket { deposit, onward, ..Ticket::default() },
            Way::Push => Ticket::default(),
            Way::Onward { deposit } => Ticket { deposit, ..Ticket::default() },
        };
        if self.nodes[other as usize].liar && ticket.deposit {
            let outcome = OfferOutcome::Stored { until_s: 1000, signature: [0; 64] };
            return self.tell(node, 2 * wait, Event::Offered { op, outcome });
        }
        self.serial += 1;
        let token = Token(self.serial);
        self.transfers.insert(token, Transfer { from: node, op, to: other, envelope, size });
        self.tell(other, wait, Event::OfferReceived { token, peer: names::peer(node), queue, envelope, size, ticket });
    }

    fn answer(&mut self, node: u32, token: Token, answer: Answer) {
        let Some(transfer) = self.transfers.get(&token).copied() else {
            if answer == Answer::Send {
                self.tell(node, 1, Event::BodyBroken { token });
            }
            return;
        };
        let wait = self.wait(node, ONE_WAY_MS);
        if answer == Answer::Send {
            match names::opened(&transfer.envelope).content {
                Content::Mail(mail) => {
                    self.traffic.mail_bytes += transfer.size;
                    self.mails[mail as usize].sends += 1;
                }
                Content::Receipt(_) | Content::Card => self.traffic.receipt_bytes += transfer.size,
            }
            return self.tell(node, 2 * wait + transfer.size / BYTES_PER_MS, Event::BodyReceived { token });
        }
        self.transfers.remove(&token);
        let outcome = match answer {
            Answer::Have => OfferOutcome::Have,
            Answer::Stored { until_s } => OfferOutcome::Stored { until_s, signature: [0; 64] },
            Answer::Later { reason, after_s } => OfferOutcome::Later { reason, after_s },
            Answer::Refused(reason) => OfferOutcome::Refused(reason),
            Answer::Send => OfferOutcome::Broken,
        };
        self.tell(transfer.from, wait, Event::Offered { op: transfer.op, outcome });
    }

    fn open(&self, node: u32, token: Token) -> Result<Letter, OpenProblem> {
        let transfer = self.transfers.get(&token).ok_or(OpenProblem::Temporary)?;
        let sealed = names::opened(&transfer.envelope);
        if sealed.to != node {
            return Err(OpenProblem::NotForUs);
        }
        let kind = match sealed.content {
            Content::Mail(_) => LetterKind::Mail,
            Content::Receipt(mail) => LetterKind::Receipt(vec![self.mid_of(sealed.from, node, mail)]),
            Content::Card => LetterKind::Card,
        };
        let disk = &self.nodes[node as usize].disk;
        Ok(Letter {
            account: ACCOUNT,
            from: self.address(sealed.from),
            mid: sealed.mid,
            kind,
            known: disk.filed.contains(&sealed.mid),
            receipt_wanted: true,
            card: None,
        })
    }

    /// The name of a mail of ours, as its receipt gives it.
    fn mid_of(&self, recipient: u32, node: u32, mail: u64) -> kith_protocol::ids::MailId {
        let address = self.address(recipient);
        let of_mail = |entry: &&kith_protocol::event::Entry| {
            entry.kind == EntryKind::Mail && entry.recipient == address && names::mail_of(&entry.mid) == mail
        };
        let entry = self.nodes[node as usize].disk.entries.values().find(of_mail);
        entry.map_or(kith_protocol::ids::MailId([0; 16]), |entry| entry.mid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes_have_the_sizes_of_the_specification() {
        let cells: Vec<u64> =
            [1_u64, 13_000, 13_001, 40_000, 50_000, 90_000, 150_000].map(|mail| sealed_bytes(mail) / CELL_BYTES).into();
        assert_eq!(cells, [1, 1, 2, 3, 4, 6, 12]);
        assert!((0..2_000_000).step_by(777).all(|mail| kith_protocol::envelope::is_size(sealed_bytes(mail))));
    }
}
