//! What is counted by pinset, for those who show it to people.

use super::counts::Counts;
use super::pinsets::{PINSETS_MAX, Verdict};
use std::collections::HashMap;
use std::time::SystemTime;

/// What the sessions of one pinset have come to since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// A pin matched.
    pub matched: u64,
    /// None did, and the trust anchor exempts its chains.
    pub exempted: u64,
    /// The chain verified, and no pin was asked for.
    pub passed: u64,
    /// Let through against the pins, and reported.
    pub violated: u64,
    /// Refused over the chain.
    pub refused: u64,
    /// The soonest end of a certificate that an upstream has shown of late.
    pub leaf_ends: Option<SystemTime>,
}

/// The tallies of all pinsets at a moment.
#[derive(Debug)]
pub struct Tallies {
    named: HashMap<String, Tally>,
}

impl Tallies {
    /// That of this pinset; `None` where its sessions are counted with those of others, because there are too many.
    pub fn of(&self, pinset: &str) -> Option<Tally> {
        match self.named.get(pinset) {
            Some(tally) => Some(*tally),
            None => (self.named.len() < PINSETS_MAX).then(Tally::default),
        }
    }
}

impl Counts {
    /// What has been counted by pinset so far.
    pub fn tallies(&self, now: SystemTime) -> Tallies {
        let mut all = Vec::new();
        self.pinsets.each(|name, own| {
            let mut tally = Tally { leaf_ends: own.soonest_end(now), ..Tally::default() };
            for (_, verdict, count) in own.verdicts() {
                *match verdict {
                    Verdict::Matched => &mut tally.matched,
                    Verdict::Exempted => &mut tally.exempted,
                    Verdict::Passed => &mut tally.passed,
                    Verdict::Violated => &mut tally.violated,
                    Verdict::Refused => &mut tally.refused,
                } += count;
            }
            all.push((name.to_owned(), tally));
        });
        // The last one is that of all others together; a pinset may have the same name.
        all.pop();
        Tallies { named: all.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Asked;

    #[test]
    fn verdicts_are_added_up_and_what_is_counted_with_others_is_not_told() {
        let counts = Counts::default();
        let now = SystemTime::UNIX_EPOCH;
        counts.pinsets.at("bank", |own| {
            own.judged(Asked::Enforce, Verdict::Matched);
            own.judged(Asked::ReportOnly, Verdict::Matched);
            own.judged(Asked::Overridden, Verdict::Violated);
            own.judged(Asked::Expired, Verdict::Refused);
        });
        let tallies = counts.tallies(now);
        let expected = Tally { matched: 2, violated: 1, refused: 1, ..Tally::default() };
        assert_eq!(
            (tallies.of("bank"), tallies.of("new"), tallies.of("other")),
            (Some(expected), Some(Tally::default()), Some(Tally::default()))
        );
        for number in 0..PINSETS_MAX + 7 {
            counts.pinsets.at(&format!("p{number}"), |own| own.judged(Asked::Chain, Verdict::Passed));
        }
        let tallies = counts.tallies(now);
        let passed = Tally { passed: 1, ..Tally::default() };
        assert_eq!((tallies.of("bank"), tallies.of("p3"), tallies.of("p1005")), (Some(expected), Some(passed), None));
    }
}
