//! One mode with one proxy: do the work, and tell what it took.

mod starts;
mod tunnels;

pub(crate) use tunnels::Emptied;

use crate::Result;
use crate::load::{self, Accepts, Bound, Client, Direction, Done};
use crate::measure::{AFTERWARDS, percentile};
use crate::modes::{Amounts, Lone, Names, Shape, Work};
use crate::names::Site;
use crate::peers::{Instance, Peer, Place};
use crate::pki::Pki;
use crate::room::Cores;
use crate::signature;
use serde::Serialize;
use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Clients of a closed loop.
const CLIENTS: usize = 8;
/// Names that come again and again.
const WARM_NAMES: usize = 8;
/// Sessions before those that count: caches are full then, and the proxy knows what its clients offer.
const WARM_UP: usize = 100;
/// HTTP/2 requests under way at once on each tunnel.
const H2_AT_ONCE: usize = 64;
const H2_TUNNELS: usize = 4;
/// The figure of [`signature`].
pub(crate) const RSA_SIGNATURE: &str = "rsa signature";
/// A transfer that takes longer has failed.
const BULK_MAX: Duration = Duration::from_secs(30);

/// What all measurements have in common.
pub(crate) struct Bench {
    pub(crate) pki: Pki,
    pub(crate) folder: PathBuf,
    pub(crate) cores: Cores,
    pub(crate) amounts: Amounts,
    /// How many files a process may have open.
    pub(crate) open_files: u64,
    pub(crate) runs: Cell<u16>,
    pub(crate) unseen: Cell<usize>,
}

/// One number of a measurement.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
}

/// What a measurement has come to.
pub(crate) struct Outcome {
    pub(crate) figures: Vec<Figure>,
    /// What has to be known about the figures.
    pub(crate) note: Option<String>,
}

impl From<Vec<Figure>> for Outcome {
    fn from(figures: Vec<Figure>) -> Self {
        Self { figures, note: None }
    }
}

impl Bench {
    /// Starts a proxy as most modes have it.
    pub(crate) fn start(&self, peer: &dyn Peer) -> Result<Instance> {
        self.start_as(peer, Shape::USUAL)
    }

    pub(crate) fn start_as(&self, peer: &dyn Peer, shape: Shape) -> Result<Instance> {
        /// Below the ports that connections are given.
        const FIRST_PORT: u16 = 2_000;
        let run = self.runs.get();
        self.runs.set(run + 1);
        let shared = self.folder.join(peer.name());
        let (folder, port) = (shared.join(run.to_string()), FIRST_PORT + run);
        let Shape { pinsets, ca } = shape;
        let place = Place { pki: &self.pki, folder, shared, port, pinsets, ca };
        Instance::start(peer, &place, self.cores)
    }

    /// The figures of some work with a proxy that runs.
    pub(crate) async fn measure(&self, on: &Instance, work: Work, amounts: Amounts) -> Result<Outcome> {
        let figures = match work {
            Work::Sessions { site, names, accepts } => {
                let bound = Self::bound(amounts, amounts.sessions);
                let mut figures = self.sessions(on, site, names, accepts, bound).await?;
                if accepts == Accepts::RsaOnly {
                    let taken = signature::processor_time(self.pki.leaves().rsa(), self.cores.proxy)?;
                    figures.push(figure(RSA_SIGNATURE, "µs", taken));
                }
                figures
            }
            Work::Http1 => self.http1(on, Self::bound(amounts, amounts.h1_requests)).await?,
            Work::Http2 => self.http2(on, Self::bound(amounts, amounts.h2_requests)).await?,
            Work::Bulk { direction, tunnels } => self.bulk(on, direction, tunnels, amounts.bulk_bytes).await?,
            Work::Latency => self.latency(on, amounts).await?,
        };
        Ok(figures.into())
    }

    /// The figures of what begins with the start of a proxy.
    pub(crate) async fn alone(&self, peer: &dyn Peer, work: Lone) -> Result<Outcome> {
        match work {
            Lone::Start => Ok(self.first_answer(peer).await?.into()),
            Lone::Idle { tunnels } => self.idle(peer, tunnels).await,
            Lone::Reload { pinsets } => Ok(self.reload(peer, pinsets).await?.into()),
        }
    }

    async fn sessions(
        &self,
        on: &Instance,
        site: Site,
        names: Names,
        accepts: Accepts,
        bound: Bound,
    ) -> Result<Vec<Figure>> {
        let client = on.client(accepts)?;
        let first = self.unseen.get();
        self.unseen.set(first + bound.count);
        if names == Names::Cold {
            self.pki.leaves().make_own(site, (first..self.unseen.get()).map(|number| site.own_host(number)))?;
        }
        let host = move |number: usize| match names {
            Names::Warm => warm_host(site, number),
            Names::Cold => site.own_host(first + number),
            Names::ColdKnown => site.host(&format!("new{}", first + number)),
        };
        self.warm_up(&client, site).await?;
        let (done, cpu) = Self::counted(on, load::sessions(&client, CLIENTS, bound, host)).await?;
        Ok(per_operation(cpu, done, "µs/session"))
    }

    async fn http1(&self, on: &Instance, bound: Bound) -> Result<Vec<Figure>> {
        let client = on.client(Accepts::All)?;
        let hosts = warm_hosts(CLIENTS);
        load::h1_requests(&client, &hosts, self.warm_up_bound()).await?;
        let (done, cpu) = Self::counted(on, load::h1_requests(&client, &hosts, bound)).await?;
        Ok(per_operation(cpu, done, "µs/request"))
    }

    async fn http2(&self, on: &Instance, bound: Bound) -> Result<Vec<Figure>> {
        let client = on.client(Accepts::All)?;
        let hosts = warm_hosts(H2_TUNNELS);
        load::h2_requests(&client, &hosts, 1, self.warm_up_bound()).await?;
        let work = Box::pin(load::h2_requests(&client, &hosts, H2_AT_ONCE, bound));
        let (done, cpu) = Self::counted(on, work).await?;
        Ok(per_operation(cpu, done, "µs/request"))
    }

    async fn bulk(&self, on: &Instance, direction: Direction, tunnels: usize, bytes: usize) -> Result<Vec<Figure>> {
        const GB: f64 = 1e9;
        const MB: usize = 1_000_000;
        let client = on.client(Accepts::All)?;
        let hosts = warm_hosts(tunnels);
        load::bulk(&client, &hosts, direction, MB * tunnels, BULK_MAX).await?;
        let (taken, cpu) = Self::counted(on, load::bulk(&client, &hosts, direction, bytes, BULK_MAX)).await?;
        let volume = lossy(bytes) / GB;
        Ok(vec![
            figure("cpu", "ms/GB", cpu.as_secs_f64() * 1e3 / volume),
            figure("throughput", "GB/s", volume / taken.as_secs_f64()),
        ])
    }

    async fn latency(&self, on: &Instance, amounts: Amounts) -> Result<Vec<Figure>> {
        let client = on.client(Accepts::All)?;
        self.warm_up(&client, Site::MODERN).await?;
        let (count, interval) = (amounts.latency_sessions, amounts.latency_interval);
        let host = |number| warm_host(Site::MODERN, number);
        let done = load::open_loop(&client, interval, host, |number| number < count).await?;
        Ok(wall(done).into())
    }

    /// Sessions that do not count.
    async fn warm_up(&self, client: &Arc<Client>, site: Site) -> Result<()> {
        let host = move |number| warm_host(site, number);
        load::sessions(client, CLIENTS, self.warm_up_bound(), host).await.map(drop)
    }

    /// The processor time of some work, with what the proxy does behind its last answer.
    async fn counted<T>(on: &Instance, work: impl Future<Output = Result<T>>) -> Result<(T, Duration)> {
        let tree = on.tree();
        // What a proxy prepares after its start, or does after a warm-up, is not what the work costs.
        tree.settle().await;
        let before = tree.cpu();
        let done = work.await?;
        tokio::time::sleep(AFTERWARDS).await;
        Ok((done, tree.cpu().saturating_sub(before)))
    }

    fn warm_up_bound(&self) -> Bound {
        Self::bound(self.amounts, WARM_UP)
    }

    fn bound(amounts: Amounts, count: usize) -> Bound {
        Bound { count, time: amounts.loop_time }
    }
}

fn warm_host(site: Site, number: usize) -> String {
    site.host(&format!("warm{}", number % WARM_NAMES))
}

fn warm_hosts(count: usize) -> Vec<String> {
    (0..count).map(|number| warm_host(Site::MODERN, number)).collect()
}

fn figure(name: &'static str, unit: &'static str, value: f64) -> Figure {
    Figure { name, unit, value }
}

fn per_operation(cpu: Duration, done: Done, unit: &'static str) -> Vec<Figure> {
    let each = cpu.as_secs_f64() * 1e6 / lossy(done.taken.len());
    let [p50, p99] = wall(done);
    vec![figure("cpu", unit, each), p50, p99]
}

fn wall(mut done: Done) -> [Figure; 2] {
    let mut at = |percent| percentile(&mut done.taken, percent).as_secs_f64() * 1e6;
    [figure("p50", "µs", at(50)), figure("p99", "µs", at(99))]
}

/// Counts are far below what an f64 holds exactly.
fn lossy(count: usize) -> f64 {
    lossy_u64(count as u64)
}

#[allow(clippy::cast_precision_loss)]
fn lossy_u64(count: u64) -> f64 {
    count as f64
}
