//! A wall clock that somebody moves: nothing that loosens a rule takes effect by it, and what has expired stays so.

use crate::support::bench::{Bench, bank_with, exempt, path, pinset, rfc3339};
use crate::support::origin::OriginConfig;
use crate::support::pki::{Ca, Key, Leaf, Validity, now, system_time};
use crate::support::proxy::ProxyBuilder;
use crate::support::verdict::{BANK, Verdict, texts};
use pinproxy::operate::OverrideRequest;
use pinproxy::policy::decision::FailureClass;
use pinproxy::policy::host::Authority;
use std::time::Duration;
use time::OffsetDateTime;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// When the proxy starts, what its wall clock says later, and how much time has really passed.
struct Tampering {
    start: OffsetDateTime,
    wall: OffsetDateTime,
    passed: Duration,
}

/// A proxy with these rules whose clock was tampered with.
async fn tampered(toml: &str, root: &Ca, leaf: Leaf, clock: Tampering) -> Bench {
    let proxy = ProxyBuilder::new(toml).trusting([root]).at(system_time(clock.start));
    let bench = Bench::start(proxy, OriginConfig::new(leaf.signed_by(root))).await;
    bench.proxy.set_time(system_time(clock.start + clock.passed));
    bench.proxy.set_wall_clock(system_time(clock.wall));
    bench
}

#[tokio::test]
async fn a_clock_set_forward_ends_no_pinset() {
    let (root, start) = (Ca::root("Root"), now());
    let end = start + 10 * HOUR;
    for then in ["unpinned", "report-only"] {
        let expiry = format!("[pinset.expiry]\nat = {}\nthen = \"{then}\"", rfc3339(end));
        let toml = bank_with("leaf_pins", &[&Key::p256().pin(), &Key::p256().pin()], &expiry);
        let forward = Tampering { start, wall: end + HOUR, passed: HOUR };
        let mut bench = tampered(&toml, &root, Leaf::named(BANK), forward).await;
        let outcome = bench.ask(BANK).await;
        let seen = texts(&outcome.told.event.seen_pins);
        assert_eq!(outcome.verdict(), Verdict::mismatch().seen(&seen), "{then}");
        // When the time has really come, it ends.
        bench.proxy.set_time(system_time(end));
        assert_eq!(bench.ask(BANK).await.reply.status, 200, "{then}");
    }
}

#[tokio::test]
async fn a_clock_set_back_revives_no_exemption() {
    let (root, start) = (Ca::root("Root"), now());
    let end = start + 2 * HOUR;
    let pins = [&Key::p256().pin()[..], &Key::p256().pin()];
    let toml = pinset("bank", "**.bank.example", "leaf_pins", &pins, "") + &exempt(&rfc3339(end));
    let back = Tampering { start, wall: start, passed: 3 * HOUR };
    let mut bench = tampered(&toml, &root, Leaf::named(BANK), back).await;
    let outcome = bench.ask(BANK).await;
    let seen = texts(&outcome.told.event.seen_pins);
    assert_eq!(outcome.verdict(), Verdict::mismatch().seen(&seen));
}

#[tokio::test]
async fn a_clock_set_back_takes_back_no_enforcement() {
    let (root, start) = (Ca::root("Root"), now());
    let rollout = format!("mode = \"report-only\"\n[pinset.rollout]\nenforce_from = {}", rfc3339(start + HOUR));
    let toml = bank_with("leaf_pins", &[&Key::p256().pin(), &Key::p256().pin()], &rollout);
    let back = Tampering { start, wall: start - 2 * HOUR, passed: HOUR };
    let mut bench = tampered(&toml, &root, Leaf::named(BANK), back).await;
    assert_eq!(bench.ask(BANK).await.reply.status, 502);
}

/// A certificate that has expired while the proxy ran does not come back with the clock; one that is valid by the clock
/// before the jump stays valid.
#[tokio::test]
async fn a_clock_set_back_revives_no_certificate() {
    let (root, start) = (Ca::root("Root"), now());
    let validity = |to: OffsetDateTime| Validity::between(start - 24 * HOUR, to);
    for (to, status, class) in [(start + 2 * HOUR, 502, Some(FailureClass::Validity)), (start + 240 * HOUR, 200, None)]
    {
        let back = Tampering { start, wall: start, passed: 3 * HOUR };
        let mut bench = tampered("", &root, Leaf::named(BANK).validity(validity(to)), back).await;
        let outcome = bench.ask(BANK).await;
        assert_eq!((outcome.reply.status, outcome.told.event.failure_class), (status, class), "until {to}");
    }
}

/// An hour is what corrections may take: within it the wall clock is believed.
#[tokio::test]
async fn a_small_correction_is_no_jump() {
    let (root, start) = (Ca::root("Root"), now());
    let end = start + HOUR;
    let expiry = format!("[pinset.expiry]\nat = {}\nthen = \"unpinned\"", rfc3339(end));
    let toml = bank_with("leaf_pins", &[&Key::p256().pin(), &Key::p256().pin()], &expiry);
    for (ahead, status) in [(HOUR, 200), (HOUR + Duration::from_secs(1), 502)] {
        let forward = Tampering { start, wall: start + ahead, passed: Duration::ZERO };
        let mut bench = tampered(&toml, &root, Leaf::named(BANK), forward).await;
        let outcome = bench.ask(BANK).await;
        assert_eq!(outcome.reply.status, status, "{ahead:?} ahead");
        assert_eq!(path(&Leaf::named(BANK).signed_by(&root), &[&root])[1], texts(&outcome.told.event.seen_pins)[1]);
    }
}

/// Four hours are four hours by the steady clock as well: an override that was given by a wrong clock does not last until
/// that time has really come.
#[tokio::test]
async fn a_clock_that_is_corrected_prolongs_no_override() {
    let root = Ca::root("Root");
    let (start, lifetime) = (now(), 4 * HOUR);
    let nearly = lifetime.checked_sub(Duration::from_secs(1)).unwrap();
    // What the wall clock said ahead of the time when the override was given; it is right from then on.
    for ahead in [Duration::ZERO, 59 * HOUR / 60, 365 * 24 * HOUR] {
        let toml = bank_with("leaf_pins", &[&Key::p256().pin(), &Key::p256().pin()], "");
        let wrong = Tampering { start, wall: start + ahead, passed: Duration::ZERO };
        let mut bench = tampered(&toml, &root, Leaf::named(BANK), wrong).await;
        let (operator, target) = (bench.proxy.operator(Box::new(|_| None)), format!("{BANK}:{}", bench.origin.port()));
        let target = Authority::parse(&target).unwrap();
        let request = OverrideRequest { target, lifetime, reason: "CHG-1".to_owned(), by: "ann".to_owned() };
        operator.add_override(request, "").expect("an override");
        for (passed, status) in [(nearly, 200), (lifetime, 502)] {
            bench.proxy.set_time(system_time(start + passed));
            let outcome = bench.ask(BANK).await;
            let event = &outcome.told.event;
            assert_eq!((outcome.reply.status, event.overridden), (status, status == 200), "{ahead:?} {passed:?}");
            assert_eq!(operator.end_overrides(), status == 502, "{ahead:?} {passed:?}: it is given back");
        }
        assert_eq!(bench.proxy.proxy.overrides().list(), [], "{ahead:?}");
    }
}
