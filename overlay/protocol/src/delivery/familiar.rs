//! Which nodes belong to people whom the accounts here know: whoever protects this node from a crowd lets these in all the same.

use std::collections::BTreeSet;

use crate::address::Address;
use crate::ids::PeerId;

use super::Delivery;

impl Delivery {
    /// The nodes of everybody who may write here without paying for it, by their cards, and the relays that keep letters for accounts of this node.
    pub fn familiar(&self) -> BTreeSet<PeerId> {
        let cards = self.inbox.everybody_accepted().filter_map(|address| self.directory.card(address));
        let places = cards.flat_map(|card| card.places.iter().map(|place| place.peer));
        places.chain(self.mailboxes.relays()).collect()
    }

    /// Whether this node is one of [`Delivery::familiar`].
    pub fn is_familiar(&self, peer: PeerId) -> bool {
        let known = |address: &Address| self.accounts.iter().any(|account| self.inbox.accepts(*account, address));
        self.directory.at(peer).iter().any(known) || self.mailboxes.relays().any(|relay| relay == peer)
    }
}
