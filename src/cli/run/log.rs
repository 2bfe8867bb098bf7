//! The log of the program: where its lines go, and in which form.

use crate::config::{self, LogFormat};
use crate::report::{JOURNAL_SOCKET, Journal, JournalError, Priority, Queue, QueueGuard, Sink, TextLog, Writing};
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io;
use std::path::Path;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// Lines of the log that wait for a terminal, pipe or journal that nobody reads; further ones are dropped and counted.
const LOG_LINES_MAX: usize = 10_000;

/// The log, running.
pub(in crate::cli) struct Started {
    /// Takes the events of sessions.
    pub(in crate::cli) sink: Box<dyn Sink>,
    /// Writes out what is queued when it is dropped.
    pub(in crate::cli) guard: QueueGuard,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum LogError {
    #[error("no thread for the log: {0}")]
    Thread(#[from] io::Error),
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Log lines go through a queue, so that a terminal or pipe that nobody reads does not stop the sessions.
pub(in crate::cli) fn start(settings: &config::Log) -> Result<Started, LogError> {
    if settings.format == LogFormat::Journald {
        return start_journal(Path::new(JOURNAL_SOCKET), level(settings));
    }
    let is_terminal = io::IsTerminal::is_terminal(&io::stderr());
    start_lines(settings, Writing::to(io::stderr()), io::stderr(), is_terminal)
}

/// The same in a file, in lines.
pub(in crate::cli) fn start_in(settings: &config::Log, file: File) -> Result<Started, LogError> {
    start_lines(settings, Writing::to(&file), file, false)
}

const fn level(settings: &config::Log) -> Level {
    match settings.level {
        config::LogLevel::Error => Level::ERROR,
        config::LogLevel::Warn => Level::WARN,
        config::LogLevel::Info => Level::INFO,
        config::LogLevel::Debug => Level::DEBUG,
        config::LogLevel::Trace => Level::TRACE,
    }
}

fn start_lines(
    settings: &config::Log,
    writing: Writing,
    to: impl io::Write + Send + 'static,
    is_coloured: bool,
) -> Result<Started, LogError> {
    let (queue, guard) = Queue::start("pinproxy-log", LOG_LINES_MAX, writing, to)?;
    let written = queue.clone();
    let writer = move || written.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(level(settings)).with_writer(writer);
    // Set once, here; in a test that runs commands in one process the first log stays.
    let _already_set = if settings.format == LogFormat::Json {
        subscriber.json().try_init()
    } else {
        subscriber.with_ansi(is_coloured).try_init()
    };
    Ok(Started { sink: Box::new(TextLog { queue }), guard })
}

fn start_journal(socket: &Path, level: Level) -> Result<Started, LogError> {
    let (journal, guard) = Journal::start(socket, LOG_LINES_MAX, priority(level))?;
    let _already_set = entries(journal.clone(), level).try_init();
    Ok(Started { sink: Box::new(journal), guard })
}

fn entries(journal: Journal, level: Level) -> impl Subscriber + Send + Sync {
    tracing_subscriber::registry().with(Entries(journal).with_filter(LevelFilter::from_level(level)))
}

const fn priority(level: Level) -> Priority {
    match level {
        Level::ERROR => Priority::Error,
        Level::WARN => Priority::Warning,
        Level::INFO => Priority::Informational,
        Level::DEBUG | Level::TRACE => Priority::Debug,
    }
}

/// Makes an entry of the journal of each line of the log.
struct Entries(Journal);

impl<S: Subscriber> Layer<S> for Entries {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let metadata = event.metadata();
        self.0.tell(priority(*metadata.level()), metadata.target(), &(text.message + &text.fields));
    }
}

/// The message of a line, and behind it what other fields the line has.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;
    use std::time::Duration;

    #[test]
    fn lines_become_entries() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let (journal, guard) = Journal::start(&path, 10, Priority::Informational).unwrap();
        tracing::subscriber::with_default(entries(journal, Level::INFO), || {
            tracing::debug!("less serious than asked for");
            tracing::info!("as {}", "it is");
            tracing::error!(target: "elsewhere", count = 3, "a fault");
        });
        drop(guard);
        let expected = [
            concat!("MESSAGE=as it is\nPRIORITY=6\nSYSLOG_IDENTIFIER=pinproxy\nPINPROXY_TARGET=", module_path!(), "\n"),
            "MESSAGE=a fault count=3\nPRIORITY=3\nSYSLOG_IDENTIFIER=pinproxy\nPINPROXY_TARGET=elsewhere\n",
        ];
        for entry in expected {
            let mut octets = [0; 1024];
            let length = socket.recv(&mut octets).unwrap();
            assert_eq!(std::str::from_utf8(&octets[..length]).unwrap(), entry);
        }
    }
}
