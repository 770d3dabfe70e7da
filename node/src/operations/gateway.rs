//! Ordinary e-mail from the command line: whose an address is, what may leave in the clear, what waits for a word.

use std::net::IpAddr;

use kith_gateway::check::{Item, Key, Live, State, Wanted, compare, gather};
use kith_gateway::dns::Dns;
use kith_gateway::domain::Domain;
use kith_gateway::inbound::verify;
use kith_protocol::address::Address;
use kith_protocol::event::Now;
use kith_protocol::ids::EntryId;
use kith_store::account::Account;
use kith_store::contact::Contact;
use kith_store::legacy::{LegacyEntry, LegacyProgress};
use kith_store::routes::{Clear, Route, Sharing};
use serde_json::{Value, json};

use super::{Context, named, near, somebody};
use crate::config::GatewayConfig;
use crate::control::Refusal;
use crate::gateway::{WayOut, certificates, clear, setup, table, web};
use crate::settings::{Protocol, Security};

/// Rows of an imported table at most.
const ROWS_MAX: usize = kith_store::routes::ROUTES_MAX;

fn of_pattern(text: &str) -> Result<String, Refusal> {
    table::pattern(text).map_err(|cause| Refusal::new(cause, "NAME stands for NAME at every domain of this node"))
}

/// Gives an address to somebody: an account of the household, a contact of the asking account, or a key.
pub(super) fn map(context: &Context, account: Option<&str>, pattern: &str, who: &str, note: &str) -> Result<Value, Refusal> {
    let pattern = of_pattern(pattern)?;
    let address = match context.store.account_by_login(&who.to_lowercase())? {
        Some(account) => account.address,
        // A key is somebody's whoever asks; a name is one of somebody's contacts.
        None => match Address::parse_pasted(who) {
            Ok(address) => address,
            Err(_) => somebody(context, &asking(context, account, who)?, who)?.0,
        },
    };
    let route = Route { address, note: note.to_owned(), added_ms: context.clock.now().wall.0 };
    let row = pattern.clone();
    context.store.write(move |transaction| transaction.put_route(&row, &route))?;
    Ok(json!({ "pattern": pattern, "address": address.mail() }))
}

/// Whose contact somebody is meant to be.
fn asking(context: &Context, account: Option<&str>, who: &str) -> Result<Account, Refusal> {
    let accounts = context.store.accounts()?;
    if account.is_some() || accounts.len() == 1 {
        return named(&context.store, account);
    }
    let names: Vec<&str> = accounts.iter().map(|account| account.name.as_str()).collect();
    let remedy = format!("if it is a contact, say whose: --account {}", names.join(" or "));
    Err(Refusal::new(format!("there is no account `{who}` here"), near::meant(who, names, &remedy)))
}

pub(super) fn unmap(context: &Context, pattern: &str) -> Result<Value, Refusal> {
    let pattern = of_pattern(pattern)?;
    let row = pattern.clone();
    if !context.store.write(move |transaction| transaction.remove_route(&row))? {
        let rows = context.store.routes()?;
        let remedy = near::meant(&pattern, rows.iter().map(|(row, _)| row.as_str()), "see `kith gateway list`");
        return Err(Refusal::new(format!("the table has no row {pattern}"), remedy));
    }
    Ok(json!({ "pattern": pattern }))
}

/// The table, with names where they are known.
pub(super) fn list(context: &Context) -> Result<Value, Refusal> {
    let accounts = context.store.accounts()?;
    let mut rows = Vec::new();
    for (pattern, route) in context.store.routes()? {
        let mut name = accounts.iter().find(|account| account.address == route.address).map(|account| account.name.clone());
        for account in &accounts {
            if name.is_none() {
                name = context.store.contact_by_address(account.id, &route.address)?.map(|contact| contact.name);
            }
        }
        rows.push(json!({ "pattern": pattern, "address": route.address.mail(), "name": name, "note": route.note }));
    }
    Ok(json!({ "rows": rows, "domains": context.gateway.config().domains }))
}

/// Reads a table: what can be taken is taken, the rest is named.
pub(super) fn import(context: &Context, account: Option<&str>, format: &str, body: &[u8]) -> Result<Value, Refusal> {
    let text = std::str::from_utf8(body).map_err(|_| Refusal::new("the file is not UTF-8 text", "export it again as UTF-8"))?;
    let read = table::read(format, text).map_err(|cause| Refusal::new(cause, ""))?;
    let mut problems = read.problems;
    let mut imported = 0_usize;
    for row in read.rows.into_iter().take(ROWS_MAX) {
        match map(context, account, &row.pattern, &row.who, &row.note) {
            Ok(_) => imported += 1,
            Err(refusal) => problems.push(format!("{}: {}", row.pattern, refusal.cause)),
        }
    }
    Ok(json!({ "imported": imported, "problems": problems }))
}

pub(super) fn export(context: &Context, format: &str) -> Result<Value, Refusal> {
    let rows = context.store.routes()?.into_iter();
    let rows = rows.map(|(pattern, route)| table::Row { pattern, who: route.address.mail(), note: route.note });
    Ok(json!({ "text": table::write(format, rows).map_err(|cause| Refusal::new(cause, ""))? }))
}

fn word(rule: Clear) -> &'static str {
    match rule {
        Clear::Never => "never",
        Clear::Ask => "ask",
        Clear::Always => "always",
    }
}

/// What a rule is about: an address, a domain, everybody, or a contact by name, whose ordinary addresses are meant.
fn about(context: &Context, account: &kith_store::account::Account, who: Option<&str>) -> Result<Vec<String>, Refusal> {
    let Some(who) = who else { return Ok(vec![String::new()]) };
    if !who.contains('@') {
        let contact = context.store.contact_by_name(account.id, &who.to_lowercase())?;
        let emails = contact.map(|contact| contact.emails).unwrap_or_default();
        if emails.is_empty() {
            let contacts = context.store.contacts(account.id)?;
            let known = contacts.iter().filter(|contact| !contact.emails.is_empty()).map(|contact| contact.name.as_str());
            return Err(Refusal::new(
                format!("there is no contact `{who}` with an ordinary address"),
                near::meant(who, known, "name the address itself, or @DOMAIN"),
            ));
        }
        return Ok(emails);
    }
    Ok(vec![of_pattern(who)?])
}

pub(super) fn rule(context: &Context, account: Option<&str>, said: Option<&str>, who: Option<&str>) -> Result<Value, Refusal> {
    let account = named(&context.store, account)?;
    let rule = match said {
        None => None,
        Some("never") => Some(Clear::Never),
        Some("ask") => Some(Clear::Ask),
        Some("always") => Some(Clear::Always),
        Some(other) => return Err(Refusal::new(format!("`{other}` is no rule"), "never, ask, always")),
    };
    let patterns = about(context, &account, who)?;
    let rows = patterns.clone();
    context
        .store
        .write(move |transaction| rows.iter().try_for_each(|pattern| transaction.put_clear_rule(account.id, pattern, rule)))?;
    Ok(json!({ "about": patterns }))
}

pub(super) fn rules(context: &Context, account: Option<&str>) -> Result<Value, Refusal> {
    let account = named(&context.store, account)?;
    let rules: Vec<Value> = context
        .store
        .clear_rules(account.id)?
        .into_iter()
        .map(|(pattern, rule)| json!({ "about": pattern, "rule": word(rule) }))
        .collect();
    Ok(json!({ "rules": rules, "otherwise": word(context.gateway.config().clear.into()) }))
}

pub(super) fn suggestions(context: &Context, account: Option<&str>) -> Result<Value, Refusal> {
    let account = named(&context.store, account)?;
    let found = context.store.suggestions(account.id)?;
    let found: Vec<Value> =
        found.iter().map(|one| json!({ "email": one.email, "address": one.address.mail(), "at_ms": one.at_ms })).collect();
    Ok(json!({ "suggestions": found }))
}

/// A person's word about a suggestion: the address becomes a contact's, new or known, or it is forgotten.
pub(super) fn suggested(
    context: &Context,
    account: Option<&str>,
    email: &str,
    name: Option<&str>,
    wanted: bool,
) -> Result<Value, Refusal> {
    let account = named(&context.store, account)?;
    let email = email.to_lowercase();
    let all = context.store.suggestions(account.id)?;
    let Some(found) = all.iter().find(|one| one.email == email).cloned() else {
        let remedy = near::meant(&email, all.iter().map(|one| one.email.as_str()), "see `kith gateway suggestions`");
        return Err(Refusal::new(format!("nothing is suggested for {email}"), remedy));
    };
    if !wanted {
        context.store.write(move |transaction| transaction.remove_suggestion(account.id, &email))?;
        return Ok(json!({}));
    }
    let known = context.store.contact_by_address(account.id, &found.address)?;
    let name = match (&known, name) {
        (Some(known), _) => known.name.clone(),
        (None, Some(name)) => name.to_lowercase(),
        (None, None) => return Err(Refusal::new("who is it?", "give them a name: --name NAME")),
    };
    if known.is_none() && context.store.contact_by_name(account.id, &name)?.is_some() {
        return Err(Refusal::new(format!("`{name}` is somebody else already"), "choose another name"));
    }
    let mut contact = known.unwrap_or_else(|| Contact {
        account: account.id,
        name: name.clone(),
        address: found.address,
        emails: Vec::new(),
        grade: kith_store::contact::Grade::Unknown,
        added: context.clock.now().wall.0.div_euclid(1000),
    });
    if !contact.emails.contains(&email) {
        contact.emails.push(email.clone());
    }
    context.store.write(move |transaction| {
        transaction.put_contact(&contact)?;
        transaction.remove_suggestion(account.id, &email).map(drop)
    })?;
    super::admission::welcome(context, account.id, &found.address)?;
    Ok(json!({ "name": name, "mail": format!("{name}@kith.alt"), "address": found.address.mail() }))
}

/// Lets somebody send by the gateway of an account, or no longer.
pub(super) fn allow(context: &Context, account: Option<&str>, who: &str, allowed: bool) -> Result<Value, Refusal> {
    let account = named(&context.store, account)?;
    let (address, name) = somebody(context, &account, who)?;
    if allowed && matches!(context.gateway.way_out(&context.store, &account)?, None | Some(WayOut::Contact(_))) {
        return Err(Refusal::new(
            "this node has no way to ordinary addresses of its own",
            "set up [gateway] in kith.toml: a provider, or direct = true",
        ));
    }
    share(context, &account, &address, |sharing| sharing.they_may = allowed)?;
    let alias = context.gateway.alias(&context.store, &address)?;
    Ok(json!({ "name": name, "from": alias }))
}

/// Has the mail of an account leave by somebody's gateway, or no longer.
pub(super) fn using(context: &Context, account: Option<&str>, who: &str, used: bool) -> Result<Value, Refusal> {
    let account = named(&context.store, account)?;
    let (address, name) = somebody(context, &account, who)?;
    if used && context.store.contact_by_address(account.id, &address)?.is_none() {
        return Err(Refusal::new(format!("{name} is no contact of yours"), "add them first: kith contact add NAME ADDRESS"));
    }
    if used {
        for (other, sharing) in context.store.gateway_people(account.id)? {
            if sharing.we_may && other != address {
                share(context, &account, &other, |sharing| sharing.we_may = false)?;
            }
        }
    }
    share(context, &account, &address, |sharing| sharing.we_may = used)?;
    Ok(json!({ "name": name }))
}

fn share(
    context: &Context,
    account: &kith_store::account::Account,
    address: &Address,
    change: impl FnOnce(&mut Sharing),
) -> Result<(), Refusal> {
    let mut sharing = context.store.gateway_sharing(account.id, address)?;
    change(&mut sharing);
    let (id, address) = (account.id, *address);
    Ok(context.store.write(move |transaction| transaction.put_gateway_sharing(id, &address, sharing))?)
}

/// With whom gateways are shared.
pub(super) fn people(context: &Context, account: Option<&str>) -> Result<Value, Refusal> {
    let account = named(&context.store, account)?;
    let mut people = Vec::new();
    for (address, sharing) in context.store.gateway_people(account.id)? {
        let contact = context.store.contact_by_address(account.id, &address)?;
        let from = context.gateway.alias(&context.store, &address)?;
        people.push(json!({
            "name": contact.map(|contact| contact.name),
            "address": address.mail(),
            "they_may": sharing.they_may,
            "we_may": sharing.we_may,
            "from": from,
        }));
    }
    Ok(json!({ "people": people }))
}

/// What the DNS must say of a domain, what it says, and what the world makes of a mail from here. `addresses` are those that the world knows this
/// machine by; none: those that the network has found out.
pub(super) fn check(context: &Context, domain: &str, mut addresses: Vec<IpAddr>) -> Result<Value, Refusal> {
    let broken = |cause: String| Refusal::new(cause, "");
    let config = context.gateway.config();
    let domain =
        Domain::parse(domain).map_err(|_| Refusal::new(format!("`{domain}` is not a domain"), "name one like example.org"))?;
    if addresses.is_empty()
        && let Some(running) = &context.running
    {
        addresses.extend(running.network.status().external.iter().filter_map(|address| ip_of(address)));
        addresses.sort_unstable();
        addresses.dedup();
    }
    let keys = setup::keys(&context.store, config, &domain).map_err(broken)?;
    let hello = context.gateway.hello();
    let own = context.gateway.is_own(domain.as_str());
    let ports = context.running.as_ref().map(|running| running.ports.as_slice()).unwrap_or_default();
    let servers = if own && config.autoconfig { web::servers(&context.gateway, ports) } else { Vec::new() };
    let server = |protocol: Protocol| {
        let found = servers.iter().find(|server| server.protocol == protocol && server.security == Security::Tls)?;
        Some((found.host.clone(), found.port))
    };
    let roots = certificates::roots(context.store.home(), config).map_err(broken)?;
    let wanted = Wanted {
        domain: domain.as_str().to_owned(),
        host: if own { hello.clone() } else { format!("mail.{domain}") },
        addresses,
        keys: keys.into_iter().map(|(selector, key)| Key { selector, record: key.record() }).collect(),
        spf: Vec::new(),
        direct: config.direct,
        reports_to: Some(format!("postmaster@{domain}")),
        submission: server(Protocol::Smtp),
        imap: server(Protocol::Imap),
        autoconfig: own && config.autoconfig,
        policy: if own { web::policy(&context.gateway) } else { None },
        ports: if own { world_ports(config, &hello) } else { Vec::new() },
        mail_port: (own && config.mx != "off").then_some(25),
    };
    let servers: Vec<std::net::SocketAddr> = config.dns.iter().filter_map(|server| server.parse().ok()).collect();
    let signed = setup::name_servers(config).map_err(broken)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| broken(error.to_string()))?;
    let published = runtime.block_on(async {
        let resolver = verify::resolver(&servers).map_err(|error| broken(format!("name servers: {error}")))?;
        let dns = Dns::new(&signed).map_err(|error| broken(format!("name servers: {error}")))?;
        Ok::<_, Refusal>(gather(&Live::new(resolver, &hello).believing(roots).checking(dns), &wanted).await)
    })?;
    let mut report = compare(&wanted, &published);
    report.items.extend(setting(config, &domain, own));
    Ok(json!({ "ready": report.is_ready(), "text": report.text(), "report": report }))
}

/// What `kith.toml` lacks for mail of the domain to come in here.
fn setting(config: &GatewayConfig, domain: &Domain, own: bool) -> Option<Item> {
    let mut domains = config.domains.clone();
    let (enter, sentence) = match (own, config.mx != "off") {
        (true, true) => return None,
        (true, false) => (Vec::new(), "Port 25 is not open here: no mail comes in."),
        (false, _) => {
            domains.push(domain.to_string());
            let quoted: Vec<String> = domains.iter().map(|domain| format!("\"{domain}\"")).collect();
            (
                vec![format!("domains = [{}]", quoted.join(", "))],
                "This node does not take mail for the domain, whatever the DNS says.",
            )
        }
    };
    let mx = (config.mx == "off").then(|| "mx = \"0.0.0.0:25\"".to_owned());
    Some(Item {
        what: "settings",
        name: "kith.toml, [gateway]".to_owned(),
        state: State::Missing,
        needed: true,
        enter: enter.into_iter().chain(mx).collect(),
        found: Vec::new(),
        sentence: sentence.to_owned(),
    })
}

/// What the world must reach of this node, by the settings.
fn world_ports(config: &GatewayConfig, host: &str) -> Vec<(String, u16)> {
    let ports = [(&config.mx, 25), (&config.http, 80), (&config.https, 443)];
    ports.into_iter().filter(|(address, _)| *address != "off").map(|(_, port)| (host.to_owned(), port)).collect()
}

/// The address in a multiaddress, where it is one that the world can reach.
fn ip_of(address: &str) -> Option<IpAddr> {
    let mut parts = address.split('/').skip(1);
    match (parts.next()?, parts.next()?) {
        ("ip4" | "ip6", ip) => ip.parse().ok().filter(|ip: &IpAddr| !ip.is_loopback() && !ip.is_unspecified()),
        _ => None,
    }
}

/// Lets a mail go that waits for the person's word.
pub(super) fn release(context: &Context, id: u64) -> Result<Value, Refusal> {
    let entry = entry(context, id)?.filter(|entry| entry.progress.held);
    let entry =
        entry.ok_or_else(|| Refusal::new(format!("no mail with the number {id} waits for a word"), "see `kith queue`"))?;
    hurry(context, &entry)?;
    Ok(json!({ "for": entry.recipient }))
}

/// The gateway's entry of a number.
pub(super) fn entry(context: &Context, id: u64) -> Result<Option<LegacyEntry>, Refusal> {
    Ok(context.store.legacy_entry(EntryId(id))?)
}

/// Has an entry tried at once; one that waited for a word does so no longer.
fn hurry(context: &Context, entry: &LegacyEntry) -> Result<(), Refusal> {
    let (id, progress) = (entry.id, LegacyProgress { held: false, next_ms: 0, ..entry.progress.clone() });
    let released = entry.progress.held.then(|| (entry.account, entry.recipient.to_lowercase()));
    Ok(context.store.write(move |transaction| {
        if let Some((account, email)) = &released {
            clear::write_to(transaction, *account, email)?;
        }
        transaction.put_legacy_progress(id, &progress, true)
    })?)
}

/// Tries one entry now, or all that do not wait for a word.
pub(super) fn retry(context: &Context, id: Option<u64>) -> Result<bool, Refusal> {
    // First, so that nothing that is woken finds its destination at rest still.
    context.gateway.forgive();
    let mut some = false;
    for entry in context.store.legacy_queue()? {
        if !entry.progress.held && id.is_none_or(|id| entry.id.0 == id) {
            hurry(context, &entry)?;
            some = true;
        }
    }
    Ok(some)
}

/// Withdraws an entry; `false` where there is none.
pub(super) fn cancel(context: &Context, id: u64) -> Result<bool, Refusal> {
    Ok(context.store.write(move |transaction| transaction.remove_legacy(EntryId(id)))?.is_some())
}

/// An entry for `kith queue`.
pub(super) fn entry_json(context: &Context, entry: &LegacyEntry, now: Now) -> Value {
    let account = context.store.account(entry.account).map(|account| account.name).unwrap_or_default();
    let progress = &entry.progress;
    let age_ms = u64::try_from(now.wall.0.saturating_sub(entry.submitted_ms)).unwrap_or(0).max(progress.age_ms);
    let state = match (&progress.said, progress.held) {
        (_, true) => "would leave in the clear: waits for your word".to_owned(),
        (Some(said), false) => said.clone(),
        (None, false) => "just submitted".to_owned(),
    };
    let next = if progress.held {
        format!("kith gateway release {}, or kith queue cancel {}", entry.id.0, entry.id.0)
    } else {
        let seconds = progress.next_ms.saturating_sub(now.wall.0).max(0) / 1000;
        format!("tried again in {seconds} s")
    };
    json!({
        "id": entry.id.0,
        "account": account,
        "what": "legacy",
        "for": if entry.typed.is_empty() { entry.recipient.clone() } else { entry.typed.clone() },
        "address": entry.recipient,
        "from": entry.from,
        "bytes": entry.blob.1,
        "submitted_ms": entry.submitted_ms,
        "age_ms": age_ms,
        "attempts": progress.attempts,
        "doubtful": progress.doubtful,
        "held": progress.held,
        "state": state,
        "next": next,
    })
}
