//! Sinks: the log for people, files of JSON lines for machines.

use super::event::Event;
use super::lines::{End, Lines};
use super::queue::{Queue, QueueGuard, Writing};
use super::violation::{Naming, Violation};
use serde::Serialize;
use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

    /// Opens its file anew, which somebody may have moved away.
    fn reopen(&self) {}

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
    queue: Queue,
    moved: Arc<AtomicBool>,
}

/// A file that is opened anew when it is asked to.
#[derive(Debug)]
struct Reopening {
    path: PathBuf,
    lines: Lines<File>,
    moved: Arc<AtomicBool>,
}

/// A sink that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {path} for appending: {source}")]
pub struct SinkError {
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

    fn reopen(&self) {
        self.0.reopen();
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

    fn reopen(&self) {
        self.file.reopen();
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
        let (moved, writing) = (Arc::new(AtomicBool::new(false)), Writing::to(&file));
        let lines = Lines::new(file, End::of(path));
        let file = Reopening { path: path.to_owned(), lines, moved: Arc::clone(&moved) };
        let (queue, guard) = Queue::start("pinproxy-sink", lines_max, writing, file).map_err(error)?;
        Ok((Self { path: path.to_owned(), queue, moved }, guard))
    }

    /// The next line goes to the file that is under the path then.
    fn reopen(&self) {
        self.moved.store(true, Ordering::Relaxed);
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

impl Write for Reopening {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if self.moved.swap(false, Ordering::Relaxed) {
            match open(&self.path) {
                Ok(file) => self.lines = Lines::new(file, End::of(&self.path)),
                // Lines go where they went before: to a file that was moved, better than nowhere.
                Err(error) => tracing::error!("cannot open {} anew: {error}", self.path.display()),
            }
        }
        self.lines.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lines.flush()
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    if std::fs::metadata(path).is_ok_and(|file| std::os::unix::fs::FileTypeExt::is_fifo(&file.file_type())) {
        // Opened for reading too, a pipe that nobody reads yet does not hold up the start.
        options.read(true);
    }
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
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
            file.reopen();
            file.write(&1);
            file.write(&2);
            drop(guard);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), behind, "{before:?}");
        }
    }
}
