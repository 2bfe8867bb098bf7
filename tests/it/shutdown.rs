//! The end of the proxy: open sessions are let finish, for as long as the configuration says.

use crate::support::client::{Ending, RawClient, connect_request};
use crate::support::origin::Behaviour;
use crate::support::proxy::TestProxy;
use crate::support::setting::Setting;
use crate::support::within_deadline;
use pinproxy::config::Limits;
use pinproxy::policy::decision::FailureClass;
use pinproxy::proxy::END_MAX;
use pinproxy::report::{Decided, Stage};
use std::path::Path;
use std::time::{Duration, Instant};

/// Begins the end and waits until nobody is let in any more.
async fn stop_listening(proxy: &mut TestProxy) {
    proxy.begin_stop();
    let closed = async {
        while RawClient::connect(proxy.addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    within_deadline(closed).await.expect("the listener closes");
}

#[tokio::test]
async fn an_open_tunnel_is_let_finish_and_nobody_else_is_let_in() {
    let mut setting = Setting::start(Behaviour::Echo).await;
    let mut client = setting.connected().await;
    stop_listening(&mut setting.proxy).await;
    assert_eq!(client.exchange(b"still here", 10).await.unwrap(), b"still here");
    assert!(setting.proxy.is_serving());
    client.shutdown().await.unwrap();
    assert_eq!(client.read_to_end().await.unwrap(), (Vec::new(), Ending::Clean));
    let event = setting.proxy.told().await.event;
    assert_eq!((event.decision, event.ended.as_deref()), (Decided::Allow, Some("closed")));
    setting.proxy.stopped().await;
    setting.proxy.no_more_events();
}

#[tokio::test]
async fn a_session_between_request_and_relay_is_let_finish_too() {
    let mut setting = Setting::start(Behaviour::Echo).await;
    let tunnel = setting.tunnel().await;
    stop_listening(&mut setting.proxy).await;
    let mut client = tunnel.tls(&setting.tls().build()).await.unwrap();
    assert_eq!(client.exchange(b"ping", 4).await.unwrap(), b"ping");
    client.shutdown().await.unwrap();
    assert_eq!(setting.proxy.told().await.event.ended.as_deref(), Some("closed"));
    setting.proxy.stopped().await;
}

#[tokio::test]
async fn without_sessions_it_ends_at_once() {
    let mut setting = Setting::start(Behaviour::Echo).await;
    let silent = RawClient::connect(setting.proxy.addr).await.unwrap();
    setting.proxy.until_open(1).await;
    let started = Instant::now();
    setting.proxy.begin_stop();
    setting.proxy.stopped().await;
    assert!(started.elapsed() < Duration::from_secs(5), "a connection that has asked for nothing holds nobody up");
    setting.proxy.no_more_events();
    drop(silent);
}

#[tokio::test]
async fn what_is_open_after_the_drain_timeout_is_cut_off() {
    let toml = "[limits]\ndrain_timeout = \"200ms\"\n";
    let mut setting = Setting::with(toml, |origin| origin.behaviour(Behaviour::Echo)).await;
    let mut relaying = [setting.connected().await, setting.connected().await];
    for client in &mut relaying {
        assert_eq!(client.exchange(b"ping", 4).await.unwrap(), b"ping");
    }
    let mut waiting = setting.tunnel().await;
    let started = Instant::now();
    setting.proxy.begin_stop();
    let mut ends = Vec::new();
    for _ in 0..3 {
        let event = setting.proxy.told().await.event;
        assert!(event.duration >= Duration::from_millis(200), "{event}");
        match event.stage {
            Stage::Relay => {
                assert_eq!((event.decision, event.bytes.client), (Decided::Allow, 4), "{event}");
                ends.push(event.ended.expect("the relay ended"));
            }
            stage => {
                assert_eq!((stage, event.failure_class), (Stage::ClientTls, Some(FailureClass::Overload)), "{event}");
                assert_eq!(event.detail.as_deref(), Some("the proxy is shutting down"));
            }
        }
    }
    assert_eq!(ends, ["shutdown", "shutdown"]);
    setting.proxy.stopped().await;
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    setting.proxy.no_more_events();
    for client in &mut relaying {
        let (rest, ending) = client.read_to_end().await.unwrap();
        assert_eq!(rest, b"");
        assert_ne!(ending, Ending::Clean, "nobody has said that it was all");
    }
    assert!(waiting.read_to_end().await.is_ok_and(|rest| rest.is_empty()));
    assert_eq!(setting.origin.until_ended(3).await.unwrap().clean_closes(), 0);
}

/// Who was let in before the drain is served: whoever sends clients elsewhere from then on loses none.
#[tokio::test]
async fn a_head_that_was_begun_is_let_finish() {
    let mut setting = Setting::start(Behaviour::Echo).await;
    let mut client = RawClient::connect(setting.proxy.addr).await.unwrap();
    let request = connect_request(&setting.target());
    let (begun, rest) = request.split_at(10);
    client.send(begun.as_bytes()).await.unwrap();
    setting.proxy.until_open(1).await;
    // Bytes of a connection are read in turn with others: when a later one was answered, these were read.
    let mut later = RawClient::connect(setting.proxy.addr).await.unwrap();
    assert_eq!(later.connect_to("bank.example").await.unwrap().status, 400);
    setting.proxy.told().await;
    stop_listening(&mut setting.proxy).await;
    client.send(rest.as_bytes()).await.unwrap();
    let reply = client.read_reply().await.unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    let mut client = client.tls(&setting.tls().build()).await.unwrap();
    assert_eq!(client.exchange(b"ping", 4).await.unwrap(), b"ping");
    client.shutdown().await.unwrap();
    let event = setting.proxy.told().await.event;
    assert_eq!((event.decision, event.ended.as_deref()), (Decided::Allow, Some("closed")), "{event}");
    setting.proxy.stopped().await;
    setting.proxy.no_more_events();
}

/// A client that has just connected has a moment to ask.
#[tokio::test]
async fn who_has_just_connected_may_ask() {
    let mut setting = Setting::start(Behaviour::Echo).await;
    let mut client = RawClient::connect(setting.proxy.addr).await.unwrap();
    setting.proxy.until_open(1).await;
    setting.proxy.begin_stop();
    let reply = client.connect_to(&setting.target()).await.unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    let mut client = client.tls(&setting.tls().build()).await.unwrap();
    assert_eq!(client.exchange(b"ping", 4).await.unwrap(), b"ping");
    client.shutdown().await.unwrap();
    assert_eq!(setting.proxy.told().await.event.ended.as_deref(), Some("closed"));
    setting.proxy.stopped().await;
}

/// The announcement comes first: until the delay is over, new sessions begin as before.
#[tokio::test]
async fn the_listeners_outlive_the_announcement() {
    let toml = "[limits]\ndrain_delay = \"2s\"\n";
    let mut setting = Setting::with(toml, |origin| origin.behaviour(Behaviour::Echo)).await;
    assert!(!setting.proxy.proxy.is_draining());
    setting.proxy.begin_stop();
    let announced = async {
        while !setting.proxy.proxy.is_draining() {
            tokio::task::yield_now().await;
        }
    };
    within_deadline(announced).await.expect("it is announced");
    let mut client = setting.connected().await;
    stop_listening(&mut setting.proxy).await;
    assert_eq!(client.exchange(b"ping", 4).await.unwrap(), b"ping");
    client.shutdown().await.unwrap();
    assert_eq!(setting.proxy.told().await.event.ended.as_deref(), Some("closed"));
    setting.proxy.stopped().await;
}

/// The number in the line of a file that begins so, or what there is without such a line.
fn seconds(file: &str, begin: &str, without: Option<Duration>) -> Duration {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect(file);
    let mut lines = text.lines().filter_map(|line| line.trim().strip_prefix(begin));
    let Some(rest) = lines.next() else { return without.unwrap_or_else(|| panic!("{file} has no {begin}")) };
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Duration::from_secs(digits.parse().unwrap_or_else(|_| panic!("{file}: {begin}{rest}")))
}

/// Each that sends the signal, and the configuration that it comes with.
#[test]
fn whoever_ends_the_proxy_waits_for_its_end() {
    let limits = Limits::default();
    let table = [
        ("config/systemd/pinproxy.service", "TimeoutStopSec=", "config/debian/pinproxy.toml"),
        (
            "docker/kubernetes/base/deployment.yaml",
            "terminationGracePeriodSeconds: ",
            "docker/kubernetes/base/pinproxy.toml",
        ),
        (
            "docker/kubernetes/sidecar/deployment.yaml",
            "terminationGracePeriodSeconds: ",
            "docker/kubernetes/sidecar/pinproxy.toml",
        ),
        ("docker/compose.yaml", "stop_grace_period: ", "docker/scenario/pinproxy.toml"),
    ];
    for (file, begin, configuration) in table {
        let delay = seconds(configuration, "drain_delay = \"", Some(limits.drain_delay));
        let timeout = seconds(configuration, "drain_timeout = \"", Some(limits.drain_timeout));
        let patience = seconds(file, begin, None);
        assert!(
            patience > delay + timeout + END_MAX,
            "{file}: {patience:?} for {delay:?}, {timeout:?} and {END_MAX:?}"
        );
    }
    // In words, for those who write one of their own.
    assert_eq!(END_MAX, Duration::from_secs(15));
}
