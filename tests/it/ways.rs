//! The ways in beside CONNECT in the clear: each leads to the same session, and to its events. What is no request is bounded,
//! told once, and keeps nobody else out.

mod https;
mod proxied;
mod socks;
mod transparent;

use crate::support::bench::{Bench, bank, converse};
use crate::support::client::RawClient;
use crate::support::origin::OriginConfig;
use crate::support::pki::{Ca, Chain, Key, Leaf};
use crate::support::process::{self, Start};
use crate::support::proxy::ProxyBuilder;
use crate::support::verdict::{BANK, Session};
use pinproxy::policy::decision::FailureClass;
use pinproxy::report::Event;
use std::path::Path;

/// An authority, and what the origin shows: for the bank and for its address.
struct World {
    root: Ca,
    chain: Chain,
}

impl World {
    fn new() -> Self {
        let root = Ca::root("Root");
        let chain = Leaf::named(BANK).ip([127, 0, 0, 1].into()).signed_by(&root);
        Self { root, chain }
    }

    /// The pinset of the bank with the pin of the chain.
    fn right(&self) -> String {
        bank("leaf_pins", &[&self.chain.pin()])
    }

    async fn start(&self, toml: &str) -> Bench {
        self.start_with(toml, |proxy| proxy).await
    }

    async fn start_with(&self, toml: &str, change: impl FnOnce(ProxyBuilder) -> ProxyBuilder) -> Bench {
        let proxy = change(ProxyBuilder::new(toml).trusting([&self.root]));
        Bench::start(proxy, OriginConfig::new(self.chain.clone())).await
    }
}

/// The pinset of the bank with a pin that nobody has.
fn wrong() -> String {
    bank("leaf_pins", &[&Key::p256().pin()])
}

fn listener(lines: &str) -> String {
    format!("[[listener]]\naddress = \"127.0.0.1:0\"\n{lines}\n")
}

/// What the bank answers to a client behind its tunnel.
async fn balance(bench: &Bench, client: RawClient) -> Session {
    converse(client, &bench.client(BANK).build()).await.unwrap_or_else(|failure| panic!("{failure:?}"))
}

/// The event of the one session that has ended.
async fn told(bench: &mut Bench) -> Event {
    let event = bench.proxy.told().await.event;
    bench.proxy.no_more_events();
    event
}

/// curl as a script calls it, with what it says of the connection at the end.
fn curl(program: &Path, bench: &Bench) -> Start {
    process::command(program, bench.proxy.folder.path())
        .args(["-sS", "--http1.1", "--max-time", "60", "-w", "|%{http_code} %{local_port}\\n", "--cacert"])
        .arg(bench.proxy.folder.path().join("ca/ca.pem"))
}

/// The kinds of listener, and what a client is told there that is not let in.
const KINDS: [(&str, &[u8]); 4] = [
    ("kind = \"socks5\"", b"\x05\xff"),
    ("tls = { certificate = \"proxy.pem\", key = \"proxy.key\" }", b"\x15\x03\x03\x00\x02\x02\x31"),
    ("kind = \"transparent\"\nproxy_protocol_from = [\"127.0.0.1\"]", b"\x15\x03\x03\x00\x02\x02\x31"),
    ("proxy_protocol_from = [\"127.0.0.1\"]", b"HTTP/1.1 503 The proxy has reached its limit of 1 sessions"),
];

async fn start_kind(world: &World, lines: &str, more: &str) -> Bench {
    let door = Leaf::named("localhost").signed_by(&world.root);
    let files = |proxy: ProxyBuilder| proxy.file("proxy.pem", door.pem()).file("proxy.key", door.key.private_pem());
    world.start_with(&(listener(lines) + more), files).await
}

#[tokio::test]
async fn who_finds_no_place_is_told_so_in_the_words_of_the_listener() {
    let world = World::new();
    for (lines, told) in KINDS {
        let mut bench = start_kind(&world, lines, "[limits]\nsessions = 1\n").await;
        let _first = RawClient::connect(bench.proxy.addr).await.unwrap();
        bench.proxy.until_open(1).await;
        let mut second = RawClient::connect(bench.proxy.addr).await.unwrap();
        let answer = second.read_to_end().await.unwrap();
        assert!(answer.starts_with(told), "{lines}: {:?}", String::from_utf8_lossy(&answer));
        let event = bench.proxy.told().await.event;
        assert_eq!(event.failure_class, Some(FailureClass::Overload), "{lines}: {event}");
    }
}

/// Nobody who has said nothing yet is waited for.
#[tokio::test]
async fn the_silent_do_not_hold_up_the_end() {
    let world = World::new();
    let timeouts = "[limits]\nheader_timeout = \"5m\"\nclient_hello_timeout = \"5m\"\ndrain_timeout = \"5m\"\n";
    for (lines, _) in KINDS {
        let mut bench = start_kind(&world, lines, timeouts).await;
        let _silent = RawClient::connect(bench.proxy.addr).await.unwrap();
        bench.proxy.until_open(1).await;
        bench.proxy.begin_stop();
        bench.proxy.stopped().await;
    }
}

/// Octets that a client sends in place of what it should, what it is answered, and what is told of it: nothing where there
/// is no session.
struct Rubbish<'a> {
    sent: &'a [u8],
    answered: &'a [u8],
    detail: Option<&'a str>,
}

/// Sends each, and sees what comes of it. Whoever sends what is not complete is waited for as long as `header_timeout` says.
async fn sees_through(bench: &mut Bench, table: &[Rubbish<'_>]) {
    for Rubbish { sent, answered, detail } in table {
        let shown = String::from_utf8_lossy(&sent[..sent.len().min(60)]).into_owned();
        let mut client = RawClient::connect(bench.proxy.addr).await.expect("a connection");
        // The proxy may have answered and closed before all of it is written.
        client.send(sent).await.ok();
        if detail.is_none() {
            client.shutdown().await.expect("an end");
        }
        let answer = client.read_to_end().await.unwrap_or_else(|fault| panic!("{shown:?}: {fault}"));
        assert!(answer.starts_with(answered), "{shown:?}: {:?}", String::from_utf8_lossy(&answer));
        assert!(!answered.is_empty() || answer.is_empty(), "{shown:?}: {answer:?}");
        if let Some(detail) = detail {
            let event = bench.proxy.told().await.event;
            let found = event.detail.as_deref().unwrap_or_default();
            assert!(found.contains(detail), "{shown:?}: {found}");
            assert_eq!((event.upstream_address, event.bytes.upstream), (None, 0), "{shown:?}");
        }
        bench.proxy.no_more_events();
    }
    assert_eq!(bench.origin.tally().tcp_connections(), 0);
    bench.proxy.until_open(0).await;
}
