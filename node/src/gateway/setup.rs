//! From the settings to what sends: name servers, authorities, providers, signing keys.

use std::collections::BTreeMap;
use std::path::Path;

use kith_gateway::dns::{Dns, DnsSettings, DnsSettingsError, Signatures};
use kith_gateway::domain::{Domain, Place};
use kith_gateway::inbound::verify::{self, Verifier};
use kith_gateway::outbound::smarthost::{Security, Smarthost};
use kith_gateway::outbound::sts::Policies;
use kith_gateway::outbound::trust::Roots;
use kith_gateway::outbound::{LocalAddresses, Outbound, OutboundSettings};
use kith_gateway::schedule::destination::Limits;
use kith_gateway::secret::SecretSource;
use kith_gateway::sign::{Algorithm, Key, Signer};
use kith_store::Store;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::Gateway;
use super::fetcher::{self, Fetcher};
use super::sender::Sender;
use crate::config::GatewayConfig;
use crate::config::gateway::{Provider, TlsWord};
use crate::engine::Clock;

/// The kind of the row with the policies (MTA-STS) of other domains.
const POLICY_ROWS: &str = "mta-sts";
/// The port on which the world's mail servers listen.
const SMTP_PORT: u16 = 25;

/// The name servers that the settings name, or the system's; one on this machine where the system names none, as before a network is there.
pub(crate) fn name_servers(config: &GatewayConfig) -> Result<DnsSettings, String> {
    let servers = config.dns.iter().filter_map(|server| server.parse().ok()).collect();
    let settings = DnsSettings { servers, ..DnsSettings::default() };
    match Dns::new(&settings) {
        Ok(_) => Ok(settings),
        Err(DnsSettingsError::System(error)) => {
            tracing::debug!(error, "the system names no name servers: asking this machine");
            Ok(DnsSettings { servers: vec![(std::net::Ipv4Addr::LOCALHOST, 53).into()], ..settings })
        }
        Err(error) => Err(error.to_string()),
    }
}

/// What finds out who mail from outside is from.
///
/// # Errors
/// A sentence: there are too many name servers.
pub fn verifier(gateway: &Gateway) -> Result<Verifier, String> {
    let servers = name_servers(gateway.config())?.servers;
    let resolver = verify::resolver(&servers).map_err(|error| format!("name servers: {error}"))?;
    Ok(Verifier::new(resolver, &gateway.hello(), verify::PATIENCE))
}

/// The authorities that certificates of other servers are believed by.
fn roots(config: &GatewayConfig) -> Result<Roots, String> {
    if config.trust.is_empty() { Ok(Roots::web()) } else { roots_with("gateway.trust", Path::new(&config.trust)) }
}

/// The usual ones, and those in the file that this setting names.
pub(super) fn roots_with(setting: &str, path: &Path) -> Result<Roots, String> {
    let mut roots = Roots::web();
    let wrong = |error: &dyn std::fmt::Display| format!("{setting}: {}: {error}", path.display());
    let text = std::fs::read(path).map_err(|error| wrong(&error))?;
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        roots = roots.with(certificate).map_err(|error| wrong(&error))?;
    }
    Ok(roots)
}

/// A secret's source; paths are below the home where they are not absolute.
fn secret(home: &Path, file: &str, command: &[String]) -> Option<SecretSource> {
    match (file, command) {
        ("", []) => None,
        ("", command) => Some(SecretSource::Command(command.to_vec())),
        (file, _) => Some(SecretSource::File(home.join(file))),
    }
}

/// How a provider is reached for sending; `None` where it is not.
fn smarthost(home: &Path, provider: &Provider) -> Result<Option<Smarthost>, String> {
    let Some((host, port)) = provider.smtp.rsplit_once(':') else { return Ok(None) };
    let password = secret(home, &provider.password_file, &provider.password_command);
    let token = secret(home, "", &provider.token_command);
    let smarthost = Smarthost {
        host: host.to_owned(),
        port: port.parse().ok(),
        security: match provider.smtp_tls {
            TlsWord::Starttls => Security::Starttls,
            TlsWord::Tls => Security::Tls,
            TlsWord::None => Security::None,
        },
        user: (password.is_some() || token.is_some()).then(|| provider.user().to_owned()),
        password,
        token,
        allow_clear: false,
        mails_per_minute: Some(provider.mails_per_minute),
    };
    smarthost.checked().map(Some).map_err(|error| error.to_string())
}

/// What is to send, but for the question whether signatures of the DNS come through to here.
pub struct Prepared {
    store: Store,
    clock: Clock,
    gateway: std::sync::Arc<Gateway>,
    settings: OutboundSettings,
    dns: DnsSettings,
    roots: Roots,
    signers: Vec<Signer>,
    smarthosts: BTreeMap<String, Smarthost>,
}

/// What sends, by the settings. Signing keys are made where there are none, which takes a second or two.
///
/// # Errors
/// A sentence: something in the settings cannot be used.
pub fn sender(home: &Path, store: &Store, gateway: &std::sync::Arc<Gateway>, clock: Clock) -> Result<Prepared, String> {
    let config = gateway.config();
    let hello = Domain::parse(&gateway.hello()).map_err(|error| format!("gateway.hello: {error}"))?;
    let mut own = vec![hello.clone()];
    own.extend(config.domains.iter().filter_map(|domain| Domain::parse(domain).ok()));
    let local = if config.mx_port == SMTP_PORT { LocalAddresses::Refused } else { LocalAddresses::Allowed };
    let usual = OutboundSettings::new(Place::Domain(hello));
    let limits = Limits { mails_per_minute: config.mails_per_minute, ..usual.limits };
    let settings = OutboundSettings { own, port: config.mx_port, local, limits, ..usual };
    let mut smarthosts = BTreeMap::new();
    for (name, provider) in &config.provider {
        if let Some(smarthost) = smarthost(home, provider).map_err(|error| format!("gateway.provider.{name}: {error}"))? {
            smarthosts.insert(name.clone(), smarthost);
        }
    }
    Ok(Prepared {
        store: store.clone(),
        clock,
        gateway: gateway.clone(),
        settings,
        dns: name_servers(config)?,
        roots: roots(config)?,
        signers: signers(store, config)?,
        smarthosts,
    })
}

impl Prepared {
    /// Asks the DNS what there is to ask, and sends until it is told to stop.
    pub async fn run(self, stop: tokio::sync::watch::Receiver<bool>) {
        let by_name = |smarthost: &Smarthost| smarthost.host.parse::<std::net::IpAddr>().is_err();
        let dns = if self.gateway.config().direct || self.smarthosts.values().any(by_name) {
            Dns::for_this_network(&self.dns).await.map(|(dns, signatures)| {
                if signatures == Signatures::Stripped {
                    tracing::warn!("the name servers here strip signatures: DANE cannot be used");
                }
                dns
            })
        } else {
            Dns::new(&self.dns)
        };
        let dns = match dns {
            Ok(dns) => dns,
            Err(error) => {
                tracing::error!(%error, "no mail leaves for ordinary addresses");
                return;
            }
        };
        let row = self.store.gateway_row(POLICY_ROWS, "").ok().flatten();
        let policies: Policies = row.and_then(|row| serde_json::from_slice(&row).ok()).unwrap_or_default();
        let outbound = Outbound::new(self.settings, dns, self.roots, policies);
        let store = self.store.clone();
        let sender = Sender::new(self.store, self.clock, self.gateway, outbound.clone(), self.signers, self.smarthosts);
        sender.run(stop).await;
        let row = serde_json::to_vec(&outbound.policies()).unwrap_or_default();
        // What is not kept is asked for again.
        let kept = tokio::task::spawn_blocking(move || {
            store.write(move |transaction| transaction.put_gateway_row(POLICY_ROWS, "", Some(&row)))
        });
        if !matches!(kept.await, Ok(Ok(()))) {
            tracing::debug!("domains' policies were not kept");
        }
    }
}

/// What fetches, by the settings: one for each provider that has an account here.
///
/// # Errors
/// A sentence: the store cannot be read.
pub fn fetchers(
    home: &Path,
    store: &Store,
    gateway: &std::sync::Arc<Gateway>,
    clock: Clock,
    size_limit: u64,
) -> Result<Vec<Fetcher>, String> {
    let config = gateway.config();
    let mut fetchers = Vec::new();
    for (name, provider) in &config.provider {
        let Some(elsewhere) = fetcher::elsewhere(home, provider, size_limit, &config.trust) else { continue };
        let account = store.account_by_login(name).map_err(|error| error.to_string())?;
        let Some(account) = account else {
            tracing::warn!(account = %name, "gateway.provider names an account that is not here");
            continue;
        };
        let every = std::time::Duration::from_secs(provider.fetch_seconds);
        fetchers.push(Fetcher::new(store.clone(), clock, gateway.clone(), account, elsewhere, every));
    }
    Ok(fetchers)
}

/// The signing keys of a domain, made where there are none: what each is called in the DNS, and the key.
///
/// # Errors
/// A sentence: the store fails, or a row is damaged.
pub fn keys(store: &Store, config: &GatewayConfig, domain: &Domain) -> Result<Vec<(String, Key)>, String> {
    let wanted = [(Algorithm::Rsa, "rsa", String::new()), (Algorithm::Ed25519, "ed25519", "-ed".to_owned())];
    let mut keys = Vec::new();
    for (algorithm, name, suffix) in wanted {
        let row = format!("node/dkim/{domain}/{name}");
        let key = match store.secret(&row).map_err(|error| error.to_string())? {
            Some(der) => Key::from_der(algorithm, der.to_vec()).map_err(|error| format!("{row}: {error}"))?,
            None => {
                let key = Key::generate(algorithm).map_err(|error| error.to_string())?;
                let der = zeroize::Zeroizing::new(key.der().to_vec());
                store.write(move |transaction| transaction.put_secret(&row, &der)).map_err(|error| error.to_string())?;
                key
            }
        };
        keys.push((format!("{}{suffix}", config.dkim_selector), key));
    }
    Ok(keys)
}

fn signers(store: &Store, config: &GatewayConfig) -> Result<Vec<Signer>, String> {
    let mut signers = Vec::new();
    for domain in config.domains.iter().filter_map(|domain| Domain::parse(domain).ok()) {
        let keys = keys(store, config, &domain)?;
        signers.push(Signer::new(&domain, &keys).map_err(|error| format!("gateway.dkim_selector: {error}"))?);
    }
    Ok(signers)
}
