//! The usual setting of a test: one origin whose chain is trusted, and one proxy in front of it.

use super::client::{ClientTls, ClientTlsBuilder, RawClient, Reply, TlsClient};
use super::origin::{Behaviour, Origin, OriginConfig};
use super::pki::{Ca, Leaf};
use super::proxy::{ProxyBuilder, TestProxy};

/// The host that the origin's certificate is for.
pub(crate) const HOST: &str = "api.bank.example";

/// An origin and a proxy that trusts it.
pub(crate) struct Setting {
    pub(crate) proxy: TestProxy,
    pub(crate) origin: Origin,
    /// The root of the origin's chain.
    pub(crate) root: Ca,
}

impl Setting {
    /// An origin that behaves like this, and a proxy without further configuration.
    pub(crate) async fn start(behaviour: Behaviour) -> Self {
        Self::with("", |origin| origin.behaviour(behaviour)).await
    }

    /// A proxy with this configuration and an origin of this shape.
    pub(crate) async fn with(toml: &str, shape: impl FnOnce(OriginConfig) -> OriginConfig) -> Self {
        let root = Ca::root("root");
        let chain = Leaf::named(HOST).signed_by(&root.intermediate("intermediate"));
        let origin = Origin::start(shape(OriginConfig::new(chain))).await;
        let proxy = ProxyBuilder::new(toml).trusting([&root]).start().await;
        Self { proxy, origin, root }
    }

    /// The target of a CONNECT to the origin.
    pub(crate) fn target(&self) -> String {
        format!("{HOST}:{}", self.origin.port())
    }

    /// A connection to the proxy that has got its 200.
    pub(crate) async fn tunnel(&self) -> RawClient {
        let mut client = RawClient::connect(self.proxy.addr).await.expect("the proxy listens");
        let reply = client.connect_to(&self.target()).await.expect("a reply");
        assert_eq!(reply.status, 200, "{reply:?}");
        client
    }

    /// The settings of a client that trusts the proxy's CA.
    pub(crate) fn tls(&self) -> ClientTlsBuilder {
        tls(&self.proxy, HOST)
    }

    /// A TLS connection through the proxy.
    pub(crate) async fn connected(&self) -> TlsClient {
        self.tunnel().await.tls(&self.tls().build()).await.expect("the client shakes hands")
    }
}

/// The settings of a client that trusts the CA of a proxy and verifies this name.
pub(crate) fn tls(proxy: &TestProxy, name: &str) -> ClientTlsBuilder {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(proxy.ca.clone()).expect("the CA is a certificate");
    ClientTls::to(name).roots(roots)
}

/// Whether a reason phrase is the one expected. One that is expected to go on, with a space at its end, goes on in the
/// words of a library.
pub(crate) fn is_reason(found: &str, expected: &str) -> bool {
    if expected.ends_with(' ') { found.starts_with(expected) } else { found == expected }
}

/// Asserts on everything that refusals have in common.
pub(crate) fn assert_is_refusal(reply: &Reply, status: u16, reason: &str) {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert!(is_reason(&reply.reason, reason), "{:?} is not {reason:?}", reply.reason);
    assert_eq!(reply.header("connection"), Some("close"));
    let status = reply.header("proxy-status").expect("every refusal has a Proxy-Status");
    assert!(status.starts_with("pinproxy; error=") && status.contains("; details=\""), "{status}");
    let visible = |text: &str| text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    assert!(visible(&reply.reason), "{:?}", reply.reason);
    for (name, value) in &reply.headers {
        assert!(visible(name) && visible(value), "{name}: {value:?}");
    }
    let body = reply.text();
    match reply.header("content-type") {
        Some("application/json") => {
            let fields: serde_json::Value = serde_json::from_str(&body).expect("a body of JSON");
            for field in ["error", "reason", "connect-authority", "remedy", "session"] {
                assert!(fields[field].is_string(), "{field} is missing in {body}");
            }
        }
        Some("text/plain; charset=utf-8") => {
            assert!(body.starts_with("pinproxy refused this request: "), "{body}");
            for row in ["\n  reason    ", "\n  to do     ", "\n  session   "] {
                assert!(body.contains(row), "{row:?} is missing in {body}");
            }
            assert!(body.chars().all(|c| c == '\n' || !c.is_control()), "{body:?}");
        }
        other => panic!("a refusal of type {other:?}"),
    }
}
