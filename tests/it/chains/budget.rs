//! Chains that cost more than they may.

mod maze;

use crate::support::bench::{Bench, Case, bank, bank_with, judge, path};
use crate::support::origin::OriginConfig;
use crate::support::pki::{Ca, Chain, CrossSigns, Key, Leaf, hex, many_cross_signs};
use crate::support::proxy::ProxyBuilder;
use crate::support::verdict::{BANK, Verdict};
use pinproxy::policy::decision::FailureClass::Budget;
use std::time::{Duration, Instant};

const TOO_EXPENSIVE: &str = "the chain needs more work to verify than is allowed";
/// Signature checks are cheap even without optimisation; what takes longer than this is not bounded by them.
const LATENCY: Duration = Duration::from_secs(3);

/// The path to the root at this position.
fn way(world: &CrossSigns, chain: &Chain, at: usize) -> Vec<String> {
    path(chain, &[&world.issuing, &world.policy, &world.variants[at], &world.roots[at]])
}

#[tokio::test]
async fn the_work_for_one_chain_is_bounded() {
    let world = many_cross_signs(30);
    let chain = world.chain(Leaf::named(BANK));
    let first = way(&world, &chain, 0);
    let pin = |at: usize| world.roots[at].pin();
    let mut cases = vec![(
        "the 26th way is out of reach",
        bank("ca_pins", &[&pin(25)]),
        Verdict::refused(Budget, TOO_EXPENSIVE).seen(&first).paths(25),
    )];
    cases.push((
        "no way is the right one",
        bank("pins", &[&Key::p256().pin()]),
        Verdict::refused(Budget, TOO_EXPENSIVE).seen(&first).paths(25),
    ));
    for (what, pin) in [("a way out of reach", pin(29)), ("no way", Key::p256().pin())] {
        let toml = bank_with("ca_pins", &[&pin], "mode = \"report-only\"");
        cases.push((what, toml, Verdict::reported().seen(&first).paths(25)));
    }
    let last_within = Verdict::matched(4, &pin(24)).seen(&way(&world, &chain, 24));
    cases.push(("the 25th way is found", bank("ca_pins", &[&pin(24)]), last_within));
    cases.push(("a pinned leaf needs one way", bank("leaf_pins", &[&chain.pin()]), {
        Verdict::matched(0, &chain.pin()).seen(&first)
    }));
    // Presented last, and pinned: what the pins name is tried first.
    let certificate = format!("cert:sha256:{}", hex(&world.variants[29].cert_sha256()));
    let last = Verdict::matched(3, &certificate).seen(&way(&world, &chain, 29));
    cases.push(("the last way is tried first", bank("ca_pins", &[&certificate]), last));
    for (what, toml, expected) in cases {
        let proxy = ProxyBuilder::new(toml).trusting(&world.roots);
        let mut bench = Bench::start(proxy, OriginConfig::new(chain.clone())).await;
        let begun = Instant::now();
        assert_eq!(bench.ask(BANK).await.verdict(), expected, "{what}");
        assert!(begun.elapsed() < LATENCY, "{what} took {:?}", begun.elapsed());
    }
}

/// Pins on a mere 25 ways are a plain mismatch: the search came to its end.
#[tokio::test]
async fn a_search_that_ends_within_the_budget_is_no_matter_of_budget() {
    let world = many_cross_signs(25);
    let chain = world.chain(Leaf::named(BANK));
    let first = way(&world, &chain, 0);
    let expected = Verdict::mismatch().seen(&first).paths(25);
    let toml = bank("pins", &[&Key::p256().pin()]);
    judge([Case { what: "25 ways", toml, roots: world.roots.iter().collect(), chain, expected }]).await;
}

#[tokio::test]
async fn the_number_of_certificates_is_bounded() {
    let root = Ca::root("Root");
    let issuing = root.intermediate("Issuing");
    let strangers: Vec<Ca> = (0..48).map(|at| Ca::root(&format!("Stranger {at}"))).collect();
    let chain = Leaf::named(BANK).signed_by(&issuing).append_all(strangers.iter().map(Ca::der));
    assert_eq!(chain.certificates.len(), 50);
    let seen = path(&chain, &[&issuing, &root]);
    let detail = "the upstream served more than 48 certificates beside its own";
    let case =
        |what, toml, chain: &Chain, expected| Case { what, toml, roots: vec![&root], chain: chain.clone(), expected };
    let refused = |rule, enforced| Verdict::refused_for(BANK, rule, Budget, detail).under(rule, enforced);
    let report_only = bank_with("leaf_pins", &[&Key::p256().pin()], "mode = \"report-only\"");
    let mut fits = chain.clone();
    fits.certificates.pop();
    judge([
        case("50, pinned", bank("leaf_pins", &[&chain.pin()]), &chain, refused("bank", true)),
        case("50, reported", report_only, &chain, refused("bank", false)),
        case("50, unpinned", String::new(), &chain, refused("unpinned", false)),
        case("49", bank("leaf_pins", &[&chain.pin()]), &fits, Verdict::matched(0, &chain.pin()).seen(&seen)),
    ])
    .await;
}
