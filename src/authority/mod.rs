//! The local certificate authority: certifies, towards the clients, the names that were verified upstream.
//!
//! [`load_or_create`] gets the CA from its directory; [`CertificateAuthority::leaf`] issues a leaf for one name, or
//! finds one issued before. The CA key signs leaves and nothing else; it is not logged, not shown by `Debug`, and not
//! readable by others on the disk. Leaves have keys of their own, made anew by every process.
//!
//! What a leaf says is fixed here and mirrors nothing of the upstream certificate but its end: one SAN, which is the
//! name asked for; keyUsage digitalSignature; extendedKeyUsage serverAuth; at most seven days.

mod cache;
mod error;
mod issue;
mod keys;
mod pair;
mod store;
mod text;
mod validity;

#[cfg(test)]
mod tests;

use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, ServerName};
use sha2::{Digest, Sha256};

use cache::LeafCache;
use issue::Issuer;
use keys::LeafKeys;
use pair::CaPair;
use validity::{Validity, system_time};

pub use error::{CaError, IssueError, LeafLifetimeError};
pub use keys::{KeyFamily, LeafKeyKind};
pub use store::{CERTIFICATE_FILE, KEY_FILE, Provenance, in_memory, load, load_or_create, peek};
pub use validity::LeafLifetime;

/// A certificate as a section of PEM, with a line break at its end.
pub fn certificate_pem(certificate: &CertificateDer<'_>) -> String {
    text::pem("CERTIFICATE", certificate).to_string()
}

/// What can be configured about leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a leaf is valid, when neither CA nor upstream certificate end earlier.
    pub leaf_lifetime: LeafLifetime,
    /// How many leaves are kept, about 2 KiB each.
    pub cache_entries: NonZeroUsize,
}

impl Default for Settings {
    /// Seven days, 10 000 leaves.
    fn default() -> Self {
        const ENTRIES: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();
        Self { leaf_lifetime: LeafLifetime::MAX, cache_entries: ENTRIES }
    }
}

/// A CA that can issue: certificate, key, the keys of its leaves, and a cache of them. Made by [`load_or_create`] and
/// [`load`].
pub struct CertificateAuthority {
    certificate_path: PathBuf,
    certificates: Vec<CertificateDer<'static>>,
    sent: Vec<CertificateDer<'static>>,
    subject: String,
    issuer: Issuer,
    leaf_keys: LeafKeys,
    leaf_lifetime: LeafLifetime,
    cache: LeafCache,
}

/// A leaf, ready for a handshake.
pub struct IssuedLeaf {
    /// The key, and the chain to send: the leaf, then those CA certificates that are not self-issued.
    pub certified_key: Arc<CertifiedKey>,
    /// The serial number as 32 upper-case hexadecimal digits, as `openssl x509 -serial` prints it.
    pub serial: Arc<str>,
    /// The one name it is good for.
    pub name: ServerName<'static>,
    validity: Validity,
}

impl CertificateAuthority {
    fn new(certificate_path: PathBuf, pair: CaPair, settings: Settings) -> Result<Self, CaError> {
        let leaf_keys = LeafKeys::generate().map_err(|error| CaError::Generate(error.to_string()))?;
        Ok(Self {
            certificate_path,
            certificates: pair.certificates,
            sent: pair.sent,
            subject: pair.subject,
            issuer: pair.issuer,
            leaf_keys,
            leaf_lifetime: settings.leaf_lifetime,
            cache: LeafCache::new(settings.cache_entries),
        })
    }

    /// A leaf for `name`, which must be in canonical form (a DNS name in lower case without trailing dot). It is valid
    /// at `now`, and ends no later than `upstream_not_after`, the end of the upstream certificate if there is one.
    ///
    /// Blocks for the signature of the CA key (15 µs with P-256, 1.3 ms with RSA-4096) when no leaf is in the cache,
    /// or while another caller issues the same; and for the generation of the RSA key when it is needed and
    /// [`CertificateAuthority::prepare_rsa`] has not returned yet.
    pub fn leaf(
        &self,
        name: &ServerName<'_>,
        kind: LeafKeyKind,
        upstream_not_after: Option<SystemTime>,
        now: SystemTime,
    ) -> Result<Arc<IssuedLeaf>, IssueError> {
        // Before the cache, whose keys compare without regard to case.
        issue::verify_canonical(name)?;
        let fresh = self.issuer.validity().of_leaf(now, self.leaf_lifetime, upstream_not_after)?;
        let key = self.leaf_keys.get(kind)?;
        let serves = |leaf: &IssuedLeaf| leaf.validity.serves(now, upstream_not_after, fresh);
        self.cache.get_or_issue(name, kind, serves, || {
            let (leaf, serial) = self.issuer.issue(name, &key.public_key, fresh)?;
            let chain = std::iter::once(leaf).chain(self.sent.iter().cloned()).collect();
            Ok(IssuedLeaf {
                certified_key: Arc::new(CertifiedKey::new(chain, Arc::clone(&key.signing_key))),
                serial: serial.to_hex().into(),
                name: name.to_owned(),
                validity: fresh,
            })
        })
    }

    /// Generates the RSA leaf key, unless it is there; takes 40 ms, seldom above 100 ms. To be called on a thread that
    /// may block, before the first client without ECDSA comes.
    pub fn prepare_rsa(&self) -> Result<(), IssueError> {
        self.leaf_keys.prepare_rsa()
    }

    /// The file that the certificates come from.
    pub fn certificate_path(&self) -> &Path {
        &self.certificate_path
    }

    /// The CA certificates, DER: the issuing one, then its parents as far as the file has them. None of them may be a
    /// trust anchor towards upstream: who can have leaves issued could otherwise impersonate upstreams.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// The CA certificates as PEM, for clients to trust. Encoded anew: whatever else is in the file stays there.
    pub fn certificate_pem(&self) -> String {
        self.certificates.iter().map(certificate_pem).collect()
    }

    /// SHA-256 of the issuing certificate, as `openssl x509 -fingerprint -sha256` prints it: `AB:CD:…`.
    pub fn fingerprint_sha256(&self) -> String {
        text::hex(&Sha256::digest(&self.certificates[0]), ":")
    }

    /// The subject of the issuing certificate, for readers.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What a client must be able to verify to accept a leaf.
    pub fn key_family(&self) -> KeyFamily {
        self.issuer.key_family()
    }

    /// The last moment at which the issuing certificate is valid.
    pub fn not_after(&self) -> SystemTime {
        system_time(self.issuer.validity().not_after)
    }

    /// How many leaves the CA key has signed since the start.
    pub fn leaves_issued(&self) -> u64 {
        self.issuer.signatures()
    }

    /// How many leaves are in the cache.
    pub fn leaves_cached(&self) -> usize {
        self.cache.len()
    }
}

impl IssuedLeaf {
    /// The first moment at which the leaf is valid.
    pub fn not_before(&self) -> SystemTime {
        system_time(self.validity.not_before)
    }

    /// The last moment at which the leaf is valid.
    pub fn not_after(&self) -> SystemTime {
        system_time(self.validity.not_after)
    }
}

impl fmt::Debug for CertificateAuthority {
    /// Names the CA, without its key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CertificateAuthority")
            .field("certificate_path", &self.certificate_path)
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for IssuedLeaf {
    /// Names the leaf, without its key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("IssuedLeaf")
            .field("name", &self.name)
            .field("serial", &self.serial)
            .finish_non_exhaustive()
    }
}
