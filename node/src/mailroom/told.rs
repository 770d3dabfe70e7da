//! What relays were told, so that they are not told it again with every connection: a mailbox's other relays, the marks of its stamps, records signed ahead.
//!
//! Together that may be hundreds of kilobytes, and the same from day to day. A hash of what went into it is kept once the relay has confirmed it. The week is
//! part of the hash: a relay whose disk was set back has everything again after a week at most, and a relay that hosts the mailbox anew, at once.

use kith_protocol::blinding::week_of;
use kith_protocol::codec;
use kith_protocol::event::{Event, OwnerAsk};
use kith_protocol::hosting::Reply;
use kith_protocol::ids::{AccountId, PeerId};
use kith_store::StoreError;

use super::Room;
use super::hosting::Asking;

/// Keeps these hashes apart from all others.
const TOLD: &str = "kith 2026-11 told";

/// What a relay is told, to be kept when it has confirmed it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Told {
    /// Whose mailbox.
    pub account: AccountId,
    /// The relay.
    pub peer: PeerId,
    /// Which of the things that relays are told; never changes.
    pub what: u8,
    /// Of what went into it.
    pub hash: [u8; 32],
}

impl Room {
    /// What is told with this question; `None`: it asks something.
    fn told(&mut self, asking: &Asking) -> Result<Option<Told>, StoreError> {
        let week = week_of(self.clock.now().wall).to_le_bytes();
        let mut hasher = blake3::Hasher::new_derive_key(TOLD);
        hasher.update(&week).update(asking.queue.0.as_slice());
        let what = match asking.what {
            OwnerAsk::Siblings => {
                let siblings = codec::encode(&self.siblings(asking)?).map_err(|error| StoreError::Invalid(error.to_string()))?;
                hasher.update(&siblings);
                0
            }
            OwnerAsk::Marks => {
                hasher.update(format!("{:?}", self.rules.strangers).as_bytes());
                let mut seeds: Vec<[u8; 32]> = self.stamp_seeds(asking.account)?.iter().map(|seed| *seed.expose()).collect();
                seeds.sort_unstable();
                for seed in &seeds {
                    hasher.update(seed);
                }
                zeroize::Zeroize::zeroize(&mut seeds);
                1
            }
            OwnerAsk::Records => {
                let Some(identity) = self.identities.get(&asking.account) else { return Ok(None) };
                hasher.update(&identity.says().map_err(|error| StoreError::Invalid(error.to_string()))?);
                2
            }
            OwnerAsk::Host | OwnerAsk::Collect | OwnerAsk::Leave => return Ok(None),
        };
        Ok(Some(Told { account: asking.account, peer: asking.peer, what, hash: *hasher.finalize().as_bytes() }))
    }

    /// What this question tells, unless the relay has confirmed just that: then it is answered here, and nothing is said. A relay that is asked to host
    /// the mailbox knows nothing of it.
    pub(super) fn untold(&mut self, asking: &Asking) -> Result<Option<Told>, Known> {
        let (account, peer) = (asking.account, asking.peer);
        let checked = (|| {
            if asking.what == OwnerAsk::Host {
                self.store.write(move |transaction| transaction.relay_knows_nothing(account, &peer))?;
            }
            let told = self.told(asking)?;
            let known = match &told {
                Some(told) => self.store.relay_knows(account, &peer, told.what, &told.hash)?,
                None => false,
            };
            Ok::<_, StoreError>((told, known))
        })();
        match checked {
            Ok((_, true)) => {
                self.tell(Event::Asked { op: asking.op, reply: Some(Reply::Done) });
                Err(Known)
            }
            Ok((told, false)) => Ok(told),
            Err(error) => {
                // Telling it once more does no harm.
                tracing::warn!(%error, "what a relay was told cannot be read");
                Ok(None)
            }
        }
    }

    /// The relay has confirmed it.
    pub(super) fn is_told(&self, told: Told) {
        let Told { account, peer, what, hash } = told;
        if let Err(error) = self.store.write(move |transaction| transaction.relay_told(account, &peer, what, hash)) {
            tracing::warn!(%error, "what a relay was told cannot be kept");
        }
    }
}

/// The relay knows it already.
pub(super) struct Known;
