//! Which keys are pinned, and which are kept in reserve.

use super::super::code::Code;
use super::{Read, Subject};
use crate::policy::pin::Pin;
use std::collections::HashSet;

/// Keys that an enforced pinset has at least: one in use, and one in reserve.
const ENFORCED_PINS_MIN: usize = 2;

pub(super) fn lint(subject: &Subject<'_>) {
    // A pin that could not be read, or is there twice, is one less here, and has been reported: that is enough.
    let all_sound = subject.drafts.iter().all(|draft| draft.sound_lists);
    for pinset in subject.pinsets() {
        let inherits = pinset.draft.inherits.is_some();
        let lacks_parent = inherits && pinset.accepts().inherited().is_none();
        if pinset.draft.sound_lists && !lacks_parent && (!inherits || all_sound) {
            refuse_single(subject, &pinset);
        }
    }
}

fn refuse_single(subject: &Subject<'_>, pinset: &Read<'_>) {
    let distinct: HashSet<&Pin> = pinset.accepts().pins().collect();
    if !pinset.is_enforced() || distinct.len() >= ENFORCED_PINS_MIN {
        return;
    }
    let span = pinset.draft.lists.first().map_or(pinset.draft.span, |list| list.span);
    let help = if pinset.is_pin_only() {
        "add the pin of a second key that is kept ready: backup = [\"sha256/…\"]"
    } else {
        "add the pin of a second key that is kept ready: backup = [\"sha256/…\"]; until then mode = \"report-only\""
    };
    let message = format!("the pinset {:?} is enforced with one pin alone", pinset.name);
    subject.findings.error(Code::E30, &span, message, help);
}
