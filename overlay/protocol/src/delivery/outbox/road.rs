//! Which node a sealed letter goes to: the recipient's own, then relays of theirs, then volunteers, then our own relay; and what is made of the answer.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde_bytes::ByteBuf;

use crate::event::{CardInfo, Copy, Effect, EntryKind, Fate, Mono, Place, PlaceKind, Problem, RefusedReason};
use crate::ids::{AccountId, EntryId, Op, PeerId};
use crate::work::Work as Proof;

use super::super::Config;
use super::super::connections::Want;
use super::super::context::Context;
use super::entry::{Item, State};
use super::{Outbox, Road, Work};

/// How often a price for strangers is paid for one envelope.
const PRICES_MAX: u8 = 4;
/// The most work that is done for one envelope: half an hour on a small machine.
const EFFORT_MAX: u32 = 500_000;
/// So often a relay that lost mail is believed while others are there.
const STRIKES_MAX: u32 = 3;

/// What work for this place is bound to.
pub(super) fn tag(place: &Place, card: Option<&CardInfo>) -> [u8; 16] {
    match (place.kind, card.and_then(|card| card.work)) {
        (PlaceKind::Home | PlaceKind::Relay, Some((tag, _))) => tag,
        _ => place.queue.0,
    }
}

/// The /16 of an IPv4 address, the first 32 bits of an IPv6 one; `None` for addresses of home networks, and names.
fn network(address: &str) -> Option<Vec<u8>> {
    let mut parts = address.split('/').skip(1);
    match parts.next()? {
        "ip4" => {
            let ip: Ipv4Addr = parts.next()?.parse().ok()?;
            let home = ip.is_private() || ip.is_loopback() || ip.is_link_local();
            (!home).then(|| ip.octets()[..2].to_vec())
        }
        "ip6" => {
            let ip: Ipv6Addr = parts.next()?.parse().ok()?;
            let home = ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local();
            (!home).then(|| ip.octets()[..4].to_vec())
        }
        _ => None,
    }
}

/// Do two nodes have addresses of one network? They may belong to one owner, and fail together.
fn are_neighbours(one: &Place, other: &Place) -> bool {
    let networks = |place: &Place| place.addresses.iter().filter_map(|address| network(address)).collect::<BTreeSet<_>>();
    !networks(one).is_disjoint(&networks(other))
}

impl Item {
    /// Relays of our own may carry it: nobody keeps it who is always on.
    pub(super) fn wants_carrier(&self, config: &Config) -> bool {
        let steady = self.progress.copies.iter().any(|copy| !copy.seldom);
        self.kind == EntryKind::Mail && !steady && self.copies(PlaceKind::Carrier) < config.carriers
    }

    /// The place that this peer is for the letter.
    pub(super) fn place(&self, peer: PeerId, road: &Road<'_>) -> Option<Place> {
        let card = road.directory.card(&self.recipient);
        let listed = card.into_iter().flat_map(|card| card.places.iter()).chain(self.volunteers.iter());
        listed.into_iter().find(|place| place.peer == peer).cloned().or_else(|| {
            let (carrier, queue) = road.mailboxes.carrier(self.account, road.connections, |carrier| *carrier == peer)?;
            let place = Place { peer, queue, kind: PlaceKind::Carrier, addresses: Vec::new() };
            (carrier == peer).then_some(place)
        })
    }
}

impl Outbox {
    /// Chooses the place: one that is connected, else whichever comes first; relays after a few seconds, volunteers after a few more.
    pub(super) fn offer(&mut self, id: EntryId, cx: &mut Context<'_>, road: &mut Road<'_>) {
        let strikes = &self.strikes;
        let Some(item) = self.items.get_mut(&id) else { return };
        if item.state != State::Idle || item.progress.sealed.is_none() {
            return;
        }
        let card = road.directory.card(&item.recipient);
        let count = |peer: &PeerId| strikes.get(peer).copied().unwrap_or(0);
        let mut places = item.candidates(card, count);
        if places.iter().any(|(_, place)| place.kind == PlaceKind::Relay && count(&place.peer) < STRIKES_MAX) {
            places.retain(|(_, place)| place.kind == PlaceKind::Home || count(&place.peer) < STRIKES_MAX);
        }
        // A second copy goes where it does not fall with the first: to another network, if there is one.
        let holding: Vec<Place> = item.progress.copies.iter().filter_map(|copy| item.place(copy.peer, road)).collect();
        places.sort_by_key(|(_, place)| (place.kind, holding.iter().any(|other| are_neighbours(place, other))));
        let (now, size) = (cx.now.mono, item.sealed_size().unwrap_or(0));
        places.retain(|(_, place)| road.connections.narrow.until(&place.peer, size, now).is_none());
        let homes = places.iter().any(|(_, place)| place.kind == PlaceKind::Home);
        let relay_at = *item.relay_at.get_or_insert(if homes { cx.after(cx.config.direct_wait_ms) } else { now });
        let spread = item.is_spread(cx.config);
        places.retain(|(bit, place)| !spread && item.tried & bit == 0 && !item.copy_at(&place.peer));
        let due = |place: &Place| place.kind == PlaceKind::Home || relay_at <= now;
        if let Some((_, place)) = places.iter().find(|(_, place)| due(place) && road.connections.is_up(&place.peer)) {
            let peer = place.peer;
            return self.line_up(id, peer);
        }
        let mut waiting = false;
        for (bit, place) in &places {
            if !due(place) {
                // Its time comes when nobody else's node has it.
                continue;
            }
            match road.connections.want(place.peer, &place.addresses, cx) {
                Want::Up | Want::Wait => waiting = true,
                Want::Resting => {
                    item.tried |= bit;
                    item.progress.last_problem.get_or_insert(Problem::Unreachable);
                }
            }
        }
        let later: Vec<&(u32, Place)> = places.iter().filter(|(_, place)| !due(place)).collect();
        if !waiting && !later.is_empty() {
            // None of the recipient's own nodes can be had: no reason to wait for them.
            item.relay_at = Some(now);
            return self.offer(id, cx, road);
        }
        if self.seek_volunteers(id, relay_at, waiting, cx, road) || self.carry(id, waiting, cx, road) {
            return;
        }
        let Some(item) = self.items.get_mut(&id) else { return };
        if waiting {
            item.state = State::Connecting;
            return;
        }
        self.nowhere(id, cx, road);
    }

    /// The entry stands in line at that peer.
    fn line_up(&mut self, id: EntryId, peer: PeerId) {
        let Some(item) = self.items.get_mut(&id) else { return };
        item.state = State::OfferQueued(peer);
        let bulk = item.bulk();
        self.to_offer.or_default(peer).insert((bulk, id));
    }

    /// Nothing more can be done with it now.
    fn nowhere(&mut self, id: EntryId, cx: &mut Context<'_>, road: &mut Road<'_>) {
        let Some(item) = self.items.get_mut(&id) else { return };
        if item.woken {
            // Somebody came who was not there when it was their turn, or there is a newer card.
            item.begin_round();
            item.later_ms = 0;
            return self.offer(id, cx, road);
        }
        if item.is_handed() {
            if item.kind != EntryKind::Mail && item.is_audited() {
                return self.end(id, Fate::HandedOver, cx);
            }
            if !item.is_spread(cx.config) {
                // Fewer copies than there should be: another try now and then.
                let wait = cx.jittered(cx.config.retry_steady_ms);
                item.retry_at = cx.after(wait);
            }
            return self.flush(id, cx);
        }
        let listed = road.directory.card(&item.recipient).is_some_and(|card| !card.places.is_empty());
        let fallback = if listed { Problem::Unreachable } else { Problem::NoPlace };
        let problem = item.progress.last_problem.clone().filter(|_| listed).unwrap_or(fallback);
        let later = std::mem::take(&mut item.later_ms);
        self.put_off(id, problem, (later > 0).then_some(later), cx, road);
    }

    /// Our own relay takes it when nobody else does, and carries it on while this node sleeps. True if it stands in line there.
    fn carry(&mut self, id: EntryId, waiting: bool, cx: &Context<'_>, road: &Road<'_>) -> bool {
        let Some(item) = self.items.get_mut(&id) else { return false };
        let known = road.directory.card(&item.recipient).is_some_and(|card| !card.places.is_empty());
        if waiting || item.carried || !known || !item.wants_carrier(cx.config) {
            return false;
        }
        let places = road.directory.card(&item.recipient).map_or(&[][..], |card| &card.places);
        let size = item.sealed_size().unwrap_or(0);
        let takes = |peer: &PeerId| road.connections.takes(peer, size, cx.now.mono);
        let free = |peer: &PeerId| takes(peer) && !item.copy_at(peer) && places.iter().all(|place| place.peer != *peer);
        let Some((peer, _)) = road.mailboxes.carrier(item.account, road.connections, free) else { return false };
        item.carried = true;
        self.line_up(id, peer);
        true
    }

    /// A relay of our own is there: letters that only machines keep that are seldom on, or nobody, may go to it.
    pub(crate) fn carrier_ready(&mut self, account: AccountId, cx: &mut Context<'_>, road: &mut Road<'_>) {
        let ids: Vec<EntryId> = self
            .items
            .iter()
            .filter(|(_, item)| item.account == account && item.wants_carrier(cx.config))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.wake(id, cx, road);
        }
    }

    /// That place did not take it: the next one, or later.
    pub(super) fn failed_at(&mut self, id: EntryId, peer: PeerId, problem: Problem, cx: &mut Context<'_>, road: &mut Road<'_>) {
        let strikes = &self.strikes;
        let Some(item) = self.items.get_mut(&id) else { return };
        let candidates = item.candidates(road.directory.card(&item.recipient), |peer| strikes.get(peer).copied().unwrap_or(0));
        for (bit, _) in candidates.iter().filter(|(_, place)| place.peer == peer) {
            item.tried |= bit;
        }
        if item.is_handed() && item.is_spread(cx.config) {
            // It was offered again only to be reminded of the receipt.
            self.arm(id, cx);
            return;
        }
        let theirs = candidates.iter().any(|(_, place)| place.peer == peer);
        if !item.is_handed() && theirs {
            item.note(problem);
        }
        self.offer(id, cx, road);
        self.arm(id, cx);
    }

    /// Strangers have to work there: it is done, and then the place is tried again.
    pub(super) fn priced(&mut self, id: EntryId, place: &Place, effort: u32, cx: &mut Context<'_>, road: &mut Road<'_>) {
        let Some(item) = self.items.get_mut(&id) else { return };
        let bound = tag(place, road.directory.card(&item.recipient));
        let enough = item.work.is_some_and(|(tag, work)| tag == bound && work.effort >= effort);
        let envelope = item.progress.sealed.as_ref().map(|sealed| sealed.envelope);
        let Some(envelope) = envelope.filter(|_| !enough && effort <= EFFORT_MAX && item.prices < PRICES_MAX) else {
            return self.failed_at(id, place.peer, Problem::Refused(RefusedReason::Price(effort)), cx, road);
        };
        item.prices += 1;
        item.state = State::Working;
        let op = cx.op();
        self.works.insert(op, Work::Strangers(id, bound));
        cx.emit(Effect::Work { op, tag: bound, envelope, effort });
        self.arm(id, cx);
    }

    /// The work is done, or was given up.
    pub(crate) fn worked(&mut self, op: Op, proof: Option<Proof>, cx: &mut Context<'_>, road: &mut Road<'_>) {
        let Some(Work::Strangers(id, bound)) = self.works.get(&op) else { return };
        let (id, bound) = (*id, *bound);
        self.works.remove(&op);
        let Some(item) = self.items.get_mut(&id).filter(|item| item.state == State::Working) else { return };
        item.state = State::Idle;
        match proof {
            Some(proof) => item.work = Some((bound, proof)),
            None => item.prices = PRICES_MAX,
        }
        self.offer(id, cx, road);
        self.arm(id, cx);
    }

    /// A node of the recipient, or one that keeps letters for them, is there: what waits for it goes at once, what somebody has without a receipt is
    /// offered again after a while.
    pub(super) fn greeted(&mut self, id: EntryId, peer: PeerId, cx: &mut Context<'_>, road: &mut Road<'_>) {
        let Some(item) = self.items.get_mut(&id) else { return };
        let narrow = item.sealed_size().is_some_and(|size| road.connections.narrow.until(&peer, size, cx.now.mono).is_some());
        match &item.state {
            State::Connecting => {
                // Whichever of the recipient's nodes it waited for: this one is there.
                item.tried = 0;
                item.state = State::Idle;
                self.offer(id, cx, road);
            }
            State::Idle if item.is_handed() && !narrow => {
                let home = item.place(peer, road).is_some_and(|place| place.kind == PlaceKind::Home);
                let waited = item.age(&self.aging).saturating_sub(item.progress.handed_at_age_ms.unwrap_or(0));
                let offered = item.offered_at.map_or(u64::MAX, |at| cx.now.mono.0.saturating_sub(at.0));
                if home && waited.min(offered) >= cx.config.reoffer_after_ms {
                    self.line_up(id, peer);
                } else if !item.is_spread(cx.config) {
                    item.begin_round();
                    self.offer(id, cx, road);
                }
            }
            // It is there, and still cannot have this one.
            _ if narrow => {}
            State::OfferQueued(at) if *at == peer => {}
            // While something else is tried: its turn in this round may be over.
            _ => self.wake(id, cx, road),
        }
        self.arm(id, cx);
    }

    /// A node has it: the recipient's own, or one that keeps it for them and has signed that it does.
    pub(super) fn handed(
        &mut self,
        id: EntryId,
        place: &Place,
        stored: Option<(u32, &[u8; 64], bool)>,
        cx: &mut Context<'_>,
        road: &mut Road<'_>,
    ) {
        let Some(item) = self.items.get_mut(&id) else { return };
        item.failures = 0;
        item.later_ms = 0;
        item.offered_at = Some(cx.now.mono);
        let age = item.age(&self.aging);
        if !item.copy_at(&place.peer) {
            let (until_s, statement, seldom) = stored
                .map_or((0, ByteBuf::new(), false), |(until_s, bytes, seldom)| (until_s, ByteBuf::from(bytes.to_vec()), seldom));
            // There is one mostly, for as long as the letter waits.
            item.progress.copies.reserve_exact(1);
            item.progress.copies.push(Copy {
                peer: place.peer,
                queue: place.queue,
                kind: place.kind,
                at_age_ms: age,
                audited: false,
                statement,
                until_s,
                seldom,
            });
            item.dirty = true;
        }
        if place.kind == PlaceKind::Carrier {
            // There may be a second one.
            item.carried = false;
        } else {
            item.hand(age);
            let home = item.copies(PlaceKind::Home) > 0;
            item.note(if home { Problem::NoReceipt } else { Problem::Waiting });
        }
        self.plan_audit(id, cx);
        let Some(item) = self.items.get_mut(&id) else { return };
        if item.is_spread(cx.config) && item.kind != EntryKind::Mail && item.is_audited() {
            return self.end(id, Fate::HandedOver, cx);
        }
        let spread = item.is_spread(cx.config);
        if spread {
            item.retry_at = Mono(u64::MAX);
        }
        // Relays of our own may meet the recipient's at hours when none of those that have it is on.
        if !spread || item.wants_carrier(cx.config) {
            self.offer(id, cx, road);
        }
        self.flush(id, cx);
        self.arm(id, cx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::QueueName;

    fn at(addresses: &[&str]) -> Place {
        let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
        Place { peer: PeerId([1; 32]), queue: QueueName([1; 16]), kind: PlaceKind::Relay, addresses }
    }

    #[test]
    fn nodes_of_one_network_are_neighbours_and_those_at_home_are_not() {
        let here = at(&["/ip4/192.168.1.2/tcp/4725", "/ip4/203.0.113.7/udp/4725/quic-v1"]);
        assert!(are_neighbours(&here, &at(&["/ip4/203.0.200.1/tcp/1"])));
        assert!(!are_neighbours(&here, &at(&["/ip4/192.168.1.3/tcp/4725", "/ip4/198.51.100.1/tcp/1"])));
        assert!(are_neighbours(&at(&["/ip6/2001:db8::1/tcp/1"]), &at(&["/ip6/2001:db8:ff::1/tcp/1"])));
        assert!(!are_neighbours(&at(&[]), &at(&["/dns4/example.org/tcp/1", "ip4", "/ip4/300.1.1.1/tcp/1"])));
    }
}
