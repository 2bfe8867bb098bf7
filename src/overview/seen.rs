//! The keys that an upstream has shown, beside those that it should have shown.

use crate::policy::pin::Pin;
use crate::policy::pinset::Position;
use crate::policy::printable;
use crate::report::{Event, Violation};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// Pins of a pinset that are told with a violation; the rest is counted.
pub const EXPECTED_TOLD_MAX: usize = 20;

/// Certificates of a violation that are read: the path, and what was served.
const CERTIFICATES_READ_MAX: usize = 16;

/// Characters of a name in a certificate that are told. Who makes certificates chooses them.
const NAME_CHARACTERS_MAX: usize = 160;

/// What keys were read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SeenFrom {
    /// The path that was judged, the trust anchor last.
    Judged,
    /// What was served: no path came to be judged.
    Served,
    /// Nothing: the session was refused before anything was served.
    Nothing,
}

/// A key that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SeenKey {
    /// Where it stands: 0 is the end entity.
    pub position: usize,
    /// The subject of its certificate, where that is known.
    pub subject: Option<String>,
    /// The key as a pin.
    pub pin: Pin,
    /// Its certificate as a pin, where that is known.
    pub certificate: Option<Pin>,
    /// Whether the pinset names it: then it stands where it must not, or lacks another key beside it.
    pub pinned: bool,
}

/// A key that is pinned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExpectedKey {
    /// The pin.
    pub pin: Pin,
    /// Where it has to stand.
    pub position: Position,
    /// Whether it was seen, wherever it stood.
    pub seen: bool,
}

/// What a certificate tells.
struct Read {
    key: Pin,
    certificate: Pin,
    subject: String,
}

/// The keys of the path that was judged; of what was served, where there was none.
pub(super) fn keys(event: &Event, violation: &Violation) -> (SeenFrom, Vec<SeenKey>) {
    let certificates = violation.validated.iter().chain(&violation.served).take(CERTIFICATES_READ_MAX);
    let read: Vec<Read> = certificates.filter_map(|der| Read::of(der)).collect();
    let is_pinned = |pin: &Pin| violation.expected.iter().any(|(_, expected)| expected == pin);
    let told = |position, pin: Pin, read: Option<&Read>| SeenKey {
        position,
        subject: read.map(|read| read.subject.clone()),
        pin,
        certificate: read.map(|read| read.certificate),
        pinned: is_pinned(&pin) || read.is_some_and(|read| is_pinned(&read.certificate)),
    };
    if event.seen_pins.is_empty() {
        let from = if read.is_empty() { SeenFrom::Nothing } else { SeenFrom::Served };
        return (from, read.iter().enumerate().map(|(position, read)| told(position, read.key, Some(read))).collect());
    }
    // By its key, not by its place: of a trust anchor the key alone may be known.
    let known = |pin: &Pin| read.iter().find(|read| read.key == *pin);
    let pins = event.seen_pins.iter().enumerate();
    (SeenFrom::Judged, pins.map(|(position, pin)| told(position, *pin, known(pin))).collect())
}

/// The pins of the pinset, and how many of them are left out.
pub(super) fn expected(seen: &[SeenKey], violation: &Violation) -> (Vec<ExpectedKey>, usize) {
    let is_seen = |pin: &Pin| seen.iter().any(|key| key.pin == *pin || key.certificate.as_ref() == Some(pin));
    let all = violation.expected.iter();
    let told = all.map(|(position, pin)| ExpectedKey { pin: *pin, position: *position, seen: is_seen(pin) });
    (told.take(EXPECTED_TOLD_MAX).collect(), violation.expected.len().saturating_sub(EXPECTED_TOLD_MAX))
}

impl Read {
    /// `None` for what is no certificate.
    fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(Self {
            key: Pin::Spki(Sha256::digest(certificate.public_key().raw).into()),
            certificate: Pin::Certificate(Sha256::digest(der).into()),
            subject: subject(&certificate),
        })
    }
}

/// The subject, or where there is none, as with many end entities, the first name that the certificate is for.
fn subject(certificate: &X509Certificate<'_>) -> String {
    let subject = certificate.subject().to_string();
    if !subject.is_empty() {
        return tellable(&subject);
    }
    let names = certificate.subject_alternative_name().ok().flatten();
    let mut names = names.iter().flat_map(|names| &names.value.general_names);
    let first = names.find_map(|name| match name {
        GeneralName::DNSName(name) => Some(format!("for {}", tellable(name))),
        _ => None,
    });
    first.unwrap_or_else(|| "without a name".to_owned())
}

fn tellable(text: &str) -> String {
    printable::tellable(text, NAME_CHARACTERS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_somebody_else_has_chosen() {
        let long = "x".repeat(NAME_CHARACTERS_MAX);
        let table = [
            ("CN=Bank", "CN=Bank"),
            ("a\nb\u{202e}c\u{2066}d\0", "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}"),
            ("a\u{e0001}b\u{ad}c", "a\u{fffd}b\u{fffd}c"),
            (&long, &long),
            (&format!("{long}y"), &format!("{long}…")),
        ];
        for (text, expected) in table {
            assert_eq!(tellable(text), expected);
        }
    }

    #[test]
    fn what_is_no_certificate_tells_nothing() {
        for der in [&b""[..], b"\x30\x00", b"\x30\x82\xff\xff", &[0xff; 64]] {
            assert!(Read::of(der).is_none(), "{der:?}");
        }
    }
}
