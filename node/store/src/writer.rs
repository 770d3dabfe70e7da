//! The one writer: jobs gather while the previous commit is being synced, and are committed as one.
//!
//! A commit runs every waiting job in one redb transaction, syncs, and only then answers. A job that fails after it has written
//! something ends the transaction: those before it are run again and committed without it, those behind it follow in the next
//! one; so nothing of it stays, and each job is run twice at most for every failure before it. A job that fails without having
//! written costs nothing. Small messages travel inside the same transaction, so that a mail costs one commit and no other sync.
//!
//! What makes a group durable is a record of the journal where that can be, else a commit of the database: `journal.rs`.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use redb::{Durability, Key, ReadableTable, TableDefinition, Value, WriteTransaction};

use crate::blob::BlobHash;
use crate::disk::Trouble;
use crate::error::StoreError;
use crate::feed::Topic;
use crate::journal::{self, Appended, Changes, Journal, Rows, TurnKey, View};
use crate::reserve;
use crate::schema;
use crate::store::Core;

/// Jobs in one commit at most.
const GROUP_JOBS_MAX: usize = 256;
/// Jobs that may wait; whoever comes later waits for a place.
const WAITING_JOBS_MAX: usize = 1024;
/// A writing transaction: whatever happens in it becomes durable as one, or not at all. The methods are spread over the
/// modules: `account.rs`, `contact.rs`, `hosting.rs`, `mailbox.rs`, `queue.rs`, `relays.rs`, `requests.rs`, `secret.rs`, `seen.rs`.
pub struct Transaction<'a> {
    database: &'a WriteTransaction,
    changes: &'a RefCell<Changes>,
    core: &'a Core,
    room: bool,
    wrote: bool,
    marks: Marks,
}

/// What is to be done after the commit.
#[derive(Debug, Default)]
struct Marks {
    topics: BTreeSet<Topic>,
    /// Blob files whose last mention went.
    unmentioned: Vec<BlobHash>,
}

impl<'a> Transaction<'a> {
    /// Opens a table for writing. One handle a table at a time: drop it before opening it again.
    pub(crate) fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        definition: TableDefinition<'static, K, V>,
    ) -> Result<Rows<'a, K, V>, StoreError> {
        self.wrote = true;
        Ok(Rows { table: self.database.open_table(definition)?, definition, changes: self.changes })
    }

    /// Opens a table that this use only reads; a job that fails after no more than that costs the group nothing.
    pub(crate) fn view<K: Key + 'static, V: Value + 'static>(
        &self,
        definition: TableDefinition<'static, K, V>,
    ) -> Result<View<'a, K, V>, StoreError> {
        Ok(View(self.database.open_table(definition)?))
    }

    /// The next number of a kind (a key of [`schema::META`]): ascending from 1, never reused.
    pub(crate) fn next_number(&mut self, kind: &str) -> Result<u64, StoreError> {
        let mut table = self.table(schema::META)?;
        let number = table.get(kind)?.map_or(0, |row| row.value()) + 1;
        table.insert(kind, number)?;
        Ok(number)
    }

    /// The feed tells of this topic after the commit.
    pub(crate) fn touch(&mut self, topic: Topic) {
        self.marks.topics.insert(topic);
    }

    /// A blob file that nothing mentions any more, to be removed after the commit.
    pub(crate) fn forget_file(&mut self, hash: BlobHash) {
        self.marks.unmentioned.push(hash);
    }

    /// Refuses new mail when the disk is nearly full; whatever frees space or settles a fate does not ask.
    pub(crate) fn need_room(&self) -> Result<(), StoreError> {
        if self.room { Ok(()) } else { Err(StoreError::DiskFull) }
    }

    /// What the transaction is part of.
    pub(crate) fn core(&self) -> &'a Core {
        self.core
    }

    /// Unix seconds by the disk's clock.
    pub(crate) fn now(&self) -> i64 {
        self.core.disk.now()
    }
}

/// Something to be run in a transaction and answered afterwards.
pub(crate) trait Job: Send {
    fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<(), StoreError>;
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

struct Work<T, F> {
    work: F,
    result: Option<T>,
    reply: SyncSender<Result<T, StoreError>>,
}

impl<T: Send, F: FnMut(&mut Transaction<'_>) -> Result<T, StoreError> + Send> Job for Work<T, F> {
    fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<(), StoreError> {
        self.result = Some((self.work)(transaction)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { work, result, reply } = *self;
        // What the work holds (staged messages) is let go before whoever asked goes on.
        drop(work);
        let result = outcome.and_then(|()| result.ok_or_else(|| StoreError::Broken("a job was not run".to_owned())));
        // Whoever asked may be gone; what was committed stays so.
        drop(reply.send(result));
    }
}

/// Who does the jobs.
#[derive(Clone)]
pub(crate) enum Jobs {
    /// A thread, where they wait.
    Thread(SyncSender<Box<dyn Job>>),
    /// Whoever asks, before going on: nothing happens beside what else they do.
    Asker(Arc<InStep>),
}

/// Jobs done one after the other by those who ask for them.
pub(crate) struct InStep {
    core: Arc<Core>,
    turn: Mutex<()>,
}

impl InStep {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        reserve::set_aside(&core.disk);
        Self { core, turn: Mutex::new(()) }
    }

    fn run(&self, job: Box<dyn Job>) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        commit_group(&self.core, VecDeque::from([job]));
    }

    /// Nothing more is asked.
    pub(crate) fn end(&self) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        finish(&self.core);
    }
}

impl Jobs {
    /// Hands a job over and goes on as soon as there is a place for it. False if nobody does jobs any more.
    fn send(&self, job: Box<dyn Job>) -> bool {
        match self {
            Self::Thread(jobs) => jobs.send(job).is_ok(),
            Self::Asker(in_step) => {
                in_step.run(job);
                true
            }
        }
    }

    /// The same, where there is a place at once; false if there is none.
    fn send_if_idle(&self, job: Box<dyn Job>) -> bool {
        match self {
            Self::Thread(jobs) => jobs.try_send(job).is_ok(),
            Self::Asker(_) => self.send(job),
        }
    }
}

/// Hands work to the writer and waits until it is durable.
pub(crate) fn submit<T: Send + 'static>(
    jobs: &Jobs,
    work: impl FnMut(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (reply, answer) = sync_channel(1);
    let gone = || StoreError::Broken("the writer has ended".to_owned());
    if !jobs.send(Box::new(Work { work, result: None, reply })) {
        return Err(gone());
    }
    answer.recv().map_err(|_| gone())?
}

/// Hands work to the writer and goes on. Where all places are taken it is dropped: nobody was promised anything.
pub(crate) fn submit_later(jobs: &Jobs, work: impl FnMut(&mut Transaction<'_>) -> Result<(), StoreError> + Send + 'static) {
    let (reply, _) = sync_channel(1);
    if !jobs.send_if_idle(Box::new(Work { work, result: None, reply })) {
        tracing::debug!("the writer has no time for what need not be written");
    }
}

/// Starts the writer. It ends when the last sender is dropped and everything queued has been answered.
pub(crate) fn start(core: Arc<Core>) -> io::Result<(Jobs, JoinHandle<()>)> {
    let (sender, receiver) = sync_channel(WAITING_JOBS_MAX);
    let thread = std::thread::Builder::new().name("kith-store".to_owned()).spawn(move || serve(&core, &receiver))?;
    Ok((Jobs::Thread(sender), thread))
}

fn serve(core: &Core, jobs: &Receiver<Box<dyn Job>>) {
    reserve::set_aside(&core.disk);
    loop {
        let patience = core.journal().patience();
        let first = match patience.map(|patience| jobs.recv_timeout(patience)) {
            Some(Err(RecvTimeoutError::Timeout)) => {
                take_in(core);
                jobs.recv().map_err(|_| RecvTimeoutError::Disconnected)
            }
            Some(came) => came,
            None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        let Ok(first) = first else { break };
        let mut group = VecDeque::from([first]);
        while group.len() < GROUP_JOBS_MAX {
            let Ok(next) = jobs.try_recv() else { break };
            group.push_back(next);
        }
        commit_group(core, group);
    }
    finish(core);
}

/// What is left to do before the database is closed.
fn finish(core: &Core) {
    if core.journal().holds() {
        take_in(core);
    }
}

/// Lets the database take in what the journal holds. What fails is tried again by the next commit, or by the next start.
fn take_in(core: &Core) {
    let Ok(held) = core.hold() else { return };
    let taken = catch_unwind(AssertUnwindSafe(|| {
        let database = held.database().and_then(|database| Ok(database.begin_write()?)).map_err(Abort::All)?;
        turn(core, database, &mut core.journal())
    }));
    match taken {
        Ok(Ok(())) => {}
        _ if held.trouble() == Trouble::Fatal => drop(core.fail("the database could not take in the journal")),
        _ => tracing::warn!("the database could not take in the journal; it is tried again"),
    }
}

/// Commits the database with all that it holds in memory: the journal begins anew.
fn turn(core: &Core, database: WriteTransaction, journal: &mut Journal) -> Result<(), Abort> {
    journal::turn(database, journal).map_err(Abort::All)?;
    reserve::set_aside(&core.disk);
    Ok(())
}

/// Makes a transaction durable and lets readers see it.
fn commit(core: &Core, mut database: WriteTransaction, changes: Changes, room: bool) -> Result<(), Abort> {
    let mut journal = core.journal();
    let key = database.open_table(schema::META).map_err(StoreError::from).and_then(|table| TurnKey::read(&table));
    journal.follow(key.map_err(Abort::All)?);
    // On a disk that is nearly full the database keeps nothing back for which there may be no space later.
    let appended = if room { journal.append(changes) } else { Ok(Appended::No) };
    match appended {
        Ok(Appended::No) => return turn(core, database, &mut journal),
        Ok(Appended::Durable) => {}
        Err(error) => return Err(Abort::All(core.fail(&format!("the journal cannot be written: {error}")))),
    }
    let visible = catch_unwind(AssertUnwindSafe(|| {
        database.set_durability(Durability::None).map_err(|error| StoreError::Broken(error.to_string()))?;
        Ok(database.commit()?)
    }));
    match visible.unwrap_or_else(|_| Err(StoreError::damaged("a page is not what was written"))) {
        Ok(()) => Ok(()),
        Err(error) => match journal.take_back() {
            Ok(()) => Err(Abort::All(error)),
            Err(_) => Err(Abort::All(core.fail("a record of the journal cannot be taken back"))),
        },
    }
}

/// Why a transaction was given up.
enum Abort {
    /// The job of that index failed after it had written.
    Job(usize, StoreError),
    /// Nothing in this group can be committed.
    All(StoreError),
}

fn commit_group(core: &Core, mut group: VecDeque<Box<dyn Job>>) {
    let mut limit = group.len();
    // The outcome of the job at `limit`, told only when those before it are durable: it may have seen what they did.
    let mut failed: Option<StoreError> = None;
    while !group.is_empty() {
        match attempt(core, &mut group, limit) {
            Ok((outcomes, marks)) => {
                core.feed.publish(&marks.topics);
                for outcome in outcomes.into_iter().chain(failed.take().map(Err)) {
                    if let Some(job) = group.pop_front() {
                        job.answer(outcome);
                    }
                }
                for hash in &marks.unmentioned {
                    core.remove_unmentioned(hash);
                }
                limit = group.len();
            }
            Err(Abort::Job(index, error)) => {
                limit = index;
                failed = Some(error);
            }
            // Once with what was set aside: mail is removed on a full disk too.
            Err(Abort::All(StoreError::DiskFull)) if reserve::give_up(&core.disk) => {}
            Err(Abort::All(error)) => {
                for job in group.drain(..) {
                    job.answer(Err(error.clone()));
                }
            }
        }
    }
}

/// What became of each job, and what is to be done after the commit.
type Done = (Vec<Result<(), StoreError>>, Marks);

/// Runs the first `limit` jobs and commits them.
fn attempt(core: &Core, group: &mut VecDeque<Box<dyn Job>>, limit: usize) -> Result<Done, Abort> {
    if limit == 0 {
        return Ok((Vec::new(), Marks::default()));
    }
    let held = core.hold().map_err(Abort::All)?;
    let attempted = catch_unwind(AssertUnwindSafe(|| {
        let database = held.database().and_then(|database| Ok(database.begin_write()?)).map_err(Abort::All)?;
        let changes = RefCell::default();
        let room = reserve::room(&core.disk).is_ok_and(|bytes| bytes > 0);
        let done = run(core, (&database, &changes), room, group, limit)?;
        let changes = changes.into_inner();
        if !changes.is_empty() {
            commit(core, database, changes, room)?;
        }
        Ok(done)
    }));
    let attempted = attempted.unwrap_or_else(|_| Err(Abort::All(StoreError::damaged("a page is not what was written"))));
    match (attempted, held.trouble()) {
        (Ok(done), _) => Ok(done),
        (Err(abort), Trouble::None) => Err(abort),
        (Err(Abort::Job(_, error) | Abort::All(error)), Trouble::Read) => Err(Abort::All(error)),
        (Err(_), Trouble::Full) => Err(Abort::All(StoreError::DiskFull)),
        (Err(Abort::Job(_, error) | Abort::All(error)), Trouble::Fatal) => Err(Abort::All(core.fail(&error.to_string()))),
    }
}

fn run(
    core: &Core,
    (database, changes): (&WriteTransaction, &RefCell<Changes>),
    room: bool,
    group: &mut VecDeque<Box<dyn Job>>,
    limit: usize,
) -> Result<Done, Abort> {
    let mut outcomes = Vec::with_capacity(limit);
    let mut kept = Marks::default();
    for (index, job) in group.iter_mut().take(limit).enumerate() {
        let mut transaction = Transaction { database, changes, core, room, wrote: false, marks: Marks::default() };
        // A panic counts as a failure of this job alone; its writes go with the transaction.
        let outcome = catch_unwind(AssertUnwindSafe(|| job.run(&mut transaction)))
            .unwrap_or_else(|_| Err(StoreError::damaged("a row is not what was written")));
        match outcome {
            Err(error) if transaction.wrote => return Err(Abort::Job(index, error)),
            Err(error) => outcomes.push(Err(error)),
            Ok(()) => {
                kept.topics.append(&mut transaction.marks.topics);
                kept.unmentioned.append(&mut transaction.marks.unmentioned);
                outcomes.push(Ok(()));
            }
        }
    }
    Ok((outcomes, kept))
}
