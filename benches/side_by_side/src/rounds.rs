//! Rounds: in each, every mode with all proxies one after the other, so that what disturbs the machine disturbs all.

use crate::modes::{Amounts, Mode, Often, Shape, Task, Work};
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
    #[serde(flatten)]
    pub(crate) occasion: Occasion,
    pub(crate) mode: &'static str,
    pub(crate) proxy: &'static str,
    pub(crate) figures: Vec<Figure>,
    /// What has to be known about the figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<String>,
}

/// When a measurement was taken. What is compared was measured on the same occasion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Occasion {
    pub(crate) round: usize,
    /// Of the modes that a round does more than once.
    pub(crate) turn: usize,
}

/// A proxy, and its runs that the modes of a round share.
struct Entrant<'a> {
    peer: &'a dyn Peer,
    running: Vec<(Shape, Instance)>,
}

/// All rounds.
pub(crate) async fn run(bench: &Bench, peers: &[Box<dyn Peer>], modes: &[Mode]) -> Vec<Sample> {
    let mut samples = Vec::new();
    for round in 0..bench.amounts.rounds {
        let mut entrants: Vec<_> = peers.iter().map(|peer| Entrant::of(peer.as_ref())).collect();
        // Nobody is always the first: the order moves on with every mode, and a mode begins elsewhere in every round.
        let first = round % entrants.len();
        entrants.rotate_left(first);
        let wanted: Vec<Mode> = modes.iter().filter(|mode| round == 0 || mode.often != Often::Once).copied().collect();
        for block in wanted.chunk_by(|one, next| [one, next].iter().all(|mode| mode.often == Often::Turns)) {
            let turns = if block[0].often == Often::Turns { bench.amounts.turns } else { 1 };
            for turn in 0..turns {
                let mut block = block.to_vec();
                if turn % 2 == 1 {
                    block.reverse();
                }
                for mode in block {
                    let told = if turns > 1 { format!(", turn {} of {turns}", turn + 1) } else { String::new() };
                    say(&format!("round {} of {}: {}{told}", round + 1, bench.amounts.rounds, mode.title));
                    entrants.rotate_left(1);
                    let outcomes = through_all(bench, &mut entrants, mode, bench.amounts.share(turns)).await;
                    let occasion = Occasion { round, turn };
                    let taken =
                        outcomes.into_iter().map(|(proxy, outcome)| Sample::new(occasion, mode.key, proxy, outcome));
                    samples.extend(taken);
                }
            }
        }
    }
    samples
}

/// One mode with all proxies that have what it is about.
async fn through_all(bench: &Bench, entrants: &mut [Entrant<'_>], mode: Mode, amounts: Amounts) -> Outcomes {
    let fitting = entrants.iter_mut().filter(|entrant| !mode.needs_pinsets() || entrant.peer.reloaded().is_some());
    let mut outcomes = Vec::new();
    match mode.task {
        Task::Held { tunnels } => return empty_together(bench, fitting, tunnels).await,
        Task::Shared(shape, work) => {
            for entrant in fitting {
                outcomes.push((entrant.peer.name(), entrant.shared(bench, shape, work, amounts).await));
            }
        }
        Task::Alone(work) => {
            for entrant in fitting {
                outcomes.push((entrant.peer.name(), bounded(Box::pin(bench.alone(entrant.peer, work))).await));
            }
        }
    }
    outcomes
}

impl Sample {
    /// Takes an outcome, and tells at once what is not as it should be.
    fn new(occasion: Occasion, mode: &'static str, proxy: &'static str, outcome: Result<Outcome>) -> Self {
        let failure = outcome.as_ref().err().map(ToString::to_string);
        let (figures, note) = outcome.map(|Outcome { figures, note }| (figures, note)).unwrap_or_default();
        if let Some(told) = failure.as_ref().or(note.as_ref()) {
            say(&format!("  {proxy}: {told}"));
        }
        Self { occasion, mode, proxy, figures, note, failure }
    }
}

type Outcomes = Vec<(&'static str, Result<Outcome>)>;

/// Every step has a bound of its own; this one is for the steps together.
async fn bounded<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(MODE_MAX, work).await.map_err(|_| format!("not done within {MODE_MAX:?}"))?
}

/// Each waits for a minute of its own, while the next one is filled and emptied.
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
            Ok(emptied) => emptied.outcome().await,
            Err(error) => Err(error),
        };
        outcomes.push((proxy, outcome));
    }
    outcomes
}

impl<'a> Entrant<'a> {
    fn of(peer: &'a dyn Peer) -> Self {
        Self { peer, running: Vec::new() }
    }

    /// Some work in the run of this shape.
    async fn shared(&mut self, bench: &Bench, shape: Shape, work: Work, amounts: Amounts) -> Result<Outcome> {
        let known = self.running.iter().position(|(other, _)| *other == shape);
        let at = known.unwrap_or(self.running.len());
        if known.is_none() {
            self.running.push((shape, bench.start_as(self.peer, shape)?));
        }
        let outcome = bounded(Box::pin(bench.measure(&self.running[at].1, work, amounts))).await;
        if outcome.is_err() {
            // Whatever state it is in, the next mode is not to suffer from it.
            self.running.remove(at);
        }
        outcome
    }
}
