//! Certificate revocation lists (RFC 5280 section 5), read from files.

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject as _;
use std::path::{Path, PathBuf};
use std::{fs, io};
use webpki::{CertRevocationList, OwnedCertRevocationList};

/// What the lists decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationMode {
    /// Nothing.
    Off,
    /// A certificate on a list is refused; one whose issuer has no list here passes.
    WhenAvailable,
    /// Every certificate of a path needs a list of its issuer that is not past its nextUpdate.
    Require,
}

/// Revocation lists and what they decide.
#[derive(Debug)]
pub struct Revocation {
    mode: RevocationMode,
    lists: Vec<CertRevocationList<'static>>,
}

/// Why a list cannot be used. The texts are shown to operators.
#[derive(Debug, thiserror::Error)]
pub enum RevocationError {
    /// The file could not be read.
    #[error("cannot read the revocation list {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not a list.
    #[error("{path} is not a certificate revocation list in PEM or DER form: {detail}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What.
        detail: String,
    },
    /// Lists are required and there are none.
    #[error("revocation = \"require\" needs at least one list in crls")]
    NoneToRequire,
}

impl Revocation {
    /// No revocation checking.
    pub const fn off() -> Self {
        Self { mode: RevocationMode::Off, lists: Vec::new() }
    }

    /// Reads lists from files, PEM or DER.
    pub fn load(mode: RevocationMode, paths: &[PathBuf]) -> Result<Self, RevocationError> {
        let mut lists = Vec::new();
        for path in paths {
            lists.extend(read(path)?);
        }
        if mode == RevocationMode::Require && lists.is_empty() {
            return Err(RevocationError::NoneToRequire);
        }
        Ok(Self { mode, lists })
    }

    /// Lists in DER form.
    ///
    /// # Errors
    /// The text of the first that is not a list.
    pub fn from_der(mode: RevocationMode, lists: &[CertificateRevocationListDer<'_>]) -> Result<Self, String> {
        let lists = lists.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { mode, lists })
    }

    pub(super) const fn mode(&self) -> RevocationMode {
        self.mode
    }

    /// The lists as webpki takes them; empty when nothing is to be checked.
    pub(super) fn lists(&self) -> Vec<&CertRevocationList<'static>> {
        if self.mode == RevocationMode::Off { Vec::new() } else { self.lists.iter().collect() }
    }
}

fn read(path: &Path) -> Result<Vec<CertRevocationList<'static>>, RevocationError> {
    let bytes = fs::read(path).map_err(|source| RevocationError::Read { path: path.to_owned(), source })?;
    let malformed = |detail: String| RevocationError::Malformed { path: path.to_owned(), detail };
    let armoured = CertificateRevocationListDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| malformed(error.to_string()))?;
    let lists = if armoured.is_empty() { vec![CertificateRevocationListDer::from(bytes)] } else { armoured };
    lists.iter().map(parse).collect::<Result<Vec<_>, _>>().map_err(malformed)
}

fn parse(der: &CertificateRevocationListDer<'_>) -> Result<CertRevocationList<'static>, String> {
    OwnedCertRevocationList::from_der(der).map(CertRevocationList::from).map_err(|error| error.to_string())
}
