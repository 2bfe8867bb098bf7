//! A rotation: another CA follows on the one that signs, from a date on, and each certifies the key of the other.
//!
//! Who knows the next CA alone gets along before the date, and who knows the current one alone from then on: behind a leaf
//! goes the certificate that leads from its signer to the other CA. Both CAs and the date lie beside `ca.pem` and `ca.key`:
//!
//! | file | what |
//! |---|---|
//! | [`NEXT_CERTIFICATE_FILE`] | the next CA's own certificate, for clients to trust |
//! | [`NEXT_KEY_FILE`] | its key |
//! | [`ROTATION_FILE`] | the date, which two CAs it is about, and the two certificates between them |
//! | [`PREVIOUS_CERTIFICATE_FILE`] | of rotations that were finished or given up: CAs that are no more, or never were, the latest first |
//!
//! [`ROTATION_FILE`] is written last, whole, and removed first: without it nothing signs but `ca.key`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::error::CaError;
use super::pair::CaPair;
use super::signer::Cross;
use super::store::{CERTIFICATE_FILE, KEY_FILE};
use super::text::{hex, pem};
use super::validity::{Validity, date_text, system_time, unix_seconds};
use crate::policy::timestamp::Timestamp;

/// Name of the file with the certificate of the CA that signs from the date of a rotation on.
pub const NEXT_CERTIFICATE_FILE: &str = "ca-next.pem";
/// Name of the file with its key.
pub const NEXT_KEY_FILE: &str = "ca-next.key";
/// Name of the file that says that a rotation runs.
pub const ROTATION_FILE: &str = "ca-rotation.toml";
/// Name of the file with the certificates of the CAs that rotations have retired, or that were given up before they signed.
/// Stores of clients and systems may still have them, so they are remembered: none may be an anchor towards upstreams.
pub const PREVIOUS_CERTIFICATE_FILE: &str = "ca-previous.pem";

/// All files of a CA.
pub const FILES: [&str; 6] =
    [CERTIFICATE_FILE, KEY_FILE, NEXT_CERTIFICATE_FILE, NEXT_KEY_FILE, ROTATION_FILE, PREVIOUS_CERTIFICATE_FILE];

/// The one form of [`ROTATION_FILE`] that there is.
const SCHEMA: u32 = 1;

/// The paths of the files of a CA in its directory.
pub fn files(directory: &Path) -> [PathBuf; FILES.len()] {
    FILES.map(|name| directory.join(name))
}

/// Why a rotation cannot be used. Nothing is made in the place of what is missing.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// [`ROTATION_FILE`] is not as it was written.
    #[error("{} is not as `pinproxy ca rotate` writes it: {why}; {}", path.display(), way_out())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The certificate or the key of the next CA is not there.
    #[error("a rotation of the CA runs ({}), but {} is missing; put it back, or {}", rotation.display(), missing.display(), way_out())]
    Missing {
        /// [`ROTATION_FILE`].
        rotation: PathBuf,
        /// What is missing.
        missing: PathBuf,
    },
    /// The certificate there is another one than that of the rotation.
    #[error("{} is not the CA that the rotation in {} is about; put that one back, or {}", path.display(), rotation.display(), way_out())]
    Another {
        /// [`ROTATION_FILE`].
        rotation: PathBuf,
        /// The certificate.
        path: PathBuf,
    },
    /// It was about to be finished.
    #[error(
        "a rotation of the CA was interrupted when it was finished: {} is the next CA already, and {} is not its key; \
         run: pinproxy ca rotate --finish",
        certificate.display(), key.display()
    )]
    Interrupted {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// Neither half of the CA is there, but a rotation of it.
    #[error(
        "there is no CA in {}, but {} of a rotation; put ca.pem and ca.key back, or move that away to have a new CA made \
         (every client must then trust the new one)",
        directory.display(), left.display()
    )]
    Left {
        /// The directory.
        directory: PathBuf,
        /// What is there.
        left: PathBuf,
    },
}

const fn way_out() -> &'static str {
    "run: pinproxy ca rotate --abort (--force from the date on; clients that trust the next CA alone are then locked out)"
}

/// What [`ROTATION_FILE`] says.
pub(super) struct Rotation {
    /// From when on the next CA signs, in seconds since 1970.
    pub(super) from: i64,
    /// SHA-256 of the certificate of the CA that signs until then, in hexadecimal digits.
    current: String,
    /// That of the next one.
    next: String,
    current_by_next: CertificateDer<'static>,
    next_by_current: CertificateDer<'static>,
}

/// As it is in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    schema: u32,
    signs_from: String,
    current: String,
    next: String,
    current_by_next: String,
    next_by_current: String,
}

impl Rotation {
    pub(super) fn new(
        from: SystemTime,
        current: &CertificateDer<'_>,
        next: &CertificateDer<'_>,
        current_by_next: CertificateDer<'static>,
        next_by_current: CertificateDer<'static>,
    ) -> Self {
        let [current, next] = [current, next].map(digest);
        Self { from: unix_seconds(from), current, next, current_by_next, next_by_current }
    }

    /// The text of the file.
    pub(super) fn text(&self) -> String {
        let [current, next] = [&self.current_by_next, &self.next_by_current].map(|der| pem("CERTIFICATE", der));
        format!(
            "# Written by `pinproxy ca rotate`, which also ends it. What is changed here by hand is refused.\n\
             schema = {SCHEMA}\nsigns_from = \"{}\"\n\
             current = \"{}\"\nnext = \"{}\"\n\
             current_by_next = '''\n{}'''\nnext_by_current = '''\n{}'''\n",
            date_text(self.from),
            self.current,
            self.next,
            current.as_str(),
            next.as_str()
        )
    }

    /// Reads the text of the file; `path` is told in errors.
    pub(super) fn parse(path: &Path, octets: &[u8]) -> Result<Self, RotationError> {
        let refused = |why: String| RotationError::Malformed { path: path.to_owned(), why };
        let text = std::str::from_utf8(octets).map_err(|_| refused("it is no text".to_owned()))?;
        let written: Written = toml::from_str(text).map_err(|error| refused(error.message().to_owned()))?;
        if written.schema != SCHEMA {
            return Err(refused(format!("schema {} is of another version of pinproxy", written.schema)));
        }
        let from = Timestamp::parse(&written.signs_from);
        let from =
            from.ok_or_else(|| refused(format!("signs_from {:?} is no time in RFC 3339", written.signs_from)))?;
        let is_digest = |text: &str| text.len() == 64 && text.bytes().all(|octet| octet.is_ascii_hexdigit());
        if !is_digest(&written.current) || !is_digest(&written.next) {
            return Err(refused("current and next have to be 64 hexadecimal digits".to_owned()));
        }
        let certificate = |name: &str, text: &str| {
            let mut found = CertificateDer::pem_slice_iter(text.as_bytes());
            match (found.next(), found.next()) {
                (Some(Ok(one)), None) => Ok(one),
                _ => Err(refused(format!("{name} is not one certificate in PEM form"))),
            }
        };
        Ok(Self {
            from: unix_seconds(from.0),
            current_by_next: certificate("current_by_next", &written.current_by_next)?,
            next_by_current: certificate("next_by_current", &written.next_by_current)?,
            current: written.current,
            next: written.next,
        })
    }

    pub(super) fn is_from(&self, current: &CertificateDer<'_>) -> bool {
        digest(current) == self.current
    }

    pub(super) fn is_to(&self, next: &CertificateDer<'_>) -> bool {
        digest(next) == self.next
    }

    /// The certificates between the two CAs, the one for the current CA first. Each has to be for the key of one, with the
    /// name of the other as its issuer: what is sent with every leaf leads from one to the other.
    pub(super) fn crosses(&self, path: &Path, current: &CaPair, next: &CaPair) -> Result<[Cross; 2], RotationError> {
        let cross = |name, certificate: &CertificateDer<'static>, of: &CaPair, by: &CaPair| {
            let refused = |why: &str| RotationError::Malformed { path: path.to_owned(), why: format!("{name} {why}") };
            let parse = |der| X509Certificate::from_der(der).map(|(_, parsed)| parsed);
            let parsed = parse(certificate).map_err(|_| refused("is no certificate"))?;
            let of = parse(&of.certificates[0]).map_err(|_| refused("is for no certificate"))?;
            let by = parse(&by.certificates[0]).map_err(|_| refused("is by no certificate"))?;
            let is_between = parsed.public_key().raw == of.public_key().raw
                && parsed.subject().as_raw() == of.subject().as_raw()
                && parsed.issuer().as_raw() == by.subject().as_raw();
            let [not_before, not_after] = [parsed.validity().not_before, parsed.validity().not_after];
            let validity = Validity { not_before: not_before.timestamp(), not_after: not_after.timestamp() };
            if is_between {
                Ok(Cross { certificate: certificate.clone(), validity })
            } else {
                Err(refused("is for another CA"))
            }
        };
        Ok([
            cross("current_by_next", &self.current_by_next, current, next)?,
            cross("next_by_current", &self.next_by_current, next, current)?,
        ])
    }

    pub(super) fn from(&self) -> SystemTime {
        system_time(self.from)
    }
}

/// SHA-256 in hexadecimal digits.
fn digest(certificate: &CertificateDer<'_>) -> String {
    hex(&Sha256::digest(certificate), "").to_lowercase()
}

/// What lies in the directory of a CA as far as everybody may know it, for comparison: another sight is another CA, or a
/// rotation that has begun, changed or ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// Those of `ca.pem` first.
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) rotation: Option<Vec<u8>>,
}

impl Sight {
    /// All certificates of the proxy's own: of its CA, of the one that follows and of the one that was before. None of them
    /// may be a trust anchor towards upstream: who can have leaves issued could otherwise impersonate upstreams, and the key
    /// of a CA that is retired may be retired because somebody has it.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// Whether there is no CA, or none that can be read.
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    /// With more certificates, each once.
    pub(super) fn add(&mut self, certificates: impl IntoIterator<Item = CertificateDer<'static>>) {
        for certificate in certificates {
            if !self.certificates.contains(&certificate) {
                self.certificates.push(certificate);
            }
        }
    }
}

impl From<RotationError> for CaError {
    fn from(error: RotationError) -> Self {
        Self::Rotation(Box::new(error))
    }
}
