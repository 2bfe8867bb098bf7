//! Refusals that come after a handshake: of TLS 1.3, whose client is done before its server has looked at it.

use crate::support::client::{Ending, RawClient};
use crate::support::origin::{Behaviour, OriginConfig};
use crate::support::pki::Ca;
use crate::support::proxy::ProxyBuilder;
use crate::support::setting::{HOST, Setting, assert_is_refusal};
use pinproxy::policy::decision::FailureClass;
use pinproxy::report::{Decided, Stage};
use rustls::version::{TLS12, TLS13};

/// The proxy has no certificate to show. In TLS 1.2 the upstream says so in the handshake, and there is no 200.
#[tokio::test]
async fn an_origin_that_requires_a_client_certificate_in_tls_12() {
    let clients = Ca::root("Clients");
    let shape = |origin: OriginConfig| origin.client_certificates(&clients).versions(&[&TLS12]);
    let mut setting = Setting::with("", shape).await;
    let mut client = RawClient::connect(setting.proxy.addr).await.unwrap();
    let reply = client.connect_to(&setting.target()).await.unwrap();
    assert_is_refusal(&reply, 502, "The upstream ended the TLS handshake with the alert CertificateRequired");
    let status = reply.header("proxy-status").unwrap();
    assert!(status.starts_with("pinproxy; error=tls_alert_received; alert-id=116; "), "{status}");
    let event = setting.proxy.told().await.event;
    let failed = (event.stage, event.decision, event.failure_class);
    assert_eq!(failed, (Stage::UpstreamTls, Decided::Failed, Some(FailureClass::Protocol)), "{event}");
    setting.proxy.until_open(0).await;
    setting.proxy.no_more_events();
}

/// In TLS 1.3 the upstream says so when the session stands: its chain is verified and its client has its 200, which
/// then sees a connection that ends without an end, and never an answer.
#[tokio::test]
async fn an_origin_that_requires_a_client_certificate_in_tls_13() {
    let clients = Ca::root("Clients");
    let shape = |origin: OriginConfig| origin.client_certificates(&clients).versions(&[&TLS13]);
    let mut setting = Setting::with("", shape).await;
    let mut client = setting.connected().await;
    client.send(b"question").await.ok();
    if let Ok((bytes, ending)) = client.read_to_end().await {
        assert_eq!(bytes, b"");
        assert_ne!(ending, Ending::Clean);
    }
    let event = setting.proxy.told().await.event;
    let passed = (event.stage, event.decision, event.failure_class, event.status);
    assert_eq!(passed, (Stage::Relay, Decided::Allow, None, Some(200)), "{event}");
    let ended = event.ended.unwrap();
    assert_eq!(ended, "connection to the upstream failed: received fatal alert: CertificateRequired");
    assert_eq!(event.bytes.client, 0);
    setting.proxy.until_open(0).await;
    setting.proxy.no_more_events();
    assert_eq!(setting.origin.until_ended(1).await.unwrap().received(), 0);
}

/// A client that refuses the leaf late is one event: with the alert, where it arrives along with the end of the
/// handshake; of a session that ended by its client, where it arrives later, without a word on which alert it was.
#[tokio::test]
async fn a_client_that_finds_fault_after_its_handshake() {
    let mut setting = Setting::start(Behaviour::Echo).await;
    for version in [&TLS12, &TLS13] {
        for relays in [false, true] {
            let client = setting.tunnel().await;
            let mut client = client.tls(&setting.tls().versions(&[version]).build()).await.unwrap();
            if relays {
                assert_eq!(client.exchange(b"ping", 4).await.unwrap(), b"ping");
            }
            client.fatal_alert().await.unwrap();
            drop(client);
            let event = setting.proxy.told().await.event;
            assert_eq!((event.decision, event.status), (Decided::Allow, Some(200)), "{event}");
            match event.stage {
                Stage::ClientTls => {
                    assert!(!relays, "{event}");
                    assert_eq!(event.failure_class, Some(FailureClass::Client), "{event}");
                    let detail = "the client ended the TLS handshake with the alert BadRecordMac";
                    assert_eq!(event.detail.as_deref(), Some(detail));
                }
                Stage::Relay => {
                    let ended = event.ended.as_deref().unwrap();
                    assert_eq!(ended, "connection to the client failed: received fatal alert: BadRecordMac");
                    assert_eq!(event.bytes.upstream, if relays { 4 } else { 0 }, "{event}");
                }
                _ => panic!("{event}"),
            }
            setting.proxy.until_open(0).await;
            setting.proxy.no_more_events();
        }
    }
}

/// A CONNECT to the proxy itself is a session within a session, which gets a ClientHello for a request; both end.
#[tokio::test]
async fn the_proxy_as_its_own_upstream() {
    let tunnel = format!("[[tunnel]]\nhosts = [\"127.0.0.1\", \"{HOST}\"]\nreason = \"x\"\n");
    for toml in ["", "[defaults]\nunpinned = \"tunnel\"\n", &tunnel] {
        let mut proxy = ProxyBuilder::new(toml).start().await;
        for host in [HOST, "127.0.0.1", "[::ffff:127.0.0.1]", "0.0.0.0"] {
            let asked = format!("{host}:{}", proxy.addr.port());
            let mut client = RawClient::connect(proxy.addr).await.unwrap();
            let reply = client.connect_to(&asked).await.unwrap();
            assert_eq!(reply.status, 403, "{toml} {asked}: {reply:?}");
            assert!(reply.reason.contains(" is the proxy itself, which no client reaches"), "{reply:?}");
            assert!(host != HOST || reply.reason.contains(&asked), "as it was asked for: {reply:?}");
            let event = proxy.told().await.event;
            let seen = (event.stage, event.decision, event.failure_class, event.upstream_address);
            assert_eq!(seen, (Stage::Dial, Decided::Refuse, Some(FailureClass::Access), None), "{event}");
            proxy.until_open(0).await;
            proxy.no_more_events();
        }
    }
}
