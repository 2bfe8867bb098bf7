//! Reloads when the files change.
//!
//! The files are looked at, and nothing is waited for: notifications of a file system are not given for every kind of
//! change and not by every file system, and a file that is replaced is easily lost out of sight.

use super::Operator;
use super::reload::Cause;
use crate::files::{Stamps, anew};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// How often the files are looked at. What has changed is read when it has not changed any more from one look to the next.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Reloads when something has changed that the configuration was read from, and has come to rest.
pub async fn watch(operator: Arc<Operator>) {
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = None;
    loop {
        looks.tick().await;
        let read = operator.reloads.inputs();
        let now = now(&read).await;
        let at_rest = before.as_ref() == Some(&now);
        if at_rest && now != *read {
            tracing::info!("the files of the configuration have changed");
            // What came of it is in the log.
            drop(operator.reloads.reload(Cause::Files, false).await);
        }
        before = Some(now);
    }
}

/// On a thread that may block: the disk may hang.
async fn now(read: &Arc<Stamps>) -> Stamps {
    let read = Arc::clone(read);
    tokio::task::spawn_blocking(move || anew(&read)).await.unwrap_or_default()
}
