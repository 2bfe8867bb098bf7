//! A histogram of durations that takes no lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets but the last, in milliseconds: from a handshake on one machine to the usual time limit.
const BOUNDS: [u32; 13] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000];

#[derive(Debug, Default)]
pub(super) struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl Histogram {
    pub(super) fn observe(&self, duration: Duration) {
        let within = |bound: &u32| duration <= Duration::from_millis(u64::from(*bound));
        let bucket = BOUNDS.iter().position(within).unwrap_or(BOUNDS.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        // Centuries fit.
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// The sum in seconds, and how many fell into each bucket, by its upper bound in seconds.
    pub(super) fn read(&self) -> (f64, Vec<(f64, u64)>) {
        let bounds = BOUNDS.iter().map(|bound| f64::from(*bound) / 1_000.0).chain([f64::INFINITY]);
        let buckets = bounds.zip(&self.buckets).map(|(bound, count)| (bound, count.load(Ordering::Relaxed))).collect();
        (Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)).as_secs_f64(), buckets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_falls_into_one_bucket() {
        let histogram = Histogram::default();
        for microseconds in [0, 1_000, 1_001, 10_000_000, 10_000_001, 60_000_000] {
            histogram.observe(Duration::from_micros(microseconds));
        }
        let (sum, buckets) = histogram.read();
        assert!((sum - 80.002_002).abs() < 1e-6, "{sum}");
        let filled: Vec<_> = buckets.iter().filter(|(_, count)| *count > 0).map(|(_, count)| *count).collect();
        assert_eq!((buckets.len(), filled), (14, vec![2, 1, 1, 2]));
        assert!(buckets.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
