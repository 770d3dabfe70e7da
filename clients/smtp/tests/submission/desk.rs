//! A policy as a node has it, small: mum and dad write to each other, and what they send goes to the real store.

use std::sync::{Arc, Mutex};

use kith_protocol::ids::{AccountId, MailId};
use kith_smtp::command::RcptParams;
use kith_smtp::{AcceptedMail, CommitRefusal, Policy, Refusal, Route};
use kith_store::Store;
use kith_store::account::Account;
use kith_store::folder::Flags;
use kith_store::mailbox::Filing;
use kith_store::queue::Submission;

use crate::home::Home;

/// Largest mail, bytes.
pub(crate) const LIMIT: u64 = 300_000;

pub(crate) struct Desk {
    store: Store,
    mum: Account,
    dad: Account,
    taken: Mutex<Vec<AcceptedMail>>,
}

impl Desk {
    pub(crate) fn new(home: &Home) -> Arc<Self> {
        Arc::new(Self { store: home.store.clone(), mum: home.mum.clone(), dad: home.dad.clone(), taken: Mutex::default() })
    }

    /// The mails that were taken.
    pub(crate) fn mails(&self) -> Vec<Vec<u8>> {
        let taken = self.taken.lock().unwrap();
        taken.iter().map(|mail| self.store.blob_bytes(&mail.mail.hash, LIMIT * 2).unwrap()).collect()
    }

    /// The same with what the client said about them.
    pub(crate) fn taken(&self) -> Vec<AcceptedMail> {
        self.taken.lock().unwrap().clone()
    }
}

fn owns(account: &Account, address: &str) -> bool {
    address.eq_ignore_ascii_case(&format!("{}@kith.alt", account.name))
}

fn refusal(code: u16, enhanced: &'static str, text: &'static str) -> Refusal {
    Refusal { code, enhanced, text: text.into() }
}

impl Policy for Desk {
    fn may_send_as(&self, account: &Account, reverse_path: &str) -> Result<(), Refusal> {
        let fine = reverse_path.is_empty() || owns(account, reverse_path);
        fine.then_some(()).ok_or_else(|| refusal(550, "5.7.1", "That sender is not you"))
    }

    fn from_header_ok(&self, account: &Account, addresses: &[String]) -> Result<(), Refusal> {
        let fine = addresses.iter().all(|address| owns(account, address));
        fine.then_some(()).ok_or_else(|| refusal(550, "5.7.1", "The From field is not you"))
    }

    fn recipient(&self, _account: &Account, address: &str, _params: &RcptParams) -> Result<Route, Refusal> {
        match address.to_lowercase().as_str() {
            "mum@kith.alt" => Ok(Route::Household(self.mum.id)),
            "dad@kith.alt" | "d\u{e4}d@kith.alt" => Ok(Route::Household(self.dad.id)),
            "full@kith.alt" => Ok(Route::Overlay(self.dad.address)),
            other => {
                // A household of thousands, who can be named but not written to.
                let number = other.strip_prefix("member").and_then(|rest| rest.strip_suffix("@kith.alt")?.parse().ok());
                let nobody = || refusal(550, "5.1.1", "There is nobody of that name here");
                number.map(|number| Route::Household(AccountId(number))).ok_or_else(nobody)
            }
        }
    }

    fn commit(&self, mail: AcceptedMail) -> Result<String, CommitRefusal> {
        if mail.recipients.iter().any(|recipient| recipient.typed == "full@kith.alt") {
            return Err(CommitRefusal::Full);
        }
        let filing = Filing { blob: mail.mail.clone(), flags: Flags::default(), internal_date: self.now(), internal_zone: 0 };
        let household = mail.recipients.iter().filter_map(|recipient| match recipient.route {
            Route::Household(account) => Some((account, filing.clone())),
            Route::Overlay(_) | Route::Legacy { .. } => None,
        });
        let submission = Submission {
            account: mail.account.id,
            mail: mail.mail.clone(),
            mid: MailId([7; 16]),
            submitted_ms: self.now() * 1000,
            recipients: Vec::new(),
            household: household.collect(),
            legacy: Vec::new(),
            letters: Vec::new(),
            envid: mail.envid.clone(),
            ret_full: mail.ret_full,
        };
        self.store.submit(submission).map_err(|_| CommitRefusal::Broken)?;
        let mut taken = self.taken.lock().unwrap();
        taken.push(mail);
        Ok(format!("mail{}", taken.len()))
    }

    fn size_limit(&self) -> u64 {
        LIMIT
    }

    fn now(&self) -> i64 {
        1_795_000_000
    }

    fn unique(&self) -> [u8; 16] {
        [7; 16]
    }
}
