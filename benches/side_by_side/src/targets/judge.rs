//! Whether the targets are met. What failed, or was not measured, never counts as met.

use super::{BINARY_MAX, Bound, OWN, PEERS, TARGETS, Target};
use crate::measure::median;
use crate::modes::Mode;
use crate::report::{REFERENCE, Setting, aligned, number, rounds_told, values};
use crate::room::{files_for, tunnels_max};
use crate::rounds::{Occasion, Sample};
use serde::Serialize;

/// A target beside what was measured.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    pub(super) target: &'static str,
    pub(super) promised: bool,
    pub(super) at_most: String,
    pub(super) measured: String,
    pub(super) compared: String,
    /// How many the figure comes from; 0 where there is none, or it does not come from rounds.
    pub(super) rounds: usize,
    pub(super) met: String,
}

/// What a comparison comes to.
struct Finding {
    measured: String,
    compared: String,
    rounds: usize,
    verdict: Verdict,
}

#[derive(Debug)]
enum Verdict {
    Yes,
    /// As far as so many peers go; others gave nothing, or were not asked for.
    YesBeside(usize),
    No,
    /// It was to be measured and could not be.
    Failed(String),
    /// Nobody asked for what is needed; with what to say to have it.
    NotMeasured(String),
    /// The machine does not allow it.
    NotHere(String),
}

/// What a figure is compared with, and what comes of it; or why nothing does.
type Compared = Result<Comparison, Verdict>;

struct Comparison {
    told: String,
    /// How many rounds it comes from.
    rounds: usize,
    verdict: Verdict,
}

/// All that targets are judged by.
struct Evidence<'a> {
    setting: &'a Setting,
    modes: &'a [Mode],
    samples: &'a [Sample],
}

/// A row for each target whose mode was chosen, and one for the program itself.
pub(crate) fn rows(setting: &Setting, modes: &[Mode], samples: &[Sample]) -> Vec<Row> {
    let evidence = Evidence { setting, modes, samples };
    let chosen = TARGETS.iter().filter(|target| evidence.is_chosen(target.mode));
    chosen.map(|target| target.row(&evidence)).chain([binary(setting)]).collect()
}

/// The rows in Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let head = ["target", "at most", "measured", "", "rounds", "met"].map(str::to_owned).to_vec();
    let cells = rows.iter().map(|row| {
        let what = if row.promised { row.target.to_owned() } else { format!("{} (not promised)", row.target) };
        let Row { at_most, measured, compared, rounds, met, .. } = row;
        let rounds = if *rounds == 0 { String::new() } else { rounds.to_string() };
        vec![what, at_most.clone(), measured.clone(), compared.clone(), rounds, met.clone()]
    });
    aligned(&std::iter::once(head).chain(cells).collect::<Vec<_>>())
}

/// The size of the program, which no round changes.
fn binary(setting: &Setting) -> Row {
    let size = setting.proxies.iter().find(|proxy| proxy.name == OWN).and_then(|proxy| proxy.binary_mb);
    let verdict = size.map_or_else(|| Verdict::not_chosen(OWN), |size| Verdict::of(size <= BINARY_MAX));
    Row {
        target: "binary",
        promised: true,
        at_most: format!("{BINARY_MAX} MB"),
        measured: size.map(|size| format!("{} MB", number(size))).unwrap_or_default(),
        compared: String::new(),
        rounds: 0,
        met: verdict.told(),
    }
}

impl Verdict {
    fn of(is_met: bool) -> Self {
        if is_met { Self::Yes } else { Self::No }
    }

    fn not_chosen(proxy: &str) -> Self {
        Self::NotMeasured(format!("--proxies {proxy}"))
    }

    fn told(&self) -> String {
        match self {
            Self::Yes => "yes".to_owned(),
            Self::YesBeside(peers) => format!("yes, beside {peers} of {} peers", PEERS.len()),
            Self::No => "no".to_owned(),
            Self::Failed(what) => format!("no (failed: {what})"),
            Self::NotMeasured(remedy) => format!("not measured: {remedy}"),
            Self::NotHere(reason) => format!("– ({reason})"),
        }
    }
}

impl Evidence<'_> {
    fn is_chosen(&self, mode: &str) -> bool {
        self.modes.iter().any(|chosen| chosen.key == mode)
    }

    fn has_run(&self, proxy: &str) -> bool {
        self.setting.proxies.iter().any(|here| here.name == proxy)
    }

    /// A figure of the one that is judged.
    fn own(&self, mode: &str, figure: &str) -> Result<Vec<(Occasion, f64)>, Verdict> {
        self.of(OWN, mode, figure)
    }

    /// A figure of a proxy. None counts if the mode has failed in any round.
    fn of(&self, proxy: &str, mode: &str, figure: &str) -> Result<Vec<(Occasion, f64)>, Verdict> {
        if !self.has_run(proxy) {
            return Err(Verdict::not_chosen(proxy));
        }
        if !self.is_chosen(mode) {
            return Err(Verdict::NotMeasured(format!("--modes {mode}")));
        }
        let rounds = rounds_told(self.samples, mode, proxy, |sample| sample.failure.as_deref());
        if !rounds.is_empty() {
            let whose = if proxy == OWN { String::new() } else { format!("{proxy}, ") };
            return Err(Verdict::Failed(format!("{whose}{mode}, round {rounds}")));
        }
        Ok(values(self.samples, mode, proxy, figure))
    }
}

impl Target {
    fn row(&self, evidence: &Evidence<'_>) -> Row {
        let none = |verdict| Finding { measured: String::new(), compared: String::new(), rounds: 0, verdict };
        let Finding { measured, compared, rounds, verdict } = self.judge(evidence).unwrap_or_else(none);
        Row {
            target: self.what,
            promised: self.promised,
            at_most: self.at_most(),
            measured,
            compared,
            rounds,
            met: verdict.told(),
        }
    }

    fn at_most(&self) -> String {
        let unit = self.unit;
        match self.bound {
            Bound::Value(limit) | Bound::Tunnels(_, limit) => format!("{limit} {unit}"),
            Bound::Worst(limit) => format!("{limit} {unit}, always"),
            Bound::Relay(limit) => format!("{limit} × {REFERENCE}"),
            Bound::Mode(mode, limit) => format!("{limit} × {mode}"),
            Bound::Over(mode, limit) => format!("{mode} + {limit} {unit}"),
            Bound::OverBy(mode, figure) => format!("{mode} + {figure}"),
            Bound::Peers => "less than every peer".to_owned(),
        }
    }

    fn judge(&self, evidence: &Evidence<'_>) -> Result<Finding, Verdict> {
        let own = evidence.own(self.mode, self.figure)?;
        let value = middle(&own)?;
        let Comparison { told, rounds, verdict } = self.compare(&own, value, evidence)?;
        Ok(Finding { measured: format!("{} {}", number(value), self.unit), compared: told, rounds, verdict })
    }

    fn compare(&self, own: &[(Occasion, f64)], value: f64, evidence: &Evidence<'_>) -> Compared {
        match self.bound {
            Bound::Value(limit) => Ok(Comparison::of(own, String::new(), Verdict::of(value <= limit))),
            Bound::Worst(limit) => {
                let worst = numbers(own).fold(value, f64::max);
                Ok(Comparison::of(own, format!("worst {}", number(worst)), Verdict::of(worst <= limit)))
            }
            Bound::Relay(limit) => {
                let relay = evidence.of(REFERENCE, self.mode, self.figure)?;
                Comparison::ratio(&paired(own, &relay, |own, relay| own / relay), limit)
            }
            Bound::Mode(mode, limit) => {
                let base = evidence.own(mode, self.figure)?;
                Comparison::ratio(&paired(own, &base, |own, base| own / base), limit)
            }
            Bound::Over(mode, limit) => {
                let pairs = paired(own, &evidence.own(mode, self.figure)?, |own, base| own - base);
                let more = middle(&pairs)?;
                Ok(Comparison::of(&pairs, format!("{} more", number(more)), Verdict::of(more <= limit)))
            }
            Bound::OverBy(mode, figure) => {
                let more = paired(own, &evidence.own(mode, self.figure)?, |own, base| own - base);
                let limits = evidence.own(self.mode, figure)?;
                let pairs = paired(&more, &limits, |more, limit| more - limit);
                let beyond = middle(&pairs)?;
                let told = format!("{} more, {figure} {}", number(middle(&more)?), number(middle(&limits)?));
                Ok(Comparison::of(&pairs, told, Verdict::of(beyond <= 0.0)))
            }
            Bound::Peers => self.beside_peers(own, evidence),
            Bound::Tunnels(count, limit) => {
                let open = numbers(&evidence.own(self.mode, "open")?).fold(f64::INFINITY, f64::min);
                let (told, verdict) = with_tunnels(open, count, value <= limit, evidence.setting.open_files);
                Ok(Comparison::of(own, told, verdict))
            }
        }
    }

    /// Beside each peer that has figures of the same occasions; the one that comes off best is told.
    fn beside_peers(&self, own: &[(Occasion, f64)], evidence: &Evidence<'_>) -> Compared {
        if !PEERS.iter().any(|peer| evidence.has_run(peer)) {
            return Err(Verdict::not_chosen("all"));
        }
        let ratios = PEERS.iter().filter_map(|peer| {
            let pairs = paired(own, &evidence.of(peer, self.mode, self.figure).ok()?, |own, peer| own / peer);
            Some((*peer, middle(&pairs).ok()?, pairs))
        });
        let ratios: Vec<_> = ratios.collect();
        let most = ratios.iter().max_by(|(_, one, _), (_, other, _)| one.total_cmp(other));
        let (least, ratio, pairs) = most.ok_or_else(|| Verdict::Failed(format!("every peer, {}", self.mode)))?;
        let verdict = match ratios.len() {
            _ if *ratio >= 1.0 => Verdict::No,
            all if all == PEERS.len() => Verdict::Yes,
            some => Verdict::YesBeside(some),
        };
        Ok(Comparison::of(pairs, format!("{} ({least}, the least)", times(*ratio)), verdict))
    }
}

impl Comparison {
    fn of(from: &[(Occasion, f64)], told: String, verdict: Verdict) -> Self {
        let mut rounds: Vec<usize> = from.iter().map(|(occasion, _)| occasion.round).collect();
        rounds.dedup();
        Self { told, rounds: rounds.len(), verdict }
    }

    fn ratio(pairs: &[(Occasion, f64)], limit: f64) -> Compared {
        let ratio = middle(pairs)?;
        Ok(Self::of(pairs, times(ratio), Verdict::of(ratio <= limit)))
    }
}

/// A bound that holds for so many tunnels. With fewer it is missed, unless the machine allows no more; and where fewer
/// take too much already, more would, too.
fn with_tunnels(open: f64, count: usize, is_met: bool, open_files: u64) -> (String, Verdict) {
    let lossy = |count: usize| u32::try_from(count).map_or(f64::INFINITY, f64::from);
    let fit = tunnels_max(open_files);
    let told = format!("{open} tunnels");
    if open < lossy(count.min(fit)) || !is_met {
        return (told, Verdict::No);
    }
    if open < lossy(count) {
        let reason = format!("{} open files needed, the hard limit is {open_files}", files_for(count));
        return (told, Verdict::NotHere(reason));
    }
    (told, Verdict::Yes)
}

/// Two figures of the same occasions: what disturbs the machine disturbs both.
fn paired(own: &[(Occasion, f64)], others: &[(Occasion, f64)], how: impl Fn(f64, f64) -> f64) -> Vec<(Occasion, f64)> {
    let other = |occasion| others.iter().find(|(other, _)| *other == occasion).map(|(_, other)| *other);
    own.iter().filter_map(|(occasion, value)| Some((*occasion, how(*value, other(*occasion)?)))).collect()
}

fn numbers(values: &[(Occasion, f64)]) -> impl Iterator<Item = f64> {
    values.iter().map(|(_, value)| *value)
}

fn middle(values: &[(Occasion, f64)]) -> Result<f64, Verdict> {
    median(&numbers(values).collect::<Vec<_>>()).ok_or_else(|| Verdict::Failed("no figure".to_owned()))
}

/// As exact as the bounds are near one.
fn times(ratio: f64) -> String {
    format!("{ratio:.3} ×")
}
