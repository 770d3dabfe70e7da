//! Who may write: strangers' mails accepted or refused, people shut out and let in again.

use kith_protocol::address::Address;
use kith_protocol::event::{EntryKind, Event};
use kith_protocol::ids::AccountId;
use serde_json::{Value, json};

use super::{Context, named, somebody};
use crate::control::Refusal;
use crate::engine::Order;
use crate::scribe::own_letter;

/// Lets somebody in: what waits of theirs goes to the inbox, and they are told that it arrived.
///
/// # Errors
/// The store fails.
pub(super) fn welcome(context: &Context, account: AccountId, address: &Address) -> Result<usize, Refusal> {
    let (now, from) = (context.clock.now(), *address);
    let mails = context.store.write(move |transaction| {
        transaction.unblock(account, &from)?;
        transaction.accept(account, &from)?;
        let mails = transaction.accept_requests(account, &from)?;
        for mid in &mails {
            transaction.enqueue(&own_letter(account, from, EntryKind::Receipt(*mid), now))?;
        }
        Ok(mails)
    })?;
    context.order(Order::Tell(Box::new(Event::Acceptance { account, address: from, accepted: true })));
    counted(context, account)?;
    context.order(Order::Tell(Box::new(Event::StampsChanged(account))));
    Ok(mails.len())
}

/// Tells the core how many requests wait.
fn counted(context: &Context, account: AccountId) -> Result<(), Refusal> {
    let waiting = context.store.requests_waiting(account)?;
    context.order(Order::Tell(Box::new(Event::Requests { account, waiting })));
    Ok(())
}

pub(super) fn accept(context: &Context, account: Option<&str>, who: &str) -> Result<Value, Refusal> {
    let account = named(&context.store, account)?;
    let (address, name) = somebody(context, &account, who)?;
    let mails = welcome(context, account.id, &address)?;
    Ok(json!({ "name": name, "mails": mails }))
}

pub(super) fn refuse(context: &Context, account: Option<&str>, who: &str) -> Result<Value, Refusal> {
    let account = named(&context.store, account)?;
    let (address, name) = somebody(context, &account, who)?;
    let id = account.id;
    let mails = context.store.write(move |transaction| transaction.refuse_requests(id, &address))?;
    counted(context, account.id)?;
    Ok(json!({ "name": name, "mails": mails }))
}

pub(super) fn block(context: &Context, account: Option<&str>, who: &str, block: bool) -> Result<Value, Refusal> {
    let account = named(&context.store, account)?;
    let (address, name) = somebody(context, &account, who)?;
    let id = account.id;
    if block {
        context.store.write(move |transaction| {
            transaction.unaccept(id, &address)?;
            transaction.block(id, &address)?;
            transaction.refuse_requests(id, &address).map(drop)
        })?;
        context.order(Order::Tell(Box::new(Event::Acceptance { account: id, address, accepted: false })));
        counted(context, id)?;
        // Relays are told the stamps of the others: theirs are worth nothing from then on.
        context.order(Order::Tell(Box::new(Event::StampsChanged(id))));
    } else {
        welcome(context, id, &address)?;
    }
    Ok(json!({ "name": name }))
}

pub(super) fn requests(context: &Context, account: Option<&str>) -> Result<Value, Refusal> {
    let account = named(&context.store, account)?;
    let requests: Vec<Value> = context
        .store
        .requests(account.id)?
        .into_iter()
        .map(|request| json!({ "address": request.address.mail(), "mails": request.mails, "newest_ms": request.newest_ms }))
        .collect();
    Ok(json!({ "requests": requests }))
}
