//! `hosts.toml`: one canonical form for a host, and the rule that a host gets.

use super::policy::{authority, codes, new_year, policy, select, spki};
use super::{Cases, read};
use pinproxy::policy::host::{Authority, Host};
use pinproxy::policy::pattern::HostPattern;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hosts {
    refused_names: Vec<RefusedName>,
    refused_patterns: Vec<RefusedPattern>,
    targets: Vec<Canonical>,
    names: Vec<Canonical>,
    patterns: Vec<Matches>,
    refused_rules: Vec<RefusedRules>,
    selection: Vec<Selection>,
    mismatch: Vec<Mismatch>,
}

/// A name of the configuration that has no canonical form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusedName {
    name: String,
    error: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusedPattern {
    pattern: String,
    error: String,
    /// The test of another project that this case restates.
    #[serde(default)]
    origin: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Canonical {
    text: String,
    is: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Matches {
    pattern: String,
    misses: Vec<String>,
    hits: Vec<String>,
}

/// Rules that must not stand in one file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusedRules {
    name: String,
    #[serde(default)]
    origin: String,
    rules: Rules,
    codes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Selection {
    name: String,
    #[serde(default)]
    origin: String,
    rules: Rules,
    /// Targets without canonical form, with the variant of `HostError`.
    #[serde(default)]
    refused: BTreeMap<String, String>,
    #[serde(default)]
    unpinned: Vec<String>,
    /// Targets with the label of their rule.
    #[serde(default)]
    selected: BTreeMap<String, String>,
}

/// A CONNECT to one name whose ClientHello names another, as pairs of both.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mismatch {
    name: String,
    /// `name_mismatch`; the default when absent.
    setting: Option<String>,
    rules: Rules,
    #[serde(default)]
    refused: Vec<(String, String)>,
    /// They go by the default for hosts that no rule names.
    #[serde(default)]
    allowed: Vec<(String, String)>,
}

/// Pinsets by name, exemptions and tunnels, each with its patterns.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    pinsets: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    exempt: Vec<String>,
    #[serde(default)]
    tunnel: Vec<String>,
}

impl Cases for Hosts {
    fn names(&self) -> Vec<Vec<&str>> {
        vec![
            self.refused_names.iter().map(|case| case.name.as_str()).collect(),
            self.refused_patterns.iter().map(|case| case.pattern.as_str()).collect(),
            self.targets.iter().map(|case| case.text.as_str()).collect(),
            self.names.iter().map(|case| case.text.as_str()).collect(),
            self.patterns.iter().map(|case| case.pattern.as_str()).collect(),
            self.refused_rules.iter().map(|case| case.name.as_str()).collect(),
            self.selection.iter().map(|case| case.name.as_str()).collect(),
            self.mismatch.iter().map(|case| case.name.as_str()).collect(),
        ]
    }
}

fn hosts() -> Hosts {
    read("hosts.toml")
}

impl Rules {
    /// As a configuration. Every pinset has two pins, so that nothing but its hosts can be at fault.
    fn configuration(&self) -> String {
        let (pin, backup) = (spki("key"), spki("spare"));
        let pinset = |(name, hosts): (&String, &Vec<String>)| {
            format!("[[pinset]]\nname = {name:?}\nhosts = {hosts:?}\npins = [{pin:?}]\nbackup = [{backup:?}]\n")
        };
        let other = |kind: &str, hosts: &[String], more: &str| match hosts {
            [] => String::new(),
            hosts => format!("[[{kind}]]\nhosts = {hosts:?}\nreason = \"test\"\n{more}"),
        };
        let exempt = other("exempt", &self.exempt, "until = 2030-01-01\n");
        let tunnel = other("tunnel", &self.tunnel, "");
        self.pinsets.iter().map(pinset).chain([exempt, tunnel]).collect()
    }
}

#[test]
fn refused_names() {
    for RefusedName { name, error } in hosts().refused_names {
        assert_eq!(format!("{:?}", Host::parse_configured(&name)), format!("Err({error})"), "{name:?}");
    }
}

#[test]
fn refused_patterns() {
    for RefusedPattern { pattern, error, origin } in hosts().refused_patterns {
        assert_eq!(format!("{:?}", HostPattern::parse(&pattern)), format!("Err({error})"), "{pattern:?} {origin}");
        let rules = Rules { pinsets: [("p".into(), vec![pattern.clone()])].into(), exempt: vec![], tunnel: vec![] };
        assert_eq!(codes(&rules.configuration()), ["E20"], "{pattern:?} {origin}");
    }
}

#[test]
fn canonical_forms() {
    let Hosts { targets, names, .. } = hosts();
    for Canonical { text, is } in targets {
        let target = Authority::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(target.to_string(), is, "{text}");
        assert_eq!(Authority::parse(&is), Ok(target), "the canonical form is its own");
    }
    for Canonical { text, is } in names {
        let host = Host::parse_configured(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(host.to_string(), is, "{text}");
        assert_eq!(Host::parse(&is), Ok(host), "the canonical form travels on the wire");
    }
}

#[test]
fn what_patterns_match() {
    for Matches { pattern: text, misses, hits } in hosts().patterns {
        let pattern = HostPattern::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let matching = |target: &&String| pattern.matches(&authority(target));
        assert_eq!(misses.iter().filter(matching).collect::<Vec<_>>(), Vec::<&String>::new(), "{text}");
        assert_eq!(hits.iter().filter(matching).collect::<Vec<_>>(), hits.iter().collect::<Vec<_>>(), "{text}");
        assert!(!misses.is_empty() && !hits.is_empty(), "{text}: a pattern has both");
    }
}

#[test]
fn refused_rules() {
    for RefusedRules { name, origin, rules, codes: expected } in hosts().refused_rules {
        assert_eq!(codes(&rules.configuration()), expected, "{name} {origin}");
        assert!(!expected.is_empty(), "{name}: nothing refuses it");
    }
}

#[test]
fn selection() {
    for Selection { name, origin, rules, refused, unpinned, selected } in hosts().selection {
        assert!(!refused.is_empty() || !unpinned.is_empty() || !selected.is_empty(), "{name} asks nothing");
        for (target, error) in refused {
            let whole = format!("{target}:443");
            assert_eq!(
                format!("{:?}", Authority::parse(&whole)),
                format!("Err({error})"),
                "{name} {origin}: {target:?}"
            );
        }
        let policy = policy(&rules.configuration());
        let unpinned = unpinned.into_iter().map(|target| (target, "unpinned".to_owned()));
        for (target, label) in unpinned.chain(selected) {
            let rule = select(&policy, &authority(&target), new_year());
            assert_eq!(rule.label(), label, "{name} {origin}: {target:?}");
        }
    }
}

#[test]
fn mismatch() {
    for Mismatch { name, setting, rules, refused, allowed } in hosts().mismatch {
        let setting = setting.map(|word| format!("[defaults]\nname_mismatch = {word:?}\n")).unwrap_or_default();
        let policy = policy(&(setting + &rules.configuration()));
        let label = |(asked, named): &(String, String)| {
            let rule = policy.select_for_mismatch(&authority(asked), &authority(named), new_year());
            rule.map(|rule| rule.label().to_owned())
        };
        assert!(!refused.is_empty() || !allowed.is_empty(), "{name} asks nothing");
        for pair in &refused {
            assert_eq!(label(pair), None, "{name}: {pair:?}");
        }
        for pair in &allowed {
            assert_eq!(label(pair).as_deref(), Some("unpinned"), "{name}: {pair:?}");
        }
    }
}
