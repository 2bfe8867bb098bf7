//! What a configuration that can be read gets wrong: what would lock people out, or protect less than it seems to.
//!
//! Everything here looks at drafts, after all has been read, and changes nothing.

mod pins;

use super::findings::Findings;
use super::pinsets::PinsetDraft;
use crate::policy::pinset::{Accepts, Basis, Mode, Stance};

/// What has been read, as far as lints look at it.
pub(super) struct Subject<'a> {
    pub(super) findings: &'a Findings,
    pub(super) drafts: &'a [PinsetDraft],
}

/// Reports everything that a configuration gets wrong by itself.
pub(super) fn lint(subject: &Subject<'_>) {
    pins::lint(subject);
}

/// A pinset that could be read.
struct Read<'a> {
    draft: &'a PinsetDraft,
    name: &'a str,
    basis: &'a Basis,
}

impl Subject<'_> {
    /// The pinsets without those that something is wrong with, which has been reported.
    fn pinsets(&self) -> impl Iterator<Item = Read<'_>> {
        self.drafts.iter().filter_map(|draft| {
            let pinset = draft.pinset.as_ref()?;
            Some(Read { draft, name: &pinset.name, basis: &pinset.basis })
        })
    }
}

impl<'a> Read<'a> {
    /// Inherited pins included.
    const fn accepts(&self) -> &'a Accepts {
        match self.basis {
            Basis::Chain { accepts, .. } | Basis::PinOnly { leaf: accepts, .. } => accepts,
        }
    }

    /// Whether a mismatch refuses some client, today or at the end of a rollout.
    const fn is_enforced(&self) -> bool {
        match self.basis {
            Basis::Chain { stance: Stance::Fixed(mode), .. } => matches!(mode, Mode::Enforce),
            Basis::Chain { stance: Stance::Rollout(_), .. } | Basis::PinOnly { .. } => true,
        }
    }

    const fn is_pin_only(&self) -> bool {
        matches!(self.basis, Basis::PinOnly { .. })
    }
}
