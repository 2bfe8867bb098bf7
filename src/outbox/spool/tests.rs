use super::*;

use rusqlite::Connection;
use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};
use std::sync::Barrier;
use std::sync::mpsc::channel;

/// 2026-11-21T00:00:00Z.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_219_200)
}

fn spool(folder: &Path, targets: &[&str], reports_max: u64) -> Spool {
    let targets = targets.iter().map(|name| (*name).to_owned()).collect();
    Spool::new(folder, targets, reports_max, Arc::new(now))
}

fn bodies(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Takes what waits for a target, and gives the texts.
fn drained(spool: &Spool, target: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(report) = spool.next(target).unwrap() {
        assert_eq!(report.at, now());
        texts.push(String::from_utf8(report.body).unwrap());
        spool.done(target, report.number).unwrap();
    }
    texts
}

fn figures(spool: &Spool) -> (u64, Vec<u64>) {
    (spool.kept().reports, (0..spool.targets.len()).map(|target| spool.waiting(target)).collect())
}

#[test]
fn each_target_gets_each_report_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let spool = spool(folder.path(), &["a", "b"], 100);
    assert_eq!(spool.append(&bodies(&["1", "2", "3"])).unwrap(), 0);
    assert_eq!(figures(&spool), (3, vec![3, 3]));
    assert_eq!(drained(&spool, 0), ["1", "2", "3"]);
    assert_eq!(figures(&spool), (3, vec![0, 3]));
    spool.append(&bodies(&["4"])).unwrap();
    assert_eq!(drained(&spool, 1), ["1", "2", "3", "4"]);
    assert_eq!(figures(&spool), (1, vec![1, 0]));
    assert_eq!(drained(&spool, 0), ["4"]);
    assert_eq!(figures(&spool), (0, vec![0, 0]));
}

#[test]
fn what_was_taken_is_there_after_the_end() {
    let folder = tempfile::tempdir().unwrap();
    {
        let first = spool(folder.path(), &["a", "b"], 100);
        first.append(&bodies(&["1", "2"])).unwrap();
        let report = first.next(0).unwrap().unwrap();
        first.done(0, report.number).unwrap();
    }
    // One target stays, one is gone, one is new.
    let second = spool(folder.path(), &["a", "c"], 100);
    second.open().unwrap();
    assert_eq!(figures(&second), (2, vec![1, 2]));
    assert_eq!((drained(&second, 0), drained(&second, 1)), (vec!["2".into()], vec!["1".into(), "2".into()]));
    assert_eq!(figures(&second), (0, vec![0, 0]));
    drop(second);
    // Numbers are not given twice: a target that was done with 2 is not done with what comes now.
    let third = spool(folder.path(), &["a", "c"], 100);
    third.append(&bodies(&["3"])).unwrap();
    assert_eq!((drained(&third, 0), drained(&third, 1)), (vec!["3".into()], vec!["3".into()]));
}

#[test]
fn it_keeps_what_it_may_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let spool = spool(folder.path(), &["a"], 3);
    assert_eq!(spool.append(&bodies(&["1", "2"])).unwrap(), 0);
    assert_eq!(spool.append(&bodies(&["3", "4", "5"])).unwrap(), 2);
    assert_eq!(spool.append(&bodies(&["6"])).unwrap(), 1);
    assert_eq!(drained(&spool, 0), ["1", "2", "3"]);
    assert_eq!(spool.append(&bodies(&["7"])).unwrap(), 0);
    assert_eq!(drained(&spool, 0), ["7"]);
}

#[test]
fn it_is_its_owners() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("made/on/the/way");
    let spool = spool(&inside, &["a"], 3);
    spool.append(&bodies(&["1"])).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&inside), 0o700);
    let mut count = 0;
    for entry in std::fs::read_dir(&inside).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        count += 1;
    }
    // The file, its journal, and the lock.
    assert_eq!(count, 3);
}

#[test]
fn folders_that_others_can_write_to() {
    let folder = tempfile::tempdir().unwrap();
    for (mode, usable) in
        [(0o700, true), (0o755, true), (0o770, false), (0o702, false), (0o1777, false), (0o2775, false)]
    {
        let inside = folder.path().join(format!("{mode:o}"));
        std::fs::create_dir(&inside).unwrap();
        std::fs::set_permissions(&inside, std::fs::Permissions::from_mode(mode)).unwrap();
        match spool(&inside, &["a"], 3).open() {
            Ok(()) => assert!(usable, "{mode:o}"),
            Err(error) => assert!(!usable && error.to_string().contains("chmod go-w"), "{mode:o}: {error}"),
        }
        // One that is made in it is our own.
        spool(&inside.join("spool"), &["a"], 3).open().unwrap();
    }
}

/// Puts something into a folder; whether that could be done.
type Made<'a> = &'a dyn Fn(&Path) -> bool;

/// What a stranger has made, and what he could lead elsewhere: nothing is written, not even to a lock.
#[test]
fn folders_and_files_of_somebody_else() {
    const OTHER: u32 = 65_534;
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let victim = place("victim");
    std::fs::write(&victim, "what matters").unwrap();
    let give = |path: &Path| lchown(path, Some(OTHER), None).is_ok();
    let links: [(&str, Made<'_>, &str); 9] = [
        ("lock", &|inside| symlink("../victim", inside.join("lock")).is_ok(), "symbolic link"),
        ("db", &|inside| symlink("../victim", inside.join(FILE)).is_ok(), "symbolic link"),
        ("wal", &|inside| symlink("../victim", inside.join("reports.db-wal")).is_ok(), "symbolic link"),
        ("shm", &|inside| symlink("../nowhere", inside.join("reports.db-shm")).is_ok(), "symbolic link"),
        ("folder", &|inside| std::fs::create_dir(inside.join(FILE)).is_ok(), "is not a regular file"),
        (
            "writable",
            &|inside| std::fs::write(inside.join(FILE), "").is_ok() && set_mode(&inside.join(FILE), 0o666),
            "chmod",
        ),
        ("owned", &|inside| give(inside), "belongs to uid 65534"),
        (
            "owned-with-link",
            &|inside| symlink("../victim", inside.join("lock")).is_ok() && give(inside),
            "belongs to uid 65534",
        ),
        (
            "file",
            &|inside| std::fs::write(inside.join(FILE), "").is_ok() && give(&inside.join(FILE)),
            "belongs to uid 65534",
        ),
    ];
    for (name, make, part) in links {
        let inside = place(name);
        std::fs::create_dir(&inside).unwrap();
        if !make(&inside) {
            println!("skipped: only root can give a file away");
            continue;
        }
        let error = spool(&inside, &["a"], 3).open().unwrap_err().to_string();
        assert!(error.contains(part) && error.contains(inside.to_str().unwrap()), "{name}: {error}");
        assert!(
            inside.join("lock").symlink_metadata().map_or(true, |found| found.is_symlink()),
            "{name}: a lock was made"
        );
    }
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "what matters");
    assert!(!place("nowhere").exists());
    // A folder further up, and a link that is not ours.
    std::fs::create_dir_all(place("theirs/ours")).unwrap();
    std::fs::create_dir(place("ours")).unwrap();
    symlink("ours", place("link")).unwrap();
    spool(&place("link"), &["a"], 3).open().unwrap();
    if give(&place("theirs")) && give(&place("link")) {
        for (path, part) in
            [("theirs/ours", "theirs"), ("theirs/new", "theirs"), ("link", "link"), ("link/new", "link")]
        {
            let error = spool(&place(path), &["a"], 3).open().unwrap_err().to_string();
            let told = format!("{} ", place(part).display());
            assert!(
                error.starts_with("[reports] spool: the ") && error.contains(&told) && error.contains("run: chown"),
                "{error}"
            );
        }
    }
}

fn set_mode(path: &Path, mode: u32) -> bool {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).is_ok()
}

#[test]
fn one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (spool(folder.path(), &["a"], 9), spool(folder.path(), &["a"], 9));
    first.append(&bodies(&["1"])).unwrap();
    for error in [second.open().unwrap_err(), second.append(&bodies(&["2"])).unwrap_err(), second.next(0).unwrap_err()]
    {
        assert!(matches!(error, SpoolError::Held { .. }), "{error}");
        assert!(error.to_string().contains(&format!("(process {})", std::process::id())), "{error}");
    }
    drop(first);
    second.append(&bodies(&["2"])).unwrap();
    assert_eq!(drained(&second, 0), ["1", "2"]);
}

#[test]
fn folders_and_files_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for path in [file.join("below"), file, "/proc/nowhere".into(), "/dev/null".into()] {
        let error = spool(&path, &["a"], 3).open().unwrap_err().to_string();
        let told =
            error.starts_with("the folder for reports, ") && error.contains("that the user of the proxy can write to");
        assert!(told && error.contains(path.to_str().unwrap()), "{error}");
    }
    // Files that are no spool, or that of another version.
    let other = Connection::open(folder.path().join("other.db")).unwrap();
    other.execute_batch("PRAGMA user_version = 7; CREATE TABLE report (x);").unwrap();
    drop(other);
    let table: [(Vec<u8>, &str); 3] = [
        (b"{\"a\": \"line of JSON\"}\n".repeat(1000), "is damaged (file is not a database"),
        (vec![0xff; 8192], "is damaged (file is not a database"),
        (std::fs::read(folder.path().join("other.db")).unwrap(), "by another version of pinproxy (layout 7)"),
    ];
    for (number, (octets, part)) in table.into_iter().enumerate() {
        let inside = folder.path().join(number.to_string());
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(inside.join(FILE), &octets).unwrap();
        let error = spool(&inside, &["a"], 3).open().unwrap_err().to_string();
        assert!(error.contains(part) && error.to_lowercase().contains("move it away"), "{error}");
        // What was found there is not touched.
        assert!(std::fs::read(inside.join(FILE)).unwrap() == octets, "it is not what it was: {error}");
    }
}

/// Octets of a spool that was closed in order, each page in turn overwritten: an error or what is still there, never a
/// panic.
#[test]
fn damage_anywhere_is_an_error_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    {
        let spool = spool(&whole, &["a"], 100);
        let texts: Vec<_> = (0..40).map(|n| format!("{n}{}", "x".repeat(2000)).into_bytes()).collect();
        spool.append(&texts).unwrap();
    }
    let octets = std::fs::read(whole.join(FILE)).unwrap();
    let pages = octets.len() / 4096;
    assert!(pages > 20, "{pages}");
    let mut refused = 0;
    for page in 0..pages {
        for (at, length) in [(0, 100), (100, 300), (0, 4096), (4000, 96)] {
            let inside = folder.path().join(format!("{page}-{at}-{length}"));
            std::fs::create_dir(&inside).unwrap();
            let mut damaged = octets.clone();
            let start = page * 4096 + at;
            damaged[start..start + length].iter_mut().for_each(|octet| *octet ^= 0x5a);
            std::fs::write(inside.join(FILE), damaged).unwrap();
            let spool = spool(&inside, &["a"], 100);
            let used = spool.open().and_then(|()| {
                while let Some(report) = spool.next(0)? {
                    spool.done(0, report.number)?;
                }
                spool.append(&bodies(&["1"]))
            });
            refused += usize::from(used.is_err());
        }
    }
    assert!(refused > pages, "{refused} of {pages} pages");
}

/// What is told of it without the file: through the end of the process, too.
#[test]
fn what_is_kept_has_a_size_and_an_age() {
    let folder = tempfile::tempdir().unwrap();
    let time = Arc::new(Mutex::new(now()));
    let later = |seconds| now() + Duration::from_secs(seconds);
    let open = |targets: &[&str]| {
        let (time, targets) = (Arc::clone(&time), targets.iter().map(|name| (*name).to_owned()).collect());
        Spool::new(folder.path(), targets, 100, Arc::new(move || *time.lock().unwrap()))
    };
    let first = open(&["a", "b"]);
    let kept = |spool: &Spool| (spool.kept().reports, spool.kept().octets, spool.kept().oldest);
    assert_eq!(kept(&first), (0, 0, None));
    first.append(&bodies(&["1", "22"])).unwrap();
    *time.lock().unwrap() = later(60);
    first.append(&bodies(&["333"])).unwrap();
    assert_eq!(kept(&first), (3, 6, Some(now())));
    for number in 1..=2 {
        first.done(0, number).unwrap();
        assert_eq!(kept(&first), (3, 6, Some(now())), "the other one is not done with it");
    }
    first.done(1, 1).unwrap();
    assert_eq!(kept(&first), (2, 5, Some(now())));
    first.done(1, 2).unwrap();
    assert_eq!(kept(&first), (1, 3, Some(later(60))));
    drop(first);
    let second = open(&["a", "b"]);
    second.open().unwrap();
    assert_eq!(kept(&second), (1, 3, Some(later(60))));
    for target in 0..2 {
        second.done(target, 3).unwrap();
    }
    assert_eq!(kept(&second), (0, 0, None));
    *time.lock().unwrap() = later(90);
    second.append(&bodies(&["4444"])).unwrap();
    assert_eq!(kept(&second), (1, 4, Some(later(90))));
}

/// A scrape neither waits for a disk nor holds up those who do.
#[test]
fn what_is_told_of_it_does_not_wait_for_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let spool = spool(folder.path(), &["a"], 9);
    spool.append(&bodies(&["1"])).unwrap();
    let (tell, told) = channel();
    std::thread::scope(|scope| {
        let busy = spool.open.lock().unwrap();
        scope.spawn(|| tell.send((spool.kept().reports, spool.waiting(0), spool.trouble())));
        let told = told.recv_timeout(Duration::from_secs(10));
        drop(busy);
        assert_eq!(told, Ok((1, 1, None)));
    });
}

/// A full disk can be read. What goes well does not tell that all is well.
#[test]
fn trouble_ends_when_what_had_failed_goes_well() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (spool(folder.path(), &["a"], 9), spool(folder.path(), &["a"], 9));
    assert_eq!(first.trouble(), None);
    first.append(&bodies(&["1"])).unwrap();
    // The pages that it may have, as if the disk had no more.
    let pages_max = |count: i64| {
        let open = first.open.lock().unwrap();
        let connection = &open.as_ref().unwrap().connection;
        connection.pragma_update_and_check(None, "max_page_count", count, |row| row.get::<_, i64>(0)).unwrap();
    };
    pages_max(1);
    let large = vec![vec![0; 1 << 20]];
    let told = first.append(&large).unwrap_err().to_string();
    let trouble = first.trouble().unwrap();
    assert!(told.contains("there is no room for the spool"), "{told}");
    assert_eq!((trouble.since, trouble.why.as_str()), (now(), told.as_str()));
    assert!(first.next(0).unwrap().is_some());
    assert_eq!(first.trouble(), Some(trouble), "it can be read");
    pages_max(1_000);
    first.append(&large).unwrap();
    assert_eq!(first.trouble(), None);

    // Another one, which gets it in the end, and has nothing to write then.
    second.append(&bodies(&["2"])).unwrap_err();
    second.next(0).unwrap_err();
    assert!(second.trouble().unwrap().why.contains("belongs to another process"), "{:?}", second.trouble());
    drop(first);
    second.next(0).unwrap();
    assert_eq!(second.trouble(), None);
}

/// What a receiver that is gone has left is deleted in transactions that fit into the room that is kept back.
#[test]
fn what_nobody_wants_goes_a_few_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let texts: Vec<_> = (0..150).map(|n| format!("{n}{}", "x".repeat(9_000)).into_bytes()).collect();
    {
        let first = spool(folder.path(), &["a", "gone"], 1_000);
        first.append(&texts).unwrap();
        assert_eq!(drained(&first, 0).len(), 150);
        assert_eq!(figures(&first), (150, vec![0, 150]));
    }
    let journal = || std::fs::metadata(folder.path().join("reports.db-journal")).unwrap().len();
    let before = journal();
    let second = spool(folder.path(), &["a"], 1_000);
    second.open().unwrap();
    assert_eq!(figures(&second), (0, vec![0]));
    assert_eq!((before, journal()), (128 << 10, 128 << 10));
    second.append(&texts).unwrap();
    assert_eq!(drained(&second, 0).len(), 150);
}

/// Two threads, as in the proxy: nothing is counted twice, and no count runs below zero.
#[test]
fn writers_and_readers_at_once() {
    const BATCHES: usize = 40;
    let folder = tempfile::tempdir().unwrap();
    let spool = spool(folder.path(), &["a"], 10_000);
    spool.open().unwrap();
    let begin = Barrier::new(2);
    let read = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            begin.wait();
            for number in 0..BATCHES {
                assert_eq!(spool.append(&bodies(&[&number.to_string(), "second"])).unwrap(), 0);
            }
        });
        begin.wait();
        let mut read = 0;
        while read < 2 * BATCHES {
            read += drained(&spool, 0).len();
            assert!(spool.kept().reports <= 2 * BATCHES as u64);
        }
        writer.join().unwrap();
        read
    });
    assert_eq!((read, figures(&spool)), (2 * BATCHES, (0, vec![0])));
}
