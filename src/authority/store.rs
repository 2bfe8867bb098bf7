//! The two files of the CA: made once, then only read.
//!
//! They are read under a lock on their directory, and created under the same lock, so that processes that start
//! together agree on one CA. Both are created under their own names, the key first: a crash in between leaves a key
//! without certificate, or a certificate that is cut short, and either is an error at the next start, never a reason to
//! begin anew.
//!
//! Where they are, and who else could write there, is judged first, by [`crate::files::Access`].

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::error::CaError;
use super::look::{certificates_at, others};
use super::make::{Algorithm, make};
use super::pair::{CaPair, PairPaths, parse_certificates};
use super::rotation::{Rotation, RotationError, Sight, files};
use super::signer::Cross;
use super::text::pem;
use super::write::write_pair;
use super::{CertificateAuthority, Settings};
use crate::files::{Access, AccessError, Role};

/// Name of the file with the certificate, or with the certificate and its parents.
pub const CERTIFICATE_FILE: &str = "ca.pem";
/// Name of the file with the private key.
pub const KEY_FILE: &str = "ca.key";

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
/// Those of a rotation ([`super::ROTATION_FILE`]) are read and judged in the same way.
///
/// The directory and all above it must belong to us or root, and so must the files. Nobody else may be able to write to
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
    let (loaded, provenance) = if let Some(opened) = files.open()? {
        (files.load(opened, now)?, Provenance::Loaded)
    } else {
        files.verify_none_left()?;
        files.create(&lock, now)?;
        // What was created is read back as any other CA is, and so is known to load at the next start.
        let opened = files.open()?.ok_or_else(|| files.missing())?;
        (files.load(opened, now)?, Provenance::Created)
    };
    Ok((CertificateAuthority::new(loaded, settings)?, provenance))
}

/// Loads the CA of a directory as [`load_or_create`] does, but creates nothing: [`CaError::Missing`] when neither file
/// exists. For replicas that must share one CA, and for commands that only look.
pub fn load(directory: &Path, settings: Settings, now: SystemTime) -> Result<CertificateAuthority, CaError> {
    let files = Files::existing(directory)?;
    let _lock = files.lock()?;
    CertificateAuthority::new(files.load_both(now)?, settings)
}

/// A new CA that is on no disk and ends with the process, for clients that do.
///
/// # Errors
/// When there is no randomness, or the clock is out of any range.
pub fn in_memory(settings: Settings, now: SystemTime) -> Result<CertificateAuthority, CaError> {
    let made = make(Algorithm::P256, now)?;
    // There are no files. What is read was written a line above, so that no error names them.
    let paths = PairPaths { certificate: Path::new(""), key: Path::new("") };
    let (certificate, key) = (pem("CERTIFICATE", &made.certificate), pem("PRIVATE KEY", &made.key_der));
    let pair = CaPair::parse(paths, certificate.as_bytes(), key.as_bytes(), now)?;
    let mut sight = Sight::default();
    sight.add(pair.certificates.iter().cloned());
    CertificateAuthority::new(Loaded { certificate_path: PathBuf::new(), pair, following: None, sight }, settings)
}

/// Who can write to the directory matters to both files alike.
fn of_directory(error: AccessError) -> CaError {
    CaError::of_access(error, Role::Public)
}

/// What was read of a CA.
pub(super) struct Loaded {
    pub(super) certificate_path: PathBuf,
    pub(super) pair: CaPair,
    /// The CA that follows, while a rotation runs.
    pub(super) following: Option<Following>,
    pub(super) sight: Sight,
}

/// The CA that follows on another one.
pub(super) struct Following {
    pub(super) pair: CaPair,
    pub(super) rotation: Rotation,
    /// The current CA's key certified by this one, and this one's by the current.
    pub(super) crosses: [Cross; 2],
}

/// The paths of a certificate and its key.
pub(super) struct Paths {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

/// The paths of a CA.
pub(super) struct Files {
    access: Access,
    pub(super) directory: PathBuf,
    pub(super) own: Paths,
    pub(super) next: Paths,
    pub(super) rotation: PathBuf,
    pub(super) previous: PathBuf,
}

/// Both files, open: what is judged is what is read, whatever happens to the names meanwhile.
struct Opened {
    certificate: File,
    key: File,
}

impl Files {
    fn of(directory: &Path) -> Self {
        let [certificate, key, next_certificate, next_key, rotation, previous] = files(directory);
        Self {
            access: Access::of_process(),
            directory: directory.to_owned(),
            own: Paths { certificate, key },
            next: Paths { certificate: next_certificate, key: next_key },
            rotation,
            previous,
        }
    }

    /// Of a directory that is there, and where others cannot write.
    pub(super) fn existing(directory: &Path) -> Result<Self, CaError> {
        let files = Self::of(directory);
        files.access.verify_directory(directory).map_err(of_directory)?;
        Ok(files)
    }

    /// Locks the directory until the returned file is dropped.
    pub(super) fn lock(&self) -> Result<File, CaError> {
        let path = || self.directory.clone();
        let directory = File::open(&self.directory).map_err(|source| CaError::Directory { path: path(), source })?;
        directory.lock().map_err(|source| CaError::Lock { path: path(), source })?;
        Ok(directory)
    }

    /// Opens both files, or tells that neither exists.
    fn open(&self) -> Result<Option<Opened>, CaError> {
        let paths = || (self.own.certificate.clone(), self.own.key.clone());
        let (certificate, key) =
            (self.file(&self.own.certificate, Role::Public)?, self.file(&self.own.key, Role::Secret)?);
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

    fn file(&self, path: &Path, role: Role) -> Result<Option<File>, CaError> {
        self.access.open(path, role).map_err(|error| CaError::of_access(error, role))
    }

    pub(super) fn missing(&self) -> CaError {
        CaError::Missing { certificate: self.own.certificate.clone(), key: self.own.key.clone() }
    }

    pub(super) fn lost(&self, missing: &Path) -> CaError {
        RotationError::Missing { rotation: self.rotation.clone(), missing: missing.to_owned() }.into()
    }

    /// A CA that is to follow on another one is no reason to make a third.
    fn verify_none_left(&self) -> Result<(), CaError> {
        let of_rotation = [&self.rotation, &self.next.key, &self.next.certificate];
        match of_rotation.into_iter().find(|path| fs::symlink_metadata(path).is_ok()) {
            Some(left) => Err(RotationError::Left { directory: self.directory.clone(), left: left.clone() }.into()),
            None => Ok(()),
        }
    }

    /// The certificates of a file; none if it is not there.
    pub(super) fn certificates(&self, path: &Path) -> Result<Option<Vec<CertificateDer<'static>>>, CaError> {
        let Some(file) = self.file(path, Role::Public)? else { return Ok(None) };
        parse_certificates(path, &read(path, file)?).map(Some)
    }

    /// The rotation that runs, if one does, and the octets that say so.
    pub(super) fn rotation(&self) -> Result<Option<(Vec<u8>, Rotation)>, CaError> {
        let Some(file) = self.file(&self.rotation, Role::Public)? else { return Ok(None) };
        let octets = read(&self.rotation, file)?.to_vec();
        let rotation = Rotation::parse(&self.rotation, &octets)?;
        Ok(Some((octets, rotation)))
    }

    /// The CA that is there, and the one that follows.
    pub(super) fn load_both(&self, now: SystemTime) -> Result<Loaded, CaError> {
        let opened = self.open()?.ok_or_else(|| self.missing())?;
        self.load(opened, now)
    }

    fn load(&self, opened: Opened, now: SystemTime) -> Result<Loaded, CaError> {
        let certificate_pem = read(&self.own.certificate, opened.certificate)?;
        let key_pem = read(&self.own.key, opened.key)?;
        let (octets, rotation) = self.rotation()?.unzip();
        // The CA that was is to have been one until the other took over; what it was longer is none of its business.
        let at = rotation.as_ref().map_or(now, |rotation| now.min(rotation.from()));
        let paths = PairPaths { certificate: &self.own.certificate, key: &self.own.key };
        let pair = match (CaPair::parse(paths, &certificate_pem, &key_pem, at), &rotation) {
            (Err(mismatch @ CaError::KeyMismatch { .. }), Some(rotation)) => {
                return Err(self.interrupted(rotation).unwrap_or(mismatch));
            }
            (pair, _) => pair?,
        };
        let following = match rotation {
            // It has been finished but for its own end.
            Some(rotation) if rotation.is_to(&pair.certificates[0]) => None,
            Some(rotation) => Some(self.following(rotation, &pair, now)?),
            None => None,
        };
        let mut sight = Sight { certificates: Vec::new(), rotation: octets };
        sight.add(pair.certificates.iter().cloned());
        sight.add(following.iter().flat_map(|following| following.pair.certificates.iter().cloned()));
        sight.add(others(&self.directory));
        Ok(Loaded { certificate_path: self.own.certificate.clone(), pair, following, sight })
    }

    /// That one half of the CA is the next one's already, if that is so.
    fn interrupted(&self, rotation: &Rotation) -> Option<CaError> {
        let is_next = certificates_at(&self.own.certificate).first().is_some_and(|first| rotation.is_to(first));
        let (certificate, key) = (self.own.certificate.clone(), self.own.key.clone());
        is_next.then(|| RotationError::Interrupted { certificate, key }.into())
    }

    fn following(&self, rotation: Rotation, current: &CaPair, now: SystemTime) -> Result<Following, CaError> {
        let another = |path: &Path| -> CaError {
            RotationError::Another { rotation: self.rotation.clone(), path: path.to_owned() }.into()
        };
        if !rotation.is_from(&current.certificates[0]) {
            return Err(another(&self.own.certificate));
        }
        let Paths { certificate, key } = &self.next;
        let opened = |path, role| self.file(path, role)?.ok_or_else(|| self.lost(path));
        let certificate_pem = read(certificate, opened(certificate, Role::Public)?)?;
        let key_pem = read(key, opened(key, Role::Secret)?)?;
        let pair = CaPair::parse(PairPaths { certificate, key }, &certificate_pem, &key_pem, now)?;
        if !rotation.is_to(&pair.certificates[0]) {
            return Err(another(certificate));
        }
        let crosses = rotation.crosses(&self.rotation, current, &pair)?;
        Ok(Following { pair, rotation, crosses })
    }

    /// Creates a CA in both files, and returns when all of it is on the disk.
    fn create(&self, directory: &File, now: SystemTime) -> Result<(), CaError> {
        let made = make(Algorithm::P256, now)?;
        write_pair(&self.own, &made, None)?;
        self.sync(directory)?;
        // The directory may itself be new. Its parent may be closed to us, and then there is nothing to be done.
        let _ = File::open(self.directory.join("..")).and_then(|parent| parent.sync_all());
        Ok(())
    }

    /// Gets names that have changed to the disk.
    pub(super) fn sync(&self, directory: &File) -> Result<(), CaError> {
        directory.sync_all().map_err(|source| CaError::Directory { path: self.directory.clone(), source })
    }
}

/// Reads a whole file into a buffer that is wiped when dropped, and never grows, which would leave copies behind.
pub(super) fn read(path: &Path, mut file: File) -> Result<Zeroizing<Vec<u8>>, CaError> {
    let failed = |source| CaError::Read { path: path.to_owned(), source };
    let length = file.metadata().map_err(failed)?.len();
    let length = usize::try_from(length).ok().filter(|length| *length <= FILE_OCTETS_MAX).ok_or_else(|| {
        failed(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {FILE_OCTETS_MAX} octets")))
    })?;
    let mut content = Zeroizing::new(vec![0; length]);
    file.read_exact(&mut content).map_err(failed)?;
    Ok(content)
}
