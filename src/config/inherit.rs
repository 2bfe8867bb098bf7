//! `inherit = true`: the pins of the pinset that would decide for the same hosts if this one were not there.

use super::code::Code;
use super::findings::Findings;
use super::pinsets::PinsetDraft;
use super::span::Span;
use crate::policy::pattern::HostPattern;
use crate::policy::pinset::{Accepts, Basis, Pinset};
use std::collections::HashMap;

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
    let chain = |draft: &PinsetDraft| draft.pinset.as_ref().map(|pinset| matches!(pinset.basis, Basis::Chain { .. }));
    match (chain(child), chain(&drafts[parent])) {
        (Some(true), Some(true)) => Some(parent),
        (None, _) | (_, None) => None,
        _ => {
            let message = "pins are inherited between pinsets with trust = \"roots\" only";
            refuse(findings, span, message, "remove inherit, and write the pins out");
            None
        }
    }
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
