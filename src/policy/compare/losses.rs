//! Which pinned hosts lose protection, so that nobody takes it away by accident.

use super::Side;
use super::witness::Witness;
use crate::policy::moment::Moment;
use crate::policy::protection::Protection;
use crate::policy::rules::{Rule, RuleKind};
use crate::policy::timestamp::Timestamp;
use std::collections::BTreeMap;
use std::fmt;

/// What becomes of hosts that are pinned, at the moment of the comparison itself: what time has brought is on both sides,
/// and no loss. They are counted as the changes are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// How many are pinned under the old rules: their pins are judged, or everything is refused since they have ended.
    pub pinned: usize,
    /// How many of them are enforced, for some clients at least.
    pub enforced: usize,
    /// Those that lose something, in the order of their names.
    pub lost: Vec<Loss>,
}

/// A pinned host that loses protection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The host, as in [`super::Change::hosts`].
    pub host: String,
    /// Whether it was enforced, for some clients at least.
    pub was_enforced: bool,
    /// What is left.
    pub left: Left,
}

/// What is left of the protection of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Left {
    /// No rule names it.
    NoRule,
    /// It has an exemption.
    Exempt,
    /// It is relayed blindly.
    Tunnel,
    /// Its pinset judges no pins.
    Off,
    /// What was refused is reported.
    ReportOnly,
    /// It is refused for fewer clients than before.
    FewerClients,
}

/// A pinned host, and what becomes of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pinned {
    was_enforced: bool,
    left: Option<Left>,
}

impl Pinned {
    /// None where it was not pinned.
    pub(super) fn of(old: Side<'_>, new: Side<'_>, witness: &Witness, at: Timestamp) -> Option<Self> {
        let moment = Moment::at(at.0);
        let rule = old.policy.select(&witness.authority, at.0);
        let before = Protection::of(rule, moment);
        if rule.pinset().is_none() || before <= Protection::Chain {
            return None;
        }
        let was_enforced = before > Protection::Reported;
        let rule = new.policy.select(&witness.authority, at.0);
        let after = Protection::of(rule, moment);
        let is_unpinned = after <= Protection::Chain;
        let is_lowered = was_enforced && after < before && !after.is_enforced();
        Some(Self { was_enforced, left: (is_unpinned || is_lowered).then(|| Left::of(rule, after)) })
    }
}

impl Left {
    fn of(rule: &Rule, after: Protection) -> Self {
        match (&rule.kind, after) {
            (RuleKind::Default(_), _) => Self::NoRule,
            (RuleKind::Exempt { .. }, _) => Self::Exempt,
            (RuleKind::Tunnel { .. }, _) => Self::Tunnel,
            (RuleKind::Pinned(_), Protection::Reported) => Self::ReportOnly,
            (RuleKind::Pinned(_), Protection::Partly(_)) => Self::FewerClients,
            (RuleKind::Pinned(_), _) => Self::Off,
        }
    }
}

impl FromIterator<(String, Pinned)> for Losses {
    /// A host that several patterns show is one.
    fn from_iter<I: IntoIterator<Item = (String, Pinned)>>(pinned: I) -> Self {
        let pinned: BTreeMap<_, _> = pinned.into_iter().collect();
        let enforced = pinned.values().filter(|host| host.was_enforced).count();
        let (pinned, hosts) = (pinned.len(), pinned);
        let lost = hosts
            .into_iter()
            .filter_map(|(host, Pinned { was_enforced, left })| Some(Loss { host, was_enforced, left: left? }));
        Self { pinned, enforced, lost: lost.collect() }
    }
}

/// Behind "3 of 6 pinned host patterns would lose protection: 2".
impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRule => "without a rule",
            Self::Exempt => "exempt",
            Self::Tunnel => "in a tunnel",
            Self::Off => "with pins that are not judged",
            Self::ReportOnly => "report-only",
            Self::FewerClients => "enforced for fewer clients",
        })
    }
}
