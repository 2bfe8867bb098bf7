//! Pinsets: which keys a host may show, and what is done when it shows others.

use super::host::Host;
use super::moment::{Circumstances, Moment};
use super::pin::{Pin, Sha256};
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnchorSet {
    /// Those that all upstreams may end in.
    Common,
    /// Those of a source of its own, in the words of the configuration; no others.
    Own(Arc<str>),
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
    /// What satisfies this satisfies the pinset too.
    inherited: Option<Box<Accepts>>,
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

impl Pin {
    /// Whether it is the pin of this certificate or of its key.
    pub fn names(&self, element: &PathElement) -> bool {
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
        (!clauses.is_empty()).then_some(Self { clauses, combine, inherited: None })
    }

    /// These, or what satisfies `parent`.
    #[must_use]
    pub fn inheriting(self, parent: Self) -> Self {
        let inherited = match self.inherited {
            None => parent,
            Some(own) => own.inheriting(parent),
        };
        Self { inherited: Some(Box::new(inherited)), ..self }
    }

    /// How the own clauses are taken together.
    pub const fn combine(&self) -> Combine {
        self.combine
    }

    /// The own clauses.
    pub fn own_clauses(&self) -> &[Clause] {
        &self.clauses
    }

    /// What satisfies these pins as well, though they are another pinset's.
    pub fn inherited(&self) -> Option<&Self> {
        self.inherited.as_deref()
    }

    /// The clauses, inherited ones included.
    pub fn clauses(&self) -> impl Iterator<Item = &Clause> {
        std::iter::successors(Some(self), |accepts| accepts.inherited()).flat_map(|accepts| &accepts.clauses)
    }

    /// Every pin of every clause, inherited ones included.
    pub fn pins(&self) -> impl Iterator<Item = &Pin> {
        self.clauses().flat_map(|clause| clause.pins.iter())
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
        let own = match self.combine {
            Combine::Any => matches.flatten().next(),
            Combine::All => {
                let first = matches.next().flatten();
                first.filter(|_| matches.all(|m| m.is_some()))
            }
        };
        own.or_else(|| self.inherited()?.judge(path))
    }
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
mod tests {
    use super::AfterExpiry::{FailClosed, ReportOnly, Unpinned};
    use super::Position::{Anywhere, Ca, Leaf};
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};
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

    fn pinset(basis: Basis, expiry: Option<Expiry>) -> Pinset {
        Pinset { name: "p".into(), basis, deny: None, plaintext: Plaintext::Deny, expiry }
    }

    fn circumstances(moment: impl Into<Moment>) -> Circumstances {
        Circumstances::new(moment, IpAddr::V4(Ipv4Addr::LOCALHOST))
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
        let chain = |mode| Basis::Chain {
            accepts: accepts(&[(Leaf, &[1])], Combine::Any),
            stance: Stance::Fixed(mode),
            anchors: AnchorSet::Common,
        };
        let pin_only = || Basis::PinOnly {
            leaf: accepts(&[(Leaf, &[1])], Combine::Any),
            name: NameCheck::San,
            validity: ValidityCheck::Check,
        };
        let tell = |basis: Basis, then, now| {
            let pinset = pinset(basis, Some(Expiry { at, then }));
            match pinset.demand(&circumstances(now)) {
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
