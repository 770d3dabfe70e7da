//! Cards: what is known of others, asking for what is missing or old, and publishing our own.
//!
//! One look-up an address at a time; an address is not asked for again at once, found or not. A card is replaced by a newer one only, by
//! (generation, sequence): nobody can take us back.

use std::collections::VecDeque;

use crate::address::Address;
use crate::event::{CardInfo, Effect, Mono, Place, PlaceKind};
use crate::ids::{AccountId, Op, PeerId, lead};
use crate::small::{SmallMap, SmallSet};

use super::context::Context;

/// Addresses remembered as looked up.
const LOOKED_MAX: usize = 4096;

/// Cards that letters brought are kept up to so many in all: strangers must not fill the memory.
const CARDS_MAX: usize = 16_384;

/// What the cached card is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    Fresh,
    /// Valid, but look for a newer one before sealing to it.
    Old,
    Expired,
    Missing,
}

/// The rows of the index for this card.
fn listed(card: &CardInfo) -> impl Iterator<Item = (u64, u64)> {
    let of = lead(card.address.key());
    card.places.iter().map(move |place| (lead(&place.peer.0), of))
}

#[derive(Clone, Debug)]
struct Publication {
    due: Mono,
    op: Option<Op>,
    /// Changed while being published.
    again: bool,
    failures: u32,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Directory {
    cards: SmallMap<Address, Box<CardInfo>>,
    /// Whose cards list which node, sorted: how the node's name begins, and how the address does. What follows is in the cards.
    at_peer: Vec<(u64, u64)>,
    looked: SmallMap<Address, Mono>,
    queue: VecDeque<Address>,
    lookups: SmallMap<Address, Option<(Op, Mono)>>,
    running: usize,
    own: SmallMap<AccountId, Publication>,
    /// The first moment at which a look-up or a publication is due; `None`: something changed since it was looked for.
    due: Option<Mono>,
}

impl Directory {
    /// Knows these cards.
    pub(crate) fn restore(cards: Vec<CardInfo>) -> Self {
        let mut this = Self::default();
        for card in cards {
            this.keep(card);
        }
        this.at_peer = this.cards.values().flat_map(|card| listed(card)).collect();
        this.at_peer.sort_unstable();
        this.at_peer.dedup();
        this.at_peer.shrink_to_fit();
        this
    }

    pub(crate) fn card(&self, address: &Address) -> Option<&CardInfo> {
        self.cards.get(address).map(|card| &**card)
    }

    /// Whose cards list this node.
    pub(crate) fn at(&self, peer: PeerId) -> Vec<Address> {
        let (node, lists) = (lead(&peer.0), |card: &&CardInfo| card.places.iter().any(|place| place.peer == peer));
        let first = self.at_peer.partition_point(|(there, _)| *there < node);
        let of = self.at_peer.iter().skip(first).take_while(|(there, _)| *there == node).map(|(_, of)| *of);
        of.flat_map(|of| self.led_by(of)).filter(lists).map(|card| card.address).collect()
    }

    /// The cards of whoever's address begins so: one, unless somebody took pains.
    fn led_by(&self, of: u64) -> impl Iterator<Item = &CardInfo> {
        let (mut first, mut last) = ([0; 32], [u8::MAX; 32]);
        for bound in [&mut first, &mut last] {
            bound[..8].copy_from_slice(&of.to_be_bytes());
        }
        self.cards.between(&first, &last).map(|(_, card)| &**card)
    }

    /// The home node of everybody known and, after those, with `relays` those that their cards list; each once.
    pub(crate) fn doors(&self, relays: bool) -> Vec<Place> {
        let mut seen = SmallSet::new();
        let homes = self.cards.values().filter_map(|card| card.places.iter().find(|place| place.kind == PlaceKind::Home));
        let listed = self.cards.values().filter(|_| relays).flat_map(|card| card.places.iter());
        homes
            .chain(listed.filter(|place| place.kind == PlaceKind::Relay))
            .filter(|place| seen.insert(place.peer))
            .cloned()
            .collect()
    }

    pub(crate) fn standing(&self, address: &Address, cx: &Context<'_>) -> Standing {
        let Some(card) = self.cards.get(address) else { return Standing::Missing };
        let wall = cx.now.wall.0;
        if card.not_after.0 < wall {
            Standing::Expired
        } else if u64::try_from(wall.saturating_sub(card.learned.0)).is_ok_and(|age| age > cx.config.card_fresh_ms) {
            Standing::Old
        } else {
            Standing::Fresh
        }
    }

    /// Looks the address up if its card is missing or not quite new, unless that was done lately. True while an answer is to be expected.
    pub(crate) fn refresh(&mut self, address: Address, cx: &Context<'_>) -> bool {
        if self.lookups.contains_key(&address) {
            return true;
        }
        let new = self.cards.get(&address).is_some_and(|card| {
            let age = cx.now.wall.0.saturating_sub(card.learned.0);
            card.not_after >= cx.now.wall && u64::try_from(age).is_ok_and(|age| age <= cx.config.card_look_ms)
        });
        !new && self.seek(address, cx)
    }

    /// Looks the address up however new its card is, unless that was done lately. True while an answer is to be expected.
    pub(crate) fn seek(&mut self, address: Address, cx: &Context<'_>) -> bool {
        if self.lookups.contains_key(&address) {
            return true;
        }
        // Whoever has no card at all may be about to publish the first one.
        let rest = if self.cards.contains_key(&address) { cx.config.lookup_again_ms } else { cx.config.lookup_missing_ms };
        if self.looked.get(&address).is_some_and(|at| cx.now.mono.0.saturating_sub(at.0) < rest) {
            return false;
        }
        self.lookups.insert(address, None);
        self.queue.push_back(address);
        true
    }

    /// The network changed: what was not found may be found now.
    pub(crate) fn forget_failures(&mut self) {
        self.looked.clear();
    }

    pub(crate) fn forget_failure(&mut self, address: &Address) {
        self.looked.remove(address);
    }

    /// Keeps the card if it is newer than what is known; true if so.
    pub(crate) fn learn(&mut self, card: CardInfo) -> bool {
        let of = lead(card.address.key());
        if !self.keep(card) {
            return false;
        }
        self.at_peer.retain(|(_, other)| *other != of);
        let rows: Vec<(u64, u64)> = self.led_by(of).flat_map(listed).collect();
        for row in rows {
            if let Err(at) = self.at_peer.binary_search(&row) {
                self.at_peer.insert(at, row);
            }
        }
        true
    }

    /// The same without the index.
    fn keep(&mut self, card: CardInfo) -> bool {
        let Some(known) = self.cards.get_mut(&card.address) else {
            self.cards.insert(card.address, Box::new(card));
            return true;
        };
        let (old, new) = ((known.generation, known.sequence), (card.generation, card.sequence));
        if new == old {
            known.learned = known.learned.max(card.learned);
        }
        if new <= old {
            return false;
        }
        **known = card;
        true
    }

    /// Whether a card that somebody's letter brought may be kept.
    pub(crate) fn has_room(&self, address: &Address) -> bool {
        self.cards.len() < CARDS_MAX || self.cards.contains_key(address)
    }

    /// The answer to a look-up: whose it was, if it was ours, and whether its card is newer than what was known.
    pub(crate) fn found(&mut self, op: Op, card: Option<CardInfo>, cx: &Context<'_>) -> Option<(Address, bool)> {
        let address =
            self.lookups.iter().find(|(_, running)| running.is_some_and(|(open, _)| open == op)).map(|(address, _)| *address)?;
        self.end(address, cx);
        let newer = card.filter(|card| card.address == address).is_some_and(|card| self.learn(card));
        Some((address, newer))
    }

    fn end(&mut self, address: Address, cx: &Context<'_>) {
        self.due = None;
        self.lookups.remove(&address);
        self.running -= 1;
        if self.looked.len() >= LOOKED_MAX {
            let again = cx.config.lookup_again_ms;
            self.looked.retain(|_, at| cx.now.mono.0.saturating_sub(at.0) < again);
        }
        if self.looked.len() < LOOKED_MAX {
            self.looked.insert(address, cx.now.mono);
        }
    }

    /// Ends the look-ups that took too long; returns their addresses.
    pub(crate) fn overdue(&mut self, cx: &Context<'_>) -> Vec<Address> {
        if self.due.is_some_and(|due| due > cx.now.mono) {
            return Vec::new();
        }
        self.due = None;
        let late = |running: &Option<(Op, Mono)>| running.is_some_and(|(_, until)| until <= cx.now.mono);
        let ended: Vec<Address> = self.lookups.iter().filter(|(_, running)| late(running)).map(|(address, _)| *address).collect();
        for address in &ended {
            self.end(*address, cx);
        }
        for publication in self.own.values_mut().filter(|publication| publication.op.is_some() && publication.due <= cx.now.mono)
        {
            publication.op = None;
            publication.failures = publication.failures.saturating_add(1);
        }
        ended
    }

    /// The account's card wants publishing, after `wait_ms`.
    pub(crate) fn publish(&mut self, account: AccountId, wait_ms: u64, cx: &Context<'_>) {
        self.due = None;
        let due = cx.after(wait_ms);
        let publication = self.own.or_insert_with(account, || Publication { due, op: None, again: false, failures: 0 });
        if publication.op.is_some() {
            publication.again = true;
        } else {
            publication.due = publication.due.min(due);
        }
    }

    /// A first peer is there: publish what waits for one.
    pub(crate) fn publish_waiting(&mut self, cx: &Context<'_>) {
        self.due = None;
        for publication in self.own.values_mut().filter(|publication| publication.op.is_none() && publication.failures > 0) {
            publication.due = cx.now.mono;
        }
    }

    pub(crate) fn unpublish(&mut self, account: AccountId) {
        self.due = None;
        self.own.remove(&account);
    }

    pub(crate) fn published(&mut self, op: Op, holders: u32, alone: bool, cx: &mut Context<'_>) {
        let Some(publication) = self.own.values_mut().find(|publication| publication.op == Some(op)) else { return };
        self.due = None;
        publication.op = None;
        let every = cx.config.publish_every_ms;
        let wait = if std::mem::take(&mut publication.again) {
            0
        } else if holders >= cx.config.publish_holders_min {
            publication.failures = 0;
            let spread = cx.config.publish_spread_ms;
            every.saturating_sub(spread) + cx.below(2 * spread + 1)
        } else {
            let first = if holders == 0 { cx.config.publish_unheld_ms } else { cx.config.publish_retry_ms };
            let doubled = first.saturating_mul(1 << publication.failures.min(16));
            publication.failures = publication.failures.saturating_add(1);
            // Without peers the next one to appear starts it.
            if alone { every } else { cx.jittered(doubled.min(every)) }
        };
        publication.due = cx.after(wait);
    }

    /// Starts what there is room for.
    pub(crate) fn pump(&mut self, cx: &mut Context<'_>) {
        while self.running < cx.config.lookups_max {
            let Some(address) = self.queue.pop_front() else { break };
            let op = cx.op();
            self.lookups.insert(address, Some((op, cx.after(cx.config.lookup_budget_ms))));
            self.running += 1;
            self.due = None;
            cx.emit(Effect::Lookup { op, address });
        }
        let now = cx.now.mono;
        if self.due.is_some_and(|due| due > now) {
            return;
        }
        for (account, publication) in
            self.own.iter_mut().filter(|(_, publication)| publication.op.is_none() && publication.due <= now)
        {
            let op = cx.op();
            publication.op = Some(op);
            publication.due = cx.after(cx.config.publish_budget_ms);
            cx.emit(Effect::Publish { op, account: *account });
        }
        self.due = Some(self.earliest());
    }

    fn earliest(&self) -> Mono {
        let lookups = self.lookups.values().filter_map(|running| running.map(|(_, until)| until));
        lookups.chain(self.own.values().map(|publication| publication.due)).min().unwrap_or(Mono(u64::MAX))
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        Some(self.due.unwrap_or_else(|| self.earliest())).filter(|due| *due < Mono(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::{Config, testing};
    use super::*;
    use crate::event::Wall;
    use crate::ids::QueueName;

    fn with_context<T>(mono: u64, act: impl FnOnce(&mut Context<'_>) -> T) -> (T, Vec<Effect>) {
        testing::with_context(mono, &Config::default(), act)
    }

    fn card(generation: u32, sequence: u64, at: u8) -> CardInfo {
        let address = testing::address(1);
        let place = Place { peer: PeerId([at; 32]), queue: QueueName([0; 16]), kind: PlaceKind::Home, addresses: Vec::new() };
        CardInfo {
            address,
            generation,
            sequence,
            learned: Wall(0),
            not_after: Wall(i64::MAX),
            places: [place].into(),
            work: None,
        }
    }

    #[test]
    fn only_a_newer_card_replaces_one() {
        let mut directory = Directory::default();
        assert!(directory.learn(card(2, 5, 1)));
        for (generation, sequence) in [(2, 5), (2, 4), (1, 9), (0, u64::MAX)] {
            assert!(!directory.learn(card(generation, sequence, 2)));
        }
        assert_eq!((directory.at(PeerId([1; 32])).len(), directory.at(PeerId([2; 32])).len()), (1, 0));
        assert!(directory.learn(card(3, 0, 2)));
        assert_eq!((directory.at(PeerId([1; 32])).len(), directory.at(PeerId([2; 32])).len()), (0, 1));
    }

    /// A peer whose name begins as that of the other one of its pair does.
    fn twin(number: u8) -> PeerId {
        let mut name = [number / 2; 32];
        name[31] = number;
        PeerId(name)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn whose_cards_list_a_node_is_known_whatever_was_learned(
            learned in vec((0..60_u64, 0..4_u64, vec(0..8_u8, 0..4)), 0..200),
        ) {
            let (mut directory, mut newest) = (Directory::default(), BTreeMap::new());
            for (person, sequence, peers) in learned {
                let address = testing::address(person);
                let place = |peer: &u8| Place { peer: twin(*peer), ..card(1, 0, 0).places[0].clone() };
                let card = CardInfo { address, places: peers.iter().map(place).collect(), ..card(1, sequence, 0) };
                let newer = newest.get(&address).is_none_or(|known: &CardInfo| known.sequence < sequence);
                prop_assert_eq!(directory.learn(card.clone()), newer);
                if newer {
                    newest.insert(address, card);
                }
            }
            let restored = Directory::restore(newest.values().cloned().collect());
            for peer in (0..8).map(twin) {
                let lists = |card: &&CardInfo| card.places.iter().any(|place| place.peer == peer);
                let expected: Vec<Address> = newest.values().filter(lists).map(|card| card.address).collect();
                prop_assert_eq!(directory.at(peer), &expected[..]);
                prop_assert_eq!(restored.at(peer), &expected[..]);
            }
        }
    }

    #[test]
    fn an_address_is_not_asked_for_again_at_once() {
        let (mut directory, address) = (Directory::default(), card(1, 1, 1).address);
        let (_, effects) = with_context(0, |cx| {
            assert!(directory.refresh(address, cx) && directory.refresh(address, cx));
            directory.pump(cx);
        });
        let [Effect::Lookup { op, .. }] = effects[..] else { panic!("one look-up: {effects:?}") };
        with_context(1000, |cx| {
            assert_eq!(directory.found(op, None, cx), Some((address, false)));
            assert_eq!(directory.found(op, None, cx), None);
            assert!(!directory.refresh(address, cx));
        });
        with_context(1000 + Config::default().lookup_again_ms, |cx| assert!(directory.refresh(address, cx)));
    }

    #[test]
    fn a_look_up_that_is_never_answered_ends() {
        let (mut directory, address) = (Directory::default(), card(1, 1, 1).address);
        with_context(0, |cx| {
            directory.seek(address, cx);
            directory.pump(cx);
        });
        let (late, _) = with_context(Config::default().lookup_budget_ms, |cx| directory.overdue(cx));
        assert_eq!(late, [address]);
    }

    #[test]
    fn a_publication_that_too_few_hold_is_tried_again_soon() {
        let (mut directory, config) = (Directory::default(), Config::default());
        with_context(0, |cx| directory.publish(AccountId(1), 0, cx));
        for (holders, least, most) in [(0, 4_000, 6_000), (2, 100_000, 140_000), (3, 5 * 3_600_000, 7 * 3_600_000)] {
            let start = directory.deadline().unwrap().0;
            let (_, effects) = with_context(start, |cx| directory.pump(cx));
            let [Effect::Publish { op, .. }] = effects[..] else { panic!("one publication: {effects:?}") };
            with_context(start, |cx| directory.published(op, holders, false, cx));
            let wait = directory.deadline().unwrap().0 - start;
            assert!((least..=most).contains(&wait), "{wait} ms after {holders} holders");
        }
        assert_eq!(config.publish_holders_min, 3);
    }
}
