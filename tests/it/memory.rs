//! The memory of verified chains: what is answered from it, and each of the ends of what it knows.

use crate::support::pki::{Ca, Chain, Key, Leaf, REFERENCE, Validity, system_time};
use pinproxy::config::Config;
use pinproxy::policy::decision::FailureClass;
use pinproxy::policy::host::{Authority, Host};
use pinproxy::policy::moment::{Circumstances, Moment};
use pinproxy::policy::rules::Policy;
use pinproxy::tls::anchors::TrustAnchors;
use pinproxy::tls::memory::{CHAIN_MEMORY_LIFETIME, CHAIN_MEMORY_OCTETS_MAX, ChainMemory};
use pinproxy::tls::revocation::{Revocation, RevocationMode};
use pinproxy::tls::verify::Question;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

const HOST: &str = "bank.example";

fn at(seconds: i64) -> SystemTime {
    system_time(REFERENCE + time::Duration::seconds(seconds))
}

/// Valid from an hour before the reference until so many seconds after it, that second included.
fn until(seconds: i64) -> Validity {
    Validity::between(REFERENCE - time::Duration::hours(1), REFERENCE + time::Duration::seconds(seconds))
}

fn policy(text: &str) -> Arc<Policy> {
    let parsed = Config::parse(text, Path::new("test.toml"), at(0));
    Arc::new(parsed.unwrap_or_else(|errors| panic!("{errors}")).0.policy(1))
}

fn pinset(name: &str, hosts: &str, pin: &str, more: &str) -> String {
    let spare = Key::p256().pin();
    format!("[[pinset]]\nname = \"{name}\"\nhosts = [{hosts}]\npins = [\"{pin}\", \"{spare}\"]\n{more}\n")
}

/// A question and what it is about.
struct Scene {
    root: Ca,
    intermediate: Ca,
    chain: Chain,
    question: Question,
    memory: ChainMemory,
}

impl Scene {
    /// Leaf, intermediate and root that end so many seconds after the reference, and the leaf pinned.
    fn ending(leaf: i64, intermediate: i64, root: i64, mode: RevocationMode) -> Self {
        let root = Ca::builder("root").validity(until(root)).self_signed();
        let intermediate = Ca::builder("intermediate").validity(until(intermediate)).signed_by(&root);
        let chain = Leaf::named(HOST).dns("*.many.example").validity(until(leaf)).signed_by(&intermediate);
        let policy = policy(&pinset("bank", "\"bank.example\", \"**.many.example\"", &chain.pin(), ""));
        let lists = [root.revokes(&[], until(60)), intermediate.revokes(&[], until(90))];
        let lists = lists.map(CertificateRevocationListDer::from);
        let question = Question {
            anchors: Arc::new(TrustAnchors::from_certificates([root.der().clone()]).expect("sound")),
            revocation: Arc::new(Revocation::from_der(mode, &lists).expect("sound")),
            rule: Arc::clone(policy.select(&Authority::parse("bank.example:443").expect("sound"), at(0))),
            policy,
            host: Authority::parse("bank.example:443").expect("sound").host,
        };
        Self { root, intermediate, chain, question, memory: ChainMemory::default() }
    }

    fn usual() -> Self {
        Self::ending(100_000, 100_000, 100_000, RevocationMode::Off)
    }

    /// With the policy of this text, for this target.
    fn asked(&self, text: &str, target: &str) -> Question {
        let (policy, target) = (policy(text), Authority::parse(target).expect("sound"));
        let rule = Arc::clone(policy.select(&target, at(0)));
        Question { policy, rule, host: target.host, ..self.question.clone() }
    }

    fn verify(
        &self,
        question: &Question,
        certificates: &[CertificateDer<'static>],
        moment: impl Into<Moment>,
    ) -> Result<(), FailureClass> {
        let (leaf, others) = certificates.split_first().expect("sound");
        let circumstances = Circumstances::new(moment, Ipv4Addr::LOCALHOST.into());
        let attempt = self.memory.verify(question, leaf, others, &circumstances);
        let expected = question.verify(leaf, others, &circumstances);
        assert_eq!(format!("{attempt:?}"), format!("{expected:?}"), "the memory says what verification says");
        attempt.result.map(drop).map_err(|rejection| rejection.class)
    }

    /// Asks the usual question at the reference; gives how many were answered from memory before.
    fn begin(&self) -> u64 {
        assert_eq!(self.verify(&self.question, &self.chain.certificates, at(0)), Ok(()));
        let before = self.memory.answered();
        assert_eq!(self.verify(&self.question, &self.chain.certificates, at(0)), Ok(()));
        assert_eq!(self.memory.answered(), before + 1, "asked again, it is known");
        before + 1
    }

    /// Asserts how a question ends after the usual one, and whether out of memory.
    fn then(
        &self,
        what: &str,
        question: &Question,
        certificates: &[CertificateDer<'static>],
        moment: impl Into<Moment>,
        expected: Result<(), FailureClass>,
        remembered: bool,
    ) {
        let before = self.begin();
        assert_eq!(self.verify(question, certificates, moment), expected, "{what}");
        assert_eq!(self.memory.answered() - before, u64::from(remembered), "{what}");
    }
}

/// Each certificate, each list that is binding, and the lifetime of the memory itself.
#[test]
fn what_time_ends() {
    use RevocationMode::{Off, Require, WhenAvailable};
    let lifetime = i64::try_from(CHAIN_MEMORY_LIFETIME.as_secs()).expect("sound");
    let (long, ended) = (100_000, Err(FailureClass::Validity));
    // ends of leaf, intermediate and root, lists, the moment, how it ends, out of memory
    let table = [
        ((long, long, long), Off, lifetime - 1, Ok(()), true),
        ((long, long, long), Off, lifetime, Ok(()), false),
        ((70, long, long), Off, 70, Ok(()), true),
        ((70, long, long), Off, 71, ended, false),
        ((long, 70, long), Off, 70, Ok(()), true),
        ((long, 70, long), Off, 71, ended, false),
        ((long, long, 70), Off, 70, Ok(()), true),
        ((long, long, 70), Off, 71, ended, false),
        // Where nothing depends on them, lists do not end anything.
        ((long, long, long), Off, 60, Ok(()), true),
        ((long, long, long), WhenAvailable, 60, Ok(()), true),
        ((long, long, long), WhenAvailable, 90, Ok(()), true),
        ((long, long, long), Require, 59, Ok(()), true),
        ((long, long, long), Require, 60, Err(FailureClass::Chain), false),
        // It is not known what was before.
        ((long, long, long), Off, -1, Ok(()), false),
        ((long, long, long), Off, -3_601, ended, false),
    ];
    for ((leaf, intermediate, root), mode, seconds, expected, remembered) in table {
        let scene = Scene::ending(leaf, intermediate, root, mode);
        let what = format!("{leaf} {intermediate} {root} {mode:?} at {seconds}");
        scene.then(&what, &scene.question, &scene.chain.certificates, at(seconds), expected, remembered);
    }
}

/// Of two clocks the later one counts, for what is remembered too.
#[test]
fn a_clock_that_is_doubted() {
    let scene = Scene::ending(70, 100_000, 100_000, RevocationMode::Off);
    let both = |one, other| Moment::between(at(one), at(other));
    let certificates = &scene.chain.certificates;
    scene.then("both within", &scene.question, certificates, both(0, 70), Ok(()), true);
    scene.then("one beyond", &scene.question, certificates, both(0, 71), Err(FailureClass::Validity), false);
}

/// A certificate beside the path that begins: path building has more to choose from.
#[test]
fn a_served_certificate_that_begins() {
    let scene = Scene::usual();
    let later = Validity::between(REFERENCE + time::Duration::seconds(50), REFERENCE + time::Duration::days(1));
    let other = Ca::builder("other").validity(later).signed_by(&scene.root);
    let certificates: Vec<_> = scene.chain.certificates.iter().chain([other.der()]).cloned().collect();
    assert_eq!(scene.verify(&scene.question, &certificates, at(0)), Ok(()));
    for (seconds, answered) in [(49, 1), (50, 1), (51, 2)] {
        assert_eq!(scene.verify(&scene.question, &certificates, at(seconds)), Ok(()));
        assert_eq!(scene.memory.answered(), answered, "at {seconds}");
    }
}

/// The verdict of one rule, generation, host or set of anchors is never that of another.
#[test]
fn what_something_else_ends() {
    let scene = Scene::usual();
    let (certificates, pin) = (&scene.chain.certificates, scene.chain.pin());
    let bank = |more: &str| pinset("bank", "\"bank.example\"", &pin, more);
    let blocked = format!(
        "{}[[blocklist]]\nname = \"lost\"\nreason = \"lost\"\nspki = [\"{}\"]\n",
        bank(""),
        scene.intermediate.pin()
    );
    let denied = bank(&format!("deny = [\"{}\"]", scene.intermediate.pin()));
    let (pins, chain) = (Err(FailureClass::Pin), Err(FailureClass::Chain));
    let elsewhere = pinset("other", "\"bank.example:8443\"", &Key::p256().pin(), "");
    let other_root = Arc::new(TrustAnchors::from_certificates([Ca::root("root").der().clone()]).expect("sound"));
    let list = scene.intermediate.revokes(&[scene.chain.leaf()], until(90)).into();
    let revoked = Revocation::from_der(RevocationMode::WhenAvailable, &[list]).expect("sound");
    let question = &scene.question;
    let table = [
        ("an equal policy of another generation", scene.asked(&bank(""), "bank.example:443"), Ok(())),
        ("a blocked key", scene.asked(&blocked, "bank.example:443"), Err(FailureClass::Blocklist)),
        ("a denied key", scene.asked(&denied, "bank.example:443"), Err(FailureClass::Blocklist)),
        (
            "other pins",
            scene.asked(&pinset("bank", "\"bank.example\"", &Key::p256().pin(), ""), "bank.example:443"),
            pins,
        ),
        ("no pins", scene.asked("", "bank.example:443"), Ok(())),
        ("another rule of the host", scene.asked(&format!("{}{elsewhere}", bank("")), "bank.example:8443"), pins),
        ("other anchors", Question { anchors: other_root, ..question.clone() }, chain),
        ("other lists", Question { revocation: Arc::new(revoked), ..question.clone() }, chain),
    ];
    for (what, question, expected) in table {
        scene.then(what, &question, certificates, at(0), expected, false);
    }
}

/// Two rules of one policy that the same chain is served under: neither answers for the other, and neither drives out what
/// is known under the other.
#[test]
fn two_rules_of_one_policy() {
    let scene = Scene::usual();
    let certificates = &scene.chain.certificates;
    let (satisfied, other) = (scene.chain.pin(), Key::p256().pin());
    let text = pinset("one", "\"bank.example:443\"", &satisfied, "")
        + &pinset("two", "\"bank.example:8443\"", &scene.intermediate.pin(), "")
        + &pinset("three", "\"bank.example:9443\"", &other, "");
    let policy = policy(&text);
    let asked = |port: u16| {
        let target = Authority::parse(&format!("bank.example:{port}")).expect("sound");
        let rule = Arc::clone(policy.select(&target, at(0)));
        Question { policy: Arc::clone(&policy), rule, host: target.host, ..scene.question.clone() }
    };
    let (one, two, three) = (asked(443), asked(8443), asked(9443));
    for round in 0..3 {
        assert_eq!(scene.verify(&one, certificates, at(0)), Ok(()));
        assert_eq!(scene.verify(&two, certificates, at(0)), Ok(()));
        assert_eq!(scene.verify(&three, certificates, at(0)), Err(FailureClass::Pin));
        assert_eq!((scene.memory.answered(), scene.memory.entries()), (2 * round, 2));
    }
}

/// The path of a certificate for several names is one; whether it is for the name is looked at each time.
#[test]
fn other_names() {
    let scene = Scene::usual();
    let table = [
        ("a.many.example", Ok(()), true),
        ("a.b.many.example", Err(FailureClass::Name), false),
        ("a.bank.example", Err(FailureClass::Name), false),
        ("many.example", Err(FailureClass::Name), false),
        ("192.0.2.1", Err(FailureClass::Name), false),
    ];
    for (host, expected, remembered) in table {
        let host = Host::parse(host).expect("sound");
        let question = Question { host, ..scene.question.clone() };
        scene.then(&question.host.to_string(), &question, &scene.chain.certificates, at(0), expected, remembered);
    }
}

/// The same certificates in another order, and others, are looked up as what they are.
#[test]
fn other_certificates() {
    let scene = Scene::usual();
    let certificates = &scene.chain.certificates;
    let with_root: Vec<_> = certificates.iter().chain([scene.root.der()]).cloned().collect();
    let turned = [with_root[0].clone(), with_root[2].clone(), with_root[1].clone()];
    let upside_down: Vec<_> = certificates.iter().rev().cloned().collect();
    let mut spoilt = certificates.clone();
    let mut octets = spoilt[0].to_vec();
    *octets.last_mut().expect("sound") ^= 1;
    spoilt[0] = CertificateDer::from(octets);
    let renewed = Leaf::named(HOST).validity(until(1_000)).signed_by(&scene.intermediate);
    let table = [
        ("the root as well", with_root.clone(), Ok(())),
        ("in another order", turned.to_vec(), Ok(())),
        ("upside down", upside_down, Err(FailureClass::Chain)),
        ("a signature with one wrong bit", spoilt, Err(FailureClass::Chain)),
        ("without the intermediate", vec![certificates[0].clone()], Err(FailureClass::Chain)),
        ("another leaf", renewed.certificates, Err(FailureClass::Pin)),
    ];
    for (what, certificates, expected) in table {
        scene.then(what, &scene.question, &certificates, at(0), expected, false);
    }
}

/// A rule whose dates make it stricter: what was let through before is judged anew.
#[test]
fn the_steps_of_a_rule() {
    let scene = Scene::usual();
    let rollout = "mode = \"report-only\"\n[pinset.rollout]\nenforce_from = 2026-03-01T12:01:00Z";
    let text = pinset("bank", "\"bank.example\"", &Key::p256().pin(), rollout);
    let question = scene.asked(&text, "bank.example:443");
    for (seconds, expected, answered) in [
        (58, Ok(()), 0),
        (59, Ok(()), 1),
        (60, Err(FailureClass::Pin), 1),
        (59, Ok(()), 2),
        (61, Err(FailureClass::Pin), 2),
    ] {
        assert_eq!(scene.verify(&question, &scene.chain.certificates, at(seconds)), expected, "at {seconds}");
        assert_eq!(scene.memory.answered(), answered, "at {seconds}");
    }
}

/// What was refused is never remembered: the next one asks again.
#[test]
fn refusals_are_not_remembered() {
    let scene = Scene::usual();
    let question = scene.asked(&pinset("bank", "\"bank.example\"", &Key::p256().pin(), ""), "bank.example:443");
    for _ in 0..3 {
        assert_eq!(scene.verify(&question, &scene.chain.certificates, at(0)), Err(FailureClass::Pin));
    }
    assert_eq!((scene.memory.answered(), scene.memory.entries()), (0, 0));
    // What is only reported is let through, and told each time.
    let soft = scene
        .asked(&pinset("bank", "\"bank.example\"", &Key::p256().pin(), "mode = \"report-only\""), "bank.example:443");
    for answered in 0..3 {
        assert_eq!(scene.verify(&soft, &scene.chain.certificates, at(0)), Ok(()));
        assert_eq!(scene.memory.answered(), answered);
    }
    // A pinned key without a chain takes no path building, and is not remembered either.
    let key_only = scene
        .asked(&pinset("bank", "\"bank.example\"", &scene.chain.pin(), "trust = \"pin-only\""), "bank.example:443");
    for _ in 0..2 {
        assert_eq!(scene.verify(&key_only, &scene.chain.certificates, at(0)), Ok(()));
    }
    assert_eq!((scene.memory.answered(), scene.memory.entries()), (2, 1));
}

#[test]
fn it_is_bounded() {
    let scene = Scene::usual();
    let (leaf, others) = scene.chain.certificates.split_first().expect("sound");
    let circumstances = Circumstances::new(at(0), Ipv4Addr::LOCALHOST.into());
    let most = usize::try_from(CHAIN_MEMORY_OCTETS_MAX / 1_024).expect("sound");
    for n in 0..most + most / 4 {
        // What is no certificate leads nowhere, but makes the list another one.
        let more: Vec<_> = others.iter().cloned().chain([CertificateDer::from(n.to_be_bytes().to_vec())]).collect();
        assert!(scene.memory.verify(&scene.question, leaf, &more, &circumstances).result.is_ok());
    }
    let entries = scene.memory.entries();
    assert!(entries <= most && entries > most / 2, "{entries} of {most}");
}
