//! Chains whose certificates can be joined in ever so many ways: webpki would try them all, in seconds.

use crate::support::bench::{Bench, Case, bank, bank_with, judge, path};
use crate::support::origin::OriginConfig;
use crate::support::pki::{Ca, Chain, Key, Leaf, many_cross_signs};
use crate::support::proxy::ProxyBuilder;
use crate::support::verdict::{BANK, Verdict};
use pinproxy::policy::decision::FailureClass::{Budget, Chain as Untrusted};
use std::time::{Duration, Instant};

const TOO_MANY_WAYS: &str = "the certificates that the upstream served can be joined in too many ways";
/// What a session with such a chain may take, its handshakes included and nothing optimised.
const LATENCY: Duration = Duration::from_millis(200);
/// The quickest of these counts: the other tests of this process run at the same time.
const ATTEMPTS: usize = 5;

/// A leaf and this many authorities of one name with six keys, each certified by one of the six.
fn one_name(count: usize) -> Chain {
    let signers: Vec<Ca> = (0..6).map(|_| Ca::root("M")).collect();
    let variant = |at: usize| signers[at % 6].rebuild().signed_by(&signers[(at * 7 + 1 + at / 6) % 6]);
    let variants: Vec<Ca> = (0..count).map(variant).collect();
    Leaf::named(BANK).signed_by(&signers[0]).leaf_only().append_all(variants.iter().map(Ca::der))
}

/// A leaf below layers of this many authorities each; those of one layer have one name and one key, and those of the
/// last are certified by `top`.
fn layered(layers: &[usize], top: &Ca) -> Chain {
    let mut above = top.clone();
    let mut served = Vec::new();
    for (depth, &count) in layers.iter().enumerate().rev() {
        let layer = above.intermediate(&format!("Layer {depth}"));
        served.extend((1..count).map(|_| layer.rebuild().signed_by(&above).der().clone()));
        served.push(layer.der().clone());
        above = layer;
    }
    Leaf::named(BANK).signed_by(&above).leaf_only().append_all(&served)
}

#[tokio::test]
async fn a_maze_is_refused_at_once() {
    let root = Ca::root("Root");
    let mazes = [
        ("32 of one name", one_name(32)),
        ("5 layers of 6", layered(&[6; 5], &Ca::root("Nowhere"))),
        // The way out is there: one that is bounded does not look for it.
        ("5 layers of 6 below a root", layered(&[6; 5], &root)),
    ];
    for (what, chain) in mazes {
        let report_only = bank_with("leaf_pins", &[&Key::p256().pin()], "mode = \"report-only\"");
        let rules = [
            (bank("leaf_pins", &[&chain.pin()]), "bank", true),
            (bank("leaf_pins", &[&Key::p256().pin()]), "bank", true),
            (bank("ca_pins", &[&root.pin()]), "bank", true),
            (report_only, "bank", false),
            (String::new(), "unpinned", false),
        ];
        for (toml, rule, enforced) in rules {
            let expected = Verdict::refused_for(BANK, rule, Budget, TOO_MANY_WAYS).under(rule, enforced);
            let proxy = ProxyBuilder::new(toml.as_str()).trusting([&root]);
            let mut bench = Bench::start(proxy, OriginConfig::new(chain.clone())).await;
            let mut quickest = Duration::MAX;
            for _ in 0..ATTEMPTS {
                let begun = Instant::now();
                assert_eq!(bench.ask(BANK).await.verdict(), expected, "{what}\n{toml}");
                quickest = quickest.min(begun.elapsed());
                if quickest < LATENCY {
                    break;
                }
            }
            assert!(quickest < LATENCY, "{what} took {quickest:?}\n{toml}");
        }
    }
}

/// The ways of all lengths together are counted, up to the longest that a path may have.
#[tokio::test]
async fn a_thousand_ways_and_one_more() {
    let root = Ca::root("Root");
    // 10 ways of one certificate, 10·9 of two, 10·9·10 of three.
    let thousand = layered(&[10, 9, 10], &root);
    let stray = Ca::builder("Layer 0").signed_by(&Ca::root("Nowhere"));
    let one_more = thousand.clone().append(stray.der());
    // Each leads to each: 2 + 4 + … + 64 ways of two, 3 + 9 + … + 729 of three.
    let (two, three) = (one_name(2), one_name(3));
    let leads_nowhere = "the chain does not lead to a trusted root";
    let unpinned = |verdict: Verdict| verdict.under("unpinned", false);
    let refused = || Verdict::refused_for(BANK, "unpinned", Budget, TOO_MANY_WAYS).under("unpinned", false);
    for (what, chain, expected) in [
        ("1000 ways", thousand, None),
        ("1001 ways", one_more, Some(refused())),
        ("126 ways", two, Some(unpinned(Verdict::refused(Untrusted, leads_nowhere)))),
        ("1092 ways", three, Some(refused())),
    ] {
        let mut bench = Bench::start(ProxyBuilder::new("").trusting([&root]), OriginConfig::new(chain)).await;
        let outcome = bench.ask(BANK).await;
        match expected {
            Some(expected) => assert_eq!(outcome.verdict(), expected, "{what}"),
            None => assert_eq!(outcome.reply.status, 200, "{what}: {}", outcome.reply.reason),
        }
    }
}

/// What real authorities have: a young root certified by several old ones, and an issuer certified twice.
#[tokio::test]
async fn many_cross_signs_are_no_maze() {
    let world = many_cross_signs(8);
    let second = world.issuing.cross_sign(&world.policy);
    let chain = world.chain(Leaf::named(BANK)).append(second.der()).append_all(world.roots.iter().map(Ca::der));
    let mut cases = Vec::new();
    for at in [0, 7] {
        let (variant, root) = (&world.variants[at], &world.roots[at]);
        let seen = path(&chain, &[&world.issuing, &world.policy, variant, root]);
        let matched = Verdict::matched(4, &root.pin()).seen(&seen);
        let mut case = |what, toml, roots, expected| {
            cases.push(Case { what, toml, roots, chain: chain.clone(), expected });
        };
        case("one root trusted", String::new(), vec![root], Verdict::passed().seen(&seen).under("unpinned", false));
        case("one root trusted and pinned", bank("ca_pins", &[&root.pin()]), vec![root], matched.clone());
        case("all roots trusted", bank("ca_pins", &[&root.pin()]), world.roots.iter().collect(), matched);
    }
    judge(cases).await;
}
