//! `judgement.toml`: which verified chain satisfies which rule, and why another does not.

use super::policy::{authority, codes, digest, judge, new_year, policy, select, upstream_name};
use super::{Cases, read};
use pinproxy::policy::decision::{Candidate, ChainProof, Decision, FailureClass, Footing, PIN_MISMATCH, Rejection};
use pinproxy::policy::host::{Authority, Host};
use pinproxy::policy::pin::{Pin, Sha256};
use pinproxy::policy::pinset::PathElement;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

const HOST: &str = "bank.example";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Judgement {
    case: Vec<Case>,
    refused_pinsets: Vec<RefusedPinset>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    origin: String,
    /// The pinset for the host; no rule for it when absent.
    pinset: Option<Lists>,
    /// The rules of mozilla's pinning test under this setting, in place of a pinset: see the file.
    mozilla: Option<String>,
    /// The host that is asked for; [`HOST`] when absent.
    host: Option<String>,
    /// The name that the upstream is asked for and has to prove, where that is told.
    upstream: Option<String>,
    /// An exemption of the host from its pinset.
    #[serde(default)]
    exempt: bool,
    /// Keys of the blocklist.
    #[serde(default)]
    blocked: Vec<String>,
    /// The verified path, end entity first: `key`, or `key.N` for another certificate of that key.
    #[serde(default)]
    path: Vec<String>,
    /// Whether only possession of the end entity's key was verified.
    #[serde(default)]
    key_only: bool,
    /// Paths that the search turned down before this one.
    #[serde(default)]
    passed_over: Vec<Vec<String>>,
    /// Whether the path ends in an anchor whose chains are exempt from pins.
    #[serde(default)]
    exempting: bool,
    /// The class in which verification failed; then there is no path.
    failed: Option<String>,
    verdict: Outcome,
}

/// The lists of a pinset by name of key; `cert-NAME` is the pin of a certificate.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Lists {
    leaf_pins: Vec<String>,
    ca_pins: Vec<String>,
    pins: Vec<String>,
    /// A key that no path holds when absent.
    backup: Option<Vec<String>>,
    /// The pins of a wider pinset around this one, which is for the host alone then.
    parent: Vec<String>,
    inherit: bool,
    /// Keys that the pinset refuses.
    deny: Vec<String>,
    roles: BTreeMap<String, String>,
    combine: Option<String>,
    mode: Option<String>,
    trust: Option<String>,
    verify_name: Option<String>,
    verify_validity: Option<String>,
}

/// What a verdict says, as a whole.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
struct Outcome {
    /// `malformed` (the host is none; `detail` says why), `refused`, `reported` (let through, and told), `exempted` (let through by its anchor, and told) or `allowed`.
    decision: String,
    /// The class of the failure.
    class: Option<String>,
    /// The sentence for people; [`PIN_MISMATCH`] for the class `pin` when absent.
    detail: Option<String>,
    /// The pin that matched, by name, and where it stood.
    pin: Option<String>,
    position: Option<usize>,
}

/// A pinset that the configuration refuses.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusedPinset {
    name: String,
    #[serde(default)]
    origin: String,
    pinset: Lists,
    #[serde(default)]
    blocked: Vec<String>,
    codes: Vec<String>,
}

impl Cases for Judgement {
    fn names(&self) -> Vec<Vec<&str>> {
        vec![
            self.case.iter().map(|case| case.name.as_str()).collect(),
            self.refused_pinsets.iter().map(|case| case.name.as_str()).collect(),
        ]
    }
}

impl Lists {
    fn configuration(&self) -> String {
        let lists = [("leaf_pins", &self.leaf_pins), ("ca_pins", &self.ca_pins), ("pins", &self.pins)];
        let mut lists: Vec<_> = lists.map(|(key, names)| (key, names.clone())).into();
        lists.retain(|(_, names)| !names.is_empty());
        if self.combine.as_deref() == Some("all") {
            // Each list is needed, so that each needs a second key.
            for (key, names) in &mut lists {
                names.push(format!("spare-of-{key}"));
            }
        }
        let mut roles = self.roles.clone();
        let backup = self.backup.clone().unwrap_or_else(|| {
            // Of several lists a backup joins the one of its role.
            if lists.len() > 1 {
                roles.insert("spare".into(), if self.leaf_pins.is_empty() { "root" } else { "leaf" }.into());
            }
            vec!["spare".into()]
        });
        let mut text = Vec::new();
        let names = lists.iter().flat_map(|(_, names)| names.iter()).chain(&backup).chain(&self.deny);
        for name in names.collect::<BTreeSet<_>>() {
            let kind = if name.starts_with("cert-") { "cert" } else { "spki" };
            text.push(format!("[keys.{name}]\n{kind} = \"sha256:{}\"\n", hex(&digest(name))));
            text.extend(roles.get(name).map(|role| format!("role = {role:?}\n")));
        }
        let hosts = if self.parent.is_empty() { format!("**.{HOST}") } else { HOST.to_owned() };
        text.push(format!("[[pinset]]\nname = \"bank\"\nhosts = [{hosts:?}]\n"));
        text.extend(self.inherit.then(|| "inherit = true\n".to_owned()));
        let more = [("backup", backup.clone()), ("deny", self.deny.clone())]
            .into_iter()
            .filter(|(_, names)| !names.is_empty());
        text.extend(lists.into_iter().chain(more).map(|(key, names)| format!("{key} = {names:?}\n")));
        let words = [
            ("combine", &self.combine),
            ("mode", &self.mode),
            ("trust", &self.trust),
            ("verify_name", &self.verify_name),
            ("verify_validity", &self.verify_validity),
        ];
        text.extend(words.iter().filter_map(|(key, word)| Some(format!("{key} = {:?}\n", word.as_ref()?))));
        if !self.parent.is_empty() {
            let parent = self.parent.iter().map(|name| format!("\"sha256:{}\"", hex(&digest(name))));
            let (pins, backup) = (parent.collect::<Vec<_>>().join(", "), hex(&digest("spare of the parent")));
            text.push(format!("[[pinset]]\nname = \"around\"\nhosts = [\"**.{HOST}\"]\n"));
            text.push(format!("pins = [{pins}]\nbackup = [\"sha256:{backup}\"]\n"));
        }
        text.concat()
    }
}

/// The pinsets of mozilla's pinning test; both hosts below are pinned to the key `test-ca`.
fn mozilla(setting: &str) -> String {
    const SITE: &str = "pinning.example.com";
    let (static_pins, test_mode) = match setting {
        "strict" | "allow-mitm" => ("enforce", "report-only"),
        "off" => ("off", "off"),
        "enforce-test" => ("enforce", "enforce"),
        other => panic!("no setting of mozilla: {other}"),
    };
    let (pin, spare) = (hex(&digest("test-ca")), hex(&digest("spare")));
    let pinset = |(name, host, mode): (&str, &str, &str)| {
        format!(
            "[[pinset]]\nname = {name:?}\nhosts = [\"{host}.{SITE}\"]\nmode = {mode:?}\n\
             pins = [\"sha256:{pin}\"]\nbackup = [\"sha256:{spare}\"]\n"
        )
    };
    let pinsets = [
        ("include", "**.include-subdomains", static_pins),
        ("exclude", "exclude-subdomains", static_pins),
        ("test-mode", "**.test-mode", test_mode),
    ];
    pinsets.into_iter().map(pinset).collect()
}

fn blocklist(keys: &[String]) -> String {
    let entry = |key: &String| {
        format!("[[blocklist]]\nname = {key:?}\nreason = \"test\"\nspki = [\"sha256:{}\"]\n", hex(&digest(key)))
    };
    keys.iter().map(entry).collect()
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().concat()
}

/// A chain that nobody verified, to see what is made of it.
struct Claim {
    host: Host,
    footing: Footing,
    path: Vec<PathElement>,
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
        &[]
    }
    fn passed_over(&self) -> &[Candidate] {
        &self.passed_over
    }
    fn exempts_pins(&self) -> bool {
        self.exempts_pins
    }
}

fn elements(names: &[String]) -> Vec<PathElement> {
    let element = |name: &String| {
        let key = name.split_once('.').map_or(name.as_str(), |(key, _)| key);
        PathElement { spki: digest(key), certificate: Some(digest(&format!("cert-{name}"))) }
    };
    names.iter().map(element).collect()
}

fn class(name: &str) -> FailureClass {
    let classes = [FailureClass::Chain, FailureClass::Name, FailureClass::Validity, FailureClass::Budget];
    classes.into_iter().find(|class| class.as_str() == name).unwrap_or_else(|| panic!("no class of a chain: {name}"))
}

impl Case {
    fn configuration(&self) -> String {
        let exempt = format!("[[exempt]]\nhosts = [\"{HOST}\"]\nreason = \"test\"\nuntil = 2030-01-01\n");
        let pinset = self.pinset.as_ref().map(Lists::configuration);
        let pinset = pinset.into_iter().chain(self.mozilla.as_deref().map(mozilla));
        let exempt = self.exempt.then_some(exempt);
        pinset.chain(exempt).chain([blocklist(&self.blocked)]).collect()
    }

    fn host(&self) -> &str {
        self.host.as_deref().unwrap_or(HOST)
    }

    fn claim(&self) -> Claim {
        let passed_over = self.passed_over.iter().map(|path| Candidate { path: elements(path), blocked: None });
        Claim {
            host: authority(self.host()).host,
            footing: if self.key_only { Footing::KeyOnly } else { Footing::Anchored },
            path: elements(&self.path),
            passed_over: passed_over.collect(),
            exempts_pins: self.exempting,
        }
    }

    /// The names that the case uses for pins.
    fn pin_named(&self, pin: Pin) -> String {
        let test_ca = vec!["test-ca".to_owned()];
        let lists = self.pinset.iter().flat_map(|lists| [&lists.leaf_pins, &lists.ca_pins, &lists.pins]);
        let backups = self.pinset.iter().filter_map(|lists| lists.backup.as_ref());
        let parents = self.pinset.iter().map(|lists| &lists.parent);
        let of_mozilla = self.mozilla.iter().map(|_| &test_ca);
        let mut names = lists.chain(backups).chain(parents).chain(of_mozilla).flatten();
        let named =
            |name: &&String| digest(name) == *pin.digest() && name.starts_with("cert-") != matches!(pin, Pin::Spki(_));
        names.find(named).cloned().unwrap_or_else(|| pin.to_string())
    }

    fn outcome(&self) -> Outcome {
        let policy = policy(&self.configuration());
        if let Err(error) = Authority::parse(&format!("{}:443", self.host())) {
            let detail = Some(format!("{error:?}"));
            return Outcome { decision: "malformed".into(), detail, ..Outcome::default() };
        }
        let target = authority(self.host());
        let rule = select(&policy, &target, new_year());
        if let Some(upstream) = &self.upstream {
            assert_eq!(upstream_name(rule, &target.host, new_year()), *upstream, "{}", self.name);
        }
        let claim = self.claim();
        let verified = match &self.failed {
            Some(name) => Err(Rejection::new(class(name), "as verification says")),
            None => Ok(&claim),
        };
        let failed = verified.is_err();
        let decision = judge(&policy, rule, new_year(), verified);
        // The pins alone, without mode, footing and blocklist, agree with the verdict.
        let pinned = rule.pinset().and_then(|pinset| pinset.accepts().judge(&claim.path));
        let told = |decision: &str, rejection: Rejection| {
            if rejection.class == FailureClass::Pin {
                assert!(pinned.is_none(), "{}: refused although {pinned:?}", self.name);
                self.check_candidates(&claim, &rejection.candidates);
            }
            let is_usual = rejection.class == FailureClass::Pin && rejection.detail == PIN_MISMATCH;
            let class = Some(rejection.class.as_str().to_owned());
            let detail = (!is_usual && !failed).then_some(rejection.detail);
            Outcome { decision: decision.into(), class, detail, ..Outcome::default() }
        };
        match decision {
            Decision::Refused(rejection) => told("refused", rejection),
            Decision::Allowed { violation: Some(rejection), .. } => told("reported", rejection),
            Decision::Allowed { permit, matched, violation: None, exempted: false } => {
                assert_eq!(permit.host(), &claim.host, "{}", self.name);
                assert!(matched.is_none() || matched == pinned, "{}: {matched:?}, {pinned:?}", self.name);
                let (pin, position) = (matched.map(|m| self.pin_named(m.pin)), matched.map(|m| m.position));
                Outcome { decision: "allowed".into(), pin, position, ..Outcome::default() }
            }
            Decision::Allowed { matched, violation: None, exempted: true, .. } => {
                assert!(matched.is_none() && pinned.is_none(), "{}: exempted although {pinned:?}", self.name);
                Outcome { decision: "exempted".into(), ..Outcome::default() }
            }
        }
    }

    /// A mismatch shows the paths that were turned down, or the one that there is.
    fn check_candidates(&self, claim: &Claim, candidates: &[Candidate]) {
        let only = [Candidate { path: claim.path.clone(), blocked: None }];
        let expected = if claim.passed_over.is_empty() { &only[..] } else { &claim.passed_over };
        assert_eq!(candidates, expected, "{}", self.name);
    }
}

#[test]
fn verdicts() {
    for case in read::<Judgement>("judgement.toml").case {
        assert_eq!(case.outcome(), case.verdict, "{} {}\n{}", case.name, case.origin, case.configuration());
    }
}

#[test]
fn refused_pinsets() {
    for RefusedPinset { name, origin, pinset, blocked, codes: expected } in
        read::<Judgement>("judgement.toml").refused_pinsets
    {
        let text = pinset.configuration() + &blocklist(&blocked);
        assert!(!expected.is_empty(), "{name}: nothing refuses it");
        assert_eq!(codes(&text), expected, "{name} {origin}\n{text}");
    }
}
