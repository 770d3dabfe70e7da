//! What the command line asks for, performed: by the running node, or right on the store where none runs.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use kith_connection::Authority;
use kith_protocol::address::Address;
use kith_protocol::event::{EntryKind, Event, PlaceKind, Problem};
use kith_protocol::ids::{AccountId, EntryId};
use kith_store::account::Account;
use kith_store::contact::{Contact, Grade};
use kith_store::queue::{Form, QueueEntry};
use kith_store::{Options, Store};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::archive::outlet;
use crate::control::{Password, Refusal, Request};
use crate::daemon::STORE_CACHE_BYTES;
use crate::engine::{Clock, Counters, Order};
use crate::gateway::Gateway;
use crate::people;
use crate::sendmail;

mod admission;
mod gateway;
mod near;
mod passwords;
mod relays;
mod settings;

/// What an operation works on.
pub struct Context {
    /// The store.
    pub store: Store,
    /// The running node's parts; `None` where none runs.
    pub running: Option<Running>,
    /// The clocks.
    pub clock: Clock,
    /// Ordinary e-mail.
    pub gateway: Arc<Gateway>,
    /// Accounts that mail is being brought to.
    pub importing: Mutex<BTreeSet<AccountId>>,
}

/// What only a running node has.
pub struct Running {
    /// Orders to the engine.
    pub orders: mpsc::Sender<Order>,
    /// What it counted.
    pub counters: Arc<Counters>,
    /// Its connections.
    pub network: kith_network::Handle,
    /// The real ports, by name.
    pub ports: Vec<(String, String)>,
    /// Whether the node answers to a name of its own on the local network.
    pub announced: bool,
    /// The node's certificate authority, and what its ports show.
    pub certificates: Arc<kith_connection::Certificates>,
    /// Who lets people in.
    pub gatekeeper: Arc<kith_connection::Gatekeeper>,
}

/// The right to bring mail to an account; given back when dropped.
pub struct ImportTurn<'a> {
    context: &'a Context,
    account: AccountId,
}

impl Drop for ImportTurn<'_> {
    fn drop(&mut self) {
        self.context.importing.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.account);
    }
}

/// How long an import waits for the one before it, whose command may have been killed a moment ago.
const IMPORT_PATIENCE: Duration = Duration::from_secs(10);

/// Begins an import. One at a time for each account: two could bring the same mail twice.
///
/// # Errors
/// [`Refusal`]: there is no such account, or mail is being brought to it already.
pub fn import<'a>(context: &'a Context, account: Option<&str>) -> Result<(Account, ImportTurn<'a>), Refusal> {
    let account = named(&context.store, account)?;
    let until = Instant::now() + IMPORT_PATIENCE;
    while !context.importing.lock().unwrap_or_else(PoisonError::into_inner).insert(account.id) {
        if Instant::now() >= until {
            return Err(Refusal::new(
                format!("mail is being brought to {} already", account.name),
                "wait until that is done, then run the command again",
            ));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let turn = ImportTurn { context, account: account.id };
    Ok((account, turn))
}

/// The most contacts in one answer or import.
const CONTACTS_MAX: usize = 20_000;

impl Context {
    /// Opens the store of a home where no node runs.
    ///
    /// # Errors
    /// [`Refusal`]: another process has it, or it is damaged.
    pub fn offline(home: &Path) -> Result<Self, Refusal> {
        if !home.exists() {
            return Err(Refusal::new(
                format!("there is no node at {}", home.display()),
                "start one with `kith run`, or name its folder with --home",
            ));
        }
        let store = Store::open(home, Options { cache_bytes: STORE_CACHE_BYTES, passphrase: people::passphrase() })?;
        let config = crate::config::Config::load(&home.join("kith.toml"))
            .map_err(|error| Refusal::new(error.to_string(), "mend kith.toml"))?;
        let gateway = Arc::new(Gateway::new(config.gateway));
        Ok(Self { store, running: None, clock: Clock::start(), gateway, importing: Mutex::default() })
    }

    fn order(&self, order: Order) {
        if let Some(running) = &self.running
            && running.orders.blocking_send(order).is_err()
        {
            tracing::warn!("the engine is gone");
        }
    }
}

/// Performs a request. Blocking: it may wait for the disk.
///
/// # Errors
/// [`Refusal`]: cause and remedy.
pub fn perform(context: &Context, request: Request, body: &[u8]) -> Result<Value, Refusal> {
    match request {
        Request::AccountAdd { name, password } => account_add(context, &name, password),
        Request::AccountList => account_list(context),
        Request::AccountRemove { name } => account_remove(context, &name),
        Request::PasswordSet { name, label, password } => passwords::set(context, &name, &label, password),
        Request::PasswordAdd { account, label, password } => passwords::add(context, account.as_deref(), &label, password),
        Request::PasswordList { account } => passwords::list(context, account.as_deref()),
        Request::PasswordRemove { name, label } => passwords::remove(context, name.as_deref(), &label),
        Request::Address { name } => {
            let account = named(&context.store, name.as_deref())?;
            Ok(
                json!({ "name": account.name, "address": account.address.mail(), "uri": account.address.uri(), "qr": account.address.qr_text() }),
            )
        }
        Request::ContactAdd { account, name, address, emails } => {
            contact_add(context, account.as_deref(), &name, &address, emails)
        }
        Request::ContactList { account } => contact_list(context, account.as_deref()),
        Request::ContactRemove { account, name } => {
            let account = named(&context.store, account.as_deref())?;
            context.store.remove_contact(account.id, &name.to_lowercase())?;
            Ok(json!({}))
        }
        Request::ContactVerify { account, name, grade } => contact_verify(context, account.as_deref(), &name, &grade),
        Request::ContactImport { account, format } => contact_import(context, account.as_deref(), &format, body),
        Request::ContactExport { account, format } => contact_export(context, account.as_deref(), &format),
        Request::ContactAccept { account, who } => admission::accept(context, account.as_deref(), &who),
        Request::ContactRefuse { account, who } => admission::refuse(context, account.as_deref(), &who),
        Request::ContactBlock { account, who } => admission::block(context, account.as_deref(), &who, true),
        Request::ContactUnblock { account, who } => admission::block(context, account.as_deref(), &who, false),
        Request::ContactRequests { account } => admission::requests(context, account.as_deref()),
        Request::RelayAsk { account, who, bytes } => relays::ask(context, account.as_deref(), &who, bytes),
        Request::RelayAllow { account, who, bytes } => relays::allow(context, account.as_deref(), &who, bytes),
        Request::RelayUse { account, who } => relays::take(context, account.as_deref(), &who),
        Request::RelayRemove { account, who } => relays::remove(context, account.as_deref(), &who),
        Request::RelayList { account } => relays::list(context, account.as_deref()),
        Request::KeyWords { name } => people::words(&context.store, &named(&context.store, name.as_deref())?),
        Request::KeyForget { name } => people::forget_words(&context.store, &named(&context.store, name.as_deref())?),
        Request::QueueList => queue_list(context),
        Request::QueueShow { id } => match gateway::entry(context, id)? {
            Some(entry) => Ok(gateway::entry_json(context, &entry, context.clock.now())),
            None => Ok(entry_json(&context.store, &entry(&context.store, id)?)),
        },
        Request::QueueRetry { id } => queue_retry(context, id),
        Request::QueueCancel { id } => queue_cancel(context, id),
        Request::Status => status(context),
        Request::Sendmail { sender, recipients, from_headers, notify } => {
            let account = sending(&context.store, sender.as_deref())?;
            sendmail::submit(context, &account, &recipients, from_headers, notify.as_deref(), body)
        }
        Request::GatewayMap { account, pattern, who, note } => gateway::map(context, account.as_deref(), &pattern, &who, &note),
        Request::GatewayUnmap { pattern } => gateway::unmap(context, &pattern),
        Request::GatewayList => gateway::list(context),
        Request::GatewayImport { account, format } => gateway::import(context, account.as_deref(), &format, body),
        Request::GatewayExport { format } => gateway::export(context, &format),
        Request::GatewayRule { account, rule, who } => {
            gateway::rule(context, account.as_deref(), rule.as_deref(), who.as_deref())
        }
        Request::GatewayRules { account } => gateway::rules(context, account.as_deref()),
        Request::GatewaySuggestions { account } => gateway::suggestions(context, account.as_deref()),
        Request::GatewaySuggested { account, email, name, wanted } => {
            gateway::suggested(context, account.as_deref(), &email, name.as_deref(), wanted)
        }
        Request::GatewayAllow { account, who, allowed } => gateway::allow(context, account.as_deref(), &who, allowed),
        Request::GatewayUse { account, who, used } => gateway::using(context, account.as_deref(), &who, used),
        Request::GatewayPeople { account } => gateway::people(context, account.as_deref()),
        Request::GatewayCheck { domain, addresses } => gateway::check(context, &domain, addresses),
        Request::GatewayRelease { id } => gateway::release(context, id),
        Request::Settings { account } => settings::show(context, account.as_deref()),
        Request::Verify => crate::cli::verify_report(&context.store),
        Request::ExportFolders { account } => outlet::folders(&context.store, named(&context.store, account.as_deref())?.id),
        Request::ExportPage { account, folder, from } => {
            outlet::page(&context.store, named(&context.store, account.as_deref())?.id, folder, from)
        }
        // These hand the connection over, and are answered there: `control.rs`.
        Request::Import { .. } | Request::ExportMail { .. } => Err(Refusal::new("this needs a connection of its own", "")),
    }
}

fn no_account(store: &Store, name: &str) -> Refusal {
    let accounts = store.accounts().unwrap_or_default();
    let known = accounts.iter().map(|account| account.name.as_str());
    Refusal::new(format!("there is no account `{name}` here"), near::meant(name, known, "see `kith account list`"))
}

/// The account of a name, or the only one.
fn named(store: &Store, name: Option<&str>) -> Result<Account, Refusal> {
    if let Some(name) = name {
        return store.account_by_login(name)?.map_or_else(|| Err(no_account(store, name)), Ok);
    }
    let mut accounts = store.accounts()?;
    match accounts.len() {
        0 => Err(Refusal::new("there is no account yet", "make one with `kith account add NAME`, or start the node")),
        1 => Ok(accounts.remove(0)),
        _ => {
            let names: Vec<String> = accounts.into_iter().map(|account| account.name).collect();
            Err(Refusal::new("which account?", format!("say one of: {}", names.join(", "))))
        }
    }
}

/// The account that sends: `-f`'s local part or address, else the login user's account, else the only one.
fn sending(store: &Store, sender: Option<&str>) -> Result<Account, Refusal> {
    match sender {
        Some(sender) => named(store, Some(sender)),
        None => match store.account_by_login(&people::login_name())? {
            Some(account) => Ok(account),
            None => named(store, None),
        },
    }
}

fn account_add(context: &Context, name: &str, password: Option<Password>) -> Result<Value, Refusal> {
    let made = people::add(&context.store, name, password.map(|password| password.0), context.clock.now())?;
    context.order(Order::AccountAdded(made.account.id));
    let mut answer = json!({ "name": made.account.name, "address": made.account.address.mail() });
    if let (Some(generated), Some(fields)) = (made.password, answer.as_object_mut()) {
        fields.insert("password".into(), json!(generated.as_str()));
    }
    Ok(answer)
}

fn account_list(context: &Context) -> Result<Value, Refusal> {
    let accounts: Vec<Value> = context
        .store
        .accounts()?
        .into_iter()
        .map(|account| json!({ "name": account.name, "address": account.address.mail(), "created": account.created }))
        .collect();
    Ok(json!({ "accounts": accounts }))
}

fn account_remove(context: &Context, name: &str) -> Result<Value, Refusal> {
    let account = named(&context.store, Some(name))?;
    context.store.remove_account(account.id)?;
    context.order(Order::AccountRemoved(account.id));
    Ok(json!({}))
}

/// Somebody by petname, address or link.
fn somebody(context: &Context, account: &Account, who: &str) -> Result<(Address, String), Refusal> {
    if let Some(contact) = context.store.contact_by_name(account.id, &who.to_lowercase())? {
        return Ok((contact.address, contact.name));
    }
    let Ok(address) = Address::parse_pasted(who) else {
        let contacts = context.store.contacts(account.id)?;
        let known = contacts.iter().map(|contact| contact.name.as_str());
        let remedy = near::meant(who, known, "see `kith contact list`, or copy the address again");
        return Err(Refusal::new(format!("nobody is called `{who}`, and it is no address"), remedy));
    };
    let contact = context.store.contact_by_address(account.id, &address)?;
    Ok((address, contact.map_or_else(|| address.mail(), |contact| contact.name)))
}

fn contact_add(
    context: &Context,
    account: Option<&str>,
    name: &str,
    address: &str,
    emails: Vec<String>,
) -> Result<Value, Refusal> {
    let account = named(&context.store, account)?;
    let address = Address::parse_pasted(address)
        .map_err(|error| Refusal::new(error.to_string(), "copy the address or link again, all of it"))?;
    if address == account.address {
        return Err(Refusal::new("this is your own address", "ask your friend for theirs; `kith address` prints yours for them"));
    }
    let name = name.to_lowercase();
    let known = context.store.contact_by_name(account.id, &name)?;
    let same_key = known.as_ref().is_some_and(|known| known.address == address);
    if let Some(known) = known.as_ref().filter(|_| !same_key) {
        return Err(Refusal::new(
            format!("`{name}` is already {}", known.address.mail()),
            format!("if the old one is dead: kith contact remove {name}, then add it again"),
        ));
    }
    let now = context.clock.now();
    let emails: Vec<String> = emails.into_iter().map(|email| email.to_lowercase()).collect();
    let contact = Contact {
        account: account.id,
        name: name.clone(),
        address,
        emails: if emails.is_empty() { known.as_ref().map(|known| known.emails.clone()).unwrap_or_default() } else { emails },
        grade: known.as_ref().map_or(Grade::Unknown, |known| known.grade),
        added: known.map_or(now.wall.0.div_euclid(1000), |known| known.added),
    };
    context.store.put_contact(contact)?;
    admission::welcome(context, account.id, &address)?;
    Ok(json!({ "name": name, "mail": format!("{name}@kith.alt"), "address": address.mail() }))
}

fn grade_name(grade: Grade) -> &'static str {
    match grade {
        Grade::Unknown => "unknown",
        Grade::Introduced => "introduced",
        Grade::Shared => "shared",
        Grade::InPerson => "in-person",
    }
}

fn contact_list(context: &Context, account: Option<&str>) -> Result<Value, Refusal> {
    let account = named(&context.store, account)?;
    let contacts: Vec<Value> = context
        .store
        .contacts(account.id)?
        .into_iter()
        .take(CONTACTS_MAX)
        .map(|contact| {
            json!({ "name": contact.name, "address": contact.address.mail(), "emails": contact.emails, "grade": grade_name(contact.grade) })
        })
        .collect();
    Ok(json!({ "contacts": contacts }))
}

fn contact_verify(context: &Context, account: Option<&str>, name: &str, grade: &str) -> Result<Value, Refusal> {
    let account = named(&context.store, account)?;
    let mut contact = context
        .store
        .contact_by_name(account.id, &name.to_lowercase())?
        .ok_or_else(|| Refusal::new(format!("there is no contact `{name}`"), "see `kith contact list`"))?;
    contact.grade = [Grade::Unknown, Grade::Introduced, Grade::Shared, Grade::InPerson]
        .into_iter()
        .find(|candidate| grade_name(*candidate) == grade)
        .ok_or_else(|| Refusal::new(format!("`{grade}` is no way of comparing"), ""))?;
    let answer = json!({ "name": contact.name, "address": contact.address.mail(), "grade": grade });
    context.store.put_contact(contact)?;
    Ok(answer)
}

fn contact_import(context: &Context, account: Option<&str>, format: &str, body: &[u8]) -> Result<Value, Refusal> {
    let account = named(&context.store, account)?;
    let text = std::str::from_utf8(body).map_err(|_| Refusal::new("the file is not UTF-8 text", "export it again as UTF-8"))?;
    let read = crate::contacts::read(format, text).map_err(|problem| Refusal::new(problem, ""))?;
    let mut problems = read.problems;
    let mut imported = 0_usize;
    for found in read.contacts.into_iter().take(CONTACTS_MAX) {
        match contact_add(context, Some(&account.name), &found.name, &found.address, found.emails) {
            Ok(_) => imported += 1,
            Err(refusal) => problems.push(format!("{}: {}", found.name, refusal.cause)),
        }
    }
    Ok(json!({ "imported": imported, "problems": problems }))
}

fn contact_export(context: &Context, account: Option<&str>, format: &str) -> Result<Value, Refusal> {
    let account = named(&context.store, account)?;
    let contacts = context.store.contacts(account.id)?;
    let text = crate::contacts::write(format, &contacts).map_err(|problem| Refusal::new(problem, ""))?;
    Ok(json!({ "text": text }))
}

fn entry(store: &Store, id: u64) -> Result<QueueEntry, Refusal> {
    store.queue_entry(EntryId(id))?.ok_or_else(|| {
        Refusal::new(format!("nothing with the number {id} waits"), "see `kith queue`; perhaps it has just arrived")
    })
}

/// What happens with an entry, in words.
fn state(entry: &QueueEntry) -> String {
    let at = |kind| entry.progress.copies.iter().filter(|copy| copy.kind == kind).count();
    if at(PlaceKind::Home) > 0 {
        return "their node has it; waiting for the receipt".into();
    }
    match (at(PlaceKind::Relay), at(PlaceKind::Volunteer)) {
        (0, 0) => {}
        (1, 0) => return "a relay of theirs keeps it until they fetch it".into(),
        (relays, 0) => return format!("{relays} relays of theirs keep it until they fetch it"),
        (_, volunteers) => return format!("{volunteers} volunteers keep it until they fetch it"),
    }
    if at(PlaceKind::Carrier) > 0 {
        return "your relay has it and tries to reach them".into();
    }
    match &entry.progress.last_problem {
        Some(problem) => problem.to_string(),
        None if entry.progress.attempts == 0 => "just submitted".into(),
        None => "on its way".into(),
    }
}

fn entry_json(store: &Store, entry: &QueueEntry) -> Value {
    let account = store.account(entry.account).map(|account| account.name).unwrap_or_default();
    let what = match entry.kind {
        EntryKind::Mail if entry.form == Form::Outgoing => "legacy",
        EntryKind::Mail => "mail",
        EntryKind::Receipt(_) => "receipt",
        EntryKind::Card => "card",
        EntryKind::Relay(_) => "relay",
    };
    let copies: Vec<Value> = entry.progress.copies.iter().map(|copy| copy_json(store, entry, copy)).collect();
    let next = match (&entry.progress.last_problem, entry.progress.handed_at_age_ms) {
        (_, Some(_)) => "sealed anew and sent again if no receipt comes within a day",
        (Some(Problem::NoCard), None) => "looked up again when somebody connects, and by the clock",
        (Some(Problem::NoDirectWay), None) => "sent as soon as there is a direct way to their node, and tried by the clock",
        _ => "tried again as soon as their node is seen, and by the clock",
    };
    json!({
        "id": entry.id.0,
        "account": account,
        "what": what,
        "for": if entry.typed.is_empty() { entry.recipient.mail() } else { entry.typed.clone() },
        "address": entry.recipient.mail(),
        "bytes": entry.blob.as_ref().map_or(0, |(_, size)| *size),
        "submitted_ms": entry.submitted_ms,
        "age_ms": waited(entry),
        "attempts": entry.progress.attempts,
        "sealed": entry.progress.sealed.is_some(),
        "handed": entry.progress.handed_at_age_ms.is_some(),
        "copies": copies,
        "state": state(entry),
        "next": next,
    })
}

/// For how long a mail waits, in ms: by the wall's clock, or by what the queue has counted if that is more (as after a start in 1970).
fn waited(entry: &QueueEntry) -> u64 {
    let wall = crate::engine::Clock::start().now().wall.0;
    let since = u64::try_from(wall.saturating_sub(entry.submitted_ms)).unwrap_or(0);
    // What the wall says beyond a queue's longest life is a clock's lie.
    let since = if since > 2 * kith_protocol::delivery::Config::default().expiry_ms { 0 } else { since };
    since.max(entry.progress.age_ms)
}

/// Where a copy is, since when, and whether that was checked.
fn copy_json(store: &Store, entry: &QueueEntry, copy: &kith_protocol::event::Copy) -> Value {
    let kind = match copy.kind {
        PlaceKind::Home => "their node",
        PlaceKind::Relay => "relay",
        PlaceKind::Volunteer => "volunteer",
        PlaceKind::Carrier => "your relay",
    };
    let known = store.relays_of(entry.account).ok().and_then(|relays| relays.into_iter().find(|relay| relay.peer == copy.peer));
    json!({
        "at": kind,
        "node": hex::encode(copy.peer.as_bytes()),
        "name": known.map(|relay| relay.label),
        "since_age_ms": copy.at_age_ms,
        "checked": copy.audited,
    })
}

fn queue_list(context: &Context) -> Result<Value, Refusal> {
    let now = context.clock.now();
    let mut entries: Vec<Value> = context
        .store
        .queue()?
        .iter()
        .filter(|entry| entry.kind == EntryKind::Mail)
        .map(|entry| entry_json(&context.store, entry))
        .collect();
    entries.extend(context.store.legacy_queue()?.iter().map(|entry| gateway::entry_json(context, entry, now)));
    Ok(json!({ "entries": entries }))
}

fn queue_retry(context: &Context, id: Option<u64>) -> Result<Value, Refusal> {
    let Some(running) = &context.running else {
        return Err(Refusal::new("the node does not run", "start it: everything that waits is tried at once"));
    };
    if gateway::retry(context, id)? && id.is_some() {
        return Ok(json!({}));
    }
    let order = match id {
        Some(id) => Order::Tell(Box::new(Event::RetryAsked(entry(&context.store, id)?.id))),
        None => Order::RetryAll,
    };
    running.orders.blocking_send(order).map_err(|_| Refusal::new("the node is about to stop", ""))?;
    Ok(json!({}))
}

fn queue_cancel(context: &Context, id: u64) -> Result<Value, Refusal> {
    if gateway::cancel(context, id)? {
        return Ok(json!({}));
    }
    let found = entry(&context.store, id)?;
    context.store.write(move |transaction| transaction.remove_entry(found.id).map(drop))?;
    context.order(Order::Tell(Box::new(Event::Cancelled(EntryId(id)))));
    Ok(json!({}))
}

fn status(context: &Context) -> Result<Value, Refusal> {
    let queue = context.store.queue()?;
    let waiting = queue.iter().filter(|entry| entry.kind == EntryKind::Mail);
    let mut status = json!({
        "running": false,
        "version": env!("CARGO_PKG_VERSION"),
        "accounts": context.store.accounts()?.len(),
        "queue": waiting.clone().count() + context.store.legacy_queue()?.len(),
        "oldest_ms": waiting.map(waited).max().unwrap_or(0),
        "store_bytes": bytes_below(context.store.home(), 0),
    });
    // What cannot be read is said when the node starts.
    if let (Ok(Some(authority)), Some(fields)) = (Authority::of(context.store.home()), status.as_object_mut()) {
        fields.insert("certificate".into(), json!(authority.fingerprint.to_string()));
        fields.insert("certificate_days".into(), json!(authority.days_left(SystemTime::now())));
    }
    let now_s = context.clock.now().wall.0.div_euclid(1000);
    let told = crate::gateway::certificates::told(&context.store, &context.gateway, context.running.is_some(), now_s)?;
    if let (false, Some(fields)) = (told.is_empty(), status.as_object_mut()) {
        fields.insert("given_certificates".into(), json!(told));
    }
    if let (Some(running), Some(fields)) = (&context.running, status.as_object_mut()) {
        let network = running.network.status();
        let counters = &running.counters;
        fields.insert("running".into(), json!(true));
        fields.insert("pid".into(), json!(std::process::id()));
        fields.insert("uptime_ms".into(), json!(context.clock.now().mono.0));
        fields.insert("peers".into(), json!(network.peers.len()));
        fields.insert("known_peers".into(), json!(network.routing_table));
        fields.insert("listen".into(), json!(network.listening));
        fields.insert("external".into(), json!(network.external));
        fields.insert("circuits".into(), json!(network.circuits));
        let reachability = match network.reachability {
            kith_network::Reachability::Unknown => "unknown",
            kith_network::Reachability::Direct => "direct",
            kith_network::Reachability::Circuits => "circuits",
            kith_network::Reachability::Outgoing => "outgoing",
        };
        fields.insert("reachability".into(), json!(reachability));
        fields.insert("gateway".into(), json!(network.gateway));
        fields.insert("peer".into(), json!(hex::encode(running.network.peer_id().as_bytes())));
        fields.insert("ports".into(), running.ports.iter().map(|(name, port)| (name.clone(), json!(port))).collect());
        fields.insert("certificate".into(), json!(running.certificates.authority_fingerprint().to_string()));
        fields.insert("certificate_shown".into(), json!(running.certificates.fingerprint().to_string()));
        let logins = running.gatekeeper.counts();
        fields.insert("logins".into(), json!(logins.succeeded));
        fields.insert("failed_logins".into(), json!(logins.failed));
        fields.insert("refused_logins".into(), json!(logins.refused));
        let troubles = context.gateway.troubles();
        if !troubles.is_empty() {
            fields.insert("gateway_troubles".into(), json!(troubles));
        }
        fields.insert("dropped".into(), json!(counters.dropped.load(Ordering::Relaxed)));
        fields.insert("duplicates".into(), json!(counters.duplicates.load(Ordering::Relaxed)));
        fields.insert("bogus_receipts".into(), json!(counters.bogus_receipts.load(Ordering::Relaxed)));
        fields.insert("relay_lies".into(), json!(counters.relay_lies.load(Ordering::Relaxed)));
        fields.insert("received".into(), json!(counters.received.load(Ordering::Relaxed)));
        fields.insert("received_bytes".into(), json!(counters.received_bytes.load(Ordering::Relaxed)));
        fields.insert("refused_offers".into(), json!(counters.refused.load(Ordering::Relaxed)));
    }
    Ok(status)
}

/// How deep the home's folders go.
const HOME_DEPTH_MAX: usize = 6;

fn bytes_below(folder: &Path, depth: usize) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .map(|(path, metadata)| match metadata.is_dir() {
            true if depth < HOME_DEPTH_MAX => bytes_below(&path, depth + 1),
            true => 0,
            false => metadata.len(),
        })
        .sum()
}
