//! Tells what the dates of a policy bring, at the moment they bring it. The sessions need no telling: each is judged by
//! its own moment. The operator does.

use crate::policy::moment::Moment;
use crate::policy::pinset::AfterExpiry;
use crate::policy::rules::{Policy, Rule, RuleKind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// The dates that are still to come.
#[derive(Debug, Default)]
pub(super) struct Calendar(Mutex<Vec<(SystemTime, Arc<Rule>)>>);

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
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = dates.collect();
    }

    /// What has come since the last time, one sentence each.
    pub(super) fn due(&self, moment: Moment) -> Vec<String> {
        let mut told = Vec::new();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(date, rule)| {
            let come = has_come(rule, *date, moment);
            if come {
                told.push(sentence(rule));
            }
            !come
        });
        told
    }
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
