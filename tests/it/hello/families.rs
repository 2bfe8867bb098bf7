//! Clients that verify one family of signatures, and CAs with a key of either.

use super::told;
use crate::support::client::{ClientTlsBuilder, RawClient};
use crate::support::origin::{Behaviour, Origin, OriginConfig};
use crate::support::pki::{Ca, Key, Leaf};
use crate::support::proxy::{ProxyBuilder, TestProxy};
use crate::support::setting::{HOST, tls};
use pinproxy::policy::decision::FailureClass;
use pinproxy::report::{Decided, Event, Stage};
use rustls::{AlertDescription, RootCertStore};

/// What is told of a client with RSA alone, after what it did.
fn advice(proxy: &TestProxy) -> String {
    format!(
        "; it offers RSA signatures and no ECDSA, which is what the CA's key makes, so it may be unable to verify the leaf: \
         if it does trust the CA, put one with an RSA key into {} (README.md says how, under \"Old clients\")",
        proxy.folder.path().join("ca").display()
    )
}

/// An origin that answers, and a proxy with this CA or with the one it makes itself.
async fn proxy_with(ca: Option<Key>) -> (TestProxy, Origin) {
    let root = Ca::root("root");
    let origin = OriginConfig::new(Leaf::named(HOST).signed_by(&root)).behaviour(Behaviour::Http1);
    let mut builder = ProxyBuilder::new("").trusting([&root]);
    if let Some(key) = ca {
        builder = builder.ca(&Ca::builder("The operator's own").key(&key).self_signed());
    }
    (builder.start().await, Origin::start(origin).await)
}

/// One session; the answer's status, or the end of the handshake in the client's words. And what the proxy told.
async fn session(proxy: &mut TestProxy, origin: &Origin, settings: ClientTlsBuilder) -> (Result<u16, String>, Event) {
    let mut client = RawClient::connect(proxy.addr).await.expect("the proxy listens");
    let reply = client.connect_to(&format!("{HOST}:{}", origin.port())).await.expect("a reply");
    assert_eq!(reply.status, 200, "{reply:?}");
    let outcome = match client.tls(&settings.build()).await {
        Ok(mut client) => {
            let status = client.get("h", "/").await.expect("an answer").status;
            client.shutdown().await.expect("an orderly end");
            Ok(status)
        }
        Err(failure) => Err(failure.to_string()),
    };
    (outcome, told(proxy).await)
}

#[tokio::test]
async fn without_an_rsa_ca_a_client_with_rsa_alone_fails_and_the_event_says_what_to_do() {
    for ca in [None, Some(Key::p384())] {
        let (mut proxy, origin) = proxy_with(ca).await;
        for version in rustls::ALL_VERSIONS {
            let settings = tls(&proxy, HOST).versions(&[version]).rsa_alone();
            let (outcome, event) = session(&mut proxy, &origin, settings).await;
            let words = outcome.unwrap_err();
            assert!(words.contains("UnsupportedSignatureAlgorithm"), "{version:?}: {words}");
            let failed = (event.decision, event.failure_class, event.stage);
            assert_eq!(failed, (Decided::Allow, Some(FailureClass::Client), Stage::ClientTls), "{event}");
            let alert =
                format!("the client ended the TLS handshake with the alert {:?}", AlertDescription::DecryptError);
            assert_eq!(event.detail.as_deref(), Some((alert + &advice(&proxy)).as_str()), "{version:?}");
        }
    }
}

#[tokio::test]
async fn with_an_rsa_ca_every_client_gets_its_session() {
    let (mut proxy, origin) = proxy_with(Some(Key::rsa2048())).await;
    for version in rustls::ALL_VERSIONS {
        for rsa_alone in [false, true] {
            let settings = tls(&proxy, HOST).versions(&[version]);
            let settings = if rsa_alone { settings.rsa_alone() } else { settings };
            let (outcome, event) = session(&mut proxy, &origin, settings).await;
            assert_eq!(outcome, Ok(200), "{version:?}, RSA alone: {rsa_alone}");
            assert_eq!((event.decision, event.detail), (Decided::Allow, None), "{version:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_offers_rsa_alone_and_verifies_more_gets_its_session() {
    let (mut proxy, origin) = proxy_with(None).await;
    let settings = tls(&proxy, HOST).rsa_only();
    let (outcome, event) = session(&mut proxy, &origin, settings).await;
    assert_eq!((outcome, event.detail), (Ok(200), None));
}

/// `leaf_key = "p256"` leaves such clients out.
#[tokio::test]
async fn a_client_with_rsa_alone_where_leaves_are_ecdsa_is_told_in_words() {
    let root = Ca::root("root");
    let origin = OriginConfig::new(Leaf::named(HOST).signed_by(&root)).behaviour(Behaviour::Http1);
    let mut proxy = ProxyBuilder::new("[ca]\nleaf_key = \"p256\"\n").trusting([&root]).start().await;
    let origin = Origin::start(origin).await;
    let words = "the client's TLS handshake failed: it offers RSA signatures and no ECDSA, and leaves have no other keys \
                 ([ca] leaf_key); with leaf_key = \"auto\" its leaf has a key of a kind that it offers";
    for version in rustls::ALL_VERSIONS {
        let settings = tls(&proxy, HOST).versions(&[version]).rsa_alone();
        let (outcome, event) = session(&mut proxy, &origin, settings).await;
        assert!(outcome.is_err(), "{version:?}");
        assert_eq!(event.detail.as_deref(), Some(words), "{version:?}");
    }
}

/// The advice is for those alone whom another CA can help.
#[tokio::test]
async fn a_client_that_does_not_trust_the_ca_is_told_as_that() {
    let strangers = || {
        let mut roots = RootCertStore::empty();
        roots.add(Ca::root("of somebody else").der().clone()).unwrap();
        roots
    };
    let words =
        "the client ended the TLS handshake with the alert UnknownCA: it does not trust the proxy's CA certificate";
    for (ca, rsa_only) in [(None, false), (None, true), (Some(Key::rsa2048()), true)] {
        let (mut proxy, origin) = proxy_with(ca).await;
        let settings = tls(&proxy, HOST).roots(strangers());
        let settings = if rsa_only { settings.rsa_only() } else { settings };
        let (outcome, event) = session(&mut proxy, &origin, settings).await;
        assert!(outcome.is_err());
        assert_eq!(event.detail.as_deref(), Some(words), "RSA only: {rsa_only}");
    }
}
