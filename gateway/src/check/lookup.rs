//! Asking for all that [`super::compare()`] compares; the DNS behind a trait, so that tests need none.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{RData, RecordType};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::shown::{self, Dane, NotShown, Shown};
use super::{Answer, Published, Wanted};
use crate::dns::{ADDRESSES_MAX, Dns, plain};
use crate::domain::Domain;
use crate::inbound::verdict::Outcome;
use crate::inbound::verify::Verifier;
use crate::outbound::sts::fetch;
use crate::outbound::trust::Roots;

/// One question.
const PATIENCE: Duration = Duration::from_secs(15);
/// The policy's host, all of its addresses: a person waits.
const POLICY_PATIENCE: Duration = Duration::from_secs(20);
/// One address, to be reached and to say its first word.
const REACH_PATIENCE: Duration = Duration::from_secs(8);
/// The port of mail servers.
const SMTP_PORT: u16 = 25;
/// The port of HTTPS.
const HTTPS_PORT: u16 = 443;
/// Records of one kind that are looked at.
const RECORDS_MAX: usize = 64;

/// What can be asked. Names come without the dot at the end.
pub trait Lookup: Sync {
    /// TXT, the pieces of each joined.
    fn txt(&self, name: &str) -> impl Future<Output = Answer<Vec<String>>> + Send;
    /// MX.
    fn mx(&self, name: &str) -> impl Future<Output = Answer<Vec<(u16, String)>>> + Send;
    /// A and AAAA, behind aliases.
    fn addresses(&self, name: &str) -> impl Future<Output = Answer<Vec<IpAddr>>> + Send;
    /// PTR.
    fn names(&self, ip: IpAddr) -> impl Future<Output = Answer<Vec<String>>> + Send;
    /// SRV: host and port.
    fn srv(&self, name: &str) -> impl Future<Output = Answer<Vec<(String, u16)>>> + Send;
    /// The MTA-STS policy of a domain.
    fn policy(&self, domain: &str) -> impl Future<Output = Answer<String>> + Send;
    /// Who answers at a port; [`Answer::Later`] where nobody does.
    fn reach(&self, host: &str, port: u16) -> impl Future<Output = Answer<IpAddr>> + Send;
    /// What a host of a domain shows at its mail port when TLS begins; [`Answer::Nothing`] where TLS is not offered.
    fn shown(&self, domain: &str, host: &str, port: u16) -> impl Future<Output = Answer<Shown>> + Send;
    /// What SPF says of a mail from this address.
    fn spf(&self, ip: IpAddr, helo: &str, reverse_path: &str) -> impl Future<Output = Outcome> + Send;
}

/// Asks for everything.
pub async fn gather(lookup: &impl Lookup, wanted: &Wanted) -> Published {
    let Wanted { domain, host, .. } = wanted;
    let mut texts = vec![domain.clone()];
    texts.extend(["_dmarc", "_mta-sts", "_smtp._tls"].map(|label| format!("{label}.{domain}")));
    texts.extend(wanted.keys.iter().map(|key| format!("{}._domainkey.{domain}", key.selector)));
    let mut txt = BTreeMap::new();
    for name in texts {
        let answer = lookup.txt(&name).await;
        txt.insert(name.to_lowercase(), answer);
    }
    let mut addresses = BTreeMap::new();
    for name in [host.clone(), format!("mta-sts.{domain}"), format!("autoconfig.{domain}")] {
        let answer = lookup.addresses(&name).await;
        addresses.insert(name.to_lowercase(), answer);
    }
    let mut srv = BTreeMap::new();
    for name in [format!("_submissions._tcp.{domain}"), format!("_imaps._tcp.{domain}")] {
        let answer = lookup.srv(&name).await;
        srv.insert(name.to_lowercase(), answer);
    }
    let (mut names, mut spf) = (BTreeMap::new(), BTreeMap::new());
    for ip in &wanted.addresses {
        names.insert(*ip, lookup.names(*ip).await);
        spf.insert(*ip, lookup.spf(*ip, host, &format!("postmaster@{domain}")).await);
    }
    let is_announced = matches!(txt.get(&format!("_mta-sts.{}", domain.to_lowercase())), Some(Answer::Found(_)));
    let mut ports = BTreeMap::new();
    for (host, port) in &wanted.ports {
        ports.insert((host.clone(), *port), lookup.reach(host, *port).await);
    }
    let policy = if is_announced || wanted.policy.is_some() { lookup.policy(domain).await } else { Answer::Nothing };
    let shown = match wanted.mail_port {
        Some(port) => lookup.shown(domain, host, port).await,
        None => Answer::Nothing,
    };
    Published { mx: lookup.mx(domain).await, txt, addresses, names, srv, policy, ports, shown, spf }
}

/// The real one.
#[derive(Clone)]
pub struct Live {
    resolver: TokioResolver,
    verifier: Verifier,
    roots: Roots,
    dns: Option<Dns>,
}

impl Live {
    /// Asks by this resolver; `host` is what this machine is called.
    #[must_use]
    pub fn new(resolver: TokioResolver, host: &str) -> Self {
        // The authorities that the world believes, whatever is believed here besides.
        Self { verifier: Verifier::new(resolver.clone(), host, PATIENCE), resolver, roots: Roots::web(), dns: None }
    }

    /// By these authorities, where the domain's own certificates are a private one's.
    #[must_use]
    pub fn believing(self, roots: Roots) -> Self {
        Self { roots, ..self }
    }

    /// With a DNS whose signatures are checked, for what it says of keys (DANE).
    #[must_use]
    pub fn checking(self, dns: Dns) -> Self {
        Self { dns: Some(dns), ..self }
    }

    async fn ask<T>(&self, name: &str, kind: RecordType, read: impl Fn(&RData) -> Option<T>) -> Answer<Vec<T>> {
        let answer = match timeout(PATIENCE, self.resolver.lookup(format!("{name}."), kind)).await {
            Err(_) => return Answer::Later("no answer in time".to_owned()),
            Ok(Ok(answer)) => answer,
            Ok(Err(NetError::Dns(DnsError::NoRecordsFound(none)))) if none.response_code.is_harmless() => return Answer::Nothing,
            Ok(Err(error)) => return Answer::Later(error.to_string()),
        };
        let all: Vec<T> = answer.answers().iter().filter_map(|record| read(&record.data)).take(RECORDS_MAX).collect();
        if all.is_empty() { Answer::Nothing } else { Answer::Found(all) }
    }
}

/// Connects; at port 25 waits for a mail server's first word too, since what stands between may take a connection and say nothing.
async fn greeted(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    if address.port() == SMTP_PORT {
        let mut word = [0; 4];
        stream.read_exact(&mut word).await?;
        if !word.starts_with(b"220") {
            let said = String::from_utf8_lossy(word.get(..3).unwrap_or_default()).into_owned();
            return Err(std::io::Error::other(format!(
                "it greets with `{}`, not as a mail server that takes mail",
                said.escape_debug()
            )));
        }
    }
    Ok(())
}

trait Harmless {
    /// The name or record is not there, as opposed to: nobody could say.
    fn is_harmless(&self) -> bool;
}

impl Harmless for hickory_resolver::proto::op::ResponseCode {
    fn is_harmless(&self) -> bool {
        matches!(self, Self::NoError | Self::NXDomain)
    }
}

impl Lookup for Live {
    async fn txt(&self, name: &str) -> Answer<Vec<String>> {
        let read = |data: &RData| match data {
            RData::TXT(txt) => Some(txt.txt_data.iter().map(|piece| String::from_utf8_lossy(piece)).collect::<String>()),
            _ => None,
        };
        self.ask(name, RecordType::TXT, read).await
    }

    async fn mx(&self, name: &str) -> Answer<Vec<(u16, String)>> {
        let read = |data: &RData| match data {
            RData::MX(mx) => Some((mx.preference, plain(&mx.exchange))),
            _ => None,
        };
        self.ask(name, RecordType::MX, read).await
    }

    async fn addresses(&self, name: &str) -> Answer<Vec<IpAddr>> {
        let read = |data: &RData| match data {
            RData::A(a) => Some(IpAddr::V4(a.0)),
            RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
            _ => None,
        };
        let (v4, v6) = tokio::join!(self.ask(name, RecordType::A, read), self.ask(name, RecordType::AAAA, read));
        match (v4, v6) {
            (Answer::Found(mut v4), Answer::Found(v6)) => {
                v4.extend(v6);
                Answer::Found(v4)
            }
            (found @ Answer::Found(_), _) | (_, found @ Answer::Found(_)) => found,
            (later @ Answer::Later(_), _) | (_, later @ Answer::Later(_)) => later,
            (Answer::Nothing, Answer::Nothing) => Answer::Nothing,
        }
    }

    async fn names(&self, ip: IpAddr) -> Answer<Vec<String>> {
        let read = |data: &RData| match data {
            RData::PTR(ptr) => Some(plain(&ptr.0)),
            _ => None,
        };
        let name = hickory_resolver::proto::rr::Name::from(ip).to_ascii();
        self.ask(name.trim_end_matches('.'), RecordType::PTR, read).await
    }

    async fn srv(&self, name: &str) -> Answer<Vec<(String, u16)>> {
        let read = |data: &RData| match data {
            RData::SRV(srv) => Some((plain(&srv.target), srv.port)),
            _ => None,
        };
        self.ask(name, RecordType::SRV, read).await
    }

    async fn policy(&self, domain: &str) -> Answer<String> {
        let domain = match Domain::parse(domain) {
            Ok(domain) => domain,
            Err(error) => return Answer::Later(error.to_string()),
        };
        let host = fetch::host(&domain);
        match self.addresses(&host).await {
            Answer::Nothing => Answer::Nothing,
            Answer::Later(why) => Answer::Later(why),
            Answer::Found(addresses) => {
                let addresses: Vec<SocketAddr> =
                    addresses.iter().take(ADDRESSES_MAX).map(|ip| SocketAddr::new(*ip, HTTPS_PORT)).collect();
                match fetch::fetch(&domain, &addresses, &self.roots, POLICY_PATIENCE).await {
                    Ok(text) => Answer::Found(text),
                    Err(error) => Answer::Later(error.to_string()),
                }
            }
        }
    }

    async fn reach(&self, host: &str, port: u16) -> Answer<IpAddr> {
        let addresses = match self.addresses(host).await {
            Answer::Found(addresses) => addresses,
            Answer::Nothing => return Answer::Nothing,
            Answer::Later(why) => return Answer::Later(why),
        };
        let mut last = Answer::Nothing;
        for ip in addresses.into_iter().take(ADDRESSES_MAX) {
            last = match timeout(REACH_PATIENCE, greeted(SocketAddr::new(ip, port))).await {
                Ok(Ok(())) => return Answer::Found(ip),
                Ok(Err(error)) => Answer::Later(format!("{ip}: {error}")),
                Err(_) => Answer::Later(format!("{ip}: no answer in time")),
            };
        }
        last
    }

    async fn shown(&self, domain: &str, host: &str, port: u16) -> Answer<Shown> {
        let addresses = match self.addresses(host).await {
            Answer::Found(addresses) => addresses,
            Answer::Nothing => return Answer::Later("the name has no address".to_owned()),
            Answer::Later(why) => return Answer::Later(why),
        };
        let mut last = Answer::Later("the name has no address".to_owned());
        for ip in addresses.into_iter().take(ADDRESSES_MAX) {
            let chain = match shown::seen(SocketAddr::new(ip, port), host, &self.roots).await {
                Ok(chain) => chain,
                Err(NotShown::NoTls) => return Answer::Nothing,
                Err(NotShown::Later(why)) => {
                    last = Answer::Later(format!("{ip}: {why}"));
                    continue;
                }
            };
            let dane = match &self.dns {
                Some(dns) => shown::dane(dns, domain, host, port, &chain, &self.roots).await,
                None => Dane::Silent,
            };
            let nonsense = || Answer::Later(format!("{ip}: what it shows is no certificate"));
            return shown::judged(&chain, host, &self.roots, dane).map_or_else(nonsense, Answer::Found);
        }
        last
    }

    async fn spf(&self, ip: IpAddr, helo: &str, reverse_path: &str) -> Outcome {
        self.verifier.spf(ip, helo, reverse_path).await
    }
}
