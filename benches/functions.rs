//! What a session does without waiting: find its rule, judge a path, issue a leaf.

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use pinproxy::authority::{LeafKeyKind, Settings, load_or_create};
use pinproxy::policy::host::Authority;
use pinproxy::policy::pattern::HostPattern;
use pinproxy::policy::pin::Pin;
use pinproxy::policy::pinset::{
    Accepts, AnchorSet, Basis, Clause, Combine, Mode, PathElement, Pinset, Plaintext, Position, Stance,
};
use pinproxy::policy::rules::{Policy, Rule, RuleKind, Unpinned};
use rustls::pki_types::ServerName;
use std::collections::HashMap;
use std::hint::black_box;
use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

fn accepts(pins: u8) -> Accepts {
    let pins = (1..=pins).map(|n| Pin::Spki([n; 32])).collect();
    let clause = Clause::new(Position::Anywhere, pins).expect("pins are given");
    Accepts::new(vec![clause], Combine::Any).expect("a clause is given")
}

/// A policy of so many pinsets: a third exact names, a third `*.`, a third `**.`.
fn policy(pinsets: usize) -> Policy {
    let rules = (0..pinsets).map(|n| {
        let pattern = match n % 3 {
            0 => format!("host{n}.example.com"),
            1 => format!("*.site{n}.example.com"),
            _ => format!("**.tree{n}.example.com"),
        };
        let stance = Stance::Fixed(Mode::Enforce);
        let basis = Basis::Chain { accepts: accepts(2), stance, anchors: AnchorSet::Common };
        let pinset = Pinset { name: format!("set-{n}"), basis, deny: None, plaintext: Plaintext::Deny, expiry: None };
        Rule { kind: RuleKind::Pinned(pinset), hosts: vec![HostPattern::parse(&pattern).expect("a pattern")] }
    });
    Policy::new(1, rules.collect(), Unpinned::Intercept, HashMap::new()).expect("no two rules conflict")
}

fn lookup(criterion: &mut Criterion) {
    let now = SystemTime::now();
    let mut group = criterion.benchmark_group("lookup");
    for pinsets in [10, 10_000] {
        let policy = policy(pinsets);
        for (what, target) in [
            ("exact", "host9.example.com:443"),
            ("subtree", "a.b.c.tree8.example.com:443"),
            ("miss", "a.b.c.d.nowhere.example.org:443"),
        ] {
            let target = Authority::parse(target).expect("a target");
            group.bench_with_input(BenchmarkId::new(what, pinsets), &target, |bencher, target| {
                bencher.iter(|| black_box(policy.select(black_box(target), now)));
            });
        }
    }
    group.finish();
    criterion.bench_function("parse target", |bencher| {
        bencher.iter(|| Authority::parse(black_box("a.b.c.tree8.example.com:443")));
    });
}

fn judgement(criterion: &mut Criterion) {
    let path = [100, 101, 102, 5].map(|n| PathElement { spki: [n; 32], certificate: None });
    let (hit, miss) = (accepts(6), accepts(4));
    criterion.bench_function("judge 4 certificates, anchor matches", |bencher| {
        bencher.iter(|| black_box(&hit).judge(black_box(&path)));
    });
    criterion.bench_function("judge 4 certificates, none matches", |bencher| {
        bencher.iter(|| black_box(&miss).judge(black_box(&path)));
    });
}

fn issue(criterion: &mut Criterion) {
    let private = std::fs::Permissions::from_mode(0o700);
    let folder = tempfile::Builder::new().permissions(private).tempdir().expect("a temporary folder");
    let now = SystemTime::now();
    let (authority, _) = load_or_create(folder.path(), Settings::default(), now).expect("a CA");
    let name = |n: u64| ServerName::try_from(format!("host{n}.example.com")).expect("a name");
    let mut next = 0;
    criterion.bench_function("leaf, new name", |bencher| {
        bencher.iter_batched(
            || {
                next += 1;
                name(next)
            },
            |name| authority.leaf(&name, LeafKeyKind::EcdsaP256, None, now).expect("a leaf"),
            BatchSize::SmallInput,
        );
    });
    let known = name(0);
    criterion.bench_function("leaf, from the cache", |bencher| {
        bencher.iter(|| authority.leaf(black_box(&known), LeafKeyKind::EcdsaP256, None, now).expect("a leaf"));
    });
}

criterion_group!(benches, lookup, judgement, issue);
criterion_main!(benches);
