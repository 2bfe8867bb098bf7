//! Pins that are all of one kind: of end entities, of intermediates, of roots that everybody trusts.

pub(super) use super::super::roles::is_public_root;

use super::super::code::Code;
use super::super::model::Roots;
use super::super::pins::List;
use super::super::roles::ListedPin;
use super::{Read, Subject};
use crate::policy::pinset::{AnchorSet, Position};

pub(super) fn lint(subject: &Subject<'_>) {
    let pinsets = subject.pinsets().filter(|pinset| !pinset.is_pin_only() && !pinset.is_off());
    for pinset in pinsets.filter(|pinset| pinset.draft.sound_lists) {
        if has_leaf_pins_only(subject, &pinset) {
            let message = format!("the pinset {:?} pins keys of the end entity alone", pinset.name);
            let help = "agree with the operator of the host on which key comes next, or add ca_pins";
            subject.findings.info(Code::I33, &pinset.list_span(), message, help);
        }
        if trusts_public_roots(subject, &pinset) {
            tell_of_public_roots(subject, &pinset);
            warn_of_intermediates(subject, &pinset);
        }
    }
}

fn has_leaf_pins_only(subject: &Subject<'_>, pinset: &Read<'_>) -> bool {
    let is_of_leaves = |list: &List| list.position == Position::Leaf || list.pins.iter().all(ListedPin::is_end_entity);
    subject.lists(pinset).all(is_of_leaves)
}

/// One root in a list is enough for everybody with a certificate of that authority, whatever stands beside it.
fn tell_of_public_roots(subject: &Subject<'_>, pinset: &Read<'_>) {
    let takes_a_root =
        |list: &List| list.position != Position::Leaf && list.pins.iter().any(|listed| is_public_root(&listed.pin));
    if !subject.can_be_met(pinset, takes_a_root) {
        return;
    }
    let name = pinset.name;
    let (message, help) = if pinset.accepts().pins().all(is_public_root) {
        let message = format!("the pinset {name:?} pins roots of public authorities alone");
        (message, "pin the host's own key as well: leaf_pins and combine = \"all\"")
    } else {
        let message =
            format!("in the pinset {name:?} the root of a public authority is enough, whatever is pinned beside it");
        (message, "to have the other pins keep anybody out, require both: leaf_pins, ca_pins and combine = \"all\"")
    };
    subject.findings.info(Code::I35, &pinset.list_span(), message, help);
}

/// Intermediates that the pinset cannot do without.
fn warn_of_intermediates(subject: &Subject<'_>, pinset: &Read<'_>) {
    let is_of_intermediates = |list: &List| list.pins.iter().all(ListedPin::is_intermediate);
    let lists = &pinset.draft.lists;
    let Some(list) = lists.iter().find(|list| is_of_intermediates(list)) else { return };
    if subject.can_be_met(pinset, |list| !is_of_intermediates(list)) {
        return;
    }
    let name = pinset.name;
    let message = if lists.iter().all(is_of_intermediates) {
        format!("the pinset {name:?} pins intermediates of public authorities alone")
    } else {
        format!("the pinset {name:?} needs its {}, which are intermediates of public authorities alone", list.key)
    };
    let help = "pin the roots of the authority, or keys that the operator of the host controls";
    subject.findings.warning(Code::W34, &list.span, message, help);
}

/// Whether chains may end in what browsers trust.
fn trusts_public_roots(subject: &Subject<'_>, pinset: &Read<'_>) -> bool {
    match pinset.own_anchors() {
        None => false,
        Some(AnchorSet::Common) => !matches!(subject.upstream.roots, Roots::File(_)),
        Some(AnchorSet::Own(name)) => matches!(name.as_ref(), "system" | "webpki"),
    }
}
