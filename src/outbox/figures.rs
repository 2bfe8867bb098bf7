//! What has become of reports, in numbers.

use crate::report::Told;
use arc_swap::ArcSwapOption;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// Characters of why something does not work that are kept: receivers, and whoever pretends to be one, have a say in it.
pub const WHY_CHARACTERS_MAX: usize = 500;

/// What has become of the reports since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Violations for which no report is sent, because the like was reported before.
    pub suppressed: u64,
    /// Reports in memory, on their way to the spool.
    pub unspooled: u64,
    /// Reports in the spool.
    pub spooled: u64,
    /// The octets that they have.
    pub spooled_octets: u64,
    /// When the oldest of them came.
    pub oldest: Option<SystemTime>,
    /// What is wrong with the spool.
    pub spool_trouble: Option<Trouble>,
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
    /// What it has answered since it took a report for the last time, if not that it takes one.
    pub trouble: Option<Trouble>,
}

/// Something does not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Since when.
    pub since: SystemTime,
    /// What was said at the last attempt.
    pub why: Told,
}

/// Whether something works, told to whoever asks without a lock.
#[derive(Debug, Default)]
pub(super) struct Condition(ArcSwapOption<Trouble>);

impl Condition {
    /// It does.
    pub(super) fn works(&self) {
        if self.0.load().is_some() {
            self.0.store(None);
        }
    }

    /// It does not, now or still. To be called by one at a time.
    pub(super) fn fails(&self, now: SystemTime, why: &str) {
        let since = self.trouble().map_or(now, |trouble| trouble.since);
        let why = Told::words(why.chars().take(WHY_CHARACTERS_MAX).collect::<String>());
        self.0.store(Some(Arc::new(Trouble { since, why })));
    }

    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.0.load().as_deref().cloned()
    }
}

/// The counters of one receiver.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) sent: Count,
    pub(super) refused: Count,
    pub(super) too_old: Count,
    pub(super) failures: Count,
    pub(super) condition: Condition,
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn trouble_has_a_beginning_an_end_and_a_bound() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let trouble = |since, why: &str| Some(Trouble { since: at(since), why: Told::words(why) });
        let condition = Condition::default();
        assert_eq!(condition.trouble(), None);
        condition.fails(at(1), "status 503");
        condition.fails(at(2), "name of a \u{1b}[2J certificate");
        assert_eq!(condition.trouble(), trouble(1, "name of a \u{1b}[2J certificate"));
        condition.works();
        assert_eq!(condition.trouble(), None);
        condition.fails(at(3), &"é".repeat(WHY_CHARACTERS_MAX + 1));
        assert_eq!(condition.trouble(), trouble(3, &"é".repeat(WHY_CHARACTERS_MAX)));
    }
}
