//! Tells what the dates of a policy bring, at the moment they bring it. The sessions need no telling: each is judged by
//! its own moment. The operator does.

use super::clock::microseconds;
use crate::policy::moment::Moment;
use crate::policy::pinset::{AfterExpiry, Basis, Mode, Pinset, Stance};
use crate::policy::rules::{Policy, Rule, RuleKind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// The dates of a policy.
#[derive(Debug, Default)]
pub(super) struct Calendar {
    /// Those that are told, and still to come.
    told: Mutex<Vec<(SystemTime, Arc<Rule>)>>,
    /// Every moment at which a rule changes by itself and that is still to come, in no order.
    changes: Mutex<Vec<SystemTime>>,
    /// The first of them, in microseconds since 1970.
    next: AtomicU64,
    /// How often some of them have come.
    turns: AtomicU64,
}

impl Calendar {
    /// Goes over to the dates of a new policy. Those that have come already are not told again.
    pub(super) fn enter(&self, policy: &Policy, moment: Moment) {
        let dates = policy.rules().iter().filter_map(|rule| {
            let date = match &rule.kind {
                RuleKind::Exempt { until, .. } => *until,
                RuleKind::Pinned(pinset) => pinset.expiry?.at,
                RuleKind::Tunnel { .. } | RuleKind::Default(_) => return None,
            };
            (!has_come(rule, date, moment)).then(|| (date, Arc::clone(rule)))
        });
        // Neither made nor freed under the lock.
        let dates = dates.collect();
        let replaced = std::mem::replace(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner), dates);
        drop(replaced);
        let dates = policy.rules().iter().flat_map(|rule| rule.dates());
        let to_come: Vec<_> = dates.filter(|date| !moment.loosens(*date)).collect();
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        self.next.store(first(&to_come, moment), Ordering::Relaxed);
        *changes = to_come;
    }

    /// A number that is another one when rules have changed by themselves.
    pub(super) fn turn(&self, moment: Moment) -> u64 {
        let has_come = microseconds(moment.latest()) >= self.next.load(Ordering::Relaxed);
        self.turns.load(Ordering::Relaxed) + u64::from(has_come)
    }

    /// Whether a rule has changed by itself since the last time. Where the clocks disagree, it is asked again: what
    /// tightens comes with one of them, what loosens with the other.
    pub(super) fn has_changed(&self, moment: Moment) -> bool {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let come = changes.iter().any(|date| moment.tightens(*date));
        changes.retain(|date| !moment.loosens(*date));
        if come {
            self.next.store(first(&changes, moment), Ordering::Relaxed);
            self.turns.fetch_add(1, Ordering::Relaxed);
        }
        come
    }

    /// What has come since the last time, one sentence each.
    pub(super) fn due(&self, moment: Moment) -> Vec<String> {
        let mut told = Vec::new();
        self.told.lock().unwrap_or_else(PoisonError::into_inner).retain(|(date, rule)| {
            let come = has_come(rule, *date, moment);
            if come {
                told.push(sentence(rule));
            }
            !come
        });
        told
    }
}

/// The first of these dates that no clock has reached.
fn first(dates: &[SystemTime], moment: Moment) -> u64 {
    let to_come = dates.iter().filter(|date| !moment.tightens(**date));
    to_come.map(|date| microseconds(*date)).min().unwrap_or(u64::MAX)
}

fn has_come(rule: &Rule, date: SystemTime, moment: Moment) -> bool {
    match &rule.kind {
        RuleKind::Pinned(pinset) => pinset.has_ended(moment),
        _ => moment.tightens(date),
    }
}

fn sentence(rule: &Rule) -> String {
    let hosts = rule.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match &rule.kind {
        RuleKind::Pinned(pinset) => {
            let then = match pinset.expiry.map(|expiry| expiry.then) {
                Some(AfterExpiry::FailClosed | AfterExpiry::ReportOnly) if !enforces(pinset) => {
                    "it enforces nothing, so this changes nothing"
                }
                Some(AfterExpiry::FailClosed) => "connections that it enforces are refused from now on",
                Some(AfterExpiry::ReportOnly) => "its pins are reported and no longer enforced",
                Some(AfterExpiry::Unpinned) | None => "its pins are no longer judged",
            };
            format!("pinset {} has ended: {then} ({hosts})", pinset.name)
        }
        RuleKind::Exempt { reason, .. } => {
            format!("the exemption {reason:?} is over: the rule around it decides again ({hosts})")
        }
        RuleKind::Tunnel { .. } | RuleKind::Default(_) => String::new(),
    }
}

/// Whether it refuses anybody over a pin, today or in the course of a rollout.
const fn enforces(pinset: &Pinset) -> bool {
    !matches!(pinset.basis, Basis::Chain { stance: Stance::Fixed(Mode::ReportOnly | Mode::Off), .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::path::Path;
    use std::time::Duration;

    /// 2027-01-01T00:00:00Z.
    fn new_year() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_798_761_600)
    }

    fn policy() -> Policy {
        let ends = |name: &str, day: u32, then: &str| {
            format!(
                "[[pinset]]\nname = \"{name}\"\nhosts = [\"**.{name}.example\", \"{name}.test\"]\n\
                 pins = [\"sha256/C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M=\", \
                 \"sha256/diGVwiVYbubAI3RW4hB9xU8e/CH2GnkuvVFZE8zmgzI=\"]\n\
                 [pinset.expiry]\nat = 2027-01-0{day}\nthen = \"{then}\"\n"
            )
        };
        let soft = |name: &str| ends(name, 5, "fail-closed").replace("[pinset.e", "mode = \"report-only\"\n[pinset.e");
        let exempt = "[[exempt]]\nhosts = [\"old.a.example\"]\nreason = \"CHG-1\"\nuntil = 2027-01-03\n";
        let hard = [ends("a", 2, "fail-closed"), ends("b", 2, "unpinned"), ends("c", 4, "report-only")];
        let text = [hard.concat(), soft("d"), exempt.into()];
        let parsed = Config::parse(&text.concat(), Path::new("test.toml"), new_year());
        parsed.unwrap_or_else(|errors| panic!("{errors}")).0.policy(1)
    }

    #[test]
    fn every_date_is_told_once_when_it_comes() {
        const A: &str =
            "pinset a has ended: connections that it enforces are refused from now on (**.a.example, a.test)";
        const B: &str = "pinset b has ended: its pins are no longer judged (**.b.example, b.test)";
        const C: &str = "pinset c has ended: its pins are reported and no longer enforced (**.c.example, c.test)";
        const D: &str = "pinset d has ended: it enforces nothing, so this changes nothing (**.d.example, d.test)";
        const EXEMPT: &str = "the exemption \"CHG-1\" is over: the rule around it decides again (old.a.example)";
        let day = |day: u32| new_year() + (day - 1) * Duration::from_secs(24 * 60 * 60);
        let (policy, calendar) = (policy(), Calendar::default());
        calendar.enter(&policy, Moment::at(day(1)));
        let just_before = Moment::at(day(2) - Duration::from_nanos(1));
        assert_eq!(calendar.due(just_before), Vec::<String>::new());
        // The clocks disagree about the second day: what tightens has come, what loosens has not.
        assert_eq!(calendar.due(Moment::between(day(1), day(2))), [A]);
        assert_eq!(calendar.due(Moment::at(day(2))), [B]);
        assert_eq!(calendar.due(Moment::at(day(9))), [C, D, EXEMPT]);
        assert_eq!(calendar.due(Moment::at(day(9))), Vec::<String>::new());
        calendar.enter(&policy, Moment::at(day(3)));
        assert_eq!(calendar.due(Moment::at(day(9))), [C, D], "what was over before it entered is not told");
    }
}
