//! What surrounds a core: effects, and the events that come of them.

use kith_protocol::card::Strangers;
use kith_protocol::event::{
    Answer, AuditOutcome, Effect, EntryKind, Event, Letter, LetterKind, OfferOutcome, OpenProblem, OwnerAsk, Place, PlaceKind,
    SealProblem, Sealed, Ticket, Way,
};
use kith_protocol::hosting::{Reply, Request};
use kith_protocol::ids::{EntryId, EnvelopeId, Op, PeerId, QueueName, Token};

use super::circuits::DIRECT_WAIT_MS;
use super::control::Kind;
use super::home::sealed_bytes;
use super::{ACCOUNT, Asking, Happening, Transfer, World};
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
/// What relays are told is different every week, in ms.
const WEEK_MS: u64 = 7 * 24 * 3_600_000;

/// How long things take, in ms. The defaults are homes on the Internet; whoever compares with real machines says what those need.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// Half of a round trip, give or take its half.
    pub one_way_ms: u64,
    /// Until a connection stands, or is known not to come about.
    pub dial_ms: u64,
    /// A synced commit.
    pub commit_ms: u64,
    /// Sealing, and opening.
    pub seal_ms: u64,
    /// A look-up in the directory.
    pub lookup_ms: u64,
    /// What a machine sends, in bytes a ms; at least 1.
    pub bytes_per_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            one_way_ms: ONE_WAY_MS,
            dial_ms: DIAL_MS,
            commit_ms: COMMIT_MS,
            seal_ms: SEAL_MS,
            lookup_ms: LOOKUP_MS,
            bytes_per_ms: BYTES_PER_MS,
        }
    }
}

impl World {
    fn next_serial(&mut self) -> u64 {
        self.serial.set(self.serial.get() + 1);
        self.serial.get()
    }

    pub(super) fn wait(&mut self, node: u32, mean: u64) -> u64 {
        1 + mean / 2 + self.nodes[node as usize].network.below(mean)
    }

    pub(super) fn perform(&mut self, node: u32, effect: Effect) {
        match effect {
            // All of a moment together, when everything is asked for.
            Effect::Connect { op, peer, .. } => self.dials.push((op, Self::peer_node(&peer))),
            Effect::Lookup { op, address } => {
                self.control.count(Kind::Lookup);
                let (of, wall, wait) =
                    (self.addresses.node(&address), self.time(node).wall, self.wait(node, self.timing.lookup_ms));
                let silent = self.network.silent > 0.0 && self.nodes[node as usize].network.chance(self.network.silent);
                let card = (!silent && !self.network.hidden.contains(&of)).then(|| self.card(of, wall));
                if card.is_some() {
                    self.nodes[node as usize].home.learn(of, wall);
                }
                self.tell(node, wait, Event::Found { op, card });
            }
            Effect::Publish { op, .. } => {
                self.control.count(Kind::Publication);
                let wait = self.wait(node, self.timing.lookup_ms);
                self.tell(node, wait, Event::Published { op, holders: 20 });
            }
            Effect::Seal { op, entry, with, ladder } => {
                let result = self.seal(node, entry, &with, ladder);
                self.tell(node, self.timing.seal_ms, Event::Sealed { op, entry, result });
            }
            Effect::Offer { op, peer, queue, envelope, size, way } => self.offer(node, op, &peer, (queue, envelope, size), way),
            Effect::Ask { op, peer, queue, what, .. } => self.ask(node, op, &peer, queue, what),
            Effect::Reply { token, reply } => {
                if let Some(Asking { from, op, to, what }) = self.asks.remove(&token) {
                    self.nodes[from as usize].asked.retain(|other| *other != token);
                    match reply {
                        Reply::Done => self.is_told(from, to, what),
                        // Hosted anew, it knows nothing.
                        Reply::Unknown => self.nodes[from as usize].told.retain(|(relay, _), _| *relay != to),
                        Reply::Granted(_) | Reply::Unproven | Reply::Busy => {}
                    }
                    let wait = self.wait(node, self.timing.one_way_ms);
                    self.tell(from, wait, Event::Asked { op, reply: Some(reply) });
                }
            }
            Effect::Audit { op, peer, envelope, .. } => {
                let other = Self::peer_node(&peer);
                self.traffic.control_bytes += ASK_BYTES;
                self.control.count(Kind::Audit);
                let there = self.nodes[node as usize].peers.contains(&other);
                let outcome = match self.nodes[other as usize].home.holds(&envelope).filter(|_| there) {
                    Some(true) => AuditOutcome::Kept,
                    Some(false) => AuditOutcome::Missing,
                    None => AuditOutcome::Broken,
                };
                let wait = self.wait(node, 2 * self.timing.one_way_ms);
                self.tell(node, wait, Event::Audited { op, outcome });
            }
            Effect::Volunteers { op, address } => {
                self.control.count(Kind::Search);
                let (wait, of) = (self.wait(node, self.timing.lookup_ms), self.addresses.node(&address));
                let found = self.network.nearest(of).into_iter().filter(|volunteer| *volunteer != node);
                let places = found.map(|volunteer| Self::place_at_volunteer(of, volunteer)).collect();
                self.tell(node, wait, Event::VolunteersFound { op, places });
            }
            Effect::Work { op, .. } => self.tell(node, 1000, Event::Worked { op, work: None }),
            Effect::Answer { token, answer } => self.answer(node, token, answer),
            Effect::Open { token, .. } => {
                let result = self.open(node, token);
                self.tell(node, self.timing.seal_ms, Event::Opened { token, result });
            }
            Effect::Commit { batch, writes, mut then } => {
                if self.hasty {
                    for effect in std::mem::take(&mut then) {
                        self.perform(node, effect);
                    }
                }
                let commits = &mut self.nodes[node as usize].commits;
                // One at a time, mostly, in each node of a town.
                commits.reserve_exact(1);
                commits.push((batch, writes, then));
                let (wait, boot) = (self.wait(node, self.timing.commit_ms), self.nodes[node as usize].boot);
                self.calendar.put(self.now + wait, Happening::Commit(node, boot));
            }
            Effect::Discard(_) | Effect::Drop(_) | Effect::Count(_) => {}
        }
    }

    /// Where a volunteer keeps letters for somebody.
    pub(super) fn place_at_volunteer(of: u32, volunteer: u32) -> Place {
        let (peer, queue) = (names::peer(volunteer), names::queue_at(of, volunteer));
        Place { peer, queue, kind: PlaceKind::Volunteer, addresses: Vec::new() }
    }

    fn seal(
        &mut self,
        node: u32,
        id: EntryId,
        with: &[EntryId],
        ladder: kith_protocol::event::Ladder,
    ) -> Result<Sealed, SealProblem> {
        let home = &self.nodes[node as usize].home;
        // As the node says it: what cannot be read now can be read later.
        let read = |id| home.entry(id).map_err(|problem| SealProblem::Temporary(format!("{problem:?}")));
        let entry = read(id)?.ok_or_else(|| SealProblem::Permanent("withdrawn".into()))?;
        let mut others: Vec<u64> = entry.also.iter().map(names::mail_of).collect();
        for other in with {
            others
                .extend(read(*other)?.iter().flat_map(|entry| entry.kind.confirms(&entry.also)).map(|mid| names::mail_of(&mid)));
        }
        let (to, mid) = (self.addresses.node(&entry.recipient), entry.mid);
        let content = match entry.kind {
            EntryKind::Mail => Content::Mail(names::mail_of(&mid)),
            EntryKind::Receipt(of) => Content::Receipt(names::mail_of(&of)),
            EntryKind::Card | EntryKind::Relay(_) => Content::Card,
        };
        let size = sealed_bytes(entry.size);
        let serial = self.next_serial();
        let envelope = self.envelopes.seal(&names::Sealed { from: node, to, mid, content }, serial, size);
        self.envelopes.confirm(serial, others.into_iter());
        Ok(Sealed { envelope, size, ladder, card: (1, 1), at_age_ms: 0, kept_here: false })
    }

    fn ask(&mut self, node: u32, op: Op, peer: &PeerId, queue: QueueName, what: OwnerAsk) {
        let other = Self::peer_node(peer);
        if self.nodes[node as usize].told.get(&(other, what)) == Some(&(self.now / WEEK_MS)) {
            // It confirmed that, and nothing has changed since.
            return self.tell(node, 1, Event::Asked { op, reply: Some(Reply::Done) });
        }
        let wait = self.wait(node, self.timing.one_way_ms);
        self.traffic.control_bytes += ASK_BYTES;
        self.control.count(Kind::of_ask(what));
        if !self.nodes[node as usize].peers.contains(&other) {
            return self.tell(node, wait, Event::Asked { op, reply: None });
        }
        let request = match what {
            OwnerAsk::Host => Request::Host { token: [0; 32] },
            OwnerAsk::Collect => Request::Collect { strangers: Strangers::Welcome, tag: [0; 16], effort: 0 },
            OwnerAsk::Leave => Request::Leave,
            OwnerAsk::Siblings => {
                let others = self.nodes[node as usize].relays.iter().filter(|relay| **relay != other);
                let place = |relay: &u32| Place {
                    peer: names::peer(*relay),
                    queue: names::queue_at(node, *relay),
                    kind: PlaceKind::Relay,
                    addresses: Vec::new(),
                };
                Request::Siblings { places: others.map(place).collect() }
            }
            // What is not a matter of delivery is answered at once.
            OwnerAsk::Marks | OwnerAsk::Records => {
                self.is_told(node, other, what);
                return self.tell(node, 2 * wait, Event::Asked { op, reply: Some(Reply::Done) });
            }
        };
        let token = Token(self.next_serial());
        self.asks.insert(token, Asking { from: node, op, to: other, what });
        self.nodes[node as usize].asked.push(token);
        debug_assert_eq!(queue, names::queue_at(node, other));
        let key = names::queue_key(node, other);
        self.tell(other, wait, Event::AskReceived { token, peer: names::peer(node), key, request, grant: None });
    }

    /// A relay has confirmed what it was told.
    fn is_told(&mut self, node: u32, relay: u32, what: OwnerAsk) {
        let week = self.now / WEEK_MS;
        if matches!(what, OwnerAsk::Siblings | OwnerAsk::Marks | OwnerAsk::Records) {
            self.nodes[node as usize].told.insert((relay, what), week);
        }
    }

    fn offer(&mut self, node: u32, op: Op, peer: &PeerId, what: (QueueName, EnvelopeId, u64), way: Way) {
        let (queue, envelope, size) = what;
        let other = Self::peer_node(peer);
        let wait = self.wait(node, self.timing.one_way_ms);
        if self.is_too_large(node, other, size) {
            // Nothing is sent.
            self.control.count(Kind::NoWay);
            return self.tell(node, DIRECT_WAIT_MS, Event::Offered { op, outcome: OfferOutcome::NoDirectWay });
        }
        let sealed = self.envelopes.opened(&envelope);
        self.traffic.control_bytes += OFFER_BYTES;
        self.control.count(Kind::of_offer(&way, sealed.content));
        if !self.nodes[node as usize].peers.contains(&other) {
            return self.tell(node, wait, Event::Offered { op, outcome: OfferOutcome::Broken });
        }
        let mut ticket = match way {
            Way::Letter { deposit, onward, .. } => Ticket { deposit, onward, ..Ticket::default() },
            Way::Push => Ticket::default(),
            Way::Onward { deposit, onward } => Ticket { deposit, onward, ..Ticket::default() },
        };
        if ticket.deposit && self.accepted.get(sealed.to as usize).is_some_and(|accepted| accepted.contains(&sealed.from)) {
            // A contact has stamps enough.
            let mut mark = [0; 16];
            mark[..8].copy_from_slice(&self.next_serial().to_le_bytes());
            ticket.stamp = Some(mark);
        }
        if self.nodes[other as usize].liar && ticket.deposit {
            let outcome = OfferOutcome::Stored { until_s: 1000, signature: [0; 64], seldom: false };
            return self.tell(node, 2 * wait, Event::Offered { op, outcome });
        }
        let token = Token(self.next_serial());
        self.transfers.insert(token, Transfer { from: node, op, to: other, envelope, size });
        for side in [node, other] {
            self.nodes[side as usize].under_way.push(token);
        }
        self.tell(other, wait, Event::OfferReceived { token, peer: names::peer(node), queue, envelope, size, ticket });
    }

    fn answer(&mut self, node: u32, token: Token, answer: Answer) {
        let Some(transfer) = self.transfers.get(&token).copied() else {
            if answer == Answer::Send {
                self.tell(node, 1, Event::BodyBroken { token });
            }
            return;
        };
        let wait = self.wait(node, self.timing.one_way_ms);
        if answer == Answer::Send {
            match self.envelopes.opened(&transfer.envelope).content {
                Content::Mail(mail) => {
                    self.traffic.mail_bytes += transfer.size;
                    self.nodes[transfer.from as usize].load.sent += transfer.size;
                    self.mails[mail as usize].is_sent();
                }
                Content::Receipt(_) | Content::Card => self.traffic.receipt_bytes += transfer.size,
            }
            return self.tell(node, 2 * wait + transfer.size / self.timing.bytes_per_ms.max(1), Event::BodyReceived { token });
        }
        self.end_transfer(token);
        if let Some(watch) = &mut self.watch
            && matches!(answer, Answer::Stored { .. })
        {
            let holds = self.nodes[node as usize].home.holds(&transfer.envelope);
            // What cannot be read now is not gone.
            watch.answers(self.now, node, &transfer.envelope, holds.unwrap_or(true));
        }
        let outcome = match answer {
            Answer::Have => OfferOutcome::Have,
            Answer::Stored { until_s, seldom } => OfferOutcome::Stored { until_s, signature: [0; 64], seldom },
            Answer::Later { reason, after_s } => OfferOutcome::Later { reason, after_s },
            Answer::Refused(reason) => OfferOutcome::Refused(reason),
            Answer::Send => OfferOutcome::Broken,
        };
        self.tell(transfer.from, wait, Event::Offered { op: transfer.op, outcome });
    }

    fn open(&self, node: u32, token: Token) -> Result<Letter, OpenProblem> {
        let transfer = self.transfers.get(&token).ok_or(OpenProblem::Temporary)?;
        let sealed = self.envelopes.opened(&transfer.envelope);
        if sealed.to != node {
            return Err(OpenProblem::NotForUs);
        }
        let kind = match sealed.content {
            Content::Mail(_) => LetterKind::Mail,
            Content::Receipt(mail) => {
                let others = self.envelopes.confirmed(&transfer.envelope);
                let mails = std::iter::once(mail).chain(others).map(|mail| self.mid_of(sealed.from, node, mail));
                LetterKind::Receipt(mails.collect())
            }
            Content::Card => LetterKind::Card,
        };
        let from = self.address(sealed.from);
        Ok(Letter {
            account: ACCOUNT,
            from,
            mid: sealed.mid,
            kind,
            known: self.nodes[node as usize].home.has_filed(&from, &sealed.mid),
            receipt_wanted: true,
            card: None,
        })
    }

    /// The name of a mail of ours, as its receipt gives it.
    fn mid_of(&self, recipient: u32, node: u32, mail: u64) -> kith_protocol::ids::MailId {
        let letter = self.nodes[node as usize].home.letter(&self.address(recipient), mail);
        letter.unwrap_or(kith_protocol::ids::MailId([0; 16]))
    }
}
