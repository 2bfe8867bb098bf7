//! Who else may write to the CA, its directory, and the directories above: nobody.

use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::mpsc;

use super::*;

/// A user that is neither root nor we.
const OTHER: u32 = 65_534;

/// A directory of the given mode in another one of mode 0700.
fn inside(mode: u32) -> (TempDir, PathBuf) {
    let outer = folder();
    let inner = outer.path().join("inner");
    fs::create_dir(&inner).unwrap();
    set_mode(&inner, mode);
    (outer, inner)
}

/// As [`inside`], with a CA in it.
fn created_inside(mode: u32) -> (TempDir, PathBuf) {
    let (outer, inner) = inside(0o700);
    load_or_create(&inner, Settings::default(), now()).unwrap();
    set_mode(&inner, mode);
    (outer, inner)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Gives a file away; false, and a message, when we are not root.
fn give_away(path: &Path) -> bool {
    let given = chown(path, Some(OTHER), None).is_ok();
    if !given {
        println!("skipped: only root can give a file away");
    }
    given
}

/// Both ways to load, which must say the same.
fn refused(directory: &Path) -> CaError {
    let error = reload(directory).unwrap_err();
    let looked = load(directory, Settings::default(), now()).unwrap_err();
    assert_eq!(error.to_string(), looked.to_string());
    error
}

fn assert_directory_refused(error: &CaError, directory: &Path, mode: u32) {
    let found =
        matches!(error, CaError::DirectoryPermissions { path, mode: found, .. } if path == directory && *found == mode);
    assert!(found, "{error}");
    let text = error.to_string();
    for part in [format!("{mode:04o}"), format!("chmod go-w {}", directory.display())] {
        assert!(text.contains(&part), "{part} in {text}");
    }
}

// ---- directories ------------------------------------------------------------------------------------------------

#[test]
fn a_directory_that_others_can_write_is_refused() {
    for mode in [0o777, 0o775, 0o770, 0o772, 0o720, 0o702] {
        let (_outer, directory) = created_inside(mode);
        assert_directory_refused(&refused(&directory), &directory, mode);
    }
    for mode in [0o755, 0o750, 0o700, 0o500, 0o2755] {
        let (_outer, directory) = created_inside(mode);
        reload(&directory).unwrap();
    }
}

#[test]
fn a_directory_below_one_that_others_can_write_is_refused() {
    let (_outer, parent) = inside(0o700);
    let directory = parent.join("deep/ca");
    load_or_create(&directory, Settings::default(), now()).unwrap();
    for mode in [0o777, 0o770] {
        set_mode(&parent, mode);
        assert_directory_refused(&refused(&directory), &parent, mode);
        assert_directory_refused(&refused(&directory.join("../../deep/ca")), &parent, mode);
    }
}

#[test]
fn a_directory_of_another_user_or_below_one_is_refused() {
    let (_outer, parent) = inside(0o755);
    let directory = parent.join("ca");
    load_or_create(&directory, Settings::default(), now()).unwrap();
    for given in [&directory, &parent] {
        if !give_away(given) {
            return;
        }
        let error = refused(&directory);
        assert!(matches!(&error, CaError::DirectoryOwner { path, owner: OTHER, .. } if path == given), "{error}");
        assert!(error.to_string().contains(&format!("chown 0 {}", given.display())), "{error}");
        set_mode(given, 0o1777);
        assert!(matches!(refused(&directory), CaError::DirectoryOwner { .. }));
        set_mode(given, 0o755);
        chown(given, Some(0), None).unwrap();
    }
}

#[test]
fn a_sticky_directory_is_accepted_for_files_of_ours_only() {
    let (_outer, directory) = created_inside(0o1777);
    reload(&directory).unwrap();
    for file in [KEY_FILE, CERTIFICATE_FILE] {
        if !give_away(&directory.join(file)) {
            return;
        }
        let error = refused(&directory);
        assert!(matches!(error, CaError::KeyOwner { .. } | CaError::CertificateOwner { .. }), "{error}");
        chown(directory.join(file), Some(0), None).unwrap();
    }
    // A link that is planted leads to a file that passes, and still is refused.
    let (certificate, kept) = (directory.join(CERTIFICATE_FILE), directory.join("kept.pem"));
    fs::rename(&certificate, kept).unwrap();
    symlink("kept.pem", &certificate).unwrap();
    reload(&directory).unwrap();
    std::os::unix::fs::lchown(&certificate, Some(OTHER), None).unwrap();
    let error = refused(&directory);
    assert!(matches!(error, CaError::LinkOwner { owner: OTHER, .. }), "{error}");
}

#[test]
fn nothing_is_created_in_a_bad_directory() {
    for mode in [0o777, 0o770] {
        let (_outer, directory) = inside(mode);
        for wanted in [directory.clone(), directory.join("ca"), directory.join("not/yet/ca")] {
            let error = load_or_create(&wanted, Settings::default(), now()).unwrap_err();
            assert_directory_refused(&error, &directory, mode);
        }
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
        // By way of a directory that does not exist yet.
        let (_good, good) = inside(0o700);
        let to_root = "../".repeat(32);
        let around = good.join("absent").join(to_root).join(directory.strip_prefix("/").unwrap()).join("ca");
        let error = load_or_create(&around, Settings::default(), now()).unwrap_err();
        assert_directory_refused(&error, &directory, mode);
        let link = good.join("link");
        symlink(&directory, &link).unwrap();
        let error = load_or_create(&link.join("ca"), Settings::default(), now()).unwrap_err();
        assert_directory_refused(&error, &directory, mode);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    }
    let (_outer, directory) = inside(0o755);
    if give_away(&directory) {
        let error = load_or_create(&directory.join("ca"), Settings::default(), now()).unwrap_err();
        assert!(matches!(error, CaError::DirectoryOwner { .. }), "{error}");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    }
}

#[test]
fn directories_are_created_for_us_alone() {
    let (_outer, directory) = inside(0o755);
    load_or_create(&directory.join("new/ca"), Settings::default(), now()).unwrap();
    for created in ["new", "new/ca"] {
        assert_eq!(fs::metadata(directory.join(created)).unwrap().mode() & 0o7777, 0o700);
    }
    // A link to nowhere is not followed to a new directory.
    symlink(directory.join("nowhere"), directory.join("link")).unwrap();
    let error = load_or_create(&directory.join("link/ca"), Settings::default(), now()).unwrap_err();
    assert!(matches!(error, CaError::Directory { .. }), "{error}");
    assert!(!directory.join("nowhere").exists());
    fs::write(directory.join("file"), "").unwrap();
    for wanted in ["file", "file/ca"] {
        let error = load_or_create(&directory.join(wanted), Settings::default(), now()).unwrap_err();
        assert!(matches!(error, CaError::Directory { .. }), "{error}");
    }
}

#[test]
fn a_directory_in_a_circle_of_links_is_an_error() {
    let (_outer, directory) = inside(0o755);
    symlink("two", directory.join("one")).unwrap();
    symlink("one", directory.join("two")).unwrap();
    let error = load_or_create(&directory.join("one/ca"), Settings::default(), now()).unwrap_err();
    assert!(error.to_string().contains("symbolic links"), "{error}");
}

// ---- files ------------------------------------------------------------------------------------------------------

#[test]
fn a_certificate_that_others_can_write_is_refused() {
    let (directory, _) = created();
    let certificate = directory.path().join(CERTIFICATE_FILE);
    for mode in [0o666, 0o664, 0o646, 0o620] {
        set_mode(&certificate, mode);
        let error = refused(directory.path());
        assert!(matches!(error, CaError::CertificatePermissions { mode: found, .. } if found == mode), "{error}");
        assert!(error.to_string().contains(&format!("chmod go-w {}", certificate.display())), "{error}");
    }
    for mode in [0o644, 0o600, 0o444] {
        set_mode(&certificate, mode);
        reload(directory.path()).unwrap();
    }
}

#[test]
fn a_certificate_of_another_user_is_refused() {
    let (directory, _) = created();
    let certificate = directory.path().join(CERTIFICATE_FILE);
    if give_away(&certificate) {
        let error = refused(directory.path());
        assert!(matches!(error, CaError::CertificateOwner { owner: OTHER, .. }), "{error}");
        assert!(error.to_string().contains(&format!("chown 0 {}", certificate.display())), "{error}");
    }
}

/// A directory whose pair are links to a pair in a directory of the given mode, by way of a link to that directory, as
/// Kubernetes mounts a secret.
fn linked_pair(mode: u32) -> (TempDir, PathBuf, PathBuf) {
    let (outer, real) = created_inside(mode);
    let directory = outer.path().join("mount");
    fs::create_dir(&directory).unwrap();
    set_mode(&directory, 0o1777);
    symlink("../inner", directory.join("..data")).unwrap();
    for file in [CERTIFICATE_FILE, KEY_FILE] {
        symlink(Path::new("..data").join(file), directory.join(file)).unwrap();
    }
    (outer, directory, real)
}

#[test]
fn links_lead_where_nobody_else_can_write() {
    let (_outer, directory, _) = linked_pair(0o755);
    reload(&directory).unwrap();
    for mode in [0o777, 0o775] {
        let (_outer, directory, real) = linked_pair(mode);
        assert_directory_refused(&refused(&directory), &real, mode);
    }
}

#[test]
fn a_link_through_a_bad_directory_is_refused() {
    let (outer, real) = created_inside(0o755);
    let (bad, directory) = (outer.path().join("bad"), outer.path().join("linking"));
    for folder in [&bad, &directory] {
        fs::create_dir(folder).unwrap();
    }
    set_mode(&bad, 0o777);
    for file in [CERTIFICATE_FILE, KEY_FILE] {
        symlink(real.join(file), bad.join(file)).unwrap();
        symlink(bad.join(file), directory.join(file)).unwrap();
    }
    set_mode(&directory, 0o755);
    assert_directory_refused(&refused(&directory), &bad, 0o777);
}

#[test]
fn what_is_not_a_file_is_refused_at_once() {
    for file in [CERTIFICATE_FILE, KEY_FILE] {
        let (directory, _) = created();
        let path = directory.path().join(file);
        fs::remove_file(&path).unwrap();
        match Command::new("mkfifo").args(["-m", "600"]).arg(&path).status() {
            Ok(status) => assert!(status.success()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                println!("skipped: there is no mkfifo program");
                return;
            }
            Err(error) => panic!("{error}"),
        }
        let (sender, receiver) = mpsc::channel();
        let place = directory.path().to_owned();
        std::thread::spawn(move || sender.send(refused(&place)));
        let error = receiver.recv_timeout(Duration::from_secs(10)).expect("an answer, as opening must not wait");
        assert!(matches!(&error, CaError::NotRegular { path: found } if *found == path), "{error}");

        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        set_mode(&path, 0o755);
        assert!(matches!(refused(directory.path()), CaError::NotRegular { .. }));
        fs::remove_dir(&path).unwrap();
        symlink("/dev/zero", &path).unwrap();
        assert!(matches!(refused(directory.path()), CaError::NotRegular { .. }));
    }
}
