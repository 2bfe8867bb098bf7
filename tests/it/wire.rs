//! What went wrong once on the wire: replies without a header too many, alerts that say why, ends that wait for nobody.

use crate::support::client::{RawClient, client_hello_bytes};
use crate::support::origin::Behaviour;
use crate::support::proxy::ProxyBuilder;
use crate::support::setting::{Setting, assert_is_refusal};
use pinproxy::report::Stage;
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_session_before_its_200_does_not_outlast_the_drain() {
    let toml = "[upstream]\nconnect_timeout = \"60s\"\n[limits]\nheader_timeout = \"60s\"\ndrain_timeout = \"200ms\"\n";
    for request in ["CONNECT bank.exam", "CONNECT silent.example:443 HTTP/1.1\r\n\r\n"] {
        let mut proxy = ProxyBuilder::new(toml).silent_name("silent.example").start().await;
        let mut client = RawClient::connect(proxy.addr).await.unwrap();
        client.send(request.as_bytes()).await.unwrap();
        proxy.until_open(1).await;
        // The bytes have been read once a later connection was served.
        let mut later = RawClient::connect(proxy.addr).await.unwrap();
        assert_eq!(later.connect_to("bank.example").await.unwrap().status, 400);
        proxy.told().await;
        let started = Instant::now();
        proxy.begin_stop();
        let event = proxy.told().await.event;
        assert!(started.elapsed() < Duration::from_secs(3), "{request:?} holds the end up for {:?}", started.elapsed());
        assert_eq!(event.detail.as_deref(), Some("the proxy is shutting down"), "{event}");
        proxy.stopped().await;
        proxy.no_more_events();
    }
}

#[tokio::test]
async fn the_200_carries_no_header() {
    let setting = Setting::start(Behaviour::Drain).await;
    let mut client = RawClient::connect(setting.proxy.addr).await.unwrap();
    let reply = client.connect_to(&setting.target()).await.unwrap();
    assert_eq!(reply.headers, []);
}

#[tokio::test]
async fn an_http2_preface_is_answered() {
    let mut proxy = ProxyBuilder::new("").start().await;
    let mut client = RawClient::connect(proxy.addr).await.unwrap();
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let reply = client.read_reply().await.unwrap();
    assert_is_refusal(&reply, 400, &reply.reason);
    assert_eq!(proxy.told().await.event.status, Some(400));
}

#[tokio::test]
async fn a_connect_with_content_or_two_hosts_is_refused() {
    let mut setting = Setting::start(Behaviour::Drain).await;
    let target = setting.target();
    for headers in [
        "Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        "Host: a.example\r\nHost: b.example\r\n\r\n",
    ] {
        let mut client = RawClient::connect(setting.proxy.addr).await.unwrap();
        client.send(format!("CONNECT {target} HTTP/1.1\r\n{headers}").as_bytes()).await.unwrap();
        let reply = client.read_reply().await.unwrap();
        assert_eq!(reply.status, 400, "{headers:?}");
        assert_eq!(setting.proxy.told().await.event.stage, Stage::Request, "{headers:?}");
    }
    assert_eq!(setting.origin.tally().tcp_connections(), 0);
}

#[tokio::test]
async fn the_event_holds_no_control_characters() {
    let mut proxy = ProxyBuilder::new("").start().await;
    for target in ["bank\u{1b}[2J.example:443", "bank.example:443\tx", "bank\r.example:443", "b\u{7f}\0.example:443"] {
        let mut client = RawClient::connect(proxy.addr).await.unwrap();
        client.send(format!("CONNECT {target} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
        assert_eq!(client.read_reply().await.unwrap().status, 400, "{target:?}");
        let event = proxy.told().await.event;
        assert!(!event.connect_authority.chars().any(char::is_control), "{:?}", event.connect_authority);
        assert!(!event.to_string().chars().any(char::is_control), "{:?}", event.to_string());
    }
}

#[tokio::test]
async fn an_upstream_that_refused_the_guess_is_asked_without_one_next_time() {
    let mut setting = Setting::with("", |origin| origin.behaviour(Behaviour::Echo).alpn(&["mqtt"])).await;
    for connections in [2, 1] {
        let before = setting.origin.tally().tcp_connections();
        let mut client = setting.connected().await;
        client.shutdown().await.unwrap();
        setting.proxy.told().await;
        let seen = setting.origin.until_ended(before + connections).await.unwrap();
        assert_eq!(seen.tcp_connections() - before, connections, "{seen:?}");
    }
}

#[tokio::test]
async fn a_hello_over_the_limit_is_answered_with_an_alert() {
    let toml = "[limits]\nclient_hello_bytes = 1_024\n";
    let mut setting = Setting::with(toml, |origin| origin.behaviour(Behaviour::Drain)).await;
    let mut client = setting.tunnel().await;
    let hello = client_hello_bytes(Some("api.bank.example"), &[]);
    let record = [&[22, 3, 1, 3, 0xfb], &hello[5..1_024]].concat();
    client.send(&record).await.unwrap();
    assert_eq!(client.read_to_end().await.unwrap(), [21, 3, 3, 0, 2, 2, 50]);
    setting.proxy.told().await;
}

#[tokio::test]
async fn a_client_whose_protocols_the_upstream_does_not_speak_hears_that() {
    let setting = Setting::with("", |origin| origin.behaviour(Behaviour::Drain).alpn(&["h2"])).await;
    let failure = setting.tunnel().await.tls(&setting.tls().alpn(&["http/1.1"]).build()).await.unwrap_err();
    assert_eq!(failure.alert(), Some(rustls::AlertDescription::NoApplicationProtocol), "{failure}");
}
