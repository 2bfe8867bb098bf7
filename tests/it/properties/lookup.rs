//! The index of a hundred thousand rules against a scan of all of them.

use crate::vectors::policy::{new_year, policy, select, spki};
use pinproxy::policy::host::Authority;
use pinproxy::policy::pattern::HostPattern;
use pinproxy::policy::rules::{Policy, Rule, RuleKind, Unpinned};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

const RULES: usize = 100_000;
const AUTHORITIES: u32 = 3_000;

/// Few words, so that names lie above, below and beside each other.
const WORDS: &[&str] = &["a", "b", "c", "d", "e", "aa", "ab", "ba", "xn--a", "1"];
const TOPS: &[&str] = &["example", "test", "a", "aexample"];
/// Labels of the smallest name that has a tree.
const TREE_LABELS_MIN: usize = 5;
const PORTS: &[u16] = &[443, 8443];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    Subtree,
    OneLabel,
    Exact,
}

/// A rule as a scan sees it: text alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    shape: Shape,
    name: String,
    port: Option<u16>,
}

impl Entry {
    fn pattern(&self) -> String {
        let star = match self.shape {
            Shape::Exact => "",
            Shape::OneLabel => "*.",
            Shape::Subtree => "**.",
        };
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{star}{}{port}", self.name)
    }

    fn applies(&self, host: &str, port: u16) -> bool {
        if !host.ends_with(self.name.as_str()) || self.port.is_some_and(|own| own != port) {
            return false;
        }
        let front = &host[..host.len() - self.name.len()];
        match self.shape {
            Shape::Exact => front.is_empty(),
            Shape::OneLabel => front.len() > 1 && front.find('.') == Some(front.len() - 1),
            Shape::Subtree => front.is_empty() || front.ends_with('.'),
        }
    }

    /// Exact before one label before the longest subtree; within these, a port before none.
    fn rank(&self) -> (Shape, usize, bool) {
        (self.shape, self.name.len(), self.port.is_some())
    }
}

fn names() -> impl Strategy<Value = String> {
    let labels = prop::collection::vec(prop::sample::select(WORDS), 0..7);
    (labels, prop::sample::select(TOPS)).prop_map(|(labels, top)| [labels, vec![top]].concat().join("."))
}

fn entries() -> impl Strategy<Value = Entry> {
    let shapes = prop::sample::select(&[Shape::Exact, Shape::OneLabel, Shape::Subtree][..]);
    let ports = prop_oneof![2 => Just(None), 1 => prop::sample::select(PORTS).prop_map(Some)];
    (shapes, names(), ports).prop_map(|(shape, name, port)| {
        // A tree near the root would leave no host without a rule.
        let near_root = name.split('.').count() < TREE_LABELS_MIN;
        let shape = if shape == Shape::Subtree && near_root { Shape::Exact } else { shape };
        Entry { shape, name, port }
    })
}

/// The rules and the scan's view of those in force. Every tenth is an exemption, of which every second is over.
fn world(runner: &mut TestRunner) -> (Policy, Vec<Entry>) {
    let (pin, backup) = (spki("key"), spki("spare"));
    let one =
        format!("[[pinset]]\nname = \"p\"\nhosts = [\"x.example\"]\npins = [\"{pin}\"]\nbackup = [\"{backup}\"]\n");
    let template: Rule = policy(&one).rules()[0].as_ref().clone();
    let mut distinct = BTreeSet::new();
    while distinct.len() < RULES {
        distinct.insert(entries().new_tree(runner).unwrap().current());
    }
    let (mut rules, mut in_force) = (Vec::new(), Vec::new());
    for (index, entry) in distinct.into_iter().enumerate() {
        let hosts = vec![HostPattern::parse(&entry.pattern()).unwrap()];
        let until = |at| RuleKind::Exempt { reason: "test".into(), until: at };
        let kind = match index % 20 {
            0 => until(new_year()),
            10 => until(new_year() + Duration::from_nanos(1)),
            _ => template.kind.clone(),
        };
        rules.push(Rule { kind, hosts, ..template.clone() });
        in_force.extend((index % 20 != 0).then_some(entry));
    }
    (Policy::new(1, rules, Unpinned::Deny, HashMap::new()).expect("no two are alike"), in_force)
}

#[test]
fn the_index_finds_what_a_scan_finds() {
    let config = ProptestConfig { cases: AUTHORITIES, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let (policy, entries) = world(&mut runner);
    assert_eq!(policy.rules().len(), RULES);
    let found = RefCell::new(BTreeMap::<Option<Shape>, usize>::new());
    let targets = (names(), prop::sample::select(PORTS));
    let result = runner.run(&targets, |(host, port)| {
        let authority = Authority::parse(&format!("{host}:{port}")).unwrap();
        let expected = entries.iter().filter(|entry| entry.applies(&host, port)).max_by_key(|entry| entry.rank());
        let rule = select(&policy, &authority, new_year());
        let selected = rule.hosts.first().map(ToString::to_string);
        prop_assert_eq!(selected, expected.map(Entry::pattern));
        *found.borrow_mut().entry(expected.map(|entry| entry.shape)).or_default() += 1;
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    // Every way to be found was seen, and none at all too.
    let found = found.into_inner();
    assert!(found.len() == 4 && found.values().all(|count| *count > 50), "{found:?}");
}
