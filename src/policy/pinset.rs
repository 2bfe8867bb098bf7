//! Pinsets: which keys a host may show, and what is done when it shows others.

use super::pin::{Pin, Sha256};
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

/// A certificate of a path as the judgement sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathElement {
    /// SHA-256 of the SubjectPublicKeyInfo, SEQUENCE header included.
    pub spki: Sha256,
    /// SHA-256 of the certificate; absent where nothing in the policy compares certificates, or for a trust anchor of
    /// which only the key is known.
    pub certificate: Option<Sha256>,
}

/// Where in a verified path a key has to stand. The end entity is position 0, the trust anchor is the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Position {
    /// The end entity, position 0.
    Leaf,
    /// An intermediate or the trust anchor, position 1 and up.
    Ca,
    /// Any position.
    Anywhere,
}

/// One list of pins; a path satisfies it when one of the pins stands at a fitting position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// Where the key has to stand.
    position: Position,
    /// The pins, backups included. Never empty.
    pins: Vec<Pin>,
}

/// How several clauses of a pinset are taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// Every clause has to be satisfied.
    All,
    /// One satisfied clause is enough.
    Any,
}

/// The pins of a pinset. Holds at least one clause with at least one pin, so "no pins" cannot mean "anything goes".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepts {
    clauses: Vec<Clause>,
    combine: Combine,
}

/// A pin found in a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinMatch {
    /// Where it stood: 0 is the end entity.
    pub position: usize,
    /// The pin.
    pub pin: Pin,
}

/// Which name the certificate of a pin-only host has to carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameCheck {
    /// The requested host as subjectAltName.
    San,
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
        mode: Mode,
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
    /// Its end, if it has one.
    pub expiry: Option<Expiry>,
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
        name: NameCheck,
        /// Whether its dates count.
        validity: ValidityCheck,
    },
    /// The pinset has ended and nothing satisfies it any more.
    Expired,
}

impl Pin {
    fn names(&self, element: &PathElement) -> bool {
        match self {
            Self::Spki(digest) => *digest == element.spki,
            Self::Certificate(digest) => Some(digest) == element.certificate.as_ref(),
        }
    }
}

impl Clause {
    /// A clause; `None` when there are no pins.
    pub fn new(position: Position, pins: Vec<Pin>) -> Option<Self> {
        (!pins.is_empty()).then_some(Self { position, pins })
    }

    /// The pins.
    pub fn pins(&self) -> &[Pin] {
        &self.pins
    }

    /// Where the key has to stand.
    pub const fn position(&self) -> Position {
        self.position
    }

    fn find(&self, path: &[PathElement]) -> Option<PinMatch> {
        let from = usize::from(self.position == Position::Ca);
        let to = if self.position == Position::Leaf { 1 } else { path.len() };
        path.iter().enumerate().take(to).skip(from).find_map(|(position, element)| {
            let pin = self.pins.iter().find(|pin| pin.names(element))?;
            Some(PinMatch { position, pin: *pin })
        })
    }
}

impl Accepts {
    /// Clauses taken together; `None` when there are none.
    pub fn new(clauses: Vec<Clause>, combine: Combine) -> Option<Self> {
        (!clauses.is_empty()).then_some(Self { clauses, combine })
    }

    /// The clauses.
    pub fn clauses(&self) -> &[Clause] {
        &self.clauses
    }

    /// Every pin of every clause.
    pub fn pins(&self) -> impl Iterator<Item = &Pin> {
        self.clauses.iter().flat_map(|clause| clause.pins.iter())
    }

    /// Whether a pin of a certificate (not of a key) is among them, so that certificates have to be hashed.
    pub fn compares_certificates(&self) -> bool {
        self.pins().any(|pin| matches!(pin, Pin::Certificate(_)))
    }

    /// Whether some pin names this certificate, whatever its position.
    pub fn names(&self, element: &PathElement) -> bool {
        self.pins().any(|pin| pin.names(element))
    }

    /// Judges one path, end entity first, trust anchor last. The match told is that of the first clause satisfied.
    pub fn judge(&self, path: &[PathElement]) -> Option<PinMatch> {
        let mut matches = self.clauses.iter().map(|clause| clause.find(path));
        match self.combine {
            Combine::Any => matches.flatten().next(),
            Combine::All => {
                let first = matches.next().flatten()?;
                matches.all(|m| m.is_some()).then_some(first)
            }
        }
    }
}

impl Pinset {
    /// What an upstream has to show at `now`.
    pub fn demand(&self, now: SystemTime) -> Demand<'_> {
        let ended = self.expiry.filter(|expiry| now >= expiry.at).map(|expiry| expiry.then);
        match (&self.basis, ended) {
            (_, Some(AfterExpiry::Unpinned)) | (Basis::Chain { mode: Mode::Off, .. }, _) => Demand::Chain,
            (Basis::Chain { accepts, mode: Mode::ReportOnly, .. }, _)
            | (Basis::Chain { accepts, .. }, Some(AfterExpiry::ReportOnly)) => {
                Demand::Pins { accepts, enforced: false }
            }
            // A pin-only host has nothing but its pin: to report instead would be to trust anybody.
            (Basis::Chain { .. }, Some(AfterExpiry::FailClosed)) | (Basis::PinOnly { .. }, Some(_)) => Demand::Expired,
            (Basis::Chain { accepts, mode: Mode::Enforce }, None) => Demand::Pins { accepts, enforced: true },
            (Basis::PinOnly { leaf, name, validity }, None) => {
                Demand::PinOnly { leaf, name: *name, validity: *validity }
            }
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
mod tests {
    use super::AfterExpiry::{FailClosed, ReportOnly, Unpinned};
    use super::Position::{Anywhere, Ca, Leaf};
    use super::*;
    use std::time::Duration;

    /// What is judged, pin lists, how they combine, the position that matches.
    type Case<'a> = (&'a str, &'a [(Position, &'a [u8])], Combine, Option<usize>);

    const fn key(n: u8) -> PathElement {
        PathElement { spki: [n; 32], certificate: Some([n + 100; 32]) }
    }

    fn spki(numbers: &[u8]) -> Vec<Pin> {
        numbers.iter().map(|n| Pin::Spki([*n; 32])).collect()
    }

    fn accepts(lists: &[(Position, &[u8])], combine: Combine) -> Accepts {
        let clauses = lists.iter().filter_map(|(position, pins)| Clause::new(*position, spki(pins))).collect();
        Accepts::new(clauses, combine).unwrap()
    }

    #[test]
    fn nothing_is_not_a_pinset() {
        assert_eq!(Clause::new(Anywhere, Vec::new()), None);
        assert_eq!(Accepts::new(Vec::new(), Combine::Any), None);
    }

    #[test]
    fn judgement() {
        let path = [key(1), key(2), key(3)];
        let table: &[Case<'_>] = &[
            ("unknown key", &[(Anywhere, &[9])], Combine::Any, None),
            ("CA key pinned as leaf", &[(Leaf, &[2, 3])], Combine::Any, None),
            ("leaf key pinned as CA", &[(Ca, &[1])], Combine::Any, None),
            ("all: one clause misses", &[(Leaf, &[1]), (Ca, &[9])], Combine::All, None),
            ("all: the other misses", &[(Leaf, &[9]), (Ca, &[2])], Combine::All, None),
            ("any: both miss", &[(Leaf, &[2]), (Ca, &[1])], Combine::Any, None),
            ("leaf", &[(Leaf, &[9, 1])], Combine::Any, Some(0)),
            ("intermediate", &[(Ca, &[2])], Combine::Any, Some(1)),
            ("trust anchor", &[(Ca, &[3])], Combine::Any, Some(2)),
            ("anywhere: leaf", &[(Anywhere, &[1])], Combine::Any, Some(0)),
            ("anywhere: anchor", &[(Anywhere, &[3, 9])], Combine::Any, Some(2)),
            ("all", &[(Leaf, &[1]), (Ca, &[3])], Combine::All, Some(0)),
            ("any: second", &[(Leaf, &[9]), (Ca, &[3])], Combine::Any, Some(2)),
        ];
        for (what, lists, combine, expected) in table {
            let found = accepts(lists, *combine).judge(&path).map(|m| m.position);
            assert_eq!(found, *expected, "{what}");
        }
    }

    #[test]
    fn a_certificate_pin_is_not_a_key_pin() {
        let clause = |pin| Accepts::new(vec![Clause::new(Anywhere, vec![pin]).unwrap()], Combine::Any).unwrap();
        let path = [key(1), PathElement { spki: [2; 32], certificate: None }];
        assert_eq!(clause(Pin::Certificate([1; 32])).judge(&path), None, "the digest of the key is no certificate");
        assert_eq!(clause(Pin::Spki([101; 32])).judge(&path), None, "nor the other way round");
        assert_eq!(clause(Pin::Certificate([102; 32])).judge(&path), None, "an unknown certificate matches nothing");
        assert_eq!(clause(Pin::Certificate([101; 32])).judge(&path).map(|m| m.position), Some(0));
    }

    #[test]
    fn demand_over_time() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let (before, after) = (at - Duration::from_secs(1), at + Duration::from_secs(1));
        let chain = |mode| Basis::Chain { accepts: accepts(&[(Leaf, &[1])], Combine::Any), mode };
        let pin_only = || Basis::PinOnly {
            leaf: accepts(&[(Leaf, &[1])], Combine::Any),
            name: NameCheck::San,
            validity: ValidityCheck::Check,
        };
        let tell = |basis: Basis, then, now| {
            let pinset = Pinset { name: "p".into(), basis, expiry: Some(Expiry { at, then }) };
            match pinset.demand(now) {
                Demand::Chain => "chain",
                Demand::Pins { enforced: true, .. } => "enforced",
                Demand::Pins { enforced: false, .. } => "reported",
                Demand::PinOnly { .. } => "pin-only",
                Demand::Expired => "expired",
            }
        };
        let table = [
            (chain(Mode::Enforce), FailClosed, ["enforced", "expired", "expired"]),
            (chain(Mode::Enforce), ReportOnly, ["enforced", "reported", "reported"]),
            (chain(Mode::Enforce), Unpinned, ["enforced", "chain", "chain"]),
            (chain(Mode::ReportOnly), FailClosed, ["reported", "reported", "reported"]),
            (chain(Mode::ReportOnly), ReportOnly, ["reported", "reported", "reported"]),
            (chain(Mode::ReportOnly), Unpinned, ["reported", "chain", "chain"]),
            (chain(Mode::Off), FailClosed, ["chain", "chain", "chain"]),
            (pin_only(), FailClosed, ["pin-only", "expired", "expired"]),
            (pin_only(), ReportOnly, ["pin-only", "expired", "expired"]),
            (pin_only(), Unpinned, ["pin-only", "chain", "chain"]),
        ];
        for (basis, then, expected) in table {
            let told = [before, at, after].map(|now| tell(basis.clone(), then, now));
            assert_eq!(told, expected, "{basis:?} then {then:?}");
        }
    }
}
