//! The ends that a policy has written in it, and those of what its chains are verified with.

use crate::policy::rules::{Policy, Rule, RuleKind};
use std::time::SystemTime;

/// Ends of one kind that are told by themselves, the soonest; the soonest of the rest is told as `other`.
pub const ENDS_MAX: usize = 1_000;

/// When pinsets, their trust anchors and exemptions end. Found once for each generation: a policy may have 100,000 rules.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// By name.
    pub(super) pinsets: Vec<(String, SystemTime)>,
    /// The last trust anchor of a pinset that has its own, by the pinset's name: nothing passes from then on.
    pub(super) anchors: Vec<(String, SystemTime)>,
    /// By their place among the exemptions of the configuration: the first is 1. Their hosts are no labels.
    pub(super) exemptions: Vec<(String, SystemTime)>,
}

impl Ends {
    /// `last_anchor` tells when the last of a rule's own trust anchors ends.
    pub(super) fn of(policy: &Policy, last_anchor: impl Fn(&Rule) -> Option<SystemTime>) -> Self {
        let (mut pinsets, mut anchors, mut exemptions) = (Vec::new(), Vec::new(), Vec::new());
        for rule in policy.rules() {
            match &rule.kind {
                RuleKind::Pinned(pinset) => {
                    pinsets.extend(pinset.expiry.map(|expiry| (pinset.name.clone(), expiry.at)));
                    anchors.extend(last_anchor(rule).map(|end| (pinset.name.clone(), end)));
                }
                RuleKind::Exempt { until, .. } => exemptions.push(((exemptions.len() + 1).to_string(), *until)),
                RuleKind::Tunnel { .. } | RuleKind::Default(_) => {}
            }
        }
        Self { pinsets: soonest(pinsets), anchors: soonest(anchors), exemptions: soonest(exemptions) }
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
