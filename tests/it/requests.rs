//! Requests that are no CONNECT to a host and port: each is refused with a reason, judged by no rule, told in one event,
//! and the host it may have meant hears nothing.

mod heads;
mod pace;
mod targets;

use crate::support::client::{RawClient, Reply};
use crate::support::origin::{Behaviour, Origin, OriginConfig};
use crate::support::pki::{Ca, Leaf};
use crate::support::proxy::{ProxyBuilder, TestProxy};
use crate::support::setting::{assert_is_refusal, is_reason};
use pinproxy::policy::decision::FailureClass;
use pinproxy::report::{Decided, Event, Stage};

/// A proxy in front of an origin that nobody is to reach.
struct Unreached {
    proxy: TestProxy,
    origin: Origin,
}

impl Unreached {
    async fn start(toml: &str) -> Self {
        let root = Ca::root("root");
        let chain = Leaf::named("bank.example").signed_by(&root);
        let origin = Origin::start(OriginConfig::new(chain).behaviour(Behaviour::Drain)).await;
        let proxy = ProxyBuilder::new(toml).trusting([&root]).start().await;
        Self { proxy, origin }
    }

    /// The text with the origin's port in every place of 443, so that whoever took it for a target would connect.
    fn aimed(&self, text: &str) -> Vec<u8> {
        text.replace("443", &self.origin.port().to_string()).into_bytes()
    }

    /// Sends a request and asserts on the refusal and its event.
    async fn refuses(&mut self, request: &[u8], status: u16, reason: &str) -> (Reply, Event) {
        let mut client = RawClient::connect(self.proxy.addr).await.expect("the proxy listens");
        // The proxy may have answered and closed before a long request is written.
        client.send(request).await.ok();
        let shown = String::from_utf8_lossy(&request[..request.len().min(200)]).into_owned();
        let reply = client.read_reply().await.unwrap_or_else(|fault| panic!("{shown:?}: {fault}"));
        assert!(is_reason(&reply.reason, reason), "{shown:?}: {:?}", reply.reason);
        assert_is_refusal(&reply, status, reason);
        let event = self.told(&shown).await;
        assert_eq!(event.status, Some(status), "{shown:?}");
        assert!(reply.text().contains(&*event.session), "{shown:?}: the reply names the session");
        (reply, event)
    }

    /// The one event of a request that never was one.
    async fn told(&mut self, shown: &str) -> Event {
        let event = self.proxy.told().await.event;
        assert_ne!(event.decision, Decided::Allow, "{shown:?}");
        assert_eq!(event.stage, Stage::Request, "{shown:?}");
        assert_eq!(event.pinset, None, "{shown:?}: no rule is looked up");
        assert_eq!(event.hostname, None, "{shown:?}");
        assert_eq!(event.upstream_address, None, "{shown:?}");
        assert!(event.detail.is_some(), "{shown:?}");
        event
    }

    /// Asserts that nothing else happened.
    fn ends(mut self) {
        self.proxy.no_more_events();
        assert_eq!(self.origin.tally().tcp_connections(), 0);
    }
}

#[tokio::test]
async fn a_connection_without_a_byte_is_no_session() {
    let mut unreached = Unreached::start("").await;
    let mut client = RawClient::connect(unreached.proxy.addr).await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(client.read_to_end().await.unwrap(), b"", "the proxy closes its side too");
    // The event of the next request is the first there is.
    let (_, event) = unreached.refuses(b"CONNECT bank.example HTTP/1.1\r\n\r\n", 400, NO_PORT).await;
    assert_eq!(event.failure_class, Some(FailureClass::Request));
    unreached.ends();
}

const NO_PORT: &str = "Bad CONNECT target: the port is missing; CONNECT takes host:port";

#[tokio::test]
async fn the_body_is_json_for_those_who_ask_for_it() {
    let mut unreached = Unreached::start("").await;
    let table = [
        ("application/json", true),
        ("application/problem+json", true),
        ("application/json;q=0.9, text/html;q=0.8", true),
        ("image/png, application/json", true),
        ("text/html, application/json", false),
        ("*/*", false),
        ("application/xml", false),
        ("", false),
        ("\u{fc}", false),
    ];
    for (accept, json) in table {
        let request = format!("CONNECT bank.example HTTP/1.1\r\nAccept: {accept}\r\n\r\n");
        let (reply, event) = unreached.refuses(request.as_bytes(), 400, NO_PORT).await;
        let expected = if json { "application/json" } else { "text/plain; charset=utf-8" };
        assert_eq!(reply.header("content-type"), Some(expected), "Accept: {accept}");
        if json {
            let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
            assert_eq!(body["error"], "request");
            assert_eq!(body["session"], *event.session);
        }
    }
    unreached.ends();
}
