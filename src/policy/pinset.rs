//! Pinsets: which keys a host may show, and what is done when it shows others.

mod accepts;

pub use accepts::{Accepts, Clause, Combine, PathElement, PinMatch, Position};

use super::host::Host;
use super::moment::{Circumstances, Moment};
use super::pin::Sha256;
use super::rollout::{Lot, Rollout};
use super::rules::Blocked;
use std::sync::Arc;
use std::time::SystemTime;

/// What a failed pin does. It softens pins only: chain, name and validity failures refuse in every mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Refuse the connection.
    Enforce,
    /// Let it through and report it (RFC 7469 section 2.1.3).
    ReportOnly,
    /// Do not judge pins at all.
    Off,
}

/// When a mode holds, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stance {
    /// This mode, for every client.
    Fixed(Mode),
    /// Report-only that becomes enforce, client by client.
    Rollout(Rollout),
}

/// What is done with a request for `http://` to a pinned host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plaintext {
    /// Refuse it.
    Deny,
    /// Speak TLS to the upstream, pins judged, and plain HTTP with the client.
    Upgrade,
    /// Forward it as it is: no pin protects it.
    Allow,
}

/// Trust anchors that the chains of a pinset may end in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AnchorSet {
    /// Those that all upstreams may end in.
    Common,
    /// Those of a source of its own, in the words of the configuration; no others.
    Own(Arc<str>),
}

/// Which name the certificate of a pin-only host has to carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameCheck {
    /// The requested host as subjectAltName.
    San,
    /// Another host as subjectAltName; it is also what the upstream is asked for.
    As(Host),
    /// None: the pinned key alone identifies the host.
    Skip,
}

/// Whether the validity dates of a pin-only certificate count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValidityCheck {
    /// notBefore and notAfter are checked.
    Check,
    /// They are not looked at.
    Ignore,
}

/// What makes an upstream trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Basis {
    /// A chain verified to a trust anchor, and pins on it.
    Chain {
        /// The pins.
        accepts: Accepts,
        /// What a mismatch does.
        stance: Stance,
        /// Where its chains may end.
        anchors: AnchorSet,
    },
    /// The pin is the trust: no chain is built. It has no softer mode, because without the pin nothing is left.
    PinOnly {
        /// Pins of the end entity. Never empty.
        leaf: Accepts,
        /// Which name it has to carry.
        name: NameCheck,
        /// Whether its dates count.
        validity: ValidityCheck,
    },
}

/// What happens to a pinset at its end. There is no default: it must be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterExpiry {
    /// Refuse every connection.
    FailClosed,
    /// Judge the pins and report, but let connections through.
    ReportOnly,
    /// Treat the host as one without pins. The chain is verified all the same.
    Unpinned,
}

/// The end of a pinset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// From this moment on.
    pub at: SystemTime,
    /// What happens then.
    pub then: AfterExpiry,
}

/// A pinset: hosts (held by the index), pins, and what is done about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinset {
    /// The operator's name for it.
    pub name: String,
    /// What makes an upstream trusted.
    pub basis: Basis,
    /// Keys that no path of these hosts may contain, whatever the mode, and the entry that tells of them.
    pub deny: Option<Denied>,
    /// What is done with requests for `http://`.
    pub plaintext: Plaintext,
    /// Its end, if it has one.
    pub expiry: Option<Expiry>,
}

/// Keys that one pinset refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// SHA-256 of each SubjectPublicKeyInfo. Never empty.
    keys: Vec<Sha256>,
    entry: Arc<Blocked>,
}

/// What an upstream has to show at a given moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand<'a> {
    /// A chain verified for the name, within its validity. No pins.
    Chain,
    /// The same, and pins on that chain.
    Pins {
        /// The pins.
        accepts: &'a Accepts,
        /// Whether a mismatch refuses; otherwise it is reported.
        enforced: bool,
    },
    /// A pinned key; no chain.
    PinOnly {
        /// Pins of the end entity.
        leaf: &'a Accepts,
        /// Which name it has to carry.
        name: &'a NameCheck,
        /// Whether its dates count.
        validity: ValidityCheck,
    },
    /// The pinset has ended and nothing satisfies it any more.
    Expired,
}

impl Denied {
    /// Keys that the pinset of this name refuses; `None` when there are none.
    pub fn new(pinset: &str, keys: Vec<Sha256>) -> Option<Self> {
        let entry = Blocked { name: pinset.to_owned(), reason: "its pinset denies it".to_owned() };
        (!keys.is_empty()).then(|| Self { keys, entry: Arc::new(entry) })
    }

    /// The keys.
    pub fn keys(&self) -> &[Sha256] {
        &self.keys
    }

    /// The entry that tells of it, if this key is among them.
    pub fn entry(&self, spki: &Sha256) -> Option<&Arc<Blocked>> {
        self.keys.contains(spki).then_some(&self.entry)
    }
}

impl Expiry {
    /// Whether the end has come. An end that loosens comes with the last clock that says so, one that refuses with the
    /// first.
    fn has_come(&self, basis: &Basis, moment: Moment) -> bool {
        match (self.then, basis) {
            (AfterExpiry::Unpinned, _) | (AfterExpiry::ReportOnly, Basis::Chain { .. }) => moment.loosens(self.at),
            (AfterExpiry::FailClosed, _) | (AfterExpiry::ReportOnly, Basis::PinOnly { .. }) => moment.tightens(self.at),
        }
    }
}

impl Pinset {
    /// What an upstream has to show.
    pub fn demand(&self, circumstances: &Circumstances) -> Demand<'_> {
        let moment = circumstances.moment;
        let ended = self.expiry.filter(|expiry| expiry.has_come(&self.basis, moment)).map(|expiry| expiry.then);
        match &self.basis {
            _ if ended == Some(AfterExpiry::Unpinned) => Demand::Chain,
            Basis::Chain { accepts, stance, .. } => match (self.mode(stance, circumstances), ended) {
                (Mode::Off, _) => Demand::Chain,
                (Mode::ReportOnly, _) | (Mode::Enforce, Some(AfterExpiry::ReportOnly)) => {
                    Demand::Pins { accepts, enforced: false }
                }
                (Mode::Enforce, _) if circumstances.overridden => Demand::Pins { accepts, enforced: false },
                (Mode::Enforce, None) => Demand::Pins { accepts, enforced: true },
                (Mode::Enforce, Some(_)) => Demand::Expired,
            },
            // A pin-only host has nothing but its pin: to report instead would be to trust anybody.
            Basis::PinOnly { leaf, name, validity } => match ended {
                None => Demand::PinOnly { leaf, name, validity: *validity },
                Some(_) => Demand::Expired,
            },
        }
    }

    /// The same pins, reported where they would be enforced. Pin-only hosts stay as they are: they have nothing but their
    /// pin, and to report instead would be to trust anybody.
    #[must_use]
    pub fn reporting(mut self) -> Self {
        if let Basis::Chain { stance, .. } = &mut self.basis
            && *stance != Stance::Fixed(Mode::Off)
        {
            *stance = Stance::Fixed(Mode::ReportOnly);
        }
        self
    }

    fn mode(&self, stance: &Stance, circumstances: &Circumstances) -> Mode {
        match stance {
            Stance::Fixed(mode) => *mode,
            Stance::Rollout(rollout) => {
                let taken = rollout.step_at(circumstances.moment).min(circumstances.hold.unwrap_or(usize::MAX));
                let enforced = rollout.enforces(taken, Lot::draw(&self.name, circumstances.client));
                if enforced { Mode::Enforce } else { Mode::ReportOnly }
            }
        }
    }

    /// The source of trust anchors that its chains alone may end in, if it has one.
    pub const fn own_anchors(&self) -> Option<&Arc<str>> {
        match &self.basis {
            Basis::Chain { anchors: AnchorSet::Own(source), .. } => Some(source),
            _ => None,
        }
    }

    /// Whether its end has come.
    pub fn has_ended(&self, moment: Moment) -> bool {
        self.expiry.is_some_and(|expiry| expiry.has_come(&self.basis, moment))
    }

    /// Its rollout, if it has one.
    pub const fn rollout(&self) -> Option<&Rollout> {
        match &self.basis {
            Basis::Chain { stance: Stance::Rollout(rollout), .. } => Some(rollout),
            _ => None,
        }
    }

    /// The pins of the pinset, whatever its basis.
    pub const fn accepts(&self) -> &Accepts {
        match &self.basis {
            Basis::Chain { accepts, .. } => accepts,
            Basis::PinOnly { leaf, .. } => leaf,
        }
    }
}

#[cfg(test)]
mod tests;
