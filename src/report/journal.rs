//! The journal of systemd, by its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): one datagram an entry.
//!
//! Entries go through a [`Queue`], so that the thread that waits for a slow journal is never one of a session.

use super::event::Event;
use super::queue::{Queue, QueueGuard, Writing};
use super::sink::Sink;
use super::violation::Violation;
use serde_json::Value;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// Where the journal listens.
pub const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";

/// What one value may hold; the rest is cut off. Only messages about many files at once come near it.
pub const JOURNAL_VALUE_OCTETS_MAX: usize = 16 << 10;

/// What one entry may hold, below what the system takes in one datagram (net.core.wmem_default, 208 KiB); fields that do
/// not fit are left out. The first ones always do.
pub const JOURNAL_ENTRY_OCTETS_MAX: usize = 96 << 10;

/// Stands at the end of a value that was cut.
const CUT: &str = "...";

/// The severities of syslog (RFC 5424 section 6.2.1) that are used. The more serious, the less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Faults.
    Error = 3,
    /// What deserves a look.
    Warning = 4,
    /// What happens in normal operation.
    Informational = 6,
    /// What helps to find a fault.
    Debug = 7,
}

/// The log as entries of the journal. Clones write to the same one.
#[derive(Clone, Debug)]
pub struct Journal {
    queue: Queue,
    least: Priority,
}

/// There is no journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Nobody listens where it should.
    #[error(
        "[log] format = \"journald\", and there is no journal at {path}: {source}; start the proxy where systemd-journald \
         runs, or write format = \"text\" or \"json\""
    )]
    Absent {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no socket or thread.
    #[error("the log cannot be sent to the journal: {0}")]
    System(#[from] io::Error),
}

/// An entry in the making.
#[derive(Debug, Default)]
struct Entry(Vec<u8>);

/// The socket, written to by the queue's thread: each call is one datagram.
#[derive(Debug)]
struct Datagrams {
    socket: UnixDatagram,
    /// Sent to by its path each time, so that a journal that is started anew is found.
    path: PathBuf,
}

impl Journal {
    /// Begins to send to the journal behind a socket; so many entries may wait. Events of sessions that are less serious
    /// than `least` are not sent.
    ///
    /// # Errors
    /// [`JournalError`] when nobody listens there.
    pub fn start(path: &Path, entries_max: usize, least: Priority) -> Result<(Self, QueueGuard), JournalError> {
        let absent = |source| JournalError::Absent { path: path.to_owned(), source };
        UnixDatagram::unbound()?.connect(path).map_err(absent)?;
        let datagrams = Datagrams { socket: UnixDatagram::unbound()?, path: path.to_owned() };
        let (queue, guard) = Queue::start("pinproxy-log", entries_max, Writing::Lines, datagrams)?;
        Ok((Self { queue, least }, guard))
    }

    /// Queues a line of the log. `target` is the part of the program that tells it.
    pub fn tell(&self, priority: Priority, target: &str, message: &str) {
        self.queue.push(&Entry::new(priority, target, message).0);
    }
}

impl Sink for Journal {
    fn take(&self, event: &Event, _: Option<&Violation>) {
        let priority = if event.failure_class.is_some() { Priority::Warning } else { Priority::Informational };
        if priority > self.least {
            return;
        }
        let mut entry = Entry::new(priority, "session", &event.to_string());
        // Strings, numbers and booleans in structs: nothing that serialising to memory can fail on.
        entry.fields("PINPROXY", &serde_json::to_value(event).unwrap_or_default());
        self.queue.push(&entry.0);
    }

    fn lost(&self) -> Option<(&str, u64)> {
        Some(("the journal", self.queue.lost()))
    }
}

impl Entry {
    fn new(priority: Priority, target: &str, message: &str) -> Self {
        let mut entry = Self::default();
        entry.field("MESSAGE", message.as_bytes());
        entry.field("PRIORITY", (priority as u8).to_string().as_bytes());
        entry.field("SYSLOG_IDENTIFIER", b"pinproxy");
        entry.field("PINPROXY_TARGET", target.as_bytes());
        entry
    }

    /// A field for each value that there is: the names of what it is in, joined. Of a list each element is a value of the
    /// same field, which the journal allows.
    fn fields(&mut self, name: &str, value: &Value) {
        match value {
            Value::Null => {}
            Value::Bool(flag) => self.field(name, if *flag { b"true" } else { b"false" }),
            Value::Number(number) => self.field(name, number.to_string().as_bytes()),
            Value::String(text) => self.field(name, text.as_bytes()),
            Value::Array(elements) => elements.iter().for_each(|element| self.fields(name, element)),
            Value::Object(entries) => {
                for (key, value) in entries {
                    self.fields(&format!("{name}_{}", field_name(key)), value);
                }
            }
        }
    }

    /// `NAME=value`, or where that would be read as something else the name, the length as 64 bits with the low ones
    /// first, and the value.
    fn field(&mut self, name: &str, value: &[u8]) {
        let cut = value.len() > JOURNAL_VALUE_OCTETS_MAX;
        let (value, end) = if cut { (until(value, JOURNAL_VALUE_OCTETS_MAX), CUT) } else { (value, "") };
        let length = value.len() + end.len();
        if self.0.len() + name.len() + length + 10 > JOURNAL_ENTRY_OCTETS_MAX {
            return;
        }
        self.0.extend_from_slice(name.as_bytes());
        if value.iter().any(|octet| octet.is_ascii_control() && *octet != b'\t') {
            self.0.push(b'\n');
            self.0.extend_from_slice(&(length as u64).to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend_from_slice(value);
        self.0.extend_from_slice(end.as_bytes());
        self.0.push(b'\n');
    }
}

/// The journal takes `A-Z`, `0-9` and `_`.
fn field_name(key: &str) -> String {
    key.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

/// The first octets, and no half of a character of UTF-8.
fn until(value: &[u8], octets_max: usize) -> &[u8] {
    let is_inside = |octet: &u8| octet & 0xC0 == 0x80;
    let inside = value[..=octets_max].iter().rev().take(4).take_while(|octet| is_inside(octet)).count();
    &value[..octets_max - if inside < 4 { inside } else { 0 }]
}

impl Write for Datagrams {
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        self.socket.send_to(entry, &self.path)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
