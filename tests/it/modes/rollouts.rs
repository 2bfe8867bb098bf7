//! Gradual enforcement in a running proxy: each client on its side of the line, steps at their moment, holds.

use crate::support::bench::{Bench, bank_with, path, rfc3339};
use crate::support::origin::OriginConfig;
use crate::support::pki::{Ca, Chain, Key, Leaf, Validity, now, system_time};
use crate::support::proxy::ProxyBuilder;
use crate::support::verdict::{BANK, Verdict};
use sha2::Digest as _;
use std::net::Ipv4Addr;
use std::time::Duration;
use time::OffsetDateTime;

const HOUR: Duration = Duration::from_secs(60 * 60);
const MINUTE: Duration = Duration::from_secs(60);

/// 5 % after an hour, 50 % after two, everybody after three.
fn rollout(start: OffsetDateTime, pin: &str, more: &str) -> String {
    let [first, second, last] = [1, 2, 3].map(|hours| rfc3339(start + hours * HOUR));
    let steps = format!("{{ from = {first}, percent = 5 }}, {{ from = {second}, percent = 50 }}");
    let rollout = format!("mode = \"report-only\"\n[pinset.rollout]\nramp = [{steps}]\nenforce_from = {last}\n{more}");
    bank_with("leaf_pins", &[pin, &Key::p256().pin()], &rollout)
}

/// Which of 10 000 places a client has: the first eight octets of SHA-256 over the pinset's name, a zero octet and the
/// address.
fn place(client: Ipv4Addr) -> u64 {
    let digest = sha2::Sha256::digest([b"bank\0", &client.octets()[..]].concat());
    u64::from_be_bytes(digest[..8].try_into().expect("eight octets")) % 10_000
}

async fn started(root: &Ca, chain: &Chain, start: OffsetDateTime, toml: String) -> Bench {
    let proxy = ProxyBuilder::new(toml).trusting([root]).at(system_time(start));
    Bench::start(proxy, OriginConfig::new(chain.clone())).await
}

#[tokio::test]
async fn every_client_is_enforced_from_its_own_step_on() {
    let root = Ca::root("Root");
    let chain = Leaf::named(BANK).signed_by(&root);
    let seen = path(&chain, &[&root]);
    let start = now();
    let mut bench = started(&root, &chain, start, rollout(start, &Key::p256().pin(), "")).await;
    let (refused, reported) = (Verdict::mismatch().seen(&seen), Verdict::reported().seen(&seen));
    // One client of each third, found by the rule that is documented.
    let clients = (1..=254).map(|last| Ipv4Addr::new(127, 1, 2, last));
    let among = |from, to| clients.clone().find(|client| (from..to).contains(&place(*client))).expect("a client");
    let clients = [among(0, 500), among(500, 5_000), among(5_000, 10_000)];
    let table = [
        (Duration::ZERO, [false, false, false]),
        (59 * MINUTE, [false, false, false]),
        (HOUR, [true, false, false]),
        (119 * MINUTE, [true, false, false]),
        (2 * HOUR, [true, true, false]),
        (179 * MINUTE, [true, true, false]),
        (3 * HOUR, [true, true, true]),
        (30 * HOUR, [true, true, true]),
    ];
    for (passed, enforced) in table {
        bench.proxy.set_time(system_time(start + passed));
        for (client, enforced) in clients.into_iter().zip(enforced) {
            let verdict = bench.ask_from(client, BANK).await.verdict();
            assert_eq!(verdict, if enforced { &refused } else { &reported }.clone(), "{client} after {passed:?}");
        }
    }
}

#[tokio::test]
async fn a_chain_with_the_pin_passes_before_and_after() {
    let root = Ca::root("Root");
    let chain = Leaf::named(BANK).signed_by(&root);
    let matched = Verdict::matched(0, &chain.pin()).seen(&path(&chain, &[&root]));
    let start = now();
    let mut bench = started(&root, &chain, start, rollout(start, &chain.pin(), "")).await;
    for (passed, enforced) in [(Duration::ZERO, false), (3 * HOUR, true)] {
        bench.proxy.set_time(system_time(start + passed));
        assert_eq!(bench.ask(BANK).await.verdict(), matched.clone().under("bank", enforced), "after {passed:?}");
    }
}

/// Violations keep a rollout where it is until an hour has passed without too many of them; what is enforced stays so.
#[tokio::test]
async fn violations_hold_the_next_step() {
    // In the past, so that clients, whose clock is the real one, find the leaves valid.
    let start = now() - 5 * HOUR;
    let root = Ca::builder("Root").validity(Validity::around(start)).self_signed();
    let chain = Leaf::named(BANK).validity(Validity::around(start)).signed_by(&root);
    let seen = path(&chain, &[&root]);
    let toml = rollout(start, &Key::p256().pin(), "hold_if_violations_over = 0.5");
    let mut bench = started(&root, &chain, start, toml).await;
    let (refused, reported) = (Verdict::mismatch().seen(&seen), Verdict::reported().seen(&seen));
    let after = |bench: &Bench, passed| bench.proxy.set_time(system_time(start + passed));
    after(&bench, 170 * MINUTE);
    // Nobody came before: the steps were taken by their dates, without a hold. This client is of the other half.
    let late = (1..=254).map(|last| Ipv4Addr::new(127, 1, 2, last)).find(|client| place(*client) >= 5_000).unwrap();
    assert_eq!(bench.ask_from(late, BANK).await.verdict(), reported, "one violation of one session");
    after(&bench, 3 * HOUR);
    assert_eq!(bench.ask_from(late, BANK).await.verdict(), reported, "the last step is held");
    after(&bench, 210 * MINUTE);
    assert_eq!(bench.ask_from(late, BANK).await.verdict(), reported, "as long as its sessions are too bad");
    after(&bench, 270 * MINUTE);
    assert_eq!(bench.ask_from(late, BANK).await.verdict(), refused, "an hour without a session, and it is taken");
    after(&bench, 271 * MINUTE);
    assert_eq!(bench.ask_from(late, BANK).await.verdict(), refused, "and never taken back");
}
