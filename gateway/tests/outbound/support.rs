//! What the tests share: certificates, a sender by short bounds, and mails.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use kith_gateway::dns::{Dns, DnsSettings};
use kith_gateway::domain::{Address, Place};
use kith_gateway::outbound::content::Content;
use kith_gateway::outbound::mail::Mail;
use kith_gateway::outbound::sts::Policies;
use kith_gateway::outbound::times::Times;
use kith_gateway::outbound::trust::Roots;
use kith_gateway::outbound::{LocalAddresses, Outbound, OutboundSettings};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub(crate) mod dns;
pub(crate) mod host;

/// An authority of a test's own.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A host's certificate.
pub(crate) struct Shown {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) spki: Vec<u8>,
    pub(crate) pem: String,
    pub(crate) key_pem: String,
    pub(crate) server: Arc<ServerConfig>,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test authority");
        Authority { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// A certificate for these names, shown with the authority's own behind it.
    pub(crate) fn issue(&self, names: &[&str]) -> Shown {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let chain = vec![certificate.der().clone(), self.der()];
        let server = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        Shown {
            der: certificate.der().clone(),
            spki: rcgen::PublicKeyData::subject_public_key_info(&key),
            pem: certificate.pem() + &self.issuer.pem(),
            key_pem: key.serialize_pem(),
            server: Arc::new(server),
        }
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots::web().with(self.der()).unwrap()
    }
}

/// Bounds that a busy machine keeps.
pub(crate) fn patient() -> Times {
    Times { idle: Duration::from_secs(20), ..Times::default() }
}

/// Bounds that tests can wait for.
pub(crate) fn quick() -> Times {
    let ms = Duration::from_millis;
    Times {
        connect: ms(1_000),
        greeting: ms(500),
        hello: ms(500),
        tls: ms(2_000),
        mail: ms(500),
        recipient: ms(500),
        data: ms(500),
        piece: ms(500),
        end: ms(700),
        search: ms(8_000),
        mail_in_all: ms(15_000),
        idle: ms(5_000),
        quit: ms(200),
    }
}

pub(crate) fn settings() -> OutboundSettings {
    let mut settings = OutboundSettings::new(Place::Domain("node.test".parse().unwrap()));
    settings.times = patient();
    settings.local = LocalAddresses::Allowed;
    settings.limits.rest_first_ms = 1;
    settings.limits.rest_longest_ms = 1;
    settings.limits.mails_per_minute = 100_000;
    settings
}

/// A sender that asks this DNS server, and believes its root key if it has one.
pub(crate) fn sender(settings: OutboundSettings, dns: &Dns, roots: Roots) -> Outbound {
    Outbound::new(settings, dns.clone(), roots, Policies::default())
}

/// A DNS that nobody answers, for tests that need none.
pub(crate) fn no_dns() -> Dns {
    let settings = DnsSettings { servers: vec!["127.0.0.1:9".parse().unwrap()], dnssec: false, trust_anchor: None };
    Dns::new(&settings).unwrap().with_question_time(Duration::from_millis(300))
}

pub(crate) fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

pub(crate) fn content(body: &str) -> Content {
    let head = "From: Anna <anna@home.test>\r\nTo: all@far.test\r\nSubject: A test\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@home.test>\r\n\r\n";
    Content::new(format!("{head}{body}").as_bytes()).unwrap()
}

pub(crate) fn mail(recipients: &[&str]) -> Mail {
    Mail::new(Some(address("anna@home.test")), recipients.iter().map(|to| address(to).into()).collect(), content("Hello.\r\n"))
}

pub(crate) fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

/// Where a program is, or why the test is skipped.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let found = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect::<Vec<_>>())
        .unwrap_or_default()
        .into_iter()
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        eprintln!("skipped: {name} is not installed");
    }
    found
}

/// A Python that has these modules, or the test is skipped.
pub(crate) fn python_with(modules: &[&str]) -> Option<PathBuf> {
    let import = format!("import {}", modules.join(", "));
    let pythons = [PathBuf::from("/usr/bin/python3"), PathBuf::from("python3")];
    let found = pythons
        .into_iter()
        .find(|python| Command::new(python).args(["-c", &import]).output().is_ok_and(|out| out.status.success()));
    if found.is_none() {
        eprintln!("skipped: no python3 with {modules:?} is installed");
    }
    found
}
