//! Upstreams that are not there, do not answer, or answer with something else than TLS.

use super::{origin, proxy_error, refused};
use crate::support::origin::Behaviour;
use crate::support::proxy::ProxyBuilder;
use crate::support::setting::HOST;
use pinproxy::policy::decision::FailureClass;
use pinproxy::report::{Decided, Stage};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

#[tokio::test]
async fn names_that_do_not_resolve() {
    let toml = "[upstream]\nconnect_timeout = \"200ms\"\n";
    let builder = ProxyBuilder::new(toml).no_such_name("gone.example").name("empty.example", &[]);
    let mut proxy = builder.silent_name("silent.example").start().await;
    let table = [
        ("gone", 502, "dns_error", FailureClass::Unreachable, "No address for gone.example: no such host"),
        ("empty", 502, "dns_error", FailureClass::Unreachable, "No address for empty.example: entity not found"),
        ("silent", 504, "dns_timeout", FailureClass::Timeout, "Resolving silent.example took longer than 200ms"),
    ];
    for (label, status, error, class, reason) in table {
        let (reply, event) = refused(&mut proxy, &format!("{label}.example:443"), status, reason).await;
        assert_eq!(proxy_error(&reply), error, "{label}");
        assert_eq!((event.stage, event.failure_class), (Stage::Dial, Some(class)), "{label}");
        assert_eq!(event.decision, Decided::Failed, "{label}");
    }
}

#[tokio::test]
async fn a_port_that_nobody_listens_on() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut proxy = ProxyBuilder::new("").start().await;
    for host in [HOST, "127.0.0.1"] {
        let target = format!("{host}:{}", free.port());
        let mut client = crate::support::client::RawClient::connect(proxy.addr).await.unwrap();
        let reply = client.connect_to(&target).await.unwrap();
        assert_eq!((reply.status, proxy_error(&reply)), (502, "connection_refused"), "{host}");
        assert!(reply.reason.starts_with(&format!("Cannot connect to {target}: ")), "{}", reply.reason);
        let event = proxy.told().await.event;
        assert_eq!((event.stage, event.failure_class), (Stage::Dial, Some(FailureClass::Unreachable)), "{host}");
    }
    proxy.no_more_events();
}

/// A listener whose queue is full: further connections wait for an answer that does not come. The value keeps it so.
async fn black_hole() -> Option<(u16, impl Sized)> {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let listener = socket.listen(1).expect("it listens");
    let address = listener.local_addr().expect("its address");
    let mut queued = Vec::new();
    while queued.len() < 16 {
        let Ok(connected) = tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await else {
            return Some((address.port(), (listener, queued)));
        };
        queued.push(connected.expect("a listener takes connections"));
    }
    None
}

#[tokio::test]
async fn an_address_that_does_not_answer() {
    // Systems differ in what a full queue means; where it takes everybody, there is nothing to see.
    let Some((port, _full)) = black_hole().await else {
        return crate::support::process::skipped("a listener with a full queue takes connections all the same");
    };
    let mut proxy = ProxyBuilder::new("[upstream]\nconnect_timeout = \"200ms\"\n").start().await;
    let target = format!("{HOST}:{port}");
    let reason = format!("Connecting to {target} took longer than 200ms");
    let (reply, event) = refused(&mut proxy, &target, 504, &reason).await;
    assert_eq!(proxy_error(&reply), "connection_timeout");
    assert_eq!((event.stage, event.failure_class), (Stage::Dial, Some(FailureClass::Timeout)));
    assert_eq!(event.decision, Decided::Failed);
}

#[tokio::test]
async fn upstreams_that_do_not_speak_tls() {
    const PROTOCOL_VERSION: [u8; 7] = [21, 3, 3, 0, 2, 2, 70];
    const HANDSHAKE_FAILURE: [u8; 7] = [21, 3, 3, 0, 2, 2, 40];
    let protocol = FailureClass::Protocol;
    let table = [
        (Behaviour::NeverHandshake, 504, "connection_timeout", FailureClass::Timeout, "took longer than 300ms"),
        (Behaviour::PlainText(b"220 mx.example ESMTP\r\n".to_vec()), 502, "tls_protocol_error", protocol, "speak TLS"),
        (Behaviour::PlainText(b"HTTP/1.1 400 \r\n\r\n".to_vec()), 502, "tls_protocol_error", protocol, "speak TLS"),
        (Behaviour::PlainText(vec![0; 64]), 502, "tls_protocol_error", protocol, "speak TLS"),
        (Behaviour::PlainText(PROTOCOL_VERSION.to_vec()), 502, "tls_alert_received", protocol, "ProtocolVersion"),
        (Behaviour::PlainText(HANDSHAKE_FAILURE.to_vec()), 502, "tls_alert_received", protocol, "HandshakeFailure"),
        (Behaviour::PlainText(Vec::new()), 502, "connection_terminated", protocol, "closed the connection"),
        // An end or a reset, whichever is first.
        (Behaviour::CloseAtOnce, 502, "connection_terminated", protocol, "during the TLS handshake"),
    ];
    for (behaviour, status, error, class, words) in table {
        let (root, origin) = origin(|config| config.behaviour(behaviour.clone())).await;
        let toml = "[upstream]\nhandshake_timeout = \"300ms\"\n";
        let mut proxy = ProxyBuilder::new(toml).trusting([&root]).start().await;
        let mut client = crate::support::client::RawClient::connect(proxy.addr).await.unwrap();
        let reply = client.connect_to(&format!("{HOST}:{}", origin.port())).await.unwrap();
        assert_eq!((reply.status, proxy_error(&reply)), (status, error), "{behaviour:?}: {}", reply.reason);
        assert!(reply.reason.contains(words), "{behaviour:?}: {}", reply.reason);
        let alert = reply.header("proxy-status").unwrap().contains("; alert-id=");
        assert_eq!(alert, error == "tls_alert_received", "{behaviour:?}");
        let event = proxy.told().await.event;
        assert_eq!((event.stage, event.failure_class), (Stage::UpstreamTls, Some(class)), "{behaviour:?}");
        assert_eq!(event.upstream_address, Some(origin.addr()), "{behaviour:?}");
        assert_eq!(event.decision, Decided::Failed, "{behaviour:?}");
        proxy.no_more_events();
        assert_eq!(origin.until_ended(1).await.unwrap().received(), 0, "{behaviour:?}");
    }
}
