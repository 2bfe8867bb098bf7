//! Application protocols (RFC 7301): the client is answered with what the upstream chose, and a wrong guess costs one
//! more connection, once.

use crate::support::client::{RawClient, TlsClient, TlsFailure};
use crate::support::origin::{Behaviour, Connection};
use crate::support::setting::Setting;
use pinproxy::policy::decision::FailureClass;
use pinproxy::report::{Event, Stage};

/// What a session with this offer comes to.
async fn session(setting: &Setting, user_agent: &str, offer: &[&str]) -> Result<TlsClient, TlsFailure> {
    let mut client = RawClient::connect(setting.proxy.addr).await?;
    let target = setting.target();
    client.send(format!("CONNECT {target} HTTP/1.1\r\nUser-Agent: {user_agent}\r\n\r\n").as_bytes()).await?;
    let reply = client.read_reply().await?;
    assert_eq!(reply.status, 200, "{offer:?}: {}", reply.reason);
    client.tls(&setting.tls().alpn(offer).build()).await
}

/// Says something, hears it back, and closes; gives the event.
async fn talk(setting: &mut Setting, mut client: TlsClient) -> Event {
    client.send(b"ping").await.expect("the session relays");
    assert_eq!(client.read_exact(4).await.expect("the session relays"), b"ping");
    client.shutdown().await.expect("the session relays");
    let event = setting.proxy.told().await.event;
    assert_eq!(event.ended.as_deref(), Some("closed"), "{event}");
    event
}

/// The connection of the wrong guess is closed before the next one is opened.
#[tokio::test]
async fn an_upstream_that_serves_one_connection_at_a_time() {
    let both = ["h2", "http/1.1"];
    let mut setting = Setting::with("", |origin| origin.behaviour(Behaviour::Echo).alpn(&both).one_at_a_time()).await;
    let client = session(&setting, "agent/1", &["http/1.1"]).await.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(client.alpn().as_deref(), Some("http/1.1"));
    talk(&mut setting, client).await;
    assert_eq!(setting.origin.until_ended(2).await.unwrap().tcp_connections(), 2);
}

#[tokio::test]
async fn the_client_gets_what_the_upstream_chose() {
    type Row<'a> = (&'a [&'a str], &'a [&'a str], Option<&'a str>, usize, usize);
    const BOTH: &[&str] = &["h2", "http/1.1"];
    const H1: &[&str] = &["http/1.1"];
    const H2: &[&str] = &["h2"];
    const MQTT: &[&str] = &["mqtt"];
    const NONE: &[&str] = &[];
    let table: &[Row<'_>] = &[
        // client offers, upstream speaks, protocol, connections of the first session, of the second
        (BOTH, BOTH, Some("h2"), 1, 1),
        (BOTH, H1, Some("http/1.1"), 1, 1),
        (BOTH, H2, Some("h2"), 1, 1),
        (BOTH, NONE, None, 1, 1),
        (H1, BOTH, Some("http/1.1"), 2, 1),
        (H1, H1, Some("http/1.1"), 1, 1),
        (H1, NONE, None, 1, 1),
        (H2, BOTH, Some("h2"), 1, 1),
        (H2, H2, Some("h2"), 1, 1),
        (H2, NONE, None, 1, 1),
        (NONE, BOTH, None, 2, 1),
        (NONE, H1, None, 1, 1),
        (NONE, H2, None, 2, 1),
        (NONE, NONE, None, 1, 1),
        (MQTT, MQTT, Some("mqtt"), 3, 1),
        (MQTT, NONE, None, 2, 1),
        (&["h2", "mqtt"], MQTT, Some("mqtt"), 3, 1),
        (&["http/1.1", "h2"], BOTH, Some("h2"), 1, 1),
    ];
    for (offer, spoken, chosen, first, second) in table {
        let mut setting = Setting::with("", |origin| origin.behaviour(Behaviour::Echo).alpn(spoken)).await;
        let mut before = 0;
        for (round, connections) in [first, second].into_iter().enumerate() {
            let name = format!("{offer:?} of {spoken:?}, session {round}");
            let client =
                session(&setting, "agent/1", offer).await.unwrap_or_else(|failure| panic!("{name}: {failure}"));
            assert_eq!(client.alpn().as_deref(), *chosen, "{name}");
            let event = talk(&mut setting, client).await;
            let tally = setting.origin.until_ended(before + connections).await.unwrap();
            let seen = &tally.connections[before..];
            assert_eq!(seen.len(), *connections, "{name}: {seen:?}");
            let (last, others) = seen.split_last().unwrap();
            assert_eq!(last.received, 4, "{name}");
            assert!(others.iter().all(|connection| connection.received == 0), "{name}");
            // The first offer is a guess; asked anew, and from the second session on, it is the client's own.
            let offered = if round == 0 && *connections == 1 { BOTH } else { offer };
            assert_eq!(last.alpn_offered_text(), offered, "{name}");
            let upstream = last.alpn.as_deref().map(String::from_utf8_lossy);
            assert_eq!(event.alpn.as_deref(), upstream.as_deref(), "{name}");
            before = tally.tcp_connections();
        }
        setting.proxy.no_more_events();
    }
}

#[tokio::test]
async fn what_the_upstream_does_not_speak_the_client_does_not_get() {
    let table: &[(&[&str], &[&str], usize)] = &[
        // client offers, upstream speaks, connections
        (&["http/1.1"], &["h2"], 2),
        (&["h2"], &["http/1.1"], 2),
        (&["mqtt"], &["h2", "http/1.1"], 2),
        (&["mqtt"], &["http/1.1"], 2),
        (&["http/1.1"], &["mqtt"], 3),
        (&["h2", "http/1.1"], &["mqtt"], 3),
    ];
    for (offer, spoken, connections) in table {
        let name = format!("{offer:?} of {spoken:?}");
        let mut setting = Setting::with("", |origin| origin.behaviour(Behaviour::Drain).alpn(spoken)).await;
        let failure = session(&setting, "agent/1", offer).await.unwrap_err();
        assert!(failure.alert().is_some(), "{name}: {failure}");
        let event = setting.proxy.told().await.event;
        assert_eq!((event.stage, event.failure_class), (Stage::UpstreamTls, Some(FailureClass::Protocol)), "{name}");
        let detail = "the upstream speaks none of the application protocols offered (ALPN)";
        assert_eq!(event.detail.as_deref(), Some(detail), "{name}");
        let tally = setting.origin.until_ended(*connections).await.unwrap();
        assert_eq!((tally.tcp_connections(), tally.received()), (*connections, 0), "{name}: {tally:?}");
        assert_eq!(tally.connections.last().map(Connection::alpn_offered_text).unwrap(), *offer, "{name}");
        setting.proxy.no_more_events();
    }
}

#[tokio::test]
async fn each_program_of_a_client_has_a_guess_of_its_own() {
    let mut setting = Setting::with("", |origin| origin.behaviour(Behaviour::Echo).alpn(&["h2", "http/1.1"])).await;
    let steps: &[(&str, &[&str], &str, usize)] = &[
        // User-Agent, offer, protocol, connections
        ("java/17", &["http/1.1"], "http/1.1", 2),
        ("curl/8", &["h2", "http/1.1"], "h2", 1),
        ("java/17", &["http/1.1"], "http/1.1", 1),
        // It could take more than last time; what was chosen of the guess is good enough, and next time it gets more.
        ("java/17", &["h2", "http/1.1"], "http/1.1", 1),
        ("java/17", &["h2", "http/1.1"], "h2", 1),
        ("curl/8", &["h2", "http/1.1"], "h2", 1),
    ];
    let mut before = 0;
    for (step, (agent, offer, chosen, connections)) in steps.iter().enumerate() {
        let client = session(&setting, agent, offer).await.unwrap();
        assert_eq!(client.alpn().as_deref(), Some(*chosen), "step {step}");
        talk(&mut setting, client).await;
        let tally = setting.origin.until_ended(before + connections).await.unwrap();
        assert_eq!(tally.tcp_connections() - before, *connections, "step {step}");
        before = tally.tcp_connections();
    }
}
