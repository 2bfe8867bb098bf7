//! Certificate revocation lists (RFC 5280 section 5), read from files.

use super::chain::system_time;
use super::fault::rejection;
use crate::policy::decision::Rejection;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use webpki::{
    CertRevocationList, ExpirationPolicy, OwnedCertRevocationList, RevocationCheckDepth, RevocationOptions,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};

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
    lists: Vec<List>,
}

#[derive(Debug)]
struct List {
    list: CertRevocationList<'static>,
    /// Its nextUpdate. From then on it is out of date.
    next_update: SystemTime,
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
        Self::new(mode, lists)
    }

    /// Lists in DER form.
    ///
    /// # Errors
    /// The text of the first that is not a list, or what is missing where lists are required.
    pub fn from_der(mode: RevocationMode, lists: &[CertificateRevocationListDer<'_>]) -> Result<Self, String> {
        let lists = lists.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        Self::new(mode, lists).map_err(|error| error.to_string())
    }

    fn new(mode: RevocationMode, lists: Vec<List>) -> Result<Self, RevocationError> {
        if mode == RevocationMode::Require && lists.is_empty() {
            return Err(RevocationError::NoneToRequire);
        }
        Ok(Self { mode, lists })
    }

    /// The lists as webpki takes them; empty when nothing is to be checked.
    pub(super) fn lists(&self) -> Vec<&CertRevocationList<'static>> {
        if self.mode == RevocationMode::Off { Vec::new() } else { self.lists.iter().map(|list| &list.list).collect() }
    }

    /// What webpki is to do with these, which are [`Self::lists`].
    pub(super) fn options<'a>(
        &self,
        lists: &'a [&'a CertRevocationList<'static>],
    ) -> Result<Option<RevocationOptions<'a>>, Rejection> {
        let (unknown, stale) = match self.mode {
            RevocationMode::Off => return Ok(None),
            RevocationMode::WhenAvailable => (UnknownStatusPolicy::Allow, ExpirationPolicy::Ignore),
            RevocationMode::Require => (UnknownStatusPolicy::Deny, ExpirationPolicy::Enforce),
        };
        let Ok(builder) = RevocationOptionsBuilder::new(lists) else {
            // webpki wants a list, or does not look at all, which is not what `Require` asks for.
            return match self.mode {
                RevocationMode::Require => Err(rejection(&webpki::Error::UnknownRevocationStatus)),
                RevocationMode::Off | RevocationMode::WhenAvailable => Ok(None),
            };
        };
        let builder = builder.with_depth(RevocationCheckDepth::Chain).with_status_policy(unknown);
        Ok(Some(builder.with_expiration_policy(stale).build()))
    }

    /// When the first of the lists is out of date. `None` where there are none.
    pub fn end(&self) -> Option<SystemTime> {
        self.lists.iter().map(|list| list.next_update).min()
    }

    /// When lists go out of date, as far as anything depends on that.
    pub(super) fn ends(&self) -> impl Iterator<Item = SystemTime> {
        self.lists.iter().filter(|_| self.mode == RevocationMode::Require).map(|list| list.next_update)
    }
}

fn read(path: &Path) -> Result<Vec<List>, RevocationError> {
    let bytes = super::anchors::read_material(path)
        .map_err(|source| RevocationError::Read { path: path.to_owned(), source })?;
    let malformed = |detail: String| RevocationError::Malformed { path: path.to_owned(), detail };
    let armoured = CertificateRevocationListDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| malformed(error.to_string()))?;
    let lists = if armoured.is_empty() { vec![CertificateRevocationListDer::from(bytes)] } else { armoured };
    lists.iter().map(parse).collect::<Result<Vec<_>, _>>().map_err(malformed)
}

fn parse(der: &CertificateRevocationListDer<'_>) -> Result<List, String> {
    let list =
        OwnedCertRevocationList::from_der(der).map(CertRevocationList::from).map_err(|error| error.to_string())?;
    // webpki has seen to it that there is one, and does not tell it.
    let (_, parsed) = x509_parser::parse_x509_crl(der).map_err(|error| error.to_string())?;
    let next_update = parsed.next_update().ok_or("there is no nextUpdate")?;
    Ok(List { list, next_update: system_time(next_update.timestamp()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::decision::FailureClass;
    use crate::policy::host::Authority;
    use crate::policy::moment::Circumstances;
    use crate::policy::rules::{Policy, Unpinned};
    use crate::tls::anchors::TrustAnchors;
    use crate::tls::verify::Question;
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, IsCa, Issuer,
        KeyIdMethod, KeyPair, SerialNumber,
    };
    use rustls::pki_types::CertificateDer;
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::time::Duration;
    use time::OffsetDateTime;

    fn root(name: &str) -> (CertificateParams, KeyPair) {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params, KeyPair::generate().unwrap())
    }

    /// A list without entries, in both forms.
    fn list(name: &str) -> (String, Vec<u8>) {
        let (params, key) = root(name);
        let now = OffsetDateTime::now_utc();
        let list = CertificateRevocationListParams {
            this_update: now,
            next_update: now + Duration::from_secs(3600),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&Issuer::new(params, key)).unwrap();
        (list.pem().unwrap(), list.der().to_vec())
    }

    #[test]
    fn lists_are_read_in_either_form() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let ((first, der), (second, _)) = (list("first"), list("second"));
        let pem = file("one.pem", first.as_bytes());
        let several = file("several.pem", format!("a remark\n{first}\n{second}{first}").as_bytes());
        let der = file("one.der", &der);
        for (paths, count) in [
            (vec![], 0),
            (vec![pem.clone()], 1),
            (vec![der.clone()], 1),
            (vec![several.clone()], 3),
            (vec![pem.clone(), der, several], 5),
        ] {
            for mode in [RevocationMode::Off, RevocationMode::WhenAvailable, RevocationMode::Require] {
                let loaded = Revocation::load(mode, &paths);
                if mode == RevocationMode::Require && count == 0 {
                    assert!(matches!(loaded, Err(RevocationError::NoneToRequire)), "{loaded:?}");
                    continue;
                }
                let loaded = loaded.unwrap();
                assert_eq!(loaded.lists.len(), count, "{paths:?}");
                assert_eq!(loaded.lists().len(), if mode == RevocationMode::Off { 0 } else { count });
            }
        }
        let missing = folder.path().join("missing.pem");
        let error = Revocation::load(RevocationMode::WhenAvailable, &[pem, missing.clone()]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot read the revocation list {}: ", missing.display())), "{error}");
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (pem, der) = list("first");
        let (params, key) = root("first");
        let certificate = params.self_signed(&key).unwrap();
        let half = pem.replacen("-----END", "-----ENT", 1);
        let spoilt = pem.replacen("MI", "M*", 1);
        let emptied = "-----BEGIN X509 CRL-----\n-----END X509 CRL-----\n".to_owned();
        let table = [
            ("nothing", Vec::new()),
            ("words", b"no list".to_vec()),
            ("a certificate", certificate.der().to_vec()),
            ("a certificate in PEM", certificate.pem().into_bytes()),
            ("a list cut off", der[..der.len() - 1].to_vec()),
            ("a list and more", [der.as_slice(), b"\0"].concat()),
            ("PEM cut off", half.into_bytes()),
            ("PEM that is no base64", spoilt.into_bytes()),
            ("a list, then an empty one", (pem + &emptied).into_bytes()),
        ];
        for (what, bytes) in table {
            let path = folder.path().join("crl");
            std::fs::write(&path, bytes).unwrap();
            // Also where nothing is to be checked: a file that is named is meant to be one.
            for mode in [RevocationMode::Off, RevocationMode::WhenAvailable, RevocationMode::Require] {
                let error = Revocation::load(mode, std::slice::from_ref(&path)).expect_err(what);
                assert!(matches!(error, RevocationError::Malformed { .. }), "{what}: {error}");
            }
        }
    }

    #[test]
    fn lists_that_are_required_and_missing() {
        let needed = "revocation = \"require\" needs at least one list in crls";
        assert_eq!(Revocation::from_der(RevocationMode::Require, &[]).unwrap_err(), needed);
        assert!(Revocation::from_der(RevocationMode::WhenAvailable, &[]).is_ok());
        let malformed = CertificateRevocationListDer::from(b"no list".to_vec());
        assert!(Revocation::from_der(RevocationMode::Off, &[malformed]).is_err());

        // Were there a way round the constructors, it would not be a way round the check.
        let (params, key) = root("root");
        let anchor = CertificateDer::from(params.self_signed(&key).unwrap());
        let leaf = CertificateParams::new(["bank.example".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &Issuer::new(params, key)).unwrap();
        let policy = Arc::new(Policy::new(1, Vec::new(), Unpinned::Intercept, HashMap::new()).unwrap());
        let target = Authority::parse("bank.example:443").unwrap();
        let rule = Arc::clone(policy.select(&target, SystemTime::now()));
        let anchors = Arc::new(TrustAnchors::from_certificates([anchor]).unwrap());
        let verify = |mode| {
            let revocation = Arc::new(Revocation { mode, lists: Vec::new() });
            let (anchors, policy, rule) = (Arc::clone(&anchors), Arc::clone(&policy), Arc::clone(&rule));
            let question = Question { anchors, revocation, policy, rule, host: target.host.clone() };
            question
                .verify(leaf.der(), &[], &Circumstances::new(SystemTime::now(), std::net::Ipv4Addr::LOCALHOST.into()))
                .result
                .map(drop)
        };
        assert_eq!(verify(RevocationMode::Off), Ok(()));
        assert_eq!(verify(RevocationMode::WhenAvailable), Ok(()));
        let refused = verify(RevocationMode::Require).unwrap_err();
        assert_eq!(refused.class, FailureClass::Chain);
        assert_eq!(refused.detail, "no revocation list says whether a certificate of the chain is revoked");
    }
}
