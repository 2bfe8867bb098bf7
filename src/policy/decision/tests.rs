use super::*;
use crate::policy::pin::Pin;
use crate::policy::pinset::{
    Accepts, AfterExpiry, AnchorSet, Basis, Clause, Combine, Denied, Expiry, Mode, NameCheck, Pinset, Plaintext,
    Position, Stance, ValidityCheck,
};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

/// A chain that nobody verified, to see what is made of it.
struct Claim {
    host: Host,
    footing: Footing,
    path: Vec<PathElement>,
    beside: Vec<Sha256>,
    passed_over: Vec<Candidate>,
    exempts_pins: bool,
}

impl ChainProof for Claim {
    fn host(&self) -> &Host {
        &self.host
    }
    fn footing(&self) -> Footing {
        self.footing
    }
    fn path(&self) -> &[PathElement] {
        &self.path
    }
    fn beside(&self) -> &[Sha256] {
        &self.beside
    }
    fn passed_over(&self) -> &[Candidate] {
        &self.passed_over
    }
    fn exempts_pins(&self) -> bool {
        self.exempts_pins
    }
}

const fn key(n: u8) -> PathElement {
    PathElement { spki: [n; 32], certificate: None }
}

fn claim(footing: Footing, keys: &[u8]) -> Claim {
    let path = keys.iter().map(|n| key(*n)).collect();
    let host = Host::parse("bank.example").unwrap();
    Claim { host, footing, path, beside: Vec::new(), passed_over: Vec::new(), exempts_pins: false }
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
}

/// A policy that blocks the keys 66 and 67.
fn policy() -> Policy {
    let blocked = |name: &str| Arc::new(Blocked { name: name.into(), reason: "test".into() });
    let blocklist = HashMap::from([([66; 32], blocked("first")), ([67; 32], blocked("second"))]);
    Policy::new(1, Vec::new(), Unpinned::Deny, blocklist).unwrap()
}

fn accepts(pin: u8) -> Accepts {
    let clause = Clause::new(Position::Anywhere, vec![Pin::Spki([pin; 32])]).unwrap();
    Accepts::new(vec![clause], Combine::Any).unwrap()
}

fn circumstances() -> Circumstances {
    Circumstances::new(now(), IpAddr::V4(Ipv4Addr::LOCALHOST))
}

fn pinned(basis: Basis, then: Option<AfterExpiry>) -> Rule {
    let expiry = then.map(|then| Expiry { at: now(), then });
    let pinset = Pinset { name: "bank".into(), basis, deny: None, plaintext: Plaintext::Deny, expiry };
    Rule { kind: RuleKind::Pinned(pinset), hosts: Vec::new() }
}

fn chain(mode: Mode, then: Option<AfterExpiry>) -> Rule {
    pinned(Basis::Chain { accepts: accepts(1), stance: Stance::Fixed(mode), anchors: AnchorSet::Common }, then)
}

fn pin_only(then: Option<AfterExpiry>) -> Rule {
    pinned(Basis::PinOnly { leaf: accepts(1), name: NameCheck::Skip, validity: ValidityCheck::Ignore }, then)
}

fn of_kind(kind: RuleKind) -> Rule {
    Rule { kind, hosts: Vec::new() }
}

fn default(unpinned: Unpinned) -> Rule {
    of_kind(RuleKind::Default(unpinned))
}

fn exempt() -> Rule {
    of_kind(RuleKind::Exempt { reason: "test".into(), until: now() })
}

fn tunnel() -> Rule {
    of_kind(RuleKind::Tunnel { reason: "test".into() })
}

/// A decision in a word: the class that refused, or what was found and what would have refused.
fn tell(decision: &Decision) -> String {
    match decision {
        Decision::Refused(rejection) => format!("refused: {}", rejection.class.as_str()),
        Decision::Allowed { exempted: true, .. } => "exempted".to_owned(),
        Decision::Allowed { matched, violation, .. } => match (matched, violation) {
            (Some(matched), None) => format!("matched at {}", matched.position),
            (None, None) => "allowed".to_owned(),
            (matched, Some(violation)) => format!("reported: {} {matched:?}", violation.class.as_str()),
        },
    }
}

/// What each rule makes of a chain with the pin, one without, and the same two where only the key was verified.
#[test]
fn every_demand_on_every_footing() {
    use AfterExpiry::{FailClosed, ReportOnly, Unpinned as NoPins};
    const PIN: &str = "refused: pin";
    const FAULT: &str = "refused: internal";
    const REPORTED: &str = "reported: pin None";
    let anchored = |pinned, unpinned| [pinned, unpinned, FAULT, FAULT];
    let table = [
        (chain(Mode::Enforce, None), anchored("matched at 1", PIN)),
        (chain(Mode::ReportOnly, None), anchored("matched at 1", REPORTED)),
        (chain(Mode::Off, None), anchored("allowed", "allowed")),
        (chain(Mode::Enforce, Some(FailClosed)), [PIN; 4]),
        (chain(Mode::Enforce, Some(ReportOnly)), anchored("matched at 1", REPORTED)),
        (chain(Mode::Enforce, Some(NoPins)), anchored("allowed", "allowed")),
        (pin_only(None), [FAULT, FAULT, "matched at 1", PIN]),
        (pin_only(Some(FailClosed)), [PIN; 4]),
        (pin_only(Some(ReportOnly)), [PIN; 4]),
        (pin_only(Some(NoPins)), anchored("allowed", "allowed")),
        (exempt(), anchored("allowed", "allowed")),
        (default(Unpinned::Intercept), anchored("allowed", "allowed")),
    ];
    for (rule, expected) in table {
        let shapes = [
            (Footing::Anchored, [9, 1]),
            (Footing::Anchored, [9, 8]),
            (Footing::KeyOnly, [9, 1]),
            (Footing::KeyOnly, [9, 8]),
        ];
        for ((footing, keys), expected) in shapes.into_iter().zip(expected) {
            let decision = evaluate(&policy(), &rule, &circumstances(), Ok(&claim(footing, &keys)));
            assert_eq!(tell(&decision), expected, "{rule:?} {footing:?} {keys:?}");
        }
    }
}

/// An anchor that exempts its chains from pins stands in for the pin where pins are demanded, and for nothing else.
#[test]
fn an_anchor_that_exempts_from_pins() {
    use AfterExpiry::FailClosed;
    let table = [
        (chain(Mode::Enforce, None), Footing::Anchored, [9, 8], "exempted"),
        (chain(Mode::ReportOnly, None), Footing::Anchored, [9, 8], "exempted"),
        (chain(Mode::Enforce, None), Footing::Anchored, [9, 1], "matched at 1"),
        (chain(Mode::Enforce, None), Footing::Anchored, [9, 66], "refused: blocklist"),
        (chain(Mode::Enforce, None), Footing::KeyOnly, [9, 8], "refused: internal"),
        (chain(Mode::Enforce, Some(FailClosed)), Footing::Anchored, [9, 8], "refused: pin"),
        (chain(Mode::Off, None), Footing::Anchored, [9, 8], "allowed"),
        (pin_only(None), Footing::KeyOnly, [9, 8], "refused: pin"),
        (pin_only(None), Footing::Anchored, [9, 8], "refused: internal"),
    ];
    for (rule, footing, keys, expected) in table {
        let claim = Claim { exempts_pins: true, ..claim(footing, &keys) };
        let decision = evaluate(&policy(), &rule, &circumstances(), Ok(&claim));
        assert_eq!(tell(&decision), expected, "{rule:?} {footing:?} {keys:?}");
    }
}

/// Keys that a pinset denies are refused in each of its modes, for its hosts only.
#[test]
fn a_denied_key_is_refused_in_every_mode() {
    let denying = |mode| {
        let Rule { kind: RuleKind::Pinned(pinset), hosts } = chain(mode, None) else { unreachable!() };
        let deny = Denied::new("bank", vec![[7; 32], [8; 32]]);
        Rule { kind: RuleKind::Pinned(Pinset { deny, ..pinset }), hosts }
    };
    for mode in [Mode::Enforce, Mode::ReportOnly, Mode::Off] {
        for keys in [[8, 1, 2], [1, 7, 2], [1, 2, 7]] {
            let claim = Claim { exempts_pins: true, ..claim(Footing::Anchored, &keys) };
            let Decision::Refused(rejection) = evaluate(&policy(), &denying(mode), &circumstances(), Ok(&claim)) else {
                panic!("{mode:?} lets {keys:?} through");
            };
            assert_eq!(rejection.class, FailureClass::Blocklist);
            assert_eq!(rejection.detail, "the chain holds the blocked key \"bank\" (its pinset denies it)");
            assert_eq!(tell(&evaluate(&policy(), &chain(Mode::Off, None), &circumstances(), Ok(&claim))), "allowed");
        }
    }
    assert_eq!(Denied::new("bank", Vec::new()), None);
}

/// The blocklist is looked up again, whatever verification did with it: every rule, every position, either footing.
#[test]
fn a_blocked_key_is_refused_by_every_rule() {
    let rules = [
        chain(Mode::Enforce, None),
        chain(Mode::ReportOnly, None),
        chain(Mode::Off, None),
        chain(Mode::Enforce, Some(AfterExpiry::Unpinned)),
        chain(Mode::Enforce, Some(AfterExpiry::FailClosed)),
        pin_only(None),
        exempt(),
        default(Unpinned::Intercept),
    ];
    for rule in rules {
        for (footing, holder) in [(Footing::Anchored, "the chain"), (Footing::KeyOnly, "what is served")] {
            for keys in [[66, 1, 2], [1, 66, 2], [1, 2, 66]] {
                let claim = claim(footing, &keys);
                let Decision::Refused(rejection) = evaluate(&policy(), &rule, &circumstances(), Ok(&claim)) else {
                    panic!("{rule:?} lets {keys:?} through");
                };
                assert_eq!(rejection.class, FailureClass::Blocklist);
                assert_eq!(rejection.detail, format!("{holder} holds the blocked key \"first\" (test)"));
                let [candidate] = rejection.candidates.as_slice() else { panic!("{rejection:?}") };
                assert_eq!(
                    (&candidate.path, candidate.blocked.as_ref().unwrap().name.as_str()),
                    (&claim.path, "first")
                );
            }
        }
    }
}

/// Whatever was served beside a bare end entity, whose pin matches.
#[test]
fn a_blocked_key_beside_a_bare_end_entity_is_refused() {
    for (beside, expected) in [
        (vec![[66; 32]], "refused: blocklist"),
        (vec![[2; 32], [67; 32]], "refused: blocklist"),
        (vec![[2; 32]], "matched at 0"),
        (vec![], "matched at 0"),
    ] {
        let claim = Claim { beside, ..claim(Footing::KeyOnly, &[1]) };
        let decision = evaluate(&policy(), &pin_only(None), &circumstances(), Ok(&claim));
        assert_eq!(tell(&decision), expected, "{:?}", claim.beside);
        if let Decision::Refused(rejection) = decision {
            let words = "what is served holds the blocked key ";
            assert!(rejection.detail.starts_with(words), "{}", rejection.detail);
        }
    }
}

#[test]
fn a_failed_verification_stays_failed() {
    let classes = [FailureClass::Chain, FailureClass::Name, FailureClass::Validity, FailureClass::Budget];
    for rule in [chain(Mode::ReportOnly, None), chain(Mode::Off, None), exempt(), default(Unpinned::Tunnel), tunnel()] {
        for class in classes {
            let failed = Rejection::new(class, "as verification says");
            let decision = evaluate(&policy(), &rule, &circumstances(), Err::<&Claim, _>(failed.clone()));
            let Decision::Refused(rejection) = decision else { panic!("{rule:?} lets {class:?} through") };
            assert_eq!(rejection, failed);
        }
    }
}

/// What a report shows: the paths that the search turned down, or the one path there is.
#[test]
fn candidates_of_a_mismatch() {
    let before = Candidate { path: vec![key(5)], blocked: None };
    for (passed_over, expected) in [(vec![], vec![key(9)]), (vec![before.clone()], before.path)] {
        let claim = Claim { passed_over, ..claim(Footing::Anchored, &[9]) };
        let rule = chain(Mode::ReportOnly, None);
        let decision = evaluate(&policy(), &rule, &circumstances(), Ok(&claim));
        let Decision::Allowed { permit, violation, matched, exempted: false } = decision else {
            panic!("report-only refuses nothing");
        };
        let violation = violation.unwrap();
        assert_eq!((violation.class, violation.detail.as_str()), (FailureClass::Pin, PIN_MISMATCH));
        assert_eq!(violation.candidates, [Candidate { path: expected, blocked: None }]);
        assert_eq!((permit.host(), permit.passage(), matched), (&claim.host, Passage::Intercept, None));
    }
}

#[test]
fn only_two_kinds_of_rule_tunnel() {
    let host = Host::parse("bank.example").unwrap();
    let none = [
        chain(Mode::Enforce, None),
        chain(Mode::ReportOnly, None),
        chain(Mode::Off, None),
        chain(Mode::Enforce, Some(AfterExpiry::Unpinned)),
        pin_only(None),
        exempt(),
        default(Unpinned::Intercept),
        default(Unpinned::Deny),
    ];
    for rule in none {
        assert!(Permit::tunnel(&rule, &host).is_none(), "{rule:?}");
    }
    for rule in [tunnel(), default(Unpinned::Tunnel)] {
        let permit = Permit::tunnel(&rule, &host).unwrap();
        assert_eq!((permit.host(), permit.passage()), (&host, Passage::Tunnel));
    }
}

/// Both words of a class, the one of the log and the serialised one, are the same.
#[test]
fn names_of_classes() {
    use FailureClass as C;
    let classes = [
        C::Request,
        C::Access,
        C::Overload,
        C::Unreachable,
        C::Chain,
        C::Name,
        C::Validity,
        C::Pin,
        C::Blocklist,
        C::Budget,
        C::Protocol,
        C::Timeout,
        C::Client,
        C::Internal,
    ];
    for class in classes {
        assert_eq!(serde_json::to_value(class).unwrap(), class.as_str());
    }
}
