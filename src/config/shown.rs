//! What certificates show of keys: which key is in which of them, what it is for, and when the certificate ends. It holds
//! for a digest wherever a text gives it.

use super::roles::is_public_root;
use crate::policy::pin::{Pin, Sha256};
use sha2::{Digest as _, Sha256 as Hasher};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Version};

/// What certificates show of the key in them (RFC 5280 section 4.2.1.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It must not issue certificates, and another one has issued its certificate.
    EndEntity,
    /// It is an authority, and another one has issued its certificate.
    Intermediate,
    /// It is an authority, and its own issuer: a root, or a host that has made its certificate itself.
    SelfIssued,
    /// It is an authority with certificates of both kinds.
    CrossSigned,
}

impl Standing {
    /// `None` where the certificate does not say, as before version 3, or contradicts itself. One that issued itself and
    /// is no authority may be a host's, or a trust anchor: RFC 5280 section 6.1.1 asks nothing of an anchor's certificate.
    fn of(certificate: &X509Certificate<'_>) -> Option<Self> {
        if certificate.version() != X509Version::V3 {
            return None;
        }
        let is_authority = certificate.basic_constraints().ok()?.is_some_and(|basic| basic.value.ca);
        let signs = certificate.key_usage().ok()?.is_some_and(|usage| usage.value.key_cert_sign());
        let self_issued = certificate.subject().as_raw() == certificate.issuer().as_raw();
        match (is_authority, signs, self_issued) {
            (true, _, true) => Some(Self::SelfIssued),
            (true, _, false) => Some(Self::Intermediate),
            (false, false, false) => Some(Self::EndEntity),
            (false, ..) => None,
        }
    }

    /// Whether its certificates are those of an authority (CA:TRUE).
    pub const fn is_authority(self) -> bool {
        matches!(self, Self::Intermediate | Self::SelfIssued | Self::CrossSigned)
    }
}

/// What one certificate shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shows {
    /// SHA-256 of the certificate.
    pub(super) digest: Sha256,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub(super) key: Sha256,
    pub(super) not_after: SystemTime,
    standing: Option<Standing>,
}

impl Shows {
    pub(super) fn of(der: &[u8], certificate: &X509Certificate<'_>) -> Self {
        let seconds = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
        Self {
            digest: digest(der),
            key: digest(certificate.public_key().raw),
            not_after: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
            standing: Standing::of(certificate),
        }
    }
}

/// What a number of certificates and public keys show.
#[derive(Debug, Default)]
pub struct Shown {
    /// What the certificates of each key say of it.
    keys: HashMap<Sha256, HashSet<Option<Standing>>>,
    certificates: HashMap<Sha256, Shows>,
}

impl Shown {
    /// What these certificates show; what is none shows nothing.
    pub fn by<'d>(certificates: impl IntoIterator<Item = &'d [u8]>) -> Self {
        let mut shown = Self::default();
        for der in certificates {
            if let Ok((_, certificate)) = X509Certificate::from_der(der) {
                shown.add(Shows::of(der, &certificate));
            }
        }
        shown
    }

    pub(super) fn add(&mut self, shows: Shows) {
        self.keys.entry(shows.key).or_default().insert(shows.standing);
        self.certificates.insert(shows.digest, shows);
    }

    /// A public key without a certificate says nothing of itself.
    pub(super) fn add_key(&mut self, key: Sha256) {
        self.keys.entry(key).or_default();
    }

    /// What is known of the key, or of the certificate, that a pin names. Certificates of one key that do not agree show
    /// nothing of it.
    pub fn standing(&self, pin: &Pin) -> Option<Standing> {
        let key = match pin {
            Pin::Certificate(digest) => return self.certificates.get(digest)?.standing,
            Pin::Spki(key) => self.keys.get(key)?,
        };
        let has = |standing| key.contains(&Some(standing));
        match (has(Standing::EndEntity), has(Standing::Intermediate), has(Standing::SelfIssued)) {
            _ if key.contains(&None) => None,
            (true, false, false) => Some(Standing::EndEntity),
            (false, true, false) => Some(Standing::Intermediate),
            (false, false, true) => Some(Standing::SelfIssued),
            (false, true, true) => Some(Standing::CrossSigned),
            _ => None,
        }
    }

    /// The certificate that a pin names.
    pub(super) fn certificate(&self, pin: &Pin) -> Option<&Shows> {
        match pin {
            Pin::Certificate(digest) => self.certificates.get(digest),
            Pin::Spki(_) => None,
        }
    }

    /// What is wrong with a pin whose digest is known to be one of the other kind, and what to do.
    pub fn mistaken(&self, pin: &Pin) -> Option<(&'static str, &'static str)> {
        match pin {
            Pin::Spki(digest) => {
                let known = self.certificates.contains_key(digest) || is_public_root(&Pin::Certificate(*digest));
                let help = "pin the key, as sha256/BASE64 of its SHA-256; or write cert:sha256:HEX in a list, and cert \
                            under [keys], if the certificate is meant";
                known.then_some(("this is the digest of a whole certificate, not of its key", help))
            }
            Pin::Certificate(digest) => {
                let known = self.keys.contains_key(digest) || is_public_root(&Pin::Spki(*digest));
                let help = "write sha256/BASE64 in a list, and spki under [keys]: the key is the better pin";
                known.then_some(("this is the digest of a key, not of a certificate", help))
            }
        }
    }
}

pub(super) fn digest(octets: &[u8]) -> Sha256 {
    Hasher::digest(octets).into()
}
