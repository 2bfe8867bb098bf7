use super::*;
use crate::policy::pinset::{
    AfterExpiry, AnchorSet, Basis, Combine, Expiry, Mode, NameCheck, Pinset, Plaintext, Position, Stance, ValidityCheck,
};
use crate::policy::rules::Unpinned;
use crate::policy::tests_support::{
    accepts, at, authority, day, denied, exempt, intercepting, pinset, policy, rollout, rule, tunnel, with_expiry,
    with_stance,
};
use Aspect as A;
use Direction::{Both, Looser, Stricter};

fn compared(old: &Policy, new: &Policy) -> Comparison {
    let side = |policy| Side { policy, defaults: Unpinned::Intercept.into() };
    compare(side(old), side(new), at(0)).unwrap()
}

fn fixed(mode: Mode) -> Pinset {
    with_stance("p", Stance::Fixed(mode))
}

fn with_pins(combine: Combine, lists: &[(Position, &[u8])]) -> Pinset {
    let mut pinset = pinset("p");
    if let Basis::Chain { accepts: own, .. } = &mut pinset.basis {
        *own = accepts(combine, lists);
    }
    pinset
}

fn with_anchors(source: &str) -> Pinset {
    let mut pinset = pinset("p");
    if let Basis::Chain { anchors, .. } = &mut pinset.basis {
        *anchors = AnchorSet::Own(source.into());
    }
    pinset
}

fn pin_only(name: NameCheck, validity: ValidityCheck) -> Pinset {
    let leaf = accepts(Combine::All, &[(Position::Leaf, &[1, 2])]);
    Pinset { basis: Basis::PinOnly { leaf, name, validity }, ..pinset("p") }
}

fn as_name(text: &str) -> NameCheck {
    NameCheck::As(authority(text).host)
}

fn ending(on: u64, then: AfterExpiry) -> Pinset {
    with_expiry("p", on, then)
}

fn stepped(name: &str, ramp: &[(u64, f64)], enforce_from: u64, hold: Option<f64>) -> Pinset {
    with_stance(name, rollout(ramp, enforce_from, hold))
}

const fn reversed(direction: Direction) -> Direction {
    match direction {
        Looser => Stricter,
        Stricter => Looser,
        Both => Both,
        Direction::Undecided => Direction::Undecided,
    }
}

/// What it is, the rule before and after, and each difference with the day from which on it holds.
type Case = (&'static str, RuleKind, RuleKind, &'static [(Aspect, Direction, Option<u64>)]);

/// From the first to the second; the way back is the reverse of it.
fn assert_order(table: Vec<Case>) {
    for (what, old, new, expected) in table {
        let expected: Vec<_> =
            expected.iter().map(|(aspect, direction, since)| (*aspect, *direction, since.map(at))).collect();
        let found = |from: &RuleKind, to: &RuleKind| -> Vec<_> {
            let side = |kind: &RuleKind| intercepting(vec![rule(kind.clone(), "h.example")]);
            let compared = compared(&side(from), &side(to));
            let differences = compared.changes.into_iter().flat_map(|change| change.differences);
            differences.map(|found| (found.aspect, found.direction, found.since)).collect()
        };
        assert_eq!(found(&old, &new), expected, "{what}");
        let back: Vec<_> =
            found(&new, &old).into_iter().map(|(_, direction, since)| (reversed(direction), since)).collect();
        let there: Vec<_> = expected.into_iter().map(|(_, direction, since)| (direction, since)).collect();
        assert_eq!(back, there, "{what}, the way back");
    }
}

#[test]
fn the_order_of_strictness_of_modes_and_pins() {
    use AfterExpiry::Unpinned as Ends;
    use Position::{Anywhere, Ca, Leaf};
    let pinned = RuleKind::Pinned;
    let kind = || pinned(pinset("p"));
    assert_order(vec![
        ("the same", kind(), kind(), &[]),
        ("the name alone", kind(), pinned(pinset("q")), &[]),
        (
            "an end that changes nothing for pins off",
            pinned(fixed(Mode::Off)),
            pinned(Pinset { expiry: Some(Expiry { at: day(3), then: Ends }), ..fixed(Mode::Off) }),
            &[],
        ),
        ("to report-only", kind(), pinned(fixed(Mode::ReportOnly)), &[(A::Protection, Looser, None)]),
        ("off", kind(), pinned(fixed(Mode::Off)), &[(A::Unpinned, Looser, None)]),
        (
            "report-only to off",
            pinned(fixed(Mode::ReportOnly)),
            pinned(fixed(Mode::Off)),
            &[(A::Unpinned, Looser, None)],
        ),
        ("to a tunnel", kind(), tunnel(), &[(A::Unpinned, Looser, None)]),
        ("off to a tunnel", pinned(fixed(Mode::Off)), tunnel(), &[(A::Protection, Looser, None)]),
        (
            "an exemption, which opens for a time what the default does afterwards",
            kind(),
            exempt(),
            &[(A::Unpinned, Looser, None)],
        ),
        ("a pin more", kind(), pinned(with_pins(Combine::All, &[(Leaf, &[1, 2, 3])])), &[(A::Pins, Looser, None)]),
        ("a pin exchanged", kind(), pinned(with_pins(Combine::All, &[(Leaf, &[1, 3])])), &[(A::Pins, Both, None)]),
        ("anywhere", kind(), pinned(with_pins(Combine::All, &[(Anywhere, &[1, 2])])), &[(A::Pins, Looser, None)]),
        ("above", kind(), pinned(with_pins(Combine::All, &[(Ca, &[1, 2])])), &[(A::Pins, Both, None)]),
        (
            "all to any",
            pinned(with_pins(Combine::All, &[(Leaf, &[1]), (Ca, &[2])])),
            pinned(with_pins(Combine::Any, &[(Leaf, &[1]), (Ca, &[2])])),
            &[(A::Pins, Looser, None)],
        ),
        ("the order of pins", kind(), pinned(with_pins(Combine::Any, &[(Leaf, &[2, 1])])), &[]),
        ("no deny", pinned(Pinset { deny: denied("p", &[9]), ..pinset("p") }), kind(), &[(A::Deny, Looser, None)]),
        (
            "another deny",
            pinned(Pinset { deny: denied("p", &[8]), ..pinset("p") }),
            pinned(Pinset { deny: denied("p", &[9]), ..pinset("p") }),
            &[(A::Deny, Both, None)],
        ),
        (
            "deny goes with the pinset",
            pinned(Pinset { deny: denied("p", &[9]), ..pinset("p") }),
            exempt(),
            &[(A::Unpinned, Looser, None), (A::Deny, Looser, None)],
        ),
        (
            "upgrade",
            kind(),
            pinned(Pinset { plaintext: Plaintext::Upgrade, ..pinset("p") }),
            &[(A::Plaintext, Looser, None)],
        ),
        (
            "upgrade to allow",
            pinned(Pinset { plaintext: Plaintext::Upgrade, ..pinset("p") }),
            pinned(Pinset { plaintext: Plaintext::Allow, ..pinset("p") }),
            &[(A::Plaintext, Looser, None)],
        ),
    ]);
}

#[test]
fn the_order_of_strictness_of_trust() {
    use NameCheck::{San, Skip};
    use ValidityCheck::{Check, Ignore};
    let pinned = RuleKind::Pinned;
    let kind = || pinned(pinset("p"));
    assert_order(vec![
        ("own anchors", kind(), pinned(with_anchors("a.pem")), &[(A::TrustAnchors, Both, None)]),
        (
            "other anchors",
            pinned(with_anchors("b.pem")),
            pinned(with_anchors("a.pem")),
            &[(A::TrustAnchors, Both, None)],
        ),
        ("pin-only", kind(), pinned(pin_only(San, Check)), &[(A::Trust, Both, None)]),
        (
            "pin-only without checks",
            kind(),
            pinned(pin_only(Skip, Ignore)),
            &[(A::Trust, Both, None), (A::VerifyName, Looser, None), (A::VerifyValidity, Looser, None)],
        ),
        ("no name", pinned(pin_only(San, Check)), pinned(pin_only(Skip, Check)), &[(A::VerifyName, Looser, None)]),
        (
            "no name instead of another",
            pinned(pin_only(as_name("a.example:1"), Check)),
            pinned(pin_only(Skip, Check)),
            &[(A::VerifyName, Looser, None)],
        ),
        (
            "another name",
            pinned(pin_only(as_name("a.example:1"), Check)),
            pinned(pin_only(as_name("b.example:1"), Check)),
            &[(A::VerifyName, Both, None)],
        ),
        (
            "a name of its own",
            pinned(pin_only(San, Check)),
            pinned(pin_only(as_name("b.example:1"), Check)),
            &[(A::VerifyName, Both, None)],
        ),
        ("no dates", pinned(pin_only(San, Check)), pinned(pin_only(San, Ignore)), &[(A::VerifyValidity, Looser, None)]),
    ]);
}

#[test]
fn the_order_of_strictness_over_time() {
    use AfterExpiry::{FailClosed, ReportOnly, Unpinned as Ends};
    let pinned = RuleKind::Pinned;
    let kind = || pinned(pinset("p"));
    assert_order(vec![
        ("ends unpinned", kind(), pinned(ending(7, Ends)), &[(A::Unpinned, Looser, Some(7))]),
        ("ends as report-only", kind(), pinned(ending(7, ReportOnly)), &[(A::Protection, Looser, Some(7))]),
        ("ends closed", kind(), pinned(ending(7, FailClosed)), &[(A::Protection, Stricter, Some(7))]),
        ("has ended unpinned", kind(), pinned(ending(0, Ends)), &[(A::Unpinned, Looser, None)]),
        ("ends earlier", pinned(ending(9, Ends)), pinned(ending(7, Ends)), &[(A::Unpinned, Looser, Some(7))]),
        ("ends otherwise", pinned(ending(7, FailClosed)), pinned(ending(7, Ends)), &[(A::Unpinned, Looser, Some(7))]),
        ("a rollout instead", kind(), pinned(stepped("p", &[(2, 5.0)], 9, None)), &[(A::Protection, Looser, None)]),
        (
            "a rollout that is later",
            pinned(stepped("p", &[(2, 5.0)], 9, None)),
            pinned(stepped("p", &[(3, 5.0)], 10, None)),
            &[(A::Protection, Looser, Some(2))],
        ),
        (
            "a rollout of fewer clients",
            pinned(stepped("p", &[(0, 50.0)], 9, None)),
            pinned(stepped("p", &[(0, 5.0)], 9, None)),
            &[(A::Protection, Looser, None)],
        ),
        ("a rollout that is over", pinned(stepped("p", &[], 0, None)), kind(), &[]),
        (
            "a name that draws other lots",
            pinned(stepped("p", &[(0, 5.0)], 9, None)),
            pinned(stepped("q", &[(0, 50.0)], 9, None)),
            &[(A::Clients, Both, None)],
        ),
        (
            "a hold",
            pinned(stepped("p", &[(2, 5.0)], 9, None)),
            pinned(stepped("p", &[(2, 5.0)], 9, Some(0.5))),
            &[(A::Hold, Looser, None)],
        ),
        (
            "a lower hold",
            pinned(stepped("p", &[(2, 5.0)], 9, Some(0.5))),
            pinned(stepped("p", &[(2, 5.0)], 9, Some(0.1))),
            &[(A::Hold, Looser, None)],
        ),
    ]);
}

fn shown(comparison: &Comparison) -> Vec<String> {
    let line = |change: &Change| format!("{:?}: {}", change.kind, change.hosts.join(" "));
    comparison.changes.iter().map(line).collect()
}

/// One pinset for hosts: `p: a.example b.example`.
fn rules(lines: &[&str]) -> Policy {
    let rules = lines.iter().map(|line| {
        let (name, hosts) = line.split_once(": ").unwrap();
        match name {
            "exempt" => rule(exempt(), hosts),
            "tunnel" => rule(tunnel(), hosts),
            "soft" => rule(with_stance("soft", Stance::Fixed(Mode::ReportOnly)), hosts),
            name => rule(pinset(name), hosts),
        }
    });
    intercepting(rules.collect())
}

#[test]
fn which_hosts() {
    let table: &[(&[&str], &[&str], &[&str])] = &[
        (&[], &[], &[]),
        (&["p: a.example *.b.example **.c.example"], &["p: **.c.example *.b.example a.example"], &[]),
        (&["p: a.example"], &[], &["Unpinned: a.example"]),
        (&[], &["p: a.example:8443 192.0.2.1"], &["NewlyPinned: 192.0.2.1 a.example:8443"]),
        (&["p: a.example"], &["q: a.example"], &["Renamed: a.example"]),
        // A hole in a wider rule, and the rest of it.
        (&["p: **.c.example"], &["p: **.c.example", "tunnel: a.c.example"], &["Unpinned: a.c.example"]),
        (&["p: **.c.example"], &["p: **.c.example", "tunnel: *.c.example"], &["Unpinned: *.c.example"]),
        // A wider rule that becomes narrower.
        (&["p: **.c.example"], &["p: *.c.example"], &["Unpinned: **.c.example c.example"]),
        (&["p: **.c.example"], &["p: c.example"], &["Unpinned: **.c.example *.c.example"]),
        (&["p: *.c.example"], &["p: **.c.example"], &["NewlyPinned: **.c.example c.example"]),
        // The name that stands for the others must not be one that a rule names.
        (
            &["p: *.c.example", "q: x.c.example x0.c.example"],
            &["q: x.c.example x0.c.example"],
            &["Unpinned: *.c.example"],
        ),
        (
            &["p: **.c.example", "q: **.x.c.example *.x0.c.example"],
            &["q: **.x.c.example *.x0.c.example"],
            &["Unpinned: **.c.example"],
        ),
        // Ports.
        (&["p: a.example"], &["p: a.example:443"], &["Unpinned: a.example (other ports)"]),
        (
            &["p: **.c.example"],
            &["p: **.c.example:443"],
            &["Unpinned: **.c.example (other ports) *.c.example (other ports) c.example (other ports)"],
        ),
        (&["p: a.example:443"], &["p: a.example:8443"], &["Unpinned: a.example:443", "NewlyPinned: a.example:8443"]),
        (&["p: a.example"], &["p: a.example", "soft: a.example:443"], &["Looser: a.example:443"]),
        (
            &["p: *.a.example:8443"],
            &["soft: x.a.example"],
            &["Unpinned: *.a.example:8443", "Looser: x.a.example:8443", "NewlyPinned: x.a.example (other ports)"],
        ),
        // An exemption that opens a subtree for a time.
        (&["p: **.c.example"], &["p: **.c.example", "exempt: **.d.c.example"], &["Unpinned: **.d.c.example"]),
        // A rule of the same name that a more specific one shadows.
        (&["soft: **.c.example", "p: a.c.example"], &["soft: **.c.example"], &["Looser: a.c.example"]),
    ];
    for (old, new, expected) in table {
        assert_eq!(shown(&compared(&rules(old), &rules(new))), *expected, "{old:?} to {new:?}");
    }
}

fn pattern(shown: &str) -> HostPattern {
    HostPattern::parse(shown.trim_end_matches(" (other ports)")).unwrap()
}

/// Every host and port of a small world: what changes for it is told of some pattern that holds it, and nothing else.
#[test]
fn no_host_is_forgotten() {
    let sides: &[&[&str]] = &[
        &[],
        &["p: **.c.example"],
        &["p: **.c.example:443", "soft: *.c.example", "q: a.c.example:8443"],
        &["soft: **.c.example", "p: a.c.example", "q: **.a.c.example:443"],
        &["q: *.c.example:8443", "p: c.example", "tunnel: a.c.example", "soft: **.b.a.c.example"],
        &["exempt: *.a.c.example", "p: **.c.example", "tunnel: **.x.c.example"],
    ];
    let names = ["c", "a.c", "x.c", "y.c", "b.a.c", "x.a.c", "d.b.a.c", "z.y.c", "x.x.c", "z.x.x.c", "other"];
    let targets: Vec<_> =
        names.iter().flat_map(|name| [443, 8443, 9].map(|port| authority(&format!("{name}.example:{port}")))).collect();
    for old in sides {
        for new in sides {
            let (before, after) = (rules(old), rules(new));
            let comparison = compared(&before, &after);
            for target in &targets {
                let side = |policy| Side { policy, defaults: Unpinned::Intercept.into() };
                let expected = effect(side(&before), side(&after), target, at(0));
                let holding = comparison
                    .changes
                    .iter()
                    .filter(|change| change.hosts.iter().any(|host| pattern(host).matches(target)));
                let told: Vec<_> = holding
                    .map(|change| (change.old.clone(), change.new.clone(), change.differences.clone()))
                    .collect();
                if let Some(effect) = expected {
                    assert!(told.contains(&effect), "{target:?}, {old:?} to {new:?}: {effect:?} is not in {told:?}");
                }
            }
        }
    }
}

#[test]
fn what_changes_for_every_host() {
    let side = |unpinned, name_mismatch, blocked: &[u8]| {
        let defaults = Defaults { unpinned, name_mismatch };
        (policy(Vec::new(), defaults, blocked), defaults)
    };
    let strict = side(Unpinned::Deny, NameMismatch::Deny, &[1, 2]);
    let loose = side(Unpinned::Tunnel, NameMismatch::Allow, &[2]);
    let between = |old: &(Policy, Defaults), new: &(Policy, Defaults)| {
        let side = |side: &'_ (Policy, Defaults)| side.1;
        let (old, new) = (Side { policy: &old.0, defaults: side(old) }, Side { policy: &new.0, defaults: side(new) });
        compare(old, new, at(0)).unwrap()
    };
    let words = |aspect, direction, old: &str, new: &str| Difference::words(aspect, direction, old, new);
    let key = vec![format!("{} (key-1)", Pin::Spki([1; 32]))];
    let loosened = between(&strict, &loose);
    let expected = [
        words(A::UnpinnedHosts, Looser, "deny", "tunnel"),
        words(A::NameMismatch, Looser, "deny", "allow"),
        Difference::lists(A::Blocklist, Looser, key.clone(), Vec::new()),
    ];
    assert_eq!((loosened.general.as_slice(), loosened.loosens()), (expected.as_slice(), true));
    let tightened = between(&loose, &strict);
    let expected = [
        words(A::UnpinnedHosts, Stricter, "tunnel", "deny"),
        words(A::NameMismatch, Stricter, "allow", "deny"),
        Difference::lists(A::Blocklist, Stricter, Vec::new(), key),
    ];
    assert_eq!((tightened.general.as_slice(), tightened.loosens()), (expected.as_slice(), false));
    assert_eq!(between(&strict, &strict).general, []);
}

#[test]
fn a_denied_key_that_is_blocked_instead_is_denied_all_the_same() {
    let denying = Pinset { deny: denied("p", &[9]), ..pinset("p") };
    let old = policy(vec![rule(denying, "h.example")], Unpinned::Intercept, &[]);
    let new = policy(vec![rule(pinset("p"), "h.example")], Unpinned::Intercept, &[9]);
    assert_eq!(compared(&old, &new).changes, []);
}

#[test]
fn an_exemption_that_ends_later_loosens_later() {
    let until = |on| RuleKind::Exempt { reason: "CHG-1".into(), until: day(on) };
    let side = |on| intercepting(vec![rule(pinset("p"), "**.c.example"), rule(until(on), "a.c.example")]);
    let comparison = compared(&side(3), &side(8));
    let [change] = comparison.changes.as_slice() else { panic!("{comparison:?}") };
    assert_eq!((change.kind, change.hosts.as_slice()), (Kind::Unpinned, ["a.c.example".to_owned()].as_slice()));
    let since: Vec<_> = change.differences.iter().map(|difference| (difference.aspect, difference.since)).collect();
    assert_eq!(since, [(A::Unpinned, Some(at(3)))]);
}

#[test]
fn kinds() {
    let difference = |aspect, direction| Difference::lists(aspect, direction, Vec::new(), Vec::new());
    let table: &[(&[(Aspect, Direction)], Kind)] = &[
        (&[], Kind::Renamed),
        (&[(A::Unpinned, Looser), (A::Trust, Both)], Kind::Unpinned),
        (&[(A::Unpinned, Looser), (A::NewlyPinned, Stricter)], Kind::Unpinned),
        (&[(A::Pins, Looser), (A::Deny, Looser)], Kind::Looser),
        (&[(A::Pins, Looser), (A::Deny, Stricter)], Kind::Changed),
        (&[(A::Pins, Both)], Kind::Changed),
        (&[(A::NewlyPinned, Stricter), (A::Trust, Both)], Kind::Changed),
        (&[(A::NewlyPinned, Stricter)], Kind::NewlyPinned),
        (&[(A::Deny, Stricter)], Kind::Stricter),
    ];
    for (differences, expected) in table {
        let differences: Vec<_> =
            differences.iter().map(|(aspect, direction)| difference(*aspect, *direction)).collect();
        assert_eq!(Kind::of(&differences), *expected, "{differences:?}");
    }
}

const fn judge(policy: &Policy) -> Judge<'_> {
    Judge { policy, exempts_pins: false }
}

fn observe(keys: &[u8]) -> Observation {
    Observation { authority: authority("h.example:443"), path: keys.iter().map(|key| [*key; 32]).collect() }
}

/// What comes of one chain: `refused` (newly), `let through` (newly), `same`, or why it cannot be judged.
fn told_of(old: Judge<'_>, new: Judge<'_>, keys: &[u8]) -> &'static str {
    let mut tally = Tally::new(old, new, at(0));
    tally.add(&observe(keys));
    let Verdicts { chains: 1, newly_refused, newly_let_through, undecided } = tally.finish() else { panic!() };
    let Undecided { by_certificate, anchors_differ, may_be_exempt, by_what_is_served } = undecided;
    let undecided = [by_certificate, anchors_differ, may_be_exempt, by_what_is_served];
    match (newly_refused.len(), newly_let_through.len(), undecided) {
        (1, 0, [0, 0, 0, 0]) => "refused",
        (0, 1, [0, 0, 0, 0]) => "let through",
        (0, 0, [1, 0, 0, 0]) => "certificate",
        (0, 0, [0, 1, 0, 0]) => "anchors",
        (0, 0, [0, 0, 1, 0]) => "exemption",
        (0, 0, [0, 0, 0, 1]) => "served",
        (0, 0, [0, 0, 0, 0]) => "same",
        other => panic!("{other:?}"),
    }
}

/// A pinned chain passes where the anchors of both sides are the same, and nobody knows where they are not.
#[test]
fn observed_chains_under_anchors_of_a_pinsets_own() {
    let of = |pinset: Pinset| intercepting(vec![rule(pinset, "h.example")]);
    let soft = |source: &str| {
        let mut pinset = with_anchors(source);
        if let Basis::Chain { stance, .. } = &mut pinset.basis {
            *stance = Stance::Fixed(Mode::ReportOnly);
        }
        of(pinset)
    };
    let (common, open) = (of(pinset("p")), intercepting(vec![]));
    let (own, other, own_soft) = (of(with_anchors("a.pem")), of(with_anchors("b.pem")), soft("a.pem"));
    let closed =
        of(Pinset { expiry: Some(Expiry { at: day(0), then: AfterExpiry::FailClosed }), ..with_anchors("a.pem") });
    // old, new, what comes of a chain with a pinned key, and of one without; then the way back.
    let table = [
        (&common, &own, ["anchors"; 2], ["anchors"; 2]),
        (&open, &own, ["anchors"; 2], ["anchors"; 2]),
        (&own, &other, ["anchors"; 2], ["anchors"; 2]),
        (&own, &own, ["same"; 2], ["same"; 2]),
        (&own_soft, &own, ["same", "refused"], ["same", "let through"]),
        (&own, &closed, ["refused", "same"], ["let through", "same"]),
    ];
    for (index, (old, new, there, back)) in table.into_iter().enumerate() {
        // The anchors of a pinset's own exempt nothing, whatever the common ones do.
        for exempts_pins in [false, true] {
            let [old, new] = [old, new].map(|policy| Judge { policy, exempts_pins: exempts_pins && index > 2 });
            assert_eq!([&[1, 7], &[7, 8]].map(|keys| told_of(old, new, keys)), there, "{index}");
            assert_eq!([&[1, 7], &[7, 8]].map(|keys| told_of(new, old, keys)), back, "{index}, back");
        }
    }
}

#[test]
fn observed_chains_that_an_anchor_may_exempt() {
    let of = |kind: RuleKind| intercepting(vec![rule(kind, "h.example")]);
    let enforced = of(pinset("p").into());
    let some = of(stepped("p", &[(0, 5.0)], 9, None).into());
    let blocking = policy(vec![rule(pinset("p"), "h.example")], Unpinned::Intercept, &[8]);
    let bare = of(pin_only(NameCheck::San, ValidityCheck::Check).into());
    let open = intercepting(vec![]);
    // The side with exempting anchors, what comes of [1, 7], [7, 9] and [7, 8] with it as the new side, and as the old.
    let table = [
        (&enforced, ["same", "exemption", "exemption"], ["same", "exemption", "exemption"]),
        (&some, ["same", "exemption", "exemption"], ["same", "exemption", "exemption"]),
        (&blocking, ["same", "exemption", "refused"], ["same", "exemption", "let through"]),
        (&bare, ["same", "refused", "refused"], ["same", "let through", "let through"]),
        (&open, ["same"; 3], ["same"; 3]),
    ];
    for (exempting, there, back) in table {
        let exempting = Judge { policy: exempting, exempts_pins: true };
        let chains = [&[1, 7], &[7, 9], &[7, 8]];
        assert_eq!(chains.map(|keys| told_of(judge(&open), exempting, keys)), there, "{exempting:?}");
        assert_eq!(chains.map(|keys| told_of(exempting, judge(&open), keys)), back, "{exempting:?}");
    }
    // The other side alone has none: what was refused may pass now.
    assert_eq!(told_of(judge(&enforced), Judge { policy: &enforced, exempts_pins: true }, &[7, 9]), "exemption");
}

/// A pin-only host refuses for blocked keys in whatever it serves; of that only verified paths were observed.
#[test]
fn what_a_pin_only_host_serves_was_not_observed() {
    type Keys = &'static [u8];
    let pin_only = |deny: &[u8]| {
        let Basis::Chain { accepts: leaf, .. } = pinset("p").basis else { panic!() };
        let basis = Basis::PinOnly { leaf, name: NameCheck::San, validity: ValidityCheck::Check };
        Pinset { basis, deny: denied("p", deny), ..pinset("p") }
    };
    let side = |pinset: Pinset, blocked: &[u8]| policy(vec![rule(pinset, "h.example")], Unpinned::Intercept, blocked);
    // The old side and the new one, each with what it denies and blocks; and what becomes of a path with the pinned key
    // alone, with key 9 above it, of one without a pin, and of key 9 as that of the end entity.
    let chains: [&[u8]; 4] = [&[1], &[1, 9], &[7, 8], &[9, 7]];
    let table: [([Keys; 2], [Keys; 2], [&str; 4]); 7] = [
        ([&[], &[]], [&[], &[]], ["same", "same", "same", "same"]),
        ([&[], &[]], [&[], &[9]], ["served", "served", "same", "same"]),
        ([&[], &[]], [&[9], &[]], ["served", "served", "same", "same"]),
        ([&[], &[9]], [&[], &[]], ["served", "served", "same", "same"]),
        ([&[], &[9]], [&[], &[9]], ["same", "same", "same", "same"]),
        ([&[9], &[]], [&[9], &[]], ["same", "same", "same", "same"]),
        ([&[9], &[]], [&[], &[9]], ["served", "served", "same", "same"]),
    ];
    for ([old_deny, old_blocked], [new_deny, new_blocked], expected) in table {
        let (old, new) = (side(pin_only(old_deny), old_blocked), side(pin_only(new_deny), new_blocked));
        assert_eq!(chains.map(|keys| told_of(judge(&old), judge(&new), keys)), expected, "{old:?} {new:?}");
    }
    let (open, blocking) = (side(fixed(Mode::Off), &[]), side(pin_only(&[]), &[9]));
    let told = chains.map(|keys| told_of(judge(&open), judge(&blocking), keys));
    assert_eq!(told, ["served", "served", "refused", "refused"]);
    let told = chains.map(|keys| told_of(judge(&blocking), judge(&open), keys));
    assert_eq!(told, ["served", "served", "let through", "let through"]);
}

#[test]
fn observed_chains() {
    let by_certificate = || {
        let clause = crate::policy::pinset::Clause::new(Position::Leaf, vec![Pin::Certificate([1; 32])]).unwrap();
        let mut pinset = pinset("certificate");
        if let Basis::Chain { accepts, .. } = &mut pinset.basis {
            *accepts = crate::policy::pinset::Accepts::new(vec![clause], Combine::All).unwrap();
        }
        pinset
    };
    let kinds = || -> Vec<(&str, RuleKind)> {
        vec![
            ("none", RuleKind::Pinned(fixed(Mode::Off))),
            ("tunnel", tunnel()),
            ("report-only", RuleKind::Pinned(fixed(Mode::ReportOnly))),
            ("rollout", RuleKind::Pinned(stepped("p", &[(0, 5.0)], 9, None))),
            ("enforce", RuleKind::Pinned(pinset("p"))),
            ("deny", RuleKind::Pinned(Pinset { deny: denied("p", &[9]), ..fixed(Mode::ReportOnly) })),
            ("closed", RuleKind::Pinned(ending(0, AfterExpiry::FailClosed))),
            ("certificate", RuleKind::Pinned(by_certificate())),
        ]
    };
    // The rule, what it does with a pinned chain, with one without a pin, with one that holds key 9.
    let some = "refused for 5 % of the clients: no pinned key";
    let (no_pin, blocked, closed) = ("refused: no pinned key", "refused: a blocked key", "refused, whatever it shows");
    let table = [
        ("none", [Some("passes"), Some("passes"), Some("passes")]),
        ("tunnel", [Some("passes"), Some("passes"), Some("passes")]),
        ("report-only", [Some("passes"), Some("passes"), Some("passes")]),
        ("rollout", [Some("passes"), Some(some), Some(some)]),
        ("enforce", [Some("passes"), Some(no_pin), Some(no_pin)]),
        ("deny", [Some("passes"), Some("passes"), Some(blocked)]),
        ("closed", [Some(closed), Some(closed), Some(closed)]),
        ("certificate", [None, None, None]),
    ];
    let policy_of = |kind: RuleKind| intercepting(vec![rule(kind, "h.example")]);
    let chains = [observe(&[1, 7]), observe(&[7, 1]), observe(&[7, 9])];
    for ((name, kind), (expected_name, expected)) in kinds().into_iter().zip(table) {
        assert_eq!(name, expected_name);
        let policy = policy_of(kind);
        let open = policy_of(RuleKind::Pinned(fixed(Mode::Off)));
        for (chain, expected) in chains.iter().zip(expected) {
            let mut tally = Tally::new(judge(&open), judge(&policy), at(0));
            tally.add(chain);
            tally.add(chain);
            let verdicts = tally.finish();
            let found: Vec<_> =
                verdicts.newly_refused.iter().map(|found| (found.chains, found.new.to_string())).collect();
            let refused = expected.filter(|text| *text != "passes").map(|text| (2, text.to_owned()));
            assert_eq!(found, Vec::from_iter(refused), "{name} {chain:?}");
            let by_certificate = if expected.is_none() { 2 } else { 0 };
            assert_eq!(verdicts.undecided, Undecided { by_certificate, ..Undecided::default() }, "{name}");
            assert_eq!((verdicts.chains, verdicts.newly_let_through), (2, Vec::new()), "{name}");
            // The reverse.
            let mut tally = Tally::new(judge(&policy), judge(&open), at(0));
            tally.add(chain);
            let verdicts = tally.finish();
            assert_eq!(verdicts.newly_refused, [], "{name}");
            assert_eq!(verdicts.newly_let_through.len(), found.len(), "{name}");
        }
    }
}

#[test]
fn another_reason_to_refuse_is_no_news() {
    let old = intercepting(vec![rule(pinset("p"), "h.example")]);
    let new = policy(vec![rule(pinset("p"), "h.example")], Unpinned::Intercept, &[7]);
    let mut tally = Tally::new(judge(&old), judge(&new), at(0));
    tally.add(&Observation { authority: authority("h.example:443"), path: vec![[7; 32]] });
    assert_eq!(tally.finish(), Verdicts { chains: 1, ..Verdicts::default() });
}

#[test]
fn the_work_is_bounded() {
    let policy = rules(&["p: a.example **.b.example"]);
    let side = Side { policy: &policy, defaults: Unpinned::Intercept.into() };
    assert_eq!(compare_within(3, side, side, at(0)), Err(TooManyWitnesses));
    assert_eq!(compare_within(4, side, side, at(0)).map(|found| found.unchanged), Ok(2));
}

/// More named ports than patterns: every one is looked at by its name.
#[test]
fn ports_that_wider_patterns_name_are_looked_at_too() {
    let old = rules(&["p: **.a.example:1 **.a.example:2 *.a.example:3"]);
    let new = rules(&["p: **.a.example:1 **.a.example:2 *.a.example:3", "soft: x.a.example"]);
    let expected = ["Looser: x.a.example:1 x.a.example:2 x.a.example:3", "NewlyPinned: x.a.example (other ports)"];
    assert_eq!(shown(&compared(&old, &new)), expected);
}
