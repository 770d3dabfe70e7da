//! Relays: whose mail this node keeps, and who keeps ours; asked, allowed, used, listed and ended.

use std::collections::BTreeMap;

use kith_protocol::address::Address;
use kith_protocol::event::{EntryKind, Event};
use kith_protocol::hosting::NodeKey;
use kith_protocol::ids::{AccountId, PeerId, QueueName};
use kith_protocol::limits::ENVELOPE_BYTES_MAX;
use kith_protocol::talk::{Talk as Said, Word};
use kith_store::account::Account;
use kith_store::hosting::Permit;
use kith_store::relays::{Talk, TalkKind};
use serde_json::{Value, json};

use super::{Context, named, somebody};
use crate::control::Refusal;
use crate::engine::Order;
use crate::people;
use crate::relaying;
use crate::scribe::own_letter;

/// Bytes for each letter that is counted against a quota's number of letters.
const BYTES_PER_LETTER: u64 = 128 * 1024;
/// Letters kept for one mailbox: at least and at most.
const LETTERS: std::ops::RangeInclusive<u64> = 64..=100_000;
/// The smallest quota that is of use, in bytes.
const QUOTA_MIN: u64 = 1024 * 1024;

/// This node's name, whether it runs or not.
fn here(context: &Context) -> Result<PeerId, Refusal> {
    match &context.running {
        Some(running) => Ok(running.network.peer_id()),
        None => {
            let seed = people::peer_seed(&context.store)?;
            Ok(NodeKey::from_seed(&seed).name())
        }
    }
}

/// A word about keeping mail, on its way to somebody.
fn say(context: &Context, account: AccountId, to: Address, said: Said) -> Result<(), Refusal> {
    let entry = own_letter(account, to, EntryKind::Relay(said), context.clock.now());
    context.store.write(move |transaction| transaction.enqueue(&entry).map(drop))?;
    Ok(())
}

fn check_quota(bytes: u64) -> Result<(), Refusal> {
    if bytes >= QUOTA_MIN { Ok(()) } else { Err(Refusal::new("a quota below 1 MiB keeps next to nothing", "say --quota 256MiB")) }
}

/// Asks a contact to keep our mail.
pub(super) fn ask(context: &Context, account: Option<&str>, who: &str, bytes: u64) -> Result<Value, Refusal> {
    check_quota(bytes)?;
    let account = named(&context.store, account)?;
    let (address, name) = contact(context, &account, who)?;
    let node = here(context)?;
    let now = context.clock.now();
    let talk = Talk {
        account: account.id,
        address,
        kind: TalkKind::WeAsked,
        bytes,
        token: [0; 32],
        peer: None,
        addresses: Vec::new(),
        at_ms: now.wall.0,
    };
    context.store.write(move |transaction| transaction.put_talk(&talk))?;
    say(context, account.id, address, Said::new(Word::Ask, bytes, [0; 32], node))?;
    Ok(json!({ "name": name }))
}

/// Somebody who is a contact: only contacts' words about keeping mail are heard.
fn contact(context: &Context, account: &Account, who: &str) -> Result<(Address, String), Refusal> {
    let (address, name) = somebody(context, account, who)?;
    match context.store.contact_by_address(account.id, &address)? {
        Some(_) => Ok((address, name)),
        None => Err(Refusal::new(format!("{name} is not among your contacts"), "add them first: kith contact add NAME ADDRESS")),
    }
}

/// Agrees to keep somebody's mail, and tells them so.
pub(super) fn allow(context: &Context, account: Option<&str>, who: &str, bytes: u64) -> Result<Value, Refusal> {
    check_quota(bytes)?;
    let account = named(&context.store, account)?;
    let (address, name) = contact(context, &account, who)?;
    let node = here(context)?;
    let count = (bytes / BYTES_PER_LETTER).clamp(*LETTERS.start(), *LETTERS.end());
    let known = context.store.permits()?.into_iter().find(|permit| permit.address == Some(address));
    let permit = Permit {
        token: known.as_ref().map_or_else(rand::random, |known| known.token),
        account: account.id,
        address: Some(address),
        label: name.clone(),
        bytes,
        count: u32::try_from(count).unwrap_or(u32::MAX),
        largest: ENVELOPE_BYTES_MAX.min(bytes),
        queue: known.as_ref().and_then(|known| known.queue),
        created_ms: known.map_or(context.clock.now().wall.0, |known| known.created_ms),
    };
    let token = permit.token;
    context.store.write(move |transaction| {
        transaction.put_permit(&permit)?;
        transaction.remove_talk(account.id, &address, TalkKind::AskedUs).map(drop)
    })?;
    say(context, account.id, address, Said::new(Word::Offer, bytes, token, node))?;
    Ok(json!({ "name": name }))
}

/// Takes up an offer.
pub(super) fn take(context: &Context, account: Option<&str>, who: &str) -> Result<Value, Refusal> {
    let account = named(&context.store, account)?;
    let talks = context.store.talks(account.id)?;
    let offers: Vec<Talk> = talks.into_iter().filter(|talk| talk.kind == TalkKind::OfferedUs).collect();
    let by_node = offers.iter().find(|talk| talk.peer.is_some_and(|peer| hex::encode(peer.as_bytes()) == who.to_lowercase()));
    let offer = match by_node {
        Some(offer) => offer.clone(),
        None => {
            let (address, name) = somebody(context, &account, who)?;
            if context.store.relays_of(account.id)?.iter().any(|relay| relay.address == Some(address)) {
                return Err(Refusal::new(format!("{name} keeps your mail already"), "see `kith relay list`"));
            }
            let offer = offers.into_iter().find(|talk| talk.address == address);
            offer.ok_or_else(|| {
                Refusal::new(
                    format!("{name} has not offered to keep your mail"),
                    format!("ask: kith relay ask {name} (it is used as soon as they allow it)"),
                )
            })?
        }
    };
    let relay = relaying::offered(&context.store, &offer, context.clock.now().wall)
        .ok_or_else(|| Refusal::new("the offer names no node", "ask them to offer it again"))?;
    let name = relay.label.clone();
    context.store.write(move |transaction| {
        transaction.put_relay(&relay)?;
        transaction.remove_talk(offer.account, &offer.address, TalkKind::OfferedUs).map(drop)
    })?;
    context.order(Order::RelaysChanged);
    Ok(json!({ "name": name }))
}

/// Ends it, whichever side we are on.
pub(super) fn remove(context: &Context, account: Option<&str>, who: &str) -> Result<Value, Refusal> {
    let account = named(&context.store, account)?;
    let (address, name) = match somebody(context, &account, who) {
        Ok((address, name)) => (Some(address), name),
        Err(refusal) if who.len() != 64 => return Err(refusal),
        Err(_) => (None, who.to_lowercase()),
    };
    let node = here(context)?;
    let mut ended = 0;
    for relay in context.store.relays_of(account.id)? {
        if address.is_some() && relay.address == address || hex::encode(relay.peer.as_bytes()) == name {
            context.store.write(move |transaction| transaction.remove_relay(relay.account, &relay.peer).map(drop))?;
            ended += 1;
        }
    }
    for permit in context.store.permits()?.into_iter().filter(|permit| address.is_some() && permit.address == address) {
        end_hosting(context, &permit)?;
        ended += 1;
    }
    let talks = context.store.talks(account.id)?;
    for talk in talks.into_iter().filter(|talk| Some(talk.address) == address) {
        context.store.write(move |transaction| transaction.remove_talk(talk.account, &talk.address, talk.kind).map(drop))?;
        ended += 1;
    }
    if ended == 0 {
        return Err(Refusal::new(format!("{name} is no relay of yours, and you keep nothing for them"), "see `kith relay list`"));
    }
    if let Some(address) = address {
        say(context, account.id, address, Said::new(Word::Withdraw, 0, [0; 32], node))?;
    }
    context.order(Order::RelaysChanged);
    Ok(json!({ "name": name }))
}

/// What is kept under a permit goes, and so does the permit.
fn end_hosting(context: &Context, permit: &Permit) -> Result<(), Refusal> {
    let (token, queue) = (permit.token, permit.queue);
    let running = context.running.is_some();
    context.store.write(move |transaction| {
        transaction.remove_permit(&token)?;
        match queue {
            // The running node's core does it, which counts what is kept.
            Some(queue) if !running => transaction.unhost(&queue),
            _ => Ok(()),
        }
    })?;
    if let Some(queue) = queue {
        context.order(Order::Tell(Box::new(Event::HostingEnded(queue))));
    }
    Ok(())
}

pub(super) fn list(context: &Context, account: Option<&str>) -> Result<Value, Refusal> {
    let accounts = match account {
        Some(name) => vec![named(&context.store, Some(name))?],
        None => context.store.accounts()?,
    };
    let mut held: BTreeMap<QueueName, (u64, u64, u64)> = BTreeMap::new();
    for letter in context.store.held()? {
        let (bytes, count, waiting) = held.entry(letter.queue).or_default();
        *bytes += letter.size;
        *count += 1;
        *waiting += u64::from(letter.acked_ms.is_none());
    }
    let connected = context.running.as_ref().map(|running| running.network.status().peers).unwrap_or_default();
    let (mut hosted, mut used, mut talks) = (Vec::new(), Vec::new(), Vec::new());
    for permit in context.store.permits()? {
        let (bytes, count, waiting) = permit.queue.and_then(|queue| held.remove(&queue)).unwrap_or_default();
        hosted.push(json!({
            "name": permit.label,
            "quota": permit.bytes,
            "bytes": bytes,
            "letters": count,
            "waiting": waiting,
            "in_use": permit.queue.is_some(),
        }));
    }
    let own: std::collections::BTreeSet<QueueName> = context.store.hosted()?.into_iter().map(|hosted| hosted.queue).collect();
    let volunteered: u64 = held.iter().filter(|(queue, _)| !own.contains(*queue)).map(|(_, (bytes, ..))| bytes).sum();
    for account in accounts {
        for relay in context.store.relays_of(account.id)? {
            used.push(json!({
                "account": account.name,
                "name": relay.label,
                "node": hex::encode(relay.peer.as_bytes()),
                "granted": relay.granted.map(|grant| grant.bytes),
                "connected": connected.contains(&relay.peer),
                "addresses": relaying::whereabouts(&context.store, &relay),
            }));
        }
        for talk in context.store.talks(account.id)? {
            let name = somebody(context, &account, &talk.address.mail()).map(|(_, name)| name).unwrap_or_default();
            let kind = match talk.kind {
                TalkKind::AskedUs => "asks you to keep their mail",
                TalkKind::WeAsked => "was asked to keep your mail",
                TalkKind::OfferedUs => "offers to keep your mail",
            };
            talks.push(json!({ "account": account.name, "name": name, "what": kind, "bytes": talk.bytes }));
        }
    }
    Ok(json!({ "hosted": hosted, "used": used, "talks": talks, "volunteered_bytes": volunteered }))
}
