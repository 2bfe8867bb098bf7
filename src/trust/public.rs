//! The public half of the CA: what clients are given. Its key is not looked at, so that it can be handed on by those who must
//! not read the key, and by root, who does not own it.

use crate::authority::{CERTIFICATE_FILE, NEXT_CERTIFICATE_FILE, PREVIOUS_CERTIFICATE_FILE, ROTATION_FILE};
use crate::files::{self, Access, AccessError, Role};
use crate::policy::pin::Pin;
use crate::policy::timestamp::Timestamp;
use aws_lc_rs::digest;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

/// Largest file with the certificates of a CA, in octets.
const CA_OCTETS_MAX: usize = 1 << 20;

/// Why the certificates of the CA cannot be handed on.
#[derive(Debug, thiserror::Error)]
pub enum PublicCaError {
    /// Others could have put theirs in its place.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// There is none.
    #[error("there is no CA: {} does not exist; run: pinproxy ca create", .0.display())]
    Missing(PathBuf),
    /// The file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason of the operating system.
        source: io::Error,
    },
    /// The file holds something else. What it holds is not told: it may be a key that was put there by mistake.
    #[error("{} is no CA: {why}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Clients would not accept it.
    #[error("the CA certificate in {} is valid from {not_before} to {not_after}, and not now", path.display())]
    NotValid {
        /// The file.
        path: PathBuf,
        /// Its first second.
        not_before: Timestamp,
        /// Its last second.
        not_after: Timestamp,
    },
}

/// The certificates of the CA.
#[derive(Clone, Debug)]
pub struct PublicCa {
    /// The file that they are in.
    pub path: PathBuf,
    /// Whose they are, if not ours or root's: who holds the key of what a client is told to trust.
    pub stranger: Option<u32>,
    /// Those that a client has to trust: the last one of each file, which is the only one of a CA that is a root. While a
    /// rotation runs that of `ca.pem` comes first, then that of the next CA, whichever of them signs now.
    pub anchors: Vec<CertificateDer<'static>>,
    certificates: Vec<CertificateDer<'static>>,
}

/// What people, stores and configurations know a certificate by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its subject, as anybody may have written it.
    pub subject: String,
    /// Its first second.
    pub not_before: Timestamp,
    /// Its last second.
    pub not_after: Timestamp,
    /// SHA-256 of the certificate.
    pub sha256: [u8; 32],
    /// SHA-1 of the certificate, by which some stores still show and find theirs.
    pub sha1: [u8; 20],
    /// The pin of its key.
    pub pin: Pin,
    /// Whether it is its own issuer.
    pub is_self_issued: bool,
}

impl PublicCa {
    /// Reads the certificates from the folder of a CA. The folder may belong to somebody else, as when root makes the CA of a
    /// user trusted; but nobody beside this owner and root may be able to write to anything on the way.
    ///
    /// # Errors
    /// [`PublicCaError`]; that it is not valid now is none here, see [`Self::check_valid`].
    pub fn load(directory: &Path) -> Result<Self, PublicCaError> {
        let path = directory.join(CERTIFICATE_FILE);
        let access = match Access::of_owner(directory) {
            Err(AccessError::Folder { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(PublicCaError::Missing(path));
            }
            access => access?,
        };
        access.verify_directory(directory)?;
        let (mut certificates, anchor) = read(&access, &path)?;
        let mut anchors = vec![anchor];
        // While these are there, the next CA signs from a date on, and whoever is told of the CA today has to know both. Where
        // the rotation was interrupted when it was finished, the next one has its new place.
        let next = directory.join(NEXT_CERTIFICATE_FILE);
        let is_there = |path: &Path| Ok::<_, AccessError>(access.judge(path, Role::Public)?.is_some());
        if is_there(&directory.join(ROTATION_FILE))? && is_there(&next)? {
            let (next, anchor) = read(&access, &next)?;
            certificates.extend(next);
            anchors.push(anchor);
        }
        Ok(Self { path, stranger: access.owner_beside(&Access::of_process()), anchors, certificates })
    }

    /// The same with the CAs that rotations have retired, which stores may still trust.
    ///
    /// # Errors
    /// As of [`Self::load`].
    pub fn load_with_retired(directory: &Path) -> Result<Self, PublicCaError> {
        let mut ca = Self::load(directory)?;
        let access = Access::of_owner(directory)?;
        let path = directory.join(PREVIOUS_CERTIFICATE_FILE);
        if let Some(end) = access.judge(&path, Role::Public)? {
            let pem = files::read(&end, CA_OCTETS_MAX).map_err(|source| PublicCaError::Read { path, source })?;
            let retired = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
            let roots = retired.filter(|der| Identity::of(der).is_some_and(|identity| identity.is_self_issued));
            ca.anchors.extend(roots.filter(|der| !ca.anchors.contains(der)).collect::<Vec<_>>());
        }
        Ok(ca)
    }

    /// All of them: of each CA the certificate, then its issuers as far as the file has them.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// Refuses what clients would not accept at `now`. Of the two CAs of a rotation one may have ended.
    ///
    /// # Errors
    /// [`PublicCaError::NotValid`].
    pub fn check_valid(&self, now: SystemTime) -> Result<(), PublicCaError> {
        let mut anchors = self.anchors.iter().filter_map(Identity::of);
        if self.anchors.len() > 1 && anchors.any(|identity| identity.is_valid(now)) {
            return Ok(());
        }
        for certificate in &self.certificates {
            if let Some(identity) = Identity::of(certificate)
                && !identity.is_valid(now)
            {
                let Identity { not_before, not_after, .. } = identity;
                return Err(PublicCaError::NotValid { path: self.path.clone(), not_before, not_after });
            }
        }
        Ok(())
    }
}

/// The certificates of a file that nobody else can have put there, and the last of them.
fn read(
    access: &Access,
    path: &Path,
) -> Result<(Vec<CertificateDer<'static>>, CertificateDer<'static>), PublicCaError> {
    let end = access.judge(path, Role::Public)?.ok_or_else(|| PublicCaError::Missing(path.to_owned()))?;
    let pem = files::read(&end, CA_OCTETS_MAX);
    let pem = pem.map_err(|source| PublicCaError::Read { path: path.to_owned(), source })?;
    parse(&pem).map_err(|why| PublicCaError::Content { path: path.to_owned(), why })
}

/// The certificates of a PEM file, all of CAs, each the issuer of the one before, and the last of them. Or what is wrong.
fn parse(pem: &[u8]) -> Result<(Vec<CertificateDer<'static>>, CertificateDer<'static>), String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = read.map_err(|_| "a section of it is cut short or damaged")?;
    let mut issuer_of_last: Option<Vec<u8>> = None;
    for (index, der) in certificates.iter().enumerate() {
        let (rest, parsed) =
            X509Certificate::from_der(der).map_err(|error| format!("certificate {}: {error}", index + 1))?;
        if !rest.is_empty() {
            return Err(format!("{} octets follow certificate {}", rest.len(), index + 1));
        }
        let basic = parsed.basic_constraints().map_err(|error| format!("certificate {}: {error}", index + 1))?;
        if !basic.is_some_and(|constraints| constraints.value.ca) {
            return Err(format!("certificate {} is none of a CA (basicConstraints CA:TRUE)", index + 1));
        }
        if issuer_of_last.is_some_and(|issuer| issuer != parsed.subject().as_raw()) {
            return Err(format!("certificate {} is not the issuer of the one before it", index + 1));
        }
        issuer_of_last = Some(parsed.issuer().as_raw().to_vec());
    }
    let last = certificates.last().cloned().ok_or("there is no certificate in it")?;
    Ok((certificates, last))
}

impl Identity {
    /// Of a certificate; none of what is no certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let moment = |timestamp: i64| {
            let seconds = Duration::from_secs(timestamp.unsigned_abs());
            let epoch = SystemTime::UNIX_EPOCH;
            if timestamp < 0 { epoch.checked_sub(seconds) } else { epoch.checked_add(seconds) }
        };
        Some(Self {
            subject: parsed.subject().to_string(),
            not_before: Timestamp(moment(parsed.validity().not_before.timestamp())?),
            not_after: Timestamp(moment(parsed.validity().not_after.timestamp())?),
            sha256: hashed(&digest::SHA256, certificate)?,
            sha1: hashed(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate)?,
            pin: Pin::Spki(hashed(&digest::SHA256, parsed.public_key().raw)?),
            is_self_issued: parsed.issuer().as_raw() == parsed.subject().as_raw(),
        })
    }

    /// Whether it is valid at `now`.
    pub fn is_valid(&self, now: SystemTime) -> bool {
        now >= self.not_before.0 && now < self.not_after.0 + Duration::from_secs(1)
    }

    /// What stores call it: a name that no other certificate has, in small letters, digits and `-`. Half of the SHA-256 is
    /// enough to tell one's own CAs apart; whether it is the same certificate is asked of the certificate.
    pub fn name(&self) -> String {
        const OCTETS: usize = 8;
        self.sha256.iter().take(OCTETS).fold("pinproxy-".to_owned(), |mut name, octet| {
            // Writing to a String cannot fail.
            let _ = write!(name, "{octet:02x}");
            name
        })
    }
}

fn hashed<const LENGTH: usize>(algorithm: &'static digest::Algorithm, octets: &[u8]) -> Option<[u8; LENGTH]> {
    digest::digest(algorithm, octets).as_ref().try_into().ok()
}

/// Octets as people compare them: `AB:CD`.
pub fn with_colons(octets: &[u8]) -> String {
    let mut text = String::with_capacity(3 * octets.len());
    for (index, octet) in octets.iter().enumerate() {
        let colon = if index == 0 { "" } else { ":" };
        // Writing to a String cannot fail.
        let _ = write!(text, "{colon}{octet:02X}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::certificate_pem;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, chown};

    /// A root, and an intermediate of its.
    fn chain() -> [CertificateDer<'static>; 2] {
        let parameters = |name: &str| {
            let mut parameters = CertificateParams::default();
            parameters.distinguished_name.push(DnType::CommonName, name);
            parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            parameters
        };
        let (key, inner_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let root = parameters("root").self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::new(parameters("root"), key);
        [parameters("inner").signed_by(&inner_key, &issuer).unwrap().der().clone(), root]
    }

    fn folder(pem: &str) -> tempfile::TempDir {
        let private = fs::Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().permissions(private).tempdir().unwrap();
        fs::write(folder.path().join(CERTIFICATE_FILE), pem).unwrap();
        folder
    }

    #[test]
    fn what_is_no_ca_is_refused() {
        let [inner, root] = chain();
        let leaf = {
            let key = KeyPair::generate().unwrap();
            CertificateParams::default().self_signed(&key).unwrap().der().clone()
        };
        let pem = certificate_pem;
        let table = [
            (String::new(), "there is no certificate in it"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".into(), "there is no certificate in it"),
            (pem(&root).replace("-----END", "-----EN"), "a section of it is cut short or damaged"),
            (pem(&CertificateDer::from(vec![1, 2, 3])), "certificate 1: "),
            (pem(&leaf), "certificate 1 is none of a CA"),
            (pem(&root) + &pem(&inner), "certificate 2 is not the issuer of the one before it"),
        ];
        for (text, part) in table {
            let error = PublicCa::load(folder(&text).path()).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("AAAA"), "{part}: {error}");
        }
        let missing = PublicCa::load(Path::new("/nowhere/at/all")).unwrap_err();
        assert!(matches!(missing, PublicCaError::Missing(_)), "{missing}");
    }

    #[test]
    fn what_others_can_replace_is_refused() {
        let [_, root] = chain();
        let folder = folder(&certificate_pem(&root));
        let file = folder.path().join(CERTIFICATE_FILE);
        for (path, mode) in [(folder.path(), 0o777), (file.as_path(), 0o666)] {
            let kept = fs::metadata(path).unwrap().permissions();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            let error = PublicCa::load(folder.path()).unwrap_err();
            assert!(matches!(error, PublicCaError::Access(_)), "{error}");
            fs::set_permissions(path, kept).unwrap();
        }
        PublicCa::load(folder.path()).unwrap();
    }

    /// As root makes the CA of a user trusted.
    #[test]
    fn a_ca_of_somebody_else_is_told_of_and_must_be_theirs_alone() {
        const ADA: u32 = 54_321;
        let [_, root] = chain();
        let folder = folder(&certificate_pem(&root));
        let file = folder.path().join(CERTIFICATE_FILE);
        assert_eq!(PublicCa::load(folder.path()).unwrap().stranger, None);
        if chown(folder.path(), Some(ADA), None).is_err() {
            println!("skipped: only root can give a file away");
            return;
        }
        for (owner, is_taken) in [(0, true), (ADA, true), (ADA + 1, false)] {
            chown(&file, Some(owner), None).unwrap();
            let loaded = PublicCa::load(folder.path()).map(|ca| ca.stranger);
            assert_eq!(loaded.as_ref().ok(), is_taken.then_some(&Some(ADA)), "{owner}: {loaded:?}");
        }
    }

    #[test]
    fn a_client_trusts_the_last_of_a_chain() {
        let [inner, root] = chain();
        let folder = folder(&(certificate_pem(&inner) + &certificate_pem(&root)));
        let ca = PublicCa::load(folder.path()).unwrap();
        assert_eq!((&ca.anchors[..], ca.certificates()), (&[root.clone()][..], &[inner, root.clone()][..]));
        let Identity { not_before, not_after, .. } = Identity::of(&root).unwrap();
        let second = Duration::from_secs(1);
        ca.check_valid(not_before.0).unwrap();
        ca.check_valid(not_after.0).unwrap();
        assert!(ca.check_valid(not_before.0 - second).is_err());
        assert!(ca.check_valid(not_after.0 + second).is_err());
    }

    #[test]
    fn what_a_certificate_is_known_by() {
        let root = webpki_root_certs::TLS_SERVER_ROOT_CERTS
            .iter()
            .filter_map(Identity::of)
            .find(|identity| identity.pin.to_string() == "sha256/C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M=")
            .unwrap();
        // As ISRG publishes them of its root X1.
        let sha256 = "96:BC:EC:06:26:49:76:F3:74:60:77:9A:CF:28:C5:A7:CF:E8:A3:C0:AA:E1:1A:8F:FC:EE:05:C0:BD:DF:08:C6";
        assert_eq!(with_colons(&root.sha256), sha256);
        assert_eq!(with_colons(&root.sha1), "CA:BD:2A:79:A1:07:6A:31:F2:1D:25:36:35:CB:03:9D:43:29:A5:E8");
        assert_eq!((root.name().as_str(), root.is_self_issued), ("pinproxy-96bcec06264976f3", true));
        assert_eq!(root.not_after.to_string(), "2035-06-04T11:04:38Z");
        assert_eq!(Identity::of(&CertificateDer::from(vec![0x30, 0])), None);
    }
}
