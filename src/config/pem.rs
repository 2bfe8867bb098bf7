//! `pem` of a key: a file with one certificate or one public key, PEM or DER.

use super::code::Code;
use super::item::Item;
use super::outside::{Kind, Outside};
use super::shown::{Shown, Shows, digest};
use super::span::Span;
use crate::policy::pin::{Pin, RSA_BITS_VERIFIED, Sha256, rsa_bits};
use rustls_pki_types::pem::{PemObject as _, SectionKind};
use x509_parser::prelude::{FromDer as _, SubjectPublicKeyInfo, X509Certificate};
use x509_parser::public_key::PublicKey;

/// Largest file with a certificate or a key, in octets.
pub(super) const KEY_FILE_OCTETS_MAX: usize = 1 << 20;

const HELP: &str = "name a file with one certificate or one public key in it, PEM or DER";

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct KeyFile {
    /// SHA-256 of its SubjectPublicKeyInfo.
    spki: Sha256,
    /// Absent when it holds a public key alone.
    certificate: Option<Shows>,
}

/// Why a file is not taken. Its content is never told: it may be a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum KeyFileError {
    #[error("holds a private key")]
    PrivateKey,
    #[error("holds more than one certificate or public key")]
    Several,
    #[error("holds no certificate and no public key that can be read")]
    Unreadable,
}

/// The file of a key.
pub(super) struct Pem<'a> {
    item: Item<'a>,
    /// Absent when something is wrong with it, which has been reported.
    file: Option<KeyFile>,
}

impl<'a> Pem<'a> {
    /// Reads the file, and reports what is wrong with it.
    pub(super) fn load(item: Item<'a>, outside: &dyn Outside) -> Self {
        let file = read(&item, outside);
        Self { item, file }
    }

    pub(super) fn span(&self) -> Span {
        self.item.span()
    }

    /// SHA-256 of its SubjectPublicKeyInfo.
    pub(super) fn key(&self) -> Option<Sha256> {
        self.file.map(|file| file.spki)
    }

    /// Adds what it shows.
    pub(super) fn show(&self, shown: &mut Shown) {
        match self.file {
            Some(KeyFile { certificate: Some(shows), .. }) => shown.add(shows),
            Some(KeyFile { spki, certificate: None }) => shown.add_key(spki),
            None => {}
        }
    }

    /// The pin that stands beside the file, unless they contradict each other.
    pub(super) fn confirm(&self, pin: Pin, written: &Item<'_>) -> Option<Pin> {
        let file = self.file?;
        let of_file = match pin {
            Pin::Spki(_) => Some(Pin::Spki(file.spki)),
            Pin::Certificate(_) => file.certificate.map(|shows| Pin::Certificate(shows.digest)),
        };
        if of_file == Some(pin) {
            return Some(pin);
        }
        let (message, help) = match of_file {
            Some(other) => (
                format!("{} is another than that of the file, {other}", written.path),
                "compare both with the operator of the host, and correct one of them",
            ),
            None => (
                format!("{} is the digest of a certificate, and the file holds a public key alone", written.path),
                "name the file of the certificate, or write spki",
            ),
        };
        written.findings.conflict(Code::E07, &written.span(), message, (&self.span(), "the file"), help);
        None
    }
}

fn read(item: &Item<'_>, outside: &dyn Outside) -> Option<KeyFile> {
    let path = item.path()?;
    let refuse = |code, what: &str, help: &str| {
        item.findings.error(code, &item.span(), format!("{} {what}", path.display()), help);
    };
    let unreadable =
        |error| refuse(Code::E19, &format!("cannot be read: {error}"), "check the path and the permissions");
    let found = outside.look(&path).map_err(unreadable).ok()?;
    if found.kind != Kind::File {
        refuse(Code::E19, "cannot be read: it is no regular file", HELP);
        return None;
    }
    let octets = outside.read(&path, KEY_FILE_OCTETS_MAX + 1).map_err(unreadable).ok()?;
    if octets.len() > KEY_FILE_OCTETS_MAX {
        refuse(Code::E19, &format!("is larger than {} MiB", KEY_FILE_OCTETS_MAX >> 20), HELP);
        return None;
    }
    match parse(&octets) {
        Ok((file, weakness)) => {
            if let Some(weakness) = weakness {
                let message = format!("the key in {} {weakness}: no chain with it verifies", path.display());
                let help = "use ECDSA P-256, P-384 or P-521, RSA of 2048 to 8192 bits, or Ed25519";
                item.findings.warning(Code::W45, &item.span(), message, help);
            }
            Some(file)
        }
        Err(error) => {
            let help = match error {
                KeyFileError::PrivateKey => "name the certificate or the public key; keep private keys elsewhere",
                KeyFileError::Several => "write a file for each of them; in a chain the first is the host's own",
                KeyFileError::Unreadable => HELP,
            };
            refuse(Code::E08, &error.to_string(), help);
            None
        }
    }
}

/// What the octets hold, and why chains with this key do not verify if so.
fn parse(octets: &[u8]) -> Result<(KeyFile, Option<&'static str>), KeyFileError> {
    if !octets.windows(BEGIN.len()).any(|window| window == BEGIN) {
        return parse_certificate(octets).or_else(|| parse_key(octets)).ok_or(KeyFileError::Unreadable);
    }
    // Whatever its kind: of OpenSSH, of PKCS #8, encrypted or not.
    if octets.windows(PRIVATE.len()).any(|window| window == PRIVATE) {
        return Err(KeyFileError::PrivateKey);
    }
    let sections: Result<Vec<(SectionKind, Vec<u8>)>, _> = <(SectionKind, Vec<u8>)>::pem_slice_iter(octets).collect();
    let sections = sections.map_err(|_| KeyFileError::Unreadable)?;
    let mut found = sections.iter().filter_map(|(kind, der)| match kind {
        SectionKind::Certificate => Some(parse_certificate(der)),
        SectionKind::PublicKey => Some(parse_key(der)),
        _ => None,
    });
    match (found.next(), found.next()) {
        (Some(one), None) => one.ok_or(KeyFileError::Unreadable),
        (Some(_), Some(_)) => Err(KeyFileError::Several),
        (None, _) => Err(KeyFileError::Unreadable),
    }
}

const BEGIN: &[u8] = b"-----BEGIN ";
const PRIVATE: &[u8] = b"PRIVATE KEY-----";

fn parse_certificate(der: &[u8]) -> Option<(KeyFile, Option<&'static str>)> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    let shows = Shows::of(der, &certificate);
    let file = KeyFile { spki: shows.key, certificate: Some(shows) };
    rest.is_empty().then(|| (file, weakness(certificate.public_key())))
}

fn parse_key(der: &[u8]) -> Option<(KeyFile, Option<&'static str>)> {
    let (rest, key) = SubjectPublicKeyInfo::from_der(der).ok()?;
    rest.is_empty().then(|| (KeyFile { spki: digest(der), certificate: None }, weakness(&key)))
}

/// Why signatures with this key are not checked, if so. The others are those of the crypto provider.
pub fn weakness(key: &SubjectPublicKeyInfo<'_>) -> Option<&'static str> {
    const RSA: &str = "1.2.840.113549.1.1.1";
    const EC: &str = "1.2.840.10045.2.1";
    const ED25519: &str = "1.3.101.112";
    const CURVES: [&str; 3] = ["1.2.840.10045.3.1.7", "1.3.132.0.34", "1.3.132.0.35"];
    match key.algorithm.algorithm.to_id_string().as_str() {
        ED25519 => None,
        EC => {
            let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
            let known = curve.is_some_and(|curve| CURVES.contains(&curve.to_id_string().as_str()));
            (!known).then_some("is on a curve that this version does not verify")
        }
        RSA => match key.parsed() {
            Ok(PublicKey::RSA(rsa)) if RSA_BITS_VERIFIED.contains(&rsa_bits(rsa.modulus)) => None,
            Ok(PublicKey::RSA(_)) => Some("is an RSA key of a size that this version does not verify"),
            _ => Some("is no RSA key that this version can read"),
        },
        _ => Some("is of a type that this version does not verify"),
    }
}
