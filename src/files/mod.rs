//! Reading of files that an operator names: the configuration, trust anchors, revocation lists. Writing of those that
//! others read.

mod access;
mod stamp;

pub use access::{Access, AccessError, Role};
pub use stamp::{Stamp, Stamps, anew};

use rustix::fs::OFlags;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// How often a file is read that changes meanwhile.
const READS_MAX: u32 = 3;

/// The octets of a regular file, as many as the limit at most, of one moment: half of a file that is being written may
/// be a valid one. A pipe, a device or a socket may never come to its end, so it is refused without being read from.
///
/// # Errors
/// What the system says, and for what is no regular file or does not stop changing.
pub fn read(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    for _ in 0..READS_MAX {
        if let Some(octets) = read_unchanged(path, limit)? {
            return Ok(octets);
        }
    }
    Err(io::Error::other("it changes while it is read; write it under another name and move it into its place"))
}

/// Nothing when the file was written to in between.
fn read_unchanged(path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let file = open(path)?;
    let before = file.metadata()?;
    let mut octets = Vec::new();
    (&file).take(limit as u64).read_to_end(&mut octets)?;
    let after = file.metadata()?;
    let same = before.len() == after.len() && before.modified()? == after.modified()?;
    Ok(same.then_some(octets))
}

/// Puts a file with these octets and this mode in the place of whatever is there. Who reads it meanwhile gets the one or the
/// other, whole; a link is replaced, not followed.
///
/// # Errors
/// What the system says; then nothing has changed.
pub fn replace(path: &Path, octets: &[u8], mode: u32) -> io::Result<()> {
    replace_by(path.parent().unwrap_or_else(|| Path::new("")), path, octets, mode)
}

/// The same for a folder whose readers take every file in it: the new file begins in another one of the same file system.
///
/// # Errors
/// As of [`replace`].
pub fn replace_by(folder: &Path, path: &Path, octets: &[u8], mode: u32) -> io::Result<()> {
    let permissions = fs::Permissions::from_mode(mode);
    let mut new = tempfile::Builder::new().permissions(permissions.clone()).tempfile_in(folder)?;
    // Whatever the umask.
    new.as_file().set_permissions(permissions)?;
    new.write_all(octets)?;
    new.as_file().sync_all()?;
    new.persist(path).map(drop).map_err(|error| error.error)
}

fn open(path: &Path) -> io::Result<File> {
    // Without waiting for the other end of a pipe; of a regular file this changes nothing.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let kind = file.metadata()?;
    match (kind.is_file(), kind.is_dir()) {
        (true, _) => Ok(file),
        (false, true) => Err(io::Error::from(io::ErrorKind::IsADirectory)),
        (false, false) => Err(io::Error::other("it is no regular file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [pipe.as_path(), Path::new("/dev/zero"), Path::new("/dev/null")] {
            assert_eq!(read(path, 9).unwrap_err().to_string(), "it is no regular file", "{}", path.display());
        }
        assert_eq!(read(folder.path(), 9).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert_eq!(read(&folder.path().join("none"), 9).unwrap_err().kind(), io::ErrorKind::NotFound);
        let plain = folder.path().join("plain");
        fs::write(&plain, "text").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&plain, &link).unwrap();
        assert_eq!(read(&link, 9).unwrap(), b"text");
        assert_eq!(read(&link, 2).unwrap(), b"te", "and no more than the limit");
    }

    #[test]
    fn a_file_is_replaced_whole_and_a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("kept"), "kept").unwrap();
        std::os::unix::fs::symlink(path("kept"), path("file")).unwrap();
        for (text, mode) in [("one", 0o644), ("two", 0o600)] {
            replace(&path("file"), text.as_bytes(), mode).unwrap();
            let metadata = fs::symlink_metadata(path("file")).unwrap();
            assert!(metadata.is_file());
            assert_eq!(metadata.permissions().mode() & 0o7777, mode);
            assert_eq!(fs::read_to_string(path("file")).unwrap(), text);
        }
        assert_eq!(fs::read_to_string(path("kept")).unwrap(), "kept");
        fs::create_dir(path("folder")).unwrap();
        fs::write(path("folder/inside"), "").unwrap();
        replace(&path("folder"), b"", 0o644).unwrap_err();
        assert_eq!(replace(&path("none/file"), b"", 0o644).unwrap_err().kind(), io::ErrorKind::NotFound);
        let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["file", "folder", "kept"]);
    }
}
