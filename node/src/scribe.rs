//! The thread that makes the core's decisions durable: whatever waits is written as one transaction, in order.
//!
//! What a commit promises is released only from here, after the store has synced.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use kith_protocol::address::Address;
use kith_protocol::event::{CommitProblem, Effect, EntryKind, Event, Fate, Now, Progress, Write};
use kith_protocol::ids::{AccountId, BatchId, EntryId, MailId, Token};
use kith_store::contact::KnownCard;
use kith_store::folder::Use;
use kith_store::mailbox::Filing;
use kith_store::queue::{Notify, QueueEntry};
use kith_store::{Store, StoreError, Transaction};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use crate::correspondence::{Shared, Taken};
use crate::engine::{Answered, Clock};
use crate::notices::{self, Notice, Report};

/// How many commits may wait; the engine waits when it is full.
const COMMITS_MAX: usize = 1024;
/// How many commits become one transaction at most.
const TOGETHER_MAX: usize = 256;

/// A set of writes from the core, with what may happen once they are durable.
#[derive(Debug)]
pub struct Commit {
    /// Its name.
    pub batch: BatchId,
    /// What to write.
    pub writes: Vec<Write>,
    /// What it promises.
    pub then: Vec<Effect>,
}

/// The engine's end.
pub struct Scribe {
    commits: Option<SyncSender<Commit>>,
    thread: Option<JoinHandle<()>>,
}

impl Scribe {
    /// Starts the thread. `expiry_ms` is told to senders in delay notices.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(
        store: Store,
        shared: Shared,
        clock: Clock,
        expiry_ms: u64,
        answers: mpsc::Sender<Answered>,
    ) -> std::io::Result<Self> {
        let (commits, waiting) = sync_channel(COMMITS_MAX);
        let desk = Desk { store, shared, clock, expiry_ms, answers };
        let thread = std::thread::Builder::new().name("kith-scribe".into()).spawn(move || desk.work(&waiting))?;
        Ok(Self { commits: Some(commits), thread: Some(thread) })
    }

    /// Hands a commit over; waits where too many wait already.
    pub fn send(&self, commit: Commit) {
        if let Some(commits) = &self.commits
            && commits.send(commit).is_err()
        {
            tracing::error!("the committing thread is gone");
        }
    }

    /// Writes what is left and ends the thread.
    pub fn finish(mut self) {
        self.commits = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the committing thread ended in a panic");
        }
    }
}

/// One row or mail of a transaction: prepared, so that the transaction itself only writes.
#[derive(Clone)]
enum Step {
    Progress(EntryId, Progress),
    Remove(EntryId),
    Deliver(AccountId, Filing),
    /// A letter: filed only where its name is new.
    Letter {
        account: AccountId,
        from: Address,
        mid: MailId,
        wall_ms: i64,
        filing: Filing,
    },
    Secret(String, Zeroizing<Vec<u8>>),
    Card(KnownCard),
    Enqueue(Box<QueueEntry>),
}

struct Desk {
    store: Store,
    shared: Shared,
    clock: Clock,
    expiry_ms: u64,
    answers: mpsc::Sender<Answered>,
}

impl Desk {
    fn work(&self, waiting: &Receiver<Commit>) {
        while let Ok(first) = waiting.recv() {
            let mut commits = vec![first];
            while commits.len() < TOGETHER_MAX
                && let Ok(next) = waiting.try_recv()
            {
                commits.push(next);
            }
            self.commit(commits);
        }
    }

    fn commit(&self, commits: Vec<Commit>) {
        let outcome = self.write(&commits);
        if outcome.is_err() && commits.len() > 1 {
            // One that cannot be written must not take the others with it.
            commits.into_iter().for_each(|commit| self.commit(vec![commit]));
            return;
        }
        for Commit { batch, then, .. } in commits {
            let answer = match &outcome {
                Ok(()) => Answered::Committed { then, event: Event::Durable(batch) },
                Err(error) => {
                    let reason = match error {
                        StoreError::DiskFull => CommitProblem::DiskFull,
                        _ => CommitProblem::Broken,
                    };
                    Answered::Committed { then: Vec::new(), event: Event::CommitFailed { batch, reason } }
                }
            };
            if self.answers.blocking_send(answer).is_err() {
                return;
            }
        }
        if let Err(error) = outcome {
            tracing::error!(%error, "a commit failed");
        }
    }

    fn write(&self, commits: &[Commit]) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut steps = Vec::new();
        for write in commits.iter().flat_map(|commit| &commit.writes) {
            self.prepare(write, now, &mut steps)?;
        }
        // The keys that sealing has spent are part of the commit before any envelope sealed with them is offered.
        let changed = self.shared.changed_correspondents();
        for (name, bytes) in &changed {
            steps.push(Step::Secret(name.clone(), bytes.clone()));
        }
        let result = self.store.write(move |transaction| steps.iter().try_for_each(|step| perform(transaction, step)));
        self.shared.correspondents_written(&changed, result.is_ok());
        result
    }

    fn prepare(&self, write: &Write, now: Now, steps: &mut Vec<Step>) -> Result<(), StoreError> {
        match write {
            Write::Progress { entry, progress } => steps.push(Step::Progress(*entry, progress.clone())),
            Write::DelayNotice { entry } => {
                if let Some(entry) = self.store.queue_entry(*entry)? {
                    let notice = Notice::Delayed(entry.progress.last_problem.clone());
                    self.report(&entry, &notice, now, steps)?;
                }
            }
            Write::Fate { entry, fate } => {
                if let Some(entry) = self.store.queue_entry(*entry)? {
                    let notice = match fate {
                        Fate::Delivered => Some(Notice::Delivered),
                        Fate::Failed(problem) => Some(Notice::Failed(problem.clone())),
                        Fate::HandedOver => None,
                    };
                    if let Some(notice) = notice {
                        self.report(&entry, &notice, now, steps)?;
                    }
                    steps.push(Step::Remove(entry.id));
                }
            }
            Write::File { token, receipt } => self.letter(*token, true, *receipt, now, steps),
            Write::Absorb { token, receipt } => self.letter(*token, false, *receipt, now, steps),
            Write::Receipt { account, to, mid } => steps.push(receipt_for(*account, *to, *mid, now)),
        }
        Ok(())
    }

    fn letter(&self, token: Token, file: bool, receipt: bool, now: Now, steps: &mut Vec<Step>) {
        let Some(Taken { account, from, mid, filing, card, learned }) = self.shared.taken(token) else {
            return;
        };
        self.shared.learn(account, from, &learned, now);
        if let Some(filing) = filing.filter(|_| file) {
            steps.push(Step::Letter { account, from, mid, wall_ms: now.wall.0, filing });
        }
        if let Some(card) = card {
            steps.push(Step::Card(card));
        }
        if receipt {
            steps.push(receipt_for(account, from, mid, now));
        }
    }

    fn report(&self, entry: &QueueEntry, notice: &Notice, now: Now, steps: &mut Vec<Step>) -> Result<(), StoreError> {
        if !notice.wanted(entry) {
            return Ok(());
        }
        let account = match self.store.account(entry.account) {
            Ok(account) => account,
            Err(StoreError::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let original = entry.blob.as_ref().and_then(|(hash, _)| beginning(&self.store, hash));
        let report = Report {
            entry,
            sender: &format!("{}@kith.alt", account.name),
            notice,
            original: original.as_deref(),
            wall: now.wall,
            expiry_ms: self.expiry_ms,
            unique: rand::random(),
        };
        let mut stage = self.store.stage()?;
        std::io::Write::write_all(&mut stage, &notices::compose(&report)).map_err(|error| match error.kind() {
            std::io::ErrorKind::StorageFull => StoreError::DiskFull,
            _ => StoreError::Broken(error.to_string()),
        })?;
        let filing = Filing {
            blob: stage.finish()?,
            flags: kith_store::folder::Flags::default(),
            internal_date: now.wall.0.div_euclid(1000),
            internal_zone: 0,
        };
        steps.push(Step::Deliver(entry.account, filing));
        Ok(())
    }
}

/// A receipt for a letter, to be queued.
fn receipt_for(account: AccountId, to: Address, mid: MailId, now: Now) -> Step {
    Step::Enqueue(Box::new(QueueEntry {
        id: EntryId(0),
        account,
        kind: EntryKind::Receipt(mid),
        mid: MailId(rand::random()),
        recipient: to,
        typed: String::new(),
        blob: None,
        submitted_ms: now.wall.0,
        notify: Notify { success: false, failure: false, delay: false },
        orcpt: None,
        envid: None,
        ret_full: false,
        progress: Progress { aged_at: now.wall, ..Progress::default() },
    }))
}

/// The first bytes of a mail, as many as a report may carry.
fn beginning(store: &Store, hash: &kith_store::blob::BlobHash) -> Option<Vec<u8>> {
    let reader = store.blob(hash).ok()?;
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(reader, notices::RETURNED_BYTES_MAX), &mut bytes).ok()?;
    Some(bytes)
}

fn perform(transaction: &mut Transaction<'_>, step: &Step) -> Result<(), StoreError> {
    match step {
        // An entry that a person withdrew meanwhile stays gone.
        Step::Progress(entry, progress) => match transaction.put_progress(*entry, progress) {
            Err(StoreError::NotFound(_)) => Ok(()),
            other => other,
        },
        Step::Remove(entry) => transaction.remove_entry(*entry).map(drop),
        Step::Deliver(account, filing) => transaction.deliver(*account, Use::Inbox, filing).map(drop),
        Step::Letter { account, from, mid, wall_ms, filing } => {
            if transaction.remember_letter(*account, from, mid, *wall_ms)? {
                transaction.deliver(*account, Use::Inbox, filing)?;
            }
            Ok(())
        }
        Step::Secret(name, bytes) => transaction.put_secret(name, bytes),
        Step::Card(card) => transaction.put_card(card).map(drop),
        Step::Enqueue(entry) => transaction.enqueue(entry).map(drop),
    }
}
