//! What is counted of sessions, from the events that they end with.

use super::histogram::Histogram;
use super::pinsets::{Pinsets, Verdict};
use crate::policy::decision::FailureClass;
use crate::report::{Decided, Event, Stage};
use std::sync::atomic::{AtomicU64, Ordering};

/// The counters. To add to them takes no lock.
#[derive(Debug, Default)]
pub struct Counts {
    pub(super) sessions: [[AtomicU64; Decided::ALL.len()]; Stage::ALL.len()],
    pub(super) failures: [[AtomicU64; Stage::ALL.len()]; FailureClass::ALL.len()],
    pub(super) pinsets: Pinsets,
    pub(super) upstream_handshakes: Histogram,
    pub(super) client_handshakes: Histogram,
    pub(super) bytes_upstream: AtomicU64,
    pub(super) bytes_client: AtomicU64,
    pub(super) closed_by_policy: AtomicU64,
}

impl Counts {
    /// Counts a session that has ended.
    pub fn count(&self, event: &Event) {
        let add = |counter: &AtomicU64, count| {
            counter.fetch_add(count, Ordering::Relaxed);
        };
        add(&self.sessions[event.stage as usize][event.decision as usize], 1);
        if let Some(class) = event.failure_class {
            add(&self.failures[class as usize][event.stage as usize], 1);
        }
        if let Some(took) = event.upstream_handshake {
            self.upstream_handshakes.observe(took);
        }
        if let Some(took) = event.client_handshake {
            self.client_handshakes.observe(took);
        }
        add(&self.bytes_upstream, event.bytes.upstream);
        add(&self.bytes_client, event.bytes.client);
        if event.was_closed_by_policy() {
            add(&self.closed_by_policy, 1);
        }
        if let (Some(pinset), Some(asked), Some(verdict)) = (&event.pinset, event.asked, verdict(event)) {
            self.pinsets.at(pinset, |own| {
                own.judged(asked, verdict);
                if let Some(end) = event.upstream_not_after {
                    own.shown(end, event.date_time);
                }
            });
        }
    }
}

/// The verdict on the chain; none where none was judged. What becomes of a session behind its verdict changes nothing.
fn verdict(event: &Event) -> Option<Verdict> {
    use FailureClass as F;
    let of_the_chain =
        matches!(event.failure_class, Some(F::Chain | F::Name | F::Validity | F::Pin | F::Blocklist | F::Budget));
    match event.decision {
        Decided::Tunnel => None,
        Decided::Refuse if of_the_chain => Some(Verdict::Refused),
        Decided::Report => Some(Verdict::Violated),
        _ if event.matched_pin.is_some() => Some(Verdict::Matched),
        _ if event.exempted => Some(Verdict::Exempted),
        Decided::Allow => Some(Verdict::Passed),
        Decided::Refuse | Decided::Failed => None,
    }
}
