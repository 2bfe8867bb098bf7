//! The latest violations.

use super::seen::{self, ExpectedKey, SeenFrom, SeenKey};
use crate::metrics::PINSETS_MAX;
use crate::policy::decision::{FailureClass, PIN_MISMATCH};
use crate::report::{Asked, Decided, Event, Violation};
use serde::Serialize;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// Violations that are kept; older ones are in the files of reports.
pub const VIOLATIONS_KEPT_MAX: usize = 50;

/// What became of a session that violated its pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was refused.
    Refused,
    /// It was let through, because the pins are not enforced.
    Reported,
    /// It was let through, because an operator has overridden the enforcement.
    Overridden,
}

/// A session that violated its pins.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Violated {
    /// Counted from 1 since the start.
    pub number: u64,
    /// When the request came.
    #[serde(serialize_with = "crate::report::serialize_date_time")]
    pub date_time: SystemTime,
    /// The session, as replies and logs name it.
    pub session: Box<str>,
    /// The host and port that were judged.
    pub target: String,
    /// The pinset.
    pub pinset: Option<Box<str>>,
    /// What became of it.
    pub outcome: Outcome,
    /// What was violated.
    pub class: FailureClass,
    /// The same in words.
    pub detail: Option<String>,
    /// The generation of rules that it was judged by.
    pub policy_generation: u64,
    /// What the keys seen are those of.
    pub seen_from: SeenFrom,
    /// The keys seen, the end entity first.
    pub seen: Vec<SeenKey>,
    /// The pins of the pinset.
    pub expected: Vec<ExpectedKey>,
    /// How many more there are.
    pub expected_left_out: usize,
}

/// The latest violations, the newest first.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Violations {
    /// Since the start.
    pub total: u64,
    /// Those that are kept.
    pub violations: Vec<Arc<Violated>>,
}

#[derive(Debug, Default)]
pub(super) struct Latest(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    total: u64,
    latest: VecDeque<Arc<Violated>>,
    /// By pinset; as many as have counters of their own.
    last: HashMap<Box<str>, SystemTime>,
}

impl Latest {
    pub(super) fn keep(&self, event: &Event, violation: &Violation) {
        // Read before the lock is taken.
        let mut violated = Violated::of(event, violation);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.total += 1;
        violated.number = kept.total;
        if let Some(pinset) = &violated.pinset {
            let has_room = kept.last.len() < PINSETS_MAX;
            if let Some(last) = kept.last.get_mut(pinset) {
                *last = violated.date_time.max(*last);
            } else if has_room {
                kept.last.insert(pinset.clone(), violated.date_time);
            }
        }
        kept.latest.push_front(Arc::new(violated));
        let dropped = (kept.latest.len() > VIOLATIONS_KEPT_MAX).then(|| kept.latest.pop_back());
        drop(kept);
        drop(dropped);
    }

    pub(super) fn told(&self) -> Violations {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Violations { total: kept.total, violations: kept.latest.iter().cloned().collect() }
    }

    pub(super) fn last_by_pinset(&self) -> HashMap<Box<str>, SystemTime> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last.clone()
    }
}

impl Violated {
    fn of(event: &Event, violation: &Violation) -> Self {
        let outcome = match event.decision {
            Decided::Report if event.asked == Some(Asked::Overridden) => Outcome::Overridden,
            Decided::Report => Outcome::Reported,
            Decided::Refuse | Decided::Failed | Decided::Allow | Decided::Tunnel => Outcome::Refused,
        };
        let target = match (&event.hostname, event.port) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            _ => event.connect_authority.to_string(),
        };
        let (seen_from, seen) = seen::keys(event, violation);
        let (expected, expected_left_out) = seen::expected(&seen, violation);
        Self {
            number: 0,
            date_time: event.date_time,
            session: event.session.clone(),
            target,
            pinset: event.pinset.clone(),
            outcome,
            class: violation.class,
            detail: detail(event, violation),
            policy_generation: event.policy_generation,
            seen_from,
            seen,
            expected,
            expected_left_out,
        }
    }
}

/// What was violated, in words. The event of a session that was let through tells how it ended, if that was a failure, too.
fn detail(event: &Event, violation: &Violation) -> Option<String> {
    if event.failure_class == Some(violation.class) {
        return event.detail.as_ref().map(ToString::to_string);
    }
    (violation.class == FailureClass::Pin).then(|| PIN_MISMATCH.to_owned())
}
