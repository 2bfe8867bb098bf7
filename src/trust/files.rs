//! The files that variables of the environment name: bundle, CA alone, trust store.

use super::bundle::Bundle;
use super::pkcs12::{StoreError, USUAL_PASSWORD, trust_store};
use crate::authority;
use crate::files;
use rustls::pki_types::CertificateDer;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// There is nothing secret in them.
const FILE_MODE: u32 = 0o644;
/// Of folders that are made: what is in them is for their owner.
const FOLDER_MODE: u32 = 0o700;

/// Where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// PEM: the CA and the roots.
    pub bundle: PathBuf,
    /// A folder with the bundle in it and nothing else.
    pub folder: PathBuf,
    /// PEM: the CA alone.
    pub ca: PathBuf,
    /// PKCS#12 with what is in the bundle, by [`USUAL_PASSWORD`].
    pub store: PathBuf,
}

/// Why they are not there. The texts are shown to users.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// One of them, or their folder.
    #[error("{} cannot be written: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The reason of the operating system.
        source: io::Error,
    },
    /// The trust store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Files {
    /// Writes them into a folder, which is made where it is missing. Each comes to its place in one piece: whoever reads one
    /// while it is replaced reads the old or the new one.
    ///
    /// # Errors
    /// [`FilesError`].
    pub fn write(into: &Path, bundle: &Bundle, ca: &[CertificateDer<'_>]) -> Result<Self, FilesError> {
        let folder = into.join("certs");
        let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&folder);
        made.map_err(|source| FilesError::Write { path: folder.clone(), source })?;
        let files = Self {
            bundle: folder.join("ca-bundle.pem"),
            folder,
            ca: into.join("ca.pem"),
            store: into.join("trust.p12"),
        };
        let ca: String = ca.iter().map(authority::certificate_pem).collect();
        replace(into, &files.bundle, bundle.to_pem().as_bytes())?;
        replace(into, &files.ca, ca.as_bytes())?;
        replace(into, &files.store, &trust_store(bundle.certificates(), USUAL_PASSWORD)?)?;
        Ok(files)
    }
}

/// Begins the file in `into`, never in the folder of the bundle, whose readers take every file in it.
fn replace(into: &Path, path: &Path, octets: &[u8]) -> Result<(), FilesError> {
    let written = files::replace_by(into, path, octets, FILE_MODE);
    written.map_err(|source| FilesError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::anchors::TrustAnchors;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn they_are_replaced_and_everybody_may_read_them() {
        let folder = tempfile::tempdir().unwrap();
        let into = folder.path().join("a/b");
        let [first, second] = [0, 1].map(|index| vec![webpki_root_certs::TLS_SERVER_ROOT_CERTS[index].clone()]);
        let roots = TrustAnchors::from_certificates([webpki_root_certs::TLS_SERVER_ROOT_CERTS[2].clone()]).unwrap();
        for ca in [&first, &second] {
            let bundle = Bundle::of(ca, &roots);
            let files = Files::write(&into, &bundle, ca).unwrap();
            assert_eq!(fs::read_to_string(&files.bundle).unwrap(), bundle.to_pem());
            assert_eq!(fs::read_to_string(&files.ca).unwrap(), authority::certificate_pem(&ca[0]));
            assert_eq!([&files.bundle, &files.ca, &files.store].map(|path| mode(path)), [0o644; 3]);
            let in_folder: Vec<_> = fs::read_dir(&files.folder).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert_eq!(in_folder, [files.bundle]);
            assert_eq!(fs::read_dir(&into).unwrap().count(), 3, "nothing else is left behind");
        }
        assert_eq!((mode(&into), mode(&folder.path().join("a"))), (0o700, 0o700));
    }

    #[test]
    fn a_folder_that_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        let error = Files::write(&path, &Bundle::of(&[], &TrustAnchors::from_certificates([]).unwrap()), &[]);
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}/certs cannot be written: ", path.display())), "{error}");
    }
}
