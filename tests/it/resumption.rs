//! Resumed sessions: a ticket saves a handshake and never a verdict (F22).

use crate::support::bench::{Bench, bank, bank_with, exempt, path, pinset, rfc3339};
use crate::support::client::{ClientTls, RawClient};
use crate::support::origin::OriginConfig;
use crate::support::pki::{Ca, Chain, Key, Leaf, Validity, now, system_time};
use crate::support::proxy::ProxyBuilder;
use crate::support::verdict::{BANK, Outcome, Verdict};
use pinproxy::policy::decision::FailureClass::Validity as Dates;
use pinproxy::report::Stage;
use rustls::AlertDescription::AccessDenied;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// The address of another client.
const ANOTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const HOUR: Duration = Duration::from_secs(60 * 60);

fn world() -> (Ca, Chain) {
    let root = Ca::root("Root");
    let chain = Leaf::named(BANK).dns("pay.bank.example").signed_by(&root);
    (root, chain)
}

fn matched(root: &Ca, chain: &Chain) -> Verdict {
    Verdict::matched(0, &chain.pin()).seen(&path(chain, &[root]))
}

fn other_pins() -> String {
    bank("leaf_pins", &[&Key::p256().pin()])
}

/// With tickets upstream.
fn resuming(toml: &str) -> String {
    format!("[upstream]\nresumption = true\n{toml}")
}

/// A client whose offer is what the proxy guesses, so that every session of it makes the same one upstream.
fn client(bench: &Bench, host: &str) -> ClientTls {
    bench.client(host).alpn(&["h2", "http/1.1"]).build()
}

/// An origin that gives tickets and takes such a client.
fn origin(chain: &Chain) -> OriginConfig {
    OriginConfig::new(chain.clone()).alpn(&["http/1.1"])
}

/// Asks twice and makes sure that the second session came of a ticket upstream.
async fn resume(bench: &mut Bench, tls: &ClientTls, expected: &Verdict) {
    for resumed in [false, true] {
        let outcome = bench.ask_with(BANK, tls).await;
        assert_eq!(outcome.verdict(), *expected);
        assert_eq!(outcome.resumed_upstream(), resumed);
    }
}

fn assert_full(outcome: &Outcome) {
    assert!(!outcome.resumed_upstream() && !outcome.upstream.is_empty(), "{:?}", outcome.upstream);
}

/// A ticket of the proxy is no way round the verdict: that comes before the client says hello.
#[tokio::test]
async fn a_client_with_a_ticket_after_the_pins_have_changed() {
    let (root, chain) = world();
    let pinned = bank("leaf_pins", &[&chain.pin()]);
    for version in rustls::ALL_VERSIONS {
        let proxy = ProxyBuilder::new(pinned.as_str()).trusting([&root]);
        let mut bench = Bench::start(proxy, OriginConfig::new(chain.clone())).await;
        // A refused handshake takes the one ticket with it that a session gives, so each question has a client of its own.
        let clients = [(); 2].map(|()| bench.client(BANK).versions(&[version]).build());
        for (tls, resumed) in clients.iter().flat_map(|tls| [(tls, false), (tls, true)]) {
            let outcome = bench.ask_with(BANK, tls).await;
            assert_eq!(outcome.verdict(), matched(&root, &chain));
            assert_eq!(outcome.session().resumed, resumed, "{version:?}: the ticket is good");
            assert_full(&outcome);
        }
        let [tls, another] = clients;
        bench.proxy.replace(&other_pins(), 2);
        let outcome = bench.ask_with(BANK, &tls).await;
        assert_eq!(outcome.verdict(), Verdict::mismatch().seen(&path(&chain, &[&root])));
        assert_eq!(outcome.told.event.policy_generation, 2);
        let by_address = bench.ask_with("127.0.0.1", &another).await;
        let refused = Verdict::mismatch().seen(&path(&chain, &[&root])).by_alert(AccessDenied).at(Stage::Pin);
        assert_eq!(by_address.verdict(), refused);
        bench.proxy.replace(&pinned, 3);
        let outcome = bench.ask_with(BANK, &tls).await;
        assert_eq!(outcome.verdict(), matched(&root, &chain));
        assert!(outcome.session().resumed, "the ticket was good all along");
    }
}

#[tokio::test]
async fn a_client_with_a_ticket_after_the_pinset_has_ended() {
    let (root, chain) = world();
    let end = now() + HOUR;
    let more = format!("[pinset.expiry]\nat = {}\nthen = \"fail-closed\"", rfc3339(end));
    let proxy = ProxyBuilder::new(bank_with("leaf_pins", &[&chain.pin()], &more)).trusting([&root]);
    let mut bench = Bench::start(proxy.at(system_time(now())), OriginConfig::new(chain.clone())).await;
    let tls = bench.client(BANK).build();
    assert_eq!(bench.ask_with(BANK, &tls).await.verdict(), matched(&root, &chain));
    bench.proxy.set_time(system_time(end));
    assert_eq!(bench.ask_with(BANK, &tls).await.verdict(), Verdict::expired("bank"));
}

/// A ticket costs the session that gives it, and most old programs never use one.
#[tokio::test]
async fn a_client_that_resumes_nothing_is_given_no_more_tickets() {
    let (root, chain) = world();
    let mut bench =
        Bench::start(ProxyBuilder::new(bank("leaf_pins", &[&chain.pin()])).trusting([&root]), origin(&chain)).await;
    let resumes = client(&bench, BANK);
    for session in 0..40 {
        let outcome = bench.ask_with(BANK, &resumes).await;
        assert_eq!(outcome.session().resumed, session > 0, "session {session} of a client that uses what it is given");
    }
    for session in 0..=32 {
        let outcome = bench.ask_with(BANK, &client(&bench, BANK)).await;
        assert!(!outcome.session().resumed, "session {session} of clients that keep nothing");
    }
    let spared = client(&bench, BANK);
    for session in 33..=34 {
        let outcome = bench.ask_with(BANK, &spared).await;
        assert!(!outcome.session().resumed, "session {session} has nothing to resume with");
    }
    for session in 35..64 {
        let outcome = bench.ask_with(BANK, &client(&bench, BANK)).await;
        assert!(!outcome.session().resumed, "session {session} of clients that keep nothing");
    }
    let tried_again = client(&bench, BANK);
    for (session, resumed) in [(64, false), (65, true)] {
        let outcome = bench.ask_with(BANK, &tried_again).await;
        assert_eq!(outcome.session().resumed, resumed, "session {session}");
    }
}

/// Tickets would link clients to each other, so there are none unless asked for.
#[tokio::test]
async fn nothing_is_resumed_upstream_by_default() {
    let (root, chain) = world();
    let proxy = ProxyBuilder::new(bank("leaf_pins", &[&chain.pin()])).trusting([&root]);
    let mut bench = Bench::start(proxy, origin(&chain)).await;
    let tls = client(&bench, BANK);
    for _ in 0..3 {
        let outcome = bench.ask_with(BANK, &tls).await;
        assert_eq!(outcome.verdict(), matched(&root, &chain));
        assert_full(&outcome);
    }
}

#[tokio::test]
async fn tickets_end_with_their_generation() {
    let (root, chain) = world();
    let pinned = resuming(&bank("leaf_pins", &[&chain.pin()]));
    for version in rustls::ALL_VERSIONS {
        let proxy = ProxyBuilder::new(pinned.as_str()).trusting([&root]);
        let mut bench = Bench::start(proxy, origin(&chain).versions(&[version])).await;
        let tls = client(&bench, BANK);
        resume(&mut bench, &tls, &matched(&root, &chain)).await;

        bench.proxy.replace(&resuming(&other_pins()), 2);
        let outcome = bench.ask_with(BANK, &tls).await;
        assert_eq!(outcome.verdict(), Verdict::mismatch().seen(&path(&chain, &[&root])), "{version:?}");
        assert_full(&outcome);

        bench.proxy.replace(&pinned, 3);
        resume(&mut bench, &tls, &matched(&root, &chain)).await;
    }
}

/// A certificate may end between two sessions, and a ticket does not make it last.
#[tokio::test]
async fn the_verdict_on_a_resumed_session_is_taken_again() {
    let root = Ca::root("Root");
    let end = now() + HOUR;
    let lasting = Leaf::named(BANK).validity(Validity::between(now() - HOUR, end)).signed_by(&root);
    let toml = resuming(&bank("leaf_pins", &[&lasting.pin()]));
    let mut bench =
        Bench::start(ProxyBuilder::new(toml).trusting([&root]).at(system_time(now())), origin(&lasting)).await;
    let tls = client(&bench, BANK);
    resume(&mut bench, &tls, &matched(&root, &lasting)).await;
    bench.proxy.set_time(system_time(end + Duration::from_secs(1)));
    let outcome = bench.ask_with(BANK, &tls).await;
    let detail = format!("a certificate of the chain expired on {}", end.date());
    assert_eq!(outcome.verdict(), Verdict::refused(Dates, &detail).handshakes(1));
    assert!(outcome.resumed_upstream(), "the origin did resume; it is the verdict that refused");
}

/// Another client, another host and another rule have tickets of their own.
#[tokio::test]
async fn tickets_are_not_shared() {
    let (root, chain) = world();
    let end = now() + HOUR;
    let pinned = pinset("bank", "**.bank.example", "leaf_pins", &[&chain.pin()], "") + &exempt(&rfc3339(end));
    let proxy = ProxyBuilder::new(resuming(&pinned)).trusting([&root]).at(system_time(now()));
    let mut bench = Bench::start(proxy, origin(&chain)).await;
    let tls = client(&bench, BANK);
    let seen = path(&chain, &[&root]);
    let exempted = Verdict::passed().seen(&seen).under("exempt", false);
    resume(&mut bench, &tls, &exempted).await;

    let other = RawClient::connect_from(ANOTHER, bench.proxy.addr).await.unwrap();
    let outcome = bench.ask_over(other, BANK, &tls).await;
    assert_eq!(outcome.verdict(), exempted);
    assert_eq!(outcome.told.event.client.0.ip(), ANOTHER);
    assert_full(&outcome);
    let other = RawClient::connect_from(ANOTHER, bench.proxy.addr).await.unwrap();
    assert!(bench.ask_over(other, BANK, &tls).await.resumed_upstream(), "the second of its own");

    let pay = client(&bench, "pay.bank.example");
    let outcome = bench.ask_with("pay.bank.example", &pay).await;
    assert_eq!(outcome.verdict(), matched(&root, &chain));
    assert_full(&outcome);

    // From here on the pinset around the exemption governs, in the same generation.
    bench.proxy.set_time(system_time(end));
    let outcome = bench.ask_with(BANK, &tls).await;
    assert_eq!(outcome.verdict(), matched(&root, &chain));
    assert_full(&outcome);
}
