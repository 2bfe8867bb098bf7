//! Looks at the certificates of a CA without its key.

use std::fs::{self, File};
use std::path::Path;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use super::error::CaError;
use super::rotation::{NEXT_CERTIFICATE_FILE, PREVIOUS_CERTIFICATE_FILE, ROTATION_FILE, Sight};
use super::store::{CERTIFICATE_FILE, Files, read};

/// What lies in a directory, for comparison alone: no key is looked at, and nothing is created or judged. Empty where there
/// is no CA, or none that can be read; that the other functions tell about.
pub fn sight(directory: &Path) -> Sight {
    let mut sight = Sight::default();
    sight.add(certificates_at(&directory.join(CERTIFICATE_FILE)));
    if !sight.is_empty() {
        sight.add(others(directory));
        sight.rotation = content_of(&directory.join(ROTATION_FILE)).map(|content| content.to_vec());
    }
    sight
}

/// The certificates that clients are to trust, in this order: those of [`CERTIFICATE_FILE`], and while a rotation runs the
/// next CA's. The files are judged as when the CA is loaded, but no key is looked at.
///
/// # Errors
/// [`CaError`], when there is no CA, or one that would not be loaded for its certificates.
pub fn trusted(directory: &Path) -> Result<Vec<CertificateDer<'static>>, CaError> {
    let files = Files::existing(directory)?;
    let _lock = files.lock()?;
    let mut trusted = files.certificates(&files.own.certificate)?.ok_or_else(|| files.missing())?;
    let rotation = files.rotation()?.map(|(_, rotation)| rotation);
    // One that was interrupted when it was finished leads to the CA that is there.
    if rotation.is_some_and(|rotation| !rotation.is_to(&trusted[0])) {
        trusted
            .extend(files.certificates(&files.next.certificate)?.ok_or_else(|| files.lost(&files.next.certificate))?);
    }
    Ok(trusted)
}

/// Certificates of our own besides those of the CA.
pub(super) fn others(directory: &Path) -> impl Iterator<Item = CertificateDer<'static>> {
    let names = [NEXT_CERTIFICATE_FILE, PREVIOUS_CERTIFICATE_FILE];
    names.map(|name| certificates_at(&directory.join(name))).into_iter().flatten()
}

pub(super) fn certificates_at(path: &Path) -> Vec<CertificateDer<'static>> {
    let pem = content_of(path);
    pem.map(|pem| CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect()).unwrap_or_default()
}

pub(super) fn content_of(path: &Path) -> Option<Zeroizing<Vec<u8>>> {
    // A pipe of this name would keep its reader waiting.
    let is_file = fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    is_file.then(|| File::open(path).ok().and_then(|file| read(path, file).ok())).flatten()
}
