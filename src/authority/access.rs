//! Who else can write to the CA: its files are opened only where the answer is nobody but root.
//!
//! Whoever can write to the certificate, to its directory, or to a directory above, can have us print a CA of his own
//! for clients to trust. So a path is walked from the root, link by link, and everything on it is judged before it is
//! used. Each step is taken in a directory that passed, where others can no longer exchange what was judged: it is not
//! writable to them, or it is sticky, and then what is in it must be ours or root's. OpenSSH calls this StrictModes.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::error::CaError;

const DIRECTORY_MODE: u32 = 0o700;
/// The permission bits, with set-user-ID, set-group-ID and sticky.
const MODE_BITS: u32 = 0o7777;
/// Permission bits that a key file must not have: all of group and others.
const FOREIGN_MODE: u32 = 0o077;
/// Permission bits that nothing else may have: writing by group and others. Who is in a group cannot be told.
const FOREIGN_WRITE_MODE: u32 = 0o022;
/// In a directory with this bit only their owners, and its own, can remove or rename files.
const STICKY: u32 = 0o1000;
const ROOT: u32 = 0;
/// How many symbolic links are followed on one path, as in the Linux kernel.
const LINKS_MAX: usize = 40;

/// Which of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Everybody may read it.
    Certificate,
    /// Nobody else may do anything with it.
    Key,
}

/// The judge of files and directories, on behalf of one user.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    /// Our effective uid; owners are not judged without it.
    uid: Option<u32>,
}

impl Access {
    /// For the user as whom the process runs.
    pub(super) fn of_process() -> Self {
        Self { uid: effective_uid() }
    }

    /// Creates a directory, and those above that are not there, with mode 0700; none of them in a directory that others
    /// can write to. Refuses one that is there if others can.
    pub(super) fn create_directory(self, path: &Path) -> Result<(), CaError> {
        let failed = |source| CaError::Directory { path: path.to_owned(), source };
        let path = std::path::absolute(path).map_err(failed)?;
        if self.walk_for_directory(&path)?.is_none() {
            if let Some(parent) = path.parent() {
                self.create_directory(parent)?;
            }
            match DirBuilder::new().mode(DIRECTORY_MODE).create(&path) {
                // Another process was faster, or it is a link to nowhere, which the next line finds out.
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
                _ => {}
            }
        }
        self.verify_directory(&path)
    }

    /// Refuses a path that is not a directory, or one where others can write, there or above.
    pub(super) fn verify_directory(self, path: &Path) -> Result<(), CaError> {
        let failed = |kind: io::ErrorKind| CaError::Directory { path: path.to_owned(), source: kind.into() };
        match self.walk_for_directory(path)? {
            Some(end) if end.metadata.is_dir() => Ok(()),
            Some(_) => Err(failed(io::ErrorKind::NotADirectory)),
            None => Err(failed(io::ErrorKind::NotFound)),
        }
    }

    /// As [`Self::walk`], with errors of the system told of the whole path.
    fn walk_for_directory(self, path: &Path) -> Result<Option<End>, CaError> {
        self.walk(path).map_err(|error| match error {
            CaError::Read { source, .. } => CaError::Directory { path: path.to_owned(), source },
            judged => judged,
        })
    }

    /// Opens a file for reading; none if there is no such file. Links are followed to where others cannot write.
    pub(super) fn open(self, path: &Path, role: Role) -> Result<Option<File>, CaError> {
        let failed = |source| CaError::Read { path: path.to_owned(), source };
        let Some(end) = self.walk(path)? else { return Ok(None) };
        // Before it is opened, for that could wait for the other end of a pipe, or do something to a device. What passes
        // can be exchanged by us and root only.
        self.judge_file(path, role, &end.metadata)?;
        let file = File::open(&end.path).map_err(failed)?;
        self.judge_file(path, role, &file.metadata().map_err(failed)?)?;
        Ok(Some(file))
    }

    /// Follows a path from the root to what is neither link nor absent; none if something is absent. Judges each link
    /// and each directory on the way, and the end if it is a directory.
    fn walk(self, path: &Path) -> Result<Option<End>, CaError> {
        let failed = |path: &Path, source| CaError::Read { path: path.to_owned(), source };
        let absolute = std::path::absolute(path).map_err(|source| failed(path, source))?;
        // What is still to go, the next one last.
        let mut ahead = Vec::new();
        push_components(&mut ahead, &absolute);
        let mut links = 0;
        let mut reached = PathBuf::new();
        while let Some(name) = ahead.pop() {
            if name == ".." {
                reached.pop();
                continue;
            }
            // The root replaces what was reached before.
            let next = reached.join(name);
            let metadata = match fs::symlink_metadata(&next) {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(source) => return Err(failed(&next, source)),
            };
            if metadata.is_symlink() {
                self.judge_link(&next, &metadata)?;
                links += 1;
                if links > LINKS_MAX {
                    return Err(failed(&next, io::Error::other("too many symbolic links")));
                }
                push_components(&mut ahead, &fs::read_link(&next).map_err(|source| failed(&next, source))?);
                continue;
            }
            if metadata.is_dir() {
                self.judge_directory(&next, &metadata)?;
            }
            reached = next;
        }
        match fs::symlink_metadata(&reached) {
            Ok(metadata) => Ok(Some(End { path: reached, metadata })),
            Err(source) => Err(failed(&reached, source)),
        }
    }

    fn judge_directory(self, path: &Path, metadata: &Metadata) -> Result<(), CaError> {
        let (mode, owner) = (metadata.mode() & MODE_BITS, metadata.uid());
        if let Some(expected) = self.stranger(owner) {
            return Err(CaError::DirectoryOwner { path: path.to_owned(), mode, owner, expected });
        }
        if mode & FOREIGN_WRITE_MODE != 0 && mode & STICKY == 0 {
            return Err(CaError::DirectoryPermissions { path: path.to_owned(), mode, owner });
        }
        Ok(())
    }

    /// A link has no mode, and matters in sticky directories, where others can put theirs.
    fn judge_link(self, path: &Path, metadata: &Metadata) -> Result<(), CaError> {
        let owner = metadata.uid();
        match self.stranger(owner) {
            Some(expected) => Err(CaError::LinkOwner { path: path.to_owned(), owner, expected }),
            None => Ok(()),
        }
    }

    fn judge_file(self, path: &Path, role: Role, metadata: &Metadata) -> Result<(), CaError> {
        let path = path.to_owned();
        if !metadata.is_file() {
            return Err(CaError::NotRegular { path });
        }
        let (mode, owner) = (metadata.mode() & MODE_BITS, metadata.uid());
        match (role, self.stranger(owner)) {
            (Role::Key, _) if mode & FOREIGN_MODE != 0 => Err(CaError::KeyPermissions { path, mode }),
            (Role::Certificate, _) if mode & FOREIGN_WRITE_MODE != 0 => {
                Err(CaError::CertificatePermissions { path, mode })
            }
            (Role::Key, Some(expected)) => Err(CaError::KeyOwner { path, owner, expected }),
            (Role::Certificate, Some(expected)) => Err(CaError::CertificateOwner { path, owner, expected }),
            (_, None) => Ok(()),
        }
    }

    /// Our uid, if the owner is neither we nor root.
    fn stranger(self, owner: u32) -> Option<u32> {
        self.uid.filter(|uid| owner != *uid && owner != ROOT)
    }
}

/// What a path leads to.
struct End {
    /// Without links.
    path: PathBuf,
    metadata: Metadata,
}

/// Puts the components of a path on a stack, the first one on top.
fn push_components(stack: &mut Vec<OsString>, path: &Path) {
    let names = path.components().rev().map(|component| component.as_os_str().to_owned());
    stack.extend(names.filter(|name| name != "."));
}

/// Our effective uid, where the system tells it in a file (Linux). The standard library does not, and the owner of
/// `/proc/self` will not do: it is root for a process that may not be dumped.
fn effective_uid() -> Option<u32> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    // Real, effective, saved and filesystem uid.
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_we_are_no_strangers_and_without_a_uid_nobody_is() {
        let ada = Access { uid: Some(1000) };
        assert_eq!([0, 1000, 1001].map(|owner| ada.stranger(owner)), [None, None, Some(1000)]);
        assert_eq!(Access { uid: None }.stranger(1001), None);
        assert!(!cfg!(target_os = "linux") || effective_uid().is_some());
    }

    #[test]
    fn modes_are_judged_without_a_uid() {
        use std::os::unix::fs::PermissionsExt;

        let directory = tempfile::TempDir::new().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let refused = Access { uid: None }.verify_directory(directory.path());
        assert!(matches!(refused, Err(CaError::DirectoryPermissions { mode: 0o777, .. })), "{refused:?}");
    }
}
