//! What a service manager is told (sd_notify(3)). Where none has asked, which the environment says, nothing is.

use sd_notify::{NotifyState, notify, watchdog_enabled};
use std::time::Duration;
use tokio::time::interval;

/// A service manager that wants to hear more often is not right.
const LIFE_INTERVAL_MIN: Duration = Duration::from_millis(50);

/// Sessions are taken.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is read again; [`ready`] follows, whatever comes of it.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!("the service manager is not told of the reload: {error}"),
    }
}

/// No new sessions; open ones end.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Tells that the runtime is alive, twice as often as the service manager wants to hear it. Never completes where it does.
pub(super) async fn keep_watchdog() {
    let Some(limit) = watchdog_enabled().filter(|limit| !limit.is_zero()) else { return };
    let mut ticks = interval((limit / 2).max(LIFE_INTERVAL_MIN));
    loop {
        ticks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = notify(state) {
        tracing::warn!("the service manager cannot be told: {error}");
    }
}
