//! Whether what is under a path is still what it was.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What is under a path: another file, a longer one, a later one is something else. Symbolic links are followed, so that a
/// link that is led elsewhere is a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    octets: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Files that were read and folders that were searched, each with its stamp from right before that; none where nothing was
/// there.
pub type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

impl Stamp {
    /// Of what is there now.
    pub fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
            octets: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

/// What is under the same paths now.
pub fn anew(stamps: &Stamps) -> Stamps {
    stamps.keys().map(|path| (path.clone(), Stamp::of(path))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::time::{Duration, SystemTime};

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
        let paths = ["file", "data/pins", "none", "one"].map(path);
        let stamps = || -> Stamps { paths.iter().map(|path| (path.clone(), Stamp::of(path))).collect() };
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
            for path in paths.iter().filter_map(|path| fs::File::open(path).ok()) {
                path.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
            }
            let before = stamps();
            assert_eq!(anew(&before), before, "{what}");
            change();
            assert_ne!(anew(&before), before, "{what}");
        }
    }
}
