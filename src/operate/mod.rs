//! What an operator does with a running proxy, by signal, by a change of its files, or over its control socket: reload,
//! drain, overrides; and what the proxy tells about itself.

pub mod background;
mod judging;
mod loosened;
mod losing;
mod overriding;
mod preparing;
mod reload;
mod reloader;
mod reports;
mod status;
mod watch;

pub use overriding::OverrideRequest;
pub use reload::{Beginning, Beside, Cause, Last, Read, Reloaded, Reloads, Wanted};
pub use reports::{StatusOfReceiver, StatusOfReports, StatusOfTrouble};
pub use status::{LastReload, Status, StatusOfCa, StatusOfOverride, StatusOfRotation};
pub use watch::watch;

use crate::proxy::{Deliveries, Proxy};
use crate::report::TraceCounts;
use overriding::Overriding;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

/// How often it is looked whether an override has ended. A verdict looks for itself.
const OVERRIDES_INTERVAL: Duration = Duration::from_secs(1);

/// Sees to what comes to its end by itself.
pub async fn tend(operator: Arc<Operator>) {
    let mut ticks = interval(OVERRIDES_INTERVAL);
    loop {
        ticks.tick().await;
        if operator.end_overrides() {
            operator.judge_open_sessions().await;
        }
    }
}

/// A running proxy in the hands of its operator.
#[derive(Debug)]
pub struct Operator {
    /// The proxy.
    pub proxy: Arc<Proxy>,
    /// Reads its configuration again.
    pub reloads: Reloads,
    /// Completes when somebody has asked it to drain.
    drained: CancellationToken,
    overriding: Overriding,
    deliveries: Deliveries,
    started: SystemTime,
}

impl Operator {
    /// Of a proxy that has just been started.
    pub fn new(proxy: Arc<Proxy>, reloads: Reloads, deliveries: Deliveries) -> Self {
        let started = proxy.moment().latest();
        let (drained, overriding) = (CancellationToken::new(), Overriding::default());
        Self { proxy, reloads, drained, overriding, deliveries, started }
    }

    /// What has become of the reports; nothing where they are sent to nobody. Takes no lock that those who send them hold
    /// for longer than a moment.
    pub fn reports(&self) -> Option<StatusOfReports> {
        self.deliveries.reports.as_ref().map(|ledger| ledger.figures().into())
    }

    /// What has become of the traces; nothing where they are sent to nobody.
    pub fn traces(&self) -> Option<&TraceCounts> {
        self.deliveries.traces.as_ref()
    }

    /// Lets open sessions end and takes no new ones, as SIGTERM does.
    pub fn drain(&self) {
        self.drained.cancel();
    }

    /// Ends open sessions that the rules and overrides in force refuse.
    pub async fn judge_open_sessions(&self) {
        match self.reloads.judge_open_sessions().await {
            Some(0) => {}
            Some(closed) => tracing::warn!("{closed} open sessions are closed: what is in force now refuses them"),
            None => tracing::error!("open sessions could not be judged again; restart the proxy"),
        }
    }

    /// Completes when [`Operator::drain`] has been called.
    pub async fn asked_to_drain(&self) {
        self.drained.cancelled().await;
    }
}
