//! What is kept for others, relays, strangers' requests, envelopes seen: that every row can be read, says what its key says, and belongs to
//! something that is there.

use std::collections::BTreeSet;

use kith_protocol::address::Address;
use kith_protocol::event::{HeldEnvelope, HeldKind, HostedQueue};
use kith_protocol::ids::PeerId;
use redb::{ReadableTable, ReadableTableMetadata, TableDefinition};

use super::{Check, Place};
use crate::hosting::{HELD_ENVELOPE, HOSTED_QUEUE, PERMIT, Permit};
use crate::relays::{FOUND, RELAY, Relay, TALK, Talk};
use crate::schema::{
    ACCEPTED, ACCOUNTS, BLOBS, BLOCKED, HELD, HOSTED, KEPT_RECORDS, MARKS, PERMITS, RELAY_TALK, RELAYS, REQUESTS, SEEN,
    SEEN_BY_AGE, VOLUNTEERS,
};
use crate::store::Reader;
use crate::{StoreError, row};

impl Check<'_> {
    pub(super) fn hosting(&mut self, reader: &Reader) -> Result<(), StoreError> {
        let mut hosted = BTreeSet::new();
        for found in reader.table(HOSTED)?.iter()? {
            let (queue, value) = found?;
            let rules: Option<HostedQueue> = row::decode(value.value(), HOSTED_QUEUE).ok();
            if rules.is_none_or(|rules| rules.queue.0 != queue.value()) {
                self.report.problem(Place::Hosting, "a hosted mailbox cannot be read");
            }
            hosted.insert(queue.value());
        }
        for found in reader.table(PERMITS)?.iter()? {
            let (token, value) = found?;
            let permit: Option<Permit> = row::decode(value.value(), PERMIT).ok();
            if permit.is_none_or(|permit| permit.token != token.value()) {
                self.report.problem(Place::Hosting, "a permit cannot be read");
            }
        }
        for found in reader.table(MARKS)?.iter()? {
            if !hosted.contains(&found?.0.value().0) {
                self.report.problem(Place::Hosting, "there is a stamp of a mailbox that is not hosted");
            }
        }
        for found in reader.table(KEPT_RECORDS)?.iter()? {
            if !hosted.contains(&found?.0.value().0) {
                self.report.problem(Place::Hosting, "there is a record of a mailbox that is not hosted");
            }
        }
        self.held(reader, &hosted)
    }

    /// Every kept letter counts as a mention of its bytes, which are as many as its mailbox is charged with.
    fn held(&mut self, reader: &Reader, hosted: &BTreeSet<[u8; 16]>) -> Result<(), StoreError> {
        let blobs = reader.table(BLOBS)?;
        for found in reader.table(HELD)?.iter()? {
            let (envelope, value) = found?;
            let envelope = envelope.value();
            self.report.held += 1;
            *self.mentions.entry(envelope).or_default() += 1;
            let held: Option<HeldEnvelope> = row::decode(value.value(), HELD_ENVELOPE).ok();
            let Some(held) = held.filter(|held| held.envelope.0 == envelope) else {
                self.report.problem(Place::Hosting, format!("the kept letter {} cannot be read", hex::encode(envelope)));
                continue;
            };
            if !matches!(held.kind, HeldKind::Volunteer(_)) && !hosted.contains(&held.queue.0) {
                let text = format!("the letter {} is kept for a mailbox that is not hosted", hex::encode(envelope));
                self.report.problem(Place::Hosting, text);
            }
            if blobs.get(envelope)?.is_some_and(|blob| blob.value().1 != held.size) {
                let text = format!("the kept letter {} is charged with another size than it has", hex::encode(envelope));
                self.report.problem(Place::Hosting, text);
            }
        }
        Ok(())
    }

    pub(super) fn relays(&mut self, reader: &Reader) -> Result<(), StoreError> {
        for found in reader.table(RELAYS)?.iter()? {
            let (key, value) = found?;
            let relay: Option<Relay> = row::decode(value.value(), RELAY).ok();
            if relay.is_none_or(|relay| (relay.account.0, relay.peer.0) != key.value()) {
                self.report.problem(Place::People, format!("a relay of account {} cannot be read", key.value().0));
            }
        }
        for found in reader.table(RELAY_TALK)?.iter()? {
            let (key, value) = found?;
            let talk: Option<Talk> = row::decode(value.value(), TALK).ok();
            if talk.is_none_or(|talk| (talk.account.0, *talk.address.key(), talk.kind.code()) != key.value()) {
                self.report.problem(Place::People, format!("a request for a relay of account {} cannot be read", key.value().0));
            }
        }
        let accounts = reader.table(ACCOUNTS)?;
        for found in reader.table(VOLUNTEERS)?.iter()? {
            let (account, value) = found?;
            let peers: Option<Vec<PeerId>> = row::decode(value.value(), FOUND).ok();
            if peers.is_none() || accounts.get(account.value())?.is_none() {
                self.report.problem(Place::People, format!("the volunteers of account {} cannot be read", account.value()));
            }
        }
        Ok(())
    }

    pub(super) fn strangers(&mut self, reader: &Reader) -> Result<(), StoreError> {
        for found in reader.table(REQUESTS)?.iter()? {
            self.person(found?.0.value().1);
        }
        for table in [ACCEPTED, BLOCKED] as [TableDefinition<'static, (u32, [u8; 32]), ()>; 2] {
            for found in reader.table(table)?.iter()? {
                self.person(found?.0.value().1);
            }
        }
        Ok(())
    }

    fn person(&mut self, key: [u8; 32]) {
        if Address::from_key(key).is_err() {
            self.report.problem(Place::People, "somebody who was accepted or blocked, or waits for it, has no possible address");
        }
    }

    pub(super) fn seen(&mut self, reader: &Reader) -> Result<(), StoreError> {
        let (seen, by_age) = (reader.table(SEEN)?, reader.table(SEEN_BY_AGE)?);
        for found in seen.iter()? {
            let (envelope, age) = found?;
            if by_age.get((age.value(), envelope.value()))?.is_none() {
                self.report.problem(Place::View, "an envelope that was seen is not listed by age");
            }
        }
        if seen.len()? != by_age.len()? {
            self.report.problem(Place::View, "more envelopes are listed by age than were seen");
        }
        Ok(())
    }
}
