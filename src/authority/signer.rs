//! One CA at work: it issues leaves, and keeps those that it has issued.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, ServerName};
use sha2::{Digest, Sha256};

use super::IssuedLeaf;
use super::cache::LeafCache;
use super::error::IssueError;
use super::issue::Issuer;
use super::keys::{KeyFamily, LeafKeyKind, LeafKeys};
use super::pair::CaPair;
use super::text;
use super::validity::{LeafLifetime, Validity, system_time};

/// The CA's key certified by another CA, for clients that know only that one.
pub(super) struct Cross {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) validity: Validity,
}

/// A CA that issues, with the leaves that it has issued.
pub(super) struct Signer {
    /// The issuing CA, then its parents if they are there.
    pub(super) certificates: Vec<CertificateDer<'static>>,
    /// The subject of the issuing CA, for readers.
    pub(super) subject: String,
    pub(super) issuer: Issuer,
    /// What goes behind a leaf: those of the certificates that are not self-issued.
    sent: Vec<CertificateDer<'static>>,
    /// What goes behind that while a rotation runs.
    cross: Option<Cross>,
    cache: LeafCache,
}

/// What a leaf depends on besides its name and its signer.
#[derive(Clone, Copy)]
pub(super) struct Wish {
    pub(super) kind: LeafKeyKind,
    pub(super) lifetime: LeafLifetime,
    pub(super) upstream_not_after: Option<SystemTime>,
    pub(super) now: SystemTime,
}

impl Signer {
    pub(super) fn new(pair: CaPair, cross: Option<Cross>, cache_entries: NonZeroUsize) -> Self {
        Self {
            certificates: pair.certificates,
            subject: pair.subject,
            issuer: pair.issuer,
            sent: pair.sent,
            cross,
            cache: LeafCache::new(cache_entries),
        }
    }

    /// A leaf, from the cache if it serves; see [`super::CertificateAuthority::leaf`].
    pub(super) fn leaf(
        &self,
        name: &ServerName<'_>,
        keys: &LeafKeys,
        wish: Wish,
    ) -> Result<Arc<IssuedLeaf>, IssueError> {
        let Wish { kind, lifetime, upstream_not_after, now } = wish;
        let fresh = self.issuer.validity().of_leaf(now, lifetime, upstream_not_after)?;
        let key = keys.get(kind)?;
        // One that has ended is shown to nobody: there are clients that look no further.
        let cross = self.cross.as_ref().filter(|cross| cross.validity.holds(now));
        let serves = |leaf: &IssuedLeaf| {
            leaf.is_crossed == cross.is_some() && leaf.validity.serves(now, upstream_not_after, fresh)
        };
        self.cache.get_or_issue(name, kind, serves, || {
            let (leaf, serial) = self.issuer.issue(name, &key.public_key, fresh)?;
            let behind = self.sent.iter().chain(cross.map(|cross| &cross.certificate)).cloned();
            let chain = std::iter::once(leaf).chain(behind).collect();
            Ok(IssuedLeaf {
                certified_key: Arc::new(CertifiedKey::new(chain, Arc::clone(&key.signing_key))),
                serial: serial.to_hex().into(),
                name: name.to_owned(),
                signed_with: self.key_family(),
                is_crossed: cross.is_some(),
                validity: fresh,
            })
        })
    }

    /// SHA-256 of the issuing certificate, as `openssl x509 -fingerprint -sha256` prints it.
    pub(super) fn fingerprint(&self) -> String {
        text::hex(&Sha256::digest(&self.certificates[0]), ":")
    }

    pub(super) fn not_after(&self) -> SystemTime {
        system_time(self.issuer.validity().not_after)
    }

    pub(super) fn key_family(&self) -> KeyFamily {
        self.issuer.key_family()
    }

    /// How many leaves are kept.
    pub(super) fn cached(&self) -> usize {
        self.cache.len()
    }
}
