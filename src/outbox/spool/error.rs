//! Why a spool cannot be used.

use crate::files::AccessError;
use std::io;
use std::path::PathBuf;

/// What stands in the way. The texts are shown to operators.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The folder, or the lock in it.
    #[error(
        "the folder for reports, {path}, cannot be used: {source}; [reports] spool has to be a folder that the user of the \
         proxy can write to"
    )]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others could take reports away, or put another file in the place of the spool.
    #[error(
        "others can write to the folder for reports, {path}; run `chmod go-w {path}`, or name a folder in it, which is made"
    )]
    OthersWrite {
        /// The folder.
        path: PathBuf,
    },
    /// The folder, one above it, or a file in it is somebody else's, or others can write there.
    #[error("[reports] spool: {0}")]
    Access(AccessError),
    /// A file of the spool that leads elsewhere.
    #[error("the spool has a symbolic link in it, {path}, and would write to what it leads to; remove it")]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// Another process has it.
    #[error(
        "the spool {path} belongs to another process{holder}. At a rolling restart that is as it should be: it is taken \
         over when that one ends. Two proxies that both stay need a [reports] spool each"
    )]
    Held {
        /// The folder.
        path: PathBuf,
        /// Its number, where it has written it down.
        holder: String,
    },
    /// The file is not what it was.
    #[error(
        "the spool {path} is damaged ({detail}). Move it away and start again; what can be read of it is shown by \
         `sqlite3 FILE .recover`"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        detail: String,
    },
    /// No room.
    #[error("there is no room for the spool {path}: the disk is full, or the spool has come to 1 GiB")]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// Another layout.
    #[error(
        "the spool {path} was written by another version of pinproxy (layout {found}); let that version send it, or move it away"
    )]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: i64,
    },
    /// Anything else.
    #[error("the spool {path} cannot be used: {source}")]
    Store {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
}
