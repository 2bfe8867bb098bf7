//! Who may ask, and for what: refusals by the access rules, and upstreams that cannot be reached.

mod unreachable;

use crate::support::client::{RawClient, Reply};
use crate::support::origin::{Behaviour, Origin, OriginConfig};
use crate::support::pki::{Ca, Leaf};
use crate::support::proxy::{ProxyBuilder, TestProxy};
use crate::support::setting::{HOST, assert_is_refusal, tls};
use pinproxy::policy::decision::FailureClass;
use pinproxy::report::{Decided, Event, Stage};

/// An origin that is reached or not, and the root of its chain.
async fn origin(shape: impl FnOnce(OriginConfig) -> OriginConfig) -> (Ca, Origin) {
    let root = Ca::root("root");
    let chain = Leaf::named(HOST).ip([127, 0, 0, 1].into()).signed_by(&root);
    (root, Origin::start(shape(OriginConfig::new(chain).behaviour(Behaviour::Http1))).await)
}

/// Asks for a target and asserts on the refusal; gives the reply and the event.
async fn refused(proxy: &mut TestProxy, target: &str, status: u16, reason: &str) -> (Reply, Event) {
    let mut client = RawClient::connect(proxy.addr).await.expect("the proxy listens");
    let reply = client.connect_to(target).await.unwrap_or_else(|fault| panic!("{target}: {fault}"));
    assert_is_refusal(&reply, status, reason);
    assert!(client.read_to_end().await.is_ok_and(|rest| rest.is_empty()), "{target}: the connection ends");
    let event = proxy.told().await.event;
    assert_eq!(event.status, Some(status), "{target}");
    let detail = event.detail.as_deref().expect("a detail");
    assert_eq!(detail.to_lowercase(), reason.to_lowercase(), "{target}: the event says what the reply says");
    proxy.no_more_events();
    (reply, event)
}

/// The error type of RFC 9209 in a reply.
fn proxy_error(reply: &Reply) -> &str {
    let status = reply.header("proxy-status").and_then(|value| value.strip_prefix("pinproxy; error="));
    status.and_then(|rest| rest.split(';').next()).expect("a Proxy-Status")
}

#[tokio::test]
async fn clients_from_elsewhere_are_refused_whatever_they_ask_for() {
    let (root, origin) = origin(|config| config).await;
    let toml = "[access]\nclients = [\"10.0.0.0/8\", \"::1\"]\ndestinations_deny = []\n";
    let mut proxy = ProxyBuilder::new(toml).trusting([&root]).start().await;
    let reason = "Clients from 127.0.0.1 may not use this proxy ([access] clients)";
    for target in [&format!("{HOST}:{}", origin.port()), "bank.example", "127.0.0.1:25"] {
        let (reply, event) = refused(&mut proxy, target, 403, reason).await;
        assert_eq!(proxy_error(&reply), "http_request_denied");
        assert_eq!((event.stage, event.decision), (Stage::Request, Decided::Refuse));
        assert_eq!(event.failure_class, Some(FailureClass::Access));
        assert_eq!((event.pinset, event.hostname), (None, None), "what a stranger asks for is not looked at");
    }
    assert_eq!(origin.tally().tcp_connections(), 0);
}

#[tokio::test]
async fn ports_and_hosts_that_may_not_be_asked_for() {
    let port = |port: &str| format!("Port {port} may not be reached through this proxy ([access] ports_allow)");
    let host = |host: &str, pattern: &str| {
        format!("Destination {host} may not be reached through this proxy ([access] destinations_deny lists {pattern})")
    };
    let listed = "[access]\ndestinations_deny = [\"**.evil.example\", \"*.one.example\", \"good.example:8443\"]\n";
    let table = [
        ("", "mx.example:25", port("25")),
        ("", "127.0.0.1:25", port("25")),
        ("[access]\n", "bank.example:22", port("22")),
        ("[access]\n", "[::1]:444", port("444")),
        ("[access]\nports_allow = [8443]\n", "bank.example:443", port("443")),
        (listed, "evil.example:443", host("evil.example:443", "**.evil.example")),
        (listed, "a.b.EVIL.example.:443", host("a.b.evil.example:443", "**.evil.example")),
        (listed, "a.one.example:443", host("a.one.example:443", "*.one.example")),
        (listed, "good.example:8443", host("good.example:8443", "good.example:8443")),
    ];
    for (toml, target, reason) in table {
        // Would anybody resolve it, the address were denied too, and the reason another one.
        let mut proxy = ProxyBuilder::new(toml).start().await;
        let (reply, event) = refused(&mut proxy, target, 403, &reason).await;
        assert_eq!(proxy_error(&reply), "http_request_denied", "{target}");
        assert_eq!((event.stage, event.decision), (Stage::Request, Decided::Refuse), "{target}");
        assert_eq!(event.failure_class, Some(FailureClass::Access), "{target}");
        assert_eq!((event.pinset, event.upstream_address), (None, None), "{target}");
    }
}

/// `[access]` with these denies and allows, for the port of an origin.
fn access(port: u16, deny: &str, allow: &str) -> String {
    format!("[access]\ndestinations_deny = [{deny}]\ndestinations_allow = [{allow}]\nports_allow = [{port}]\n")
}

#[tokio::test]
async fn addresses_are_denied_behind_names_and_as_literals() {
    let (root, origin) = origin(|config| config).await;
    let table: &[(&str, &str, &[&str], &str, &str)] = &[
        // deny, allow, addresses of the host (none: it is an address itself), address told, entry told (none: always)
        ("\"private\"", "", &["127.0.0.1"], "127.0.0.1", "private"),
        ("\"private\"", "", &["::1"], "::1", "private"),
        ("\"private\"", "", &["::ffff:127.0.0.1"], "127.0.0.1", "private"),
        ("\"private\"", "", &["64:ff9b::7f00:1"], "64:ff9b::7f00:1", "private"),
        ("\"private\"", "", &["64:ff9b::10.0.0.1"], "64:ff9b::a00:1", "private"),
        ("\"private\"", "", &["169.254.169.254"], "169.254.169.254", "private"),
        ("\"private\"", "", &["0.0.0.0"], "0.0.0.0", ""),
        ("\"private\"", "", &["::"], "::", ""),
        ("", "", &["0.0.0.0"], "0.0.0.0", ""),
        ("", "", &["::"], "::", ""),
        ("", "\"0.0.0.0/0\"", &["::ffff:0.0.0.0"], "0.0.0.0", ""),
        ("\"private\"", "\"::/0\"", &["::"], "::", ""),
        ("\"private\"", "", &["2002:7f00:1::"], "2002:7f00:1::", "private"),
        ("\"metadata\"", "", &["169.254.169.254"], "169.254.169.254", "metadata"),
        ("\"metadata\"", "", &["fd00:ec2::254"], "fd00:ec2::254", "metadata"),
        ("\"loopback\"", "", &["127.0.0.1"], "127.0.0.1", "loopback"),
        ("\"loopback\"", "", &["0.0.0.0"], "0.0.0.0", ""),
        ("\"link-local\"", "", &["169.254.1.1"], "169.254.1.1", "link-local"),
        ("\"127.0.0.0/8\"", "", &["127.0.0.1"], "127.0.0.1", "127.0.0.0/8"),
        ("\"127.0.0.1\"", "", &["::ffff:127.0.0.1"], "127.0.0.1", "127.0.0.1/32"),
        ("\"127.0.0.1\"", "\"127.0.0.0/8\"", &["127.0.0.1"], "127.0.0.1", "127.0.0.1/32"),
        ("\"private\", \"127.0.0.0/8\"", "\"127.0.0.1\"", &["127.0.0.1"], "127.0.0.1", "127.0.0.0/8"),
        ("\"private\"", "\"10.0.0.0/8\"", &["127.0.0.1"], "127.0.0.1", "private"),
        ("\"private\"", "\"127.0.0.0/8\"", &["64:ff9b::7f00:1"], "64:ff9b::7f00:1", "private"),
        ("\"private\"", "", &["169.254.169.254", "127.0.0.1", "::1"], "169.254.169.254", "private"),
        ("\"private\"", "", &[], "127.0.0.1", "private"),
        ("\"loopback\"", "", &[], "127.0.0.1", "loopback"),
        ("\"127.0.0.0/8\"", "", &[], "127.0.0.1", "127.0.0.0/8"),
    ];
    for (deny, allow, addresses, told, entry) in table {
        let toml = access(origin.port(), deny, allow);
        let mut proxy = ProxyBuilder::new(toml).trusting([&root]).name(HOST, addresses).start().await;
        let host = if addresses.is_empty() { "127.0.0.1" } else { HOST };
        let reason = match *entry {
            "" => format!("Address {told} stands for this machine, not for a destination"),
            _ => format!(
                "Address {told} may not be reached through this proxy ([access] destinations_deny lists {entry})"
            ),
        };
        let (reply, event) = refused(&mut proxy, &format!("{host}:{}", origin.port()), 403, &reason).await;
        assert_eq!(proxy_error(&reply), "destination_ip_prohibited", "{addresses:?}");
        assert_eq!((event.stage, event.decision), (Stage::Dial, Decided::Refuse), "{addresses:?}");
        assert_eq!(event.failure_class, Some(FailureClass::Access), "{addresses:?}");
        assert_eq!(event.upstream_address, None, "{addresses:?}");
    }
    assert_eq!(origin.tally().tcp_connections(), 0, "none of them is dialled");
}

/// An address of this machine that is not loopback, if it has one. Nothing is sent.
fn address_of_this_machine() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|address| !address.is_loopback())
}

/// The rules of these proxies allow everything: it is the address that is dialled that counts.
#[tokio::test]
async fn the_admin_address_is_never_dialled_for_a_client() {
    let (root, origin) = origin(|config| config).await;
    let port = origin.port();
    let other = address_of_this_machine().map(|address| address.to_string());
    let everywhere = ["127.0.0.1", "127.0.0.2", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "::127.0.0.1"];
    let table: [(String, Vec<&str>); 5] = [
        (
            format!("127.0.0.1:{port}"),
            vec!["127.0.0.1", "::ffff:127.0.0.1", "::ffff:7f00:1", "64:ff9b::7f00:1", "0.0.0.0", "::"],
        ),
        (format!("[::ffff:127.0.0.1]:{port}"), vec!["127.0.0.1"]),
        (format!("[::1]:{port}"), vec!["::1", "::"]),
        (format!("0.0.0.0:{port}"), everywhere.into_iter().chain(other.as_deref()).collect()),
        (format!("[::]:{port}"), everywhere.into_iter().chain(other.as_deref()).collect()),
    ];
    for (door, dialled) in &table {
        for address in dialled {
            let tunnel = format!("[[tunnel]]\nhosts = [\"{HOST}:{port}\"]\nreason = \"x\"\n");
            let opened = access(port, "", "\"0.0.0.0/0\", \"::/0\"");
            let rules = ["[defaults]\nunpinned = \"tunnel\"\n", &tunnel, &opened, &format!("{opened}{tunnel}"), ""];
            for toml in rules {
                let literal = if address.contains(':') { format!("[{address}]") } else { (*address).to_owned() };
                for host in [HOST.to_owned(), literal] {
                    let builder = ProxyBuilder::new(toml).trusting([&root]).name(HOST, &[address]);
                    let mut proxy = builder.door(door.parse().unwrap()).start().await;
                    let mut client = RawClient::connect(proxy.addr).await.unwrap();
                    let reply = client.connect_to(&format!("{host}:{port}")).await.unwrap();
                    let event = proxy.told().await.event;
                    let seen = (reply.status, event.stage, event.decision, event.failure_class, event.upstream_address);
                    let expected = (403, Stage::Dial, Decided::Refuse, Some(FailureClass::Access), None);
                    assert_eq!(seen, expected, "{door} {host} at {address} {toml}: {}", reply.reason);
                    assert!(
                        reply.reason.contains("is the admin address of this proxy, which no client reaches"),
                        "{reply:?}"
                    );
                    assert!(host != HOST || reply.reason.contains(&format!("{HOST}:{port} is")), "{reply:?}");
                }
            }
        }
    }
    assert_eq!(origin.tally().tcp_connections(), 0, "none of them is dialled");
    // Another port, and another address of the same name, are as they were.
    for (door, addresses) in
        [(format!("127.0.0.1:{}", port ^ 1), vec!["127.0.0.1"]), (format!("[::1]:{port}"), vec!["::1", "127.0.0.1"])]
    {
        let builder = ProxyBuilder::new("").trusting([&root]).name(HOST, &addresses).door(door.parse().unwrap());
        let mut proxy = builder.start().await;
        let mut client = RawClient::connect(proxy.addr).await.unwrap();
        assert_eq!(client.connect_to(&format!("{HOST}:{port}")).await.unwrap().status, 200, "{door}");
        drop(client);
        assert_eq!(proxy.told().await.event.upstream_address, Some(origin.addr()), "{door}");
    }
}

#[tokio::test]
async fn other_forms_of_loopback_literals_are_denied_too() {
    let (root, origin) = origin(|config| config).await;
    let mut proxy = ProxyBuilder::new(access(origin.port(), "\"private\"", "")).trusting([&root]).start().await;
    for literal in ["[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "0.0.0.0", "[::]"] {
        let mut client = RawClient::connect(proxy.addr).await.unwrap();
        let reply = client.connect_to(&format!("{literal}:{}", origin.port())).await.unwrap();
        assert_eq!((reply.status, proxy_error(&reply)), (403, "destination_ip_prohibited"), "{literal}");
        assert_eq!(proxy.told().await.event.failure_class, Some(FailureClass::Access), "{literal}");
    }
    assert_eq!(origin.tally().tcp_connections(), 0);
}

#[tokio::test]
async fn of_mixed_answers_only_the_allowed_are_dialled() {
    let (root, origin) = origin(|config| config).await;
    let table: &[(&str, &str, &[&str])] = &[
        ("\"link-local\", \"metadata\"", "", &["169.254.169.254", "127.0.0.1"]),
        ("\"::1\"", "", &["::1", "127.0.0.1"]),
        ("\"private\"", "\"127.0.0.1\"", &["10.0.0.1", "192.168.0.1", "127.0.0.1"]),
        ("\"private\"", "\"127.0.0.0/8\"", &["::ffff:127.0.0.1"]),
    ];
    for (count, (deny, allow, addresses)) in table.iter().enumerate() {
        let toml = access(origin.port(), deny, allow);
        let mut proxy = ProxyBuilder::new(toml).trusting([&root]).name(HOST, addresses).start().await;
        let mut client = RawClient::connect(proxy.addr).await.unwrap();
        let reply = client.connect_to(&format!("{HOST}:{}", origin.port())).await.unwrap();
        assert_eq!(reply.status, 200, "{addresses:?}: {}", reply.reason);
        let mut tls = client.tls(&tls(&proxy, HOST).build()).await.unwrap();
        assert_eq!(tls.get("h", "/").await.unwrap().status, 200);
        tls.shutdown().await.unwrap();
        let event = proxy.told().await.event;
        assert_eq!(event.upstream_address, Some(origin.addr()), "{addresses:?}");
        assert_eq!(origin.tally().tcp_connections(), count + 1);
    }
}
