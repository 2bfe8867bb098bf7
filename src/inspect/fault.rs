//! Faults that a start puts up with, and what a reload makes of them.
//!
//! A proxy that has just been started with roots that have all ended can still tell so to every client, and other hosts need
//! not depend on them. One that runs has something better, so a fault keeps a new configuration out; but not one that it
//! suffers from already: what else the new configuration says, such as a key that is blocked, would be kept out for nothing.
//! Nor does what a block does to the anchors that are in force: who blocks the last of them means it.

use super::Checked;
use super::anchors::is_fit;
use crate::config::{Code, Config, Diagnostic, Severity};
use crate::materials::Materials;
use crate::policy::pin::{Pin, Sha256};
use crate::policy::pinset::{AnchorSet, Basis, Pinset};
use crate::policy::rules::Policy;
use crate::tls::anchors::TrustAnchors;
use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

/// What an error is about that need not keep a proxy from starting: the same in whatever words and at whatever place of a
/// file it is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// No anchor of the set can be used (E65).
    Anchors(AnchorSet),
    /// None of the anchors of this set is left to the pinset: each is blocked, or cannot be used (E38, and beside E65).
    Pinset {
        /// The name of the pinset.
        pinset: String,
        /// Its anchors.
        anchors: AnchorSet,
    },
    /// A pin that matches nothing, as the anchors show (E12, E13, E60).
    Pin {
        /// What is wrong with it.
        code: Code,
        /// The name of its pinset.
        pinset: String,
        /// The pin.
        pin: Pin,
    },
    /// Something else. It is never known.
    Other,
}

/// A finding, with its fault if it is an error.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) diagnostic: Diagnostic,
    pub(super) fault: Option<Fault>,
}

impl Finding {
    pub(super) fn about(diagnostic: Diagnostic, fault: Fault) -> Self {
        let fault = (diagnostic.severity() == Severity::Error).then_some(fault);
        Self { diagnostic, fault }
    }
}

impl From<Diagnostic> for Finding {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::about(diagnostic, Fault::Other)
    }
}

/// When a configuration is to be put in force.
#[derive(Clone, Copy, Debug)]
pub enum Occasion<'a> {
    /// At the start: there is nothing that could be better.
    Start,
    /// In the place of what is in force.
    Reload(InForce<'a>),
}

/// What is in force.
#[derive(Clone, Copy, Debug)]
pub struct InForce<'a> {
    /// The rules.
    pub policy: &'a Policy,
    /// The anchors.
    pub materials: &'a Materials,
    /// The faults that were found when it was read.
    pub faults: &'a [Fault],
}

/// Whether a configuration is put in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is; its faults are told.
    Taken,
    /// It is not, because some of its files cannot be used.
    Unusable,
    /// It is not, because it has a fault that what is in force has not.
    Worse,
}

impl Checked {
    /// Whether this is put in force: the one place where that is decided.
    pub fn admission(&self, occasion: Occasion<'_>, now: SystemTime) -> Admission {
        match occasion {
            _ if self.materials.is_none() => Admission::Unusable,
            Occasion::Start => Admission::Taken,
            Occasion::Reload(_) if self.faults.is_empty() => Admission::Taken,
            Occasion::Reload(in_force) => {
                let suffered = Suffered::by(in_force, &self.config, now);
                if self.faults.iter().all(|fault| suffered.includes(fault)) {
                    Admission::Taken
                } else {
                    Admission::Worse
                }
            }
        }
    }
}

/// The faults that what is in force has now. What it has of pins is as it was read; anchors end, and begin, while it runs.
struct Suffered<'a> {
    sets: HashSet<AnchorSet>,
    /// Each pinset with chains, and whether it has an anchor left that the new configuration does not block, either.
    pinsets: HashMap<&'a str, bool>,
    pins: HashSet<&'a Fault>,
}

impl<'a> Suffered<'a> {
    fn by(InForce { policy, materials, faults }: InForce<'a>, new: &Config, now: SystemTime) -> Self {
        let own = materials.own.iter().map(|(name, anchors)| (AnchorSet::Own(name.clone()), &**anchors));
        let sets = std::iter::once((AnchorSet::Common, &*materials.common)).chain(own);
        // The digests of the keys of those that can be used.
        let fit: HashMap<_, Vec<_>> = sets.map(|(set, anchors)| (set, fit(anchors, now))).collect();
        let pinsets = policy.rules().iter().filter_map(|rule| {
            let pinset = rule.pinset()?;
            let keys = fit.get(anchor_set(pinset)?)?;
            let mut of_that_name = new.rules.rules().iter().filter_map(|rule| rule.pinset());
            let renewed = of_that_name.find(|renewed| renewed.name == pinset.name);
            let is_blocked = |key| {
                policy.blocked(rule, key).is_some() || renewed.is_some_and(|renewed| new.rules.is_blocked(renewed, key))
            };
            Some((pinset.name.as_str(), !keys.iter().all(is_blocked)))
        });
        Self {
            pinsets: pinsets.collect(),
            pins: faults.iter().filter(|fault| matches!(fault, Fault::Pin { .. })).collect(),
            sets: fit.iter().filter(|(_, keys)| keys.is_empty()).map(|(set, _)| set.clone()).collect(),
        }
    }

    fn includes(&self, fault: &Fault) -> bool {
        match fault {
            Fault::Anchors(set) => self.sets.contains(set),
            // A pinset that is new is no worse off than others with these anchors.
            Fault::Pinset { pinset, anchors } => {
                self.pinsets.get(pinset.as_str()).map_or_else(|| self.sets.contains(anchors), |has_one| !has_one)
            }
            Fault::Pin { .. } => self.pins.contains(fault),
            Fault::Other => false,
        }
    }
}

/// The pinsets that are without anchors because these sets are. They may have had others.
pub(super) fn below(faults: &[Fault], config: &Config) -> Vec<Fault> {
    let is_told = |set: &AnchorSet| faults.iter().any(|fault| matches!(fault, Fault::Anchors(told) if told == set));
    let pinsets = config.rules.rules().iter().filter_map(|rule| rule.pinset());
    let below = pinsets.filter_map(|pinset| Some((pinset, anchor_set(pinset).filter(|set| is_told(set))?)));
    below.map(|(pinset, set)| Fault::Pinset { pinset: pinset.name.clone(), anchors: set.clone() }).collect()
}

/// The anchors that the chains of a pinset may end in; `None` for one that has no chains.
pub(super) const fn anchor_set(pinset: &Pinset) -> Option<&AnchorSet> {
    match &pinset.basis {
        Basis::Chain { anchors, .. } => Some(anchors),
        Basis::PinOnly { .. } => None,
    }
}

/// The keys of the anchors that a chain can end in now.
fn fit(anchors: &TrustAnchors, now: SystemTime) -> Vec<Sha256> {
    anchors.records().iter().filter(|record| is_fit(record, now)).map(|record| record.element.spki).collect()
}
