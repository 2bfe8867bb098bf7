//! Anchors that are not for everybody: those of one pinset, and those whose chains are exempt from pins. And keys that
//! one pinset denies.

use crate::support::bench::{Bench, bank_with, blocklist, path};
use crate::support::origin::OriginConfig;
use crate::support::pki::{Ca, Chain, Key, Leaf, pem_bundle};
use crate::support::proxy::ProxyBuilder;
use crate::support::verdict::{BANK, Outcome, Verdict};
use pinproxy::policy::decision::FailureClass::{Blocklist, Chain as Untrusted, Pin};

const UNTRUSTED: &str = "the chain does not lead to a trusted root";
const OTHER: &str = "www.shop.example";

/// What comes of asking for a host, with a file `own.pem` that holds one root while all upstreams may end in another.
async fn ask(toml: &str, common: &Ca, own: &Ca, chain: &Chain, host: &str) -> Outcome {
    let proxy = ProxyBuilder::new(toml).trusting([common]).file("own.pem", pem_bundle(std::slice::from_ref(own)));
    Bench::start(proxy, OriginConfig::new(chain.clone())).await.ask(host).await
}

#[tokio::test]
async fn a_pinset_with_roots_of_its_own_trusts_no_others() {
    let (common, own) = (Ca::root("Common"), Ca::root("Own"));
    let key = Key::p256();
    let leaf = || Leaf::nameless().dns(BANK).dns(OTHER).key(&key);
    let (by_common, by_own) = (leaf().signed_by(&common), leaf().signed_by(&own));
    let pins = [&key.pin()[..], &Key::p256().pin()];
    let untrusted = |host, rule, enforced| Verdict::refused_for(host, rule, Untrusted, UNTRUSTED).under(rule, enforced);
    for mode in ["enforce", "report-only"] {
        let toml = bank_with("leaf_pins", &pins, &format!("roots = \"own.pem\"\nmode = \"{mode}\""));
        let enforced = mode == "enforce";
        let verdict = async |chain: &Chain, host: &str| ask(&toml, &common, &own, chain, host).await.verdict();
        assert_eq!(verdict(&by_common, BANK).await, untrusted(BANK, "bank", enforced), "pinned key, common root");
        assert_eq!(verdict(&by_own, OTHER).await, untrusted(OTHER, "unpinned", false), "the root is for the pinset");
        let matched = Verdict::matched(0, &key.pin()).under("bank", enforced);
        assert_eq!(verdict(&by_own, BANK).await, matched.seen(&path(&by_own, &[&own])));
        let passed = Verdict::passed().under("unpinned", false);
        assert_eq!(verdict(&by_common, OTHER).await, passed.seen(&path(&by_common, &[&common])));
    }
}

#[tokio::test]
async fn chains_of_an_exempting_anchor_pass_without_a_pin_and_say_so() {
    const EXTRA: &str = "[upstream]\nextra_roots = [{ file = \"own.pem\", exempts_pins = true }]\n";
    let (common, own) = (Ca::root("Common"), Ca::root("Inspection"));
    let leaf = || Leaf::named(BANK);
    let (by_common, by_own) = (leaf().signed_by(&common), leaf().signed_by(&own));
    let stray = [&Key::p256().pin()[..], &Key::p256().pin()];
    let bank = |more: &str| bank_with("leaf_pins", &stray, more);
    let seen = path(&by_own, &[&own]);
    let stolen = own.pin();
    let pin_only = "trust = \"pin-only\"\nverify_name = \"skip\"";
    let denied = Verdict::refused(Blocklist, "the chain holds the blocked key \"bank\" (its pinset denies it)");
    let blocked = Verdict::refused(Blocklist, "the chain holds the blocked key \"stolen\" (test)");
    let not_pinned = Verdict::refused(Pin, "the upstream's certificate does not hold a pinned key");
    let mismatch = Verdict::mismatch().seen(&path(&by_common, &[&common]));
    let table = [
        ("not exempt without a word", bank(""), &by_own, Verdict::mismatch().seen(&seen), false),
        ("another root is not", format!("{EXTRA}{}", bank("")), &by_common, mismatch, false),
        ("blocked", format!("{EXTRA}{}{}", bank(""), blocklist(&stolen)), &by_own, blocked.seen(&seen), false),
        (
            "denied",
            format!("{EXTRA}{}", bank(&format!("deny = [\"{stolen}\"]"))),
            &by_own,
            denied.clone().seen(&seen),
            false,
        ),
        (
            "denied though reported",
            format!("{EXTRA}{}", bank(&format!("mode = \"report-only\"\ndeny = [\"{stolen}\"]"))),
            &by_own,
            denied.under("bank", false).seen(&seen),
            false,
        ),
        ("pin-only", format!("{EXTRA}{}", bank(pin_only)), &by_own, not_pinned.seen(&seen[..1]), false),
        ("exempt", format!("{EXTRA}{}", bank("")), &by_own, Verdict::passed().seen(&seen), true),
        (
            "exempt, nothing to report",
            format!("{EXTRA}{}", bank("mode = \"report-only\"")),
            &by_own,
            Verdict::passed().under("bank", false).seen(&seen),
            true,
        ),
    ];
    for (what, toml, chain, expected, exempted) in table {
        let toml =
            if toml.contains("[upstream]") { toml } else { format!("[upstream]\nextra_roots = [\"own.pem\"]\n{toml}") };
        let outcome = ask(&toml, &common, &own, chain, BANK).await;
        assert_eq!(outcome.verdict(), expected, "{what}\n{toml}");
        assert_eq!(outcome.told.event.exempted, exempted, "{what}");
    }
}
