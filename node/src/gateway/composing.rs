//! From entries of the gateway's queue to what is handed to the next hop, and from what became of it to rows and reports.

use std::io::{Read as _, Write as _};

use kith_gateway::domain::Address as MailAddress;
use kith_gateway::outbound::content::Content;
use kith_gateway::outbound::fate::{Enhanced, Fate, HopState, Outcome, Reports, Trouble, Why};
use kith_gateway::outbound::mail::{Mail, Notify as Asked, Recipient, Returned};
use kith_gateway::schedule::{Next, Schedule, Told};
use kith_gateway::sign::Signer;
use kith_protocol::event::Now;
use kith_protocol::ids::{AccountId, EntryId};
use kith_store::blob::Staged;
use kith_store::folder::Use;
use kith_store::legacy::{LegacyEntry, LegacyProgress};
use kith_store::mailbox::Filing;
use kith_store::queue::QueueEntry;
use kith_store::{Store, StoreError, Transaction};

use super::{Gateway, outgoing, sharing};
use crate::delivered;
use crate::notices::{self, Notice, Report};

/// The longest header block that is rewritten; a mail with a longer one does not leave in the clear.
const HEADER_BYTES_MAX: usize = 256 * 1024;
/// What a gap between two looks at the clock counts at most: a clock that jumps by years ages nothing by years.
const GAP_MS_MAX: i64 = 24 * 60 * 60 * 1000;

/// Why a mail cannot even be brought into the form that leaves.
#[derive(Debug, thiserror::Error)]
pub enum Unsendable {
    /// For now.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// For good.
    #[error("{0}")]
    For(String),
}

/// The mail of some entries (same bytes, same sender, same next hop) as it leaves.
///
/// # Errors
/// [`Unsendable`].
pub fn mail(store: &Store, gateway: &Gateway, signer: Option<&Signer>, entries: &[LegacyEntry]) -> Result<Mail, Unsendable> {
    let first = entries.first().ok_or_else(|| Unsendable::For("there is no recipient".into()))?;
    let content = content(store, gateway, first)?;
    let content = match signer {
        Some(signer) => {
            let field = signer.sign(&content).map_err(|error| Unsendable::For(error.to_string()))?;
            content.with_head(&field).map_err(|_| too_large())?
        }
        None => content,
    };
    let sender = match first.from.as_str() {
        "" => None,
        from => Some(MailAddress::parse(from).map_err(|error| Unsendable::For(format!("{from}: {error}")))?),
    };
    let mut recipients = Vec::with_capacity(entries.len());
    for entry in entries {
        let address = MailAddress::parse(&entry.recipient).map_err(|error| Unsendable::For(error.to_string()))?;
        let notify = Asked { success: entry.notify.success, failure: entry.notify.failure, delay: entry.notify.delay };
        recipients.push(Recipient { address, notify: Some(notify), original: entry.orcpt.clone() });
    }
    let returned = Some(if first.ret_full { Returned::Full } else { Returned::Header });
    Ok(Mail { sender, recipients, content, returned, envelope_id: first.envid.clone() })
}

fn too_large() -> Unsendable {
    Unsendable::For("the mail is too large to leave in the clear".into())
}

fn content(store: &Store, gateway: &Gateway, entry: &LegacyEntry) -> Result<Content, Unsendable> {
    let mut bytes = Vec::new();
    store.blob(&entry.blob.0)?.read_to_end(&mut bytes).map_err(delivered::disk)?;
    let end = if bytes.starts_with(b"\r\n") { Some(0) } else { memchr::memmem::find(&bytes, b"\r\n\r\n").map(|at| at + 2) };
    let (block, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
    if block.len() > HEADER_BYTES_MAX {
        return Err(Unsendable::For("the mail's header is too long to leave in the clear".into()));
    }
    let sender = match entry.origin {
        Some(origin) => origin,
        None => store.account(entry.account)?.address,
    };
    let mut out = outgoing::header(store, gateway, (entry.account, &sender), &entry.from, block)?;
    out.extend_from_slice(rest);
    Content::new(&out).map_err(|_| too_large())
}

/// What is to be written of an attempt.
#[derive(Clone, Debug, Default)]
pub struct Results {
    progress: Vec<(EntryId, LegacyProgress)>,
    gone: Vec<EntryId>,
    reports: Vec<(AccountId, Filing)>,
    /// Reports for those whose mail was sent on for them.
    letters: Vec<(QueueEntry, Staged)>,
}

impl Results {
    /// Writes it.
    ///
    /// # Errors
    /// [`StoreError`] from below.
    pub fn perform(&self, transaction: &mut Transaction<'_>) -> Result<(), StoreError> {
        for (id, progress) in &self.progress {
            match transaction.put_legacy_progress(*id, progress, false) {
                // A person withdrew it meanwhile.
                Err(StoreError::NotFound(_)) => {}
                other => other?,
            }
        }
        for (account, filing) in &self.reports {
            transaction.deliver(*account, Use::Inbox, filing)?;
        }
        for (letter, content) in &self.letters {
            transaction.enqueue_staged(letter, content)?;
        }
        self.gone.iter().try_for_each(|id| transaction.remove_legacy(*id).map(drop))
    }

    /// What stays, with where it stands.
    pub fn progress(&self) -> &[(EntryId, LegacyProgress)] {
        &self.progress
    }
}

/// What an attempt's outcome means for its entries.
///
/// # Errors
/// [`StoreError`] from below.
pub fn results(
    store: &Store,
    schedule: &Schedule,
    entries: &[LegacyEntry],
    outcome: &Outcome,
    now: Now,
) -> Result<Results, StoreError> {
    let mut results = Results::default();
    for (entry, fate) in entries.iter().zip(&outcome.fates) {
        let mut progress = aged(entry, now);
        match fate {
            Fate::Delivered { host, answer, reports, .. } => {
                if *reports == Reports::NotOffered {
                    let notice = Notice::LegacyRelayed(format!("{host}: {answer}"));
                    results.report(store, entry, &progress, schedule, &notice, now)?;
                }
                results.gone.push(entry.id);
            }
            Fate::Failed(trouble) => results.fail(store, entry, &progress, schedule, trouble, now)?,
            Fate::Later(trouble) => match outcome.hop {
                HopState::Resting { wait } | HopState::CredentialsRefused { wait } => {
                    progress.said = Some(trouble.to_string());
                    results.wait(store, entry, progress, schedule, wait_ms(wait), now)?;
                }
                HopState::Fine | HopState::Trouble => {
                    results.again(store, entry, progress, schedule, trouble, now)?;
                }
            },
            Fate::Unknown { host } => {
                progress.doubtful += 1;
                let trouble = Trouble::at(host, Why::Lost(kith_gateway::outbound::fate::Phase::End));
                results.again(store, entry, progress, schedule, &trouble, now)?;
            }
        }
    }
    Ok(results)
}

fn wait_ms(wait: std::time::Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

/// All entries fail for the same reason, which no other host would judge differently.
///
/// # Errors
/// [`StoreError`] from below.
pub fn unsendable(
    store: &Store,
    schedule: &Schedule,
    entries: &[LegacyEntry],
    why: &str,
    now: Now,
) -> Result<Results, StoreError> {
    let mut results = Results::default();
    for entry in entries {
        let notice = Notice::LegacyFailed { status: "5.6.0".into(), said: why.to_owned() };
        results.report(store, entry, &aged(entry, now), schedule, &notice, now)?;
        results.gone.push(entry.id);
    }
    Ok(results)
}

/// An entry that could not be tried waits.
///
/// # Errors
/// [`StoreError`] from below.
pub fn put_off(
    store: &Store,
    schedule: &Schedule,
    entry: &LegacyEntry,
    why: &str,
    wait_ms: u64,
    now: Now,
) -> Result<Results, StoreError> {
    let mut results = Results::default();
    let progress = LegacyProgress { said: Some(why.to_owned()), ..aged(entry, now) };
    results.wait(store, entry, progress, schedule, wait_ms, now)?;
    Ok(results)
}

/// An entry's progress with the time that has passed counted.
fn aged(entry: &LegacyEntry, now: Now) -> LegacyProgress {
    let gap = now.wall.0.saturating_sub(entry.progress.aged_at_ms).clamp(0, GAP_MS_MAX);
    LegacyProgress {
        age_ms: entry.progress.age_ms.saturating_add(u64::try_from(gap).unwrap_or(0)),
        aged_at_ms: now.wall.0,
        ..entry.progress.clone()
    }
}

impl Results {
    fn fail(
        &mut self,
        store: &Store,
        entry: &LegacyEntry,
        progress: &LegacyProgress,
        schedule: &Schedule,
        trouble: &Trouble,
        now: Now,
    ) -> Result<(), StoreError> {
        let notice = Notice::LegacyFailed { status: trouble.status(5).to_string(), said: trouble.to_string() };
        self.report(store, entry, progress, schedule, &notice, now)?;
        self.gone.push(entry.id);
        Ok(())
    }

    /// Another attempt has failed for now.
    fn again(
        &mut self,
        store: &Store,
        entry: &LegacyEntry,
        mut progress: LegacyProgress,
        schedule: &Schedule,
        trouble: &Trouble,
        now: Now,
    ) -> Result<(), StoreError> {
        progress.attempts = progress.attempts.saturating_add(1);
        progress.said = Some(trouble.to_string());
        match schedule.next(progress.attempts, progress.age_ms, rand::random()) {
            Next::Again { in_ms } => self.wait(store, entry, progress, schedule, in_ms, now),
            Next::Expired => {
                let status = match trouble.status(4) {
                    Enhanced(_, 0, 0) => Enhanced(5, 4, 7),
                    Enhanced(_, subject, detail) => Enhanced(5, subject, detail),
                };
                let notice = Notice::LegacyFailed { status: status.to_string(), said: trouble.to_string() };
                self.report(store, entry, &progress, schedule, &notice, now)?;
                self.gone.push(entry.id);
                Ok(())
            }
        }
    }

    /// It waits; the sender is told when it has waited for long.
    fn wait(
        &mut self,
        store: &Store,
        entry: &LegacyEntry,
        mut progress: LegacyProgress,
        schedule: &Schedule,
        in_ms: u64,
        now: Now,
    ) -> Result<(), StoreError> {
        if progress.age_ms >= schedule.expiry_ms {
            let said = progress.said.clone().unwrap_or_default();
            let notice = Notice::LegacyFailed { status: "5.4.7".into(), said };
            self.report(store, entry, &progress, schedule, &notice, now)?;
            self.gone.push(entry.id);
            return Ok(());
        }
        let told = if progress.delay_told { Told::Already } else { Told::NotYet };
        if schedule.notice_is_due(progress.age_ms, told) {
            let notice = Notice::LegacyDelayed(progress.said.clone());
            self.report(store, entry, &progress, schedule, &notice, now)?;
            progress.delay_told = true;
        }
        progress.next_ms = now.wall.0.saturating_add(i64::try_from(in_ms).unwrap_or(i64::MAX));
        self.progress.push((entry.id, progress));
        Ok(())
    }

    fn report(
        &mut self,
        store: &Store,
        entry: &LegacyEntry,
        progress: &LegacyProgress,
        schedule: &Schedule,
        notice: &Notice,
        now: Now,
    ) -> Result<(), StoreError> {
        if !notice.wanted_by(entry.notify) {
            return Ok(());
        }
        let account = match store.account(entry.account) {
            Ok(account) => account,
            Err(StoreError::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let original = crate::scribe::beginning(store, &entry.blob.0);
        if let Some(origin) = &entry.origin {
            let (letter, content) = sharing::report(store, entry, origin, notice, original.as_deref(), now, schedule.expiry_ms)?;
            self.letters.push((letter, content));
            return Ok(());
        }
        let mut about = notices::About::from(entry);
        about.age_ms = progress.age_ms;
        let report = Report {
            about,
            sender: &format!("{}@kith.alt", account.name),
            notice,
            original: original.as_deref(),
            wall: now.wall,
            expiry_ms: schedule.expiry_ms,
            unique: rand::random(),
        };
        let mut stage = store.stage()?;
        stage.write_all(&notices::compose(&report)).map_err(delivered::disk)?;
        let filing = Filing::fresh(stage.finish()?, now.wall);
        self.reports.push((entry.account, filing));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
