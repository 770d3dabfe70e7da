//! The node's own small certificate authority and the leaf that its ports show.
//!
//! The authority is made once and never again: people install it in their programs. It may only vouch for this machine and private networks.
//! The leaf renews itself from it. Both lie under `<home>/tls/`, each with its key in one file, so that no crash separates them. Beside them,
//! in `certificate/given.rs`, is what the world's authorities gave for names of this node: it is shown to who asks for such a name.

mod files;
mod given;
mod leaf;
mod names;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use tracing::{info, warn};

use crate::shutdown::Shutdown;
use files::Pair;
use given::Given;
pub use given::{GIVEN_MAX, Validity};
pub use names::{Names, announced_host, host_label, lan_addresses};

/// How often the leaf is looked after: a laptop that comes to another network is soon known there.
const LOOK: Duration = Duration::from_secs(60);
/// The file of the authority and its key.
const AUTHORITY: &str = "authority.pem";
const DAY: i64 = 24 * 60 * 60;
/// The authority's life; ten years with their leap days.
const AUTHORITY_DAYS: i64 = 3653;
/// 2026-01-01: no certificate of ours is older, whatever a clock that starts in 1970 says.
const EARLIEST: i64 = 1_767_225_600;
/// 2200-01-01: a clock beyond it is broken.
const LATEST: i64 = 7_258_118_400;

/// Why there is no certificate. Nothing is ever made anew over something damaged.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read or written.
    #[error("cannot use {}: {error}; check that the folder belongs to the user that runs kith", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{} is damaged; restore it from a backup, or remove it and let every mail program accept the new one", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
    },
    /// The authority is gone while what it made is still there.
    #[error(
        "{} is missing; restore it from a backup, or remove the folder that it was in and let every mail program accept the new authority",
        path.display()
    )]
    Missing {
        /// Which.
        path: PathBuf,
    },
    /// Making or using a certificate failed.
    #[error("cannot make a certificate: {0}")]
    Making(String),
}

/// What there is to know of a node's authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The same for ten years.
    pub fingerprint: Fingerprint,
    /// When these are over: Unix seconds.
    pub ends: i64,
}

impl Authority {
    /// The authority of a home whose node need not run; `None` where there is none yet.
    ///
    /// # Errors
    /// The file cannot be read or understood.
    pub fn of(home: &Path) -> Result<Option<Self>, CertificateError> {
        let path = home.join("tls").join(AUTHORITY);
        let Some(pair) = Pair::read(&path)? else { return Ok(None) };
        let (_, ends) = leaf::validity(&pair).ok_or(CertificateError::Damaged { path })?;
        Ok(Some(Self { fingerprint: Fingerprint::of(&pair.certificate), ends }))
    }

    /// Whole days until it ends; negative once it has.
    #[must_use]
    pub fn days_left(&self, now: SystemTime) -> i64 {
        (self.ends - seconds(now)).div_euclid(DAY)
    }
}

/// The SHA-256 of a certificate: what people compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        let mut bytes = [0; 32];
        if let Some(suite) = ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256.tls13() {
            bytes.copy_from_slice(suite.common.hash_provider.hash(certificate).as_ref());
        }
        Self(bytes)
    }
}

impl core::fmt::Display for Fingerprint {
    /// `AB:CD:…`, as programs show it.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(":")?;
            }
            write!(f, "{byte:02X}")?;
        }
        Ok(())
    }
}

/// The authority, and the leaf as it is now. Share it in an `Arc`.
pub struct Certificates {
    folder: PathBuf,
    authority: Pair,
    leaf: RwLock<Leaf>,
    given: Given,
}

struct Leaf {
    pair: Pair,
    key: Arc<CertifiedKey>,
}

impl core::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Certificates").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Opens what lies in `<home>/tls/`, making the authority and the leaf where there are none, and renewing the leaf where it is due.
    ///
    /// # Errors
    /// The files cannot be read, written or understood. Nothing is overwritten then.
    pub fn open(home: &Path, names: &Names, now: SystemTime) -> Result<Self, CertificateError> {
        let folder = home.join("tls");
        files::make_folder(&folder)?;
        let now = seconds(now);
        let authority = match Pair::read(&folder.join(AUTHORITY))? {
            Some(pair) => pair,
            // Made once for ever: programs that trust the old one must not find another in its place.
            None if ["authority.crt", "leaf.pem"].iter().any(|made| folder.join(made).exists()) => {
                return Err(CertificateError::Missing { path: folder.join(AUTHORITY) });
            }
            None => {
                let pair = make_authority(now)?;
                pair.write(&folder.join(AUTHORITY))?;
                info!("made a certificate authority for this node");
                pair
            }
        };
        // For people to install: public, and made again if it is gone.
        files::write_public(&folder.join("authority.crt"), authority.certificate_pem.as_bytes())?;
        let path = folder.join("leaf.pem");
        let pair = match Pair::read(&path)? {
            Some(pair) if !leaf::is_due(&pair, &authority, names, now) => pair,
            older => leaf::renew(&path, &authority, older.as_ref(), names, now)?,
        };
        let key = leaf::certified(&pair, &authority)?;
        let given = Given::new(folder.join("given"));
        Ok(Self { folder, authority, leaf: RwLock::new(Leaf { pair, key }), given })
    }

    /// Renews the leaf if its time comes or a name is missing; whether it did. Connections from then on see the new one.
    ///
    /// # Errors
    /// As [`Certificates::open`]; the old leaf stays in use.
    pub fn renew_if_due(&self, names: &Names, now: SystemTime) -> Result<bool, CertificateError> {
        let now = seconds(now);
        let current = self.leaf.read().unwrap_or_else(PoisonError::into_inner).pair.clone();
        if !leaf::is_due(&current, &self.authority, names, now) {
            return Ok(false);
        }
        let pair = leaf::renew(&self.folder.join("leaf.pem"), &self.authority, Some(&current), names, now)?;
        let key = leaf::certified(&pair, &self.authority)?;
        *self.leaf.write().unwrap_or_else(PoisonError::into_inner) = Leaf { pair, key };
        Ok(true)
    }

    /// Looks after the leaf until the node stops. `names` is asked each time, since addresses change; so is the `clock`.
    pub async fn keep_renewed(
        self: Arc<Self>,
        names: impl Fn() -> Names + Send + Sync + 'static,
        clock: impl Fn() -> SystemTime + Send + Sync + 'static,
        mut shutdown: Shutdown,
    ) {
        let (names, clock) = (Arc::new(names), Arc::new(clock));
        loop {
            tokio::select! {
                () = shutdown.requested() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let (this, names, clock) = (Arc::clone(&self), Arc::clone(&names), Arc::clone(&clock));
            match tokio::task::spawn_blocking(move || this.renew_if_due(&names(), clock())).await {
                Ok(Ok(true)) => info!("renewed the certificate"),
                Ok(Ok(false)) => {}
                Ok(Err(error)) => warn!(%error, "cannot renew the certificate"),
                Err(_) => warn!("renewing the certificate ended by a fault of ours"),
            }
        }
    }

    /// Shows from now on what is kept for a host of the world, `<home>/tls/given/<name>.pem`, while it counts; `None` where nothing is.
    ///
    /// # Errors
    /// The file cannot be read or understood; it is left as it is, and nothing of it is shown.
    pub fn show_given(&self, name: &str) -> Result<Option<Validity>, CertificateError> {
        self.given.load(name)
    }

    /// Keeps what an authority of the world gave for a host, its key and then the chain, PEM; it is shown from now on.
    ///
    /// # Errors
    /// It does not fit together or is not for this host, or cannot be written: what was there before stays in use.
    pub fn take_given(&self, name: &str, pem: &str) -> Result<Validity, CertificateError> {
        self.given.take(name, pem)
    }

    /// What a client is shown that asks for this name: what was given for it, else the node's own leaf.
    #[must_use]
    pub fn choose(&self, name: Option<&str>, now: SystemTime) -> Arc<CertifiedKey> {
        let given = name.and_then(|name| self.given.choose(name, seconds(now)));
        given.unwrap_or_else(|| Arc::clone(&self.leaf.read().unwrap_or_else(PoisonError::into_inner).key))
    }

    /// The authority's certificate, PEM: what people install.
    #[must_use]
    pub fn authority_pem(&self) -> &str {
        &self.authority.certificate_pem
    }

    /// The authority's certificate, DER.
    #[must_use]
    pub fn authority_der(&self) -> &CertificateDer<'static> {
        &self.authority.certificate
    }

    /// The authority's fingerprint: the same for ten years.
    #[must_use]
    pub fn authority_fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.authority.certificate)
    }

    /// The fingerprint of the certificate that the ports show now.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.leaf.read().unwrap_or_else(PoisonError::into_inner).pair.certificate)
    }

    /// What the ports need for TLS 1.2 and 1.3; it always shows the newest certificate of those that [`Certificates::choose`] has.
    ///
    /// # Errors
    /// The TLS library refuses its own defaults.
    pub fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, CertificateError> {
        server_config(Arc::<Self>::clone(self), &[])
    }

    /// The same for a port that the world reaches by this name: other mail servers ask for none, or for that of the domain whose mail they bring.
    ///
    /// # Errors
    /// As [`Certificates::server_config`].
    pub fn server_config_facing(self: &Arc<Self>, name: &str) -> Result<Arc<ServerConfig>, CertificateError> {
        server_config(Arc::new(Facing { certificates: Arc::clone(self), name: name.to_owned() }), &[])
    }
}

/// TLS 1.2 and 1.3 for a server with these certificates that speaks these protocols (ALPN; none: whatever the client likes).
///
/// # Errors
/// The TLS library refuses its own defaults.
pub fn server_config(
    certificates: Arc<dyn ResolvesServerCert>,
    protocols: &[&[u8]],
) -> Result<Arc<ServerConfig>, CertificateError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(making)?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    // After STARTTLS a server has nothing to say. Tickets that arrive in that silence hang programs which read and write by two threads
    // (imaplib2, so offlineimap: its reader takes them for an answer, and holds the connection while its writer waits to ask).
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.choose(hello.server_name(), SystemTime::now()))
    }
}

/// The certificates of a node, for a port that is reached by one name.
#[derive(Debug)]
struct Facing {
    certificates: Arc<Certificates>,
    name: String,
}

impl ResolvesServerCert for Facing {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let now = SystemTime::now();
        let asked = hello.server_name().and_then(|name| self.certificates.given.choose(name, seconds(now)));
        Some(asked.unwrap_or_else(|| self.certificates.choose(Some(&self.name), now)))
    }
}

fn making(error: impl core::fmt::Display) -> CertificateError {
    CertificateError::Making(error.to_string())
}

fn make_authority(now: i64) -> Result<Pair, CertificateError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(making)?;
    let mut params = CertificateParams::default();
    // Programs tell authorities apart by their names: two nodes on a network must not share one.
    let mark = u32::from_be_bytes(rand::random());
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("Kith node {mark:08x}"));
    params.distinguished_name.push(DnType::OrganizationName, "Kith");
    params.serial_number = Some(leaf::serial());
    leaf::set_life(&mut params, EARLIEST, now.max(EARLIEST) + AUTHORITY_DAYS * DAY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(names::constraints());
    let certificate = params.self_signed(&key).map_err(making)?;
    Ok(Pair::new(&certificate, &key))
}

/// The authority as rcgen wants it.
fn issuer(authority: &Pair) -> Result<Issuer<'static, KeyPair>, CertificateError> {
    let key = KeyPair::try_from(&authority.key).map_err(making)?;
    Issuer::from_ca_cert_der(&authority.certificate, key).map_err(making)
}

fn seconds(time: SystemTime) -> i64 {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(seconds).map_or(LATEST, |seconds| seconds.min(LATEST))
}

#[cfg(test)]
mod tests;
