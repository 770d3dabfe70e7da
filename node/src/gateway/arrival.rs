//! An ordinary mail that is here, for one recipient: into a mailbox of the household, or into the queue for a key, from which it leaves sealed.
//! For somebody else's key it is sealed as soon as their card is known, and its own bytes are here no longer than until a node has the envelope.

use std::io::{self, Write as _};

use kith_protocol::address::Address;
use kith_protocol::event::{EntryKind, Now};
use kith_protocol::forward::Inward;
use kith_protocol::ids::AccountId;
use kith_store::blob::{BlobHash, Staged};
use kith_store::folder::Use;
use kith_store::mailbox::Filing;
use kith_store::queue::{Form, Notify, QueueEntry};
use kith_store::routes::Suggestion;
use kith_store::{Store, StoreError, Transaction};

use super::Gateway;
use crate::delivered::{self, Found};
use crate::scribe::own_letter;

/// Verdicts longer than this are cut: a hundred signatures tell nobody anything.
const VERDICT_BYTES_MAX: usize = 1_500;

/// Who gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Somebody who lives here.
    Household(AccountId),
    /// A key somewhere else.
    Elsewhere(Address),
}

/// The mail, and what is known of it.
#[derive(Clone, Debug)]
pub struct Arrival<'a> {
    /// Its bytes, with what was put on top here.
    pub mail: &'a BlobHash,
    /// The reverse-path; empty for `<>`.
    pub from: &'a str,
    /// The address that it came for.
    pub to: &'a str,
    /// What was found of its sender: the value of an Authentication-Results field; empty where nobody looked.
    pub verdict: &'a str,
    /// Its sender's domain wants it looked at with suspicion.
    pub junk: bool,
    /// The Kith address that it offers, by a signature that holds.
    pub suggestion: Option<Suggestion>,
    /// The Authentication-Results fields that it has are of somebody who may be believed: a provider that it was fetched from.
    pub keep_results: bool,
}

/// What is to be written.
#[derive(Clone, Debug)]
pub struct Prepared {
    what: What,
    suggestion: Option<(AccountId, Suggestion)>,
}

#[derive(Clone, Debug)]
enum What {
    File(AccountId, Use, Filing),
    Letter(Box<QueueEntry>, Staged),
}

impl Prepared {
    /// Writes it.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn perform(&self, transaction: &mut Transaction<'_>) -> Result<(), StoreError> {
        match &self.what {
            What::File(account, folder, filing) => transaction.deliver(*account, *folder, filing).map(drop)?,
            What::Letter(entry, content) => transaction.enqueue_staged(entry, content).map(drop)?,
        }
        match &self.suggestion {
            Some((account, suggestion)) => transaction.put_suggestion(*account, suggestion),
            None => Ok(()),
        }
    }
}

/// Brings a mail into the form in which its recipient gets it.
///
/// # Errors
/// [`StoreError`] from below.
pub fn prepare(
    store: &Store,
    gateway: &Gateway,
    target: &Target,
    arrival: &Arrival<'_>,
    now: Now,
) -> Result<Prepared, StoreError> {
    let verdict: String = arrival.verdict.chars().take(VERDICT_BYTES_MAX).collect();
    let mut stage = store.stage()?;
    match target {
        Target::Household(account) => {
            let found = Found {
                by: &gateway.hello(),
                from: arrival.from,
                to: arrival.to,
                verdict: &verdict,
                junk: arrival.junk,
                keep_results: arrival.keep_results,
            };
            delivered::write_found(store.blob(arrival.mail)?, &found, now.wall, &mut stage).map_err(delivered::disk)?;
            let filing = Filing::fresh(stage.finish()?, now.wall);
            let folder = if arrival.junk { Use::Junk } else { Use::Inbox };
            let suggestion = match &arrival.suggestion {
                Some(suggestion) => wanted(store, *account, suggestion)?,
                None => None,
            };
            Ok(Prepared { what: What::File(*account, folder, filing), suggestion })
        }
        Target::Elsewhere(address) => {
            let inward = Inward::new(arrival.from.to_owned(), arrival.to.to_owned(), verdict, arrival.junk);
            let front = inward.front().map_err(|error| StoreError::Invalid(error.to_string()))?;
            stage.write_all(&front).map_err(delivered::disk)?;
            io::copy(&mut store.blob(arrival.mail)?, &mut stage).map_err(delivered::disk)?;
            let content = stage.finish_apart()?;
            let entry = QueueEntry {
                form: Form::Incoming,
                typed: arrival.to.to_owned(),
                blob: Some((content.hash, content.size)),
                // The sender was told `250`; whoever runs the gateway is told what did not arrive.
                notify: Notify { success: false, failure: !arrival.from.is_empty(), delay: false },
                ..own_letter(sealer(store, address)?, *address, EntryKind::Mail, now)
            };
            Ok(Prepared { what: What::Letter(Box::new(entry), content), suggestion: None })
        }
    }
}

/// Whose key seals mail that came in for somebody else: an account that shares its gateway with them, else one that knows them, else the first.
fn sealer(store: &Store, address: &Address) -> Result<AccountId, StoreError> {
    let accounts = store.accounts()?;
    let mut knows = None;
    for account in &accounts {
        if store.gateway_sharing(account.id, address)?.they_may {
            return Ok(account.id);
        }
        if knows.is_none() && store.contact_by_address(account.id, address)?.is_some() {
            knows = Some(account.id);
        }
    }
    knows.or(accounts.first().map(|account| account.id)).ok_or(StoreError::NotFound("an account"))
}

/// A suggestion that says something new: not what the person knows already.
fn wanted(store: &Store, account: AccountId, offered: &Suggestion) -> Result<Option<(AccountId, Suggestion)>, StoreError> {
    let known = store.contact_by_email(account, &offered.email)?;
    Ok(known.is_none().then(|| (account, offered.clone())))
}
