//! Delivery in time: how a queued letter finds its way to exactly one fate, and how one that arrives is filed exactly once.
//!
//! [`Delivery`] is a pure state machine. Its driver hands it every [`Event`] with the time and a source of randomness, performs the [`Effect`]s that
//! come out in order, and calls again with [`Event::Tick`] at [`Delivery::deadline`]. It routes events to six machines and has no policy of its own:
//! the outbox (sender), the inbox (recipient), the relay (what is kept for others), the mailboxes (what others keep for us), the directory (cards) and
//! the connections.
//!
//! Everything is driven by events first (a peer appears, a card comes, the network changes) and by timers last.

pub mod age;
mod config;
mod connections;
mod context;
mod directory;
mod familiar;
mod inbox;
mod mailboxes;
mod narrow;
mod outbox;
mod relay;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use rand_core::Rng;

pub use self::config::Config;
pub use self::connections::GREETINGS_MAX;
pub use self::mailboxes::REMEMBERED_MAX;

use self::connections::Connections;
use self::context::{Context, Names};
use self::directory::Directory;
use self::inbox::{Done, Entrance, Inbox, Offer};
use self::mailboxes::Mailboxes;
use self::outbox::{Outbox, Road};
use self::relay::{Deposit, Relay};
use crate::event::{CardInfo, CommitProblem, Effect, Event, Mono, Now, OwnAccount, OwnerAsk, Snapshot, Ticket};
use crate::ids::{AccountId, BatchId, EnvelopeId, PeerId, QueueName, Token};

/// A network that changes all the time makes us try everything again at most this often, in ms.
const ROUSE_GAP_MS: u64 = 10 * 1000;

/// No moment.
const NEVER: Mono = Mono(u64::MAX);

/// Cards of new contacts that are looked up because somebody unknown comes.
const SOUGHT_MAX: usize = 8;

/// The delivery core of a node.
#[derive(Clone, Debug)]
pub struct Delivery {
    config: Arc<Config>,
    names: Names,
    outbox: Outbox,
    inbox: Inbox,
    directory: Directory,
    connections: Connections,
    mailboxes: Mailboxes,
    relay: Relay,
    accounts: Vec<AccountId>,
    started: bool,
    /// Everything is to be tried again, but not before `quiet_until`.
    rouse_due: bool,
    quiet_until: Mono,
}

impl Delivery {
    /// Takes up where the snapshot left off. Nothing moves before [`Event::Started`].
    pub fn restore(config: impl Into<Arc<Config>>, snapshot: Snapshot, now: Now) -> Self {
        let config = config.into();
        let mut inbox = Inbox::restore(snapshot.seen, snapshot.accepted, snapshot.requests);
        for own in &snapshot.accounts {
            inbox.account_added(own);
        }
        let mut mailboxes = Mailboxes::restore(snapshot.relays, snapshot.volunteers);
        for own in &snapshot.accounts {
            mailboxes.account_added(own);
        }
        Self {
            outbox: Outbox::restore(snapshot.entries, now, &config),
            relay: Relay::restore(snapshot.hosted, snapshot.held, snapshot.hosting_clock, now, &config),
            mailboxes,
            config,
            names: Names::default(),
            inbox,
            directory: Directory::restore(snapshot.cards),
            connections: Connections::default(),
            accounts: snapshot.accounts.iter().map(|own| own.account).collect(),
            started: false,
            rouse_due: false,
            quiet_until: now.mono,
        }
    }

    /// Takes one event and adds what is to be done about it.
    pub fn handle(&mut self, event: Event, now: Now, rng: &mut impl Rng, effects: &mut Vec<Effect>) {
        let Self { config, names, outbox, inbox, directory, connections, mailboxes, relay, accounts, started, .. } = self;
        let (rouse_due, quiet_until) = (&mut self.rouse_due, &mut self.quiet_until);
        let cx = Context { config, now, rng, names, effects };
        let road = Road { directory, connections, mailboxes };
        let mut core = Core { cx, outbox, inbox, relay, road, accounts, started, rouse_due, quiet_until };
        core.outbox.observe(&core.cx);
        core.relay.observe(&core.cx);
        core.route(event);
        core.time();
        core.road.directory.pump(&mut core.cx);
        core.outbox.pump(&mut core.cx, &mut core.road);
        core.relay.pump(core.road.connections, &mut core.cx);
        if *core.started {
            core.road.mailboxes.pump(core.road.connections, &mut core.cx);
        }
        core.road.connections.pump(&mut core.cx);
    }

    /// When to call with [`Event::Tick`] at the latest.
    pub fn deadline(&self) -> Option<Mono> {
        let connections = self.connections.deadline(self.config.connects_max);
        let rouse = self.rouse_due.then_some(self.quiet_until);
        let mailboxes = self.mailboxes.deadline(self.connections.any_up()).filter(|_| self.started);
        let (outbox, inbox) = (self.outbox.deadline(), self.inbox.deadline());
        let (directory, relay) = (self.directory.deadline(), self.relay.deadline());
        // Asked after every event: the simplest loop is the quickest.
        let mut first = NEVER;
        for due in [outbox, inbox, directory, relay, connections, rouse, mailboxes] {
            first = first.min(due.unwrap_or(NEVER));
        }
        Some(first).filter(|first| *first < NEVER)
    }

    /// Entries in the queue.
    pub fn queued(&self) -> usize {
        self.outbox.len()
    }
}

/// The machines and the event's context, side by side.
struct Core<'a> {
    cx: Context<'a>,
    outbox: &'a mut Outbox,
    inbox: &'a mut Inbox,
    relay: &'a mut Relay,
    road: Road<'a>,
    accounts: &'a mut Vec<AccountId>,
    started: &'a mut bool,
    rouse_due: &'a mut bool,
    quiet_until: &'a mut Mono,
}

impl Core<'_> {
    fn route(&mut self, event: Event) {
        let (cx, road) = (&mut self.cx, &mut self.road);
        match event {
            Event::Started => self.start(),
            Event::NetworkChanged => *self.rouse_due = true,
            Event::Tick => {}
            Event::AccountAdded(own) => self.account_added(&own),
            Event::AccountRemoved(account) => {
                self.accounts.retain(|known| *known != account);
                self.inbox.account_removed(account);
                self.road.directory.unpublish(account);
                self.road.mailboxes.account_removed(account);
                self.outbox.account_removed(account, cx);
            }
            Event::OwnCardChanged(account) => {
                road.directory.publish(account, 0, cx);
                road.mailboxes.outdated(account, OwnerAsk::Records, cx.now.mono);
            }
            Event::Queued(entry) => self.outbox.queued(entry, cx, road),
            Event::RetryAsked(entry) => self.outbox.retry(entry, cx, road),
            Event::Cancelled(entry) => self.outbox.cancelled(entry, cx),
            Event::CardLearned(card) => self.learned(card),
            Event::Found { op, card } => {
                if let Some((address, newer)) = road.directory.found(op, card, cx) {
                    self.outbox.card_news(address, newer, cx, road);
                }
            }
            Event::Published { op, holders } => {
                let alone = !road.connections.any_up();
                road.directory.published(op, holders, alone, cx);
            }
            Event::PeerUp(peer) => self.peer_up(peer),
            Event::PeerDown(peer) => {
                road.connections.peer_down(&peer);
                road.mailboxes.peer_down(peer, cx);
                self.inbox.peer_down(&peer);
                self.relay.peer_down(&peer);
                self.outbox.peer_down(peer, cx, road);
            }
            Event::DirectWay(peer) => {
                road.connections.narrow.widened(&peer);
                self.relay.widened();
                self.outbox.peer_up(peer, cx, road);
            }
            Event::PeerRestarted(peer) => {
                self.relay.peer_restarted(&peer);
                self.outbox.peer_restarted(peer);
            }
            Event::ConnectsFailed(failed) => {
                for (op, peer) in failed {
                    if road.connections.failed(op, peer, cx) {
                        road.mailboxes.unreachable(peer, cx);
                        self.outbox.unreachable(peer, cx, road);
                    }
                }
            }
            Event::Sealed { op, entry: _, result } => self.outbox.sealed(op, result, cx, road),
            Event::Offered { op, outcome } => {
                if !self.relay.offered(op, outcome, road.connections, cx) {
                    self.outbox.offered(op, outcome, cx, road);
                }
            }
            Event::OfferReceived { token, peer, queue, envelope, size, ticket } => {
                self.offer_received(token, peer, queue, envelope, size, ticket)
            }
            Event::BodyReceived { token } if self.relay.receives(token) => self.relay.body(token, cx),
            Event::BodyBroken { token } if self.relay.receives(token) => self.relay.broken(token),
            Event::BodyReceived { token } => self.inbox.body(token, cx),
            Event::BodyBroken { token } => self.inbox.broken(token, cx),
            Event::RelayUsed(relay) => road.mailboxes.used(relay, cx.now.mono),
            Event::RelayLeft { account, peer } => road.mailboxes.left(account, peer, cx.now.mono),
            Event::Asked { op, reply } => {
                if let Some(account) = road.mailboxes.asked(op, reply, cx) {
                    self.outbox.carrier_ready(account, cx, road);
                }
            }
            Event::AskReceived { token, peer, key, request, grant } => self.relay.asked(token, peer, key, request, grant, cx),
            Event::HostingEnded(queue) => self.relay.end(queue, cx),
            Event::Audited { op, outcome } => self.outbox.audited(op, outcome, cx, road),
            Event::StampsChanged(account) => road.mailboxes.outdated(account, OwnerAsk::Marks, cx.now.mono),
            Event::VolunteersFound { op, places } => {
                if !road.mailboxes.volunteers_found(op, &places, cx) {
                    self.outbox.volunteers_found(op, places, cx, road);
                }
            }
            Event::Worked { op, work } => self.outbox.worked(op, work, cx, road),
            Event::Acceptance { account, address, accepted } => {
                self.inbox.acceptance(account, address, accepted);
                if accepted && road.directory.card(&address).is_none() {
                    road.directory.seek(address, cx);
                }
            }
            Event::Requests { account, waiting } => self.inbox.requests(account, waiting),
            Event::Opened { token, result } => self.inbox.opened(token, result, self.outbox, cx),
            Event::Durable(batch) => self.durable(batch),
            Event::CommitFailed { batch, reason } => self.commit_failed(batch, reason),
        }
    }

    fn durable(&mut self, batch: BatchId) {
        let (cx, road) = (&mut self.cx, &mut self.road);
        self.inbox.store_works();
        if !self.outbox.durable(batch, cx, road)
            && !self.relay.durable(batch)
            && let Some(done) = self.inbox.durable(batch)
        {
            self.received(done);
        }
    }

    fn commit_failed(&mut self, batch: BatchId, reason: CommitProblem) {
        let cx = &mut self.cx;
        if !self.outbox.commit_failed(batch, reason, cx)
            && !self.relay.commit_failed(batch, cx)
            && let Some(done) = self.inbox.commit_failed(batch, cx)
        {
            self.received(done);
        }
    }

    /// What is due by the clock.
    fn time(&mut self) {
        if *self.rouse_due && *self.quiet_until <= self.cx.now.mono {
            *self.rouse_due = false;
            *self.quiet_until = self.cx.after(ROUSE_GAP_MS);
            self.rouse();
        }
        for address in self.road.directory.overdue(&self.cx) {
            self.outbox.card_news(address, false, &mut self.cx, &mut self.road);
        }
        for peer in self.road.connections.overdue(&self.cx) {
            self.road.mailboxes.unreachable(peer, &mut self.cx);
            self.outbox.unreachable(peer, &mut self.cx, &mut self.road);
        }
        self.inbox.tick(&mut self.cx);
        self.relay.tick(self.road.connections, &mut self.cx);
        self.outbox.tick(&mut self.cx, &mut self.road);
    }

    fn start(&mut self) {
        *self.started = true;
        let wait = if self.road.connections.any_up() { 0 } else { self.cx.config.start_wait_ms };
        for account in self.accounts.iter() {
            self.road.directory.publish(*account, wait, &self.cx);
        }
        self.road.mailboxes.wake_all(self.cx.now.mono);
        self.outbox.wake_all(&mut self.cx, &mut self.road);
        self.greet();
    }

    /// An envelope for one of our mailboxes, for one that we keep for somebody, or for nobody's.
    fn offer_received(&mut self, token: Token, peer: PeerId, queue: QueueName, envelope: EnvelopeId, size: u64, ticket: Ticket) {
        let home = self.inbox.account(&queue);
        if home.is_none() && (ticket.deposit || self.relay.hosts(&queue)) {
            let deposit = Deposit { token, peer, queue, envelope, size, ticket };
            return self.relay.deposit(&deposit, &mut self.cx);
        }
        // What a relay of ours pushes it has let in by our rules; what our own node is offered is let in here.
        let kept = self.road.mailboxes.account_at(&peer, &queue);
        let trusted = kept.is_some()
            || home.is_some_and(|home| self.road.directory.at(peer).iter().any(|address| self.inbox.accepts(home, address)));
        let way = match home {
            _ if trusted => Entrance::Trusted,
            Some(home) if self.seek_accepted(home, size, &ticket) => Entrance::Sought,
            _ => Entrance::With(ticket),
        };
        self.inbox.offer(Offer { token, peer, account: home.or(kept), queue, envelope, size }, &way, &mut self.cx);
    }

    /// A large envelope from nobody known: perhaps from a new contact whose card is not here yet. True while those are looked up.
    fn seek_accepted(&mut self, account: AccountId, size: u64, ticket: &Ticket) -> bool {
        if size <= inbox::TRUST_BYTES_MAX || ticket.stamp.is_some() || ticket.work.is_some() {
            return false;
        }
        let directory = &mut *self.road.directory;
        let unknown = self.inbox.accepted_by(account).filter(|address| directory.card(address).is_none()).copied();
        let unknown: Vec<_> = unknown.take(SOUGHT_MAX).collect();
        // All of them, whatever becomes of the first.
        let sought = unknown.into_iter().filter(|address| directory.seek(*address, &self.cx));
        sought.count() > 0
    }

    /// Everything is worth another try, and everybody a greeting.
    fn rouse(&mut self) {
        self.relay.wake_all();
        self.road.directory.forget_failures();
        self.road.connections.forget_failures();
        self.road.mailboxes.wake_all(self.cx.now.mono);
        self.outbox.wake_all(&mut self.cx, &mut self.road);
        self.greet();
    }

    /// Makes contacts' nodes notice us: what waits there for us comes now. Where letters for us have no relay of ours to go to, contacts' relays carry them:
    /// those are greeted too.
    fn greet(&mut self) {
        let wait = self.cx.below(8 * self.cx.config.greeting_gap_ms);
        let doors = self.road.directory.doors(self.road.mailboxes.lacks_relays(self.accounts));
        self.road.connections.greet(doors.into_iter().map(|place| (place.peer, place.addresses)), wait, &self.cx);
    }

    fn account_added(&mut self, own: &OwnAccount) {
        self.inbox.account_added(own);
        self.road.mailboxes.account_added(own);
        if !self.accounts.contains(&own.account) {
            self.accounts.push(own.account);
        }
        if *self.started {
            self.road.directory.publish(own.account, 0, &self.cx);
        }
    }

    fn peer_up(&mut self, peer: PeerId) {
        let first = !self.road.connections.any_up();
        self.road.connections.peer_up(peer);
        self.road.mailboxes.peer_up(peer, self.cx.now.mono);
        self.relay.peer_up(peer);
        if first {
            self.road.directory.publish_waiting(&self.cx);
            // The first connection after none means that there is a network again.
            *self.rouse_due |= *self.started;
        }
        self.outbox.peer_up(peer, &mut self.cx, &mut self.road);
    }

    fn learned(&mut self, card: CardInfo) {
        let address = card.address;
        if self.road.directory.learn(card) {
            self.outbox.card_news(address, true, &mut self.cx, &mut self.road);
        }
    }

    fn received(&mut self, done: Done) {
        if done.durable {
            self.outbox.receipt_durable(&done.ending, &mut self.cx);
        } else {
            self.outbox.receipt_failed(&done.ending, &mut self.cx);
        }
        if let Some(card) = done.card
            && self.road.directory.has_room(&card.address)
        {
            self.learned(card);
        }
    }
}
