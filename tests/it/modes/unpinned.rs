//! Hosts without pins, and hosts that are not to be looked at.

use crate::support::bench::{Bench, bank, path};
use crate::support::client::ClientTls;
use crate::support::origin::OriginConfig;
use crate::support::pki::{Ca, Chain, Leaf};
use crate::support::proxy::ProxyBuilder;
use crate::support::verdict::{BANK, Verdict, unlisted};
use pinproxy::policy::decision::FailureClass::Access;
use pinproxy::report::{Decided, Stage};

const HOST: &str = "www.shop.example";

fn world() -> (Ca, Chain) {
    let root = Ca::root("Root");
    let chain = Leaf::named(HOST).signed_by(&root);
    (root, chain)
}

/// A pinset for the bank, and this default for all others.
fn rules(unpinned: &str) -> String {
    format!("[defaults]\nunpinned = \"{unpinned}\"\n{}", bank("pins", &[&Ca::root("Bank").pin()]))
}

#[tokio::test]
async fn denied() {
    let (root, chain) = world();
    let mut bench = Bench::start(ProxyBuilder::new(rules("deny")).trusting([&root]), OriginConfig::new(chain)).await;
    let outcome = bench.ask(HOST).await;
    let expected = Verdict::turned_away(403, "http_request_denied", Access, Stage::Request, &unlisted(HOST));
    assert_eq!(outcome.verdict(), expected.under("unpinned", false));
    assert_eq!(outcome.upstream.len(), 0, "a denied host is not even dialled");
    assert_eq!(bench.origin.tally().tcp_connections(), 0);
}

#[tokio::test]
async fn intercepted() {
    let (root, chain) = world();
    let seen = path(&chain, &[&root]);
    let origin = OriginConfig::new(chain.clone());
    let mut bench = Bench::start(ProxyBuilder::new(rules("intercept")).trusting([&root]), origin).await;
    let outcome = bench.ask(HOST).await;
    assert_eq!(outcome.verdict(), Verdict::passed().seen(&seen).under("unpinned", false));
    assert_ne!(outcome.session().certificates[0], *chain.leaf(), "the client sees a certificate of the proxy");
}

/// A blind relay: the client sees the certificate of the origin, sound or not, and the proxy judges nothing.
#[tokio::test]
async fn tunnelled() {
    let (root, chain) = world();
    let tunnel = format!("[[tunnel]]\nhosts = [{HOST:?}]\nreason = \"test\"\n");
    for (toml, rule) in [(rules("tunnel"), "unpinned"), (rules("deny") + &tunnel, "tunnel")] {
        for (chain, anchors) in [(chain.clone(), Some(&root)), (Leaf::named(HOST).self_signed(), None)] {
            let origin = OriginConfig::new(chain.clone());
            let mut bench = Bench::start(ProxyBuilder::new(toml.as_str()).trusting([&root]), origin).await;
            let client = ClientTls::to(HOST);
            let client = match anchors {
                Some(root) => client.trusting([root]),
                None => client,
            };
            let outcome = bench.ask_with(HOST, &client.build()).await;
            assert_eq!(outcome.verdict(), Verdict::passed().decided(Decided::Tunnel).under(rule, false), "{toml}");
            assert_eq!(outcome.session().certificates[0], *chain.leaf());
            let bytes = outcome.told.event.bytes;
            assert!(bytes.upstream > 0 && bytes.client > 0, "{bytes:?}");
        }
    }
}

/// The pinned host is judged whatever the default says.
#[tokio::test]
async fn the_default_is_for_other_hosts_only() {
    let root = Ca::root("Root");
    let chain = Leaf::named(BANK).signed_by(&root);
    let seen = path(&chain, &[&root]);
    for default in ["deny", "tunnel", "intercept"] {
        let origin = OriginConfig::new(chain.clone());
        let mut bench = Bench::start(ProxyBuilder::new(rules(default)).trusting([&root]), origin).await;
        let expected = Verdict::mismatch().seen(&seen);
        assert_eq!(bench.ask(BANK).await.verdict(), expected, "{default}");
    }
}
