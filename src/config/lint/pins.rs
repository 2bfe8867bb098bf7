//! Which keys are pinned, and which are kept in reserve.

use super::super::code::Code;
use super::super::pins::List;
use super::super::roles::ListedPin;
use super::{Read, Subject};
use crate::policy::pin::{Pin, Sha256};
use crate::policy::pinset::{Basis, Combine, ValidityCheck};
use crate::policy::timestamp::Timestamp;
use std::collections::{HashMap, HashSet};

/// Keys that an enforced pinset has at least: one in use, and one in reserve.
const ENFORCED_KEYS_MIN: usize = 2;

/// Pins that somebody can keep an eye on.
const PINS_MAX: usize = 10;

pub(super) fn lint(subject: &Subject<'_>) {
    // A pin that could not be read, or is there twice, is one less here, and has been reported: that is enough. So has a
    // file that could not be read, with pinsets that others may inherit from.
    let all_sound = !subject.findings.has_gaps() && subject.drafts.iter().all(|draft| draft.sound_lists);
    for pinset in subject.pinsets() {
        let inherits = pinset.draft.inherits.is_some();
        let lacks_parent = inherits && pinset.draft.parent.is_none();
        let countable = pinset.draft.sound_lists && !lacks_parent && (!inherits || all_sound);
        if countable {
            warn_of_many(subject, &pinset);
        }
        let enforced = countable && pinset.is_enforced(subject.now);
        // One key in all is more than a backup of the key in use.
        if !(enforced && refuse_one_key(subject, &pinset)) {
            if enforced {
                warn_without_backup(subject, &pinset);
            }
            warn_of_one_key(subject, &pinset);
        }
        warn_of_certificates(subject, &pinset);
    }
}

fn warn_of_many(subject: &Subject<'_>, pinset: &Read<'_>) {
    let distinct = pinset.accepts().pins().collect::<HashSet<_>>().len();
    if distinct > PINS_MAX {
        let message = format!("the pinset {:?} accepts {distinct} pins", pinset.name);
        let help = "keep the keys in use and their backups; give hosts with other keys a pinset of their own";
        subject.findings.warning(Code::W43, &pinset.list_span(), message, help);
    }
}

/// Whether it was reported that everything hangs on one key.
fn refuse_one_key(subject: &Subject<'_>, pinset: &Read<'_>) -> bool {
    let pins = || subject.lists(pinset).flat_map(|list| &list.pins);
    let (message, span) = if count_keys(pins()) < ENFORCED_KEYS_MIN {
        let what = match pins().map(|listed| listed.pin).collect::<HashSet<_>>().len() {
            0 | 1 => "one pin alone",
            _ => "pins that are all for one key",
        };
        (format!("the pinset {:?} is enforced with {what}", pinset.name), pinset.list_span())
    } else if let Some(list) = needed_and_alone(pinset) {
        let message = format!(
            "the pinset {:?} is enforced, and everything hangs on the one key of its {}: combine = \"all\" needs each list",
            pinset.name, list.key
        );
        (message, list.span)
    } else {
        return false;
    };
    let help = if pinset.is_pin_only() {
        "add the pin of a second key that is kept ready: backup = [\"sha256/…\"]"
    } else {
        "add the pin of a second key that is kept ready: backup = [\"sha256/…\"]; until then mode = \"report-only\""
    };
    subject.findings.error(Code::E30, &span, message, help);
    true
}

/// How many keys there are behind pins, as far as that is known: two certificates of one key stand and fall together.
fn count_keys<'a>(pins: impl Iterator<Item = &'a ListedPin>) -> usize {
    pins.map(|listed| listed.key().map_or(listed.pin, Pin::Spki)).collect::<HashSet<_>>().len()
}

fn warn_without_backup(subject: &Subject<'_>, pinset: &Read<'_>) {
    if let Some(list) = without_backup(subject, pinset) {
        let message = format!("the pinset {:?} is enforced, and no pin of its {} is a backup", pinset.name, list.key);
        let help = "move the pin of the key that is kept in reserve to backup = [\"…\"]";
        subject.findings.warning(Code::W31, &list.span, message, help);
    }
}

/// A list that has to be met and holds one key, where nothing inherited will do in its place.
fn needed_and_alone<'a>(pinset: &Read<'a>) -> Option<&'a List> {
    let accepts = pinset.accepts();
    let needed = accepts.combine() == Combine::All && accepts.inherited().is_none();
    pinset.draft.lists.iter().find(|list| needed && count_keys(list.pins.iter()) < ENFORCED_KEYS_MIN)
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
    if pinset.is_off() {
        return;
    }
    let dates_count = !matches!(pinset.basis, Basis::PinOnly { validity: ValidityCheck::Ignore, .. });
    let (mut ended, mut others) = (Vec::new(), Vec::new());
    let pins = pinset.draft.lists.iter().flat_map(|list| &list.pins);
    for listed in pins.filter(|listed| matches!(listed.pin, Pin::Certificate(_))) {
        match listed.certificate_ends.filter(|end| dates_count && *end < subject.now) {
            Some(end) => ended.push((listed, end)),
            None => others.push(listed),
        }
    }
    for (listed, end) in ended {
        let message = format!("this certificate ended at {}: whoever shows it is refused", Timestamp(end));
        let help = "pin its key, spki or sha256/BASE64 in a list, if the host still has it, or remove the pin";
        subject.findings.warning(Code::W42, &listed.span, message, help);
    }
    // Where the pin is all the trust, one certificate may be just what is meant.
    if let Some(listed) = others.first().filter(|_| !pinset.is_pin_only()) {
        let message = format!("the pinset {:?} pins a certificate, which ends with its renewal", pinset.name);
        let help = "pin its key: spki, or sha256/BASE64 in a list";
        subject.findings.warning(Code::W42, &listed.span, message, help);
    }
}
