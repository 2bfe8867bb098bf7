//! What has been left alone for long, and what ends.

use super::super::code::Code;
use super::super::item::Located;
use super::super::pinsets::whole_days;
use super::{Read, Strength, Subject};
use crate::policy::pinset::{AfterExpiry, Basis, Expiry, Stance};
use crate::policy::rollout::Rollout;
use crate::policy::timestamp::Timestamp;
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long reports may be looked at before something is made of them.
const REPORT_ONLY_MAX: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// How far ahead the last step of a rollout may be. Beyond it, the year is a slip, or nobody means to enforce.
const ROLLOUT_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// How far ahead the date of something past may be: a date alone begins in UTC, and in the east the day is there before.
const AHEAD_MAX: Duration = DAY;

pub(super) fn lint(subject: &Subject<'_>) {
    for pinset in subject.pinsets() {
        warn_of_standstill(subject, &pinset);
        warn_of_reviews(subject, &pinset);
        warn_of_open_end(subject, &pinset);
        if let Basis::Chain { stance: Stance::Rollout(rollout), .. } = pinset.basis {
            warn_of_rollout(subject, &pinset, rollout);
        }
    }
}

/// The age in days, when it is more than `most`.
fn longer_than(begun: SystemTime, most: Duration, now: SystemTime) -> Option<u64> {
    let age = now.duration_since(begun).ok()?;
    (age > most).then_some(age.as_secs() / DAY.as_secs())
}

/// The distance in days, when it is more than `most`.
fn further_than(begins: SystemTime, most: Duration, now: SystemTime) -> Option<u64> {
    longer_than(now, most, begins)
}

fn warn_of_standstill(subject: &Subject<'_>, pinset: &Read<'_>) {
    let Some(since) = pinset.draft.since.as_ref().filter(|_| pinset.strength(subject.now) == Strength::ReportOnly)
    else {
        return;
    };
    if let Some(days) = longer_than(since.value, REPORT_ONLY_MAX, subject.now) {
        let message = format!("the pinset {:?} has been report-only for {days} days", pinset.name);
        let help = "look at the reports, then write a [pinset.rollout] or mode = \"enforce\"";
        subject.findings.warning(Code::W57, &since.span, message, help);
    }
    warn_of_future(subject, Code::W57, since, &format!("since of the pinset {:?}", pinset.name));
}

fn warn_of_reviews(subject: &Subject<'_>, pinset: &Read<'_>) {
    let Some(reviewed) = &pinset.draft.reviewed else { return };
    if let Some(days) = longer_than(reviewed.value, subject.defaults.review_after, subject.now) {
        let message = format!("the pins of {:?} were last reviewed {days} days ago", pinset.name);
        let help = "ask the owners whether each key is in use or in reserve, and write today's date";
        subject.findings.warning(Code::W58, &reviewed.span, message, help);
    }
    warn_of_future(subject, Code::W58, reviewed, &format!("reviewed of the pinset {:?}", pinset.name));
}

/// A slip of the year would keep everybody from being asked for a year.
fn warn_of_future(subject: &Subject<'_>, code: Code, date: &Located<SystemTime>, what: &str) {
    if let Some(days) = further_than(date.value, AHEAD_MAX, subject.now) {
        let message = format!("{what} lies {} ahead", whole_days(days));
        let help = "write the day on which it was; with a day to come nobody would be reminded";
        subject.findings.warning(code, &date.span, message, help);
    }
}

/// Steps that are far off, and steps that the end of the pinset comes before.
fn warn_of_rollout(subject: &Subject<'_>, pinset: &Read<'_>, rollout: &Rollout) {
    let (Some(first), Some(last)) = (rollout.steps().first(), rollout.steps().last()) else { return };
    let (places, name) = (&pinset.draft.places, pinset.name);
    let ends = pinset.expiry.map(|Expiry { at, .. }| at);
    // What has ended is told by itself.
    if ends.is_some_and(|at| at <= subject.now) {
        return;
    }
    if let Some(ends) = ends.filter(|ends| *ends <= last.from) {
        let (enforces, at) = if ends <= first.from {
            (format!("for nobody before {}", Timestamp(first.from)), places.first_step)
        } else {
            (format!("for everybody only from {} on", Timestamp(last.from)), places.enforce_from)
        };
        let message = format!("the pinset {name:?} ends on {}, and its rollout enforces {enforces}", Timestamp(ends));
        let help = "move its end behind enforce_from, or the steps before its end";
        subject.findings.warning(Code::W57, &at.unwrap_or(pinset.draft.span), message, help);
    } else if let Some(days) = further_than(first.from, REPORT_ONLY_MAX, subject.now) {
        let message = format!("the pinset {name:?} is report-only for everybody for {days} days more");
        let help = "look at the reports and bring the first step of the rollout forward";
        subject.findings.warning(Code::W57, &places.first_step.unwrap_or(pinset.draft.span), message, help);
    } else if let Some(days) = further_than(last.from, ROLLOUT_MAX, subject.now) {
        let message = format!("the pinset {name:?} is report-only for some clients for {days} days more");
        let help = "bring enforce_from forward: the steps before it are meant to take weeks";
        subject.findings.warning(Code::W57, &places.enforce_from.unwrap_or(pinset.draft.span), message, help);
    }
}

fn warn_of_open_end(subject: &Subject<'_>, pinset: &Read<'_>) {
    let name = pinset.name;
    let close = "write \"fail-closed\" if the host has to stay protected, or renew the pins before that day";
    let (message, help) = match (pinset.expiry.map(|expiry| expiry.then), pinset.strength(subject.now)) {
        (Some(AfterExpiry::Unpinned), _) => (format!("from its end on the pinset {name:?} protects nobody"), close),
        (Some(AfterExpiry::ReportOnly), Strength::Rollout | Strength::Enforced) if !pinset.is_pin_only() => {
            (format!("from its end on the pinset {name:?} lets through, and reports, what it refuses before"), close)
        }
        (Some(AfterExpiry::FailClosed), Strength::ReportOnly) => (
            format!("\"fail-closed\" refuses nobody: the pinset {name:?} is report-only, and stays so after its end"),
            "write mode = \"enforce\" or a [pinset.rollout] if it has to close; otherwise then = \"report-only\"",
        ),
        (Some(AfterExpiry::FailClosed), Strength::Off) => (
            format!("\"fail-closed\" refuses nobody: the pinset {name:?} is off, and stays so after its end"),
            "write mode = \"enforce\" if it has to close; otherwise remove [pinset.expiry]",
        ),
        _ => return,
    };
    let span = pinset.draft.places.then.unwrap_or(pinset.draft.span);
    subject.findings.warning(Code::W52, &span, message, help);
}
