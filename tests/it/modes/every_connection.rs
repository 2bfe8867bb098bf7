//! Each connection to an upstream is judged by what it presented itself (privkeyio/keep#805).

use crate::support::bench::{Bench, bank, path};
use crate::support::origin::OriginConfig;
use crate::support::pki::{Ca, Chain, Leaf};
use crate::support::proxy::ProxyBuilder;
use crate::support::verdict::{BANK, Verdict};
use pinproxy::policy::decision::FailureClass::Pin;
use pinproxy::report::Decided;
use rustls::AlertDescription::AccessDenied;

fn two_chains() -> (Ca, Chain, Chain) {
    let root = Ca::root("Root");
    let [good, bad] = [(); 2].map(|()| Leaf::named(BANK).signed_by(&root));
    (root, good, bad)
}

#[tokio::test]
async fn a_server_that_alternates_its_certificates() {
    let (root, good, bad) = two_chains();
    let origin = OriginConfig::new(good.clone()).then(bad.clone()).then(good.clone()).then(bad.clone());
    for toml in [
        bank("leaf_pins", &[&good.pin()]),
        format!("[upstream]\nresumption = true\n{}", bank("leaf_pins", &[&good.pin()])),
    ] {
        let mut bench = Bench::start(ProxyBuilder::new(toml).trusting([&root]), origin.clone().tickets(false)).await;
        for turn in 0..4 {
            let expected = match turn % 2 {
                0 => Verdict::matched(0, &good.pin()).seen(&path(&good, &[&root])),
                _ => Verdict::mismatch().seen(&path(&bad, &[&root])),
            };
            assert_eq!(bench.ask(BANK).await.verdict(), expected, "turn {turn}");
        }
    }
}

/// The client takes http/1.1 only, and the first connection chose h2 of what was guessed: the proxy dials again, and
/// the second connection is the one that counts.
#[tokio::test]
async fn a_second_connection_of_one_session_is_judged_too() {
    let (root, good, bad) = two_chains();
    let origin = OriginConfig::new(good.clone()).then(bad).alpn(&["h2", "http/1.1"]);
    let proxy = ProxyBuilder::new(bank("leaf_pins", &[&good.pin()])).trusting([&root]);
    let mut bench = Bench::start(proxy, origin).await;
    let client = bench.client(BANK).alpn(&["http/1.1"]).build();
    let outcome = bench.ask_with(BANK, &client).await;
    assert_eq!(outcome.handshake.unwrap().unwrap_err().alert(), Some(AccessDenied));
    let event = outcome.told.event;
    assert_eq!((event.decision, event.failure_class), (Decided::Refuse, Some(Pin)));
    assert_eq!((event.bytes.upstream, outcome.upstream.len()), (0, 2));
    assert!(outcome.upstream.iter().all(|connection| connection.received == 0));
}
