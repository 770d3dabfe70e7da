//! An account's keys as the running node uses them: loaded from secret rows, turned over every week, shown to others as cards and records.
//!
//! Whatever leaves the node signed is written down before: a card's number never goes back, a queue's key is never lost.

use std::collections::BTreeMap;

use kith_protocol::account::{AccountError, AccountKeys, NamedRow, prekey_row_name};
use kith_protocol::address::Address;
use kith_protocol::blinding::week_of;
use kith_protocol::card::{Card, Policy, Strangers, Work};
use kith_protocol::codec::{self, EncodeError};
use kith_protocol::event::{CardInfo, Now, OwnAccount, Place, PlaceKind, UsedRelay, Wall};
use kith_protocol::hosting::{Ask, Request};
use kith_protocol::ids::{AccountId, PeerId, QueueName};
use kith_protocol::keys::{Row as _, Seed};
use kith_protocol::limits::CARD_PLACES_MAX;
use kith_protocol::prekey::Changes;
use kith_protocol::record;
use kith_protocol::seal::Prekey;
use kith_store::account::Account;
use kith_store::contact::KnownCard;
use kith_store::{Store, StoreError};
use rand::CryptoRng;
use zeroize::Zeroizing;

use crate::engine::Records;
use crate::mailroom::Rules;

/// The row of the words' seed, until they are written down.
pub const SEED_ROW: &str = "seed";
/// Weeks whose records the node publishes itself: this one and the next, for readers whose clock runs ahead.
const WEEKS_PUBLISHED: u32 = 2;

/// Where this node is, for its accounts' cards.
#[derive(Clone, Debug)]
pub struct Here {
    /// Its name.
    pub peer: PeerId,
    /// Addresses that contacts may try.
    pub addresses: Vec<String>,
    /// It stands in the cards (`reachability = "direct"`).
    pub listed: bool,
    /// Relays that have agreed to keep the account's letters.
    pub relays: Vec<UsedRelay>,
    /// Who may write.
    pub rules: Rules,
}

/// What a card says that may change from one day to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    places: Vec<Place>,
    policy: Policy,
    work: Option<Work>,
}

/// Rows to write and to erase, without the account's prefix.
#[derive(Default)]
struct Writing {
    rows: Vec<NamedRow>,
    erased: Vec<String>,
}

/// A new account's keys, before they are in the store.
pub struct NewIdentity {
    address: Address,
    rows: Vec<NamedRow>,
}

impl NewIdentity {
    /// Makes all keys of a new account.
    ///
    /// # Errors
    /// Only a bug can cause one.
    pub fn create(wall: Wall, rng: &mut impl CryptoRng) -> Result<Self, StoreError> {
        let unwritable = |error: kith_protocol::codec::EncodeError| StoreError::Invalid(error.to_string());
        let (seed, keys) = AccountKeys::create(wall, rng).map_err(unwritable)?;
        let mut rows = keys.rows().map_err(unwritable)?;
        rows.push((SEED_ROW.to_owned(), seed.to_row().map_err(unwritable)?));
        Ok(Self { address: *keys.address(), rows })
    }

    /// The new address.
    pub fn address(&self) -> Address {
        self.address
    }

    /// The secret rows, to be written under `‹account›/`.
    pub fn rows(&self) -> &[NamedRow] {
        &self.rows
    }
}

/// The keys of an account on this node.
pub struct Identity {
    account: AccountId,
    keys: AccountKeys,
    prekeys: Vec<Prekey>,
    /// With address hints: what travels inside letters.
    private: Option<Card>,
    /// Without: what lies in the directory.
    public: Option<Card>,
    /// What the last card says.
    shown: Option<Shown>,
}

fn of_keys(error: AccountError) -> StoreError {
    match error {
        AccountError::Missing(_) | AccountError::Damaged { .. } | AccountError::Certificate(_) | AccountError::Mismatch => {
            StoreError::Damaged(error.to_string())
        }
    }
}

fn unwritable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Invalid(error.to_string())
}

impl Identity {
    /// Reads an account's keys, and makes its queue at this node where there is none.
    ///
    /// # Errors
    /// A row is missing or damaged.
    pub fn load(store: &Store, account: &Account, peer: PeerId) -> Result<Self, StoreError> {
        let prefix = format!("{}/", account.id.0);
        let mut rows: Vec<NamedRow> = Vec::new();
        for name in store.secret_names(&prefix)? {
            let short = name.strip_prefix(&prefix).unwrap_or_default().to_owned();
            // Correspondents are many and belong to `correspondence.rs`.
            if !short.starts_with("contact/")
                && short != crate::correspondence::SPARES_ROW
                && let Some(row) = store.secret(&name)?
            {
                rows.push((short, row));
            }
        }
        let keys = AccountKeys::from_rows(&account.address, &rows).map_err(of_keys)?;
        let prekeys = keys.prekeys.expand();
        let mut identity = Self { account: account.id, keys, prekeys, private: None, public: None, shown: None };
        if identity.keys.queue(peer, &mut rand::rng()).is_none() {
            return Err(StoreError::Invalid("the account has queues at too many nodes".into()));
        }
        let rows = identity.keys.queue_row(&peer).map_err(unwritable)?.into_iter().collect();
        identity.write(store, Writing { rows, erased: Vec::new() })?;
        Ok(identity)
    }

    /// The account as the core knows it.
    pub fn own_account(&self, peer: &PeerId) -> Option<OwnAccount> {
        let queue = self.keys.queues().find(|(known, _)| *known == peer).map(|(_, key)| key.name())?;
        Some(OwnAccount { account: self.account, address: *self.keys.address(), queue })
    }

    /// The account's address.
    pub fn address(&self) -> Address {
        *self.keys.address()
    }

    /// The static key that letters are sealed with.
    pub fn device_secret(&self) -> &[u8; 32] {
        self.keys.device().secret()
    }

    /// The current card as it travels inside letters; `None` before the first [`Identity::refresh`].
    pub fn card(&self) -> Option<&[u8]> {
        self.private.as_ref().map(Card::bytes)
    }

    /// The live weekly keys, newest first.
    pub fn prekeys(&self) -> &[Prekey] {
        &self.prekeys
    }

    fn write(&self, store: &Store, writing: Writing) -> Result<(), StoreError> {
        if writing.rows.is_empty() && writing.erased.is_empty() {
            return Ok(());
        }
        let account = self.account.0;
        store.write(move |transaction| {
            for (name, row) in &writing.rows {
                transaction.put_secret(&format!("{account}/{name}"), row)?;
            }
            writing.erased.iter().try_for_each(|name| transaction.erase_secret(&format!("{account}/{name}")))
        })
    }

    fn note(&self, changes: &Changes, writing: &mut Writing) -> Result<(), StoreError> {
        for week in &changes.written {
            writing.rows.extend(self.keys.prekey_row(*week).map_err(unwritable)?);
        }
        writing.erased.extend(changes.erased.iter().map(|week| prekey_row_name(*week)));
        Ok(())
    }

    /// Lets keys age, makes the key of a new week, and issues a new card where something in it changed. Tells whether there is a new card.
    ///
    /// # Errors
    /// The store fails, or the certificate has run out.
    pub fn refresh(&mut self, store: &Store, here: Here, now: Now, rng: &mut impl CryptoRng) -> Result<bool, StoreError> {
        let mut writing = Writing::default();
        let aged = self.keys.prekeys.age(now);
        self.note(&aged, &mut writing)?;
        let rotated = self.keys.rotate(now.wall, rng);
        self.note(&rotated, &mut writing)?;
        if !aged.is_empty() || !rotated.is_empty() {
            self.prekeys = self.keys.prekeys.expand();
        }
        // Half a card's life: whoever looks now and then always finds a valid one.
        let old = self.public.as_ref().is_none_or(|card| {
            let life = card.not_after().0.saturating_sub(card.not_before().0);
            now.wall.0 >= card.not_before().0.saturating_add(life / 2)
        });
        let shown = self.to_show(here);
        let issue = old || !rotated.is_empty() || self.shown.as_ref() != Some(&shown);
        if issue {
            let issued = self.keys.card(&shown.places, shown.policy, shown.work, now.wall).map_err(unwritable)?;
            writing.rows.push(self.keys.issue_row().map_err(unwritable)?);
            self.write(store, writing)?;
            (self.private, self.public, self.shown) = (Some(issued.private), Some(issued.public), Some(shown));
        } else {
            self.write(store, writing)?;
        }
        Ok(issue)
    }

    fn to_show(&self, here: Here) -> Shown {
        let own = self.own_account(&here.peer);
        let work = own.as_ref().filter(|_| here.rules.strangers == Strangers::Work);
        let work = work.map(|own| Work { tag: own.queue.0, effort: here.rules.effort });
        let home = own.filter(|_| here.listed).map(|own| Place {
            peer: here.peer,
            queue: own.queue,
            kind: PlaceKind::Home,
            addresses: here.addresses,
        });
        let relay =
            |relay: UsedRelay| Place { peer: relay.peer, queue: relay.queue, kind: PlaceKind::Relay, addresses: relay.addresses };
        let places = home.into_iter().chain(here.relays.into_iter().map(relay)).take(CARD_PLACES_MAX).collect();
        Shown { places, policy: Policy { strangers: here.rules.strangers, ..Policy::default() }, work }
    }

    /// The account's queue at a relay, its key made and written where there is none.
    ///
    /// # Errors
    /// The store fails, or there are queues at too many nodes.
    pub fn queue_at(&mut self, store: &Store, peer: PeerId) -> Result<QueueName, StoreError> {
        let known = self.keys.queues().any(|(at, _)| *at == peer);
        let key = self.keys.queue(peer, &mut rand::rng());
        let name = key.map(|key| key.name());
        let name = name.ok_or_else(|| StoreError::Invalid("the account has queues at too many nodes".into()))?;
        if !known {
            let rows = self.keys.queue_row(&peer).map_err(unwritable)?.into_iter().collect();
            self.write(store, Writing { rows, erased: Vec::new() })?;
        }
        Ok(name)
    }

    /// Proves what is asked of a node that keeps one of the account's queues.
    ///
    /// # Errors
    /// The queue is none of the account's.
    pub fn ask(
        &self,
        queue: &QueueName,
        request: &Request,
        relay: &PeerId,
        here: &PeerId,
        nonce: &[u8; 32],
        wall: Wall,
    ) -> Result<Ask, StoreError> {
        self.keys.ask(queue, request, relay, here, nonce, wall).map_err(unwritable)
    }

    /// The queue that volunteers keep in a week.
    pub fn volunteer_queue(&self, week: u32) -> Option<QueueName> {
        self.keys.volunteer_queue(week)
    }

    /// The queues that volunteers keep in the weeks in which letters may wait there, this week's first.
    pub fn volunteer_queues(&self, wall: Wall) -> impl Iterator<Item = (u32, QueueName)> + '_ {
        self.keys.volunteer_queues(wall)
    }

    /// Signs the records of all weeks that can be signed ahead, for relays to publish while the owner is away.
    ///
    /// # Errors
    /// As [`Identity::records`].
    pub fn records_ahead(&mut self, store: &Store, wall: Wall, rng: &mut impl CryptoRng) -> Result<Records, StoreError> {
        self.records_until(store, wall, u32::MAX, rng)
    }

    /// What its records say, so that it can be seen whether that is the same as before. Their numbers and dates do not count.
    ///
    /// # Errors
    /// It is too much for one row, which it never is.
    pub fn says(&self) -> Result<Vec<u8>, EncodeError> {
        let weeks: Vec<u32> = self.keys.prekeys.newest().map(|key| key.week).into_iter().collect();
        codec::encode(&self.shown.as_ref().map(|shown| (&shown.places, &shown.policy, &shown.work, weeks)))
    }

    /// Signs the records of this week and the next.
    ///
    /// # Errors
    /// The store fails, or the epoch sheet has run out: then the words are needed.
    pub fn records(&mut self, store: &Store, wall: Wall, rng: &mut impl CryptoRng) -> Result<Records, StoreError> {
        self.records_until(store, wall, week_of(wall).saturating_add(WEEKS_PUBLISHED), rng)
    }

    fn records_until(&mut self, store: &Store, wall: Wall, last: u32, rng: &mut impl CryptoRng) -> Result<Records, StoreError> {
        let Some(card) = &self.public else { return Ok(Records::new()) };
        let records = self.keys.records(card, wall, rng).map_err(unwritable)?;
        let rows = vec![self.keys.issue_row().map_err(unwritable)?];
        self.write(store, Writing { rows, erased: Vec::new() })?;
        let published = records.into_iter().filter(|record| record.week < last);
        Ok(published.flat_map(|record| record.keys.map(|key| (key, record.value.clone()))).collect())
    }

    /// The records are out: the newest weekly key is in use, and the one before begins to run out.
    ///
    /// # Errors
    /// The store fails.
    pub fn published(&mut self, store: &Store, wall: Wall) -> Result<(), StoreError> {
        let Some(week) = self.keys.prekeys.newest().map(|key| key.week) else { return Ok(()) };
        let changes = self.keys.prekeys.published(week, wall);
        let mut writing = Writing::default();
        self.note(&changes, &mut writing)?;
        self.write(store, writing)
    }

    /// Weeks until the words are needed to sign a new sheet.
    pub fn weeks_left(&self, wall: Wall) -> u32 {
        self.keys.weeks_left(wall)
    }
}

/// The accounts' keys by account.
pub type Identities = BTreeMap<AccountId, Identity>;

fn verified(card: &KnownCard) -> Option<Card> {
    Card::verify_undated(&card.address, &card.bytes).ok()
}

/// A card as it is kept, learned now.
pub fn known(card: &Card, wall: Wall) -> KnownCard {
    let (generation, sequence) = card.order();
    KnownCard { address: *card.address(), generation, sequence, learned_ms: wall.0, bytes: card.bytes().to_vec() }
}

/// What the core needs of a kept card; `None` where it does not verify (it did when it was kept).
pub fn card_info(card: &KnownCard) -> Option<CardInfo> {
    Some(verified(card)?.info(Wall(card.learned_ms)))
}

/// The operations key of a card, which volunteers' queues follow from.
pub fn card_operations(card: &KnownCard) -> Option<[u8; 32]> {
    Some(*verified(card)?.operations())
}

/// The best card among what the directory holds for an address.
pub fn best_card(address: &Address, values: &[Vec<u8>], wall: Wall) -> Option<KnownCard> {
    record::best(address, values.iter().map(Vec::as_slice), wall).map(|card| known(&card, wall))
}

/// The names to ask the directory for: this week's two replicas.
pub fn directory_keys(address: &Address, wall: Wall) -> Vec<Vec<u8>> {
    record::directory_keys(address, week_of(wall)).to_vec()
}

/// The 24 words, while they are here.
///
/// # Errors
/// The store fails, or the row is damaged.
pub fn words(store: &Store, account: &Account) -> Result<Option<Zeroizing<String>>, StoreError> {
    let name = format!("{}/{SEED_ROW}", account.id.0);
    let Some(row) = store.secret(&name)? else { return Ok(None) };
    let seed = Seed::from_row(&row).map_err(|_| StoreError::Damaged(format!("the secret row {name}")))?;
    Ok(Some(seed.words()))
}
