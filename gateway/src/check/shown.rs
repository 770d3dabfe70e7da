//! What a mail host shows when TLS begins (RFC 3207), looked at as senders do: those that believe the authorities, and those that ask the signed DNS (DANE,
//! RFC 7672). No mail is begun.

use std::net::SocketAddr;
use std::time::Duration;

use rustls::{CertificateError, Error};
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use crate::dns::{Dns, DnsFailure};
use crate::domain::{Domain, Place};
use crate::outbound::fate::Why;
use crate::outbound::opening::{Peer, certificates};
use crate::outbound::times::Times;
use crate::outbound::trust::{Roots, Trust, examine, usable};

/// One step of the conversation: a person waits.
const STEP: Duration = Duration::from_secs(8);
/// Names of a certificate that are told.
const NAMES_MAX: usize = 20;

/// A host's certificate, and who believes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The names that it is for.
    pub names: Vec<String>,
    /// When it ends, Unix seconds.
    pub ends_s: i64,
    /// How long that is from now, in seconds; below nothing where it has ended.
    pub left_s: i64,
    /// Why those who believe the authorities do not believe it for the host's name, a sentence without its dot; `None` where they do.
    pub doubt: Option<String>,
    /// What those make of it who ask the signed DNS.
    pub dane: Dane,
}

/// What the DNS says of a host's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dane {
    /// Nothing.
    Silent,
    /// Something that counts for nothing, since the DNS does not sign it.
    Unsigned,
    /// What is shown.
    Fits,
    /// Something else, for this reason.
    Differs(String),
    /// It could not be asked, for this reason.
    Unknown(String),
}

/// Why nothing was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotShown {
    /// The host offers no TLS.
    NoTls,
    /// It cannot be talked with for now.
    Later(String),
}

/// Talks with the host at this address until it shows its certificates, the own one first.
pub(super) async fn seen(address: SocketAddr, host: &str, roots: &Roots) -> Result<Vec<CertificateDer<'static>>, NotShown> {
    let times = Times { connect: STEP, greeting: STEP, hello: STEP, tls: STEP, quit: Duration::from_secs(1), ..Times::default() };
    // Nothing that it says is kept; a name that nobody can have claims nothing.
    let hello = Place::Domain(Domain::parse("check.invalid").map_err(|error| NotShown::Later(error.to_string()))?);
    let peer = Peer { address, host, hello: &hello };
    certificates(&peer, &times, roots).await.map_err(|error| match error.trouble.why {
        Why::NoTls => NotShown::NoTls,
        why => NotShown::Later(why.to_string()),
    })
}

/// What the certificates are worth for this host.
pub(super) fn judged(chain: &[CertificateDer<'_>], host: &str, roots: &Roots, dane: Dane) -> Option<Shown> {
    let own = chain.first()?;
    let (_, parsed) = parse_x509_certificate(own).ok()?;
    let alternative = parsed.subject_alternative_name().ok().flatten();
    let names = alternative.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(crate::printable(name, 253)),
        _ => None,
    });
    let names: Vec<String> = names.take(NAMES_MAX).collect();
    let ends_s = parsed.validity().not_after.timestamp();
    let doubt = examine(&Trust::Named { by_policy: false }, roots, chain, host).err().map(|error| doubt(&error, host, &names));
    let now_s = i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX);
    Some(Shown { names, ends_s, left_s: ends_s.saturating_sub(now_s), doubt, dane })
}

/// What the signed DNS says of the certificates that a host of a domain shows at a port.
pub(super) async fn dane(dns: &Dns, domain: &str, host: &str, port: u16, chain: &[CertificateDer<'_>], roots: &Roots) -> Dane {
    let found = match dns.tlsa(host, port).await {
        Ok(found) => found,
        Err(DnsFailure::NoName { .. } | DnsFailure::NoRecord { .. }) => return Dane::Silent,
        Err(failure) => return Dane::Unknown(failure.to_string()),
    };
    // Whoever could change where mail goes could change to what it goes (RFC 7672 §2.2.1).
    let is_signed = match Domain::parse(domain) {
        Ok(domain) => found.secure && dns.exchanges(&domain).await.is_ok_and(|mx| mx.secure),
        Err(_) => false,
    };
    if !is_signed {
        return Dane::Unsigned;
    }
    let records = std::sync::Arc::new(usable(&found.value));
    if records.is_empty() {
        return Dane::Differs("none of its records is of a kind that is for mail: 3 1 1 is usual".to_owned());
    }
    let names = vec![host.to_owned(), domain.to_owned()];
    match examine(&Trust::Dane { records, names }, roots, chain, host) {
        Ok(_) => Dane::Fits,
        Err(_) => Dane::Differs("another key is shown than the one that it names".to_owned()),
    }
}

/// A sentence without its dot.
fn doubt(error: &Error, host: &str, names: &[String]) -> String {
    let names = || if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") };
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "no authority that the world believes vouches for it".to_owned()
        }
        Error::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => {
            format!("it is for {} and not for {host}", names())
        }
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "it has ended".to_owned()
        }
        Error::InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            "it does not count yet".to_owned()
        }
        other => crate::printable(&other.to_string(), 200),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn who_vouches_for_whom_and_until_when_is_told_in_words() {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let roots = Roots::web().with(authority.der().clone()).unwrap();
        let chain = |names: &[&str], year: i32| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let mut params = CertificateParams::new(names).unwrap();
            (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(year, 1, 1));
            let leaf = params.signed_by(&KeyPair::generate().unwrap(), &authority).unwrap();
            vec![leaf.der().clone(), authority.der().clone()]
        };
        let said = |chain: &[CertificateDer<'_>], roots: &Roots| {
            let shown = judged(chain, "mx.kith.test", roots, Dane::Silent).unwrap();
            (shown.doubt.unwrap_or_default(), shown.left_s > 0)
        };
        let good = chain(&["mx.kith.test"], 2400);
        assert_eq!(said(&good, &roots), (String::new(), true));
        assert!(said(&good, &Roots::web()).0.contains("no authority"), "{:?}", said(&good, &Roots::web()));
        assert!(said(&chain(&["a.test", "b.test"], 2400), &roots).0.contains("for a.test, b.test and not for mx.kith.test"));
        assert_eq!(said(&chain(&["mx.kith.test"], 2021), &roots), ("it has ended".to_owned(), false));
        assert_eq!(judged(&[], "mx.kith.test", &roots, Dane::Silent), None);
        assert_eq!(judged(&[CertificateDer::from(&b"nonsense"[..])], "mx.kith.test", &roots, Dane::Silent), None);
    }
}
