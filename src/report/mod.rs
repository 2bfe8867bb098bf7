//! One event a session: to the log for people, to files for machines. Nothing here makes a session wait.

mod event;
mod sink;
mod violation;

pub use event::{Bytes, Client, Decided, Event, Stage, date_time};
pub use sink::{Sink, SinkError};
pub use violation::{ClientId, RandomError, Violation};

use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};

/// Takes events and hands them to the sinks.
#[derive(Debug)]
pub struct Reporter {
    access: Option<Sink>,
    violations: Option<Sink>,
    client_id: ClientId,
    events: AtomicU64,
}

impl Reporter {
    /// A reporter over the given sinks; the text log is always there.
    pub const fn new(access: Option<Sink>, violations: Option<Sink>, client_id: ClientId) -> Self {
        Self { access, violations, client_id, events: AtomicU64::new(0) }
    }

    /// Takes the event of a session that has ended, and the violation if there was one.
    pub fn emit(&self, event: &Event, violation: Option<&Violation>) {
        self.events.fetch_add(1, Ordering::Relaxed);
        log(event);
        if let Some(access) = &self.access {
            access.write(&line(event));
        }
        if let (Some(sink), Some(violation)) = (&self.violations, violation) {
            sink.write(&line(&violation.report(event, &self.client_id)));
        }
    }

    /// Events taken since the start.
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Lines that could not be written since the start, by sink: its name and the count.
    pub fn lost(&self) -> impl Iterator<Item = (&str, u64)> {
        self.access.iter().chain(&self.violations).map(|sink| (sink.name(), sink.lost()))
    }
}

/// A JSON line.
fn line(value: &impl Serialize) -> Vec<u8> {
    // Strings, numbers and booleans in structs: nothing that serialisation to memory can fail on.
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}

fn log(event: &Event) {
    let failed = event.failure_class.is_some();
    // The level of a tracing event is static, so the two are spelt out.
    if failed {
        tracing::warn!(target: "session", "{event}");
    } else {
        tracing::info!(target: "session", "{event}");
    }
}
