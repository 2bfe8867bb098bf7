//! Names of hosts.

use super::fragments;
use crate::vectors::policy::{new_year, policy, select, spki};
use pinproxy::policy::host::{Authority, Host};
use pinproxy::policy::pattern::HostPattern;
use pinproxy::policy::rules::Policy;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use std::fmt::{Debug, Display};
use std::sync::LazyLock;

const FRAGMENTS: &[&str] = &[
    "a",
    "bank",
    "Example",
    "example",
    "xn--",
    "xn--bcher-kva",
    "1",
    "127",
    "255",
    "0x7f",
    "0",
    "*",
    "**",
    "*.",
    "**.",
    ".",
    ".",
    ".",
    "..",
    "-",
    "_",
    ":",
    ":443",
    ":8443",
    ":0",
    "[",
    "]",
    "::1",
    "::ffff:",
    "192.0.2.1",
    "%25",
    "@",
    "/",
    "\\",
    " ",
    "\0",
    "\u{3002}",
    "\u{ff0e}",
    "\u{ff61}",
    "\u{fc}",
    "\u{df}",
    "\u{ff41}",
    "\u{b9}",
    "\u{2167}",
    "\u{200d}",
    "\u{202e}",
    "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz",
];

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![1 => any::<String>(), 4 => fragments(FRAGMENTS, 9)]
}

/// What was accepted is accepted again in its canonical form, and is the same.
fn fixed_point<T: PartialEq + Debug + Display, E: PartialEq + Debug>(
    parsed: Result<T, impl Display>,
    parse: impl Fn(&str) -> Result<T, E>,
) {
    match parsed {
        Ok(value) => assert_eq!(parse(&value.to_string()), Ok(value)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Names with rules that hold some of them: `bank.example` alone, one label, a tree, a U-label, one port.
static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let hosts = ["bank.example", "*.one.example", "**.tree.example", "b\u{fc}cher.example", "**.port.example:8443"];
    let pinset = |host: &&str| {
        let name = host.trim_start_matches(['*', '.']).split('.').next().unwrap().replace('\u{fc}', "ue");
        let (pin, backup) = (spki("key"), spki("spare"));
        format!("[[pinset]]\nname = \"{name}\"\nhosts = [\"{host}\"]\npins = [\"{pin}\"]\nbackup = [\"{backup}\"]\n")
    };
    policy(&hosts.iter().map(pinset).collect::<String>())
});

fn label(target: &str) -> Option<String> {
    let authority = Authority::parse(target).ok()?;
    Some(select(&POLICY, &authority, new_year()).label().to_owned())
}

const LABELS: &[&str] =
    &["bank", "notbank", "one", "tree", "ree", "port", "xn--bcher-kva", "bucher", "a", "x-1", "evil"];

/// Names that a rule holds, and names that are merely alike.
fn names() -> impl Strategy<Value = String> {
    let labels = prop::collection::vec(prop::sample::select(LABELS), 0..4);
    let top = prop::sample::select(&["example", "example", "example", "xample", "example.evil", "test"][..]);
    (labels, top).prop_map(|(labels, top)| labels.into_iter().chain([top]).collect::<Vec<_>>().join("."))
}

/// The same character to who folds case and compatibility forms (NFKC): upper case, full-width and mathematical letters,
/// other dots; and two dots for one.
fn variant(character: char, choice: u8) -> String {
    let offset = |base: u32| {
        let letter = u32::from(character) - u32::from('a');
        char::from_u32(base + letter).unwrap().to_string()
    };
    match (character, choice % 16) {
        ('a'..='z', 7..) => character.to_ascii_uppercase().to_string(),
        ('a'..='z', 2) => offset(0xff41),
        ('a'..='z', 3) => offset(0xff21),
        ('a'..='z', 4) => offset(0x1d41a),
        ('a'..='z', 5) => offset(0x24d0),
        ('s', 6) => "\u{17f}".into(),
        ('k', 6) => "\u{212a}".into(),
        ('1', 0) => "\u{b9}".into(),
        ('1', 1) => "\u{2460}".into(),
        ('1', 2) => "\u{ff11}".into(),
        ('.', 0) => "\u{3002}".into(),
        ('.', 1) => "\u{ff0e}".into(),
        ('.', 2) => "\u{ff61}".into(),
        ('.', 3) => "..".into(),
        ('-', 0) => "\u{ff0d}".into(),
        (_, _) => character.to_string(),
    }
}

/// A name in another spelling: few characters changed, dots around it, characters that are not seen.
fn spellings() -> impl Strategy<Value = (String, String)> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let around = prop::sample::select(
        &["", "", "", "", "", "", "", "", "", "", ".", ".", "..", "\u{3002}", "\u{ff0e}", "\u{ad}", "\u{200b}"][..],
    );
    (names(), changes, around.clone(), around).prop_map(|(name, changes, front, behind)| {
        let mut characters: Vec<_> = name.chars().map(String::from).collect();
        for (index, choice) in changes {
            let at = index.index(characters.len());
            let original = name.chars().nth(at).unwrap();
            characters[at] = variant(original, choice);
        }
        (name, format!("{front}{}{behind}", characters.concat()))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn canonical_forms_are_fixed_points(text in texts()) {
        fixed_point(Host::parse(&text), Host::parse);
        fixed_point(Host::parse_configured(&text), Host::parse);
        fixed_point(Authority::parse(&text), Authority::parse);
        fixed_point(HostPattern::parse(&text), HostPattern::parse);
    }

    /// What the wire accepts, the file accepts and means the same.
    #[test]
    fn a_host_is_its_own_pattern(text in texts()) {
        if let Ok(host) = Host::parse(&text) {
            prop_assert_eq!(Host::parse_configured(&text), Ok(host.clone()));
            let pattern = HostPattern::parse(&text).unwrap();
            for port in ["1", "443", "65535"] {
                let authority = Authority::parse(&format!("{host}:{port}")).unwrap();
                prop_assert!(pattern.matches(&authority));
            }
        }
    }

    /// F4, F5, F6: another spelling is refused or gets the very same rule, so that it neither finds a pinset nor
    /// leaves one.
    #[test]
    fn no_spelling_changes_the_rule((name, spelling) in spellings(), port in prop::sample::select(&[443, 8443][..])) {
        let expected = label(&format!("{name}:{port}")).expect("the name is one");
        if let Some(found) = label(&format!("{spelling}:{port}")) {
            prop_assert_eq!(found, expected, "{:?}", spelling);
        }
        // On the wire what is not ASCII is refused; in the file it may be another way to write the same host.
        if !spelling.is_ascii() {
            prop_assert!(Host::parse(&spelling).is_err());
        }
        if let Ok(host) = Host::parse_configured(&spelling) {
            prop_assert_eq!(host, Host::parse(&name).unwrap(), "{:?}", spelling);
        }
    }
}

#[test]
fn the_spellings_are_worth_it() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut pinned, mut refused, mut same) = (0, 0, 0);
    for _ in 0..1_000 {
        let (name, spelling) = spellings().new_tree(&mut runner).unwrap().current();
        pinned += usize::from(label(&format!("{name}:8443")).is_some_and(|label| label != "unpinned"));
        match label(&format!("{spelling}:8443")) {
            None => refused += 1,
            Some(_) if spelling != name => same += 1,
            Some(_) => {}
        }
    }
    assert!(pinned > 100 && refused > 100 && same > 100, "{pinned} pinned, {refused} refused, {same} rewritten");
}
