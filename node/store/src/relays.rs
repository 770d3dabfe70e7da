//! Relays: who keeps letters for accounts of this node, and what people ask and offer each other about it; and volunteers that were found.

use std::collections::BTreeMap;

use kith_protocol::address::Address;
use kith_protocol::delivery::REMEMBERED_MAX;
use kith_protocol::hosting::Grant;
use kith_protocol::ids::{AccountId, PeerId};
use redb::ReadableTable;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use crate::hosting::check_label;
use crate::schema::{ACCOUNTS, RELAY_TALK, RELAYS, VOLUNTEERS};
use crate::{Store, StoreError, Transaction, row};

/// Relays of an account at most.
pub const RELAYS_MAX: usize = 5;
/// Requests and offers of an account at most.
pub const TALKS_MAX: usize = 256;

pub(crate) const RELAY: &str = "a relay";
pub(crate) const TALK: &str = "a request for a relay";
pub(crate) const FOUND: &str = "the volunteers of an account";

/// A node that keeps letters for an account, or is asked to.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay {
    /// Whose letters.
    pub account: AccountId,
    /// The node.
    pub peer: PeerId,
    /// Where it may be found: multiaddresses.
    pub addresses: Vec<String>,
    /// Who runs it, where that is known.
    pub address: Option<Address>,
    /// The petname, or what was typed: at most [`crate::hosting::LABEL_BYTES_MAX`] bytes.
    pub label: String,
    /// What the relay's owner gave: a secret.
    #[serde(with = "serde_bytes")]
    pub token: [u8; 32],
    /// What it granted, once it has.
    pub granted: Option<Grant>,
    /// Wall ms.
    pub added_ms: i64,
    /// What it has confirmed that it was told: which of the things that relays are told, and a hash of that.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub told: BTreeMap<u8, ByteArray<32>>,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the token, which is a secret.
        let mut fields = f.debug_struct("Relay");
        fields.field("account", &self.account).field("peer", &self.peer).field("granted", &self.granted).finish_non_exhaustive()
    }
}

/// Who asked or offered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum TalkKind {
    /// They ask us to keep their letters.
    AskedUs,
    /// We asked them to keep ours.
    WeAsked,
    /// They offer to keep ours: this is their token and their node.
    OfferedUs,
}

/// A request or an offer that is not settled.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Talk {
    /// Whose, of this node.
    pub account: AccountId,
    /// With whom.
    pub address: Address,
    /// Which way.
    pub kind: TalkKind,
    /// Bytes of envelopes to be kept.
    pub bytes: u64,
    /// What an offer is taken with: a secret. Zeros where it is none.
    #[serde(with = "serde_bytes")]
    pub token: [u8; 32],
    /// The node of an offer.
    pub peer: Option<PeerId>,
    /// Where that may be found: multiaddresses.
    pub addresses: Vec<String>,
    /// Wall ms.
    pub at_ms: i64,
}

impl std::fmt::Debug for Talk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the token, which is a secret.
        f.debug_struct("Talk").field("account", &self.account).field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl TalkKind {
    /// What stands for it in keys; never changes.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::AskedUs => 0,
            Self::WeAsked => 1,
            Self::OfferedUs => 2,
        }
    }
}

fn relays_in(account: AccountId) -> std::ops::RangeInclusive<(u32, [u8; 32])> {
    (account.0, [0; 32])..=(account.0, [255; 32])
}

fn talks_in(account: AccountId) -> std::ops::RangeInclusive<(u32, [u8; 32], u8)> {
    (account.0, [0; 32], 0)..=(account.0, [255; 32], u8::MAX)
}

impl Store {
    /// The relays of all accounts, by account and node.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn relays(&self) -> Result<Vec<Relay>, StoreError> {
        self.read(|reader| {
            let mut relays = Vec::new();
            for found in reader.table(RELAYS)?.iter()? {
                relays.push(row::decode(found?.1.value(), RELAY)?);
            }
            Ok(relays)
        })
    }

    /// The relays of one account, by node.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn relays_of(&self, account: AccountId) -> Result<Vec<Relay>, StoreError> {
        self.read(|reader| {
            let mut relays = Vec::new();
            for found in reader.table(RELAYS)?.range(relays_in(account))? {
                relays.push(row::decode(found?.1.value(), RELAY)?);
            }
            Ok(relays)
        })
    }

    /// Whether a relay has confirmed that it was told this.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn relay_knows(&self, account: AccountId, peer: &PeerId, what: u8, hash: &[u8; 32]) -> Result<bool, StoreError> {
        let relays = self.relays_of(account)?;
        let known = relays.iter().find(|relay| relay.peer == *peer).and_then(|relay| relay.told.get(&what));
        Ok(known.is_some_and(|known| known.as_slice() == hash))
    }

    /// The volunteers that were found near the accounts' places, by account, the last ones first.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn volunteers(&self) -> Result<Vec<(AccountId, Vec<PeerId>)>, StoreError> {
        self.read(|reader| {
            let mut volunteers = Vec::new();
            for found in reader.table(VOLUNTEERS)?.iter()? {
                let (account, peers) = found?;
                volunteers.push((AccountId(account.value()), row::decode(peers.value(), FOUND)?));
            }
            Ok(volunteers)
        })
    }

    /// The requests and offers of an account that are not settled, by person.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn talks(&self, account: AccountId) -> Result<Vec<Talk>, StoreError> {
        self.read(|reader| {
            let mut talks = Vec::new();
            for found in reader.table(RELAY_TALK)?.range(talks_in(account))? {
                talks.push(row::decode(found?.1.value(), TALK)?);
            }
            Ok(talks)
        })
    }
}

impl Transaction<'_> {
    /// Adds or replaces (by account and node) a relay.
    ///
    /// # Errors
    /// `NotFound` for an unknown account, `Invalid` for a long label, long addresses or beyond [`RELAYS_MAX`].
    pub fn put_relay(&mut self, relay: &Relay) -> Result<(), StoreError> {
        check_label(&relay.label)?;
        self.need_account(relay.account)?;
        let bytes = row::encode(relay, RELAY)?;
        let mut table = self.table(RELAYS)?;
        let known = table.get((relay.account.0, relay.peer.0))?.is_some();
        if !known && table.range(relays_in(relay.account))?.count() >= RELAYS_MAX {
            return Err(StoreError::Invalid(format!("a mailbox has at most {RELAYS_MAX} relays; leave one first")));
        }
        table.insert((relay.account.0, relay.peer.0), bytes.as_slice())?;
        Ok(())
    }

    /// Notes what a relay grants now; one that the account does not use is passed over.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn grant_relay(&mut self, account: AccountId, peer: &PeerId, grant: &Grant) -> Result<(), StoreError> {
        self.change_relay(account, peer, |relay| relay.granted = Some(*grant))
    }

    /// A relay has confirmed what it was told: `what` of all that, with this hash. One that the account does not use is passed over.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn relay_told(&mut self, account: AccountId, peer: &PeerId, what: u8, hash: [u8; 32]) -> Result<(), StoreError> {
        self.change_relay(account, peer, |relay| {
            relay.told.insert(what, ByteArray::new(hash));
        })
    }

    /// A relay is to be told everything anew.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn relay_knows_nothing(&mut self, account: AccountId, peer: &PeerId) -> Result<(), StoreError> {
        self.change_relay(account, peer, |relay| relay.told.clear())
    }

    fn change_relay(&mut self, account: AccountId, peer: &PeerId, change: impl FnOnce(&mut Relay)) -> Result<(), StoreError> {
        let found = self.view(RELAYS)?.get((account.0, peer.0))?.map(|found| row::decode::<Relay>(found.value(), RELAY));
        let Some(known) = found.transpose()? else { return Ok(()) };
        let mut relay = known.clone();
        change(&mut relay);
        if relay == known {
            // Nothing is written with every connection to say what stands there.
            return Ok(());
        }
        let bytes = row::encode(&relay, RELAY)?;
        self.table(RELAYS)?.insert((account.0, peer.0), bytes.as_slice())?;
        Ok(())
    }

    /// Removes a relay; `false` where the account does not use it.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn remove_relay(&mut self, account: AccountId, peer: &PeerId) -> Result<bool, StoreError> {
        Ok(self.table(RELAYS)?.remove((account.0, peer.0))?.is_some())
    }

    /// Adds or replaces (by account, person and kind) a request or offer.
    ///
    /// # Errors
    /// `NotFound` for an unknown account, `Invalid` for long addresses or beyond [`TALKS_MAX`].
    pub fn put_talk(&mut self, talk: &Talk) -> Result<(), StoreError> {
        self.need_account(talk.account)?;
        let bytes = row::encode(talk, TALK)?;
        let mut table = self.table(RELAY_TALK)?;
        let key = (talk.account.0, *talk.address.key(), talk.kind.code());
        let known = table.get(key)?.is_some();
        if !known && table.range(talks_in(talk.account))?.count() >= TALKS_MAX {
            return Err(StoreError::Invalid(format!("a mailbox has at most {TALKS_MAX} open requests for relays")));
        }
        table.insert(key, bytes.as_slice())?;
        Ok(())
    }

    /// Removes a request or offer; `false` where there is none.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn remove_talk(&mut self, account: AccountId, address: &Address, kind: TalkKind) -> Result<bool, StoreError> {
        Ok(self.table(RELAY_TALK)?.remove((account.0, *address.key(), kind.code()))?.is_some())
    }

    /// Remembers who was found near an account's place, in place of those before. An account that is gone is passed over.
    ///
    /// # Errors
    /// `Invalid` beyond [`REMEMBERED_MAX`].
    pub fn put_volunteers(&mut self, account: AccountId, peers: &[PeerId]) -> Result<(), StoreError> {
        if peers.len() > REMEMBERED_MAX {
            return Err(StoreError::Invalid(format!("at most {REMEMBERED_MAX} volunteers are remembered for a mailbox")));
        }
        if self.view(ACCOUNTS)?.get(account.0)?.is_none() {
            return Ok(());
        }
        let bytes = row::encode(&peers, FOUND)?;
        self.table(VOLUNTEERS)?.insert(account.0, bytes.as_slice())?;
        Ok(())
    }

    /// Forgets who was found near an account's place.
    pub(crate) fn remove_volunteers(&mut self, account: AccountId) -> Result<(), StoreError> {
        self.table(VOLUNTEERS)?.remove(account.0)?;
        Ok(())
    }

    /// Removes all relays, requests and offers of an account.
    pub(crate) fn remove_relays(&mut self, account: AccountId) -> Result<(), StoreError> {
        self.table(RELAYS)?.retain_in(relays_in(account), |_, _| false)?;
        self.table(RELAY_TALK)?.retain_in(talks_in(account), |_, _| false)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
