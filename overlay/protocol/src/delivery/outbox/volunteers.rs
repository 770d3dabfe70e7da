//! Volunteers near a recipient: looked for once, for all letters to them, and what was found counts for a while.
//!
//! A search asks some twenty nodes of the directory. Letters to somebody who is away and has no relay would each begin one with every try, to find the
//! same volunteers, or nobody, in a network where nobody keeps letters for strangers.

use std::sync::Arc;

use crate::address::Address;
use crate::event::{Effect, Mono, Place, PlaceKind};
use crate::ids::{EntryId, Op};
use crate::small::SmallMap;

use super::super::context::Context;
use super::entry::{CANDIDATES_MAX, State};
use super::{Outbox, Road, Work};

/// Recipients of whom that is remembered.
const SEARCHES_MAX: usize = 4096;
/// Where nobody was found, the next search comes so many times later than the one before.
const VAIN_GROWS: u64 = 8;
/// A search that has not been answered by then is not waited for by others, in ms.
const LATE_MS: u64 = 2 * 60 * 1000;

/// The last search near a recipient's key.
#[derive(Clone, Debug)]
struct Search {
    /// It has not been answered yet.
    open: bool,
    /// Until then there is no other one.
    until: Mono,
    /// How many in a row found nobody.
    vain: u32,
    places: Arc<[Place]>,
}

/// What is known before a search.
#[derive(PartialEq, Eq, Debug)]
enum Known<'a> {
    /// It runs.
    Open,
    /// These were found a while ago, or nobody.
    Found(&'a Arc<[Place]>),
    /// Nothing that still counts.
    Nothing,
}

/// Searches for volunteers, by recipient.
#[derive(Clone, Debug, Default)]
pub(super) struct Searches {
    last: SmallMap<Address, Search>,
}

impl Searches {
    fn known(&self, address: &Address, now: Mono) -> Known<'_> {
        match self.last.get(address).filter(|search| search.until > now) {
            Some(search) if search.open => Known::Open,
            Some(search) => Known::Found(&search.places),
            None => Known::Nothing,
        }
    }

    fn begun(&mut self, address: Address, cx: &Context<'_>) {
        let until = cx.after(LATE_MS);
        if let Some(search) = self.last.get_mut(&address) {
            (search.open, search.until) = (true, until);
            return;
        }
        if self.last.len() >= SEARCHES_MAX {
            self.last.retain(|_, search| search.until > cx.now.mono);
        }
        if self.last.len() < SEARCHES_MAX {
            self.last.insert(address, Search { open: true, until, vain: 0, places: Arc::default() });
        }
    }

    /// These were found, or nobody. Then the next search comes soon, and others later and later: who has just started does not know many nodes yet.
    fn ended(&mut self, address: &Address, places: &Arc<[Place]>, cx: &Context<'_>) {
        let Some(search) = self.last.get_mut(address) else { return };
        let wait = if places.is_empty() {
            let grown = cx.config.retry_near_ms.saturating_mul(VAIN_GROWS.saturating_pow(search.vain));
            search.vain = search.vain.saturating_add(1);
            grown.min(cx.config.volunteer_search_ms)
        } else {
            search.vain = 0;
            cx.config.retry_first_ms
        };
        (search.open, search.until) = (false, cx.after(wait));
        search.places = Arc::clone(places);
    }

    /// What was found in another network, or some time ago, counts no more: near this recipient, or near all.
    pub(super) fn forget(&mut self, address: Option<&Address>) {
        self.last.retain(|known, search| search.open || address.is_some_and(|address| address != known));
    }
}

impl Outbox {
    /// Volunteers are asked when no relay took it in time. True while they are.
    pub(super) fn seek_volunteers(
        &mut self,
        id: EntryId,
        relay_at: Mono,
        waiting: bool,
        cx: &mut Context<'_>,
        road: &mut Road<'_>,
    ) -> bool {
        let Some(item) = self.items.get_mut(&id) else { return false };
        let patience = cx.config.relay_wait_ms.saturating_sub(cx.config.direct_wait_ms);
        let in_time = waiting && cx.now.mono.0 < relay_at.0.saturating_add(patience);
        let small = item.progress.sealed.as_ref().is_some_and(|sealed| sealed.size <= cx.config.volunteer_largest);
        let others = item.progress.copies.iter().all(|copy| matches!(copy.kind, PlaceKind::Volunteer | PlaceKind::Carrier));
        if item.sought || in_time || !small || !others || item.is_spread(cx.config) || !road.connections.any_up() {
            return false;
        }
        item.sought = true;
        let address = item.recipient;
        match self.searches.known(&address, cx.now.mono) {
            // They had their turn in this round.
            Known::Found(places) if **places == *item.volunteers => return false,
            Known::Found(places) => {
                let places = Arc::clone(places);
                self.try_volunteers(id, places, cx, road);
                return true;
            }
            Known::Open => item.state = State::Seeking,
            Known::Nothing => {
                item.state = State::Seeking;
                let op = cx.op();
                self.searches.begun(address, cx);
                self.works.insert(op, Work::Volunteers(address));
                cx.emit(Effect::Volunteers { op, address });
            }
        }
        true
    }

    /// Volunteers were found, or none: whatever waits for that goes on.
    pub(crate) fn volunteers_found(&mut self, op: Op, places: Vec<Place>, cx: &mut Context<'_>, road: &mut Road<'_>) {
        let Some(Work::Volunteers(address)) = self.works.get(&op) else { return };
        let address = *address;
        self.works.remove(&op);
        let listed = road.directory.card(&address).map_or(0, |card| card.places.len());
        let room = CANDIDATES_MAX.saturating_sub(listed);
        let places: Arc<[Place]> = places.into_iter().filter(|place| place.kind == PlaceKind::Volunteer).take(room).collect();
        self.searches.ended(&address, &places, cx);
        for id in self.entries_for(address) {
            if self.items.get(&id).is_some_and(|item| item.state == State::Seeking) {
                self.try_volunteers(id, Arc::clone(&places), cx, road);
                self.arm(id, cx);
            }
        }
    }

    /// The letter may go to these, too.
    fn try_volunteers(&mut self, id: EntryId, places: Arc<[Place]>, cx: &mut Context<'_>, road: &mut Road<'_>) {
        let Some(item) = self.items.get_mut(&id) else { return };
        item.state = State::Idle;
        let listed = road.directory.card(&item.recipient).map_or(0, |card| card.places.len());
        // Their bits come after the card's, and mean others now.
        item.tried &= (1 << listed.min(31)) - 1;
        item.volunteers = places;
        if item.volunteers.is_empty() {
            self.volunteered.remove(&id);
        } else {
            self.volunteered.insert(id);
        }
        self.offer(id, cx, road);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Config;
    use super::super::super::testing::{self, address};
    use super::*;
    use crate::ids::{PeerId, QueueName};

    fn with_context(mono: u64, act: impl FnOnce(&Context<'_>)) {
        testing::with_context(mono, &Config::default(), |cx| act(cx));
    }

    fn volunteer() -> Arc<[Place]> {
        let place = Place { peer: PeerId([1; 32]), queue: QueueName([1; 16]), kind: PlaceKind::Volunteer, addresses: Vec::new() };
        Arc::new([place])
    }

    /// A search at that moment that finds these; until when that counts, in ms.
    fn search(searches: &mut Searches, mono: u64, found: &Arc<[Place]>) -> u64 {
        with_context(mono, |cx| searches.begun(address(1), cx));
        assert_eq!(searches.known(&address(1), Mono(mono)), Known::Open);
        with_context(mono, |cx| searches.ended(&address(1), found, cx));
        searches.last.get(&address(1)).unwrap().until.0 - mono
    }

    #[test]
    fn who_was_found_counts_for_minutes_and_that_nobody_was_for_longer_each_time() {
        let (mut searches, mut mono, mut waits) = (Searches::default(), 0, Vec::new());
        for _ in 0..6 {
            waits.push(search(&mut searches, mono, &Arc::default()) / 1000);
            mono += waits.last().unwrap() * 1000;
            assert_eq!(searches.known(&address(1), Mono(mono - 1)), Known::Found(&Arc::default()));
            assert_eq!(searches.known(&address(1), Mono(mono)), Known::Nothing);
        }
        assert_eq!(waits, [10, 80, 640, 5120, 14_400, 14_400]);
        assert_eq!(search(&mut searches, mono, &volunteer()), 300_000);
        assert_eq!(searches.known(&address(1), Mono(mono)), Known::Found(&volunteer()));
        assert_eq!(search(&mut searches, mono + 300_000, &Arc::default()), 10_000, "they were there a moment ago");
    }

    #[test]
    fn an_answer_that_never_comes_is_not_waited_for() {
        let mut searches = Searches::default();
        with_context(0, |cx| searches.begun(address(1), cx));
        searches.forget(None);
        assert_eq!(searches.known(&address(1), Mono(LATE_MS - 1)), Known::Open, "nobody begins it twice");
        assert_eq!(searches.known(&address(1), Mono(LATE_MS)), Known::Nothing);
    }

    #[test]
    fn what_is_forgotten_is_looked_for_again() {
        let mut searches = Searches::default();
        for all in [None, Some(&address(1))] {
            search(&mut searches, 0, &volunteer());
            searches.forget(Some(&address(2)));
            assert_ne!(searches.known(&address(1), Mono(0)), Known::Nothing);
            searches.forget(all);
            assert_eq!(searches.known(&address(1), Mono(0)), Known::Nothing);
        }
    }

    #[test]
    fn a_bounded_number_of_recipients_is_remembered_and_old_ones_make_room() {
        let mut searches = Searches::default();
        (0..4200).for_each(|number| with_context(0, |cx| searches.begun(address(number), cx)));
        assert_eq!(searches.last.len(), SEARCHES_MAX);
        // Whoever found no room is looked for all the same, and that is forgotten.
        with_context(0, |cx| searches.ended(&address(4199), &volunteer(), cx));
        assert_eq!(searches.known(&address(4199), Mono(0)), Known::Nothing);
        with_context(LATE_MS, |cx| searches.begun(address(4199), cx));
        assert_eq!(searches.last.len(), 1);
    }
}
