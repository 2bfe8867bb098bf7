//! Rounds: in each, every mode with all proxies one after the other, so that what disturbs the machine disturbs all.

use crate::modes::{Mode, Task, Work};
use crate::peers::{Instance, Peer};
use crate::work::{Bench, Emptied, Figure, Outcome};
use crate::{Result, say};
use serde::Serialize;
use std::time::Duration;
use tokio::time::timeout;

/// What one proxy is given for one mode.
const MODE_MAX: Duration = Duration::from_secs(300);

/// A measurement, or why there is none.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) round: usize,
    pub(crate) mode: &'static str,
    pub(crate) proxy: &'static str,
    pub(crate) figures: Vec<Figure>,
    /// What has to be known about the figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<String>,
}

/// A proxy, and the instance of it that the modes of a round share.
struct Entrant<'a> {
    peer: &'a dyn Peer,
    running: Option<Instance>,
}

/// All rounds.
pub(crate) async fn run(bench: &Bench, peers: &[Box<dyn Peer>], modes: &[Mode]) -> Vec<Sample> {
    let mut samples = Vec::new();
    for round in 0..bench.amounts.rounds {
        let mut entrants: Vec<_> = peers.iter().map(|peer| Entrant { peer: peer.as_ref(), running: None }).collect();
        // Nobody is always the first: the order moves on with every mode, and a mode begins elsewhere in every round.
        let first = round % entrants.len();
        entrants.rotate_left(first);
        for mode in modes.iter().filter(|mode| round == 0 || !mode.once) {
            say(&format!("round {} of {}: {}", round + 1, bench.amounts.rounds, mode.title));
            entrants.rotate_left(1);
            let fitting = entrants.iter_mut().filter(|entrant| fits(entrant.peer, mode.task));
            let outcomes = match mode.task {
                Task::Held { tunnels } => empty_together(bench, fitting, tunnels).await,
                Task::Each(work) => one_by_one(bench, fitting, work).await,
            };
            samples.extend(outcomes.into_iter().map(|(proxy, outcome)| Sample::new(round, mode.key, proxy, outcome)));
        }
    }
    samples
}

impl Sample {
    /// Takes an outcome, and tells at once what is not as it should be.
    fn new(round: usize, mode: &'static str, proxy: &'static str, outcome: Result<Outcome>) -> Self {
        let failure = outcome.as_ref().err().map(ToString::to_string);
        let (figures, note) = outcome.map(|Outcome { figures, note }| (figures, note)).unwrap_or_default();
        if let Some(told) = failure.as_ref().or(note.as_ref()) {
            say(&format!("  {proxy}: {told}"));
        }
        Self { round, mode, proxy, figures, note, failure }
    }
}

/// Whether it has what the mode is about.
fn fits(peer: &dyn Peer, task: Task) -> bool {
    !matches!(task, Task::Each(Work::Policy { .. } | Work::Reload { .. })) || peer.reloaded().is_some()
}

type Outcomes = Vec<(&'static str, Result<Outcome>)>;

async fn one_by_one<'a, 'b: 'a>(
    bench: &Bench,
    entrants: impl Iterator<Item = &'a mut Entrant<'b>>,
    work: Work,
) -> Outcomes {
    let mut outcomes = Vec::new();
    for entrant in entrants {
        let outcome = bounded(Box::pin(entrant.measure(bench, work))).await;
        if outcome.is_err() {
            // Whatever state it is in, the next mode is not to suffer from it.
            entrant.running = None;
        }
        outcomes.push((entrant.peer.name(), outcome));
    }
    outcomes
}

/// Every step has a bound of its own; this one is for the steps together.
async fn bounded<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(MODE_MAX, work).await.map_err(|_| format!("not done within {MODE_MAX:?}"))?
}

/// All wait for the same minute.
async fn empty_together<'a, 'b: 'a>(
    bench: &Bench,
    entrants: impl Iterator<Item = &'a mut Entrant<'b>>,
    tunnels: usize,
) -> Outcomes {
    let mut emptied: Vec<(&'static str, Result<Emptied>)> = Vec::new();
    for entrant in entrants {
        emptied.push((entrant.peer.name(), bounded(Box::pin(bench.fill_and_empty(entrant.peer, tunnels))).await));
    }
    let mut outcomes = Vec::new();
    for (proxy, emptied) in emptied {
        let outcome = match emptied {
            Ok(emptied) => Bench::held(emptied).await,
            Err(error) => Err(error),
        };
        outcomes.push((proxy, outcome));
    }
    outcomes
}

impl Entrant<'_> {
    async fn measure(&mut self, bench: &Bench, work: Work) -> Result<Outcome> {
        let running = match self.running.take() {
            Some(running) => running,
            None => bench.start(self.peer)?,
        };
        bench.measure(self.peer, self.running.insert(running), work).await
    }
}
