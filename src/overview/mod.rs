//! What a running proxy shows of itself to people: how each pinset fares, and the latest violations with the keys seen
//! beside the keys expected. The page at the admin address and its JSON are drawn from the same values.
//!
//! A session without a violation costs nothing here; one with a violation takes one lock for a moment. What is kept has
//! fixed bounds. `config/API.md` lists all of it.

mod latest;
mod pinsets;
mod seen;

pub use latest::{Outcome, VIOLATIONS_KEPT_MAX, Violated, Violations};
pub use pinsets::{HOSTS_TOLD_MAX, PINSETS_TOLD_MAX, PinsetNow, Pinsets};
pub use seen::{EXPECTED_TOLD_MAX, ExpectedKey, SeenFrom, SeenKey};

use crate::metrics::Counts;
use crate::operate::Operator;
use crate::report::{Event, Sink, Violation};
use latest::Latest;
use std::sync::{Arc, Mutex, PoisonError};

/// Gathers what is shown.
#[derive(Debug)]
pub struct Overview {
    counts: Arc<Counts>,
    latest: Arc<Latest>,
    /// One at a time looks through the pinsets, of which there may be 100,000: whoever asks often waits for himself.
    turn: Mutex<()>,
}

/// Keeps the violations among the events.
#[derive(Debug)]
struct Keeping(Arc<Latest>);

impl Overview {
    /// Over these counters. Nothing is kept before [`Overview::sink`] gets events.
    pub fn of(counts: Arc<Counts>) -> Self {
        Self { counts, latest: Arc::default(), turn: Mutex::default() }
    }

    /// Takes the events of sessions.
    pub fn sink(&self) -> Box<dyn Sink> {
        Box::new(Keeping(Arc::clone(&self.latest)))
    }

    /// The pinsets in force whose names hold this text, as many as are told at once. Blocks while somebody else asks.
    pub fn pinsets(&self, operator: &Operator, part: &str) -> Pinsets {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let moment = operator.proxy.moment();
        let tallies = self.counts.tallies(moment.latest());
        Pinsets::now(&operator.proxy, moment, &tallies, &self.latest.last_by_pinset(), part)
    }

    /// The latest violations.
    pub fn violations(&self) -> Violations {
        self.latest.told()
    }
}

impl Sink for Keeping {
    fn take(&self, event: &Event, violation: Option<&Violation>) {
        if let Some(violation) = violation {
            self.0.keep(event, violation);
        }
    }
}
