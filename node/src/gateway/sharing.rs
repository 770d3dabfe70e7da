//! Gateways that people share: mail that leaves in the clear by a contact's node, and what this node sends on for others.

use std::io::{self, Write as _};

use kith_protocol::address::Address;
use kith_protocol::event::{EntryKind, Now};
use kith_protocol::forward::Outward;
use kith_protocol::ids::{AccountId, EntryId, MailId};
use kith_store::blob::{BlobHash, Staged};
use kith_store::legacy::{LegacyEntry, LegacyProgress, LegacyRecipient};
use kith_store::queue::{Form, Notify, QueueEntry};
use kith_store::{Store, StoreError, Transaction};

use super::{Gateway, WayOut};
use crate::delivered;
use crate::notices::{self, Notice, Report};
use crate::scribe::own_letter;

/// The letter that asks a contact's gateway to send a mail on to one recipient.
///
/// # Errors
/// [`StoreError`] from below; `Invalid` for an address that is too long.
pub fn letter(
    store: &Store,
    entry: &QueueEntry,
    recipient: &LegacyRecipient,
    mail: &BlobHash,
) -> Result<(QueueEntry, Staged), StoreError> {
    let notify = &recipient.notify;
    let bits = u8::from(notify.success) | u8::from(notify.failure) << 1 | u8::from(notify.delay) << 2;
    let outward = Outward::new(recipient.address.clone(), bits, recipient.orcpt.clone(), entry.envid.clone(), entry.ret_full);
    let front = outward.front().map_err(|error| StoreError::Invalid(error.to_string()))?;
    let mut stage = store.stage()?;
    stage.write_all(&front).map_err(delivered::disk)?;
    io::copy(&mut store.blob(mail)?, &mut stage).map_err(delivered::disk)?;
    let content = stage.finish()?;
    let entry = QueueEntry {
        form: Form::Outgoing,
        // A name of its own: the gateway would take two recipients of one mail for the same letter.
        mid: MailId(rand::random()),
        typed: recipient.typed.clone(),
        blob: Some((content.hash, content.size)),
        notify: *notify,
        orcpt: recipient.orcpt.clone(),
        ..entry.clone()
    };
    Ok((entry, content))
}

/// What is to be written of a mail that somebody wants sent on.
#[derive(Clone, Debug)]
pub enum Sending {
    /// It goes into the gateway's queue.
    Entry(LegacyEntry, Staged),
    /// It does not, and its sender is told why.
    Report(QueueEntry, Staged),
    /// It does not, and nobody wanted to be told.
    Nothing,
}

impl Sending {
    /// Writes it.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn perform(&self, transaction: &mut Transaction<'_>) -> Result<(), StoreError> {
        match self {
            Self::Entry(entry, mail) => transaction.submit_legacy(entry, mail).map(drop),
            Self::Report(entry, report) => transaction.enqueue_staged(entry, report).map(drop),
            Self::Nothing => Ok(()),
        }
    }
}

/// What becomes of a mail that somebody (`from`) wants sent on by the gateway of an account of ours.
///
/// # Errors
/// [`StoreError`] from below.
pub fn sending(
    store: &Store,
    gateway: &Gateway,
    (account, from): (AccountId, Address),
    mid: MailId,
    outward: &Outward,
    mail: Staged,
    now: Now,
) -> Result<Sending, StoreError> {
    let notify = Notify { success: outward.notify & 1 != 0, failure: outward.notify & 2 != 0, delay: outward.notify & 4 != 0 };
    let mut entry = LegacyEntry {
        id: EntryId(0),
        account,
        origin: Some(from),
        mid,
        from: String::new(),
        recipient: outward.to.clone(),
        typed: outward.to.clone(),
        blob: (mail.hash, mail.size),
        submitted_ms: now.wall.0,
        notify,
        orcpt: outward.orcpt.clone(),
        envid: outward.envid.clone(),
        ret_full: outward.whole,
        progress: LegacyProgress { aged_at_ms: now.wall.0, ..LegacyProgress::default() },
    };
    match allowed(store, gateway, account, &from, &outward.to)? {
        Ok(address) => {
            entry.from = address;
            Ok(Sending::Entry(entry, mail))
        }
        Err(why) if notify.failure => {
            let notice = Notice::LegacyFailed { status: "5.7.1".into(), said: why.to_owned() };
            let mut original = Vec::new();
            let beginning = io::Read::take(store.blob(&mail.hash)?, notices::RETURNED_BYTES_MAX);
            io::Read::read_to_end(&mut { beginning }, &mut original).map_err(delivered::disk)?;
            let (entry, report) = report(store, &entry, &from, &notice, Some(&original), now, 0)?;
            Ok(Sending::Report(entry, report))
        }
        Err(_) => Ok(Sending::Nothing),
    }
}

/// The address that somebody may send from by the gateway of an account, or why not.
fn allowed(
    store: &Store,
    gateway: &Gateway,
    account: AccountId,
    from: &Address,
    to: &str,
) -> Result<Result<String, &'static str>, StoreError> {
    if !store.gateway_sharing(account, from)?.they_may {
        return Ok(Err("this gateway is not open to you; ask its owner for: kith gateway allow"));
    }
    let owner = store.account(account)?;
    if matches!(gateway.way_out(store, &owner)?, None | Some(WayOut::Contact(_))) {
        return Ok(Err("this node has no way to ordinary addresses any more"));
    }
    let email = to.to_lowercase();
    if !email.contains('@') || gateway.clear(store, account, &email)? == kith_store::routes::Clear::Never {
        return Ok(Err("this gateway does not send to that address"));
    }
    match gateway.alias(store, from)? {
        Some(address) => Ok(Ok(address)),
        None => Ok(Err("this gateway has no address for you to send from; ask its owner for: kith gateway map")),
    }
}

/// A report for somebody whose mail was sent on: a letter of the gateway's owner, and its bytes.
///
/// # Errors
/// [`StoreError`] from below.
pub fn report(
    store: &Store,
    entry: &LegacyEntry,
    to: &Address,
    notice: &Notice,
    original: Option<&[u8]>,
    now: Now,
    expiry_ms: u64,
) -> Result<(QueueEntry, Staged), StoreError> {
    let report =
        Report { about: entry.into(), sender: &to.mail(), notice, original, wall: now.wall, expiry_ms, unique: rand::random() };
    let mut stage = store.stage()?;
    stage.write_all(&notices::compose(&report)).map_err(delivered::disk)?;
    let content = stage.finish()?;
    let entry = QueueEntry {
        typed: to.mail(),
        blob: Some((content.hash, content.size)),
        // Of which nobody is told: reports answering reports never end.
        ..own_letter(entry.account, *to, EntryKind::Mail, now)
    };
    Ok((entry, content))
}
