//! `pinproxy config check`: everything that is wrong with a configuration, and with what it names.

use super::{Exit, Failure, print, usual_ca_directory};
use crate::config::{Class, Config, Diagnostic, Listing, Places};
use crate::inspect::probe::{PROBES_AT_ONCE_MAX, Prober, Sight, Target, Unseen};
use crate::inspect::{self, CaDirectory, Checked, Findings, Outcome, Seen, Synchronisation, World};
use crate::upstream::resolve::SystemResolver;
use serde_json::Value;
use std::collections::HashSet;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, interval_at, sleep};

/// Longest time that a probe may be given.
const PROBE_TIMEOUT_MAX: Duration = Duration::from_secs(5 * 60);
/// Longest time that all probes together may be given.
const PROBES_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How often a terminal is told how far the probes have come.
const PROGRESS_EVERY: Duration = Duration::from_secs(3);

/// Read a configuration and tell everything that is wrong with it
///
/// Each finding has a code, its place in the file, what goes wrong for users if it stays, and the fix. The files that
/// the configuration names are looked at, too. Nothing is changed, and nothing is connected to, unless --probe is given.
///
/// Exit code: 0 when there is no error; 1 when the file can be read but has errors, or warnings with --strict; 2 when
/// the file, or a value in it, cannot be read at all; with --probe 3 when a host could not be reached, or was not probed
/// in time, and there is no error. `pinproxy config lints` tells it for each code.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  pinproxy config check /etc/pinproxy/pinproxy.toml\n  \
                        pinproxy config check --strict --sarif pinproxy.toml > pinproxy.sarif\n  \
                        pinproxy config check --probe --timeout 5s pinproxy.toml")]
pub(super) struct Check {
    /// The configuration file
    #[arg(value_name = "FILE", default_value = "pinproxy.toml")]
    file: PathBuf,
    /// Take warnings for errors
    #[arg(long)]
    strict: bool,
    /// Print one JSON object; config/LINTS.md tells its shape
    #[arg(long, conflicts_with = "sarif")]
    json: bool,
    /// Print a SARIF 2.1.0 log, for code review tools; paths are relative to the current folder
    #[arg(long)]
    sarif: bool,
    #[command(flatten)]
    probing: Probing,
}

#[derive(Debug, clap::Args)]
struct Probing {
    /// Connect to every pinned host that is no wildcard, as the proxy would, and judge what it shows
    ///
    /// The port is that of the pattern, or 443. The access rules of the configuration apply. Only a TLS handshake is
    /// made; no request is sent.
    #[arg(long)]
    probe: bool,
    /// How long a host may take to answer, and again for the TLS handshake
    #[arg(long, value_name = "DURATION", requires = "probe", default_value = "10s", value_parser = parse_timeout)]
    timeout: Duration,
    /// How long all hosts together may take; those that are left then are told as not probed
    #[arg(long, value_name = "DURATION", requires = "probe", default_value = "10m", value_parser = parse_total_timeout)]
    total_timeout: Duration,
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    parse_up_to(PROBE_TIMEOUT_MAX, text)
}

fn parse_total_timeout(text: &str) -> Result<Duration, String> {
    parse_up_to(PROBES_TIMEOUT_MAX, text)
}

fn parse_up_to(most: Duration, text: &str) -> Result<Duration, String> {
    let limits = || format!("write a duration above 0s, and up to {}, such as 10s", humantime::format_duration(most));
    let timeout = humantime::parse_duration(text).map_err(|_| limits())?;
    if timeout.is_zero() || timeout > most { Err(limits()) } else { Ok(timeout) }
}

/// What is told at the end.
struct Answer {
    diagnostics: Vec<Diagnostic>,
    seen: Vec<Seen>,
    /// For people, and for programs.
    lines: Vec<String>,
    probed: Option<Value>,
}

/// Runs the command.
///
/// # Errors
/// [`Failure`], when the hosts cannot be probed or the answer cannot be written.
pub(super) fn execute(arguments: &Check) -> Result<Exit, Failure> {
    let now = SystemTime::now();
    let ca_directory = CaDirectory::Usual(usual_ca_directory());
    let world = World { now, clock: Synchronisation::of_system(), ca_directory };
    let checked = match inspect::check(&arguments.file, &world) {
        Ok(checked) => checked,
        Err(errors) => return tell(arguments, errors.listing(), &[], None),
    };
    let Checked { config, diagnostics, places, materials, .. } = checked;
    let answer = match materials.filter(|_| arguments.probing.probe) {
        None => Answer { diagnostics, seen: Vec::new(), lines: Vec::new(), probed: None },
        Some(materials) => {
            let prober = Prober::new(&config, materials, Arc::new(SystemResolver), arguments.probing.timeout, now);
            look_at_hosts(prober, arguments.probing.total_timeout, &places, Findings::new(&places, now), diagnostics)?
        }
    };
    let Answer { diagnostics, seen, mut lines, probed } = answer;
    if arguments.probing.probe && probed.is_none() {
        lines.push("no host was connected to: the files that the configuration names cannot be used".to_owned());
    }
    let listing = Listing::new(&diagnostics).probed(probed.as_ref());
    let exit = tell(arguments, listing, &lines, Some(&config))?;
    let is_open = |seen: &Seen| matches!(seen.outcome, Outcome::Unreachable | Outcome::NotProbed);
    Ok(if exit == Exit::Done && seen.iter().any(is_open) { Exit::Unreachable } else { exit })
}

/// Probes every pinned host, and tells what they show and what there was no time for.
fn look_at_hosts(
    prober: Prober,
    within: Duration,
    places: &Places,
    mut findings: Findings<'_>,
    diagnostics: Vec<Diagnostic>,
) -> Result<Answer, Failure> {
    let (targets, skipped) = prober.targets();
    let (all, limit) = (targets.len(), humantime::format_duration(within));
    let mut seen = Vec::with_capacity(all + skipped.len());
    for (target, probed) in probe_all(prober, targets, within)? {
        seen.push(match probed {
            Some(Ok(sight)) => findings.judge(&target, &sight),
            Some(Err(unseen)) => findings.unseen(&target, &unseen),
            None => {
                let why = format!("the {limit} for all hosts were over before");
                Seen::not_probed(&target, why)
            }
        });
    }
    let left = seen.iter().filter(|seen| seen.outcome == Outcome::NotProbed).count();
    seen.extend(skipped);
    let mut lines: Vec<_> = seen.iter().map(|seen| seen.line(places)).collect();
    if left > 0 {
        let help = "nothing is known of them; give more time with --total-timeout";
        lines.push(format!("\n{left} of {all} hosts were not probed within {limit}: {help}"));
    }
    let probed = Some(seen.iter().map(|seen| seen.json(places)).collect());
    Ok(Answer { diagnostics: findings.with(diagnostics), seen, lines, probed })
}

/// What became of a probe; nothing when the time for all was over before.
type Probed = Option<Result<Sight, Unseen>>;

/// Connects to the targets, a bounded number at a time, for as long as all of them may take.
fn probe_all(prober: Prober, targets: Vec<Target>, within: Duration) -> Result<Vec<(Target, Probed)>, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::unreachable)?;
    let probed = runtime.block_on(async {
        let prober = Arc::new(prober);
        let mut waiting = targets.iter().enumerate();
        let (mut running, mut done) = (JoinSet::new(), 0);
        let mut probed: Vec<Probed> = targets.iter().map(|_| None).collect();
        let (watched, mut ticks) =
            (io::stderr().is_terminal(), interval_at(Instant::now() + PROGRESS_EVERY, PROGRESS_EVERY));
        let mut end = std::pin::pin!(sleep(within));
        loop {
            for (index, target) in waiting.by_ref().take(PROBES_AT_ONCE_MAX - running.len()) {
                let (prober, target) = (Arc::clone(&prober), target.clone());
                running.spawn(async move { (index, prober.probe(&target).await) });
            }
            tokio::select! {
                ended = running.join_next() => match ended {
                    None => break Ok(probed),
                    Some(ended) => {
                        keep(&mut probed, ended)?;
                        done += 1;
                    }
                },
                () = &mut end => {
                    // What has ended is known, though nobody has looked yet.
                    while let Some(ended) = running.try_join_next() {
                        keep(&mut probed, ended)?;
                    }
                    break Ok(probed);
                }
                _ = ticks.tick(), if watched => tell_progress(done, targets.len()),
            }
        }
    });
    // A resolver that hangs must not hold up the end: its thread cannot be told to stop.
    runtime.shutdown_timeout(Duration::ZERO);
    Ok(targets.into_iter().zip(probed?).collect())
}

fn keep(probed: &mut [Probed], ended: Result<(usize, Result<Sight, Unseen>), JoinError>) -> Result<(), Failure> {
    // No known input leads to this error; a host must not be left out without a word.
    let (index, result) =
        ended.map_err(|error| Failure::unreachable(format!("a probe ended without a result: {error}")))?;
    probed[index] = Some(result);
    Ok(())
}

/// That nobody can read it is no reason to stop.
fn tell_progress(done: usize, all: usize) {
    let _unread = writeln!(io::stderr(), "probed {done} of {all} hosts");
}

fn tell(arguments: &Check, listing: Listing<'_>, lines: &[String], config: Option<&Config>) -> Result<Exit, Failure> {
    let listing = listing.strict(arguments.strict);
    let text = if arguments.json {
        listing.json()
    } else if arguments.sarif {
        // Without a current folder absolute paths stay what they are.
        listing.sarif(&std::env::current_dir().unwrap_or_default())
    } else {
        let coloured = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
        let findings = match config.filter(|_| listing.is_empty()) {
            Some(config) => format!("{}: no findings; {}", arguments.file.display(), counts(config)),
            None => listing.render(coloured),
        };
        let hosts = if lines.is_empty() { String::new() } else { format!("{}\n\n", lines.join("\n")) };
        hosts + &findings
    };
    print(&text)?;
    Ok(match listing.fault() {
        None => Exit::Done,
        Some(Class::Unsafe) => Exit::NotAsItShouldBe,
        Some(Class::Malformed) => Exit::Unusable,
    })
}

/// What a file without faults holds.
fn counts(config: &Config) -> String {
    let pinned: Vec<_> = config.rules.rules().iter().filter_map(|rule| Some((&rule.hosts, rule.pinset()?))).collect();
    let hosts = pinned.iter().map(|(hosts, _)| hosts.len()).sum();
    let keys: HashSet<_> = pinned.iter().flat_map(|(_, pinset)| pinset.accepts().pins()).collect();
    let plural = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    [plural(pinned.len(), "pinset"), plural(hosts, "host"), plural(keys.len(), "key")].join(", ")
}
