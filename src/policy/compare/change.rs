//! What is different, and what it comes to.

use super::losses::Losses;
use crate::policy::explain::Told;
use crate::policy::timestamp::Timestamp;
use serde::Serialize;
use std::cmp::Ordering;

/// What a change of the rules does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// The moment from which on the two are compared.
    pub at: Timestamp,
    /// What changes for every host, or for those that no rule names.
    pub general: Vec<Difference>,
    /// What changes for hosts that a rule names, what a reviewer has to see first.
    pub changes: Vec<Change>,
    /// How many patterns nothing changes for.
    pub unchanged: usize,
    /// Which of the pinned hosts lose protection at that moment: what a reload asks about.
    #[serde(skip)]
    pub losses: Losses,
}

/// What changes for some hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it comes to.
    pub kind: Kind,
    /// The hosts, as patterns; ` (other ports)` stands behind one whose ports are not all meant. Of hosts under several
    /// patterns the most specific one is meant.
    pub hosts: Vec<String>,
    /// The rule that they had.
    pub old: Told,
    /// The rule that they get.
    pub new: Told,
    /// What is different. Empty where only the rule is another one.
    pub differences: Vec<Difference>,
}

/// What a change comes to. The first is what a reviewer has to see first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Pins were judged and are not any more.
    Unpinned,
    /// Something passes that was refused, and nothing is refused that passed.
    Looser,
    /// Something passes that was refused, and something is refused that passed.
    Changed,
    /// Pins were not judged and are now.
    NewlyPinned,
    /// Something is refused that passed, and nothing passes that was refused.
    Stricter,
    /// Another rule to the same effect.
    Renamed,
}

/// One thing that is different.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Difference {
    /// What.
    pub aspect: Aspect,
    /// To which end.
    pub direction: Direction,
    /// From when on; at once when absent.
    pub since: Option<Timestamp>,
    /// What it was, where that is a word or two.
    pub old: Option<String>,
    /// What it is.
    pub new: Option<String>,
    /// What is gone, where it is a list.
    pub removed: Vec<String>,
    /// What has come.
    pub added: Vec<String>,
}

/// What two rules may differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aspect {
    /// Pins were judged, or everything refused, and pins are not judged any more.
    Unpinned,
    /// Pins were not judged and are now.
    NewlyPinned,
    /// What a mismatch leads to, otherwise.
    Protection,
    /// Which clients a rollout has come to.
    Clients,
    /// When a rollout is held.
    Hold,
    /// Whether a chain is the basis of trust, or the pin alone.
    Trust,
    /// Where chains may end.
    TrustAnchors,
    /// Which name a pin-only certificate has to carry.
    VerifyName,
    /// Whether the dates of a pin-only certificate count.
    VerifyValidity,
    /// The pins, their places, and how the lists go together.
    Pins,
    /// Keys that the host may not show.
    Deny,
    /// What is done with `http://`.
    Plaintext,
    /// What is done with hosts that no rule names.
    UnpinnedHosts,
    /// What is done with sessions that have two names, neither of which a rule names.
    NameMismatch,
    /// Keys that no host may show.
    Blocklist,
    /// Files with trust anchors whose chains pass whatever the pins say.
    ExemptFromPins,
    /// What revocation lists decide.
    Revocation,
    /// Files with revocation lists.
    RevocationLists,
    /// Who may use the proxy, and to go where.
    Access,
}

/// To which end something is different.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Something passes that was refused.
    Looser,
    /// Something is refused that passed.
    Stricter,
    /// Both, or it cannot be told.
    Both,
    /// It cannot be told whether anything passes that was refused.
    Undecided,
}

impl Aspect {
    /// For people: the word of the configuration, where it has one.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unpinned | Self::NewlyPinned | Self::Protection => "mode",
            Self::Clients => "clients",
            Self::Hold => "hold",
            Self::Trust => "trust",
            Self::TrustAnchors => "trust anchors",
            Self::ExemptFromPins => "exempts_pins",
            Self::Revocation => "revocation",
            Self::RevocationLists => "crls",
            Self::Access => "[access]",
            Self::VerifyName => "verify_name",
            Self::VerifyValidity => "verify_validity",
            Self::Pins => "pins",
            Self::Deny => "deny",
            Self::Plaintext => "plaintext",
            Self::UnpinnedHosts => "unpinned",
            Self::NameMismatch => "name_mismatch",
            Self::Blocklist => "blocklist",
        }
    }
}

impl Direction {
    /// From what is ordered from loose to strict.
    pub(super) fn between<T: Ord>(old: &T, new: &T) -> Option<Self> {
        match old.cmp(new) {
            Ordering::Equal => None,
            Ordering::Greater => Some(Self::Looser),
            Ordering::Less => Some(Self::Stricter),
        }
    }

    /// From what was taken away and added of a list of things that are refused.
    pub(super) fn of_refused(removed: &[String], added: &[String]) -> Option<Self> {
        match (removed.is_empty(), added.is_empty()) {
            (true, true) => None,
            (false, true) => Some(Self::Looser),
            (true, false) => Some(Self::Stricter),
            (false, false) => Some(Self::Both),
        }
    }

    /// Whether something passes that was refused, or may.
    pub const fn loosens(self) -> bool {
        matches!(self, Self::Looser | Self::Both | Self::Undecided)
    }
}

impl Difference {
    /// From one word to another.
    pub fn words(aspect: Aspect, direction: Direction, old: impl Into<String>, new: impl Into<String>) -> Self {
        let (old, new) = (Some(old.into()), Some(new.into()));
        Self { aspect, direction, since: None, old, new, removed: Vec::new(), added: Vec::new() }
    }

    /// What is gone from a list, and what has come.
    pub fn lists(aspect: Aspect, direction: Direction, removed: Vec<String>, added: Vec<String>) -> Self {
        Self { aspect, direction, since: None, old: None, new: None, removed, added }
    }

    /// Whether it says the same as another one, of another moment. A rollout has many steps of which the first tells.
    pub(super) fn repeats(&self, other: &Self) -> bool {
        let steps = self.aspect == Aspect::Protection && other.aspect == Aspect::Protection;
        (steps && self.direction == other.direction) || Self { since: other.since, ..self.clone() } == *other
    }
}

impl Kind {
    /// What differences come to; no difference is another rule to the same effect.
    pub(super) fn of(differences: &[Difference]) -> Self {
        let has = |aspect| differences.iter().any(|difference| difference.aspect == aspect);
        let loosens = differences.iter().any(|difference| difference.direction.loosens());
        let tightens = differences.iter().any(|difference| difference.direction != Direction::Looser);
        match (loosens, tightens) {
            _ if has(Aspect::Unpinned) => Self::Unpinned,
            (true, false) => Self::Looser,
            (true, true) => Self::Changed,
            (false, true) if has(Aspect::NewlyPinned) => Self::NewlyPinned,
            (false, true) => Self::Stricter,
            (false, false) => Self::Renamed,
        }
    }
}

impl Difference {
    /// Whether its words are the operator's own and not those of the program.
    pub const fn is_in_own_words(&self) -> bool {
        match self.aspect {
            Aspect::TrustAnchors
            | Aspect::VerifyName
            | Aspect::Pins
            | Aspect::Deny
            | Aspect::Blocklist
            | Aspect::ExemptFromPins
            | Aspect::RevocationLists => true,
            Aspect::Unpinned
            | Aspect::NewlyPinned
            | Aspect::Protection
            | Aspect::Clients
            | Aspect::Hold
            | Aspect::Trust
            | Aspect::VerifyValidity
            | Aspect::Plaintext
            | Aspect::UnpinnedHosts
            | Aspect::NameMismatch
            | Aspect::Revocation
            | Aspect::Access => false,
        }
    }
}

impl Comparison {
    /// Changes the texts that are the operator's own (reasons, files, pins, names of blocked keys), so that what must
    /// not be told can be taken out of them. Hosts and the names of pinsets stay.
    pub fn edit_texts(&mut self, mut edit: impl FnMut(&mut String)) {
        for change in &mut self.changes {
            change.old.edit_texts(&mut edit);
            change.new.edit_texts(&mut edit);
        }
        let differences = self.changes.iter_mut().flat_map(|change| &mut change.differences);
        for difference in differences.chain(&mut self.general).filter(|difference| difference.is_in_own_words()) {
            let Difference { old, new, removed, added, .. } = difference;
            old.iter_mut().chain(new).chain(removed).chain(added).for_each(&mut edit);
        }
    }

    /// Whether something passes that was refused.
    pub fn loosens(&self) -> bool {
        let changes = self.changes.iter().flat_map(|change| &change.differences);
        changes.chain(&self.general).any(|difference| difference.direction.loosens())
    }
}
