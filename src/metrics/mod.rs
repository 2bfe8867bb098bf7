//! Figures for Prometheus: what sessions come to, counted from their events, and what the proxy is like, read when somebody
//! asks.
//!
//! A session that ends adds to a few atomic counters and takes no lock; a scrape reads them, and is served from what was
//! gathered a moment ago where another one has just been. `config/METRICS.md` lists all of it.

mod counts;
mod deliveries;
mod ends;
mod histogram;
mod pinsets;
mod scrape;
mod series;
mod tally;

pub use counts::Counts;
pub use ends::ENDS_MAX;
pub use pinsets::PINSETS_MAX;
pub use scrape::Scrapes;
pub use tally::{Tallies, Tally};

use crate::report::{Event, Sink, Violation};
use std::sync::Arc;

/// The label of everything that has none of its own, because there are too many.
const OTHER: &str = "other";

/// Counts events.
#[derive(Debug)]
pub struct Counting(pub Arc<Counts>);

impl Sink for Counting {
    fn take(&self, event: &Event, _: Option<&Violation>) {
        self.0.count(event);
    }
}
