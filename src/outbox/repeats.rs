//! One report for all that say the same.

use crate::report::{Event, Violation};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Violations that are told apart at a time. An upstream that shows another key each time makes each of them a new one; the
/// oldest is forgotten then, and would be reported anew.
pub const REPEATS_MAX: usize = 10_000;

/// What makes two violations the same: pinset, host, port, failure class, and the keys that were seen.
pub(super) type Sameness = [u8; 32];

/// What has been reported lately. It lives in memory: after a restart each violation is new.
#[derive(Debug)]
pub(super) struct Repeats {
    window: Duration,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    entries: HashMap<Sameness, Entry>,
    /// By the number of the report that stands for it, so that the oldest comes first.
    oldest: BTreeMap<u64, Sameness>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    /// When it was reported; none when that report was lost.
    reported: Option<Instant>,
    suppressed: u64,
}

/// What makes this violation the same as another one. No time is in it.
pub(super) fn sameness(event: &Event, violation: &Violation) -> Sameness {
    let mut hasher = Sha256::new();
    let mut part = |text: &[u8]| {
        // Each part behind its length, so that no two lists of parts run together to the same.
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text);
    };
    part(event.pinset.as_deref().unwrap_or_default().as_bytes());
    part(event.hostname.as_deref().unwrap_or_default().as_bytes());
    part(&event.port.unwrap_or_default().to_be_bytes());
    part(violation.class.as_str().as_bytes());
    event.seen_pins.iter().for_each(|pin| part(pin.to_string().as_bytes()));
    hasher.finalize().into()
}

impl Repeats {
    pub(super) fn new(window: Duration) -> Self {
        Self { window, known: Mutex::default() }
    }

    /// Whether this violation is to be reported now, and how many of the same were not reported since the last one that
    /// was.
    pub(super) fn take(&self, what: Sameness, now: Instant) -> Option<u64> {
        let mut known = self.known();
        let suppressed = match known.entries.get_mut(&what) {
            Some(entry) if entry.reported.is_some_and(|at| now.saturating_duration_since(at) < self.window) => {
                entry.suppressed += 1;
                return None;
            }
            Some(entry) => entry.suppressed,
            None => 0,
        };
        known.put(what, Some(now), 0);
        Some(suppressed)
    }

    /// A report that was to stand for others is lost: the next one of its kind is to be sent, and counts it.
    pub(super) fn forget(&self, what: Sameness, suppressed: u64) {
        self.known().put(what, None, suppressed + 1);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn put(&mut self, what: Sameness, reported: Option<Instant>, suppressed: u64) {
        let number = self.next;
        self.next += 1;
        if let Some(old) = self.entries.insert(what, Entry { number, reported, suppressed }) {
            self.oldest.remove(&old.number);
        }
        self.oldest.insert(number, what);
        while self.entries.len() > REPEATS_MAX {
            let Some((_, oldest)) = self.oldest.pop_first() else { return };
            self.entries.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(3600);

    fn what(number: usize) -> Sameness {
        Sha256::digest(number.to_be_bytes()).into()
    }

    #[test]
    fn one_report_stands_for_a_window() {
        let (repeats, start) = (Repeats::new(WINDOW), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        // when, of what kind, what comes of it
        let table = [
            (0, 1, Some(0)),
            (0, 1, None),
            (0, 2, Some(0)),
            (3599, 1, None),
            (3600, 1, Some(2)),
            (3601, 1, None),
            (7199, 1, None),
            (20_000, 1, Some(2)),
            (40_000, 1, Some(0)),
            (40_000, 2, Some(0)),
        ];
        for (seconds, kind, expected) in table {
            assert_eq!(repeats.take(what(kind), at(seconds)), expected, "kind {kind} at {seconds}");
        }
    }

    #[test]
    fn a_report_that_was_lost_stands_for_nothing() {
        let (repeats, now) = (Repeats::new(WINDOW), Instant::now());
        assert_eq!(repeats.take(what(1), now), Some(0));
        repeats.forget(what(1), 0);
        assert_eq!(repeats.take(what(1), now), Some(1));
        repeats.forget(what(1), 1);
        assert_eq!(repeats.take(what(1), now), Some(2));
        assert_eq!(repeats.take(what(1), now), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (repeats, now) = (Repeats::new(WINDOW), Instant::now());
        for number in 0..=REPEATS_MAX {
            assert_eq!(repeats.take(what(number), now), Some(0));
        }
        assert_eq!(repeats.known().entries.len(), REPEATS_MAX);
        assert_eq!(repeats.known().oldest.len(), REPEATS_MAX);
        // The oldest alone is forgotten.
        assert_eq!(repeats.take(what(1), now), None);
        assert_eq!(repeats.take(what(0), now), Some(0));
        assert_eq!(repeats.known().oldest.len(), REPEATS_MAX);
    }
}
