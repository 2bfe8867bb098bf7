//! What a key is for: as it was declared, as certificates show it, as Mozilla's list has it.

use super::item::Word;
use super::shown::{Standing, digest};
use super::span::Span;
use crate::policy::pin::{Pin, Sha256};
use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::SystemTime;
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Leaf,
    Intermediate,
    Root,
}

pub(super) const ROLES: &[Word<Role>] =
    &[("leaf", Some(Role::Leaf)), ("intermediate", Some(Role::Intermediate)), ("root", Some(Role::Root))];

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

    /// Whether what is known of the key contradicts the role. The certificate of an authority does not: a host may show
    /// one as its own, and the key of a root may have been signed by another one.
    pub(super) fn contradicted(self, pin: &Pin, standing: Option<Standing>) -> Option<Contradiction> {
        let (is, because) = match (self, standing) {
            (Self::Leaf, _) if is_public_root(pin) => (Self::Root, "it is the pin of a root in Mozilla's list"),
            (Self::Intermediate | Self::Root, Some(Standing::EndEntity)) => {
                (Self::Leaf, "its certificate is that of no authority (no CA:TRUE)")
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
    /// When a certificate ends, where a file has told it.
    pub(super) certificate_ends: Option<SystemTime>,
    /// Where a file has told it.
    pub(super) standing: Option<Standing>,
    /// Known only where it was written, and as what is known contradicts it.
    pub(super) role: Option<Role>,
    /// Whether the role was written as another one, which has been reported.
    pub(super) role_refused: bool,
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

    /// Whether its certificate is that of an authority, whatever it was declared to be.
    pub(super) fn shows_authority(&self) -> bool {
        self.standing.is_some_and(Standing::is_authority)
    }

    /// Of an authority and of no host. Of what is its own issuer that has to be said.
    pub(super) fn is_authority(&self) -> bool {
        matches!(self.role, Some(Role::Intermediate | Role::Root))
            || (self.role.is_none() && self.standing == Some(Standing::Intermediate))
            || is_public_root(&self.pin)
    }

    pub(super) fn is_intermediate(&self) -> bool {
        let shown = self.role.is_none() && self.standing == Some(Standing::Intermediate);
        (shown || self.role == Some(Role::Intermediate)) && !is_public_root(&self.pin)
    }

    /// Why it is taken for that of a root which has to be trusted for the pin to match, if so. Where another authority has
    /// signed its key, the chain may end there.
    pub(super) fn root_because(&self) -> Option<&'static str> {
        match (self.role, self.standing) {
            (Some(Role::Leaf | Role::Intermediate), _) | (_, Some(Standing::Intermediate | Standing::CrossSigned)) => {
                None
            }
            _ if is_public_root(&self.pin) => Some("a root of Mozilla's list"),
            (Some(Role::Root), _) => Some("declared as a root"),
            (None, Some(Standing::SelfIssued)) => Some("that of a self-issued authority"),
            _ => None,
        }
    }

    /// What is known of it, in words.
    pub(super) fn described(&self) -> String {
        let (whose, with) = match self.pin {
            Pin::Spki(_) => ("the key of a certificate", "a key"),
            Pin::Certificate(_) => ("a certificate", "a certificate"),
        };
        match (self.role, self.standing) {
            (Some(role), _) => format!("{with} with the role {}", role.word()),
            (None, _) if is_public_root(&self.pin) => "the pin of a root in Mozilla's list".to_owned(),
            (None, Some(Standing::EndEntity)) => format!("{whose} without CA:TRUE"),
            (None, Some(_)) => format!("{whose} with CA:TRUE"),
            (None, None) => with.to_owned(),
        }
    }
}

/// The keys of the roots in Mozilla's list, by their pins: that of the key, and that of the certificate.
static PUBLIC_ROOTS: LazyLock<HashMap<Pin, Sha256>> = LazyLock::new(|| {
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
            // A root that another one has signed, and a host that shows the certificate of an authority.
            (Role::Root, &private, Some(Standing::Intermediate), None),
            (Role::Leaf, &private, Some(Standing::Intermediate), None),
            (Role::Root, &private, Some(Standing::EndEntity), Some(Role::Leaf)),
            (Role::Leaf, &private, None, None),
        ];
        for (role, pin, standing, is) in table {
            let found = role.contradicted(pin, standing).map(|found| found.is);
            assert_eq!(found, is, "{role:?} {pin} {standing:?}");
        }
        let listed = |pin: Pin, role| ListedPin {
            pin,
            key_of_certificate: None,
            certificate_ends: None,
            standing: Some(Standing::Intermediate),
            role,
            role_refused: false,
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
