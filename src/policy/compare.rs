//! What a change of the rules does to which hosts: the answer to `pins diff`, as data.
//!
//! For every pattern of either side, witnesses are taken: hosts and ports that stand for all that fall under the same
//! patterns. The rules that the two sides have for a witness are held against each other now and at every later moment
//! at which one of them changes by itself.

mod accepts;
mod admission;
mod change;
mod losses;
mod observed;
mod strictness;
mod witness;

use super::explain::{Told, unpinned_word};
use super::host::Authority;
use super::moment::Moment;
use super::pattern::HostPattern;
use super::pin::{Pin, Sha256};
use super::protection::Protection;
use super::rules::{Defaults, NameMismatch, Policy, Rule, RuleKind};
use super::timestamp::Timestamp;
use losses::Pinned;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::SystemTime;
use strictness::{Standing, differences};
use witness::Surveyor;

pub use admission::access_differences;
pub use change::{Aspect, Change, Comparison, Difference, Direction, Kind};
pub use losses::{Left, Loss, Losses};
pub use observed::{Finding, Judge, Observation, Tally, Undecided, Verdict, Verdicts};

/// More witnesses than this are not looked at.
pub const WITNESSES_MAX: usize = 4_000_000;

/// One of the two sides.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// The rules.
    pub policy: &'a Policy,
    /// What is done with hosts that no rule names.
    pub defaults: Defaults,
}

/// The rules name more hosts and ports than are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rules of the two files make more than {WITNESSES_MAX} combinations of hosts and ports")]
pub struct TooManyWitnesses;

/// Compares two sides from a moment on.
///
/// # Errors
/// [`TooManyWitnesses`].
pub fn compare(old: Side<'_>, new: Side<'_>, at: Timestamp) -> Result<Comparison, TooManyWitnesses> {
    compare_within(WITNESSES_MAX, old, new, at)
}

fn compare_within(
    witnesses_max: usize,
    old: Side<'_>,
    new: Side<'_>,
    at: Timestamp,
) -> Result<Comparison, TooManyWitnesses> {
    let patterns: HashSet<&HostPattern> = [old, new].into_iter().flat_map(Side::patterns).collect();
    let surveyor = Surveyor::new(patterns.iter().copied());
    let mut groups: HashMap<Effect, BTreeSet<String>> = HashMap::new();
    let (mut unchanged, mut looked_at, mut losses) = (0, 0, Vec::new());
    for pattern in patterns {
        let mut effects = Vec::new();
        for witness in surveyor.witnesses(pattern) {
            looked_at += 1;
            if looked_at > witnesses_max {
                return Err(TooManyWitnesses);
            }
            let pinned = Pinned::of(old, new, &witness, at);
            effects.push((effect(old, new, &witness.authority, at), pinned, witness.shown));
        }
        if effects.iter().all(|(effect, ..)| effect.is_none()) {
            unchanged += 1;
        }
        let uniform = effects.windows(2).all(|pair| matches!(pair, [one, other] if one.0 == other.0));
        for (effect, pinned, shown) in effects {
            let shown = if uniform { pattern.to_string() } else { shown };
            losses.extend(pinned.map(|pinned| (shown.clone(), pinned)));
            if let Some(effect) = effect {
                groups.entry(effect).or_default().insert(shown);
            }
        }
    }
    let changes = groups.into_iter().map(|((old, new, differences), hosts)| Change {
        kind: Kind::of(&differences),
        hosts: hosts.into_iter().collect(),
        old,
        new,
        differences,
    });
    let mut changes: Vec<_> = changes.collect();
    changes.sort_by(|one, other| (one.kind, &one.hosts).cmp(&(other.kind, &other.hosts)));
    Ok(Comparison { at, general: general(old, new), changes, unchanged, losses: losses.into_iter().collect() })
}

/// The rules that a host had and gets, and what is different; `None` where nothing is.
type Effect = (Told, Told, Vec<Difference>);

fn effect(old: Side<'_>, new: Side<'_>, authority: &Authority, at: Timestamp) -> Option<Effect> {
    let mut found: Vec<Difference> = Vec::new();
    for time in moments(old, new, authority, at.0) {
        let moment = Moment::at(time);
        let before = Standing::of(old.policy, authority, moment);
        let after = Standing::of(new.policy, authority, moment);
        let since = (time > at.0).then_some(Timestamp(time));
        for difference in differences(&before, &after) {
            if !found.iter().any(|known| difference.repeats(known)) {
                found.push(Difference { since, ..difference });
            }
        }
    }
    let (before, after) = (old.policy.select(authority, at.0), new.policy.select(authority, at.0));
    let same = found.is_empty() && before.label() == after.label();
    (!same).then(|| (Told::of(before), Told::of(after), found))
}

/// The moment itself, and every later one at which a rule for this host changes by itself.
fn moments(old: Side<'_>, new: Side<'_>, authority: &Authority, at: SystemTime) -> BTreeSet<SystemTime> {
    let matching = [old, new].into_iter().flat_map(|side| side.policy.matching(authority));
    let mut moments: BTreeSet<_> = matching.flat_map(|rule| rule.dates()).filter(|time| *time > at).collect();
    moments.insert(at);
    moments
}

fn general(old: Side<'_>, new: Side<'_>) -> Vec<Difference> {
    let default = |side: Side<'_>| {
        let rule = Rule { kind: RuleKind::Default(side.defaults.unpinned), hosts: Vec::new() };
        Protection::of(&rule, Moment::at(SystemTime::UNIX_EPOCH))
    };
    let unpinned = Direction::between(&default(old), &default(new)).map(|direction| {
        let (old, new) = (unpinned_word(old.defaults.unpinned), unpinned_word(new.defaults.unpinned));
        Difference::words(Aspect::UnpinnedHosts, direction, old, new)
    });
    let refuses = |side: Side<'_>| side.defaults.name_mismatch == NameMismatch::Deny;
    let word = |side| if refuses(side) { "deny" } else { "allow" };
    let two_names = Direction::between(&refuses(old), &refuses(new))
        .map(|direction| Difference::words(Aspect::NameMismatch, direction, word(old), word(new)));
    let (removed, added) = (blocked_only_by(old, new), blocked_only_by(new, old));
    let blocklist = Direction::of_refused(&removed, &added)
        .map(|direction| Difference::lists(Aspect::Blocklist, direction, removed, added));
    unpinned.into_iter().chain(two_names).chain(blocklist).collect()
}

fn blocked_only_by(one: Side<'_>, other: Side<'_>) -> Vec<String> {
    let entries = one.policy.blocklist().iter();
    let only = entries.filter(|(key, _)| !other.policy.blocklist().contains_key(*key));
    let mut texts: Vec<_> = only.map(|(key, entry)| format!("{} ({})", key_text(key), entry.name)).collect();
    texts.sort_unstable();
    texts
}

fn key_text(key: &Sha256) -> String {
    Pin::Spki(*key).to_string()
}

impl<'a> Side<'a> {
    fn patterns(self) -> impl Iterator<Item = &'a HostPattern> {
        self.policy.rules().iter().flat_map(|rule| &rule.hosts)
    }
}

#[cfg(test)]
mod tests;
