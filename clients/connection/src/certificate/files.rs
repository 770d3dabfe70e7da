//! Certificates with their keys on disk: readable for their owner only, written whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use rcgen::{Certificate, KeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::CertificateError;

/// Far more than a certificate and a key take.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// A certificate and its key.
pub(super) struct Pair {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) certificate_pem: String,
    pub(super) key: PrivateKeyDer<'static>,
    key_pem: Zeroizing<String>,
}

impl Clone for Pair {
    fn clone(&self) -> Self {
        Self {
            certificate: self.certificate.clone(),
            certificate_pem: self.certificate_pem.clone(),
            key: self.key.clone_key(),
            key_pem: self.key_pem.clone(),
        }
    }
}

impl Pair {
    pub(super) fn new(certificate: &Certificate, key: &KeyPair) -> Self {
        Self {
            certificate: certificate.der().clone(),
            certificate_pem: certificate.pem(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            key_pem: Zeroizing::new(key.serialize_pem()),
        }
    }

    /// Reads a pair; `None` where there is no file.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, CertificateError> {
        let damaged = || CertificateError::Damaged { path: path.to_owned() };
        let Some(text) = read(path)? else { return Ok(None) };
        let certificate = CertificateDer::from_pem_slice(text.as_bytes()).map_err(|_| damaged())?;
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| damaged())?;
        x509_parser::parse_x509_certificate(&certificate).map_err(|_| damaged())?;
        let (key_pem, certificate_pem) = text.split_at(text.find("-----BEGIN CERTIFICATE").ok_or_else(damaged)?);
        Ok(Some(Self {
            certificate,
            certificate_pem: certificate_pem.to_owned(),
            key,
            key_pem: Zeroizing::new(key_pem.to_owned()),
        }))
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), CertificateError> {
        let mut text = Zeroizing::new(String::with_capacity(self.key_pem.len() + self.certificate_pem.len() + 1));
        text.push_str(self.key_pem.trim_end());
        text.push('\n');
        text.push_str(&self.certificate_pem);
        write(path, text.as_bytes(), 0o600)
    }
}

/// Reads a file with a key in it; `None` where there is none.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<String>>, CertificateError> {
    let failed = |error| CertificateError::File { path: path.to_owned(), error };
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => return Err(CertificateError::Damaged { path: path.to_owned() }),
        Ok(_) => {}
    }
    Ok(Some(Zeroizing::new(fs::read_to_string(path).map_err(failed)?)))
}

pub(super) fn make_folder(folder: &Path) -> Result<(), CertificateError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|error| CertificateError::File { path: folder.to_owned(), error })
}

/// Writes a file that is no secret, unless it has these bytes already.
pub(super) fn write_public(path: &Path, bytes: &[u8]) -> Result<(), CertificateError> {
    if fs::read(path).is_ok_and(|there| there == bytes) { Ok(()) } else { write(path, bytes, 0o600) }
}

pub(super) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CertificateError> {
    let written = || -> io::Result<()> {
        let temporary = path.with_extension("new");
        // A left-over of a crash would keep its own permissions.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
        #[cfg(not(unix))]
        let _modes_are_unix = mode;
        let mut file = options.open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    written().map_err(|error| CertificateError::File { path: path.to_owned(), error })
}
