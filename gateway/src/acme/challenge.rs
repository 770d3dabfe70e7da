//! What an authority looks at to see that a name leads here: a certificate on port 443 (RFC 8737), or a text on port 80 (RFC 8555 §8.3). There exactly while
//! it is asked for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::server::ClientHello;
use rustls::sign::CertifiedKey;

/// The protocol that an authority names in the handshake (RFC 8737 §3); to be offered beside the usual ones on port 443.
pub const ALPN: &[u8] = rustls_acme::acme::ACME_TLS_ALPN_NAME;
/// Where the texts are on port 80.
pub const PATH: &str = "/.well-known/acme-challenge/";

/// By which way a name is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// A handshake on port 443.
    TlsAlpn,
    /// A request on port 80.
    Http,
}

impl Way {
    /// The port that the authority comes to.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::TlsAlpn => 443,
            Self::Http => 80,
        }
    }
}

/// What is asked for at the moment. Shared between who asks an authority and the two ports; as many as there are orders under way, which is one.
#[derive(Debug, Default)]
pub struct Challenges {
    shown: Mutex<Shown>,
}

#[derive(Debug, Default)]
struct Shown {
    /// By name.
    certificates: BTreeMap<String, Arc<CertifiedKey>>,
    /// By token.
    texts: BTreeMap<String, String>,
}

impl Challenges {
    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a handshake is an authority's check and nothing else (RFC 8737 §3).
    #[must_use]
    pub fn is_check(hello: &ClientHello<'_>) -> bool {
        rustls_acme::is_tls_alpn_challenge(hello)
    }

    /// The certificate for a check of this name.
    #[must_use]
    pub fn certificate(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.lock().certificates.get(name).cloned()
    }

    /// The text for a check with this token.
    #[must_use]
    pub fn text(&self, token: &str) -> Option<String> {
        self.lock().texts.get(token).cloned()
    }

    /// Shows a certificate until what is given back is dropped.
    pub(crate) fn show_certificate(&self, name: String, certificate: CertifiedKey) -> Showing<'_> {
        self.lock().certificates.insert(name.clone(), Arc::new(certificate));
        Showing { challenges: self, key: name }
    }

    /// The same for a text.
    pub(crate) fn show_text(&self, token: String, text: String) -> Showing<'_> {
        self.lock().texts.insert(token.clone(), text);
        Showing { challenges: self, key: token }
    }
}

/// Ends the showing when it is dropped.
pub(crate) struct Showing<'a> {
    challenges: &'a Challenges,
    key: String,
}

impl Drop for Showing<'_> {
    fn drop(&mut self) {
        let mut shown = self.challenges.lock();
        shown.certificates.remove(&self.key);
        shown.texts.remove(&self.key);
    }
}
