//! The control socket as a file: its owner's alone, and gone when the process is.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;

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
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => return Err(SocketError::Other(path.to_owned())),
            Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
                let path = path.display();
                tracing::warn!(
                    "another process listens on the control socket {path}; it is taken over, and answers for this one now"
                );
            }
            _ => {}
        }
        // Made under another name, in a folder that is nobody else's, and moved: there is no moment at which others could
        // connect, and none at which there is no socket.
        let beside = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = beside.join(format!(".pinproxy-{}", std::process::id()));
        let made = make(&folder, path);
        drop(fs::remove_dir_all(&folder));
        let (listener, identity) = made.map_err(failed)?;
        Ok((Self { path: path.to_owned(), identity }, listener))
    }
}

fn make(folder: &Path, path: &Path) -> io::Result<(UnixListener, (u64, u64))> {
    std::os::unix::fs::DirBuilderExt::mode(&mut fs::DirBuilder::new(), 0o700).create(folder)?;
    let socket = folder.join("socket");
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
