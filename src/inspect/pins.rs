//! Pins held against the trust anchors that are loaded: digests of the wrong kind, keys that no chain shows where they are
//! looked for, and roots that no chain can end in.

use super::fault::{Fault, Finding};
use crate::config::{At, Code, Config, Places, Shown, Standing, WrittenPin};
use crate::materials::Materials;
use crate::policy::pin::Pin;
use crate::policy::pinset::{Basis, Pinset, Position};
use crate::tls::anchors::{AnchorRecord, TrustAnchors};
use std::collections::{HashMap, HashSet};

/// What there is to say about the pins of all pinsets.
pub(super) fn inspect(config: &Config, places: &Places, materials: &Materials) -> Vec<Finding> {
    let sets = || std::iter::once(&materials.common).chain(materials.own.values());
    let shown = Shown::by(sets().flat_map(|set| set.records()).map(|record| record.certificate.as_ref()));
    let common = pins(&materials.common);
    let own: HashMap<_, _> = materials.own.iter().map(|(name, anchors)| (name, pins(anchors))).collect();
    let mut found = Vec::new();
    for rule in config.rules.rules() {
        let Some(pinset) = rule.pinset() else { continue };
        let in_use = pinset.own_anchors().map_or(Some(&common), |name| own.get(name));
        let mut told = HashSet::new();
        for written in places.pins(&pinset.name) {
            let mistake = mistaken(&shown, written)
                .or_else(|| misplaced(&shown, written, &pinset.basis))
                .or_else(|| not_trusted(in_use?, written, pinset));
            if let Some(Mistake { code, message, help }) =
                mistake.filter(|found| told.insert((found.code, written.pin)))
            {
                let at = At::Pin { pinset: &pinset.name, pin: written.pin };
                let fault = Fault::Pin { code, pinset: pinset.name.clone(), pin: written.pin };
                found.push(Finding::about(places.finding(code, at, message, help), fault));
            }
        }
    }
    found
}

/// What is wrong with a pin.
struct Mistake {
    code: Code,
    message: String,
    help: &'static str,
}

fn mistaken(shown: &Shown, written: &WrittenPin) -> Option<Mistake> {
    let (message, help) = shown.mistaken(&written.pin)?;
    Some(Mistake { code: Code::E12, message: format!("{}: {message}", written.pin), help })
}

/// A pin of an authority that is looked for in the certificates of hosts.
fn misplaced(shown: &Shown, written: &WrittenPin, basis: &Basis) -> Option<Mistake> {
    let (pin, standing) = (written.pin, shown.standing(&written.pin)?);
    match basis {
        Basis::Chain { .. } => {
            let of_hosts = written.position == Position::Leaf || written.is_declared_leaf;
            let message = format!(
                "{pin} is that of a trust anchor whose certificate is an authority's (CA:TRUE), and no verified chain \
                 begins with one"
            );
            let help = "pin the host's own key; keys of authorities belong into ca_pins, and a host that is its own \
                        authority needs trust = \"pin-only\"";
            (of_hosts && standing.is_authority()).then_some(Mistake { code: Code::E13, message, help })
        }
        // What is its own issuer may be the certificate of a device that has been made a trust anchor for other uses.
        Basis::PinOnly { .. } => {
            let message =
                format!("{pin} is that of an intermediate among the trust anchors: no authority is ever seen");
            let help = "pin the host's own key; if the host shows this certificate as its own, define the key under \
                        [keys] and write role = \"leaf\" there";
            let is_mistake = standing == Standing::Intermediate && !written.is_declared_leaf;
            is_mistake.then_some(Mistake { code: Code::E60, message, help })
        }
    }
}

/// The pin of a root that no chain can end in.
fn not_trusted(in_use: &HashSet<Pin>, written: &WrittenPin, pinset: &Pinset) -> Option<Mistake> {
    let because = written.root_because.filter(|_| matches!(pinset.basis, Basis::Chain { .. }))?;
    let pin = written.pin;
    let message = format!("{pin} is {because}, and not among the trust anchors of {:?}", pinset.name);
    let help = "add the root to the trust anchors if it is to be trusted, or remove the pin; \
                write role = \"intermediate\" if another root has signed its key";
    (!in_use.contains(&pin)).then_some(Mistake { code: Code::W41, message, help })
}

/// The pins that name an anchor of a set.
fn pins(anchors: &TrustAnchors) -> HashSet<Pin> {
    let of = |record: &AnchorRecord| {
        let element = record.element;
        std::iter::once(Pin::Spki(element.spki)).chain(element.certificate.map(Pin::Certificate))
    };
    anchors.records().iter().flat_map(of).collect()
}
