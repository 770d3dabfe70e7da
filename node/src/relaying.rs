//! People asking each other to keep mail: what a word about it changes, whichever side says it.
//!
//! Anna asks Bob (`kith relay ask bob`); Bob's person allows it (`kith relay allow anna`), which makes a token and sends it to Anna in a sealed letter;
//! Anna's node, having asked, shows the token to Bob's and is hosted from then on. Neither edits a file, and either may begin.

use kith_protocol::address::Address;
use kith_protocol::event::{PlaceKind, Wall};
use kith_protocol::ids::{AccountId, PeerId};
use kith_protocol::talk::{Talk as Said, Word};
use kith_store::relays::{Relay, Talk, TalkKind};
use kith_store::{Store, StoreError, Transaction};

use crate::identity;

/// One row that changes.
#[derive(Clone, Debug)]
pub enum Change {
    /// An account uses this relay from now on.
    Use(Relay),
    /// It does not any more.
    Leave(AccountId, PeerId),
    /// Something asked or offered, to be remembered until a person decides.
    Remember(Talk),
    /// It is settled.
    Settle(AccountId, Address, TalkKind),
}

impl Change {
    /// Writes it.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] where there are too many already.
    pub fn perform(&self, transaction: &mut Transaction<'_>) -> Result<(), StoreError> {
        match self {
            // What somebody else says must never make a commit fail.
            Self::Use(relay) => within_bounds(transaction.put_relay(relay)),
            Self::Remember(talk) => within_bounds(transaction.put_talk(talk)),
            Self::Leave(account, peer) => transaction.remove_relay(*account, peer).map(drop),
            Self::Settle(account, address, kind) => transaction.remove_talk(*account, address, *kind).map(drop),
        }
    }
}

fn within_bounds(outcome: Result<(), StoreError>) -> Result<(), StoreError> {
    match outcome {
        Err(StoreError::Invalid(why)) => {
            tracing::info!(why, "a word about keeping mail was not taken");
            Ok(())
        }
        other => other,
    }
}

/// Where a person's node may be found, as far as their card says.
fn hints(store: &Store, address: &Address, node: &PeerId) -> Vec<String> {
    let card = store.card(address).ok().flatten();
    let info = card.as_ref().and_then(identity::card_info);
    let place =
        info.iter().flat_map(|info| info.places.iter()).find(|place| place.peer == *node && place.kind == PlaceKind::Home);
    place.map(|place| place.addresses.clone()).unwrap_or_default()
}

/// Where a relay in use is to be found by now: who runs it may have moved since offering it, or may not have known then where it is.
pub fn whereabouts(store: &Store, relay: &Relay) -> Vec<String> {
    let newest = relay.address.map(|address| hints(store, &address, &relay.peer)).unwrap_or_default();
    if newest.is_empty() { relay.addresses.clone() } else { newest }
}

/// What a contact calls itself here.
fn label(store: &Store, account: AccountId, address: &Address) -> String {
    let contact = store.contact_by_address(account, address).ok().flatten();
    contact.map_or_else(|| address.mail(), |contact| contact.name)
}

/// The relay that an offer is about.
pub fn offered(store: &Store, offer: &Talk, wall: Wall) -> Option<Relay> {
    let peer = offer.peer?;
    let addresses = if offer.addresses.is_empty() { hints(store, &offer.address, &peer) } else { offer.addresses.clone() };
    Some(Relay {
        account: offer.account,
        peer,
        addresses,
        address: Some(offer.address),
        label: label(store, offer.account, &offer.address),
        token: offer.token,
        granted: None,
        added_ms: wall.0,
        told: std::collections::BTreeMap::new(),
    })
}

/// What a word from a contact changes here.
///
/// # Errors
/// The store cannot be read.
pub fn heard(store: &Store, account: AccountId, from: Address, said: &Said, wall: Wall) -> Result<Vec<Change>, StoreError> {
    let talk = |kind| Talk {
        account,
        address: from,
        kind,
        bytes: said.bytes,
        token: said.token,
        peer: Some(said.node),
        addresses: hints(store, &from, &said.node),
        at_ms: wall.0,
    };
    Ok(match said.word {
        Word::Ask => vec![Change::Remember(Talk { token: [0; 32], ..talk(TalkKind::AskedUs) })],
        Word::Offer => {
            let asked = store.talks(account)?.iter().any(|talk| talk.address == from && talk.kind == TalkKind::WeAsked);
            let known = store.relays_of(account)?.iter().any(|relay| relay.address == Some(from));
            let offer = talk(TalkKind::OfferedUs);
            match offered(store, &offer, wall).filter(|_| asked || known) {
                // We asked for it, or it is a new token of a relay that we use.
                Some(relay) => vec![Change::Use(relay), Change::Settle(account, from, TalkKind::WeAsked)],
                None => vec![Change::Remember(offer)],
            }
        }
        Word::Withdraw => {
            let relays = store.relays_of(account)?;
            let theirs = relays.iter().filter(|relay| relay.address == Some(from) && relay.peer == said.node);
            let left = theirs.map(|relay| Change::Leave(account, relay.peer));
            let settled = [TalkKind::OfferedUs, TalkKind::WeAsked, TalkKind::AskedUs];
            left.chain(settled.into_iter().map(|kind| Change::Settle(account, from, kind))).collect()
        }
    })
}
