//! Whose certificate is believed: the authorities', the signed DNS's (DANE, RFC 7672), or anybody's where only eavesdroppers are to be kept out (RFC 7435).
//!
//! Signatures of the handshake are always checked: who shows a certificate must have its key.

use std::sync::{Arc, Mutex};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest, Sha256, Sha512};

use super::fate::Protection;
use crate::dns::Tlsa;

/// Authorities whose word counts for names: Mozilla's, and those that settings add.
#[derive(Clone, Debug)]
pub struct Roots {
    store: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

/// A certificate that was to be an authority and cannot be.
#[derive(Debug, thiserror::Error)]
#[error("this is not the certificate of an authority: {0}")]
pub struct NoAuthority(String);

impl Roots {
    /// Mozilla's list.
    pub fn web() -> Roots {
        let store = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Roots { store: Arc::new(store), provider: Arc::new(rustls::crypto::ring::default_provider()) }
    }

    /// The same and one more, for a mail server with an authority of its own.
    ///
    /// # Errors
    /// When the certificate cannot be read.
    pub fn with(mut self, certificate: CertificateDer<'_>) -> Result<Roots, NoAuthority> {
        Arc::make_mut(&mut self.store).add(certificate.into_owned()).map_err(|error| NoAuthority(error.to_string()))?;
        Ok(self)
    }

    pub(crate) fn provider(&self) -> Arc<CryptoProvider> {
        self.provider.clone()
    }

    pub(crate) fn store(&self) -> Arc<RootCertStore> {
        self.store.clone()
    }
}

/// What a host's certificate must be.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Trust {
    /// Anything: somebody else may read along by answering in the host's place, and nobody else.
    Anybody,
    /// One that the authorities vouch for, for the host's name.
    Named {
        /// Whether MTA-STS asks for it.
        by_policy: bool,
    },
    /// One that these records describe, and if they name an authority, for one of these names (RFC 7672 §3.2.2).
    Dane {
        /// Usable records alone; none: TLS is a must and nothing is checked (RFC 7672 §2.2).
        records: Arc<Vec<Tlsa>>,
        /// The host's name first, then the domain's.
        names: Vec<String>,
    },
}

/// The records that can be used at all: usages 2 and 3, selectors and digests that are known, data of the right length (RFC 7672 §3.1). PKIX usages 0 and 1 are not
/// for mail.
pub(crate) fn usable(records: &[Tlsa]) -> Vec<Tlsa> {
    let fits = |record: &&Tlsa| {
        let length = match record.matching {
            0 => !record.data.is_empty() && (record.usage == 3 || record.selector == 0),
            1 => record.data.len() == 32,
            2 => record.data.len() == 64,
            _ => false,
        };
        matches!(record.usage, 2 | 3) && record.selector <= 1 && length
    };
    records.iter().filter(fits).cloned().collect()
}

/// Whether a record describes a certificate.
pub(crate) fn describes(record: &Tlsa, certificate: &CertificateDer<'_>) -> bool {
    let selected = match record.selector {
        0 => certificate.as_ref(),
        1 => match x509_parser::parse_x509_certificate(certificate) {
            Ok((_, parsed)) => parsed.tbs_certificate.subject_pki.raw,
            Err(_) => return false,
        },
        _ => return false,
    };
    match record.matching {
        0 => selected == record.data,
        1 => Sha256::digest(selected).as_slice() == record.data,
        2 => Sha512::digest(selected).as_slice() == record.data,
        _ => false,
    }
}

/// A client's TLS, and where to read afterwards how much the host proved.
pub(crate) fn client(trust: &Trust, roots: &Roots) -> Result<(Arc<ClientConfig>, Proved), Error> {
    let proved = Proved::default();
    let verifier = Verifier { trust: trust.clone(), roots: roots.clone(), proved: proved.clone() };
    let config = ClientConfig::builder_with_provider(roots.provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok((Arc::new(config), proved))
}

/// What certificates (a host's own first) prove of it, as in a handshake of this moment; that it has their keys is not looked at.
///
/// # Errors
/// They are not believed.
pub(crate) fn examine(trust: &Trust, roots: &Roots, chain: &[CertificateDer<'_>], host: &str) -> Result<Protection, Error> {
    let unnamed = |_| Error::General(format!("{host} is no name for a certificate"));
    let name = ServerName::try_from(host.to_owned()).map_err(unnamed)?;
    let (own, further) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
    let verifier = Verifier { trust: trust.clone(), roots: roots.clone(), proved: Proved::default() };
    verifier.verify_server_cert(own, further, &name, &[], UnixTime::now())?;
    Ok(verifier.proved.protection())
}

/// How much the host has proved; [`Protection::Encrypted`] until the handshake says more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proved(Arc<Mutex<Option<Protection>>>);

impl Proved {
    pub(crate) fn protection(&self) -> Protection {
        self.0.lock().ok().and_then(|proved| *proved).unwrap_or(Protection::Encrypted)
    }

    fn set(&self, protection: Protection) {
        if let Ok(mut proved) = self.0.lock() {
            *proved = Some(protection);
        }
    }
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    roots: Roots,
    proved: Proved,
}

impl Verifier {
    fn named(&self, store: Arc<RootCertStore>, shown: &Shown<'_>, name: &ServerName<'_>) -> Result<(), Error> {
        let verifier = WebPkiServerVerifier::builder_with_provider(store, self.roots.provider())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(shown.own, shown.further, name, shown.ocsp, shown.now).map(|_| ())
    }

    fn dane(&self, records: &[Tlsa], names: &[String], shown: &Shown<'_>) -> Result<Protection, Error> {
        if records.is_empty() {
            return Ok(Protection::Encrypted);
        }
        // The key alone counts, whatever name and date the certificate has (RFC 7672 §3.1.1).
        if records.iter().any(|record| record.usage == 3 && describes(record, shown.own)) {
            return Ok(Protection::Dane);
        }
        let mut store = RootCertStore::empty();
        for record in records.iter().filter(|record| record.usage == 2) {
            for certificate in shown.further.iter().filter(|certificate| describes(record, certificate)) {
                let _ = store.add(certificate.clone());
            }
            if record.selector == 0 && record.matching == 0 {
                let _ = store.add(CertificateDer::from(record.data.as_slice()).into_owned());
            }
        }
        if store.is_empty() {
            return Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
        }
        let store = Arc::new(store);
        let mut error = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        for name in names {
            let Ok(name) = ServerName::try_from(name.as_str()) else { continue };
            match self.named(store.clone(), shown, &name) {
                Ok(()) => return Ok(Protection::Dane),
                Err(found) => error = found,
            }
        }
        Err(error)
    }
}

/// What the host shows.
struct Shown<'a> {
    own: &'a CertificateDer<'a>,
    further: &'a [CertificateDer<'a>],
    ocsp: &'a [u8],
    now: UnixTime,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        further: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = Shown { own, further, ocsp, now };
        let proved = match &self.trust {
            Trust::Anybody => match self.named(self.roots.store(), &shown, name) {
                Ok(()) => Protection::Named,
                Err(_) => Protection::Encrypted,
            },
            Trust::Named { by_policy } => {
                self.named(self.roots.store(), &shown, name)?;
                if *by_policy { Protection::MtaSts } else { Protection::Named }
            }
            Trust::Dane { records, names } => self.dane(records, names, &shown)?,
        };
        self.proved.set(proved);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.roots.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.roots.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.roots.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(usage: u8, selector: u8, matching: u8, data: &[u8]) -> Tlsa {
        Tlsa { usage, selector, matching, data: data.to_vec() }
    }

    #[test]
    fn records_that_mean_nothing_for_mail_are_not_used() {
        let good = [
            record(3, 1, 1, &[0; 32]),
            record(2, 0, 2, &[0; 64]),
            record(3, 0, 0, b"der"),
            record(2, 0, 0, b"der"),
            record(3, 1, 0, b"key"),
        ];
        let bad = [
            record(0, 0, 1, &[0; 32]),
            record(1, 0, 1, &[0; 32]),
            record(255, 0, 1, &[0; 32]),
            record(3, 2, 1, &[0; 32]),
            record(3, 1, 3, &[0; 32]),
            record(3, 1, 1, &[0; 31]),
            record(3, 1, 2, &[0; 32]),
            record(3, 1, 0, b""),
            record(2, 1, 0, b"key"),
        ];
        assert_eq!(usable(&[&good[..], &bad[..]].concat()), good);
    }

    #[test]
    fn a_record_describes_a_certificate_or_its_key_and_no_other() {
        let key = |name: &str| rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let (one, other) = (key("mx.example"), key("mx.example"));
        let spki = rcgen::PublicKeyData::subject_public_key_info(&one.signing_key);
        for record in [
            record(3, 1, 1, &Sha256::digest(&spki)),
            record(3, 1, 2, &Sha512::digest(&spki)),
            record(3, 1, 0, &spki),
            record(3, 0, 1, &Sha256::digest(one.cert.der())),
            record(3, 0, 0, one.cert.der()),
        ] {
            assert!(describes(&record, one.cert.der()), "{record:?}");
            assert!(!describes(&record, other.cert.der()), "{record:?}");
        }
        assert!(!describes(&record(3, 1, 1, &Sha256::digest(&spki)), &CertificateDer::from(&b"nonsense"[..])));
    }
}
