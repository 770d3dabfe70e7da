//! The relays that keep letters for our own accounts: reached, asked to host, subscribed to, and kept up to date.
//!
//! ```text
//! used ─ connected ─ Host? ─ granted (into the card) ─ Collect ─ stamps, records ─ … ─ again after hours, or when it was started anew
//! ```
//!
//! What a relay has is pushed to us as offers, which the inbox takes like any other. Volunteers are asked the same way: whoever keeps letters for anybody
//! near our own place in the directory may have some for us. They are looked for at the start and every few hours, and where no relay has agreed some
//! times more in the first hour. Those that were found last are kept, and asked at once at the next start: people come back for seconds, too, and a search
//! takes some of them. A search goes by the places of all weeks in which something may have been left.

use crate::address::Address;
use crate::event::{Effect, Mono, OwnAccount, OwnerAsk, Place, UsedRelay, Write};
use crate::hosting::{Grant, Reply};
use crate::ids::{AccountId, Op, PeerId, QueueName};
use crate::small::SmallMap;

use super::connections::{Connections, Want};
use super::context::Context;

/// Relays that all accounts of a node may use together.
const RELAYS_MAX: usize = 1024;
/// A question that was not answered by then is asked again, in ms.
const ANSWER_MS: u64 = 2 * 60 * 1000;

/// Where no relay has agreed, the second search for volunteers after a start comes after this time, the third after four times as much, and so on up to
/// the usual interval, in ms. What comes to a volunteer later is told at once: we stay connected.
const SEARCH_SOON_MS: u64 = 10 * 1000;
/// A search that has not been answered by then has found nobody, in ms.
const SEARCH_LATE_MS: u64 = 60 * 60 * 1000;
/// Mailboxes at volunteers that all accounts of a node may have together.
const VOLUNTEERED_MAX: usize = 2048;
/// Volunteers that are remembered for an account.
pub const REMEMBERED_MAX: usize = 16;
/// So many of them are of the last search, the nearest; the others were found before.
const REMEMBERED_NOW: usize = 8;
/// Whoever was remembered and is not found stays until so many searches have ended, about a minute after the start: what is there comes meanwhile. Where a
/// relay has agreed the next search is hours away, and the first one decides.
const REMEMBERED_ROUNDS: u32 = 4;

/// Nothing is due, until something happens.
const NEVER: Mono = Mono(u64::MAX);

type Key = (AccountId, PeerId, QueueName);

/// One of our mailboxes at a relay.
#[derive(Clone, Debug)]
struct Mailbox {
    relay: UsedRelay,
    /// What is still to be asked on this connection, in this order.
    todo: Vec<OwnerAsk>,
    asking: Option<(Op, OwnerAsk)>,
    /// When it is looked at again: an answer is late, a try is due, a refresh is due.
    due: Mono,
    failures: u32,
    leaving: bool,
    /// At a volunteer: only asked what is there.
    volunteer: bool,
    /// At a volunteer that was found before the start, and not since.
    remembered: bool,
}

/// When volunteers are looked for.
#[derive(Clone, Debug)]
struct Search {
    address: Address,
    /// At this moment at the latest.
    due: Mono,
    /// From then on, as soon as there is something else to wake for.
    from: Mono,
    op: Option<Op>,
    /// Searches since the start, or since the network changed.
    rounds: u32,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Mailboxes {
    all: SmallMap<Key, Box<Mailbox>>,
    searches: SmallMap<AccountId, Box<Search>>,
    /// The volunteers found last for each account, as they are on the disk but for their order; the last ones first.
    found: SmallMap<AccountId, Vec<PeerId>>,
    /// The first moment at which one of `all` is due; `None`: something changed since it was looked for.
    first_due: Option<Mono>,
    /// The same of `searches`: the first moment at which one may begin, and at which one is due.
    first_search: Option<(Mono, Mono)>,
}

impl Mailboxes {
    pub(crate) fn restore(relays: Vec<UsedRelay>, volunteers: Vec<(AccountId, Place)>) -> Self {
        let mut this = Self::default();
        for relay in relays {
            this.used(relay, Mono(0));
        }
        for (account, place) in volunteers {
            let known = this.found.or_default(account);
            if !known.contains(&place.peer) {
                if known.len() >= REMEMBERED_MAX {
                    continue;
                }
                known.push(place.peer);
            }
            this.ask_volunteer(account, &place, true, Mono(0));
        }
        this
    }

    /// Whose mailbox a queue is that one of our relays keeps.
    pub(crate) fn account_at(&self, peer: &PeerId, queue: &QueueName) -> Option<AccountId> {
        self.all.keys().find(|(_, at, kept)| at == peer && kept == queue).map(|(account, ..)| *account)
    }

    /// The relays that accounts use; volunteers are strangers.
    pub(crate) fn relays(&self) -> impl Iterator<Item = PeerId> {
        self.all.values().filter(|mailbox| !mailbox.volunteer).map(|mailbox| mailbox.relay.peer)
    }

    /// Whether an account of this node has no relay that has agreed to keep its letters.
    pub(crate) fn lacks_relays(&self, accounts: &[AccountId]) -> bool {
        let agreed = |mailbox: &Mailbox| mailbox.relay.granted && !mailbox.volunteer && !mailbox.leaving;
        let kept = |account: &AccountId| self.all.values().any(|mailbox| mailbox.relay.account == *account && agreed(mailbox));
        !accounts.iter().all(kept)
    }

    /// A relay that has agreed to keep this account's letters, is connected, and is wanted.
    pub(crate) fn carrier(
        &self,
        account: AccountId,
        connections: &Connections,
        wanted: impl Fn(&PeerId) -> bool,
    ) -> Option<(PeerId, QueueName)> {
        let ready = |mailbox: &&Mailbox| {
            mailbox.relay.account == account
                && mailbox.relay.granted
                && !mailbox.leaving
                && connections.is_up(&mailbox.relay.peer)
                && mailbox.todo.is_empty()
                && wanted(&mailbox.relay.peer)
        };
        self.all
            .values()
            .map(|mailbox| &**mailbox)
            .filter(|mailbox| !mailbox.volunteer)
            .find(ready)
            .map(|mailbox| (mailbox.relay.peer, mailbox.relay.queue))
    }

    /// An account uses a relay, or something about it changed.
    pub(crate) fn used(&mut self, relay: UsedRelay, due: Mono) {
        self.first_due = None;
        let key = (relay.account, relay.peer, relay.queue);
        let todo = plan(&relay);
        // The queue at a relay may have become another one.
        self.all.retain(|(account, peer, queue), mailbox| {
            mailbox.volunteer || *account != relay.account || *peer != relay.peer || *queue == relay.queue
        });
        let room = self.all.len() < RELAYS_MAX;
        match self.all.get_mut(&key) {
            Some(known) => {
                let anew = known.leaving || known.relay.granted != relay.granted;
                known.relay = relay;
                known.leaving = false;
                if anew {
                    (known.todo, known.due) = (todo, due);
                }
            }
            None if room => {
                let mailbox =
                    Mailbox { relay, todo, asking: None, due, failures: 0, leaving: false, volunteer: false, remembered: false };
                self.all.insert(key, Box::new(mailbox));
            }
            None => {}
        }
    }

    /// An account uses a relay no more: it is told so when it is reached.
    pub(crate) fn left(&mut self, account: AccountId, peer: PeerId, now: Mono) {
        self.first_due = None;
        let there =
            |((owner, at, _), mailbox): &(&Key, &mut Box<Mailbox>)| *owner == account && *at == peer && !mailbox.volunteer;
        for (_, mailbox) in self.all.iter_mut().filter(there) {
            mailbox.leaving = true;
            mailbox.todo = vec![OwnerAsk::Leave];
            mailbox.due = now;
        }
        self.outdated(account, OwnerAsk::Siblings, now);
    }

    pub(crate) fn account_removed(&mut self, account: AccountId) {
        self.all.retain(|(owner, ..), _| *owner != account);
        self.searches.remove(&account);
        self.found.remove(&account);
        self.first_search = None;
    }

    /// An account's letters may be at volunteers.
    pub(crate) fn account_added(&mut self, own: &OwnAccount) {
        self.first_search = None;
        self.searches
            .insert(own.account, Box::new(Search { address: own.address, due: Mono(0), from: Mono(0), op: None, rounds: 0 }));
    }

    /// Volunteers near an account's place were found. False if that was not asked here.
    pub(crate) fn volunteers_found(&mut self, op: Op, places: &[Place], cx: &mut Context<'_>) -> bool {
        let searched = self.searches.iter().find(|(_, search)| search.op == Some(op)).map(|(account, _)| *account);
        let Some(account) = searched else { return false };
        // Letters go to volunteers only where none of the relays could be reached.
        let relayed = !self.lacks_relays(&[account]);
        let Some(search) = self.searches.get_mut(&account) else { return false };
        search.op = None;
        // A node that has just started does not know its whole neighbourhood yet.
        let soon = SEARCH_SOON_MS.saturating_mul(1 << (2 * search.rounds).min(20));
        search.rounds = search.rounds.saturating_add(1);
        let usual = cx.config.volunteer_search_ms;
        search.wait(if relayed { usual } else { usual.min(soon) }, cx);
        (self.first_due, self.first_search) = (None, None);
        let early = search.rounds < REMEMBERED_ROUNDS && !relayed;
        let found = |key: &Key| places.iter().any(|place| (place.peer, place.queue) == (key.1, key.2));
        self.all.retain(|key, mailbox| !mailbox.volunteer || key.0 != account || found(key) || mailbox.remembered && early);
        for place in places {
            self.ask_volunteer(account, place, false, cx.now.mono);
        }
        self.remember(account, places, cx);
        true
    }

    /// A volunteer that was found is asked what is there: now, or before the start (`remembered`).
    fn ask_volunteer(&mut self, account: AccountId, place: &Place, remembered: bool, due: Mono) {
        let key = (account, place.peer, place.queue);
        let room = self.all.len() < VOLUNTEERED_MAX;
        match self.all.get_mut(&key) {
            Some(known) if known.volunteer && known.remembered => {
                // It was asked a moment ago, or is being dialled. It may have come up since it could not be reached.
                known.remembered = remembered;
                if known.due == NEVER {
                    known.due = due;
                }
            }
            Some(known) if known.volunteer && known.asking.is_none() => (known.todo, known.due) = (vec![OwnerAsk::Collect], due),
            None if room => {
                let Place { peer, queue, ref addresses, .. } = *place;
                let relay = UsedRelay { account, peer, addresses: addresses.clone(), queue, granted: true };
                let todo = vec![OwnerAsk::Collect];
                let mailbox =
                    Mailbox { relay, todo, asking: None, due, failures: 0, leaving: false, volunteer: true, remembered };
                self.all.insert(key, Box::new(mailbox));
            }
            _ => {}
        }
    }

    /// Keeps who was found for the next start. Volunteers come and go: those found before stay while there is room, so that little is written.
    fn remember(&mut self, account: AccountId, places: &[Place], cx: &mut Context<'_>) {
        let mut peers: Vec<PeerId> = Vec::with_capacity(REMEMBERED_MAX);
        for place in places {
            if peers.len() < REMEMBERED_NOW && !peers.contains(&place.peer) {
                peers.push(place.peer);
            }
        }
        if peers.is_empty() {
            return;
        }
        let known = self.found.or_default(account);
        for peer in known.iter() {
            if peers.len() < REMEMBERED_MAX && !peers.contains(peer) {
                peers.push(*peer);
            }
        }
        let same = peers.len() == known.len() && peers.iter().all(|peer| known.contains(peer));
        known.clone_from(&peers);
        if !same {
            cx.commit(vec![Write::Volunteers { account, peers }], Vec::new());
        }
    }

    /// Looks for volunteers where it is time.
    fn seek(&mut self, connections: &Connections, cx: &mut Context<'_>) {
        let now = cx.now.mono;
        if !connections.any_up() || self.first_search.is_some_and(|(from, _)| from > now) {
            return;
        }
        for search in self.searches.values_mut().filter(|search| search.from <= now) {
            let op = cx.op();
            // An answer that never comes is as good as none.
            search.wait(cx.config.volunteer_search_ms.min(SEARCH_LATE_MS), cx);
            search.op = Some(op);
            cx.emit(Effect::Volunteers { op, address: search.address });
        }
        self.first_search = Some(self.earliest_search());
    }

    /// The network is new, or the node has just started: everything at once.
    pub(crate) fn wake_all(&mut self, now: Mono) {
        (self.first_due, self.first_search) = (None, None);
        for mailbox in self.all.values_mut() {
            (mailbox.due, mailbox.failures) = (now, 0);
        }
        for search in self.searches.values_mut() {
            (search.from, search.due, search.rounds) = (now, now, 0);
        }
    }

    /// The stamps or the card of an account changed: its relays want to know.
    pub(crate) fn outdated(&mut self, account: AccountId, what: OwnerAsk, now: Mono) {
        for mailbox in self.all.values_mut().filter(|mailbox| mailbox.relay.account == account && mailbox.relay.granted) {
            self.first_due = None;
            if !mailbox.volunteer && !mailbox.leaving && !mailbox.todo.contains(&what) {
                mailbox.todo.push(what);
                if mailbox.asking.is_none() {
                    mailbox.due = mailbox.due.min(now);
                }
            }
        }
    }

    pub(crate) fn peer_up(&mut self, peer: PeerId, now: Mono) {
        for mailbox in at(&mut self.all, peer) {
            self.first_due = None;
            mailbox.begin();
            (mailbox.due, mailbox.failures) = (now, 0);
        }
    }

    pub(crate) fn peer_down(&mut self, peer: PeerId, cx: &mut Context<'_>) {
        for mailbox in at(&mut self.all, peer) {
            self.first_due = None;
            mailbox.asking = None;
            mailbox.begin();
            let wait = cx.jittered(cx.config.relay_retry_ms / 8);
            mailbox.due = cx.after(wait);
        }
    }

    /// No connection to that peer came about.
    pub(crate) fn unreachable(&mut self, peer: PeerId, cx: &mut Context<'_>) {
        for mailbox in at(&mut self.all, peer) {
            self.first_due = None;
            mailbox.put_off(cx);
        }
    }

    /// A relay answers. Says whose it is if there is nothing more to be asked of it: it can carry letters for them now.
    pub(crate) fn asked(&mut self, op: Op, reply: Option<Reply>, cx: &mut Context<'_>) -> Option<AccountId> {
        let mailbox = self.all.values_mut().find(|mailbox| mailbox.asking.is_some_and(|(open, _)| open == op))?;
        self.first_due = None;
        let (_, what) = mailbox.asking.take()?;
        match (what, reply) {
            (OwnerAsk::Host | OwnerAsk::Collect, Some(Reply::Granted(grant))) => {
                mailbox.done(what, cx);
                if what == OwnerAsk::Host {
                    mailbox.relay.granted = true;
                    granted(&mailbox.relay, grant, cx);
                    let account = mailbox.relay.account;
                    self.outdated(account, OwnerAsk::Siblings, cx.now.mono);
                }
            }
            (OwnerAsk::Leave, Some(Reply::Done | Reply::Unknown)) => {
                let key = mailbox.key();
                self.all.remove(&key);
            }
            (OwnerAsk::Siblings | OwnerAsk::Marks | OwnerAsk::Records, Some(Reply::Done)) => {
                mailbox.done(what, cx);
                return mailbox.todo.is_empty().then_some(mailbox.relay.account);
            }
            (_, _) if mailbox.volunteer => {
                // Nothing is there, or nobody: the next search will tell.
                let key = mailbox.key();
                self.all.remove(&key);
            }
            // It hosted us once and does so no more: ask to be hosted anew.
            (OwnerAsk::Collect | OwnerAsk::Siblings | OwnerAsk::Marks | OwnerAsk::Records, Some(Reply::Unknown)) => {
                mailbox.todo = vec![OwnerAsk::Host, OwnerAsk::Collect, OwnerAsk::Siblings, OwnerAsk::Marks, OwnerAsk::Records];
                mailbox.put_off(cx);
            }
            _ => mailbox.put_off(cx),
        }
        None
    }

    /// Starts what is due.
    pub(crate) fn pump(&mut self, connections: &mut Connections, cx: &mut Context<'_>) {
        self.seek(connections, cx);
        let now = cx.now.mono;
        if self.first_due.is_some_and(|due| due > now) {
            return;
        }
        for mailbox in self.all.values_mut().filter(|mailbox| mailbox.due <= now) {
            if mailbox.asking.take().is_some() {
                // The answer is late: whatever comes of it does nothing any more.
                mailbox.put_off(cx);
                continue;
            }
            match connections.want(mailbox.relay.peer, &mailbox.relay.addresses, cx) {
                Want::Up => mailbox.ask(cx),
                Want::Wait => mailbox.due = cx.after(cx.config.connect_timeout_ms.saturating_mul(2)),
                Want::Resting => mailbox.put_off(cx),
            }
        }
        self.first_due = Some(self.earliest());
    }

    fn earliest(&self) -> Mono {
        self.all.values().map(|mailbox| mailbox.due).min().unwrap_or(NEVER)
    }

    fn earliest_search(&self) -> (Mono, Mono) {
        let earliest = |of: fn(&Search) -> Mono| self.searches.values().map(|search| of(search)).min().unwrap_or(NEVER);
        (earliest(|search| search.from), earliest(|search| search.due))
    }

    pub(crate) fn deadline(&self, any_up: bool) -> Option<Mono> {
        let mailboxes = self.first_due.unwrap_or_else(|| self.earliest());
        // Without anybody to ask, the first connection is waited for, not the clock.
        let searches = any_up.then(|| self.first_search.unwrap_or_else(|| self.earliest_search()).1);
        searches.into_iter().chain([mailboxes]).min().filter(|due| *due < NEVER)
    }
}

impl Search {
    /// The next one comes after this time, more or less by up to an eighth: a machine that wakes meanwhile for something else does not wake for it again.
    fn wait(&mut self, ms: u64, cx: &mut Context<'_>) {
        let eighth = ms / 8;
        let late = cx.below(eighth + 1);
        (self.from, self.due) = (cx.after(ms - eighth), cx.after(ms + late));
    }
}

/// The mailboxes at this peer: the names say where they are, so that nothing else is looked at.
fn at(all: &mut SmallMap<Key, Box<Mailbox>>, peer: PeerId) -> impl Iterator<Item = &mut Mailbox> {
    all.iter_mut().filter(move |((_, at, _), _)| *at == peer).map(|(_, mailbox)| &mut **mailbox)
}

/// What is to be asked of a relay, from the beginning.
fn plan(relay: &UsedRelay) -> Vec<OwnerAsk> {
    let usual = [OwnerAsk::Collect, OwnerAsk::Siblings, OwnerAsk::Marks, OwnerAsk::Records];
    if relay.granted { usual.to_vec() } else { [&[OwnerAsk::Host][..], &usual].concat() }
}

fn granted(relay: &UsedRelay, grant: Grant, cx: &mut Context<'_>) {
    cx.commit(vec![Write::Granted { account: relay.account, peer: relay.peer, grant }], Vec::new());
}

impl Mailbox {
    fn key(&self) -> Key {
        (self.relay.account, self.relay.peer, self.relay.queue)
    }

    /// Everything is to be asked again: a node forgets with every connection who is whose owner.
    fn begin(&mut self) {
        if self.volunteer {
            self.todo = vec![OwnerAsk::Collect];
        } else if !self.leaving {
            self.todo = plan(&self.relay);
        }
    }

    fn ask(&mut self, cx: &mut Context<'_>) {
        if self.todo.is_empty() {
            // A refresh is due: whether it still is our relay, and what it should know by now.
            self.begin();
        }
        let Some(what) = self.todo.first().copied() else { return };
        let op = cx.op();
        self.asking = Some((op, what));
        self.due = cx.after(ANSWER_MS);
        let UsedRelay { account, peer, queue, .. } = self.relay;
        cx.emit(Effect::Ask { op, peer, account, queue, what });
    }

    fn done(&mut self, what: OwnerAsk, cx: &mut Context<'_>) {
        self.failures = 0;
        self.todo.retain(|todo| *todo != what);
        self.due = if self.todo.is_empty() {
            let wait = cx.jittered(cx.config.relay_refresh_ms);
            cx.after(wait)
        } else {
            cx.now.mono
        };
    }

    fn put_off(&mut self, cx: &mut Context<'_>) {
        if self.remembered {
            // Perhaps it is gone for good: a search or a new network says whether another try is worth it.
            self.due = NEVER;
            return;
        }
        let doubled = cx.config.relay_retry_ms.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let wait = cx.jittered(doubled.min(cx.config.retry_steady_ms));
        self.due = cx.after(wait);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, testing};
    use super::*;

    fn with_context<T>(mono: u64, act: impl FnOnce(&mut Context<'_>) -> T) -> (T, Vec<Effect>) {
        testing::with_context(mono, &Config::default(), act)
    }

    /// An account, and somebody to ask.
    fn searching() -> (Mailboxes, Connections) {
        let (mut mailboxes, mut connections) = (Mailboxes::default(), Connections::default());
        let address = testing::address(1);
        mailboxes.account_added(&OwnAccount { account: AccountId(1), address, queue: QueueName([0; 16]) });
        connections.peer_up(PeerId([200; 32]));
        (mailboxes, connections)
    }

    /// A search at that moment finds nobody; how long it is until the next one, in ms.
    fn finds_nobody(mailboxes: &mut Mailboxes, connections: &mut Connections, mono: u64) -> u64 {
        let (_, effects) = with_context(mono, |cx| mailboxes.pump(connections, cx));
        let [Effect::Volunteers { op, .. }] = effects[..] else { panic!("one search: {effects:?}") };
        with_context(mono, |cx| assert!(mailboxes.volunteers_found(op, &[], cx)));
        mailboxes.deadline(true).unwrap().0 - mono
    }

    #[test]
    fn a_search_comes_along_with_what_happens_near_its_time_and_else_has_its_own() {
        let (mut mailboxes, mut connections) = searching();
        let due = finds_nobody(&mut mailboxes, &mut connections, 0);
        let mut searches = |mailboxes: &mut Mailboxes, mono| with_context(mono, |cx| mailboxes.pump(&mut connections, cx)).1;
        assert!((SEARCH_SOON_MS..=SEARCH_SOON_MS / 8 * 9).contains(&due), "{due}");
        assert!(searches(&mut mailboxes, SEARCH_SOON_MS / 8 * 7 - 1).is_empty());
        assert_eq!(searches(&mut mailboxes, SEARCH_SOON_MS / 8 * 7).len(), 1);
    }

    #[test]
    fn who_has_a_relay_looks_for_volunteers_every_few_hours_only() {
        let (mut mailboxes, mut connections) = searching();
        let relay = |granted| UsedRelay {
            account: AccountId(1),
            peer: PeerId([3; 32]),
            addresses: Vec::new(),
            queue: QueueName([3; 16]),
            granted,
        };
        let mut mono = 0;
        for (granted, least, most) in [(false, SEARCH_SOON_MS / 8 * 7, SEARCH_SOON_MS / 8 * 9), (true, 12_600_000, 16_200_000)] {
            // What is asked of the relay is not asked for here.
            mailboxes.used(relay(granted), NEVER);
            let wait = finds_nobody(&mut mailboxes, &mut connections, mono);
            assert!((least..=most).contains(&wait), "{wait} ms where a relay has agreed: {granted}");
            mono += wait;
        }
    }

    #[test]
    fn who_has_no_relay_looks_for_volunteers_ever_less_often_up_to_every_few_hours() {
        let (mut mailboxes, mut connections) = searching();
        let mut mono = 0;
        for usual in [10, 40, 160, 640, 2_560, 10_240, 14_400, 14_400] {
            let wait = finds_nobody(&mut mailboxes, &mut connections, mono);
            assert!((usual * 1000..=usual * 1125).contains(&wait), "{wait} ms where it is {usual} s");
            mono += wait;
        }
    }

    #[test]
    fn a_search_that_is_never_answered_is_made_again() {
        let (mut mailboxes, mut connections) = searching();
        let mut searches = |mono| with_context(mono, |cx| mailboxes.pump(&mut connections, cx)).1.len();
        assert_eq!([0, SEARCH_LATE_MS / 2, SEARCH_LATE_MS / 8 * 9].map(&mut searches), [1, 0, 1]);
    }

    fn volunteer(number: u8) -> Place {
        let (peer, queue) = (PeerId([number; 32]), QueueName([number; 16]));
        Place { peer, queue, kind: crate::event::PlaceKind::Volunteer, addresses: Vec::new() }
    }

    fn dialled(mailboxes: &mut Mailboxes, connections: &mut Connections, mono: u64) -> Vec<(Op, PeerId)> {
        let (_, effects) = with_context(mono, |cx| {
            mailboxes.pump(connections, cx);
            connections.pump(cx);
        });
        let dial = |effect: &Effect| match effect {
            Effect::Connect { op, peer, .. } => Some((*op, *peer)),
            _ => None,
        };
        effects.iter().filter_map(dial).collect()
    }

    #[test]
    fn who_was_remembered_is_dialled_at_once_and_in_vain_only_once() {
        let volunteers = [1, 2].map(|number| (AccountId(1), volunteer(number))).to_vec();
        let (mut mailboxes, mut connections) = (Mailboxes::restore(Vec::new(), volunteers), Connections::default());
        mailboxes.wake_all(Mono(0));
        let first = dialled(&mut mailboxes, &mut connections, 0);
        assert_eq!(first.iter().map(|(_, peer)| *peer).collect::<Vec<_>>(), [PeerId([1; 32]), PeerId([2; 32])]);
        for (op, peer) in first {
            with_context(200, |cx| assert!(connections.failed(op, peer, cx)));
            with_context(200, |cx| mailboxes.unreachable(peer, cx));
        }
        assert_eq!(mailboxes.deadline(false), None, "it wakes nobody");
        let hour = 3_600_000;
        assert_eq!(dialled(&mut mailboxes, &mut connections, hour), []);
        // Another network, another try.
        mailboxes.wake_all(Mono(hour));
        assert_eq!(dialled(&mut mailboxes, &mut connections, hour).len(), 2);
    }

    #[test]
    fn so_many_volunteers_are_remembered_and_no_more_the_last_ones_first() {
        let (mut mailboxes, mut connections) = searching();
        let hour = 3_600_000;
        let mut last = Vec::new();
        for round in 0..5_u8 {
            let mono = 2 * hour * u64::from(round);
            let (_, effects) = with_context(mono, |cx| mailboxes.pump(&mut connections, cx));
            let op = effects.iter().find_map(|effect| match effect {
                Effect::Volunteers { op, .. } => Some(*op),
                _ => None,
            });
            let places: Vec<Place> = (0..20).map(|number| volunteer(1 + 20 * round + number)).collect();
            let (_, effects) = with_context(mono, |cx| assert!(mailboxes.volunteers_found(op.unwrap(), &places, cx)));
            let [Effect::Commit { writes, .. }] = &effects[..] else { panic!("one commit: {effects:?}") };
            let [Write::Volunteers { peers, .. }] = &writes[..] else { panic!("one write: {writes:?}") };
            let now: Vec<PeerId> = places.iter().take(REMEMBERED_NOW).map(|place| place.peer).collect();
            assert_eq!(&peers[..REMEMBERED_NOW], &now[..]);
            assert_eq!(&peers[REMEMBERED_NOW..], &last[..], "and those before");
            assert!(peers.len() <= REMEMBERED_MAX);
            last = now;
        }
        mailboxes.account_removed(AccountId(1));
        assert!(mailboxes.all.is_empty() && mailboxes.found.is_empty());
    }
}
