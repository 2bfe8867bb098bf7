//! The PROXY protocol: a load balancer that the configuration names says whose a connection is, and nobody else does.

use super::{Rubbish, World, balance, curl, listener, sees_through, told};
use crate::support::bench::Bench;
use crate::support::client::RawClient;
use crate::support::process;
use crate::support::verdict::BANK;
use pinproxy::policy::decision::FailureClass;
use pinproxy::report::Decided;
use std::net::{IpAddr, SocketAddr};

const FROM_HERE: &str = "proxy_protocol_from = [\"127.0.0.0/8\"]";
const CLIENTS: &str = "[access]\nclients = [\"192.0.2.0/24\", \"2001:db8::/32\"]\ndestinations_deny = []\n";

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn v2(command: u8, protocol: u8, rest: &[u8]) -> Vec<u8> {
    [V2, &[command, protocol], &u16::try_from(rest.len()).expect("a name or a number").to_be_bytes(), rest].concat()
}

async fn behind(bench: &Bench, header: &[u8]) -> RawClient {
    let mut client = RawClient::connect(bench.proxy.addr).await.expect("a connection");
    client.send(header).await.expect("it is sent");
    client
}

/// A bench whose rules know the port of its origin.
async fn start(world: &World, more: &str) -> Bench {
    let more = format!("{}{more}", world.right());
    let origin = crate::support::origin::OriginConfig::new(world.chain.clone());
    Bench::with_port(origin, |port| {
        let toml = format!("{}{CLIENTS}ports_allow = [{port}]\n{more}", listener(FROM_HERE));
        crate::support::proxy::ProxyBuilder::new(toml).trusting([&world.root])
    })
    .await
}

#[tokio::test]
async fn the_client_is_who_the_header_says() {
    let world = World::new();
    let mut bench = start(&world, "").await;
    let v6: Vec<u8> =
        [&[0x20, 1, 0xd, 0xb8], &[0; 11][..], &[7], &[0; 15], &[1, 0x30, 0x39, 1, 0xbb, 0xee, 0, 2, 1, 2]].concat();
    let allowed: Vec<(Vec<u8>, &str)> = vec![
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 12345 443\r\n".to_vec(), "192.0.2.7:12345"),
        (b"PROXY TCP6 2001:db8::7 ::1 12345 443\r\n".to_vec(), "[2001:db8::7]:12345"),
        (v2(0x21, 0x11, &[192, 0, 2, 9, 198, 51, 100, 1, 0x30, 0x39, 1, 0xbb]), "192.0.2.9:12345"),
        (v2(0x21, 0x21, &v6), "[2001:db8::7]:12345"),
    ];
    for (header, from) in allowed {
        let mut client = behind(&bench, &header).await;
        let reply = client.connect_to(&format!("{BANK}:{}", bench.origin.port())).await.unwrap();
        assert_eq!(reply.status, 200, "{from}: {}", reply.text());
        balance(&bench, client).await;
        let event = told(&mut bench).await;
        assert_eq!((event.decision, event.client.0), (Decided::Allow, from.parse().unwrap()), "{header:?}");
    }
    // Who may not use the proxy is refused, whoever brings the connection; and so is who brings it, where it asks for itself.
    let local = RawClient::connect(bench.proxy.addr).await.unwrap().local_addr().unwrap().ip();
    let refused: Vec<(Vec<u8>, IpAddr)> = vec![
        (b"PROXY TCP4 203.0.113.9 198.51.100.1 12345 443\r\n".to_vec(), [203, 0, 113, 9].into()),
        (b"PROXY TCP4 127.0.0.1 198.51.100.1 12345 443\r\n".to_vec(), [127, 0, 0, 1].into()),
        (b"PROXY UNKNOWN\r\n".to_vec(), local),
        (v2(0x20, 0x11, &[192, 0, 2, 9, 198, 51, 100, 1, 0x30, 0x39, 1, 0xbb]), local),
        (v2(0x20, 0, &[]), local),
    ];
    for (header, from) in refused {
        let mut client = behind(&bench, &header).await;
        let reply = client.connect_to(&format!("{BANK}:{}", bench.origin.port())).await.unwrap();
        assert_eq!(
            (reply.status, reply.reason.as_str()),
            (403, &*format!("Clients from {from} may not use this proxy ([access] clients)"))
        );
        let event = told(&mut bench).await;
        assert_eq!((event.client.0.ip(), event.failure_class), (from, Some(FailureClass::Access)));
    }
}

/// A health check says that it speaks for itself, and nothing else.
#[tokio::test]
async fn a_health_check_is_no_session() {
    let world = World::new();
    let mut bench = start(&world, "").await;
    for header in [v2(0x20, 0, &[]), Vec::new(), b"PROXY UNKNOWN\r\n".to_vec()] {
        let mut client = behind(&bench, &header).await;
        client.shutdown().await.unwrap();
        assert_eq!(client.read_to_end().await.unwrap(), b"");
        bench.proxy.until_open(0).await;
        bench.proxy.no_more_events();
    }
}

#[tokio::test]
async fn limits_count_the_clients_and_not_the_balancer() {
    let world = World::new();
    let mut bench = start(&world, "[limits]\nsessions_per_client = 1\n").await;
    let target = format!("{BANK}:{}", bench.origin.port());
    let mut held = Vec::new();
    for last in [1, 2, 3] {
        let mut client = behind(&bench, format!("PROXY TCP4 192.0.2.{last} 198.51.100.1 9 443\r\n").as_bytes()).await;
        assert_eq!(client.connect_to(&target).await.unwrap().status, 200);
        held.push(client);
    }
    let mut second = behind(&bench, b"PROXY TCP4 192.0.2.2 198.51.100.1 10 443\r\n").await;
    let reply = second.read_reply().await.unwrap();
    assert_eq!(reply.status, 503, "{}", reply.text());
    let event = told(&mut bench).await;
    assert_eq!(event.client.0, SocketAddr::from(([192, 0, 2, 2], 10)));
    assert_eq!(event.failure_class, Some(FailureClass::Overload));
}

/// From a peer that is not named a header is what it is in HTTP: nothing.
#[tokio::test]
async fn a_forged_header_changes_nothing() {
    let world = World::new();
    let rules = world.right();
    for named in ["", "proxy_protocol_from = [\"10.0.0.0/8\", \"::2\"]"] {
        let mut bench = world.start(&(listener(named) + &rules)).await;
        for header in [&b"PROXY TCP4 192.0.2.7 198.51.100.1 1 443\r\n"[..], &v2(0x20, 0, &[])] {
            let mut client = behind(&bench, header).await;
            let request = format!("CONNECT {BANK}:{} HTTP/1.1\r\n\r\n", bench.origin.port());
            client.send(request.as_bytes()).await.ok();
            assert_eq!(client.read_reply().await.unwrap().status, 400, "{named}");
            let event = told(&mut bench).await;
            assert_eq!((event.client.0.ip(), event.upstream_address), (IpAddr::from([127, 0, 0, 1]), None), "{named}");
        }
        // Nothing is expected of it either.
        let mut client = RawClient::connect(bench.proxy.addr).await.unwrap();
        assert_eq!(client.connect_to(&format!("{BANK}:{}", bench.origin.port())).await.unwrap().status, 200, "{named}");
    }
}

#[tokio::test]
async fn what_comes_in_the_place_of_a_header() {
    let world = World::new();
    let toml = listener(FROM_HERE) + "[limits]\nheader_timeout = \"300ms\"\n";
    let mut bench = world.start(&toml).await;
    let missing = Some("the connection comes from 127.0.0.1, which proxy_protocol_from names, and does not begin with");
    let huge = v2(0x21, 0x11, &vec![1; 5_000]);
    let short = v2(0x21, 0x11, &[1; 3]);
    let long = format!("PROXY TCP4 {}\r\n", "1".repeat(500));
    let rubbish = |sent, detail| Rubbish { sent, answered: b"HTTP/1.1 400 ", detail };
    let late = |sent| Rubbish {
        sent,
        answered: b"HTTP/1.1 408 ",
        detail: Some("no complete PROXY header came from 127.0.0.1"),
    };
    let table = [
        rubbish(b"CONNECT bank.example:443 HTTP/1.1\r\n\r\n", missing),
        rubbish(b"\x16\x03\x01\x02\x00\x01", missing),
        rubbish(b"\x05\x01\x00", missing),
        rubbish(b"PROXY TCP4 192.0.2.7\r\nCONNECT bank.example:443 HTTP/1.1\r\n\r\n", Some("is malformed")),
        rubbish(&huge, Some("is longer than 4096 octets")),
        rubbish(&short, Some("is malformed")),
        rubbish(long.as_bytes(), Some("is malformed")),
        late(b"PROXY"),
        late(b"PROXY TCP4 192.0.2.7 198.51.100.1 1 443"),
        late(V2),
    ];
    sees_through(&mut bench, &table).await;
}

/// The program that invented it, in front of the proxy: both versions, and its health checks.
#[tokio::test]
async fn haproxy_in_front() {
    let (Some(haproxy), Some(program)) = (process::find("haproxy"), process::find("curl")) else { return };
    let world = World::new();
    for version in ["send-proxy", "send-proxy-v2"] {
        let mut bench = world.start(&(listener(FROM_HERE) + &world.right())).await;
        let folder = bench.proxy.folder.path();
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let configuration = folder.join("haproxy.cfg");
        let text = format!(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
             listen in\n  bind 127.0.0.1:{free}\n  server proxy {} {version} check inter 100ms\n",
            bench.proxy.addr
        );
        std::fs::write(&configuration, text).unwrap();
        let mut running = process::command(&haproxy, folder).args(["-db", "-f"]).arg(&configuration).start();
        assert!(running.listens(free).await);
        let url = format!("https://{BANK}:{}/balance", bench.origin.port());
        let done = curl(&program, &bench).arg("--proxy").arg(format!("http://127.0.0.1:{free}")).arg(url);
        let done = done.run().await.with_code(0);
        let port = done.out.trim_end().rsplit(' ').next().unwrap().parse().unwrap();
        let event = loop {
            let event = bench.proxy.told().await.event;
            // What has looked whether the port is open is no client that asks.
            if event.decision == Decided::Allow {
                break event;
            }
        };
        assert_eq!(event.client.0, SocketAddr::from(([127, 0, 0, 1], port)), "{version}: {done}");
    }
}
