//! Who signs, who follows, and until when clients get along with either: for operators.

use std::time::SystemTime;

use super::signer::Signer;
use super::store::{Following, Loaded};
use super::text::hex;
use super::validity::system_time;
use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

/// A CA, as operators know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its subject, for readers.
    pub subject: String,
    /// SHA-256 of its certificate, as `openssl x509 -fingerprint -sha256` prints it: `AB:CD:…`.
    pub fingerprint: String,
    /// The last moment at which it is valid.
    pub not_after: SystemTime,
}

impl Known {
    pub(super) fn of(signer: &Signer) -> Self {
        let (subject, fingerprint) = (signer.subject.clone(), signer.fingerprint());
        Self { subject, fingerprint, not_after: signer.not_after() }
    }
}

/// A CA, and the one that follows on it: what its files say, whatever the time is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// The CA of `ca.pem`.
    pub current: Known,
    /// The rotation, while one runs.
    pub rotation: Option<Rotating>,
}

/// A rotation that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotating {
    /// The CA that follows.
    pub next: Known,
    /// From when on it signs.
    pub from: SystemTime,
    /// Until when a client that knows the current CA alone gets along, if the rotation is not finished before.
    pub old_until: SystemTime,
    /// Whether both have one name, because the current one lets no CA be below it: see [`super::begin`].
    pub is_of_one_name: bool,
}

impl Outlook {
    pub(super) fn of(loaded: &Loaded) -> Self {
        let known = |certificate: &CertificateDer<'_>, subject: &str, not_after: i64| Known {
            subject: subject.to_owned(),
            fingerprint: hex(&Sha256::digest(certificate), ":"),
            not_after: system_time(not_after),
        };
        let Loaded { pair, following, .. } = loaded;
        let rotation =
            following.as_ref().map(|Following { pair: next, rotation, crosses: [_, next_by_current] }| Rotating {
                next: known(&next.certificates[0], &next.subject, next.issuer.validity().not_after),
                from: rotation.from(),
                old_until: system_time(next_by_current.validity.not_after),
                is_of_one_name: next.subject == pair.subject,
            });
        Self { current: known(&pair.certificates[0], &pair.subject, pair.issuer.validity().not_after), rotation }
    }
}

/// Who signs at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The CA that signs.
    pub signing: Known,
    /// The rotation, while one runs.
    pub rotation: Option<Other>,
}

/// The CA of a rotation that does not sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// That CA.
    pub ca: Known,
    /// From when on the next one signs.
    pub from: SystemTime,
    /// Whether it does, so that the other is the one that was.
    pub has_taken_over: bool,
}
