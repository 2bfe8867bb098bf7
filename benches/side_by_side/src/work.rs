//! One mode with one proxy: do the work, and tell what it took.

mod tunnels;

pub(crate) use tunnels::Emptied;

use crate::Result;
use crate::load::{self, Accepts, Bound, Client, Direction, Done};
use crate::measure::percentile;
use crate::modes::{Amounts, Names, Work};
use crate::names::{Key, Site};
use crate::peers::{Instance, Peer, Place};
use crate::pki::Pki;
use crate::room::Cores;
use serde::Serialize;
use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Clients of a closed loop.
const CLIENTS: usize = 8;
/// Names that come again and again.
const WARM_NAMES: usize = 8;
/// Sessions before those that count: caches are full then, and the proxy knows what its clients offer.
const WARM_UP: usize = 100;
/// HTTP/2 requests under way at once on each tunnel.
const H2_AT_ONCE: usize = 64;
const H2_TUNNELS: usize = 4;
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

/// What one run of a proxy is to be.
#[derive(Clone, Copy)]
struct Shape {
    pinsets: usize,
    ca: Key,
}

impl From<Vec<Figure>> for Outcome {
    fn from(figures: Vec<Figure>) -> Self {
        Self { figures, note: None }
    }
}

impl Shape {
    const USUAL: Self = Self { pinsets: 1, ca: Key::Ecdsa };
}

impl Bench {
    /// Starts a proxy as most modes have it.
    pub(crate) fn start(&self, peer: &dyn Peer) -> Result<Instance> {
        self.start_as(peer, Shape::USUAL)
    }

    fn start_as(&self, peer: &dyn Peer, shape: Shape) -> Result<Instance> {
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

    /// The figures of a mode. `running` is what the modes share that do not need a proxy of their own.
    pub(crate) async fn measure(&self, peer: &dyn Peer, running: &Instance, work: Work) -> Result<Outcome> {
        let figures = match work {
            Work::Sessions { site, names, accepts, ca: Key::Ecdsa } => {
                self.sessions(running, site, names, accepts).await?
            }
            Work::Sessions { site, names, accepts, ca } => {
                let instance = self.start_as(peer, Shape { ca, ..Shape::USUAL })?;
                self.sessions(&instance, site, names, accepts).await?
            }
            Work::Http1 => self.http1(running).await?,
            Work::Http2 => self.http2(running).await?,
            Work::Bulk { direction, tunnels } => self.bulk(running, direction, tunnels).await?,
            Work::Latency => self.latency(running).await?,
            Work::Start => self.first_answer(peer).await?,
            Work::Idle { tunnels } => return self.idle(peer, tunnels).await,
            Work::Policy { pinsets } => {
                let instance = self.start_as(peer, Shape { pinsets, ..Shape::USUAL })?;
                self.sessions(&instance, Site::MODERN, Names::Warm, Accepts::All).await?
            }
            Work::Reload { pinsets } => self.reload(peer, pinsets).await?,
        };
        Ok(figures.into())
    }

    async fn sessions(&self, on: &Instance, site: Site, names: Names, accepts: Accepts) -> Result<Vec<Figure>> {
        let client = on.client(accepts)?;
        let bound = self.bound(self.amounts.sessions);
        let first = self.unseen.get();
        self.unseen.set(first + bound.count);
        let host = move |number: usize| match names {
            Names::Warm => warm_host(site, number),
            Names::Cold => site.host(&format!("n{}", first + number)),
        };
        load::sessions(&client, CLIENTS, self.bound(WARM_UP), move |number| warm_host(site, number)).await?;
        // What a proxy prepares after its start is not what a session costs.
        on.tree().settle().await;
        let work = load::sessions(&client, CLIENTS, bound, host);
        let (done, cpu) = self.counted(on, work).await?;
        Ok(per_operation(cpu, done, "µs/session"))
    }

    async fn http1(&self, on: &Instance) -> Result<Vec<Figure>> {
        let client = on.client(Accepts::All)?;
        let hosts = warm_hosts(CLIENTS);
        load::h1_requests(&client, &hosts, self.bound(WARM_UP)).await?;
        let work = load::h1_requests(&client, &hosts, self.bound(self.amounts.h1_requests));
        let (done, cpu) = self.counted(on, work).await?;
        Ok(per_operation(cpu, done, "µs/request"))
    }

    async fn http2(&self, on: &Instance) -> Result<Vec<Figure>> {
        let client = on.client(Accepts::All)?;
        let hosts = warm_hosts(H2_TUNNELS);
        load::h2_requests(&client, &hosts, 1, self.bound(WARM_UP)).await?;
        let work = Box::pin(load::h2_requests(&client, &hosts, H2_AT_ONCE, self.bound(self.amounts.h2_requests)));
        let (done, cpu) = self.counted(on, work).await?;
        Ok(per_operation(cpu, done, "µs/request"))
    }

    async fn bulk(&self, on: &Instance, direction: Direction, tunnels: usize) -> Result<Vec<Figure>> {
        const GB: f64 = 1e9;
        const MB: usize = 1_000_000;
        let client = on.client(Accepts::All)?;
        let hosts = warm_hosts(tunnels);
        load::bulk(&client, &hosts, direction, MB * tunnels, BULK_MAX).await?;
        let bytes = self.amounts.bulk_bytes;
        let (taken, cpu) = self.counted(on, load::bulk(&client, &hosts, direction, bytes, BULK_MAX)).await?;
        let volume = lossy(bytes) / GB;
        Ok(vec![
            figure("cpu", "ms/GB", cpu.as_secs_f64() * 1e3 / volume),
            figure("throughput", "GB/s", volume / taken.as_secs_f64()),
        ])
    }

    async fn latency(&self, on: &Instance) -> Result<Vec<Figure>> {
        let client = on.client(Accepts::All)?;
        load::sessions(&client, CLIENTS, self.bound(WARM_UP), |number| warm_host(Site::MODERN, number)).await?;
        let (count, interval) = (self.amounts.latency_sessions, self.amounts.latency_interval);
        let done = load::open_loop(&client, count, interval, |number| warm_host(Site::MODERN, number)).await?;
        Ok(wall(done).into())
    }

    /// Memory is looked at before anybody has asked for anything.
    async fn first_answer(&self, peer: &dyn Peer) -> Result<Vec<Figure>> {
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

    async fn reload(&self, peer: &dyn Peer, pinsets: usize) -> Result<Vec<Figure>> {
        const INTERVAL: Duration = Duration::from_millis(10);
        const QUIET: usize = 300;
        const AT_A_TIME: usize = 20;
        const RELOAD_MAX: Duration = Duration::from_secs(60);
        let told = peer.reloaded().ok_or("it has no pinsets")?;
        let instance = self.start_as(peer, Shape { pinsets, ..Shape::USUAL })?;
        let client = instance.client(Accepts::All)?;
        let host = |number| warm_host(Site::MODERN, number);
        load::sessions(&client, CLIENTS, self.bound(WARM_UP), host).await?;
        let mut quiet = load::open_loop(&client, QUIET, INTERVAL, host).await?.taken;
        instance.reload()?;
        let started = Instant::now();
        let mut under = Vec::new();
        while !instance.output().contains(told) {
            if started.elapsed() > RELOAD_MAX {
                return Err(format!("no reload within {RELOAD_MAX:?}").into());
            }
            under.extend(load::open_loop(&client, AT_A_TIME, INTERVAL, host).await?.taken);
        }
        let ms = |taken: Duration| taken.as_secs_f64() * 1e3;
        let all = started.elapsed();
        Ok(vec![
            figure("added to the longest", "ms", ms(percentile(&mut under, 100)) - ms(percentile(&mut quiet, 100))),
            figure("added to p50", "ms", ms(percentile(&mut under, 50)) - ms(percentile(&mut quiet, 50))),
            figure("longest without", "ms", ms(percentile(&mut quiet, 100))),
            figure("duration", "s", all.as_secs_f64()),
        ])
    }

    /// The processor time of some work, with what the proxy does behind its last answer.
    async fn counted<T>(&self, on: &Instance, work: impl Future<Output = Result<T>>) -> Result<(T, Duration)> {
        let tree = on.tree();
        tree.settle().await;
        let before = tree.cpu();
        let done = work.await?;
        tree.settle().await;
        Ok((done, tree.cpu().saturating_sub(before)))
    }

    fn bound(&self, count: usize) -> Bound {
        Bound { count, time: self.amounts.loop_time }
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
