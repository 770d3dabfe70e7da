//! Where the world's mail comes in: who is taken from whom (RFC 5321 on port 25), what becomes of a mail, and the one commit behind the `250`.
//!
//! Everything is decided while the other server is still there to hear it: nobody is ever sent a report about a mail that was not theirs.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kith_gateway::inbound::fields;
use kith_gateway::inbound::greylist::{Change, Decision, Greylist, Key, Row, Settings as GreylistSettings};
use kith_gateway::inbound::judge::{self, House, Judgement};
use kith_gateway::inbound::rates::{Event, Rates, Settings as RateSettings, TooMuch};
use kith_gateway::inbound::results;
use kith_gateway::inbound::verdict::{Envelope, Outcome, Verdict};
use kith_gateway::inbound::verify::Verifier;
use kith_protocol::address::Address;
use kith_smtp::mx::{IncomingMail, Peer, Policy, RecipientRefusal};
use kith_smtp::policy::{CommitRefusal, Refusal, Route};
use kith_store::routes::Suggestion;
use kith_store::{Store, StoreError};
use tokio::runtime::Handle;

use super::Gateway;
use super::arrival::{self, Arrival, Target};
use super::outgoing::OFFER;
use crate::engine::Clock;
use crate::submission::wire;

/// The kind of rows that the greylist is kept in.
const GREYLIST_ROWS: &str = "greylist";
/// How often old rows of the greylist are looked for, in seconds.
const SWEEP_S: i64 = 3600;
/// Mails that are looked at at once: each is in memory while it is.
const LOOKED_AT_MAX: usize = 4;

/// The node's decisions for its port 25.
pub struct Door {
    store: Store,
    clock: Clock,
    gateway: Arc<Gateway>,
    verifier: Verifier,
    runtime: Handle,
    name: String,
    size_limit: u64,
    greylist: Mutex<Greylist>,
    rates: Mutex<Rates>,
    /// When old rows of the greylist were looked for, in Unix seconds.
    swept: Mutex<i64>,
    looking: Arc<tokio::sync::Semaphore>,
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refusal(code: u16, enhanced: &'static str, text: impl Into<String>) -> Refusal {
    Refusal { code, enhanced, text: wire(&text.into()) }
}

fn failed(error: &StoreError) -> Refusal {
    tracing::error!(%error, "mail from outside could not be decided about");
    refusal(451, "4.3.0", "Something is wrong here; try again later")
}

fn too_much(error: TooMuch) -> Refusal {
    refusal(450, "4.7.1", format!("Too much from there for now; try again in {} seconds", error.wait_s))
}

impl Door {
    /// A door over a store; `size_limit` in bytes. Needs the runtime that it is made in.
    ///
    /// # Errors
    /// [`StoreError`]: what is remembered of strangers cannot be read.
    pub fn new(
        store: Store,
        clock: Clock,
        gateway: Arc<Gateway>,
        verifier: Verifier,
        size_limit: u64,
    ) -> Result<Self, StoreError> {
        let wait_s = i64::try_from(gateway.config().greylist_seconds).unwrap_or(i64::MAX);
        let settings = GreylistSettings { enabled: wait_s > 0, wait_s, ..GreylistSettings::default() };
        // A row that cannot be read costs somebody another attempt.
        let rows = store
            .gateway_rows(GREYLIST_ROWS)?
            .into_iter()
            .filter_map(|(key, row)| Some((serde_json::from_str::<Key>(&key).ok()?, serde_json::from_slice::<Row>(&row).ok()?)));
        let greylist = Mutex::new(Greylist::new(settings, rows));
        Ok(Self {
            name: gateway.hello(),
            store,
            clock,
            gateway,
            verifier,
            runtime: Handle::current(),
            size_limit,
            greylist,
            rates: Mutex::new(Rates::new(RateSettings::default())),
            swept: Mutex::new(0),
            looking: Arc::new(tokio::sync::Semaphore::new(LOOKED_AT_MAX)),
        })
    }

    fn count(&self, ip: IpAddr, event: &Event) -> Result<(), TooMuch> {
        guard(&self.rates).count(self.now(), ip, event)
    }

    /// Whether the recipient has written to this sender, or has them as a contact: they need not come again.
    fn knows(&self, target: &Address, reverse_path: &str) -> Result<bool, StoreError> {
        let email = reverse_path.to_lowercase();
        let Some(account) = self.store.account_by_address(target)? else { return Ok(false) };
        Ok(self.store.contact_by_email(account.id, &email)?.is_some()
            || super::clear::has_written_to(&self.store, account.id, &email)?)
    }

    /// Writes down what the greylist has learned; losing it costs somebody another attempt.
    fn keep_greylist(&self) {
        let now_s = self.now();
        let due = now_s.saturating_sub(*guard(&self.swept)) >= SWEEP_S;
        if due {
            *guard(&self.swept) = now_s;
            guard(&self.greylist).sweep(now_s);
        }
        let changes = guard(&self.greylist).take_changes();
        if changes.is_empty() {
            return;
        }
        let written = self.store.write(move |transaction| {
            for change in &changes {
                let (key, row) = match change {
                    Change::Put(key, row) => (key, serde_json::to_vec(row).ok()),
                    Change::Removed(key) => (key, None),
                };
                let Ok(key) = serde_json::to_string(key) else { continue };
                match transaction.put_gateway_row(GREYLIST_ROWS, &key, row.as_deref()) {
                    Err(StoreError::Invalid(_)) => {}
                    other => other?,
                }
            }
            Ok(())
        });
        if let Err(error) = written {
            tracing::warn!(%error, "the greylist could not be written");
        }
    }

    fn take(&self, mail: &IncomingMail) -> Result<String, CommitRefusal> {
        let broken = |error: StoreError| match error {
            StoreError::DiskFull => CommitRefusal::Full,
            error => {
                tracing::error!(%error, "a mail from outside could not be committed");
                CommitRefusal::Broken
            }
        };
        let bytes_event = Event::Bytes(mail.mail.size);
        self.count(mail.peer.ip, &bytes_event).map_err(|error| CommitRefusal::Refused(too_much(error)))?;
        let (verdict, judgement, header) = self.judged(mail).map_err(broken)?;
        let doubtful = match judgement {
            Judgement::Accept => false,
            Judgement::Junk(_) => true,
            Judgement::Refuse(refused) => {
                let (code, enhanced) = refused.codes();
                return Err(CommitRefusal::Refused(refusal(code, enhanced, refused.to_string())));
            }
        };
        let envelope = Envelope { ip: mail.peer.ip, helo: &mail.peer.helo, reverse_path: &mail.reverse_path };
        let field = results::field(&self.name, &envelope, &verdict);
        let found = field.split_once(": ").map_or("", |(_, value)| value.trim_end());
        let now = self.clock.now();
        let mut arrivals = Vec::new();
        let offered = suggestion(&header, &verdict, &mail.reverse_path);
        for recipient in &mail.recipients {
            let (target, address, imitates) = match &recipient.route {
                Route::Household(account) => {
                    let account = self.store.account(*account).map_err(broken)?;
                    // Somebody who looks like one whom the recipient knows.
                    let mut imitates = false;
                    for domain in verdict.author.domains() {
                        imitates |= self.gateway.imitates(&self.store, &account, domain).map_err(broken)?;
                    }
                    (Target::Household(account.id), account.address, imitates)
                }
                Route::Overlay(address) => (Target::Elsewhere(*address), *address, false),
                Route::Legacy { .. } => continue,
            };
            let suggestion = offered.clone().filter(|(_, offered)| *offered != address).map(|(email, address)| Suggestion {
                email,
                address,
                at_ms: now.wall.0,
            });
            let junk = doubtful || imitates;
            let arrival = Arrival {
                mail: &mail.mail.hash,
                from: &mail.reverse_path,
                to: &recipient.typed,
                verdict: found,
                junk,
                suggestion,
                keep_results: false,
            };
            arrivals.push(arrival::prepare(&self.store, &self.gateway, &target, &arrival, now).map_err(broken)?);
        }
        let mail = mail.mail.clone();
        self.store
            .write(move |transaction| {
                // Held until here, so that what the arrivals were made from is there.
                let _mail = &mail;
                arrivals.iter().try_for_each(|arrival| arrival.perform(transaction))
            })
            .map_err(broken)?;
        Ok(hex::encode(rand::random::<[u8; 8]>()))
    }

    /// What was found out of a mail, what becomes of it, and its header as it came.
    fn judged(&self, mail: &IncomingMail) -> Result<(Verdict, Judgement, Vec<u8>), StoreError> {
        let _turn = self.runtime.block_on(self.looking.clone().acquire_owned());
        let mut bytes = Vec::new();
        self.store.blob(&mail.mail.hash)?.read_to_end(&mut bytes).map_err(crate::delivered::disk)?;
        let sent = bytes.get(mail.received_bytes..).unwrap_or_default();
        let envelope = Envelope { ip: mail.peer.ip, helo: &mail.peer.helo, reverse_path: &mail.reverse_path };
        let verdict = self.runtime.block_on(self.verifier.verify(sent, &envelope));
        let header = fields::header(sent).to_vec();
        let recipients: Vec<&str> = mail.recipients.iter().map(|recipient| recipient.typed.as_str()).collect();
        let house = House { domains: &self.gateway.config().domains };
        let looked_at =
            judge::Mail { header: &header, reverse_path: &mail.reverse_path, recipients: &recipients, verdict: &verdict };
        let judgement = judge::judge(&judge::Settings::default(), &house, &looked_at);
        Ok((verdict, judgement, header))
    }
}

/// A Kith address that a mail offers for its sender, where a signature of the sender's own domain that holds covers the offer.
fn suggestion(header: &[u8], verdict: &Verdict, reverse_path: &str) -> Option<(String, Address)> {
    let offers: Vec<String> = fields::fields(header)
        .filter(|field| field.is(OFFER))
        .map(|field| String::from_utf8_lossy(field.value).trim().to_owned())
        .collect();
    let [offer] = &offers[..] else { return None };
    let address = Address::parse_pasted(offer).ok()?;
    let parsed = mail_parser::MessageParser::new().with_address_headers().parse_headers(header)?;
    let email = parsed.from()?.first()?.address()?.to_lowercase();
    let domain = email.rsplit_once('@')?.1.to_owned();
    // Lists and forwarders sign what others offer.
    let own = reverse_path.rsplit_once('@').is_some_and(|(_, from)| from.eq_ignore_ascii_case(&domain));
    let covered = fields::fields(header).filter(|field| field.is("DKIM-Signature")).any(|field| {
        let text: String = String::from_utf8_lossy(field.value).chars().filter(|letter| !letter.is_whitespace()).collect();
        let tags: Vec<(&str, &str)> = text.split(';').filter_map(|tag| tag.split_once('=')).collect();
        let tag = |wanted: &str| tags.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
        let signed: BTreeSet<String> = tag("h").unwrap_or_default().split(':').map(str::to_lowercase).collect();
        let holds = verdict.dkim.iter().any(|dkim| {
            dkim.outcome == Outcome::Pass
                && tag("d").is_some_and(|name| name.eq_ignore_ascii_case(&dkim.domain))
                && tag("s").is_some_and(|selector| selector.eq_ignore_ascii_case(&dkim.selector))
                && tag("b").is_some_and(|signature| !dkim.beginning.is_empty() && signature.starts_with(&dkim.beginning))
        });
        holds && tag("d").is_some_and(|name| name.eq_ignore_ascii_case(&domain)) && signed.contains(&OFFER.to_lowercase())
    });
    (own && covered).then_some((email, address))
}

impl Policy for Door {
    fn name(&self) -> &str {
        &self.name
    }

    fn connected(&self, ip: IpAddr) -> Result<(), Refusal> {
        let TooMuch { wait_s } = match self.count(ip, &Event::Connection) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        Err(refusal(421, "4.7.0", format!("Too much from there for now; try again in {wait_s} seconds")))
    }

    fn sender(&self, peer: &Peer, reverse_path: &str, size: Option<u64>) -> Result<(), Refusal> {
        if size.is_some_and(|size| size > self.size_limit) {
            return Err(refusal(552, "5.3.4", format!("At most {} bytes are taken", self.size_limit)));
        }
        let domain = reverse_path.rsplit_once('@').map_or_else(String::new, |(_, domain)| domain.to_lowercase());
        self.count(peer.ip, &Event::Mail(domain)).map_err(too_much)
    }

    fn recipient(&self, peer: &Peer, reverse_path: &str, address: &str) -> Result<Route, RecipientRefusal> {
        let refused = |refusal| RecipientRefusal::Refused(refusal);
        let first = self.gateway.config().domains.first().cloned().unwrap_or_default();
        let (local, domain) = match address.rsplit_once('@') {
            Some((local, domain)) => (local.to_lowercase(), domain.to_lowercase()),
            // RFC 5321 §4.5.1: postmaster without a domain.
            None => (address.to_lowercase(), first),
        };
        if !self.gateway.is_own(&domain) {
            return Err(refused(refusal(550, "5.7.1", "Mail for that domain does not come in here")));
        }
        let email = format!("{}@{domain}", local.trim_matches('"'));
        let target = match self.gateway.whose(&self.store, &email) {
            Ok(Some(target)) => target,
            Ok(None) => {
                let _counted = self.count(peer.ip, &Event::Unknown);
                return Err(RecipientRefusal::Unknown(refusal(550, "5.1.1", "There is nobody of that address here")));
            }
            Err(error) => return Err(refused(failed(&error))),
        };
        let known = self.knows(&target, reverse_path).map_err(|error| refused(failed(&error)))?;
        let from = reverse_path.rsplit_once('@').map_or("", |(_, domain)| domain);
        let decision = guard(&self.greylist).decide(self.now(), peer.ip, from, &email, known);
        self.keep_greylist();
        if let Decision::Wait(seconds) = decision {
            return Err(refused(refusal(451, "4.7.1", format!("Strangers come again; try in {seconds} seconds"))));
        }
        match self.store.account_by_address(&target) {
            Ok(Some(account)) => Ok(Route::Household(account.id)),
            Ok(None) => Ok(Route::Overlay(target)),
            Err(error) => Err(refused(failed(&error))),
        }
    }

    fn commit(&self, mail: IncomingMail) -> Result<String, CommitRefusal> {
        self.take(&mail)
    }

    fn size_limit(&self) -> u64 {
        self.size_limit
    }

    fn now(&self) -> i64 {
        self.clock.now().wall.0.div_euclid(1000)
    }

    fn unique(&self) -> [u8; 16] {
        rand::random()
    }
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("name", &self.name).finish_non_exhaustive()
    }
}
