//! A node's home on the store that ships, on a disk that forgets what was not synced: as `scribe.rs` of the node writes it.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write as _;
use std::sync::OnceLock;

use kith_protocol::address::Address;
use kith_protocol::event::{CommitProblem, Entry, EntryKind, HeldEnvelope, HostedQueue, Progress, Wall, Write};
use kith_protocol::ids::{AccountId, EntryId, EnvelopeId, MailId, PeerId};
use kith_store::account::PasswordHash;
use kith_store::blob::Staged;
use kith_store::disk::{Crash, Disk, Fault, FaultKind, SimulatedDisk};
use kith_store::folder::{Flags, INBOX, Uid, Use};
use kith_store::mailbox::Filing;
use kith_store::queue::{Form, Notify, QueueEntry, QueuedRecipient, Submission};
use kith_store::{Options, Store, StoreError, Transaction};

use crate::names::{self, Content};
use crate::world::home::{Ailment, Ending, Fact, Home, Kept, Moment};
use crate::world::model::receipt_for;

/// The page cache of a store here, in bytes.
const CACHE_BYTES: usize = 1 << 20;
/// A lying disk loses what was written in the last seconds, of so many ms; images are put aside this often.
const FORGETS_MS: u64 = 10_000;
const IMAGE_EVERY_MS: u64 = 1_000;
/// Space that is left on a disk that is said to be full, in bytes.
const NEARLY_FULL_BYTES: u64 = 8 * 1024;
/// Changes after which a broken disk fails, at most.
const BREAKS_AFTER_MAX: u64 = 12;
/// Letters in an inbox at most, as far as anybody looks.
const INBOX_MAX: usize = 100_000;

/// A home on a simulated disk.
#[derive(Debug)]
pub(super) struct StoreHome {
    disk: SimulatedDisk,
    store: Option<Store>,
    account: AccountId,
    /// The address book: cards are signed, and these are not.
    cards: BTreeMap<u32, Wall>,
    granted: Vec<u32>,
    /// It says that it has synced, and has not: earlier images.
    lying: bool,
    images: VecDeque<(u64, SimulatedDisk)>,
    /// Commits of which the dead process could not know whether they are durable.
    unsure: Vec<Unsure>,
    /// Crashes and the commits that they interrupted.
    pub(super) crashes: (u64, u64),
}

/// A commit that failed or was interrupted: the next start shows whether it happened.
#[derive(Debug)]
struct Unsure {
    shown_by: Trace,
    fact: Fact,
}

/// What a commit leaves in the store, if it happens.
#[derive(Clone, Copy, Debug)]
enum Trace {
    /// A letter that was not known is.
    Letter(Address, MailId),
    /// An entry is not in the queue any more.
    Ended(EntryId),
}

fn options() -> Options {
    Options { cache_bytes: CACHE_BYTES, passphrase: None }
}

fn password() -> Result<PasswordHash, StoreError> {
    static ONCE: OnceLock<Option<PasswordHash>> = OnceLock::new();
    // It is slow on purpose, and nobody logs in here.
    ONCE.get_or_init(|| PasswordHash::of(b"secret").ok()).clone().ok_or(StoreError::NotFound("a password"))
}

fn problem(error: &StoreError) -> CommitProblem {
    match error {
        StoreError::DiskFull => CommitProblem::DiskFull,
        _ => CommitProblem::Broken,
    }
}

/// The bytes of a mail; another text for every one, most of them in the database and some in files.
fn text(mail: u64, size: u64) -> Vec<u8> {
    let mut text = format!("Message-ID: <{mail}@simulated>\r\nSubject: {mail}\r\n\r\n").into_bytes();
    text.resize(text.len().max(usize::try_from(size).unwrap_or(0)), b'x');
    text
}

/// What is to be written of a commit, prepared so that the transaction only writes.
#[derive(Clone)]
enum Step {
    Progress(EntryId, Progress),
    Remove(EntryId),
    Gather(EntryId, Vec<EntryId>),
    Notice(Filing),
    Letter(Address, MailId, Filing),
    Seen(EnvelopeId),
    Enqueue(Box<QueueEntry>),
    Host(HostedQueue),
    Unhost(kith_protocol::ids::QueueName),
    Hold(HeldEnvelope, Staged),
    Acked(EnvelopeId, u64),
    Forget(Vec<EnvelopeId>),
    Clock(u64, i64),
    Volunteers(Vec<PeerId>),
}

/// What a step did.
enum Done {
    Nothing,
    Filed,
    Queued(EntryId),
}

impl StoreHome {
    /// A home with an account of this address, whose relays have agreed.
    pub(super) fn new(address: Address, granted: &[u32], lying: bool) -> Result<Self, StoreError> {
        let disk = SimulatedDisk::new();
        let store = Store::open_in_step(Disk::Simulated(disk.clone()), options())
            .map_err(|error| StoreError::Broken(error.to_string()))?;
        let password = password()?;
        let account = store.write(move |transaction| transaction.add_account("somebody", address, &password))?.id;
        Ok(Self {
            disk,
            store: Some(store),
            account,
            cards: BTreeMap::new(),
            granted: granted.to_vec(),
            lying,
            images: VecDeque::new(),
            unsure: Vec::new(),
            crashes: (0, 0),
        })
    }

    fn store(&self) -> Result<&Store, StoreError> {
        self.store.as_ref().ok_or(StoreError::NotFound("the store"))
    }

    fn stage(&self, bytes: &[u8]) -> Result<Staged, StoreError> {
        let mut stage = self.store()?.stage()?;
        stage.write_all(bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::StorageFull => StoreError::DiskFull,
            _ => StoreError::Broken(error.to_string()),
        })?;
        stage.finish()
    }

    fn filing(&self, bytes: &[u8], wall: Wall) -> Result<Filing, StoreError> {
        let (flags, internal_date) = (Flags::default(), wall.0.div_euclid(1000));
        Ok(Filing { blob: self.stage(bytes)?, flags, internal_date, internal_zone: 0 })
    }

    fn core_entry(entry: QueueEntry) -> Entry {
        Entry {
            id: entry.id,
            account: crate::world::ACCOUNT,
            recipient: entry.recipient,
            mid: entry.mid,
            kind: entry.kind,
            also: entry.also,
            size: entry.blob.map_or(0, |(_, size)| size),
            fleeting: entry.form == Form::Incoming,
            progress: entry.progress,
        }
    }

    fn row(&self, entry: &Entry, wall: Wall) -> QueueEntry {
        QueueEntry {
            id: EntryId(0),
            account: self.account,
            kind: entry.kind,
            also: entry.also.clone(),
            form: Form::Mail,
            mid: entry.mid,
            recipient: entry.recipient,
            typed: String::new(),
            blob: None,
            submitted_ms: wall.0,
            notify: Notify { success: false, failure: false, delay: false },
            orcpt: None,
            envid: None,
            ret_full: false,
            progress: entry.progress.clone(),
        }
    }

    /// One write as steps, and the facts that come of it where all goes well.
    fn prepare(
        &self,
        write: &Write,
        moment: &Moment<'_>,
        steps: &mut Vec<Step>,
        facts: &mut Vec<Fact>,
    ) -> Result<(), StoreError> {
        match write {
            Write::Progress { entry, progress } => steps.push(Step::Progress(*entry, progress.clone())),
            Write::DelayNotice { entry } => {
                if let Some(entry) = self.store()?.queue_entry(*entry)? {
                    steps.push(Step::Notice(self.filing(b"Subject: delayed\r\n\r\n", moment.wall)?));
                    facts.push(Fact::Noticed(names::mail_of(&entry.mid)));
                }
            }
            Write::Fate { entry, fate } => {
                if let Some(entry) = self.store()?.queue_entry(*entry)? {
                    let ending = Ending::of(fate);
                    if entry.kind == EntryKind::Mail {
                        if ending != Ending::Delivered {
                            steps.push(Step::Notice(self.filing(b"Subject: failed\r\n\r\n", moment.wall)?));
                        }
                        facts.push(Fact::Ended(names::mail_of(&entry.mid), ending));
                    }
                    steps.push(Step::Remove(entry.id));
                }
            }
            Write::Gather { into, from } => steps.push(Step::Gather(*into, from.clone())),
            Write::Host { rules, .. } => steps.push(Step::Host(rules.clone())),
            Write::Unhost(queue) => steps.push(Step::Unhost(*queue)),
            Write::Hold { held, .. } => {
                facts.push(Fact::Held(held.size));
                steps.push(Step::Hold(held.clone(), self.stage(&moment.envelopes.bytes(&held.envelope))?));
            }
            Write::Acked { envelope, at_ms } => steps.push(Step::Acked(*envelope, *at_ms)),
            Write::Forget(envelopes) => steps.push(Step::Forget(envelopes.clone())),
            Write::HostingClock { passed_ms, at } => steps.push(Step::Clock(*passed_ms, at.0)),
            Write::Volunteers { peers, .. } => steps.push(Step::Volunteers(peers.clone())),
            Write::Deposited { .. } | Write::Granted { .. } => {}
            Write::File { envelope, receipt, .. } | Write::Absorb { envelope, receipt, .. } => {
                let sealed = moment.envelopes.opened(envelope);
                let from = moment.address(sealed.from);
                if let Content::Mail(mail) = sealed.content {
                    if matches!(write, Write::File { .. }) {
                        let filing = self.filing(&text(mail, mail % 7 * 9_000), moment.wall)?;
                        steps.push(Step::Letter(from, sealed.mid, filing));
                    }
                    if *receipt {
                        steps.push(Step::Enqueue(Box::new(self.row(&receipt_for(from, sealed.mid, moment), moment.wall))));
                    }
                }
                steps.push(Step::Seen(*envelope));
            }
            Write::Receipt { to, mid, .. } => {
                steps.push(Step::Enqueue(Box::new(self.row(&receipt_for(*to, *mid, moment), moment.wall))));
            }
        }
        Ok(())
    }

    fn commit(&self, writes: &[Write], moment: &Moment<'_>, facts: &mut Vec<Fact>) -> Result<(), StoreError> {
        let mut steps = Vec::new();
        for write in writes {
            self.prepare(write, moment, &mut steps, facts)?;
        }
        let (account, wall_ms, work) = (self.account, moment.wall.0, steps.clone());
        let done = self.store()?.write(move |transaction| {
            work.iter().map(|step| perform(transaction, account, wall_ms, step)).collect::<Result<Vec<Done>, StoreError>>()
        })?;
        for (step, done) in steps.into_iter().zip(done) {
            match (step, done) {
                (Step::Letter(_, mid, _), Done::Filed) => facts.push(Fact::Filed(names::mail_of(&mid))),
                (Step::Enqueue(entry), Done::Queued(id)) => {
                    facts.push(Fact::Queued(Box::new(Self::core_entry(QueueEntry { id, ..*entry }))));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What a commit would change that others notice, and what it would be known by; each by itself, since that is how it is asked for.
    fn outlook(&self, writes: &[Write], moment: &Moment<'_>) -> Vec<Unsure> {
        let mut all = Vec::new();
        for write in writes {
            match write {
                Write::File { envelope, .. } => {
                    let sealed = moment.envelopes.opened(envelope);
                    let from = moment.address(sealed.from);
                    if let Content::Mail(mail) = sealed.content
                        && !self.has_filed(&from, &sealed.mid)
                    {
                        all.push(Unsure { shown_by: Trace::Letter(from, sealed.mid), fact: Fact::Filed(mail) });
                    }
                }
                Write::Fate { entry, fate } => {
                    if let Some(known) = self.entry(*entry).ok().flatten().filter(|known| known.kind == EntryKind::Mail) {
                        let fact = Fact::Ended(names::mail_of(&known.mid), Ending::of(fate));
                        all.push(Unsure { shown_by: Trace::Ended(*entry), fact });
                    }
                }
                _ => {}
            }
        }
        all
    }

    /// What of the commits of a dead process has happened after all.
    fn settled(&mut self) -> Vec<Fact> {
        let unsure = std::mem::take(&mut self.unsure);
        let happened = |unsure: &Unsure| match unsure.shown_by {
            Trace::Letter(from, mid) => self.has_filed(&from, &mid),
            Trace::Ended(id) => matches!(self.entry(id), Ok(None)),
        };
        unsure.into_iter().filter(happened).map(|unsure| unsure.fact).collect()
    }

    /// Puts an image aside, where the disk lies.
    fn remember(&mut self, now: u64) {
        if self.lying && self.images.back().is_none_or(|(at, _)| at + IMAGE_EVERY_MS <= now) {
            self.images.push_back((now, self.disk.fork()));
            // What it was before the first write of the last seconds is the most that it can fall back to.
            while self.images.front().is_some_and(|(at, _)| at + FORGETS_MS < now) {
                self.images.pop_front();
            }
        }
    }

    /// The disk as it would be had the power failed somewhere within this commit.
    fn interrupted(&self, writes: &[Write], moment: &Moment<'_>, below: &mut dyn FnMut(u64) -> u64) -> SimulatedDisk {
        let image = self.disk.fork();
        self.disk.record();
        // What comes of it nobody sees.
        let _ = self.commit(writes, moment, &mut Vec::new());
        let operations = self.disk.take_record();
        let until = usize::try_from(below(operations.len() as u64 + 1)).unwrap_or(0);
        operations.iter().take(until).for_each(|operation| image.apply(operation));
        image
    }
}

/// How the power fails.
fn how(below: &mut dyn FnMut(u64) -> u64) -> Crash {
    match below(4) {
        0 => Crash::Kept,
        1 => Crash::Lost,
        2 => Crash::Subset,
        _ => Crash::Torn,
    }
}

fn perform(transaction: &mut Transaction<'_>, account: AccountId, wall_ms: i64, step: &Step) -> Result<Done, StoreError> {
    match step {
        Step::Progress(entry, progress) => match transaction.put_progress(*entry, progress) {
            Err(StoreError::NotFound(_)) => {}
            other => other?,
        },
        Step::Remove(entry) => drop(transaction.remove_entry(*entry)?),
        Step::Gather(into, from) => transaction.gather_receipts(*into, from)?,
        Step::Notice(filing) => drop(transaction.deliver(account, Use::Inbox, filing)?),
        Step::Letter(from, mid, filing) => {
            if transaction.remember_letter(account, from, mid, wall_ms)? {
                transaction.deliver(account, Use::Inbox, filing)?;
                return Ok(Done::Filed);
            }
        }
        Step::Seen(envelope) => transaction.remember_seen(envelope, wall_ms)?,
        Step::Enqueue(entry) => return transaction.enqueue(entry).map(Done::Queued),
        Step::Host(rules) => transaction.host(rules, None)?,
        Step::Unhost(queue) => transaction.unhost(queue)?,
        Step::Hold(held, staged) => transaction.hold(held, staged, None)?,
        Step::Acked(envelope, at_ms) => transaction.ack_held(envelope, *at_ms)?,
        Step::Forget(envelopes) => transaction.forget_held(envelopes)?,
        Step::Clock(passed_ms, at) => transaction.put_hosting_clock(*passed_ms, *at)?,
        Step::Volunteers(peers) => transaction.put_volunteers(account, peers)?,
    }
    Ok(Done::Nothing)
}

impl Home for StoreHome {
    fn kept(&mut self, _wall: Wall) -> Result<Kept, CommitProblem> {
        // A start is a start: what was open is closed first.
        if let Some(store) = self.store.take() {
            store.close();
        }
        let store = Store::open_in_step(Disk::Simulated(self.disk.clone()), options()).map_err(|_| CommitProblem::Broken)?;
        let read = || {
            let (passed_ms, at) = store.hosting_clock()?;
            Ok(Kept {
                entries: store.queue()?.into_iter().map(Self::core_entry).collect(),
                hosted: store.hosted()?,
                held: store.held()?,
                hosting_clock: (passed_ms, Wall(at)),
                granted: self.granted.clone(),
                seen: store.seen()?,
                volunteers: store.volunteers()?.into_iter().flat_map(|(_, peers)| peers).collect(),
                cards: self.cards.iter().map(|(of, learned)| (*of, *learned)).collect(),
                facts: Vec::new(),
            })
        };
        let kept = read().map_err(|error: StoreError| problem(&error));
        self.store = Some(store);
        kept.map(|kept| Kept { facts: self.settled(), ..kept })
    }

    fn enqueue(&mut self, entry: Entry) -> Result<Entry, CommitProblem> {
        let mail = names::mail_of(&entry.mid);
        let submit = || {
            let notify = Notify { success: false, failure: true, delay: true };
            let recipient = QueuedRecipient { address: entry.recipient, typed: String::new(), notify, orcpt: None };
            let submission = Submission {
                account: self.account,
                mail: self.stage(&text(mail, entry.size))?,
                mid: entry.mid,
                submitted_ms: entry.progress.aged_at.0,
                recipients: vec![recipient],
                household: Vec::new(),
                legacy: Vec::new(),
                letters: Vec::new(),
                envid: None,
                ret_full: false,
            };
            self.store()?.submit(submission)
        };
        let ids = submit().map_err(|error| problem(&error))?;
        let id = ids.first().copied().ok_or(CommitProblem::Broken)?;
        Ok(Entry { id, ..entry })
    }

    fn write(&mut self, writes: &[Write], moment: &Moment<'_>, facts: &mut Vec<Fact>) -> Result<(), CommitProblem> {
        self.remember(moment.now);
        let outlook = self.outlook(writes, moment);
        self.commit(writes, moment, facts).map_err(|error| {
            let problem = problem(&error);
            if problem == CommitProblem::Broken {
                self.unsure.extend(outlook);
            }
            problem
        })
    }

    fn entry(&self, id: EntryId) -> Result<Option<Entry>, CommitProblem> {
        let entry = self.store().and_then(|store| store.queue_entry(id)).map_err(|error| problem(&error))?;
        Ok(entry.map(Self::core_entry))
    }

    fn letter(&self, recipient: &Address, mail: u64) -> Option<MailId> {
        let carries = |entry: &QueueEntry| {
            entry.kind == EntryKind::Mail && entry.recipient == *recipient && names::mail_of(&entry.mid) == mail
        };
        self.store().ok()?.queue().ok()?.into_iter().find(carries).map(|entry| entry.mid)
    }

    fn has_filed(&self, from: &Address, mid: &MailId) -> bool {
        self.store().is_ok_and(|store| store.known_letter(self.account, from, mid).unwrap_or(false))
    }

    fn holds(&self, envelope: &EnvelopeId) -> Option<bool> {
        Some(self.store().ok()?.held_letter(envelope).ok()?.is_some())
    }

    fn learn(&mut self, of: u32, wall: Wall) {
        self.cards.insert(of, wall);
    }

    fn host(&mut self, rules: HostedQueue) {
        if let Ok(store) = self.store() {
            // A store that cannot do that shows it soon.
            let _ = store.write(move |transaction| transaction.host(&rules, None));
        }
    }

    fn crash(&mut self, now: u64, halfway: Option<(&[Write], &Moment<'_>)>, below: &mut dyn FnMut(u64) -> u64) {
        self.crashes.0 += 1;
        self.images.retain(|(at, _)| at + FORGETS_MS >= now);
        let image = match self.images.len() {
            0 => {
                let interrupted = halfway.filter(|_| below(2) == 0);
                self.crashes.1 += u64::from(interrupted.is_some());
                if let Some((writes, moment)) = interrupted {
                    let outlook = self.outlook(writes, moment);
                    self.unsure.extend(outlook);
                }
                let image = interrupted.map(|(writes, moment)| self.interrupted(writes, moment, below));
                image.as_ref().unwrap_or(&self.disk).crash(how(below), below)
            }
            // What the disk said to have synced is gone.
            count => {
                let chosen = usize::try_from(below(count as u64)).unwrap_or(0);
                self.images.get(chosen).map_or_else(|| self.disk.fork(), |(_, image)| image.crash(how(below), below))
            }
        };
        // The image is taken before the store of the dead process is closed, which may still write.
        self.store = None;
        self.images.clear();
        self.disk = image;
    }

    fn ail(&mut self, ailment: Ailment, below: &mut dyn FnMut(u64) -> u64) {
        match ailment {
            Ailment::Full => {
                let paths = self.disk.paths();
                let used: u64 = paths.iter().filter_map(|path| self.disk.contents(path)).map(|bytes| bytes.len() as u64).sum();
                self.disk.set_capacity(Some(used + NEARLY_FULL_BYTES));
            }
            Ailment::Failing => {
                let after = below(BREAKS_AFTER_MAX);
                self.disk.set_fault(Some(Fault { after, kind: FaultKind::Io, times: 1 }));
            }
            Ailment::None => {
                self.disk.set_capacity(None);
                self.disk.set_fault(None);
            }
        }
    }

    fn inspect(&mut self) -> Result<Vec<String>, String> {
        let error = |error: StoreError| error.to_string();
        if self.store.is_none() {
            self.kept(Wall(0)).map_err(|problem| format!("{problem:?}"))?;
        }
        let store = self.store().map_err(error)?;
        let report = store.verify(&mut |_| {}).map_err(error)?;
        if !report.is_sound() {
            return Err(format!("the store is not sound: {:?}", report.problems));
        }
        let inbox = store.folder_by_name(self.account, INBOX).map_err(error)?.ok_or("there is no inbox")?;
        let messages = store.messages(self.account, inbox.id, Uid(1), Uid(u32::MAX), INBOX_MAX).map_err(error)?;
        let subject = |message: kith_store::folder::Message| {
            let bytes = store.blob_bytes(&message.hash, 1 << 20).map_err(error)?;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            Ok(text.split("Subject: ").nth(1).and_then(|rest| rest.split('\r').next()).unwrap_or_default().to_owned())
        };
        messages.into_iter().map(subject).collect()
    }
}
