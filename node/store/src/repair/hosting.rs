//! What is kept for others, relays, strangers' requests and envelopes seen after a repair: rows that cannot be read, or belong to nothing
//! any more, go; what is listed twice is listed anew.

use std::collections::BTreeSet;

use kith_protocol::address::Address;
use kith_protocol::event::{HeldEnvelope, HeldKind, HostedQueue};
use redb::ReadableTable;

use super::rebuild::{Available, Rebuilt};
use crate::hosting::{HELD_ENVELOPE, HOSTED_QUEUE, PERMIT, Permit};
use crate::relays::{RELAY, Relay, TALK, Talk};
use crate::schema::{
    ACCEPTED, BLOCKED, HELD, HOSTED, KEPT_RECORDS, MARKS, PERMITS, RELAY_TALK, RELAYS, REQUESTS, SEEN, SEEN_BY_AGE,
};
use crate::verify::Mentions;
use crate::{StoreError, Transaction, row};

/// Keeps the letters whose bytes are there and whose mailbox is known, and counts their mentions.
pub(super) fn rebuild(
    transaction: &mut Transaction<'_>,
    available: &Available,
    mentions: &mut Mentions,
    rebuilt: &mut Rebuilt,
) -> Result<(), StoreError> {
    let mut hosted = BTreeSet::new();
    let mut lost = 0;
    transaction.table(HOSTED)?.retain(|queue, bytes| {
        let whole = row::decode::<HostedQueue>(bytes, HOSTED_QUEUE).is_ok_and(|rules| rules.queue.0 == queue);
        if whole {
            hosted.insert(queue)
        } else {
            lost += 1;
            false
        }
    })?;
    rebuilt.entries_lost += lost;
    transaction
        .table(PERMITS)?
        .retain(|token, bytes| row::decode::<Permit>(bytes, PERMIT).is_ok_and(|permit| permit.token == token))?;
    transaction.table(MARKS)?.retain(|(queue, _, _), ()| hosted.contains(&queue))?;
    transaction.table(KEPT_RECORDS)?.retain(|(queue, _), _| hosted.contains(&queue))?;
    let mut lost = 0;
    transaction.table(HELD)?.retain(|envelope, bytes| {
        let kept = row::decode::<HeldEnvelope>(bytes, HELD_ENVELOPE).is_ok_and(|held| {
            let welcome = matches!(held.kind, HeldKind::Volunteer(_)) || hosted.contains(&held.queue.0);
            let there = available.get(&envelope).is_some_and(|(size, _)| *size == held.size);
            held.envelope.0 == envelope && welcome && there
        });
        if kept {
            *mentions.entry(envelope).or_default() += 1;
        } else {
            lost += 1;
        }
        kept
    })?;
    rebuilt.held_lost = lost;
    people(transaction, rebuilt)?;
    seen(transaction)
}

fn people(transaction: &mut Transaction<'_>, rebuilt: &mut Rebuilt) -> Result<(), StoreError> {
    let mut lost = 0;
    transaction.table(RELAYS)?.retain(|key, bytes| {
        let whole = row::decode::<Relay>(bytes, RELAY).is_ok_and(|relay| (relay.account.0, relay.peer.0) == key);
        lost += u64::from(!whole);
        whole
    })?;
    transaction.table(RELAY_TALK)?.retain(|key, bytes| {
        row::decode::<Talk>(bytes, TALK).is_ok_and(|talk| (talk.account.0, *talk.address.key(), talk.kind.code()) == key)
    })?;
    rebuilt.entries_lost += lost;
    let possible = |key: [u8; 32]| Address::from_key(key).is_ok();
    transaction.table(REQUESTS)?.retain(|(_, from, _), _| possible(from))?;
    transaction.table(ACCEPTED)?.retain(|(_, key), ()| possible(key))?;
    transaction.table(BLOCKED)?.retain(|(_, key), ()| possible(key))?;
    Ok(())
}

fn seen(transaction: &mut Transaction<'_>) -> Result<(), StoreError> {
    let mut ages = Vec::new();
    for found in transaction.view(SEEN)?.iter()? {
        let (envelope, age) = found?;
        ages.push((age.value(), envelope.value()));
    }
    let mut by_age = transaction.table(SEEN_BY_AGE)?;
    by_age.retain(|_, ()| false)?;
    for row in ages {
        by_age.insert(row, ())?;
    }
    Ok(())
}
