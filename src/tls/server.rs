//! TLS that is spoken at the admin address: its certificate and key, and the authorities of those who ask.

use super::provider::provider;
use crate::files::{self, Access, AccessError, Role};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Octets of a file with certificates or a key.
const PEM_OCTETS_MAX: usize = 1 << 20;

/// Why the admin address cannot speak TLS. The texts are shown to operators.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path} for [admin] tls: {source}", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others can read the key.
    #[error("{path} holds the key of [admin] tls, and others can read it (mode {mode:04o}); chmod 600 it", path = .path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Others can put another key in its place.
    #[error("the key of [admin] tls: {source}")]
    Access {
        /// The file of the key.
        path: PathBuf,
        /// Who can, and where.
        source: AccessError,
    },
    /// A file does not hold what it should.
    #[error("{path} holds no {wanted} in PEM for [admin] tls{more}", path = .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
        /// What the reader says.
        more: String,
    },
    /// The certificate and the key cannot be used.
    #[error("the certificate {certificate} and the key {key} of [admin] tls cannot be used: {why}",
        certificate = .certificate.display(), key = .key.display())]
    Unusable {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What the TLS library says.
        why: String,
    },
}

impl TlsError {
    /// The file that cannot be used; the certificate where it and the key do not go together.
    pub fn path(&self) -> &Path {
        match self {
            Self::Read { path, .. }
            | Self::Permissions { path, .. }
            | Self::Access { path, .. }
            | Self::Content { path, .. } => path,
            Self::Unusable { certificate, .. } => certificate,
        }
    }
}

/// How TLS is spoken with this certificate and this key. With a file of authorities, clients may show a certificate from
/// one of them.
///
/// # Errors
/// [`TlsError`].
pub fn serving(certificate: &Path, key: &Path, client_ca: Option<&Path>) -> Result<ServerConfig, TlsError> {
    let unusable = |error: &dyn ToString| TlsError::Unusable {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        why: error.to_string(),
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(path)? {
                let added = roots.add(authority);
                added.map_err(|error| no_content(path, "certificate of an authority", &error))?;
            }
            // Who shows none may ask whether the process lives, and nothing else; the guard sees to that.
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider()));
            let verifier = verifier.allow_unauthenticated().build();
            builder.with_client_cert_verifier(verifier.map_err(|error| unusable(&error))?)
        }
    };
    let config = builder.with_single_cert(certificates(certificate)?, private_key(key)?);
    let mut config = config.map_err(|error| unusable(&error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A ticket would let a client in again whose authority was taken out of the file meanwhile.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    files::read(path, PEM_OCTETS_MAX).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

fn no_content(path: &Path, wanted: &'static str, error: &dyn ToString) -> TlsError {
    TlsError::Content { path: path.to_owned(), wanted, more: format!(": {}", error.to_string()) }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let octets = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&octets).collect();
    let found = found.map_err(|error| no_content(path, "certificate", &error))?;
    if found.is_empty() {
        return Err(TlsError::Content { path: path.to_owned(), wanted: "certificate", more: String::new() });
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    // As the key of the CA: root may have given it to a group of ours. Where there is none, reading says so.
    Access::of_process().judge(path, Role::Secret).map_err(|error| match error {
        AccessError::FilePermissions { path, mode } => TlsError::Permissions { path, mode },
        AccessError::Read { source, .. } => TlsError::Read { path: path.to_owned(), source },
        source => TlsError::Access { path: path.to_owned(), source },
    })?;
    let octets = zeroize::Zeroizing::new(read(path)?);
    PrivateKeyDer::from_pem_slice(&octets).map_err(|error| no_content(path, "private key", &error))
}
