//! A policy as a gateway has it, small: mum and dad get mail at kith.test, and what comes goes to the real store.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use kith_protocol::ids::MailId;
use kith_smtp::mx::{IncomingMail, Peer, Policy, RecipientRefusal};
use kith_smtp::{CommitRefusal, Refusal, Route};
use kith_store::Store;
use kith_store::account::Account;
use kith_store::folder::Flags;
use kith_store::mailbox::Filing;
use kith_store::queue::Submission;

use crate::home::Home;

/// Largest mail, bytes.
pub(crate) const LIMIT: u64 = 300_000;

pub(crate) struct MxDesk {
    store: Store,
    mum: Account,
    dad: Account,
    taken: Mutex<Vec<IncomingMail>>,
    asked: Mutex<u64>,
}

impl MxDesk {
    pub(crate) fn new(home: &Home) -> Arc<Self> {
        let (store, mum, dad) = (home.store.clone(), home.mum.clone(), home.dad.clone());
        Arc::new(Self { store, mum, dad, taken: Mutex::default(), asked: Mutex::default() })
    }

    /// The mails that were taken.
    pub(crate) fn mails(&self) -> Vec<Vec<u8>> {
        let taken = self.taken.lock().unwrap();
        taken.iter().map(|mail| self.store.blob_bytes(&mail.mail.hash, LIMIT * 2).unwrap()).collect()
    }

    /// The same with their envelopes.
    pub(crate) fn taken(&self) -> Vec<IncomingMail> {
        self.taken.lock().unwrap().clone()
    }

    /// How often a recipient was looked up.
    pub(crate) fn asked(&self) -> u64 {
        *self.asked.lock().unwrap()
    }
}

fn refusal(code: u16, enhanced: &'static str, text: &'static str) -> Refusal {
    Refusal { code, enhanced, text: text.into() }
}

impl Policy for MxDesk {
    fn name(&self) -> &'static str {
        "mx.kith.test"
    }

    fn connected(&self, ip: IpAddr) -> Result<(), Refusal> {
        let banned = ip == IpAddr::from([203, 0, 113, 9]);
        if banned { Err(refusal(554, "5.7.1", "Not from there")) } else { Ok(()) }
    }

    fn sender(&self, _peer: &Peer, reverse_path: &str, _size: Option<u64>) -> Result<(), Refusal> {
        match reverse_path {
            "spammer@bad.example" => Err(refusal(550, "5.7.1", "Not from you")),
            "flood@bad.example" => Err(refusal(421, "4.7.0", "Too much from you; goodbye")),
            _ => Ok(()),
        }
    }

    fn recipient(&self, _peer: &Peer, _reverse_path: &str, address: &str) -> Result<Route, RecipientRefusal> {
        *self.asked.lock().unwrap() += 1;
        match address.to_lowercase().as_str() {
            "mum@kith.test" | "postmaster" | "m\u{fc}m@kith.test" => Ok(Route::Household(self.mum.id)),
            "dad@kith.test" | "full@kith.test" => Ok(Route::Household(self.dad.id)),
            "grey@kith.test" => Err(RecipientRefusal::Refused(refusal(451, "4.7.1", "Come again in five minutes"))),
            other => match other.strip_prefix("member").and_then(|rest| rest.strip_suffix("@kith.test")?.parse().ok()) {
                Some(number) => Ok(Route::Household(kith_protocol::ids::AccountId(number))),
                None if other.ends_with("@kith.test") => {
                    Err(RecipientRefusal::Unknown(refusal(550, "5.1.1", "There is nobody of that name here")))
                }
                None => Err(RecipientRefusal::Unknown(refusal(550, "5.7.1", "Mail for that domain does not go this way"))),
            },
        }
    }

    fn commit(&self, mail: IncomingMail) -> Result<String, CommitRefusal> {
        if mail.recipients.iter().any(|recipient| recipient.typed == "full@kith.test") {
            return Err(CommitRefusal::Full);
        }
        let bytes = self.store.blob_bytes(&mail.mail.hash, LIMIT * 2).map_err(|_| CommitRefusal::Broken)?;
        if bytes.windows(9).any(|window| window == b"X-Forged:") {
            return Err(CommitRefusal::Refused(refusal(550, "5.7.1", "Its own domain says that it is forged")));
        }
        let filing = Filing { blob: mail.mail.clone(), flags: Flags::default(), internal_date: self.now(), internal_zone: 0 };
        let household = mail.recipients.iter().filter_map(|recipient| match recipient.route {
            Route::Household(account) => Some((account, filing.clone())),
            _ => None,
        });
        let submission = Submission {
            account: self.mum.id,
            mail: mail.mail.clone(),
            mid: MailId([7; 16]),
            submitted_ms: self.now() * 1000,
            recipients: Vec::new(),
            household: household.collect(),
            legacy: Vec::new(),
            letters: Vec::new(),
            envid: None,
            ret_full: false,
        };
        self.store.submit(submission).map_err(|error| match error {
            kith_store::StoreError::DiskFull => CommitRefusal::Full,
            _ => CommitRefusal::Broken,
        })?;
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
