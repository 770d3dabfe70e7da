//! The ports 80 and 443 of a household with a domain: what is there (`kith_gateway::web`), from the settings, and its serving within bounds.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use kith_connection::{
    Admission, Certificates, Connection, Encryption, Host, Limits, Port, Server, Timing, Waiting, server_config,
};
use kith_gateway::acme::{Challenges, challenge};
use kith_gateway::outbound::sts::{Mode, Policy};
use kith_gateway::web::{Door, Heard, Page, Site};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::Gateway;
use crate::cli::Failure;
use crate::config::gateway::Sts;
use crate::settings::{self, Machine, Place, Server as MailServer, thunderbird};

/// Connections to each of the two ports; the oldest leaves for a newcomer.
const LIMITS: Limits = Limits { total: 64, per_address: 8, loopback: 32, waiting: 64 };
/// From the connection to the end.
const CONNECTION: Duration = Duration::from_secs(20);
/// For the head of the request, and for the handshake.
const STEP: Duration = Duration::from_secs(10);
/// Where a domain's policy is (RFC 8461 §3.2).
const POLICY: &str = "/.well-known/mta-sts.txt";
/// Where Thunderbird looks, at `autoconfig.DOMAIN` and elsewhere.
const SETTINGS: [&str; 2] = ["/mail/config-v1.1.xml", "/.well-known/autoconfig/mail/config-v1.1.xml"];

/// The policy that the node serves for its domains; `None` where it serves none.
pub(crate) fn policy(gateway: &Gateway) -> Option<Policy> {
    let config = gateway.config();
    let mode = match config.sts {
        Sts::Off => return None,
        Sts::Testing => Mode::Testing,
        Sts::Enforce => Mode::Enforce,
    };
    Some(Policy { mode, mx: vec![gateway.hello()], max_age_s: config.sts_seconds })
}

/// The ports of mail programs as the world reaches them, by the name of the port 25: those that are not this machine's alone.
pub(crate) fn servers(gateway: &Gateway, ports: &[(String, String)]) -> Vec<MailServer> {
    let machine = Machine { name: Some(gateway.hello()), addresses: Vec::<IpAddr>::new() };
    let mut servers = settings::servers(ports, &machine);
    servers.retain(|server| server.place == Place::Home);
    servers
}

/// What is there, by the settings and the open ports.
pub(crate) fn site(gateway: &Gateway, ports: &[(String, String)], challenges: &Arc<Challenges>) -> Site {
    let config = gateway.config();
    let mut site = Site::new(Arc::clone(challenges));
    let policy = policy(gateway);
    let servers = if config.autoconfig { servers(gateway, ports) } else { Vec::new() };
    for domain in &config.domains {
        if let Some(policy) = &policy {
            site = site.with(&format!("mta-sts.{domain}"), POLICY, Page { kind: "text/plain", body: policy.text() });
        }
        if !servers.is_empty() {
            let page = Page { kind: "text/xml", body: thunderbird::config_for(domain, &servers) };
            for path in SETTINGS {
                site = site.with(&format!("autoconfig.{domain}"), path, page.clone());
            }
        }
    }
    site
}

/// What port 443 shows: to an authority that checks a name what it asked for, to all others what belongs to the name.
#[derive(Debug)]
struct Shown {
    certificates: Arc<Certificates>,
    challenges: Arc<Challenges>,
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if Challenges::is_check(&hello) {
            return self.challenges.certificate(hello.server_name()?);
        }
        self.certificates.resolve(hello)
    }
}

/// A bound port, with its name in `run.json`.
pub(crate) struct Web {
    pub(crate) name: &'static str,
    pub(crate) server: Server,
    door: Door,
}

/// Binds those of the two ports that the settings name.
///
/// # Errors
/// [`Failure`]: an address is taken or not ours.
pub(crate) async fn bind(
    gateway: &Gateway,
    host: &Host,
    certificates: &Arc<Certificates>,
    challenges: &Arc<Challenges>,
) -> Result<Vec<Web>, Failure> {
    let config = gateway.config();
    let mut bound = Vec::new();
    for (name, address, door) in [("https", &config.https, Door::Tls), ("http", &config.http, Door::Plain)] {
        let Ok(address) = address.parse::<SocketAddr>() else { continue };
        let (tls, encryption) = match door {
            Door::Tls => {
                let shown = Shown { certificates: Arc::clone(certificates), challenges: Arc::clone(challenges) };
                let tls = server_config(Arc::new(shown), &[b"http/1.1", challenge::ALPN])
                    .map_err(|error| Failure::new(format!("the certificate: {error}"), ""))?;
                (Some(tls), Encryption::Implicit)
            }
            Door::Plain => (None, Encryption::Offered),
        };
        let timing = Timing {
            login: CONNECTION,
            idle_before_login: STEP,
            rest_before_login: STEP,
            handshake: STEP,
            stall: STEP,
            ..Timing::default()
        };
        let port = Port {
            service: name,
            encryption,
            timing,
            busy: b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        };
        let host = Host { admission: Admission::new(LIMITS), tls, ..host.clone() };
        let server = Server::bind(address, port, host).await.map_err(|error| {
            let mend = format!("name another address in gateway.{name}, or let this program use ports below 1024");
            Failure::new(error.to_string(), mend)
        })?;
        bound.push(Web { name, server, door });
    }
    Ok(bound)
}

impl Web {
    /// Serves it until the node stops.
    pub(crate) async fn serve(self, site: Arc<Site>) {
        let door = self.door;
        self.server
            .serve(move |connection| {
                let site = Arc::clone(&site);
                async move { converse(connection, &site, door).await }
            })
            .await;
    }
}

/// One request, one answer.
async fn converse(mut connection: Connection, site: &Site, door: Door) {
    let mut input = BytesMut::new();
    while let Ok(1..) = connection.read(&mut input, Waiting::Rest).await {
        if let Heard::Answer(answer) = site.hear(door, &input) {
            // Whoever does not take it goes without.
            let _unheard = connection.write(&answer).await;
            break;
        }
    }
    connection.close().await;
}
