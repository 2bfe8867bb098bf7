//! What has become of reports, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// What has become of the reports since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Violations for which no report is sent, because the like was reported before.
    pub suppressed: u64,
    /// Reports in memory, on their way to the spool.
    pub unspooled: u64,
    /// Reports in the spool.
    pub spooled: u64,
    /// Reports lost: there was no room in memory while the spool took none, or it was still taking none at the end.
    pub lost: u64,
    /// Reports lost because the spool has all that it may keep.
    pub left_out: u64,
    /// By receiver, in the order of the configuration, syslog last.
    pub targets: Vec<TargetFigures>,
}

/// What has become of the reports for one receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetFigures {
    /// Host and port, or the address of syslog: no credentials.
    pub target: String,
    /// Reports that wait for it.
    pub waiting: u64,
    /// Reports that it has taken.
    pub sent: u64,
    /// Reports that it refuses.
    pub refused: u64,
    /// Reports that have become too old.
    pub too_old: u64,
    /// Attempts that have failed and are made again.
    pub failures: u64,
}

/// The counters of one receiver.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) sent: Count,
    pub(super) refused: Count,
    pub(super) too_old: Count,
    pub(super) failures: Count,
}

#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    /// Counts some more, and gives the new count.
    pub(super) fn add(&self, more: u64) -> u64 {
        self.0.fetch_add(more, Ordering::Relaxed) + more
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
