//! What events say of sessions that dialled twice, failed early, or never dialled.

use crate::support::bench::{Bench, bank, bank_with, path, rfc3339};
use crate::support::origin::OriginConfig;
use crate::support::pki::{Ca, Chain, Key, Leaf, Validity, now};
use crate::support::proxy::ProxyBuilder;
use crate::support::verdict::{BANK, Outcome, Verdict};
use pinproxy::policy::decision::FailureClass::{self, Chain as Untrusted, Name, Validity as Dates};
use pinproxy::report::{Decided, Stage};
use rustls::AlertDescription::AccessDenied;
use std::time::Duration;

/// A session that dials twice, because its client takes http/1.1 only and the first connection chose h2.
async fn twice(toml: String, root: &Ca, first: &Chain, second: &Chain) -> Outcome {
    let origin = OriginConfig::new(first.clone()).then(second.clone()).alpn(&["h2", "http/1.1"]);
    let mut bench = Bench::start(ProxyBuilder::new(toml).trusting([root]), origin).await;
    let client = bench.client(BANK).alpn(&["http/1.1"]).build();
    bench.ask_with(BANK, &client).await
}

fn two_chains() -> (Ca, Chain, Chain) {
    let root = Ca::root("Root");
    let [good, bad] = [(); 2].map(|()| Leaf::named(BANK).signed_by(&root));
    (root, good, bad)
}

/// The event of a session that was refused for its second connection does not name the pin that the first one matched.
#[tokio::test]
async fn a_refused_session_names_no_pin_that_matched() {
    let (root, good, bad) = two_chains();
    let outcome = twice(bank("leaf_pins", &[&good.pin()]), &root, &good, &bad).await;
    let expected = Verdict::mismatch().seen(&path(&bad, &[&root])).by_alert(AccessDenied);
    assert_eq!(outcome.verdict(), expected.at(Stage::Pin).handshakes(1));
}

/// The other way round under report-only, the violation of the first connection is kept.
#[tokio::test]
async fn decision_and_violation_of_an_event_agree() {
    let (root, good, bad) = two_chains();
    let toml = bank_with("leaf_pins", &[&good.pin()], "mode = \"report-only\"");
    let told = twice(toml, &root, &bad, &good).await.told;
    let violated = [told.event.failure_class.is_some(), told.event.detail.is_some(), told.violation.is_some()];
    assert_eq!(violated, [told.event.decision == Decided::Report; 3], "{:?}", told.event);
}

#[tokio::test]
async fn a_chain_that_does_not_verify_fails_before_the_stage_of_the_pins() {
    let root = Ca::root("Root");
    let table: [(FailureClass, Chain); 3] = [
        (Untrusted, Leaf::named(BANK).self_signed()),
        (Name, Leaf::named("pay.bank.example").signed_by(&root)),
        (Dates, Leaf::named(BANK).validity(Validity::expired()).signed_by(&root)),
    ];
    for (class, chain) in table {
        let proxy = ProxyBuilder::new(bank("leaf_pins", &[&chain.pin()])).trusting([&root]);
        let event = Bench::start(proxy, OriginConfig::new(chain)).await.ask(BANK).await.told.event;
        assert_eq!((event.failure_class, event.stage), (Some(class), Stage::UpstreamTls));
    }
}

/// That a pinset has failed closed is known without a connection.
#[tokio::test]
async fn a_pinset_that_has_failed_closed_dials_nobody() {
    let root = Ca::root("Root");
    let end = rfc3339(now() - Duration::from_secs(1));
    let more = format!("[pinset.expiry]\nat = {end}\nthen = \"fail-closed\"");
    let proxy = ProxyBuilder::new(bank_with("pins", &[&Key::p256().pin()], &more)).trusting([&root]);
    let mut bench = Bench::start(proxy, OriginConfig::new(Leaf::named(BANK).signed_by(&root))).await;
    let outcome = bench.ask(BANK).await;
    assert_eq!((outcome.reply.status, outcome.told.event.upstream_address), (502, None));
    assert_eq!(bench.origin.tally().tcp_connections(), 0);
}
