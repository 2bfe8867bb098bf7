//! What a session does with the chain that its upstream serves.

use super::{HOST, PIN, SPARE, now, policy};
use pinproxy::policy::decision::evaluate;
use pinproxy::policy::host::{Authority, Host};
use pinproxy::policy::moment::Circumstances;
use pinproxy::tls::anchors::TrustAnchors;
use pinproxy::tls::memory::ChainMemory;
use pinproxy::tls::revocation::{Revocation, RevocationMode};
use pinproxy::tls::verify::Question;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// A leaf for `HOST`, its issuer, its root, valid from 2026 to 2076; their keys were thrown away.
pub(super) const CHAIN: &str = include_str!("../chain.pem");
/// Lists of the issuer, of twenty others, and of the root, of two. They are good for as long.
const LISTS: &str = include_str!("../lists.pem");

fn here() -> Circumstances {
    Circumstances::new(now(), Ipv4Addr::LOCALHOST.into())
}

/// What is asked about the chain, and the certificates that the upstream serves.
fn question() -> (Question, Vec<CertificateDer<'static>>) {
    let certificates = CertificateDer::pem_slice_iter(CHAIN.as_bytes()).collect::<Result<Vec<_>, _>>();
    let mut served = certificates.expect("a chain");
    let root = served.pop().expect("a root");
    let policy = policy(&format!(
        "[[pinset]]\nname = \"bank\"\nhosts = [\"{HOST}\"]\npins = [\"{PIN}\"]\nbackup = [\"{SPARE}\"]\n"
    ));
    let authority = Authority::parse(&format!("{HOST}:443")).expect("a target");
    let question = Question {
        anchors: Arc::new(TrustAnchors::from_certificates([root]).expect("an anchor")),
        revocation: Arc::new(Revocation::off()),
        rule: Arc::clone(policy.select(&authority, now())),
        policy: Arc::new(policy),
        host: Host::parse(HOST).expect("a host"),
    };
    (question, served)
}

pub(super) fn verify() -> Box<dyn FnMut(usize)> {
    let (question, served) = question();
    Box::new(move |_| {
        let attempt = question.verify(black_box(&served[0]), black_box(&served[1..]), &here());
        assert!(attempt.result.is_ok());
    })
}

/// With a list of each issuer, which has to be there.
pub(super) fn verify_against_lists() -> Box<dyn FnMut(usize)> {
    let (question, served) = question();
    let lists = CertificateRevocationListDer::pem_slice_iter(LISTS.as_bytes()).collect::<Result<Vec<_>, _>>();
    let lists = Revocation::from_der(RevocationMode::Require, &lists.expect("lists")).expect("lists");
    let question = Question { revocation: Arc::new(lists), ..question };
    Box::new(move |_| {
        let attempt = question.verify(black_box(&served[0]), black_box(&served[1..]), &here());
        assert!(attempt.result.is_ok());
    })
}

pub(super) fn verify_remembered() -> Box<dyn FnMut(usize)> {
    let (question, served) = question();
    let memory = ChainMemory::default();
    Box::new(move |round| {
        let attempt = memory.verify(&question, black_box(&served[0]), black_box(&served[1..]), &here());
        // The round before those that count leaves it there.
        assert!(attempt.result.is_ok() && memory.answered() == round as u64);
    })
}

pub(super) fn decide() -> Box<dyn FnMut(usize)> {
    let (question, served) = question();
    let verified = question.verify(&served[0], &served[1..], &here()).result.expect("a verified chain");
    Box::new(move |_| {
        let decision = evaluate(&question.policy, &question.rule, &here(), Ok(black_box(&verified)));
        assert_eq!(decision.pins_satisfied(), Some(true));
    })
}
