//! Questions to the DNS, with typed answers in bounded time: found and whether DNSSEC vouches for it, nothing there, bogus, or not now.
//!
//! The resolver is hickory's; what a mail sender makes of MX records is in `dns/mx.rs`. Nothing here decides about mail.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ProtocolConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::dnssec::{Proof, TrustAnchors};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use serde::Deserialize;

use crate::domain::Domain;

pub mod mx;

/// How long one attempt to ask one server may take.
const ATTEMPT: Duration = Duration::from_secs(3);
/// How long a question may take in all, with its aliases, attempts, servers, and the keys and signatures that vouch for it.
const QUESTION: Duration = Duration::from_secs(20);
/// How often an attempt is repeated.
const ATTEMPTS: usize = 2;
/// How many answers are remembered.
const CACHE_ANSWERS: u64 = 4_096;
/// How long it is remembered that there is nothing, and that there is something, whatever the zone says.
const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(600);
const POSITIVE_TTL_MAX: Duration = Duration::from_secs(24 * 3600);
/// Servers that are asked at all.
const SERVERS_MAX: usize = 8;
/// Addresses of one host that are of interest, of each family.
pub const ADDRESSES_MAX: usize = 8;
/// Texts and TLSA records of one name that are of interest.
pub const RECORDS_MAX: usize = 32;
/// The longest text of one TXT record, its strings joined.
const TEXT_BYTES_MAX: usize = 8 * 1024;

/// Whom to ask, and what to believe.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DnsSettings {
    /// Servers to ask, `address:port`; none: the system's (`/etc/resolv.conf`).
    pub servers: Vec<SocketAddr>,
    /// Whether signatures are checked here. Without it no answer is ever `secure`, and DANE does nothing; right where the way to the DNS strips signatures.
    pub dnssec: bool,
    /// A file of DNSKEY records to trust in place of the root's.
    pub trust_anchor: Option<PathBuf>,
}

impl Default for DnsSettings {
    fn default() -> Self {
        DnsSettings { servers: Vec::new(), dnssec: true, trust_anchor: None }
    }
}

/// Why there is no resolver.
#[derive(Debug, thiserror::Error)]
pub enum DnsSettingsError {
    /// The system's configuration cannot be read, or names no server.
    #[error("the system does not say which DNS servers to ask: {0}")]
    System(String),
    /// More than the most.
    #[error("more than {SERVERS_MAX} DNS servers")]
    TooManyServers,
    /// The file of keys cannot be read.
    #[error("the DNSSEC keys in {path} cannot be read: {why}")]
    TrustAnchor {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// An answer that holds something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found<T> {
    /// What was asked for.
    pub value: T,
    /// Whether DNSSEC vouches for every record on the way to it, aliases included.
    pub secure: bool,
}

/// Why a question has no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DnsFailure {
    /// The name does not exist.
    #[error("there is no such name in the DNS")]
    NoName {
        /// Whether DNSSEC vouches for that.
        secure: bool,
    },
    /// The name exists and has no such record.
    #[error("the DNS has no such record for it")]
    NoRecord {
        /// Whether DNSSEC vouches for that.
        secure: bool,
    },
    /// The zone is signed and the answer does not fit its keys: somebody lies, or the zone's keeper made a mistake. As good as no answer.
    #[error("the answer of the DNS is not the one that its keys vouch for")]
    Bogus,
    /// No server answered in time, or they all failed.
    #[error("the DNS does not answer for now: {0}")]
    Later(String),
}

impl DnsFailure {
    /// Whether asking again can help.
    pub fn is_temporary(&self) -> bool {
        match self {
            DnsFailure::Bogus | DnsFailure::Later(_) => true,
            DnsFailure::NoName { .. } | DnsFailure::NoRecord { .. } => false,
        }
    }
}

/// One TLSA record (RFC 6698 §2), its numbers as they came.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Tlsa {
    /// Which certificate is meant, and which rules it must keep.
    pub usage: u8,
    /// The certificate (0) or its key (1).
    pub selector: u8,
    /// As it is (0), SHA-256 (1) or SHA-512 (2).
    pub matching: u8,
    /// What must be equal.
    pub data: Vec<u8>,
}

/// A host's addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Addresses {
    /// IPv6 before IPv4, at most [`ADDRESSES_MAX`] of each.
    pub addresses: Vec<IpAddr>,
    /// The name that they belong to, where `asked` was an alias: what TLSA records are looked up for first (RFC 7672 §2.2.2).
    pub alias_of: Option<String>,
}

/// Whether signatures are checked, and why not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signatures {
    /// They arrive, and are checked.
    Checked,
    /// They do not arrive: something on the way, often the router, takes them off. Nothing is checked, and a person should be told: DANE does nothing here.
    Stripped,
    /// The DNS did not answer: they are checked until more is known.
    Unknown,
    /// Settings say not to check.
    Off,
}

/// The way to the DNS; cheap to clone, with one memory for all clones.
#[derive(Clone)]
pub struct Dns {
    resolver: Arc<TokioResolver>,
    question: Duration,
}

impl Dns {
    /// A resolver by these settings. Nothing is asked yet.
    ///
    /// # Errors
    /// When the system's configuration or the file of keys cannot be read, or too many servers are named.
    pub fn new(settings: &DnsSettings) -> Result<Dns, DnsSettingsError> {
        let resolver = resolver(settings)?;
        Ok(Dns { resolver: Arc::new(resolver), question: QUESTION })
    }

    /// A resolver for the network that this machine is in now: without checks where signatures do not arrive, since there every signed domain would look bogus and its
    /// mail would wait in vain. To be asked for again when the network changes.
    ///
    /// # Errors
    /// As [`Dns::new`].
    pub async fn for_this_network(settings: &DnsSettings) -> Result<(Dns, Signatures), DnsSettingsError> {
        let dns = Dns::new(settings)?;
        if !settings.dnssec {
            return Ok((dns, Signatures::Off));
        }
        match dns.signatures_arrive().await {
            Ok(true) => Ok((dns, Signatures::Checked)),
            Err(_) => Ok((dns, Signatures::Unknown)),
            Ok(false) => Ok((Dns::new(&DnsSettings { dnssec: false, ..settings.clone() })?, Signatures::Stripped)),
        }
    }

    /// The same, with another bound for one question in all; for callers that are in more of a hurry.
    #[must_use]
    pub fn with_question_time(mut self, question: Duration) -> Dns {
        self.question = question;
        self
    }

    /// A host's addresses, both families asked at once. A family without any is no failure if the other has some.
    ///
    /// # Errors
    /// [`DnsFailure`]; when both families fail the one that can be asked again counts.
    pub async fn addresses(&self, host: &str) -> Result<Found<Addresses>, DnsFailure> {
        let (v6, v4) = tokio::join!(self.ask(host, RecordType::AAAA), self.ask(host, RecordType::A));
        let mut found = Found { value: Addresses { addresses: Vec::new(), alias_of: None }, secure: true };
        let mut failure = None;
        for lookup in [v6, v4] {
            match lookup {
                Ok(answer) => {
                    let addresses = answer.value.answers().iter().filter_map(|record| match &record.data {
                        RData::A(ip) => Some(IpAddr::V4(ip.0)),
                        RData::AAAA(ip) => Some(IpAddr::V6(ip.0)),
                        _ => None,
                    });
                    found.value.addresses.extend(addresses.take(ADDRESSES_MAX));
                    found.value.alias_of = found.value.alias_of.or_else(|| last_alias(&answer.value));
                    found.secure &= answer.secure;
                }
                Err(error) if failure.is_none() || error.is_temporary() => failure = Some(error),
                Err(_) => {}
            }
        }
        match failure {
            _ if !found.value.addresses.is_empty() => Ok(found),
            Some(failure) => Err(failure),
            None => Err(DnsFailure::NoRecord { secure: found.secure }),
        }
    }

    /// The texts of a name, the strings of each record joined, at most [`RECORDS_MAX`]; bytes that are no UTF-8 are replaced.
    ///
    /// # Errors
    /// [`DnsFailure`].
    pub async fn texts(&self, name: &str) -> Result<Found<Vec<String>>, DnsFailure> {
        let lookup = self.ask(name, RecordType::TXT).await?;
        let texts = lookup.value.answers().iter().filter_map(|record| match &record.data {
            RData::TXT(text) => {
                let bytes = text.txt_data.concat();
                (bytes.len() <= TEXT_BYTES_MAX).then(|| String::from_utf8_lossy(&bytes).into_owned())
            }
            _ => None,
        });
        some(texts.take(RECORDS_MAX).collect(), lookup.secure)
    }

    /// The TLSA records of a service on a host (`_25._tcp.host`), at most [`RECORDS_MAX`].
    ///
    /// # Errors
    /// [`DnsFailure`].
    pub async fn tlsa(&self, host: &str, port: u16) -> Result<Found<Vec<Tlsa>>, DnsFailure> {
        let lookup = self.ask(&format!("_{port}._tcp.{host}"), RecordType::TLSA).await?;
        let records = lookup.value.answers().iter().filter_map(|record| match &record.data {
            RData::TLSA(tlsa) => Some(Tlsa {
                usage: tlsa.cert_usage.into(),
                selector: tlsa.selector.into(),
                matching: tlsa.matching.into(),
                data: tlsa.cert_data.clone(),
            }),
            _ => None,
        });
        some(records.take(RECORDS_MAX).collect(), lookup.secure)
    }

    /// The MX records of a domain as they are; what to make of them is [`mx::route`]'s.
    ///
    /// # Errors
    /// [`DnsFailure`].
    pub async fn exchanges(&self, domain: &Domain) -> Result<Found<Vec<mx::Exchange>>, DnsFailure> {
        let lookup = self.ask(domain.as_str(), RecordType::MX).await?;
        let records = lookup.value.answers().iter().filter_map(|record| match &record.data {
            RData::MX(mx) => Some(mx::Exchange { preference: mx.preference, host: plain(&mx.exchange) }),
            _ => None,
        });
        some(records.take(mx::EXCHANGES_READ_MAX).collect(), lookup.secure)
    }

    /// Whether signatures come through to here: the root's keys are asked for and checked. `false` on a way that strips them, where
    /// [`DnsSettings::dnssec`] makes every signed domain look bogus and is better off.
    ///
    /// # Errors
    /// When the DNS does not answer at all, so that nothing is known.
    pub async fn signatures_arrive(&self) -> Result<bool, DnsFailure> {
        match self.ask(".", RecordType::DNSKEY).await {
            Ok(answer) => Ok(answer.secure),
            Err(DnsFailure::Later(why)) => Err(DnsFailure::Later(why)),
            Err(DnsFailure::Bogus | DnsFailure::NoName { .. } | DnsFailure::NoRecord { .. }) => Ok(false),
        }
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Result<Found<Lookup>, DnsFailure> {
        let mut name = Name::from_ascii(name).map_err(|_| DnsFailure::NoName { secure: false })?;
        // Never a search domain of this machine's.
        name.set_fqdn(true);
        let answer = tokio::time::timeout(self.question, self.resolver.lookup(name, kind)).await;
        match answer {
            Err(_) => Err(DnsFailure::Later("no answer in time".to_owned())),
            Ok(Err(error)) => Err(failure(&error)),
            Ok(Ok(lookup)) => {
                let proofs = || {
                    lookup.answers().iter().filter(|record| record.record_type() != RecordType::RRSIG).map(|record| record.proof)
                };
                if proofs().any(|proof| proof == Proof::Bogus) {
                    return Err(DnsFailure::Bogus);
                }
                let secure = proofs().next().is_some() && proofs().all(|proof| proof == Proof::Secure);
                Ok(Found { value: lookup, secure })
            }
        }
    }
}

/// The resolver that these settings mean, for callers that read answers themselves; [`Dns`] has its own. Nothing is asked yet.
///
/// Names are whole: neither this machine's search list nor its hosts file decides whose record it is.
///
/// # Errors
/// As [`Dns::new`].
pub(crate) fn resolver(settings: &DnsSettings) -> Result<TokioResolver, DnsSettingsError> {
    let system = |error: NetError| DnsSettingsError::System(error.to_string());
    let (servers, mut options) = if settings.servers.is_empty() {
        let (config, options) = read_system_conf().map_err(system)?;
        (config.name_servers().to_vec(), options)
    } else {
        if settings.servers.len() > SERVERS_MAX {
            return Err(DnsSettingsError::TooManyServers);
        }
        (settings.servers.iter().map(server).collect(), ResolverOpts::default())
    };
    options.validate = settings.dnssec;
    options.trust_anchor = None;
    options.timeout = ATTEMPT;
    options.attempts = ATTEMPTS;
    options.cache_size = CACHE_ANSWERS;
    options.ndots = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.edns0 = true;
    options.preserve_intermediates = true;
    options.try_tcp_on_error = true;
    options.negative_max_ttl = Some(NEGATIVE_TTL_MAX);
    options.positive_max_ttl = Some(POSITIVE_TTL_MAX);
    let config = ResolverConfig::from_parts(None, Vec::new(), servers);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options);
    if let Some(path) = settings.trust_anchor.as_ref().filter(|_| settings.dnssec) {
        let anchors = TrustAnchors::from_file(path)
            .map_err(|error| DnsSettingsError::TrustAnchor { path: path.clone(), why: error.to_string() })?;
        builder = builder.with_trust_anchor(Arc::new(anchors));
    }
    builder.build().map_err(system)
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let connection = |protocol| {
        let mut connection = ConnectionConfig::new(protocol);
        connection.port = address.port();
        connection
    };
    NameServerConfig::new(address.ip(), true, vec![connection(ProtocolConfig::Udp), connection(ProtocolConfig::Tcp)])
}

fn failure(error: &NetError) -> DnsFailure {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => DnsFailure::NoName { secure: denied(none) },
            ResponseCode::NoError => DnsFailure::NoRecord { secure: denied(none) },
            code => DnsFailure::Later(code.to_string()),
        },
        NetError::Dns(DnsError::Nsec { response, proof, .. }) => match (proof, response.response_code) {
            (Proof::Bogus, _) => DnsFailure::Bogus,
            (proof, ResponseCode::NXDomain) => DnsFailure::NoName { secure: proof.is_secure() },
            (proof, _) => DnsFailure::NoRecord { secure: proof.is_secure() },
        },
        NetError::Dns(DnsError::DnssecBogus) => DnsFailure::Bogus,
        other => DnsFailure::Later(crate::printable(&other.to_string(), 200)),
    }
}

/// Whether what denies a record is signed, all of it.
fn denied(none: &NoRecords) -> bool {
    let records = none.authorities.as_deref().unwrap_or_default();
    !records.is_empty()
        && records.iter().filter(|record| record.record_type() != RecordType::RRSIG).all(|record| record.proof.is_secure())
}

fn some<T>(value: Vec<T>, secure: bool) -> Result<Found<Vec<T>>, DnsFailure> {
    if value.is_empty() { Err(DnsFailure::NoRecord { secure }) } else { Ok(Found { value, secure }) }
}

/// Where the chain of aliases ends, if there is one.
fn last_alias(lookup: &Lookup) -> Option<String> {
    lookup.answers().iter().rev().find_map(|record| match &record.data {
        RData::CNAME(target) => Some(plain(&target.0)),
        _ => None,
    })
}

/// A name without its last dot, in lower case; the root is the empty text.
pub(crate) fn plain(name: &Name) -> String {
    let text = name.to_lowercase().to_ascii();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}
