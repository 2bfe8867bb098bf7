//! Chains that were observed, held against both sides: which of them would be refused that passed, and the reverse.

use crate::policy::host::Authority;
use crate::policy::moment::Moment;
use crate::policy::pin::Sha256;
use crate::policy::pinset::PathElement;
use crate::policy::protection::Protection;
use crate::policy::rollout::Share;
use crate::policy::rules::Policy;
use crate::policy::timestamp::Timestamp;
use serde::{Serialize, Serializer};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

/// A verified chain that a host has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The host.
    pub authority: Authority,
    /// SHA-256 of each SubjectPublicKeyInfo, end entity first.
    pub path: Vec<Sha256>,
}

/// What a side does with an observed chain. The later one refuses more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It passes; as report-only or without pins, too.
    Passes,
    /// It passes for the clients that a rollout has not come to.
    RefusedForSome(Share),
    /// No pin is in it.
    PinMismatch,
    /// A blocked or denied key is in it.
    Blocked,
    /// Nothing of this host passes.
    Closed,
}

/// Chains of a host that the two sides judge differently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The host and port.
    pub host: String,
    /// How many such chains were observed.
    pub chains: u64,
    /// The label of the rule that it had.
    pub old_rule: String,
    /// What that rule does with them.
    pub old: Verdict,
    /// The label of the rule that it gets.
    pub new_rule: String,
    /// What that one does.
    pub new: Verdict,
    /// The first of them: the pins of its keys, end entity first.
    pub example: Vec<String>,
}

/// What came of all observed chains.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdicts {
    /// How many there were.
    pub chains: u64,
    /// Refused by the new side, and not, or for fewer clients, by the old one.
    pub newly_refused: Vec<Finding>,
    /// The reverse.
    pub newly_let_through: Vec<Finding>,
    /// How many cannot be judged: the host is pinned by certificate, and only keys were observed.
    pub undecided: u64,
}

/// Holds observed chains against two sides, one by one.
#[derive(Debug)]
pub struct Tally<'a> {
    old: &'a Policy,
    new: &'a Policy,
    moment: Moment,
    chains: u64,
    undecided: u64,
    differing: BTreeMap<(Authority, Verdict, Verdict), Finding>,
}

impl<'a> Tally<'a> {
    /// Nothing yet.
    pub fn new(old: &'a Policy, new: &'a Policy, at: Timestamp) -> Self {
        Self { old, new, moment: Moment::at(at.0), chains: 0, undecided: 0, differing: BTreeMap::new() }
    }

    /// Counts a chain.
    pub fn add(&mut self, observation: &Observation) {
        self.chains += 1;
        let (old, new) = (verdict(self.old, observation, self.moment), verdict(self.new, observation, self.moment));
        let (Some(old), Some(new)) = (old, new) else {
            self.undecided += 1;
            return;
        };
        if old.refuses_as_many_as(new) {
            return;
        }
        let label = |policy: &Policy| policy.select(&observation.authority, self.moment).label().to_owned();
        let finding = self.differing.entry((observation.authority.clone(), old, new)).or_insert_with(|| Finding {
            host: format!("{}:{}", observation.authority.host, observation.authority.port),
            chains: 0,
            old_rule: label(self.old),
            old,
            new_rule: label(self.new),
            new,
            example: observation.path.iter().map(super::key_text).collect(),
        });
        finding.chains += 1;
    }

    /// What came of it, by host.
    pub fn finish(self) -> Verdicts {
        let (newly_refused, newly_let_through) =
            self.differing.into_values().partition(|finding| finding.new > finding.old);
        Verdicts { chains: self.chains, newly_refused, newly_let_through, undecided: self.undecided }
    }
}

/// What a side does with a chain; `None` where that depends on certificates, of which only the keys are known.
fn verdict(policy: &Policy, observation: &Observation, moment: Moment) -> Option<Verdict> {
    let rule = policy.select(&observation.authority, moment);
    let protection = Protection::of(rule, moment);
    match protection {
        Protection::Tunnel => return Some(Verdict::Passes),
        Protection::Refused => return Some(Verdict::Closed),
        _ => {}
    }
    if observation.path.iter().any(|key| policy.blocked(rule, key).is_some()) {
        return Some(Verdict::Blocked);
    }
    let Some(pinset) = rule.pinset().filter(|_| protection > Protection::Reported) else {
        return Some(Verdict::Passes);
    };
    let path: Vec<_> = observation.path.iter().map(|spki| PathElement { spki: *spki, certificate: None }).collect();
    match (pinset.accepts().judge(&path), protection) {
        (Some(_), _) => Some(Verdict::Passes),
        (None, _) if pinset.accepts().compares_certificates() => None,
        (None, Protection::Partly(share)) => Some(Verdict::RefusedForSome(share)),
        (None, _) => Some(Verdict::PinMismatch),
    }
}

impl Verdict {
    /// For whatever reason.
    fn refuses_as_many_as(self, other: Self) -> bool {
        self.cmp(&other) == Ordering::Equal || (self >= Self::PinMismatch && other >= Self::PinMismatch)
    }
}

/// For people.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passes => f.write_str("passes"),
            Self::RefusedForSome(share) => write!(f, "refused for {} % of the clients: no pinned key", share.percent()),
            Self::PinMismatch => f.write_str("refused: no pinned key"),
            Self::Blocked => f.write_str("refused: a blocked key"),
            Self::Closed => f.write_str("refused, whatever it shows"),
        }
    }
}

/// The text for people.
impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
