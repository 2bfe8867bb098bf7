//! Writes files of the CA: whole or not at all, and for those who have to read them.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use super::error::CaError;
use super::make::Made;
use super::store::Paths;
use super::text::pem;

const CERTIFICATE_MODE: u32 = 0o644;
const KEY_MODE: u32 = 0o600;
/// The bits of a mode that say who may do what.
const PERMISSIONS: u32 = 0o777;

/// Writes a CA into two files that are not there, the key first. `like` are those whose owners they are for.
pub(super) fn write_pair(to: &Paths, made: &Made, like: Option<&Paths>) -> Result<(), CaError> {
    let Paths { certificate, key } = to;
    write_new(key, &pem("PRIVATE KEY", &made.key_der), KEY_MODE, like.map(|like| &*like.key))?;
    let text = pem("CERTIFICATE", &made.certificate);
    write_new(certificate, &text, CERTIFICATE_MODE, like.map(|like| &*like.certificate)).inspect_err(|_| {
        // The key is ours, certified by nobody, and the next start shall not stumble over it. If it cannot be removed, that
        // start says so.
        let _ = fs::remove_file(key);
    })
}

/// Puts a file that everybody may read in its place, whole, whatever was there; for the owner of another one.
pub(super) fn replace(path: &Path, text: &str, like: &Path) -> Result<(), CaError> {
    let beside = path.with_extension("new");
    // Of somebody who was interrupted; the lock on the directory is ours.
    let _ = fs::remove_file(&beside);
    write_new(&beside, text, CERTIFICATE_MODE, Some(like))?;
    rename(&beside, path)
}

/// Gives a file another name, and takes that from the file that had it.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), CaError> {
    fs::rename(from, to).map_err(|source| CaError::Write { path: to.to_owned(), source })
}

/// Creates a file that did not exist, with its mode from the first moment, and gets it to the disk.
pub(super) fn write_new(path: &Path, text: &str, mode: u32, like: Option<&Path>) -> Result<(), CaError> {
    let failed = |source| CaError::Write { path: path.to_owned(), source };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    let given = like.map_or(Ok(()), |like| hand_over(&file, like));
    given.and_then(|()| file.write_all(text.as_bytes())).and_then(|()| file.sync_all()).map_err(|source| {
        // Ours and incomplete.
        let _ = fs::remove_file(path);
        failed(source)
    })
}

/// Gives a new file of root's to those that another one is for, who have been judged: a proxy that is not root has to read
/// what root has made beside the files that it reads.
fn hand_over(file: &File, like: &Path) -> io::Result<()> {
    let (model, own) = (fs::metadata(like)?, file.metadata()?);
    if (model.uid(), model.gid()) != (own.uid(), own.gid()) {
        match fchown(file, Some(model.uid()), Some(model.gid())) {
            Ok(()) => {}
            // Only root gives files away. What is ours, we can read.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    // Also where the folder has given it to the right group: that may have to read it.
    file.set_permissions(Permissions::from_mode(model.mode() & PERMISSIONS))
}
