//! What patterns are to each other and to `[access]`: those that decide nothing, soften another, or stop short.

use super::super::code::Code;
use super::super::item::Located;
use super::hosts::shared;
use super::{Read, Subject};
use crate::policy::access::{Deny, Ports};
use crate::policy::host::Host;
use crate::policy::pattern::{HostPattern, Scope};
use std::collections::{HashMap, HashSet};
use std::num::NonZeroU16;

pub(super) fn lint(subject: &Subject<'_>) {
    let rules = Rules::new(subject);
    for (index, draft) in subject.drafts.iter().enumerate() {
        let mut is_weaker = false;
        for host in &draft.hosts {
            let wider = host.value.wider();
            if let Some(why) = rules.unreachable(&host.value, &wider) {
                let message = format!("no session gets to {}: {why}", host.value);
                subject.findings.warning(Code::W23, &host.span, message, "remove the pattern, or change [access]");
                continue;
            }
            rules.warn_of_shadow(index, host);
            match rules.next(&wider) {
                Some((wide, Owner::Pinset(owner))) if owner == index => {
                    let message = format!("{} changes nothing: {} of the same pinset holds it", host.value, wide.value);
                    let note = (&wide.span, "held here");
                    subject.findings.conflict(Code::W23, &host.span, message, note, "remove it");
                }
                // Told once, at the first host of that kind.
                Some((wide, Owner::Pinset(owner))) if !is_weaker => {
                    is_weaker = rules.warn_of_weakness(index, host, wide, owner);
                }
                Some(_) | None => {}
            }
            rules.warn_of_apex(index, host);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// By its place among the drafts.
    Pinset(usize),
    /// An exemption or a tunnel.
    Hole,
}

/// Every pattern of every rule.
struct Rules<'a> {
    subject: &'a Subject<'a>,
    patterns: HashMap<&'a HostPattern, (&'a Located<HostPattern>, Owner)>,
    scopes: HashSet<&'a Scope>,
    /// Hosts that nobody may go to.
    denied: HashSet<&'a HostPattern>,
}

impl<'a> Rules<'a> {
    fn new(subject: &'a Subject<'a>) -> Self {
        let pinsets = subject.drafts.iter().enumerate();
        let pinned =
            pinsets.flat_map(|(index, draft)| draft.hosts.iter().map(move |host| (host, Owner::Pinset(index))));
        let holes = subject.holes.hosts().map(|host| (host, Owner::Hole));
        let mut patterns = HashMap::new();
        let mut scopes = HashSet::new();
        for (host, owner) in pinned.chain(holes) {
            patterns.entry(&host.value).or_insert((host, owner));
            scopes.insert(&host.value.scope);
        }
        let denied = subject.access.deny.iter().filter_map(|deny| match deny {
            Deny::Hosts(pattern) => Some(pattern),
            Deny::Network(_) | Deny::Class(_) => None,
        });
        Self { subject, patterns, scopes, denied: denied.collect() }
    }

    /// What would decide for all hosts of a pattern if it were not there.
    fn next(&self, wider: &[HostPattern]) -> Option<(&'a Located<HostPattern>, Owner)> {
        wider.iter().find_map(|pattern| self.patterns.get(pattern)).copied()
    }

    /// Why `[access]` lets nobody go there.
    fn unreachable(&self, pattern: &HostPattern, wider: &[HostPattern]) -> Option<String> {
        let access = self.subject.access;
        if let Some(port) = pattern.port.filter(|port| !access.allows_port(*port)) {
            return Some(format!("[access] ports_allow lacks {port}"));
        }
        if let Scope::Exact(Host::Address(address)) = &pattern.scope
            && let Err(error) = access.check_address(*address)
        {
            return Some(error.to_string());
        }
        if self.denied.is_empty() {
            return None;
        }
        let by = std::iter::once(pattern).chain(wider).find(|pattern| self.denied.contains(pattern))?;
        Some(format!("[access] destinations_deny lists {by}"))
    }

    /// Other rules for each port that may be reached leave nothing to the one for all ports.
    fn warn_of_shadow(&self, index: usize, host: &Located<HostPattern>) {
        let (None, Ports::Only(ports)) = (host.value.port, &self.subject.access.ports) else { return };
        let of = |port: &NonZeroU16| {
            let narrow = HostPattern { scope: host.value.scope.clone(), port: Some(*port) };
            self.patterns.get(&narrow)
        };
        let Some(found) = ports.iter().map(of).collect::<Option<Vec<_>>>() else { return };
        // Those of the same pinset are what is too much, and are told instead.
        if let Some((other, _)) = found.into_iter().find(|(_, owner)| *owner != Owner::Pinset(index)) {
            let message = format!("{} decides nothing: each port of ports_allow has a rule of its own", host.value);
            let note = (&other.span, "one of them");
            self.subject.findings.conflict(Code::W23, &host.span, message, note, "remove it");
        }
    }

    /// A pinset that softens a wider one.
    fn warn_of_weakness(
        &self,
        index: usize,
        host: &Located<HostPattern>,
        wide: &Located<HostPattern>,
        owner: usize,
    ) -> bool {
        let drafts = self.subject.drafts;
        let (Some(narrow), Some(around)) = (Read::of(&drafts[index]), Read::of(&drafts[owner])) else { return false };
        let is_weaker = narrow.strength(self.subject.now) < around.strength(self.subject.now);
        if is_weaker {
            let message =
                format!("for {} the pinset {:?} is weaker than {:?} around it", host.value, narrow.name, around.name);
            let help = "give both the same mode, or write why they differ beside it";
            let note = (&wide.span, "this one is stricter");
            self.subject.findings.conflict(Code::W24, &host.span, message, note, help);
        }
        is_weaker
    }

    /// `*.domain` and no rule for `domain`.
    fn warn_of_apex(&self, index: usize, host: &Located<HostPattern>) {
        let Scope::OneLabel(domain) = &host.value.scope else { return };
        let apex = HostPattern { scope: Scope::Exact(Host::Name(domain.clone())), port: host.value.port };
        let held = || {
            std::iter::once(&apex).chain(&apex.wider()).any(|pattern| match pattern.port {
                // A rule for one of its ports is a sign that somebody has thought of it.
                None if apex.port.is_none() => self.scopes.contains(&pattern.scope),
                _ => self.patterns.contains_key(pattern),
            })
        };
        let off = || Read::of(&self.subject.drafts[index]).is_none_or(|pinset| pinset.is_off());
        if shared(domain).is_none() && !off() && !held() {
            let message = format!("{} does not hold {domain}, and no other rule does", host.value);
            let help = format!("add \"{domain}\", or write \"**.{domain}\", which holds it and every depth");
            self.subject.findings.warning(Code::W25, &host.span, message, help);
        }
    }
}
