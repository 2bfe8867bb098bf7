//! What a policy of many pinsets costs: to read, to ask for the rule of a host, to judge a chain with.

#[path = "../tests/it/support/mod.rs"]
mod support;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use pinproxy::config::Config;
use pinproxy::policy::decision::{Decision, evaluate};
use pinproxy::policy::host::{Authority, Host};
use pinproxy::policy::moment::Circumstances;
use pinproxy::policy::pinset::PathElement;
use pinproxy::policy::rules::{Policy, Rule};
use pinproxy::tls::anchors::TrustAnchors;
use pinproxy::tls::revocation::Revocation;
use pinproxy::tls::verify::Question;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use support::pki::{Ca, Chain, Leaf};

#[path = "support/pinsets.rs"]
mod pinsets;

const HOST: &str = "api.bank.example";

fn policy(text: &str) -> Policy {
    let parsed = Config::parse(text, Path::new("bench.toml"), SystemTime::now());
    parsed.unwrap_or_else(|errors| panic!("{errors}")).0.policy(1)
}

/// The rule of a host, with whatever a selection depends on besides.
fn select<'a>(policy: &'a Policy, target: &Authority, now: SystemTime) -> &'a Arc<Rule> {
    policy.select(target, now)
}

fn lookup(criterion: &mut Criterion) {
    let now = SystemTime::now();
    let mut group = criterion.benchmark_group("lookup");
    for count in [10, 1_000, 100_000] {
        let policy = policy(&pinsets::text(count));
        assert_eq!(policy.rules().len(), count);
        for (what, target, found) in [
            ("hit, exact", "host9.example.com:443", true),
            ("hit, one label", "a.site7.example.com:443", true),
            ("hit, subtree", "a.b.c.tree8.example.com:443", true),
            ("miss, near", "a.b.c.site7.example.com:443", false),
            ("miss, far", "a.b.c.d.nowhere.example.org:443", false),
        ] {
            let target = Authority::parse(target).expect("a target");
            assert_eq!(select(&policy, &target, now).pinset().is_some(), found, "{what}");
            group.bench_with_input(BenchmarkId::new(what, count), &target, |bencher, target| {
                bencher.iter(|| black_box(select(&policy, black_box(target), now)));
            });
        }
    }
    group.finish();
    criterion.bench_function("parse target", |bencher| {
        bencher.iter(|| Authority::parse(black_box("a.b.c.tree8.example.com:443")));
    });
}

fn loading(criterion: &mut Criterion) {
    let now = SystemTime::now();
    let mut group = criterion.benchmark_group("load and check");
    group.sample_size(10);
    for count in [10, 1_000, 100_000] {
        let text = pinsets::text(count);
        group.bench_with_input(BenchmarkId::new("pinsets", count), &text, |bencher, text| {
            bencher.iter(|| Config::parse(black_box(text), Path::new("bench.toml"), now).expect("a configuration"));
        });
    }
    group.finish();
}

/// A chain of four certificates, its anchors, and a policy that pins this key.
fn question(pin: &str, root: &Ca) -> Question {
    let spare = "sha256/diGVwiVYbubAI3RW4hB9xU8e/CH2GnkuvVFZE8zmgzI=";
    let policy = policy(&format!(
        "[[pinset]]\nname = \"bank\"\nhosts = [\"{HOST}\"]\npins = [\"{pin}\"]\nbackup = [\"{spare}\"]\n"
    ));
    let authority = Authority::parse(&format!("{HOST}:443")).expect("a target");
    let rule = Arc::clone(select(&policy, &authority, SystemTime::now()));
    Question {
        anchors: Arc::new(TrustAnchors::from_certificates([root.der().clone()]).expect("an anchor")),
        revocation: Arc::new(Revocation::off()),
        policy: Arc::new(policy),
        rule,
        host: Host::parse(HOST).expect("a host"),
    }
}

fn decision(criterion: &mut Criterion) {
    let here = Circumstances::new(SystemTime::now(), Ipv4Addr::LOCALHOST.into());
    let root = Ca::root("root");
    let upper = root.intermediate("upper");
    let chain: Chain = Leaf::named(HOST).signed_by(&upper.intermediate("lower"));
    let other = Ca::root("other");
    let (leaf, others) = chain.certificates.split_first().expect("a leaf");
    for (what, question, allowed) in [
        ("the leaf is pinned", question(&chain.pin(), &root), true),
        ("the anchor is pinned", question(&root.pin(), &root), true),
        ("another key is pinned", question(&other.pin(), &root), false),
    ] {
        assert_eq!(question.verify(leaf, others, &here).result.is_ok(), allowed, "{what}");
        criterion.bench_function(&format!("verify 4 certificates, {what}"), |bencher| {
            bencher.iter(|| question.verify(black_box(leaf), black_box(others), &here));
        });
        if let Ok(verified) = question.verify(leaf, others, &here).result {
            let decide = || evaluate(&question.policy, &question.rule, &here, Ok(black_box(&verified)));
            assert!(matches!(decide(), Decision::Allowed { .. }));
            criterion.bench_function(&format!("decide on 4 certificates, {what}"), |bencher| bencher.iter(decide));
        }
    }
    let path = [100, 101, 102, 103].map(|n| PathElement { spki: [n; 32], certificate: None });
    let rule = question(&other.pin(), &root).rule;
    let accepts = rule.pinset().expect("a pinset").accepts();
    assert_eq!(accepts.judge(&path), None);
    criterion.bench_function("compare pins with 4 certificates, none matches", |bencher| {
        bencher.iter(|| black_box(accepts).judge(black_box(&path)));
    });
}

criterion_group!(benches, lookup, loading, decision);
criterion_main!(benches);
