//! What a reload lets through that was refused before: told where nobody has asked. `pins diff` tells the rest.

use crate::config::Config;
use crate::config::surroundings::{Whole, differences};
use crate::policy::compare::{Aspect, Change, Comparison, Difference, Direction, Side, TooManyWitnesses, compare};
use crate::policy::rules::{Defaults, Policy};
use crate::policy::timestamp::Timestamp;
use std::path::Path;
use std::time::SystemTime;

/// Lines that are told; of more only the number is.
const LINES_MAX: usize = 20;

/// Hosts that a line names.
const HOSTS_MAX: usize = 5;

/// Entries that a line names, of those that went from a list and of those that came.
const ENTRIES_MAX: usize = 5;

/// One side of the comparison.
pub(super) struct Standpoint<'a> {
    /// What stands outside of the rules.
    pub(super) around: &'a Config,
    /// The rules.
    pub(super) policy: &'a Policy,
    /// What is done with hosts that no rule names.
    pub(super) defaults: Defaults,
}

impl Standpoint<'_> {
    fn whole(&self) -> Whole<'_> {
        Whole { config: self.around, file: Path::new(""), redacted: &str::to_owned }
    }

    fn side(&self) -> Side<'_> {
        Side { policy: self.policy, defaults: self.defaults }
    }

    /// From this moment on.
    pub(super) fn compared_with(&self, new: &Self, now: SystemTime) -> Result<Comparison, TooManyWitnesses> {
        compare(self.side(), new.side(), Timestamp(now))
    }
}

/// What there is to tell of the comparison.
pub(super) struct Loosened {
    /// A line for each thing that becomes looser, in the words of the program and the names of hosts and networks: values
    /// that came from the environment may stand in everything else.
    pub(super) looser: Vec<String>,
    /// A line for each thing that may.
    pub(super) undecided: Vec<String>,
}

/// What becomes looser, as far as that can be told.
pub(super) fn loosened(
    old: &Standpoint<'_>,
    new: &Standpoint<'_>,
    compared: &Result<Comparison, TooManyWitnesses>,
) -> Loosened {
    let around = differences(&old.whole(), &new.whole());
    let undecided = around.iter().filter(|difference| difference.direction == Direction::Undecided);
    let undecided =
        undecided.map(|difference| format!("changed, and may let more through: {}", told(difference))).collect();
    Loosened { looser: lines(&around, compared), undecided }
}

fn lines(around: &[Difference], compared: &Result<Comparison, TooManyWitnesses>) -> Vec<String> {
    let compared = match compared {
        Ok(compared) => compared,
        Err(error) => return vec![format!("what becomes looser is not known: {error}")],
    };
    let general = compared.general.iter().chain(around).filter(|difference| is_looser(difference));
    let general = general.map(|difference| format!("for every host or those without a rule: {}", told(difference)));
    let changes = compared.changes.iter().filter_map(line);
    let mut lines: Vec<_> = general.chain(changes).collect();
    let more = lines.len().saturating_sub(LINES_MAX);
    if more > 0 {
        lines.truncate(LINES_MAX);
        lines.push(format!("and {more} more; pinproxy pins diff OLD NEW tells all"));
    }
    lines
}

/// Nothing where nothing becomes looser.
fn line(change: &Change) -> Option<String> {
    let looser: Vec<_> = change.differences.iter().filter(|difference| is_looser(difference)).map(told).collect();
    if looser.is_empty() {
        return None;
    }
    let hosts: Vec<_> = change.hosts.iter().take(HOSTS_MAX).map(String::as_str).collect();
    let more = change.hosts.len() - hosts.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!("{}{more}: {}", hosts.join(", "), looser.join("; ")))
}

fn is_looser(difference: &Difference) -> bool {
    difference.direction.loosens() && difference.direction != Direction::Undecided
}

/// What went from a list, and what came.
fn entries(difference: &Difference) -> String {
    let signed = [("-", &difference.removed), ("+", &difference.added)].into_iter().flat_map(|(sign, list)| {
        let more = list.len().saturating_sub(ENTRIES_MAX);
        let more = (more > 0).then(|| format!("{sign} {more} more"));
        list.iter().take(ENTRIES_MAX).map(move |entry| format!("{sign} {entry}")).chain(more)
    });
    signed.collect::<Vec<_>>().join(", ")
}

fn told(difference: &Difference) -> String {
    let since = difference.since.map(|since| format!(" from {since} on")).unwrap_or_default();
    if difference.aspect == Aspect::Access {
        return format!("{} {}", difference.aspect.name(), entries(difference));
    }
    match (&difference.old, &difference.new) {
        (Some(old), Some(new)) if !difference.is_in_own_words() => {
            format!("{} {old} -> {new}{since}", difference.aspect.name())
        }
        _ => format!("{} changed{since}", difference.aspect.name()),
    }
}
