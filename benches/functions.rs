//! What a session does without waiting: issue a leaf. Its rule and its verdict: `policy`.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use pinproxy::authority::{LeafKeyKind, Settings, load_or_create};
use rustls::pki_types::ServerName;
use std::hint::black_box;
use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

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

criterion_group!(benches, issue);
criterion_main!(benches);
