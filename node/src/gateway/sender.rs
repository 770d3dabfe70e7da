//! The task that sends what waits in the gateway's queue: due entries, those of one mail to one next hop together, a bounded number at a time.
//!
//! What an attempt brings is committed before anything else happens to its entries. If the process dies between the other side's word and
//! that commit, the mail is sent again: that is the one double that RFC 5321 §4.5.3.2.6 accepts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kith_gateway::domain::{Address as MailAddress, Place};
use kith_gateway::outbound::fate::{Fate, HopState, Outcome, Trouble, Why};
use kith_gateway::outbound::mail::Mail;
use kith_gateway::outbound::smarthost::Smarthost;
use kith_gateway::outbound::{Hop, Outbound};
use kith_gateway::schedule::Schedule;
use kith_gateway::sign::Signer;
use kith_protocol::event::{EntryKind, Now, Wall};
use kith_protocol::ids::EntryId;
use kith_store::feed::Topic;
use kith_store::legacy::{LegacyEntry, LegacyProgress, LegacyRecipient};
use kith_store::queue::{Form, QueueEntry};
use kith_store::{Store, StoreError};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::composing::{self, Results, Unsendable};
use super::{Gateway, WayOut, sharing};
use crate::engine::Clock;
use crate::scribe::own_letter;

/// Mails on their way at once.
const JOBS_MAX: usize = 16;
/// Bytes of mails on their way at once, unless it is one alone: each is in memory up to three times while it is made.
const BYTES_MAX: u64 = 48 * 1024 * 1024;
/// Recipients of one mail that one attempt takes (RFC 5321 §4.5.3.1.8).
const RECIPIENTS_MAX: usize = 100;
/// The queue is read at most so often.
const READ_EVERY: Duration = Duration::from_millis(250);
/// Due entries that are looked at for the next attempts; the others come when these are on their way.
const LOOKED_AT_MAX: usize = 1_000;
/// The longest sleep.
const SLEEP_MAX: Duration = Duration::from_secs(3600);
/// How long attempts that are in the middle may still take when the node stops: most end within it, and need not be made again.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// How long an entry waits that could not even be looked at.
const TROUBLE_MS: u64 = 60_000;

/// What sends.
pub struct Sender {
    shared: Arc<Shared>,
    smarthosts: BTreeMap<String, Arc<Smarthost>>,
    pending: BTreeMap<EntryId, LegacyEntry>,
    on_the_way: BTreeSet<EntryId>,
    bytes: u64,
    jobs: JoinSet<Done>,
    /// Whether what is due waits for an attempt to end.
    full: bool,
    forgiven: u64,
}

struct Shared {
    store: Store,
    clock: Clock,
    gateway: Arc<Gateway>,
    outbound: Outbound,
    signers: Vec<Signer>,
    schedule: Schedule,
}

/// Where a mail goes next.
#[derive(Clone)]
enum Next {
    Place(Place),
    Smarthost(String, Arc<Smarthost>),
}

impl Next {
    fn hop(&self) -> Hop<'_> {
        match self {
            Self::Place(place) => Hop::Place(place),
            Self::Smarthost(_, smarthost) => Hop::Smarthost(smarthost),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Place(place) => place.to_string(),
            Self::Smarthost(account, _) => format!("provider {account}"),
        }
    }
}

/// A finished attempt.
struct Done {
    entries: Vec<EntryId>,
    bytes: u64,
    /// `None` where it could not be written.
    progress: Option<Vec<(EntryId, LegacyProgress)>>,
}

impl Sender {
    /// What sends by these ways.
    pub fn new(
        store: Store,
        clock: Clock,
        gateway: Arc<Gateway>,
        outbound: Outbound,
        signers: Vec<Signer>,
        smarthosts: BTreeMap<String, Smarthost>,
    ) -> Self {
        let config = gateway.config();
        let usual = Schedule::default();
        let first_ms = config.retry_seconds.saturating_mul(1000);
        let schedule = Schedule {
            first_ms,
            longest_ms: usual.longest_ms.max(first_ms),
            notice_ms: config.delay_notice_seconds.saturating_mul(1000),
            expiry_ms: config.expiry_seconds.saturating_mul(1000),
            ..usual
        };
        Self {
            shared: Arc::new(Shared { store, clock, gateway, outbound, signers, schedule }),
            smarthosts: smarthosts.into_iter().map(|(name, smarthost)| (name, Arc::new(smarthost))).collect(),
            pending: BTreeMap::new(),
            on_the_way: BTreeSet::new(),
            bytes: 0,
            jobs: JoinSet::new(),
            full: false,
            forgiven: 0,
        }
    }

    /// Sends until it is told to stop; attempts that are in the middle have a moment to end then. What does not is made again after the next start.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut read_at: Option<Instant> = None;
        let mut stale = true;
        while !*stop.borrow() {
            let listener = self.shared.store.listen(Topic::Legacy);
            let pause = read_at.map_or(Duration::ZERO, |at| READ_EVERY.saturating_sub(at.elapsed()));
            if stale && pause.is_zero() {
                self.read().await;
                (stale, read_at) = (false, Some(Instant::now()));
            }
            self.forgive();
            self.start_due().await;
            let sleep = if stale { pause } else { self.until_due() };
            tokio::select! {
                () = listener => stale = true,
                Some(done) = self.jobs.join_next() => match done {
                    Ok(done) => self.finished(done),
                    Err(error) => {
                        tracing::error!(%error, "an attempt to send ended by a fault of ours");
                        // Which one it was is not known any more: everything that is not running is read anew.
                        self.on_the_way.clear();
                        self.bytes = 0;
                        self.jobs.abort_all();
                        stale = true;
                    }
                },
                () = tokio::time::sleep(sleep) => {}
                changed = stop.changed() => if changed.is_err() { break },
            }
        }
        let _in_time = tokio::time::timeout(STOP_GRACE, async { while self.jobs.join_next().await.is_some() {} }).await;
        self.jobs.shutdown().await;
        self.shared.outbound.close().await;
    }

    async fn read(&mut self) {
        let store = self.shared.store.clone();
        match tokio::task::spawn_blocking(move || store.legacy_queue()).await {
            Ok(Ok(entries)) => {
                // What is under way has newer progress in a moment.
                self.pending = entries.into_iter().map(|entry| (entry.id, entry)).collect();
            }
            Ok(Err(error)) => tracing::error!(%error, "the gateway's queue cannot be read"),
            Err(error) => tracing::error!(%error, "reading the gateway's queue ended by a fault of ours"),
        }
    }

    /// A person said "try now".
    fn forgive(&mut self) {
        let forgiven = self.shared.gateway.forgiven();
        if forgiven == self.forgiven {
            return;
        }
        self.forgiven = forgiven;
        for smarthost in self.smarthosts.values() {
            self.shared.outbound.forgive(Hop::Smarthost(smarthost));
        }
        for entry in self.pending.values() {
            if let Ok(address) = MailAddress::parse(&entry.recipient) {
                self.shared.outbound.forgive(Hop::Place(address.place()));
            }
        }
    }

    fn is_due(&self, entry: &LegacyEntry, now: Wall) -> bool {
        let left_ms = self.shared.schedule.wait_left_ms(entry.progress.next_ms, now.0);
        !entry.progress.held && left_ms == 0 && !self.on_the_way.contains(&entry.id)
    }

    fn until_due(&self) -> Duration {
        if self.full {
            return SLEEP_MAX;
        }
        let now = self.shared.clock.now().wall.0;
        let waiting = self.pending.values().filter(|entry| !entry.progress.held && !self.on_the_way.contains(&entry.id));
        let next = waiting.map(|entry| self.shared.schedule.wait_left_ms(entry.progress.next_ms, now)).min();
        next.map_or(SLEEP_MAX, |ms| Duration::from_millis(ms.max(10))).min(SLEEP_MAX)
    }

    async fn start_due(&mut self) {
        let now = self.shared.clock.now().wall;
        self.full = self.jobs.len() >= JOBS_MAX;
        if self.full {
            return;
        }
        let free = JOBS_MAX - self.jobs.len();
        let due = self.pending.values().filter(|entry| self.is_due(entry, now)).take(LOOKED_AT_MAX);
        let due: Vec<EntryId> = due.map(|entry| entry.id).collect();
        let mut groups: BTreeMap<Group, (Next, Vec<LegacyEntry>)> = BTreeMap::new();
        let mut last = None;
        for id in due {
            let Some(entry) = self.pending.get(&id).cloned() else { continue };
            // The entries of one mail stand together: when there is work for every place, the next mail need not be looked at yet.
            if last.replace(entry.blob.0) != Some(entry.blob.0) && groups.len() >= free {
                break;
            }
            match self.next(&entry) {
                Ok(Some(Way::Hop(next))) => {
                    let key = (next.name(), entry.blob.0.0, entry.from.clone(), entry.account.0);
                    let (_, group) = groups.entry(key).or_insert_with(|| (next, Vec::new()));
                    if group.len() < RECIPIENTS_MAX {
                        group.push(entry);
                    }
                }
                Ok(Some(Way::Letter(to))) => self.hand_over(entry, to).await,
                Ok(None) => self.put_off(entry, "this node has no way to ordinary addresses any more".into()).await,
                Err(error) => self.put_off(entry, error.to_string()).await,
            }
        }
        // The oldest first, whatever its key.
        let mut groups: Vec<(Next, Vec<LegacyEntry>)> = groups.into_values().collect();
        groups.sort_by_key(|(_, group)| group.first().map(|entry| entry.id));
        for (next, entries) in groups {
            let bytes = entries.first().map_or(0, |entry| entry.blob.1);
            self.full = self.jobs.len() >= JOBS_MAX || (self.bytes + bytes > BYTES_MAX && !self.jobs.is_empty());
            if self.full {
                break;
            }
            self.bytes += bytes;
            self.on_the_way.extend(entries.iter().map(|entry| entry.id));
            self.jobs.spawn(attempt(self.shared.clone(), next, entries, bytes));
        }
    }

    fn next(&self, entry: &LegacyEntry) -> Result<Option<Way>, StoreError> {
        let account = self.shared.store.account(entry.account)?;
        Ok(match self.shared.gateway.way_out(&self.shared.store, &account)? {
            Some(WayOut::Provider(name)) => {
                let smarthost = self.smarthosts.get(&name);
                smarthost.map(|smarthost| Way::Hop(Next::Smarthost(name.clone(), smarthost.clone())))
            }
            Some(WayOut::Direct) => {
                // What cannot be parsed fails when it is made into a mail; any place will do until then.
                let place = MailAddress::parse(&entry.recipient).map(|address| address.place().clone());
                Some(Way::Hop(Next::Place(place.unwrap_or(Place::Literal(std::net::Ipv4Addr::LOCALHOST.into())))))
            }
            // What others want sent on is not sent on to others again.
            Some(WayOut::Contact(address)) if entry.origin.is_none() => Some(Way::Letter(address)),
            Some(WayOut::Contact(_)) | None => None,
        })
    }

    /// Has an entry wait that could not be tried: no attempt, but its age counts and its sender is told.
    async fn put_off(&mut self, entry: LegacyEntry, why: String) {
        let (shared, now, id) = (self.shared.clone(), self.shared.clock.now(), entry.id);
        let written = tokio::task::spawn_blocking(move || {
            let results = composing::put_off(&shared.store, &shared.schedule, &entry, &why, TROUBLE_MS, now)?;
            let progress = results.progress().to_vec();
            shared.store.write(move |transaction| results.perform(transaction)).map(|()| progress)
        });
        match written.await {
            Ok(Ok(progress)) => return self.settled(&[id], progress),
            Ok(Err(error)) => tracing::error!(%error, "a mail for the gateway could not be put off"),
            Err(error) => tracing::error!(%error, "putting off ended by a fault of ours"),
        }
        self.rest(id, now.wall);
    }

    /// Leaves an entry alone for a while without a word in the store.
    fn rest(&mut self, id: EntryId, now: Wall) {
        if let Some(entry) = self.pending.get_mut(&id) {
            entry.progress.next_ms = now.0.saturating_add(TROUBLE_MS.cast_signed());
        }
    }

    /// A mail that waited for a word leaves by a contact's gateway: it becomes a letter, in one commit.
    async fn hand_over(&mut self, entry: LegacyEntry, to: kith_protocol::address::Address) {
        let (store, now, id) = (self.shared.store.clone(), self.shared.clock.now(), entry.id);
        let written = tokio::task::spawn_blocking(move || {
            let (letter, content) = letter_of(&store, &entry, to, now)?;
            store.write(move |transaction| {
                transaction.enqueue_staged(&letter, &content)?;
                transaction.remove_legacy(entry.id).map(drop)
            })
        });
        match written.await {
            Ok(Ok(())) => {
                self.pending.remove(&id);
                return;
            }
            Ok(Err(error)) => tracing::error!(%error, "a mail could not be handed to a contact's gateway"),
            Err(error) => tracing::error!(%error, "handing over ended by a fault of ours"),
        }
        self.rest(id, now.wall);
    }

    fn finished(&mut self, done: Done) {
        self.bytes = self.bytes.saturating_sub(done.bytes);
        for id in &done.entries {
            self.on_the_way.remove(id);
        }
        if let Some(progress) = done.progress {
            return self.settled(&done.entries, progress);
        }
        let now = self.shared.clock.now().wall;
        for id in done.entries {
            self.rest(id, now);
        }
    }

    fn settled(&mut self, entries: &[EntryId], progress: Vec<(EntryId, LegacyProgress)>) {
        let mut progress: BTreeMap<EntryId, LegacyProgress> = progress.into_iter().collect();
        for id in entries {
            match (progress.remove(id), self.pending.get_mut(id)) {
                (Some(progress), Some(entry)) => entry.progress = progress,
                _ => {
                    self.pending.remove(id);
                }
            }
        }
    }
}

/// What goes together: next hop, mail, reverse-path, account.
type Group = (String, [u8; 32], String, u32);

/// By which way an entry goes.
enum Way {
    Hop(Next),
    Letter(kith_protocol::address::Address),
}

fn letter_of(
    store: &Store,
    entry: &LegacyEntry,
    to: kith_protocol::address::Address,
    now: Now,
) -> Result<(QueueEntry, kith_store::blob::Staged), StoreError> {
    let letter = QueueEntry {
        form: Form::Outgoing,
        mid: entry.mid,
        typed: entry.typed.clone(),
        submitted_ms: entry.submitted_ms,
        envid: entry.envid.clone(),
        ret_full: entry.ret_full,
        ..own_letter(entry.account, to, EntryKind::Mail, now)
    };
    let recipient = LegacyRecipient {
        address: entry.recipient.clone(),
        from: entry.from.clone(),
        typed: entry.typed.clone(),
        notify: entry.notify,
        orcpt: entry.orcpt.clone(),
        held: false,
    };
    sharing::letter(store, &letter, &recipient, &entry.blob.0)
}

/// One attempt, from the blob to the commit.
async fn attempt(shared: Arc<Shared>, next: Next, entries: Vec<LegacyEntry>, bytes: u64) -> Done {
    let ids: Vec<EntryId> = entries.iter().map(|entry| entry.id).collect();
    let made = {
        let (shared, entries) = (shared.clone(), entries.clone());
        tokio::task::spawn_blocking(move || compose(&shared, &entries)).await
    };
    // The next mail goes when what became of this one is written: a crash doubles no more than are under way at once.
    let mut held = None;
    let outcome = match made {
        Ok(Ok(mail)) => {
            let (outcome, hold) = shared.outbound.send_and_hold(next.hop(), &mail).await;
            held = Some(hold);
            Ok(outcome)
        }
        Ok(Err(Unsendable::For(why))) => Err(why),
        Ok(Err(Unsendable::Store(StoreError::NotFound(_) | StoreError::Damaged(_)))) => {
            Err("the mail is not in the store any more".to_owned())
        }
        Ok(Err(Unsendable::Store(error))) => {
            tracing::error!(%error, "a mail for the gateway cannot be read");
            Ok(not_tried(&entries))
        }
        Err(error) => {
            tracing::error!(%error, "making a mail ended by a fault of ours");
            Ok(not_tried(&entries))
        }
    };
    if let (Ok(outcome), Next::Smarthost(account, smarthost)) = (&outcome, &next) {
        shared.gateway.heard(account, credentials(outcome, smarthost));
    }
    let written = {
        let shared = shared.clone();
        tokio::task::spawn_blocking(move || commit(&shared, &entries, outcome)).await
    };
    drop(held);
    let progress = match written {
        Ok(Ok(progress)) => Some(progress),
        Ok(Err(error)) => {
            // It goes again in a while, at the risk of one double.
            tracing::error!(%error, "what became of a mail could not be written");
            None
        }
        Err(error) => {
            tracing::error!(%error, "writing what became of a mail ended by a fault of ours");
            None
        }
    };
    Done { entries: ids, bytes, progress }
}

/// What a person has to be told of a provider: `None` when nothing is wrong.
fn credentials(outcome: &Outcome, smarthost: &Smarthost) -> Option<String> {
    match outcome.hop {
        HopState::CredentialsRefused { .. } => {
            let said = outcome.fates.iter().find_map(|fate| match fate {
                Fate::Later(trouble) | Fate::Failed(trouble) => trouble.answer.as_ref().map(ToString::to_string),
                Fate::Delivered { .. } | Fate::Unknown { .. } => None,
            });
            let said = said.map_or_else(String::new, |said| format!(" ({said})"));
            let what = if smarthost.token.is_some() { "token" } else { "password" };
            Some(format!(
                "{} refuses the user name or {what}{said}; mend it and say `kith queue retry`, or start again where kith.toml is another one now",
                smarthost.host
            ))
        }
        HopState::Fine | HopState::Trouble | HopState::Resting { .. } => outcome.fates.iter().find_map(|fate| match fate {
            Fate::Later(Trouble { why: why @ Why::NoSecret(_), .. }) => {
                Some(format!("nothing can be sent by {}: {why}", smarthost.host))
            }
            Fate::Later(_) | Fate::Failed(_) | Fate::Delivered { .. } | Fate::Unknown { .. } => None,
        }),
    }
}

fn not_tried(entries: &[LegacyEntry]) -> Outcome {
    let wait = Duration::from_millis(TROUBLE_MS);
    Outcome { fates: vec![Fate::Later(Trouble::here(Why::Resting)); entries.len()], hop: HopState::Resting { wait } }
}

fn compose(shared: &Shared, entries: &[LegacyEntry]) -> Result<Mail, Unsendable> {
    let from = entries.first().map(|entry| entry.from.as_str()).unwrap_or_default();
    let domain = from.rsplit_once('@').map(|(_, domain)| domain.to_ascii_lowercase());
    let signer = shared.signers.iter().find(|signer| Some(signer.domain().as_str()) == domain.as_deref());
    composing::mail(&shared.store, &shared.gateway, signer, entries)
}

fn commit(
    shared: &Shared,
    entries: &[LegacyEntry],
    outcome: Result<Outcome, String>,
) -> Result<Vec<(EntryId, LegacyProgress)>, StoreError> {
    let now = shared.clock.now();
    let results: Results = match outcome {
        Ok(outcome) => composing::results(&shared.store, &shared.schedule, entries, &outcome, now)?,
        Err(why) => composing::unsendable(&shared.store, &shared.schedule, entries, &why, now)?,
    };
    let progress = results.progress().to_vec();
    shared.store.write(move |transaction| results.perform(transaction))?;
    Ok(progress)
}
