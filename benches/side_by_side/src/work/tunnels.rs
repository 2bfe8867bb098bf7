//! Memory of tunnels: while they are open and silent, and after they have closed.

use super::{Bench, Outcome, figure, lossy, lossy_u64, warm_host};
use crate::Result;
use crate::load::{self, Accepts, Bound, Client, Held, Tunnel};
use crate::measure::Memory;
use crate::names::Site;
use crate::peers::{Instance, Peer};
use crate::room::tunnels_max;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::{JoinHandle, spawn_blocking};

/// How long closed tunnels are given before what they leave behind is looked at.
const HELD_FOR: Duration = Duration::from_secs(60);
/// What a proxy is given to open tunnels.
const OPENING_MAX: Duration = Duration::from_secs(120);

/// A proxy whose tunnels have closed.
pub(crate) struct Emptied {
    /// Until its memory has been looked at.
    _instance: Instance,
    looking: JoinHandle<Result<Memory>>,
    full: f64,
    open: usize,
    note: Option<String>,
}

impl Bench {
    pub(super) async fn idle(&self, peer: &dyn Peer, tunnels: usize) -> Result<Outcome> {
        const KIB: f64 = 1_024.0;
        const MB: f64 = 1e6;
        let instance = self.start(peer)?;
        let client = instance.client(Accepts::All)?;
        self.warm_up(&client, Site::MODERN).await?;
        let before = instance.tree().settled_memory().await?.pss;
        let (held, note) = self.hold(&client, tunnels).await?;
        let after = instance.tree().settled_memory().await?.pss;
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
        let count = wanted.min(tunnels_max(self.open_files));
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
        let open = held.len();
        load::release(held).await;
        let (closed, tree) = (Instant::now(), instance.tree());
        // In a thread of its own: whatever is done with the next proxy meanwhile, the minute is a minute.
        let looking = spawn_blocking(move || {
            std::thread::sleep(HELD_FOR.saturating_sub(closed.elapsed()));
            tree.memory()
        });
        Ok(Emptied { _instance: instance, looking, full, open, note })
    }
}

impl Emptied {
    /// What is still held when the minute is over.
    pub(crate) async fn outcome(self) -> Result<Outcome> {
        const MB: f64 = 1e6;
        let held = lossy_u64(self.looking.await??.pss);
        let figures = vec![
            figure("pss", "MB", held / MB),
            figure("pss before", "MB", self.full / MB),
            figure("open", "tunnels", lossy(self.open)),
        ];
        Ok(Outcome { figures, note: self.note })
    }
}
