//! Fetching from mailboxes that people have somewhere else: one task for each, which waits for news there, brings them here, and says what a person
//! has to mend.
//!
//! A mail, how far the mailbox was fetched, and the mail's name are one commit; only then anything happens to it over there. A mail that is here
//! already is known by its bytes, so that a provider that numbers its mails anew doubles nothing.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use kith_gateway::fetch::backoff::{Backoff, Next};
use kith_gateway::fetch::keeper::{Keeper, imap_round, pop3_round};
use kith_gateway::fetch::{Account as Elsewhere, Afterwards, Begin, FetchError, Login, Protocol, Security};
use kith_gateway::fetch::{imap, pop3};
use kith_gateway::secret::SecretSource;
use kith_protocol::ids::MailId;
use kith_store::account::Account;
use kith_store::blob::Stage;
use kith_store::folder::Use;
use kith_store::mailbox::Filing;
use kith_store::{Store, StoreError, Transaction};
use std::sync::Arc;
use tokio::sync::watch;

use super::Gateway;
use super::arrival::{self, Arrival, Target};
use crate::config::gateway::{FetchBy, FetchThen, Provider, TlsWord};
use crate::engine::Clock;
use crate::{delivered, notices};

/// What stands in the row of a POP3 mail that is here, and of one that was passed over.
const HERE: &[u8] = b"h";
const PASSED_OVER: &[u8] = b"l";

/// One mailbox somewhere else, and whose it is.
pub struct Fetcher {
    store: Store,
    clock: Clock,
    gateway: Arc<Gateway>,
    account: Account,
    elsewhere: Elsewhere,
    every: Duration,
}

/// From the settings, what is fetched from; `None` where nothing is.
pub fn elsewhere(home: &Path, provider: &Provider, size_limit: u64, trust: &str) -> Option<Elsewhere> {
    let (host, port) = provider.fetch.rsplit_once(':')?;
    let (login, secret) = if provider.token_command.is_empty() {
        let secret = match provider.password_command.as_slice() {
            [] => SecretSource::File(home.join(&provider.password_file)),
            command => SecretSource::Command(command.to_vec()),
        };
        (Login::Password, secret)
    } else {
        (Login::Xoauth2, SecretSource::Command(provider.token_command.clone()))
    };
    Some(Elsewhere {
        protocol: match provider.fetch_by {
            FetchBy::Imap => Protocol::Imap,
            FetchBy::Pop3 => Protocol::Pop3,
        },
        host: host.to_owned(),
        port: port.parse().ok(),
        security: match provider.fetch_tls {
            TlsWord::Tls => Security::Tls,
            TlsWord::Starttls => Security::Starttls,
            TlsWord::None => Security::None,
        },
        user: provider.user().to_owned(),
        login,
        secret,
        folders: provider.fetch_folders.clone(),
        afterwards: match provider.fetch_then {
            FetchThen::Keep => Afterwards::Keep,
            FetchThen::Seen => Afterwards::Seen,
            FetchThen::Delete => Afterwards::Delete,
        },
        begin: Begin::All,
        size_limit,
        authority: (!trust.is_empty()).then(|| trust.into()),
    })
}

impl Fetcher {
    /// Fetches for an account from that mailbox, and looks there at least so often.
    pub fn new(
        store: Store,
        clock: Clock,
        gateway: Arc<Gateway>,
        account: Account,
        elsewhere: Elsewhere,
        every: Duration,
    ) -> Self {
        Self { store, clock, gateway, account, elsewhere, every }
    }

    /// Fetches until it is told to stop. What breaks off is gone on with after the next start.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let me = Arc::new(self);
        let mut backoff = Backoff::default();
        while !*stop.borrow() {
            let forgiven = me.gateway.forgiven();
            let attempt = tokio::select! {
                attempt = me.clone().visit(&mut backoff) => attempt,
                _ = stop.changed() => return,
            };
            let Err(error) = attempt else { continue };
            let trouble = format!("fetching from {}: {error}", me.elsewhere.host);
            let next = backoff.failed(&error, rand::random());
            me.gateway.heard(&format!("{} (fetching)", me.account.name), Some(trouble));
            let wait = match next {
                Next::After(seconds) => Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
                // Until a person says so.
                Next::Stop => Duration::MAX,
            };
            me.rest(wait, forgiven, &mut stop).await;
        }
    }

    /// Waits, or until a person wants everything tried.
    async fn rest(&self, wait: Duration, forgiven: u64, stop: &mut watch::Receiver<bool>) {
        /// How often is looked whether a person wants that.
        const LOOK: Duration = Duration::from_secs(1);
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < wait && self.gateway.forgiven() == forgiven && !*stop.borrow() {
            tokio::select! {
                () = tokio::time::sleep(LOOK.min(wait)) => {}
                changed = stop.changed() => if changed.is_err() { return },
            }
        }
    }

    /// One connection: everything that is new, then the wait for more.
    async fn visit(self: Arc<Self>, backoff: &mut Backoff) -> Result<(), FetchError> {
        match self.elsewhere.protocol {
            Protocol::Imap => {
                let mut session = imap::Session::connect(&self.elsewhere).await?;
                loop {
                    for folder in self.elsewhere.folders.clone().iter().rev() {
                        session = self.clone().imap_folder(session, folder.clone()).await?;
                    }
                    self.well(backoff);
                    // The first folder is the one that is open, and that news are heard of.
                    session.wait(self.every).await?;
                }
            }
            Protocol::Pop3 => {
                let session = pop3::Session::connect(&self.elsewhere).await?;
                let (me, handle) = (self.clone(), tokio::runtime::Handle::current());
                blocking(move || {
                    let stored = me.pop3_position()?;
                    let mut shelf = Pop3Shelf { fetcher: &me, stored: stored.clone() };
                    handle.block_on(pop3_round(session, &stored, &mut shelf))
                })
                .await?;
                self.well(backoff);
                tokio::time::sleep(self.every).await;
                Ok(())
            }
        }
    }

    fn well(&self, backoff: &mut Backoff) {
        backoff.succeeded();
        self.gateway.heard(&format!("{} (fetching)", self.account.name), None);
    }

    async fn imap_folder(self: Arc<Self>, mut session: imap::Session, folder: String) -> Result<imap::Session, FetchError> {
        let handle = tokio::runtime::Handle::current();
        blocking(move || {
            let row = self.store.gateway_row(&self.rows(), &folder).map_err(disk)?;
            let stored: Option<imap::Position> = row.and_then(|row| serde_json::from_slice(&row).ok());
            let mut shelf = ImapShelf { fetcher: &self };
            handle.block_on(imap_round(&mut session, &folder, stored.as_ref(), &mut shelf))?;
            Ok(session)
        })
        .await
    }

    /// The kind of rows that say how far a mailbox was fetched, by folder.
    fn rows(&self) -> String {
        format!("{}/fetch", self.account.id.0)
    }

    fn pop3_rows(&self) -> String {
        format!("{}/fetch/pop3", self.account.id.0)
    }

    fn pop3_position(&self) -> Result<pop3::Position, FetchError> {
        let rows = self.store.gateway_rows(&self.pop3_rows()).map_err(disk)?;
        let of = |wanted: &[u8]| -> BTreeSet<String> {
            rows.iter().filter(|(_, kind)| kind == wanted).map(|(uidl, _)| uidl.clone()).collect()
        };
        Ok(pop3::Position { here: of(HERE), left: of(PASSED_OVER), begun: !rows.is_empty() })
    }

    /// Commits a mail, if there is one, with what else is to be written.
    fn commit(
        &self,
        mail: Option<Stage>,
        position: impl Fn(&mut Transaction<'_>) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), FetchError> {
        let now = self.clock.now();
        let Some(stage) = mail else { return self.store.write(move |transaction| position(transaction)).map_err(disk) };
        let raw = stage.finish().map_err(disk)?;
        let to = self.gateway.identity(&self.store, &self.account).map_err(disk)?.unwrap_or_default();
        let arrival =
            Arrival { mail: &raw.hash, from: "", to: &to, verdict: "", junk: false, suggestion: None, keep_results: true };
        let target = Target::Household(self.account.id);
        let prepared = arrival::prepare(&self.store, &self.gateway, &target, &arrival, now).map_err(disk)?;
        let (account, own) = (self.account.id, self.account.address);
        self.store
            .write(move |transaction| {
                // Held until here; and its bytes are its name.
                let (name, _) = raw.hash.0.split_at(16);
                let mid = MailId(name.try_into().unwrap_or_default());
                if transaction.remember_letter(account, &own, &mid, now.wall.0)? {
                    prepared.perform(transaction)?;
                }
                position(transaction)
            })
            .map_err(disk)
    }

    /// Tells the person that a mail is too large to be fetched, and stays where it is.
    fn too_large(&self, bytes: u64) {
        let (account, wall) = (self.account.id, self.clock.now().wall);
        let (mebibytes, host) = (bytes.div_ceil(1 << 20), &self.elsewhere.host);
        let text = format!("A mail of {mebibytes} MiB at {host} is too large to be fetched, and stays there.\r\n");
        let mail = notices::word(&self.account.name, "A mail was not fetched: it is too large", &text, wall, rand::random());
        let filed = self.store.stage().and_then(|mut stage| {
            stage.write_all(&mail).map_err(delivered::disk)?;
            let filing = Filing::fresh(stage.finish()?, wall);
            self.store.write(move |transaction| transaction.deliver(account, Use::Inbox, &filing).map(drop))
        });
        if let Err(error) = filed {
            tracing::warn!(%error, "a notice could not be filed");
        }
    }
}

/// The store's failure as the round knows it.
fn disk(error: StoreError) -> FetchError {
    match error {
        StoreError::DiskFull => FetchError::Disk(io::ErrorKind::StorageFull.into()),
        error => FetchError::Disk(io::Error::other(error.to_string())),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, FetchError> + Send + 'static) -> Result<T, FetchError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(FetchError::Disk(io::Error::other(error.to_string()))),
    }
}

struct ImapShelf<'a> {
    fetcher: &'a Fetcher,
}

impl Keeper<imap::Position> for ImapShelf<'_> {
    type Sink = Stage;

    fn begin(&mut self) -> Result<Stage, FetchError> {
        self.fetcher.store.stage().map_err(disk)
    }

    fn commit(&mut self, mail: Option<Stage>, position: &imap::Position) -> Result<(), FetchError> {
        let row = serde_json::to_vec(position).map_err(|error| FetchError::Disk(error.into()))?;
        let (rows, folder) = (self.fetcher.rows(), position.folder.clone());
        self.fetcher.commit(mail, move |transaction| transaction.put_gateway_row(&rows, &folder, Some(&row)))
    }

    fn passed_over(&mut self, bytes: u64) {
        self.fetcher.too_large(bytes);
    }
}

struct Pop3Shelf<'a> {
    fetcher: &'a Fetcher,
    /// As it lies in the store: a row for each mail, so that one more costs one row.
    stored: pop3::Position,
}

impl Keeper<pop3::Position> for Pop3Shelf<'_> {
    type Sink = Stage;

    fn begin(&mut self) -> Result<Stage, FetchError> {
        self.fetcher.store.stage().map_err(disk)
    }

    fn commit(&mut self, mail: Option<Stage>, position: &pop3::Position) -> Result<(), FetchError> {
        let rows = self.fetcher.pop3_rows();
        let mut changes: Vec<(String, Option<&'static [u8]>)> = Vec::new();
        for (was, is, kind) in [(&self.stored.here, &position.here, HERE), (&self.stored.left, &position.left, PASSED_OVER)] {
            changes.extend(was.difference(is).map(|uidl| (uidl.clone(), None)));
            changes.extend(is.difference(was).map(|uidl| (uidl.clone(), Some(kind))));
        }
        // What moved from one set to the other is removed first.
        changes.sort_by_key(|(_, kind)| kind.is_some());
        self.fetcher.commit(mail, move |transaction| {
            changes.iter().try_for_each(|(uidl, kind)| transaction.put_gateway_row(&rows, uidl, *kind))
        })?;
        self.stored = position.clone();
        Ok(())
    }

    fn passed_over(&mut self, bytes: u64) {
        self.fetcher.too_large(bytes);
    }
}
