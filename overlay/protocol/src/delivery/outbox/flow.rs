//! The steps of an entry, from a card to its fate.

use std::sync::Arc;

use crate::event::{Effect, Fate, Ladder, Mono, PlaceKind, Problem, Progress, Way, Write};
use crate::ids::{EntryId, PeerId};

use super::super::context::Context;
use super::super::directory::Standing;
use super::entry::State;
use super::{Batch, LATER_GROWN_MS, Outbox, Road, STORE_WAIT_MS, Work};

impl Outbox {
    /// Sets the entry's timer.
    pub(super) fn arm(&mut self, id: EntryId, cx: &Context<'_>) {
        let Some(item) = self.items.get_mut(&id) else { return };
        let wake = item.next_wake(cx.now.mono, &self.aging, cx.config);
        if wake != item.wake {
            self.timers.remove(&(item.wake, id));
            item.wake = wake;
            if wake < Mono(u64::MAX) {
                self.timers.insert((wake, id));
            }
        }
    }

    /// The entry's timer fired.
    pub(super) fn fire(&mut self, id: EntryId, cx: &mut Context<'_>, road: &mut Road<'_>) {
        let Some(item) = self.items.get_mut(&id) else { return };
        if item.fate.is_some() || item.committing {
            self.flush(id, cx);
            return;
        }
        if matches!(item.state, State::Gathered(_)) {
            // Its fate is the other one's.
            return;
        }
        let age = item.age(&self.aging);
        if age >= cx.config.expiry_ms && cx.now.mono.0 >= self.aging.settled() {
            let problem = item.progress.last_problem.clone().unwrap_or(Problem::Unreachable);
            self.end(id, Fate::Failed(problem), cx);
            return;
        }
        if item.state == State::Idle && item.retry_at <= cx.now.mono {
            item.retry_at = Mono(u64::MAX);
            item.begin_round();
        }
        if item.state == State::Idle && item.audit_at <= cx.now.mono {
            self.audit(id, cx, road);
        }
        let Some(item) = self.items.get_mut(&id) else { return };
        if item.state == State::Connecting && item.relay_at.is_some_and(|at| at <= cx.now.mono) {
            // Relays are due, or volunteers.
            item.state = State::Idle;
            self.offer(id, cx, road);
        } else if item.state == State::Idle && (item.retry_at == Mono(u64::MAX) || item.is_handed()) {
            self.step(id, cx, road);
        }
        self.flush(id, cx);
    }

    pub(super) fn set_idle(&mut self, id: EntryId) {
        self.leave(id);
        if let Some(item) = self.items.get_mut(&id) {
            item.state = State::Idle;
        }
    }

    /// Something happened that makes a new round worth while.
    pub(super) fn wake(&mut self, id: EntryId, cx: &mut Context<'_>, road: &mut Road<'_>) {
        let Some(item) = self.items.get_mut(&id) else { return };
        if matches!(item.state, State::Seeking | State::Working | State::OfferQueued(_) | State::Offering) {
            // Once this round has come to nothing there is another.
            item.woken = true;
        } else if item.state == State::Idle && item.fate.is_none() {
            item.begin_round();
            item.failures = 0;
            item.later_ms = 0;
            item.retry_at = Mono(u64::MAX);
            self.resume_audits(id, cx);
            self.step(id, cx, road);
            self.arm(id, cx);
        }
    }

    /// The next step of an idle entry: a card, a seal, an offer.
    pub(super) fn step(&mut self, id: EntryId, cx: &mut Context<'_>, road: &mut Road<'_>) {
        let Some(item) = self.items.get_mut(&id) else { return };
        if item.state != State::Idle || item.fate.is_some() {
            return;
        }
        let age = item.age(&self.aging);
        let standing = road.directory.standing(&item.recipient, cx);
        let generation = road.directory.card(&item.recipient).map_or(0, |card| card.generation);
        let again = item.reseal_due(cx.config).is_some_and(|due| age >= due);
        let must_seal = item.progress.sealed.as_ref().is_none_or(|sealed| {
            let old = !item.is_handed() && age.saturating_sub(sealed.at_age_ms) > cx.config.envelope_life_ms;
            !item.progress.only && (sealed.card.0 < generation || old || again)
        });
        if item.is_handed() && !must_seal {
            let more = !item.is_spread(cx.config) || item.wants_carrier(cx.config);
            if more && item.retry_at == Mono(u64::MAX) {
                self.offer(id, cx, road);
            }
            return;
        }
        let asked = if again { road.directory.seek(item.recipient, cx) } else { road.directory.refresh(item.recipient, cx) };
        let wait = asked
            && match standing {
                Standing::Fresh => again,
                Standing::Old => must_seal,
                Standing::Expired => must_seal,
                Standing::Missing => true,
            };
        if wait {
            item.state = State::Card;
            return;
        }
        match standing {
            Standing::Missing => self.put_off(id, Problem::NoCard, None, cx, road),
            Standing::Expired if must_seal => self.put_off(id, Problem::CardExpired, None, cx, road),
            Standing::Fresh | Standing::Old if must_seal && item.gather_at > cx.now.mono => item.retry_at = item.gather_at,
            Standing::Fresh | Standing::Old if must_seal => {
                item.state = State::SealQueued;
                self.to_seal.insert(id);
            }
            Standing::Fresh | Standing::Old | Standing::Expired => self.offer(id, cx, road),
        }
    }

    /// Nothing can be done now: until something happens, or a while has passed.
    pub(super) fn put_off(
        &mut self,
        id: EntryId,
        problem: Problem,
        asked_ms: Option<u64>,
        cx: &mut Context<'_>,
        road: &Road<'_>,
    ) {
        let Some(item) = self.items.get_mut(&id) else { return };
        let places = road.directory.card(&item.recipient).map_or(&[][..], |card| &card.places);
        // Without places there are only others to be asked, and they may know soon.
        let size = item.sealed_size().unwrap_or(0);
        let near = places.iter().any(|place| road.connections.takes(&place.peer, size, cx.now.mono))
            || places.is_empty() && road.connections.any_up();
        let first = if near { cx.config.retry_near_ms } else { cx.config.retry_first_ms };
        let doubled = first.saturating_mul(1 << item.failures.min(20));
        let wait = match asked_ms {
            Some(asked) => asked.max(doubled.min(LATER_GROWN_MS)),
            None if doubled / 2 < cx.config.retry_max_ms => doubled.min(cx.config.retry_max_ms),
            None => cx.config.retry_steady_ms,
        };
        item.failures = item.failures.saturating_add(1);
        if !item.is_handed() {
            item.note(problem);
        }
        item.state = State::Idle;
        item.retry_at = {
            let wait = cx.jittered(wait);
            cx.after(wait)
        };
        self.flush(id, cx);
    }

    /// The entry ends thus.
    pub(super) fn end(&mut self, id: EntryId, fate: Fate, cx: &mut Context<'_>) {
        self.leave(id);
        if self.items.get(&id).is_some_and(|item| !item.committing) {
            self.ungather(id, Mono(0));
        }
        let Some(item) = self.items.get_mut(&id) else { return };
        if item.fate.is_none() {
            item.fate = Some(fate);
            item.state = State::Ending;
            item.store_wait = Mono(0);
            self.flush(id, cx);
        }
        self.arm(id, cx);
    }

    /// Commits what the entry has to write, one thing at a time, and sets its timer.
    pub(super) fn flush(&mut self, id: EntryId, cx: &mut Context<'_>) {
        self.write(id, cx);
        self.arm(id, cx);
    }

    fn write(&mut self, id: EntryId, cx: &mut Context<'_>) {
        let Some(item) = self.items.get_mut(&id) else { return };
        if item.committing || item.store_wait > cx.now.mono {
            return;
        }
        let delay =
            item.delay_pending() && item.age(&self.aging) >= cx.config.delay_notice_ms && cx.now.mono.0 >= self.aging.settled();
        let (batch, writes, then) = if let Some(fate) = item.fate.clone() {
            if item.foreign {
                return;
            }
            let discard = item.progress.sealed.as_ref().map(|sealed| Effect::Discard(sealed.envelope));
            (Batch::Fate(id), vec![Write::Fate { entry: id, fate }], discard.into_iter().collect())
        } else if let State::Unsaved(sealed) = &item.state {
            let sealed = sealed.clone();
            item.state = State::Saving;
            item.grow(&self.aging);
            let old = item.progress.sealed.as_ref().map(|old| Effect::Discard(old.envelope));
            let (only, sealed_now) = (item.is_only(&sealed), Some((*sealed).clone()));
            let progress =
                Progress { sealed: sealed_now, handed_at_age_ms: None, copies: Vec::new(), only, ..item.progress.clone() };
            let mut writes = vec![Write::Progress { entry: id, progress }];
            if !item.gathered.is_empty() {
                writes.push(Write::Gather { into: id, from: item.gathered.clone() });
            }
            (Batch::Sealed(id, sealed), writes, old.into_iter().collect())
        } else if delay {
            item.grow(&self.aging);
            let progress = Progress { delay_told: true, ..item.progress.clone() };
            (Batch::Delay(id), vec![Write::Progress { entry: id, progress }, Write::DelayNotice { entry: id }], Vec::new())
        } else if item.dirty {
            item.grow(&self.aging);
            (Batch::Progress(id), vec![Write::Progress { entry: id, progress: item.progress.clone() }], Vec::new())
        } else {
            return;
        };
        item.dirty = false;
        item.committing = true;
        let name = cx.commit(writes, then);
        self.batches.insert(name, batch);
    }

    /// Starts what there is room for.
    pub(crate) fn pump(&mut self, cx: &mut Context<'_>, road: &mut Road<'_>) {
        if self.ailing.is_some_and(|until| until <= cx.now.mono) && !self.to_seal.is_empty() {
            self.ailing = Some(cx.after(STORE_WAIT_MS));
            self.start_seal(cx);
        }
        while self.ailing.is_none() && self.sealing < cx.config.seals_max && !self.to_seal.is_empty() {
            self.start_seal(cx);
        }
        self.pump_offers(cx, road);
    }

    fn start_seal(&mut self, cx: &mut Context<'_>) {
        let Some(id) = self.to_seal.pop_first() else { return };
        let with = self.gather(id);
        let Some(item) = self.items.get_mut(&id) else { return };
        item.state = State::Sealing;
        let ladder = if item.progress.sealed.is_none() { Ladder::Best } else { Ladder::Weekly };
        let op = cx.op();
        self.works.insert(op, Work::Seal(id));
        self.sealing += 1;
        cx.emit(Effect::Seal { op, entry: id, with, ladder });
    }

    /// One offer for every peer in turn, as long as there is room.
    fn pump_offers(&mut self, cx: &mut Context<'_>, road: &mut Road<'_>) {
        while !self.to_offer.is_empty() {
            let room = cx.config.offers_max.saturating_sub(self.offering.values().sum());
            let offering = &self.offering;
            let free = |peer: &PeerId| offering.get(peer).is_none_or(|count| *count < cx.config.offers_per_peer);
            let turn: Vec<PeerId> = self.to_offer.keys().copied().filter(free).take(room).collect();
            if turn.is_empty() {
                return;
            }
            for peer in turn {
                self.start_offer(peer, cx, road);
            }
        }
    }

    fn start_offer(&mut self, peer: PeerId, cx: &mut Context<'_>, road: &mut Road<'_>) {
        let Some(line) = self.to_offer.get_mut(&peer) else { return };
        let next = line.pop_first();
        if line.is_empty() {
            self.to_offer.remove(&peer);
        }
        let Some((_, id)) = next else { return };
        let Some(item) = self.items.get_mut(&id) else { return };
        let place = item.place(peer, road);
        let (Some(place), Some(sealed)) = (place, &item.progress.sealed) else {
            item.state = State::Idle;
            self.put_off(id, Problem::NoPlace, None, cx, road);
            return;
        };
        let work = item.work.filter(|(tag, _)| *tag == super::road::tag(&place, road.directory.card(&item.recipient)));
        let onward = match place.kind {
            PlaceKind::Carrier => road.directory.card(&item.recipient).map_or_else(Arc::default, |card| Arc::clone(&card.places)),
            PlaceKind::Home | PlaceKind::Relay | PlaceKind::Volunteer => Arc::default(),
        };
        let way = Way::Letter {
            account: item.account,
            recipient: item.recipient,
            deposit: place.kind != PlaceKind::Home,
            work: work.map(|(_, work)| work),
            onward,
        };
        let (envelope, size) = (sealed.envelope, sealed.size);
        item.state = State::Offering;
        item.offered_at = Some(cx.now.mono);
        item.progress.attempts = item.progress.attempts.saturating_add(1);
        let op = cx.op();
        cx.emit(Effect::Offer { op, peer, queue: place.queue, envelope, size, way });
        self.works.insert(op, Work::Offer(id, Box::new(place)));
        *self.offering.or_default(peer) += 1;
    }
}
