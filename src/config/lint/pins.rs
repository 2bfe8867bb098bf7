//! Which keys are pinned, and which are kept in reserve.

use super::super::code::Code;
use super::super::pins::List;
use super::super::roles::ListedPin;
use super::{Read, Subject};
use crate::policy::pin::{Pin, Sha256};
use crate::policy::pinset::Combine;
use std::collections::{HashMap, HashSet};

/// Keys that an enforced pinset has at least: one in use, and one in reserve.
const ENFORCED_PINS_MIN: usize = 2;

/// Pins that somebody can keep an eye on.
const PINS_MAX: usize = 10;

pub(super) fn lint(subject: &Subject<'_>) {
    // A pin that could not be read, or is there twice, is one less here, and has been reported: that is enough. So has a
    // file that could not be read, with pinsets that others may inherit from.
    let all_sound = !subject.findings.has_gaps() && subject.drafts.iter().all(|draft| draft.sound_lists);
    for pinset in subject.pinsets() {
        let inherits = pinset.draft.inherits.is_some();
        let lacks_parent = inherits && pinset.draft.parent.is_none();
        if pinset.draft.sound_lists && !lacks_parent && (!inherits || all_sound) {
            count_pins(subject, &pinset);
        }
        warn_of_one_key(subject, &pinset);
        warn_of_certificates(subject, &pinset);
    }
}

fn count_pins(subject: &Subject<'_>, pinset: &Read<'_>) {
    let distinct = pinset.accepts().pins().collect::<HashSet<_>>().len();
    if distinct > PINS_MAX {
        let message = format!("the pinset {:?} accepts {distinct} pins", pinset.name);
        let help = "keep the keys in use and their backups; give hosts with other keys a pinset of their own";
        subject.findings.warning(Code::W43, &pinset.list_span(), message, help);
    }
    if !pinset.is_enforced(subject.now) {
        return;
    }
    let help = if pinset.is_pin_only() {
        "add the pin of a second key that is kept ready: backup = [\"sha256/…\"]"
    } else {
        "add the pin of a second key that is kept ready: backup = [\"sha256/…\"]; until then mode = \"report-only\""
    };
    if distinct < ENFORCED_PINS_MIN {
        let message = format!("the pinset {:?} is enforced with one pin alone", pinset.name);
        subject.findings.error(Code::E30, &pinset.list_span(), message, help);
    } else if let Some(list) = needed_and_alone(pinset) {
        let message = format!(
            "the pinset {:?} is enforced, and everything hangs on the one pin of its {}: combine = \"all\" needs each list",
            pinset.name, list.key
        );
        subject.findings.error(Code::E30, &list.span, message, help);
    } else if let Some(list) = without_backup(subject, pinset) {
        let message = format!("the pinset {:?} is enforced, and no pin of its {} is a backup", pinset.name, list.key);
        let help = "move the pin of the key that is kept in reserve to backup = [\"…\"]";
        subject.findings.warning(Code::W31, &list.span, message, help);
    }
}

/// A list that has to be met and holds one key, where nothing inherited will do in its place.
fn needed_and_alone<'a>(pinset: &Read<'a>) -> Option<&'a List> {
    let accepts = pinset.accepts();
    let needed = accepts.combine() == Combine::All && accepts.inherited().is_none();
    let distinct = |list: &List| list.pins.iter().map(|listed| listed.pin).collect::<HashSet<_>>().len();
    pinset.draft.lists.iter().find(|list| needed && distinct(list) < ENFORCED_PINS_MIN)
}

/// A list that nothing stands in for when its keys are lost.
fn without_backup<'a>(subject: &Subject<'a>, pinset: &Read<'a>) -> Option<&'a List> {
    let own = &pinset.draft.lists;
    // What a parent accepts is enough by itself.
    let inherited = subject.lists(pinset).skip(own.len()).any(|list| list.backups > 0);
    let each_needed = pinset.accepts().combine() == Combine::All;
    if inherited || (!each_needed && own.iter().any(|list| list.backups > 0)) {
        return None;
    }
    own.iter().find(|list| list.backups == 0)
}

/// A backup that goes out of use together with a pin in use.
fn warn_of_one_key(subject: &Subject<'_>, pinset: &Read<'_>) {
    let lists = &pinset.draft.lists;
    if lists.iter().all(|list| list.backups == 0) {
        return;
    }
    let mut in_use: HashMap<Sha256, &ListedPin> = HashMap::new();
    for listed in lists.iter().flat_map(List::in_use) {
        if let Some(key) = listed.key() {
            in_use.entry(key).or_insert(listed);
        }
    }
    for backup in lists.iter().flat_map(List::in_reserve) {
        let used = backup.key().and_then(|key| in_use.get(&key));
        // The same pin twice is E09.
        if let Some(used) = used.filter(|used| used.pin != backup.pin) {
            let message = "this backup and a pin in use are for one key";
            let note = (&used.span, "in use here");
            subject.findings.conflict(Code::W32, &backup.span, message, note, "pin another key");
        }
    }
}

fn warn_of_certificates(subject: &Subject<'_>, pinset: &Read<'_>) {
    if pinset.is_pin_only() || pinset.is_off() {
        return;
    }
    let mut pins = pinset.draft.lists.iter().flat_map(|list| &list.pins);
    if let Some(listed) = pins.find(|listed| matches!(listed.pin, Pin::Certificate(_))) {
        let message = format!("the pinset {:?} pins a certificate, which ends with its renewal", pinset.name);
        let help = "pin its key: spki, or sha256/BASE64 in a list";
        subject.findings.warning(Code::W42, &listed.span, message, help);
    }
}
