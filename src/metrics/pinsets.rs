//! What is counted by pinset. A pinset has its counters from its first session on, and so many have some of their own.

use super::OTHER;
use crate::report::Asked;
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Pinsets with counters of their own; further ones are counted together, as `other`. A configuration may have 100,000,
/// and each that is asked for makes up to thirty series.
pub const PINSETS_MAX: usize = 1_000;

/// The soonest end of an upstream's certificate is that of the current window and the one before: what was replaced by a
/// later one is forgotten then.
const WINDOW: Duration = Duration::from_secs(6 * 60 * 60);

/// What a judgement came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A pin matched.
    Matched,
    /// None did, and the trust anchor exempts its chains.
    Exempted,
    /// The chain verified, and no pin was asked for.
    Passed,
    /// Let through against the pins, and reported.
    Violated,
    /// Refused.
    Refused,
}

impl Verdict {
    pub(super) const ALL: [Self; 5] = [Self::Matched, Self::Exempted, Self::Passed, Self::Violated, Self::Refused];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::Exempted => "exempted",
            Self::Passed => "passed",
            Self::Violated => "violated",
            Self::Refused => "refused",
        }
    }
}

/// All of them, by name. Looked up without a lock; a new one makes a new map.
#[derive(Debug, Default)]
pub(super) struct Pinsets {
    named: ArcSwap<HashMap<Arc<str>, Arc<OfPinset>>>,
    other: OfPinset,
}

/// The counters of one.
#[derive(Debug, Default)]
pub(super) struct OfPinset {
    verdicts: [[AtomicU64; Verdict::ALL.len()]; Asked::ALL.len()],
    leaf: SoonestEnd,
}

impl Pinsets {
    /// Counts at the pinset of this name.
    pub(super) fn at(&self, name: &str, count: impl FnOnce(&OfPinset)) {
        let named = self.named.load();
        if let Some(own) = named.get(name) {
            return count(own);
        }
        if named.len() >= PINSETS_MAX {
            return count(&self.other);
        }
        drop(named);
        self.enter(name);
        // It may have been full meanwhile.
        match self.named.load().get(name) {
            Some(own) => count(own),
            None => count(&self.other),
        }
    }

    fn enter(&self, name: &str) {
        let name: Arc<str> = name.into();
        let own = Arc::new(OfPinset::default());
        self.named.rcu(|named| {
            if named.contains_key(&name) || named.len() >= PINSETS_MAX {
                return Arc::clone(named);
            }
            let mut more = HashMap::clone(named);
            more.insert(Arc::clone(&name), Arc::clone(&own));
            Arc::new(more)
        });
    }

    /// Each name with its counters, in the order of names, `other` last.
    pub(super) fn each(&self, mut see: impl FnMut(&str, &OfPinset)) {
        let named = self.named.load_full();
        let mut all: Vec<_> = named.iter().collect();
        all.sort_unstable_by_key(|(name, _)| Arc::clone(name));
        for (name, own) in all {
            see(name, own);
        }
        see(OTHER, &self.other);
    }
}

impl OfPinset {
    pub(super) fn judged(&self, asked: Asked, verdict: Verdict) {
        self.verdicts[asked as usize][verdict as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// An upstream has shown a certificate that ends then.
    pub(super) fn shown(&self, end: SystemTime, now: SystemTime) {
        self.leaf.take(seconds(end), seconds(now));
    }

    /// What was asked, what it came to, and how often, for what was asked at all: whoever looks at the growth of a series
    /// has to see it before its first case.
    pub(super) fn verdicts(&self) -> impl Iterator<Item = (Asked, Verdict, u64)> {
        Asked::ALL.into_iter().zip(&self.verdicts).flat_map(|(asked, cells)| {
            let counts: Vec<_> = cells.iter().map(|cell| cell.load(Ordering::Relaxed)).collect();
            let any = counts.iter().any(|count| *count > 0);
            Verdict::ALL
                .into_iter()
                .zip(counts)
                .filter(move |_| any)
                .map(move |(verdict, count)| (asked, verdict, count))
        })
    }

    /// The soonest end of a certificate that an upstream has shown of late.
    pub(super) fn soonest_end(&self, now: SystemTime) -> Option<SystemTime> {
        let end = self.leaf.read(seconds(now))?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(end))
    }
}

fn seconds(moment: SystemTime) -> u64 {
    moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// In seconds since 1970. Two sessions that end at the turn of a window may see each other's halves: one end may then be
/// forgotten a window early or late, and comes back with the next session.
#[derive(Debug)]
struct SoonestEnd {
    window: AtomicU64,
    current: AtomicU64,
    before: AtomicU64,
}

/// No certificate was seen.
const NONE: u64 = u64::MAX;

impl Default for SoonestEnd {
    fn default() -> Self {
        Self { window: AtomicU64::new(0), current: AtomicU64::new(NONE), before: AtomicU64::new(NONE) }
    }
}

impl SoonestEnd {
    fn take(&self, end: u64, now: u64) {
        let window = now / WINDOW.as_secs();
        let was = self.window.fetch_max(window, Ordering::Relaxed);
        if was < window {
            let last = self.current.swap(NONE, Ordering::Relaxed);
            self.before.store(if was + 1 == window { last } else { NONE }, Ordering::Relaxed);
        }
        self.current.fetch_min(end, Ordering::Relaxed);
    }

    fn read(&self, now: u64) -> Option<u64> {
        let (window, was) = (now / WINDOW.as_secs(), self.window.load(Ordering::Relaxed));
        let (current, before) = (self.current.load(Ordering::Relaxed), self.before.load(Ordering::Relaxed));
        let end = match window.saturating_sub(was) {
            0 => current.min(before),
            1 => current,
            _ => NONE,
        };
        (end != NONE).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_have_counters_of_their_own() {
        let pinsets = Pinsets::default();
        for number in 0..PINSETS_MAX + 50 {
            for _ in 0..2 {
                pinsets.at(&format!("p{number:05}"), |own| own.judged(Asked::Enforce, Verdict::Matched));
            }
        }
        let mut seen = Vec::new();
        pinsets.each(|name, own| {
            let sum: u64 = own.verdicts().map(|(.., count)| count).sum();
            seen.push((name.to_owned(), own.verdicts().count(), sum));
        });
        assert_eq!(seen.len(), PINSETS_MAX + 1);
        assert_eq!(seen[0], ("p00000".to_owned(), 5, 2));
        assert_eq!(seen[PINSETS_MAX - 1], ("p00999".to_owned(), 5, 2));
        assert_eq!(seen[PINSETS_MAX], (OTHER.to_owned(), 5, 100));
    }

    #[test]
    fn what_was_never_asked_has_no_series() {
        let own = OfPinset::default();
        assert_eq!(own.verdicts().count(), 0);
        own.judged(Asked::PinOnly, Verdict::Refused);
        let seen: Vec<_> =
            own.verdicts().map(|(asked, verdict, count)| (asked.as_str(), verdict.as_str(), count)).collect();
        let expected = ["matched", "exempted", "passed", "violated", "refused"];
        assert_eq!(seen, expected.map(|verdict| ("pin-only", verdict, u64::from(verdict == "refused"))));
    }

    #[test]
    fn a_certificate_that_was_replaced_is_forgotten() {
        let hours = |hours: u64| hours * 60 * 60;
        let soonest = SoonestEnd::default();
        assert_eq!(soonest.read(hours(600)), None);
        soonest.take(hours(700), hours(600));
        soonest.take(hours(900), hours(601));
        assert_eq!(soonest.read(hours(602)), Some(hours(700)));
        assert_eq!(soonest.read(hours(607)), Some(hours(700)));
        soonest.take(hours(900), hours(607));
        assert_eq!(soonest.read(hours(607)), Some(hours(700)));
        soonest.take(hours(900), hours(612));
        assert_eq!(soonest.read(hours(612)), Some(hours(900)));
        // One that began long ago ends only now.
        soonest.take(hours(800), hours(590));
        assert_eq!(soonest.read(hours(612)), Some(hours(800)));
        assert_eq!(soonest.read(hours(625)), None, "nobody has asked for so long");
    }
}
