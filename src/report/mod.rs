//! One event a session: to the log for people, to files for machines. Nothing here makes a session wait.

mod event;
mod journal;
mod lines;
mod queue;
mod sink;
mod spans;
mod stages;
mod told;
mod traces;
mod violation;

#[cfg(test)]
pub(crate) use event::tests_support;
pub use event::{
    Asked, Bytes, CLOSED_BY_POLICY, Client, Decided, Event, Stage, date_time, serialize_date_time,
    serialize_maybe_date_time,
};
pub use journal::{
    JOURNAL_ENTRY_OCTETS_MAX, JOURNAL_SOCKET, JOURNAL_VALUE_OCTETS_MAX, Journal, JournalError, Priority,
};
pub use queue::{LAST_LINES_TIMEOUT, Queue, QueueGuard, Writing};
pub use sink::{
    ACCESS_LINES_MAX, AccessFile, JsonLines, ReopenError, Sink, SinkError, TextLog, VIOLATION_LINES_MAX, ViolationFile,
};
pub use spans::{export_request, rejected_spans};
pub use stages::{STAGE_CHANGES_MAX, StageTimes};
pub use told::Told;
pub use traces::{TRACES_WAITING_MAX, TraceCounts, Traces};
pub use violation::{ClientId, Naming, RandomError, Violation};

/// Hands the event of each session to every sink.
#[derive(Debug)]
pub struct Reporter {
    sinks: Vec<Box<dyn Sink>>,
    wants_stages: bool,
}

impl Reporter {
    /// A reporter over sinks.
    pub fn new(sinks: Vec<Box<dyn Sink>>) -> Self {
        let wants_stages = sinks.iter().any(|sink| sink.wants_stages());
        Self { sinks, wants_stages }
    }

    /// Whether events have to tell when the session came to its stages.
    pub fn wants_stages(&self) -> bool {
        self.wants_stages
    }

    /// Takes the event of a session that has ended, and the violation if there was one.
    pub fn emit(&self, event: &Event, violation: Option<&Violation>) {
        self.sinks.iter().for_each(|sink| sink.take(event, violation));
    }

    /// Opens files anew that somebody may have moved away. Gives those that cannot be.
    pub fn reopen(&self) -> Vec<ReopenError> {
        self.sinks.iter().filter_map(|sink| sink.reopen().err()).collect()
    }

    /// Events lost since the start, by sink: its name and the count.
    pub fn lost(&self) -> impl Iterator<Item = (&str, u64)> {
        self.sinks.iter().filter_map(|sink| sink.lost())
    }
}
