//! How many sessions there may be: exactly as many as the limits say, and every place comes back.

use crate::support::client::{RawClient, client_hello_bytes};
use crate::support::origin::Behaviour;
use crate::support::proxy::{ProxyBuilder, TestProxy};
use crate::support::setting::{HOST, Setting, assert_is_refusal};
use pinproxy::policy::decision::FailureClass;
use pinproxy::report::{Decided, Event, Stage};

/// A connection over a limit is answered before it asks.
async fn assert_is_full(proxy: &mut TestProxy, reason: &str) {
    let mut client = RawClient::connect(proxy.addr).await.expect("an answer");
    let reply = client.read_reply().await.expect("an answer");
    assert_is_refusal(&reply, 503, reason);
    assert!(reply.header("proxy-status").expect("an answer").starts_with("pinproxy; error=connection_limit_reached; "));
    client.read_to_end().await.expect("an answer");
    let event = proxy.told().await.event;
    assert_eq!((event.stage, event.decision, event.status), (Stage::Request, Decided::Refuse, Some(503)));
    assert_eq!((event.failure_class, event.pinset), (Some(FailureClass::Overload), None));
    assert_eq!(event.detail.map(|detail| detail.to_lowercase()), Some(reason.to_lowercase()));
}

#[tokio::test]
async fn limits_are_exact_and_refused_connections_take_no_place() {
    let table = [
        ("[limits]\nsessions = 3\n", "The proxy has reached its limit of 3 sessions ([limits] sessions)"),
        (
            "[limits]\nsessions_per_client = 3\n",
            "The proxy has reached its limit of 3 sessions for this client ([limits] sessions_per_client)",
        ),
    ];
    for (toml, reason) in table {
        let mut setting = Setting::with(toml, |origin| origin.behaviour(Behaviour::Echo)).await;
        // A tunnel that relays, one without a ClientHello, and a connection that has not asked for anything.
        let mut relaying = setting.connected().await;
        let tunnel = setting.tunnel().await;
        let silent = RawClient::connect(setting.proxy.addr).await.unwrap();
        setting.proxy.until_open(3).await;
        for _ in 0..3 {
            assert_is_full(&mut setting.proxy, reason).await;
        }
        assert_eq!(relaying.exchange(b"ping", 4).await.unwrap(), b"ping", "the others are not disturbed");

        drop(silent);
        setting.proxy.until_open(2).await;
        let further = setting.tunnel().await;
        assert_is_full(&mut setting.proxy, reason).await;

        drop((tunnel, further));
        setting.proxy.until_open(1).await;
        relaying.shutdown().await.unwrap();
        setting.proxy.until_open(0).await;
        for _ in 0..3 {
            setting.proxy.told().await;
        }
        setting.proxy.no_more_events();
        assert_eq!(setting.origin.until_ended(3).await.unwrap().tcp_connections(), 3);
    }
}

#[tokio::test]
async fn refused_requests_leave_no_place_behind() {
    let toml = "[limits]\nsessions = 1\n[upstream]\nconnect_timeout = \"1s\"\n";
    let mut proxy = ProxyBuilder::new(toml).no_such_name("gone.example").start().await;
    let requests = [
        "CONNECT bank.example HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "CONNECT mx.example:25 HTTP/1.1\r\n\r\n",
        "CONNECT gone.example:443 HTTP/1.1\r\n\r\n",
        "\0\r\n\r\n",
    ];
    for round in 0..10 {
        for request in requests {
            let mut client = RawClient::connect(proxy.addr).await.unwrap();
            client.send(request.as_bytes()).await.unwrap();
            let reply = client.read_reply().await.unwrap();
            assert!(matches!(reply.status, 400 | 403 | 405 | 502), "round {round}, {request:?}: {}", reply.reason);
            proxy.told().await;
            drop(client);
            proxy.until_open(0).await;
        }
    }
    proxy.no_more_events();
}

/// Sends a request and waits until its session is open.
async fn asked(proxy: &TestProxy, bytes: &[u8]) -> RawClient {
    let mut client = RawClient::connect(proxy.addr).await.expect("the proxy listens");
    client.send(bytes).await.expect("the proxy listens");
    proxy.until_open(1).await;
    client
}

/// The one event of a client that went away, which leaves no place taken.
async fn gone(proxy: &mut TestProxy, stage: Stage) -> Event {
    let event = proxy.told().await.event;
    assert_eq!(event.stage, stage, "{event}");
    assert_ne!(event.ended.as_deref(), Some("closed"), "{event}");
    proxy.until_open(0).await;
    proxy.no_more_events();
    event
}

#[tokio::test]
async fn a_client_that_leaves_before_its_200_is_one_event() {
    let toml =
        "[upstream]\nconnect_timeout = \"60s\"\nhandshake_timeout = \"60s\"\n[limits]\nheader_timeout = \"60s\"\n";
    let mut setting = Setting::with(toml, |origin| origin.behaviour(Behaviour::NeverHandshake)).await;
    let client = asked(&setting.proxy, b"CONNECT bank.example:443 HT").await;
    drop(client);
    gone(&mut setting.proxy, Stage::Request).await;

    let target = setting.target();
    let client = asked(&setting.proxy, format!("CONNECT {target} HTTP/1.1\r\n\r\n").as_bytes()).await;
    setting.origin.until("it is dialled", |tally| tally.tcp_connections() == 1).await.unwrap();
    drop(client);
    let event = gone(&mut setting.proxy, Stage::UpstreamTls).await;
    assert_eq!((event.failure_class, event.status), (Some(FailureClass::Client), None));
    assert_eq!(setting.origin.until_ended(1).await.unwrap().received(), 0);

    let mut proxy = ProxyBuilder::new(toml).silent_name("silent.example").start().await;
    let client = asked(&proxy, b"CONNECT silent.example:443 HTTP/1.1\r\n\r\n").await;
    client.reset().unwrap();
    let event = gone(&mut proxy, Stage::Dial).await;
    assert_eq!((event.failure_class, event.status), (Some(FailureClass::Client), None));
}

#[tokio::test]
async fn a_client_that_leaves_after_its_200_is_one_event() {
    let toml = "[limits]\nclient_hello_timeout = \"60s\"\n[upstream]\nhandshake_timeout = \"60s\"\n";
    let hello = client_hello_bytes(Some(HOST), &[]);
    for reset in [false, true] {
        let mut setting = Setting::with(toml, |origin| origin.behaviour(Behaviour::Drain)).await;
        for sent in [&hello[..0], &hello[..50], &hello[..]] {
            let mut client = setting.tunnel().await;
            client.send(sent).await.unwrap();
            if reset {
                client.reset().unwrap();
            } else {
                drop(client);
            }
            let event = gone(&mut setting.proxy, Stage::ClientTls).await;
            assert_eq!(event.failure_class, Some(FailureClass::Client), "{event}");
            assert_eq!(event.status, Some(200), "{event}");
        }
        let mut client = setting.connected().await;
        client.send(b"question").await.unwrap();
        setting.origin.until("the question is there", |tally| tally.received() == 8).await.unwrap();
        if reset {
            client.reset().unwrap();
        } else {
            drop(client);
        }
        let event = gone(&mut setting.proxy, Stage::Relay).await;
        assert_eq!((event.decision, event.bytes.upstream), (Decided::Allow, 8), "{event}");
        assert_eq!(setting.origin.until_ended(4).await.unwrap().clean_closes(), 0);
    }
}
