//! What the pins of a pinset are, and whether a path satisfies them.

use crate::policy::pin::{Pin, Sha256};

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
