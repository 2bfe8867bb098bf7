//! When something is judged, and for whom.
//!
//! Time is a rule: pinsets end, exemptions end, rollouts advance. Where the wall clock and the steady clock of the
//! machine disagree, nobody knows which of them an attacker or an accident moved. A moment therefore holds both, and
//! whatever makes a rule stricter happens when the first of them is there, whatever loosens it when both are.

use std::net::IpAddr;
use std::time::SystemTime;

/// A point in time as far as it is known: between two readings, which are one where the clocks agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    earliest: SystemTime,
    latest: SystemTime,
}

impl Moment {
    /// A point in time that is known.
    pub const fn at(time: SystemTime) -> Self {
        Self { earliest: time, latest: time }
    }

    /// A point in time of which two clocks say different things.
    pub fn between(one: SystemTime, other: SystemTime) -> Self {
        Self { earliest: one.min(other), latest: one.max(other) }
    }

    /// With one more reading, if it is later: a time that has been reached before.
    #[must_use]
    pub fn including(self, reached: SystemTime) -> Self {
        Self { latest: self.latest.max(reached), ..self }
    }

    /// Whether all readings say the same.
    pub fn is_certain(self) -> bool {
        self.earliest == self.latest
    }

    /// The later reading: certificates and revocation lists are held against it, since what has run out once must not
    /// become valid again.
    pub const fn latest(self) -> SystemTime {
        self.latest
    }

    /// Whether something that makes a rule stricter, and is set for `time`, has come.
    pub fn tightens(self, time: SystemTime) -> bool {
        self.latest >= time
    }

    /// Whether something that loosens a rule, and is set for `time`, has come.
    pub fn loosens(self, time: SystemTime) -> bool {
        self.earliest >= time
    }
}

/// A clock that nobody doubts.
impl From<SystemTime> for Moment {
    fn from(time: SystemTime) -> Self {
        Self::at(time)
    }
}

/// What a judgement depends on besides the rule and the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circumstances {
    /// When.
    pub moment: Moment,
    /// For which client: a rollout enforces for some before others.
    pub client: IpAddr,
    /// The step of the rule's rollout that a hold does not let it pass. `None`: it goes by its dates.
    pub hold: Option<usize>,
    /// Whether an operator has overridden the enforcement for this host ([`super::overrides`]).
    pub overridden: bool,
}

impl Circumstances {
    /// Of a client at a time, with no rollout on hold and nothing overridden.
    pub fn new(moment: impl Into<Moment>, client: IpAddr) -> Self {
        Self { moment: moment.into(), client, hold: None, overridden: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_tightens_comes_with_the_first_clock_and_what_loosens_with_the_last() {
        let time = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        // one clock, the other, tightens at 100, loosens at 100
        let table = [
            (99, 99, false, false),
            (100, 100, true, true),
            (99, 100, true, false),
            (100, 99, true, false),
            (0, 1_000, true, false),
            (101, 100, true, true),
        ];
        for (one, other, tightens, loosens) in table {
            let moment = Moment::between(time(one), time(other));
            assert_eq!((moment.tightens(time(100)), moment.loosens(time(100))), (tightens, loosens), "{one} {other}");
            assert_eq!(moment.latest(), time(one.max(other)));
        }
    }
}
