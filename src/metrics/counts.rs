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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::pin::Pin;
    use crate::report::{Asked, Bytes, Told, tests_support};
    use std::time::Duration;

    /// Of a session that was allowed and has relayed.
    fn event() -> Event {
        Event {
            stage: Stage::Relay,
            decision: Decided::Allow,
            failure_class: None,
            detail: None,
            status: None,
            pinset: Some("site".into()),
            asked: Some(Asked::Enforce),
            bytes: Bytes { upstream: 3, client: 4 },
            upstream_handshake: Some(Duration::from_millis(3)),
            duration: Duration::ZERO,
            ..tests_support::event()
        }
    }

    const PIN: Option<Pin> = Some(Pin::Spki([7; 32]));

    #[test]
    fn what_a_session_came_to_is_told_apart_from_what_its_chain_did() {
        use FailureClass as F;
        type Change = fn(&mut Event);
        let table: [(&str, Change, Option<Verdict>); 12] = [
            ("a pin matched", |event| event.matched_pin = PIN, Some(Verdict::Matched)),
            ("no pin was asked for", |event| event.asked = Some(Asked::Chain), Some(Verdict::Passed)),
            ("the anchor exempts", |event| event.exempted = true, Some(Verdict::Exempted)),
            (
                "reported",
                |event| (event.decision, event.failure_class) = (Decided::Report, Some(F::Pin)),
                Some(Verdict::Violated),
            ),
            (
                "refused",
                |event| (event.decision, event.failure_class) = (Decided::Refuse, Some(F::Pin)),
                Some(Verdict::Refused),
            ),
            (
                "no chain",
                |event| (event.decision, event.failure_class) = (Decided::Refuse, Some(F::Chain)),
                Some(Verdict::Refused),
            ),
            (
                "refused by later rules, though a pin had matched",
                |event| {
                    (event.decision, event.failure_class) = (Decided::Refuse, Some(F::Blocklist));
                    event.matched_pin = PIN;
                },
                Some(Verdict::Refused),
            ),
            (
                "matched, and the client asked for another name",
                |event| {
                    (event.decision, event.failure_class) = (Decided::Refuse, Some(F::Client));
                    event.matched_pin = PIN;
                },
                Some(Verdict::Matched),
            ),
            (
                "matched, and the client left",
                |event| (event.failure_class, event.matched_pin) = (Some(F::Client), PIN),
                Some(Verdict::Matched),
            ),
            ("a tunnel", |event| event.decision = Decided::Tunnel, None),
            (
                "an address that may not be dialled",
                |event| (event.decision, event.failure_class) = (Decided::Refuse, Some(F::Access)),
                None,
            ),
            (
                "nobody answered",
                |event| (event.decision, event.failure_class) = (Decided::Failed, Some(F::Unreachable)),
                None,
            ),
        ];
        for (what, change, expected) in table {
            let mut event = event();
            change(&mut event);
            assert_eq!(verdict(&event), expected, "{what}");
        }
    }

    #[test]
    fn a_session_is_counted_once_everywhere() {
        let counts = Counts::default();
        let mut refused = event();
        (refused.stage, refused.decision, refused.failure_class) =
            (Stage::Pin, Decided::Refuse, Some(FailureClass::Pin));
        let mut ended = refused.clone();
        (ended.stage, ended.ended) = (Stage::Relay, Some(Told::words("policy")));
        for event in [&event(), &refused, &ended] {
            counts.count(event);
        }
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let sessions = |stage: Stage, decided: Decided| of(&counts.sessions[stage as usize][decided as usize]);
        assert_eq!(sessions(Stage::Relay, Decided::Allow), 1);
        assert_eq!(sessions(Stage::Pin, Decided::Refuse), 1);
        assert_eq!(sessions(Stage::Relay, Decided::Refuse), 1);
        assert_eq!(counts.sessions.iter().flatten().map(of).sum::<u64>(), 3);
        assert_eq!(of(&counts.failures[FailureClass::Pin as usize][Stage::Pin as usize]), 1);
        assert_eq!(counts.failures.iter().flatten().map(of).sum::<u64>(), 2);
        assert_eq!((of(&counts.bytes_upstream), of(&counts.bytes_client), of(&counts.closed_by_policy)), (9, 12, 1));
        assert_eq!(counts.upstream_handshakes.read().1.iter().map(|(_, count)| count).sum::<u64>(), 3);
        assert_eq!(counts.client_handshakes.read().1.iter().map(|(_, count)| count).sum::<u64>(), 0);
    }

    /// Cells are found by the place of a word, and told by the list of words.
    #[test]
    fn lists_are_in_the_order_of_their_words() {
        assert!(Stage::ALL.iter().enumerate().all(|(place, stage)| *stage as usize == place));
        assert!(Decided::ALL.iter().enumerate().all(|(place, decided)| *decided as usize == place));
        assert!(FailureClass::ALL.iter().enumerate().all(|(place, class)| *class as usize == place));
        assert!(Asked::ALL.iter().enumerate().all(|(place, asked)| *asked as usize == place));
        assert!(Verdict::ALL.iter().enumerate().all(|(place, verdict)| *verdict as usize == place));
    }
}
