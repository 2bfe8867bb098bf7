//! TLS at the admin address: its certificate, which a reload reads anew, and certificates that clients show.

use super::connections::{Door, Peer};
use crate::config::AdminTls;
use crate::files::{self, Access, AccessError, Role};
use crate::tls::provider::provider;
use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

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
    #[error("the key of [admin] tls: {0}")]
    Access(AccessError),
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

/// How TLS is spoken now.
#[derive(Clone, Debug)]
pub struct AdminTlsInForce {
    files: AdminTls,
    config: Arc<ArcSwap<ServerConfig>>,
}

impl AdminTlsInForce {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(files: &AdminTls) -> Result<Self, TlsError> {
        let config = Arc::new(ArcSwap::from(load(files)?));
        Ok(Self { files: files.clone(), config })
    }

    /// Reads the files again. Where that fails, connections go on as before.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn renew(&self) -> Result<(), String> {
        let config = load(&self.files).map_err(|error| format!("{error}; what was in force stays in force"))?;
        self.config.store(config);
        Ok(())
    }

    /// What it was read from.
    pub fn paths(&self) -> Vec<PathBuf> {
        let AdminTls { certificate, key, client_ca } = self.files.clone();
        [certificate, key].into_iter().chain(client_ca).collect()
    }
}

/// A listener whose connections speak TLS.
#[derive(Debug)]
pub struct TlsDoor {
    /// The listener.
    pub listener: TcpListener,
    /// How they speak.
    pub tls: AdminTlsInForce,
}

impl Door for TlsDoor {
    type Accepted = TcpStream;
    type Stream = TlsStream<TcpStream>;

    async fn accept(&self) -> io::Result<TcpStream> {
        Ok(self.listener.accept().await?.0)
    }

    async fn greet(&self, stream: TcpStream) -> io::Result<(Self::Stream, Peer)> {
        let stream = TlsAcceptor::from(self.tls.config.load_full()).accept(stream).await?;
        // The verifier has refused every certificate that is not from one of the authorities.
        let certified = stream.get_ref().1.peer_certificates().is_some_and(|shown| !shown.is_empty());
        Ok((stream, if certified { Peer::Certified } else { Peer::Network }))
    }
}

fn load(paths: &AdminTls) -> Result<Arc<ServerConfig>, TlsError> {
    let AdminTls { certificate, key, client_ca } = paths;
    let unusable = |error: &dyn ToString| TlsError::Unusable {
        certificate: certificate.clone(),
        key: key.clone(),
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
    Ok(Arc::new(config))
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
        other => TlsError::Access(other),
    })?;
    let octets = zeroize::Zeroizing::new(read(path)?);
    PrivateKeyDer::from_pem_slice(&octets).map_err(|error| no_content(path, "private key", &error))
}
