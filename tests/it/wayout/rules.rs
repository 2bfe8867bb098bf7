//! Access rules and exceptions where there is a parent.

use super::*;

fn access(port: u16, deny: &str) -> String {
    format!("[access]\ndestinations_deny = [{deny}]\nports_allow = [{port}]")
}

/// Where addresses are judged, the name is looked up here, and it is the address that passed that the parent is asked for.
#[tokio::test]
async fn what_is_judged_is_what_the_parent_is_asked_for() {
    let bank = Bank::new();
    let origin = bank.origin().await;
    let (port, target) = (origin.port(), format!("{HOST}:{}", origin.port()));
    for scheme in ["http", "socks5"] {
        let steps = if scheme == "http" { connects(port) } else { socks(port) };
        let parent = ParentServer::start(steps).await;
        let upstream = format!("parent = \"{}\"", parent.url(scheme));
        let builder = bank.builder(&upstream, &access(port, "\"private\""));
        let mut proxy = builder.name(HOST, &["10.0.0.1", "127.0.0.1", "8.8.8.8", "9.9.9.9"]).start().await;
        let event = conversed(&mut proxy, &target).await;
        let address = format!("8.8.8.8:{port}").parse().unwrap();
        assert_eq!((event.decision, event.upstream_address), (Decided::Allow, Some(address)), "{event}");
        let [asked] = parent.asked().try_into().unwrap();
        if scheme == "http" {
            assert_eq!(asked.line(), format!("CONNECT 8.8.8.8:{port} HTTP/1.1"));
            assert_eq!(asked.field("host"), Some(format!("8.8.8.8:{port}")));
        } else {
            let expected = [&[5, 1, 0, 5, 1, 0, 1, 8, 8, 8, 8][..], &port.to_be_bytes()].concat();
            assert_eq!(asked.read, expected);
        }
    }
}

/// The parent is not asked for what the rules deny, nor for what cannot be judged.
#[tokio::test]
async fn what_the_rules_deny_the_parent_is_not_asked_for() {
    let bank = Bank::new();
    let parent = ParentServer::start(connects(1)).await;
    let upstream = format!("parent = \"{}\"", parent.url("http"));
    let denied: &[(&str, &str, &[&str], &str)] = &[
        (&access(443, "\"private\""), "api.bank.example:443", &["10.0.0.1"], "address 10.0.0.1 may not be reached"),
        (
            &access(443, "\"10.0.0.0/8\""),
            "api.bank.example:443",
            &["::ffff:10.0.0.1"],
            "address 10.0.0.1 may not be reached",
        ),
        (&access(443, "\"metadata\""), "169.254.169.254:443", &[], "address 169.254.169.254 may not be reached"),
        (&access(443, "\"**.bank.example\""), "api.bank.example:443", &[], "destination api.bank.example:443 may not"),
        (&access(8443, ""), "api.bank.example:443", &[], "port 443 may not be reached"),
        ("", "0.0.0.0:443", &[], "address 0.0.0.0 stands for this machine"),
    ];
    for (rules, target, addresses, words) in denied {
        let mut builder = bank.builder(&upstream, rules);
        if !addresses.is_empty() {
            builder = builder.name(HOST, addresses);
        }
        let (reply, event) = asked(&mut builder.start().await, target).await;
        let seen = (reply.status, event.decision, event.failure_class);
        assert_eq!(seen, (403, Decided::Refuse, Some(FailureClass::Access)), "{event}");
        assert!(event.detail.as_deref().unwrap().starts_with(words), "{event}");
    }
    let builder = bank.builder(&upstream, &access(443, "\"private\""));
    let (reply, event) = asked(&mut builder.start().await, &format!("{HOST}:443")).await;
    assert_eq!(
        (reply.status, proxy_error(&reply), event.failure_class),
        (502, "dns_error", Some(FailureClass::Unreachable))
    );
    let detail = event.detail.as_deref().unwrap();
    assert!(detail.contains("because [access] destinations_deny has rules about addresses"), "{detail}");
    assert!(flat(&reply).contains("destinations_deny = []"), "{}", reply.text());
    assert_eq!(parent.asked().len(), 0);
}

/// Of names with the port of a door the addresses are looked at, whatever the rules.
#[tokio::test]
async fn no_client_gets_to_a_door_through_a_parent() {
    let bank = Bank::new();
    let parent = ParentServer::start(connects(1)).await;
    let upstream = format!("parent = \"{}\"", parent.url("http"));
    let tunnel = "[[tunnel]]\nhosts = [\"rebound.example\", \"127.0.0.1\"]\nreason = \"x\"";
    for target in ["rebound.example:9090", "127.0.0.1:9090"] {
        let builder = bank.builder(&upstream, tunnel).door("127.0.0.1:9090".parse().unwrap());
        let (reply, event) = asked(&mut builder.start().await, target).await;
        assert_eq!((reply.status, event.failure_class), (403, Some(FailureClass::Access)), "{event}");
        assert!(event.detail.as_deref().unwrap().contains("is the admin address of this proxy"), "{event}");
    }
    assert_eq!(parent.asked().len(), 0);
}

#[tokio::test]
async fn the_next_address_is_asked_for_where_the_first_cannot_be_reached() {
    let bank = Bank::new();
    let cases = [
        ("502 Bad Gateway", vec!["8.8.8.8", "9.9.9.9", "8.8.4.4", "1.1.1.1", "1.0.0.1"], 4),
        ("504 Gateway Timeout", vec!["8.8.8.8", "9.9.9.9"], 2),
        ("403 Forbidden", vec!["8.8.8.8", "9.9.9.9"], 1),
    ];
    for (answer, addresses, times) in cases {
        let parent = ParentServer::start(crate::support::parent::answers(format!("HTTP/1.1 {answer}\r\n\r\n"))).await;
        let builder = bank.builder(&format!("parent = \"{}\"", parent.url("http")), &access(443, "\"private\""));
        let (reply, _) = asked(&mut builder.name(HOST, &addresses).start().await, &format!("{HOST}:443")).await;
        assert!(reply.status == 502 || reply.status == 504);
        let lines: Vec<_> = parent.asked().iter().map(crate::support::parent::Asked::line).collect();
        let expected: Vec<_> =
            addresses.iter().take(times).map(|address| format!("CONNECT {address}:443 HTTP/1.1")).collect();
        assert_eq!(lines, expected);
    }
}

#[tokio::test]
async fn exceptions_are_dialled_with_all_rules() {
    let bank = Bank::new();
    let origin = bank.origin().await;
    let (port, target) = (origin.port(), format!("{HOST}:{}", origin.port()));
    let parent = ParentServer::start(connects(1)).await;
    let with = |exceptions: &str| format!("parent = \"{}\"\nno_parent = [{exceptions}]", parent.url("http"));
    for exception in ["\"**.bank.example\"", "\"api.bank.example\"", &format!("\"*.bank.example:{port}\"")] {
        let builder = bank.builder(&with(exception), "").name(HOST, &["127.0.0.1"]);
        let event = conversed(&mut builder.start().await, &target).await;
        assert_eq!((event.upstream_address, event.parent), (Some(origin.addr()), None), "{exception}");
    }
    let direct = |exceptions: &str, rules: &str| bank.builder(&with(exceptions), rules).name(HOST, &["127.0.0.1"]);
    let mut proxy = direct("\"*.bank.example\"", &access(port, "\"private\"")).start().await;
    assert_eq!(asked(&mut proxy, &target).await.0.status, 403);
    let mut proxy = direct("\"127.0.0.0/8\"", "").start().await;
    let (reply, event) = asked(&mut proxy, &format!("127.0.0.1:{port}")).await;
    assert_eq!((reply.status, event.upstream_address), (200, Some(origin.addr())), "{event}");
    assert_eq!(parent.asked().len(), 0);
    // A network is about addresses that are asked for as such.
    let (reply, _) = asked(&mut proxy, &target).await;
    assert_eq!((reply.status, parent.asked().len()), (502, 1));
}

/// Rules that come later cannot be held against an address that nobody here knows.
#[tokio::test]
async fn a_session_of_unknown_address_ends_when_addresses_come_to_be_judged() {
    let bank = Bank::new();
    let origin = Origin::start(OriginConfig::new(bank.chain.clone())).await;
    let parent = ParentServer::start(connects(origin.port())).await;
    let mut proxy = bank.builder(&format!("parent = \"{}\"", parent.url("http")), "").start().await;
    let mut client = RawClient::connect(proxy.addr).await.unwrap();
    assert_eq!(client.connect_to(&format!("{HOST}:{}", origin.port())).await.unwrap().status, 200);
    let mut client = client.tls(&tls(&proxy, HOST).build()).await.unwrap();
    assert_eq!(client.exchange(b"ping", 4).await.unwrap(), b"ping");
    let pinset = bank_rules(&bank);
    proxy.replace(&format!("{}\n{pinset}", access(origin.port(), "")), 2);
    assert_eq!(proxy.proxy.judge_open_sessions(), 0);
    proxy.replace(&format!("{}\n{pinset}", access(origin.port(), "\"private\"")), 3);
    assert_eq!(proxy.proxy.judge_open_sessions(), 1);
    let event = proxy.told().await.event;
    assert_eq!((event.decision, event.failure_class), (Decided::Refuse, Some(FailureClass::Access)), "{event}");
    assert!(event.detail.as_deref().unwrap().contains("nobody here knows the address of"), "{event}");
}

fn bank_rules(of: &Bank) -> String {
    bank("leaf_pins", &[&of.chain.pin()])
}
