//! `pinproxy pins diff`.

use super::super::{Exit, Failure};
use super::diff_text::text;
use super::observed::judge;
use super::{json, load, moment, now, print};
use crate::config::Config;
use crate::config::surroundings::{Whole, differences};
use crate::policy::compare::{Comparison, Judge, Side, Verdicts, compare};
use crate::policy::rules::Policy;
use crate::policy::timestamp::Timestamp;
use serde::Serialize;
use std::path::PathBuf;

/// Tell what a change of the configuration does to which hosts
///
/// Holds the pinsets, exemptions, tunnels, blocked keys and defaults of two files against each other, from now on and
/// through every date in them. A host becomes looser when something passes that was refused, stricter when something
/// is refused that passed. Of `[access]` each list is told by itself, as "changed" where other entries decide whether more
/// passes; what files with trust anchors and revocation lists hold is not compared. Of an observed chain only the keys are
/// known: where certificates decide (a pin of a certificate, different roots of a pinset, anchors with exempts_pins), it is
/// counted as one that cannot be judged.
///
/// Exit codes: 0 nothing becomes looser; 1 something does (a host becomes unpinned, looser, or changed both ways, as
/// by an exchanged pin), or an observed chain would be refused that passed; 2 unusable arguments, configuration or
/// observations; 3 a file cannot be read.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pinproxy pins diff /etc/pinproxy/pinproxy.toml pinproxy.toml
  pinproxy pins diff old.toml new.toml --observed chains.jsonl --json

A line of the observed chains, end entity first:
  {\"host\":\"api.bank.example\",\"port\":443,\"path\":[\"sha256/…\",\"sha256/…\"]}")]
pub(super) struct Arguments {
    /// The configuration file as it is
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The configuration file as it shall be
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Compare from this moment (RFC 3339) on instead of from now on
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<Timestamp>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Observed chains, one JSON object a line: tell which of them NEW would refuse that pass with OLD, and the reverse
    #[arg(long, value_name = "FILE")]
    observed: Option<PathBuf>,
}

/// What is printed.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    /// Whether something passes that was refused.
    pub(super) looser: bool,
    #[serde(flatten)]
    pub(super) comparison: Comparison,
    /// Absent where no observations were given.
    pub(super) observed: Option<Verdicts>,
}

pub(super) fn execute(arguments: &Arguments) -> Result<Exit, Failure> {
    let at = arguments.at.unwrap_or_else(now);
    let ((old, old_places), (new, new_places)) = (load(&arguments.old, at)?, load(&arguments.new, at)?);
    let (old_policy, new_policy) = (old.policy(1), new.policy(2));
    // A value that one file takes from a variable may stand in the other one.
    let redacted = |text: &str| new_places.redacted(old_places.redacted(text));
    let around = differences(
        &Whole { config: &old, file: &arguments.old, redacted: &redacted },
        &Whole { config: &new, file: &arguments.new, redacted: &redacted },
    );
    let (old_judge, new_judge) = (judge_of(&old, &old_policy), judge_of(&new, &new_policy));
    let old = Side { policy: &old_policy, defaults: old.rules.defaults() };
    let new = Side { policy: &new_policy, defaults: new.rules.defaults() };
    let mut comparison = compare(old, new, at).map_err(Failure::unusable)?;
    comparison.general.extend(around);
    comparison.edit_texts(|text| *text = redacted(text));
    let observed = arguments.observed.as_ref().map(|path| judge(path, old_judge, new_judge, at)).transpose()?;
    let answer = Answer { looser: comparison.loosens(), comparison, observed };
    print(&if arguments.json { json(&answer)? } else { text(&answer) });
    let refused = answer.observed.as_ref().is_some_and(|observed| !observed.newly_refused.is_empty());
    Ok(if answer.looser || refused { Exit::NotAsItShouldBe } else { Exit::Done })
}

fn judge_of<'a>(config: &Config, policy: &'a Policy) -> Judge<'a> {
    Judge { policy, exempts_pins: config.upstream.extra_roots.iter().any(|extra| extra.exempts_pins) }
}
