//! Sinks: the log for people, files of JSON lines for machines.

use super::event::Event;
use super::violation::{ClientId, Violation};
use serde::Serialize;
use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Lines that wait for a slow file; further ones are dropped and counted. A line is about a kilobyte.
pub(super) const QUEUED_LINES_MAX: usize = 10_000;

/// Takes events. Sessions call it when they end, so it must not wait for anything.
pub trait Sink: Debug + Send + Sync {
    /// Takes the event of a session, with the violation if there was one.
    fn take(&self, event: &Event, violation: Option<&Violation>);

    /// Where events go and how many were lost on the way, for a sink that can lose some.
    fn lost(&self) -> Option<(&str, u64)> {
        None
    }
}

/// The log: one line a session, for people. Written through the process's tracing subscriber.
#[derive(Clone, Copy, Debug)]
pub struct TextLog;

/// The access log: one JSON object a session.
#[derive(Debug)]
pub struct AccessFile(pub JsonLines);

/// The file of violation reports.
#[derive(Debug)]
pub struct ViolationFile {
    /// The file.
    pub file: JsonLines,
    /// How reports name clients.
    pub client_id: ClientId,
}

/// A file opened for appending, written by a thread of its own.
#[derive(Debug)]
pub struct JsonLines {
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

impl Sink for TextLog {
    fn take(&self, event: &Event, _: Option<&Violation>) {
        // The level of a tracing event is static, so the two are spelt out.
        if event.failure_class.is_some() {
            tracing::warn!(target: "session", "{event}");
        } else {
            tracing::info!(target: "session", "{event}");
        }
    }
}

impl Sink for AccessFile {
    fn take(&self, event: &Event, _: Option<&Violation>) {
        self.0.write(event);
    }

    fn lost(&self) -> Option<(&str, u64)> {
        Some(self.0.lost())
    }
}

impl Sink for ViolationFile {
    fn take(&self, event: &Event, violation: Option<&Violation>) {
        if let Some(violation) = violation {
            self.file.write(&violation.report(event, &self.client_id));
        }
    }

    fn lost(&self) -> Option<(&str, u64)> {
        Some(self.file.lost())
    }
}

impl JsonLines {
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
    fn write(&self, value: &impl Serialize) {
        // Strings, numbers and booleans in structs: nothing that serialising to memory can fail on.
        let mut line = serde_json::to_vec(value).unwrap_or_default();
        line.push(b'\n');
        // The handle is a channel's sender; a lossy one reports every line as written and counts what it drops.
        drop(self.writer.clone().write_all(&line));
    }

    /// The path, and the lines lost since the start: dropped because the queue was full, or not written because the
    /// file refused them.
    fn lost(&self) -> (&str, u64) {
        let name = self.path.to_str().unwrap_or("a file whose path is not UTF-8");
        (name, self.dropped.dropped_lines() as u64 + self.unwritten.load(Ordering::Relaxed))
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
