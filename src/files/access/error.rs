//! Why a file is not used: who else could do something with it.

use std::io;
use std::path::PathBuf;

/// What is in the way. The texts are shown to operators, by those who have no better ones.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The system does not tell what a folder is, or does not make it.
    #[error("the folder {} cannot be used: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The reason of the operating system.
        source: io::Error,
    },
    /// A file, or something on the way, cannot be looked at.
    #[error("{} cannot be read: {source}", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// The reason of the operating system.
        source: io::Error,
    },
    /// Others can put files into a folder.
    #[error(
        "the folder {} has mode {mode:04o}, so others than its owner (uid {owner}) can replace what is in it; \
         run: chmod go-w {}",
        path.display(), path.display()
    )]
    FolderPermissions {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The uid that owns it.
        owner: u32,
    },
    /// A folder belongs to neither us nor root.
    #[error(
        "the folder {} (mode {mode:04o}) belongs to uid {owner}, who can replace what is in it; \
         run: chown {expected} {}, or name a folder elsewhere",
        path.display(), path.display()
    )]
    FolderOwner {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The uid that owns it.
        owner: u32,
        /// Our effective uid.
        expected: u32,
    },
    /// A symbolic link on the way belongs to neither us nor root.
    #[error(
        "the symbolic link {} belongs to uid {owner}, who can lead it elsewhere; run: chown -h {expected} {}",
        path.display(), path.display()
    )]
    LinkOwner {
        /// The link.
        path: PathBuf,
        /// The uid that owns it.
        owner: u32,
        /// Our effective uid.
        expected: u32,
    },
    /// It is a pipe, a device, a socket or a folder.
    #[error("{} is not a regular file", path.display())]
    NotRegular {
        /// What should be a file.
        path: PathBuf,
    },
    /// Others may do with a file what they must not.
    #[error("{} has mode {mode:04o}, which gives others more than they may have; run: chmod 600 {}", path.display(), path.display())]
    FilePermissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file belongs to neither us nor root.
    #[error("{} belongs to uid {owner}, who can replace it; run: chown {expected} {}", path.display(), path.display())]
    FileOwner {
        /// The file.
        path: PathBuf,
        /// The uid that owns it.
        owner: u32,
        /// Our effective uid.
        expected: u32,
    },
}
