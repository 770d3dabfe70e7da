//! Which nodes belong to people whom the accounts here know: whoever protects this node from a crowd lets these in all the same.

use std::collections::BTreeSet;

use crate::address::Address;
use crate::ids::{AccountId, PeerId};

use super::Delivery;

impl Delivery {
    /// The nodes of everybody who may write here without paying for it, by their cards, and the relays that keep letters for accounts of this node.
    pub fn familiar(&self) -> BTreeSet<PeerId> {
        let accepted = self.accounts.iter().flat_map(|account| self.inbox.accepted_by(*account));
        let cards = accepted.filter_map(|address| self.directory.card(address));
        let places = cards.flat_map(|card| card.places.iter().map(|place| place.peer));
        places.chain(self.mailboxes.relays()).collect()
    }

    /// Whether this person may write to the account without paying for it.
    pub fn accepts(&self, account: AccountId, address: &Address) -> bool {
        self.inbox.accepts(account, address)
    }

    /// Whether this node is one of [`Delivery::familiar`].
    pub fn is_familiar(&self, peer: PeerId) -> bool {
        let known = |address: &Address| self.accounts.iter().any(|account| self.inbox.accepts(*account, address));
        self.directory.at(peer).iter().any(known) || self.mailboxes.relays().any(|relay| relay == peer)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::event::{CardInfo, Event, Now, OwnAccount, Place, PlaceKind, Snapshot, UsedRelay, Wall};
    use crate::ids::QueueName;

    use super::super::Config;
    use super::super::testing::address;

    fn peer(number: u8) -> PeerId {
        PeerId([number; 32])
    }

    fn card(number: u8) -> CardInfo {
        let home = Place { peer: peer(number), queue: QueueName([number; 16]), kind: PlaceKind::Home, addresses: Vec::new() };
        CardInfo {
            address: address(number.into()),
            generation: 1,
            sequence: 1,
            learned: Wall(0),
            not_after: Wall(i64::MAX),
            places: [home].into(),
            work: None,
        }
    }

    #[test]
    fn nodes_of_the_accepted_and_relays_in_use_are_familiar_and_no_others() {
        let (mum, dad) = (AccountId(1), AccountId(2));
        let own = |account: AccountId, number: u8| OwnAccount {
            account,
            address: address(number.into()),
            queue: QueueName([number; 16]),
        };
        let relay = UsedRelay { account: mum, peer: peer(9), addresses: Vec::new(), queue: QueueName([9; 16]), granted: true };
        let snapshot = Snapshot {
            accounts: vec![own(mum, 1), own(dad, 2)],
            cards: (3..=6).map(card).collect(),
            relays: vec![relay],
            accepted: vec![(mum, address(3)), (dad, address(4)), (mum, address(7))],
            ..Snapshot::default()
        };
        let mut delivery = Delivery::restore(Config::default(), snapshot, Now::default());
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        assert!(delivery.accepts(mum, &address(3)) && !delivery.accepts(dad, &address(3)));
        let mut check = |event: Option<Event>, expected: &[u8]| {
            if let Some(event) = event {
                delivery.handle(event, Now::default(), &mut rng, &mut Vec::new());
            }
            assert_eq!(delivery.familiar(), expected.iter().map(|number| peer(*number)).collect());
            for number in 1..=9 {
                assert_eq!(delivery.is_familiar(peer(number)), expected.contains(&number), "{number}");
            }
        };
        check(None, &[3, 4, 9]);
        check(Some(Event::Acceptance { account: dad, address: address(5), accepted: true }), &[3, 4, 5, 9]);
        check(Some(Event::Acceptance { account: mum, address: address(3), accepted: false }), &[4, 5, 9]);
        check(Some(Event::AccountRemoved(dad)), &[9]);
    }
}
