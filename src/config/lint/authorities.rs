//! Pins that are all of one kind: of end entities, of intermediates, of roots that everybody trusts.

use super::super::code::Code;
use super::super::keys::Role;
use super::super::model::Roots;
use super::{Read, Subject};
use crate::policy::pin::{Pin, Sha256};
use crate::policy::pinset::{AnchorSet, Position};
use sha2::{Digest as _, Sha256 as Hasher};
use std::collections::HashSet;
use std::sync::LazyLock;
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;
use x509_parser::prelude::{FromDer as _, X509Certificate};

pub(super) fn lint(subject: &Subject<'_>) {
    let pinsets = subject.pinsets().filter(|pinset| !pinset.is_pin_only() && !pinset.is_off());
    for pinset in pinsets.filter(|pinset| pinset.draft.sound_lists) {
        let report = |code, message, help| subject.findings.info(code, &pinset.list_span(), message, help);
        let name = pinset.name;
        if has_leaf_pins_only(subject, &pinset) {
            let message = format!("the pinset {name:?} pins keys of the end entity alone");
            report(Code::I33, message, "agree with the operator of the host on which key comes next, or add ca_pins");
        }
        if pinset.accepts().pins().all(is_public_root) {
            let message = format!("the pinset {name:?} pins roots of public authorities alone");
            report(Code::I35, message, "pin the host's own key as well: leaf_pins and combine = \"all\"");
        }
        if has_intermediates_only(subject, &pinset) && trusts_public_roots(subject, &pinset) {
            let message = format!("the pinset {name:?} pins intermediates of public authorities alone");
            let help = "pin the roots of the authority, or keys that the operator of the host controls";
            subject.findings.warning(Code::W34, &pinset.list_span(), message, help);
        }
    }
}

fn has_leaf_pins_only(subject: &Subject<'_>, pinset: &Read<'_>) -> bool {
    subject
        .lists(pinset)
        .all(|list| list.position == Position::Leaf || list.pins.iter().all(|listed| listed.role == Some(Role::Leaf)))
}

fn has_intermediates_only(subject: &Subject<'_>, pinset: &Read<'_>) -> bool {
    subject.lists(pinset).flat_map(|list| &list.pins).all(|listed| listed.role == Some(Role::Intermediate))
}

/// Whether chains may end in what browsers trust.
fn trusts_public_roots(subject: &Subject<'_>, pinset: &Read<'_>) -> bool {
    match pinset.own_anchors() {
        None => false,
        Some(AnchorSet::Common) => !matches!(subject.upstream.roots, Roots::File(_)),
        Some(AnchorSet::Own(name)) => matches!(name.as_ref(), "system" | "webpki"),
    }
}

/// Whether this is the key, or the certificate, of a root in the list of Mozilla.
pub(super) fn is_public_root(pin: &Pin) -> bool {
    static PUBLIC: LazyLock<HashSet<Pin>> = LazyLock::new(|| {
        let digest = |octets: &[u8]| -> Sha256 { Hasher::digest(octets).into() };
        let pins = TLS_SERVER_ROOT_CERTS.iter().flat_map(|der| {
            let key = X509Certificate::from_der(der).ok().map(|(_, root)| Pin::Spki(digest(root.public_key().raw)));
            key.into_iter().chain([Pin::Certificate(digest(der))])
        });
        pins.collect()
    });
    PUBLIC.contains(pin)
}
