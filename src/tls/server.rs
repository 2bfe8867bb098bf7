//! TLS that is spoken at an address of ours, the admin address or a listener: its certificate and key, and the authorities
//! of those who ask.

use super::provider::provider;
use crate::files::{self, Access, AccessError, Role};
use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Octets of a file with certificates or a key.
const PEM_OCTETS_MAX: usize = 1 << 20;

/// What an address speaks TLS with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The table of the configuration that names them, as operators are told.
    pub whose: &'static str,
    /// PEM: the certificate, and those between it and its root.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// PEM: the authorities of clients, who may show a certificate from one of them; where there are none, none is asked for.
    pub client_ca: Option<PathBuf>,
    /// The application protocols that are spoken inside (RFC 7301). Where there are none, whatever a client offers is passed over.
    pub protocols: &'static [&'static [u8]],
}

/// How TLS is spoken now. Clones are the same.
#[derive(Clone, Debug)]
pub struct InForce {
    files: Arc<Files>,
    config: Arc<ArcSwap<ServerConfig>>,
}

impl InForce {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(files: Files) -> Result<Self, TlsError> {
        let config = Arc::new(ArcSwap::from_pointee(serving(&files)?));
        Ok(Self { files: Arc::new(files), config })
    }

    /// Reads the files again. Where that fails, connections go on as before.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn renew(&self) -> Result<(), String> {
        let config = serving(&self.files).map_err(|error| format!("{error}; what was in force stays in force"))?;
        self.config.store(Arc::new(config));
        Ok(())
    }

    /// For a connection that begins now.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// What it was read from.
    pub fn paths(&self) -> Vec<PathBuf> {
        let Files { certificate, key, client_ca, .. } = &*self.files;
        [certificate, key].into_iter().chain(client_ca).cloned().collect()
    }
}

/// Why an address cannot speak TLS. The texts are shown to operators.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path} for {whose} tls: {source}", path = .path.display())]
    Read {
        /// The table that names it.
        whose: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others can read the key.
    #[error("{path} holds the key of {whose} tls, and others can read it (mode {mode:04o}); chmod 600 it", path = .path.display())]
    Permissions {
        /// The table that names it.
        whose: &'static str,
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Others can put another key in its place.
    #[error("the key of {whose} tls: {source}")]
    Access {
        /// The table that names it.
        whose: &'static str,
        /// The file of the key.
        path: PathBuf,
        /// Who can, and where.
        source: AccessError,
    },
    /// A file does not hold what it should.
    #[error("{path} holds no {wanted} in PEM for {whose} tls{more}", path = .path.display())]
    Content {
        /// The table that names it.
        whose: &'static str,
        /// The file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
        /// What the reader says.
        more: String,
    },
    /// The certificate and the key cannot be used.
    #[error("the certificate {certificate} and the key {key} of {whose} tls cannot be used: {why}",
        certificate = .certificate.display(), key = .key.display())]
    Unusable {
        /// The table that names them.
        whose: &'static str,
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

/// How TLS is spoken with these files.
///
/// # Errors
/// [`TlsError`].
pub fn serving(files: &Files) -> Result<ServerConfig, TlsError> {
    let unusable = |error: &dyn ToString| TlsError::Unusable {
        whose: files.whose,
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        why: error.to_string(),
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in files.certificates(path)? {
                let added = roots.add(authority);
                added.map_err(|error| files.no_content(path, "certificate of an authority", &error))?;
            }
            // Who shows none may ask whether the process lives, and nothing else; the guard sees to that.
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider()));
            let verifier = verifier.allow_unauthenticated().build();
            builder.with_client_cert_verifier(verifier.map_err(|error| unusable(&error))?)
        }
    };
    let config = builder.with_single_cert(files.certificates(&files.certificate)?, files.private_key()?);
    let mut config = config.map_err(|error| unusable(&error))?;
    config.alpn_protocols = files.protocols.iter().map(|protocol| protocol.to_vec()).collect();
    // A ticket would let a client in again whose authority was taken out of the file meanwhile.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

impl Files {
    fn read(&self, path: &Path) -> Result<Vec<u8>, TlsError> {
        let read = files::read(path, PEM_OCTETS_MAX);
        read.map_err(|source| TlsError::Read { whose: self.whose, path: path.to_owned(), source })
    }

    fn no_content(&self, path: &Path, wanted: &'static str, error: &dyn ToString) -> TlsError {
        TlsError::Content { whose: self.whose, path: path.to_owned(), wanted, more: format!(": {}", error.to_string()) }
    }

    fn certificates(&self, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let octets = self.read(path)?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&octets).collect();
        let found = found.map_err(|error| self.no_content(path, "certificate", &error))?;
        if found.is_empty() {
            let (wanted, more) = ("certificate", String::new());
            return Err(TlsError::Content { whose: self.whose, path: path.to_owned(), wanted, more });
        }
        Ok(found)
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let whose = self.whose;
        // As the key of the CA: root may have given it to a group of ours. Where there is none, reading says so.
        Access::of_process().judge(&self.key, Role::Secret).map_err(|error| match error {
            AccessError::FilePermissions { path, mode } => TlsError::Permissions { whose, path, mode },
            AccessError::Read { source, .. } => TlsError::Read { whose, path: self.key.clone(), source },
            source => TlsError::Access { whose, path: self.key.clone(), source },
        })?;
        let octets = zeroize::Zeroizing::new(self.read(&self.key)?);
        PrivateKeyDer::from_pem_slice(&octets).map_err(|error| self.no_content(&self.key, "private key", &error))
    }
}
