//! Who else can write to a file: what matters is used only where the answer is nobody but root.
//!
//! Whoever can write to a file, to its folder, or to a folder above, can put another one in its place: a CA of his own for
//! clients to trust, a link to what we then overwrite. So a path is walked from the root, link by link, and everything on it
//! is judged before it is used. Each step is taken in a folder that passed, where others can no longer exchange what was
//! judged: it is not writable to them, or it is sticky, and then what is in it must be ours or root's. OpenSSH calls this
//! StrictModes.

mod error;

pub use error::AccessError;

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

const DIRECTORY_MODE: u32 = 0o700;
/// The permission bits, with set-user-ID, set-group-ID and sticky.
const MODE_BITS: u32 = 0o7777;
/// Permission bits that a key file must not have: all of group and others.
const FOREIGN_MODE: u32 = 0o077;
/// The one of them that root may have given: see [`Access::is_handed_over`].
const GROUP_READ: u32 = 0o040;
/// Permission bits that nothing else may have: writing by group and others. Who is in a group cannot be told.
const FOREIGN_WRITE_MODE: u32 = 0o022;
/// In a directory with this bit only their owners, and its own, can remove or rename files.
const STICKY: u32 = 0o1000;
const ROOT: u32 = 0;
/// How many symbolic links are followed on one path, as in the Linux kernel.
const LINKS_MAX: usize = 40;

/// What others must not do with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everybody may read it.
    Public,
    /// Nobody else may do anything with it, but for a group that root has given it to.
    Secret,
}

/// The judge of files and folders, on behalf of one user.
#[derive(Clone, Debug)]
pub struct Access {
    /// Our effective uid; owners are not judged without it.
    uid: Option<u32>,
    /// Our effective group and the supplementary ones.
    groups: Vec<u32>,
    /// Whether a folder is judged by its owner alone.
    by_owner: bool,
}

impl Access {
    /// For the user as whom the process runs, where the system tells it in a file (Linux). The standard library does not,
    /// and the owner of `/proc/self` will not do: it is root for a process that may not be dumped.
    pub fn of_process() -> Self {
        Self::parse_status(&fs::read_to_string("/proc/self/status").unwrap_or_default())
    }

    /// On behalf of the owner of a folder: nobody but this user and root may be able to write to what is judged. For what is
    /// theirs to give away, whoever we are.
    ///
    /// # Errors
    /// When the system does not tell whose folder it is.
    pub fn of_owner(folder: &Path) -> Result<Self, AccessError> {
        let metadata =
            fs::metadata(folder).map_err(|source| AccessError::Folder { path: folder.to_owned(), source })?;
        Ok(Self { uid: Some(metadata.uid()), groups: Vec::new(), by_owner: false })
    }

    /// The user on whose behalf this judges, if that is neither root nor the one of `ours`.
    pub fn owner_beside(&self, ours: &Self) -> Option<u32> {
        self.uid.filter(|uid| *uid != ROOT && ours.uid.is_some_and(|own| own != *uid))
    }

    /// Reads `/proc/self/status`.
    fn parse_status(status: &str) -> Self {
        let numbers = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().split_whitespace().map_while(|word| word.parse::<u32>().ok())
        };
        // Real, effective, saved and of the file system.
        Self {
            uid: numbers("Uid:").nth(1),
            groups: numbers("Gid:").nth(1).into_iter().chain(numbers("Groups:")).collect(),
            by_owner: false,
        }
    }

    /// The same, but whoever owns a folder may let others write to it. What they put there is theirs, and is refused by that;
    /// what they could do is to exchange it while it is looked at. For what has to be in a volume of Kubernetes, which a group
    /// can always write to.
    #[must_use]
    pub fn by_owner(self) -> Self {
        Self { by_owner: true, ..self }
    }

    /// Creates a directory, and those above that are not there, with mode 0700; none of them in a directory that others
    /// can write to. Refuses one that is there if others can.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn create_directory(&self, path: &Path) -> Result<(), AccessError> {
        let failed = |source| AccessError::Folder { path: path.to_owned(), source };
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
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn verify_directory(&self, path: &Path) -> Result<(), AccessError> {
        let failed = |kind: io::ErrorKind| AccessError::Folder { path: path.to_owned(), source: kind.into() };
        match self.walk_for_directory(path)? {
            Some(end) if end.metadata.is_dir() => Ok(()),
            Some(_) => Err(failed(io::ErrorKind::NotADirectory)),
            None => Err(failed(io::ErrorKind::NotFound)),
        }
    }

    /// Judges a file without opening it, and tells where it is when every link is followed; none if there is no such file.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn judge(&self, path: &Path, role: Role) -> Result<Option<PathBuf>, AccessError> {
        let Some(end) = self.walk(path)? else { return Ok(None) };
        self.judge_file(path, role, &end.metadata)?;
        Ok(Some(end.path))
    }

    /// Our uid, if the owner is neither we nor root.
    pub fn stranger(&self, owner: u32) -> Option<u32> {
        self.uid.filter(|uid| owner != *uid && owner != ROOT)
    }

    /// As [`Self::walk`], with errors of the system told of the whole path.
    fn walk_for_directory(&self, path: &Path) -> Result<Option<End>, AccessError> {
        self.walk(path).map_err(|error| match error {
            AccessError::Read { source, .. } => AccessError::Folder { path: path.to_owned(), source },
            judged => judged,
        })
    }

    /// Opens a file for reading; none if there is no such file. Links are followed to where others cannot write.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn open(&self, path: &Path, role: Role) -> Result<Option<File>, AccessError> {
        let failed = |source| AccessError::Read { path: path.to_owned(), source };
        // Before it is opened, for that could wait for the other end of a pipe, or do something to a device. What passes
        // can be exchanged by us and root only.
        let Some(end) = self.judge(path, role)? else { return Ok(None) };
        let file = File::open(end).map_err(failed)?;
        self.judge_file(path, role, &file.metadata().map_err(failed)?)?;
        Ok(Some(file))
    }

    /// Follows a path from the root to what is neither link nor absent; none if something is absent. Judges each link
    /// and each directory on the way, and the end if it is a directory.
    fn walk(&self, path: &Path) -> Result<Option<End>, AccessError> {
        let failed = |path: &Path, source| AccessError::Read { path: path.to_owned(), source };
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

    fn judge_directory(&self, path: &Path, metadata: &Metadata) -> Result<(), AccessError> {
        let (mode, owner) = (metadata.mode() & MODE_BITS, metadata.uid());
        if let Some(expected) = self.stranger(owner) {
            return Err(AccessError::FolderOwner { path: path.to_owned(), mode, owner, expected });
        }
        if !self.by_owner && mode & FOREIGN_WRITE_MODE != 0 && mode & STICKY == 0 {
            return Err(AccessError::FolderPermissions { path: path.to_owned(), mode, owner });
        }
        Ok(())
    }

    /// A link has no mode, and matters in sticky directories, where others can put theirs.
    fn judge_link(&self, path: &Path, metadata: &Metadata) -> Result<(), AccessError> {
        let owner = metadata.uid();
        match self.stranger(owner) {
            Some(expected) => Err(AccessError::LinkOwner { path: path.to_owned(), owner, expected }),
            None => Ok(()),
        }
    }

    fn judge_file(&self, path: &Path, role: Role, metadata: &Metadata) -> Result<(), AccessError> {
        let path = path.to_owned();
        if !metadata.is_file() {
            return Err(AccessError::NotRegular { path });
        }
        let (mode, owner) = (metadata.mode() & MODE_BITS, metadata.uid());
        let is_open = match role {
            Role::Secret => mode & FOREIGN_MODE != 0 && !self.is_handed_over(metadata),
            Role::Public => mode & FOREIGN_WRITE_MODE != 0,
        };
        if is_open {
            return Err(AccessError::FilePermissions { path, mode });
        }
        match self.stranger(owner) {
            Some(expected) => Err(AccessError::FileOwner { path, owner, expected }),
            None => Ok(()),
        }
    }

    /// Whether a key is one that root lets a group of ours read, and nobody else do anything with. A Kubernetes Secret comes
    /// so, and cannot come otherwise to a process that is not root: its files are root's, and `fsGroup` gives them to a group
    /// that the pod has to itself. Who else is in the group is root's decision, whose file it is and who could read the key
    /// anyway; we could not read it without that group. Where we are root, or the owner is we, there is no need for it.
    fn is_handed_over(&self, metadata: &Metadata) -> bool {
        metadata.mode() & FOREIGN_MODE == GROUP_READ
            && metadata.uid() == ROOT
            && self.uid.is_some_and(|uid| uid != ROOT)
            && self.groups.contains(&metadata.gid())
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown};

    fn of(uid: Option<u32>, groups: &[u32]) -> Access {
        Access { uid, groups: groups.to_vec(), by_owner: false }
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn root_and_we_are_no_strangers_and_without_a_uid_nobody_is() {
        let ada = of(Some(1000), &[]);
        assert_eq!([0, 1000, 1001].map(|owner| ada.stranger(owner)), [None, None, Some(1000)]);
        assert_eq!(of(None, &[]).stranger(1001), None);
        assert!(!cfg!(target_os = "linux") || Access::of_process().uid.is_some());
    }

    #[test]
    fn who_we_are_is_read() {
        let read = |text: &str| {
            let Access { uid, groups, .. } = Access::parse_status(text);
            (uid, groups)
        };
        let status = "Name:\tpinproxy\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nNStgid:\t9\nGroups:\t10 11 \n";
        assert_eq!(read(status), (Some(2), vec![6, 10, 11]));
        assert_eq!(read("Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t \n"), (Some(2), vec![6]));
        assert_eq!(read(""), (None, vec![]));
    }

    /// Root's key for a group is taken by a member of the group who is not root, and only if nobody else may do more than
    /// that.
    #[test]
    fn a_key_is_handed_over_by_root_to_a_group_of_ours_and_in_no_other_way() {
        const ADA: u32 = 54_321;
        const OURS: u32 = 54_322;
        const THEIRS: u32 = 54_323;
        let directory = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
        let key = directory.path().join("ca.key");
        fs::write(&key, "").unwrap();
        if chown(&key, Some(ROOT), Some(OURS)).is_err() {
            println!("skipped: only root can give a file away");
            return;
        }
        let member = of(Some(ADA), &[THEIRS, OURS]);
        let open = |access: &Access| access.open(&key, Role::Secret).map(|file| assert!(file.is_some()));
        for mode in [0o440, 0o640, 0o040] {
            set_mode(&key, mode);
            open(&member).unwrap();
            for other in
                [of(Some(ADA), &[]), of(Some(ADA), &[THEIRS, ROOT]), of(Some(ROOT), &[OURS]), of(None, &[OURS])]
            {
                let error = open(&other).unwrap_err();
                assert!(
                    matches!(error, AccessError::FilePermissions { mode: found, .. } if found == mode),
                    "{other:?}: {error}"
                );
            }
        }
        for mode in [0o444, 0o441, 0o460, 0o450, 0o420, 0o410, 0o644, 0o660] {
            set_mode(&key, mode);
            let error = open(&member).unwrap_err();
            assert!(matches!(error, AccessError::FilePermissions { mode: found, .. } if found == mode), "{error}");
        }
        // What is ours we can close ourselves; what is a stranger's he can replace.
        set_mode(&key, 0o440);
        for owner in [ADA, ADA + 10] {
            chown(&key, Some(owner), Some(OURS)).unwrap();
            assert!(matches!(open(&member), Err(AccessError::FilePermissions { .. })), "{owner}");
        }
    }

    #[test]
    fn modes_are_judged_without_a_uid() {
        let directory = tempfile::TempDir::new().unwrap();
        set_mode(directory.path(), 0o777);
        let refused = of(None, &[]).verify_directory(directory.path());
        assert!(matches!(refused, Err(AccessError::FolderPermissions { mode: 0o777, .. })), "{refused:?}");
    }
}
