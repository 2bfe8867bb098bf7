//! Policies for tests, in few words.

use super::host::Authority;
use super::pattern::HostPattern;
use super::pin::Pin;
use super::pinset::{
    Accepts, AfterExpiry, AnchorSet, Basis, Clause, Combine, Denied, Expiry, Mode, Pinset, Plaintext, Position, Stance,
};
use super::rollout::{Rate, Rollout, Share, Step};
use super::rules::{Blocked, Defaults, Policy, Rule, RuleKind, Unpinned};
use super::timestamp::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// 2027-01-01T00:00:00Z, which is day 0.
const START: u64 = 1_798_761_600;

pub(crate) fn day(day: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(START + day * 24 * 60 * 60)
}

pub(crate) fn at(number: u64) -> Timestamp {
    Timestamp(day(number))
}

/// Lists taken together.
pub(crate) fn accepts(combine: Combine, lists: &[(Position, &[u8])]) -> Accepts {
    let clause = |(position, keys): &(Position, &[u8])| {
        Clause::new(*position, keys.iter().map(|key| Pin::Spki([*key; 32])).collect()).unwrap()
    };
    Accepts::new(lists.iter().map(clause).collect(), combine).unwrap()
}

/// Enforced, with the keys 1 and 2 at the end entity.
pub(crate) fn pinset(name: &str) -> Pinset {
    let basis = Basis::Chain {
        accepts: accepts(Combine::All, &[(Position::Leaf, &[1, 2])]),
        stance: Stance::Fixed(Mode::Enforce),
        anchors: AnchorSet::Common,
    };
    Pinset { name: name.to_owned(), basis, deny: None, plaintext: Plaintext::Deny, expiry: None }
}

/// The same with another stance.
pub(crate) fn with_stance(name: &str, new: Stance) -> Pinset {
    let mut pinset = pinset(name);
    if let Basis::Chain { stance, .. } = &mut pinset.basis {
        *stance = new;
    }
    pinset
}

/// Enforced up to a day.
pub(crate) fn with_expiry(name: &str, on: u64, then: AfterExpiry) -> Pinset {
    Pinset { expiry: Some(Expiry { at: day(on), then }), ..pinset(name) }
}

/// Days and percentages, then everybody.
pub(crate) fn rollout(ramp: &[(u64, f64)], enforce_from: u64, hold: Option<f64>) -> Stance {
    let step = |(from, percent): &(u64, f64)| Step { from: day(*from), share: Share::from_percent(*percent).unwrap() };
    let hold = hold.map(|rate| Rate::from_fraction(rate).unwrap());
    Stance::Rollout(Rollout::new(ramp.iter().map(step).collect(), day(enforce_from), hold).unwrap())
}

pub(crate) fn denied(name: &str, keys: &[u8]) -> Option<Denied> {
    Denied::new(name, keys.iter().map(|key| [*key; 32]).collect())
}

/// Until day 5.
pub(crate) fn exempt() -> RuleKind {
    RuleKind::Exempt { reason: "CHG-1".into(), until: day(5) }
}

pub(crate) fn tunnel() -> RuleKind {
    RuleKind::Tunnel { reason: "pins by itself".into() }
}

/// A rule for hosts with spaces between them.
pub(crate) fn rule(kind: impl Into<RuleKind>, hosts: &str) -> Rule {
    let hosts = hosts.split_whitespace().map(|host| HostPattern::parse(host).unwrap()).collect();
    Rule { kind: kind.into(), hosts }
}

impl From<Pinset> for RuleKind {
    fn from(pinset: Pinset) -> Self {
        Self::Pinned(pinset)
    }
}

/// Rules, and blocked keys by their number.
pub(crate) fn policy(rules: Vec<Rule>, defaults: impl Into<Defaults>, blocked: &[u8]) -> Policy {
    let entry = |key: &u8| ([*key; 32], Arc::new(Blocked { name: format!("key-{key}"), reason: "test".into() }));
    let blocklist: HashMap<_, _> = blocked.iter().map(entry).collect();
    Policy::new(1, rules, defaults, blocklist).unwrap()
}

pub(crate) fn intercepting(rules: Vec<Rule>) -> Policy {
    policy(rules, Unpinned::Intercept, &[])
}

pub(crate) fn authority(text: &str) -> Authority {
    Authority::parse(text).unwrap()
}
