//! The client's first flight behind the 200: in any fragments, late, false, for another host; and the leaf it is
//! answered with.

mod families;
mod grease;
mod leaf;
mod refused;

use crate::support::client::{RawClient, client_hello_bytes, pieces, refragment};
use crate::support::origin::Behaviour;
use crate::support::proxy::TestProxy;
use crate::support::setting::{HOST, Setting};
use pinproxy::report::{Decided, Event};

/// The one event of a session that got its 200.
async fn told(proxy: &mut TestProxy) -> Event {
    let event = proxy.told().await.event;
    assert_eq!(event.status, Some(200), "{event}");
    proxy.no_more_events();
    event
}

#[tokio::test]
async fn a_hello_in_any_fragments_is_understood() {
    type Cut = fn(Vec<u8>) -> Vec<Vec<u8>>;
    let table: &[(&str, Cut)] = &[
        ("pieces of 1 byte", |hello| pieces(&hello, 1)),
        ("pieces of 5 bytes", |hello| pieces(&hello, 5)),
        ("pieces of 100 bytes", |hello| pieces(&hello, 100)),
        ("records of 1 byte", |hello| refragment(&hello, 1)),
        ("records of 3 bytes", |hello| refragment(&hello, 3)),
        ("records of 4 bytes", |hello| refragment(&hello, 4)),
        ("records of 100 bytes", |hello| refragment(&hello, 100)),
        ("records of 100 bytes in one write", |hello| vec![refragment(&hello, 100).concat()]),
        ("records of 1 byte in pieces of 1 byte", |hello| pieces(&refragment(&hello, 1).concat(), 1)),
        ("records of 7 bytes in pieces of 5 bytes", |hello| pieces(&refragment(&hello, 7).concat(), 5)),
    ];
    let mut setting = Setting::start(Behaviour::Http1).await;
    for (name, cut) in table {
        let client = setting.tunnel().await;
        let tls = client.tls_delivering(&setting.tls().build(), cut).await;
        let mut tls = tls.unwrap_or_else(|failure| panic!("{name}: {failure}"));
        assert_eq!(tls.get("h", "/").await.unwrap().status, 200, "{name}");
        tls.shutdown().await.unwrap();
        let event = told(&mut setting.proxy).await;
        assert_eq!((event.decision, event.sni.as_deref()), (Decided::Allow, Some(HOST)), "{name}");
    }
}

#[tokio::test]
async fn a_hello_sent_along_with_the_request_is_not_lost() {
    let mut setting = Setting::start(Behaviour::Http1).await;
    let client = RawClient::connect(setting.proxy.addr).await.unwrap();
    let (reply, tls) = client.connect_and_tls_at_once(&setting.target(), &setting.tls().build()).await.unwrap();
    assert_eq!(reply.status, 200);
    let mut tls = tls.unwrap().unwrap();
    assert_eq!(tls.get("h", "/").await.unwrap().status, 200);
    tls.shutdown().await.unwrap();
    assert_eq!(told(&mut setting.proxy).await.decision, Decided::Allow);
}

#[tokio::test]
async fn a_hello_sent_along_with_a_refused_request_goes_nowhere() {
    let mut setting = Setting::start(Behaviour::Drain).await;
    let client = RawClient::connect(setting.proxy.addr).await.unwrap();
    let (reply, tls) = client.connect_and_tls_at_once(HOST, &setting.tls().build()).await.unwrap();
    assert_eq!(reply.status, 400);
    assert!(tls.is_none());
    assert_eq!(setting.proxy.told().await.event.status, Some(400));
    assert_eq!(setting.origin.tally().tcp_connections(), 0);
}

#[tokio::test]
async fn the_case_of_the_server_name_does_not_matter() {
    let mut setting = Setting::start(Behaviour::Drain).await;
    let mut hello = client_hello_bytes(Some(HOST), &[]);
    let at = hello.windows(HOST.len()).position(|window| window == HOST.as_bytes()).unwrap();
    hello[at..at + HOST.len()].copy_from_slice(HOST.to_uppercase().as_bytes());
    let mut client = setting.tunnel().await;
    client.send(&hello).await.unwrap();
    // A handshake record with a ServerHello; its client cannot go on, because it did not send the bytes it hashes.
    let answer = client.read_exact(6).await.unwrap();
    assert_eq!((answer[0], answer[5]), (22, 2));
    drop(client);
    assert_eq!(told(&mut setting.proxy).await.sni.as_deref(), Some(HOST));
}
