//! Pins on the command line.

use crate::config::RuleSet;
use crate::policy::pattern::HostPattern;
use crate::policy::pin::Pin;
use crate::policy::pinset::{Accepts, AnchorSet, Basis, Clause, Combine, Mode, Pinset, Plaintext, Position, Stance};
use crate::policy::rules::{Rule, RuleKind};

/// What `--pin` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GivenPin {
    host: HostPattern,
    pin: Pin,
}

/// Parses `HOST=PIN`. There is no = in a host; one may be at the end of a pin.
pub(super) fn parse(text: &str) -> Result<GivenPin, String> {
    let (host, pin) = text.split_once('=').ok_or("write HOST=PIN, such as api.bank.example=sha256/…")?;
    let host = HostPattern::parse(host).map_err(|error| error.to_string())?;
    let pin = Pin::parse(pin).map_err(|error| error.to_string())?;
    Ok(GivenPin { host, pin })
}

/// These rules with the pins given beside them, softened where nothing is to be refused for its pins.
///
/// # Errors
/// When the rules say something about the same host, which would win or contradict.
pub(super) fn with(rules: &RuleSet, given: &[GivenPin], report_only: bool) -> Result<RuleSet, String> {
    let mut all: Vec<Rule> = Vec::new();
    for pin in given {
        if all.iter().all(|rule| !rule.hosts.contains(&pin.host)) {
            refuse_another(rules, &pin.host)?;
            all.push(rule(&pin.host, given));
        }
    }
    all.extend(rules.rules().iter().cloned());
    if report_only {
        for rule in &mut all {
            if let RuleKind::Pinned(pinset) = &mut rule.kind {
                *pinset = pinset.clone().reporting();
            }
        }
    }
    RuleSet::new(all, rules.defaults(), rules.blocklist().clone()).map_err(|conflicts| {
        let hosts: Vec<_> = conflicts.iter().map(|conflict| conflict.pattern.to_string()).collect();
        format!("two rules name {}", hosts.join(", "))
    })
}

/// A rule of the same name for one port, or for any, would win over a pin for all of them; and a tunnel opens no hole in a pin.
fn refuse_another(rules: &RuleSet, host: &HostPattern) -> Result<(), String> {
    let counts_instead =
        |other: &HostPattern| other.scope == host.scope && (host.port.is_none() || other.port == host.port);
    let wider = host.wider();
    let is_hole = |other: &HostPattern| other.overlaps(host) && !wider.contains(other);
    let is_against = |rule: &&Rule| {
        let tunnels = matches!(rule.kind, RuleKind::Tunnel { .. });
        rule.hosts.iter().any(|other| counts_instead(other) || (tunnels && is_hole(other)))
    };
    match rules.rules().iter().find(is_against) {
        None => Ok(()),
        Some(rule) => Err(format!(
            "--pin {host}: the configuration has a rule for this host ({}); add the pin there, or leave one of them out",
            rule.label()
        )),
    }
}

/// A pinset for one host, of all the pins given for it.
fn rule(host: &HostPattern, given: &[GivenPin]) -> Rule {
    let pins = given.iter().filter(|given| given.host == *host).map(|given| given.pin).collect();
    let accepts = Clause::new(Position::Anywhere, pins).and_then(|clause| Accepts::new(vec![clause], Combine::Any));
    let accepts = accepts.unwrap_or_else(|| unreachable!("the pin that the host came with is among them"));
    let pinset = Pinset {
        name: format!("--pin {host}"),
        basis: Basis::Chain { accepts, stance: Stance::Fixed(Mode::Enforce), anchors: AnchorSet::Common },
        deny: None,
        plaintext: Plaintext::Deny,
        expiry: None,
    };
    Rule { kind: RuleKind::Pinned(pinset), hosts: vec![host.clone()] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::path::Path;
    use std::time::SystemTime;

    const PINS: [&str; 2] =
        ["sha256/C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M=", "sha256/diGVwiVYbubAI3RW4hB9xU8e/CH2GnkuvVFZE8zmgzI="];

    fn rules(text: &str) -> RuleSet {
        Config::parse(text, Path::new("test.toml"), SystemTime::now())
            .unwrap_or_else(|errors| panic!("{errors}"))
            .0
            .rules
    }

    fn given(hosts: &[&str]) -> Vec<GivenPin> {
        hosts.iter().zip(PINS.iter().cycle()).map(|(host, pin)| parse(&format!("{host}={pin}")).unwrap()).collect()
    }

    #[test]
    fn what_is_none() {
        let table = [
            ("api.bank.example", "write HOST=PIN"),
            ("=sha256/x", "the host is empty"),
            ("https://a.example=sha256/x", "this is a URL"),
            ("a.example=", "the pin is empty"),
            ("a.example=sha1/x", "SHA-1 pins are refused"),
            ("a.example=cert:abc", "not a pin"),
            ("a.example:0=sha256/x", "the port is not a number"),
        ];
        for (text, expected) in table {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn pins_of_one_host_are_one_pinset() {
        let set = with(&rules(""), &given(&["A.example", "a.example", "a.example:8443"]), false).unwrap();
        let told: Vec<_> = set.rules().iter().map(|rule| (rule.label(), rule.expected_pins().len())).collect();
        assert_eq!(told, [("--pin a.example", 2), ("--pin a.example:8443", 1)]);
    }

    #[test]
    fn rules_of_the_configuration_stay_and_do_not_contradict() {
        let pinset = |host: &str| {
            format!("[[pinset]]\nname = \"bank\"\nhosts = [\"{host}\"]\npins = [\"{}\", \"{}\"]\n", PINS[0], PINS[1])
        };
        let tunnel = "[[tunnel]]\nhosts = [\"a.example:443\"]\nreason = \"pins by itself\"\n".to_owned();
        let table = [
            (pinset("a.example"), "a.example", Err("(bank)")),
            (pinset("a.example:443"), "a.example", Err("(bank)")),
            (tunnel.clone(), "a.example", Err("(tunnel)")),
            (tunnel.clone(), "a.example:443", Err("(tunnel)")),
            (tunnel.clone(), "**.example", Err("(tunnel)")),
            (tunnel.clone(), "*.example:443", Err("(tunnel)")),
            (tunnel.replace("a.example:443", "**.example"), "a.example", Ok(2)),
            (tunnel, "a.example:444", Ok(2)),
            (pinset("a.example"), "a.example:443", Ok(2)),
            (pinset("**.example"), "a.example", Ok(2)),
        ];
        for (text, host, expected) in table {
            match (with(&rules(&text), &given(&[host]), false), expected) {
                (Ok(set), Ok(count)) => assert_eq!(set.rules().len(), count, "{text} {host}"),
                (Err(error), Err(part)) => {
                    assert!(error.starts_with(&format!("--pin {host}: ")) && error.contains(part), "{error}");
                }
                (found, _) => panic!("{text} {host}: {found:?}"),
            }
        }
    }

    #[test]
    fn reports_instead_where_that_is_asked_for() {
        let text = format!(
            "[[pinset]]\nname = \"bank\"\nhosts = [\"b.example\"]\npins = [\"{}\", \"{}\"]\n\
             [[pinset]]\nname = \"device\"\nhosts = [\"c.example\"]\ntrust = \"pin-only\"\nleaf_pins = [\"{}\", \"{}\"]\n",
            PINS[0],
            PINS[1],
            // Of no public root, which would be found out.
            "sha256/afwiKY3RxoMmLkuRW1l7QsPZTJPwDS2pdDROQjXw8ig=",
            "sha256/sCyf6Rt2Wi2H/J0+iLQnfYCmh93bo37D4Z/Wm/Q7H0I="
        );
        for (report_only, expected) in [(false, [true, true, true]), (true, [false, false, true])] {
            let set = with(&rules(&text), &given(&["a.example"]), report_only).unwrap();
            let enforced = set.rules().iter().map(|rule| match &rule.pinset().unwrap().basis {
                Basis::Chain { stance, .. } => *stance == Stance::Fixed(Mode::Enforce),
                Basis::PinOnly { .. } => true,
            });
            assert_eq!(enforced.collect::<Vec<_>>(), expected);
        }
    }
}
