//! The two files of the CA: made once, then only read.
//!
//! They are read under a lock on their directory, and created under the same lock, so that processes that start
//! together agree on one CA. Both are created under their own names, the key first: a crash in between leaves a key
//! without certificate, or a certificate that is cut short, and either is an error at the next start, never a reason to
//! begin anew.
//!
//! Where they are, and who else could write there, is judged first, by [`crate::files::Access`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::{Zeroize, Zeroizing};

use super::error::{CaError, IssueError};
use super::issue::Serial;
use super::pair::{CaPair, PairPaths};
use super::text::{hex, pem};
use super::validity::{BACKDATE, date, unix_seconds};
use super::{CertificateAuthority, Settings};
use crate::files::{Access, AccessError, Role};

/// Name of the file with the certificate, or with the certificate and its parents.
pub const CERTIFICATE_FILE: &str = "ca.pem";
/// Name of the file with the private key.
pub const KEY_FILE: &str = "ca.key";

/// How long a CA that we create is valid.
const CA_LIFETIME: Duration = Duration::from_secs(3650 * 24 * 3600);
/// The organisation in the subject of a CA that we create.
const CA_ORGANIZATION: &str = "pinproxy";

const CERTIFICATE_MODE: u32 = 0o644;
const KEY_MODE: u32 = 0o600;
/// Largest file that is read, in octets. A long chain has some thousands.
const FILE_OCTETS_MAX: usize = 1 << 20;

/// Where the CA came from. A caller tells the operator about a created one: clients must be made to trust it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// There was none, this one is new.
    Created,
    /// It was there.
    Loaded,
}

/// Loads the CA of a directory, or creates directory (mode 0700) and CA when neither of its files exists. `now` is the
/// time at which the CA must be valid.
///
/// The files are [`CERTIFICATE_FILE`], PEM, the issuing CA first and then, if it is not a root, its issuers; and
/// [`KEY_FILE`], its key as unencrypted PEM in PKCS#8, SEC1 or PKCS#1, which nobody but its owner may have any
/// permission on, but for a group of ours that root lets read a key of its own. A CA that is there but not usable is an error; it is never replaced.
///
/// The directory and all above it must belong to us or root, and so must both files. Nobody else may be able to write to
/// any of them, but for directories with the sticky bit. The same is required of where symbolic links lead.
///
/// Blocks on file operations, and on another process that is doing the same.
pub fn load_or_create(
    directory: &Path,
    settings: Settings,
    now: SystemTime,
) -> Result<(CertificateAuthority, Provenance), CaError> {
    let files = Files::of(directory);
    files.access.create_directory(directory).map_err(of_directory)?;
    let lock = files.lock()?;
    let (pair, provenance) = if let Some(opened) = files.open()? {
        (files.load(opened, now)?, Provenance::Loaded)
    } else {
        files.create(&lock, now)?;
        // What was created is read back as any other CA is, and so is known to load at the next start.
        let opened = files.open()?.ok_or_else(|| files.missing())?;
        (files.load(opened, now)?, Provenance::Created)
    };
    Ok((CertificateAuthority::new(files.certificate, pair, settings)?, provenance))
}

/// Loads the CA of a directory as [`load_or_create`] does, but creates nothing: [`CaError::Missing`] when neither file
/// exists. For replicas that must share one CA, and for commands that only look.
pub fn load(directory: &Path, settings: Settings, now: SystemTime) -> Result<CertificateAuthority, CaError> {
    let files = Files::of(directory);
    files.access.verify_directory(directory).map_err(of_directory)?;
    let _lock = files.lock()?;
    let opened = files.open()?.ok_or_else(|| files.missing())?;
    let pair = files.load(opened, now)?;
    CertificateAuthority::new(files.certificate, pair, settings)
}

/// A new CA that is on no disk and ends with the process, for clients that do.
///
/// # Errors
/// When there is no randomness, or the clock is out of any range.
pub fn in_memory(settings: Settings, now: SystemTime) -> Result<CertificateAuthority, CaError> {
    let generated = generate(now)?;
    // There are no files. What is read was written a line above, so that no error names them.
    let nowhere = Path::new("");
    let paths = PairPaths { certificate: nowhere, key: nowhere };
    let pair = CaPair::parse(paths, generated.certificate_pem.as_bytes(), generated.key_pem.as_bytes(), now)?;
    CertificateAuthority::new(PathBuf::new(), pair, settings)
}

/// The certificates of the CA of a directory, for comparison alone: its key is not looked at, and nothing is created.
/// Empty where there is no CA, or none that can be read; that the other functions tell about.
pub fn peek(directory: &Path) -> Vec<CertificateDer<'static>> {
    let path = directory.join(CERTIFICATE_FILE);
    // A pipe of this name would keep its reader waiting.
    let is_file = fs::metadata(&path).is_ok_and(|metadata| metadata.is_file());
    let pem = is_file.then(|| File::open(&path).ok().and_then(|file| read(&path, file).ok())).flatten();
    let certificates = pem.map(|pem| CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect());
    certificates.unwrap_or_default()
}

/// Who can write to the directory matters to both files alike.
fn of_directory(error: AccessError) -> CaError {
    CaError::of_access(error, Role::Public)
}

/// The paths of a CA.
struct Files {
    access: Access,
    directory: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

/// Both files, open: what is judged is what is read, whatever happens to the names meanwhile.
struct Opened {
    certificate: File,
    key: File,
}

impl Files {
    fn of(directory: &Path) -> Self {
        Self {
            access: Access::of_process(),
            directory: directory.to_owned(),
            certificate: directory.join(CERTIFICATE_FILE),
            key: directory.join(KEY_FILE),
        }
    }

    /// Locks the directory until the returned file is dropped.
    fn lock(&self) -> Result<File, CaError> {
        let path = || self.directory.clone();
        let directory = File::open(&self.directory).map_err(|source| CaError::Directory { path: path(), source })?;
        directory.lock().map_err(|source| CaError::Lock { path: path(), source })?;
        Ok(directory)
    }

    /// Opens both files, or tells that neither exists.
    fn open(&self) -> Result<Option<Opened>, CaError> {
        let paths = || (self.certificate.clone(), self.key.clone());
        let open = |path, role| self.access.open(path, role).map_err(|error| CaError::of_access(error, role));
        let (certificate, key) = (open(&self.certificate, Role::Public)?, open(&self.key, Role::Secret)?);
        match (certificate, key) {
            (Some(certificate), Some(key)) => Ok(Some(Opened { certificate, key })),
            (None, None) => Ok(None),
            (Some(_), None) => {
                let (certificate, key) = paths();
                Err(CaError::MissingKey { certificate, key })
            }
            (None, Some(_)) => {
                let (certificate, key) = paths();
                Err(CaError::MissingCertificate { certificate, key })
            }
        }
    }

    fn missing(&self) -> CaError {
        CaError::Missing { certificate: self.certificate.clone(), key: self.key.clone() }
    }

    fn load(&self, opened: Opened, now: SystemTime) -> Result<CaPair, CaError> {
        let certificate_pem = read(&self.certificate, opened.certificate)?;
        let key_pem = read(&self.key, opened.key)?;
        let paths = PairPaths { certificate: &self.certificate, key: &self.key };
        CaPair::parse(paths, &certificate_pem, &key_pem, now)
    }

    /// Creates a CA in both files, and returns when all of it is on the disk.
    fn create(&self, directory: &File, now: SystemTime) -> Result<(), CaError> {
        let generated = generate(now)?;
        write_new(&self.key, &generated.key_pem, KEY_MODE)?;
        if let Err(error) = write_new(&self.certificate, &generated.certificate_pem, CERTIFICATE_MODE) {
            // The key is ours, certified by nobody, and the next start shall not stumble over it. If it cannot be
            // removed, that start says so.
            let _ = fs::remove_file(&self.key);
            return Err(error);
        }
        directory.sync_all().map_err(|source| CaError::Directory { path: self.directory.clone(), source })?;
        // The directory may itself be new. Its parent may be closed to us, and then there is nothing to be done.
        let _ = File::open(self.directory.join("..")).and_then(|parent| parent.sync_all());
        Ok(())
    }
}

/// A new CA as PEM.
struct Generated {
    certificate_pem: Zeroizing<String>,
    key_pem: Zeroizing<String>,
}

fn generate(now: SystemTime) -> Result<Generated, CaError> {
    let failed = |error: rcgen::Error| CaError::Generate(error.to_string());
    let from_issue = |error: IssueError| CaError::Generate(error.to_string());
    let out_of_range = || CaError::Generate("the clock is beyond the year 9999".into());
    let mut tag = [0; 4];
    aws_lc_rs::rand::fill(&mut tag).map_err(|_| from_issue(IssueError::Random))?;

    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::OrganizationName, CA_ORGANIZATION);
    // The tag tells CAs of several installations apart in a client's list, and keeps a client that trusts two of them
    // from trying the wrong one.
    parameters
        .distinguished_name
        .push(DnType::CommonName, format!("pinproxy local CA {}", hex(&tag, "").to_lowercase()));
    parameters.serial_number = Some(Serial::random().map_err(from_issue)?.to_rcgen());
    let not_before = now.checked_sub(BACKDATE).unwrap_or(now);
    let not_after = not_before.checked_add(CA_LIFETIME).ok_or_else(out_of_range)?;
    parameters.not_before = date(unix_seconds(not_before)).ok_or_else(out_of_range)?;
    parameters.not_after = date(unix_seconds(not_after)).ok_or_else(out_of_range)?;
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];

    let mut key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let certificate = parameters.self_signed(&key).map_err(failed)?;
    let key_pem = pem("PRIVATE KEY", key.serialized_der());
    key.zeroize();
    Ok(Generated { certificate_pem: pem("CERTIFICATE", certificate.der()), key_pem })
}

/// Reads a whole file into a buffer that is wiped when dropped, and never grows, which would leave copies behind.
fn read(path: &Path, mut file: File) -> Result<Zeroizing<Vec<u8>>, CaError> {
    let failed = |source| CaError::Read { path: path.to_owned(), source };
    let length = file.metadata().map_err(failed)?.len();
    let length = usize::try_from(length).ok().filter(|length| *length <= FILE_OCTETS_MAX).ok_or_else(|| {
        failed(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {FILE_OCTETS_MAX} octets")))
    })?;
    let mut content = Zeroizing::new(vec![0; length]);
    file.read_exact(&mut content).map_err(failed)?;
    Ok(content)
}

/// Creates a file that did not exist, with its mode from the first moment, and gets it to the disk.
fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), CaError> {
    let failed = |source| CaError::Write { path: path.to_owned(), source };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|source| {
        // Ours and incomplete.
        let _ = fs::remove_file(path);
        failed(source)
    })
}
