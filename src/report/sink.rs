//! Files that take JSON lines without making the writer wait.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Lines that wait for a slow file; further ones are dropped and counted. A line is about a kilobyte.
pub(super) const QUEUED_LINES_MAX: usize = 10_000;

/// A file opened for appending, written by a thread of its own.
#[derive(Debug)]
pub struct Sink {
    path: PathBuf,
    writer: NonBlocking,
    dropped: ErrorCounter,
    unwritten: Arc<AtomicU64>,
}

/// A sink that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {path} for appending: {source}")]
pub struct SinkError {
    path: PathBuf,
    source: io::Error,
}

impl Sink {
    /// Opens a file for appending, creating it readable by its owner only. The guard writes out what is queued when it
    /// is dropped.
    ///
    /// # Errors
    /// [`SinkError`] when the file cannot be opened.
    pub fn open(path: &Path) -> Result<(Self, WorkerGuard), SinkError> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(|source| SinkError { path: path.to_owned(), source })?;
        let unwritten = Arc::new(AtomicU64::new(0));
        let counted = Counted { file, unwritten: Arc::clone(&unwritten) };
        let (writer, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(QUEUED_LINES_MAX)
            .thread_name("pinproxy-sink")
            .finish(counted);
        let dropped = writer.error_counter();
        Ok((Self { path: path.to_owned(), writer, dropped, unwritten }, guard))
    }

    /// Queues one line. Returns at once: a line that the queue has no room for is dropped and counted.
    pub fn write(&self, line: &[u8]) {
        // The handle is a channel's sender; a lossy one reports every line as written and counts what it drops.
        drop(self.writer.clone().write_all(line));
    }

    /// The path of the file.
    pub fn name(&self) -> &str {
        self.path.to_str().unwrap_or("(a path that is not UTF-8)")
    }

    /// Lines lost since the start: dropped because the queue was full, or not written because the file refused them.
    pub fn lost(&self) -> u64 {
        self.dropped.dropped_lines() as u64 + self.unwritten.load(Ordering::Relaxed)
    }
}

/// Counts lines that the file does not take; the queue's thread would pass over the error in silence.
struct Counted {
    file: File,
    unwritten: Arc<AtomicU64>,
}

impl Write for Counted {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // A line is one write, so that two processes appending to one file do not mix within lines.
        if self.file.write_all(line).is_err() {
            self.unwritten.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
