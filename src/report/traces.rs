//! Traces: sessions on their way to a collector of OpenTelemetry. Here they are chosen and queued; `spans` writes them, and
//! `proxy::collector` delivers them.

use super::event::{Decided, Event};
use super::sink::Sink;
use super::violation::Violation;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// Sessions that wait for a slow collector; further ones are dropped and counted. One takes about a kilobyte.
pub const TRACES_WAITING_MAX: usize = 2_000;

/// Takes the sessions that are to be traced. Never waits.
#[derive(Debug)]
pub struct Traces {
    sample: f64,
    waiting: mpsc::Sender<Event>,
    counts: TraceCounts,
}

/// What has become of traces since the start. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct TraceCounts(Arc<Counted>);

#[derive(Debug, Default)]
struct Counted {
    sent: AtomicU64,
    lost: AtomicU64,
}

impl TraceCounts {
    /// Counts so many more that a collector has taken.
    pub fn add_sent(&self, count: usize) {
        self.0.sent.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Counts so many more that were lost.
    pub fn add_lost(&self, count: usize) {
        self.0.lost.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Traces that a collector has taken.
    pub fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    /// Traces that were lost.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }
}

impl Traces {
    /// Takes this fraction of the sessions, and each that was refused, failed, or showed no pinned key: those are what
    /// traces are looked at for. Gives what was taken, and what counts those that are delivered and
    /// those that are not.
    pub fn new(sample: f64) -> (Self, mpsc::Receiver<Event>, TraceCounts) {
        let (waiting, taken) = mpsc::channel(TRACES_WAITING_MAX);
        let counts = TraceCounts::default();
        (Self { sample, waiting, counts: counts.clone() }, taken, counts)
    }

    fn wants(&self, event: &Event) -> bool {
        let is_usual = matches!(event.decision, Decided::Allow | Decided::Tunnel) && event.failure_class.is_none();
        !is_usual || self.sample >= 1.0 || self.sample > 0.0 && lot() < self.sample
    }
}

impl Sink for Traces {
    fn take(&self, event: &Event, _: Option<&Violation>) {
        if self.wants(event) && self.waiting.try_send(event.clone()).is_err() {
            self.counts.add_lost(1);
        }
    }

    fn wants_stages(&self) -> bool {
        true
    }

    fn lost(&self) -> Option<(&str, u64)> {
        Some(("the collector of traces", self.counts.lost()))
    }
}

/// A random number from 0 up to 1; 0, which is traced, where the system gives none.
fn lot() -> f64 {
    let mut octets = [0; 4];
    // Where there is no randomness the octets stay what they are.
    let _ = aws_lc_rs::rand::fill(&mut octets);
    f64::from(u32::from_le_bytes(octets)) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::super::event::tests_support::event;
    use super::*;

    fn usual() -> Event {
        Event { decision: Decided::Allow, failure_class: None, ..event() }
    }

    #[test]
    fn refusals_and_failures_are_traced_whatever_the_fraction() {
        let class = event().failure_class;
        let (none, ..) = Traces::new(0.0);
        let (all, ..) = Traces::new(1.0);
        let table = [
            (Decided::Allow, None, false),
            (Decided::Tunnel, None, false),
            (Decided::Allow, class, true),
            (Decided::Tunnel, class, true),
            (Decided::Report, class, true),
            (Decided::Refuse, class, true),
            (Decided::Failed, class, true),
        ];
        for (decision, failure_class, wanted) in table {
            let event = Event { decision, failure_class, ..event() };
            assert_eq!((none.wants(&event), all.wants(&event)), (wanted, true), "{event}");
        }
    }

    /// A tenth of 20,000, give or take eight times the standard deviation.
    #[test]
    fn a_fraction_of_the_others_is_traced() {
        let (tenth, ..) = Traces::new(0.1);
        let event = usual();
        let traced = (0..20_000).filter(|_| tenth.wants(&event)).count();
        assert!((1_660..2_340).contains(&traced), "{traced}");
    }

    #[test]
    fn what_nobody_takes_is_counted() {
        let (traces, mut taken, counts) = Traces::new(1.0);
        for _ in 0..TRACES_WAITING_MAX + 3 {
            traces.take(&usual(), None);
        }
        assert_eq!(traces.lost(), Some(("the collector of traces", 3)));
        assert!(taken.try_recv().is_ok());
        drop(taken);
        traces.take(&usual(), None);
        counts.add_lost(5);
        counts.add_sent(2);
        assert_eq!(traces.lost(), Some(("the collector of traces", 9)));
        assert_eq!((counts.lost(), counts.sent()), (9, 2));
    }
}
