//! Looks at the certificates of a CA without its key.

use std::fs::{self, File};
use std::path::Path;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use super::rotation::{NEXT_CERTIFICATE_FILE, PREVIOUS_CERTIFICATE_FILE, ROTATION_FILE, Sight};
use super::store::{CERTIFICATE_FILE, read};

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
