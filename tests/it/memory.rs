//! The memory of verified chains: what is answered from it, and each of the ends of what it knows.

mod bounds;
mod ends;
mod others;
mod sessions;

use crate::support::pki::{Ca, Chain, Key, Leaf, REFERENCE, Validity, system_time};
use pinproxy::config::Config;
use pinproxy::policy::decision::FailureClass;
use pinproxy::policy::host::Authority;
use pinproxy::policy::moment::{Circumstances, Moment};
use pinproxy::policy::pinset::Demand;
use pinproxy::policy::rules::{Policy, Rule};
use pinproxy::tls::anchors::TrustAnchors;
use pinproxy::tls::memory::ChainMemory;
use pinproxy::tls::revocation::{Revocation, RevocationMode};
use pinproxy::tls::verify::Question;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

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

fn lists<const N: usize>(mode: RevocationMode, lists: [Vec<u8>; N]) -> Arc<Revocation> {
    Arc::new(Revocation::from_der(mode, &lists.map(CertificateRevocationListDer::from)).expect("sound"))
}

fn pinset(name: &str, hosts: &str, pin: &str, more: &str) -> String {
    let spare = Key::p256().pin();
    format!("[[pinset]]\nname = \"{name}\"\nhosts = [{hosts}]\npins = [\"{pin}\", \"{spare}\"]\n{more}\n")
}

/// Clients for whom a rule is enforced from these moments on, one each.
fn clients_of<const N: usize>(rule: &Rule, moments: [SystemTime; N]) -> [Ipv4Addr; N] {
    let enforced = |client: &Ipv4Addr, moment| {
        let circumstances = Circumstances::new(moment, (*client).into());
        matches!(rule.demand(&circumstances), Demand::Pins { enforced: true, .. })
    };
    let from = |moment| {
        let mut clients = (1..=254).map(|last| Ipv4Addr::new(127, 1, 2, last));
        let just = |client: &Ipv4Addr| enforced(client, moment) && !enforced(client, moment - Duration::from_secs(1));
        clients.find(just).expect("one of them")
    };
    moments.map(from)
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
        let question = Question {
            anchors: Arc::new(TrustAnchors::from_certificates([root.der().clone()]).expect("sound")),
            revocation: lists(mode, [root.revokes(&[], until(60)), intermediate.revokes(&[], until(90))]),
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
        self.under(&policy(text), target, at(0))
    }

    /// With this policy, for this target at this moment.
    fn under(&self, policy: &Arc<Policy>, target: &str, moment: SystemTime) -> Question {
        let target = Authority::parse(target).expect("sound");
        let rule = Arc::clone(policy.select(&target, moment));
        Question { policy: Arc::clone(policy), rule, host: target.host, ..self.question.clone() }
    }

    fn verify(
        &self,
        question: &Question,
        certificates: &[CertificateDer<'static>],
        moment: impl Into<Moment>,
    ) -> Result<(), FailureClass> {
        self.verify_under(question, certificates, &Circumstances::new(moment, Ipv4Addr::LOCALHOST.into()))
    }

    fn verify_under(
        &self,
        question: &Question,
        certificates: &[CertificateDer<'static>],
        circumstances: &Circumstances,
    ) -> Result<(), FailureClass> {
        let (leaf, others) = certificates.split_first().expect("sound");
        let attempt = self.memory.verify(question, leaf, others, circumstances);
        let expected = question.verify(leaf, others, circumstances);
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
