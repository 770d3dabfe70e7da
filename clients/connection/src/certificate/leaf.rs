//! The leaf: what the ports show, made from the authority for a good year at a time.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SerialNumber};
use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;

use super::files::Pair;
use super::{CertificateError, DAY, EARLIEST, Names, issuer, making};

/// Programs refuse longer lives (398 days with the first one).
const LIFE_DAYS: i64 = 397;
/// Renewed when less than this is left.
const RENEW_DAYS: i64 = 60;

/// Whether a new leaf is needed: a name is missing, its time comes, or it lies in the future since a clock was wrong.
/// Not when a new one could live no longer, since the authority ends.
pub(super) fn is_due(leaf: &Pair, authority: &Pair, names: &Names, now: i64) -> bool {
    let now = now.max(EARLIEST);
    let (Some((begins, ends)), Some((_, authority_ends))) = (validity(leaf), validity(authority)) else { return true };
    let is_old = ends - now < RENEW_DAYS * DAY && ends < authority_ends;
    is_old || begins > now || !names_of(leaf).covers(names)
}

/// Makes a leaf for these names and those of the older one, and keeps it on disk.
pub(super) fn renew(
    path: &Path,
    authority: &Pair,
    older: Option<&Pair>,
    names: &Names,
    now: i64,
) -> Result<Pair, CertificateError> {
    let mut all = names.clone();
    if let Some(older) = older {
        all.extend(&names_of(older));
    }
    let now = now.max(EARLIEST);
    let authority_ends = validity(authority).map_or(i64::MAX, |(_, ends)| ends);
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(making)?;
    let mut params = CertificateParams::new(all.iter().collect::<Vec<_>>()).map_err(making)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Kith mail node");
    params.serial_number = Some(serial());
    // A day back, for clients whose clocks are behind.
    set_life(&mut params, (now - DAY).max(EARLIEST), (now + (LIFE_DAYS - 1) * DAY).min(authority_ends));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &issuer(authority)?).map_err(making)?;
    let pair = Pair::new(&certificate, &key);
    pair.write(path)?;
    Ok(pair)
}

/// What rustls shows: the leaf with its authority.
pub(super) fn certified(leaf: &Pair, authority: &Pair) -> Result<Arc<CertifiedKey>, CertificateError> {
    let key = ring::sign::any_ecdsa_type(&leaf.key).map_err(making)?;
    let certified = CertifiedKey::new(vec![leaf.certificate.clone(), authority.certificate.clone()], key);
    certified.keys_match().map_err(making)?;
    Ok(Arc::new(certified))
}

/// RFC 5280 §4.1.2.2: positive and unpredictable.
pub(super) fn serial() -> SerialNumber {
    let mut bytes: [u8; 16] = rand::random();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

/// Sets a certificate's life, in Unix seconds.
pub(super) fn set_life(params: &mut CertificateParams, begins: i64, ends: i64) {
    let at = |seconds: i64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    params.not_before = at(begins);
    params.not_after = at(ends);
}

/// Begin and end in Unix seconds.
pub(super) fn validity(pair: &Pair) -> Option<(i64, i64)> {
    let (_, certificate) = x509_parser::parse_x509_certificate(&pair.certificate).ok()?;
    Some((certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp()))
}

/// The names that a leaf stands for.
fn names_of(pair: &Pair) -> Names {
    let mut names = Names::loopback();
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(&pair.certificate) else { return names };
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return names };
    for name in &extension.value.general_names {
        match name {
            GeneralName::DNSName(host) => {
                names.add_host(host);
            }
            GeneralName::IPAddress(octets) => {
                let v4 = <[u8; 4]>::try_from(*octets).map(IpAddr::from);
                if let Ok(address) = v4.or_else(|_| <[u8; 16]>::try_from(*octets).map(IpAddr::from)) {
                    names.add_address(address);
                }
            }
            _ => {}
        }
    }
    names
}
