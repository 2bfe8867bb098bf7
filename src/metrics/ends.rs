//! The ends that a policy has written in it.

use crate::policy::rules::{Policy, RuleKind};
use std::time::SystemTime;

/// Ends of one kind that are told by themselves, the soonest; the soonest of the rest is told as `other`.
pub const ENDS_MAX: usize = 1_000;

/// When pinsets and exemptions end. Found once for each generation: a policy may have 100,000 rules.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// By name.
    pub(super) pinsets: Vec<(String, SystemTime)>,
    /// By their place among the exemptions of the configuration: the first is 1. Their hosts are no labels.
    pub(super) exemptions: Vec<(String, SystemTime)>,
}

impl Ends {
    pub(super) fn of(policy: &Policy) -> Self {
        let (mut pinsets, mut exemptions) = (Vec::new(), Vec::new());
        for rule in policy.rules() {
            match &rule.kind {
                RuleKind::Pinned(pinset) => {
                    pinsets.extend(pinset.expiry.map(|expiry| (pinset.name.clone(), expiry.at)));
                }
                RuleKind::Exempt { until, .. } => exemptions.push(((exemptions.len() + 1).to_string(), *until)),
                RuleKind::Tunnel { .. } | RuleKind::Default(_) => {}
            }
        }
        Self { pinsets: soonest(pinsets), exemptions: soonest(exemptions) }
    }
}

fn soonest(mut ends: Vec<(String, SystemTime)>) -> Vec<(String, SystemTime)> {
    ends.sort_by_key(|(_, end)| *end);
    if let Some(first_of_the_rest) = ends.get_mut(ENDS_MAX) {
        super::OTHER.clone_into(&mut first_of_the_rest.0);
    }
    ends.truncate(ENDS_MAX + 1);
    ends
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_soonest_are_told_and_the_rest_by_their_first() {
        let at = |day: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(day);
        let ends = |count: u64| (0..count).rev().map(|day| (format!("p{day}"), at(day))).collect();
        assert!(soonest(ends(0)).is_empty());
        let all = soonest(ends(1_000));
        assert_eq!((all.len(), &all[0], &all[999]), (1_000, &("p0".to_owned(), at(0)), &("p999".to_owned(), at(999))));
        let some = soonest(ends(1_010));
        assert_eq!((some.len(), &some[999], &some[1_000]), (1_001, &all[999], &("other".to_owned(), at(1_000))));
    }
}
