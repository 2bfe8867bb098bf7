//! Chains that were observed, held against both sides: which of them would be refused that passed, and the reverse.

use crate::policy::host::Authority;
use crate::policy::moment::Moment;
use crate::policy::pin::Sha256;
use crate::policy::pinset::{AnchorSet, Basis, Denied, PathElement, Pinset};
use crate::policy::protection::Protection;
use crate::policy::rollout::Share;
use crate::policy::rules::Policy;
use crate::policy::timestamp::Timestamp;
use serde::{Serialize, Serializer};
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
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

/// A side, as observed chains are held against it.
#[derive(Clone, Copy, Debug)]
pub struct Judge<'a> {
    /// The rules.
    pub policy: &'a Policy,
    /// Whether some of the common trust anchors exempt their chains from pins (`exempts_pins`).
    pub exempts_pins: bool,
}

/// Why a chain cannot be judged: of its certificates only the keys are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    Certificate,
    Anchors,
    Exemption,
    Served,
}

/// How many chains cannot be judged, each of them counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Undecided {
    /// The host is pinned by certificate.
    pub by_certificate: u64,
    /// The two sides have different trust anchors for the host: what one of them trusts the other one may not.
    pub anchors_differ: u64,
    /// No pinned key is in it, and it may end in an anchor that exempts it from pins.
    pub may_be_exempt: u64,
    /// The host is pin-only, where a blocked key in whatever is served refuses, and only verified paths were observed.
    pub by_what_is_served: u64,
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
    /// How many cannot be judged.
    pub undecided: Undecided,
}

/// Holds observed chains against two sides, one by one.
#[derive(Debug)]
pub struct Tally<'a> {
    old: Judge<'a>,
    new: Judge<'a>,
    moment: Moment,
    /// Whether both sides block the same keys for all hosts.
    same_blocklist: bool,
    chains: u64,
    undecided: Undecided,
    differing: BTreeMap<(Authority, Verdict, Verdict), Finding>,
}

impl<'a> Tally<'a> {
    /// Nothing yet.
    pub fn new(old: Judge<'a>, new: Judge<'a>, at: Timestamp) -> Self {
        let (moment, undecided) = (Moment::at(at.0), Undecided::default());
        let blocked = |side: Judge<'a>| side.policy.blocklist().keys().collect::<HashSet<_>>();
        let same_blocklist = blocked(old) == blocked(new);
        Self { old, new, moment, same_blocklist, chains: 0, undecided, differing: BTreeMap::new() }
    }

    /// Counts a chain.
    pub fn add(&mut self, observation: &Observation) {
        self.chains += 1;
        let (old, new) = match self.verdicts(observation) {
            Ok(verdicts) => verdicts,
            Err(doubt) => return self.undecided.count(doubt),
        };
        if old.refuses_as_many_as(new) {
            return;
        }
        let label = |side: Judge<'_>| side.policy.select(&observation.authority, self.moment).label().to_owned();
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

    /// What the two sides do with a chain.
    fn verdicts(&self, observation: &Observation) -> Result<(Verdict, Verdict), Doubt> {
        let pinset = |side: Judge<'a>| side.policy.select(&observation.authority, self.moment).pinset();
        let (old, new) = (pinset(self.old), pinset(self.new));
        if old.and_then(Pinset::own_anchors) != new.and_then(Pinset::own_anchors) {
            return Err(Doubt::Anchors);
        }
        let denied = |pinset: Option<&'a Pinset>| pinset.and_then(|pinset| pinset.deny.as_ref()).map(Denied::keys);
        let verdict = |side| verdict(side, observation, self.moment);
        match (verdict(self.old), verdict(self.new)) {
            // Whatever was served, it is the same to both.
            (Err(Doubt::Served), Err(Doubt::Served)) if self.same_blocklist && denied(old) == denied(new) => {
                Ok((Verdict::Passes, Verdict::Passes))
            }
            (old, new) => Ok((old?, new?)),
        }
    }

    /// What came of it, by host.
    pub fn finish(self) -> Verdicts {
        let (newly_refused, newly_let_through) =
            self.differing.into_values().partition(|finding| finding.new > finding.old);
        Verdicts { chains: self.chains, newly_refused, newly_let_through, undecided: self.undecided }
    }
}

/// What a side does with a chain that its trust anchors vouch for.
fn verdict(side: Judge<'_>, observation: &Observation, moment: Moment) -> Result<Verdict, Doubt> {
    let policy = side.policy;
    let rule = policy.select(&observation.authority, moment);
    let protection = Protection::of(rule, moment);
    match protection {
        Protection::Tunnel => return Ok(Verdict::Passes),
        Protection::Refused => return Ok(Verdict::Closed),
        _ => {}
    }
    let is_pin_only = |pinset: &Pinset| matches!(pinset.basis, Basis::PinOnly { .. });
    let is_pin_only = protection == Protection::Enforced && rule.pinset().is_some_and(is_pin_only);
    // Without a chain, that the end entity is served is all that a path tells.
    let certain = if is_pin_only { 1 } else { observation.path.len() };
    if observation.path.iter().take(certain).any(|key| policy.blocked(rule, key).is_some()) {
        return Ok(Verdict::Blocked);
    }
    let Some(pinset) = rule.pinset().filter(|_| protection > Protection::Reported) else {
        return Ok(Verdict::Passes);
    };
    let path: Vec<_> = observation.path.iter().map(|spki| PathElement { spki: *spki, certificate: None }).collect();
    // Anchors of a pinset's own exempt nothing, and where the pin is the trust there are none.
    let common = matches!(pinset.basis, Basis::Chain { anchors: AnchorSet::Common, .. });
    match (pinset.accepts().judge(&path), protection) {
        (Some(_), _) if is_pin_only && (pinset.deny.is_some() || !policy.blocklist().is_empty()) => Err(Doubt::Served),
        (Some(_), _) => Ok(Verdict::Passes),
        (None, _) if pinset.accepts().compares_certificates() => Err(Doubt::Certificate),
        (None, _) if side.exempts_pins && common => Err(Doubt::Exemption),
        (None, Protection::Partly(share)) => Ok(Verdict::RefusedForSome(share)),
        (None, _) => Ok(Verdict::PinMismatch),
    }
}

impl Undecided {
    /// For whatever reason.
    pub const fn total(&self) -> u64 {
        self.by_certificate + self.anchors_differ + self.may_be_exempt + self.by_what_is_served
    }

    fn count(&mut self, doubt: Doubt) {
        *match doubt {
            Doubt::Certificate => &mut self.by_certificate,
            Doubt::Anchors => &mut self.anchors_differ,
            Doubt::Exemption => &mut self.may_be_exempt,
            Doubt::Served => &mut self.by_what_is_served,
        } += 1;
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
