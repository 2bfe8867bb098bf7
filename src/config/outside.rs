//! What a configuration takes in besides its own text: other files, and environment variables.

use crate::files::{Stamp, Stamps};
use glob::{MatchOptions, Pattern, glob_with};
use std::cell::RefCell;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// How patterns of files are read: stars stop at slashes, and hidden files (of editors, say) have to be named.
pub(super) const PATTERN_OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// What is under a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The one path of it: absolute, without symbolic links.
    pub canonical: PathBuf,
    /// What it is.
    pub kind: Kind,
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A device, a pipe, a socket: something that may never come to its end.
    Other,
}

/// The machine as a configuration sees it. Everything that is read besides the text itself is read through this.
pub trait Outside {
    /// The octets of a file, as many as the limit at most.
    ///
    /// # Errors
    /// What the system says.
    fn read(&self, file: &Path, limit: usize) -> io::Result<Vec<u8>>;

    /// What is under a path; symbolic links are followed.
    ///
    /// # Errors
    /// What the system says.
    fn look(&self, path: &Path) -> io::Result<Found>;

    /// The files whose paths match a pattern, as many as the limit at most, in any order.
    ///
    /// # Errors
    /// What the system says of a folder that cannot be listed.
    fn matches(&self, pattern: &Pattern, limit: usize) -> io::Result<Vec<PathBuf>>;

    /// The value of an environment variable.
    fn variable(&self, name: &str) -> Option<OsString>;
}

/// The machine that this runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Outside for System {
    fn read(&self, file: &Path, limit: usize) -> io::Result<Vec<u8>> {
        crate::files::read(file, limit)
    }

    fn look(&self, path: &Path) -> io::Result<Found> {
        let canonical = fs::canonicalize(path)?;
        let metadata = fs::metadata(&canonical)?;
        let kind = match (metadata.is_file(), metadata.is_dir()) {
            (true, _) => Kind::File,
            (false, true) => Kind::Folder,
            (false, false) => Kind::Other,
        };
        Ok(Found { canonical, kind })
    }

    fn matches(&self, pattern: &Pattern, limit: usize) -> io::Result<Vec<PathBuf>> {
        let paths = glob_with(pattern.as_str(), PATTERN_OPTIONS).map_err(io::Error::other)?;
        paths.take(limit).map(|path| path.map_err(io::Error::from)).collect()
    }

    fn variable(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }
}

/// The same machine, with a list of what was looked at on it.
#[derive(Debug, Default)]
pub(super) struct Noting {
    seen: RefCell<Stamps>,
}

impl Noting {
    fn note(&self, path: &Path) {
        self.seen.borrow_mut().entry(path.to_owned()).or_insert_with(|| Stamp::of(path));
    }

    /// Files, and the folders that patterns were looked for in.
    pub(super) fn into_stamps(self) -> Stamps {
        self.seen.into_inner()
    }
}

impl Outside for Noting {
    fn read(&self, file: &Path, limit: usize) -> io::Result<Vec<u8>> {
        self.note(file);
        System.read(file, limit)
    }

    fn look(&self, path: &Path) -> io::Result<Found> {
        self.note(path);
        System.look(path)
    }

    fn matches(&self, pattern: &Pattern, limit: usize) -> io::Result<Vec<PathBuf>> {
        let is_pattern = |part: &Component<'_>| part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
        let fixed: PathBuf = Path::new(pattern.as_str()).components().take_while(|part| !is_pattern(part)).collect();
        self.note(&fixed);
        let found = System.matches(pattern, limit)?;
        found.iter().filter_map(|file| file.parent()).for_each(|folder| self.note(folder));
        Ok(found)
    }

    fn variable(&self, name: &str) -> Option<OsString> {
        System.variable(name)
    }
}

/// Nothing: for a text that is judged by itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Nothing;

impl Nothing {
    fn refuse<T>() -> io::Result<T> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this text is read by itself, without other files"))
    }
}

impl Outside for Nothing {
    fn read(&self, _: &Path, _: usize) -> io::Result<Vec<u8>> {
        Self::refuse()
    }

    fn look(&self, _: &Path) -> io::Result<Found> {
        Self::refuse()
    }

    fn matches(&self, _: &Pattern, _: usize) -> io::Result<Vec<PathBuf>> {
        Self::refuse()
    }

    fn variable(&self, _: &str) -> Option<OsString> {
        None
    }
}
