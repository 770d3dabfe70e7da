//! Rounds over Dovecot with a keeper that fails at every possible moment: every mail is kept exactly once, and none is deleted there that is not here.

use std::collections::BTreeMap;

use kith_gateway::fetch::keeper::{Keeper, imap_round, pop3_round};
use kith_gateway::fetch::{Account, Afterwards, FetchError, Protocol, Security, imap, pop3};

use crate::dovecot::Dovecot;

/// Keeps mails and a position; its power fails when so many calls were made.
struct Shelf<P> {
    mails: BTreeMap<String, u32>,
    position: Option<P>,
    passed_over: Vec<u64>,
    calls_left: u32,
}

impl<P> Shelf<P> {
    fn new() -> Self {
        Self { mails: BTreeMap::new(), position: None, passed_over: Vec::new(), calls_left: 0 }
    }

    fn call(&mut self) -> Result<(), FetchError> {
        self.calls_left = self.calls_left.checked_sub(1).ok_or_else(|| FetchError::Disk(std::io::Error::other("no power")))?;
        Ok(())
    }
}

impl<P: Clone + Send> Keeper<P> for Shelf<P> {
    type Sink = Vec<u8>;

    fn begin(&mut self) -> Result<Vec<u8>, FetchError> {
        self.call().map(|()| Vec::new())
    }

    fn commit(&mut self, mail: Option<Vec<u8>>, position: &P) -> Result<(), FetchError> {
        self.call()?;
        if let Some(mail) = mail {
            *self.mails.entry(String::from_utf8(mail).unwrap()).or_default() += 1;
        }
        self.position = Some(position.clone());
        // The power may fail right behind the commit, too.
        self.call()
    }

    fn passed_over(&mut self, bytes: u64) {
        self.passed_over.push(bytes);
    }
}

fn fill(dovecot: &Dovecot, count: u32) -> Vec<String> {
    for number in 0..count {
        dovecot.deliver(&format!("Subject: {number}\n\nx\n"));
    }
    dovecot.deliver(&format!("Subject: large\n\n{}\n", "y".repeat(2 << 20)));
    (0..count).map(|number| format!("Subject: {number}\r\n\r\nx\r\n")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn imap_rounds_that_break_off_anywhere_lose_and_double_nothing() {
    let Some(dovecot) = Dovecot::start() else { return };
    let expected = fill(&dovecot, 6);
    let account = Account { afterwards: Afterwards::Delete, ..dovecot.account(Protocol::Imap, Security::Tls) };
    let mut shelf = Shelf::new();
    let mut rounds = 0;
    for calls in (1..8).chain([1000, 1000]) {
        shelf.calls_left = calls;
        let mut session = imap::Session::connect(&account).await.unwrap();
        let stored = shelf.position.clone();
        rounds += u32::from(imap_round(&mut session, "INBOX", stored.as_ref(), &mut shelf).await.is_ok());
        let there = dovecot.files("").len();
        assert!(there + shelf.mails.len() > expected.len(), "none is deleted there that is not here");
    }
    assert_eq!(shelf.mails.keys().cloned().collect::<Vec<_>>(), expected);
    assert!(shelf.mails.values().all(|count| *count == 1) && rounds >= 2);
    assert_eq!((dovecot.files("").len(), shelf.passed_over.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pop3_rounds_that_break_off_anywhere_lose_and_double_nothing() {
    let Some(dovecot) = Dovecot::start() else { return };
    let expected = fill(&dovecot, 6);
    let account = Account { afterwards: Afterwards::Delete, ..dovecot.account(Protocol::Pop3, Security::Tls) };
    let mut shelf = Shelf::<pop3::Position>::new();
    for calls in (1..8).chain([1000, 1000]) {
        shelf.calls_left = calls;
        let session = pop3::Session::connect(&account).await.unwrap();
        let stored = shelf.position.clone().unwrap_or_default();
        let _broken_off = pop3_round(session, &stored, &mut shelf).await;
        assert!(dovecot.files("").len() + shelf.mails.len() > expected.len(), "none is deleted there that is not here");
    }
    assert_eq!(shelf.mails.keys().cloned().collect::<Vec<_>>(), expected);
    assert!(shelf.mails.values().all(|count| *count == 1));
    assert_eq!((dovecot.files("").len(), shelf.passed_over.len()), (1, 1));
}
