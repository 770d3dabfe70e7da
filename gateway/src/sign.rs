//! DKIM signatures over what leaves (RFC 6376, RFC 8463): keys, the signature header, and the records that the DNS must have.
//!
//! Not verifying: that is the inbound half's.

use mail_auth::common::crypto::{Ed25519Key, RsaKey, Sha256};
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dkim::generate::DkimKeyPair;
use mail_auth::dkim::{Canonicalization, DkimSigner, Done};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer};
use zeroize::Zeroizing;

use crate::domain::Domain;
use crate::outbound::content::Content;

/// The size of new RSA keys: what every verifier takes, in a record that every DNS provider takes (RFC 8301 §3.2).
const RSA_BITS: usize = 2_048;
/// The longest selector.
const SELECTOR_BYTES_MAX: usize = 63;
/// Keys that sign one mail: one of each algorithm, and one of each while they are being replaced.
pub const KEYS_MAX: usize = 4;

/// Signed once more than they occur, so that nobody can add another one of them (RFC 6376 §8.15): what people see of who wrote what to whom.
const SEALED: [&str; 7] = ["From", "To", "Cc", "Subject", "Date", "Reply-To", "Kith-Address"];
/// Signed as often as they occur (RFC 6376 §5.4.1).
const SIGNED: [&str; 22] = [
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-Disposition",
    "Content-ID",
    "Content-Description",
    "Sender",
    "Resent-Date",
    "Resent-From",
    "Resent-Sender",
    "Resent-To",
    "Resent-Cc",
    "Resent-Message-ID",
    "List-Id",
    "List-Help",
    "List-Unsubscribe",
    "List-Subscribe",
    "List-Post",
    "Autocrypt",
];

/// How a key signs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// rsa-sha256: what every verifier knows.
    Rsa,
    /// ed25519-sha256: small, and not known everywhere (RFC 8463); used beside RSA.
    Ed25519,
}

/// What can go wrong with keys and signatures.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SignError {
    /// The bytes are no key of that algorithm.
    #[error("this is not a key for DKIM")]
    Key,
    /// A selector is one label of letters, digits and hyphens.
    #[error("a selector has letters, digits and hyphens, {SELECTOR_BYTES_MAX} at most")]
    Selector,
    /// No key, or more than [`KEYS_MAX`].
    #[error("between one and {KEYS_MAX} keys sign a mail")]
    Keys,
    /// The mail has no From, so that there is nothing to vouch for.
    #[error("a mail without From cannot be signed")]
    NoFrom,
    /// The library refused.
    #[error("signing failed: {0}")]
    Library(String),
}

/// A private key; its bytes are erased when it goes.
#[derive(Clone)]
pub struct Key {
    algorithm: Algorithm,
    der: Zeroizing<Vec<u8>>,
    public: String,
}

impl Key {
    /// A new key. RSA takes a second or so.
    ///
    /// # Errors
    /// When the library cannot make one.
    pub fn generate(algorithm: Algorithm) -> Result<Key, SignError> {
        let pair = match algorithm {
            Algorithm::Rsa => DkimKeyPair::generate_rsa(RSA_BITS),
            Algorithm::Ed25519 => DkimKeyPair::generate_ed25519(),
        };
        let (private, _) = pair.map_err(library)?.into_inner();
        Key::from_der(algorithm, private)
    }

    /// A key from its DER: PKCS#1 for RSA, PKCS#8 for Ed25519, as [`Key::der`] gives it.
    ///
    /// # Errors
    /// [`SignError::Key`].
    pub fn from_der(algorithm: Algorithm, der: Vec<u8>) -> Result<Key, SignError> {
        let der = Zeroizing::new(der);
        let public = match algorithm {
            // RFC 8463 publishes the bare key, RFC 6376 a SubjectPublicKeyInfo; verifiers take PKCS#1's form too (RFC 6376 §3.6.1).
            Algorithm::Rsa => spki(&rsa(&der)?.public_key()),
            Algorithm::Ed25519 => Ed25519Key::from_pkcs8_der(&der).map_err(|_| SignError::Key)?.public_key(),
        };
        let public = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, public);
        Ok(Key { algorithm, der, public })
    }

    /// Its bytes, to be kept sealed.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The text of its record, at the selector's name below `_domainkey.` of the domain (RFC 6376 §3.6.2.1).
    pub fn record(&self) -> String {
        let kind = match self.algorithm {
            Algorithm::Rsa => "rsa",
            Algorithm::Ed25519 => "ed25519",
        };
        format!("v=DKIM1; k={kind}; p={}", self.public)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

enum Signing {
    Rsa(Box<DkimSigner<RsaKey<Sha256>, Done>>),
    Ed25519(Box<DkimSigner<Ed25519Key, Done>>),
}

/// What signs the mail of one domain.
pub struct Signer {
    domain: Domain,
    signing: Vec<Signing>,
}

impl Signer {
    /// Signs for `domain`, with every key under its selector.
    ///
    /// # Errors
    /// When a selector is no label, or there are no or too many keys.
    pub fn new(domain: &Domain, keys: &[(String, Key)]) -> Result<Signer, SignError> {
        if keys.is_empty() || keys.len() > KEYS_MAX {
            return Err(SignError::Keys);
        }
        let mut signing = Vec::with_capacity(keys.len());
        for (selector, key) in keys {
            check_selector(selector)?;
            signing.push(match key.algorithm {
                Algorithm::Rsa => Signing::Rsa(Box::new(signer(rsa(&key.der)?, domain, selector))),
                Algorithm::Ed25519 => {
                    let key = Ed25519Key::from_pkcs8_der(&key.der).map_err(|_| SignError::Key)?;
                    Signing::Ed25519(Box::new(signer(key, domain, selector)))
                }
            });
        }
        Ok(Signer { domain: domain.clone(), signing })
    }

    /// The domain that it signs for.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The signature headers of a mail, one for each key, each ending in CRLF: to stand before its first header. Relaxed/relaxed (RFC 6376 §3.4), the time of this
    /// machine's clock inside.
    ///
    /// # Errors
    /// When the mail has no From, or the library fails.
    pub fn sign(&self, content: &Content) -> Result<String, SignError> {
        if !content.has_header("From") {
            return Err(SignError::NoFrom);
        }
        let mut headers = String::new();
        for signing in &self.signing {
            let signature = match signing {
                Signing::Rsa(signer) => signer.sign(content.bytes()),
                Signing::Ed25519(signer) => signer.sign(content.bytes()),
            }
            .map_err(|error| {
                if matches!(error, mail_auth::Error::NoHeadersFound) { SignError::NoFrom } else { library(error) }
            })?;
            headers.push_str(&signature.to_header());
        }
        Ok(headers)
    }
}

fn signer<K: mail_auth::common::crypto::SigningKey>(key: K, domain: &Domain, selector: &str) -> DkimSigner<K, Done> {
    // Named twice: once for what is there, once for what must not be added.
    let headers = SEALED.iter().chain(&SEALED).chain(&SIGNED).copied();
    DkimSigner::from_key(key)
        .domain(domain.as_str())
        .selector(selector)
        .headers(headers)
        .header_canonicalization(Canonicalization::Relaxed)
        .body_canonicalization(Canonicalization::Relaxed)
}

fn check_selector(selector: &str) -> Result<(), SignError> {
    let label = !selector.is_empty()
        && selector.len() <= SELECTOR_BYTES_MAX
        && selector.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !selector.starts_with('-')
        && !selector.ends_with('-');
    if label { Ok(()) } else { Err(SignError::Selector) }
}

fn rsa(der: &[u8]) -> Result<RsaKey<Sha256>, SignError> {
    RsaKey::from_key_der(PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(der))).map_err(|_| SignError::Key)
}

fn library(error: mail_auth::Error) -> SignError {
    SignError::Library(crate::printable(&error.to_string(), 200))
}

/// A PKCS#1 public key as a SubjectPublicKeyInfo (RFC 5280 §4.1.2.7, RFC 3279 §2.3.1), which is what verifiers expect.
fn spki(pkcs1: &[u8]) -> Vec<u8> {
    /// AlgorithmIdentifier: rsaEncryption, NULL.
    const RSA_ENCRYPTION: [u8; 15] = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
    let mut bits = vec![0];
    bits.extend_from_slice(pkcs1);
    let mut inside = RSA_ENCRYPTION.to_vec();
    inside.extend(tagged(0x03, &bits));
    tagged(0x30, &inside)
}

/// One DER value.
fn tagged(tag: u8, inside: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = inside.len().to_be_bytes();
    let significant = length.iter().skip_while(|byte| **byte == 0).copied().collect::<Vec<_>>();
    match (inside.len(), u8::try_from(significant.len())) {
        (short, _) if short < 0x80 => out.push(significant.first().copied().unwrap_or(0)),
        (_, Ok(count)) => {
            out.push(0x80 | count);
            out.extend(significant);
        }
        // A usize has eight bytes at most.
        (_, Err(_)) => {}
    }
    out.extend_from_slice(inside);
    out
}
