use super::AfterExpiry::{FailClosed, ReportOnly, Unpinned};
use super::Position::{Anywhere, Ca, Leaf};
use super::*;
use crate::policy::pin::Pin;
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

/// Whatever is enforced is reported, but for what has nothing but its pin; what is off stays off.
#[test]
fn reporting_instead() {
    let accepts = || accepts(&[(Anywhere, &[1])], Combine::Any);
    let chain = |stance| Basis::Chain { accepts: accepts(), stance, anchors: AnchorSet::Common };
    let ended = |then| Some(Expiry { at: SystemTime::UNIX_EPOCH, then });
    let pin_only = Basis::PinOnly { leaf: accepts(), name: NameCheck::San, validity: ValidityCheck::Check };
    let reported = Demand::Pins { accepts: &accepts(), enforced: false };
    let table = [
        (chain(Stance::Fixed(Mode::Enforce)), None, reported),
        (chain(Stance::Fixed(Mode::ReportOnly)), None, reported),
        (chain(Stance::Fixed(Mode::Enforce)), ended(FailClosed), reported),
        (chain(Stance::Fixed(Mode::Enforce)), ended(Unpinned), Demand::Chain),
        (chain(Stance::Fixed(Mode::Off)), None, Demand::Chain),
    ];
    for (basis, expiry, expected) in table {
        let pinset = pinset(basis, expiry).reporting();
        assert_eq!(pinset.demand(&circumstances(SystemTime::now())), expected, "{pinset:?}");
    }
    let pinset = pinset(pin_only, None);
    assert_eq!(pinset.clone().reporting(), pinset);
}
