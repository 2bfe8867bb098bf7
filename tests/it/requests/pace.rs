//! How heads arrive: late, never, in pieces; and the forms of a head that old clients send and that work.

use super::Unreached;
use crate::support::client::{Fault, RawClient};
use crate::support::origin::Behaviour;
use crate::support::setting::Setting;
use pinproxy::policy::decision::FailureClass;
use pinproxy::report::Decided;
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off_in_time() {
    let mut unreached = Unreached::start("[limits]\nheader_timeout = \"200ms\"").await;
    for begun in ["C", "CONNECT bank.exam", "CONNECT bank.example:443 HTTP/1.1\r\nHost: bank", "\r\n\r\n\r\n"] {
        let started = Instant::now();
        let mut client = RawClient::connect(unreached.proxy.addr).await.unwrap();
        client.send(begun.as_bytes()).await.unwrap();
        client.read_to_end().await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(5), "{begun:?}");
        let event = unreached.told(begun).await;
        assert_eq!((event.status, event.failure_class), (Some(408), Some(FailureClass::Timeout)), "{begun:?}");
        assert!(event.duration >= Duration::from_millis(200), "since it was accepted: {event}");
    }
    unreached.ends();
}

#[tokio::test]
async fn a_drip_of_bytes_does_not_stretch_the_time_for_a_head() {
    let mut unreached = Unreached::start("[limits]\nheader_timeout = \"200ms\"").await;
    let mut client = RawClient::connect(unreached.proxy.addr).await.unwrap();
    client.send(b"CONNECT bank.example:443 HTTP/1.1\r\nX: ").await.unwrap();
    let started = Instant::now();
    // Each byte comes well within the limit; their sum does not. The pause is the pace of the attack, and the loop ends
    // by what the proxy does.
    let mut drip = tokio::time::interval(Duration::from_millis(20));
    loop {
        drip.tick().await;
        if client.send(b"a").await.is_err() {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(5), "the proxy waits for ever");
    }
    let event = unreached.told("a drip").await;
    assert_eq!((event.status, event.failure_class), (Some(408), Some(FailureClass::Timeout)));
    unreached.ends();
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_head_is_one_event() {
    let mut unreached = Unreached::start("").await;
    let mut client = RawClient::connect(unreached.proxy.addr).await.unwrap();
    client.send(b"CONNECT bank.example:443 HTTP/1.1\r\nHost:").await.unwrap();
    client.shutdown().await.unwrap();
    client.read_to_end().await.unwrap();
    let event = unreached.told("half a head").await;
    assert_eq!(event.decision, Decided::Failed);
    unreached.ends();
}

/// Nobody is there to be answered, so no event says that somebody was.
#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_head_has_had_no_reply() {
    let mut unreached = Unreached::start("").await;
    for resets in [false, true] {
        for begun in ["C", "CONNECT bank..exam", "CONNECT bank.example:443 HTTP/1.1\r\nHost:"] {
            let mut client = RawClient::connect(unreached.proxy.addr).await.unwrap();
            client.send(begun.as_bytes()).await.unwrap();
            unreached.proxy.until_open(1).await;
            if resets {
                client.reset().unwrap();
            } else {
                drop(client);
            }
            let event = unreached.told(begun).await;
            assert_eq!(
                (event.status, event.failure_class, event.decision, event.detail.as_deref()),
                (
                    None,
                    Some(FailureClass::Client),
                    Decided::Failed,
                    Some("the client went away before the session was set up")
                ),
                "{begun:?}, reset: {resets}"
            );
            unreached.proxy.until_open(0).await;
        }
    }
    unreached.ends();
}

#[tokio::test]
async fn a_head_byte_by_byte_works() {
    let mut setting = Setting::start(Behaviour::Http1).await;
    let mut client = RawClient::connect(setting.proxy.addr).await.unwrap();
    let target = setting.target();
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: slow/1\r\n\r\n");
    client.send_in_pieces(request.as_bytes(), 1).await.unwrap();
    assert_eq!(client.read_reply().await.unwrap().status, 200);
    let mut tls = client.tls(&setting.tls().build()).await.unwrap();
    assert_eq!(tls.get("h", "/").await.unwrap().status, 200);
    tls.shutdown().await.unwrap();
    assert_eq!(setting.proxy.told().await.event.decision, Decided::Allow);
    setting.proxy.no_more_events();
}

#[tokio::test]
async fn heads_of_old_and_lenient_clients_work() {
    let setting = Setting::start(Behaviour::Http1).await;
    let target = setting.target();
    let table = [
        format!("CONNECT {target} HTTP/1.1\r\n\r\n"),
        format!("CONNECT {target} HTTP/1.0\r\n\r\n"),
        format!("CONNECT {target} HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n"),
        format!("\r\nCONNECT {target} HTTP/1.1\r\n\r\n"),
        // RFC 9112 section 2.2: a lone LF may be taken for a line's end.
        format!("CONNECT {target} HTTP/1.1\nHost: {target}\n\n"),
        format!("CONNECT {target} HTTP/1.1\r\nConnection: close\r\n\r\n"),
        format!("CONNECT {target} HTTP/1.1\r\nExpect: 100-continue\r\n\r\n"),
        format!("CONNECT {} HTTP/1.1\r\n\r\n", target.to_uppercase()),
        format!("CONNECT {} HTTP/1.1\r\n\r\n", target.replace(':', ".:")),
        format!("CONNECT {target} HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(100)),
    ];
    for request in table {
        let mut client = RawClient::connect(setting.proxy.addr).await.unwrap();
        client.send(request.as_bytes()).await.unwrap();
        let reply = client.read_reply().await.unwrap();
        assert_eq!((reply.status, reply.reason.as_str()), (200, "Connection established"), "{request:?}");
        let mut tls = client.tls(&setting.tls().build()).await.unwrap();
        assert_eq!(tls.get("h", "/").await.unwrap().text(), "GET / h\n", "{request:?}");
    }
}

#[tokio::test]
async fn bytes_behind_the_head_belong_to_the_tunnel() {
    let mut setting = Setting::start(Behaviour::Drain).await;
    let mut client = RawClient::connect(setting.proxy.addr).await.unwrap();
    let request = format!("CONNECT {} HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: bank.example\r\n\r\n", setting.target());
    client.send(request.as_bytes()).await.unwrap();
    assert_eq!(client.read_reply().await.unwrap().status, 200);
    let rest = client.read_to_end().await;
    assert!(matches!(&rest, Ok(bytes) if bytes.is_empty()) || matches!(rest, Err(Fault::Io { .. })), "{rest:?}");
    let event = setting.proxy.told().await.event;
    assert_eq!(event.failure_class, Some(FailureClass::Client), "{event}");
    assert_eq!(event.detail.as_deref(), Some("the client sent something that is not TLS through the tunnel"));
    assert_eq!(setting.origin.until_ended(1).await.unwrap().received(), 0);
    setting.proxy.no_more_events();
}
