use super::*;
use crate::policy::access::{Access, Deny};
use crate::policy::pinset::{AfterExpiry, Basis, Combine, Expiry, Mode, NameCheck, Position, Stance, ValidityCheck};
use crate::policy::tests_support::{
    accepts, at, authority, day, denied, exempt, intercepting, pinset, policy, rollout, rule, tunnel, with_stance,
};
use std::net::Ipv4Addr;

fn explained(policy: &Policy, host: &str, on: u64) -> Explanation {
    explained_to(policy, host, on, None)
}

fn explained_to(policy: &Policy, host: &str, on: u64, client: Option<IpAddr>) -> Explanation {
    let access = &Access::local();
    Grounds { policy, defaults: Unpinned::Intercept.into(), access, exempting: &[], at: at(on), client }
        .explain(&authority(host))
}

fn label(told: &Told) -> &str {
    match told {
        Told::Pinset { name } => name,
        Told::Exempt { .. } => "exempt",
        Told::Tunnel { .. } => "tunnel",
        Told::Default { .. } => "default",
    }
}

/// Exact, one label, two subtrees, ports, an exemption until day 5, a tunnel.
fn many_rules() -> Policy {
    intercepting(vec![
        rule(pinset("exact"), "a.bank.example 192.0.2.1"),
        rule(pinset("exact-port"), "a.bank.example:8443"),
        rule(pinset("one"), "*.bank.example"),
        rule(pinset("one-port"), "*.bank.example:8443"),
        rule(pinset("tree"), "**.bank.example"),
        rule(pinset("top"), "**.example **.test"),
        rule(exempt(), "b.bank.example **.deep.bank.example"),
        rule(tunnel(), "t.bank.example"),
    ])
}

#[test]
fn who_wins_and_why_the_others_lose() {
    use Because::{Over, WinnerHasPort, WinnerIsExact, WinnerIsLonger, WinnerIsOneLabel};
    // Host, day, the winner and its pattern, the losers.
    type Case = (&'static str, u64, &'static str, Option<&'static str>, &'static [(&'static str, Because)]);
    let table: &[Case] = &[
        ("nowhere.org:443", 0, "default", None, &[]),
        ("192.0.2.2:443", 0, "default", None, &[]),
        ("192.0.2.1:443", 0, "exact", Some("192.0.2.1"), &[]),
        ("x.test:443", 0, "top", Some("**.test"), &[]),
        ("bank.example:443", 0, "tree", Some("**.bank.example"), &[("top", WinnerIsLonger)]),
        (
            "a.bank.example:443",
            0,
            "exact",
            Some("a.bank.example"),
            &[("one", WinnerIsExact), ("tree", WinnerIsExact), ("top", WinnerIsExact)],
        ),
        (
            "a.bank.example:8443",
            0,
            "exact-port",
            Some("a.bank.example:8443"),
            &[
                ("exact", WinnerHasPort),
                ("one-port", WinnerIsExact),
                ("one", WinnerIsExact),
                ("tree", WinnerIsExact),
                ("top", WinnerIsExact),
            ],
        ),
        (
            "c.bank.example:8443",
            0,
            "one-port",
            Some("*.bank.example:8443"),
            &[("one", WinnerHasPort), ("tree", WinnerIsOneLabel), ("top", WinnerIsOneLabel)],
        ),
        (
            "b.bank.example:443",
            4,
            "exempt",
            Some("b.bank.example"),
            &[("one", WinnerIsExact), ("tree", WinnerIsExact), ("top", WinnerIsExact)],
        ),
        (
            "b.bank.example:443",
            5,
            "one",
            Some("*.bank.example"),
            &[("exempt", Over), ("tree", WinnerIsOneLabel), ("top", WinnerIsOneLabel)],
        ),
        (
            "deep.bank.example:443",
            0,
            "one",
            Some("*.bank.example"),
            &[("exempt", WinnerIsOneLabel), ("tree", WinnerIsOneLabel), ("top", WinnerIsOneLabel)],
        ),
        (
            "x.deep.bank.example:443",
            0,
            "exempt",
            Some("**.deep.bank.example"),
            &[("tree", WinnerIsLonger), ("top", WinnerIsLonger)],
        ),
        (
            "t.bank.example:443",
            0,
            "tunnel",
            Some("t.bank.example"),
            &[("one", WinnerIsExact), ("tree", WinnerIsExact), ("top", WinnerIsExact)],
        ),
    ];
    let policy = many_rules();
    for (host, on, winner, pattern, losers) in table {
        let told = explained(&policy, host, *on);
        let found = told.matched.as_ref().map(|matched| matched.pattern.as_str());
        assert_eq!((label(&told.rule), found), (*winner, *pattern), "{host} on day {on}");
        let lost: Vec<_> = told.lost.iter().map(|loser| (label(&loser.rule), loser.because)).collect();
        assert_eq!(lost, *losers, "{host} on day {on}");
    }
}

#[test]
fn an_exemption_that_is_over_loses_to_the_default_too() {
    let policy = intercepting(vec![rule(exempt(), "b.bank.example"), rule(pinset("p"), "c.bank.example")]);
    let told = explained(&policy, "b.bank.example:443", 6);
    assert_eq!(label(&told.rule), "default");
    assert_eq!(told.lost.iter().map(|loser| loser.because).collect::<Vec<_>>(), [Because::Over]);
}

/// The ranking is written twice, here for telling, in the index for deciding.
#[test]
fn what_is_told_is_what_is_decided() {
    let policy = many_rules();
    let labels = ["a", "b", "t", "x", "deep", "x.deep", "y.x.deep", "a.b"];
    for suffix in ["bank.example", "example", "test", "org"] {
        for label in labels {
            for port in [443, 8443] {
                let target = authority(&format!("{label}.{suffix}:{port}"));
                let access = &Access::local();
                let grounds = Grounds {
                    policy: &policy,
                    defaults: Unpinned::Deny.into(),
                    access,
                    exempting: &[],
                    at: at(0),
                    client: None,
                };
                let told: Vec<_> = grounds.matching(&target).into_iter().map(|(rule, _)| rule.label()).collect();
                let mut decided: Vec<_> = policy.matching(&target).into_iter().map(|rule| rule.label()).collect();
                // A rule with two patterns that match comes twice there.
                decided.dedup();
                assert_eq!(told, decided, "{target:?}");
            }
        }
    }
}

fn ending(mode: Stance, then: AfterExpiry) -> Pinset {
    Pinset { expiry: Some(Expiry { at: day(5), then }), ..with_stance("p", mode) }
}

fn pin_only(name: NameCheck, validity: ValidityCheck, then: Option<AfterExpiry>) -> Pinset {
    let leaf = accepts(Combine::All, &[(Position::Leaf, &[1])]);
    let expiry = then.map(|then| Expiry { at: day(5), then });
    Pinset { basis: Basis::PinOnly { leaf, name, validity }, expiry, ..pinset("p") }
}

#[test]
fn protection() {
    use AfterExpiry::{FailClosed, ReportOnly, Unpinned as Ends};
    let fixed = |mode| with_stance("partner", Stance::Fixed(mode));
    let stepped = |then: Option<AfterExpiry>| Pinset {
        expiry: then.map(|then| Expiry { at: day(5), then }),
        ..with_stance("partner", rollout(&[(2, 5.0), (3, 73.75), (4, 73.76)], 10, None))
    };
    // Pinset, day, for all clients, for 192.0.2.1, whose lot is 7375 of 10 000.
    let table = [
        (fixed(Mode::Off), 0, "not pinned", "not pinned"),
        (fixed(Mode::ReportOnly), 0, "report-only", "report-only"),
        (fixed(Mode::Enforce), 0, "enforced", "enforced"),
        (ending(Stance::Fixed(Mode::Enforce), Ends), 4, "enforced", "enforced"),
        (ending(Stance::Fixed(Mode::Enforce), Ends), 5, "not pinned", "not pinned"),
        (ending(Stance::Fixed(Mode::Enforce), ReportOnly), 5, "report-only", "report-only"),
        (ending(Stance::Fixed(Mode::Enforce), FailClosed), 5, "always refused", "always refused"),
        (ending(Stance::Fixed(Mode::ReportOnly), FailClosed), 5, "report-only", "report-only"),
        (ending(Stance::Fixed(Mode::Off), FailClosed), 5, "not pinned", "not pinned"),
        (stepped(None), 1, "report-only", "report-only"),
        (stepped(None), 2, "enforced for 5 % of the clients", "report-only"),
        (stepped(None), 3, "enforced for 73.75 % of the clients", "report-only"),
        (stepped(None), 4, "enforced for 73.76 % of the clients", "enforced"),
        (stepped(None), 10, "enforced", "enforced"),
        (stepped(Some(Ends)), 5, "not pinned", "not pinned"),
        (stepped(Some(ReportOnly)), 5, "report-only", "report-only"),
        (stepped(Some(ReportOnly)), 10, "report-only", "report-only"),
        (stepped(Some(FailClosed)), 5, "enforced for 73.76 % of the clients", "always refused"),
        (stepped(Some(FailClosed)), 10, "always refused", "always refused"),
        (pin_only(NameCheck::Skip, ValidityCheck::Ignore, None), 9, "enforced", "enforced"),
        (pin_only(NameCheck::San, ValidityCheck::Check, Some(Ends)), 5, "not pinned", "not pinned"),
        (pin_only(NameCheck::San, ValidityCheck::Check, Some(ReportOnly)), 5, "always refused", "always refused"),
    ];
    let client = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    for (pinset, on, all, one) in table {
        let what = format!("{pinset:?} on day {on}");
        let policy = intercepting(vec![rule(pinset, "h.example")]);
        let (for_all, for_one) =
            (explained(&policy, "h.example:443", on), explained_to(&policy, "h.example:443", on, client));
        assert_eq!(
            (for_all.protection.to_string().as_str(), for_one.protection.to_string().as_str()),
            (all, one),
            "{what}"
        );
        assert_eq!(for_all.enforced, matches!(all, "enforced" | "always refused"), "{what}");
        assert_eq!(for_one.enforced, matches!(one, "enforced" | "always refused"), "{what}");
    }
}

#[test]
fn what_is_no_pinset_is_not_enforced() {
    let access = &Access::local();
    for (unpinned, expected) in [
        (Unpinned::Intercept, Protection::Chain),
        (Unpinned::Tunnel, Protection::Tunnel),
        (Unpinned::Deny, Protection::Refused),
    ] {
        let policy = policy(Vec::new(), unpinned, &[]);
        let grounds =
            Grounds { policy: &policy, defaults: unpinned.into(), access, exempting: &[], at: at(0), client: None };
        let told = grounds.explain(&authority("h.example:443"));
        assert_eq!((told.protection, told.enforced), (expected, false));
    }
    let policy = many_rules();
    for (host, expected) in [("b.bank.example:443", Protection::Chain), ("t.bank.example:443", Protection::Tunnel)] {
        let told = explained(&policy, host, 0);
        assert_eq!((told.protection, told.enforced), (expected, false), "{host}");
    }
}

#[test]
fn a_second_name() {
    let rules = || vec![rule(pinset("p"), "p.example 192.0.2.1"), rule(tunnel(), "t.example 192.0.2.2")];
    let allow = |unpinned| Defaults { unpinned, name_mismatch: NameMismatch::Allow };
    let table: &[(&str, Defaults, OtherName)] = &[
        ("p.example:443", Unpinned::Intercept.into(), OtherName::Refused),
        ("p.example:443", allow(Unpinned::Intercept), OtherName::Refused),
        ("other.example:443", Unpinned::Intercept.into(), OtherName::Refused),
        ("other.example:443", Unpinned::Tunnel.into(), OtherName::Refused),
        ("other.example:443", allow(Unpinned::Intercept), OtherName::JudgedIfUnpinned),
        ("other.example:443", allow(Unpinned::Deny), OtherName::NeverRead),
        ("192.0.2.1:443", allow(Unpinned::Intercept), OtherName::BothLookedUp),
        ("192.0.2.9:443", Unpinned::Deny.into(), OtherName::BothLookedUp),
        ("192.0.2.2:443", Unpinned::Deny.into(), OtherName::RelayedUnlessPinned),
        ("t.example:443", allow(Unpinned::Intercept), OtherName::RelayedUnlessPinned),
    ];
    let access = &Access::local();
    for (host, defaults, expected) in table {
        let policy = policy(rules(), *defaults, &[]);
        let grounds = Grounds { policy: &policy, defaults: *defaults, access, exempting: &[], at: at(0), client: None };
        assert_eq!(grounds.explain(&authority(host)).other_name, *expected, "{host} {defaults:?}");
    }
}

#[test]
fn who_may_ask_for_it() {
    let deny = vec![
        Deny::Hosts(HostPattern::parse("**.evil.example").unwrap()),
        Deny::Network("192.0.2.0/24".parse().unwrap()),
    ];
    let access = &Access { deny, ..Access::local() };
    let outside = Some(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)));
    let table = [
        ("a.evil.example:443", None, Some("destinations_deny lists **.evil.example"), false),
        ("bank.example:25", None, Some("port 25 may not be reached"), false),
        ("192.0.2.7:443", None, Some("destinations_deny lists 192.0.2.0/24"), false),
        ("bank.example:443", outside, Some("clients from 203.0.113.7 may not use"), false),
        ("bank.example:443", None, None, true),
        ("bank.example:443", Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), None, true),
        ("198.51.100.1:443", None, None, false),
    ];
    let policy = intercepting(Vec::new());
    for (host, client, reason, pending) in table {
        let defaults = Unpinned::Intercept.into();
        let told = Grounds { policy: &policy, defaults, access, exempting: &[], at: at(0), client }
            .explain(&authority(host))
            .access;
        assert_eq!((told.allowed, told.address_pending), (reason.is_none(), pending), "{host}");
        let found = told.reason.unwrap_or_default();
        assert!(found.contains(reason.unwrap_or_default()), "{host}: {found}");
        assert_eq!(found.is_empty(), reason.is_none(), "{host}: {found}");
    }
}

#[test]
fn a_pinset_in_full() {
    let own = accepts(Combine::All, &[(Position::Leaf, &[1, 2]), (Position::Ca, &[3])]);
    let parent = accepts(Combine::Any, &[(Position::Anywhere, &[4])]);
    let pinset = Pinset {
        basis: Basis::Chain {
            accepts: own.inheriting(parent),
            stance: rollout(&[(2, 5.0)], 10, Some(0.001)),
            anchors: AnchorSet::Own("private.pem".into()),
        },
        deny: denied("partner", &[8]),
        expiry: Some(Expiry { at: day(40), then: AfterExpiry::Unpinned }),
        ..pinset("partner")
    };
    let policy = policy(vec![rule(pinset, "h.example")], Unpinned::Intercept, &[6, 7]);
    let client = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let told = explained_to(&policy, "h.example:443", 2, Some(client));
    let pin = |key: u8| Pin::Spki([key; 32]).to_string();
    let expected = PinsetTold {
        mode: "rollout",
        trust: TrustTold::OwnRoots { source: "private.pem".into() },
        accepts: AcceptsTold {
            combine: "all",
            lists: vec![
                List { position: Position::Leaf, pins: vec![pin(1), pin(2)] },
                List { position: Position::Ca, pins: vec![pin(3)] },
            ],
            inherited: Some(Box::new(AcceptsTold {
                combine: "any",
                lists: vec![List { position: Position::Anywhere, pins: vec![pin(4)] }],
                inherited: None,
            })),
        },
        deny: vec![pin(8)],
        plaintext: "deny",
        rollout: Some(RolloutTold {
            steps: vec![
                StepTold { from: at(2), percent: 5.0, reached: true },
                StepTold { from: at(10), percent: 100.0, reached: false },
            ],
            percent: 5.0,
            hold: Some(0.001),
            client_from: Some(at(10)),
        }),
        expiry: Some(ExpiryTold { at: at(40), then: "unpinned", ended: false }),
    };
    assert_eq!(told.pinset, Some(expected));
    assert_eq!(told.blocked_keys, 2);
    assert_eq!(told.afterwards, None);
}

#[test]
fn what_follows_an_exemption() {
    let told = explained(&many_rules(), "x.deep.bank.example:443", 0);
    assert_eq!(told.afterwards, Some(Told::Pinset { name: "tree".into() }));
}

#[test]
fn anchors_that_exempt_are_told_where_pins_are_judged_on_common_anchors() {
    let own = |anchors| Basis::Chain {
        accepts: accepts(Combine::All, &[(Position::Leaf, &[1, 2])]),
        stance: Stance::Fixed(Mode::Enforce),
        anchors,
    };
    let pin_only = Basis::PinOnly {
        leaf: accepts(Combine::All, &[(Position::Leaf, &[1, 2])]),
        name: NameCheck::San,
        validity: ValidityCheck::Check,
    };
    let of = |name: &str, basis| rule(Pinset { basis, ..pinset(name) }, &format!("{name}.example"));
    let policy = intercepting(vec![
        of("common", own(AnchorSet::Common)),
        of("own", own(AnchorSet::Own("private.pem".into()))),
        of("device", pin_only),
        rule(with_stance("reported", Stance::Fixed(Mode::ReportOnly)), "reported.example"),
        rule(with_stance("off", Stance::Fixed(Mode::Off)), "off.example"),
        rule(tunnel(), "tunnel.example"),
    ]);
    let files = ["corporate.pem".to_owned()];
    let access = &Access::local();
    let defaults = Unpinned::Intercept.into();
    let grounds = Grounds { policy: &policy, defaults, access, exempting: &files, at: at(0), client: None };
    let table = [
        ("own", false),
        ("device", false),
        ("off", false),
        ("tunnel", false),
        ("nowhere", false),
        ("common", true),
        ("reported", true),
    ];
    for (name, told) in table {
        let found = grounds.explain(&authority(&format!("{name}.example:443"))).exempting;
        assert_eq!(found, if told { &files[..] } else { &[] }, "{name}");
    }
}
