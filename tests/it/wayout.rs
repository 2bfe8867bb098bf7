//! The way out: parent proxies, our own address, client certificates.

mod circles;
mod faults;
mod identities;
mod programs;
mod rules;
mod sources;

use crate::support::bench::bank;
use crate::support::client::{RawClient, Reply};
use crate::support::origin::{Behaviour, Origin, OriginConfig};
use crate::support::parent::{ParentServer, SOCKS_DONE, Step, connects, socks};
use crate::support::pki::{Ca, Chain, Leaf};
use crate::support::proxy::{ProxyBuilder, TestProxy};
use crate::support::setting::{HOST, tls};
use pinproxy::policy::decision::FailureClass;
use pinproxy::report::{Decided, Event, Stage};

/// The authority that proxies trust, and the chain of [`HOST`].
struct Bank {
    root: Ca,
    chain: Chain,
}

impl Bank {
    fn new() -> Self {
        let root = Ca::root("root");
        Self { chain: Leaf::named(HOST).signed_by(&root), root }
    }

    async fn origin(&self) -> Origin {
        Origin::start(OriginConfig::new(self.chain.clone()).behaviour(Behaviour::Http1)).await
    }

    /// A proxy with this `[upstream]`, these other lines, and the bank's key pinned. Names are looked up by nobody here.
    fn builder(&self, upstream: &str, more: &str) -> ProxyBuilder {
        let pinset = bank("leaf_pins", &[&self.chain.pin()]);
        ProxyBuilder::new(format!("[upstream]\n{upstream}\n{more}\n{pinset}")).trusting([&self.root]).no_such_name(HOST)
    }
}

/// Asks for the bank, and gives the reply and what was told.
async fn asked(proxy: &mut TestProxy, target: &str) -> (Reply, Event) {
    let mut client = RawClient::connect(proxy.addr).await.expect("the proxy listens");
    let reply = client.connect_to(target).await.expect("a reply");
    drop(client);
    let event = proxy.told().await.event;
    proxy.no_more_events();
    (reply, event)
}

/// One request through the proxy and its answer; gives what was told.
async fn conversed(proxy: &mut TestProxy, target: &str) -> Event {
    let mut client = RawClient::connect(proxy.addr).await.expect("the proxy listens");
    let reply = client.connect_to(target).await.expect("a reply");
    assert_eq!(reply.status, 200, "{}", reply.text());
    let mut client = client.tls(&tls(proxy, HOST).build()).await.expect("a session");
    assert_eq!(client.get(HOST, "/balance").await.expect("an answer").status, 200);
    client.shutdown().await.expect("it ends");
    client.read_to_end().await.expect("it ends");
    let event = proxy.told().await.event;
    proxy.no_more_events();
    event
}

/// The text of a reply without its line breaks.
fn flat(reply: &Reply) -> String {
    reply.text().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The error type of RFC 9209 in a reply.
fn proxy_error(reply: &Reply) -> &str {
    let status = reply.header("proxy-status").and_then(|value| value.strip_prefix("pinproxy; error="));
    status.and_then(|rest| rest.split(';').next()).expect("a Proxy-Status")
}

/// The name goes to the parent as it is, and nobody here looks it up.
#[tokio::test]
async fn a_pinned_host_through_each_kind_of_parent() {
    let bank = Bank::new();
    let origin = bank.origin().await;
    let target = format!("{HOST}:{}", origin.port());
    let root = Ca::root("another root of the operator");
    let of_parent = Leaf::named("parent.example").signed_by(&root);
    for credentials in [None, Some("ada:s3:cr et")] {
        let userinfo = credentials.map_or("", |_| "ada:s3:cr%20et@");
        for scheme in ["http", "https", "socks5"] {
            let steps = match (scheme, credentials) {
                ("socks5", None) => socks(origin.port()),
                ("socks5", Some(_)) => vec![
                    Step::Read(4),
                    Step::Write(vec![5, 2]),
                    Step::Read(3 + "ada".len() + "s3:cr et".len()),
                    Step::Write(vec![1, 0]),
                    Step::Request,
                    Step::Write(SOCKS_DONE.to_vec()),
                    Step::Relay(origin.port()),
                ],
                _ => connects(origin.port()),
            };
            let parent = match scheme {
                "https" => ParentServer::start_tls(steps, &of_parent).await,
                _ => ParentServer::start(steps).await,
            };
            let url = format!("{scheme}://{userinfo}parent.example:{}", parent.addr.port());
            let builder = bank.builder(&format!("parent = \"{url}\""), "").trusting([&root]);
            let mut proxy = builder.name("parent.example", &["127.0.0.1"]).start().await;
            let event = conversed(&mut proxy, &target).await;
            let shown = format!("{scheme}://parent.example:{}", parent.addr.port());
            let seen = (
                event.decision,
                event.parent.as_deref().map(String::as_str),
                event.upstream_address,
                event.hostname.as_deref(),
            );
            assert_eq!(seen, (Decided::Allow, Some(shown.as_str()), None, Some(HOST)), "{event}");
            let [asked] = parent.asked().try_into().expect("one connection");
            if scheme == "socks5" {
                let mut expected =
                    credentials.map_or(vec![5, 1, 0], |_| b"\x05\x02\x00\x02\x01\x03ada\x08s3:cr et".to_vec());
                expected.extend([5, 1, 0, 3, u8::try_from(HOST.len()).unwrap()]);
                expected.extend(HOST.bytes().chain(origin.port().to_be_bytes()));
                assert_eq!(asked.read, expected);
            } else {
                assert_eq!(asked.line(), format!("CONNECT {target} HTTP/1.1"));
                assert_eq!(asked.field("host").as_deref(), Some(target.as_str()));
                // printf 'ada:s3:cr et' | base64
                let expected = credentials.map(|_| "Basic YWRhOnMzOmNyIGV0");
                assert_eq!(asked.field("proxy-authorization").as_deref(), expected, "{scheme}");
                let via = asked.field("via").expect("it says who asks");
                assert!(via.starts_with("1.1 pinproxy-") && via.len() == 13 + 16, "{via}");
            }
        }
    }
    assert_eq!(origin.tally().handshakes_finished(), 6);
}

/// Servers that speak first may do so in the very packet of the parent's answer.
#[tokio::test]
async fn what_the_upstream_says_with_the_parents_answer_is_not_lost() {
    let bank = Bank::new();
    let opening = b"SSH-2.0-early\r\n";
    let done = |head: &[u8]| Step::Write([head, opening].concat());
    let cases = [
        ("http", vec![Step::Head, done(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n"), Step::Read(4), Step::Wait]),
        ("http", vec![Step::Head, done(b"HTTP/1.0 200 Connection established\r\n\r\n"), Step::Read(4), Step::Wait]),
        ("https", vec![Step::Head, done(b"HTTP/1.1 200 OK\r\n\r\n"), Step::Read(4), Step::Wait]),
        (
            "socks5",
            vec![Step::Read(3), Step::Write(vec![5, 0]), Step::Request, done(SOCKS_DONE), Step::Read(4), Step::Wait],
        ),
        // It may also take its time, and then be the first to speak.
        (
            "https",
            vec![Step::Head, Step::Write(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()), done(b""), Step::Read(4), Step::Wait],
        ),
        // The address that it connects from may be a name.
        (
            "socks5",
            vec![
                Step::Read(3),
                Step::Write(vec![5, 0]),
                Step::Request,
                done(b"\x05\x00\x00\x03\x03abc\x00\x50"),
                Step::Read(4),
                Step::Wait,
            ],
        ),
    ];
    let of_parent = Leaf::nameless().ip([127, 0, 0, 1].into()).signed_by(&bank.root);
    for (scheme, steps) in cases {
        let parent = match scheme {
            "https" => ParentServer::start_tls(steps, &of_parent).await,
            _ => ParentServer::start(steps).await,
        };
        let tunnel = "[[tunnel]]\nhosts = [\"git.example\"]\nreason = \"x\"";
        let mut proxy = bank.builder(&format!("parent = \"{}\"", parent.url(scheme)), tunnel).start().await;
        let mut client = RawClient::connect(proxy.addr).await.unwrap();
        assert_eq!(client.connect_to("git.example:443").await.unwrap().status, 200, "{scheme}");
        assert_eq!(client.read_exact(opening.len()).await.unwrap(), opening, "{scheme}");
        client.send(b"ping").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(client.read_to_end().await.unwrap(), b"", "{scheme}");
        let event = proxy.told().await.event;
        let seen = (event.decision, event.bytes.upstream, event.bytes.client, event.ended.as_deref());
        assert_eq!(seen, (Decided::Tunnel, 4, opening.len() as u64, Some("closed")), "{scheme}");
        assert!(parent.asked()[0].read.ends_with(b"ping"), "{scheme}");
    }
}

/// The point of it all: who stands in between shows a chain that is trusted here, and not the pinned one.
#[tokio::test]
async fn a_parent_that_intercepts_is_refused_by_the_pin() {
    let bank = Bank::new();
    let inspection = Ca::root("the inspection of the company");
    let chain = Leaf::named(HOST).signed_by(&inspection);
    for scheme in ["http", "socks5"] {
        let middle = Origin::start(OriginConfig::new(chain.clone()).behaviour(Behaviour::Http1)).await;
        let steps = if scheme == "http" { connects(middle.port()) } else { socks(middle.port()) };
        let parent = ParentServer::start(steps).await;
        let builder = bank.builder(&format!("parent = \"{}\"", parent.url(scheme)), "").trusting([&inspection]);
        let mut proxy = builder.start().await;
        let (reply, event) = asked(&mut proxy, &format!("{HOST}:443")).await;
        assert_eq!((reply.status, proxy_error(&reply)), (502, "tls_certificate_error"));
        let seen = (event.stage, event.decision, event.failure_class, event.pinset.as_deref(), event.enforced);
        assert_eq!(seen, (Stage::Pin, Decided::Refuse, Some(FailureClass::Pin), Some("bank"), true), "{event}");
        assert_eq!(event.parent.as_deref().map(String::as_str), Some(parent.url(scheme).as_str()));
        assert!(event.seen_pins.iter().any(|pin| pin.to_string() == chain.pin()), "{event}");
        let tally = middle.until_ended(1).await.unwrap();
        assert_eq!((tally.received(), tally.tcp_connections()), (0, 1), "no octet of a request is in it");
    }
}
