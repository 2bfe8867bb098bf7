//! What a configuration that can be read gets wrong: what would lock people out, or protect less than it seems to.
//!
//! Everything here looks at drafts, after all has been read, and changes nothing. `hosts` looks at patterns by
//! themselves, `reach` at what they are to each other and to `[access]`; `pins` and `authorities` at the keys; `time` and
//! `trust` at the rest.

mod authorities;
mod hosts;
mod pins;
mod reach;
mod time;
mod trust;

pub(super) use hosts::refuse_mixed_scripts;
pub use reach::UNREACHED;

use super::findings::Findings;
use super::item::Item;
use super::model::{Log, Upstream};
use super::pins::List;
use super::pinsets::{Defaults, PinsetDraft};
use super::reports::Reports;
use super::rules::Holes;
use super::span::Span;
use super::table::Table;
use crate::policy::access::Access;
use crate::policy::pinset::{Accepts, AnchorSet, Basis, Combine, Expiry, Mode, Stance};
use std::time::SystemTime;
use toml::de::DeValue;

/// What has been read, as far as lints look at it.
pub(super) struct Subject<'a> {
    pub(super) findings: &'a Findings,
    pub(super) drafts: &'a [PinsetDraft],
    pub(super) holes: &'a Holes,
    pub(super) access: &'a Access,
    pub(super) upstream: &'a Upstream,
    pub(super) defaults: &'a Defaults,
    pub(super) reports: &'a Reports,
    pub(super) log: &'a Log,
    pub(super) now: SystemTime,
}

/// Reports everything that a configuration gets wrong by itself.
pub(super) fn lint(subject: &Subject<'_>) {
    hosts::lint(subject);
    reach::lint(subject);
    pins::lint(subject);
    authorities::lint(subject);
    time::lint(subject);
    trust::lint(subject);
}

/// Where a pinset says what lints are about; absent where it says nothing.
#[derive(Clone, Copy)]
pub(super) struct Places {
    mode: Option<Span>,
    verify_name: Option<Span>,
    verify_validity: Option<Span>,
    then: Option<Span>,
    first_step: Option<Span>,
    enforce_from: Option<Span>,
}

impl Places {
    pub(super) fn of(table: &Table<'_>) -> Self {
        let at = |key| table.item(key).map(|item| item.span());
        let within = |key, inside| table.item(key).and_then(|item| inner(&item, inside));
        Self {
            mode: at("mode"),
            verify_name: at("verify_name"),
            verify_validity: at("verify_validity"),
            then: within("expiry", "then"),
            first_step: within("rollout", "ramp").or_else(|| within("rollout", "enforce_from")),
            enforce_from: within("rollout", "enforce_from"),
        }
    }
}

/// Where a key of a table stands, which is read elsewhere.
fn inner(item: &Item<'_>, key: &str) -> Option<Span> {
    let DeValue::Table(entries) = item.value.get_ref() else { return None };
    entries.get(key).map(|value| Span::new(item.file, value.span()))
}

/// A pinset that could be read.
#[derive(Clone, Copy)]
struct Read<'a> {
    draft: &'a PinsetDraft,
    name: &'a str,
    basis: &'a Basis,
    expiry: Option<Expiry>,
}

impl<'a> Subject<'a> {
    /// The pinsets without those that something is wrong with, which has been reported.
    fn pinsets(&self) -> impl Iterator<Item = Read<'a>> + use<'a> {
        self.drafts.iter().filter_map(Read::of)
    }

    /// A pinset, and those that it inherits from.
    fn line(&self, pinset: &Read<'a>) -> impl Iterator<Item = &'a PinsetDraft> + use<'a> {
        let drafts = self.drafts;
        let line = std::iter::successors(Some(pinset.draft), |draft| draft.parent.map(|parent| &drafts[parent]));
        line.take(drafts.len())
    }

    /// The lists of a pinset, and those of the pinsets that it inherits from.
    fn lists(&self, pinset: &Read<'a>) -> impl Iterator<Item = &'a List> + use<'a> {
        self.line(pinset).flat_map(|draft| &draft.lists)
    }

    /// Whether some way to satisfy the pinset goes through such lists alone.
    fn can_be_met(&self, pinset: &Read<'a>, suits: impl Fn(&List) -> bool) -> bool {
        self.line(pinset).any(|draft| match draft.own_pins.as_ref().map(Accepts::combine) {
            Some(Combine::All) => draft.lists.iter().all(&suits),
            Some(Combine::Any) => draft.lists.iter().any(&suits),
            None => false,
        })
    }
}

/// How much a mode protects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Strength {
    Off,
    ReportOnly,
    /// Report-only for some clients still.
    Rollout,
    Enforced,
}

impl<'a> Read<'a> {
    fn of(draft: &'a PinsetDraft) -> Option<Self> {
        let pinset = draft.pinset.as_ref()?;
        Some(Self { draft, name: &pinset.name, basis: &pinset.basis, expiry: pinset.expiry })
    }

    /// Inherited pins included.
    const fn accepts(&self) -> &'a Accepts {
        match self.basis {
            Basis::Chain { accepts, .. } | Basis::PinOnly { leaf: accepts, .. } => accepts,
        }
    }

    fn strength(&self, now: SystemTime) -> Strength {
        match self.basis {
            Basis::Chain { stance: Stance::Fixed(Mode::Off), .. } => Strength::Off,
            Basis::Chain { stance: Stance::Fixed(Mode::ReportOnly), .. } => Strength::ReportOnly,
            Basis::Chain { stance: Stance::Rollout(rollout), .. }
                if rollout.steps().last().is_some_and(|step| step.from > now) =>
            {
                Strength::Rollout
            }
            Basis::Chain { .. } | Basis::PinOnly { .. } => Strength::Enforced,
        }
    }

    /// Whether a mismatch refuses some client, today or at the end of a rollout.
    fn is_enforced(&self, now: SystemTime) -> bool {
        self.strength(now) >= Strength::Rollout
    }

    fn is_off(&self) -> bool {
        matches!(self.basis, Basis::Chain { stance: Stance::Fixed(Mode::Off), .. })
    }

    const fn is_pin_only(&self) -> bool {
        matches!(self.basis, Basis::PinOnly { .. })
    }

    const fn own_anchors(&self) -> Option<&'a AnchorSet> {
        match self.basis {
            Basis::Chain { anchors, .. } => Some(anchors),
            Basis::PinOnly { .. } => None,
        }
    }

    /// Its first list of pins, for what is to be said of all.
    fn list_span(&self) -> Span {
        self.draft.lists.first().map_or(self.draft.span, |list| list.span)
    }
}
