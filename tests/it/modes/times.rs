//! Ends of pinsets and exemptions, a second before, at the moment itself, and after.

use crate::support::bench::{Bench, bank_with, exempt, path, pinset, rfc3339};
use crate::support::origin::OriginConfig;
use crate::support::pki::{Ca, Chain, Key, Leaf, now, system_time};
use crate::support::proxy::ProxyBuilder;
use crate::support::verdict::{BANK, Verdict};
use pinproxy::policy::decision::FailureClass::Chain as Untrusted;
use std::time::Duration;
use time::OffsetDateTime;

const SECOND: Duration = Duration::from_secs(1);

/// The verdicts a second before the end, at the end, and a second after it.
async fn around(end: OffsetDateTime, toml: String, root: &Ca, chain: &Chain, expected: [&Verdict; 3]) {
    let proxy = ProxyBuilder::new(toml.as_str()).trusting([root]).at(system_time(end - SECOND));
    let mut bench = Bench::start(proxy, OriginConfig::new(chain.clone())).await;
    for (moment, expected) in [end - SECOND, end, end + SECOND].into_iter().zip(expected) {
        bench.proxy.set_time(system_time(moment));
        let outcome = bench.ask(BANK).await;
        assert_eq!(outcome.verdict(), *expected, "{moment}, the end being {end}, of\n{toml}");
        if *expected == Verdict::expired("bank") {
            assert!(outcome.upstream.is_empty() && outcome.told.event.upstream_address.is_none(), "nobody is dialled");
            let violation = outcome.told.violation.expect("its end is told");
            assert!(violation.served.is_empty() && violation.validated.is_empty(), "nothing was seen");
        }
    }
}

#[tokio::test]
async fn a_pinset_ends_as_it_says() {
    let root = Ca::root("Root");
    let chain = Leaf::named(BANK).signed_by(&root);
    let seen = path(&chain, &[&root]);
    let end = now() + Duration::from_secs(60 * 60);
    let rule = |pin: &str, more: &str, then: &str| {
        bank_with("leaf_pins", &[pin], &format!("{more}[pinset.expiry]\nat = {}\nthen = \"{then}\"", rfc3339(end)))
    };
    let closed = Verdict::expired("bank");
    let mismatch = Verdict::mismatch().seen(&seen);
    let matched = Verdict::matched(0, &chain.pin()).seen(&seen);
    let reported = Verdict::reported().seen(&seen);
    let unpinned = Verdict::passed().seen(&seen).under("bank", false);
    let other = Key::p256().pin();
    let table = [
        ("fail-closed", &chain.pin(), [&matched, &closed, &closed]),
        ("fail-closed", &other, [&mismatch, &closed, &closed]),
        (
            "report-only",
            &chain.pin(),
            [&matched, &matched.clone().under("bank", false), &matched.clone().under("bank", false)],
        ),
        ("report-only", &other, [&mismatch, &reported, &reported]),
        ("unpinned", &chain.pin(), [&matched, &unpinned, &unpinned]),
        ("unpinned", &other, [&mismatch, &unpinned, &unpinned]),
    ];
    for (then, pin, expected) in table {
        around(end, rule(pin, "", then), &root, &chain, expected).await;
    }
}

/// Without its pin a pin-only host has nothing: its end is an end, or an ordinary chain.
#[tokio::test]
async fn a_pin_only_pinset_ends_in_nothing_or_in_a_chain() {
    let root = Ca::root("Root");
    let device = Leaf::named(BANK).self_signed();
    let end = now() + Duration::from_secs(60 * 60);
    let rule = |then: &str| {
        let more = format!("trust = \"pin-only\"\n[pinset.expiry]\nat = {}\nthen = \"{then}\"", rfc3339(end));
        bank_with("leaf_pins", &[&device.pin()], &more)
    };
    let matched = Verdict::matched(0, &device.pin()).seen(&[device.pin()]);
    let closed = Verdict::expired("bank");
    let untrusted = Verdict::refused(Untrusted, "the chain does not lead to a trusted root").under("bank", false);
    around(end, rule("fail-closed"), &root, &device, [&matched, &closed, &closed]).await;
    around(end, rule("unpinned"), &root, &device, [&matched, &untrusted, &untrusted]).await;
}

/// An exemption lifts the pins of a wider pinset, until its end and not a moment longer.
#[tokio::test]
async fn an_exemption_ends_at_its_end() {
    let root = Ca::root("Root");
    let chain = Leaf::named(BANK).signed_by(&root);
    let seen = path(&chain, &[&root]);
    let end = now() + Duration::from_secs(60 * 60);
    let exempted = Verdict::passed().seen(&seen).under("exempt", false);
    let mismatch = Verdict::mismatch().seen(&seen);
    for host in ["**.bank.example", "*.bank.example", "**.api.bank.example"] {
        let toml = pinset("bank", host, "leaf_pins", &[&Key::p256().pin()], "") + &exempt(&rfc3339(end));
        around(end, toml, &root, &chain, [&exempted, &mismatch, &mismatch]).await;
    }
}
