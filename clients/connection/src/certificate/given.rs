//! Certificates that the world's authorities gave for names of this node: kept on disk, and shown to whoever asks for one of those names while they count.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;

use super::{CertificateError, files, making};

/// Names that have one, at most.
pub const GIVEN_MAX: usize = 256;
/// Certificates of one chain that are shown.
const CHAIN_MAX: usize = 8;

/// From when to when one counts, Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub begins: i64,
    /// The last second.
    pub ends: i64,
}

/// All of them, by name. Each lies in a file of its own, with its key, so that no crash separates the two.
pub(super) struct Given {
    folder: PathBuf,
    shown: RwLock<BTreeMap<String, Shown>>,
}

#[derive(Clone)]
struct Shown {
    key: Arc<CertifiedKey>,
    validity: Validity,
}

impl Given {
    /// None yet; they lie in this folder.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, shown: RwLock::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.pem"))
    }

    /// Reads what is kept for a name, and shows it from now on.
    pub(super) fn load(&self, name: &str) -> Result<Option<Validity>, CertificateError> {
        let name = checked(name)?;
        let path = self.path(&name);
        let Some(text) = files::read(&path)? else { return Ok(None) };
        let shown = parse(&name, &text).map_err(|_| CertificateError::Damaged { path })?;
        self.show(name, shown).map(Some)
    }

    /// Keeps a new one, key and chain, and shows it from now on. What was there before stays if this one does not fit.
    pub(super) fn take(&self, name: &str, pem: &str) -> Result<Validity, CertificateError> {
        let name = checked(name)?;
        let shown = parse(&name, pem)?;
        files::make_folder(&self.folder)?;
        files::write(&self.path(&name), pem.as_bytes(), 0o600)?;
        self.show(name, shown)
    }

    fn show(&self, name: String, shown: Shown) -> Result<Validity, CertificateError> {
        let validity = shown.validity;
        let mut all = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= GIVEN_MAX && !all.contains_key(&name) {
            return Err(CertificateError::Making(format!("more than {GIVEN_MAX} names have certificates")));
        }
        all.insert(name, shown);
        Ok(validity)
    }

    /// What counts for a name now.
    pub(super) fn choose(&self, name: &str, now: i64) -> Option<Arc<CertifiedKey>> {
        let all = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        // Names in a handshake come without the dot, and in whatever case the client likes.
        let shown = all.get(name).or_else(|| all.get(&name.to_ascii_lowercase()))?;
        (shown.validity.begins..=shown.validity.ends).contains(&now).then(|| Arc::clone(&shown.key))
    }
}

/// The name of a file too, so nothing but a host's.
fn checked(name: &str) -> Result<String, CertificateError> {
    let label = |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if name.len() <= 253 && name.contains('.') && name.split('.').all(label) {
        Ok(name.to_ascii_lowercase())
    } else {
        Err(CertificateError::Making(format!("`{}` is not a host's name", name.escape_debug())))
    }
}

fn parse(name: &str, pem: &str) -> Result<Shown, CertificateError> {
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(making)?;
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(pem.as_bytes()).take(CHAIN_MAX).collect::<Result<_, _>>().map_err(making)?;
    let leaf = chain.first().ok_or_else(|| making("there is no certificate"))?;
    let (_, certificate) = x509_parser::parse_x509_certificate(leaf).map_err(making)?;
    let names = certificate.subject_alternative_name().map_err(making)?;
    let is_for = names.is_some_and(|names| {
        names
            .value
            .general_names
            .iter()
            .any(|found| matches!(found, GeneralName::DNSName(host) if host.eq_ignore_ascii_case(name)))
    });
    if !is_for {
        return Err(making(format!("the certificate is not for {name}")));
    }
    let validity =
        Validity { begins: certificate.validity().not_before.timestamp(), ends: certificate.validity().not_after.timestamp() };
    let certified = CertifiedKey::new(chain, ring::sign::any_ecdsa_type(&key).map_err(making)?);
    certified.keys_match().map_err(making)?;
    Ok(Shown { key: Arc::new(certified), validity })
}

#[cfg(test)]
mod tests;
