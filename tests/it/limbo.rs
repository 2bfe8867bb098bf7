//! The certificate chains of x509-limbo (C2SP/x509-limbo), judged by the verification that sessions use.
//!
//! The suite is read from `../shared/data/x509-limbo.json`, or from the file that the environment variable
//! PINPROXY_LIMBO names; where there is none the test says so and passes. What is judged otherwise than the suite
//! expects stands in [`deviations`] with its reason, and a deviation that no longer occurs is an error too.

mod deviations;

use deviations::{Expected, deviations};
use pinproxy::policy::host::{Authority, Host};
use pinproxy::policy::moment::Circumstances;
use pinproxy::policy::rules::{Policy, Unpinned};
use pinproxy::tls::anchors::TrustAnchors;
use pinproxy::tls::memory::ChainMemory;
use pinproxy::tls::revocation::{Revocation, RevocationMode};
use pinproxy::tls::verify::Question;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

#[derive(Deserialize)]
struct Suite {
    testcases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    validation_kind: String,
    trusted_certs: Vec<String>,
    untrusted_intermediates: Vec<String>,
    peer_certificate: String,
    validation_time: Option<String>,
    expected_result: Expected,
    expected_peer_name: Option<Name>,
    crls: Vec<String>,
}

#[derive(Deserialize)]
struct Name {
    kind: String,
    value: String,
}

fn certificates(texts: &[String]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = |text: &String| CertificateDer::from_pem_slice(text.as_bytes()).map_err(|error| error.to_string());
    texts.iter().map(read).collect()
}

impl Case {
    /// Why the chain is refused.
    fn judge(&self) -> Result<(), String> {
        let name = self.expected_peer_name.as_ref().ok_or("no name is asked for")?;
        let text = if name.kind == "IP" && name.value.contains(':') {
            format!("[{}]", name.value)
        } else {
            name.value.clone()
        };
        let host = Host::parse(&text).map_err(|error| format!("the request: {error}"))?;
        let lists = self.crls.iter().map(|text| {
            CertificateRevocationListDer::from_pem_slice(text.as_bytes()).map_err(|error| error.to_string())
        });
        let lists = lists.collect::<Result<Vec<_>, _>>()?;
        let policy = Policy::new(1, Vec::new(), Unpinned::Intercept, HashMap::new()).map_err(|_| "conflicts")?;
        let port = 443.try_into().map_err(|_| "no port")?;
        let rule = Arc::clone(policy.select(&Authority { host: host.clone(), port }, SystemTime::now()));
        let anchors = TrustAnchors::from_certificates(certificates(&self.trusted_certs)?)
            .map_err(|error| format!("the trust anchor: {error}"))?;
        let revocation = Revocation::from_der(RevocationMode::WhenAvailable, &lists)
            .map_err(|error| format!("the revocation list: {error}"))?;
        let question = Question {
            anchors: Arc::new(anchors),
            revocation: Arc::new(revocation),
            policy: Arc::new(policy),
            rule,
            host,
        };
        // Without a time of its own a case holds at any time of these decades.
        let now = self.validation_time.as_deref().map_or(Ok(crate::support::pki::REFERENCE), |text| {
            OffsetDateTime::parse(text, &Rfc3339).map_err(|error| error.to_string())
        });
        let leaf = certificates(std::slice::from_ref(&self.peer_certificate))?.remove(0);
        let circumstances = Circumstances::new(SystemTime::from(now?), std::net::Ipv4Addr::LOCALHOST.into());
        let others = certificates(&self.untrusted_intermediates)?;
        let attempt = question.verify(&leaf, &others, &circumstances);
        // The memory of chains says the same, the second time out of what it remembers.
        let memory = ChainMemory::default();
        for asked_before in [false, true] {
            let remembered = memory.verify(&question, &leaf, &others, &circumstances);
            assert_eq!(format!("{remembered:?}"), format!("{attempt:?}"), "{}", self.id);
            assert_eq!(memory.answered() == 1, asked_before && attempt.result.is_ok(), "{}", self.id);
        }
        attempt.result.map(drop).map_err(|rejection| format!("{:?}: {}", rejection.class, rejection.detail))
    }
}

/// The suite, or where it was looked for.
fn suite() -> Result<Suite, PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/x509-limbo.json");
    let path = std::env::var_os("PINPROXY_LIMBO").map_or_else(beside, PathBuf::from);
    let Ok(text) = std::fs::read_to_string(&path) else { return Err(path) };
    Ok(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

#[test]
fn every_case_ends_as_expected_or_as_listed() {
    let suite = match suite() {
        Ok(suite) => suite,
        Err(path) => {
            // Not a failure in CI either: the file is not part of the repository.
            let why = format!("no {} (set PINPROXY_LIMBO to x509-limbo's limbo.json)", path.display());
            return crate::support::process::tell_skipped(&why);
        }
    };
    let mut listed: BTreeMap<&str, (Expected, &str)> = BTreeMap::new();
    for deviation in deviations() {
        for id in deviation.cases {
            let twice = listed.insert(id, (deviation.judged, deviation.reason));
            assert!(twice.is_none(), "{id} is listed twice");
        }
    }
    let mut wrong = Vec::new();
    let mut judged = 0;
    for case in suite.testcases.iter().filter(|case| case.validation_kind == "SERVER") {
        judged += 1;
        let result = case.judge();
        let is = if result.is_ok() { Expected::Success } else { Expected::Failure };
        match (listed.remove(case.id.as_str()), is == case.expected_result) {
            (None, true) => {}
            (Some((as_listed, _)), false) if as_listed == is => {}
            (Some((_, reason)), _) => wrong.push(format!("{} deviates no longer: {reason}", case.id)),
            (None, false) => wrong.push(format!("{} is {result:?}, expected {:?}", case.id, case.expected_result)),
        }
    }
    wrong.extend(listed.keys().map(|id| format!("{id} is listed and not in the suite")));
    assert!(wrong.is_empty(), "{} of {judged} cases:\n{}", wrong.len(), wrong.join("\n"));
    assert!(judged > 100, "the suite is whole");
}
