//! Parents that lead back.

use super::*;

#[tokio::test]
async fn a_parent_that_is_the_proxy_itself() {
    let bank = Bank::new();
    for host in ["127.0.0.1", "parent.example"] {
        let mut proxy = bank.builder("", "").start().await;
        let toml = format!("[upstream]\nparent = \"http://{host}:{}\"\n", proxy.addr.port());
        proxy.replace(&toml, 2);
        let (reply, event) = asked(&mut proxy, &format!("{HOST}:443")).await;
        assert_eq!((reply.status, proxy_error(&reply)), (502, "proxy_loop_detected"), "{host}");
        let words = format!("the parent proxy http://{host}:{} is this proxy itself", proxy.addr.port());
        assert!(event.detail.as_deref().is_some_and(|detail| detail.starts_with(&words)), "{event}");
    }
}

/// Each knows the other alone; a forwarder in between hides that the second one's parent is the first.
#[tokio::test]
async fn two_proxies_that_are_each_others_parent() {
    let bank = Bank::new();
    let mut first = bank.builder("", "").start().await;
    let mut second = bank.builder(&format!("parent = \"http://{}\"", first.addr), "").start().await;
    first.replace(&format!("[upstream]\nparent = \"http://{}\"\n", second.addr), 2);
    let mut client = RawClient::connect(first.addr).await.unwrap();
    let request = format!("CONNECT {HOST}:443 HTTP/1.1\r\nVia: 1.0 fred (a, b)\r\nHost: {HOST}:443\r\n\r\n");
    client.send(request.as_bytes()).await.unwrap();
    let reply = client.read_reply().await.unwrap();
    assert_eq!((reply.status, proxy_error(&reply)), (502, "proxy_loop_detected"), "{}", reply.text());
    // The inner one ends first: refused because it has been there.
    let inner = first.told().await.event;
    let seen = (inner.stage, inner.decision, inner.failure_class, inner.status);
    assert_eq!(seen, (Stage::Request, Decided::Refuse, Some(FailureClass::Access), Some(502)), "{inner}");
    assert!(inner.detail.as_deref().unwrap().contains("proxy_loop_detected"), "{inner}");
    for proxy in [&mut second, &mut first] {
        let event = proxy.told().await.event;
        assert_eq!((event.stage, event.decision, event.status), (Stage::Dial, Decided::Failed, Some(502)), "{event}");
        assert!(event.detail.as_deref().unwrap().contains("leads in a circle"), "{event}");
        proxy.no_more_events();
    }
}

#[tokio::test]
async fn a_request_that_has_come_a_long_way() {
    let bank = Bank::new();
    let origin = bank.origin().await;
    let mut proxy = bank.builder("", "").name(HOST, &["127.0.0.1"]).start().await;
    for (hops, status) in [(16, 200), (17, 502)] {
        let via = vec!["1.1 hop"; hops].join(", ");
        let mut client = RawClient::connect(proxy.addr).await.unwrap();
        let request = format!("CONNECT {HOST}:{} HTTP/1.1\r\nVia: {via}\r\n\r\n", origin.port());
        client.send(request.as_bytes()).await.unwrap();
        assert_eq!(client.read_reply().await.unwrap().status, status, "{hops}");
        drop(client);
        proxy.told().await;
    }
    assert_eq!(origin.tally().tcp_connections(), 1);
}
