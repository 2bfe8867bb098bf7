//! `inherit = true`: the pins of the pinset that would decide for the same hosts if this one were not there, with what
//! restricts them: its anchors, its end, and the keys that it denies.

use super::code::Code;
use super::findings::Findings;
use super::pinsets::PinsetDraft;
use super::span::Span;
use crate::policy::pattern::HostPattern;
use crate::policy::pin::Sha256;
use crate::policy::pinset::{Accepts, Basis, Denied, Pinset};
use std::collections::{HashMap, HashSet};

/// Gives each pinset that inherits what its parent accepts, and reports those without a single parent.
pub(super) fn resolve(findings: &Findings, drafts: &mut [PinsetDraft]) {
    if drafts.iter().all(|draft| draft.inherits.is_none()) {
        return;
    }
    let mut owners: HashMap<HostPattern, usize> = HashMap::new();
    for (index, draft) in drafts.iter().enumerate() {
        for host in &draft.hosts {
            owners.entry(host.value.clone()).or_insert(index);
        }
    }
    let parents: Vec<_> = (0..drafts.len()).map(|index| find_parent(findings, drafts, &owners, index)).collect();
    for index in 0..drafts.len() {
        drafts[index].parent = parents[index];
        if parents[index].is_some() {
            inherit(drafts, &parents, index);
            deny_together(findings, drafts, &parents, index);
        }
    }
}

/// The one pinset that decides around all hosts of this one.
fn find_parent(
    findings: &Findings,
    drafts: &[PinsetDraft],
    owners: &HashMap<HostPattern, usize>,
    index: usize,
) -> Option<usize> {
    let child = &drafts[index];
    let span = child.inherits.as_ref()?;
    let mut found: Option<usize> = None;
    for host in &child.hosts {
        let wider = host.value.wider();
        let parent = wider.iter().find_map(|pattern| owners.get(pattern).filter(|owner| **owner != index)).copied();
        let Some(parent) = parent else {
            let message = format!("there is nothing to inherit: no pinset holds {} but this one", host.value);
            refuse(findings, span, &message, "remove inherit, or write a pinset for the domain");
            return None;
        };
        if found.is_some_and(|first| first != parent) {
            let message = "the hosts of this pinset lie in several other pinsets: which pins to inherit is not clear";
            refuse(findings, span, message, "make a pinset for the hosts of each, or write the pins out");
            return None;
        }
        found = Some(parent);
    }
    let parent = found?;
    fits(findings, span, child, &drafts[parent]).then_some(parent)
}

/// Whether the pins of the parent mean for the child what they mean for the parent: its restrictions come with them.
fn fits(findings: &Findings, span: &Span, child: &PinsetDraft, parent: &PinsetDraft) -> bool {
    let (Some(own), Some(around)) = (&child.pinset, &parent.pinset) else { return false };
    let (Basis::Chain { anchors, .. }, Basis::Chain { anchors: anchors_around, .. }) = (&own.basis, &around.basis)
    else {
        let message = "pins are inherited between pinsets with trust = \"roots\" only";
        refuse(findings, span, message, "remove inherit, and write the pins out");
        return false;
    };
    if anchors != anchors_around {
        let message = format!("the pins of {:?} are meant for chains that end in other roots", around.name);
        refuse(findings, span, &message, "give both pinsets the same roots, or remove inherit and write the pins out");
        return false;
    }
    if around.expiry.is_some_and(|end| own.expiry.is_none_or(|own| own.at > end.at)) {
        let message = format!("the pins of {:?} end, and here they would go on", around.name);
        let help = "give this pinset an expiry that is not later, or remove inherit and write the pins out";
        refuse(findings, span, &message, help);
        return false;
    }
    true
}

fn refuse(findings: &Findings, span: &Span, message: &str, help: &str) {
    findings.error(Code::E47, span, message, help);
}

/// What a pinset accepts with everything it inherits; its own pins, and those of its parents, each wider than the one
/// before, so that there is an end.
fn inherit(drafts: &mut [PinsetDraft], parents: &[Option<usize>], index: usize) {
    let own_of = |index: usize| drafts[index].own_pins.clone();
    let line = std::iter::successors(Some(index), |index| parents[*index]).take(drafts.len());
    let accepted: Option<Vec<Accepts>> = line.map(own_of).collect();
    let whole = accepted.and_then(|line| line.into_iter().rev().reduce(|parent, child| child.inheriting(parent)));
    if let (Some(whole), Some(Pinset { basis: Basis::Chain { accepts, .. }, .. })) = (whole, &mut drafts[index].pinset)
    {
        *accepts = whole;
    }
}

/// What a wider pinset denies the heir denies too; nothing in the line may be accepted and denied.
fn deny_together(findings: &Findings, drafts: &mut [PinsetDraft], parents: &[Option<usize>], index: usize) {
    let child = &drafts[index];
    let around: Vec<_> = std::iter::successors(parents[index], |index| parents[*index]).take(drafts.len()).collect();
    let mut keys: Vec<Sha256> = child.denied.iter().map(|denied| denied.value).collect();
    for draft in around.iter().map(|index| &drafts[*index]) {
        refuse_contradictions(findings, child, draft);
        refuse_contradictions(findings, draft, child);
        keys.extend(draft.denied.iter().map(|denied| denied.value));
    }
    if let Some(pinset) = &mut drafts[index].pinset {
        let mut seen = HashSet::with_capacity(keys.len());
        keys.retain(|key| seen.insert(*key));
        pinset.deny = Denied::new(&pinset.name, keys);
    }
}

/// Keys that one of the two denies and the other accepts.
fn refuse_contradictions(findings: &Findings, denying: &PinsetDraft, accepting: &PinsetDraft) {
    if denying.denied.is_empty() {
        return;
    }
    let pins = accepting.lists.iter().flat_map(|list| &list.pins);
    let accepted: HashMap<Sha256, Span> = pins.filter_map(|listed| Some((listed.key()?, listed.span))).collect();
    for denied in &denying.denied {
        if let Some(span) = accepted.get(&denied.value) {
            let message = "this key is denied here and accepted in the same line of pinsets that inherit";
            let help = "remove it from one of them; what is denied is refused, whatever else matches";
            findings.conflict(Code::E38, &denied.span, message, (span, "accepted here"), help);
        }
    }
}
