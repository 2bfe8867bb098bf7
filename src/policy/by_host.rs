//! Values by host pattern, found in the order in which rules are.

use super::host::Host;
use super::pattern::{HostPattern, Scope};
use std::collections::HashMap;
use std::num::NonZeroU16;

/// Values by host pattern. The most specific pattern wins, as it does among rules
/// ([`Policy::select`](super::rules::Policy::select)).
#[derive(Clone, Debug)]
pub struct ByHost<T>(HashMap<HostPattern, T>);

impl<T> Default for ByHost<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> ByHost<T> {
    /// With a value for a pattern; whether it is the first one for it. Another one is not taken.
    #[must_use]
    pub fn insert(&mut self, pattern: HostPattern, value: T) -> bool {
        let is_first = !self.0.contains_key(&pattern);
        if is_first {
            self.0.insert(pattern, value);
        }
        is_first
    }

    /// The value of the most specific pattern for this host and port.
    pub fn get(&self, host: &Host, port: NonZeroU16) -> Option<&T> {
        // Nearly always.
        if self.0.is_empty() {
            return None;
        }
        let exact = HostPattern { scope: Scope::Exact(host.clone()), port: Some(port) };
        self.0.get(&exact).or_else(|| exact.wider().iter().find_map(|pattern| self.0.get(pattern)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::host::Authority;
    use crate::policy::rules::{Policy, Rule, RuleKind, Unpinned};
    use std::time::SystemTime;

    const PATTERNS: [&str; 12] = [
        "a.b.example",
        "a.b.example:443",
        "*.b.example",
        "*.b.example:443",
        "**.b.example",
        "**.b.example:443",
        "b.example",
        "**.example",
        "*.example:8443",
        "192.0.2.7",
        "192.0.2.7:8443",
        "[2001:db8::7]",
    ];
    const TARGETS: [&str; 8] = [
        "a.b.example",
        "c.b.example",
        "d.c.b.example",
        "b.example",
        "c.example",
        "example",
        "192.0.2.7",
        "[2001:db8::7]",
    ];

    /// For every choice of the patterns the one that wins is that of a policy with the same ones.
    #[test]
    fn the_same_pattern_wins_as_among_rules() {
        for chosen in 0..1_u32 << PATTERNS.len() {
            let chosen: Vec<_> = (0..PATTERNS.len()).filter(|index| chosen & (1 << index) != 0).collect();
            let pattern = |index: &usize| HostPattern::parse(PATTERNS[*index]).unwrap();
            let tunnel = |index: &usize| RuleKind::Tunnel { reason: index.to_string() };
            let rules = chosen.iter().map(|index| Rule { kind: tunnel(index), hosts: vec![pattern(index)] }).collect();
            let policy = Policy::new(1, rules, Unpinned::Intercept, HashMap::new()).unwrap();
            let mut by_host = ByHost::default();
            for index in &chosen {
                assert!(by_host.insert(pattern(index), index.to_string()));
            }
            for target in TARGETS.iter().flat_map(|host| [443, 8443].map(|port| format!("{host}:{port}"))) {
                let target = Authority::parse(&target).unwrap();
                let expected = match &policy.select(&target, SystemTime::now()).kind {
                    RuleKind::Tunnel { reason } => Some(reason),
                    _ => None,
                };
                assert_eq!(by_host.get(&target.host, target.port), expected, "{target} {chosen:?}");
            }
        }
    }

    #[test]
    fn the_first_value_for_a_pattern_stays() {
        let mut by_host = ByHost::default();
        let pattern = HostPattern::parse("A.example.").unwrap();
        assert!(by_host.insert(pattern.clone(), 1) && !by_host.insert(pattern, 2));
        assert_eq!(by_host.get(&Host::parse("a.example").unwrap(), NonZeroU16::MIN), Some(&1));
    }
}
