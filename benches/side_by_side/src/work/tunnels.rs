//! Memory of tunnels: while they are open and silent, and after they have closed.

use super::{Bench, CLIENTS, Outcome, WARM_UP, figure, lossy, lossy_u64, warm_host};
use crate::Result;
use crate::load::{self, Accepts, Bound, Client, Held, Tunnel};
use crate::names::Site;
use crate::peers::{Instance, Peer};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a process opens besides its tunnels.
const OTHER_FILES: u64 = 400;
/// How long closed tunnels are given before what they leave behind is looked at.
const HELD_FOR: Duration = Duration::from_secs(60);
/// What a proxy is given to open tunnels.
const OPENING_MAX: Duration = Duration::from_secs(120);

/// A proxy whose tunnels have closed.
pub(crate) struct Emptied {
    instance: Instance,
    closed: Instant,
    full: f64,
    note: Option<String>,
}

impl Bench {
    pub(super) async fn idle(&self, peer: &dyn Peer, tunnels: usize) -> Result<Outcome> {
        const KIB: f64 = 1_024.0;
        const MB: f64 = 1e6;
        let instance = self.start(peer)?;
        let client = instance.client(Accepts::All)?;
        load::sessions(&client, CLIENTS, self.bound(WARM_UP), |number| warm_host(Site::MODERN, number)).await?;
        instance.tree().settle().await;
        let before = instance.tree().memory()?.pss;
        let (held, note) = self.hold(&client, tunnels).await?;
        instance.tree().settle().await;
        let after = instance.tree().memory()?.pss;
        let each = (lossy_u64(after) - lossy_u64(before)) / KIB / lossy(held.len());
        let figures = vec![
            figure("pss each", "KiB", each),
            figure("pss", "MB", lossy_u64(after) / MB),
            figure("open", "tunnels", lossy(held.len())),
        ];
        Ok(Outcome { figures, note })
    }

    /// Silent tunnels: so many, or as many as there can be, with the reason.
    async fn hold(&self, client: &Arc<Client>, wanted: usize) -> Result<(Vec<Tunnel>, Option<String>)> {
        let count = wanted.min(self.tunnels_max());
        let bound = Bound { count, time: OPENING_MAX };
        let Held { tunnels, shortfall } = load::hold(client, bound, |number| warm_host(Site::MODERN, number)).await?;
        let limit = (count < wanted).then(|| format!("the hard limit is {} open files", self.open_files));
        let note = shortfall.or(limit).map(|reason| format!("{} tunnels instead of {wanted}: {reason}", tunnels.len()));
        Ok((tunnels, note))
    }

    /// Opens tunnels and closes them.
    pub(crate) async fn fill_and_empty(&self, peer: &dyn Peer, tunnels: usize) -> Result<Emptied> {
        let instance = self.start(peer)?;
        let client = instance.client(Accepts::All)?;
        let (held, note) = self.hold(&client, tunnels).await?;
        let full = lossy_u64(instance.tree().memory()?.pss);
        load::release(held).await;
        Ok(Emptied { instance, closed: Instant::now(), full, note })
    }

    /// What is still held when the time is over.
    pub(crate) async fn held(emptied: Emptied) -> Result<Outcome> {
        const MB: f64 = 1e6;
        tokio::time::sleep_until((emptied.closed + HELD_FOR).into()).await;
        let held = lossy_u64(emptied.instance.tree().memory()?.pss);
        let figures = vec![figure("pss", "MB", held / MB), figure("pss before", "MB", emptied.full / MB)];
        Ok(Outcome { figures, note: emptied.note })
    }

    /// Both the proxy and the harness, which is client and origin, have two files open for each.
    fn tunnels_max(&self) -> usize {
        usize::try_from(self.open_files.saturating_sub(OTHER_FILES) / 2).unwrap_or(usize::MAX)
    }
}
