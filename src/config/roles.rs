//! What a key is for: as it was declared, as a certificate shows it, as Mozilla's list has it.

use super::item::Word;
use super::span::Span;
use crate::policy::pin::{Pin, Sha256};
use sha2::{Digest as _, Sha256 as Hasher};
use std::collections::HashMap;
use std::sync::LazyLock;
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Version};

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Leaf,
    Intermediate,
    Root,
}

pub(super) const ROLES: &[Word<Role>] =
    &[("leaf", Some(Role::Leaf)), ("intermediate", Some(Role::Intermediate)), ("root", Some(Role::Root))];

/// What a certificate shows of the key in it (RFC 5280 section 4.2.1.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It must not issue certificates.
    EndEntity,
    /// It is an authority, and another one has issued it.
    Intermediate,
    /// It is an authority, and its own issuer: a root, or a host that has made its certificate itself.
    SelfIssued,
}

impl Standing {
    /// `None` where the certificate does not say, as before version 3, or contradicts itself.
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Option<Self> {
        if certificate.version() != X509Version::V3 {
            return None;
        }
        let is_authority = certificate.basic_constraints().ok()?.is_some_and(|basic| basic.value.ca);
        let signs = certificate.key_usage().ok()?.is_some_and(|usage| usage.value.key_cert_sign());
        let self_issued = certificate.subject().as_raw() == certificate.issuer().as_raw();
        match (is_authority, signs, self_issued) {
            (true, _, true) => Some(Self::SelfIssued),
            (true, _, false) => Some(Self::Intermediate),
            (false, false, _) => Some(Self::EndEntity),
            (false, true, _) => None,
        }
    }
}

/// A role that a key cannot have.
pub(super) struct Contradiction {
    /// The one that it has.
    pub(super) is: Role,
    /// How that is known.
    pub(super) because: &'static str,
}

impl Role {
    const fn word(self) -> &'static str {
        match self {
            Self::Leaf => "leaf",
            Self::Intermediate => "intermediate",
            Self::Root => "root",
        }
    }

    /// Whether what is known of the key contradicts the role. A host may be its own authority, and the key of a root may
    /// have been signed by another one: neither does.
    pub(super) fn contradicted(self, pin: &Pin, standing: Option<Standing>) -> Option<Contradiction> {
        let (is, because) = match (self, standing) {
            (Self::Leaf, _) if is_public_root(pin) => (Self::Root, "it is the pin of a root in Mozilla's list"),
            (Self::Leaf, Some(Standing::Intermediate)) => {
                (Self::Intermediate, "its certificate is that of an authority (CA:TRUE)")
            }
            (Self::Intermediate | Self::Root, Some(Standing::EndEntity)) => {
                (Self::Leaf, "its certificate is that of no authority (no CA:TRUE)")
            }
            (Self::Root, Some(Standing::Intermediate)) if !is_public_root(pin) => {
                (Self::Intermediate, "its certificate is issued by another authority")
            }
            _ => return None,
        };
        Some(Contradiction { is, because })
    }
}

/// An entry of a list of pins.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListedPin {
    pub(super) pin: Pin,
    /// The key of a certificate, where a file has told it.
    pub(super) key_of_certificate: Option<Sha256>,
    /// Where a file has told it.
    pub(super) standing: Option<Standing>,
    /// Known of named keys only, and only where it was written. It does not contradict the rest.
    pub(super) role: Option<Role>,
    pub(super) span: Span,
}

impl ListedPin {
    /// The key that has to be there for the pin to match, as far as it is known.
    pub(super) fn key(&self) -> Option<Sha256> {
        match self.pin {
            Pin::Spki(digest) => Some(digest),
            Pin::Certificate(_) => self.key_of_certificate.or_else(|| PUBLIC_ROOTS.get(&self.pin).copied()),
        }
    }

    pub(super) fn is_end_entity(&self) -> bool {
        self.role == Some(Role::Leaf) || self.standing == Some(Standing::EndEntity)
    }

    /// Of an authority and of no host. Of what is its own issuer that has to be said.
    pub(super) fn is_authority(&self) -> bool {
        matches!(self.role, Some(Role::Intermediate | Role::Root))
            || self.standing == Some(Standing::Intermediate)
            || is_public_root(&self.pin)
    }

    pub(super) fn is_intermediate(&self) -> bool {
        let shown = self.role.is_none() && self.standing == Some(Standing::Intermediate);
        (shown || self.role == Some(Role::Intermediate)) && !is_public_root(&self.pin)
    }

    /// Why it is taken for that of a root, if so; whether it is in Mozilla's list is not looked at.
    pub(super) fn root_because(&self) -> Option<&'static str> {
        match (self.role, self.standing) {
            (Some(Role::Root), _) => Some("declared as a root"),
            (None, Some(Standing::SelfIssued)) => Some("that of a self-issued authority"),
            _ => None,
        }
    }

    /// What is known of it, in words.
    pub(super) fn described(&self) -> String {
        match (self.role, self.standing) {
            (Some(role), _) => format!("a key with the role {}", role.word()),
            (None, _) if is_public_root(&self.pin) => "the pin of a root in Mozilla's list".to_owned(),
            (None, Some(Standing::EndEntity)) => "the key of a certificate without CA:TRUE".to_owned(),
            (None, Some(Standing::Intermediate | Standing::SelfIssued)) => {
                "the key of a certificate with CA:TRUE".to_owned()
            }
            (None, None) => "a key".to_owned(),
        }
    }
}

/// The keys of the roots in Mozilla's list, by their pins: that of the key, and that of the certificate.
static PUBLIC_ROOTS: LazyLock<HashMap<Pin, Sha256>> = LazyLock::new(|| {
    let digest = |octets: &[u8]| -> Sha256 { Hasher::digest(octets).into() };
    let pins = TLS_SERVER_ROOT_CERTS.iter().filter_map(|der| {
        let (_, root) = X509Certificate::from_der(der).ok()?;
        let key = digest(root.public_key().raw);
        Some([(Pin::Spki(key), key), (Pin::Certificate(digest(der)), key)])
    });
    pins.flatten().collect()
});

/// Whether this is the key, or the certificate, of a root in the list of Mozilla.
pub(super) fn is_public_root(pin: &Pin) -> bool {
    PUBLIC_ROOTS.contains_key(pin)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of a public root may stand in a certificate that another root has issued.
    #[test]
    fn what_is_known_of_a_public_root_counts() {
        let public = Pin::parse("sha256/C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M=").unwrap();
        let private = Pin::Spki([7; 32]);
        let table = [
            (Role::Leaf, &public, None, Some(Role::Root)),
            (Role::Leaf, &public, Some(Standing::SelfIssued), Some(Role::Root)),
            (Role::Intermediate, &public, None, None),
            (Role::Root, &public, None, None),
            (Role::Root, &public, Some(Standing::Intermediate), None),
            (Role::Root, &private, Some(Standing::Intermediate), Some(Role::Intermediate)),
            (Role::Leaf, &private, None, None),
        ];
        for (role, pin, standing, is) in table {
            let found = role.contradicted(pin, standing).map(|found| found.is);
            assert_eq!(found, is, "{role:?} {pin} {standing:?}");
        }
        let listed = |pin: Pin, role| ListedPin {
            pin,
            key_of_certificate: None,
            standing: Some(Standing::Intermediate),
            role,
            span: Span::new(super::super::span::FileId::default(), 0..0),
        };
        assert!(!listed(public, None).is_intermediate() && !listed(public, Some(Role::Intermediate)).is_intermediate());
        assert!(listed(private, None).is_intermediate());
    }

    /// Every root of the list has its two pins.
    #[test]
    fn public_roots_are_known_by_key_and_by_certificate() {
        let certificates = PUBLIC_ROOTS.keys().filter(|pin| matches!(pin, Pin::Certificate(_))).count();
        assert_eq!(certificates, TLS_SERVER_ROOT_CERTS.len());
        assert!(PUBLIC_ROOTS.values().all(|key| PUBLIC_ROOTS.get(&Pin::Spki(*key)) == Some(key)));
    }
}
