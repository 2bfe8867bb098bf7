//! What a scrape gets.

use super::counts::Counts;
use super::deliveries;
use super::ends::Ends;
use super::series::Families;
use crate::operate::{Operator, StatusOfReports};
use crate::policy::decision::FailureClass;
use crate::report::{Decided, Stage, TraceCounts};
use bytes::Bytes;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Scrapes within this time of one another get the same text: whoever asks often costs no more than this.
const FRESH: Duration = Duration::from_millis(250);

const SECONDS_OF_A_DAY: f64 = 24.0 * 60.0 * 60.0;

/// Gathers for scrapes, one at a time.
#[derive(Debug)]
pub struct Scrapes {
    counts: Arc<Counts>,
    latest: Mutex<Latest>,
}

#[derive(Debug, Default)]
struct Latest {
    text: Option<(Instant, Bytes)>,
    /// Of the policy of this generation.
    ends: Option<(u64, Arc<Ends>)>,
}

impl Scrapes {
    /// Of these counters.
    pub fn of(counts: Arc<Counts>) -> Self {
        Self { counts, latest: Mutex::default() }
    }

    /// All metrics in the text of OpenMetrics 1.0. Blocks while they are gathered for somebody else.
    pub fn text(&self, operator: &Operator) -> Bytes {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, text)) = &latest.text
            && at.elapsed() < FRESH
        {
            return text.clone();
        }
        let generation = operator.proxy.generation();
        let number = generation.policy.generation();
        let ends = match &latest.ends {
            Some((of, ends)) if *of == number => Arc::clone(ends),
            _ => Arc::new(Ends::of(&generation.policy, |rule| generation.materials.own_anchors_end(rule))),
        };
        latest.ends = Some((number, Arc::clone(&ends)));
        let read = Gathered { counts: Arc::clone(&self.counts), ends, state: State::of(operator) };
        let mut registry = Registry::with_prefix("pinproxy");
        registry.register_collector(Box::new(read));
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &registry);
        let text = Bytes::from(text);
        latest.text = Some((Instant::now(), text.clone()));
        text
    }
}

/// What is read at a scrape.
#[derive(Debug)]
struct State {
    now: SystemTime,
    open_sessions: usize,
    leaves_cached: usize,
    leaves_issued: u64,
    chains: usize,
    chains_answered: u64,
    generation: u64,
    generation_since: SystemTime,
    rules: usize,
    reloads_taken: u64,
    reloads_refused: u64,
    last_reload_failed: bool,
    overrides: usize,
    ca_end: SystemTime,
    other_ca_end: Option<SystemTime>,
    anchors_end: Option<SystemTime>,
    lists_end: Option<SystemTime>,
    lost: Vec<(String, u64)>,
    draining: bool,
    clocks_apart: bool,
    reports: Option<StatusOfReports>,
    traces: Option<TraceCounts>,
}

impl State {
    fn of(operator: &Operator) -> Self {
        let (proxy, generation) = (&operator.proxy, operator.proxy.generation());
        let authority = proxy.authority();
        let standing = authority.standing(proxy.moment());
        let (reloads_taken, reloads_refused) = operator.reloads.counts();
        Self {
            now: proxy.moment().latest(),
            open_sessions: proxy.open_sessions(),
            leaves_cached: authority.leaves_cached(),
            leaves_issued: authority.leaves_issued(),
            chains: generation.chains.entries(),
            chains_answered: generation.chains.answered(),
            generation: generation.policy.generation(),
            generation_since: operator.generation_since(),
            rules: generation.policy.rules().len(),
            reloads_taken,
            reloads_refused,
            last_reload_failed: operator.reloads.last().is_some_and(|last| last.outcome.is_err()),
            overrides: proxy.overrides().list().len(),
            ca_end: standing.signing.not_after,
            other_ca_end: standing.rotation.map(|other| other.ca.not_after),
            anchors_end: generation.materials.common.end(),
            lists_end: generation.materials.revocation.end(),
            lost: proxy.losses().map(|(sink, lost)| (sink.to_owned(), lost)).collect(),
            draining: proxy.is_draining(),
            clocks_apart: proxy.clocks_are_apart(),
            reports: operator.reports(),
            traces: operator.traces().cloned(),
        }
    }

    /// From now until then; below zero for what is past.
    fn days_until(&self, end: SystemTime) -> f64 {
        let seconds = match end.duration_since(self.now) {
            Ok(left) => left.as_secs_f64(),
            Err(past) => -past.duration().as_secs_f64(),
        };
        seconds / SECONDS_OF_A_DAY
    }
}

#[derive(Debug)]
struct Gathered {
    counts: Arc<Counts>,
    ends: Arc<Ends>,
    state: State,
}

/// The names, labels and words here stand in config/METRICS.md, too.
impl Collector for Gathered {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        self.sessions(&mut families)?;
        self.verdicts(&mut families)?;
        self.caches(&mut families)?;
        self.policy(&mut families)?;
        self.ends(&mut families)?;
        self.process(&mut families)?;
        let State { now, reports, traces, .. } = &self.state;
        reports.iter().try_for_each(|reports| deliveries::reports(&mut families, reports, *now))?;
        traces.iter().try_for_each(|traces| deliveries::traces(&mut families, traces))
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Gathered {
    fn sessions(&self, families: &mut Families<'_>) -> fmt::Result {
        let counts = &self.counts;
        let sessions = Stage::ALL.into_iter().zip(&counts.sessions).flat_map(|(stage, row)| {
            let cells = Decided::ALL.into_iter().zip(row);
            cells
                .map(move |(decided, count)| ([("stage", stage.as_str()), ("decision", decided.as_str())], read(count)))
        });
        families.counters("sessions", "Sessions that have ended, by the last stage they came to", sessions)?;
        let failures = FailureClass::ALL.into_iter().zip(&counts.failures).flat_map(|(class, row)| {
            let cells = Stage::ALL.into_iter().zip(row);
            cells.map(move |(stage, count)| ([("class", class.as_str()), ("stage", stage.as_str())], read(count)))
        });
        families.counters("failures", "Sessions that failed, or violated their pins and were let through", failures)?;
        let handshakes = [("upstream", &counts.upstream_handshakes), ("client", &counts.client_handshakes)];
        let handshakes = handshakes.map(|(side, histogram)| ([("side", side)], histogram.read()));
        families.histograms("handshake_seconds", "TLS handshakes that were finished", handshakes)?;
        let bytes = [("upstream", &counts.bytes_upstream), ("client", &counts.bytes_client)];
        let bytes = bytes.map(|(to, count)| ([("to", to)], read(count)));
        families.counters("relayed_bytes", "Payload of sessions that have ended, by where it went", bytes)?;
        families.gauge("open_sessions", "Connections and tunnels open now", &self.state.open_sessions)?;
        let closed = read(&counts.closed_by_policy);
        families.counter("sessions_closed_by_policy", "Open sessions that new rules have ended", closed)
    }

    fn verdicts(&self, families: &mut Families<'_>) -> fmt::Result {
        let (mut verdicts, mut leaves) = (Vec::new(), Vec::new());
        self.counts.pinsets.each(|pinset, own| {
            let pinset: Arc<str> = pinset.into();
            verdicts.extend(own.verdicts().map(|(asked, verdict, count)| {
                let labels = [
                    ("pinset", pinset.to_string()),
                    ("mode", asked.as_str().to_owned()),
                    ("verdict", verdict.as_str().to_owned()),
                ];
                (labels, count)
            }));
            let end = own.soonest_end(self.state.now);
            leaves.extend(end.map(|end| ([("pinset", pinset.to_string())], self.state.days_until(end))));
        });
        families.counters("verdicts", "Judgements of upstream chains", verdicts)?;
        let help = "Until the soonest end of an upstream's certificate that was accepted in the last hours";
        families.gauges("upstream_leaf_days_left", help, leaves)
    }

    fn caches(&self, families: &mut Families<'_>) -> fmt::Result {
        let state = &self.state;
        families.gauge("leaf_cache_entries", "Issued certificates that are kept", &state.leaves_cached)?;
        families.counter("leaves_issued", "Certificates that the CA in force has signed", state.leaves_issued)?;
        families.gauge("chain_memory_entries", "Chains whose verified path is remembered", &state.chains)?;
        let help = "Chains whose path was remembered, since the policy came into force";
        families.counter("chain_memory_answers", help, state.chains_answered)
    }

    fn policy(&self, families: &mut Families<'_>) -> fmt::Result {
        let state = &self.state;
        let since = state.generation_since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        families.gauge("policy_generation", "Number of the policy in force; the first is 1", &state.generation)?;
        let help = "When the policy came into force, in seconds since 1970";
        families.gauge("policy_start_time_seconds", help, &since.as_secs_f64())?;
        families.gauge("policy_rules", "Pinsets, exemptions and tunnels in force", &state.rules)?;
        let reloads = [("taken", state.reloads_taken), ("refused", state.reloads_refused)];
        let reloads = reloads.map(|(outcome, count)| ([("outcome", outcome)], count));
        families.counters("reloads", "Times that the configuration was read again", reloads)?;
        let failed = u64::from(state.last_reload_failed);
        families.gauge("last_reload_failed", "1 while the last reload was refused, else 0", &failed)?;
        families.gauge("overrides", "Enforcements that are overridden now", &state.overrides)
    }

    fn ends(&self, families: &mut Families<'_>) -> fmt::Result {
        let state = &self.state;
        families.gauge(
            "ca_days_left",
            "Until the CA that signs what clients see ends",
            &state.days_until(state.ca_end),
        )?;
        let pinsets = self.ends.pinsets.iter().map(|(name, end)| ([("pinset", name)], state.days_until(*end)));
        families.gauges("pinset_days_left", "Until a pinset with an expiry ends", pinsets)?;
        let own = self.ends.anchors.iter().map(|(name, end)| ([("pinset", name)], state.days_until(*end)));
        let help = "Until the last trust anchor of a pinset with its own roots ends";
        families.gauges("pinset_roots_days_left", help, own)?;
        let others = [
            ("other_ca_days_left", "Until the CA of a rotation that does not sign now ends", state.other_ca_end),
            ("roots_days_left", "Until the last trust anchor of all other upstreams ends", state.anchors_end),
            ("revocation_lists_days_left", "Until the first revocation list is out of date", state.lists_end),
        ];
        for (name, help, end) in others {
            end.map_or(Ok(()), |end| families.gauge(name, help, &state.days_until(end)))?;
        }
        let exemptions = self.ends.exemptions.iter();
        let exemptions = exemptions.map(|(place, end)| ([("exemption", place)], state.days_until(*end)));
        families.gauges("exemption_days_left", "Until an exemption ends, by its place in the configuration", exemptions)
    }

    fn process(&self, families: &mut Families<'_>) -> fmt::Result {
        let state = &self.state;
        let lost = state.lost.iter().map(|(sink, lost)| ([("sink", sink)], *lost));
        families.counters("lost_events", "Events that were not written where they should have gone", lost)?;
        let draining = u64::from(state.draining);
        families.gauge("draining", "1 while open sessions may end and no new ones are taken, else 0", &draining)?;
        let apart = u64::from(state.clocks_apart);
        families.gauge(
            "clocks_apart",
            "1 while the wall clock and the steady clock contradict each other, else 0",
            &apart,
        )?;
        families.info("build", "The program", &[("version", env!("CARGO_PKG_VERSION"))])
    }
}
