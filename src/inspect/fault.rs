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
use crate::policy::moment::Moment;
use crate::policy::pin::{Pin, Sha256};
use crate::policy::pinset::{AnchorSet, Basis, Mode, Pinset, Stance};
use crate::policy::protection::Protection;
use crate::policy::rules::{Policy, Rule};
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
    /// The keys that a chain can end in now, of each set of anchors.
    keys: HashMap<AnchorSet, Vec<Sha256>>,
    policy: &'a Policy,
    rules: HashMap<&'a str, &'a Rule>,
    pins: HashSet<&'a Fault>,
    new: &'a Config,
    renewed: HashMap<&'a str, &'a Rule>,
    now: SystemTime,
}

impl<'a> Suffered<'a> {
    fn by(InForce { policy, materials, faults }: InForce<'a>, new: &'a Config, now: SystemTime) -> Self {
        let own = materials.own.iter().map(|(name, anchors)| (AnchorSet::Own(name.clone()), &**anchors));
        let sets = std::iter::once((AnchorSet::Common, &*materials.common)).chain(own);
        Self {
            keys: sets.map(|(set, anchors)| (set, fit(anchors, now))).collect(),
            policy,
            rules: by_name(policy.rules().iter().map(|rule| &**rule)),
            pins: faults.iter().filter(|fault| matches!(fault, Fault::Pin { .. })).collect(),
            new,
            renewed: by_name(new.rules.rules()),
            now,
        }
    }

    fn includes(&self, fault: &Fault) -> bool {
        match fault {
            Fault::Anchors(set) => self.keys.get(set).is_some_and(Vec::is_empty),
            Fault::Pinset { pinset, anchors } => self.is_without_anchors(pinset, anchors),
            Fault::Pin { pinset, .. } => self.pins.contains(fault) && self.refuses_no_more(pinset),
            Fault::Other => false,
        }
    }

    /// Whether no anchor that a pinset has now is left to it that the new configuration does not block, either. One that
    /// is new is compared with others that have these anchors now: it is no worse off than they are.
    fn is_without_anchors(&self, name: &str, anchors: &AnchorSet) -> bool {
        let (rule, renewed) = (self.rules.get(name), self.renewed.get(name).and_then(|rule| rule.pinset()));
        let set = match rule.and_then(|rule| rule.pinset()) {
            // Without chains it needs no anchor, so its hosts are well.
            Some(pinset) => anchor_set(pinset),
            None => Some(anchors),
        };
        let is_blocked = |key: &Sha256| {
            let already = rule.map_or_else(
                || self.policy.blocklist().contains_key(key),
                |rule| self.policy.blocked(rule, key).is_some(),
            );
            already || renewed.is_some_and(|renewed| self.new.rules.is_blocked(renewed, key))
        };
        set.and_then(|set| self.keys.get(set)).is_some_and(|keys| keys.iter().all(is_blocked))
    }

    /// Whether a pin of a pinset that matches nothing turns nobody away whom it does not turn away as it stands: a mismatch
    /// is let through, or it was refused to everyone, or the same becomes of it as would have.
    fn refuses_no_more(&self, name: &str) -> bool {
        let (Some(old), Some(new)) = (self.rules.get(name), self.renewed.get(name)) else { return false };
        let course = |rule: &Rule| rule.pinset().map(|pinset| (stance(pinset).cloned(), pinset.expiry));
        let is_soft = |pinset: &Pinset| matches!(stance(pinset), Some(Stance::Fixed(Mode::ReportOnly | Mode::Off)));
        new.pinset().is_some_and(is_soft)
            || Protection::of(old, Moment::at(self.now)).is_enforced()
            || course(old) == course(new)
    }
}

/// What a failed pin does, and when; `None` where it always refuses.
const fn stance(pinset: &Pinset) -> Option<&Stance> {
    match &pinset.basis {
        Basis::Chain { stance, .. } => Some(stance),
        Basis::PinOnly { .. } => None,
    }
}

/// The rules that are pinsets.
fn by_name<'a>(rules: impl IntoIterator<Item = &'a Rule>) -> HashMap<&'a str, &'a Rule> {
    rules.into_iter().filter_map(|rule| Some((rule.pinset()?.name.as_str(), rule))).collect()
}

/// The pinsets that are without anchors because these sets are. They may have had others.
pub(super) fn below(faults: &[Fault], config: &Config) -> Vec<Fault> {
    let told = faults.iter().filter_map(|fault| match fault {
        Fault::Anchors(set) => Some(set),
        Fault::Pinset { .. } | Fault::Pin { .. } | Fault::Other => None,
    });
    let told: HashSet<_> = told.collect();
    let pinsets = config.rules.rules().iter().filter_map(|rule| rule.pinset());
    let below = pinsets.filter_map(|pinset| Some((pinset, anchor_set(pinset).filter(|set| told.contains(set))?)));
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
