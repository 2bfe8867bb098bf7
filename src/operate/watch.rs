//! Reloads when the files change.
//!
//! The files are looked at, and nothing is waited for: notifications of a file system are not given for every kind of
//! change and not by every file system, and a file that is replaced is easily lost out of sight.

use super::Operator;
use super::inputs::{Inputs, Stamps};
use super::reload::Cause;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// How often the files are looked at. What has changed is read when it has not changed any more from one look to the next.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Reloads when something has changed that the configuration was read from, and has come to rest.
pub async fn watch(operator: Arc<Operator>) {
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut inputs = operator.reloads.inputs();
    let mut read = stamps(&inputs).await;
    let mut unsure = inputs.may_differ_from(&read);
    let mut before = read.clone();
    loop {
        looks.tick().await;
        let latest = operator.reloads.inputs();
        if !Arc::ptr_eq(&latest, &inputs) {
            // Somebody else has had it read.
            inputs = latest;
            read = stamps(&inputs).await;
            unsure = inputs.may_differ_from(&read);
            before.clone_from(&read);
            continue;
        }
        let now = stamps(&inputs).await;
        let at_rest = now == before;
        before.clone_from(&now);
        if at_rest && (unsure || now != read) {
            read = now;
            unsure = false;
            tracing::info!("the files of the configuration have changed");
            // What came of it is in the log.
            drop(operator.reloads.reload(Cause::Files, false).await);
        }
    }
}

/// On a thread that may block: the disk may hang.
async fn stamps(inputs: &Arc<Inputs>) -> Stamps {
    let inputs = Arc::clone(inputs);
    tokio::task::spawn_blocking(move || inputs.stamps()).await.unwrap_or_default()
}
