//! Hosts and ports that stand for all that fall under the same patterns.

use crate::policy::host::{Authority, DnsName, Host};
use crate::policy::pattern::{HostPattern, Scope, ancestors, parent};
use std::collections::{HashMap, HashSet};
use std::num::NonZeroU16;

/// The port of `https`, which stands for every port that no pattern names, unless one names it.
const HTTPS: NonZeroU16 = NonZeroU16::new(443).expect("443 is not 0");

/// A host and port that stand for others.
#[derive(Debug)]
pub(super) struct Witness {
    /// The pattern of those that it stands for; where some of their ports have patterns of their own, it says that it
    /// is for the others.
    pub(super) shown: String,
    pub(super) authority: Authority,
}

/// Knows which names and ports some pattern speaks of.
pub(super) struct Surveyor<'a> {
    /// Hosts and the names behind wildcards.
    named: HashSet<&'a str>,
    ports: HashMap<&'a Scope, Vec<NonZeroU16>>,
    /// A port that no pattern names.
    other_port: NonZeroU16,
}

impl<'a> Surveyor<'a> {
    pub(super) fn new(patterns: impl Iterator<Item = &'a HostPattern>) -> Self {
        let mut named = HashSet::new();
        let mut ports: HashMap<_, Vec<_>> = HashMap::new();
        let mut taken = HashSet::new();
        for pattern in patterns {
            match &pattern.scope {
                Scope::Exact(Host::Address(_)) => {}
                Scope::Exact(Host::Name(name)) | Scope::OneLabel(name) | Scope::Subtree(name) => {
                    named.insert(name.as_str());
                }
            }
            if let Some(port) = pattern.port {
                ports.entry(&pattern.scope).or_default().push(port);
                taken.insert(port);
            }
        }
        let mut free = std::iter::once(HTTPS).chain((1..=u16::MAX).rev().filter_map(NonZeroU16::new));
        // Where every port is named, each of them is looked at by its name.
        let other_port = free.find(|port| !taken.contains(port)).unwrap_or(HTTPS);
        Self { named, ports, other_port }
    }

    /// Witnesses for a pattern: for every combination of patterns that its hosts may fall under besides, one that is no
    /// witness of a more specific pattern.
    pub(super) fn witnesses(&self, pattern: &HostPattern) -> Vec<Witness> {
        let hosts = match &pattern.scope {
            Scope::Exact(host) => vec![(host.to_string(), Some(host.clone()))],
            Scope::OneLabel(suffix) => vec![(format!("*.{suffix}"), self.fresh(suffix.as_str()).map(Host::Name))],
            Scope::Subtree(suffix) => {
                let below = self.fresh(suffix.as_str());
                let deeper = below.as_ref().and_then(|below| self.fresh(below.as_str()));
                vec![
                    (suffix.to_string(), Some(Host::Name(suffix.clone()))),
                    (format!("*.{suffix}"), below.map(Host::Name)),
                    (format!("**.{suffix}"), deeper.map(Host::Name)),
                ]
            }
        };
        let mut witnesses = Vec::new();
        for (shown, host) in hosts {
            let Some(host) = host else { continue };
            let at = |port: NonZeroU16, named: bool| Witness {
                shown: if named { format!("{shown}:{port}") } else { shown.clone() },
                authority: Authority { host: host.clone(), port },
            };
            if let Some(port) = pattern.port {
                witnesses.push(at(port, true));
            } else {
                let ports = self.ports_of(&host);
                let mut others = at(self.other_port, false);
                if !ports.is_empty() {
                    // Beside hosts with a port, the bare pattern would read as all ports.
                    others.shown.push_str(" (other ports)");
                }
                witnesses.push(others);
                witnesses.extend(ports.into_iter().map(|port| at(port, true)));
            }
        }
        witnesses
    }

    /// A name with one label more that no pattern speaks of; `None` where names cannot be that long.
    fn fresh(&self, suffix: &str) -> Option<DnsName> {
        let labels = std::iter::once("x".to_owned()).chain((0..=self.named.len()).map(|number| format!("x{number}")));
        let name = labels.map(|label| format!("{label}.{suffix}")).find(|name| !self.named.contains(name.as_str()))?;
        match Host::parse(&name) {
            Ok(Host::Name(name)) => Some(name),
            Ok(Host::Address(_)) | Err(_) => None,
        }
    }

    /// The ports that patterns for this host name.
    fn ports_of(&self, host: &Host) -> HashSet<NonZeroU16> {
        let mut scopes = vec![Scope::Exact(host.clone())];
        if let Host::Name(name) = host {
            let suffix = |text: &str| match Host::parse(text) {
                Ok(Host::Name(name)) => Some(name),
                Ok(Host::Address(_)) | Err(_) => None,
            };
            scopes.extend(parent(name.as_str()).and_then(suffix).map(Scope::OneLabel));
            scopes.extend(ancestors(name.as_str()).filter_map(suffix).map(Scope::Subtree));
        }
        scopes.iter().filter_map(|scope| self.ports.get(scope)).flatten().copied().collect()
    }
}
