//! Files that the proxy writes to: none of them may be one that it reads, and no two of them may be the same.

use super::fault::Finding;
use crate::authority;
use crate::config::{At, Code, Config, Reading};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A file, and how an operator knows it.
struct Known {
    name: String,
    path: PathBuf,
    /// Without links, as far as it is there.
    place: PathBuf,
    /// Device and inode, where it is there: a file may have several names.
    node: Option<(u64, u64)>,
}

impl Known {
    /// None of what is no file: a device or a pipe can be written to by several, and a folder by nobody.
    fn of(name: impl Into<String>, path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok();
        if found.as_ref().is_some_and(|found| !found.is_file()) {
            return None;
        }
        let node = found.map(|found| (found.dev(), found.ino()));
        Some(Self { name: name.into(), path: path.to_owned(), place: place_of(path), node })
    }

    fn is(&self, other: &Self) -> bool {
        self.place == other.place || (self.node.is_some() && self.node == other.node)
    }
}

/// Where a file is, or would be made.
fn place_of(path: &Path) -> PathBuf {
    let absolute = || std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    fs::canonicalize(path).unwrap_or_else(|_| match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            fs::canonicalize(folder).map_or_else(|_| absolute(), |folder| folder.join(name))
        }
        _ => absolute(),
    })
}

/// An error for each file that is written to and is another one of the configuration.
pub(super) fn inspect(reading: &Reading, ca_directory: Option<&Path>) -> Vec<Finding> {
    let Ok((config, _)) = &reading.outcome else { return Vec::new() };
    let mut known: Vec<Known> = Vec::new();
    known.extend(reading.looked_at.keys().filter_map(|path| Known::of("a file of the configuration", path)));
    for name in authority::FILES {
        known.extend(ca_directory.and_then(|folder| Known::of("a file of the CA", &folder.join(name))));
    }
    let named = reading.places.named().iter().filter_map(|named| named.file());
    known.extend(named.filter_map(|path| Known::of("a file that the configuration names to be read", path)));
    let mut found = Vec::new();
    for (setting, path) in written(config) {
        let Some(file) = Known::of(setting, &path) else { continue };
        if let Some(other) = known.iter().find(|other| file.is(other)) {
            let message = format!("{} is {}, and {} too", file.name, file.path.display(), other.name);
            let help = "name a file of its own, which nothing else reads or writes";
            found.push(reading.places.finding(Code::E83, At::File, message, help).into());
        }
        known.push(file);
    }
    found
}

/// What is written to, by the setting that names it.
fn written(config: &Config) -> Vec<(&'static str, PathBuf)> {
    let files = [
        ("[log] access", &config.log.access),
        ("[reports] file", &config.reports.file),
        ("[admin] socket", &config.admin.socket),
    ];
    let files = files.into_iter().filter_map(|(name, path)| Some((name, path.clone()?)));
    let of_spool = |folder: &PathBuf| SPOOLED.map(|name| ("[reports] spool", folder.join(name)));
    files.chain(config.reports.spool.iter().flat_map(of_spool)).collect()
}

/// The files of a spool, as `outbox::spool` makes them.
const SPOOLED: [&str; 3] = ["reports.db", "reports.db-journal", "lock"];
