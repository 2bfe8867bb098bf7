//! What we show to upstreams that ask for a certificate: a chain and its key, from files.

use super::provider::provider;
use crate::files::{self, Access, AccessError, Role};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Octets of a file with certificates or a key.
const PEM_OCTETS_MAX: usize = 1 << 20;

/// A client certificate with its key, for as many handshakes as wanted.
#[derive(Clone)]
pub struct Identity(Arc<dyn ResolvesClientCert>);

/// Why a client certificate cannot be shown. The texts are shown to operators.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("cannot read the client certificate's file {path}: {source}", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others can read the key, or put another one in its place.
    #[error("the key of the client certificate: {source}")]
    Access {
        /// The file of the key.
        path: PathBuf,
        /// Who can, and where.
        source: AccessError,
    },
    /// A file does not hold what it should.
    #[error("{path} holds no {wanted} in PEM", path = .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
    },
    /// The two do not go together, or the key is of a kind that is not signed with.
    #[error("the client certificate {path} and the key {key} cannot be used together: {why}", path = .path.display(),
        key = .key.display())]
    Unusable {
        /// The file of the certificate.
        path: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What the TLS library says.
        why: rustls::Error,
    },
}

impl IdentityError {
    /// The file that cannot be used; the certificate where it and the key do not go together.
    pub fn path(&self) -> &Path {
        match self {
            Self::Read { path, .. }
            | Self::Access { path, .. }
            | Self::Content { path, .. }
            | Self::Unusable { path, .. } => path,
        }
    }
}

impl Identity {
    /// Reads both files. The key has to be that of the certificate, and nobody else may read it.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let chain = certificates(certificate)?;
        let unusable = |why| IdentityError::Unusable { path: certificate.to_owned(), key: key.to_owned(), why };
        let certified = CertifiedKey::from_der(chain, private_key(key)?, provider()).map_err(unusable)?;
        Ok(Self(Arc::new(SingleCertAndKey::from(certified))))
    }

    /// As the TLS library takes it.
    pub(super) fn resolver(&self) -> Arc<dyn ResolvesClientCert> {
        Arc::clone(&self.0)
    }
}

/// Neither certificate nor key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

/// The certificates of a file, the client's own first.
///
/// # Errors
/// When it cannot be read or holds none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let octets = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&octets).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(|| no(path, "certificate"))
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, IdentityError> {
    // As the key of the CA: root may have given it to a group of ours.
    Access::of_process().judge(path, Role::Secret).map_err(|error| match error {
        AccessError::Read { source, .. } => IdentityError::Read { path: path.to_owned(), source },
        source => IdentityError::Access { path: path.to_owned(), source },
    })?;
    let octets = Zeroizing::new(read(path)?);
    PrivateKeyDer::from_pem_slice(&octets).map_err(|_| no(path, "private key"))
}

fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    files::read(path, PEM_OCTETS_MAX).map_err(|source| IdentityError::Read { path: path.to_owned(), source })
}

fn no(path: &Path, wanted: &'static str) -> IdentityError {
    IdentityError::Content { path: path.to_owned(), wanted }
}
