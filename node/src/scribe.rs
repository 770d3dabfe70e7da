//! The thread that makes the core's decisions durable: whatever waits is written as one transaction, in order.
//!
//! What a commit promises is released only from here, after the store has synced.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use kith_protocol::address::Address;
use kith_protocol::event::{CommitProblem, Effect, EntryKind, Event, Fate, HeldEnvelope, HostedQueue, Now, Progress, Write};
use kith_protocol::hosting::{Grant, Request};
use kith_protocol::ids::{AccountId, BatchId, EntryId, EnvelopeId, MailId, PeerId, QueueName, Token};
use kith_store::blob::Staged;
use kith_store::contact::KnownCard;
use kith_store::folder::Use;
use kith_store::mailbox::Filing;
use kith_store::queue::{Form, Notify, QueueEntry};
use kith_store::{Store, StoreError, Transaction};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use crate::correspondence::{Shared, Taken, TakenMail};
use crate::engine::{Answered, Clock};
use crate::gateway::Gateway;
use crate::gateway::sharing::{self, Sending};
use crate::notices::{self, Notice, Report};
use crate::relaying;

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
    /// Where the bytes of what is to be kept lie.
    pub bodies: Vec<(Token, Body)>,
}

/// The bytes of an envelope that is to be kept.
#[derive(Debug)]
pub enum Body {
    /// As they were received.
    File(PathBuf),
    /// Taken over by the store, which is done once, however often the commit is tried.
    Staged(Staged),
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
        gateway: Arc<Gateway>,
        shared: Shared,
        clock: Clock,
        expiry_ms: u64,
        answers: mpsc::Sender<Answered>,
    ) -> std::io::Result<Self> {
        let (commits, waiting) = sync_channel(COMMITS_MAX);
        let desk = Desk { store, gateway, shared, clock, expiry_ms, answers };
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
    Gather(EntryId, Vec<EntryId>),
    Deliver(AccountId, Filing),
    /// A letter: filed only where its name is new.
    Letter {
        account: AccountId,
        from: Address,
        mid: MailId,
        wall_ms: i64,
        filing: Filing,
        /// A stranger's.
        /// `None`: a stranger's, among the requests.
        folder: Option<Use>,
    },
    /// A mail for an ordinary address from somebody else: taken only where its name is new.
    Sending {
        account: AccountId,
        from: Address,
        mid: MailId,
        wall_ms: i64,
        sending: Box<Sending>,
    },
    Secret(String, Zeroizing<Vec<u8>>),
    Card(KnownCard),
    Enqueue(Box<QueueEntry>),
    Seen(EnvelopeId, i64),
    Host(HostedQueue, Option<[u8; 32]>),
    Unhost(QueueName),
    Hold(HeldEnvelope, Staged, Option<[u8; 16]>),
    Acked(EnvelopeId, u64),
    Forget(Vec<EnvelopeId>),
    HostingClock(u64, i64),
    Deposited(QueueName, Request),
    Granted(AccountId, PeerId, Grant),
    Volunteers(AccountId, Vec<PeerId>),
    Relaying(relaying::Change),
}

impl Step {
    /// It may change which relays accounts use, or where those are to be found.
    fn changes_relays(&self) -> bool {
        matches!(self, Self::Granted(..) | Self::Relaying(_) | Self::Card(_))
    }
}

struct Desk {
    store: Store,
    gateway: Arc<Gateway>,
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
            let mut ready = Vec::with_capacity(commits.len());
            for mut commit in commits {
                match self.stage(&mut commit) {
                    Ok(()) => ready.push(commit),
                    Err(error) => {
                        // What was to be kept cannot be: the others have nothing to do with it.
                        tracing::warn!(%error, "an envelope cannot be kept");
                        let event = Event::CommitFailed { batch: commit.batch, reason: CommitProblem::DiskFull };
                        if self.answers.blocking_send(Answered::Committed { then: Vec::new(), event }).is_err() {
                            return;
                        }
                    }
                }
            }
            if !ready.is_empty() {
                self.commit(ready);
            }
        }
    }

    /// Takes the bytes of what is to be kept over into the store.
    fn stage(&self, commit: &mut Commit) -> Result<(), StoreError> {
        for (_, body) in &mut commit.bodies {
            if let Body::File(path) = body {
                *body = Body::Staged(self.store.stage_file(path)?);
            }
        }
        Ok(())
    }

    fn commit(&self, commits: Vec<Commit>) {
        let outcome = self.write(&commits);
        if let Ok(true) = outcome
            && self.answers.blocking_send(Answered::RelaysChanged).is_err()
        {
            return;
        }
        if outcome.is_err() && commits.len() > 1 {
            // One that cannot be written must not take the others with it.
            commits.into_iter().for_each(|commit| self.commit(vec![commit]));
            return;
        }
        for Commit { batch, then, .. } in commits {
            let answer = match &outcome {
                Ok(_) => Answered::Committed { then, event: Event::Durable(batch) },
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

    /// Writes all of it; true if it may change which relays are used, or where they are.
    fn write(&self, commits: &[Commit]) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut steps = Vec::new();
        for commit in commits {
            for write in &commit.writes {
                self.prepare(write, &commit.bodies, now, &mut steps)?;
            }
        }
        let relays = steps.iter().any(Step::changes_relays);
        // The keys that sealing has spent are part of the commit before any envelope sealed with them is offered.
        let changed = self.shared.changed_correspondents();
        for (name, bytes) in &changed {
            steps.push(Step::Secret(name.clone(), bytes.clone()));
        }
        let result = self.store.write(move |transaction| steps.iter().try_for_each(|step| perform(transaction, step)));
        self.shared.correspondents_written(&changed, result.is_ok());
        result.map(|()| relays)
    }

    fn prepare(&self, write: &Write, bodies: &[(Token, Body)], now: Now, steps: &mut Vec<Step>) -> Result<(), StoreError> {
        match write {
            Write::Progress { entry, progress } => steps.push(Step::Progress(*entry, progress.clone())),
            Write::Gather { into, from } => steps.push(Step::Gather(*into, from.clone())),
            Write::DelayNotice { entry } => {
                if let Some(entry) = self.store.queue_entry(*entry)? {
                    let notice = Notice::Delayed(entry.progress.last_problem.clone());
                    self.report(&entry, &notice, now, steps)?;
                }
            }
            Write::Fate { entry, fate } => {
                if let Some(entry) = self.store.queue_entry(*entry)? {
                    let notice = match fate {
                        Fate::Delivered if entry.form == Form::Outgoing => {
                            Some(Notice::LegacyRelayed("the node of your contact sends it on".into()))
                        }
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
            Write::File { token, envelope, receipt, request } => {
                let how = How { file: true, receipt: *receipt, request: *request };
                self.letter(*token, *envelope, how, now, steps)?;
            }
            Write::Absorb { token, envelope, receipt } => {
                let how = How { file: false, receipt: *receipt, request: false };
                self.letter(*token, *envelope, how, now, steps)?;
            }
            Write::Host { rules, ticket } => steps.push(Step::Host(rules.clone(), *ticket)),
            Write::Unhost(queue) => steps.push(Step::Unhost(*queue)),
            Write::Hold { token, held, stamp } => {
                let staged = bodies.iter().find_map(|(of, body)| match body {
                    Body::Staged(staged) if of == token && staged.hash.0 == held.envelope.0 => Some(staged.clone()),
                    Body::Staged(_) | Body::File(_) => None,
                });
                let staged = staged.ok_or(StoreError::NotFound("the envelope"))?;
                steps.push(Step::Hold(held.clone(), staged, *stamp));
            }
            Write::Acked { envelope, at_ms } => steps.push(Step::Acked(*envelope, *at_ms)),
            Write::Forget(envelopes) => steps.push(Step::Forget(envelopes.clone())),
            Write::HostingClock { passed_ms, at } => steps.push(Step::HostingClock(*passed_ms, at.0)),
            Write::Deposited { queue, request } => steps.push(Step::Deposited(*queue, request.clone())),
            Write::Granted { account, peer, grant } => steps.push(Step::Granted(*account, *peer, *grant)),
            Write::Volunteers { account, peers } => steps.push(Step::Volunteers(*account, peers.clone())),
            Write::Receipt { account, to, mid } => steps.push(receipt_for(*account, *to, *mid, now)),
        }
        Ok(())
    }

    fn letter(&self, token: Token, envelope: EnvelopeId, how: How, now: Now, steps: &mut Vec<Step>) -> Result<(), StoreError> {
        let Some(Taken { account, from, mid, mail, talk, card, learned }) = self.shared.taken(token) else {
            return Ok(());
        };
        self.shared.learn(account, from, &learned, now);
        match mail.filter(|_| how.file) {
            Some(TakenMail::Filing(filing, folder)) => {
                let folder = (!how.request).then_some(folder);
                steps.push(Step::Letter { account, from, mid, wall_ms: now.wall.0, filing, folder });
            }
            Some(TakenMail::Outward(outward, mail)) => {
                let sending = sharing::sending(&self.store, &self.gateway, (account, from), mid, &outward, mail, now)?;
                steps.push(Step::Sending { account, from, mid, wall_ms: now.wall.0, sending: Box::new(sending) });
            }
            None => {}
        }
        if let Some(talk) = talk {
            let changes = relaying::heard(&self.store, account, from, &talk, now.wall)?;
            steps.extend(changes.into_iter().map(Step::Relaying));
        }
        if let Some(card) = card {
            steps.push(Step::Card(card));
        }
        steps.push(Step::Seen(envelope, now.wall.0));
        if how.receipt {
            steps.push(receipt_for(account, from, mid, now));
        }
        Ok(())
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
            about: entry.into(),
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
        let filing = Filing::fresh(stage.finish()?, now.wall);
        steps.push(Step::Deliver(entry.account, filing));
        Ok(())
    }
}

/// What becomes of a letter.
#[derive(Clone, Copy)]
struct How {
    file: bool,
    receipt: bool,
    request: bool,
}

/// A receipt for a letter, to be queued.
fn receipt_for(account: AccountId, to: Address, mid: MailId, now: Now) -> Step {
    Step::Enqueue(Box::new(own_letter(account, to, EntryKind::Receipt(mid), now)))
}

/// A letter that the node writes itself, to be queued.
pub fn own_letter(account: AccountId, to: Address, kind: EntryKind, now: Now) -> QueueEntry {
    QueueEntry {
        id: EntryId(0),
        account,
        kind,
        also: Vec::new(),
        form: Form::Mail,
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
    }
}

/// The first bytes of a mail, as many as a report may carry.
pub(crate) fn beginning(store: &Store, hash: &kith_store::blob::BlobHash) -> Option<Vec<u8>> {
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
        Step::Gather(into, from) => transaction.gather_receipts(*into, from),
        Step::Remove(entry) => transaction.remove_entry(*entry).map(drop),
        Step::Deliver(account, filing) => transaction.deliver(*account, Use::Inbox, filing).map(drop),
        Step::Letter { account, from, mid, wall_ms, filing, folder } => {
            if transaction.remember_letter(*account, from, mid, *wall_ms)? {
                match folder {
                    Some(folder) => transaction.deliver(*account, *folder, filing).map(drop)?,
                    None => transaction.deliver_request(*account, from, mid, filing, *wall_ms).map(drop)?,
                }
            }
            Ok(())
        }
        Step::Sending { account, from, mid, wall_ms, sending } => {
            if transaction.remember_letter(*account, from, mid, *wall_ms)? {
                sending.perform(transaction)?;
            }
            Ok(())
        }
        Step::Seen(envelope, wall_ms) => transaction.remember_seen(envelope, *wall_ms),
        Step::Host(rules, ticket) => transaction.host(rules, ticket.as_ref()),
        Step::Unhost(queue) => transaction.unhost(queue),
        Step::Hold(held, staged, stamp) => transaction.hold(held, staged, stamp.as_ref()),
        Step::Acked(envelope, at_ms) => transaction.ack_held(envelope, *at_ms),
        Step::Forget(envelopes) => transaction.forget_held(envelopes),
        Step::HostingClock(passed_ms, at) => transaction.put_hosting_clock(*passed_ms, *at),
        Step::Deposited(queue, Request::Marks { week, part, marks }) => transaction.put_marks(queue, *week, *part, marks),
        Step::Deposited(queue, Request::Records { records }) => transaction.put_kept_records(queue, records),
        Step::Deposited(..) => Ok(()),
        Step::Granted(account, peer, grant) => transaction.grant_relay(*account, peer, grant).map(drop),
        Step::Volunteers(account, peers) => transaction.put_volunteers(*account, peers),
        Step::Relaying(change) => change.perform(transaction),
        Step::Secret(name, bytes) => transaction.put_secret(name, bytes),
        Step::Card(card) => transaction.put_card(card).map(drop),
        Step::Enqueue(entry) => transaction.enqueue(entry).map(drop),
    }
}
