//! Checks that are left out, hosts that are let through, and reports that nobody sees.

use super::super::code::Code;
use super::super::reports::Reports;
use super::{Read, Strength, Subject};
use crate::policy::pinset::{Basis, NameCheck, ValidityCheck};
use crate::policy::rules::Unpinned;

pub(super) fn lint(subject: &Subject<'_>) {
    for pinset in subject.pinsets() {
        if let Basis::PinOnly { name, validity, .. } = pinset.basis {
            warn_of_opt_outs(subject, &pinset, name, *validity);
        }
    }
    warn_of_pins_not_judged(subject);
    tell_of_unpinned(subject);
    warn_of_lost_reports(subject);
}

fn warn_of_opt_outs(subject: &Subject<'_>, pinset: &Read<'_>, name: &NameCheck, validity: ValidityCheck) {
    let places = &pinset.draft.places;
    let at = |place: Option<_>| place.unwrap_or(pinset.draft.span);
    if *name == NameCheck::Skip {
        let message = format!("whoever has a pinned key of {:?} passes for each of its hosts", pinset.name);
        let help = "make sure that only these hosts have the key, or write \"san\" or \"as:NAME\"";
        subject.findings.warning(Code::W61, &at(places.verify_name), message, help);
    }
    if validity == ValidityCheck::Ignore && pinset.expiry.is_none() {
        let message = format!("nothing ever ends the keys of {:?}", pinset.name);
        let help = "write \"check\", or give the pinset an [pinset.expiry]";
        subject.findings.warning(Code::W62, &at(places.verify_validity), message, help);
    }
}

fn warn_of_pins_not_judged(subject: &Subject<'_>) {
    for pinset in subject.pinsets().filter(Read::is_off) {
        let span = pinset.draft.places.mode.unwrap_or(pinset.draft.span);
        let message = format!("the pins of {:?} are not judged: its mode is \"off\"", pinset.name);
        let help = "write mode = \"report-only\" or \"enforce\", or remove the pinset";
        subject.findings.warning(Code::W30, &span, message, help);
    }
}

fn tell_of_unpinned(subject: &Subject<'_>) {
    let enforces = subject.pinsets().any(|pinset| pinset.is_enforced(subject.now));
    let Some(span) = subject.defaults.unpinned_span.filter(|_| enforces) else { return };
    if subject.defaults.unpinned == Unpinned::Tunnel {
        let message = "hosts without a pinset are passed through without a look inside";
        let help = "write unpinned = \"deny\" where every host that matters has a pinset";
        subject.findings.info(Code::I67, &span, message, help);
    }
}

fn warn_of_lost_reports(subject: &Subject<'_>) {
    let Reports { file, urls, syslog, .. } = subject.reports;
    if file.is_some() || !urls.is_empty() || syslog.is_some() || subject.log.access.is_some() {
        return;
    }
    let reports = |pinset: &Read<'_>| matches!(pinset.strength(subject.now), Strength::ReportOnly | Strength::Rollout);
    let mut pinsets = subject.pinsets().filter(reports);
    let Some(first) = pinsets.next() else { return };
    let others = match pinsets.count() {
        0 => String::new(),
        1 => " (1 more is)".to_owned(),
        others => format!(" ({others} more are)"),
    };
    let span = first.draft.places.mode.unwrap_or(first.draft.span);
    let message = format!("nothing keeps what the report-only pinset {:?} finds{others}", first.name);
    let help = "write [reports] with file = \"violations.jsonl\", with urls or with syslog, or [log] with access";
    subject.findings.warning(Code::W73, &span, message, help);
}
