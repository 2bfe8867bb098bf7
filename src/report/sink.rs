//! Sinks: the log for people, files of JSON lines for machines.

use super::event::Event;
use super::lines::{End, Lines};
use super::queue::{Queue, QueueGuard, Writing};
use super::violation::{Naming, Violation};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fcntl_setfl, fstat, stat};
use rustix::io::Errno;
use serde::Serialize;
use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Events that wait for a slow file; further ones are dropped and counted. An event is about a kilobyte.
pub const ACCESS_LINES_MAX: usize = 10_000;
/// Violation reports that wait. They carry certificates: a hostile upstream can make one of about 100 KiB.
pub const VIOLATION_LINES_MAX: usize = 500;

/// Takes events. Sessions call it when they end, so it must not wait for anything.
pub trait Sink: Debug + Send + Sync {
    /// Takes the event of a session, with the violation if there was one.
    fn take(&self, event: &Event, violation: Option<&Violation>);

    /// Whether events have to tell when the session came to its stages. Asked once, at the start.
    fn wants_stages(&self) -> bool {
        false
    }

    /// Opens its file anew, which somebody may have moved away. Does not wait for anybody.
    ///
    /// # Errors
    /// [`ReopenError`]; then events go where they went before: to a file that was moved, better than nowhere.
    fn reopen(&self) -> Result<(), ReopenError> {
        Ok(())
    }

    /// Where events go and how many were lost on the way, for a sink that can lose some.
    fn lost(&self) -> Option<(&str, u64)> {
        None
    }
}

/// The log: one line a session, for people. Written through the process's tracing subscriber.
#[derive(Debug)]
pub struct TextLog {
    /// The queue that the subscriber writes to.
    pub queue: Queue,
}

/// The access log: one JSON object a session.
#[derive(Debug)]
pub struct AccessFile(pub JsonLines);

/// The file of violation reports. It is a log: it gets each of them, also those that are sent to nobody because the like
/// was sent before.
#[derive(Debug)]
pub struct ViolationFile {
    /// The file.
    pub file: JsonLines,
    /// What is in each report.
    pub naming: Naming,
}

/// A file opened for appending, written by a thread of its own.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    /// What kind of file it was at the start.
    kind: FileType,
    queue: Queue,
    next: Next,
}

/// The file that lines are to go to from now on.
type Next = Arc<Mutex<Option<Lines<File>>>>;

/// A file in whose place another one may come.
#[derive(Debug)]
struct Replaced {
    lines: Lines<File>,
    next: Next,
}

/// A sink that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {path} for appending: {source}")]
pub struct SinkError {
    path: PathBuf,
    source: io::Error,
}

/// A file of events that cannot be opened anew.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be opened anew, and lines go on to the file that was there before: {source}")]
pub struct ReopenError {
    path: PathBuf,
    source: io::Error,
}

impl Sink for TextLog {
    fn take(&self, event: &Event, _: Option<&Violation>) {
        // The level of a tracing event is static, so the two are spelt out.
        if event.failure_class.is_some() {
            tracing::warn!(target: "session", "{event}");
        } else {
            tracing::info!(target: "session", "{event}");
        }
    }

    fn lost(&self) -> Option<(&str, u64)> {
        Some(("the log", self.queue.lost()))
    }
}

impl Sink for AccessFile {
    fn take(&self, event: &Event, _: Option<&Violation>) {
        self.0.write(event);
    }

    fn reopen(&self) -> Result<(), ReopenError> {
        self.0.reopen()
    }

    fn lost(&self) -> Option<(&str, u64)> {
        Some(self.0.lost())
    }
}

impl Sink for ViolationFile {
    fn take(&self, event: &Event, violation: Option<&Violation>) {
        if let Some(violation) = violation {
            self.file.push(violation.json(event, &self.naming, 0));
        }
    }

    fn reopen(&self) -> Result<(), ReopenError> {
        self.file.reopen()
    }

    fn lost(&self) -> Option<(&str, u64)> {
        Some(self.file.lost())
    }
}

impl JsonLines {
    /// Opens a file for appending, creating it readable by its owner only; so many lines may wait. The guard writes out what is queued when it
    /// is dropped.
    ///
    /// # Errors
    /// [`SinkError`] when the file cannot be opened.
    pub fn open(path: &Path, lines_max: usize) -> Result<(Self, QueueGuard), SinkError> {
        let error = |source| SinkError { path: path.to_owned(), source };
        let file = open(path).map_err(error)?;
        let kind = kind_of(&file).map_err(error)?;
        let (next, writing) = (Next::default(), Writing::to(&file));
        let file = Replaced { lines: Lines::new(file, End::of(path)), next: Arc::clone(&next) };
        let (queue, guard) = Queue::start("pinproxy-sink", lines_max, writing, file).map_err(error)?;
        Ok((Self { path: path.to_owned(), kind, queue, next }, guard))
    }

    /// The next line goes to the file that is under the path now.
    fn reopen(&self) -> Result<(), ReopenError> {
        let opened = open_anew(&self.path, self.kind);
        let file = opened.map_err(|source| ReopenError { path: self.path.clone(), source })?;
        let lines = Lines::new(file, End::of(&self.path));
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(lines);
        Ok(())
    }

    /// Queues one line. Returns at once: a line that the queue has no room for is dropped and counted.
    fn write(&self, value: &impl Serialize) {
        // Strings, numbers and booleans in structs: nothing that serialising to memory can fail on.
        self.push(serde_json::to_vec(value).unwrap_or_default());
    }

    fn push(&self, mut line: Vec<u8>) {
        line.push(b'\n');
        self.queue.push(&line);
    }

    /// The path, and the lines lost since the start: dropped because the queue was full, or not written because the
    /// file refused them.
    fn lost(&self) -> (&str, u64) {
        let name = self.path.to_str().unwrap_or("a file whose path is not UTF-8");
        (name, self.queue.lost())
    }
}

impl Write for Replaced {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(lines) = next {
            self.lines = lines;
        }
        self.lines.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lines.flush()
    }
}

/// How a file for events is opened.
fn appending() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600);
    options
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = appending();
    if std::fs::metadata(path).is_ok_and(|file| std::os::unix::fs::FileTypeExt::is_fifo(&file.file_type())) {
        // Opened for reading too, a pipe that nobody reads yet does not hold up the start.
        options.read(true);
    }
    options.open(path)
}

/// What is under the path by now: a regular file, or what was there at the start. Somebody may have put there what would
/// keep a thread waiting, or does something when it is opened.
fn open_anew(path: &Path, kind: FileType) -> io::Result<File> {
    let fitting = |found: FileType| {
        if found.is_file() || found == kind {
            return Ok(());
        }
        let found = words(found);
        Err(io::Error::other(format!("it is {found} now; put a file there, or nothing, and reload")))
    };
    match stat(path) {
        Ok(found) => fitting(FileType::from_raw_mode(found.st_mode))?,
        Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let mut options = appending();
    options.read(kind == FileType::Fifo);
    // It may be another one than a moment ago.
    let without_waiting = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = options.custom_flags(without_waiting.bits().cast_signed()).open(path)?;
    fitting(kind_of(&file)?)?;
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(file)
}

fn kind_of(file: &File) -> io::Result<FileType> {
    Ok(FileType::from_raw_mode(fstat(file)?.st_mode))
}

const fn words(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a folder",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Symlink | FileType::Unknown => "no regular file",
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;
    use std::time::{Duration, Instant};

    /// Waits until so many lines are lost. The queue's thread tells nobody when it has written one.
    fn lost_in_the_end(file: &JsonLines, expected: impl Fn(u64) -> bool) -> u64 {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !expected(file.lost().1) {
            assert!(Instant::now() < deadline, "{} lines are lost", file.lost().1);
            std::thread::yield_now();
        }
        file.lost().1
    }

    /// Waits until a file has so many lines.
    fn lines_in_the_end(path: &Path, expected: usize) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let text = || std::fs::read_to_string(path).expect("a file of lines");
        while text().lines().count() < expected {
            assert!(Instant::now() < deadline, "{}", text());
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_pipe_that_nobody_reads_holds_nobody_up_and_loses_what_is_counted() {
        const QUEUE: usize = 10;
        const LINES: u64 = 2_000;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        // Open for both, a pipe has a reader without anyone reading.
        let mut reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let (file, guard) = JsonLines::open(&path, QUEUE).unwrap();
        let line = "x".repeat(1_000);
        let started = Instant::now();
        for _ in 0..LINES {
            file.write(&line);
        }
        assert!(started.elapsed() < Duration::from_secs(5), "writing waits for the reader");
        // A pipe holds 64 KiB, or up to 1 MiB where the system is set so: fewer lines than were written.
        let lost = lost_in_the_end(&file, |lost| lost > 0);
        assert!(lost < LINES, "what fits is not lost");

        // Every line is in the pipe, in the queue, or counted.
        let rest = std::thread::spawn(move || {
            let mut bytes = vec![0; usize::try_from(LINES - lost).unwrap() * (line.len() + 3)];
            reader.read_exact(&mut bytes).unwrap();
            bytes
        });
        let bytes = rest.join().unwrap();
        assert!(bytes.split_inclusive(|byte| *byte == b'\n').all(|line| line.len() == 1_003));
        assert_eq!(file.lost().1, lost);
        drop(guard);
    }

    /// Whatever comes to be under the path, the thread that reloads goes on, and no line is lost.
    #[test]
    fn what_is_no_file_does_not_take_the_place_of_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let old = folder.path().join("lines.1");
        let (file, guard) = JsonLines::open(&path, 100).unwrap();
        std::fs::rename(&path, &old).unwrap();
        let pipe = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        let link = |to: &str| std::os::unix::fs::symlink(to, &path).unwrap();
        let table: [(&dyn Fn(), &str); 7] = [
            (&|| pipe(&path), "it is a pipe now; put a file there, or nothing, and reload"),
            (&|| std::fs::create_dir(&path).unwrap(), "it is a folder now; "),
            (&|| drop(std::os::unix::net::UnixListener::bind(&path).unwrap()), "it is a socket now; "),
            (&|| link("/dev/null"), "it is a device now; "),
            (&|| link("/dev/tty"), "it is a device now; "),
            (&|| link("lines"), "Too many levels of symbolic links"),
            (&|| link("none/lines"), "No such file or directory"),
        ];
        for (put, says) in table {
            put();
            let error = file.reopen().unwrap_err().to_string();
            let begin = format!("{} cannot be opened anew, and lines go on to ", path.display());
            assert!(error.starts_with(&begin) && error.contains(says), "{error}");
            file.write(&says);
            std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path)).unwrap();
        }
        // A link to a file is one.
        std::fs::write(folder.path().join("elsewhere"), "").unwrap();
        link("elsewhere");
        lines_in_the_end(&old, table.len());
        file.reopen().unwrap();
        file.write(&"new");
        drop(guard);
        assert_eq!(file.lost().1, 0);
        assert_eq!(std::fs::read_to_string(&old).unwrap().lines().count(), table.len());
        assert_eq!(std::fs::read_to_string(folder.path().join("elsewhere")).unwrap(), "\"new\"\n");
    }

    #[test]
    fn a_pipe_may_be_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let pipe = || assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        pipe();
        let (file, guard) = JsonLines::open(&path, 10).unwrap();
        std::fs::remove_file(&path).unwrap();
        pipe();
        file.reopen().unwrap();
        let mut reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        file.write(&"line");
        let mut octets = [0; 7];
        reader.read_exact(&mut octets).unwrap();
        assert_eq!(&octets, b"\"line\"\n");
        drop(guard);
    }

    #[test]
    fn lines_that_the_device_refuses_are_counted() {
        let (file, guard) = JsonLines::open(Path::new("/dev/full"), 10).unwrap();
        for _ in 0..100 {
            file.write(&"line");
        }
        assert_eq!(lost_in_the_end(&file, |lost| lost >= 100), 100);
        assert_eq!(file.lost().0, "/dev/full");
        drop(guard);
    }

    #[test]
    fn a_file_is_its_owners_and_is_appended_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        for text in ["first", "second"] {
            let (file, guard) = JsonLines::open(&path, 10).unwrap();
            file.write(&text);
            drop(guard);
            assert_eq!(file.lost().1, 0);
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "\"first\"\n\"second\"\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let error = JsonLines::open(folder.path(), 10).unwrap_err().to_string();
        assert!(error.starts_with("cannot open ") && error.contains(" for appending: "), "{error}");
    }

    /// What another process could not finish stays what it is, and alone; in the file of the start, and in one that was put
    /// in its place.
    #[test]
    fn what_was_torn_before_stands_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("lines"), folder.path().join("moved"));
        for (before, behind) in [("{}\n", "{}\n1\n2\n"), ("{}\n{\"a\": ", "{}\n{\"a\": \n1\n2\n")] {
            std::fs::write(&path, before).unwrap();
            let (file, guard) = JsonLines::open(&path, 10).unwrap();
            file.write(&1);
            file.write(&2);
            drop(guard);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), behind, "{before:?}");

            let (file, guard) = JsonLines::open(&path, 10).unwrap();
            std::fs::write(&moved, before).unwrap();
            std::fs::rename(&moved, &path).unwrap();
            file.reopen().unwrap();
            file.write(&1);
            file.write(&2);
            drop(guard);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), behind, "{before:?}");
        }
    }
}
