//! The same through sessions: what the client is told, what the event says, what reaches the origin. The second session of
//! each is answered from memory, which [`Bench`] does not show; the generation, once it was replaced, does.

use super::{clients_of, policy};

use crate::support::bench::{Bench, STOLEN, bank, bank_with, blocklist, exempt, path, pinset, rfc3339};
use crate::support::origin::OriginConfig;
use crate::support::pki::{Ca, Chain, Key, Leaf, Validity, hex, now, pem_bundle, system_time};
use crate::support::proxy::ProxyBuilder;
use crate::support::verdict::{BANK, NO_PINNED_KEY, Verdict};
use pinproxy::policy::decision::FailureClass::{Blocklist, Chain as Untrusted, Pin};
use pinproxy::policy::host::Authority;
use std::time::Duration;
use time::OffsetDateTime;

const PAY: &str = "pay.bank.example";
const REVOKED: &str = "a certificate of the chain is revoked";
const STALE: &str = "the revocation list for a certificate of the chain is out of date";
const MINUTE: Duration = Duration::from_secs(60);
const REPORT_ONLY: &str = "mode = \"report-only\"\n";

/// Two authorities and a chain of the second.
struct World {
    root: Ca,
    issuing: Ca,
    chain: Chain,
}

impl World {
    fn new() -> Self {
        let root = Ca::root("Root");
        let issuing = root.intermediate("Issuing");
        let chain = Leaf::named(BANK).dns(PAY).signed_by(&issuing);
        Self { root, issuing, chain }
    }

    fn seen(&self) -> Vec<String> {
        path(&self.chain, &[&self.issuing, &self.root])
    }
}

/// Sessions that ended from memory under the rules in force so far.
fn answered(bench: &Bench) -> u64 {
    bench.proxy.replace("", 99).chains.answered()
}

/// `[upstream]` that requires these lists, beside the configuration.
fn required(lists: &[&str]) -> String {
    format!("[upstream]\nrevocation = \"require\"\ncrls = {lists:?}\n")
}

/// The verdicts just before a moment, twice, and at it, of sessions a second apart.
async fn around(what: &str, proxy: ProxyBuilder, chain: &Chain, end: OffsetDateTime, expected: [&Verdict; 2]) {
    let before = end - Duration::from_secs(1);
    let mut bench = Bench::start(proxy.at(system_time(before)), OriginConfig::new(chain.clone())).await;
    for (moment, expected) in [(before, expected[0]), (before, expected[0]), (end, expected[1])] {
        bench.proxy.set_time(system_time(moment));
        assert_eq!(bench.ask(BANK).await.verdict(), *expected, "{what}: {moment}, the end being {end}");
    }
    assert_eq!(answered(&bench), 1, "{what}: the second of them");
}

#[tokio::test]
async fn the_dates_of_a_rule() {
    let world = World::new();
    let seen = world.seen();
    let end = now() + MINUTE;
    let (shown, other) = (world.chain.pin(), Key::p256().pin());
    let matched = Verdict::matched(0, &shown).seen(&seen);
    let reported = Verdict::reported().seen(&seen);
    let mismatch = Verdict::mismatch().seen(&seen);
    let unpinned = Verdict::passed().seen(&seen).under("bank", false);
    let exempted = Verdict::passed().seen(&seen).under("exempt", false);
    let expiry = |pin: &str, mode: &str, then: &str| {
        let more = format!("{mode}[pinset.expiry]\nat = {}\nthen = \"{then}\"", rfc3339(end));
        bank_with("leaf_pins", &[pin], &more)
    };
    let exempt = pinset("bank", "**.bank.example", "leaf_pins", &[&other], "") + &exempt(&rfc3339(end));
    let rollout = format!("{REPORT_ONLY}[pinset.rollout]\nenforce_from = {}", rfc3339(end));
    let rollout = bank_with("leaf_pins", &[&other, &Key::p256().pin()], &rollout);
    let table = [
        ("fail-closed", expiry(&shown, "", "fail-closed"), [&matched, &Verdict::expired("bank")]),
        ("report-only", expiry(&shown, "", "report-only"), [&matched, &matched.clone().under("bank", false)]),
        ("unpinned", expiry(&shown, "", "unpinned"), [&matched, &unpinned]),
        ("unpinned, reported before", expiry(&other, REPORT_ONLY, "unpinned"), [&reported, &unpinned]),
        ("exemption", exempt, [&exempted, &mismatch]),
        ("enforcement", rollout, [&reported, &mismatch]),
    ];
    for (what, toml, expected) in table {
        around(what, ProxyBuilder::new(toml).trusting([&world.root]), &world.chain, end, expected).await;
    }
}

/// A client is reported, and remembered so. Then the share has grown to it.
#[tokio::test]
async fn the_share_of_a_rollout_grows() {
    let world = World::new();
    let seen = world.seen();
    let (reported, mismatch) = (Verdict::reported().seen(&seen), Verdict::mismatch().seen(&seen));
    let start = now();
    let steps = [1, 2].map(|minutes| start + minutes * MINUTE);
    let ramp = format!("ramp = [{{ from = {}, percent = 50 }}]", rfc3339(steps[0]));
    let more = format!("{REPORT_ONLY}[pinset.rollout]\n{ramp}\nenforce_from = {}", rfc3339(steps[1]));
    let toml = bank_with("leaf_pins", &[&Key::p256().pin(), &Key::p256().pin()], &more);
    let target = Authority::parse(&format!("{BANK}:443")).expect("sound");
    let rules = policy(&toml);
    let [first, last] = clients_of(rules.select(&target, system_time(start)), steps.map(system_time));
    let proxy = ProxyBuilder::new(toml).trusting([&world.root]).at(system_time(start));
    let mut bench = Bench::start(proxy, OriginConfig::new(world.chain.clone())).await;
    let table = [
        (Duration::ZERO, first, &reported),
        (Duration::ZERO, last, &reported),
        (MINUTE, last, &reported),
        (MINUTE, first, &mismatch),
        (MINUTE, last, &reported),
        (2 * MINUTE, last, &mismatch),
        (2 * MINUTE, first, &mismatch),
    ];
    for (passed, client, expected) in table {
        bench.proxy.set_time(system_time(start + passed));
        assert_eq!(bench.ask_from(client, BANK).await.verdict(), *expected, "{client} after {passed:?}");
    }
    assert_eq!(answered(&bench), 3);
}

/// What a hold lets through is remembered as reported. Sessions with the pin lift the hold, and the next one without it is
/// refused.
#[tokio::test]
async fn a_hold_is_lifted() {
    let root = Ca::root("Root");
    let (good, bad) = (Leaf::named(BANK).signed_by(&root), Leaf::named(BANK).signed_by(&root));
    let start = now();
    let from = rfc3339(start + MINUTE);
    let more = format!("{REPORT_ONLY}[pinset.rollout]\nenforce_from = {from}\nhold_if_violations_over = 0.5");
    let toml = bank_with("leaf_pins", &[&good.pin(), &Key::p256().pin()], &more);
    let proxy = ProxyBuilder::new(toml).trusting([&root]).at(system_time(start));
    let reported = Verdict::reported().seen(&path(&bad, &[&root]));
    let mismatch = Verdict::mismatch().seen(&path(&bad, &[&root]));
    let matched = |enforced| Verdict::matched(0, &good.pin()).seen(&path(&good, &[&root])).under("bank", enforced);
    // minutes, chain, verdict; violations of sessions before it
    let table = [
        (0, &bad, reported.clone()),
        (0, &bad, reported.clone()),
        (1, &bad, reported),         // 2 of 2
        (1, &good, matched(false)),  // 3 of 3
        (1, &good, matched(false)),  // 3 of 4
        (1, &good, matched(false)),  // 3 of 5
        (1, &bad, mismatch.clone()), // 3 of 6
        (1, &good, matched(true)),
        (1, &bad, mismatch),
    ];
    let (_, first, _) = &table[0];
    let origin = OriginConfig::new(Chain::clone(first));
    let origin = table[1..].iter().fold(origin, |origin, (_, chain, _)| origin.then(Chain::clone(chain)));
    let mut bench = Bench::start(proxy, origin).await;
    for (at, (minutes, _, expected)) in table.iter().enumerate() {
        bench.proxy.set_time(system_time(start + *minutes * MINUTE));
        assert_eq!(bench.ask(BANK).await.verdict(), *expected, "session {at}");
    }
    // Two of the bad chain and two of the good one, while nothing was enforced.
    assert_eq!(answered(&bench), 4);
}

/// Of two roots the pinned one is not valid yet: its chain is reported until it is, and not a second longer.
#[tokio::test]
async fn a_root_that_begins() {
    let end = now() + MINUTE;
    let root = Ca::root("Old Root");
    let young = Ca::builder("Young Root").validity(Validity::between(end, end + 1_000 * MINUTE)).self_signed();
    let issuing = root.intermediate("Issuing");
    let chain = Leaf::named(BANK).signed_by(&issuing).append(issuing.cross_sign(&young).der());
    let toml = bank_with("ca_pins", &[&young.pin()], REPORT_ONLY);
    let reported = Verdict::reported().seen(&path(&chain, &[&issuing, &root]));
    let matched = Verdict::matched(2, &young.pin()).seen(&path(&chain, &[&issuing, &young])).under("bank", false);
    let proxy = ProxyBuilder::new(toml).trusting([&root, &young]);
    around("a root that begins", proxy, &chain, end, [&reported, &matched]).await;
}

/// Whichever of the lists is the first to run out.
#[tokio::test]
async fn lists_run_out() {
    let world = World::new();
    let end = now() + MINUTE;
    let until = |end| Validity::between(end - 60 * MINUTE, end);
    let matched = Verdict::matched(0, &world.chain.pin()).seen(&world.seen());
    let stale = Verdict::refused(Untrusted, STALE);
    for (what, of_root, of_issuing) in [("the root's", end, end + MINUTE), ("the intermediate's", end + MINUTE, end)] {
        let toml = required(&["root.crl", "issuing.crl"]) + &bank("leaf_pins", &[&world.chain.pin()]);
        let proxy = ProxyBuilder::new(toml)
            .trusting([&world.root])
            .file("root.crl", world.root.revokes(&[], until(of_root)))
            .file("issuing.crl", world.issuing.revokes(&[], until(of_issuing)));
        around(what, proxy, &world.chain, end, [&matched, &stale]).await;
    }
}

/// What a reload changes holds from the very next session on, though the chain was remembered; and what it takes back, too.
#[tokio::test]
async fn a_reload_ends_all_of_it() {
    let world = World::new();
    let seen = world.seen();
    let pin = world.chain.pin();
    let lists = required(&["root.crl", "issuing.crl"]);
    let rules = lists.clone() + &bank("leaf_pins", &[&pin]);
    let matched = Verdict::matched(0, &pin).seen(&seen);
    let (leaf, issuing) = (world.chain.leaf(), world.issuing.der());
    let current = Validity::current();
    let revokes_nothing = [world.root.revokes(&[], current), world.issuing.revokes(&[], current)];
    let leaf_revoked = [world.root.revokes(&[], current), world.issuing.revokes(&[leaf], current)];
    let issuing_revoked = [world.root.revokes(&[issuing], current), world.issuing.revokes(&[], current)];
    let blocked = |key: &str| lists.clone() + &bank("leaf_pins", &[&pin]) + &blocklist(key);
    // The pin of a blocked key would be a mistake of the configuration; that of its certificate is none.
    let certificate = format!("cert:sha256:{}", hex(&world.chain.cert_sha256()));
    let leaf_blocked = lists.clone() + &bank("leaf_pins", &[&certificate]) + &blocklist(&pin);
    let denied = lists.clone() + &bank_with("leaf_pins", &[&pin], &format!("deny = [\"{}\"]", world.root.pin()));
    let other = lists.clone() + &bank("leaf_pins", &[&Key::p256().pin()]);
    let (roots, strangers) = (pem_bundle([&world.root]), pem_bundle([&Ca::root("Stranger")]));
    let revoked = Verdict::refused(Untrusted, REVOKED);
    let stolen = Verdict::refused(Blocklist, STOLEN).seen(&seen);
    let by_its_pinset = "the chain holds the blocked key \"bank\" (its pinset denies it)";
    let by_its_pinset = Verdict::refused(Blocklist, by_its_pinset).seen(&seen);
    let untrusted = Verdict::refused(Untrusted, "the chain does not lead to a trusted root");
    let table = [
        ("leaf revoked", rules.clone(), &leaf_revoked, &roots, &revoked),
        ("intermediate revoked", rules.clone(), &issuing_revoked, &roots, &revoked),
        ("leaf blocked", leaf_blocked, &revokes_nothing, &roots, &stolen),
        ("intermediate blocked", blocked(&world.issuing.pin()), &revokes_nothing, &roots, &stolen),
        ("root blocked", blocked(&world.root.pin()), &revokes_nothing, &roots, &stolen),
        ("denied by its pinset", denied, &revokes_nothing, &roots, &by_its_pinset),
        ("other pins", other, &revokes_nothing, &roots, &Verdict::mismatch().seen(&seen)),
        ("other roots", rules.clone(), &revokes_nothing, &strangers, &untrusted),
    ];
    let proxy = ProxyBuilder::new(rules.as_str())
        .trusting([&world.root])
        .file("root.crl", revokes_nothing[0].clone())
        .file("issuing.crl", revokes_nothing[1].clone());
    let mut bench = Bench::start(proxy, OriginConfig::new(world.chain.clone())).await;
    let put = |bench: &Bench, [of_root, of_issuing]: &[Vec<u8>; 2], roots: &str| {
        let folder = bench.proxy.folder.path();
        std::fs::write(folder.join("root.crl"), of_root).unwrap();
        std::fs::write(folder.join("issuing.crl"), of_issuing).unwrap();
        std::fs::write(folder.join("roots.pem"), roots).unwrap();
    };
    let mut number = 1;
    for (what, toml, lists, anchors, expected) in table {
        for _ in 0..2 {
            assert_eq!(bench.ask(BANK).await.verdict(), matched, "before: {what}");
        }
        put(&bench, lists, anchors);
        let before = bench.proxy.replace(&toml, number + 1);
        assert_eq!(before.chains.answered(), 1, "{what}");
        for _ in 0..2 {
            assert_eq!(bench.ask(BANK).await.verdict(), *expected, "{what}");
        }
        put(&bench, &revokes_nothing, &roots);
        let refusing = bench.proxy.replace(&rules, number + 2);
        assert_eq!((refusing.chains.answered(), refusing.chains.entries()), (0, 0), "{what}");
        number += 2;
    }
}

/// One certificate for two hosts under two rules, by turns; and the same certificates in another order.
#[tokio::test]
async fn another_rule_and_another_order() {
    let world = World::new();
    let seen = world.seen();
    let toml = bank("leaf_pins", &[&world.chain.pin()]) + &pinset("pay", PAY, "leaf_pins", &[&Key::p256().pin()], "");
    let matched = Verdict::matched(0, &world.chain.pin()).seen(&seen);
    let mismatch = Verdict::refused_for(PAY, "pay", Pin, NO_PINNED_KEY).seen(&seen);
    let no_leaf = Verdict::refused(Untrusted, "the upstream's certificate is that of a certificate authority");
    let same = world.chain.clone();
    let whole = same.clone().append(world.root.der());
    let mut turned = whole.clone();
    turned.certificates.swap(1, 2);
    let upside_down = Chain::of(same.certificates.iter().rev().cloned().collect(), world.issuing.key().clone());
    let table = [
        (BANK, &same, &matched),
        (PAY, &same, &mismatch),
        (BANK, &same, &matched),
        (PAY, &same, &mismatch),
        (BANK, &whole, &matched),
        (BANK, &turned, &matched),
        (BANK, &turned, &matched),
        (BANK, &upside_down, &no_leaf),
        (BANK, &same, &matched),
    ];
    let origin = table[1..]
        .iter()
        .fold(OriginConfig::new(same.clone()), |origin, (_, chain, _)| origin.then(Chain::clone(chain)));
    let mut bench = Bench::start(ProxyBuilder::new(toml).trusting([&world.root]), origin).await;
    for (at, (host, _, expected)) in table.into_iter().enumerate() {
        assert_eq!(bench.ask(host).await.verdict(), *expected, "session {at}");
    }
    assert_eq!(answered(&bench), 3, "the third, the last, and the second of the other order");
}
