//! What to type into a mail program, asked for at the command line.

use kith_connection::{Authority, announced_host};
use serde_json::{Value, json};

use super::{Context, named};
use crate::config::Config;
use crate::control::Refusal;
use crate::settings::{self, Machine, Settings};

/// The settings of an account: as the node runs, or as it would.
pub(super) fn show(context: &Context, account: Option<&str>) -> Result<Value, Refusal> {
    let account = named(&context.store, account)?;
    let home = context.store.home();
    let (ports, announced, authority, fingerprint) = match &context.running {
        Some(running) => (
            running.ports.clone(),
            running.announced,
            running.certificates.authority_pem().to_owned(),
            running.certificates.authority_fingerprint().to_string(),
        ),
        None => {
            let config = Config::load(&home.join("kith.toml")).map_err(|error| Refusal::new(error.to_string(), ""))?;
            let ports = config.ports().into_iter().map(|(name, address)| (name.to_owned(), address)).collect();
            // Before the first start there is neither.
            let pem = std::fs::read_to_string(home.join("tls/authority.crt")).unwrap_or_default();
            let fingerprint = Authority::of(home).ok().flatten().map(|found| found.fingerprint.to_string()).unwrap_or_default();
            (ports, config.mdns, pem, fingerprint)
        }
    };
    let machine = Machine { name: if announced { announced_host() } else { None }, addresses: kith_connection::lan_addresses() };
    let found = Settings {
        email: format!("{}@kith.alt", account.name),
        address: account.address.mail(),
        name: account.name,
        servers: settings::servers(&ports, &machine),
        authority,
        fingerprint,
    };
    Ok(json!({ "settings": found, "running": context.running.is_some() }))
}
