//! The rules of one policy generation, and how the rule for a host is found.

use super::host::{Authority, Host};
use super::moment::{Circumstances, Moment};
use super::pattern::{HostPattern, Scope, ancestors, parent};
use super::pin::{Pin, Sha256};
use super::pinset::{Demand, NameCheck, PathElement, Pinset};
use super::rollout::Rollout;
use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::SystemTime;

/// What is done with hosts that no rule names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpinned {
    /// Verify the chain and re-sign.
    Intercept,
    /// Relay blindly.
    Tunnel,
    /// Refuse.
    Deny,
}

/// What is done with a ClientHello that names another host than the CONNECT, where both are hosts that no rule names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameMismatch {
    /// Refuse.
    Deny,
    /// Go by the name in the ClientHello.
    Allow,
}

/// What is done with hosts that no rule names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// With their sessions.
    pub unpinned: Unpinned,
    /// With their sessions that have two names.
    pub name_mismatch: NameMismatch,
}

/// Two names are refused where nothing else is said.
impl From<Unpinned> for Defaults {
    fn from(unpinned: Unpinned) -> Self {
        Self { unpinned, name_mismatch: NameMismatch::Deny }
    }
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// Pins.
    Pinned(Pinset),
    /// A hole in a pinset, with a reason and an end. The chain is verified, pins are not judged.
    Exempt {
        /// Why.
        reason: String,
        /// From this moment on the exemption is not there.
        until: SystemTime,
    },
    /// Relay without interception.
    Tunnel {
        /// Why.
        reason: String,
    },
    /// What hosts without a rule get.
    Default(Unpinned),
}

/// One rule: what it does, and the patterns it was written with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it does.
    pub kind: RuleKind,
    /// The patterns, for reports. Empty for the default.
    pub hosts: Vec<HostPattern>,
}

/// A key that no path may contain, pinned or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The operator's name for the entry.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// Two rules that name the same host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The pattern both carry.
    pub pattern: HostPattern,
    /// Index of the first rule, in the order given to [`Policy::new`].
    pub first: usize,
    /// Index of the second rule.
    pub second: usize,
}

/// Two names of one session, a CONNECT address and an SNI, that fall under different rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address and the server name of this connection fall under different rules: {address} and {name}")]
pub struct Disagreement {
    /// Label of the rule of the CONNECT address.
    pub address: String,
    /// Label of the rule of the SNI.
    pub name: String,
}

/// An immutable generation of rules. A session takes one and keeps it.
#[derive(Debug)]
pub struct Policy {
    generation: u64,
    rules: Vec<Arc<Rule>>,
    default: Arc<Rule>,
    name_mismatch: NameMismatch,
    names: HashMap<Box<str>, NameSlots>,
    addresses: HashMap<IpAddr, PortSlots>,
    blocklist: HashMap<Sha256, Arc<Blocked>>,
}

/// The rules that hang on one name, by scope. Indices into `Policy::rules`.
#[derive(Debug, Default)]
struct NameSlots {
    exact: PortSlots,
    one_label: PortSlots,
    subtree: PortSlots,
}

/// The rules for a scope: for one port each, and for all ports.
#[derive(Debug, Default)]
struct PortSlots {
    ports: Vec<(NonZeroU16, usize)>,
    any: Option<usize>,
}

impl PortSlots {
    /// The more specific first.
    fn candidates(&self, port: NonZeroU16) -> impl Iterator<Item = usize> {
        let for_port = self.ports.iter().find(|(p, _)| *p == port).map(|(_, rule)| *rule);
        for_port.into_iter().chain(self.any)
    }

    /// Returns the rule that is already there.
    fn insert(&mut self, port: Option<NonZeroU16>, rule: usize) -> Result<(), usize> {
        let taken = match port {
            Some(port) => self.ports.iter().find(|(p, _)| *p == port).map(|(_, rule)| *rule),
            None => self.any,
        };
        match (taken, port) {
            (Some(first), _) => return Err(first),
            (None, Some(port)) => self.ports.push((port, rule)),
            (None, None) => self.any = Some(rule),
        }
        Ok(())
    }
}

impl Policy {
    /// Builds the index over `rules`.
    ///
    /// # Errors
    /// Every pair of rules that carry the same pattern.
    pub fn new(
        generation: u64,
        rules: Vec<Rule>,
        defaults: impl Into<Defaults>,
        blocklist: HashMap<Sha256, Arc<Blocked>>,
    ) -> Result<Self, Vec<Conflict>> {
        let Defaults { unpinned, name_mismatch } = defaults.into();
        let default = Arc::new(Rule { kind: RuleKind::Default(unpinned), hosts: Vec::new() });
        let mut policy = Self {
            generation,
            rules: Vec::with_capacity(rules.len()),
            default,
            name_mismatch,
            names: HashMap::new(),
            addresses: HashMap::new(),
            blocklist,
        };
        let mut conflicts = Vec::new();
        for (index, rule) in rules.into_iter().enumerate() {
            for pattern in &rule.hosts {
                if let Err(first) = policy.slots(&pattern.scope).insert(pattern.port, index) {
                    conflicts.push(Conflict { pattern: pattern.clone(), first, second: index });
                }
            }
            policy.rules.push(Arc::new(rule));
        }
        if conflicts.is_empty() { Ok(policy) } else { Err(conflicts) }
    }

    fn slots(&mut self, scope: &Scope) -> &mut PortSlots {
        match scope {
            Scope::Exact(Host::Address(address)) => self.addresses.entry(*address).or_default(),
            Scope::Exact(Host::Name(name)) => &mut self.names.entry(name.as_str().into()).or_default().exact,
            Scope::OneLabel(suffix) => &mut self.names.entry(suffix.as_str().into()).or_default().one_label,
            Scope::Subtree(suffix) => &mut self.names.entry(suffix.as_str().into()).or_default().subtree,
        }
    }

    /// The number of this generation; a later policy of the same process has a larger one.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// The rules, the default left out.
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// Why no path under this rule may contain this key: the entry of the blocklist, or of the rule's own list.
    pub fn blocked<'a>(&'a self, rule: &'a Rule, spki: &Sha256) -> Option<&'a Arc<Blocked>> {
        self.blocklist.get(spki).or_else(|| rule.pinset()?.deny.as_ref()?.entry(spki))
    }

    /// The first entry that speaks against a path, or against the keys that were served beside it where no path was built.
    pub fn blocked_among<'a>(
        &'a self,
        rule: &'a Rule,
        path: &[PathElement],
        beside: &[Sha256],
    ) -> Option<&'a Arc<Blocked>> {
        path.iter().map(|element| &element.spki).chain(beside).find_map(|spki| self.blocked(rule, spki))
    }

    /// The keys that no path of any host may contain.
    pub const fn blocklist(&self) -> &HashMap<Sha256, Arc<Blocked>> {
        &self.blocklist
    }

    /// The rule for a host and port at a moment: the first that applies of exact, `*.` (one label), `**.` (longest
    /// suffix); within a scope a pattern with the port before one without. One winner; rules are never merged. An
    /// exemption that is over does not compete; a pinset that has ended does, because its end says what happens then.
    pub fn select(&self, authority: &Authority, moment: impl Into<Moment>) -> &Arc<Rule> {
        let moment = moment.into();
        let in_force = |index: usize| Some(&self.rules[index]).filter(|rule| rule.is_in_force(moment));
        let port = authority.port;
        let found = match &authority.host {
            Host::Address(address) => {
                self.addresses.get(address).and_then(|slots| slots.candidates(port).find_map(in_force))
            }
            Host::Name(name) => self.candidates(name.as_str(), port).find_map(in_force),
        };
        found.unwrap_or(&self.default)
    }

    /// The rule for a CONNECT to one name whose ClientHello names another. `None`, and the session has to be refused,
    /// unless the operator allows it and no rule names either of them: the client chooses both names, so neither may
    /// lead around the rule of the other.
    pub fn select_for_mismatch(
        &self,
        asked: &Authority,
        named: &Authority,
        moment: impl Into<Moment>,
    ) -> Option<&Arc<Rule>> {
        let moment = moment.into();
        let unpinned = |authority| Arc::ptr_eq(self.select(authority, moment), &self.default);
        let allowed = self.name_mismatch == NameMismatch::Allow && unpinned(asked) && unpinned(named);
        allowed.then_some(&self.default)
    }

    /// Every rule that matches a host and port, the one that wins first if all of them are in force; the default is
    /// left out.
    pub fn matching<'a>(&'a self, authority: &'a Authority) -> Vec<&'a Arc<Rule>> {
        let indices: Vec<_> = match &authority.host {
            Host::Address(address) => {
                self.addresses.get(address).into_iter().flat_map(|slots| slots.candidates(authority.port)).collect()
            }
            Host::Name(name) => self.candidates(name.as_str(), authority.port).collect(),
        };
        indices.into_iter().filter_map(|index| self.rules.get(index)).collect()
    }

    fn candidates<'a>(&'a self, name: &'a str, port: NonZeroU16) -> impl Iterator<Item = usize> + 'a {
        let exact = self.names.get(name).into_iter().flat_map(move |slots| slots.exact.candidates(port));
        let above = parent(name).and_then(|parent| self.names.get(parent));
        let one_label = above.into_iter().flat_map(move |slots| slots.one_label.candidates(port));
        let subtree = ancestors(name)
            .filter_map(|suffix| self.names.get(suffix))
            .flat_map(move |slots| slots.subtree.candidates(port));
        exact.chain(one_label).chain(subtree)
    }

    /// The rule for a CONNECT to an address whose ClientHello names a host. Both are looked up. A rule that stands
    /// alone governs; two different rules are a disagreement. A tunnel or a default tunnel by the SNI does not count:
    /// the client chooses the SNI, so it must not open a blind relay to an address of its choice.
    ///
    /// # Errors
    /// [`Disagreement`].
    pub fn select_for_address(
        &self,
        address: &Authority,
        name: &Authority,
        moment: impl Into<Moment>,
    ) -> Result<&Arc<Rule>, Disagreement> {
        let moment = moment.into();
        let (by_address, by_name) = (self.select(address, moment), self.select(name, moment));
        let disagree = || Disagreement { address: by_address.label().to_owned(), name: by_name.label().to_owned() };
        if Arc::ptr_eq(by_address, by_name) {
            return Ok(by_address);
        }
        match (&by_address.kind, &by_name.kind) {
            (_, RuleKind::Tunnel { .. }) => Err(disagree()),
            (RuleKind::Default(_), _) => Ok(by_name),
            (_, RuleKind::Default(_)) => Ok(by_address),
            _ => Err(disagree()),
        }
    }
}

impl Rule {
    /// How the rule is called in logs and replies: the name of its pinset, `exempt`, `tunnel` or `unpinned`.
    pub fn label(&self) -> &str {
        match &self.kind {
            RuleKind::Pinned(pinset) => &pinset.name,
            RuleKind::Exempt { .. } => "exempt",
            RuleKind::Tunnel { .. } => "tunnel",
            RuleKind::Default(_) => "unpinned",
        }
    }

    /// The pinset, if the rule is one.
    pub const fn pinset(&self) -> Option<&Pinset> {
        match &self.kind {
            RuleKind::Pinned(pinset) => Some(pinset),
            _ => None,
        }
    }

    /// The moments at which it changes by itself.
    pub fn dates(&self) -> Vec<SystemTime> {
        match &self.kind {
            RuleKind::Exempt { until, .. } => vec![*until],
            RuleKind::Pinned(pinset) => {
                let steps = pinset.rollout().into_iter().flat_map(Rollout::steps);
                steps.map(|step| step.from).chain(pinset.expiry.map(|expiry| expiry.at)).collect()
            }
            RuleKind::Tunnel { .. } | RuleKind::Default(_) => Vec::new(),
        }
    }

    /// Whether the rule competes at all: an exemption that is over does not.
    pub fn is_in_force(&self, moment: Moment) -> bool {
        !matches!(&self.kind, RuleKind::Exempt { until, .. } if moment.tightens(*until))
    }

    /// What an intercepted upstream has to show.
    pub fn demand(&self, circumstances: &Circumstances) -> Demand<'_> {
        self.pinset().map_or(Demand::Chain, |pinset| pinset.demand(circumstances))
    }

    /// The name that an upstream for `host` is asked for and has to prove: another one only where the pin is the trust.
    pub fn upstream_name<'a>(&'a self, host: &'a Host, circumstances: &Circumstances) -> &'a Host {
        match self.demand(circumstances) {
            Demand::PinOnly { name: NameCheck::As(name), .. } => name,
            _ => host,
        }
    }

    /// The pins the rule would accept. Empty where it has none.
    pub fn expected_pins(&self) -> Vec<Pin> {
        self.pinset().map(|pinset| pinset.accepts().pins().copied().collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
