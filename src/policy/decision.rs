//! From a rule and a verified chain to a verdict, and the permit without which nothing is relayed.

use super::host::Host;
use super::moment::Circumstances;
use super::pin::Sha256;
use super::pinset::{Demand, PathElement, PinMatch};
use super::rules::{Blocked, Policy, Rule, RuleKind, Unpinned};
use std::sync::Arc;

/// Why a session failed, as a class that logs, metrics and replies share. The texts of [`FailureClass::as_str`] are
/// stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// The request could not be understood.
    Request,
    /// The access rules forbid it.
    Access,
    /// A limit of the proxy is reached.
    Overload,
    /// The upstream host could not be found or reached.
    Unreachable,
    /// No path from the certificate to a trust anchor.
    Chain,
    /// The certificate is not for this name.
    Name,
    /// A certificate is expired or not yet valid.
    Validity,
    /// No verified path satisfies the pins.
    Pin,
    /// Every verified path holds a blocked key; where no path is built, something that is served does.
    Blocklist,
    /// The work allowed for path building was used up.
    Budget,
    /// A peer does not speak the protocol.
    Protocol,
    /// A time limit ran out.
    Timeout,
    /// The client went away or sent what does not fit its request.
    Client,
    /// A fault of the proxy itself.
    Internal,
}

/// A path that verified as a chain and was turned down by the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its certificates, end entity first, trust anchor last.
    pub path: Vec<PathElement>,
    /// The blocklist entry it ran into, if that was the reason.
    pub blocked: Option<Arc<Blocked>>,
}

/// Why no permit is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The class.
    pub class: FailureClass,
    /// One sentence for people.
    pub detail: String,
    /// Paths that verified as chains and were turned down; the first is what RFC 7469 calls the validated chain.
    pub candidates: Vec<Candidate>,
}

/// What trust in a chain rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Footing {
    /// Every signature up to a trust anchor was verified, and the name and the dates checked.
    Anchored,
    /// Only possession of the end entity's key was verified.
    KeyOnly,
}

/// A chain whose verification succeeded. Implemented by one type, in `tls`, which only verification constructs.
pub trait ChainProof {
    /// The host it was verified for.
    fn host(&self) -> &Host;
    /// What trust in it rests on.
    fn footing(&self) -> Footing;
    /// Its certificates: end entity first; trust anchor last when anchored.
    fn path(&self) -> &[PathElement];
    /// The keys of what was served beside the end entity, where no path was built that would tell which of it counts.
    fn beside(&self) -> &[Sha256];
    /// Paths that were turned down before this one.
    fn passed_over(&self) -> &[Candidate];
    /// Whether it ends in a trust anchor whose chains the operator has exempted from pins.
    fn exempts_pins(&self) -> bool;
}

/// Leave to relay one session. Only this module makes one: from a chain that satisfies the rule, or from a rule that
/// says to relay blindly.
#[derive(Debug)]
pub struct Permit {
    host: Host,
    passage: Passage,
}

/// What a permit allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// Re-sign towards the client and relay what it says to the verified upstream.
    Intercept,
    /// Relay bytes without looking at them.
    Tunnel,
}

/// The verdict on one session.
#[derive(Debug)]
pub enum Decision {
    /// It may pass.
    Allowed {
        /// The leave to relay.
        permit: Permit,
        /// The pin that matched, where pins were demanded and one did.
        matched: Option<PinMatch>,
        /// What would have refused it if the pins were enforced.
        violation: Option<Rejection>,
        /// Pins were demanded and none matched, and the trust anchor exempts its chains from them.
        exempted: bool,
    },
    /// It may not.
    Refused(Rejection),
}

impl Decision {
    /// Whether pins were satisfied; `None` where the verdict did not turn on pins.
    pub fn pins_satisfied(&self) -> Option<bool> {
        match self {
            Self::Allowed { violation: Some(_), .. } => Some(false),
            Self::Allowed { matched: Some(_), .. } | Self::Allowed { exempted: true, .. } => Some(true),
            Self::Allowed { .. } => None,
            Self::Refused(rejection) => (rejection.class == FailureClass::Pin).then_some(false),
        }
    }
}

impl Permit {
    /// The one constructor.
    const fn grant(host: Host, passage: Passage) -> Self {
        Self { host, passage }
    }

    /// The host the permit is for: the one the upstream proved to be, and the only one a leaf may be issued for.
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// What it allows.
    pub const fn passage(&self) -> Passage {
        self.passage
    }

    /// A permit to relay blindly; `None` unless the rule says so.
    pub fn tunnel(rule: &Rule, host: &Host) -> Option<Self> {
        matches!(rule.kind, RuleKind::Tunnel { .. } | RuleKind::Default(Unpinned::Tunnel))
            .then(|| Self::grant(host.clone(), Passage::Tunnel))
    }
}

/// Judges a verified chain against the rule. The rule and the blocklist are applied here once more, whatever path
/// building did with them, so that no fault there lets a chain through.
pub fn evaluate(
    policy: &Policy,
    rule: &Rule,
    circumstances: &Circumstances,
    chain: Result<&impl ChainProof, Rejection>,
) -> Decision {
    let chain = match chain {
        Ok(chain) => chain,
        Err(rejection) => return Decision::Refused(rejection),
    };
    if let Some(blocked) = policy.blocked_among(rule, chain.path(), chain.beside()) {
        return Decision::Refused(blocklisted(chain, blocked));
    }
    let allow = |matched, violation, exempted| Decision::Allowed {
        permit: Permit::grant(chain.host().clone(), Passage::Intercept),
        matched,
        violation,
        exempted,
    };
    match (rule.demand(circumstances), chain.footing()) {
        (Demand::Expired, _) => Decision::Refused(expired()),
        (Demand::Chain, Footing::Anchored) => allow(None, None, false),
        (Demand::Pins { accepts, enforced }, Footing::Anchored) => match (accepts.judge(chain.path()), enforced) {
            (Some(matched), _) => allow(Some(matched), None, false),
            (None, _) if chain.exempts_pins() => allow(None, None, true),
            (None, false) => allow(None, Some(mismatch(chain)), false),
            (None, true) => Decision::Refused(mismatch(chain)),
        },
        (Demand::PinOnly { leaf, .. }, Footing::KeyOnly) => match leaf.judge(chain.path()) {
            Some(matched) => allow(Some(matched), None, false),
            None => Decision::Refused(mismatch(chain)),
        },
        (Demand::Chain | Demand::Pins { .. }, Footing::KeyOnly) | (Demand::PinOnly { .. }, Footing::Anchored) => {
            Decision::Refused(Rejection::new(FailureClass::Internal, "the chain was not verified as its rule demands"))
        }
    }
}

/// The rejection of a pinset whose `expiry … then = "fail-closed"` has come; needs no connection to be known.
pub fn expired() -> Rejection {
    Rejection::new(FailureClass::Pin, "the pinset has expired and is set to fail closed")
}

fn mismatch(chain: &impl ChainProof) -> Rejection {
    let mut candidates = chain.passed_over().to_vec();
    if candidates.is_empty() {
        candidates.push(Candidate { path: chain.path().to_vec(), blocked: None });
    }
    Rejection { candidates, ..Rejection::new(FailureClass::Pin, PIN_MISMATCH) }
}

fn blocklisted(chain: &impl ChainProof, blocked: &Arc<Blocked>) -> Rejection {
    let candidate = Candidate { path: chain.path().to_vec(), blocked: Some(Arc::clone(blocked)) };
    Rejection {
        candidates: vec![candidate],
        ..Rejection::new(FailureClass::Blocklist, blocked.sentence(chain.footing()))
    }
}

/// What a pin mismatch is called wherever it is found.
pub const PIN_MISMATCH: &str = "no verified path of the upstream's chain holds a pinned key";

impl Blocked {
    /// One sentence for people. Without a chain the key may be that of any certificate that is served.
    pub fn sentence(&self, footing: Footing) -> String {
        let holder = match footing {
            Footing::Anchored => "the chain",
            Footing::KeyOnly => "what is served",
        };
        format!("{holder} holds the blocked key {:?} ({})", self.name, self.reason)
    }
}

impl Rejection {
    /// A rejection without candidates.
    pub fn new(class: FailureClass, detail: impl Into<String>) -> Self {
        Self { class, detail: detail.into(), candidates: Vec::new() }
    }
}

impl FailureClass {
    /// All of them, as they are declared.
    pub const ALL: [Self; 14] = [
        Self::Request,
        Self::Access,
        Self::Overload,
        Self::Unreachable,
        Self::Chain,
        Self::Name,
        Self::Validity,
        Self::Pin,
        Self::Blocklist,
        Self::Budget,
        Self::Protocol,
        Self::Timeout,
        Self::Client,
        Self::Internal,
    ];

    /// The stable text of logs, metrics and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Access => "access",
            Self::Overload => "overload",
            Self::Unreachable => "unreachable",
            Self::Chain => "chain",
            Self::Name => "name",
            Self::Validity => "validity",
            Self::Pin => "pin",
            Self::Blocklist => "blocklist",
            Self::Budget => "budget",
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
            Self::Client => "client",
            Self::Internal => "internal",
        }
    }
}

#[cfg(test)]
mod tests;
