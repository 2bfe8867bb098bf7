//! Reading of files that an operator names.

use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Largest file with certificates or revocation lists in octets.
pub(super) const MATERIAL_OCTETS_MAX: u64 = 64 << 20;

/// The octets of a regular file. A pipe, a device or a socket may never come to its end, so it is refused without being
/// read from.
///
/// # Errors
/// What the system says, and for what is no regular file or too large.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let mut octets = Vec::new();
    file.take(MATERIAL_OCTETS_MAX + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > MATERIAL_OCTETS_MAX {
        return Err(io::Error::other(format!("it is larger than {} MiB", MATERIAL_OCTETS_MAX >> 20)));
    }
    Ok(octets)
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
            assert_eq!(read(path).unwrap_err().to_string(), "it is no regular file", "{}", path.display());
        }
        assert_eq!(read(folder.path()).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert_eq!(read(&folder.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
        let plain = folder.path().join("plain");
        std::fs::write(&plain, "text").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&plain, &link).unwrap();
        assert_eq!(read(&link).unwrap(), b"text");
    }
}
