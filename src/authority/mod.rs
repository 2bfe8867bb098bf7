//! The local certificate authority: certifies, towards the clients, the names that were verified upstream.
//!
//! [`load_or_create`] gets the CA from its directory; [`CertificateAuthority::leaf`] issues a leaf for one name, or
//! finds one issued before. The CA key signs leaves, and the key of the other CA of a rotation, and nothing else; it is not
//! logged, not shown by `Debug`, and not readable by others on the disk. Leaves have keys of their own, made anew by every
//! process.
//!
//! While a rotation runs ([`begin`], [`finish`], [`abort`]) there are two CAs, of which the next one signs from a date on; each
//! certifies the key of the other, and whoever knows one of them alone gets along.
//!
//! What a leaf says is fixed here and mirrors nothing of the upstream certificate but its end: one SAN, which is the
//! name asked for; keyUsage digitalSignature; extendedKeyUsage serverAuth; at most seven days.

mod cache;
mod error;
mod flaws;
mod issue;
mod keys;
mod look;
mod make;
mod next;
mod pair;
mod refusal;
mod rotate;
mod rotation;
mod signer;
mod standing;
mod store;
mod text;
mod validity;
mod write;

#[cfg(test)]
mod tests;

use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, ServerName};

use crate::policy::moment::Moment;
use keys::LeafKeys;
use next::Next;
use signer::{Signer, Wish};
use store::{Following, Loaded};
use validity::{Validity, system_time};

pub use error::{CaError, IssueError, LeafLifetimeError};
pub use flaws::{Flaw, flaws};
pub use keys::{KeyFamily, LeafKeyKind};
pub use look::sight;
pub use make::Algorithm;
pub use refusal::RotateError;
pub use rotate::{OVERLAP_MIN, abort, begin, finish, outlook};
pub use rotation::{
    FILES, NEXT_CERTIFICATE_FILE, NEXT_KEY_FILE, PREVIOUS_CERTIFICATE_FILE, ROTATION_FILE, RotationError, Sight, files,
};
pub use standing::{Known, Other, Outlook, Rotating, Standing};
pub use store::{CERTIFICATE_FILE, KEY_FILE, Provenance, in_memory, load, load_or_create};
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

/// When a leaf is issued.
#[derive(Clone, Copy, Debug)]
pub struct When {
    /// What the wall clock says: the leaf is valid then.
    pub now: SystemTime,
    /// What is known about the time: it decides which CA of a rotation signs.
    pub moment: Moment,
}

/// By a clock that nobody doubts.
impl From<SystemTime> for When {
    fn from(now: SystemTime) -> Self {
        Self { now, moment: Moment::at(now) }
    }
}

/// A CA that can issue: certificate, key, the keys of its leaves, and a cache of them; and while a rotation runs the same of
/// the CA that follows. Made by [`load_or_create`] and [`load`].
pub struct CertificateAuthority {
    certificate_path: PathBuf,
    sight: Sight,
    current: Signer,
    next: Option<Next>,
    leaf_keys: LeafKeys,
    leaf_lifetime: LeafLifetime,
}

/// A leaf, ready for a handshake.
pub struct IssuedLeaf {
    /// The key, and the chain to send: the leaf, then those CA certificates that are not self-issued, then while a rotation
    /// runs the one that leads to the other CA.
    pub certified_key: Arc<CertifiedKey>,
    /// The serial number as 32 upper-case hexadecimal digits, as `openssl x509 -serial` prints it.
    pub serial: Arc<str>,
    /// The one name it is good for.
    pub name: ServerName<'static>,
    /// What a client must be able to verify to accept it.
    pub signed_with: KeyFamily,
    is_crossed: bool,
    validity: Validity,
}

impl CertificateAuthority {
    fn new(loaded: Loaded, settings: Settings) -> Result<Self, CaError> {
        let Loaded { certificate_path, pair, following, sight } = loaded;
        let leaf_keys = LeafKeys::generate().map_err(|error| CaError::Generate(error.to_string()))?;
        let entries = settings.cache_entries;
        let (cross, next) = match following {
            None => (None, None),
            Some(Following { pair, rotation, crosses: [current_by_next, next_by_current] }) => {
                let signer = Signer::new(pair, Some(next_by_current), entries);
                (Some(current_by_next), Some(Next::new(signer, rotation.from())))
            }
        };
        Ok(Self {
            certificate_path,
            sight,
            current: Signer::new(pair, cross, entries),
            next,
            leaf_keys,
            leaf_lifetime: settings.leaf_lifetime,
        })
    }

    /// A leaf for `name`, which must be in canonical form (a DNS name in lower case without trailing dot). It is valid
    /// at `at`, and ends no later than `upstream_not_after`, the end of the upstream certificate if there is one.
    ///
    /// Blocks for the signature of the CA key (15 µs with P-256, 1.3 ms with RSA-4096) when no leaf is in the cache,
    /// or while another caller issues the same; and for the generation of the RSA key when it is needed and
    /// [`CertificateAuthority::prepare_rsa`] has not returned yet.
    pub fn leaf(
        &self,
        name: &ServerName<'_>,
        kind: LeafKeyKind,
        upstream_not_after: Option<SystemTime>,
        at: impl Into<When>,
    ) -> Result<Arc<IssuedLeaf>, IssueError> {
        // Before the cache, whose keys compare without regard to case.
        issue::verify_canonical(name)?;
        let When { now, moment } = at.into();
        let wish = Wish { kind, lifetime: self.leaf_lifetime, upstream_not_after, now };
        self.signer(moment).leaf(name, &self.leaf_keys, wish)
    }

    /// The CA that signs at a moment.
    fn signer(&self, moment: Moment) -> &Signer {
        match &self.next {
            Some(next) if next.signs(moment, self.current.not_after()) => &next.signer,
            _ => &self.current,
        }
    }

    /// Who signs at a moment, for operators.
    pub fn standing(&self, moment: Moment) -> Standing {
        let Some(next) = &self.next else {
            return Standing { signing: Known::of(&self.current), rotation: None };
        };
        let has_taken_over = next.signs(moment, self.current.not_after());
        let both = (Known::of(&self.current), Known::of(&next.signer));
        let (signing, ca) = if has_taken_over { (both.1, both.0) } else { both };
        Standing { signing, rotation: Some(Other { ca, from: next.from, has_taken_over }) }
    }

    /// A sentence when the next CA has begun to sign, once.
    pub fn news(&self, moment: Moment) -> Option<String> {
        let next = self.next.as_ref().filter(|next| next.signs(moment, self.current.not_after()))?;
        next.news()
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

    /// What was read, for comparison with what is there.
    pub fn sight(&self) -> &Sight {
        &self.sight
    }

    /// All certificates of our own, DER: the CA's, then its parents as far as the file has them, then the CA that follows and
    /// the one that was before. None of them may be a trust anchor towards upstream: who can have leaves issued could
    /// otherwise impersonate upstreams.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        self.sight.certificates()
    }

    /// The certificates that clients are to trust: the CA's, and while a rotation runs the next one's.
    pub fn trusted(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        let next = self.next.iter().flat_map(|next| &next.signer.certificates);
        self.current.certificates.iter().chain(next)
    }

    /// The same as PEM. Encoded anew: whatever else is in the files stays there.
    pub fn certificate_pem(&self) -> String {
        self.trusted().map(certificate_pem).collect()
    }

    /// SHA-256 of the certificate of `ca.pem`, as `openssl x509 -fingerprint -sha256` prints it: `AB:CD:…`.
    pub fn fingerprint_sha256(&self) -> String {
        self.current.fingerprint()
    }

    /// The subject of the certificate of `ca.pem`, for readers.
    pub fn subject(&self) -> &str {
        &self.current.subject
    }

    /// What a client must be able to verify to accept a leaf of the CA of `ca.pem`.
    pub fn key_family(&self) -> KeyFamily {
        self.current.key_family()
    }

    /// The last moment at which the certificate of `ca.pem` is valid.
    pub fn not_after(&self) -> SystemTime {
        self.current.not_after()
    }

    /// How many leaves the CA keys have signed since the start.
    pub fn leaves_issued(&self) -> u64 {
        self.signers().map(|signer| signer.issuer.signatures()).sum()
    }

    /// How many leaves are in the cache.
    pub fn leaves_cached(&self) -> usize {
        self.signers().map(Signer::cached).sum()
    }

    fn signers(&self) -> impl Iterator<Item = &Signer> {
        std::iter::once(&self.current).chain(self.next.iter().map(|next| &next.signer))
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
            .field("subject", &self.current.subject)
            .field("next", &self.next.as_ref().map(|next| &next.signer.subject))
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
