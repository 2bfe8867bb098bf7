//! What patterns are to each other and to `[access]`: those that decide nothing or soften another. `edges` looks at those
//! that stop short.

mod edges;

use super::super::code::Code;
use super::super::item::Located;
use super::{Read, Strength, Subject};
use crate::policy::access::{Deny, Ports};
use crate::policy::host::{DnsName, Host};
use crate::policy::pattern::{HostPattern, Scope, ancestors, parent};
use crate::policy::pinset::AfterExpiry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

/// Ports with rules of their own that are looked at around a pattern: more than anybody writes, and few enough for any
/// number of patterns.
const PORTS_MAX: usize = 32;

/// How it is told that `[access]` leaves nothing of a pattern.
pub const UNREACHED: &str = "no session gets to";

pub(super) fn lint(subject: &Subject<'_>) {
    let rules = Rules::new(subject);
    for (index, draft) in subject.drafts.iter().enumerate() {
        let mut is_weaker = false;
        for host in &draft.hosts {
            if let Some(why) = rules.unreachable(&host.value) {
                let message = format!("{UNREACHED} {}: {why}", host.value);
                subject.findings.warning(Code::W23, &host.span, message, "remove the pattern, or change [access]");
                continue;
            }
            rules.warn_of_shadow(index, host);
            let around = rules.around(&host.value);
            if !rules.warn_of_repetition(index, host, &around) && !is_weaker {
                // Told once, at the first host of that kind.
                is_weaker = rules.warn_of_weakness(index, host, &around) || rules.warn_of_weaker_apex(index, host);
            }
            rules.warn_of_apex(index, host);
        }
        rules.warn_of_exempt_pinset(draft);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// By its place among the drafts.
    Pinset(usize),
    Exemption,
    Tunnel,
}

/// A pattern of a rule.
type Ruled<'a> = (&'a Located<HostPattern>, Owner);

/// What would decide in place of a pattern if it were not there.
struct Around<'a> {
    /// On this port; on all that no rule names when absent.
    port: Option<NonZeroU16>,
    rule: Option<Ruled<'a>>,
}

/// Every pattern of every rule.
struct Rules<'a> {
    subject: &'a Subject<'a>,
    patterns: HashMap<&'a HostPattern, Ruled<'a>>,
    /// The ports that have patterns of their own, and may be reached.
    ports: HashMap<&'a Scope, Vec<NonZeroU16>>,
    /// Owners of subtrees, two at most, by the name directly above the subtree.
    subtrees: HashMap<&'a str, Vec<Owner>>,
    /// Hosts that nobody may go to.
    denied: HashSet<&'a HostPattern>,
}

impl<'a> Rules<'a> {
    fn new(subject: &'a Subject<'a>) -> Self {
        let pinsets = subject.drafts.iter().enumerate();
        let pinned =
            pinsets.flat_map(|(index, draft)| draft.hosts.iter().map(move |host| (host, Owner::Pinset(index))));
        let exempt = subject.holes.exempt(subject.now).map(|host| (host, Owner::Exemption));
        let tunnelled = subject.holes.tunnelled().map(|host| (host, Owner::Tunnel));
        let mut patterns = HashMap::new();
        let mut ports: HashMap<_, Vec<_>> = HashMap::new();
        let mut subtrees: HashMap<_, Vec<_>> = HashMap::new();
        for (host, owner) in pinned.chain(exempt).chain(tunnelled) {
            if let Some(above) = subtree_above(&host.value.scope) {
                let owners = subtrees.entry(above).or_default();
                // One of them is another than any given one.
                if owners.len() < 2 && !owners.contains(&owner) {
                    owners.push(owner);
                }
            }
            patterns.entry(&host.value).or_insert((host, owner));
            if let Some(port) = host.value.port.filter(|port| subject.access.allows_port(*port)) {
                ports.entry(&host.value.scope).or_default().push(port);
            }
        }
        let denied = subject.access.deny.iter().filter_map(|deny| match deny {
            Deny::Hosts(pattern) => Some(pattern),
            Deny::Network(_) | Deny::Class(_) => None,
        });
        Self { subject, patterns, ports, subtrees, denied: denied.collect() }
    }

    /// The ports for which there are rules in one of these scopes.
    fn ports_of<'p>(&self, patterns: impl Iterator<Item = &'p HostPattern>) -> BTreeSet<NonZeroU16> {
        let ports = patterns.filter_map(|pattern| self.ports.get(&pattern.scope));
        ports.flatten().copied().take(PORTS_MAX).collect()
    }

    /// What would decide for the hosts of a pattern if it were not there, on each port on which it decides.
    fn around(&self, pattern: &HostPattern) -> Vec<Around<'a>> {
        let next = |port, wider: &[HostPattern]| {
            let mut wider = wider.iter().filter(|wide| *wide != pattern);
            Around { port, rule: wider.find_map(|wide| self.patterns.get(wide)).copied() }
        };
        let wider = pattern.wider();
        if pattern.port.is_some() {
            return vec![next(pattern.port, &wider)];
        }
        let own = self.ports_of(std::iter::once(pattern));
        let named = self.ports_of(wider.iter());
        let of_port = |port: &NonZeroU16| next(Some(*port), &with_port(pattern, *port).wider());
        let others = match &self.subject.access.ports {
            Ports::AllButSmtp => true,
            Ports::Only(ports) => ports.iter().any(|port| !own.contains(port) && !named.contains(port)),
        };
        let others = others.then(|| next(None, &wider));
        others.into_iter().chain(named.difference(&own).map(of_port)).collect()
    }

    /// Why `[access]` lets nobody go there.
    fn unreachable(&self, pattern: &HostPattern) -> Option<String> {
        let access = self.subject.access;
        if let Some(port) = pattern.port.filter(|port| !access.allows_port(*port)) {
            return Some(format!("[access] ports_allow lacks {port}"));
        }
        let refused = |address: &IpAddr| access.check_address(*address).err();
        let errors: Option<Vec<_>> = known_addresses(&pattern.scope).iter().map(refused).collect();
        if let Some(error) = errors.and_then(|errors| errors.into_iter().next()) {
            return Some(error.to_string());
        }
        if let Some(by) = self.denied_by(pattern) {
            return Some(format!("[access] destinations_deny lists {by}"));
        }
        let (None, Ports::Only(ports)) = (pattern.port, &access.ports) else { return None };
        let denied = |port: &NonZeroU16| self.denied_by(&with_port(pattern, *port)).is_some();
        ports.iter().all(denied).then(|| "[access] destinations_deny lists it for each port of ports_allow".to_owned())
    }

    fn denied_by(&self, pattern: &HostPattern) -> Option<HostPattern> {
        if self.denied.is_empty() {
            return None;
        }
        std::iter::once(pattern.clone()).chain(pattern.wider()).find(|pattern| self.denied.contains(pattern))
    }

    /// The rules for each port that may be reached, when they leave nothing to the one for all ports.
    fn shadow(&self, pattern: &HostPattern) -> Option<Vec<Ruled<'a>>> {
        let (None, Ports::Only(ports)) = (pattern.port, &self.subject.access.ports) else { return None };
        ports.iter().map(|port| self.patterns.get(&with_port(pattern, *port)).copied()).collect()
    }

    fn warn_of_shadow(&self, index: usize, host: &Located<HostPattern>) {
        let Some(found) = self.shadow(&host.value) else { return };
        // Those of the same pinset are what is too much, and are told instead.
        if let Some((other, _)) = found.into_iter().find(|(_, owner)| *owner != Owner::Pinset(index)) {
            let message = format!("{} decides nothing: each port of ports_allow has a rule of its own", host.value);
            let note = (&other.span, "one of them");
            self.subject.findings.conflict(Code::W23, &host.span, message, note, "remove it");
        }
    }

    /// A pattern without which the same pinset would decide all the same.
    fn warn_of_repetition(&self, index: usize, host: &Located<HostPattern>, around: &[Around<'_>]) -> bool {
        let is_own = |next: &Around<'_>| matches!(next.rule, Some((_, owner)) if owner == Owner::Pinset(index));
        let Some((wide, _)) = around.first().and_then(|next| next.rule).filter(|_| around.iter().all(is_own)) else {
            return false;
        };
        if self.keeps_subtrees_back(index, &host.value.scope) {
            return false;
        }
        let message = format!("{} changes nothing: {} of the same pinset holds it", host.value, wide.value);
        self.subject.findings.conflict(Code::W23, &host.span, message, (&wide.span, "held here"), "remove it");
        true
    }

    /// Whether a wildcard takes the names of subtrees of other rules, which without it would decide for them.
    fn keeps_subtrees_back(&self, index: usize, scope: &Scope) -> bool {
        let Scope::OneLabel(domain) = scope else { return false };
        let owners = self.subtrees.get(domain.as_str());
        owners.is_some_and(|owners| owners.iter().any(|owner| *owner != Owner::Pinset(index)))
    }

    /// How much a pinset protects now; one that has ended, by what it says of that.
    fn strength(&self, index: usize) -> Option<(&'a str, Strength)> {
        let pinset = Read::of(&self.subject.drafts[index])?;
        let strength = pinset.strength(self.subject.now);
        let ended = pinset.expiry.filter(|expiry| expiry.at <= self.subject.now);
        let strength = match ended.map(|expiry| expiry.then) {
            Some(AfterExpiry::Unpinned) => Strength::Off,
            Some(AfterExpiry::ReportOnly) => strength.min(Strength::ReportOnly),
            Some(AfterExpiry::FailClosed) | None => strength,
        };
        Some((pinset.name, strength))
    }

    /// The names of two pinsets, when the first protects less.
    fn weaker(&self, one: usize, other: Owner) -> Option<(&'a str, &'a str)> {
        let Owner::Pinset(other) = other else { return None };
        let ((weak, less), (strict, more)) = (self.strength(one)?, self.strength(other)?);
        (less < more).then_some((weak, strict))
    }

    /// A pinset that softens a wider one.
    fn warn_of_weakness(&self, index: usize, host: &Located<HostPattern>, around: &[Around<'_>]) -> bool {
        let found = around.iter().find_map(|next| {
            let (wide, owner) = next.rule?;
            Some((next.port, wide, self.weaker(index, owner)?))
        });
        let Some((port, wide, (weak, strict))) = found else { return false };
        let shown = HostPattern { port, ..host.value.clone() };
        let message = format!("for {shown} the pinset {weak:?} is weaker than {strict:?} around it");
        let help = "give both the same mode, or write why they differ beside it";
        let note = (&wide.span, "this one is stricter");
        self.subject.findings.conflict(Code::W24, &host.span, message, note, help);
        true
    }
}

/// The addresses of these hosts, where they are known without asking anybody: those of `localhost` and of names below it
/// are loopback (RFC 6761 section 6.3). None for any other name.
fn known_addresses(scope: &Scope) -> Vec<IpAddr> {
    match scope {
        Scope::Exact(Host::Address(address)) => vec![*address],
        Scope::Exact(Host::Name(name)) | Scope::OneLabel(name) | Scope::Subtree(name) => {
            let is_local = ancestors(name.as_str()).last() == Some("localhost");
            if is_local { vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] } else { Vec::new() }
        }
    }
}

/// The name directly above that of a subtree.
fn subtree_above(scope: &Scope) -> Option<&str> {
    let Scope::Subtree(name) = scope else { return None };
    parent(name.as_str())
}

fn with_port(pattern: &HostPattern, port: NonZeroU16) -> HostPattern {
    HostPattern { port: Some(port), ..pattern.clone() }
}

fn apex(domain: &DnsName, port: Option<NonZeroU16>) -> HostPattern {
    HostPattern { scope: Scope::Exact(Host::Name(domain.clone())), port }
}
