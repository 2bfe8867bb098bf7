//! How each pinset fares.

use crate::metrics::{Tallies, Tally};
use crate::policy::moment::Moment;
use crate::policy::pinset::{AfterExpiry, Pinset};
use crate::policy::protection::Protection;
use crate::policy::rollout::Share;
use crate::policy::rules::Rule;
use crate::proxy::Proxy;
use serde::Serialize;
use std::collections::HashMap;
use std::time::SystemTime;

/// Pinsets that are told at once; a configuration may have 100,000. Others are found by a part of their name.
pub const PINSETS_TOLD_MAX: usize = 200;

/// Host patterns of a pinset that are told; the rest is counted.
pub const HOSTS_TOLD_MAX: usize = 5;

/// Pinsets of the policy in force: one of exactly the name asked for first, then those with violations or refusals, then
/// the others, each by name.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pinsets {
    /// How many there are, of those that were asked for.
    pub total: usize,
    /// How many of them are not told.
    pub left_out: usize,
    /// Those that are.
    pub pinsets: Vec<PinsetNow>,
}

/// A pinset at a moment. What is counted is so since the start; it is absent where there are too many pinsets for
/// counters of their own.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PinsetNow {
    /// Its name.
    pub name: String,
    /// Its host patterns.
    pub hosts: Vec<String>,
    /// How many more there are.
    pub hosts_left_out: usize,
    /// What becomes of a connection that shows no pinned key, overrides aside.
    pub protection: Protection,
    /// In percent, the clients that its rollout enforces for.
    pub enforced_percent: Option<f64>,
    /// Whether its rollout waits, because too many sessions violate the pins.
    pub on_hold: bool,
    /// Sessions in which a pin matched.
    pub matches: Option<u64>,
    /// Sessions in which none did, and the trust anchor exempts its chains.
    pub exempted: Option<u64>,
    /// Sessions in which no pin was asked for.
    pub passed: Option<u64>,
    /// Sessions that were let through against the pins, and reported.
    pub violations: Option<u64>,
    /// Sessions that were refused over the chain: pins, name, dates, issuers, blocked keys.
    pub refusals: Option<u64>,
    /// The last session against the pins, let through or not.
    #[serde(serialize_with = "crate::report::serialize_maybe_date_time")]
    pub last_violation: Option<SystemTime>,
    /// Its end.
    #[serde(serialize_with = "crate::report::serialize_maybe_date_time")]
    pub expires: Option<SystemTime>,
    /// What happens then: `fail-closed`, `report-only` or `unpinned`.
    pub after_expiry: Option<&'static str>,
    /// The soonest end of a certificate that an upstream has shown in the last hours.
    #[serde(serialize_with = "crate::report::serialize_maybe_date_time")]
    pub upstream_leaf_ends: Option<SystemTime>,
}

/// A pinset that may be told, by what it is put in order by: not the very one, no trouble, its name.
type Found<'p> = (bool, bool, &'p str, &'p Rule, &'p Pinset);

impl Pinsets {
    pub(super) fn now(
        proxy: &Proxy,
        moment: Moment,
        tallies: &Tallies,
        last: &HashMap<Box<str>, SystemTime>,
        part: &str,
    ) -> Self {
        let generation = proxy.generation();
        let has_trouble = |name: &str| {
            last.contains_key(name) || tallies.of(name).is_some_and(|tally| tally.violated + tally.refused > 0)
        };
        let named = generation.policy.rules().iter().filter_map(|rule| {
            let pinset = rule.pinset().filter(|pinset| pinset.name.contains(part))?;
            let name = pinset.name.as_str();
            Some((name != part, !has_trouble(name), name, &**rule, pinset))
        });
        let (total, found) = first(named.collect());
        let pinsets = found.iter().map(|(.., rule, pinset)| {
            let told = PinsetNow::of(rule, pinset, moment, tallies.of(&pinset.name));
            let last_violation = last.get(pinset.name.as_str()).copied();
            PinsetNow { last_violation, ..told }.rolled_out(pinset, proxy.rollout_reached(pinset, moment), moment)
        });
        Self { total, left_out: total - found.len(), pinsets: pinsets.collect() }
    }
}

/// How many there are, and the first of them in order. All of them in order would take long for many.
fn first(mut found: Vec<Found<'_>>) -> (usize, Vec<Found<'_>>) {
    fn order<'p>((other, calm, name, ..): &Found<'p>) -> (bool, bool, &'p str) {
        (*other, *calm, *name)
    }
    let total = found.len();
    if total > PINSETS_TOLD_MAX {
        found.select_nth_unstable_by_key(PINSETS_TOLD_MAX, order);
        found.truncate(PINSETS_TOLD_MAX);
    }
    found.sort_unstable_by_key(order);
    (total, found)
}

impl PinsetNow {
    fn of(rule: &Rule, pinset: &Pinset, moment: Moment, tally: Option<Tally>) -> Self {
        Self {
            name: pinset.name.clone(),
            hosts: rule.hosts.iter().take(HOSTS_TOLD_MAX).map(ToString::to_string).collect(),
            hosts_left_out: rule.hosts.len().saturating_sub(HOSTS_TOLD_MAX),
            protection: Protection::of(rule, moment),
            enforced_percent: None,
            on_hold: false,
            matches: tally.map(|tally| tally.matched),
            exempted: tally.map(|tally| tally.exempted),
            passed: tally.map(|tally| tally.passed),
            violations: tally.map(|tally| tally.violated),
            refusals: tally.map(|tally| tally.refused),
            last_violation: None,
            expires: pinset.expiry.map(|expiry| expiry.at),
            after_expiry: pinset.expiry.map(|expiry| match expiry.then {
                AfterExpiry::FailClosed => "fail-closed",
                AfterExpiry::ReportOnly => "report-only",
                AfterExpiry::Unpinned => "unpinned",
            }),
            upstream_leaf_ends: tally.and_then(|tally| tally.leaf_ends),
        }
    }

    /// As far as its rollout has come, which may be less than its dates say.
    fn rolled_out(self, pinset: &Pinset, reached: Option<(f64, bool)>, moment: Moment) -> Self {
        let Some((percent, on_hold)) = reached.filter(|_| !pinset.has_ended(moment)) else { return self };
        let protection = match Share::from_percent(percent) {
            Some(Share::ALL) => Protection::Enforced,
            Some(share) if percent > 0.0 => Protection::Partly(share),
            _ => Protection::Reported,
        };
        Self { protection, enforced_percent: Some(percent), on_hold, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::pinset::Expiry;
    use crate::policy::tests_support::{day, pinset, rollout, rule, with_stance};

    /// What is shown on a day of a rollout that its dates have brought to everybody, and a hold has not.
    fn told(own: &Pinset, reached: Option<(f64, bool)>) -> (Protection, Option<f64>, bool) {
        let (rule, moment) = (rule(own.clone(), "bank.example"), Moment::at(day(9)));
        let told = PinsetNow::of(&rule, own, moment, None).rolled_out(own, reached, moment);
        (told.protection, told.enforced_percent, told.on_hold)
    }

    #[test]
    fn a_rollout_is_shown_as_far_as_it_has_come() {
        let rolling = with_stance("bank", rollout(&[(1, 25.0)], 2, Some(0.1)));
        let share = |percent| Protection::Partly(Share::from_percent(percent).unwrap());
        let table = [
            (Some((0.0, true)), (Protection::Reported, Some(0.0), true)),
            (Some((25.0, true)), (share(25.0), Some(25.0), true)),
            (Some((100.0, false)), (Protection::Enforced, Some(100.0), false)),
            (None, (Protection::Enforced, None, false)),
        ];
        for (reached, expected) in table {
            assert_eq!(told(&rolling, reached), expected);
        }
        // Its end counts for more.
        let expiry = Some(Expiry { at: day(5), then: AfterExpiry::FailClosed });
        let ended = Pinset { expiry, ..rolling };
        assert_eq!(told(&ended, Some((100.0, false))), (Protection::Refused, None, false));
    }

    #[test]
    fn the_very_one_then_those_with_trouble_then_by_name() {
        let (own, rule) = (pinset("any"), rule(pinset("any"), "any.example"));
        let names: Vec<_> = (0..300).map(|number| format!("p{number:03}")).collect();
        let found = names.iter().rev().map(|name| (name != "p250", name != "p270", &**name, &rule, &own));
        let (total, told) = first(found.collect());
        let told: Vec<_> = told.iter().map(|(_, _, name, ..)| *name).collect();
        assert_eq!(
            (total, told.len(), &told[..3], told.last()),
            (300, 200, &["p250", "p270", "p000"][..], Some(&"p197"))
        );
    }
}
