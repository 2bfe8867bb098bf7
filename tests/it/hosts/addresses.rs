//! CONNECT to an address: the rule comes from the ClientHello, and no way of naming a host gets round its pins.

use crate::support::bench::{Bench, bank, path, pinset};
use crate::support::client::{ClientTls, RawClient, Sni, client_hello_bytes};
use crate::support::origin::{Behaviour, End, Origin, OriginConfig};
use crate::support::pki::{Ca, Chain, Key, Leaf};
use crate::support::proxy::ProxyBuilder;
use crate::support::verdict::{BANK, Outcome, Verdict, unlisted};
use pinproxy::policy::decision::FailureClass::{self, Access, Client, Name};
use pinproxy::report::{Decided, Stage};
use rustls::AlertDescription::{AccessDenied, UnrecognisedName};
use std::net::Ipv6Addr;

const ADDRESS: &str = "127.0.0.1";
const SHOP: &str = "www.shop.example";

/// What the client calls the host in its ClientHello.
#[derive(Clone, Copy)]
enum Named {
    As(&'static str),
    NotAtAll,
}

struct World {
    root: Ca,
    /// For the bank, the shop and the address.
    chain: Chain,
}

impl World {
    fn new() -> Self {
        let root = Ca::root("Root");
        let leaf = Leaf::named(ADDRESS).dns(BANK).dns(SHOP).ip(Ipv6Addr::LOCALHOST.into());
        let chain = leaf.signed_by(&root);
        Self { root, chain }
    }

    fn seen(&self) -> Vec<String> {
        path(&self.chain, &[&self.root])
    }

    /// The pinset of the bank with the pin of the chain.
    fn right(&self) -> String {
        bank("leaf_pins", &[&self.chain.pin()])
    }

    async fn ask(&self, toml: &str, host: &str, named: Named) -> Outcome {
        let proxy = ProxyBuilder::new(toml).trusting([&self.root]);
        let mut bench = Bench::start(proxy, OriginConfig::new(self.chain.clone())).await;
        let tls = match named {
            Named::As(name) => bench.client(name),
            Named::NotAtAll => bench.client(host).sni(Sni::Off),
        };
        bench.ask_with(host, &tls.build()).await
    }
}

/// A pinset of the bank with a pin that nobody has.
fn wrong() -> String {
    bank("leaf_pins", &[&Key::p256().pin()])
}

/// A pinset of the address, likewise.
fn device() -> String {
    pinset("device", ADDRESS, "pins", &[&Key::p256().pin()], "")
}

fn default(unpinned: &str) -> String {
    format!("[defaults]\nunpinned = \"{unpinned}\"\n")
}

fn tunnel(host: &str) -> String {
    format!("[[tunnel]]\nhosts = [{host:?}]\nreason = \"test\"\n")
}

fn refused_by_pins(rule: &str) -> Verdict {
    Verdict::mismatch().under(rule, true).by_alert(AccessDenied).at(Stage::Pin)
}

fn refused_by_rules(address: &str, name: &str, enforced: bool) -> Verdict {
    let detail =
        format!("the address and the server name of this connection fall under different rules: {address} and {name}");
    let refused = Verdict::turned_away(0, "", Client, Stage::ClientTls, &detail);
    refused.by_alert(AccessDenied).under(address, enforced)
}

/// The rule of the server name governs, whatever the default says of addresses.
#[tokio::test]
async fn a_pinned_server_name() {
    let world = World::new();
    for unpinned in ["intercept", "tunnel", "deny"] {
        let outcome = world.ask(&(default(unpinned) + &wrong()), ADDRESS, Named::As(BANK)).await;
        assert_eq!(outcome.verdict(), refused_by_pins("bank").seen(&world.seen()), "{unpinned}");
        assert_eq!(outcome.upstream[0].sni.as_deref(), Some(BANK));
        assert_eq!(outcome.told.event.hostname.as_deref(), Some(BANK));

        let outcome = world.ask(&(default(unpinned) + &world.right()), ADDRESS, Named::As(BANK)).await;
        assert_eq!(outcome.verdict(), Verdict::matched(0, &world.chain.pin()).seen(&world.seen()), "{unpinned}");
    }
}

/// Two rules that disagree are a refusal; a client must not choose between them.
#[tokio::test]
async fn the_address_and_the_server_name_under_different_rules() {
    let world = World::new();
    let both = world.right() + &device();
    assert_eq!(world.ask(&both, ADDRESS, Named::As(BANK)).await.verdict(), refused_by_rules("device", "bank", true));
    for unpinned in ["intercept", "tunnel", "deny"] {
        // The client chooses the SNI, so it must not open a blind relay to an address of its choice.
        let outcome = world.ask(&(default(unpinned) + &tunnel(SHOP)), ADDRESS, Named::As(SHOP)).await;
        assert_eq!(outcome.verdict(), refused_by_rules("unpinned", "tunnel", false), "{unpinned}");
    }
    let outcome = world.ask(&(device() + &tunnel(SHOP)), ADDRESS, Named::As(SHOP)).await;
    assert_eq!(outcome.verdict(), refused_by_rules("device", "tunnel", true));
    // A name without a rule does not lift the one of the address.
    for unpinned in ["intercept", "tunnel", "deny"] {
        let outcome = world.ask(&(default(unpinned) + &device()), ADDRESS, Named::As(SHOP)).await;
        assert_eq!(outcome.verdict(), refused_by_pins("device").seen(&world.seen()), "{unpinned}");
    }
    // One rule for both is no disagreement.
    let one = world.right().replace(&format!("[\"{BANK}\"]"), &format!("[\"{BANK}\", \"{ADDRESS}\"]"));
    let outcome = world.ask(&one, ADDRESS, Named::As(BANK)).await;
    assert_eq!(outcome.verdict(), Verdict::matched(0, &world.chain.pin()).seen(&world.seen()));
}

/// Without a server name the address is the host, and the certificate has to say so.
#[tokio::test]
async fn no_server_name() {
    let world = World::new();
    let outcome = world.ask(&device(), ADDRESS, Named::NotAtAll).await;
    assert_eq!(outcome.verdict(), refused_by_pins("device").seen(&world.seen()));
    let outcome = world.ask("", ADDRESS, Named::NotAtAll).await;
    assert_eq!(outcome.verdict(), Verdict::passed().under("unpinned", false).seen(&world.seen()));
    assert_eq!(outcome.upstream[0].sni, None);

    let unlisted = unlisted(ADDRESS);
    let refused = Verdict::turned_away(0, "", Access, Stage::ClientTls, &unlisted).by_alert(AccessDenied);
    let outcome = world.ask(&default("deny"), ADDRESS, Named::NotAtAll).await;
    assert_eq!(outcome.verdict(), refused.under("unpinned", false));

    let nameless = World { chain: Leaf::named(BANK).signed_by(&world.root), root: world.root };
    let outcome = nameless.ask("", ADDRESS, Named::NotAtAll).await;
    let detail = format!("the certificate is not for {ADDRESS} but for {BANK}");
    let refused = Verdict::refused_for(ADDRESS, "unpinned", Name, &detail).under("unpinned", false);
    assert_eq!(outcome.verdict(), refused.by_alert(AccessDenied).at(Stage::UpstreamTls));
}

/// Spellings of an address are one address.
#[tokio::test]
async fn spellings_of_a_pinned_address() {
    let world = World::new();
    for (pattern, host) in [
        (ADDRESS, "[::ffff:127.0.0.1]"),
        (ADDRESS, "[::FFFF:7f00:1]"),
        ("[::ffff:127.0.0.1]", ADDRESS),
        ("127.0.0.0", ADDRESS),
    ] {
        let toml = pinset("device", pattern, "pins", &[&Key::p256().pin()], "");
        let expected = match pattern {
            "127.0.0.0" => Verdict::passed().under("unpinned", false),
            _ => refused_by_pins("device"),
        };
        let outcome = world.ask(&toml, host, Named::NotAtAll).await;
        assert_eq!(outcome.verdict(), expected.seen(&world.seen()), "{host} under {pattern}");
        assert_eq!(outcome.told.event.hostname.as_deref(), Some(ADDRESS));
    }
}

#[tokio::test]
async fn an_ipv6_address() {
    let world = World::new();
    let toml = pinset("device", "[0:0::1]", "pins", &[&Key::p256().pin()], "");
    let origin = OriginConfig::new(world.chain.clone()).ipv6();
    if Origin::try_start(origin.clone()).await.is_err() {
        crate::support::process::skipped("this machine has no [::1]");
        return;
    }
    let mut bench = Bench::start(ProxyBuilder::new(toml).trusting([&world.root]), origin).await;
    assert_eq!(bench.ask("[::1]").await.verdict(), refused_by_pins("device").seen(&world.seen()));
}

/// A listed tunnel passes what it is listed for; a ClientHello that names a pinned host does not pass.
#[tokio::test]
async fn a_listed_tunnel_is_no_way_round() {
    let world = World::new();
    for host in [ADDRESS, SHOP] {
        let toml = tunnel(host) + &wrong();
        let outcome = world.ask(&toml, host, Named::As(BANK)).await;
        assert_eq!(outcome.verdict(), refused_by_rules("tunnel", "bank", false), "{host}");
        for named in [Named::As(SHOP), Named::NotAtAll] {
            let event = world.ask(&toml, host, named).await.told.event;
            assert_eq!((event.decision, event.failure_class), (Decided::Tunnel, None), "{host}");
        }
    }
}

/// What the upstream sends first, what the client sends, how it is answered, the class of the event.
type Opening<'a> = (&'a [u8], &'a [u8], &'a [u8], FailureClass);

/// The ClientHello is looked at although the upstream has sent the first byte of a TLS record before it, and where it
/// does not end in time nothing of it passes.
#[tokio::test]
async fn a_listed_tunnel_cannot_be_kept_from_looking() {
    let world = World::new();
    let toml = tunnel(ADDRESS) + &wrong() + "[limits]\nclient_hello_timeout = \"300ms\"\n";
    let hello = client_hello_bytes(Some(BANK), &[]);
    let denied: &[u8] = &[21, 3, 3, 0, 2, 2, 49];
    let cases: [Opening<'_>; 3] = [
        (&[22], &hello, denied, Client),
        (&[21], &hello, denied, Client),
        (&[22], &hello[..40], b"", FailureClass::Timeout),
    ];
    for (first, sent, answer, class) in cases {
        let origin = OriginConfig::new(world.chain.clone()).behaviour(Behaviour::PlainText(first.to_vec()));
        let origin = Origin::start(origin).await;
        let mut proxy = ProxyBuilder::new(toml.as_str()).trusting([&world.root]).start().await;
        let mut client = RawClient::connect(proxy.addr).await.unwrap();
        let reply = client.connect_to(&format!("{ADDRESS}:{}", origin.port())).await.unwrap();
        assert_eq!(reply.status, 200);
        client.send(sent).await.unwrap();
        assert_eq!(client.read_to_end().await.unwrap_or_default(), answer);
        let event = proxy.told().await.event;
        assert_eq!((event.failure_class, event.bytes.upstream), (Some(class), 0), "{event}");
        assert_eq!(origin.until_ended(1).await.unwrap().received(), 0);
    }
}

/// Where the default is a blind tunnel, the ClientHello still has to ask for the host of the CONNECT.
#[tokio::test]
async fn a_default_tunnel_is_no_way_round() {
    let world = World::new();
    let toml = default("tunnel") + &wrong();
    let outcome = world.ask(&toml, SHOP, Named::As(BANK)).await;
    let detail = format!("the client asked for {SHOP} by CONNECT and for {BANK} in its ClientHello");
    let refused = Verdict::turned_away(0, "", Client, Stage::ClientTls, &detail).by_alert(UnrecognisedName);
    assert_eq!(outcome.verdict(), refused.under("unpinned", false));

    // By name, or by address without a name that is pinned, it is a tunnel.
    for (host, sni) in [(SHOP, Sni::On), (SHOP, Sni::Off), (ADDRESS, Sni::On)] {
        let proxy = ProxyBuilder::new(toml.as_str()).trusting([&world.root]);
        let mut bench = Bench::start(proxy, OriginConfig::new(world.chain.clone())).await;
        let tls = ClientTls::to(host).trusting([&world.root]).sni(sni).build();
        let outcome = bench.ask_with(host, &tls).await;
        assert_eq!(outcome.verdict(), Verdict::passed().decided(Decided::Tunnel).under("unpinned", false), "{host}");
    }
}

/// What is no TLS cannot say which host it is for, and is not relayed.
#[tokio::test]
async fn clear_text_behind_the_connect() {
    let world = World::new();
    let toml = default("tunnel") + &wrong();
    for host in [SHOP, ADDRESS] {
        let proxy = ProxyBuilder::new(toml.as_str()).trusting([&world.root]);
        let mut bench = Bench::start(proxy, OriginConfig::new(world.chain.clone())).await;
        let mut client = RawClient::connect(bench.proxy.addr).await.unwrap();
        let reply = client.connect_to(&format!("{host}:{}", bench.origin.port())).await.unwrap();
        assert_eq!(reply.status, 200);
        client.send(format!("GET /balance HTTP/1.1\r\nHost: {BANK}\r\n\r\n").as_bytes()).await.unwrap();
        drop(client.read_to_end().await);
        let event = bench.proxy.told().await.event;
        assert_eq!((event.decision, event.failure_class), (Decided::Refuse, Some(Client)), "{event:?}");
        let not_tls = "the client sent something that is not TLS through the tunnel";
        assert_eq!((event.detail.as_deref(), event.stage), (Some(not_tls), Stage::ClientTls));
        assert_eq!((event.bytes.upstream, event.pinset.as_deref()), (0, Some("unpinned")));
        let tally = bench.origin.until_ended(1).await.unwrap();
        let Some(End::HandshakeFailed(failure)) = &tally.connections[0].end else { panic!("{tally:?}") };
        assert!(failure.text.contains("end of file"), "a byte that is no TLS would be called so: {failure:?}");
    }
}
