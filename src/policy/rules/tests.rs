use super::*;
use crate::policy::pinset::{Accepts, AnchorSet, Basis, Clause, Combine, Mode, Plaintext, Position, Stance};
use std::time::Duration;

fn end() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
}

/// A rule from a line: `bank: **.bank.example *.shop.example:8443`; `exempt:` ends at [`end`].
fn rule(line: &str) -> Rule {
    let (name, hosts) = line.split_once(':').unwrap();
    let kind = match name {
        "exempt" => RuleKind::Exempt { reason: "test".into(), until: end() },
        "tunnel" => RuleKind::Tunnel { reason: "test".into() },
        name => {
            let clause = Clause::new(Position::Anywhere, vec![Pin::Spki([1; 32])]).unwrap();
            let accepts = Accepts::new(vec![clause], Combine::Any).unwrap();
            let stance = Stance::Fixed(Mode::Enforce);
            let basis = Basis::Chain { accepts, stance, anchors: AnchorSet::Common };
            RuleKind::Pinned(Pinset {
                name: name.to_owned(),
                basis,
                deny: None,
                plaintext: Plaintext::Deny,
                expiry: None,
            })
        }
    };
    let hosts = hosts.split_whitespace().map(|host| HostPattern::parse(host).unwrap()).collect();
    Rule { kind, hosts }
}

fn policy(lines: &[&str], unpinned: Unpinned) -> Result<Policy, Vec<Conflict>> {
    Policy::new(7, lines.iter().map(|line| rule(line)).collect(), unpinned, HashMap::new())
}

fn authority(text: &str) -> Authority {
    Authority::parse(text).unwrap()
}

#[test]
fn nothing_is_selected_by_likeness() {
    let rules = ["exact: bank.example", "one: *.bank.example", "tree: **.tree.example", "v4: 192.0.2.1"];
    let policy = policy(&rules, Unpinned::Intercept).unwrap();
    let unpinned = [
        "notbank.example:443",
        "bank.example.evil.test:443",
        "a.b.bank.example:443",
        "example:443",
        "test:443",
        "ree.example:443",
        "nottree.example:443",
        "tree.example.bank.test:443",
        "192.0.2.10:443",
        "[2001:db8::1]:443",
        "[::192.0.2.1]:443",
    ];
    for host in unpinned {
        assert_eq!(policy.select(&authority(host), end()).label(), "unpinned", "{host}");
    }
    let pinned = [
        ("Bank.Example.:1", "exact"),
        ("a.bank.example:443", "one"),
        ("bank.example.bank.example:443", "unpinned"),
        ("tree.example:443", "tree"),
        ("a.b.c.tree.example:443", "tree"),
        ("[::ffff:192.0.2.1]:443", "v4"),
    ];
    for (host, label) in pinned {
        assert_eq!(policy.select(&authority(host), end()).label(), label, "{host}");
    }
}

/// Every rank beats every one behind it, in whatever order the rules stand.
#[test]
fn the_most_specific_rule_wins() {
    const HOST: &str = "c.b.a.example:8443";
    let ranks = [
        "r0: c.b.a.example:8443",
        "r1: c.b.a.example",
        "r2: *.b.a.example:8443",
        "r3: *.b.a.example",
        "r4: **.c.b.a.example:8443",
        "r5: **.c.b.a.example",
        "r6: **.b.a.example:8443",
        "r7: **.b.a.example",
        "r8: **.a.example:8443",
        "r9: **.a.example",
        "r10: **.example",
    ];
    for first in 0..ranks.len() {
        for second in first + 1..ranks.len() {
            for rules in [[ranks[first], ranks[second]], [ranks[second], ranks[first]]] {
                let policy = policy(&rules, Unpinned::Deny).unwrap();
                assert_eq!(policy.select(&authority(HOST), end()).label(), format!("r{first}"), "{rules:?}");
                let other_port = policy.select(&authority("c.b.a.example:443"), end()).label();
                let any_port = rules.iter().filter(|rule| !rule.contains(":8443"));
                assert_eq!(other_port == "unpinned", any_port.count() == 0, "{rules:?}: {other_port}");
            }
        }
    }
}

/// A rule that does not apply takes no part: neither a port nor an ended exemption makes a hole.
#[test]
fn what_does_not_apply_does_not_compete() {
    let rules = ["bank: **.bank.example", "narrow: foo.bank.example:1 *.foo.bank.example", "exempt: api.bank.example"];
    let policy = policy(&rules, Unpinned::Tunnel).unwrap();
    let before = end() - Duration::from_nanos(1);
    let table = [
        ("foo.bank.example:443", end(), "bank"),
        ("foo.bank.example:1", end(), "narrow"),
        ("a.b.foo.bank.example:443", end(), "bank"),
        ("api.bank.example:443", before, "exempt"),
        ("api.bank.example:443", end(), "bank"),
        ("api.bank.example:443", end() + Duration::from_secs(1), "bank"),
        ("a.api.bank.example:443", before, "bank"),
    ];
    for (host, now, label) in table {
        assert_eq!(policy.select(&authority(host), now).label(), label, "{host}");
    }
}

#[test]
fn one_pattern_in_two_rules_is_a_conflict() {
    let lines =
        ["a: x.example *.y.example", "b: X.EXAMPLE. **.y.example", "c: x.example:443 *.Y.example", "d: x.example"];
    let conflicts = policy(&lines, Unpinned::Deny).unwrap_err();
    let told: Vec<_> = conflicts.iter().map(|c| (c.pattern.to_string(), c.first, c.second)).collect();
    let expected = [("x.example", 0, 1), ("*.y.example", 0, 2), ("x.example", 0, 3)];
    assert_eq!(told, expected.map(|(pattern, first, second)| (pattern.to_owned(), first, second)));
    assert!(policy(&["a: 192.0.2.1", "b: [::ffff:192.0.2.1]"], Unpinned::Deny).is_err(), "one address, two spellings");
}

/// The rule of the address across, the rule of the name down.
#[test]
fn an_address_and_a_name() {
    const RULES: [&str; 5] = [
        "device: 192.0.2.1",
        "bank: bank.example",
        "exempt: exempt.example 192.0.2.2",
        "tunnel: tunnel.example 192.0.2.3",
        "both: both.example 192.0.2.4",
    ];
    // device, exempt, tunnel, both, no rule
    let addresses = ["192.0.2.1:443", "192.0.2.2:443", "192.0.2.3:443", "192.0.2.4:443", "192.0.2.5:443"];
    let table: [(&str, [Option<&str>; 5]); 5] = [
        ("bank.example:443", [None, None, None, None, Some("bank")]),
        ("exempt.example:443", [None, Some("exempt"), None, None, Some("exempt")]),
        ("tunnel.example:443", [None, None, Some("tunnel"), None, None]),
        ("both.example:443", [None, None, None, Some("both"), Some("both")]),
        ("other.example:443", [Some("device"), Some("exempt"), Some("tunnel"), Some("both"), Some("unpinned")]),
    ];
    let before = end() - Duration::from_secs(1);
    for unpinned in [Unpinned::Deny, Unpinned::Intercept, Unpinned::Tunnel] {
        let policy = policy(&RULES, unpinned).unwrap();
        for (name, expected) in &table {
            for (address, expected) in addresses.iter().zip(expected) {
                let (address, name) = (authority(address), authority(name));
                let selected = policy.select_for_address(&address, &name, before);
                assert_eq!(selected.as_ref().ok().map(|rule| rule.label()), *expected, "{address} {name} {unpinned:?}");
                if let Err(disagreement) = selected {
                    assert_eq!(disagreement.address, policy.select(&address, before).label());
                    assert_eq!(disagreement.name, policy.select(&name, before).label());
                }
            }
        }
    }
    // An ended exemption is no rule, so it neither governs nor disagrees.
    let policy = policy(&RULES, Unpinned::Deny).unwrap();
    let select = |address, name| policy.select_for_address(&authority(address), &authority(name), end());
    assert_eq!(select("192.0.2.2:443", "bank.example:443").unwrap().label(), "bank");
    assert_eq!(select("192.0.2.1:443", "exempt.example:443").unwrap().label(), "device");
    assert_eq!(select("192.0.2.2:443", "exempt.example:443").unwrap().label(), "unpinned");
}

/// A port narrows rules of addresses as it does rules of names, and the name is looked up with the port of the CONNECT.
#[test]
fn ports_count_for_addresses_too() {
    let policy = policy(&["a: 192.0.2.1:8443", "b: 192.0.2.1", "c: bank.example:8443"], Unpinned::Deny).unwrap();
    assert_eq!(policy.select(&authority("192.0.2.1:8443"), end()).label(), "a");
    assert_eq!(policy.select(&authority("192.0.2.1:443"), end()).label(), "b");
    let select = |port| {
        let (address, name) = (authority(&format!("192.0.2.9:{port}")), authority(&format!("bank.example:{port}")));
        policy.select_for_address(&address, &name, end()).unwrap().label()
    };
    assert_eq!((select(8443), select(443)), ("c", "unpinned"));
    assert_eq!(policy.generation(), 7);
}
