//! What happens to a submitted mail: who may send as whom, which road each recipient is on, and the one commit behind the `250`.

use std::borrow::Cow;
use std::sync::Arc;

use kith_protocol::address::Address;
use kith_protocol::event::{EntryKind, Now};
use kith_protocol::ids::MailId;
use kith_smtp::policy::{AcceptedMail, AcceptedRecipient, CommitRefusal, Policy, Refusal, Route};
use kith_store::account::Account;
use kith_store::blob::Staged;
use kith_store::legacy::LegacyRecipient;
use kith_store::mailbox::Filing;
use kith_store::queue::{Form, Notify, QueueEntry, QueuedRecipient, Submission};
use kith_store::{Store, StoreError};

use crate::addressing;
use crate::delivered;
use crate::engine::Clock;
use crate::gateway::{Gateway, WayOut, clear, sharing};
use crate::notices;
use crate::route::{self, Road, Unroutable};
use crate::scribe::own_letter;

/// RFC 3461 §4.1: what a client that says nothing is told. Failures and delays.
pub const NOTIFY_DEFAULT: Notify = Notify { success: false, failure: true, delay: true };

/// `NOTIFY=NEVER`.
const NOTIFY_NEVER: Notify = Notify { success: false, failure: false, delay: false };

/// The node's decisions for its submission port.
#[derive(Clone)]
pub struct Desk {
    store: Store,
    clock: Clock,
    gateway: Arc<Gateway>,
    size_limit: u64,
}

impl Desk {
    /// A desk over a store; `size_limit` in bytes.
    pub fn new(store: Store, clock: Clock, gateway: Arc<Gateway>, size_limit: u64) -> Self {
        Self { store, clock, gateway, size_limit }
    }

    /// The key behind a name: a contact's, else a household member's.
    fn key_of(&self, account: &Account, name: &str) -> Option<Address> {
        if let Ok(Some(contact)) = self.store.contact_by_name(account.id, name) {
            return Some(contact.address);
        }
        self.store.account_by_login(name).ok().flatten().map(|account| account.address)
    }

    fn take(&self, mut mail: AcceptedMail) -> Result<String, StoreError> {
        let now = self.clock.now();
        let mid = MailId(rand::random());
        let mut recipients = Vec::new();
        let mut household = Vec::new();
        let mut reports = Vec::new();
        let mut legacy = Vec::new();
        let from = self.reverse_path(&mail)?;
        for AcceptedRecipient { route, typed, notify, orcpt } in std::mem::take(&mut mail.recipients) {
            // Nobody is told what became of a mail from `<>`, whatever its client asked for (RFC 3461 §5.2.1): reports answering reports never end.
            let notify = if mail.reverse_path.is_empty() { NOTIFY_NEVER } else { notify.unwrap_or(NOTIFY_DEFAULT) };
            match route {
                Route::Overlay(address) => recipients.push(QueuedRecipient { address, typed, notify, orcpt }),
                Route::Legacy { address, held } => {
                    legacy.push(LegacyRecipient { address, from: from.clone(), typed, notify, orcpt, held });
                }
                Route::Household(account) => {
                    let blob = delivered::for_household(&self.store, &mail.account, &mail.mail, now.wall)?;
                    household.push((account, Filing::fresh(blob, now.wall)));
                    if notify.success {
                        let recipient = self.store.account(account)?.address;
                        reports.push(QueueEntry {
                            mid,
                            typed,
                            blob: Some((mail.mail.hash, mail.mail.size)),
                            notify,
                            orcpt,
                            envid: mail.envid.clone(),
                            ret_full: mail.ret_full,
                            ..own_letter(mail.account.id, recipient, EntryKind::Mail, now)
                        });
                    }
                }
            }
        }
        for entry in reports {
            // In the same commit as what it says.
            household.push((mail.account.id, self.report(&mail.account, &entry, now)?));
        }
        let (letters, legacy_own) = self.ways(&mail, &legacy, mid, now)?;
        let told = clear::told(&self.store, &self.gateway, &mail, &legacy, now)?;
        let submission = Submission {
            account: mail.account.id,
            mail: mail.mail,
            mid,
            submitted_ms: now.wall.0,
            recipients,
            household,
            legacy: legacy_own,
            letters,
            envid: mail.envid,
            ret_full: mail.ret_full,
        };
        self.store.write(move |transaction| {
            told.perform(transaction)?;
            transaction.submit(&submission)
        })?;
        Ok(hex::encode(mid.as_bytes()))
    }
}

/// Letters for a contact's gateway with their bytes, and what goes by this node's own.
type Ways = (Vec<(QueueEntry, Staged)>, Vec<LegacyRecipient>);

impl Desk {
    /// Recipients in the clear, by the way that they go: a letter each to a contact's gateway, or this node's own queue.
    fn ways(&self, mail: &AcceptedMail, legacy: &[LegacyRecipient], mid: MailId, now: Now) -> Result<Ways, StoreError> {
        let Some(WayOut::Contact(gateway)) = self.gateway.way_out(&self.store, &mail.account)?.filter(|_| !legacy.is_empty())
        else {
            return Ok((Vec::new(), legacy.to_vec()));
        };
        let entry = QueueEntry {
            form: Form::Outgoing,
            mid,
            envid: mail.envid.clone(),
            ret_full: mail.ret_full,
            ..own_letter(mail.account.id, gateway, EntryKind::Mail, now)
        };
        let (held, free): (Vec<_>, Vec<_>) = legacy.iter().cloned().partition(|recipient| recipient.held);
        let letters = free.iter().map(|recipient| sharing::letter(&self.store, &entry, recipient, &mail.mail.hash));
        Ok((letters.collect::<Result<_, _>>()?, held))
    }

    /// The address that the ordinary world knows the sender by: what the client said, where that is one; empty for `<>`.
    fn reverse_path(&self, mail: &AcceptedMail) -> Result<String, StoreError> {
        let typed = &mail.reverse_path;
        if typed.is_empty() || self.gateway.owns(&self.store, &mail.account, typed)? {
            return Ok(typed.clone());
        }
        Ok(self.gateway.identity(&self.store, &mail.account)?.unwrap_or_default())
    }

    /// Is this address one of the account's, of either world?
    fn owns(&self, account: &Account, address: &str) -> bool {
        route::owns(account, address) || self.gateway.owns(&self.store, account, address).unwrap_or(false)
    }

    /// The report that somebody of the household has the mail.
    fn report(&self, sender: &Account, entry: &QueueEntry, now: Now) -> Result<Filing, StoreError> {
        let original = entry.blob.as_ref().and_then(|(hash, _)| crate::scribe::beginning(&self.store, hash));
        let report = notices::Report {
            about: entry.into(),
            sender: &format!("{}@kith.alt", sender.name),
            notice: &notices::Notice::DeliveredHere,
            original: original.as_deref(),
            wall: now.wall,
            expiry_ms: 0,
            unique: rand::random(),
        };
        let mut stage = self.store.stage()?;
        std::io::Write::write_all(&mut stage, &notices::compose(&report)).map_err(delivered::disk)?;
        Ok(Filing::fresh(stage.finish()?, now.wall))
    }
}

/// A sentence for the wire: ASCII, one line.
pub(crate) fn wire(text: &str) -> Cow<'static, str> {
    text.chars().map(|letter| if (' '..='~').contains(&letter) { letter } else { '?' }).collect::<String>().into()
}

/// How a recipient's refusal is said in SMTP.
fn refused(error: &Unroutable) -> Refusal {
    let (code, enhanced) = match error {
        Unroutable::Syntax(_) => (550, "5.1.3"),
        Unroutable::Mistyped(_) | Unroutable::UnknownName(_) => (550, "5.1.1"),
        Unroutable::Unmapped(_) => (550, "5.1.1"),
        Unroutable::Legacy(_) => (550, "5.1.2"),
        Unroutable::Forbidden(_) | Unroutable::Deceptive(..) => (550, "5.7.1"),
        Unroutable::Store(_) => (451, "4.3.0"),
    };
    Refusal { code, enhanced, text: wire(&error.to_string()) }
}

fn not_yours(account: &Account, address: &str) -> Refusal {
    Refusal {
        code: 550,
        enhanced: "5.7.1",
        text: wire(&format!(
            "you are logged in as {0}, and {address} is not yours; write as {0}@kith.alt or {1}",
            account.name,
            account.address.mail()
        )),
    }
}

impl Policy for Desk {
    fn may_send_as(&self, account: &Account, reverse_path: &str) -> Result<(), Refusal> {
        if reverse_path.is_empty() || self.owns(account, reverse_path) { Ok(()) } else { Err(not_yours(account, reverse_path)) }
    }

    fn from_header_ok(&self, account: &Account, addresses: &[String]) -> Result<(), Refusal> {
        match addresses.iter().find(|address| !self.owns(account, address)) {
            Some(foreign) => Err(not_yours(account, foreign)),
            None => Ok(()),
        }
    }

    fn recipient(&self, account: &Account, address: &str, _params: &kith_smtp::command::RcptParams) -> Result<Route, Refusal> {
        match route::find(&self.store, &self.gateway, account, address) {
            Ok(Road::Household(account)) => Ok(Route::Household(account)),
            Ok(Road::Overlay(address)) => Ok(Route::Overlay(address)),
            Ok(Road::Legacy { address, held }) => Ok(Route::Legacy { address, held }),
            Err(error) => Err(refused(&error)),
        }
    }

    fn readdress(&self, account: &Account, header: Vec<u8>) -> Vec<u8> {
        let header = addressing::localise(&header, |name| self.key_of(account, name));
        // Her ordinary address means her key, where keys are what people are known by; on the way out in the clear it stands there again.
        addressing::readdress(&header, |local, domain| {
            let email = format!("{local}@{domain}").to_lowercase();
            let hers =
                !domain.to_ascii_lowercase().ends_with(route::DOMAIN) && self.gateway.owns(&self.store, account, &email).ok()?;
            hers.then(|| account.address.mail())
        })
    }

    fn commit(&self, mail: AcceptedMail) -> Result<String, CommitRefusal> {
        self.take(mail).map_err(|error| match error {
            StoreError::DiskFull => CommitRefusal::Full,
            error => {
                tracing::error!(%error, "a submission could not be committed");
                CommitRefusal::Broken
            }
        })
    }

    fn size_limit(&self) -> u64 {
        self.size_limit
    }

    fn now(&self) -> i64 {
        self.clock.now().wall.0.div_euclid(1000)
    }

    fn unique(&self) -> [u8; 16] {
        rand::random()
    }
}
