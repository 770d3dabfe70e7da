//! Certificates that the world believes, kept in order while the node runs: for which names, since when, and what went wrong. What an authority is asked, and
//! when, is `kith_gateway::acme`'s to say; each answer is written down before anything else happens.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kith_connection::{Certificates, Shutdown};
use kith_gateway::acme::{self, Authority, Cause, Challenges, Life, NotIssued, Record, Step, Way};
use kith_gateway::outbound::trust::Roots;
use kith_store::{Store, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Gateway, setup};
use crate::config::GatewayConfig;
use crate::config::gateway::Sts;
use crate::engine::Clock;

/// The kind of the rows that say, name by name, how it went.
const ROWS: &str = "acme";
/// How often it is looked at the latest: clocks are set, machines sleep, people ask for a try.
const LOOK: Duration = Duration::from_secs(5);
/// The shortest pause between two looks.
const LOOK_MIN: Duration = Duration::from_secs(1);

/// What is written down of a name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Row {
    /// The authority's directory: another one begins anew.
    directory: String,
    /// The life of the certificate that it gave.
    life: Option<Life>,
    /// The tries since.
    record: Record,
}

impl Row {
    fn read(store: &Store, name: &str, directory: &str) -> Result<Self, StoreError> {
        let row = store.gateway_row(ROWS, name)?.and_then(|row| serde_json::from_slice::<Self>(&row).ok());
        let row = row.filter(|row| row.directory == directory);
        Ok(row.unwrap_or_else(|| Self { directory: directory.to_owned(), ..Self::default() }))
    }
}

/// The names that the world knows this node by: what its port 25 is called, and where it serves its policies and settings.
pub(crate) fn names(gateway: &Gateway) -> Vec<String> {
    let config = gateway.config();
    if !config.acme.terms_agreed {
        return Vec::new();
    }
    let mut names = BTreeSet::from([gateway.hello()]);
    for domain in &config.domains {
        if config.sts != Sts::Off {
            names.insert(format!("mta-sts.{domain}"));
        }
        if config.autoconfig {
            names.insert(format!("autoconfig.{domain}"));
        }
    }
    names.into_iter().collect()
}

/// What the authority is believed by, and the domains' own certificates where it is a private one.
///
/// # Errors
/// A sentence: the file cannot be read.
pub(crate) fn roots(home: &Path, config: &GatewayConfig) -> Result<Roots, String> {
    if config.acme.trust.is_empty() {
        return Ok(Roots::web());
    }
    setup::roots_with("gateway.acme.trust", &home.join(&config.acme.trust))
}

/// Keeps the certificates in order.
pub(crate) struct Keeper {
    store: Store,
    clock: Clock,
    gateway: Arc<Gateway>,
    certificates: Arc<Certificates>,
    challenges: Arc<Challenges>,
    authority: Authority,
    /// By which an authority can look whether a name leads here; at least one.
    ways: Vec<Way>,
    /// By name, what is there and how it went.
    rows: BTreeMap<String, Row>,
}

impl Keeper {
    /// By the settings; `None` where no certificates are wanted. What is kept is shown from now on.
    ///
    /// # Errors
    /// A sentence: something in the settings cannot be used, or the store fails.
    pub(crate) fn open(
        home: &Path,
        store: &Store,
        clock: Clock,
        gateway: &Arc<Gateway>,
        certificates: &Arc<Certificates>,
        challenges: &Arc<Challenges>,
    ) -> Result<Option<Self>, String> {
        let names = names(gateway);
        if names.is_empty() {
            return Ok(None);
        }
        let config = gateway.config();
        let contact = Some(config.acme.contact.as_str()).filter(|contact| !contact.is_empty());
        let authority =
            Authority::new(&config.acme.directory, contact, &roots(home, config)?).map_err(|error| error.to_string())?;
        let mut rows = BTreeMap::new();
        for name in names {
            let mut row = Row::read(store, &name, &config.acme.directory).map_err(|error| error.to_string())?;
            let taken_up = row.record.clone().taken_up();
            let is_news = taken_up != row.record;
            row.record = taken_up;
            // The file is what counts; without it there is nothing to show, and a new one is asked for.
            match certificates.show_given(&name) {
                Ok(Some(there)) => row.life = row.life.map(|_| Life { begins: there.begins, ends: there.ends }),
                Ok(None) => row.life = None,
                Err(error) => {
                    tracing::warn!(%error, "a certificate cannot be used; a new one is asked for");
                    row.life = None;
                }
            }
            if is_news {
                let (key, bytes) = (name.clone(), serde_json::to_vec(&row).map_err(|error| error.to_string())?);
                store
                    .write(move |transaction| transaction.put_gateway_row(ROWS, &key, Some(&bytes)))
                    .map_err(|error| error.to_string())?;
            }
            rows.insert(name, row);
        }
        let ways = [(&config.https, Way::TlsAlpn), (&config.http, Way::Http)];
        Ok(Some(Self {
            store: store.clone(),
            clock,
            gateway: Arc::clone(gateway),
            certificates: Arc::clone(certificates),
            challenges: Arc::clone(challenges),
            authority,
            ways: ways.into_iter().filter(|(port, _)| *port != "off").map(|(_, way)| way).collect(),
            rows,
        }))
    }

    fn now_s(&self) -> i64 {
        self.clock.now().wall.0.div_euclid(1000)
    }

    /// Looks after all of them until the node stops; one after the other.
    pub(crate) async fn run(mut self, mut stop: Shutdown) {
        let mut forgiven = self.gateway.forgiven();
        let names: Vec<String> = self.rows.keys().cloned().collect();
        loop {
            let asked = std::mem::replace(&mut forgiven, self.gateway.forgiven()) != forgiven;
            for name in &names {
                let row = self.rows.get(name).cloned().unwrap_or_default();
                if acme::next(row.life, &row.record, asked, self.now_s()) == Step::Order {
                    // What is broken off here was begun in writing.
                    tokio::select! {
                        () = stop.requested() => return,
                        row = self.attempt(name.clone(), row) => { self.rows.insert(name.clone(), row); }
                    }
                }
            }
            let now_s = self.now_s();
            let pause = |row: &Row| match acme::next(row.life, &row.record, false, now_s) {
                Step::Rest { until_s } => Duration::from_secs(u64::try_from(until_s.saturating_sub(now_s)).unwrap_or(0)),
                Step::Order => Duration::ZERO,
            };
            let pause = self.rows.values().map(pause).min().unwrap_or(LOOK).clamp(LOOK_MIN, LOOK);
            tokio::select! {
                () = stop.requested() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One try for a name; how it is with it now.
    async fn attempt(&self, name: String, mut row: Row) -> Row {
        let way = self.way(&row);
        row.record.begin(self.now_s());
        // A try that cannot be written down is none: after a crash it would be made again and again.
        if let Err(error) = self.put(&name, &row).await {
            tracing::error!(%error, "no certificate is asked for, since that cannot be written down");
            row.record.failed(Cause::Unreachable, &format!("the store cannot be written: {error}"));
            return row;
        }
        match self.ask(&name, way).await {
            Ok(life) => {
                row.life = Some(life);
                row.record.succeeded();
                tracing::info!("a certificate was given for a name of this node");
            }
            Err(NotIssued { cause, said }) => {
                row.record.failed(cause, &said);
                tracing::warn!(?cause, "no certificate was given; `kith status` says why");
            }
        }
        if let Err(error) = self.put(&name, &row).await {
            tracing::error!(%error, "how it went with a certificate could not be written down");
        }
        row
    }

    /// The first way, and by turns the other one where the name could not be proven by it.
    fn way(&self, row: &Row) -> Way {
        let turn = match row.record.failure() {
            Some(failure) if failure.cause == Cause::NotProven => usize::try_from(row.record.failures()).unwrap_or(0),
            _ => 0,
        };
        let turn = turn.checked_rem(self.ways.len()).unwrap_or(0);
        self.ways.get(turn).copied().unwrap_or(Way::TlsAlpn)
    }

    async fn ask(&self, name: &str, way: Way) -> Result<Life, NotIssued> {
        let broken = |error: &dyn std::fmt::Display| NotIssued { cause: Cause::Refused, said: error.to_string() };
        let key = self.account_key().await.map_err(|error| broken(&error))?;
        let pem = acme::order(&self.authority, &key, name, way, &self.challenges).await?;
        let (certificates, host) = (Arc::clone(&self.certificates), name.to_owned());
        let taken = tokio::task::spawn_blocking(move || certificates.take_given(&host, &pem)).await;
        let taken = taken.map_err(|error| broken(&error))?.map_err(|error| broken(&error))?;
        let life = Life { begins: taken.begins, ends: taken.ends };
        if life.renewal() <= self.now_s() {
            // Asking for another one at once would go on for ever.
            return Err(broken(&"by this machine's clock the new certificate is nearly over already; set the clock"));
        }
        Ok(life)
    }

    /// The key that the authority knows this node by; made where there is none.
    async fn account_key(&self) -> Result<Zeroizing<Vec<u8>>, String> {
        let name = format!("node/acme/{}", blake3::hash(self.gateway.config().acme.directory.as_bytes()).to_hex());
        let store = self.store.clone();
        let made = tokio::task::spawn_blocking(move || match store.secret(&name)? {
            Some(key) => Ok(Zeroizing::new(key.to_vec())),
            None => {
                let key = acme::account_key();
                let row = key.clone();
                store.write(move |transaction| transaction.put_secret(&name, &row))?;
                Ok(key)
            }
        });
        made.await.map_err(|error| error.to_string())?.map_err(|error: StoreError| error.to_string())
    }

    async fn put(&self, name: &str, row: &Row) -> Result<(), String> {
        let (store, name) = (self.store.clone(), name.to_owned());
        let row = serde_json::to_vec(row).map_err(|error| error.to_string())?;
        let written = tokio::task::spawn_blocking(move || {
            store.write(move |transaction| transaction.put_gateway_row(ROWS, &name, Some(&row)))
        });
        written.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }
}

/// How it is with each name, for `kith status`: until when its certificate counts, what went wrong last, when it is tried again. Empty where none are wanted.
/// What was begun and is not ended is under way if the node `runs`.
///
/// # Errors
/// [`StoreError`] from below.
pub(crate) fn told(store: &Store, gateway: &Gateway, runs: bool, now_s: i64) -> Result<Vec<Value>, StoreError> {
    let mut told = Vec::new();
    for name in names(gateway) {
        let mut row = Row::read(store, &name, &gateway.config().acme.directory)?;
        if !runs {
            row.record = row.record.taken_up();
        }
        let again_s = match acme::next(row.life, &row.record, false, now_s) {
            Step::Rest { until_s } => until_s,
            Step::Order => now_s,
        };
        told.push(json!({
            "name": name,
            "ends": row.life.map(|life| life.ends),
            "good": row.life.is_some_and(|life| life.is_good(now_s)),
            "said": row.record.failure().map(|failure| failure.said.clone()),
            "failed": row.record.failure().map(|failure| failure.at_s),
            "next": again_s,
        }));
    }
    Ok(told)
}
