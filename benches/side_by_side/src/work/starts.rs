//! What begins with the start of a proxy: the first answer, and a reload.

use super::{Bench, Figure, figure, lossy_u64, warm_host};
use crate::Result;
use crate::load::{self, Accepts, Client};
use crate::measure::percentile;
use crate::modes::Shape;
use crate::names::Site;
use crate::peers::Peer;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A reload that takes longer has failed.
const RELOAD_MAX: Duration = Duration::from_secs(60);
/// How long sessions go on after the proxy has told that it has reloaded: it frees the old generation then.
const AFTER_RELOAD: Duration = Duration::from_secs(2);

impl Bench {
    /// Memory is looked at before anybody has asked for anything.
    pub(super) async fn first_answer(&self, peer: &dyn Peer) -> Result<Vec<Figure>> {
        const MB: f64 = 1e6;
        let quiet = self.start(peer)?;
        quiet.tree().settle().await;
        let memory = quiet.tree().memory()?;
        drop(quiet);
        let mut taken = Vec::new();
        for number in 0..self.amounts.starts {
            let instance = self.start(peer)?;
            let client = instance.client(Accepts::All)?;
            until_answered(&client, number).await?;
            taken.push(instance.spawned.elapsed());
        }
        Ok(vec![
            figure("first answer", "ms", percentile(&mut taken, 50).as_secs_f64() * 1e3),
            figure("rss", "MB", lossy_u64(memory.rss) / MB),
            figure("pss", "MB", lossy_u64(memory.pss) / MB),
        ])
    }

    /// What a reload adds to sessions: those that begin from the signal until [`AFTER_RELOAD`] has passed since its end,
    /// beside those of the quiet time right before.
    ///
    /// The promise is about any session, so it is the longest that is looked at. Sessions come at a fixed rate, whether
    /// earlier ones have ended or not: whatever stops the proxy for the bound and an interval meets one that waits longer
    /// than the bound. Of two samples the larger one has the longer longest session, by chance alone; so no more quiet
    /// sessions count than there were under reload, the latest of them. Then the two differ by the reload only, and a
    /// neighbour on the machine is as likely in either. In the quiet time it hides what the reload adds; beside the reload
    /// it is taken for it. The target takes the worst of the rounds: there the first would have to happen in every round to
    /// hide anything, and the second errs on the strict side.
    pub(super) async fn reload(&self, peer: &dyn Peer, pinsets: usize) -> Result<Vec<Figure>> {
        let told = peer.reloaded().ok_or("it has no pinsets")?;
        let instance = self.start_as(peer, Shape { pinsets, ..Shape::USUAL })?;
        let client = instance.client(Accepts::All)?;
        self.warm_up(&client, Site::MODERN).await?;
        instance.tree().settle().await;
        let host = |number| warm_host(Site::MODERN, number);
        let (interval, count) = (self.amounts.reload_interval, self.amounts.reload_quiet);
        let quiet = load::open_loop(&client, interval, host, |number| number < count).await?.taken;
        instance.reload()?;
        let started = Instant::now();
        let mut ended = None;
        let goes_on = |_| {
            if ended.is_none() && instance.output().contains(told) {
                ended = Some(Instant::now());
            }
            ended.map_or(started.elapsed() < RELOAD_MAX, |ended| ended.elapsed() < AFTER_RELOAD)
        };
        let mut under = load::open_loop(&client, interval, host, goes_on).await?.taken;
        let ended = ended.ok_or_else(|| format!("no reload within {RELOAD_MAX:?}"))?;
        let mut quiet = quiet[quiet.len().saturating_sub(under.len())..].to_vec();
        let ms = |taken: Duration| taken.as_secs_f64() * 1e3;
        let [longest_without, longest] = [&mut quiet, &mut under].map(|taken| ms(percentile(taken, 100)));
        Ok(vec![
            figure("added to the longest", "ms", longest - longest_without),
            figure("added to p50", "ms", ms(percentile(&mut under, 50)) - ms(percentile(&mut quiet, 50))),
            figure("longest", "ms", longest),
            figure("longest without", "ms", longest_without),
            figure("duration", "s", (ended - started).as_secs_f64()),
        ])
    }
}

async fn until_answered(client: &Arc<Client>, number: usize) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(10);
    /// A proxy may listen before it can serve, and forget who came then.
    const TRY: Duration = Duration::from_millis(250);
    let started = Instant::now();
    loop {
        match tokio::time::timeout(TRY, client.session(warm_host(Site::MODERN, number))).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) if started.elapsed() > PATIENCE => return Err(error),
            Err(_) if started.elapsed() > PATIENCE => return Err(format!("no answer within {PATIENCE:?}").into()),
            Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(1)).await,
            Err(_) => {}
        }
    }
}
