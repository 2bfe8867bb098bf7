//! Pins enforced: what is refused, what the refused client is told, and that nothing of its request gets upstream.

use crate::support::client::{ClientTls, RawClient};
use crate::support::origin::{Behaviour, Origin, OriginConfig};
use crate::support::pki::{Ca, Key, Leaf};
use crate::support::proxy::ProxyBuilder;
use crate::support::verdict::texts;
use pinproxy::policy::decision::FailureClass;
use pinproxy::report::{Decided, Stage};

const BANK: &str = "api.bank.example";

/// A pinset for the bank that accepts one key at the leaf.
fn bank(pin: &str) -> String {
    format!(
        "[[pinset]]\nname = \"bank\"\nhosts = [\"{BANK}\"]\nleaf_pins = [\"{pin}\"]\nbackup = [\"{}\"]\n",
        Key::p256().pin()
    )
}

#[tokio::test]
async fn a_trusted_chain_without_the_pin_is_refused_before_the_200() {
    let root = Ca::root("rogue but trusted");
    let chain = Leaf::named(BANK).signed_by(&root.intermediate("rogue intermediate"));
    let seen = chain.pin();
    let origin = Origin::start(OriginConfig::new(chain).behaviour(Behaviour::Drain)).await;
    let pinned = Key::p256();
    let mut proxy = ProxyBuilder::new(bank(&pinned.pin())).trusting([&root]).start().await;

    let mut client = RawClient::connect(proxy.addr).await.unwrap();
    let reply = client.connect_to(&format!("{BANK}:{}", origin.port())).await.unwrap();

    assert_eq!(
        (reply.status, reply.reason.as_str()),
        (502, "Certificate pin mismatch for api.bank.example (pinset bank)")
    );
    assert_eq!(
        reply.header("proxy-status"),
        Some(
            "pinproxy; error=tls_certificate_error; \
             details=\"no verified path of the upstream's chain holds a pinned key\""
        )
    );
    let text = reply.text();
    for part in [BANK, "bank (enforced)", &seen, &pinned.pin(), "to do"] {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
    let told = proxy.told().await;
    assert_eq!(told.event.decision, Decided::Refuse);
    assert_eq!(told.event.failure_class, Some(FailureClass::Pin));
    assert_eq!(told.event.stage, Stage::Pin);
    assert_eq!(told.event.status, Some(502));
    assert_eq!(texts(&told.event.seen_pins).first(), Some(&seen));
    assert!(told.violation.is_some());
    let tally = origin.until_ended(1).await.unwrap();
    assert_eq!(tally.received(), 0, "no byte of a request gets upstream");
    assert_eq!(tally.handshakes_finished(), 0);
    proxy.no_more_events();
}

#[tokio::test]
async fn the_pinned_key_passes() {
    let root = Ca::root("root");
    let chain = Leaf::named(BANK).signed_by(&root.intermediate("intermediate"));
    let pin = chain.pin();
    let origin = Origin::start(OriginConfig::new(chain).behaviour(Behaviour::Http1)).await;
    let mut proxy = ProxyBuilder::new(bank(&pin)).trusting([&root]).start().await;

    let mut client = RawClient::connect(proxy.addr).await.unwrap();
    let reply = client.connect_to(&format!("{BANK}:{}", origin.port())).await.unwrap();
    assert_eq!(reply.status, 200);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(proxy.ca.clone()).unwrap();
    let mut tls = client.tls(&ClientTls::to(BANK).roots(roots).build()).await.unwrap();
    let answer = tls.get(BANK, "/balance").await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "GET /balance api.bank.example\n"));
    tls.shutdown().await.unwrap();
    let (rest, _) = tls.read_to_end().await.unwrap();
    assert!(rest.is_empty());

    let told = proxy.told().await;
    assert_eq!(told.event.decision, Decided::Allow, "{:?}", told.event);
    assert_eq!(told.event.matched_position, Some(0));
    assert_eq!(told.event.matched_pin.map(|pin| pin.to_string()), Some(pin));
    assert_eq!(told.event.failure_class, None);
    assert!(told.violation.is_none());
    assert_eq!(told.event.ended.as_deref(), Some("closed"));
}
