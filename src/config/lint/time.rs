//! What has been left alone for long, and what ends.

use super::super::code::Code;
use super::super::item::Located;
use super::{Read, Strength, Subject};
use crate::policy::pinset::AfterExpiry;
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long reports may be looked at before something is made of them.
const REPORT_ONLY_MAX: Duration = Duration::from_secs(90 * 24 * 60 * 60);

pub(super) fn lint(subject: &Subject<'_>) {
    for pinset in subject.pinsets() {
        if let Some(since) = longer_than(pinset.draft.since.as_ref(), REPORT_ONLY_MAX, subject.now) {
            warn_of_standstill(subject, &pinset, since);
        }
        let reviewed = pinset.draft.reviewed.as_ref();
        if let (Some(days), Some(reviewed)) =
            (longer_than(reviewed, subject.defaults.review_after, subject.now), reviewed)
        {
            let message = format!("the pins of {:?} were last reviewed {days} days ago", pinset.name);
            let help = "ask the owners whether each key is in use or in reserve, and write today's date";
            subject.findings.warning(Code::W58, &reviewed.span, message, help);
        }
        warn_of_open_end(subject, &pinset);
    }
}

/// The age in days, when it is more than `most`.
fn longer_than(begun: Option<&Located<SystemTime>>, most: Duration, now: SystemTime) -> Option<u64> {
    let age = now.duration_since(begun?.value).ok()?;
    (age > most).then_some(age.as_secs() / DAY.as_secs())
}

fn warn_of_standstill(subject: &Subject<'_>, pinset: &Read<'_>, days: u64) {
    if pinset.strength(subject.now) != Strength::ReportOnly {
        return;
    }
    let span = pinset.draft.since.as_ref().map_or(pinset.draft.span, |since| since.span);
    let message = format!("the pinset {:?} has been report-only for {days} days", pinset.name);
    let help = "look at the reports, then write a [pinset.rollout] or mode = \"enforce\"";
    subject.findings.warning(Code::W57, &span, message, help);
}

fn warn_of_open_end(subject: &Subject<'_>, pinset: &Read<'_>) {
    if pinset.expiry.is_none_or(|expiry| expiry.then != AfterExpiry::Unpinned) {
        return;
    }
    let span = pinset.draft.places.then.unwrap_or(pinset.draft.span);
    let message = format!("from its end on the pinset {:?} protects nobody", pinset.name);
    let help = "write \"fail-closed\" if the host has to stay protected, or renew the pins before that day";
    subject.findings.warning(Code::W52, &span, message, help);
}
