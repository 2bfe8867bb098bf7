//! Open sessions and rules that change: those that the new rules refuse end, the others go on.

use crate::support::client::{ClientTls, Fault, RawClient, TlsClient};
use crate::support::origin::{Behaviour, Origin, OriginConfig};
use crate::support::pki::{Ca, Chain, Key, Leaf};
use crate::support::proxy::{ProxyBuilder, TestProxy};
use crate::support::setting::{HOST, tls};
use crate::support::within_deadline;
use pinproxy::policy::decision::FailureClass;
use pinproxy::report::{Asked, Decided, Event, Stage};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

struct Scene {
    proxy: TestProxy,
    origin: Origin,
    root: Ca,
    issuing: Ca,
    chain: Chain,
}

impl Scene {
    async fn start(toml: impl FnOnce(&Chain) -> String) -> Self {
        Self::at(toml, None).await
    }

    async fn at(toml: impl FnOnce(&Chain) -> String, now: Option<SystemTime>) -> Self {
        let root = Ca::root("root");
        let issuing = root.intermediate("intermediate");
        let chain = Leaf::named(HOST).signed_by(&issuing);
        let origin = Origin::start(OriginConfig::new(chain.clone()).behaviour(Behaviour::Echo)).await;
        let builder = ProxyBuilder::new(toml(&chain)).trusting([&root]);
        let proxy = now.into_iter().fold(builder, ProxyBuilder::at).start().await;
        Self { proxy, origin, root, issuing, chain }
    }

    async fn connected(&self) -> TlsClient {
        let mut client = RawClient::connect(self.proxy.addr).await.expect("the proxy listens");
        let reply = client.connect_to(&format!("{HOST}:{}", self.origin.port())).await.expect("a reply");
        assert_eq!(reply.status, 200, "{}", reply.text());
        let mut client = client.tls(&tls(&self.proxy, HOST).build()).await.expect("the client shakes hands");
        assert_eq!(client.exchange(b"ping", 4).await.expect("an echo"), b"ping");
        client
    }

    /// A session that is relayed blindly, with TLS to the origin itself.
    async fn tunnelled(&self) -> TlsClient {
        let mut client = RawClient::connect(self.proxy.addr).await.expect("the proxy listens");
        let reply = client.connect_to(&format!("{HOST}:{}", self.origin.port())).await.expect("a reply");
        assert_eq!(reply.status, 200, "{}", reply.text());
        let settings = ClientTls::to(HOST).trusting([&self.root]).build();
        let mut client = client.tls(&settings).await.expect("the client shakes hands");
        assert_eq!(client.exchange(b"ping", 4).await.expect("an echo"), b"ping");
        client
    }

    /// How many sessions end under these rules.
    async fn judged(&self, toml: &str, number: u64) -> usize {
        drop(self.proxy.replace(toml, number));
        let proxy = Arc::clone(&self.proxy.proxy);
        let judged = tokio::task::spawn_blocking(move || proxy.judge_open_sessions());
        within_deadline(judged).await.expect("judged in time").expect("without a panic")
    }

    async fn event(&mut self) -> Event {
        self.proxy.told().await.event
    }
}

fn pinset(pin: &str, more: &str) -> String {
    let spare = Key::p256().pin();
    format!(
        "[[pinset]]\nname = \"bank\"\nhosts = [\"{HOST}\"]\nleaf_pins = [\"{pin}\"]\nbackup = [\"{spare}\"]\n{more}"
    )
}

fn blocked(pin: &str) -> String {
    format!("[[blocklist]]\nname = \"lost\"\nspki = [\"{pin}\"]\nreason = \"stolen\"\n")
}

/// What the new rules say, and why they end a session that is intercepted; nothing where they do not.
type Case<'a> = (&'a str, String, Option<(FailureClass, &'a str)>);

#[tokio::test]
async fn a_session_ends_when_the_new_rules_refuse_its_chain() {
    let mut scene = Scene::start(|chain| pinset(&chain.pin(), "")).await;
    let (right, wrong) = (scene.chain.pin(), Key::p256().pin());
    let intermediate = scene.issuing.pin();
    let deny = "[access]\ndestinations_deny = [\"*.bank.example\"]\nports_allow = [";
    let table: Vec<Case<'_>> = vec![
        ("the same", pinset(&right, ""), None),
        ("no pins", String::new(), None),
        ("reported", pinset(&wrong, "mode = \"report-only\"\n"), None),
        ("another pin", pinset(&wrong, ""), Some((FailureClass::Pin, "no verified path"))),
        (
            "a blocked leaf",
            blocked(&right),
            Some((FailureClass::Blocklist, "the chain holds the blocked key \"lost\"")),
        ),
        (
            "a blocked intermediate, reported",
            pinset(&right, "mode = \"report-only\"\n") + &blocked(&intermediate),
            Some((FailureClass::Blocklist, "the chain holds the blocked key \"lost\"")),
        ),
        (
            "hosts without a pinset denied",
            "[defaults]\nunpinned = \"deny\"\n".to_owned(),
            Some((FailureClass::Access, "hosts without a pinset are denied now")),
        ),
        (
            "the host denied",
            format!("{deny}{}]\n{}", scene.origin.port(), pinset(&right, "")),
            Some((FailureClass::Access, "destinations_deny lists *.bank.example")),
        ),
        ("tunnelled", format!("[[tunnel]]\nhosts = [\"{HOST}\"]\nreason = \"x\"\n"), None),
    ];
    let mut number = 1;
    for (what, toml, expected) in table {
        let mut client = scene.connected().await;
        number += 1;
        let ended = scene.judged(&toml, number).await;
        assert_eq!(ended, usize::from(expected.is_some()), "{what}");
        if let Some((class, detail)) = expected {
            assert!(client.read_exact(1).await.is_err(), "{what}: the session goes on");
            let event = scene.event().await;
            assert_eq!((event.decision, event.failure_class), (Decided::Refuse, Some(class)), "{what}: {event}");
            assert_eq!((event.stage, event.ended.as_deref()), (Stage::Relay, Some("policy")), "{what}: {event}");
            assert_eq!((event.policy_generation, event.bytes.client), (number, 4), "{what}: {event}");
            let told = event.detail.unwrap_or_default();
            let begin = format!("closed: generation {number} refuses it now: ");
            assert!(told.starts_with(&begin) && told.contains(detail), "{what}: {told}");
        } else {
            assert_eq!(client.exchange(b"pong", 4).await.unwrap(), b"pong", "{what}");
            client.shutdown().await.unwrap();
            assert_eq!(scene.event().await.ended.as_deref(), Some("closed"), "{what}");
        }
        number += 1;
        assert_eq!(scene.judged(&pinset(&right, ""), number).await, 0, "{what}");
    }
    scene.proxy.no_more_events();
}

#[tokio::test]
async fn a_violation_is_reported_with_the_end() {
    let mut scene = Scene::start(|chain| pinset(&chain.pin(), "")).await;
    let client = scene.connected().await;
    assert_eq!(scene.judged(&pinset(&Key::p256().pin(), ""), 2).await, 1);
    let told = scene.proxy.told().await;
    let violation = told.violation.expect("a violation");
    assert_eq!((violation.class, violation.served.len()), (FailureClass::Pin, 2));
    assert_eq!(told.event.seen_pins.first().map(ToString::to_string), Some(scene.chain.pin()));
    drop(client);
}

/// What is relayed blindly was never looked at: under a rule that judges, it cannot go on.
#[tokio::test]
async fn a_blind_tunnel_ends_when_its_host_is_judged() {
    let tunnel = format!("[[tunnel]]\nhosts = [\"{HOST}\"]\nreason = \"x\"\n");
    let mut scene = Scene::start(|_| tunnel.clone()).await;
    let mut client = scene.tunnelled().await;
    assert_eq!(scene.judged(&tunnel, 2).await, 0);
    assert_eq!(client.exchange(b"pong", 4).await.unwrap(), b"pong");
    assert_eq!(scene.judged("[defaults]\nunpinned = \"tunnel\"\n", 3).await, 0, "by default, too");
    assert_eq!(client.exchange(b"pong", 4).await.unwrap(), b"pong");
    assert_eq!(scene.judged(&pinset(&scene.chain.pin(), ""), 4).await, 1);
    assert!(client.read_exact(1).await.is_err());
    let event = scene.event().await;
    assert_eq!((event.decision, event.failure_class), (Decided::Refuse, Some(FailureClass::Pin)), "{event}");
    let detail = "closed: generation 4 refuses it now: it was relayed blindly, and its rule is bank now, which judges";
    assert_eq!(event.detail.as_deref(), Some(detail));
}

/// Whether the proxy ends the connection without another byte; with a reset where it has not read all.
async fn is_closed(client: &mut RawClient) -> bool {
    match client.read_to_end().await {
        Ok(rest) => rest.is_empty(),
        Err(fault) => matches!(fault, Fault::Io { .. }),
    }
}

/// A session that was judged before the rules changed and does not relay yet ends at once, and not when its client has
/// shaken hands at last.
#[tokio::test]
async fn a_session_between_verdict_and_relay_ends_too() {
    let tunnel = format!("[[tunnel]]\nhosts = [\"{HOST}\"]\nreason = \"x\"\n");
    let table = [("intercepted", None), ("blind", Some(tunnel))];
    for (what, begin) in table {
        let mut scene = Scene::start(|chain| begin.clone().unwrap_or_else(|| pinset(&chain.pin(), ""))).await;
        let same = begin.unwrap_or_else(|| pinset(&scene.chain.pin(), ""));
        // Of the second one only the beginning of its ClientHello has come.
        let mut clients = Vec::new();
        for began in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
            let mut client = RawClient::connect(scene.proxy.addr).await.expect("the proxy listens");
            let reply = client.connect_to(&format!("{HOST}:{}", scene.origin.port())).await.expect("a reply");
            assert_eq!(reply.status, 200);
            client.send(began).await.expect("it is sent");
            clients.push(client);
        }
        assert_eq!(scene.judged(&same, 2).await, 0, "{what}: the same rules end nothing");
        assert_eq!(scene.judged(&pinset(&Key::p256().pin(), ""), 3).await, clients.len(), "{what}");
        for client in &mut clients {
            assert!(is_closed(client).await, "{what}");
            let event = scene.event().await;
            let (decision, class) = (event.decision, event.failure_class);
            assert_eq!((decision, class), (Decided::Refuse, Some(FailureClass::Pin)), "{what}: {event}");
            assert_eq!((event.stage, event.ended.as_deref()), (Stage::ClientTls, Some("policy")), "{what}: {event}");
            assert_eq!((event.policy_generation, event.bytes.client), (3, 0), "{what}: {event}");
        }
        scene.proxy.no_more_events();
    }
}

/// One that was replaced, and nobody has judged open sessions yet, is seen to when it comes to relay.
#[tokio::test]
async fn a_session_that_comes_to_relay_is_judged_by_what_is_in_force() {
    let mut scene = Scene::start(|chain| pinset(&chain.pin(), "")).await;
    let mut client = RawClient::connect(scene.proxy.addr).await.expect("the proxy listens");
    let reply = client.connect_to(&format!("{HOST}:{}", scene.origin.port())).await.expect("a reply");
    assert_eq!(reply.status, 200);
    drop(scene.proxy.replace(&pinset(&Key::p256().pin(), ""), 2));
    if let Ok(mut client) = client.tls(&tls(&scene.proxy, HOST).build()).await {
        assert!(client.exchange(b"ping", 4).await.is_err(), "it relays under rules that refuse it");
    }
    let event = scene.event().await;
    assert_eq!((event.decision, event.failure_class), (Decided::Refuse, Some(FailureClass::Pin)), "{event}");
    assert_eq!(event.policy_generation, 2);
    assert_eq!(scene.origin.until_ended(1).await.unwrap().received(), 0, "nothing of the client got through");
}

/// Which rule counts is not known before the ClientHello of a CONNECT to an address; who may ask for what is.
#[tokio::test]
async fn a_session_to_an_address_before_its_hello() {
    let mut scene = Scene::start(|chain| pinset(&chain.pin(), "")).await;
    let mut client = RawClient::connect(scene.proxy.addr).await.expect("the proxy listens");
    let reply = client.connect_to(&format!("127.0.0.1:{}", scene.origin.port())).await.expect("a reply");
    assert_eq!(reply.status, 200);
    assert_eq!(scene.judged(&pinset(&Key::p256().pin(), ""), 2).await, 0, "it has named no host");
    let access = format!("[access]\ndestinations_deny = []\nports_allow = [{}]\n", scene.origin.port());
    assert_eq!(scene.judged(&format!("{access}clients = [\"10.0.0.0/8\"]\n"), 3).await, 1);
    assert!(is_closed(&mut client).await);
    let event = scene.event().await;
    assert_eq!((event.decision, event.failure_class), (Decided::Refuse, Some(FailureClass::Access)), "{event}");
    assert_eq!(event.policy_generation, 3);
}

/// Judged by the rules that it began with, its chain is judged by those in force as soon as it is known, and not when its client
/// has shaken hands.
#[tokio::test]
async fn a_session_to_an_address_behind_its_hello() {
    let mut scene = Scene::start(|chain| pinset(&chain.pin(), "")).await;
    let mut client = RawClient::connect(scene.proxy.addr).await.expect("the proxy listens");
    let reply = client.connect_to(&format!("127.0.0.1:{}", scene.origin.port())).await.expect("a reply");
    assert_eq!(reply.status, 200);
    assert_eq!(scene.judged(&pinset(&Key::p256().pin(), ""), 2).await, 0, "it has named no host");
    client.send(&tls(&scene.proxy, HOST).build().hello()).await.expect("it is sent");
    let event = scene.event().await;
    assert_eq!((event.decision, event.failure_class), (Decided::Refuse, Some(FailureClass::Pin)), "{event}");
    assert_eq!((event.stage, event.ended.as_deref()), (Stage::ClientTls, Some("policy")), "{event}");
    assert_eq!(event.policy_generation, 2);
    client.read_to_end().await.ok();
    assert_eq!(scene.origin.until_ended(1).await.unwrap().received(), 0, "nothing of the client got through");
}

/// Time alone ends no session. But a certificate that has ended since does not keep one out of reach of other rules either.
#[tokio::test]
async fn an_ended_certificate_hides_nothing() {
    for blocks in [true, false] {
        let now = SystemTime::now();
        let mut scene = Scene::at(|chain| pinset(&chain.pin(), ""), Some(now)).await;
        let mut client = scene.connected().await;
        scene.proxy.set_time(now + Duration::from_secs(100 * 365 * 24 * 60 * 60));
        assert_eq!(client.exchange(b"pong", 4).await.unwrap(), b"pong");
        let same = pinset(&scene.chain.pin(), "");
        let then = if blocks { same + &blocked(&scene.issuing.pin()) } else { same };
        assert_eq!(scene.judged(&then, 2).await, 1, "blocked: {blocks}");
        assert!(client.read_exact(1).await.is_err(), "blocked: {blocks}: the session goes on");
        let event = scene.event().await;
        assert_eq!((event.decision, event.ended.as_deref()), (Decided::Refuse, Some("policy")), "{event}");
        assert_eq!(event.failure_class, Some(FailureClass::Validity), "{event}");
    }
}

/// Who lives by an override ends with it, whether somebody takes it back or its time is over.
#[tokio::test]
async fn the_end_of_an_override_ends_what_lived_by_it() {
    let now = SystemTime::now();
    let wrong = Key::p256().pin();
    let mut scene = Scene::at(|_| pinset(&wrong, ""), Some(now)).await;
    let target = pinproxy::policy::host::Authority::parse(&format!("{HOST}:{}", scene.origin.port())).unwrap();
    let proxy = Arc::clone(&scene.proxy.proxy);
    let given = pinproxy::policy::overrides::Override {
        target,
        since: now,
        until: now + Duration::from_secs(60),
        until_running: proxy.running() + Duration::from_secs(60),
        reason: "CHG-1".to_owned(),
        by: "ann".to_owned(),
    };
    let policy = Arc::clone(&proxy.generation().policy);
    proxy.set_overrides(proxy.overrides().with(given, &policy, proxy.moment(), proxy.running()).unwrap());
    let mut client = scene.connected().await;
    assert_eq!(proxy.judge_open_sessions(), 0, "it is in force");
    assert_eq!(client.exchange(b"pong", 4).await.unwrap(), b"pong");
    scene.proxy.set_time(now + Duration::from_secs(60));
    let judged = tokio::task::spawn_blocking(move || proxy.judge_open_sessions());
    assert_eq!(within_deadline(judged).await.unwrap().unwrap(), 1);
    assert!(client.read_exact(1).await.is_err());
    let event = scene.event().await;
    assert_eq!((event.decision, event.failure_class), (Decided::Refuse, Some(FailureClass::Pin)), "{event}");
    assert!(event.enforced && !event.overridden, "{event}");
}

/// A pinned name inside a blind tunnel is no way round its rule, though the rule came later than the tunnel.
#[tokio::test]
async fn a_blind_tunnel_ends_when_the_host_in_its_hello_is_judged() {
    let table = ["[[tunnel]]\nhosts = [\"127.0.0.1\"]\nreason = \"x\"\n", "[defaults]\nunpinned = \"tunnel\"\n"];
    for begin in table {
        for before_the_hello in [false, true] {
            let mut scene = Scene::start(|_| begin.to_owned()).await;
            let then = format!("{begin}{}", pinset(&scene.chain.pin(), ""));
            let mut client = RawClient::connect(scene.proxy.addr).await.expect("the proxy listens");
            let reply = client.connect_to(&format!("127.0.0.1:{}", scene.origin.port())).await.expect("a reply");
            assert_eq!(reply.status, 200, "{begin}");
            let settings = ClientTls::to(HOST).trusting([&scene.root]).build();
            if before_the_hello {
                assert_eq!(scene.judged(&then, 2).await, 0, "it does not relay yet");
                assert!(client.tls(&settings).await.is_err(), "{begin}: it passes");
            } else {
                let mut client = client.tls(&settings).await.expect("the client shakes hands");
                assert_eq!(client.exchange(b"ping", 4).await.unwrap(), b"ping");
                assert_eq!(scene.judged(begin, 2).await, 0);
                assert_eq!(scene.judged(&then, 3).await, 1, "{begin}");
                assert!(client.read_exact(1).await.is_err(), "{begin}: it goes on");
            }
            let event = scene.event().await;
            assert_eq!((event.decision, event.failure_class), (Decided::Refuse, Some(FailureClass::Client)), "{event}");
            let told = event.detail.unwrap_or_default();
            assert!(
                told.contains(&format!("its ClientHello names {HOST}:")) && told.ends_with("whose rule is bank"),
                "{told}"
            );
        }
    }
}

/// What changes by itself changes for sessions that are open, and for those that are about to be.
#[tokio::test]
async fn the_end_of_an_exemption_ends_what_lived_by_it() {
    for relays in [true, false] {
        let now = SystemTime::now();
        let end = now + Duration::from_secs(3_600);
        let until = pinproxy::report::date_time(end);
        let hole = format!("[[exempt]]\nhosts = [\"{HOST}\"]\nreason = \"r\"\nuntil = {until}\n");
        let wide = |_: &Chain| pinset(&Key::p256().pin(), "").replace(HOST, "**.bank.example") + &hole;
        let mut scene = Scene::at(wide, Some(now)).await;
        let mut client = RawClient::connect(scene.proxy.addr).await.expect("the proxy listens");
        let reply = client.connect_to(&format!("{HOST}:{}", scene.origin.port())).await.expect("a reply");
        assert_eq!(reply.status, 200);
        let settings = tls(&scene.proxy, HOST).build();
        if relays {
            let mut client = client.tls(&settings).await.expect("the client shakes hands");
            assert_eq!(client.exchange(b"ping", 4).await.unwrap(), b"ping");
            scene.proxy.set_time(end + Duration::from_secs(1));
            assert!(client.read_exact(1).await.is_err(), "it goes on");
        } else {
            scene.proxy.set_time(end + Duration::from_secs(1));
            if let Ok(mut client) = client.tls(&settings).await {
                assert!(client.exchange(b"ping", 4).await.is_err(), "it passes");
            }
            assert_eq!(scene.origin.until_ended(1).await.unwrap().received(), 0, "nothing of the client got through");
        }
        let event = scene.event().await;
        assert_eq!((event.decision, event.failure_class), (Decided::Refuse, Some(FailureClass::Pin)), "{event}");
        assert_eq!(event.pinset.as_deref(), Some("bank"), "{event}");
    }
}

/// The override is gone before the client has shaken hands.
#[tokio::test]
async fn an_override_that_ends_before_the_relay() {
    let wrong = Key::p256().pin();
    let mut scene = Scene::start(|_| pinset(&wrong, "")).await;
    let target = pinproxy::policy::host::Authority::parse(&format!("{HOST}:{}", scene.origin.port())).unwrap();
    let proxy = Arc::clone(&scene.proxy.proxy);
    let (since, until) = (SystemTime::now(), SystemTime::now() + Duration::from_secs(3_600));
    let until_running = proxy.running() + Duration::from_secs(3_600);
    let (reason, by) = ("CHG-1".to_owned(), "ann".to_owned());
    let given =
        pinproxy::policy::overrides::Override { target: target.clone(), since, until, until_running, reason, by };
    let policy = Arc::clone(&proxy.generation().policy);
    proxy.set_overrides(proxy.overrides().with(given, &policy, proxy.moment(), proxy.running()).unwrap());
    let mut client = RawClient::connect(scene.proxy.addr).await.expect("the proxy listens");
    assert_eq!(client.connect_to(&target.to_string()).await.expect("a reply").status, 200);
    let (without, _) = proxy.overrides().without(&target).expect("the override");
    proxy.set_overrides(without);
    if let Ok(mut client) = client.tls(&tls(&scene.proxy, HOST).build()).await {
        assert!(client.exchange(b"ping", 4).await.is_err(), "it passes");
    }
    let event = scene.event().await;
    assert_eq!((event.decision, event.failure_class), (Decided::Refuse, Some(FailureClass::Pin)), "{event}");
    assert_eq!(scene.origin.until_ended(1).await.unwrap().received(), 0, "nothing of the client got through");
}

/// Who was let in by rules that are gone has not asked yet.
#[tokio::test]
async fn a_client_that_may_not_ask_any_more() {
    let open = "[access]\ndestinations_deny = []\nports_allow = [";
    let root = Ca::root("root");
    let proxy = ProxyBuilder::new(format!("{open}443]\n")).trusting([&root]).start().await;
    let mut client = RawClient::connect(proxy.addr).await.expect("the proxy listens");
    proxy.until_open(1).await;
    drop(proxy.replace(&format!("{open}443]\nclients = [\"10.0.0.0/8\"]\n"), 2));
    let reply = client.connect_to("bank.example:443").await.expect("a reply");
    assert_eq!(reply.status, 403, "{}", reply.text());
}

/// A rollout that comes off its hold with a session has taken a step for those that were there before, too.
#[tokio::test]
async fn a_step_that_a_session_takes_ends_what_it_enforces_for() {
    for relays in [true, false] {
        let now = SystemTime::now();
        let due = now + Duration::from_secs(60);
        let rollout = format!(
            "mode = \"report-only\"\n[pinset.rollout]\nenforce_from = {}\nhold_if_violations_over = 0.5\n",
            pinproxy::report::date_time(due)
        );
        let mut scene = Scene::at(|_| pinset(&Key::p256().pin(), &rollout), Some(now)).await;
        let mut violation = scene.connected().await;
        violation.shutdown().await.unwrap();
        assert_eq!(scene.event().await.decision, Decided::Report, "it holds the step");
        scene.proxy.set_time(due + Duration::from_secs(1));
        let mut client = RawClient::connect(scene.proxy.addr).await.expect("the proxy listens");
        let target = format!("{HOST}:{}", scene.origin.port());
        assert_eq!(client.connect_to(&target).await.expect("a reply").status, 200, "it is reported");
        let settings = tls(&scene.proxy, HOST).build();
        let mut next = RawClient::connect(scene.proxy.addr).await.expect("the proxy listens");
        let hour_later = due + Duration::from_secs(2 * 60 * 60);
        if relays {
            let mut client = client.tls(&settings).await.expect("the client shakes hands");
            assert_eq!(client.exchange(b"ping", 4).await.unwrap(), b"ping");
            scene.proxy.set_time(hour_later);
            assert_eq!(next.connect_to(&target).await.expect("a reply").status, 502, "the step is taken");
            assert!(client.read_exact(1).await.is_err(), "it goes on");
        } else {
            scene.proxy.set_time(hour_later);
            assert_eq!(next.connect_to(&target).await.expect("a reply").status, 502, "the step is taken");
            if let Ok(mut client) = client.tls(&settings).await {
                assert!(client.exchange(b"ping", 4).await.is_err(), "it passes");
            }
            assert_eq!(scene.origin.until_ended(3).await.unwrap().received(), 4, "nothing of the client got through");
        }
        // Where the second in which time is looked at has come between, the one that was open ends first.
        let mut events = [scene.event().await, scene.event().await];
        events.sort_by_key(|event| event.ended.is_some());
        let [refused, event] = events;
        assert_eq!((refused.decision, refused.asked), (Decided::Refuse, Some(Asked::Enforce)), "{refused}");
        assert_eq!((event.decision, event.ended.as_deref()), (Decided::Refuse, Some("policy")), "{event}");
        assert_eq!((event.failure_class, event.asked), (Some(FailureClass::Pin), Some(Asked::Enforce)), "{event}");
    }
}

/// An event tells what was asked by the rules that closed the session, and not by those that let it in.
#[tokio::test]
async fn what_closes_a_session_is_what_its_event_says_was_asked() {
    let tunnel = format!("[[tunnel]]\nhosts = [\"{HOST}\"]\nreason = \"x\"\n");
    let (wrong, other) = (Key::p256().pin(), Key::p256().pin());
    let ended = "[pinset.expiry]\nat = 2000-01-01\nthen = \"fail-closed\"\n";
    let pin_only = format!(
        "[[pinset]]\nname = \"bank\"\nhosts = [\"{HOST}\"]\ntrust = \"pin-only\"\nleaf_pins = [\"{wrong}\"]\nbackup = \
         [\"{other}\"]\n"
    );
    let report = "mode = \"report-only\"\n";
    // The rules that let it in, those that close it; whether these are enforced, and what they ask.
    let table = [
        (pinset(&wrong, report), pinset(&wrong, ""), true, Asked::Enforce),
        (String::new(), pinset(&wrong, ""), true, Asked::Enforce),
        (String::new(), pin_only, true, Asked::PinOnly),
        (pinset(&wrong, report), pinset(&wrong, ended), true, Asked::Expired),
        (tunnel.clone(), pinset(&wrong, ""), true, Asked::Enforce),
        (tunnel, pinset(&wrong, report), false, Asked::ReportOnly),
    ];
    for (begin, then, enforced, asked) in table {
        let what = format!("{begin}---\n{then}");
        let mut scene = Scene::start(|_| begin.clone()).await;
        let blind = begin.starts_with("[[tunnel]]");
        let mut client = if blind { scene.tunnelled().await } else { scene.connected().await };
        assert_eq!(scene.judged(&then, 2).await, 1, "{what}");
        assert!(client.read_exact(1).await.is_err(), "{what}: it goes on");
        let event = scene.event().await;
        let (pin, asked) = (Some(FailureClass::Pin), Some(asked));
        assert_eq!((event.decision, event.failure_class), (Decided::Refuse, pin), "{what}: {event}");
        assert_eq!((event.enforced, event.overridden, event.asked), (enforced, false, asked), "{what}: {event}");
        assert_eq!(event.pinset.as_deref(), Some("bank"), "{what}: {event}");
    }
}

/// A blocked key closes sessions that are reported, or overridden, or not pinned at all; and that is what is said of them.
#[tokio::test]
async fn a_block_says_what_was_asked_beside_it() {
    for (rules, asked) in [("", Asked::Chain), ("mode = \"report-only\"\n", Asked::ReportOnly)] {
        let wrong = Key::p256().pin();
        let rules = if rules.is_empty() { String::new() } else { pinset(&wrong, rules) };
        let mut scene = Scene::start(|_| rules.clone()).await;
        let mut client = scene.connected().await;
        let then = rules + &blocked(&scene.issuing.pin());
        assert_eq!(scene.judged(&then, 2).await, 1, "{asked:?}");
        assert!(client.read_exact(1).await.is_err(), "{asked:?}: it goes on");
        let event = scene.event().await;
        assert_eq!(event.failure_class, Some(FailureClass::Blocklist), "{event}");
        assert_eq!((event.enforced, event.overridden, event.asked), (false, false, Some(asked)), "{event}");
    }
}
