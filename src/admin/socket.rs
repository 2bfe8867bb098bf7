//! The control socket as a file: its owner's alone, and gone when the process is.

use crate::files::{Access, AccessError};
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;

/// How often another name is tried where one is taken: by a process that was killed, or by somebody who guesses.
const NAMES_TRIED_MAX: usize = 8;

/// The control socket. The file goes when this is dropped, unless it is another process's by then.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    identity: (u64, u64),
}

/// Why there is no control socket. The texts are shown to operators.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// There is something else under its path.
    #[error("{path} is no socket; [admin] socket has to be a path of its own", path = .0.display())]
    Other(PathBuf),
    /// Somebody else has made it.
    #[error(
        "the control socket {path} belongs to uid {owner}, who could answer in the place of the proxy; remove it, or name one \
         in a folder that is the proxy's alone, such as /run/pinproxy/control.sock", path = .path.display()
    )]
    Stranger {
        /// Its path.
        path: PathBuf,
        /// The uid that owns it.
        owner: u32,
    },
    /// Others could put a socket of theirs in its place.
    #[error("[admin] socket: {0}")]
    Folder(AccessError),
    /// The system does not give it.
    #[error("cannot make the control socket {path}: {source}", path = .path.display())]
    Io {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl ControlSocket {
    /// Listens under a path, as nobody but its owner can. A socket that is there already is taken over: of an instance that
    /// ends while this one takes its place, or of one that was killed. To be called within a runtime.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn bind(path: &Path) -> Result<(Self, UnixListener), SocketError> {
        let failed = |source| SocketError::Io { path: path.to_owned(), source };
        let beside = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let access = Access::of_process();
        judge(&access, beside).map_err(|error| match error {
            AccessError::Folder { source, .. } | AccessError::Read { source, .. } => failed(source),
            other => SocketError::Folder(other),
        })?;
        match fs::symlink_metadata(path) {
            Ok(found) if access.stranger(found.uid()).is_some() => {
                return Err(SocketError::Stranger { path: path.to_owned(), owner: found.uid() });
            }
            Ok(found) if !found.file_type().is_socket() => return Err(SocketError::Other(path.to_owned())),
            Ok(_) if is_listened_to(path) => {
                let path = path.display();
                tracing::warn!(
                    "another process listens on the control socket {path}; it is taken over, and answers for this one now"
                );
            }
            _ => {}
        }
        // Made under another name, in a folder that is nobody else's, and moved: there is no moment at which others could
        // connect, and none at which there is no socket.
        let folder = private_folder(beside).map_err(failed)?;
        let made = make(&folder, path);
        drop(fs::remove_dir_all(&folder));
        let (listener, identity) = made.map_err(failed)?;
        Ok((Self { path: path.to_owned(), identity }, listener))
    }
}

/// Refuses a folder in which others can put a socket of theirs in the place of ours. In a sticky one they cannot.
fn judge(access: &Access, folder: &Path) -> Result<(), AccessError> {
    match access.verify_directory(folder) {
        Err(AccessError::FolderPermissions { path, .. })
            if fs::canonicalize(folder).is_ok_and(|folder| folder == path) && is_volume_of_root(&path) =>
        {
            Ok(())
        }
        judged => judged,
    }
}

/// Whether a folder of root's is a file system of its own, as Kubernetes mounts an emptyDir: everybody can write to it, which
/// no manifest can change, and everybody is who it is mounted for.
fn is_volume_of_root(folder: &Path) -> bool {
    let (Ok(found), Ok(above)) = (fs::metadata(folder), fs::metadata(folder.join(".."))) else { return false };
    found.uid() == 0 && found.dev() != above.dev()
}

/// Whether a process listens there. It is not waited for: one that was stopped accepts nobody.
fn is_listened_to(path: &Path) -> bool {
    let connect = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    };
    match connect() {
        Ok(()) => true,
        // As many wait already as may.
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

/// A folder that nobody else can look into, of a name that nobody else has.
fn private_folder(beside: &Path) -> io::Result<PathBuf> {
    let mut tried = 0;
    loop {
        tried += 1;
        // Short, since the path of a socket may have 107 octets.
        let number = RandomState::new().hash_one(tried) >> 32;
        let folder = beside.join(format!(".pinproxy-{number:08x}"));
        match std::os::unix::fs::DirBuilderExt::mode(&mut fs::DirBuilder::new(), 0o700).create(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tried < NAMES_TRIED_MAX => {}
            Err(error) => return Err(error),
        }
    }
}

fn make(folder: &Path, path: &Path) -> io::Result<(UnixListener, (u64, u64))> {
    let socket = folder.join("s");
    let listener = UnixListener::bind(&socket)?;
    fs::set_permissions(&socket, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let found = fs::symlink_metadata(&socket)?;
    fs::rename(&socket, path)?;
    Ok((listener, (found.dev(), found.ino())))
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity);
        if is_ours {
            drop(fs::remove_file(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};
    use std::os::unix::net::UnixListener as StdListener;

    const OTHER: u32 = 65_534;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn entries(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn folders_and_names_that_others_have() {
        let outer = tempfile::tempdir().unwrap();
        let table: [(u32, bool); 7] = [
            (0o700, true),
            (0o755, true),
            (0o1777, true),
            (0o777, false),
            (0o770, false),
            (0o2775, false),
            (0o702, false),
        ];
        for (mode, usable) in table {
            let folder = outer.path().join(format!("{mode:o}"));
            fs::create_dir(&folder).unwrap();
            set_mode(&folder, mode);
            for path in [folder.join("s.sock"), folder.join("below/s.sock")] {
                drop(fs::create_dir(folder.join("below")));
                match ControlSocket::bind(&path) {
                    Ok(_) => assert!(usable, "{mode:o}"),
                    Err(error) => {
                        let told = format!("[admin] socket: the folder {} has mode {mode:04o}", folder.display());
                        let error = error.to_string();
                        assert!(!usable && error.starts_with(&told) && error.contains("chmod go-w"), "{error}");
                    }
                }
            }
            assert_eq!(entries(&folder), ["below"], "nothing stays behind");
        }
    }

    #[tokio::test]
    async fn what_somebody_else_has_made() {
        let outer = tempfile::tempdir().unwrap();
        let path = |name: &str| outer.path().join(name);
        fs::create_dir(path("theirs")).unwrap();
        fs::create_dir(path("sticky")).unwrap();
        set_mode(&path("sticky"), 0o1777);
        drop(StdListener::bind(path("sticky/s.sock")).unwrap());
        symlink("/nowhere", path("sticky/link")).unwrap();
        fs::write(path("sticky/file"), "").unwrap();
        for (name, owned, says) in [
            ("theirs/s.sock", "theirs", "who can replace what is in it; run: chown"),
            ("sticky/s.sock", "sticky/s.sock", "belongs to uid 65534, who could answer"),
            ("sticky/link", "sticky/link", "belongs to uid 65534, who could answer"),
            ("sticky/file", "sticky/file", "belongs to uid 65534, who could answer"),
        ] {
            if lchown(path(owned), Some(OTHER), None).is_err() {
                println!("skipped: only root can give a file away");
                return;
            }
            let before = entries(path(name).parent().unwrap());
            let error = ControlSocket::bind(&path(name)).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
            assert_eq!(entries(path(name).parent().unwrap()), before);
        }
    }

    /// A folder with the number of a process that was killed, and a predecessor that accepts nobody: neither is in the way.
    #[tokio::test]
    async fn what_predecessors_have_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        fs::create_dir(folder.path().join(format!(".pinproxy-{}", std::process::id()))).unwrap();
        let stopped = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        stopped.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        stopped.listen(0).unwrap();
        let mut waiting = Vec::new();
        loop {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            match socket.connect(&SockAddr::unix(&path).unwrap()) {
                Ok(()) => waiting.push(socket),
                Err(error) => break assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        assert!(is_listened_to(&path));
        let (socket, _listener) = ControlSocket::bind(&path).unwrap();
        assert_eq!(fs::symlink_metadata(&path).unwrap().mode() & 0o777, 0o600);
        drop(socket);
        drop(stopped);
        drop(StdListener::bind(&path).unwrap());
        assert!(!is_listened_to(&path), "it was left behind");
        drop(ControlSocket::bind(&path).unwrap());
        assert_eq!(entries(folder.path()), [format!(".pinproxy-{}", std::process::id())]);
    }
}
