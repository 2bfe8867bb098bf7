//! Hosts by name: spelling never decides, and neither does a likeness.

use crate::support::bench::{Bench, path, pinset};
use crate::support::client::Sni;
use crate::support::origin::OriginConfig;
use crate::support::pki::{Ca, Chain, Key, Leaf};
use crate::support::proxy::ProxyBuilder;
use crate::support::verdict::{BANK, NO_PINNED_KEY, Verdict};
use pinproxy::policy::decision::FailureClass::{Client, Pin, Request};
use pinproxy::report::{Decided, Stage};
use rustls::AlertDescription::UnrecognisedName;

/// A root, and a chain for these names that no rule of this file has a pin of.
fn world(names: &[&str]) -> (Ca, Chain) {
    let root = Ca::root("Root");
    let leaf = names.iter().fold(Leaf::nameless().common_name("rogue"), |leaf, name| leaf.dns(name));
    let chain = leaf.signed_by(&root);
    (root, chain)
}

/// A pinset "bank" with a pin that nobody has.
fn pinned(pattern: &str) -> String {
    pinset("bank", pattern, "pins", &[&Key::p256().pin()], "")
}

/// The verdict on a host under this rule; the chain has no pinned key.
async fn under(toml: String, host: &str, canonical: &str, rule: &str) {
    let (root, chain) = world(&[canonical]);
    let seen = path(&chain, &[&root]);
    let mut bench = Bench::start(ProxyBuilder::new(toml.as_str()).trusting([&root]), OriginConfig::new(chain)).await;
    let outcome = bench.ask(host).await;
    let expected = match rule {
        "unpinned" => Verdict::passed().under(rule, false),
        rule => Verdict::refused_for(canonical, rule, Pin, NO_PINNED_KEY),
    };
    assert_eq!(outcome.verdict(), expected.seen(&seen), "{host} under\n{toml}");
    let event = outcome.told.event;
    assert_eq!(event.hostname.as_deref(), Some(canonical), "{host}");
    let sni: Vec<_> = outcome.upstream.iter().map(|connection| connection.sni.as_deref()).collect();
    assert_eq!(sni, [Some(canonical)], "the name that is sent upstream is the one that is judged");
}

#[tokio::test]
async fn spellings_of_a_pinned_host() {
    let table = [
        (BANK, "API.Bank.Example", BANK),
        (BANK, "api.bank.example.", BANK),
        ("API.Bank.Example.", BANK, BANK),
        ("*.bank.example", "API.BANK.EXAMPLE.", BANK),
        ("**.bank.example", "Bank.Example.", "bank.example"),
        ("bücher.example", "xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("**.bücher.example", "A.XN--BCHER-KVA.example.", "a.xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "XN--bcher-KVA.Example", "xn--bcher-kva.example"),
    ];
    for (pattern, host, canonical) in table {
        under(pinned(pattern), host, canonical, "bank").await;
    }
}

#[tokio::test]
async fn wildcards_and_what_is_merely_alike() {
    let table = [
        ("*.bank.example", "bank.example", "unpinned"),
        ("*.bank.example", "a.b.bank.example", "unpinned"),
        ("*.bank.example", "a.notbank.example", "unpinned"),
        ("**.bank.example", "notbank.example", "unpinned"),
        ("**.bank.example", "bank.example.evil.test", "unpinned"),
        ("**.bank.example", "api.bank.example.bank.test", "unpinned"),
        ("**.bank.example", "bank.example-evil.test", "unpinned"),
        ("bank.example", "www.bank.example", "unpinned"),
        ("bank.example", "ank.example", "unpinned"),
        ("*.bank.example", "a.bank.example", "bank"),
        ("**.bank.example", "bank.example", "bank"),
        ("**.bank.example", "c.b.a.bank.example", "bank"),
        ("**.bank.example", "bank.example.bank.example", "bank"),
    ];
    for (pattern, host, rule) in table {
        under(pinned(pattern), host, host, rule).await;
    }
}

/// A narrower entry carves nothing out of what it does not name (crbug.com/821811).
#[tokio::test]
async fn a_narrower_rule_is_no_hole() {
    let wide = pinned("**.bank.example");
    let narrow = |pattern| pinset("narrow", pattern, "pins", &[&Key::p256().pin()], "");
    let table = [
        ("foo.bank.example", "bar.foo.bank.example", "bank"),
        ("foo.bank.example", "foo.bank.example", "narrow"),
        ("*.foo.bank.example", "a.b.foo.bank.example", "bank"),
        ("*.foo.bank.example", "a.foo.bank.example", "narrow"),
        ("*.bank.example", "a.b.bank.example", "bank"),
        ("foo.bank.example:1", "foo.bank.example", "bank"),
        ("**.foo.bank.example", "a.b.foo.bank.example", "narrow"),
    ];
    for (pattern, host, rule) in table {
        under(format!("{wide}{}", narrow(pattern)), host, host, rule).await;
    }
}

#[tokio::test]
async fn a_port_is_more_specific_than_none() {
    for (port, winner) in [(None, "ported"), (Some(1), "plain")] {
        let (root, chain) = world(&[BANK]);
        let seen = path(&chain, &[&root]);
        let mut bench = Bench::with_port(OriginConfig::new(chain), |own| {
            let host = format!("{BANK}:{}", port.unwrap_or(own));
            let rule = |name, host: &str| pinset(name, host, "pins", &[&Key::p256().pin()], "");
            ProxyBuilder::new(rule("plain", BANK) + &rule("ported", &host)).trusting([&root])
        })
        .await;
        let expected = Verdict::refused_for(BANK, winner, Pin, NO_PINNED_KEY).seen(&seen);
        assert_eq!(bench.ask(BANK).await.verdict(), expected);
    }
}

/// What has no canonical form is neither pinned nor unpinned: it is refused, and nothing is dialled.
#[tokio::test]
async fn hosts_that_are_none() {
    let (root, chain) = world(&[BANK]);
    let toml = format!("[defaults]\nunpinned = \"tunnel\"\n{}", pinned("**.bank.example"));
    let mut bench = Bench::start(ProxyBuilder::new(toml).trusting([&root]), OriginConfig::new(chain)).await;
    let tls = bench.client(BANK).build();
    let hosts = [
        "api.bank.example..",
        ".api.bank.example",
        "api..bank.example",
        ".",
        "...",
        "",
        "api\u{3002}bank.example",
        "b\u{fc}cher.example",
        "api.bank.example%00.evil.test",
        "*.bank.example",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "127.0.0.1.",
        "[::1",
        "::1",
        "user@api.bank.example",
    ];
    for host in hosts {
        let outcome = bench.ask_with(host, &tls).await;
        let event = &outcome.told.event;
        assert_eq!(outcome.reply.status, 400, "{host:?}: {event:?}");
        assert_eq!((event.failure_class, event.stage), (Some(Request), Stage::Request), "{host:?}");
        assert_ne!(event.decision, Decided::Allow);
        assert!(outcome.handshake.is_none() && outcome.told.violation.is_none());
    }
    assert_eq!(bench.origin.tally().tcp_connections(), 0);
}

/// The name in the ClientHello is the one of the CONNECT, also where both are under one rule.
#[tokio::test]
async fn another_server_name_than_the_one_asked_for() {
    const HOST: &str = "www.bank.example";
    let (root, chain) = world(&[HOST, BANK]);
    let detail = format!("the client asked for {HOST} by CONNECT and for {BANK} in its ClientHello");
    let pinned = pinset("bank", "**.bank.example", "pins", &[&chain.pin()], "");
    for (toml, rule, enforced) in [(String::new(), "unpinned", false), (pinned, "bank", true)] {
        let proxy = ProxyBuilder::new(toml).trusting([&root]);
        let mut bench = Bench::start(proxy, OriginConfig::new(chain.clone())).await;
        let tls = bench.client(HOST).sni(Sni::Other(BANK.to_owned())).build();
        let outcome = bench.ask_with(HOST, &tls).await;
        let refused = Verdict::turned_away(0, "", Client, Stage::ClientTls, &detail).by_alert(UnrecognisedName);
        let expected = refused.under(rule, enforced).seen(&path(&chain, &[&root])).handshakes(1);
        let expected = if enforced { expected.with_match(0, &chain.pin()) } else { expected };
        assert_eq!(outcome.verdict(), expected);
    }
}
