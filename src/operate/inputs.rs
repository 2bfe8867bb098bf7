//! What a configuration was read from, and whether that has changed since.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Files are stamped by a clock that ticks this seldom, on every file system in use.
const TICK: Duration = Duration::from_millis(20);

/// Files, and folders that were searched, that a configuration was read from.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Their paths.
    pub paths: BTreeSet<PathBuf>,
    /// When reading began.
    pub read_at: Option<SystemTime>,
}

/// What is under each of the paths: another file, a longer one, a later one is something else. Symbolic links are followed,
/// so that a link that is led elsewhere is a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamps(Vec<Option<Stamp>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    octets: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Inputs {
    /// What is under them now. Blocks.
    pub fn stamps(&self) -> Stamps {
        let stamp = |path: &PathBuf| {
            let found = fs::metadata(path).ok()?;
            Some(Stamp {
                device: found.dev(),
                inode: found.ino(),
                octets: found.size(),
                modified: (found.mtime(), found.mtime_nsec()),
                changed: (found.ctime(), found.ctime_nsec()),
            })
        };
        Stamps(self.paths.iter().map(stamp).collect())
    }

    /// Whether something may have been written while it was read: then these stamps are not those of what was read.
    pub fn may_differ_from(&self, stamps: &Stamps) -> bool {
        let began = self.read_at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok()).unwrap_or_default();
        let began = began.saturating_sub(TICK);
        let began = (i64::try_from(began.as_secs()).unwrap_or(i64::MAX), i64::from(began.subsec_nanos()));
        stamps.0.iter().flatten().any(|stamp| stamp.changed.max(stamp.modified) >= began)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn inputs(paths: &[&Path]) -> Inputs {
        Inputs { paths: paths.iter().map(|path| path.to_path_buf()).collect(), read_at: None }
    }

    #[test]
    fn every_kind_of_change_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("one")).unwrap();
        fs::create_dir(path("two")).unwrap();
        fs::write(path("one/pins"), "1").unwrap();
        fs::write(path("two/pins"), "2").unwrap();
        fs::write(path("file"), "x").unwrap();
        symlink("one", path("data")).unwrap();
        let watched = inputs(&[&path("file"), &path("data/pins"), &path("none"), &path("one")]);
        let table: [(&str, &dyn Fn()); 6] = [
            ("another text of the same length", &|| fs::write(path("file"), "y").unwrap()),
            ("another file in its place", &|| fs::rename(path("two/pins"), path("file")).unwrap()),
            ("a link led elsewhere", &|| {
                fs::write(path("two/pins"), "3").unwrap();
                symlink("two", path("new")).unwrap();
                fs::rename(path("new"), path("data")).unwrap();
            }),
            ("a file that was not there", &|| fs::write(path("none"), "").unwrap()),
            ("a file more in a folder", &|| fs::write(path("one/more"), "").unwrap()),
            ("a file less", &|| fs::remove_file(path("file")).unwrap()),
        ];
        for (what, change) in table {
            // The clock of the file system ticks some hundred times a second: a change right behind another has its time.
            for path in watched.paths.iter().filter_map(|path| fs::File::open(path).ok()) {
                path.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
            }
            let before = watched.stamps();
            assert_eq!(watched.stamps(), before, "{what}");
            change();
            assert_ne!(watched.stamps(), before, "{what}");
        }
    }

    #[test]
    fn what_is_written_while_it_is_read_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "x").unwrap();
        let mut watched = inputs(&[&file]);
        watched.read_at = Some(SystemTime::now() + Duration::from_secs(60));
        assert!(!watched.may_differ_from(&watched.stamps()));
        watched.read_at = Some(SystemTime::now() - Duration::from_secs(60));
        assert!(watched.may_differ_from(&watched.stamps()));
    }
}
