//! The mailroom's part in keeping mail for others, and in others keeping ours: what is proven with an account's keys, and what is read of kept letters.

use std::collections::{BTreeSet, VecDeque};

use kith_network::Source;
use kith_protocol::address::Address;
use kith_protocol::blinding::week_of;
use kith_protocol::card::Strangers;
use kith_protocol::event::{AuditOutcome, Event, OwnerAsk, Place, PlaceKind, UsedRelay};
use kith_protocol::hosting::{MARKS_MAX, RECORDS_MAX, Request, SIBLINGS_MAX, challenge_answer, challenged};
use kith_protocol::ids::{AccountId, EnvelopeId, Op, PeerId, QueueName, Token};
use kith_protocol::limits::{PLACE_ADDRESS_BYTES_MAX, PLACE_ADDRESSES_MAX};
use kith_protocol::record::check_stored;
use kith_protocol::secret::Secret;
use kith_protocol::stamp;
use kith_protocol::wire::Message;
use kith_store::StoreError;
use kith_store::hosting::HeldBytes;
use serde_bytes::ByteBuf;

use super::Room;
use crate::engine::Answered;
use crate::relaying;

/// Names the publication of others' records: none of the core's questions has this number.
const KEPT_RECORDS: Op = Op(u64::MAX);
/// Records of others that are published in one go.
const RECORDS_AT_ONCE: usize = 64;
/// And in all.
const KEPT_RECORDS_MAX: usize = 512;

/// What the owner asks, and of whom.
#[derive(Clone, Copy, Debug)]
pub struct Asking {
    /// The question.
    pub op: Op,
    /// The relay.
    pub peer: PeerId,
    /// What it gave this node for a nonce.
    pub nonce: [u8; 32],
    /// Whose mailbox.
    pub account: AccountId,
    /// The queue there.
    pub queue: QueueName,
    /// What.
    pub what: OwnerAsk,
}

impl Room {
    /// Builds and proves the frames of a question; none where it cannot be asked.
    pub(super) fn ask(&mut self, asking: &Asking) {
        let Ok(told) = self.untold(asking) else { return };
        let messages = self.frames(asking).unwrap_or_else(|error| {
            tracing::warn!(%error, "a relay cannot be asked");
            VecDeque::new()
        });
        self.answer(Answered::Asking { op: asking.op, peer: asking.peer, messages, told });
    }

    fn frames(&mut self, asking: &Asking) -> Result<VecDeque<Message>, StoreError> {
        let now = self.clock.now();
        let requests = match asking.what {
            OwnerAsk::Host => {
                let relay = self.store.relays_of(asking.account)?.into_iter().find(|relay| relay.peer == asking.peer);
                relay.map(|relay| Request::Host { token: relay.token }).into_iter().collect()
            }
            OwnerAsk::Collect => vec![Request::Collect {
                strangers: self.rules.strangers,
                tag: self.work_tag(asking.account),
                effort: self.rules.effort,
            }],
            OwnerAsk::Marks => self.marks(asking)?,
            OwnerAsk::Records => self.records_ahead(asking.account)?,
            OwnerAsk::Leave => vec![Request::Leave],
            OwnerAsk::Siblings => vec![Request::Siblings { places: self.siblings(asking)? }],
        };
        let here = self.network.peer_id();
        let Some(identity) = self.identities.get(&asking.account) else { return Ok(VecDeque::new()) };
        let prove = |request: &Request| identity.ask(&asking.queue, request, &asking.peer, &here, &asking.nonce, now.wall);
        requests.iter().map(|request| prove(request).map(Message::Ask)).collect()
    }

    /// The account's other relays, for one of them.
    pub(super) fn siblings(&mut self, asking: &Asking) -> Result<Vec<Place>, StoreError> {
        let others = |relay: &UsedRelay| relay.account == asking.account && relay.peer != asking.peer && relay.granted;
        let hint = |text: &String| text.len() <= PLACE_ADDRESS_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
        let place = |UsedRelay { peer, queue, mut addresses, .. }: UsedRelay| {
            // One that cannot be told must not keep the others from being told.
            addresses.retain(hint);
            addresses.truncate(PLACE_ADDRESSES_MAX);
            Place { peer, queue, kind: PlaceKind::Relay, addresses }
        };
        Ok(self.used_relays()?.into_iter().filter(others).take(SIBLINGS_MAX).map(place).collect())
    }

    /// The seeds of all stamps that are let in: those of contacts who are not blocked, and those that nobody has yet.
    pub(super) fn stamp_seeds(&self, account: AccountId) -> Result<Vec<Secret>, StoreError> {
        let mut seeds: Vec<Secret> = self.shared.spare_seeds(account);
        for (address, seed) in self.shared.given_seeds(account) {
            if !self.store.is_blocked(account, &address)? {
                seeds.push(seed);
            }
        }
        Ok(seeds)
    }

    /// The marks of all stamps of the coming weeks, for one relay. Where strangers are welcome no stamps are needed.
    fn marks(&self, asking: &Asking) -> Result<Vec<Request>, StoreError> {
        if self.rules.strangers == Strangers::Welcome {
            return Ok(vec![Request::Marks { week: week_of(self.clock.now().wall), part: 0, marks: ByteBuf::new() }]);
        }
        let seeds = self.stamp_seeds(asking.account)?;
        let this_week = week_of(self.clock.now().wall);
        let mut requests = Vec::new();
        for week in this_week..this_week.saturating_add(stamp::WEEKS_AHEAD) {
            let quota = kith_protocol::limits::STAMP_QUOTA;
            let marks = stamp::marks(seeds.iter(), quota, &asking.peer, week, &mut rand::rng());
            for (part, marks) in (0..).zip(marks.chunks(MARKS_MAX)) {
                requests.push(Request::Marks { week, part, marks: ByteBuf::from(marks.concat()) });
            }
        }
        Ok(requests)
    }

    fn records_ahead(&mut self, account: AccountId) -> Result<Vec<Request>, StoreError> {
        let wall = self.clock.now().wall;
        let Some(identity) = self.identities.get_mut(&account) else { return Ok(Vec::new()) };
        let records = identity.records_ahead(&self.store, wall, &mut rand::rng())?;
        let pair = |(key, record): &(Vec<u8>, Vec<u8>)| (ByteBuf::from(key.clone()), ByteBuf::from(record.clone()));
        Ok(records.chunks(RECORDS_MAX).map(|some| Request::Records { records: some.iter().map(pair).collect() }).collect())
    }

    /// What strangers' work for an account is bound to: its queue at this node.
    pub(super) fn work_tag(&self, account: AccountId) -> [u8; 16] {
        let own = self.identities.get(&account).and_then(|identity| identity.own_account(&self.network.peer_id()));
        own.map_or([0; 16], |own| own.queue.0)
    }

    /// The bytes of a kept letter, to be sent.
    pub(super) fn fetch(&self, envelope: &EnvelopeId) -> Option<Source> {
        match self.store.held_bytes(envelope) {
            Ok(HeldBytes::File(path)) => Some(Source::File(path)),
            Ok(HeldBytes::Inline(bytes)) => Some(Source::Bytes(bytes.into())),
            Err(error) => {
                tracing::warn!(envelope = %envelope.short(), %error, "a kept letter cannot be read");
                None
            }
        }
    }

    /// Shows a piece of a kept letter to somebody who left it here; for a day, too, when it was collected: who left a receipt learns of that by nothing else.
    pub(super) fn show(&self, token: Token, queue: &QueueName, envelope: &EnvelopeId, nonce: &[u8; 16]) {
        let held = self.store.held_letter(envelope).ok().flatten().filter(|held| held.queue == *queue);
        let hash = held.and_then(|held| {
            let bytes = self.store.held_range(envelope, challenged(nonce, held.size)).ok()?;
            Some(challenge_answer(nonce, envelope, &bytes))
        });
        self.answer(Answered::Show { token, hash });
    }

    /// Compares what a relay showed with our own copy.
    pub(super) fn check(&self, op: Op, envelope: &EnvelopeId, size: u64, nonce: &[u8; 16], shown: Option<[u8; 32]>) {
        let outcome = match shown {
            None => AuditOutcome::Missing,
            Some(shown) => match self.own_piece(envelope, size, nonce) {
                Ok(bytes) if challenge_answer(nonce, envelope, &bytes) == shown => AuditOutcome::Kept,
                Ok(_) => AuditOutcome::Wrong,
                // Our own copy is gone: nothing can be said of theirs.
                Err(_) => AuditOutcome::Broken,
            },
        };
        self.tell(Event::Audited { op, outcome });
    }

    fn own_piece(&self, envelope: &EnvelopeId, size: u64, nonce: &[u8; 16]) -> std::io::Result<Vec<u8>> {
        use std::io::{Read as _, Seek as _, SeekFrom};
        let range = challenged(nonce, size);
        let mut file = std::fs::File::open(self.outgoing.join(hex::encode(envelope.as_bytes())))?;
        file.seek(SeekFrom::Start(range.start))?;
        let mut bytes = Vec::new();
        file.take(range.end - range.start).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Puts the records of those whose mail is kept here into the directory: their owners may be away for weeks.
    pub(super) fn publish_kept(&self) {
        let wall = self.clock.now().wall;
        let kept = self.store.kept_records().unwrap_or_else(|error| {
            tracing::error!(%error, "the records of others cannot be read");
            Vec::new()
        });
        let current = kept.into_iter().filter(|(_, key, record)| check_stored(key, record, wall, None).is_ok());
        let records: Vec<_> = current.map(|(_, key, record)| (key, record)).take(KEPT_RECORDS_MAX).collect();
        for some in records.chunks(RECORDS_AT_ONCE) {
            self.answer(Answered::Records { op: KEPT_RECORDS, records: some.to_vec() });
        }
    }

    /// Tells the core of the relays that accounts use, and makes the queues' keys.
    pub(super) fn sync_relays(&mut self) {
        let relays = match self.used_relays() {
            Ok(relays) => relays,
            Err(error) => return tracing::error!(%error, "the relays in use cannot be read"),
        };
        let now: BTreeSet<(AccountId, PeerId)> = relays.iter().map(|relay| (relay.account, relay.peer)).collect();
        for (account, peer) in self.relays.difference(&now).copied().collect::<Vec<_>>() {
            self.tell(Event::RelayLeft { account, peer });
        }
        self.relays = now;
        for relay in relays {
            self.tell(Event::RelayUsed(relay));
        }
        self.refresh_cards();
    }

    /// Whether this card may say where a relay in use is to be found.
    pub(super) fn runs_a_relay(&self, address: &Address) -> bool {
        self.store.relays().is_ok_and(|relays| relays.iter().any(|relay| relay.address.as_ref() == Some(address)))
    }

    /// The relays in use, with the account's queue at each, and where they are to be found by now.
    pub(super) fn used_relays(&mut self) -> Result<Vec<UsedRelay>, StoreError> {
        let mut used = Vec::new();
        for relay in self.store.relays()? {
            let Some(identity) = self.identities.get_mut(&relay.account) else { continue };
            let queue = identity.queue_at(&self.store, relay.peer)?;
            used.push(UsedRelay {
                account: relay.account,
                peer: relay.peer,
                addresses: relaying::whereabouts(&self.store, &relay),
                queue,
                granted: relay.granted.is_some(),
            });
        }
        Ok(used)
    }
}
