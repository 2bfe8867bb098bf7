//! Many sessions: as fast as a fixed number of clients gets through them, at a fixed rate, or held open.

use super::client::{Client, Tunnel, in_time};
use crate::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Failures after which it is not worth going on.
const FAILURES_MAX: usize = 10;

/// Where a closed loop ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) count: usize,
    /// No operation begins later than this after the first, so that a slow proxy holds nobody up.
    pub(crate) time: Duration,
}

/// What a loop has done.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// How long each operation took that succeeded.
    pub(crate) taken: Vec<Duration>,
    failures: Vec<String>,
}

impl Done {
    pub(super) fn add(&mut self, one: Result<Duration>) {
        match one {
            Ok(taken) => self.taken.push(taken),
            Err(error) => self.failures.push(error.to_string()),
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.taken.extend(other.taken);
        self.failures.extend(other.failures);
    }

    pub(super) fn is_hopeless(&self) -> bool {
        self.failures.len() >= FAILURES_MAX
    }

    /// It counts only when all went well.
    pub(super) fn whole(self) -> Result<Self> {
        let all = self.failures.len() + self.taken.len();
        match self.failures.first() {
            None if all > 0 => Ok(self),
            None => Err("nothing was done".into()),
            Some(first) => Err(format!("{} of {all} failed: {first}", self.failures.len()).into()),
        }
    }
}

/// New sessions, by so many clients at once; `host` names the host of each.
pub(crate) async fn sessions(
    client: &Arc<Client>,
    at_once: usize,
    bound: Bound,
    host: impl Fn(usize) -> String + Clone + Send + 'static,
) -> Result<Done> {
    let next = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..at_once {
        let (client, next, host) = (Arc::clone(client), Arc::clone(&next), host.clone());
        clients.spawn(async move {
            let mut done = Done::default();
            while !done.is_hopeless() && started.elapsed() < bound.time {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= bound.count {
                    break;
                }
                done.add(client.session(host(number)).await);
            }
            done
        });
    }
    together(clients).await
}

/// New sessions at a fixed rate, whether earlier ones have ended or not, as long as it is to go on. Asked with the number
/// of each session before it begins.
pub(crate) async fn open_loop(
    client: &Arc<Client>,
    interval: Duration,
    host: impl Fn(usize) -> String,
    mut goes_on: impl FnMut(usize) -> bool,
) -> Result<Done> {
    let mut sessions = JoinSet::new();
    let mut clock = tokio::time::interval(interval);
    for number in (0..).take_while(|&number| goes_on(number)) {
        clock.tick().await;
        let (client, host) = (Arc::clone(client), host(number));
        sessions.spawn(async move {
            let mut done = Done::default();
            done.add(client.session(host).await);
            done
        });
    }
    together(sessions).await
}

/// Tunnels that have answered one request and are silent since.
#[derive(Default)]
pub(crate) struct Held {
    pub(crate) tunnels: Vec<Tunnel>,
    /// Why they are fewer than were asked for.
    pub(crate) shortfall: Option<String>,
}

/// Opens tunnels and leaves them silent: as many as asked for, or as the proxy holds. After the first that fails no more
/// are tried.
pub(crate) async fn hold(client: &Arc<Client>, bound: Bound, host: impl Fn(usize) -> String) -> Result<Held> {
    const AT_ONCE: usize = 32;
    let mut held = Held::default();
    let mut opening = JoinSet::new();
    let started = Instant::now();
    for number in 0..bound.count {
        if held.shortfall.is_some() {
            break;
        }
        if started.elapsed() > bound.time {
            held.shortfall = Some(format!("no more within {:?}", bound.time));
            break;
        }
        let (client, host) = (Arc::clone(client), host(number));
        opening.spawn(async move {
            let mut tunnel = client.open(host).await?;
            in_time(tunnel.get()).await?;
            Result::Ok(tunnel)
        });
        if opening.len() >= AT_ONCE
            && let Some(opened) = opening.join_next().await
        {
            held.add(opened?);
        }
    }
    while let Some(opened) = opening.join_next().await {
        held.add(opened?);
    }
    match held.shortfall {
        Some(reason) if held.tunnels.is_empty() => Err(reason.into()),
        _ => Ok(held),
    }
}

impl Held {
    fn add(&mut self, opened: Result<Tunnel>) {
        match opened {
            Ok(tunnel) => self.tunnels.push(tunnel),
            Err(error) => drop(self.shortfall.get_or_insert_with(|| error.to_string())),
        }
    }
}

/// Closes tunnels, however each of them ends.
pub(crate) async fn release(held: Vec<Tunnel>) {
    for tunnel in held {
        drop(in_time(tunnel.close()).await);
    }
}

pub(super) async fn together(mut parts: JoinSet<Done>) -> Result<Done> {
    let mut all = Done::default();
    while let Some(part) = parts.join_next().await {
        all.merge(part?);
    }
    all.whole()
}
