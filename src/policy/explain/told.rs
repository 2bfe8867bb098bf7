//! The parts of an explanation, in the words of the configuration.

use crate::policy::pattern::{HostPattern, Scope};
use crate::policy::pin::{Pin, Sha256};
use crate::policy::pinset::{
    Accepts, AfterExpiry, AnchorSet, Basis, Combine, Denied, NameCheck, Pinset, Plaintext, Position, ValidityCheck,
};
use crate::policy::rules::{Rule, RuleKind, Unpinned};
use crate::policy::timestamp::Timestamp;
use serde::Serialize;

/// A rule by what it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Told {
    /// A pinset.
    Pinset {
        /// Its name.
        name: String,
    },
    /// An exemption.
    Exempt {
        /// Why it was made.
        reason: String,
        /// Until when.
        until: Timestamp,
    },
    /// A tunnel.
    Tunnel {
        /// Why it was made.
        reason: String,
    },
    /// No rule: the default.
    Default {
        /// `intercept`, `tunnel` or `deny`.
        unpinned: &'static str,
    },
}

/// A pattern that holds the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Matched {
    /// As an operator writes it.
    pub pattern: String,
    /// What it says of the host.
    pub scope: ScopeTold,
    /// The one port that it is for.
    pub port: Option<u16>,
}

/// What a pattern says of the host. The order is that in which rules are selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScopeTold {
    /// This host alone.
    Exact,
    /// One label in front of a name.
    OneLabel,
    /// A name and every depth below it.
    Subtree,
}

/// A rule that matches and does not win.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Loser {
    /// The rule.
    pub rule: Told,
    /// Its most specific pattern that holds the host.
    pub matched: Matched,
    /// Why it does not win.
    pub because: Because,
}

/// Why a rule does not win.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Because {
    /// It is an exemption that is over.
    Over,
    /// The winner names the host, this one a wildcard.
    WinnerIsExact,
    /// The winner's wildcard is for one label, this one's for every depth.
    WinnerIsOneLabel,
    /// The winner's wildcard has more labels behind it.
    WinnerIsLonger,
    /// The winner is for this port alone.
    WinnerHasPort,
}

/// What a pinset says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PinsetTold {
    /// `enforce`, `report-only`, `off` or `rollout`.
    pub mode: &'static str,
    /// What makes an upstream trusted.
    pub trust: TrustTold,
    /// The pins.
    pub accepts: AcceptsTold,
    /// Keys that no path of the host may contain, besides the blocked ones of all hosts.
    pub deny: Vec<String>,
    /// What is done with `http://`: `deny`, `upgrade` or `allow`.
    pub plaintext: &'static str,
    /// How far enforcement has come.
    pub rollout: Option<RolloutTold>,
    /// The end.
    pub expiry: Option<ExpiryTold>,
}

/// What makes an upstream trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum TrustTold {
    /// A chain to one of the common trust anchors.
    Roots,
    /// A chain to a trust anchor of the pinset's own.
    OwnRoots {
        /// Where those come from.
        source: String,
    },
    /// The pin alone.
    PinOnly {
        /// The name that the certificate has to carry: `san`, `skip` or `as:HOST`.
        verify_name: String,
        /// Whether its dates count: `check` or `ignore`.
        verify_validity: &'static str,
    },
}

/// Lists of pins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AcceptsTold {
    /// `all` or `any` of the lists.
    pub combine: &'static str,
    /// The lists. Never empty.
    pub lists: Vec<List>,
    /// What satisfies these satisfies the pinset too.
    pub inherited: Option<Box<Self>>,
}

/// One list of pins, one of which has to stand in a path. Backups are pins like the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct List {
    /// Where in the path.
    pub position: Position,
    /// The pins.
    pub pins: Vec<String>,
}

/// A rollout. It is told by its dates: a running proxy that has it on hold may be at an earlier step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RolloutTold {
    /// The steps.
    pub steps: Vec<StepTold>,
    /// The percentage of the clients that is enforced by now.
    pub percent: f64,
    /// The fraction of violations over which a running proxy stays where it is.
    pub hold: Option<f64>,
    /// From when on the client is enforced, where one is named.
    pub client_from: Option<Timestamp>,
}

/// A step of a rollout.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepTold {
    /// From when on.
    pub from: Timestamp,
    /// For which percentage of the clients.
    pub percent: f64,
    /// Whether its date has come.
    pub reached: bool,
}

/// The end of a pinset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ExpiryTold {
    /// From when on.
    pub at: Timestamp,
    /// `fail-closed`, `report-only` or `unpinned`.
    pub then: &'static str,
    /// Whether it has come.
    pub ended: bool,
}

/// What a ClientHello for another host leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OtherName {
    /// The session is refused.
    Refused,
    /// The session goes by it where no rule names that host either, and is refused otherwise.
    JudgedIfUnpinned,
    /// Both the address and the name are looked up; where they fall under two rules, the session is refused.
    BothLookedUp,
    /// It is relayed like any other, unless that host has a pinset.
    RelayedUnlessPinned,
    /// It does not come to that: the CONNECT is refused.
    NeverRead,
}

/// What the access rules say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccessTold {
    /// Whether the host may be asked for, and by the client if one is named.
    pub allowed: bool,
    /// Why not.
    pub reason: Option<String>,
    /// Whether the addresses behind the name remain to be judged, when one is dialled.
    pub address_pending: bool,
}

impl Told {
    /// Changes the reason.
    pub(in crate::policy) fn edit_texts(&mut self, edit: &mut impl FnMut(&mut String)) {
        match self {
            Self::Exempt { reason, .. } | Self::Tunnel { reason } => edit(reason),
            Self::Pinset { .. } | Self::Default { .. } => {}
        }
    }

    /// A rule by what it is.
    pub fn of(rule: &Rule) -> Self {
        match &rule.kind {
            RuleKind::Pinned(pinset) => Self::Pinset { name: pinset.name.clone() },
            RuleKind::Exempt { reason, until } => Self::Exempt { reason: reason.clone(), until: Timestamp(*until) },
            RuleKind::Tunnel { reason } => Self::Tunnel { reason: reason.clone() },
            RuleKind::Default(unpinned) => Self::Default { unpinned: unpinned_word(*unpinned) },
        }
    }
}

impl PinsetTold {
    /// Changes what is not in the words of the program.
    pub(super) fn edit_texts(&mut self, edit: &mut impl FnMut(&mut String)) {
        match &mut self.trust {
            TrustTold::OwnRoots { source } => edit(source),
            TrustTold::PinOnly { verify_name, .. } => edit(verify_name),
            TrustTold::Roots => {}
        }
        self.deny.iter_mut().for_each(&mut *edit);
        let mut accepts = Some(&mut self.accepts);
        while let Some(told) = accepts {
            told.lists.iter_mut().flat_map(|list| &mut list.pins).for_each(&mut *edit);
            accepts = told.inherited.as_deref_mut();
        }
    }
}

impl Matched {
    pub(super) fn of(pattern: &HostPattern) -> Self {
        let port = pattern.port.map(std::num::NonZeroU16::get);
        Self { pattern: pattern.to_string(), scope: ScopeTold::of(&pattern.scope), port }
    }
}

impl ScopeTold {
    pub(super) const fn of(scope: &Scope) -> Self {
        match scope {
            Scope::Exact(_) => Self::Exact,
            Scope::OneLabel(_) => Self::OneLabel,
            Scope::Subtree(_) => Self::Subtree,
        }
    }
}

impl Because {
    /// Both hold the host, and the winner comes first.
    pub(super) fn between(winner: &HostPattern, other: &HostPattern) -> Self {
        match (&winner.scope, &other.scope) {
            (one, other) if one == other => Self::WinnerHasPort,
            (Scope::Exact(_), _) => Self::WinnerIsExact,
            (Scope::OneLabel(_), _) => Self::WinnerIsOneLabel,
            (Scope::Subtree(_), _) => Self::WinnerIsLonger,
        }
    }
}

impl TrustTold {
    pub(super) fn of(basis: &Basis) -> Self {
        match basis {
            Basis::Chain { anchors: AnchorSet::Common, .. } => Self::Roots,
            Basis::Chain { anchors: AnchorSet::Own(source), .. } => Self::OwnRoots { source: source.to_string() },
            Basis::PinOnly { name, validity, .. } => {
                Self::PinOnly { verify_name: name_check_words(name), verify_validity: validity_check_word(*validity) }
            }
        }
    }
}

impl AcceptsTold {
    pub(super) fn of(accepts: &Accepts) -> Self {
        let lists = accepts.own_clauses().iter();
        Self {
            combine: match accepts.combine() {
                Combine::All => "all",
                Combine::Any => "any",
            },
            lists: lists.map(|list| List { position: list.position(), pins: texts(list.pins()) }).collect(),
            inherited: accepts.inherited().map(|inherited| Box::new(Self::of(inherited))),
        }
    }
}

/// Keys that the pinset's own list refuses.
pub(in crate::policy) fn denied_keys(pinset: &Pinset) -> impl Iterator<Item = Sha256> {
    pinset.deny.iter().flat_map(Denied::keys).copied()
}

fn texts(pins: &[Pin]) -> Vec<String> {
    pins.iter().map(Pin::to_string).collect()
}

/// As in the configuration.
pub(in crate::policy) fn name_check_words(check: &NameCheck) -> String {
    match check {
        NameCheck::San => "san".to_owned(),
        NameCheck::Skip => "skip".to_owned(),
        NameCheck::As(host) => format!("as:{host}"),
    }
}

/// As in the configuration.
pub(in crate::policy) const fn validity_check_word(check: ValidityCheck) -> &'static str {
    match check {
        ValidityCheck::Check => "check",
        ValidityCheck::Ignore => "ignore",
    }
}

/// As in the configuration.
pub(in crate::policy) const fn unpinned_word(unpinned: Unpinned) -> &'static str {
    match unpinned {
        Unpinned::Intercept => "intercept",
        Unpinned::Tunnel => "tunnel",
        Unpinned::Deny => "deny",
    }
}

/// As in the configuration.
pub(in crate::policy) const fn plaintext_word(plaintext: Plaintext) -> &'static str {
    match plaintext {
        Plaintext::Deny => "deny",
        Plaintext::Upgrade => "upgrade",
        Plaintext::Allow => "allow",
    }
}

pub(super) const fn after_expiry_word(then: AfterExpiry) -> &'static str {
    match then {
        AfterExpiry::FailClosed => "fail-closed",
        AfterExpiry::ReportOnly => "report-only",
        AfterExpiry::Unpinned => "unpinned",
    }
}
